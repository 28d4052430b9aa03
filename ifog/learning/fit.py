"""`fit`: train a model on many nodes in one call, as a run like any other."""

from __future__ import annotations

import copy
import functools
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..algorithms import Method, find
from ..errors import ArgumentError, ExperimentError, IfogWarning
from ..experiment import Run
from ..experiment import run as run_method
from ..experiment.crew import crew
from ..experiment.live import checked_pace
from ..experiment.lr_schedule import lr_schedule as schedule_for
from ..experiment.place import Place
from ..network.network import schedule_of
from ..problems.arguments import real, whole
from .from_model import Loss, Trained, from_model
from .ranks import begin_alike
from .stacked_steps import stepped


def fit(
    model: nn.Module,
    data: Any,
    *,
    method: Any = "atc",
    nodes: int | None = None,
    topology: Any = "exponential",
    epochs: float | None = None,
    steps: int | None = None,
    batch: int | None = 32,
    lr: float = 0.1,
    lr_schedule: Any = None,
    warmup: float = 0.0,
    optimizer: Any = None,
    test: Any = None,
    loss: Loss | None = None,
    alpha: float | None = None,
    parts: Sequence[Any] | None = None,
    weight_decay: float = 0.0,
    evaluate: float = 1.0,
    seed: int = 0,
    checkpoint: Any = None,
    resume: bool = False,
    device: torch.device | str | None = None,
    on: Place | None = None,
    name: str | None = None,
    **others: Any,
) -> Run:
    """Train a model on ``nodes`` nodes by a method of `ifog.algorithms`: each on its own data, all from the same start.

    On ranks they share the nodes out, by default one each, and begin with the parameters of rank 0; elsewhere it simulates.
    ``data``, ``test``, ``loss``, ``alpha``, ``parts``, ``weight_decay`` and ``device`` are those of `from_model`. It takes
    so many ``epochs`` (each node goes once through its samples) or ``steps``. ``lr`` is multiplied by the ``lr_schedule``, a
    name ("cosine", "linear", "root"), an `ifog.experiment.LrSchedule` or a function of the iteration, and rises to it over the
    first ``warmup`` epochs. Every ``evaluate`` epochs it is recorded: the ``loss`` at the mean of all models and, with
    ``test``, its ``accuracy_of_mean``, the mean ``accuracy`` of the nodes' models and its ``accuracy_spread`` over them.

    ``optimizer``, such as ``torch.optim.AdamW`` or a `functools.partial` of it, makes the steps instead: what it subtracts from
    the parameters takes the place of α∇f(x) in the method, and ``lr`` is its own.

    At the same times it is written to the file ``checkpoint``, if there is one; with ``resume`` it goes on from there, bit for
    bit, if the file is there already. Whatever else is given goes to `ifog.run` and the method: ``progress``, ``wait``,
    ``speeds``, ``beta`` … The result is a run like any other; `trained` makes a model of it.

    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> X, test = X / 16, (X[1500:] / 16, y[1500:])
    >>> run = fit(nn.Linear(64, 10), (X[:1500], y[:1500]), nodes=8, topology="ring", epochs=5, lr=0.5, test=test)
    >>> bool(run.history["accuracy_of_mean"].iloc[-1] > 0.7)
    True
    """
    who = crew()
    if nodes is None and parts is None:
        if on is not None:
            raise ArgumentError("nodes is missing: say how many there are on the engines, as in nodes=8")
        nodes = getattr(topology, "n", None) or who.size
    found = find(method) if optimizer is None else stepped(find(method), optimizer)
    make = functools.partial(
        from_model,
        data=data,
        n=None if nodes is None else whole("nodes", nodes, minimum=1, error=ArgumentError),
        test=test,
        loss=loss,
        alpha=alpha,
        parts=parts,
        weight_decay=weight_decay,
        seed=seed,
        device=device,
    )
    problem = make(model)
    epoch = _epoch(problem, batch)
    if (epochs is None) == (steps is None):
        raise ArgumentError("epochs and steps: say how long to train by one of them, as in epochs=10")
    if steps is None:
        assert epochs is not None
        steps = math.ceil(real("epochs", epochs, above=0) * epoch)
    steps = whole("steps", steps, error=ArgumentError)
    rise = round(real("warmup", warmup, at_least=0) * epoch)
    every = max(1, round(real("evaluate", evaluate, above=0) * epoch))
    shaped: dict[str, Any] = {"lr_schedule": schedule_for(lr_schedule, steps, rise), "lr": lr}
    if resume and checkpoint is None:
        raise ArgumentError("resume=True: say from which file, as in checkpoint='run.pt'")
    if resume and on is not None:
        raise ArgumentError("resume=True with on=…: what runs elsewhere begins anew; call fit there, or leave one of them out")
    keep = {} if checkpoint is None else {"checkpoint": checkpoint, "checkpoint_every": every}
    if who.size > 1 and on is None:  # not before it is sure that nothing is wrong with what was given here
        alike = copy.deepcopy(model)
        begin_alike(alike)
        problem = make(alike)
    if resume and on is None and who.told(Path(checkpoint).exists()):
        about = {"method": found.name, "batch": batch, "seed": seed}
        return _resumed(problem, found, topology, steps, about, {**shaped, **keep, "every": every, **others})
    return run_method(
        found,
        problem,
        topology=topology,
        steps=steps,
        batch=batch,
        every=every,
        seed=seed,
        on=on,
        name=name,
        **shaped,
        **keep,
        **others,
    )


def _epoch(problem: Trained, batch: int | None) -> int:
    """How many iterations take the nodes once through their samples."""
    if batch is None:
        return 1
    return max(1, round(sum(problem.sizes) / problem.n / whole("batch", batch, minimum=1, error=ArgumentError)))


def _resumed(problem: Trained, method: Method, topology: Any, steps: int, about: dict[str, Any], given: dict[str, Any]) -> Run:
    path, run = given["checkpoint"], Run.load(given["checkpoint"])
    other = problem.differences((run._content or {}).get("facts") or {})
    if other:
        raise ArgumentError(
            f"checkpoint={path}: it is of another training: {other}. Choose another name, or delete it to begin anew"
        )
    for name, value in about.items():
        if run.about[name] != value:
            raise ArgumentError(
                f"{name}: {path} is of a run with {name}={run.about[name]!r}, and this is {value!r}: it goes on as it began, "
                "or ifog.learning.load(model, path) takes the model from it"
            )
    given.pop("start", None)  # that was for its beginning
    run._pace = checked_pace(given.pop("pace", None))
    left, wanted = max(0, steps - run.iteration), schedule_of(topology, problem.n)
    if not left:  # it is there as it ended, and only its model is put together
        given |= {"checkpoint": None, "paused": False}
        wanted = run.topology or wanted
    swapped = None if wanted == run.topology else wanted
    return run.extend(left, problem=problem, method=method, topology=swapped, **given)


def trained(run: Run, node: int | None = None) -> nn.Module:
    """The model that a run of `fit` has come to: the mean of all nodes' models, or that of one node. On ranks, a collective.

    >>> import ifog
    >>> X, y = torch.randn(64, 3), torch.randint(2, (64,))
    >>> trained(fit(nn.Linear(3, 2), (X, y), nodes=4, steps=10))
    Linear(in_features=3, out_features=2, bias=True)
    """
    experiment = run._experiment
    problem = None if experiment is None else experiment.steps.problem
    if not isinstance(problem, Trained):
        raise ExperimentError(
            f"{run.name}: no model is trained by it in this process; a file of a run goes into a model by "
            "ifog.learning.load(model, path)"
        )
    if node is not None:
        whole("node", node, maximum=problem.n - 1, error=ArgumentError)
    here, x = experiment.steps.net.nodes, experiment.steps.x
    if node is None:
        mine = x.sum(0, dtype=torch.float64) / problem.n
    elif node in here:
        mine = x[node - here.start].double()
    else:
        mine = torch.zeros(problem.d, dtype=torch.float64, device=x.device)
    return problem.model(experiment.crew.start_sum(mine).wait().to(x.dtype), node)


def load(model: nn.Module, path: Any, node: int | None = None) -> list[str]:
    """Put what a file of a run holds into a model: the mean of all nodes' models, or one node's. The names that it has set.

    Only tensors of the same name and shape are set; where there is none, it is an error. Running statistics of normalisation
    are no parameters, and not in the file: calling the model with batches forms them, in ``model.train()``.
    """
    content = Run.load(path)._content or {}
    tensors = (content.get("facts") or {}).get("tensors")
    if tensors is None or content.get("state") is None:
        raise ExperimentError(f"{path}: it holds no training of a model; fit(…, checkpoint=…) and run.save(…) write one")
    x = content["state"]["x"]
    if node is not None:
        whole("node", node, maximum=len(x) - 1, error=ArgumentError)
    vector = x.double().mean(0) if node is None else x[node]
    there = dict(zip(tensors, vector.split([math.prod(shape) for shape in tensors.values()]), strict=True))
    here = dict(model.named_parameters())
    fitting = [key for key, shape in tensors.items() if key in here and list(here[key].shape) == shape]
    if not fitting:
        raise ExperimentError(f"{path}: no tensor in it has name and shape of one of the model; it holds {_shapes(tensors)}")
    with torch.no_grad():
        for key in fitting:
            here[key].copy_(there[key].view(tensors[key]))
    if any(key.endswith("running_mean") for key, _ in model.named_buffers()):
        warnings.warn(
            f"{path}: the running statistics of normalisation are not in it, and the model keeps its own: call it with some "
            "batches for training, in model.train() and torch.no_grad(), before it is used",
            IfogWarning,
            stacklevel=2,
        )
    return fitting


def _shapes(tensors: dict[str, list[int]]) -> str:
    some = [f"{name} {shape}" for name, shape in list(tensors.items())[:4]]
    return ", ".join(some) + (" …" if len(tensors) > 4 else "")
