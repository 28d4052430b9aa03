"""SIGINT stops user code, and never loses a reply."""

import random
import signal
import time

import pytest
from ipyparallel import interactive

BUSY = {
    "a loop": "while True: pass",
    "a sleep": "import time; time.sleep(30)",
    "a loop in a cell with await": "import asyncio; await asyncio.sleep(0)\nwhile True: pass",
    "a value that is long to show": "class Slow:\n    def __repr__(self):\n        while True: pass\nSlow()",
    "code with a handler of its own": "import signal; signal.signal(2, signal.default_int_handler)\nwhile True: pass",
}


def interrupt(engines, *ranks, how="signal"):
    if how == "signal":
        engines.signal(signal.SIGINT, *ranks)
    else:  # what the stop button of a notebook sends
        engines.client._send_control_request(list(ranks), "interrupt_request", content={}, block=False)


@pytest.mark.parametrize("how", ["signal", "request"])
@pytest.mark.parametrize("what", BUSY)
def test_it_stops_user_code(four, what, how):
    cell = four.begin(BUSY[what], on=[0, 1])
    for _ in range(5):  # between two statements there is no code of the user to be stopped: then it goes unheard
        interrupt(four, *(rank for rank in (0, 1) if rank not in cell.ended), how=how)
        deadline = time.monotonic() + 2
        while len(cell.ended) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        if len(cell.ended) == 2:
            break
    assert [outcome.error for outcome in cell.outcomes(10)] == ["KeyboardInterrupt"] * 2
    four.good("1 + 1")


def test_it_cancels_a_cell_that_awaits(four):
    cell = four.begin("import asyncio; await asyncio.sleep(30)", on=[0])
    interrupt(four, 0)
    assert [outcome.error for outcome in cell.outcomes(10)] == ["CancelledError"]
    (outcome,) = four.good("import asyncio; await asyncio.sleep(0); 1", on=[0])
    assert outcome.value == "1"


def test_a_display_that_was_stopped_does_not_fail_the_next_cell(four):
    cell = four.begin(BUSY["a value that is long to show"], on=[0])
    time.sleep(0.1)
    interrupt(four, 0)
    assert [outcome.error for outcome in cell.outcomes(10)] == ["KeyboardInterrupt"]
    four.good("import asyncio; await asyncio.sleep(0)", on=[0])


def test_it_stops_a_function_call(four):
    def function():
        import sys
        import time

        sys.stdout.write("begun")
        time.sleep(30)

    result = four.client[0].apply_async(interactive(function))
    while "begun" not in result.stdout:
        time.sleep(0.01)
    interrupt(four, 0)
    result.wait(10)
    assert result.done()
    assert "KeyboardInterrupt" in str(result.exception())


def test_a_cell_within_a_cell_is_stopped_first(four):
    cell = four.start("get_ipython().run_cell('while True: pass')\nprint('goes on', flush=True)\nwhile True: pass", on=[0])
    while not cell.results[0].done():
        time.sleep(0.2)
        interrupt(four, 0)
    (outcome,) = cell.outcomes()
    assert (outcome.error, "goes on" in outcome.stdout) == ("KeyboardInterrupt", True)


def test_an_idle_engine_does_not_mind(four):
    for _ in range(20):
        interrupt(four)
        time.sleep(0.005)
    four.good("1 + 1")


def test_volleys_at_any_time_lose_no_reply(four):
    # of plain ipyparallel's 54 cells with one signal each, 3 never got a reply; here each gets up to four
    cells = [
        "sum(range(20_000))",
        "1 / 0",
        "print('x' * 100)",
        "import asyncio; await asyncio.sleep(0.002)",
        "list(range(200))",
    ]
    seen = set()
    chance = random.Random(0)
    for k in range(60):
        cell = four.start(cells[k % len(cells)])
        for _ in range(4):
            time.sleep(chance.uniform(0, 0.015))
            interrupt(four, *chance.choice([(), (0,), (1, 2)]))
        seen |= {outcome.error for outcome in cell.outcomes(10)}
    assert seen <= {None, "ZeroDivisionError", "KeyboardInterrupt", "CancelledError"}
    four.good("1 + 1")
