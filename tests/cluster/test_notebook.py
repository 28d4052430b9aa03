"""`%load_ext ifog` in a real kernel: what a cell shows, and how errors, interrupts and deaths look to its reader."""

import os
import signal
import time

import pytest
from engines_and_notebooks import until

pytestmark = pytest.mark.slow
SOON = 10.0  # seconds until the notebook knows, on a machine that others use too; alone it takes one or two
AGAIN = 30.0  # seconds until the engines are back; alone about five


def works(notebook):
    """The next cell is right."""
    shown = notebook.good("%px ifog.allreduce(torch.tensor([float(ifog.rank())]), 'sum')")
    assert shown.value == "ranks 0–3: tensor([6.])", shown


def test_results_come_back_as_a_list_by_rank(four):
    _, notebook = four
    assert notebook.good("%%px\nifog.rank()").value == "rank 0: 0\nrank 1: 1\nrank 2: 2\nrank 3: 3"
    assert notebook.good("[type(_).__name__, _[3] + 1, len(_)]").value == "['Results', 4, 4]"
    assert notebook.good("%px torch.ones(2)").value == "ranks 0–3: tensor([1., 1.])"
    assert notebook.good("_[0].shape").value == "torch.Size([2])"
    assert notebook.good("%px x = 3").value == ""
    assert notebook.good("%px (lambda: 3)").value == "ranks 0–3: <function __main__.<lambda>()>"  # cannot travel: its text does


def test_output_is_by_rank_and_what_is_equal_stands_once(four):
    _, notebook = four
    assert notebook.good("%px print('hello')").text == "ranks 0–3: hello"
    assert notebook.good("%px print('even' if ifog.rank() % 2 == 0 else 'odd')").text == "ranks 0, 2: even\nranks 1, 3: odd"
    shown = notebook.good("%%px\nfrom IPython.display import HTML, display\ndisplay(HTML(f'<b>{ifog.rank()}</b>'))")
    (display,) = shown.displays.values()
    assert [f"<b>{rank}</b>" in display["text/html"] for rank in range(4)] == [True] * 4
    assert display["text/html"].index("<b>0</b>") < display["text/html"].index("<b>3</b>")


def test_some_ranks_only(four):
    _, notebook = four
    assert notebook.good("%%px -t 1:3\nifog.rank()").value == "rank 1: 1\nrank 2: 2"
    assert notebook.good("%%px --targets [0,3] -o kept\nifog.rank()").value == "rank 0: 0\nrank 3: 3"
    assert notebook.good("kept.get()").error is None
    assert notebook.good("%%px -t 2\nprint('alone')\nifog.rank()").value == "rank 2: 2"
    assert notebook.good("%%px -t 2\nx = 1").text == ""
    assert "alone" in notebook.run("%%px -t 2\nraise ValueError('alone')").message
    assert "ranks of 0 to 3" in notebook.run("%%px -t 7\n1").message


def test_an_error_is_shown_once_and_its_cause_first(four):
    _, notebook = four
    shown = notebook.run("%%px\nif ifog.rank() == 2:\n    1 / 0\nifog.barrier()")
    assert shown.error == "RanksFailed"
    assert shown.seconds < SOON
    assert shown.traceback.startswith("rank 2\n")
    assert shown.traceback.count("ZeroDivisionError: division by zero") == 1
    assert "ranks 0, 1, 3 waited for that, and were released" in shown.traceback
    assert "----> 2     1 / 0" in shown.traceback
    works(notebook)
    shown = notebook.run("%%px\ndef f(:")
    assert shown.traceback.startswith("ranks 0–3\n")
    assert shown.traceback.count("SyntaxError") == 1
    works(notebook)
    shown = notebook.run("%%px\nifog.allreduce(torch.ones(2 + (ifog.rank() == 1)))")
    assert shown.traceback.count("Mismatch:") == 1
    assert "rank 1" in shown.message
    works(notebook)


def test_the_stop_button_interrupts_the_engines(four):
    _, notebook = four
    for code in ("while True: pass", "time.sleep(60)", "ifog.barrier() if ifog.rank() else time.sleep(60)"):
        sent = notebook.send(f"%px {code}")
        time.sleep(1.0)
        notebook.interrupt()
        shown = notebook.outcome(sent, timeout=60)
        assert shown.error == "KeyboardInterrupt", shown
        works(notebook)


def test_a_rank_that_never_calls_is_named(four):
    _, notebook = four
    shown = notebook.run("%%px\nif ifog.rank() != 3:\n    ifog.barrier()")
    assert "Deadlock" in shown.message
    assert "rank 3 has already finished the cell" in shown.message
    works(notebook)


def test_a_killed_engine_is_named_and_a_restart_brings_all_back(four):
    cluster, notebook = four
    sent = notebook.send("%px time.sleep(60) if ifog.rank() == 1 else ifog.barrier()")
    time.sleep(1.0)
    os.kill(cluster.status()["engines"][1]["pid"], signal.SIGKILL)
    killed = time.monotonic()
    shown = notebook.outcome(sent, timeout=60)
    assert time.monotonic() - killed < SOON
    assert shown.error == "EnginesLost"
    assert "rank 1" in shown.message
    assert "killed by signal 9" in shown.message
    assert "%ifog restart" in shown.message
    assert "%ifog restart" in notebook.run("%px 1").message  # so says every cell, until
    shown = notebook.good("%ifog restart")
    assert all(engine["state"] in ("idle", "busy") for engine in cluster.status(5.0)["engines"])
    assert shown.seconds < AGAIN
    notebook.good("%px import ifog, torch, os, time")
    works(notebook)


def test_the_system_takes_an_engine_that_wants_too_much_memory(four):
    _, notebook = four
    shown = notebook.run(
        "%%px\nimport resource\nresource.setrlimit(resource.RLIMIT_AS, (2**35, 2**35))\n"
        "if ifog.rank() == 2:\n    x = bytearray(2**36)\nifog.barrier()"
    )
    assert shown.traceback.startswith("rank 2\n")
    assert "MemoryError" in shown.message
    works(notebook)


def test_a_killed_controller_is_noticed_and_replaced(four):
    cluster, notebook = four
    sent = notebook.send("%px time.sleep(60)")
    time.sleep(1.0)
    os.kill(cluster.said()["controller"], signal.SIGKILL)
    killed = time.monotonic()
    shown = notebook.outcome(sent, timeout=60)
    assert time.monotonic() - killed < SOON
    assert "the controller" in shown.message
    assert notebook.good("%ifog restart").seconds < AGAIN
    notebook.good("%px import ifog, torch, os, time")
    works(notebook)


def test_a_killed_manager_takes_everything_with_it(four):
    cluster, notebook = four
    sent = notebook.send("%px time.sleep(60)")
    time.sleep(1.0)
    os.kill(cluster.said()["processes"][0][0], signal.SIGKILL)
    shown = notebook.outcome(sent, timeout=60)
    assert "%ifog start -np 4" in shown.message
    notebook.good("%ifog start -np 4")
    notebook.good("%px import ifog, torch, os, time")
    works(notebook)


def test_a_machine_that_sleeps_loses_nothing(four):
    cluster, notebook = four
    notebook.good("%px kept = 7")
    pids = [engine["pid"] for engine in cluster.said()["engines"]] + [pid for pid, _ in cluster.said()["processes"]]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(4.0)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    assert notebook.good("%px kept").value == "ranks 0–3: 7"
    works(notebook)


def test_a_new_kernel_finds_the_engines_and_what_is_in_them(four, tmp_path):
    from engines_and_notebooks import Notebook

    cluster, first = four
    first.good("%px kept = 40 + ifog.rank()")
    second = Notebook(tmp_path)
    second.good("%load_ext ifog")
    second.send("%px time.sleep(30)")
    until(lambda: all(engine["state"] == "busy" for engine in cluster.status()["engines"]))
    second.kill()  # while its cell runs
    third = Notebook(tmp_path)
    third.good("%load_ext ifog")
    third.good("%ifog interrupt")
    assert third.good("%px kept", timeout=10).value == "rank 0: 40\nrank 1: 41\nrank 2: 42\nrank 3: 43"
    works(third)
    third.close()
    works(first)


def test_two_notebooks_take_turns(four, tmp_path):
    from engines_and_notebooks import Notebook

    _, first = four
    second = Notebook(tmp_path)
    second.good("%load_ext ifog")
    sent = [book.send("%%px\ntime.sleep(.5)\nifog.allreduce(torch.ones(1), 'sum')") for book in (first, second)]
    for book, cell in zip((first, second), sent, strict=True):
        assert book.outcome(cell).value == "ranks 0–3: tensor([4.])"
    shown = second.run("%%px\nif ifog.rank() == 0: 1 / 0\nifog.barrier()")
    assert "ZeroDivisionError" in shown.message
    works(first)
    works(second)
    second.close()


def test_plain_ipyparallel_goes_on_working(four):
    _, notebook = four
    notebook.good("import ifog; rc = ifog.connect().client; view = rc[:]")
    notebook.good("view.push({'a': 5}, block=True)")
    assert notebook.good("view.pull('a', block=True)").value == "[5, 5, 5, 5]"
    assert notebook.good("view.apply_sync(lambda: ifog.rank())").value == "[0, 1, 2, 3]"
    notebook.good("view.scatter('part', list(range(8)), block=True)")
    assert notebook.good("view.gather('part', block=True)").value == "[0, 1, 2, 3, 4, 5, 6, 7]"
    assert "AsyncResult" in notebook.good("%%px --noblock\n1 + 1").value
    notebook.good("%%px --local\nfrom_both = 1")
    assert notebook.good("from_both").value == "1"
    notebook.good("%autopx")
    notebook.good("b = ifog.rank()")
    notebook.good("%autopx")
    assert notebook.good("view['b']").value == "[0, 1, 2, 3]"
    notebook.good("code = 'from ipyparallel.datapub import publish_data; publish_data(dict(k=1))'")
    shown = notebook.good("r = view.execute(code, block=True); r.wait_for_output(5); r.data")
    assert shown.value == "[{'k': 1}, {'k': 1}, {'k': 1}, {'k': 1}]"


def test_buttons_answer_while_a_cell_runs(four):
    """Whatever else the kernel has to do is done while it waits for the engines."""
    _, notebook = four
    notebook.good(
        "import asyncio; ticks = []\nasync def tick():\n    while True:\n        ticks.append(1); await asyncio.sleep(.01)"
    )
    notebook.good("task = asyncio.ensure_future(tick())")
    notebook.good("before = len(ticks)")
    notebook.good("%px time.sleep(1)")
    assert int(notebook.good("task.cancel(); len(ticks) - before").value) > 20
