"""Whatever a tensor looks like: any shape, dtype and strides; arrays; several as one message; results that are one's own."""

import numpy as np
import pytest
import torch
from agreement import examples
from hypothesis import strategies as st
from spmd_claims import (
    COMPLEX,
    FLOATS,
    HALVES,
    INEXACT,
    INTEGERS,
    LARGE,
    NUMPY,
    assert_close,
    assert_mixed,
    assert_sum,
    everyones,
    everywhere,
    me,
    n,
    numbers,
    same,
)

import ifog
from ifog import topology as t

# ---- layouts: the same numbers, lying in memory in another way ---------------------------------------------------------


def transposed(x):
    return x.transpose(0, -1).contiguous().transpose(0, -1) if x.dim() > 1 else x


def sliced(x):
    whole = torch.zeros((*x.shape[:-1], 2 * x.shape[-1] + 1), dtype=x.dtype) if x.dim() else torch.zeros(3, dtype=x.dtype)
    part = whole[..., 1::2] if x.dim() else whole[1]
    return part.copy_(x)


def conjugated(x):
    return x.conj().resolve_conj().conj() if x.is_complex() else x


def negated(x):
    """A view that torch negates when it is read: the imaginary part of a conjugate."""
    return torch.complex(torch.zeros_like(x), -x).conj().imag if x.dtype in FLOATS else x


def shared(x):
    return ifog.share(x)


def part_of_shared(x):
    whole = ifog.empty(x.numel() + 3, dtype=x.dtype)
    return whole[2 : 2 + x.numel()].view(x.shape).copy_(x)


def conjugate_of_shared(x):
    return ifog.share(x.conj().resolve_conj()).conj() if x.is_complex() else x


def array(x):
    return x.numpy() if x.dtype in NUMPY else x


def backwards(x):
    """An array with negative strides."""
    return np.flip(np.flip(x.numpy()).copy()) if x.dtype in NUMPY and x.dim() else x


def read_only(x):
    if x.dtype not in NUMPY:
        return x
    made = x.numpy().copy()
    made.flags.writeable = False
    return made


def in_a_record(x):
    """An array whose strides are no multiple of its elements' size."""
    if x.dtype not in NUMPY or not x.dim():
        return x
    records = np.zeros(x.shape, [("before", np.int8), ("x", NUMPY[x.dtype])])
    records["x"] = x.numpy()
    return records["x"]


def parameter(x):
    return torch.nn.Parameter(x, requires_grad=False) if x.dtype.is_floating_point else x


LAYOUTS = [
    transposed, sliced, conjugated, negated, shared, part_of_shared, conjugate_of_shared, array, backwards, read_only,
    in_a_record, parameter,
]  # fmt: skip
SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple) | st.sampled_from(
    [(LARGE,), (LARGE, 1, 2), (3, 5, LARGE // 3), (1, 2 * LARGE + 1), (9 * LARGE,)]
)


@examples(
    60,
    seed=st.integers(0, 10**6),
    shape=SHAPES,
    dtype=st.sampled_from([*INEXACT, *INTEGERS]),
    layout=st.integers(0, len(LAYOUTS) - 1),
    apart=st.integers(0, 3),
)
def test_shapes_dtypes_and_strides(seed, shape, dtype, layout, apart):
    """Each rank may have its numbers lie in another way."""
    xs = everyones(seed, shape, dtype)
    x = LAYOUTS[(layout + apart * me) % len(LAYOUTS)](xs[me].clone())
    y = ifog.neighbor_allreduce(x, **whole(2.0, -1.0))
    assert type(y) is (np.ndarray if isinstance(x, np.ndarray) else torch.Tensor)
    assert_mixed(y, W_whole(2.0, -1.0), xs)
    assert_sum(torch.as_tensor(ifog.allreduce(x, "sum")), dict.fromkeys(range(n), 1), xs)
    assert same(torch.as_tensor(ifog.broadcast(x, n - 1)), xs[n - 1])
    assert same(numbers(seed, shape, dtype), xs[me])


def whole(own, other):
    """Weights with which integers can be added: everyone to everyone."""
    peers = [j for j in range(n) if j != me]
    return {"self_weight": own, "src_weights": dict.fromkeys(peers, other), "dst_weights": peers}


def W_whole(own, other):
    return np.full((n, n), other) + (own - other) * np.eye(n)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("length", [6, 2 * LARGE])
def test_each_layout_is_read_as_its_numbers(layout, length):
    W = t.exponential(n).W
    for dtype in (torch.float64, torch.complex64, torch.bfloat16):
        xs = everyones(2, (length // 2, 2), dtype)
        assert_mixed(ifog.neighbor_allreduce(layout(xs[me].clone())), W, xs)


@pytest.mark.parametrize("length", [6, 2 * LARGE])
def test_an_expanded_tensor_is_read_as_its_numbers(length):
    xs = [x.expand(3, length) for x in everyones(3, (length,))]
    assert_mixed(ifog.neighbor_allreduce(xs[me]), t.exponential(n).W, xs)


def test_a_single_number_may_have_any_stride():
    for dtype in (torch.float64, torch.bfloat16, torch.int64):
        xs = [x.expand(1, 1) for x in everyones(4, (), dtype)]
        assert_mixed(ifog.neighbor_allreduce(xs[me], **whole(2.0, 1.0)), W_whole(2.0, 1.0), xs)
        out = torch.zeros((), dtype=dtype).expand(1, 1)
        assert_sum(ifog.allreduce(xs[me], "sum", out=out), dict.fromkeys(range(n), 1), xs)
        assert torch.equal(ifog.allgather(xs[me]), torch.cat(xs))


@pytest.mark.parametrize("dtype", sorted(NUMPY.values(), key=str))
def test_an_array_gives_an_array(dtype):
    x = np.zeros((2, 3), dtype)
    calls = [ifog.allreduce(x, "sum"), ifog.broadcast(x), ifog.neighbor_allreduce(x, **whole(1, 1)), ifog.allgather(x)]
    assert [(type(y), y.dtype) for y in calls] == [(np.ndarray, dtype)] * 4
    assert all(y.flags.writeable for y in calls)


# ---- several as one message --------------------------------------------------------------------------------------------


def mixed_bag(seed, rank, scale=1):
    """Tensors of several dtypes and shapes, an array, nothing, and a single number."""
    shapes = [(3, 4), (scale * 7,), (), (0, 2), (scale * 2, 5)]
    kinds = [torch.float64, torch.bfloat16, torch.complex64, torch.float32, torch.float64]
    return [numbers(seed + i, shape, dtype, rank) for i, (shape, dtype) in enumerate(zip(shapes, kinds, strict=True))]


@pytest.mark.parametrize("scale", [1, LARGE])
@pytest.mark.parametrize("container", ["list", "tuple", "dict"])
def test_a_list_a_tuple_and_a_dict_come_back_as_they_went(container, scale):
    W = t.exponential(n).W
    everybody = [mixed_bag(4, rank, scale) for rank in range(n)]
    bag = [*everybody[me][:4], everybody[me][4].numpy()]
    names = "abcde"
    x = dict(zip(names, bag, strict=True)) if container == "dict" else tuple(bag) if container == "tuple" else bag
    for y in (ifog.neighbor_allreduce(x), ifog.neighbor_allreduce_nonblocking(x).wait()):
        assert type(y) is type(x)
        if container == "dict":
            assert list(y) == list(names)
        parts = list(y.values()) if container == "dict" else list(y)
        assert [type(part) for part in parts] == [torch.Tensor] * 4 + [np.ndarray]
        for i, part in enumerate(parts):
            assert_mixed(part, W, [bag[i] for bag in everybody])
    parts = ifog.allreduce(x, "sum")
    for i, part in enumerate(parts.values() if container == "dict" else parts):
        assert_sum(part, dict.fromkeys(range(n), 1), [bag[i] for bag in everybody])
    parts = ifog.broadcast(x, n - 1)
    for i, part in enumerate(parts.values() if container == "dict" else parts):
        assert same(torch.as_tensor(part), everybody[n - 1][i])


def test_several_as_one_are_the_same_as_one_by_one():
    bag = mixed_bag(5, me, LARGE)
    for together, alone in zip(ifog.neighbor_allreduce(bag), map(ifog.neighbor_allreduce, bag), strict=True):
        assert same(together, alone)
    for together, alone in zip(ifog.allreduce(bag), map(ifog.allreduce, bag), strict=True):
        assert same(together, alone)


@pytest.mark.parametrize("empty", [[], (), {}])
def test_nothing_comes_back_as_nothing(empty):
    assert ifog.neighbor_allreduce(empty) == empty
    assert ifog.allreduce(empty) == empty
    assert ifog.broadcast(empty) == empty


@pytest.mark.parametrize("form", [lambda x: [x], lambda x: (x,), lambda x: {"x": x}])
def test_one_tensor_in_a_container_comes_back_in_it(form):
    for shape in [(3,), (LARGE,)]:
        xs = everyones(6, shape)
        y = ifog.neighbor_allreduce(form(xs[me]))
        assert type(y) is type(form(0))
        assert_mixed(next(iter(y.values() if isinstance(y, dict) else y)), t.exponential(n).W, xs)


# ---- out ---------------------------------------------------------------------------------------------------------------

CALLS = {
    "neighbor_allreduce": lambda x, **out: ifog.neighbor_allreduce(x, **out),
    "neighbor_allreduce_nonblocking": lambda x, **out: ifog.neighbor_allreduce_nonblocking(x, **out).wait(),
    "allreduce": lambda x, **out: ifog.allreduce(x, **out),
    "allreduce_nonblocking": lambda x, **out: ifog.allreduce_nonblocking(x, "sum", **out).wait() / n,
    "broadcast": lambda x, **out: ifog.broadcast(x, n - 1, **out),
    "broadcast_nonblocking": lambda x, **out: ifog.broadcast_nonblocking(x, n - 1, **out).wait(),
}
OUTS = {
    "x itself": lambda x: x,
    "another": torch.empty_like,
    "another, shared": lambda x: ifog.empty(x.shape, dtype=x.dtype),
    "not contiguous": lambda x: torch.empty(*x.shape, 2, dtype=x.dtype)[..., 1],
    "transposed": lambda x: torch.empty(x.shape[::-1], dtype=x.dtype).T,
    "a conjugate": lambda x: torch.empty_like(x).conj(),
    "a shifted view of x": lambda x: x.as_strided(x.shape, x.stride(), x.storage_offset() + x.stride()[-1]),
}
PLACES = {"private": torch.clone, "shared": ifog.share, "sliced": sliced}


def roomy(x, place):
    """The same numbers, with room for one more behind them."""
    return place(torch.cat([x.reshape(-1), x.new_zeros(1)]))[:-1].view(x.shape)


@pytest.mark.parametrize("out", OUTS)
@pytest.mark.parametrize("length", [4, 2 * LARGE])
def test_out_receives_the_result(length, out):
    for name, call in CALLS.items():
        if name == "allreduce_nonblocking":
            continue  # tested below: its op differs
        for place in PLACES.values():
            x = roomy(numbers(7, (length // 2, 2), torch.complex128), place)
            expected = call(x)
            given = OUTS[out](x)
            returned = call(x, out=given)
            assert returned is given, name
            assert same(given, expected), name


def test_allreduce_nonblocking_writes_into_out_too():
    x = numbers(8, (LARGE,))
    total = ifog.allreduce(x, "sum")
    handle = ifog.allreduce_nonblocking(x, "sum", out=x)
    assert handle.wait() is x
    assert same(x, total)


@pytest.mark.parametrize("length", [4, LARGE])
def test_x_stays_as_it_was_unless_it_is_out(length):
    x = numbers(9, (length,))
    out = torch.empty_like(x)
    ifog.neighbor_allreduce(x, out=out)
    ifog.allreduce(x)
    assert same(x, numbers(9, (length,)))


def test_out_may_be_an_array_or_several_tensors():
    x = numbers(10).numpy()
    expected = ifog.neighbor_allreduce(x)
    out = np.empty((3, 2))[:, 0]
    assert ifog.neighbor_allreduce(x, out=out) is out
    assert same(np.ascontiguousarray(out), expected)
    bag = {"a": numbers(11), "b": numbers(12, (LARGE, 2)).T, "c": numbers(13, (), torch.float32)}
    expected = ifog.neighbor_allreduce(bag)
    assert ifog.neighbor_allreduce(bag, out=bag) is bag
    assert all(same(bag[name], expected[name]) for name in bag)


# ---- results are one's own ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [4, LARGE, 20 * LARGE])
def test_a_result_stays_valid_while_it_is_held(length):
    """Five results are held while others come and go, and all inputs are overwritten: none of them changes."""
    W = t.exponential(n).W
    held = []
    for k in range(5):
        xs = everyones(k, (length,))
        x = ifog.share(xs[me]) if k % 2 else xs[me].clone()
        y = ifog.neighbor_allreduce(x)
        x.fill_(float("nan"))  # at once: the neighbours are done with it
        held.append((y, xs))
        ifog.neighbor_allreduce(numbers(100 + k, (length,)))  # not held: its memory serves again
    for y, xs in held:
        assert_mixed(y, W, xs)
    assert len({y.data_ptr() for y, _ in held}) == 5


@pytest.mark.parametrize("length", [4, LARGE])
@pytest.mark.parametrize("call", [
    ifog.neighbor_allreduce, ifog.allreduce, ifog.broadcast, ifog.allgather, ifog.neighbor_allgather, ifog.reduce_scatter,
    ifog.hierarchical_neighbor_allreduce, lambda x: ifog.allreduce(x, "max"), lambda x: ifog.neighbor_allreduce([x, x])[1],
    lambda x: ifog.neighbor_allreduce(x, self_weight=1, src_weights={}, dst_weights=[]),
])  # fmt: skip
def test_a_result_is_nobody_elses(call, length):
    """Writing into a result changes neither one's own input nor what others have; nor does writing into the input."""
    length *= n
    x = ifog.share(numbers(14, (length,)))
    first, second = call(x), call(x)
    expected = second.clone()
    assert same(first, second)
    first.fill_(float("nan"))
    ifog.barrier()
    assert same(second, expected)
    assert same(x, numbers(14, (length,)))
    x.fill_(float("nan"))
    ifog.barrier()
    assert same(second, expected)
    assert same(call(ifog.share(numbers(14, (length,)))), expected)


def test_the_usual_loop_reads_results_where_they_lie():
    """What a call returns goes into the next one, rewritten in between: as W (W x − 1) − 1 and so on."""
    W = t.exponential(n).W
    everything = np.array([x.numpy() for x in everyones(15, (LARGE,))])
    x = numbers(15, (LARGE,))
    for _ in range(10):
        x = ifog.neighbor_allreduce(x)
        x -= 1
        everything = W @ everything - 1
    np.testing.assert_allclose(x.numpy(), everything[me], rtol=0, atol=1e-13)


def test_memory_of_results_that_nobody_holds_serves_again():
    addresses = set()
    for k in range(20):
        y = ifog.neighbor_allreduce(numbers(k, (LARGE,)))
        addresses.add(y.data_ptr())
        del y
    assert len(addresses) <= 3


def test_shared_memory_of_any_kind():
    for dtype in [*FLOATS, *HALVES, *COMPLEX, *INTEGERS, torch.bool]:
        x = ifog.empty((2, 3), dtype=dtype)
        assert (x.shape, x.dtype, x.is_contiguous()) == ((2, 3), dtype, True)
    assert ifog.empty(4, 0).shape == (4, 0)
    assert ifog.empty().shape == ()
    assert ifog.empty(5).dtype == torch.get_default_dtype()
    x = numbers(16, (4, 6)).T
    shared = ifog.share(x)
    assert torch.equal(shared, x)
    assert shared.data_ptr() != x.data_ptr()
    assert torch.equal(ifog.share(torch.tensor(3.0)), torch.tensor(3.0))
    assert torch.equal(ifog.share(np.arange(3.0)), torch.arange(3.0, dtype=torch.float64))


def test_what_a_numpy_result_says_stays_true_when_the_tensor_is_gone():
    y = ifog.neighbor_allreduce(np.full(LARGE, 2.0))
    view = y[10:20]
    del y
    for k in range(4):
        ifog.neighbor_allreduce(np.full(LARGE, float(k)))
    assert view.tolist() == [2.0] * 10


@pytest.mark.parametrize("kind", [bool, torch.bool])
def test_bools_can_be_copied_though_not_added(kind):
    x = torch.tensor([True, False, me == 0])
    x = x.numpy() if kind is bool else x
    assert [bool(value) for value in ifog.broadcast(x, n - 1)] == [True, False, n == 1]
    assert len(ifog.allgather(x)) == 3 * n
    assert everywhere(1) == [1] * n


@pytest.mark.parametrize("length", [5, 3 * LARGE])
def test_where_torch_makes_new_tensors_does_not_matter(length):
    x = numbers(1, (length,))
    with torch.device("meta"):
        assert_mixed(ifog.neighbor_allreduce(x), ifog.topology().W, everyones(1, (length,)))
        parts = ifog.allreduce([x, x.float(), x.bfloat16()])
        ifog.broadcast_object(ifog.allgather(x[::2]).sum().item())
        assert ifog.empty(length).device.type == "cpu"
    assert_close(parts[0], sum(everyones(1, (length,))) / n, rtol=1e-7, atol=1e-7)


def test_autograd_knows_what_a_call_has_written():
    w = torch.ones(3, requires_grad=True)
    loss = (w * w).sum()
    ifog.neighbor_allreduce(torch.ones(3), out=w.detach())
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
