"""What the hooks tell, whatever way user code comes; and that whatever happens, a reply comes back."""

import ast

import pytest
from ipyparallel import interactive

SPY = """
from types import SimpleNamespace
from ifog.comm import cell
from ifog.engine import kernel
told = []
kernel.cell = SimpleNamespace(
    began=lambda *_: told.append("began"),
    ended=lambda error=None: told.append(error and f"{type(error).__name__}: {error}"),
)
mark = 1
"""


@pytest.fixture
def told(four):
    """What rank 0 has told since this was last asked for."""

    def since():
        # its own beginning is the last that it prints, and its end comes after
        (outcome,) = four.good("print(told[mark:-1]); mark = len(told) + 1", on=[0])
        return ast.literal_eval(outcome.stdout)

    four.good(SPY, on=[0])
    yield since
    four.good("kernel.cell = cell", on=[0])


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("1 + 1", None),
        ("", None),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def f(:", "SyntaxError: invalid syntax"),
        ("if True:\nx = 1", "IndentationError: expected an indented block"),
        ("%no_such_magic", "UsageError: Line magic function `%no_such_magic` not found."),
        ("!{", None),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise type('Odd', (BaseException,), {})('x')", "Odd: x"),
        ("raise ExceptionGroup('two', [ValueError(1), ValueError(2)])", "ExceptionGroup: two (2 sub-exceptions)"),
        ("get_ipython().run_cell('1 / 0'); 2", None),
        ("import asyncio; await asyncio.sleep(0.01)", None),
        ("import asyncio; await asyncio.sleep(0.01); 1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_the_end_of_a_cell_is_told_once_and_with_its_error(four, told, code, says, silent):
    four.run(code, on=[0], silent=silent)
    began, ended = told()
    assert began == "began"
    assert (ended or "").startswith(says or "")
    assert bool(ended) == bool(says)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda: 1 + 1, None),
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda: lambda: 1, None),
        (lambda: (_ for _ in ()), "TypeError: cannot pickle 'generator' object"),
    ],
)
def test_a_function_call_is_told_like_a_cell(four, told, function, says):
    result = four.client[0].apply_async(interactive(function))
    result.wait(10)
    assert result.done()
    assert result.successful() == (says is None)
    began, ended = told()
    assert (began, ended) == ("began", says)


def test_an_error_is_told_before_its_traceback_is_formatted(four, told):
    four.good(
        "tb = get_ipython().InteractiveTB; format = tb.structured_traceback\n"
        "tb.structured_traceback = lambda *a, **k: (told.append('formatted'), format(*a, **k))[1]",
        on=[0],
    )
    four.run("1 / 0", on=[0])
    four.good("del tb.structured_traceback", on=[0])
    said = told()
    assert said.index("ZeroDivisionError: division by zero") < said.index("formatted")


def test_a_cell_with_await_gets_its_reply(four):
    # plain ipyparallel 9.2 on ipykernel 7.4 never sends one: AttributeError in ipykernel's do_execute
    (outcome,) = four.good("import asyncio\nx = 0\nfor _ in range(3):\n    await asyncio.sleep(0.01)\n    x += 1\nx", on=[0])
    assert outcome.value == "3"


def test_whatever_breaks_in_the_kernel_the_client_gets_a_reply(four):
    four.good("get_ipython().run_cell = lambda *a, **k: 1 / 0", on=[0])
    (outcome,) = four.run("1 + 1", on=[0])
    assert (outcome.error, outcome.message) == ("ZeroDivisionError", "division by zero")
    assert "run_cell = lambda" in outcome.traceback
    four.client[0].apply_sync(interactive(lambda: get_ipython().__delattr__("run_cell")))  # noqa: F821
    four.good("1 + 1", on=[0])


def test_cells_queued_behind_one_that_fails_run_nevertheless(four):
    # else they would be dropped on the ranks where it fails, and on no others: out of step for ever
    failing = four.start(lambda rank: "1 / 0" if rank == 3 else "1")
    queued = four.start("x = 'ran'; x")
    assert [outcome.error for outcome in failing.outcomes()] == [None, None, None, "ZeroDivisionError"]
    assert [outcome.value for outcome in queued.outcomes()] == ["'ran'"] * 4


def test_the_traceback_of_ifogs_errors_shows_the_readers_lines_only(four):
    code = "from ifog.topology import ring\ndef build():\n    return ring(-1)\nbuild()"
    (outcome,) = four.run(code, on=[0])
    assert outcome.error == "TopologyError"
    assert "return ring(" in outcome.traceback
    assert "build()" in outcome.traceback
    assert "ifog/topology" not in outcome.traceback
    assert outcome.message in outcome.traceback


def test_installing_twice_and_uninstalling(four):
    four.good("import ifog.engine; ifog.engine.install(); ifog.engine.install()")
    four.good("import signal; ifog.engine.uninstall(); ifog.engine.uninstall()")
    code = (
        "hooks = {'do_execute', 'do_apply', 'pre_handler_hook'}; hooks & vars(get_ipython().kernel).keys(), signal.getsignal(2)"
    )
    (outcome, *_) = four.good(code)
    assert outcome.value.startswith("(set(), <function _signal.default_int_handler")
    four.good("ifog.engine.install()")
    four.good("1 + 1")


def test_outside_a_kernel_it_says_where_to_install():
    from ifog.engine import install
    from ifog.errors import SetupError

    with pytest.raises(SetupError, match=r"%px %load_ext ifog.engine"):
        install()
