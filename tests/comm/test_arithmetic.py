"""Sums and extrema: the same bits from the kernel, from torch and from numpy, which rounds after each step."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ifog.comm
from ifog.comm import arithmetic
from ifog.comm.arithmetic import COMPILED, combine, weighted_sum, weighted_sum_at

ROOT = Path(__file__).parents[2]
FLOATS = (torch.float32, torch.float64)
HALVES = (torch.float16, torch.bfloat16)
COMPLEX = (torch.complex64, torch.complex128)
INTEGERS = (
    torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64,
)  # fmt: skip
ORDERED = (*FLOATS, *HALVES, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)
NUMPY = {torch.float32: np.float32, torch.float64: np.float64, torch.complex64: np.float32, torch.complex128: np.float64}

needs_kernel = pytest.mark.skipif(not COMPILED, reason="the kernel is not compiled, or IFOG_KERNEL=off")
PATHS = (pytest.param(True, marks=needs_kernel, id="kernel"), pytest.param(False, id="torch"))

# one, nothing, what no binary fraction is, what is too large or too small for float32
WEIGHTS = st.sampled_from([1.0, 0.0, -0.0, 0.1, 1 / 3, -2.5, 1e-42, 1e300, float("inf"), float("nan")]) | st.floats(-2, 2)
SPECIAL = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-40, -1e-45, 5e-324, 3.4e38, 65504.0]


def tensor(rng, dtype, n, offset=0):
    """Random numbers of all magnitudes, some special, so many elements into a larger memory."""
    if dtype in INTEGERS:
        numbers = torch.from_numpy(rng.integers(0, 256, n * dtype.itemsize, np.uint8).view(str(dtype)[6:]))
    else:
        parts = 2 * n if dtype.is_complex else n
        values = rng.normal(size=parts) * 10.0 ** rng.integers(-3, 3, parts)
        at = rng.random(parts) < 0.1
        values[at] = rng.choice(SPECIAL, at.sum())
        with np.errstate(over="ignore"):
            values = values.astype(NUMPY.get(dtype, np.float64))
        numbers = torch.from_numpy(values.view(str(dtype)[6:]) if dtype.is_complex else values).to(dtype)
    return torch.empty(n + offset, dtype=dtype)[offset:].copy_(numbers)


def slow_sum(terms, weights, dtype):
    """The same in numpy, one rounding after the other."""
    n = len(terms[0])
    if dtype in INTEGERS:
        total = sum((int(w) * np.array(t.tolist(), object) for t, w in zip(terms, weights, strict=True)), np.zeros(n, object))
        bits = [int(x) % (1 << 8 * dtype.itemsize) for x in total]
        return torch.from_numpy(np.array(bits, f"u{dtype.itemsize}").view(str(dtype)[6:]))
    real = NUMPY.get(dtype, np.float32)
    with np.errstate(all="ignore"):
        numbers = [t.float().numpy() if dtype in HALVES else t.numpy().view(real) for t in terms]
        total = numbers[0] * real(weights[0])
        for number, weight in zip(numbers[1:], weights[1:], strict=True):
            total = total + number * real(weight)
    return torch.from_numpy(total.view(str(dtype)[6:]) if dtype.is_complex else total).to(dtype)


def assert_same_bits(a, b):
    """Equal to the last bit; a NaN may be any NaN."""
    assert a.dtype == b.dtype
    if a.dtype.is_complex:
        a, b = torch.view_as_real(a).flatten(), torch.view_as_real(b).flatten()
    if a.is_floating_point():
        assert torch.equal(a.isnan(), b.isnan())
        a, b = a[~a.isnan()], b[~b.isnan()]
    assert a.numpy(force=True).tobytes() == b.numpy(force=True).tobytes() if a.dtype != torch.bfloat16 else a.equal(b)


def added(compiled, out, terms, weights):
    with patch.object(arithmetic, "COMPILED", compiled):
        weighted_sum(out, terms, weights)
    return out


@pytest.mark.parametrize("compiled", PATHS)
@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX, *HALVES], ids=str)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_a_sum_has_the_bits_that_numpy_gives(compiled, dtype, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    n, weights = data.draw(st.integers(0, 200)), data.draw(st.lists(WEIGHTS, min_size=1, max_size=11))
    offsets = st.integers(0, 17)
    terms = [tensor(rng, dtype, n, data.draw(offsets)) for _ in weights]
    out = tensor(rng, dtype, n, data.draw(offsets))
    assert_same_bits(added(compiled, out, terms, weights), slow_sum(terms, weights, dtype))


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 99), n=st.integers(0, 70), weights=st.lists(st.integers(-(2**70), 2**70) | st.just(3.0), min_size=1))
def test_sums_of_integers_wrap_around(dtype, seed, n, weights):
    rng = np.random.default_rng(seed)
    terms = [tensor(rng, dtype, n) for _ in weights]
    out = torch.empty(n, dtype=dtype)
    weighted_sum(out, terms, weights)
    assert_same_bits(out, slow_sum(terms, weights, dtype))


@pytest.mark.parametrize("compiled", PATHS)
@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX, *HALVES, *INTEGERS], ids=str)
def test_the_first_term_may_be_summed_in_place(compiled, dtype):
    rng = np.random.default_rng(0)
    terms, weights = [tensor(rng, dtype, 101) for _ in range(6)], [2, 1, 0, 3, 1, 1]
    expected = slow_sum(terms, weights, dtype)
    assert_same_bits(added(compiled, terms[0], terms, weights), expected)


@pytest.mark.parametrize("compiled", PATHS)
@pytest.mark.parametrize("k", [1, 2, 4, 5, 17, 300])
def test_a_long_sum_of_many_terms_in_many_blocks(compiled, k):
    rng = np.random.default_rng(k)
    n = 20_001 if k > 100 else 140_001  # more than one chunk of the kernel; more than one block of torch
    terms, weights = [tensor(rng, torch.float32, n, 4) for _ in range(min(k, 17))], rng.normal(size=k).tolist()
    terms = [terms[j % 17] for j in range(k)]
    assert_same_bits(added(compiled, torch.empty(n), terms, weights), slow_sum(terms, weights, torch.float32))


@needs_kernel
@pytest.mark.parametrize("offset", [0, 4, 60])
def test_what_is_written_past_the_caches_is_written_completely(offset):
    n = (32 << 20) // 4 + 7
    rng = np.random.default_rng(offset)
    terms = [torch.from_numpy(rng.random(n, np.float32)), torch.ones(n)]
    memory = bytearray(4 * n + offset + 64)
    out = torch.frombuffer(memory, dtype=torch.float32, count=n, offset=offset)
    weighted_sum(out, terms, [0.3, 0.7])
    assert torch.equal(out, terms[0] * 0.3 + 0.7)
    assert not any(memory[:offset])
    assert not any(memory[-64:])


@pytest.mark.parametrize("compiled", PATHS)
@pytest.mark.parametrize("dtype", [*FLOATS, *HALVES, torch.int32], ids=str)
def test_nothing_beside_the_result_is_written(compiled, dtype):
    for n in range(70):
        memory = torch.full((n + 20,), 7, dtype=dtype)
        term = torch.ones(n, dtype=dtype)
        added(compiled, memory[10 : 10 + n], [term, term, term], [1, 2, 3])
        assert memory.tolist() == [7] * 10 + [6] * n + [7] * 10


@pytest.mark.parametrize("compiled", PATHS)
def test_no_terms_give_zeros_and_one_of_weight_one_a_copy(compiled):
    out = torch.full((5,), torch.nan)
    assert added(compiled, out, [], []).tolist() == [0.0] * 5
    term = torch.tensor([-0.0, torch.inf, 1e-45, 1.0, 2.0])
    assert_same_bits(added(compiled, out, [term], [1]), term)


@pytest.mark.parametrize("compiled", PATHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.bfloat16, torch.uint16], ids=str)
def test_tensors_of_one_or_no_element_may_have_any_stride(compiled, dtype):
    for n in (0, 1):
        term = torch.arange(8).to(dtype)[::7][1 : 1 + n]
        assert added(compiled, torch.zeros(n, dtype=dtype), [term, term], [1, 2]).tolist() == [21] * n
        assert added(compiled, term, [term, term.clone()], [1, 2]).tolist() == [21] * n


@pytest.mark.parametrize("compiled", PATHS)
def test_parameters_can_be_summed_and_autograd_does_not_see_it(compiled):
    parameter = torch.ones(3, requires_grad=True)
    added(compiled, parameter, [parameter, torch.ones(3)], [0.5, 1.0])
    assert parameter.tolist() == [1.5] * 3
    assert parameter.is_leaf


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 99), n=st.integers(0, 200), k=st.integers(1, 9), block=st.sampled_from([64, 4096]))
@pytest.mark.parametrize("dtype", ORDERED, ids=str)
@pytest.mark.parametrize("op", ["min", "max"])
def test_extrema_are_those_of_numpy_and_nan_wins(op, dtype, seed, n, k, block):
    rng = np.random.default_rng(seed)
    terms = [tensor(rng, dtype, n) for _ in range(k)]
    out = terms[0] if seed % 2 else torch.empty(n, dtype=dtype)
    stack = np.stack([t.double().numpy() if dtype.is_floating_point else t.numpy() for t in terms])
    expected = torch.from_numpy((np.min if op == "min" else np.max)(stack, axis=0)).to(dtype)
    with patch.object(arithmetic, "_BLOCK", block):
        combine(out, terms, op)
    assert torch.allclose(out, expected, rtol=0, atol=0, equal_nan=True)  # 0 and -0 are equal


@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX, *HALVES, *INTEGERS], ids=str)
def test_a_plain_sum_is_one_with_all_weights_one(dtype):
    rng = np.random.default_rng(0)
    terms = [tensor(rng, dtype, 33) for _ in range(4)]
    out = torch.empty(33, dtype=dtype)
    combine(out, terms, "sum")
    assert_same_bits(out, slow_sum(terms, [1] * 4, dtype))


def test_halves_are_rounded_once_at_the_end():
    large, small = torch.full((3,), 2048.0, dtype=torch.float16), torch.ones(3, dtype=torch.float16)
    out = torch.empty(3, dtype=torch.float16)
    weighted_sum(out, [large, small, small], [1, 1, 1])  # in float16, 2048 + 1 is 2048
    assert out.tolist() == [2050.0] * 3


@needs_kernel
@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX], ids=str)
def test_addresses_serve_as_well_as_tensors(dtype):
    rng = np.random.default_rng(0)
    terms = [tensor(rng, dtype, 50) for _ in range(3)]
    out = torch.empty(50, dtype=dtype)
    weighted_sum_at(out.data_ptr(), tuple(t.data_ptr() for t in terms), (0.1, 0.2, np.float32(0.25)), 50, dtype)
    assert_same_bits(out, slow_sum(terms, [0.1, 0.2, 0.25], dtype))


@needs_kernel
@pytest.mark.parametrize("width", [4, 8])
def test_an_address_may_be_any_byte(width):
    dtype = np.dtype(f"f{width}")
    rng = np.random.default_rng(width)
    for n in (1, 3, 64, 9001):
        terms, weights = rng.normal(size=(5, n)).astype(dtype), [0.1, 0.2, 0.3, 0.4, 0.5]
        memory = [np.frombuffer(b"?" * (j + 1) + term.tobytes(), np.uint8) for j, term in enumerate(terms)]
        out = np.zeros(n * width + 20, np.uint8)
        addresses = [bytes_.ctypes.data + j + 1 for j, bytes_ in enumerate(memory)]
        weighted_sum_at(out.ctypes.data + 7, addresses, weights, n, getattr(torch, dtype.name))
        expected = slow_sum([torch.from_numpy(term) for term in terms], weights, getattr(torch, dtype.name))
        assert out.tobytes() == bytes(7) + expected.numpy().tobytes() + bytes(13)


@needs_kernel
def test_the_kernel_refuses_what_it_cannot_read():
    from ifog.comm import _kernel

    with pytest.raises(TypeError, match="got 2 arguments"):
        _kernel.weighted_sum(0, [])
    with pytest.raises(ValueError, match="2 terms and 1 weights"):
        _kernel.weighted_sum(0, [0, 0], [1.0], 0, 4)
    with pytest.raises(ValueError, match="width=2"):
        _kernel.weighted_sum(0, [], [], 0, 2)
    with pytest.raises(TypeError):
        _kernel.weighted_sum(0, [0], ["half"], 0, 4)
    with pytest.raises(OverflowError):
        _kernel.weighted_sum(0, [0], [1.0], -1, 4)


X = torch.ones(4)


@pytest.mark.parametrize("compiled", PATHS)
@pytest.mark.parametrize(
    ("out", "terms", "weights", "error", "words"),
    [
        (X, [X, X.clone()], [1.0], ValueError, "2 terms and 1 weights: one weight for each term"),
        (X, [X.double()], [1.0], TypeError, "a term is torch.float64 and out is torch.float32"),
        (X, [torch.ones(5)], [1.0], ValueError, "a term has 5 elements and out has 4"),
        (X, [torch.ones(8)[::2]], [1.0], ValueError, r"strides \(2,\): make it contiguous"),
        (X, [torch.ones(4, device="meta")], [1.0], ValueError, r"on meta: move it with .cpu\(\)"),
        (X, [X.clone(), X], [1.0, 1.0], ValueError, "out is a term, but not the first"),
        (X * 1j, [(X * 1j).conj()], [1.0], ValueError, r"a view of the conjugate: .* with .resolve_conj\(\)"),
        (X > 0, [X > 0], [1], TypeError, "no weighted sum of torch.bool"),
        (X.int(), [X.int()], [0.5], TypeError, "the weight 0.5 of a torch.int32 tensor: only integers"),
        (X.int(), [X.int()], [float("nan")], TypeError, "the weight nan of a torch.int32 tensor"),
        (X.byte(), [X.byte()], [float("inf")], TypeError, "the weight inf of a torch.uint8 tensor"),
    ],
    ids=lambda value: "" if isinstance(value, (torch.Tensor, list)) else None,
)
def test_a_sum_that_cannot_be_says_why(compiled, out, terms, weights, error, words):
    with pytest.raises(error, match=words):
        added(compiled, out, terms, weights)


@pytest.mark.parametrize(
    ("out", "terms", "op", "error", "words"),
    [
        (X, [X], "mean", ValueError, "op='mean': 'sum', 'min' or 'max'"),
        (X, [], "min", ValueError, "the min of no terms"),
        (X.to(torch.complex64), [X.to(torch.complex64)], "max", TypeError, "no max of torch.complex64"),
        (X.to(torch.uint16), [X.to(torch.uint16)], "max", TypeError, "no max of torch.uint16"),
        (X > 0, [X > 0], "min", TypeError, "no min of torch.bool"),
        (X > 0, [X > 0], "sum", TypeError, "no weighted sum of torch.bool"),
        (X, [X.clone(), X], "min", ValueError, "out is a term, but not the first"),
    ],
    ids=lambda value: "" if isinstance(value, (torch.Tensor, list)) else None,
)
def test_an_extremum_that_cannot_be_says_why(out, terms, op, error, words):
    with pytest.raises(error, match=words):
        combine(out, terms, op)


def again():
    """The module as another process would import it."""
    spec = importlib.util.spec_from_file_location("ifog.comm.arithmetic_again", arithmetic.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_kernel
def test_the_environment_turns_the_kernel_off(monkeypatch):
    assert again().COMPILED
    monkeypatch.setenv("IFOG_KERNEL", "off")
    assert not again().COMPILED


def test_without_the_kernel_torch_does_it(monkeypatch):
    monkeypatch.delattr(ifog.comm, "_kernel", raising=False)
    monkeypatch.setitem(sys.modules, "ifog.comm._kernel", None)
    module = again()
    assert not module.COMPILED
    out = torch.empty(4)
    module.weighted_sum(out, [X, X], [0.5, 1.0])
    assert out.tolist() == [1.5] * 4


@pytest.mark.slow
@pytest.mark.parametrize(("compiler", "compiled"), [("/bin/false", False), (None, True)])
def test_ifog_is_installed_with_and_without_a_compiler(tmp_path, compiler, compiled):
    if compiled and not shutil.which("cc"):
        pytest.skip("no C compiler")
    checkout, site = tmp_path / "checkout", tmp_path / "site"
    checkout.mkdir()
    for name in ("cluster", "widgets", "ifog", "pyproject.toml", "README.md", "LICENSE"):
        subprocess.run(["cp", "-r", ROOT / name, checkout / name], check=True)
    for binary in checkout.glob("ifog/comm/*.so"):
        binary.unlink()
    environment = {**os.environ, "PYTHONPATH": str(site), "IFOG_KERNEL": "on"} | ({"CC": compiler} if compiler else {})
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, checkout]
    run = subprocess.run(install, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    code = "from ifog.comm import arithmetic; print(arithmetic.__file__); print(arithmetic.COMPILED)"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    file, flag = run.stdout.splitlines()
    assert Path(file).is_relative_to(site)
    assert flag == str(compiled)
