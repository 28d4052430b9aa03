"""What a topology is: a sequence of graphs, one for each round, and what can be known about it.

- A `Schedule` answers ``schedule[k]`` with the graph of round k.
- A `Graph` says who talks to whom in one round. It is also the schedule that repeats itself.
- A `Topology` is a graph with weights: ``W[i, j]`` is what node i puts on the value it receives **from** node j, so one
  round of averaging is ``x = topology @ x``, that is x_i ← Σ_j w_ij x_j.

None of them can be changed once made; what is expensive to know (ρ, the diameter …) is worked out when first asked for.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from ..errors import TopologyError
from . import spectrum
from .arguments import whole
from .matrix import SUM_TOLERANCE, checked, digest, off_diagonal, read_only, row, sums_to_one
from .walks import distances, pieces, undirected_diameter

if TYPE_CHECKING:
    import networkx as nx

Vector = NDArray[np.float64]
Integers = NDArray[np.int64]

_ENDLESS_SAMPLE = 32  # rounds looked at to judge a schedule that never repeats
_EXACT = 1e-12  # what a round leaves of a disagreement when only rounding is left
_REMEMBERED = 2**23  # rounds × nodes of a schedule kept once made: some 300 MB


class Schedule:
    """A sequence of graphs on the same n nodes, one for each round of communication.

    ``schedule[k]`` is the graph of round k, ``schedule[3:]`` the same schedule started three rounds later and
    ``schedule[:5]`` the one that repeats its first five rounds. Iterating runs through one period.

    Make one with a family (`one_peer_exponential`, `od_equidyn` …) or from your own graphs with `ifog.topology.schedule`.
    """

    n: int
    name: str
    parameters: Mapping[str, Any]
    """What its family was called with, defaults included; empty for one's own graphs."""
    label: str
    """The name with its parameters, as one would type it: ``od_equidyn(8, eta=0.3)``."""
    period: int | None
    """After how many rounds it repeats; None when it never does (a random schedule)."""

    _make_round: Callable[[int], Graph]
    _known_factor: Callable[[], float] | None
    _made: dict[int, Graph]

    def __init__(
        self,
        rounds: Callable[[int], Graph],
        *,
        n: int,
        period: int | None,
        name: str = "schedule",
        expected_factor: Callable[[], float] | None = None,
    ) -> None:
        _fill(self, n=n, period=period, _make_round=rounds, _known_factor=expected_factor, _made={})
        _fill(self, name=name, label=name, parameters=MappingProxyType({}))

    # ---- rounds --------------------------------------------------------------------------------------------------

    @overload
    def __getitem__(self, k: int) -> Graph: ...
    @overload
    def __getitem__(self, k: slice) -> Schedule: ...
    def __getitem__(self, k: Any) -> Graph | Schedule:
        if isinstance(k, slice):
            return self._slice(k)
        try:
            k = operator.index(k)
        except TypeError:
            raise TypeError(f"{self.label}[{k!r}]: a topology is indexed by the round; for a weight use .W[i, j]") from None
        if k < 0:
            raise IndexError(f"round {k} of {self.label}: rounds are counted from 0")
        if self.period is not None:
            k %= self.period
        return self._round(k)

    __array_ufunc__ = None  # numpy leaves ``x @ topology`` to us

    def __matmul__(self, x: Any) -> Vector:
        raise TopologyError(f"{self.label} is a schedule: mix with the graph of one round, schedule[k] @ x")

    def __rmatmul__(self, x: Any) -> Vector:
        raise TopologyError(f"x @ {self.label}: averaging is written the other way round, topology @ x")

    def __getattr__(self, name: str) -> Any:
        # called for what it does not have: most often a misspelling, or a schedule taken for a single topology
        hint = ""
        if hasattr(Topology, name) and not isinstance(self, Topology):
            hint = ": it is a schedule; ask one of its rounds, schedule[k]." + name
        elif not name.startswith("_"):
            import difflib

            near = difflib.get_close_matches(name, [known for known in dir(type(self)) if known[0] != "_"], n=1)
            hint = f": did you mean {near[0]!r}?" if near else ""
        label = self.__dict__.get("label", type(self).__name__)
        raise AttributeError(f"{label} has no {name!r}{hint}")

    def __iter__(self) -> Iterator[Graph]:
        if self.period is None:
            raise TypeError(f"{self.label} never ends; iterate over its first rounds: for graph in schedule[:10]")
        return (self[k] for k in range(self.period))

    def _round(self, k: int) -> Graph:
        graph = self._made.get(k)
        if graph is None:
            if (len(self._made) + 1) * self.n > _REMEMBERED or (self.period is None and len(self._made) >= _ENDLESS_SAMPLE):
                self._made.clear()
            graph = self._make_round(k)
            if graph.name == "custom":
                graph = graph._renamed(self.name, f"{self.label}[{k}]", {})
            self._made[k] = graph
        return graph  # not looked up again: another thread may have cleared what is remembered

    def _slice(self, k: slice) -> Schedule:
        first, last = k.start or 0, k.stop
        if first < 0 or (last is not None and last <= first) or k.step not in (None, 1):
            raise IndexError(
                f"{self.label}[{first}:{last}:{k.step}]: use schedule[first:] or schedule[first:last] with 0 ≤ first < last"
            )
        period = self.period if last is None else last - first
        factor = self._known_factor if last is None else None
        label = f"{self.label}[{first}:{'' if last is None else last}]"
        return Schedule(_Shifted(self, first), n=self.n, period=period, name=label, expected_factor=factor)

    def _sample(self) -> Iterator[Graph]:
        """One whole period, or the first rounds of an endless schedule."""
        return (self[k] for k in range(self.period or _ENDLESS_SAMPLE))

    # ---- identity ------------------------------------------------------------------------------------------------

    @cached_property
    def fingerprint(self) -> str:
        """Equal for equal weights, round for round, on every machine (of an endless schedule, its first 32 rounds)."""
        if self.period == 1:
            return self[0].fingerprint
        return digest("schedule", self.n, self.period, *(graph.fingerprint for graph in self._sample()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def _renamed(self, name: str, label: str, parameters: Mapping[str, Any]) -> Self:
        clone = object.__new__(type(self))
        clone.__dict__.update(self.__dict__, name=name, label=label, parameters=MappingProxyType(dict(parameters)))
        return clone

    def __setattr__(self, attribute: str, value: object) -> None:
        raise AttributeError(f"{self.label} cannot be changed ({attribute} = …): make a new topology instead")

    def __delattr__(self, attribute: str) -> None:
        raise AttributeError(f"{self.label} cannot be changed (del {attribute}): make a new topology instead")

    def __getstate__(self) -> dict[str, Any]:
        # what can be worked out again does not travel; a mappingproxy cannot
        kept = {
            key: value
            for key, value in self.__dict__.items()
            if not isinstance(getattr(type(self), key, None), cached_property)
        }
        return {**kept, "parameters": dict(self.parameters), "_made": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        _fill(self, **{**state, "parameters": MappingProxyType(state["parameters"])})

    # ---- what the rounds have in common --------------------------------------------------------------------------

    @property
    def static(self) -> bool:
        """Whether every round is the same graph."""
        return self.period == 1

    @cached_property
    def row_stochastic(self) -> bool:
        """Every row sums to one: nodes that agree stay in agreement."""
        return all(graph.row_stochastic for graph in self._sample())

    @cached_property
    def column_stochastic(self) -> bool:
        """Every column sums to one: the sum over all nodes is kept."""
        return all(graph.column_stochastic for graph in self._sample())

    @property
    def doubly_stochastic(self) -> bool:
        """Rows and columns sum to one: averaging keeps the mean."""
        return self.row_stochastic and self.column_stochastic

    @cached_property
    def symmetric(self) -> bool:
        """W = Wᵀ in every round."""
        return all(graph.symmetric for graph in self._sample())

    @cached_property
    def directed(self) -> bool:
        """Whether somebody sends to a node that does not send back in the same round."""
        return any(graph.directed for graph in self._sample())

    @cached_property
    def degree(self) -> int:
        """The most messages that a node sends in a round."""
        return max(graph.degree for graph in self._sample())

    @cached_property
    def messages(self) -> float:
        """Messages in a round, over all nodes (the mean over the rounds)."""
        counts = [graph.messages for graph in self._sample()]
        return sum(counts) / len(counts)

    @cached_property
    def jointly_connected(self) -> bool:
        """Whether every node reaches every other through the rounds taken together."""
        # one random edge a round meets everybody after some n ln n / 2 rounds: endless schedules get ten times that
        most = self.period or 4 * self.n * self.n.bit_length()
        union = self[0].pattern
        for k in range(most):
            union = union + self[k].pattern
            # a look costs as much as a round: looking after 1, 2, 4, 8 … rounds keeps the looks cheap
            if ((k + 1) & k == 0 or k + 1 == most) and pieces(union) == 1:
                return True
        return False

    # ---- how it averages -----------------------------------------------------------------------------------------

    @cached_property
    def rounds_to_exact(self) -> int | None:
        """After how many rounds from round 0 every node holds the exact mean; None if that does not happen.

        Looked for in the first two periods (and 128 rounds, on up to 1,000 nodes), by sending random values through the
        rounds. Slow averaging shrinks a disagreement bit by bit; exact averaging ends it in one round.
        """
        if self.n == 1:
            return 0
        if self.period is None:
            return 1 if self._known_factor is not None and self._known_factor() == 0 else None
        # values whose mean is zero must all become zero, and where all agree they must stay
        values = np.random.default_rng(0).standard_normal((self.n, 4))
        state, agreed = self[0].start(values - values.mean(axis=0)), self[0].start(np.ones(self.n))
        for k in range(self._rounds_worth_trying):
            graph = self[k]
            state, agreed = graph._operator @ state, graph._operator @ agreed
            left = float(np.abs(state[: self.n]).max())
            if left < _EXACT:
                return k + 1 if np.allclose(agreed[: self.n], 1, rtol=0, atol=SUM_TOLERANCE) else None
            state = self._centred(state)
            state = state / np.abs(state).max()  # so that each round is judged by what it alone does
        return None

    def _centred(self, x: Vector) -> Vector:
        """Values with mean zero, freed of the rounding that would look like a mean that moves, if no round moves it."""
        return x - x.mean(axis=0) if self.doubly_stochastic else x

    @property
    def _rounds_worth_trying(self) -> int:
        """After how many rounds exact averaging would have been seen."""
        period = self.period or 0
        return 2 * period if self.n > spectrum.DENSE else max(2 * period, period + min(self.n, 128))

    @cached_property
    def consensus_rate(self) -> float:
        """The factor by which a disagreement shrinks in a round, at worst.

        For a schedule that repeats: ‖(W_{T−1} ⋯ W_0)(I − 11ᵀ/n)‖₂^(1/T) over its period T, which is ρ when T = 1 and 0
        when the period averages exactly. For one that never repeats: the root of `expected_factor`.
        """
        if self.period is None:
            return math.sqrt(self.expected_factor)
        exact = self.rounds_to_exact
        if exact is not None and exact <= self.period:
            return 0.0
        rounds = list(self._sample())
        transfers = _common_fourier(rounds)
        if transfers is not None:
            with np.errstate(divide="ignore"):  # log 0 = −∞ is right
                return float(np.exp(np.log(np.abs(transfers[:, 1:])).mean(axis=0).max()))
        # a long period leaves less than a number can hold: each round is scaled by what it leaves of a random disagreement
        values = np.random.default_rng(0).standard_normal(self.n)
        state, scales = rounds[0].start(values - values.mean()), []
        for graph in rounds:
            state = self._centred(graph._operator @ state)
            scales.append(float(np.abs(state).max()) or 1.0)
            state = state / scales[-1]

        def forward(x: Vector) -> Vector:
            y = rounds[0].start(x - x.mean(axis=0))
            for graph, scale in zip(rounds, scales, strict=True):
                y = self._centred(graph._operator @ y) / scale
            return y[: self.n]

        def backward(x: Vector) -> Vector:
            y = rounds[0].start(x)
            for graph, scale in zip(reversed(rounds), reversed(scales), strict=True):
                y = graph._operator.T @ self._centred(y) / scale
            difference: Vector = y[: self.n] - y[: self.n].mean(axis=0)
            return difference

        rate = spectrum.norm(forward, backward, self.n) ** (1 / self.period) * math.exp(float(np.log(scales).mean()))
        return float(rate)

    @cached_property
    def expected_factor(self) -> float:
        """E‖Wx − mean‖² ≤ expected_factor · ‖x − mean‖² for a round drawn at random, the smallest such number.

        It is the largest eigenvalue of E[WᵀW] away from the constant vector, known in closed form for the random
        families; over one period for a schedule that repeats. For a random schedule of your own it is **estimated** from
        the first rounds.
        """
        if self.n == 1:
            return 0.0
        if self._known_factor is not None:
            return float(self._known_factor())
        rounds = list(self._sample()) if self.period else [self[k] for k in range(8 * _ENDLESS_SAMPLE)]
        if not all(isinstance(graph, Topology) for graph in rounds):
            raise TopologyError(
                f"{self.label} has no expected_factor: a single round of it, on two buffers, averages nothing, but all rounds "
                f"together do; see rounds_to_exact and consensus_rate"
            )
        transfers = _common_fourier(rounds)
        if transfers is not None:
            return float((np.abs(transfers[:, 1:]) ** 2).mean(axis=0).max())
        matrices = [graph.matrix for graph in rounds]

        def deviation_energy(x: Vector) -> Vector:
            centred = x - x.mean(axis=0)
            total = np.zeros_like(centred)
            for matrix in matrices:
                total += matrix.T @ (matrix @ centred)
            energy: Vector = (total - total.mean(axis=0)) / len(matrices)
            return energy

        return spectrum.norm(deviation_energy, deviation_energy, self.n)

    # ---- shown ---------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        facts = self._facts()
        return f"{self.label}: " + ", ".join(facts) if facts else self.label

    def _facts(self) -> list[str]:
        """What a line of text says about it; only what is quick to know."""
        if self.n == 1:
            return ["one node, nothing to say"]
        rounds = "never repeats" if self.period is None else f"period {self.period}"
        facts = [rounds]
        if self.n <= spectrum.DENSE:
            facts.append(f"degree {self.degree}")
            if self.rounds_to_exact is not None:
                facts.append(f"exact in {self.rounds_to_exact} round{'s' if self.rounds_to_exact != 1 else ''}")
            elif self.period is not None or self._known_factor is not None:  # else it would be an estimate, and slow
                facts.append(_rate_in_words("rate", self.consensus_rate, 1 - self.consensus_rate) + " a round")
        return facts

    def _repr_svg_(self) -> str:
        from . import draw

        return draw.svg(self)

    def _repr_html_(self) -> str:
        from . import draw

        return draw.html(self)


class Graph(Schedule):
    """Who talks to whom in one round, without weights. Also the schedule that stays the same for ever.

    ``pattern[i, j]`` is true when node i receives from node j ≠ i.
    """

    pattern: sp.csr_array
    grid_shape: tuple[int, ...] | None
    """The grid on which the nodes live, if they do: row-major, e.g. (3, 4) for a 3 × 4 torus."""
    positions: Vector | None
    """Where the nodes are in the plane, if they are somewhere: an (n, 2) array."""
    source: str | None
    """The label of the graph that the weights were given to, where a rule gave them."""
    period = 1

    def __init__(
        self,
        pattern: sp.csr_array,
        *,
        name: str,
        connected: bool,
        grid_shape: tuple[int, ...] | None = None,
        positions: Vector | None = None,
        source: str | None = None,
    ) -> None:
        if positions is not None:
            positions = np.array(positions, dtype=np.float64)
        _fill(self, n=pattern.shape[0], pattern=pattern, grid_shape=grid_shape, positions=positions, source=source)
        self._freeze()
        _fill(self, name=name, label=name, parameters=MappingProxyType({}), _known_factor=None, _made={})
        if connected and not self.connected:
            raise TopologyError(
                f"{name}: the graph is in {pieces(pattern)} pieces that cannot all reach each other, so its nodes can never "
                f"agree; add edges, or say connected=False if that is meant"
            )

    def _freeze(self) -> None:
        read_only(self.pattern.data, self.pattern.indices, self.pattern.indptr)
        if self.positions is not None:
            read_only(self.positions)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._freeze()  # a pickle forgets it

    def _round(self, k: int) -> Self:  # noqa: ARG002  (the same in every round)
        return self

    def __getitem__(self, k: int | slice) -> Any:  # its rounds are of its own kind, more than the base class can promise
        return super().__getitem__(k)

    # ---- neighbours ----------------------------------------------------------------------------------------------

    def in_neighbors(self, i: int) -> Integers:
        """The nodes that node i receives from, ascending."""
        i = self._node(i)
        return row(self.pattern, i)

    def out_neighbors(self, i: int) -> Integers:
        """The nodes that node i sends to, ascending."""
        i = self._node(i)
        return row(self._outgoing, i)

    @property
    def edges(self) -> Integers:
        """All messages of a round, as rows (sender, receiver)."""
        coordinates = self._outgoing.tocoo()
        pairs: Integers = np.column_stack([coordinates.row, coordinates.col]).astype(np.int64)
        return pairs

    @property
    def in_degrees(self) -> Integers:
        """How many messages each node receives in a round."""
        counts: Integers = np.diff(self.pattern.indptr).astype(np.int64)
        return counts

    @property
    def out_degrees(self) -> Integers:
        """How many messages each node sends in a round."""
        return np.bincount(self.pattern.indices, minlength=self.n).astype(np.int64)

    @cached_property
    def degree(self) -> int:
        """The most messages that a node sends in a round."""
        return int(self.out_degrees.max())

    @cached_property
    def messages(self) -> int:
        """Messages in a round, over all nodes: an undirected edge counts twice."""
        return int(self.pattern.nnz)

    @cached_property
    def directed(self) -> bool:
        """Whether some message is not answered in the same round."""
        return bool((self.pattern != self.pattern.T).nnz)

    @cached_property
    def connected(self) -> bool:
        """Whether every node reaches every other along the arrows (strongly connected)."""
        return pieces(self.pattern) == 1

    @property
    def jointly_connected(self) -> bool:
        """The same as `connected`: there is only one round."""
        return self.connected

    @cached_property
    def diameter(self) -> int | None:
        """The most hops a message needs between two nodes; None when some node cannot be reached."""
        if not self.connected:
            return None
        if self._looks_the_same_from_everywhere:
            return int(distances(self._outgoing, 0).max())
        if self.directed:
            return max(int(distances(self._outgoing, i).max()) for i in range(self.n))
        return undirected_diameter(self._outgoing)

    @cached_property
    def _outgoing(self) -> sp.csr_array:
        outgoing = sp.csr_array(self.pattern.T)
        outgoing.sort_indices()
        return outgoing

    @cached_property
    def _looks_the_same_from_everywhere(self) -> bool:
        return spectrum.fourier(self.pattern.astype(np.float64), self._grids) is not None

    @property
    def _grids(self) -> tuple[tuple[int, ...], ...]:
        """The grids whose translations are worth a look: the line of all nodes, and the grid they live on."""
        return ((self.n,),) if self.grid_shape is None or self.grid_shape == (self.n,) else ((self.n,), self.grid_shape)

    def _node(self, i: int) -> int:
        try:
            number = operator.index(i)
        except TypeError:
            number = self.n
        if not -self.n <= number < self.n:
            raise TopologyError(f"node {i} of {self.label}: its nodes are 0 to {self.n - 1}")
        return number % self.n

    # ---- what a round does -------------------------------------------------------------------------------------------

    @property
    def matrix(self) -> sp.csr_array:
        """The round as a sparse, read-only matrix."""
        raise TopologyError(f"{self.label} has no weights: choose a rule that gives them, such as metropolis(graph)")

    def __matmul__(self, x: Any) -> Vector:
        if isinstance(x, Schedule):
            raise TopologyError(
                f"{self.label} @ {x.label}: the values to mix must be an array; the product of two matrices is A.W @ B.W"
            )
        x = np.asarray(x)
        if x.ndim not in (1, 2) or len(x) != self.n:
            raise TopologyError(
                f"{self.label} @ x: x has shape {x.shape}, but must have one row for each of the {self.n} nodes"
            )
        mixed: Vector = self._operator @ x
        return mixed

    @property
    def _operator(self) -> sp.csr_array:
        """What `matrix` hands out, itself: for use inside, where nobody changes it."""
        return self.matrix

    def start(self, x: Vector) -> Vector:
        """The values x in the form that `matrix` acts on: x itself, or for a round with two buffers, x above zeros."""
        return x

    @cached_property
    def row_stochastic(self) -> bool:
        """Every row sums to one: nodes that agree stay in agreement."""
        return sums_to_one(self.matrix, axis=1)

    @cached_property
    def column_stochastic(self) -> bool:
        """Every column sums to one: the sum over all nodes is kept."""
        return sums_to_one(self.matrix, axis=0)

    @cached_property
    def symmetric(self) -> bool:
        """W = Wᵀ."""
        return not self.directed and float(abs(self.matrix - self.matrix.T).max()) <= 1e-12

    # ---- identity and text ---------------------------------------------------------------------------------------------

    @cached_property
    def fingerprint(self) -> str:
        """Equal for equal edges, on every machine."""
        return digest("graph", self.n, self.pattern.indptr, self.pattern.indices)

    def _slice(self, k: slice) -> Self:
        super()._slice(k)  # for its checks
        return self

    def _facts(self) -> list[str]:
        return [f"degree {self.degree}", "directed" if self.directed else "undirected", "no weights"]

    def to_networkx(self) -> nx.DiGraph[int]:
        """As a networkx DiGraph with an edge from sender to receiver."""
        import networkx as nx

        graph: nx.DiGraph[int] = nx.DiGraph(name=self.label)
        graph.add_nodes_from(range(self.n))
        graph.add_edges_from(self.edges.tolist())
        return graph


class Topology(Graph):
    """A graph with weights: ``W[i, j]`` is what node i puts on the value it receives from node j.

    >>> import numpy as np
    >>> topology = Topology([[0.5, 0.5], [0.5, 0.5]])
    >>> topology @ np.array([1.0, 3.0])
    array([2., 2.])

    The matrix may be dense or sparse. Its rows or its columns must sum to one, and no weight may be negative unless
    ``signed=True``. The graph must be strongly connected unless ``connected=False``.
    """

    _matrix: sp.csr_array

    def __init__(
        self,
        W: ArrayLike | sp.sparray | sp.spmatrix,
        *,
        name: str = "custom",
        signed: bool = False,
        connected: bool = True,
        grid_shape: tuple[int, ...] | None = None,
        positions: Vector | None = None,
        source: str | None = None,
    ) -> None:
        matrix = checked(W, signed=signed)
        _fill(self, _matrix=matrix)
        super().__init__(
            off_diagonal(matrix), name=name, connected=connected, grid_shape=grid_shape, positions=positions, source=source
        )

    def _freeze(self) -> None:
        super()._freeze()
        read_only(self._matrix.data, self._matrix.indices, self._matrix.indptr)

    @property
    def _operator(self) -> sp.csr_array:
        return self._matrix

    @property
    def matrix(self) -> sp.csr_array:
        """W, sparse, read-only."""
        return sp.csr_array((self._matrix.data, self._matrix.indices, self._matrix.indptr), shape=self._matrix.shape)

    @property
    def W(self) -> Vector:
        """W as a new dense array."""
        limit = 4 * spectrum.DENSE_LIMIT
        if self.n > limit:
            raise TopologyError(
                f"W of {self.label} would take {self.n**2 * 8 / 1e9:,.0f} GB as a dense array (the limit is n = {limit:,}): "
                f"use .matrix, the same weights as a scipy sparse array"
            )
        dense: Vector = self.matrix.toarray()
        return dense

    @cached_property
    def fingerprint(self) -> str:
        """Equal for equal weights, on every machine."""
        return digest("topology", self.n, self.matrix.indptr, self.matrix.indices, self.matrix.data)

    # ---- properties of W -----------------------------------------------------------------------------------------

    @property
    def _rounds_worth_trying(self) -> int:
        # a matrix that is diagonal in an orthonormal basis loses all disagreement at once or never
        return 1 if self.symmetric or self._fourier is not None else min(self.n, 128)

    @cached_property
    def _fourier(self) -> spectrum.Fourier | None:
        return spectrum.fourier(self._matrix, self._grids)

    @cached_property
    def positive_definite(self) -> bool:
        """W is symmetric and all its eigenvalues are positive."""
        return self.symmetric and self.smallest_eigenvalue > 1e-12

    @cached_property
    def gap(self) -> float:
        """The spectral gap 1 − ρ, to many digits also where it is tiny."""
        return spectrum.gap(self._matrix, self._fourier, symmetric=self.symmetric, doubly_stochastic=self.doubly_stochastic)

    @property
    def rho(self) -> float:
        """ρ = ‖W − 11ᵀ/n‖₂: for a doubly stochastic W, ‖Wx − mean‖ ≤ ρ ‖x − mean‖, with equality for some x."""
        return 1.0 - self.gap

    @property
    def consensus_rate(self) -> float:
        """The factor by which a disagreement shrinks in a round, at worst: ρ, if the rows sum to one."""
        return self.rho if self.row_stochastic else super().consensus_rate

    @property
    def expected_factor(self) -> float:
        """ρ², as every round is the same."""
        return self.rho**2 if self.row_stochastic else super().expected_factor

    @cached_property
    def eigenvalues(self) -> NDArray[np.complex128] | Vector:
        """All eigenvalues of W, the largest modulus first; real when W is symmetric."""
        if self._fourier is not None:
            found = self._fourier.eigenvalues
            values: NDArray[Any] = found.real if self.symmetric else found
        elif self.n <= spectrum.DENSE_LIMIT:
            values = np.linalg.eigvalsh(self.W) if self.symmetric else np.linalg.eigvals(self.W)
        else:
            raise TopologyError(
                f"all {self.n:,} eigenvalues of {self.label} would take too long (the limit is n = "
                f"{spectrum.DENSE_LIMIT:,} for a graph without translations): .rho and .gap work for any n"
            )
        ordered = values[np.argsort(-np.abs(values), kind="stable")]
        read_only(ordered)
        return ordered

    @cached_property
    def smallest_eigenvalue(self) -> float:
        """λ_min of a symmetric W: it limits the step sizes of many methods."""
        if not self.symmetric:
            raise TopologyError(f"{self.label} has no smallest eigenvalue: its W is not symmetric, so they may be complex")
        return spectrum.smallest(self._matrix) if self._fourier is None else float(self._fourier.eigenvalues.real.min())

    # ---- to other libraries --------------------------------------------------------------------------------------

    def to_networkx(self) -> nx.DiGraph[int]:
        """As a networkx DiGraph: the edge (j, i) carries W[i, j] as its ``weight``, self-loops included.

        ``from_networkx(topology.to_networkx(), weights="given")`` gives the topology back.
        """
        import networkx as nx

        graph: nx.DiGraph[int] = nx.DiGraph(name=self.label)
        graph.add_nodes_from(range(self.n))
        entries = self.matrix.tocoo()
        graph.add_weighted_edges_from((i, i, 0.0) for i in np.flatnonzero(self.matrix.diagonal() == 0).tolist())
        graph.add_weighted_edges_from(zip(entries.col.tolist(), entries.row.tolist(), entries.data.tolist(), strict=True))
        return graph

    # ---- shown ---------------------------------------------------------------------------------------------------

    def _facts(self) -> list[str]:
        if self.n == 1:
            return ["one node, nothing to say"]
        facts = [f"degree {self.degree}"]
        if self.n <= spectrum.DENSE or "gap" in self.__dict__:
            facts.insert(0, _rate_in_words("ρ", self.rho, self.gap))
        return [*facts, *self.kind]

    @property
    def kind(self) -> list[str]:
        """In words: directed or symmetric, and what sums to one."""
        if self.doubly_stochastic:
            sums = "doubly stochastic"
        else:
            sums = "row stochastic" if self.row_stochastic else "column stochastic"
        shape = ["symmetric"] if self.symmetric else ["directed"] if self.directed else []
        return [*shape, sums, *([] if self.connected else ["not connected"])]


class _Shifted:
    """Round k of another schedule, ``first`` rounds later: a function that can be pickled."""

    def __init__(self, schedule: Schedule, first: int) -> None:
        self.schedule, self.first = schedule, first

    def __call__(self, k: int) -> Graph:
        return self.schedule[self.first + k]


# ---- making topologies --------------------------------------------------------------------------------------


def circulant(n: int, weights: Mapping[int, float], *, connected: bool = True) -> Topology:
    """The topology in which every node i puts ``weights[offset]`` on node i − offset (mod n), itself included.

    >>> circulant(8, {0: 0.5, 1: 0.5}).rho     # the ring in one direction: cos(π/8)
    0.9238795325112867
    """
    n = whole("n", n, minimum=1)
    if not isinstance(weights, Mapping) or not weights:
        raise TopologyError(f"weights={weights!r:.60}: a dict from offset to weight, such as {{0: 0.5, 1: 0.5}}")
    nodes = np.arange(n)
    rows = np.tile(nodes, len(weights))
    columns = np.concatenate([(nodes - offset) % n for offset in weights])
    data = np.repeat(np.fromiter(weights.values(), float), n)
    return Topology(sp.coo_array((data, (rows, columns)), shape=(n, n)), connected=connected)


def from_pairs(n: int, pairs: ArrayLike, weights: ArrayLike, **options: Any) -> Topology:
    """A symmetric topology from undirected edges (i, j) and a weight for each; the rest of each row is the node's own."""
    n = whole("n", n, minimum=1)
    pairs = np.asarray(pairs)
    if pairs.size and pairs.dtype.kind not in "iu":
        raise TopologyError(f"pairs holds {pairs.dtype} values: nodes are whole numbers from 0 to {n - 1}")
    pairs = pairs.astype(np.int64)
    if pairs.size and (pairs.ndim != 2 or pairs.shape[1] != 2):
        raise TopologyError(f"pairs has shape {pairs.shape}: it is a list of pairs (i, j) of nodes, such as [(0, 1), (1, 2)]")
    i, j = pairs.reshape(-1, 2).T
    outside = (pairs < 0) | (pairs >= n)
    if outside.any():
        raise TopologyError(f"pairs has the node {pairs[outside][0]}: with n={n}, the nodes are 0 to {n - 1}")
    if (i == j).any():
        raise TopologyError(f"pairs has ({i[i == j][0]}, {i[i == j][0]}): a node's own weight is what its edges leave to one")
    w = np.asarray(weights, dtype=np.float64)
    if w.ndim and w.shape != i.shape:
        raise TopologyError(f"weights has shape {w.shape}: one weight, or one for each of the {len(i)} pairs")
    w = np.broadcast_to(w, i.shape)
    given = np.bincount(i, w, minlength=n) + np.bincount(j, w, minlength=n)
    diagonal = np.arange(n)
    data = np.concatenate([w, w, 1 - given])
    rows, columns = np.concatenate([i, j, diagonal]), np.concatenate([j, i, diagonal])
    matrix = sp.csr_array(sp.coo_array((data, (rows, columns)), shape=(n, n)))
    if matrix.nnz < len(data):  # entries at the same place have been added up
        edges, times = np.unique(np.minimum(i, j) * n + np.maximum(i, j), return_counts=True)
        a, b = divmod(int(edges[times > 1][0]), n)
        raise TopologyError(f"pairs has the edge ({a}, {b}) twice: give each edge once")
    return Topology(matrix, **options)


def metropolis_pairs(n: int, pairs: Integers, **options: Any) -> Topology:
    """The symmetric topology of undirected edges with Metropolis–Hastings weights 1 / (1 + max(dᵢ, dⱼ))."""
    return from_pairs(n, pairs, metropolis_weights(np.bincount(pairs.ravel(), minlength=n), *pairs.T), **options)


def metropolis_weights(degree: Integers, i: Integers, j: Integers) -> Vector:
    """1 / (1 + max(dᵢ, dⱼ)) for each edge (i, j)."""
    weights: Vector = 1 / (1 + np.maximum(degree[i], degree[j]))
    return weights


def _rate_in_words(name: str, rate: float, gap: float) -> str:
    """A rate, or where it is nearly one, what it lacks to one."""
    if abs(gap) < 1e-13:
        return f"{name} = 1"
    if 0 < gap < 1e-3:
        return f"1 − {name} = {gap:.3g}"
    return f"{name} = {0.0 if rate < 1e-12 else rate:.4g}"


def _common_fourier(rounds: Sequence[Graph]) -> NDArray[np.complex128] | None:
    """The eigenvalues of all rounds in one common basis, a row for each, if they share the translations of a grid."""
    if not all(isinstance(graph, Topology) for graph in rounds):
        return None
    for grid in rounds[0]._grids:
        eigenvalues = []
        for graph in rounds:
            found = spectrum.fourier(graph._operator, [grid])
            if found is None:
                break  # the others need not be tried
            eigenvalues.append(found.eigenvalues)
        else:
            return np.array(eigenvalues)
    return None


def _fill(target: Schedule, **fields: Any) -> None:
    """Set fields of an object that otherwise refuses to be changed."""
    target.__dict__.update(fields)
