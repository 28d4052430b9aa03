"""Every method in the register is held to everything here."""

import inspect
import sys

import numpy as np
import pytest
import torch
from method_claims import CLAIMS, step
from quadratics import iterate, ls4, ls8, ls16

from ifog import algorithms
from ifog import topology as t
from ifog.algorithms import method, zeros
from ifog.errors import ArgumentError, MethodError
from ifog.network import Network

METHODS = algorithms.all()
every = pytest.mark.parametrize("name", METHODS)
with_step = pytest.mark.parametrize("name", [name for name, m in METHODS.items() if "lr" in m.parameters])
EXACT = [name for name, claim in CLAIMS.items() if claim.ends == "optimum"]


def test_every_method_has_a_row_in_the_table():
    assert list(CLAIMS) == list(METHODS)


@every
def test_it_ends_where_it_claims(name):
    claim, problem = CLAIMS[name], ls16()
    topology, lr = claim.topology(problem.n), step(name)
    tail = []

    def keep(k, x, s):
        if k >= claim.steps - 48:
            tail.append(x.clone())

    def error(**lr):
        tail.clear()
        iterate(name, problem, topology, claim.steps, each=keep, **lr, **claim.parameters)
        return float(np.mean([problem.error(x) for x in tail]))

    if claim.ends == "mean":
        start = torch.from_numpy(np.random.default_rng(1).standard_normal((problem.n, problem.d)))
        x = iterate(name, problem, topology, claim.steps, x=start, **claim.parameters)
        assert problem.error(x, at=start.numpy().mean(0)) < claim.within
    elif claim.ends == "optimum":
        assert error(**lr) < claim.within
    elif callable(claim.ends):
        x = iterate(name, problem, topology, claim.steps, **lr, **claim.parameters)
        target = claim.ends(problem, topology.W, lr["lr"])
        assert problem.error(x, at=target) < claim.within
        assert problem.error(target) > 1e-3  # which is not the optimum
    else:
        whole, half = error(**lr), error(lr=lr["lr"] / 2)
        assert whole < claim.within
        assert whole / half == pytest.approx({"like α": 2, "like √α": 2**0.5}[claim.ends], rel=0.15)


@every
def test_what_is_written_says_what_it_is_in_one_line_with_formula_and_paper(name):
    made = METHODS[name]
    assert made.summary.endswith(".")
    assert len(made.summary) < 130
    assert "ends" in made.summary or "mean" in made.summary
    assert r"\nabla" in made.formula or "lr" not in made.parameters or "texttt" in made.formula
    assert made.formula.count("{") == made.formula.count("}")
    assert "20" in made.paper or name == "finite_time"
    assert "ifog" not in made.paper


@every
def test_its_signature_is_that_of_a_method(name):
    given = list(inspect.signature(METHODS[name].function).parameters)
    assert given[:4] == ["net", "x", "grad", "s"]
    assert [p for p, default in METHODS[name].parameters.items() if default is algorithms.REQUIRED] in (["lr"], [])


@every
def test_one_node_alone_descends_or_stays(name):
    claim, problem = CLAIMS[name], ls8()
    alone = type(problem).of(problem.H[:1], problem.c[:1])
    graph = t.ceca(1) if claim.topology is t.ceca else t.ring(1)
    x = iterate(name, alone, graph, 3, x=torch.ones(1, alone.d, dtype=torch.float64), **step(name, alone))
    assert x.isfinite().all()
    if claim.aL == 0:
        assert torch.equal(x, torch.ones_like(x)) or name == "choco_gossip"
    else:
        assert alone.error(x) < alone.error(np.ones((1, alone.d)))


@every
def test_the_memory_it_declares_is_the_memory_it_has(name):
    claim, problem = CLAIMS[name], ls4()
    net = Network(claim.topology(problem.n))
    x = torch.zeros(problem.n, problem.d, dtype=torch.float64)
    parameters = METHODS[name].check(net, **step(name, problem), **claim.parameters)
    before = METHODS[name].start(net, x, **parameters)
    shapes = {part: before[part].shape for part in before}
    seen = {}
    iterate(name, problem, net.topology, 3, each=lambda k, x, s: seen.update(s=s), **step(name, problem), **claim.parameters)
    assert {part: seen["s"][part].shape for part in seen["s"]} == shapes
    assert all(seen["s"][part].dtype == x.dtype for part in seen["s"])


@every
def test_the_iterate_that_came_in_is_not_written_to(name):
    claim, problem = CLAIMS[name], ls4()
    x = torch.ones(problem.n, problem.d, dtype=torch.float64)
    iterate(name, problem, claim.topology(problem.n), 2, x=x, **step(name, problem), **claim.parameters)
    assert torch.equal(x, torch.ones_like(x))


@every
def test_float32_stays_float32(name):
    claim, problem = CLAIMS[name], ls8()
    x = iterate(name, problem, claim.topology(8), 5, dtype=torch.float32, **step(name, problem), **claim.parameters)
    assert x.dtype == torch.float32


@with_step
def test_a_warm_up_from_a_step_of_zero_does_no_harm(name):
    claim, problem = CLAIMS[name], ls16()
    lr = step(name)["lr"]

    def warm(k, x, s):
        assert x.isfinite().all()
        return {"lr": lr if k >= 10 else 0.0}

    topology = claim.topology(problem.n)
    x = iterate(name, problem, topology, claim.steps, each=warm, lr=0, **claim.parameters)
    at = claim.ends(problem, topology.W, lr) if callable(claim.ends) else None
    assert problem.error(x, at=at) < 1.1 * claim.within


@pytest.mark.parametrize("name", EXACT)
def test_a_step_that_changes_leaves_the_exact_exact(name):
    claim, problem = CLAIMS[name], ls16()
    lr = step(name)["lr"]
    topology = claim.topology(problem.n)
    x = iterate(
        name,
        problem,
        topology,
        5 * claim.steps if name != "proxskip" else 2 * claim.steps,
        each=lambda k, x, s: {"lr": lr / 10 if k >= 15 else lr},
        lr=lr,
        **claim.parameters,
    )
    assert problem.error(x) < 1e-7


# ---- what is refused -------------------------------------------------------------------------------------------------

WRONG = {
    "doubly_stochastic": (lambda n: t.uniform(t.star(n)), r"rows and columns sum to one; .*metropolis\(graph\)"),
    "row_stochastic": (lambda n: t.push(t.star(n)), "rows sum to one; "),
    "column_stochastic": (lambda n: t.uniform(t.star(n)), r"columns sum to one; .*push\(graph\)"),
    "symmetric": (t.exponential, "it needs a symmetric W; try ring, grid or symmetric_exponential"),
    "static": (t.one_peer_hypercube, "it needs the same W in every round; choose a fixed graph"),
    "tree": (t.ring, "it needs a tree; choose chain, star or binary_tree"),
    "two_trees": (t.ring, "it needs a schedule of two trees; choose double_binary_tree"),
    "above_minus_one_third": (t.ring, "eigenvalues above −1/3; take lazy"),
    "undirected": (t.directed_ring, "try ring, grid or symmetric_exponential"),
    "two_buffers": (t.ring, r"it needs a schedule of two buffers; choose ceca\(n\)"),
}


@every
def test_a_topology_that_does_not_fit_is_refused_by_name_with_advice(name):
    made = METHODS[name]
    for need in made.needs:
        make, advice = WRONG[need]
        topology = make(8)
        with pytest.raises(MethodError, match=rf"^{name} on .*: .*{advice}") as refused:
            made.check_topology(Network(topology))
        assert topology.label in str(refused.value)
    if "two_buffers" not in made.needs and made.needs:
        with pytest.raises(MethodError):
            made.check_topology(Network(t.ceca(8)))
    made.check_topology(Network(CLAIMS[name].topology(8)))


def test_on_a_schedule_of_two_buffers_the_advice_is_what_works_there():
    with pytest.raises(MethodError, match=r"dgd on ceca\(8\): .* for dsgd_ceca and ceca_consensus"):
        algorithms.dgd.check_topology(Network("ceca", 8))


@pytest.mark.parametrize(
    ("name", "topology", "aL"),
    [
        ("exact_diffusion", t.exponential(16), 0.1),
        ("decentlam", t.exponential(16), 0.01),
        ("decentlam", t.one_peer_exponential(16), 0.01),
        ("d2", t.grid(16), 0.1),
        ("extra_slide", t.grid(16), 0.1),
    ],
    ids=lambda value: getattr(value, "label", None),
)
def test_what_is_refused_would_diverge(name, topology, aL):
    problem, made, net = ls16(), METHODS[name], Network(topology)
    with pytest.raises(MethodError):
        made.check_topology(net)
    x = torch.zeros(16, 10, dtype=torch.float64)
    s = made.start(net, x)
    for _ in range(3000):
        x = made(net, x, lambda x=x: problem.gradient(x, net.nodes), s, lr=aL / problem.L)
        net.advance()
    assert not float(x.abs().max()) < 1e3  # or no number at all


@pytest.mark.parametrize("need", algorithms.NEEDS)
def test_every_need_is_met_by_what_it_advises_and_not_by_what_it_refuses(need):
    make, _ = WRONG[need]
    fits = {
        "tree": t.chain(8),
        "two_trees": t.double_binary_tree(8),
        "two_buffers": t.ceca(8),
        "above_minus_one_third": t.lazy(t.ring(8)),
    }
    assert algorithms.NEEDS[need].holds(fits.get(need, t.symmetric_exponential(8)))
    assert not algorithms.NEEDS[need].holds(make(8))


@every
def test_wrong_parameters_are_refused_by_name(name):
    made = METHODS[name]
    given = step(name)
    if given:
        with pytest.raises(ArgumentError, match=f"{name} needs lr: give it, e.g. lr=0.1"):
            made.check_parameters()
        with pytest.raises(ArgumentError, match="did you mean lr"):
            made.check_parameters(lrr=0.1)
    for parameter in made.parameters:
        with pytest.raises(ArgumentError, match=f"{parameter}=nan of {name}: give a finite number"):
            made.check_parameters(**{**given, parameter: float("nan")})
        with pytest.raises(ArgumentError, match=f"{parameter}=-1 of {name}: give .*, e.g. {parameter}="):
            made.check_parameters(**{**given, parameter: -1})
    assert made.check_parameters(**given) == {**dict(made.parameters), **given}


@pytest.mark.parametrize(
    "wrong",
    [{"beta": 1}, {"H": 0}, {"H": 2.5}, {"mode": "all"}, {"p": 0}, {"tau": -1}, {"levels": 0}, {"gamma": 2}, {"lr": "a"}],
)
def test_parameters_out_of_bounds_are_refused(wrong):
    (name,) = wrong
    made = next(made for made in METHODS.values() if {name, "lr"} <= set(made.parameters))
    with pytest.raises(ArgumentError, match=f"{name}="):
        made.check_parameters(**({"lr": 0.1} | wrong))


def test_a_name_that_is_nearly_right_is_put_right():
    with pytest.raises(MethodError, match="did you mean exact_diffusion"):
        algorithms.find("exact_difusion")


# ---- one's own -------------------------------------------------------------------------------------------------------


@pytest.fixture
def register(monkeypatch):
    module = sys.modules["ifog.algorithms.method"]
    monkeypatch.setattr(module, "_register", dict(module._register))


def test_a_method_of_ones_own_takes_three_lines(register):
    @method(needs="doubly_stochastic")
    def mine(net, x, grad, s, *, lr):
        return net.mix(x) - lr * grad()

    assert algorithms.find("mine") is mine
    assert list(algorithms.all())[-1] == "mine"
    problem, lr = ls16(), 0.1 / ls16().L
    assert torch.equal(iterate("mine", problem, "ring", 50, lr=lr), iterate("dgd", problem, "ring", 50, lr=lr))


def test_and_is_gone_after_the_test():
    assert "mine" not in algorithms.all()


def test_the_name_of_a_method_of_ifog_is_not_for_ones_own(register):
    with pytest.raises(MethodError, match=r"dgd is a method of ifog's own, from ifog\.algorithms\.descent: .*e\.g\. my_dgd"):

        @method()
        def dgd(net, x, grad, s, *, lr):
            return x

    assert algorithms.find("dgd") is METHODS["dgd"]


def test_a_cell_that_is_edited_defines_its_method_again(register):
    cell = "from ifog.algorithms import method\n@method()\ndef edited(net, x, grad, s):\n    return x + {}"
    notebook = {"__name__": "__main__"}
    for edit in (1, 2):
        exec(cell.format(edit), notebook)
        assert algorithms.find("edited") is notebook["edited"]
        assert float(iterate("edited", ls4(), "ring", 1)[0, 0]) == edit


def test_memory_that_was_not_declared_is_refused(register):
    @method(m=zeros)
    def forgetful(net, x, grad, s):
        s.n = x
        return x

    with pytest.raises(MethodError, match=r"no part 'n'; it has m: declare it, as in @method\(n=zeros\)"):
        iterate(forgetful, ls4(), "ring", 1)


def test_a_need_that_does_not_exist_is_refused():
    with pytest.raises(MethodError, match="did you mean symmetric"):
        method(needs="symetric")
