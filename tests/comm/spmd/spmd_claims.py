"""What the tests on ranks share: everybody's inputs, which every rank can make, and the exact answers."""

import contextlib

import numpy as np
import pytest
import torch

import ifog

me, n = ifog.rank(), ifog.size()
others = [rank for rank in range(n) if rank != me]
alone = pytest.mark.skipif(n == 1, reason="there is nobody else")
LARGE = 5000
"""So many numbers of any dtype of 8 bytes and more are not copied into a slot, but read where they lie."""

FLOATS = (torch.float64, torch.float32)
HALVES = (torch.float16, torch.bfloat16)
COMPLEX = (torch.complex128, torch.complex64)
INTEGERS = (
    torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64,
)  # fmt: skip
INEXACT = (*FLOATS, *HALVES, *COMPLEX)
NUMPY = {dtype: np.dtype(str(dtype).removeprefix("torch.")) for dtype in (*FLOATS, torch.float16, *COMPLEX, *INTEGERS)}
ROUNDING = {torch.float32: 2.0**-24, torch.complex64: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
WIDE = np.finfo(np.longdouble).eps < 2e-16  # elsewhere the sums that we compare with are no better than ifog's


def numbers(seed, shape=(3,), dtype=torch.float64, rank=me):
    """What a rank brings: random numbers that every rank can draw for it. Integers of all sizes, which wrap around."""
    rng = np.random.default_rng([seed, rank])
    count = int(np.prod(shape))
    if dtype in INTEGERS:
        bits = rng.integers(0, 256, count * dtype.itemsize, np.uint8).view(NUMPY[dtype])
        return torch.from_numpy(bits).view(shape)
    values = rng.normal(size=count)
    if dtype.is_complex:
        values = values + 1j * rng.normal(size=count)
    return torch.from_numpy(values).view(shape).to(dtype)


def everyones(seed, shape=(3,), dtype=torch.float64):
    """What all ranks bring."""
    return [numbers(seed, shape, dtype, rank) for rank in range(n)]


def wide(x):
    """The numbers as they are, with more digits to calculate in; those of a complex tensor as pairs."""
    if isinstance(x, np.ndarray):
        x = torch.from_numpy(x.copy())
    x = x.detach().resolve_conj().resolve_neg()
    if x.is_complex():
        x = torch.view_as_real(x)
    return (x.float() if x.dtype in HALVES else x).numpy().astype(np.longdouble)


def assert_sum(y, weights, xs):
    r"""y is :math:`\sum_j w_j x_j`, as exactly as its dtype can say it."""
    terms = [(weights[rank], xs[rank]) for rank in sorted(weights)]
    dtype = xs[me].dtype
    assert (tuple(y.shape), torch.as_tensor(y).dtype) == (tuple(xs[me].shape), dtype)
    if dtype in INTEGERS:
        total = sum((np.uint64(int(w) % 2**64) * _integers(x) for w, x in terms), np.uint64(0) * _integers(y))
        assert not ((total - _integers(y)) & np.uint64(2 ** (8 * dtype.itemsize) - 1)).any()
        return
    exact = sum((np.longdouble(w) * wide(x) for w, x in terms), np.zeros_like(wide(y)))
    size = sum((abs(np.longdouble(w)) * abs(wide(x)) for w, x in terms), np.zeros_like(wide(y)))
    if dtype in (torch.float64, torch.complex128):
        bound = (1e-15 if WIDE else 2e-15) * size
    elif dtype in HALVES:  # added up in float32, rounded once
        bound = (len(terms) + 1) * 2.0**-24 * size + ROUNDING[dtype] * abs(exact) + 2.0**-25
    else:
        bound = (len(terms) + 1) * ROUNDING[dtype] * size
    assert (abs(wide(y) - exact) <= bound).all(), f"{y} instead of {exact}"


def _integers(x):
    """The numbers modulo 2**64."""
    x = np.atleast_1d(x.numpy() if isinstance(x, torch.Tensor) else x)
    return x if x.dtype == np.uint64 else x.astype(np.int64).view(np.uint64)


def assert_mixed(y, W, xs):
    """y is this rank's row of W x."""
    assert_sum(y, {j: W[me, j] for j in range(n) if W[me, j] or j == me}, xs)


def same(a, b):
    """Equal to the last bit."""
    a, b = (torch.from_numpy(np.ascontiguousarray(x)) if isinstance(x, np.ndarray) else x.detach() for x in (a, b))
    return (a.shape, a.dtype, _bits(a)) == (b.shape, b.dtype, _bits(b))


def _bits(x):
    return x.resolve_conj().resolve_neg().contiguous().view(-1).view(torch.uint8).numpy().tobytes() if x.numel() else b""


def assert_close(a, b, *, rtol, atol):
    """What `torch.testing.assert_close` says, which first imports all of torch.distributed: half a second of each rank."""
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    np.testing.assert_allclose(a.detach(), b.detach(), rtol=rtol, atol=atol, equal_nan=False)


def everywhere(x):
    """What all ranks have, as they have it."""
    return ifog.allgather_object(x)


def all_is_well():
    """The ranks are in step: a sum over all of them is what it should be."""
    total = ifog.allreduce(torch.tensor([me + 1.0]), "sum")
    assert total.item() == n * (n + 1) / 2


@contextlib.contextmanager
def refused(error, *words):
    """All ranks make the same mistake: each is told, nothing is sent, and the next call works."""
    with pytest.raises(error) as caught:
        yield
    for word in words:
        assert word in str(caught.value), f"{word!r} is not in: {caught.value}"
    all_is_well()
