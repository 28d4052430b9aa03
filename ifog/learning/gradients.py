"""The mean of all gradients, on its way while the backward pass still works on the rest."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from ..comm import api
from .flat import Flat, Part
from .wrapped import Closure, Way, computed

BUCKET = 4 * 2**20
"""Bytes that travel together: the last layers' are on their way while the first ones' are computed."""


class Bucket:
    """Some parameters that lie side by side, and their gradients."""

    def __init__(self, part: Part, numbers: range, name: str) -> None:
        self.part, self.numbers, self.name = part, numbers, name
        first, last = part.places[numbers[0]], part.places[numbers[-1]]
        self.low, self.high = first.begin, last.begin + last.parameter.numel()
        self.missing = len(numbers)
        self.handle: Any = None

    def start(self) -> None:
        """Send them, whatever is there: others may have a gradient where this rank has none."""
        for i in self.numbers:
            self.part.have_gradient(i)
        g = self.part.gradients[self.low : self.high]
        self.handle = api.allreduce_nonblocking(g, "mean", name=self.name, out=g)

    def wait(self) -> None:
        """Until the mean is in their place."""
        self.handle.wait()
        self.handle = None
        self.missing = len(self.numbers)


class Averaging:
    """Each backward pass ends with the mean of all ranks' gradients in ``p.grad``, ready to be clipped."""

    def __init__(self, flat: Flat, n: int, averaged: Callable[[], None]) -> None:
        self._n, self._averaged = n, averaged
        self.buckets: list[Bucket] = []
        self.hooks: list[Any] = []
        for part in flat:
            for numbers in _grouped(part):
                self.buckets.append(Bucket(part, numbers, f"gradients {len(self.buckets)}"))
        self._next = 0
        self._under_way = False
        self.paused = False
        """Whether backward passes leave this rank's own gradients."""
        self.done = False
        """Whether what lies in the gradients is a mean."""
        if n > 1:
            for b, bucket in enumerate(self.buckets):
                for i in bucket.numbers:
                    tensor: Any = bucket.part.places[i].parameter
                    self.hooks.append(tensor.register_post_accumulate_grad_hook(self._noticing(b, i)))

    @contextlib.contextmanager
    def accumulate(self) -> Iterator[None]:
        """Backward passes within it leave this rank's own gradients: the next one outside sends the sum."""
        before, self.paused = self.paused, True
        try:
            yield
        finally:
            self.paused = before

    def _noticing(self, b: int, i: int) -> Any:
        averaging = weakref.ref(self)  # which goes with its last user, whatever hangs on the parameters

        def notice(_: nn.Parameter) -> None:
            me = averaging()
            if me is not None:
                me._notice(me.buckets[b], i)

        return notice

    def _notice(self, bucket: Bucket, i: int) -> None:
        """A parameter has its gradient."""
        bucket.part.take_gradient(i)
        self.done = False
        if self.paused:
            return
        if not self._under_way:
            self._under_way, self._next = True, 0
            for other in self.buckets:
                other.missing = len(other.numbers)
            engine: Any = torch.autograd.Variable._execution_engine
            engine.queue_callback(self.finish)  # at the end of this backward pass
        bucket.missing -= 1
        while self._next < len(self.buckets) and self.buckets[self._next].missing <= 0:
            self._send()

    def _send(self) -> None:
        """The next one: on all ranks in the same order."""
        if self._next:
            _ = self.buckets[self._next - 1].handle.done  # let those before go on
        self.buckets[self._next].start()
        self._next += 1

    def finish(self) -> None:
        """Send what has not been sent, and wait for all of it."""
        if self._n == 1:
            return
        if not self._under_way:
            self._next = 0
        try:
            while self._next < len(self.buckets):
                self._send()
            for bucket in self.buckets:
                bucket.wait()
            self._averaged()
            self.done = True
        finally:
            self._under_way = False

    def forget(self) -> None:
        """What was on its way does not come."""
        self._under_way = False


class Gradients(Way):
    """Torch's own step with the mean of all gradients."""

    def __init__(
        self, torch_optimizer: torch.optim.Optimizer, flat: Flat, n: int, averaged: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__()
        self._inner = torch_optimizer
        self.averaging = Averaging(flat, n, averaged)

    alike = True

    def hooks(self) -> list[Any]:
        """What it has hung on the parameters."""
        return self.averaging.hooks

    def forget(self) -> None:
        """Something has failed: what was on its way does not come."""
        self.begun = self.averaging.done = False
        self.averaging.forget()

    def step(self, closure: Closure | None, *, late: bool) -> Any:  # noqa: ARG002
        """One iteration."""
        try:
            loss = None if closure is None else computed(closure)
            if not self.averaging.done:
                self.averaging.finish()
            self._inner.step()
        finally:
            self.averaging.done = self.begun = False
        return loss


def _grouped(part: Part) -> Iterator[range]:
    """The numbers of the parameters from the last one on, some at a time."""
    end, size = len(part.places), 0
    for i in reversed(range(len(part.places))):
        nbytes = part.places[i].parameter.numel() * part.x.element_size()
        if size and size + nbytes > BUCKET:
            yield range(i + 1, end)
            end, size = i + 1, 0
        size += nbytes
    yield range(end)
