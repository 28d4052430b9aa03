"""The figures with which the chapters open: each shows a claim, and lets the reader try to break it.

Everything here is simulated in the notebook, and drawn again whenever a control is turned.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray

from .. import algorithms, problems
from .. import topology as families
from ..errors import TopologyWarning
from ..network import Network
from ..topology.ceca import Exchange
from ..widgets import Playground, theme
from .panel import INK, Panel, picture, words

Array = NDArray[np.float64]
BLUE, ORANGE = theme.CATEGORIES[:2]
_STEPS = [
    0.01,
    0.015,
    0.02,
    0.03,
    0.04,
    0.05,
    0.06,
    0.08,
    0.1,
    0.12,
    0.16,
    0.2,
    0.25,
    0.3,
    0.35,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    1.0,
    1.2,
    1.4,
    1.6,
    1.8,
    2.0,
]
_MOMENTS = [0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250, 300, 400]
_FAR = 1e6  # a run that has come so far is over


def averaging(*, n: int = 16, rounds: int = 60, seed: int = 0) -> Playground:
    """Chapter 3: the numbers of all nodes over time, and how fast they agree, beside ρᵏ."""

    def draw(topology: str = "ring", n: int = n, laziness: float = 0.0, node: int = 0, jolt: float = 0.0) -> str:
        W = families.make(topology, n).matrix.toarray()
        W = laziness * np.eye(n) + (1 - laziness) * W
        rho = families.Topology(W).rho if n > 1 else 0.0
        start = np.random.default_rng(seed).normal(size=n)
        half = rounds // 2
        x = before = start
        history, means = [], []
        for k in range(rounds + 1):
            if k == half:
                before = x
                x = x + jolt * (np.arange(n) == node % n)
            history.append(x)
            means.append(x.mean())
            x = W @ x
        values = np.array(history)
        error = np.abs(values - np.array(means)[:, None]).max(1)
        ks = np.arange(rounds + 1.0)
        predicted = error[0] * rho**ks
        if jolt:
            predicted[half:] = error[half] * rho ** (ks[half:] - half)
        left = Panel(56, 34, 345, 210, (0, rounds), (-0.5, n - 0.5), title="The number of each node", across="round")
        left.up = "node"
        left.heat(values.T[::-1], low=-2.0, high=2.0)
        right = Panel(
            *(490, 34, 350, 210, (0, rounds), (-8, 1.2)),
            log=True,
            title=f"Worst distance from the mean: ρ = {rho:.4f}",
            across="round (the wide line shrinks by ρ each round)",
        )
        right.line(ks, predicted, ORANGE, wide=6, faint=0.35)
        right.line(ks, error, BLUE)
        below = Panel(56, 320, 784, 110, (-0.5, n - 0.5), (-13, 13), across="node")
        below.title = f"Their numbers in round {half}: drag one up or down"
        below.line([-0.5, n - 0.5], [means[half]] * 2, INK, wide=1.2, dash="5 4")
        for i, (free, held) in enumerate(zip(before, values[half], strict=True)):
            below.handle(
                *(i, held, BLUE if held == free else ORANGE),
                turns="jolt",
                low=free - 10,
                high=free + 10,
                sets={"node": i},
                radius=min(6.0, 250 / n),
            )
        return picture(850, 470, left, right, below)

    return Playground(
        draw,
        topology=["ring", "star", "grid", "exponential", "complete"],
        n=range(3, 65),
        laziness=[k / 20 for k in range(20)],
        node=range(64),
        jolt=[k / 2 for k in range(-20, 21)],
    )


_FAMILIES = ["ring", "exponential", "one_peer_exponential", "ceca", "base_graph", "ou_equidyn", "complete"]


def ink(*, n: int = 8, rounds: int = 12) -> Playground:
    """Chapter 4: a drop of ink falls on one node, and spreads with every round."""

    def draw(topology: str = "one_peer_exponential", n: int = n, round: int = 1) -> str:  # noqa: A002
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TopologyWarning)  # that it is never exact for this n: the picture says so
            net = Network(topology, n)
        x = torch.zeros(n, 1, dtype=torch.float64)
        x[0] = 1
        b, history, edges = torch.zeros_like(x), [x], []
        for _ in range(rounds):
            graph = net.graph
            edges.append(np.argwhere(graph.pattern.toarray()))
            if isinstance(graph, Exchange):
                x, b = net.mix_pair(x, b)
            else:
                x = net.mix(x)
            history.append(x)
            net.advance()
        values = n * torch.stack(history)[:, :, 0].numpy()  # 1: a fair share
        off = np.abs(values - 1).max(1)

        turn = np.pi / 2 - 2 * np.pi * np.arange(n) / n
        places = np.column_stack([np.cos(turn), np.sin(turn)])
        left = Panel(24, 34, 260, 260, (-1.2, 1.2), (-1.2, 1.2), bare=True, title="The nodes" if n <= 32 else "")
        radius = min(15.0, 330 / n)
        if round:
            for i, j in edges[round - 1]:
                if i != j and n <= 32:
                    way = places[i] - places[j]
                    room = (radius + 3) / 108 * way / np.hypot(*way)
                    left.arrow(
                        places[j] + room, places[i] - room, INK, wide=1.5, faint=0.6 if len(edges[round - 1]) < 3 * n else 0.25
                    )
        colours = [theme.colour(value, 0, 2) for value in values[round]]
        left.dots(places[:, 0], places[:, 1], colours, radius=radius, ghost=False)
        right = Panel(350, 34, 260, 236, (-0.5, rounds + 0.5), (-0.5, n - 0.5), title="… over time", across="round")
        right.up = "node"
        right.heat(values.T[::-1], low=0, high=2)
        right.line(
            [round - 0.5, round + 0.5, round + 0.5, round - 0.5, round - 0.5], [-0.5, -0.5, n - 0.5, n - 0.5, -0.5], ORANGE
        )
        curve = Panel(680, 34, 160, 236, (0, rounds), (-16, 1), log=True, title="Farthest from fair", across="round")
        curve.line(np.arange(rounds + 1.0), np.maximum(off, 1e-16), BLUE)
        curve.dots([round], [max(off[round], 1e-16)], ORANGE, ghost=False)
        exact = next((k for k in range(rounds + 1) if off[k] < 1e-12), None)
        said = f"exact after {exact} rounds" if exact is not None else f"not exact within {rounds} rounds"
        sent = max(np.bincount(edges[round - 1][:, 1], minlength=n)) if round else 0
        per = f"; in round {round} a node sends {sent} message{'s' * bool(sent != 1)}" if round else ""
        return picture(850, 336, left, right, curve, words(24, 326, f"{n} nodes: {said}{per}", bold=True))

    return Playground(draw, play="round", topology=_FAMILIES, n=range(2, 65), round=range(rounds + 1))


# ----------------------------------------------------------------------------------- descent: dots that walk to a star
class _Walk:
    """A method on least squares in the plane: where all nodes are after every iteration, and what they remember."""

    def __init__(self, method: str, topology: families.Topology, *, alpha: float, heterogeneity: float) -> None:
        self.problem = problems.least_squares(topology.n, d=2, heterogeneity=heterogeneity, noise=0.0, seed=3)
        net = Network(topology)
        found = algorithms.find(method)
        parameters = found.check(net, lr=alpha)
        optimum = self.problem.optimum
        assert optimum is not None
        self.star: Array = optimum.numpy()
        x = (optimum + torch.tensor([-0.85, 0.75], dtype=torch.float64)).repeat(topology.n, 1)
        s = found.start(net, x, **parameters)
        path, learnt = [x], [getattr(s, "d", None)]
        for _ in range(_MOMENTS[-1]):
            here = x

            def grad(z: torch.Tensor | None = None, *, fresh: bool = False, here: torch.Tensor = here) -> torch.Tensor:  # noqa: ARG001
                return self.problem.gradient(here if z is None else z, net.nodes)

            if float(x.abs().max()) < _FAR:  # else it stays where it is, out of sight
                x = found(net, x, grad, s, **parameters)
                net.advance()
            path.append(x)
            learnt.append(getattr(s, "d", None))
        self.path = torch.stack(path).numpy() - self.star
        """[iteration, node, 2], as seen from the star."""
        self.learnt = learnt
        self.gradients: Array = self.problem.gradient(optimum.repeat(topology.n, 1), net.nodes).numpy()
        """∇f_i(x*)."""

    @property
    def error(self) -> Array:
        """How far the nodes are from the star, in the mean."""
        error: Array = np.sqrt((self.path**2).sum(2).mean(1))
        return error

    @property
    def diverged(self) -> bool:
        return bool(self.error[-1] >= _FAR)

    def plane(self, panel: Panel, moment: int) -> None:
        """Contours of the mean objective, the way of each node, and where it is now."""
        A = self.problem._exact()._data["A"].numpy()
        sizes, axes = np.linalg.eigh(np.einsum("nki,nkj->ij", A, A) / (A.shape[0] * A.shape[1]))
        turn = np.linspace(0, 2 * np.pi, 61)
        for level in (0.1, 0.3, 0.6, 1.0, 1.5, 2.1):
            ellipse = axes @ (level / np.sqrt(sizes / sizes.mean()) * np.array([np.cos(turn), np.sin(turn)]).T).T
            panel.path(ellipse[0], ellipse[1], faint=0.25)
        panel.star(0, 0)
        way = np.clip(self.path[: moment + 1], -50, 50)
        for i in range(way.shape[1]):
            colour = theme.CATEGORIES[i % len(theme.CATEGORIES)]
            panel.line(way[:, i, 0], way[:, i, 1], colour, wide=1.3, faint=0.55)
            panel.dots(way[-1:, i, 0], way[-1:, i, 1], colour, radius=6)

    def curves(self, panel: Panel, moment: int) -> None:
        """The distance of each node to the star, and of all."""
        ks = np.arange(float(len(self.path)))
        for i in range(self.path.shape[1]):
            away = np.hypot(*self.path[:, i].T)
            panel.line(ks, away, theme.CATEGORIES[i % len(theme.CATEGORIES)], wide=1, faint=0.5, ghost=False)
        panel.line(ks, self.error, BLUE, wide=2.5)
        panel.dots([moment], [self.error[moment]], ORANGE, ghost=False)


def parking(*, n: int = 8) -> Playground:
    """Chapter 7: decentralized gradient descent parks around the optimum, at a distance that α decides."""

    def draw(
        method: str = "dgd", graph: str = "ring", step: float = 0.1, heterogeneity: float = 1.0, iteration: int = 400
    ) -> str:
        W = families.make(graph, n)
        walk = _Walk(method, W, alpha=step, heterogeneity=heterogeneity)  # type: ignore[arg-type]
        left = Panel(44, 34, 340, 340, (-1.1, 1.1), (-1.1, 1.1), title="The nodes, and the optimum of all")
        form = {"dgd": "awc", "atc": "atc"}[method]
        limit = walk.problem.limit(W.matrix.toarray(), step, form=form).numpy() - walk.star
        if not walk.diverged:
            left.dots(limit[:, 0], limit[:, 1], INK, radius=9, hollow=True, ghost=False)
        walk.plane(left, iteration)
        right = Panel(460, 34, 370, 340, (0, 400), (-4, 1), log=True, title="Distance to the optimum", across="iteration")
        bias = float(np.sqrt((limit**2).sum(1).mean()))
        if not walk.diverged:
            right.line([0, 400], [bias, bias], INK, dash="5 4", wide=1.2, ghost=False)
        walk.curves(right, iteration)
        said = "diverges: the step is too large" if walk.diverged else f"they park at a distance of {bias:.4f}"
        return picture(850, 430, left, right, words(44, 422, f"step {step:g}: {said}", bold=True))

    return Playground(
        draw,
        play="iteration",
        method=["dgd", "atc"],
        graph=["ring", "exponential", "star", "complete"],
        step=_STEPS,
        heterogeneity=[k / 10 for k in range(21)],
        iteration=_MOMENTS,
    )


def learning_the_bias(*, n: int = 8) -> Playground:
    """Chapter 8: exact methods walk into the star, because each node learns what pulls it away."""

    def draw(method: str = "extra", step: float = 0.1, smallest_eigenvalue: float = 0.0, iteration: int = 400) -> str:
        a = (1 - smallest_eigenvalue) / 4
        W = families.circulant(n, {0: 1 - 2 * a, 1: a, n - 1: a})
        walk = _Walk(method, W, alpha=step, heterogeneity=1.0)
        left = Panel(44, 34, 290, 290, (-1.1, 1.1), (-1.1, 1.1), title="The nodes, and the optimum of all")
        walk.plane(left, iteration)
        reach = 1.15 * float(np.abs(walk.gradients).max())
        middle = Panel(376, 34, 200, 290, (-reach, reach), (-1.45 * reach, 1.45 * reach), title="What each has learnt")
        middle.bare = True
        memory = walk.learnt[iteration]
        for i, (x, y) in enumerate(-walk.gradients):
            colour = theme.CATEGORIES[i % len(theme.CATEGORIES)]
            middle.dots([x], [y], colour, radius=7, hollow=True, ghost=False)
            if memory is not None:
                at = np.clip(memory[i].numpy() / step, -9 * reach, 9 * reach)
                middle.arrow([0, 0], at.tolist(), colour)
        note = "arrows: learnt; rings: needed" if memory is not None else "it remembers nothing"
        middle.text(100, 306, note, anchor="middle", size=12)
        right = Panel(636, 34, 200, 290, (0, 400), (-16, 1), log=True, title="Distance to the optimum", across="iteration")
        walk.curves(right, iteration)
        end = walk.error[-1]
        said = "diverges" if walk.diverged else f"after 400 iterations, {end:.1e} from the optimum"
        return picture(850, 380, left, middle, right, words(44, 372, f"{method}: {said}", bold=True))

    return Playground(
        draw,
        play="iteration",
        method=["dgd", "extra", "exact_diffusion", "d2"],
        step=_STEPS,
        smallest_eigenvalue=[0.0, -0.1, -0.2, -0.3, -1 / 3, -0.4, -0.5, -0.6, -0.7, -0.8],
        iteration=_MOMENTS,
    )
