"""BlueFog's window functions: windows by name, over `ifog.comm.windows.Window`.

The tensor given to `win_create` is the window: what its owner writes into it a neighbour can get, and what `win_update` makes
is in it. For that it moves into shared memory, if nothing else looks at its memory; if something does (a view, ``p.data`` of a
parameter, a CUDA tensor), it stays where it is, and is copied in and out by each call on its window and by ``barrier``.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator

import torch

from ..comm.operation import Handle
from ..comm.windows import Window
from ..errors import ArgumentError, Mismatch
from .session import check, log, mismatched, refused, run, session

Weights = dict[int, float]


class UnknownWindow(ArgumentError, KeyError):
    """There is no window of that name."""

    __str__ = Exception.__str__  # a KeyError would show its message in quotes


class NamedWindow:
    """A window, and the user's tensor that belongs to it."""

    def __init__(self, tensor: torch.Tensor, name: str, *, zero: bool) -> None:
        self.tensor, self.lives_there = tensor, _alone(tensor)
        self.window = Window(tensor.detach(), name, zero=zero)
        if self.lives_there:
            tensor.data = self.window.value

    def publish(self) -> None:
        """Show the neighbours what the tensor holds."""
        if not self.lives_there:
            self.window.value.copy_(self.tensor.detach())

    def fetch(self) -> None:
        """Let the tensor hold what the window does."""
        if not self.lives_there:
            self.tensor.detach().copy_(self.window.value)

    def is_for(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is the window's own."""
        return tensor.data_ptr() == self.tensor.data_ptr() and tensor.shape == self.tensor.shape

    def leave(self) -> None:
        """The tensor keeps its content, in memory of its own."""
        if self.lives_there:
            self.tensor.data = self.tensor.detach().clone()


def _alone(tensor: torch.Tensor) -> bool:
    """Whether nobody else looks at a tensor's memory, so that it can move without being missed."""
    count: Callable[[int], int] | None = getattr(torch._C, "_storage_Use_Count", None)
    if count is None or not tensor.is_cpu or not tensor.is_contiguous() or not tensor.numel():
        return False
    fresh = torch.empty(1, device="cpu")
    return count(tensor.untyped_storage()._cdata) <= count(fresh.untyped_storage()._cdata)


def _window(name: str) -> NamedWindow:
    check()
    found: NamedWindow | None = session.windows.get(name)
    if found is None:
        raise refused(
            UnknownWindow(f"there is no window {name!r} (there are {sorted(session.windows)}): bf.win_create makes one")
        )
    return found


def _check_tensor(tensor: object) -> None:
    if not isinstance(tensor, torch.Tensor):
        raise refused(TypeError(f"tensor is a {type(tensor).__name__}: a window holds a tensor, e.g. torch.tensor(…)"))


# ----------------------------------------------------------------------------------------------------------- making
def win_create(tensor: torch.Tensor, name: str, zero_init: bool = False) -> bool:
    """Make a window: a buffer for each in-neighbour, which begins as this rank's tensor, or as zeros. A collective.

    False if there is a window of that name. Any dtype with a sum will do.
    """
    check()
    _check_tensor(tensor)
    if name in session.windows:
        log.error("win_create is refused: there is a window %r; free it first", name)
        return False
    session.windows[name] = run(NamedWindow, tensor, name, zero=zero_init)
    return True


def win_free(name: str | None = None) -> bool:
    """Free a window, or all of them. A collective."""
    check()
    for each in list(session.windows) if name is None else [name]:
        own = _window(each)
        run(own.window.free)
        own.leave()
        del session.windows[each]
    return True


def get_current_created_window_names() -> list[str]:
    """The names of the windows that there are, in alphabetical order."""
    return sorted(session.windows)


def get_win_version(name: str) -> dict[int, int]:
    """How often each in-neighbour's buffer was written since the last update. Unlike in BlueFog, accumulating counts."""
    return _window(name).window.versions()


# --------------------------------------------------------------------------------------------------------- updating
def win_update(
    name: str,
    self_weight: float | None = None,
    neighbor_weights: Weights | None = None,
    reset: bool = False,
    clone: bool = False,
    require_mutex: bool = False,
) -> torch.Tensor:
    """The average of tensor and buffers, with equal weights, those of a weighted topology, or the given ones.

    It is written into the tensor given to `win_create`, which is returned; or, with ``clone``, into a new one. ``reset``
    empties the buffers that were used. No buffer is written meanwhile, with or without ``require_mutex``.
    """
    own = _window(name)
    if self_weight is None and neighbor_weights is None and session.ranks is not None and session.ranks.weights is not None:
        self_weight, neighbor_weights = session.ranks.weights
    own.publish()
    before = own.window.value.clone() if clone else None
    result = run(own.window.update, self_weight, neighbor_weights, reset=reset)
    if before is not None:
        result = result.clone().to(own.tensor.device)
        own.window.value.copy_(before)
        return result
    own.fetch()
    return own.tensor


def win_update_then_collect(name: str, require_mutex: bool = True) -> torch.Tensor:
    """Add all that has arrived to the tensor, and empty the buffers: the receiving half of push-sum."""
    return win_update(name, 1.0, dict.fromkeys(_window(name).window.in_neighbors, 1.0), reset=True)


# --------------------------------------------------------------------------------------------------- writing, reading
_numbers = itertools.count(1)
_handles: dict[int, tuple[Handle[None], Callable[[], None]]] = {}


def neighbor_win_put_nonblocking(
    tensor: torch.Tensor,
    name: str,
    self_weight: float | None = None,
    dst_weights: Weights | None = None,
    require_mutex: bool = False,
) -> int:
    """`neighbor_win_put` that only begins."""
    own = _window(name)
    return _push(own, own.window.put_nonblocking, tensor, self_weight, dst_weights)


def neighbor_win_put(
    tensor: torch.Tensor,
    name: str,
    self_weight: float | None = None,
    dst_weights: Weights | None = None,
    require_mutex: bool = False,
) -> bool:
    """Overwrite this rank's buffer at its out-neighbours with ``dst_weights[j] · tensor``; then ``tensor *= self_weight``.

    All out-neighbours with weight one unless told. No buffer is read half written, with or without ``require_mutex``.
    """
    return win_wait(neighbor_win_put_nonblocking(tensor, name, self_weight, dst_weights))


def neighbor_win_accumulate_nonblocking(
    tensor: torch.Tensor,
    name: str,
    self_weight: float | None = None,
    dst_weights: Weights | None = None,
    require_mutex: bool = False,
) -> int:
    """`neighbor_win_accumulate` that only begins."""
    own = _window(name)
    return _push(own, own.window.accumulate_nonblocking, tensor, self_weight, dst_weights)


def neighbor_win_accumulate(
    tensor: torch.Tensor,
    name: str,
    self_weight: float | None = None,
    dst_weights: Weights | None = None,
    require_mutex: bool = False,
) -> bool:
    """Like `neighbor_win_put`, but adds to what the buffers hold."""
    return win_wait(neighbor_win_accumulate_nonblocking(tensor, name, self_weight, dst_weights))


def neighbor_win_get_nonblocking(name: str, src_weights: Weights | None = None, require_mutex: bool = False) -> int:
    """`neighbor_win_get` that only begins."""
    own = _window(name)
    own.publish()
    return _keep(run(own.window.get_nonblocking, src_weights), lambda: None)


def neighbor_win_get(name: str, src_weights: Weights | None = None, require_mutex: bool = False) -> bool:
    """Fill the buffers of in-neighbours with ``src_weights[j]`` times their tensors."""
    return win_wait(neighbor_win_get_nonblocking(name, src_weights))


win_put, win_put_nonblocking = neighbor_win_put, neighbor_win_put_nonblocking
win_accumulate, win_accumulate_nonblocking = neighbor_win_accumulate, neighbor_win_accumulate_nonblocking
win_get, win_get_nonblocking = neighbor_win_get, neighbor_win_get_nonblocking


def _push(
    own: NamedWindow, begin: Callable[..., Handle[None]], tensor: torch.Tensor, self_weight: float | None, dst: Weights | None
) -> int:
    _check_tensor(tensor)
    keep = 1.0 if self_weight is None else self_weight
    if own.is_for(tensor):
        own.publish()
        return _keep(run(begin, dst_weights=dst, self_weight=keep), own.fetch)

    def scale() -> None:
        if keep != 1.0:
            tensor.detach().mul_(keep)
            own.window.p *= keep

    return _keep(run(begin, tensor.detach(), dst_weights=dst), scale)


def _keep(handle: Handle[None], finish: Callable[[], None]) -> int:
    number = next(_numbers)
    _handles[number] = handle, finish
    return number


def win_poll(handle: int) -> bool:
    """Whether `win_wait` would return at once."""
    if handle not in _handles:
        raise ValueError(f"handle {handle!r} was not given by a nonblocking window call, or it has been waited for already")
    return _handles[handle][0].done


def win_wait(handle: int) -> bool:
    """Wait for a nonblocking window call; False for a handle that is unknown or was waited for already."""
    if handle not in _handles:
        log.warning("win_wait: there is no handle %r", handle)
        return False
    waiting, finish = _handles.pop(handle)
    try:
        waiting.wait()
    except Mismatch as error:
        raise mismatched(error) from None
    finish()
    return True


@contextlib.contextmanager
def win_mutex(name: str, for_self: bool = False, ranks: list[int] | None = None) -> Iterator[None]:
    """While it is held, this rank's buffers at out-neighbours (all, or those of ``ranks``) are not read or emptied by them.

    With ``for_self`` the other way round: in-neighbours do not write into their buffers here. It binds every call, not
    only those that ask with ``require_mutex``; and it opens if its holder dies.
    """
    with _window(name).window.mutex(ranks, for_self=for_self):
        yield


# -------------------------------------------------------------------------------------------------- push-sum's p
def turn_on_win_ops_with_associated_p() -> None:
    """Nothing to turn on: p always follows what the tensors do."""


def turn_off_win_ops_with_associated_p() -> None:
    """Nothing to turn off: p follows what the tensors do, and whoever does not ask does not see it."""


def win_associated_p(name: str) -> float:
    """The weight of push-sum that belongs to a window's tensor: one at first, then shared out and gathered like it."""
    return _window(name).window.p
