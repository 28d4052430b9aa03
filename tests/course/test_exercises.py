"""Every exercise of the course: right answers pass, mistakes get their hint, and all else a clear word."""

import re
import time

import numpy as np
import pytest
from answers_by_number import ANSWERS

from ifog.course import check, exercises
from ifog.errors import ArgumentError

HERE = [number for number, exercise in exercises().items() if not exercise.on_engines]
THERE = [number for number, exercise in exercises().items() if exercise.on_engines]
FUNCTIONS = [number for number in HERE if exercises()[number].is_function]


def answer(number, code):
    """What the code defines under the name that is asked for."""
    names = {"__name__": "an answer"}
    exec(compile(f"{ANSWERS[number].before}\n{code}", f"<answer {number}>", "exec"), names)
    return names[exercises()[number].name]


def test_every_exercise_has_an_answer_and_a_trap():
    assert list(ANSWERS) == list(exercises())
    assert all(known.right and known.traps for known in ANSWERS.values())


@pytest.mark.parametrize("number", HERE)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_right_answer_passes_whatever_the_seed(number, seed):
    verdict = check(number, answer(number, ANSWERS[number].right), seed=seed)
    assert verdict, verdict
    assert "✓" in repr(verdict)
    assert not verdict.hint


@pytest.mark.parametrize("number", HERE)
def test_each_trap_gets_its_hint(number):
    for hint, code in ANSWERS[number].traps:
        verdict = check(number, answer(number, code))
        assert not verdict
        assert hint in verdict.hint, verdict
        assert verdict.hint in repr(verdict)


def raises(*_):
    raise KeyError("oh")


ODD = {
    "nothing": (lambda *_: None, "None"),
    "a word": (lambda *_: "a word", "'a word'"),
    "wrong shape": (lambda *_: np.zeros((2, 3, 4, 5, 6)), "(2, 3, 4, 5, 6)"),
    "no number": (lambda *_: float("nan"), "nan|one number"),
    "an error": (raises, r"KeyError.*in line \d+: `raise KeyError"),
    "wrong arguments": (lambda: 1, "TypeError"),
}


@pytest.mark.parametrize("number", FUNCTIONS)
@pytest.mark.parametrize("what", ODD)
def test_what_is_no_answer_is_said_to_be_none(number, what):
    function, said = ODD[what]
    verdict = check(number, function)
    assert not verdict
    assert re.search(said, verdict.said), verdict


@pytest.mark.parametrize("number", HERE)
def test_what_is_not_even_a_function_is_refused_in_words(number):
    assert f'check("{number}", {exercises()[number].name})' in check(number).said
    assert "3.14 or so" in check(number, "3.14 or so").said
    unanswered = [check(number, ...), *([check(number, lambda *_: ...)] if number in FUNCTIONS else [])]
    for verdict in unanswered:
        assert not verdict
        assert repr(verdict).startswith(f"○ {number}"), verdict


def test_an_exercise_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(ArgumentError, match=r"number='3.11'.*is it '3.1'.*There are .*3\.1, "):
        check("3.11", 1)


def test_an_answer_that_does_not_end_is_wrong_and_is_ended():
    rounds = []

    def forever(*_):
        while True:
            try:
                while True:
                    rounds.append(1)
            except Exception:  # noqa: BLE001
                pass

    verdict = check("3.1", forever, seconds=0.3)
    assert "not ended" in verdict.said
    count = len(rounds)
    time.sleep(0.05)
    assert len(rounds) == count


def test_whoever_grades_has_other_instances_and_an_error_for_what_is_not_right(monkeypatch):
    def guessed(instances):
        def ring_rho(n):
            instances.append(n)
            return answer("3.1", ANSWERS["3.1"].right)(n)

        return ring_rho

    seen, unseen = [], []
    assert check("3.1", guessed(seen))
    monkeypatch.setenv("IFOG_GRADING_SEED", "4711")
    assert check("3.1", guessed(unseen))
    assert seen != unseen
    with pytest.raises(AssertionError, match=r"✗ 3\.1 ring_rho\(n\): .*\nHint: "):
        check("3.1", lambda n: 1.0)
    monkeypatch.setenv("IFOG_GRADING_SEED", "secret")
    with pytest.raises(ArgumentError, match="IFOG_GRADING_SEED='secret': a whole number"):
        check("3.1", guessed([]))


# -------------------------------------------------------------------------------------------------------- on the engines
@pytest.fixture
def on_four(four):
    """Puts an answer onto four engines, and gives what the check says in the notebook."""
    _, notebook = four

    def checked(number, code, **options):
        notebook.good(f"%%px\n{ANSWERS[number].before}\nifog.set_topology(ifog.topology.ring(ifog.size()))\n{code}")
        return ask(number, **options)

    def ask(number, **options):
        given = "".join(f", {name}={value!r}" for name, value in options.items())
        return notebook.good(f"from ifog.course import check\ncheck({number!r}{given})").value

    checked.ask = ask
    checked.notebook = notebook
    return checked


@pytest.mark.slow
@pytest.mark.parametrize("number", THERE)
def test_on_engines_right_answers_pass_and_traps_get_their_hint(on_four, number):
    name = exercises()[number].name
    on_four.notebook.good(f"%px globals().pop({name!r}, None)")
    assert f"there is no function `{name}` on ranks 0–3" in on_four.ask(number)
    for seed in (0, 1):
        said = on_four(number, ANSWERS[number].right, seed=seed)
        assert said.startswith("✓"), said
    for hint, code in ANSWERS[number].traps:
        said = on_four(number, code)
        assert said.startswith("✗"), said
        assert hint in said.partition("Hint: ")[2], said
    for body, word in (("return 'a word'", "'a word'"), ("return None", "gave None"), ("return 1 / 0", "ZeroDivisionError")):
        said = on_four(number, f"def {name}(*_):\n    {body}")
        assert said.startswith("✗"), said
        assert word in said


@pytest.mark.slow
def test_on_engines_an_answer_that_does_not_end_is_wrong_and_the_next_one_is_tried(on_four):
    number = THERE[0]
    said = on_four(number, f"def {exercises()[number].name}(*_):\n    while True:\n        pass", seconds=1.0)
    assert "not ended on the engines after 1 s" in said
    assert on_four(number, ANSWERS[number].right).startswith("✓")


def test_without_engines_it_is_said_how_to_start_some(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    verdict = check("3.5")
    assert not verdict
    assert "ifog start -np 4" in verdict.said
