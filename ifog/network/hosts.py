"""Who hosts which nodes: all of them this process, or each rank of an MPI world a slice."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import torch

from ..comm import api, collectives, world
from ..comm.operation import call, start
from ..comm.packing import Packed
from ..errors import ArgumentError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Values = list[torch.Tensor]


class Pending(Protocol[T_co]):
    """Something under way."""

    def wait(self) -> T_co:
        """Its result."""
        ...


class Done:
    """Something that was there at once."""

    done = True

    def __init__(self, result: Any) -> None:
        self._result = result

    def wait(self) -> Any:
        """The result."""
        return self._result


class Here:
    """All nodes live in this process: a simulation."""

    rank, size = 0, 1

    def visit(
        self,
        values: Values,
        sources: Sequence[int],  # noqa: ARG002
        dests: Sequence[int],  # noqa: ARG002
        use: Callable[[dict[int, Values]], T],
        said: object,  # noqa: ARG002
        lengths: Sequence[int],  # noqa: ARG002
    ) -> Pending[T]:
        """Let ``use`` read what the sources have."""
        return Done(use({0: values}))

    def total(self, x: torch.Tensor) -> torch.Tensor:
        """The sum over all hosts."""
        return x


class Ranks:
    """Every rank hosts a slice; a collective, like every call on ranks."""

    def __init__(self) -> None:
        self.rank, self.size = api.rank(), api.size()

    def visit(
        self,
        values: Values,
        sources: Sequence[int],
        dests: Sequence[int],
        use: Callable[[dict[int, Values]], T],
        said: object,
        lengths: Sequence[int],
    ) -> Pending[T]:
        """Let ``use`` read what the sources have, where it lies; ``lengths`` are the rows that each host has."""
        here = world.current()
        here.check()
        like = tuple((value.dtype, tuple(value.shape[1:])) for value in values)
        signature = call("mix", None, (), (said, like), f" of {list(like)} on {said}")
        others = [rank for rank in sources if rank != self.rank]

        def read(found: list[Any]) -> T:
            slices = {self.rank: values}
            for source in found:
                heard = [
                    source.place.flat(dtype, begin, shape.numel()).view(shape)
                    for dtype, shape, begin in _layout(like, lengths[source.rank])
                ]
                slices[source.rank] = [tensor.to(mine.device) for tensor, mine in zip(heard, values, strict=True)]
            return use(slices)

        packed = Packed(values)
        return start(here, None, signature, collectives.visit(here, signature, packed, others, dests, read))

    def total(self, x: torch.Tensor) -> torch.Tensor:
        """The sum over all hosts."""
        total: torch.Tensor = api.allreduce(x, "sum")
        return total


@functools.lru_cache(maxsize=1024)
def _layout(like: tuple[tuple[torch.dtype, tuple[int, ...]], ...], rows: int) -> list[tuple[torch.dtype, torch.Size, int]]:
    """How the tensors of a host with so many rows lie in what it lends: dtype, shape, first byte."""
    packed = Packed([torch.empty((), dtype=dtype).expand(rows, *rest) for dtype, rest in like])
    return [(tensor.dtype, tensor.shape, begin) for tensor, begin in zip(packed.tensors, packed.starts, strict=True)]


Hosts = Here | Ranks


def bounds(n: int, size: int) -> list[int]:
    """The first node of each host, and n: slices as equal as can be, the longer ones first."""
    if size > n:
        raise ArgumentError(f"n={n}: {size} ranks are running, and each hosts a node at least; give at least {size} nodes")
    share, more = divmod(n, size)
    return [rank * share + min(rank, more) for rank in range(size + 1)]
