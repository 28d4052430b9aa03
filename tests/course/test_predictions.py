"""What was expected is kept, and compared with what is so."""

import json

import pytest

from ifog.course import predict
from ifog.errors import ArgumentError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    return tmp_path


def typed(prediction, text):
    """As if somebody had written it into the field, or had pressed the button; gives the note beside it."""
    from ifog.course.predictions import _field

    answer, note = _field(prediction).children[1].children
    answer.value = text
    return note.value


def test_a_number_is_compared_up_to_a_tenth():
    guess = predict("How many rounds?")
    assert repr(guess.compare(33, "rounds")) == "You have said nothing: it is 33 rounds."
    assert "noted" in typed(guess, " 20 ")
    far = guess.compare(33, "rounds")
    assert not far.near
    assert repr(far) == "You said 20, and it is 33 rounds."
    guess.say(32)
    assert guess.compare(33, "rounds").near
    assert "as you said" in repr(guess.compare(33))


@pytest.mark.parametrize(("text", "value"), [("20", 20), ("0,5", 0.5), ("1/12", 1 / 12), ("1e-3", 1e-3), (" -2 ", -2)])
def test_a_number_is_taken_as_people_write_it(text, value):
    guess = predict("How far?")
    typed(guess, text)
    assert guess.said == pytest.approx(value)


def test_what_is_no_number_is_not_noted():
    guess = predict("How far?")
    assert "&#x27;many&#x27; is no number" in typed(guess, "many")
    assert guess.said is None


def test_a_choice_is_right_or_not():
    guess = predict("What happens?", "nothing", "an <error>")
    typed(guess, "nothing")
    assert repr(guess.compare("an <error>")) == "You said “nothing”, and it is “an <error>”."
    assert "an &lt;error&gt;" in guess.compare("an <error>")._repr_html_()
    assert guess.compare("nothing").near


def test_the_bars_are_as_long_as_the_numbers():
    guess = predict("How many?")
    guess.say(10)
    shown = guess.compare(40)._repr_html_()
    assert "width:260px" in shown
    assert "width:65px" in shown


def test_what_was_said_is_there_on_another_day_with_what_came_out(folder):
    predict("How many?").say(7)
    again = predict("How many?")
    assert again.said == 7
    again.compare(8)
    file = folder / "profile_ifog" / "predictions.json"
    assert json.loads(file.read_text()) == {"How many?": {"said": 7, "true": 8.0}}
    assert file.stat().st_mode & 0o077 == 0
    assert predict("How many?", "one", "two").said is None  # which is no choice any more


def test_a_folder_that_cannot_be_written_costs_the_memory_only(folder, monkeypatch):
    (folder / "profile_ifog").write_text("a file where the folder should be")
    guess = predict("How many?")
    guess.say(7)
    assert guess.compare(7).near
    assert predict("How many?").said is None


def test_nonsense_is_refused_in_words():
    with pytest.raises(ArgumentError, match="in words"):
        predict("")
    with pytest.raises(ArgumentError, match="two texts or more"):
        predict("What?", "this")
    guess = predict("What?", "this", "that")
    with pytest.raises(ArgumentError, match="one of 'this', 'that'"):
        guess.say("other")
    with pytest.raises(ArgumentError, match="one of 'this', 'that'"):
        guess.compare("other")
    with pytest.raises(ArgumentError, match="a number"):
        predict("How many?").say("seven")
