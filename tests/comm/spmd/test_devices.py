"""Tensors on a device stay there: ranks of a machine read each other's memory. Where there is none, one is pretended."""

import gc

import pretended
import pytest
import torch
from spmd_claims import COMPLEX, FLOATS, HALVES, INTEGERS, LARGE, all_is_well, alone, everyones, me, n, numbers, others, same

import ifog
from ifog.comm import api, world
from ifog.comm.arithmetic import combine, weighted_sum

pytestmark = pytest.mark.skipif(not pretended.KIND, reason="there is no device, pretended or real (IFOG_TEST_DEVICE)")
works = pytest.mark.skipif(not pretended.WORKS, reason="the ranks of this run cannot read each other's devices")
only_pretended = pytest.mark.skipif(pretended.KIND != "pretended", reason="a real device does not say")
W = ifog.topology.exponential(n)[0].matrix.toarray()
DTYPES = (*FLOATS, *HALVES, *COMPLEX)
# not those of `ifog` that the tests with tensors of the CPU see
neighbor_allreduce, allreduce, broadcast = api.neighbor_allreduce, api.allreduce, api.broadcast


def there(x):
    return x.to(pretended.device(), copy=True)


@pytest.fixture(autouse=True)
def _introduced():
    """Whichever test comes first, the ranks know each other's devices."""
    allreduce(there(numbers(0, (9 * LARGE,))))


def road():
    return world.current().road


def mixed(xs, weights=None):
    """What `neighbor_allreduce` gives of tensors of the host."""
    weights = {j: W[me, j] for j in range(n) if W[me, j]} if weights is None else weights
    order = [me, *(j for j in sorted(weights) if j != me)]
    out = torch.empty(xs[me].numel(), dtype=xs[me].dtype)
    weighted_sum(out, [xs[j].reshape(-1) for j in order], [weights[j] for j in order])
    return out.view(xs[me].shape)


def collected():
    """Bytes held, after what is garbage has gone."""
    gc.collect()
    return road().blocks.held


@works
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("count", [2 * LARGE + 1, 40 * LARGE + 3])
def test_neighbors_are_averaged_to_the_bits_of_the_host(dtype, count):
    xs = everyones(1, (count,), dtype)
    for _ in range(3):
        y = neighbor_allreduce(there(xs[me]))
        assert y.device == pretended.device()
        assert same(y.cpu(), mixed(xs))


@works
@pytest.mark.parametrize("dtype", [*DTYPES, *INTEGERS], ids=str)
def test_a_sum_is_the_same_as_on_the_host(dtype):
    xs = everyones(2, (3, 20 * LARGE + 1), dtype)
    out = torch.empty_like(xs[me]).view(-1)
    combine(out, [x.view(-1) for x in xs], "sum")
    assert same(allreduce(there(xs[me]), "sum").cpu(), out.view(3, -1))


@works
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_mean_is_the_same_as_on_the_host(dtype):
    xs = everyones(3, (9 * LARGE,), dtype)
    out = torch.empty_like(xs[me])
    if dtype in HALVES:
        weighted_sum(out, xs, [1 / n] * n)
    else:
        combine(out, xs, "sum")
        (torch.view_as_real(out) if dtype.is_complex else out).div_(n)
    assert same(allreduce(there(xs[me])).cpu(), out)


@works
@pytest.mark.parametrize("op", ["min", "max"])
@pytest.mark.parametrize("dtype", [*FLOATS, *HALVES, torch.int32, torch.int64, torch.uint8], ids=str)
def test_extrema_are_the_same_as_on_the_host(dtype, op):
    xs = everyones(4, (40 * LARGE,), dtype)
    if dtype.is_floating_point:
        xs[n - 1][7] = torch.nan
    out = torch.empty_like(xs[me])
    combine(out, xs, op)
    assert same(allreduce(there(xs[me]), op).cpu(), out)


@pytest.mark.parametrize("count", [3, 2 * LARGE, 100 * LARGE])
def test_everybody_has_what_the_root_has(count):
    xs = everyones(5, (count,))
    for root in range(n):
        x = there(numbers(5, (count,)))
        assert same(broadcast(x, root).cpu(), xs[root])
        assert broadcast(x, root, out=x) is x
        assert same(x.cpu(), xs[root])


def test_lists_and_dicts_travel_as_one():
    def tensors(rank):
        return {
            "a": there(numbers(6, (3, LARGE), torch.float32, rank)),
            "b": there(numbers(7, (2,), torch.float64, rank)),
            "c": there(numbers(8, (LARGE, 2), torch.float32, rank)).t(),
        }

    y = neighbor_allreduce(tensors(me))
    everyone = [tensors(rank) for rank in range(n)]
    for name in "abc":
        assert same(y[name].cpu(), mixed([x[name].cpu() for x in everyone]))
        assert y[name].device == pretended.device()
    ys = allreduce(list(tensors(me).values()), "max")
    for name, part in zip("abc", ys, strict=True):
        assert same(part.cpu(), torch.stack([x[name].cpu() for x in everyone]).amax(0))


def test_edges_and_weights_of_the_call():
    xs = everyones(9, (9 * LARGE,), torch.float32)
    back, on = (me - 1) % n, (me + 1) % n
    weights = {back: 0.75} if n > 1 else {}
    y = neighbor_allreduce(there(xs[me]), self_weight=0.25, src_weights=weights, dst_weights={on: 0.5} if n > 1 else {})
    assert same(y.cpu(), mixed(xs, {me: 0.25, back: 0.375} if n > 1 else {me: 0.25}))
    sources = ifog.in_neighbors()
    y = neighbor_allreduce(there(xs[me]), self_weight=0.5, src_weights=dict.fromkeys(sources[:1], 0.125))
    assert same(y.cpu(), mixed(xs, {me: 0.5} | dict.fromkeys(sources[:1], 0.125)))
    y = neighbor_allreduce(there(xs[me]), self_weight=0.0, src_weights=dict.fromkeys(sources, 1.0))
    if sources:
        total = torch.zeros_like(xs[me])
        weighted_sum(total, [xs[j] for j in sources], [1.0] * len(sources))
        assert same(y.cpu(), total)


@pytest.mark.parametrize("target", ["itself", "another", "a transposed one", "one in the pool", "itself, in the pool"])
def test_the_result_comes_where_it_is_wanted(target):
    shape = (9, LARGE)
    xs = everyones(10, shape)
    x = there(xs[me])
    if target == "itself, in the pool":
        x = ifog.empty(shape, dtype=x.dtype, device=x.device).copy_(x)
    out = {
        "another": torch.empty_like(x),
        "a transposed one": torch.empty(shape[::-1], dtype=x.dtype, device=x.device).t(),
        "one in the pool": ifog.empty(shape, dtype=x.dtype, device=x.device),
    }.get(target, x)
    for call, result in ((neighbor_allreduce, mixed(xs)), (lambda x, out: broadcast(x, n - 1, out=out), xs[-1])):
        if x is out:
            x.copy_(xs[me])
        assert call(x, out=out) is out
        assert same(out.cpu(), result)


def test_calls_under_way_do_not_mix():
    xs = [everyones(seed, (9 * LARGE,)) for seed in range(20, 26)]
    handles = [api.neighbor_allreduce_nonblocking(there(x[me])) for x in xs[:3]]
    handles += [api.allreduce_nonblocking(there(x[me]), "max") for x in xs[3:]]
    assert same(allreduce(there(xs[0][me]), "min").cpu(), torch.stack(xs[0]).amin(0))
    order = range(6) if me % 2 else reversed(range(6))
    for k in order:
        expected = mixed(xs[k]) if k < 3 else torch.stack(xs[k]).amax(0)
        assert same(handles[k].wait().cpu(), expected)


@works
def test_a_result_is_lent_where_it_is():
    x = neighbor_allreduce(there(numbers(11, (9 * LARGE,))))
    before = collected()
    taken = []
    take = road().blocks.take
    road().blocks.take = lambda nbytes: taken.append(nbytes) or take(nbytes)
    try:
        for _ in range(5):
            x = neighbor_allreduce(x)
    finally:
        del road().blocks.take
    assert taken == [72 * LARGE] * 5  # for the results, and for nothing else
    assert collected() == before


@works
def test_memory_that_was_asked_for_is_lent_where_it_is():
    x = ifog.empty(3, 9 * LARGE, device=pretended.device())
    assert (x.shape, x.dtype, x.device) == ((3, 9 * LARGE), torch.float32, pretended.device())
    x.fill_(me)
    before = collected()
    assert same(allreduce(x[1:], "sum").cpu(), torch.full((2, 9 * LARGE), n * (n - 1) / 2))
    assert collected() == before


@works
def test_a_result_stays_as_it_is_while_somebody_holds_a_part_of_it():
    xs = everyones(12, (9 * LARGE,))
    held = [neighbor_allreduce(there(xs[me]))[k : k + 5].view(5, 1) for k in range(6)]
    for k in range(6):
        allreduce(there(numbers(30 + k, (9 * LARGE,))))
    for k, part in enumerate(held):
        assert same(part.view(-1).cpu(), mixed(xs)[k : k + 5])


@works
def test_an_input_may_be_overwritten_when_the_call_returns():
    xs = everyones(13, (200 * LARGE,), torch.float32)
    x = ifog.empty(200 * LARGE, device=pretended.device())
    for k in range(4):
        x.copy_(xs[me]).add_(k)
        y = neighbor_allreduce(x)
        x.fill_(torch.nan)
        assert same(y.cpu(), mixed([one + k for one in xs]))


@works
def test_what_is_not_needed_is_given_back():
    before = collected()
    for k in [*range(1, 12), 3, 9, 1]:
        allreduce(there(numbers(14, (5 * k * LARGE,))))
        neighbor_allreduce(there(numbers(14, (3 * k * LARGE,))))
    for _ in range(3):  # the neighbours have heard of it, and have let go
        neighbor_allreduce(there(numbers(14, (LARGE + 1,))))
        ifog.barrier()
    assert collected() == before
    blocks = road().blocks
    sizes = [block.size for block in blocks._warm.values()]
    assert sum(sizes) <= 2 * max([*sizes, *(block.size for block in blocks.used.values())])
    assert not road()._unwished
    assert len(road()._wished) <= 2
    if pretended.KIND == "pretended":
        ours = len(blocks.used) + len(sizes) + len(road()._wished)
        assert len(road().device._blocks) == ours


@alone
@works
def test_after_a_failure_what_was_lent_is_free_again():
    neighbor_allreduce(there(numbers(15, (9 * LARGE,))))
    before = collected()
    left = []

    def calls(k):
        left.extend(api.allreduce_nonblocking(there(numbers(15, (9 * LARGE,)))) for _ in range(k))
        neighbor_allreduce(there(numbers(15, (9 * LARGE,))))
        if me == k % n:
            raise ifog.PeerFailed("by myself")
        ifog.barrier()

    for k in range(4):
        with pytest.raises(ifog.PeerFailed):
            calls(k)
        ifog.recover()
        left.clear()
        xs = everyones(16 + k, (9 * LARGE,))
        assert same(neighbor_allreduce(there(xs[me])).cpu(), mixed(xs))
    assert collected() == before


@alone
def test_a_rank_with_other_tensors_is_named():
    x = numbers(17, (9 * LARGE,), torch.float32)
    kind = pretended.device().type
    with pytest.raises(ifog.Mismatch) as caught:
        (neighbor_allreduce(there(x)) if me == 0 else neighbor_allreduce(there(x[:5])), ifog.barrier())
    assert f"neighbor_allreduce of float32 [{9 * LARGE}] on {kind} on" in str(caught.value)
    assert "neighbor_allreduce of float32 [5] on expo" in str(caught.value)
    ifog.recover()
    all_is_well()


@alone
@pytest.mark.skipif(pretended.KIND != "cuda", reason="where the CPU is pretended to be a device, there is no CPU beside it")
def test_a_rank_with_tensors_of_the_host_is_named():
    x = numbers(17, (9 * LARGE,), torch.float32)
    with pytest.raises(ifog.Mismatch) as caught:
        (neighbor_allreduce(there(x) if me == 0 else x), ifog.barrier())
    assert f"rank 0: neighbor_allreduce of float32 [{9 * LARGE}] on cuda on" in str(caught.value)
    ifog.recover()
    all_is_well()


def test_the_ranks_agree_on_whether_the_road_works():
    allreduce(there(numbers(18, (9 * LARGE,))))
    assert road().works == (pretended.WORKS or n == 1)
    assert bool(road().why) == (not road().works)
    if not road().works:
        assert road().why == "rank 1: pretended to be deaf"
    assert not any(block.readers & {me} for block in road().blocks.used.values())


def test_what_goes_through_the_host_is_pinned_for_as_long_as_it_is_kept():
    pool = world.current().pool
    for k in (1, 2, 8, 1, 3):
        xs = everyones(19, (k, 9 * LARGE))
        assert same(ifog.allgather(there(xs[me])).cpu(), torch.cat(xs))
        assert same(ifog.hierarchical_neighbor_allreduce(there(xs[me])).cpu(), torch.stack(xs).mean(0).view(k, -1)) or n > 1
    pool.kept  # noqa: B018  (what the garbage collector has freed is noted here)
    assert pool.pinned
    assert set(pool.pinned) <= {*pool.used, *pool._warm}
    if pretended.KIND != "cuda":
        assert set(road().device.pinned) == {pool.base + offset for offset in pool.pinned}


@works
def test_the_gradient_comes_the_same_way():
    x = there(numbers(21, (9 * LARGE,))).requires_grad_()
    neighbor_allreduce(x).sum().backward()
    assert x.grad.device == pretended.device()
    assert torch.allclose(x.grad.cpu(), torch.full((9 * LARGE,), float(W[:, me].sum()), dtype=torch.float64), rtol=1e-14)


@only_pretended
def test_the_road_is_taken():
    allocated = []
    device = road().device
    allocate = device.allocate
    device.allocate = lambda nbytes: allocated.append(nbytes) or allocate(nbytes)
    try:
        y = ifog.neighbor_allreduce(numbers(22, (77 * LARGE,)))
    finally:
        del device.allocate
    assert allocated == [8 * 77 * LARGE + (-8 * 77 * LARGE) % 4096] * 2  # what is lent, and the result
    assert road().blocks.holding(y) is not None
    assert {rank for rank, _ in road()._opened} <= {*others}


@alone
@works
def test_another_world_finds_its_own_road():
    old = neighbor_allreduce(there(numbers(23, (9 * LARGE,))))
    xs = everyones(23, (9 * LARGE,))
    expected = mixed(xs)
    ifog.barrier()
    ifog.shutdown()
    assert same(neighbor_allreduce(there(xs[me])).cpu(), expected)
    assert same(old.cpu(), expected)
