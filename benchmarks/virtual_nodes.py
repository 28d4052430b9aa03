"""Many nodes in one process: the gradients of 64 small models at once, beside 64 models one after the other.

Run from the repository root::

    python -m benchmarks.virtual_nodes            # a minute
    python -m benchmarks.virtual_nodes --quick

Both make one step of SGD for every node, with a batch of its own. Those one after the other are plain torch: a module and an
optimizer each. They take turns, and what counts is the median of the ratios of the rounds: times depend on the machine. On a
processor one thread is used, on a GPU (``--device cuda``) what there is. A network with more to compute in each node is not
faster at once on a processor, so there `ifog.learning` computes one node after the other by itself.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn.functional import cross_entropy

from ifog.learning import from_model, models

NODES, BATCH, LR = 64, 16, 0.1
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "softmax regression": (models.logistic_regression, (1, 8, 8)),
    "MLP, 64 hidden": (lambda: models.mlp(64, (64,)), (1, 8, 8)),
    "LeNet on 8 × 8": (lambda: models.lenet((1, 8, 8)), (1, 8, 8)),
    "ResNet-20 on 16 × 16, group norm": (lambda: models.resnet20(norm="group"), (3, 16, 16)),
}


def compared(model: nn.Module, shape: tuple[int, ...], rounds: int, device: torch.device) -> tuple[float, float, float, int]:
    """Images a second at once and one after the other, their ratio, and how many nodes are computed together."""
    draws = torch.Generator().manual_seed(0)
    X = torch.randn(NODES * 4 * BATCH, *shape, generator=draws).to(device)
    y = torch.randint(10, (len(X),), generator=draws).to(device)
    model = model.to(device)
    problem, nodes = from_model(model, (X, y), NODES), range(NODES)
    x = problem.start(nodes)
    alone = [problem.model(row) for row in x]
    optimizers = [torch.optim.SGD(each.train().parameters(), lr=LR) for each in alone]

    def at_once(k: int) -> None:
        nonlocal x
        x = x - LR * problem.gradient(x, nodes, problem.batch(nodes, k, BATCH))

    def one_after_the_other(k: int) -> None:
        batch = problem.batch(nodes, k, BATCH)
        assert batch.picks is not None
        samples = problem._data["samples"].gather(1, batch.picks)
        for each, optimizer, some in zip(alone, optimizers, samples, strict=True):
            optimizer.zero_grad()
            torch.autograd.backward(cross_entropy(each(X[some]), y[some]))
            optimizer.step()

    def seconds(step: Callable[[int], None], k: int) -> float:
        began = time.perf_counter()
        step(k)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    at_once(0)
    one_after_the_other(0)
    worst = max(
        float((problem.parameters_of(row)[name] - p.detach()).abs().max())
        for row, each in zip(x, alone, strict=True)
        for name, p in each.named_parameters()
    )
    assert worst < 1e-3, f"the two differ by {worst}"
    times = [(seconds(at_once, k), seconds(one_after_the_other, k)) for k in range(1, rounds + 1)]
    ratio = median(b / a for a, b in times)
    a, b = (NODES * BATCH / median(column) for column in zip(*times, strict=True))
    return a, b, ratio, problem._at_once(BATCH)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.virtual_nodes")
    parser.add_argument("--quick", action="store_true", help="the two smallest models, a few rounds")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    given = parser.parse_args()
    device = torch.device(given.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    table = Table(title=f"{NODES} nodes, batches of {BATCH}, on {given.device}", box=SIMPLE_HEAD)
    for column in ("model", "images/s at once", "one after the other", "ratio", "nodes together"):
        table.add_column(column, justify="left" if column == "model" else "right", no_wrap=column == "model")
    for name, (make, shape) in list(MODELS.items())[: 2 if given.quick else None]:
        torch.manual_seed(0)
        a, b, ratio, together = compared(make(), shape, 5 if given.quick else 15, device)
        table.add_row(name, f"{a:,.0f}", f"{b:,.0f}", f"{ratio:.1f}", str(min(together, NODES)))
    Console().print(table)


if __name__ == "__main__":
    main()
