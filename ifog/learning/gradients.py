"""The mean of all gradients, on its way while the backward pass still works on the rest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ..comm import api
from ..network import Network
from .flat import Flat, Part, Place

BUCKET = 4 * 2**20
"""Bytes that travel together: the last layers' are on their way while the first ones' are computed."""


class Bucket:
    """Some parameters that lie side by side, and their gradients."""

    def __init__(self, part: Part, places: list[Place], name: str) -> None:
        self.part, self.places, self.name = part, places, name
        self.low, self.high = places[0].begin, places[-1].begin + places[-1].parameter.numel()
        self.missing = len(places)
        self.handle: Any = None

    def start(self) -> None:
        """Send them, whatever is there: others may have a gradient where this rank has none."""
        whole = self.part.gathered(self.places)
        for place in self.places:
            if place.parameter.grad is None and place.parameter.requires_grad:
                place.parameter.grad = place.of(whole)
        g = whole[self.low : self.high]
        self.handle = api.allreduce_nonblocking(g, "mean", name=self.name, out=g)

    def wait(self) -> None:
        """Until the mean is in their place."""
        self.handle.wait()
        self.handle = None
        self.missing = len(self.places)


class Averaging:
    """Each backward pass ends with the mean of all ranks' gradients in ``p.grad``, ready to be clipped."""

    def __init__(self, flat: Flat, net: Network) -> None:
        self._net = net
        self._size = sum(part.x.nbytes for part in flat) / net.n
        self.buckets: list[Bucket] = []
        self._hooks = []
        for part in flat:
            for places in _grouped(part):
                self.buckets.append(Bucket(part, places, f"gradients {len(self.buckets)}"))
        self._next = 0
        self._under_way = False
        self._local = 0
        self.done = False
        """Whether what lies in the gradients is a mean."""
        if net.n > 1:
            for bucket in self.buckets:
                for place in bucket.places:
                    tensor: Any = place.parameter
                    self._hooks.append(tensor.register_post_accumulate_grad_hook(self._noticing(bucket, place)))

    @contextlib.contextmanager
    def accumulate(self) -> Iterator[None]:
        """Backward passes within it leave this rank's own gradients: the next one outside sends the sum."""
        self._local += 1
        try:
            yield
        finally:
            self._local -= 1

    def _noticing(self, bucket: Bucket, place: Place) -> Any:
        def notice(_: nn.Parameter) -> None:
            bucket.part.gathered([place])
            self.done = False
            if self._local:
                return
            if not self._under_way:
                self._under_way, self._next = True, 0
                for other in self.buckets:
                    other.missing = len(other.places)
                engine: Any = torch.autograd.Variable._execution_engine
                engine.queue_callback(self.finish)  # at the end of this backward pass
            bucket.missing -= 1
            while self._next < len(self.buckets) and self.buckets[self._next].missing <= 0:
                self._send()

        return notice

    def _send(self) -> None:
        """The next one: on all ranks in the same order."""
        if self._next:
            _ = self.buckets[self._next - 1].handle.done  # let those before go on
        self.buckets[self._next].start()
        self._next += 1

    def finish(self) -> None:
        """Send what has not been sent, and wait for all of it."""
        if self._net.n == 1:
            return
        if not self._under_way:
            self._next = 0
        try:
            while self._next < len(self.buckets):
                self._send()
            for bucket in self.buckets:
                bucket.wait()
            n = self._net.n
            self._net.count(2 * (n - 1), self._size)
            self._net.traffic.note_all(2 * (n - 1), self._size)
            self.done = True
        finally:
            self._under_way = False


def _grouped(part: Part) -> Iterator[list[Place]]:
    """The places from the last one on, some at a time, each group in ascending order."""
    group: list[Place] = []
    size = 0
    for place in reversed(part.places):
        nbytes = place.parameter.numel() * part.x.element_size()
        if group and size + nbytes > BUCKET:
            yield group[::-1]
            group, size = [], 0
        group.append(place)
        size += nbytes
    yield group[::-1]
