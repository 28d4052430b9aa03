"""The training of a model is a problem like any other: every method carries it on, and nothing depends on who computes it."""

import copy
import functools
import pickle
import time

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import ifog
from ifog.errors import ArgumentError, ExperimentError, IfogWarning, MethodError, ProblemError, TopologyError
from ifog.experiment import LrSchedule
from ifog.learning import fit, from_model, load, trained
from ifog.problems import digits, least_squares

X, Y = load_digits(return_X_y=True)
X, Y = torch.tensor(X / 16, dtype=torch.float32), torch.tensor(Y)
TRAIN, TEST = (X[:1437], Y[:1437]), (X[1437:], Y[1437:])


def mlp(hidden=16, dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, hidden), nn.Tanh(), nn.Linear(hidden, 10)).to(dtype)


def conv():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)
    )


def by_hand(problem, model, row, samples):
    """The gradient of one model on these samples, by autograd alone."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for p, part in zip(other.parameters(), row.split([p.numel() for p in other.parameters()]), strict=True):
            p.copy_(part.view(p.shape))
    loss = cross_entropy(other(problem._shared["X"][samples]), problem._shared["y"][samples])
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(other.parameters()))])


# ------------------------------------------------------------------------------------------------ gradients and batches
@pytest.mark.parametrize("together", [1, 3, 8])
@pytest.mark.parametrize("model", [mlp(), conv()], ids=["mlp", "conv"])
def test_virtual_nodes_are_the_nodes_one_after_the_other(model, together):
    problem = from_model(model, TRAIN, 8, alpha=0.5, together=together)
    nodes = range(2, 7)
    x = problem.start(nodes) + 0.1 * torch.randn(5, problem.d, generator=torch.Generator().manual_seed(3))
    batch = problem.batch(nodes, 4, 12, seed=5)
    found = problem.gradient(x, nodes, batch)
    for row, (i, picks) in enumerate(zip(nodes, batch.picks, strict=True)):
        samples = problem._data["samples"][i][picks]
        torch.testing.assert_close(found[row], by_hand(problem, model, x[row], samples), rtol=1e-4, atol=1e-6)


def test_an_exact_gradient_is_over_all_samples_also_where_nodes_have_unequally_many():
    model = mlp(dtype=torch.float64)
    parts = [range(700), range(700, 710), range(710, 1437)]
    problem = from_model(model, (TRAIN[0].double(), TRAIN[1]), parts=parts, weight_decay=0.1)
    x = problem.start(range(3))
    for i, part in enumerate(parts):
        expected = by_hand(problem, model, x[i], torch.tensor(list(part))) + 0.1 * x[i]
        torch.testing.assert_close(problem.gradient(x, range(3))[i], expected, rtol=1e-10, atol=1e-12)
    z = x.clone().requires_grad_()
    problem.loss(z, range(3)).sum().backward()
    torch.testing.assert_close(z.grad, problem.gradient(x, range(3)), rtol=1e-10, atol=1e-12)


def test_every_sample_comes_once_in_an_epoch_and_nothing_depends_on_who_asks():
    problem = from_model(mlp(), TRAIN, 8)
    size, rounds = 12, problem.sizes[3]  # so many batches of 12 are 12 epochs
    taken = torch.cat([problem.batch([3], k, size, seed=1).picks[0] for k in range(rounds)]).view(size, -1)
    assert (taken.sort(1).values == torch.arange(problem.sizes[3])).all()
    assert not (taken[0] == taken[1]).all()
    together, alone = problem.batch(range(8), 7, 5, seed=1), problem.batch([6, 2], 7, 5, seed=1)
    assert (together.picks[[6, 2]] == alone.picks).all()
    assert (together.picks != problem.batch(range(8), 7, 5, seed=2).picks).any()


def test_the_twin_in_problems_has_the_same_numbers():
    twin = digits(6, hidden=(5,), seed=2)
    model = nn.Sequential(nn.Linear(64, 5), nn.Tanh(), nn.Linear(5, 10)).double()

    def turned(x):  # the twin's matrices lie the other way round
        W, b, V, c = x.split([320, 5, 50, 10], dim=1)
        return torch.cat([W.view(-1, 64, 5).mT.flatten(1), b, V.view(-1, 5, 10).mT.flatten(1), c], 1)

    data = twin._data["X"].flatten(0, 1), twin._data["y"].flatten()
    ours = from_model(model, data, parts=np.arange(len(data[1])).reshape(6, -1))
    given = {"topology": "ring", "steps": 30, "lr": 0.2}
    start = twin.start(range(6))
    for method in ("dgd", "diging", "dmsgd", "qg_dmsgd"):
        theirs = ifog.run(method, twin, **given)
        mine = ifog.run(method, ours, start=turned(start), **given)
        torch.testing.assert_close(mine.x, turned(theirs.x), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(mine.history["loss"], theirs.history["loss"], rtol=1e-10)


def test_pictures_in_bytes_are_numbers_from_0_to_1_and_records_look_at_some_of_many_samples():
    torch.manual_seed(0)
    pictures, classes = torch.randint(256, (6000, 1, 4, 4), dtype=torch.uint8), torch.randint(3, (6000,))
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    given = {"nodes": 4, "topology": "ring", "steps": 3, "batch": 16, "evaluate": 1e-9}
    run, other = fit(model, (pictures, classes), **given), fit(model, (pictures / 255, classes), **given)
    torch.testing.assert_close(run.x, other.x, rtol=0, atol=0)
    problem = run._experiment.steps.problem
    batch = problem.looked_at(range(4))
    assert batch.picks.shape == (4, 1024)
    assert len(batch.picks[2].unique()) == 1024
    g = problem.gradient(run.x, range(4), batch).mean(0)
    assert run.history["gradient_norm"].iloc[-1] == pytest.approx(float(g.norm()), rel=1e-5)
    seen = pictures[problem._data["samples"][2][batch.picks[2]]] / 255
    loss = cross_entropy(trained(run)(seen), classes[problem._data["samples"][2][batch.picks[2]]])
    assert float(problem.losses(run.x.mean(0)[None], range(4))[0, 2]) == pytest.approx(loss.item(), rel=1e-4)


def test_there_may_be_more_nodes_than_test_samples():
    few = TEST[0][:3], TEST[1][:3]
    for nodes in (3, 4, 7):
        run = fit(mlp(), TRAIN, nodes=nodes, topology="ring", steps=1, test=few)
        right = (trained(run)(few[0]).argmax(1) == few[1]).float().mean()
        assert run.history["accuracy_of_mean"].iloc[-1] == pytest.approx(right.item())


def test_a_linear_model_is_least_squares():
    twin = least_squares(4, d=3, samples=10)
    A, b = twin._data["A"], twin._data["b"]
    model = nn.Linear(3, 1, bias=False).double()
    ours = from_model(
        model,
        (A.flatten(0, 1), b.flatten()),
        parts=np.arange(40).reshape(4, 10),
        loss=lambda out, y: ((out[:, 0] - y) ** 2).mean() / 2,
    )
    given = {"topology": "ring", "steps": 50, "lr": 0.1}
    mine = ifog.run("exact_diffusion", ours, start=torch.zeros(3), **given)
    torch.testing.assert_close(mine.x, ifog.run("exact_diffusion", twin, **given).x, rtol=1e-12, atol=1e-12)


def test_allreduce_is_one_process_with_the_whole_batch():
    model = mlp(dtype=torch.float64)
    data = TRAIN[0].double(), TRAIN[1]
    run = fit(model, data, method="pmsgd", nodes=4, topology="complete", steps=20, batch=8, lr=0.1, beta=0.9, seed=3)
    problem = run._experiment.steps.problem
    alone, (inputs, targets) = copy.deepcopy(model), data
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.1, momentum=0.9)
    for k in range(20):
        picks = problem.batch(range(4), k, 8, seed=3).picks
        samples = problem._data["samples"].gather(1, picks).flatten()
        optimizer.zero_grad()
        cross_entropy(alone(inputs[samples]), targets[samples]).backward()
        optimizer.step()
    for p, q in zip(trained(run).parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-11)


# ----------------------------------------------------------------------------------------------------- kinds of models
def test_normalisation_counts_anew_and_dropout_is_the_node_s_own():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 10))
    before = copy.deepcopy(model.state_dict())
    run = fit(model, TRAIN, nodes=4, topology="ring", epochs=6, lr=0.3, test=TEST, seed=1)
    problem = run._experiment.steps.problem
    assert all((value == before[name]).all() for name, value in model.state_dict().items())
    ready = trained(run)
    assert not ready.training
    with torch.no_grad():
        score = float((ready(TEST[0]).argmax(1) == TEST[1]).float().mean())
    assert score == pytest.approx(run.history["accuracy_of_mean"].iloc[-1], abs=1e-6)
    assert score > 0.8
    hidden = ready[0](problem._shared["X"][problem._shared["seen"][:256]])
    torch.testing.assert_close(ready[1].running_mean, hidden.mean(0), rtol=1e-4, atol=1e-5)

    x, batch = problem.start(range(4)), problem.batch(range(4), 9, 16, seed=1)
    alone = problem.batch([2], 9, 16, seed=1)
    state = torch.random.get_rng_state()
    torch.testing.assert_close(problem.gradient(x, range(4), batch)[2], problem.gradient(x[:1], [2], alone)[0], rtol=0, atol=0)
    assert (torch.random.get_rng_state() == state).all()
    other = problem.gradient(x, range(4), problem.batch(range(4), 10, 16, seed=1))
    assert (problem.gradient(x, range(4), batch) != other).any()


class Dropped(nn.Module):
    """A model whose random numbers no layer of its own stands for."""

    def __init__(self, how, p):
        super().__init__()
        self.how, self.p = how, p
        self.first = nn.LSTM(8, 8, num_layers=2, dropout=p) if how == "lstm" else nn.MultiheadAttention(8, 2, dropout=p)
        self.last = nn.Linear(64, 10)

    def forward(self, x):
        x = x.view(-1, 8, 8).transpose(0, 1)
        if self.how == "function":
            x = nn.functional.dropout(x, self.p, self.training)
        else:
            x = self.first(x)[0] if self.how == "lstm" else self.first(x, x, x)[0]
        return self.last(x.transpose(0, 1).flatten(1))


@pytest.mark.parametrize("how", ["lstm", "attention", "function"])
def test_random_numbers_are_the_node_s_own_wherever_a_model_draws_them(how):
    model = Dropped(how, 0.5)
    state = torch.random.get_rng_state()
    problem = from_model(model, TRAIN, 4)
    x, batch, alone = problem.start(range(4)), problem.batch(range(4), 9, 16, seed=1), problem.batch([2], 9, 16, seed=1)
    assert torch.equal(problem.gradient(x, range(4), batch)[2], problem.gradient(x[:1], [2], alone)[0])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not from_model(Dropped(how, 0.0), TRAIN, 4, together=1)._random


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_runs_that_work_at_the_same_time_do_not_disturb_each_other(dropout):
    model = nn.Sequential(mlp(), nn.Dropout(dropout))
    problem = from_model(model, TRAIN, 4, test=TEST)
    given = {"topology": "ring", "batch": 8, "steps": 150, "every": 10}
    alone = [ifog.run("dgd", problem, lr=lr, wait=True, **given) for lr in (0.1, 0.5)]
    together = [ifog.run("dgd", problem, lr=lr, wait=False, **given) for lr in (0.1, 0.5)]
    while not all(run.over for run in together):
        made = problem.model(problem._start())
        assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in made.parameters())
    for run, other in zip(together, alone, strict=True):
        assert torch.equal(run.wait().x, other.x)
        assert run.history["accuracy_of_mean"].tolist() == other.history["accuracy_of_mean"].tolist()


def test_tied_and_frozen_parameters_and_several_types_are_one_vector():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(64, 64), nn.Linear(64, 64)
            self.b.weight = self.a.weight
            self.last = nn.Linear(64, 10).double()
            self.a.bias.requires_grad_(False)

        def forward(self, x):
            return self.last(torch.tanh(self.b(torch.tanh(self.a(x)))).double())

    torch.manual_seed(0)
    model = Odd()
    bias = model.a.bias.clone()
    run = fit(model, TRAIN, nodes=3, topology="ring", steps=5, lr=0.1)
    problem = run._experiment.steps.problem
    assert list(problem.shapes) == ["a.weight", "b.bias", "last.weight", "last.bias"]
    assert problem.dtype == torch.float64
    made = trained(run)
    assert made.a.weight is made.b.weight
    assert [name for name, p in made.named_parameters() if p.requires_grad] == list(problem.shapes)
    assert (made.a.bias == bias).all()
    assert made.a.weight.dtype == torch.float32
    assert (made.a.weight != model.a.weight).any()


def test_layers_may_have_steps_of_their_own():
    run = fit(mlp(), TRAIN, method="lars", nodes=2, topology="complete", steps=1, batch=None, lr=1.0, beta=0.0, eta=0.01)
    problem = run._experiment.steps.problem
    start = problem._start()
    for before, moved in zip(start.split(problem.segments), (run.x[0] - start).split(problem.segments), strict=True):
        if before.norm() > 0:
            assert float(moved.norm()) == pytest.approx(0.01 * float(before.norm()), rel=1e-4)


# ------------------------------------------------------------------------------------------------------------- training
def test_it_trains_and_a_schedule_is_steered():
    seen = []
    run = fit(mlp(), TRAIN, nodes=8, epochs=4, batch=16, lr=0.5, lr_schedule="cosine", warmup=1, test=TEST, evaluate=0.5)
    history = run.history
    assert history["accuracy_of_mean"].iloc[-1] > 0.8
    assert history["accuracy"].iloc[-1] == pytest.approx(history["accuracy_of_mean"].iloc[-1], abs=0.05)
    assert history["accuracy_spread"].iloc[0] == 0 < history["accuracy_spread"].iloc[3]
    assert list(history["lr"]) == [0.5 * LrSchedule("cosine", steps=44, warmup=11)(int(k)) for k in history["iteration"]]

    def factor(k):
        seen.append(k)
        return 1 / (1 + k)

    run = fit(mlp(), TRAIN, nodes=2, topology="ring", steps=6, lr=0.5, lr_schedule=factor, evaluate=1e-9)
    run.extend(2, lr=0.25)
    assert list(run.history["lr"])[4:] == [0.5 / 5, 0.5 / 6, 0.5 / 7, 0.25 / 8, 0.25 / 9]
    assert set(seen) == set(range(9))


def test_shapes_of_schedules():
    linear = LrSchedule("linear", steps=30, warmup=10)
    assert [linear(k) for k in (0, 4, 9, 10, 20, 30, 40)] == [0.1, 0.5, 1, 1, 0.5, 0, 0]
    assert [LrSchedule("root")(k) for k in (0, 3, 99)] == [1, 0.5, 0.1]
    assert LrSchedule("cosine", steps=10)(5) == pytest.approx(0.5)
    for given, words in [
        ({"shape": "cosin"}, "did you mean 'cosine'"),
        ({"shape": "cosine"}, "steps=0"),
        ({"shape": "drops"}, "at which iterations"),
        ({"shape": "drops", "at": (3,), "factor": 2}, "at most 1"),
    ]:
        with pytest.raises(ArgumentError, match=words):
            LrSchedule(**given)
    with pytest.raises(ArgumentError, match="it has no lr"):
        ifog.run("consensus", "averaging", n=4, topology="ring", steps=3, lr_schedule="root")


@pytest.mark.parametrize(
    "make",
    [
        torch.optim.AdamW,
        functools.partial(torch.optim.SGD, momentum=0.9, dampening=0.3, weight_decay=0.01),
        functools.partial(torch.optim.RMSprop, centered=True),
        torch.optim.Adagrad,
    ],
    ids=["AdamW", "SGD", "RMSprop", "Adagrad"],
)
def test_a_torch_optimizer_steps_for_every_node_as_for_one(make):
    model = mlp(dtype=torch.float64)
    data = TRAIN[0].double(), TRAIN[1]
    run = fit(
        model, data, method="local_sgd", H=1000, optimizer=make, nodes=3, topology="ring", steps=12, batch=8, lr=0.01, seed=4
    )
    problem = run._experiment.steps.problem
    for node in range(3):
        alone, (inputs, targets) = copy.deepcopy(model), data
        optimizer = make(alone.parameters())
        optimizer.param_groups[0]["lr"] = 0.01
        for k in range(12):
            samples = problem._data["samples"][node][problem.batch([node], k, 8, seed=4).picks[0]]
            optimizer.zero_grad()
            cross_entropy(alone(inputs[samples]), targets[samples]).backward()
            optimizer.step()
        for p, q in zip(trained(run, node).parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-8, atol=1e-10)


def test_a_torch_optimizer_counts_its_steps_in_any_type():
    model = nn.Linear(64, 10, dtype=torch.bfloat16)
    run = fit(model, TRAIN, optimizer=torch.optim.Adam, nodes=2, topology="ring", steps=300, batch=1, lr=0.01, evaluate=1e3)
    memory = run._experiment.steps.s
    assert memory["torch_step"].tolist() == [[300], [300]]
    assert memory["torch_exp_avg"].dtype == torch.bfloat16


def test_what_goes_to_engines_comes_back_as_it_was():
    make = functools.partial(torch.optim.AdamW, weight_decay=0.1)
    run = fit(mlp(), TRAIN, optimizer=make, nodes=4, topology="ring", steps=3, lr=0.01)
    steps = run._experiment.steps
    method, problem = pickle.loads(pickle.dumps((steps.method, steps.problem)))
    again = ifog.run(method, problem, topology="ring", steps=3, batch=32, lr=0.01)
    assert (again.x == run.x).all()


def test_a_torch_optimizer_is_kept_and_refused(tmp_path):
    given = {"optimizer": torch.optim.AdamW, "nodes": 4, "topology": "ring", "batch": 16, "lr": 0.01, "test": TEST}
    path = tmp_path / "run.pt"
    whole = fit(mlp(), TRAIN, steps=40, **given)
    assert whole.about["method"] == "atc with AdamW"
    assert whole.history["accuracy_of_mean"].iloc[-1] > 0.7
    fit(mlp(), TRAIN, steps=25, checkpoint=path, **given)
    assert (fit(mlp(), TRAIN, steps=40, checkpoint=path, resume=True, **given).x == whole.x).all()
    with pytest.raises(ArgumentError, match="method='atc with AdamW', and this is 'dgd'"):
        fit(mlp(), TRAIN, steps=50, checkpoint=path, resume=True, **{**given, "optimizer": None, "method": "dgd"})
    for wrong, error, words in [
        ({"optimizer": torch.optim.LBFGS}, ArgumentError, "cannot step|every number by itself"),
        ({"optimizer": torch.optim.Adafactor}, ArgumentError, "every number by itself"),
        ({"optimizer": "adam"}, ArgumentError, "give a torch optimizer's class"),
        ({"method": "consensus"}, MethodError, "it makes no steps"),
    ]:
        with pytest.raises(error, match=words):
            fit(mlp(), TRAIN, steps=2, **{**given, **wrong})


# ----------------------------------------------------------------------------------------------------------- checkpoints
def test_it_goes_on_from_a_checkpoint_bit_for_bit(tmp_path):
    given = {"method": "dmsgd", "nodes": 4, "topology": "ring", "batch": 16, "lr": 0.2, "lr_schedule": "cosine", "test": TEST}
    whole = fit(mlp(), TRAIN, steps=60, **given)
    path = tmp_path / "run.pt"
    schedule = LrSchedule("cosine", steps=60)

    def until_35(k):
        if k == 35:
            raise RuntimeError("the lights went out")
        return schedule(k)

    with pytest.raises(RuntimeError, match="lights"):
        fit(mlp(), TRAIN, steps=60, checkpoint=path, **{**given, "lr_schedule": until_35})
    kept = ifog.Run.load(path)
    assert (kept.iteration, kept.status) == (22, "stopped")
    rest = fit(mlp(), TRAIN, steps=60, checkpoint=path, resume=True, **given)
    assert (rest.x == whole.x).all()
    ours, theirs = rest.history, whole.history
    for name in ("iteration", "loss", "accuracy", "accuracy_of_mean", "accuracy_spread", "bytes", "lr"):
        assert list(ours[name]) == list(theirs[name])
    done = fit(mlp(), TRAIN, steps=60, checkpoint=path, resume=True, **given)
    assert (done.status, done.iteration) == ("done", 60)

    model = mlp(seed=9)
    assert load(model, path) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    for p, q in zip(model.parameters(), trained(whole).parameters(), strict=True):
        torch.testing.assert_close(p, q)

    with pytest.raises(ArgumentError, match=r"4 nodes then and 8 now.*the mean of all nodes' models: 4 of 4 tensors"):
        fit(mlp(), TRAIN, steps=90, checkpoint=path, resume=True, **{**given, "nodes": 8})
    with pytest.raises(ArgumentError, match=r"0.weight was \[16, 64\] and is \[12, 64\].*: 1 of 4 tensors"):
        fit(mlp(12), TRAIN, steps=90, checkpoint=path, resume=True, **given)
    assert load(mlp(12), path) == ["2.bias"]
    with pytest.raises(ExperimentError, match="no tensor in it has name and shape"):
        load(nn.Linear(3, 2), path)
    normalised = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Linear(16, 10))
    with pytest.warns(IfogWarning, match="running statistics of normalisation are not in it"):
        assert load(normalised, path) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    list(loop := ifog.loop(3))
    loop.run.save(tmp_path / "loop")
    with pytest.raises(ExperimentError, match="no training of a model"):
        load(model, tmp_path / "loop")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ExperimentError, match="no whole file"):
        fit(mlp(), TRAIN, steps=90, checkpoint=path, resume=True, **given)
    ifog.run("dgd", "quadratic", n=4, topology="ring", steps=3, lr=0.1).save(path)
    with pytest.raises(ArgumentError, match="it trains no model"):
        fit(mlp(), TRAIN, steps=90, checkpoint=path, resume=True, **given)


def test_a_cell_that_trains_can_be_run_again_as_it_is(tmp_path):
    path = tmp_path / "run.pt"
    given = {"nodes": 4, "topology": "ring", "batch": 16, "lr": 0.2, "test": TEST}
    start = 0.01 * torch.ones(from_model(mlp(), TRAIN, 4).d)
    how = {"checkpoint": path, "resume": True, "start": start, "pace": 1e6}
    fit(mlp(), TRAIN, steps=20, **how, **given)
    rest = fit(mlp(), TRAIN, steps=40, evaluate=0.25, **how, **given)
    assert torch.equal(rest.x, fit(mlp(), TRAIN, steps=40, start=start, **given).x)
    assert rest.pace == 1e6
    assert rest.history["iteration"].tolist() == [0, 20, 24, 30, 36, 40]
    held = fit(mlp(), TRAIN, steps=60, paused=True, wait=False, **how, **given)
    held.step()
    while held.iteration < 41:
        time.sleep(0.001)
    assert held.status == "paused"
    held.resume()
    assert held.wait(timeout=60).iteration == 60
    written = path.read_bytes()
    for steps in (60, 50):
        done = fit(mlp(), TRAIN, steps=steps, **how, **given)
        assert (done.status, done.iteration, done.marks) == ("done", 60, [])
        for p, q in zip(trained(done).parameters(), trained(held).parameters(), strict=True):
            assert torch.equal(p, q)
    assert path.read_bytes() == written


# ------------------------------------------------------------------------------------------------------------ bad input
class Strange(nn.Linear):
    def forward(self, x):
        return [super().forward(x)]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"model": "mlp"}, ProblemError, "give a torch module"),
        ({"model": nn.ReLU()}, ProblemError, "nothing to train"),
        ({"model": nn.Linear(3, 10)}, ProblemError, r"inputs of shape \(2, 64\)"),
        ({"model": nn.Linear(64, 9)}, ProblemError, "classes are 0 to 9, and the model returns 9"),
        ({"model": Strange(64, 10)}, ProblemError, "returned a list"),
        ({"model": nn.Linear(64, 10, device="meta")}, ProblemError, "meta"),
        ({"data": TRAIN[0]}, ProblemError, "give inputs and targets"),
        ({"data": (TRAIN[0], TRAIN[1][:5])}, ProblemError, "1437 inputs and 5 targets"),
        ({"data": (TRAIN[0] / 0, TRAIN[1])}, ProblemError, r"data\[0\] holds nan or inf"),
        ({"test": (TEST[0][:, :5], TEST[1])}, ProblemError, "test: its inputs"),
        ({"loss": lambda out, y: cross_entropy(out, y, reduction="none")}, ProblemError, "mean over the samples"),
        ({"alpha": 0}, ProblemError, "alpha=0"),
        ({"alpha": 1.0, "parts": [[0], [1]]}, ProblemError, "give one of them"),
        ({"parts": [[0], []]}, ProblemError, r"parts\[1\]"),
        ({"parts": [[0], [1437]]}, ProblemError, "0 to 1436"),
        ({"nodes": 0}, ArgumentError, "nodes"),
        ({"nodes": 1438}, ProblemError, "1437 samples"),
        ({"epochs": 1}, ArgumentError, "one of them"),
        ({"steps": None}, ArgumentError, "epochs=10"),
        ({"steps": None, "epochs": -1}, ProblemError, "epochs=-1"),
        ({"batch": 0}, ArgumentError, "batch"),
        ({"lr_schedule": 3}, ArgumentError, "lr_schedule=3"),
        ({"resume": True}, ArgumentError, "from which file"),
        ({"resume": True, "checkpoint": "run.pt", "on": object()}, ArgumentError, "what runs elsewhere begins anew"),
        ({"topology": ifog.topology.ring(5)}, TopologyError, "5"),
        ({"method": "adm"}, MethodError, "no method 'adm'"),
        ({"method": "extra", "nodes": 4, "topology": "exponential"}, MethodError, "symmetric"),
        ({"momentum": 0.9}, ArgumentError, "no parameter 'momentum'"),
    ],
)
def test_what_is_wrong_is_said(given, error, words):
    given = {
        "model": mlp(),
        "data": TRAIN,
        "nodes": 2 if "parts" not in given else None,
        "topology": "ring",
        "steps": 2,
        **given,
    }
    with pytest.raises(error, match=words):
        fit(given.pop("model"), given.pop("data"), **given)
