"""Adding up what came: weighted sums and extrema of tensors, in one pass over memory and with the same bits everywhere."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]

try:
    from . import _kernel
except ImportError:  # there was no compiler when ifog was installed
    COMPILED = False
else:
    COMPILED = os.environ.get("IFOG_KERNEL") != "off"
"""Whether the compiled kernel does the weighted sums of floating-point and complex tensors, or torch, to the same bits.

``IFOG_KERNEL=off`` in the environment leaves them to torch.
"""

_BLOCK = 512 * 1024  # bytes of a result that stay in the cache while the terms go by: memory is read and written once

# What each dtype is added up as. A complex number is two real ones, and a real weight scales both. Halves are summed in single
# precision and rounded at the end. Unsigned integers are signed ones with the same bits, which torch can add in all widths.
_REAL = {
    torch.float32: torch.float32,
    torch.float64: torch.float64,
    torch.complex64: torch.float32,
    torch.complex128: torch.float64,
}
_HALF = {torch.float16: torch.float32, torch.bfloat16: torch.float32}
_SIGNED = {
    **dict.fromkeys((torch.int8, torch.uint8), torch.int8),
    **dict.fromkeys((torch.int16, torch.uint16), torch.int16),
    **dict.fromkeys((torch.int32, torch.uint32), torch.int32),
    **dict.fromkeys((torch.int64, torch.uint64), torch.int64),
}
# torch compares these, but no unsigned integer of more than one byte
_ORDERED = {torch.float32, torch.float64, *_HALF, torch.uint8, *_SIGNED.values()}

_DEVICE_BLOCK = 2**26  # on a GPU, what lies between bounds the memory for the products: each block is a kernel of its own

_EXTREMA = {"min": torch.minimum, "max": torch.maximum}


def weighted_sum(out: torch.Tensor, terms: Sequence[torch.Tensor], weights: Sequence[float]) -> None:
    r"""Write the weighted sum of the terms into ``out``.

    .. math::
        \text{out} \leftarrow ((w_0 t_0 + w_1 t_1) + w_2 t_2) + \dots

    in this order, each product and each sum rounded by itself. The bits depend neither on the processor, nor on alignment,
    nor on whether the kernel is compiled: nodes that add the same terms get the same, not almost the same. (All but the sign
    and payload of a NaN.)

    The tensors are on the CPU, contiguous, one-dimensional, of one dtype and length; they may be views of shared memory.
    ``out`` may be ``terms[0]``, and must overlap no other. No terms give zeros. Autograd does not see what happens.

    - A half (float16, bfloat16) is summed in float32, and rounded once.
    - The weights of integers are integers, and their sum wraps around as integers do.
    - The weights of complex numbers are real. There is no sum of bools.

    >>> a, b = torch.tensor([1.0, 2.0]), torch.tensor([5.0, 6.0])
    >>> weighted_sum(a, [a, b], [0.75, 0.25])
    >>> a
    tensor([2., 3.])
    """
    address, addresses = _addresses(out, terms)
    if len(terms) != len(weights):
        raise ValueError(f"{len(terms)} terms and {len(weights)} weights: one weight for each term")
    dtype = out.dtype
    if COMPILED and dtype in _REAL:
        weighted_sum_at(address, addresses, weights, out.numel(), dtype)
    else:
        weighted_sum_by_torch(out, terms, weights)


def weighted_sum_by_torch(out: torch.Tensor, terms: Sequence[torch.Tensor], weights: Sequence[float]) -> None:
    """`weighted_sum` to the same bits, of tensors that may be on any device, if only on the same.

    >>> a, b = torch.tensor([1.0, 2.0]), torch.tensor([5.0, 6.0])
    >>> weighted_sum_by_torch(a, [a, b], [0.75, 0.25])
    >>> a
    tensor([2., 3.])
    """
    dtype = out.dtype
    if dtype in _REAL or dtype in _HALF:
        _add_up(out, terms, [float(weight) for weight in weights], _REAL.get(dtype, dtype))
    elif dtype in _SIGNED:
        _add_up(out, terms, [_integer(weight, dtype) for weight in weights], _SIGNED[dtype])
    else:
        raise TypeError(f"there is no weighted sum of {dtype}: convert the tensors, for example to torch.float32")


def weighted_sum_at(out: int, terms: Sequence[int], weights: Sequence[float], numel: int, dtype: torch.dtype) -> None:
    """`weighted_sum` of what lies at these addresses (``tensor.data_ptr()``): for callers that know them, and cannot wait.

    It exists if `COMPILED`, for float32, float64, complex64 and complex128, and believes what it is told: a wrong address
    ends the process.

    >>> a, b = torch.tensor([1.0, 2.0]), torch.tensor([5.0, 6.0])
    >>> if COMPILED:
    ...     weighted_sum_at(a.data_ptr(), [a.data_ptr(), b.data_ptr()], [0.75, 0.25], 2, torch.float32)
    """
    width = _REAL[dtype].itemsize
    _kernel.weighted_sum(out, terms, weights, numel * (dtype.itemsize // width), width)


def weighted_rows_at(
    out: int, terms: Integers, weights: Reals, starts: Integers, row_bytes: int, dtype: torch.dtype, panel: int
) -> None:
    """`weighted_sum_at` for many rows: row i adds up the terms from ``starts[i]`` to ``starts[i + 1]``.

    All rows' first ``panel`` bytes are worked out before the next, so that what several rows share stays in the cache.
    """
    _kernel.sum_rows(
        *(out, terms.ctypes.data, weights.ctypes.data, starts.ctypes.data),
        *(len(starts) - 1, row_bytes, _REAL[dtype].itemsize, panel),
    )


def combine(out: torch.Tensor, terms: Sequence[torch.Tensor], op: Literal["sum", "min", "max"]) -> None:
    """Write the sum, the least or the largest of the terms, element by element, into ``out``.

    The rules are those of `weighted_sum`. A NaN among the terms is their extremum; of 0 and -0, which are equal, either may
    be. Extrema need at least one term, and numbers that torch can compare: not complex ones.

    >>> out = torch.empty(2)
    >>> combine(out, [torch.tensor([1.0, 5.0]), torch.tensor([3.0, 4.0])], "max")
    >>> out
    tensor([3., 5.])
    """
    if op == "sum":
        weighted_sum(out, terms, [1] * len(terms))
        return
    if op not in _EXTREMA:
        raise ValueError(f"op={op!r}: 'sum', 'min' or 'max'")
    _addresses(out, terms)
    if out.dtype not in _ORDERED:
        raise TypeError(f"there is no {op} of {out.dtype}: convert the tensors, for example to torch.float32 or torch.int64")
    if not terms:
        raise ValueError(f"the {op} of no terms: give at least one")
    extremum(out, terms, op)


def extremum(out: torch.Tensor, terms: Sequence[torch.Tensor], op: str) -> None:
    """`combine` by "min" or "max", of tensors that may be on any device, if only on the same."""
    with torch.no_grad():
        for total, first, *others in _blocks(out, *terms):
            total.copy_(first)
            for term in others:
                _EXTREMA[op](total, term, out=total)


def _addresses(out: torch.Tensor, terms: Sequence[torch.Tensor]) -> tuple[int, list[int]]:
    """Where they are in memory, if it is safe to add them up there."""
    dtype, numel = out.dtype, out.numel()
    for tensor in (out, *terms):
        if tensor.dtype is not dtype:
            raise TypeError(f"a term is {tensor.dtype} and out is {dtype}: convert it with .to({dtype})")
        if tensor.numel() != numel:
            raise ValueError(f"a term has {tensor.numel()} elements and out has {numel}: they must have the same length")
        if not tensor.is_contiguous():
            raise ValueError(f"a tensor has the strides {tensor.stride()}: make it contiguous with .contiguous()")
        if not tensor.is_cpu:
            raise ValueError(f"a tensor is on {tensor.device}: move it with .cpu()")
        if dtype.is_complex and tensor.is_conj():
            raise ValueError("a tensor is a view of the conjugate: write it out with .resolve_conj()")
    address, addresses = out.data_ptr(), [term.data_ptr() for term in terms]
    if numel and address in addresses[1:]:
        raise ValueError("out is a term, but not the first: give it first, or write into another tensor")
    return address, addresses


def _blocks(*tensors: torch.Tensor) -> Iterable[tuple[torch.Tensor, ...]]:
    size = _block(tensors[0])
    if tensors[0].numel() <= size:  # the usual message is small, and `split` takes longer than adding it
        return [tensors]
    return zip(*(torch.split(tensor, size) for tensor in tensors), strict=True)


def _block(tensor: torch.Tensor) -> int:
    return (_BLOCK if tensor.is_cpu else _DEVICE_BLOCK) // tensor.itemsize


def _add_up(out: torch.Tensor, terms: Sequence[torch.Tensor], weights: Sequence[float], dtype: torch.dtype) -> None:
    """The weighted sum in torch, where the bits are read as those of ``dtype``."""
    if not terms:
        out.zero_()
        return
    if out.dtype is not dtype:
        out, *terms = (torch.view_as_real(t).view(-1) if t.is_complex() else t.view(dtype) for t in (out, *terms))
    precise = _HALF.get(dtype, dtype)
    size = min(out.numel(), _block(out))
    product = torch.empty(size, dtype=precise, device=out.device)
    total = None if precise is dtype else torch.empty_like(product)
    with torch.no_grad():
        for result, first, *others in _blocks(out, *terms):
            n = result.numel()
            if n < size:  # the last block
                product, total = product[:n], None if total is None else total[:n]
            sums = result if total is None else total
            _scale(sums, first, weights[0])
            for term, weight in zip(others, weights[1:], strict=True):
                sums.add_(term if weight == 1 else _scale(product, term, weight))
            if total is not None:
                result.copy_(total)


def _scale(product: torch.Tensor, term: torch.Tensor, weight: float) -> torch.Tensor:
    if weight == 1 or term.dtype is not product.dtype:
        term = product.copy_(term)
    # not add(…, alpha=weight), which would fuse the multiplication with the addition where the processor can
    return product if weight == 1 else torch.mul(term, weight, out=product)


def _integer(weight: float, dtype: torch.dtype) -> int:
    """The weight, wrapped around to one that a signed integer of this width can be: sums wrap around to the same bits."""
    if weight % 1 != 0:
        raise TypeError(f"the weight {weight} of a {dtype} tensor: only integers can weigh integers; convert to torch.float32")
    half = 1 << (8 * dtype.itemsize - 1)
    return (int(weight) + half) % (2 * half) - half
