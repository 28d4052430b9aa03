"""What a method is: a function that reads like its formula, what it needs of W, and what it remembers.

::

    @method(needs="doubly_stochastic")
    def dgd(net, x, grad, s, *, lr):
        mixed = net.start_mix(x)
        return mixed.wait() - lr * grad()

``net`` is how the nodes exchange tensors, ``x`` the iterates of the nodes hosted here (a row each), ``grad`` a thunk that gives
their gradients there, ``s`` the method's memory. One call is one iteration. The same function runs simulated, on MPI ranks
and on deep networks, because it knows nothing of any of them.

A method that says what its messages carry, as in ``@method(mail=("x", "w"), w=ones)``, is asynchronous: ``net`` is one `Node`
with its mailbox, ``x`` has one row, that node's, and a call is one activation.
"""

from __future__ import annotations

import difflib
import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import torch

from ..errors import ArgumentError, MethodError
from ..network import Network, Node
from .needs import NEEDS, TWO_BUFFERS, Need, two_buffers
from .parameters import DOMAINS

Start = Callable[..., torch.Tensor]
"""How a part of the memory begins: a function of net, x and those parameters of the method that it names after a ``*``."""

OnSwap = Callable[[Network, torch.Tensor, "Memory"], None]
"""What is to be done with the memory when the topology is swapped, if not what `Method.swapped` does: of net, x and s."""

_TAKEN = frozenset(
    [
        "method",
        "problem",
        "topology",
        "steps",
        "on",
        "wait",
        "seed",
        "every",
        "batch",
        "start",
        "n",
        "name",
        "progress",
        "pace",
        "paused",
        "effects",
        "compute",
        "speeds",
        "delay",
        "lr_schedule",
        "checkpoint",
        "checkpoint_every",
    ]
)
"""What `ifog.run` is told itself: no names for parameters of a method."""

_register: dict[str, Method] = {}


class Gradient(Protocol):
    """The gradients of the nodes hosted here; within one iteration, of the same mini-batches."""

    def __call__(self, z: torch.Tensor | None = None, *, fresh: bool = False) -> torch.Tensor:
        """At x, or at z; with ``fresh`` of another mini-batch."""
        ...


class Memory:
    """What a method remembers from one iteration to the next: named tensors, which can be saved, shown and moved."""

    def __init__(self, parts: Mapping[str, torch.Tensor]) -> None:
        self.__dict__.update(parts)

    def __setattr__(self, name: str, value: torch.Tensor) -> None:
        if name not in self.__dict__:
            raise MethodError(
                f"memory has no part {name!r}; it has {', '.join(self.__dict__) or 'none'}: declare it, as in "
                f"@method({name}=zeros)"
            )
        self.__dict__[name] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)

    def __getitem__(self, name: str) -> torch.Tensor:
        part: torch.Tensor = self.__dict__[name]
        return part

    def __repr__(self) -> str:
        return f"Memory({', '.join(f'{name}: {tuple(part.shape)}' for name, part in self.__dict__.items())})"


class Method:
    """A function made by `method`: call it, or look at what it is."""

    def __init__(
        self,
        function: Callable[..., torch.Tensor],
        needs: Sequence[str],
        memory: Mapping[str, Start],
        on_swap: OnSwap | None = None,
        mail: Sequence[str] = (),
    ) -> None:
        self.function, self.on_swap = function, on_swap
        self.name = function.__name__
        self.needs = tuple(needs)
        """What the topology must be, by the names of `ifog.algorithms.needs`."""
        self.memory = MappingProxyType(dict(memory))
        self.mail = tuple(mail)
        """What a message in its mailboxes carries: tensors like x, or like parts of the memory."""
        self.parameters = MappingProxyType(_parameters(function))
        """The numbers that a user chooses, with their defaults; `REQUIRED` for those without one."""
        self.of_the_start = frozenset(name for begin in memory.values() for name in _parameters(begin))
        """Those that only decide how its memory begins."""
        self.text = inspect.getdoc(function) or ""
        """What is written about it."""
        self.__doc__ = self.text
        self.__name__, self.__qualname__, self.__module__ = function.__name__, function.__qualname__, function.__module__

    def __reduce__(self) -> tuple[Callable[[str], Method], tuple[str]]:
        """Sent elsewhere, it is the method of this name there; one that a notebook has defined is sent whole to its engines."""
        return find, (self.name,)

    @property
    def of_ifog(self) -> bool:
        """Whether it came with ifog."""
        return self.__module__.startswith(f"{__package__}.")

    @property
    def asynchronous(self) -> bool:
        """Whether a call is an activation of one node, and nobody waits: `ifog.experiment.Asynchronous` drives it."""
        return bool(self.mail)

    def __call__(self, net: Network | Node, x: torch.Tensor, grad: Gradient, s: Memory, **parameters: Any) -> torch.Tensor:
        """One iteration: the next iterates."""
        return self.function(net, x, grad, s, **parameters)

    def start(self, net: Network, x: torch.Tensor, **parameters: Any) -> Memory:
        """The memory before the first iteration, which starts from x."""
        known = {**self.parameters, **parameters}
        return Memory(
            {name: begin(net, x, **{key: known[key] for key in _parameters(begin)}) for name, begin in self.memory.items()}
        )

    def swapped(self, net: Network, x: torch.Tensor, s: Memory, **parameters: Any) -> None:
        """The topology of the network is another one now: what is remembered of edges begins anew, all else is kept."""
        if self.on_swap is not None:
            self.on_swap(net, x, s)
            return
        known = {**self.parameters, **parameters}
        for name, begin in self.memory.items():
            if begin in ON_EDGES or len(s[name]) != len(x):
                setattr(s, name, begin(net, x, **{key: known[key] for key in _parameters(begin)}))

    def check(self, net: Network, **parameters: Any) -> dict[str, Any]:
        """Refuse a topology that does not fit or a parameter that is wrong; else the parameters, defaults included."""
        self.check_topology(net)
        return self.check_parameters(**parameters)

    def check_topology(self, net: Network) -> None:
        """Refuse a topology that does not fit."""
        for name in self.needs:
            need = NEEDS[name]
            if not need.holds(net.topology):
                advice = TWO_BUFFERS if two_buffers(net.topology) else need.advice
                raise MethodError(f"{self.name} on {net.topology.label}: it needs {need.words}; {advice}")

    def check_parameters(self, **parameters: Any) -> dict[str, Any]:
        """Refuse a parameter that is missing, unknown or out of bounds; the others, with their defaults."""
        for name, value in parameters.items():
            if name not in self.parameters:
                near = difflib.get_close_matches(name, self.parameters, 1)
                known = f"did you mean {near[0]}?" if near else f"it has {', '.join(self.parameters) or 'none'}"
                raise ArgumentError(f"{self.name} has no parameter {name!r}: {known}")
            if isinstance(value, float | int) and not math.isfinite(value):
                raise ArgumentError(f"{name}={value} of {self.name}: give a finite number")
            domain = DOMAINS.get(name)
            if domain is not None and not domain.holds(value):
                raise ArgumentError(f"{name}={value!r:.60} of {self.name}: give {domain.words}, e.g. {name}={domain.example}")
        missing = [name for name, default in self.parameters.items() if default is REQUIRED and name not in parameters]
        if missing:
            example = DOMAINS[missing[0]].example if missing[0] in DOMAINS else "0.1"
            raise ArgumentError(f"{self.name} needs {missing[0]}: give it, e.g. {missing[0]}={example}")
        return {**{k: v for k, v in self.parameters.items() if v is not REQUIRED}, **parameters}

    @property
    def summary(self) -> str:
        """The first line of what is written about it."""
        return self.text.partition("\n")[0]

    @property
    def formula(self) -> str:
        """Its formula, in LaTeX."""
        found = re.search(r"\.\. math::\n(?:\s*\n)?((?:[ \t]+\S.*\n?|\s*\n)+)", self.text + "\n")
        return inspect.cleandoc(found.group(1)).strip() if found else ""

    @property
    def paper(self) -> str:
        """Where it comes from: the paragraph with an address in it."""
        paragraphs = self.text.split("\n\n")
        return next((" ".join(part.split()) for part in paragraphs if "https://" in part), "")

    def __repr__(self) -> str:
        given = ", ".join(name if v is REQUIRED else f"{name}={v!r}" for name, v in self.parameters.items())
        return f"<method {self.name}({given})>"


REQUIRED = inspect.Parameter.empty


def _parameters(function: Callable[..., Any]) -> dict[str, Any]:
    signature = inspect.signature(function)
    return {p.name: p.default for p in signature.parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY}


def method(
    *, needs: str | Sequence[str] = (), on_swap: OnSwap | None = None, mail: Sequence[str] = (), **memory: Start
) -> Callable[[Callable[..., torch.Tensor]], Method]:
    """Make a method of a function, and list it in the register; ``memory`` says how each part of the memory begins.

    With ``mail`` it is asynchronous: what its messages carry, "x" or parts of the memory.
    """
    wanted = (needs,) if isinstance(needs, str) else tuple(needs)
    for name in wanted:
        if name not in NEEDS:
            near = difflib.get_close_matches(name, NEEDS, 1)
            raise MethodError(f"needs={name!r}: one of {', '.join(NEEDS)}" + (f"; did you mean {near[0]}?" if near else ""))

    for name in mail:
        if isinstance(mail, str) or name not in ("x", *memory):
            raise MethodError(f'mail={mail!r}: name what messages carry, of {", ".join(["x", *memory])}, such as mail=("x",)')

    def make(function: Callable[..., torch.Tensor]) -> Method:
        taken = _TAKEN.intersection(_parameters(function))
        if taken:
            raise MethodError(f"{min(taken)} of {function.__name__}: ifog.run has an argument of that name; choose another one")
        made = Method(function, wanted, memory, on_swap, mail)
        known = _register.get(made.name)
        if known is not None and known.of_ifog and known.__module__ != made.__module__:
            raise MethodError(
                f"{made.name} is a method of ifog's own, from {known.__module__}: call yours something else, "
                f"e.g. my_{made.name}"
            )
        _register[made.name] = made  # one's own may be defined again: so a cell is edited
        return made

    return make


def made_again(
    function: Callable[..., torch.Tensor],
    needs: Sequence[str],
    memory: Mapping[str, Start],
    on_swap: OnSwap | None,
    mail: Sequence[str],
) -> Method:
    """A method that comes from elsewhere, in the register of this process."""
    return method(needs=needs, on_swap=on_swap, mail=mail, **memory)(function)


def all() -> dict[str, Method]:  # noqa: A001  (read as ifog.algorithms.all())
    """Every method there is, by name."""
    return dict(_register)


def find(name: str | Method) -> Method:
    """A method by its name."""
    if isinstance(name, Method):
        return name
    if name not in _register:
        near = difflib.get_close_matches(str(name), _register, 1)
        raise MethodError(
            f"no method {name!r}" + (f": did you mean {near[0]}?" if near else "; ifog.algorithms.all() lists them")
        )
    return _register[name]


# ---------------------------------------------------------------------------------------------------- how memory begins
def zeros(net: Network, x: torch.Tensor) -> torch.Tensor:
    """Zeros like x."""
    return torch.zeros_like(x)


def start(net: Network, x: torch.Tensor) -> torch.Tensor:
    """Where x starts."""
    return x.clone()


def ones(net: Network, x: torch.Tensor) -> torch.Tensor:
    """A one for each node, as a column."""
    return torch.ones((len(x), *[1] * (x.dim() - 1)), dtype=x.dtype, device=x.device)


def constant(value: float) -> Start:
    """A number for each node, as a column."""
    return lambda net, x: value * ones(net, x)


def messages(net: Network, x: torch.Tensor) -> torch.Tensor:
    """Zeros on the edges, as if that had come before the first iteration."""
    return net.edges.empty(x)


def counts(net: Network, x: torch.Tensor) -> torch.Tensor:
    """A zero on each edge."""
    return net.edges.empty(ones(net, x))


ON_EDGES: tuple[Start, ...] = (messages, counts)


__all__ = [
    "NEEDS",
    "Gradient",
    "Memory",
    "Method",
    "Need",
    "all",
    "constant",
    "counts",
    "find",
    "messages",
    "method",
    "ones",
    "start",
    "zeros",
]
