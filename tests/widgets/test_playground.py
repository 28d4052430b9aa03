"""The playground's Python side: what its controls are, what is drawn when one is turned, and the picture that stays."""

import numpy as np
import pytest

from ifog.errors import ArgumentError
from ifog.widgets import Playground, messages

DRAWN = '<svg xmlns="http://www.w3.org/2000/svg" width="20" fill="var(--ifog-ink, #123456)"><g class="ghost">{}</g></svg>'


def draw(n=3, share=0.5, kind="ring", lazy=False):
    return DRAWN.format(f"<text>{n} {share:g} {kind} {lazy}</text>")


def playground(**options):
    return Playground(draw, n=range(1, 9), share=(0.0, 1.0), kind=["ring", "star"], lazy=bool, **options)


def told(widget):
    return [messages.unpack(content, buffers) for content, buffers in widget._everything()]


def turn(widget, at, number):
    content, buffers = messages.pack(messages.Turned(at, number))
    widget._received(widget, content, buffers)


def test_controls_begin_with_the_defaults_of_the_arguments():
    made = playground(play="n")
    assert made.values == {"n": 3, "share": 0.5, "kind": "ring", "lazy": False}
    knobs, shown = told(made)
    assert [(knob["name"], len(knob["texts"]), knob["choice"]) for knob in knobs.knobs] == [
        ("n", 8, False), ("share", 101, False), ("kind", 2, True), ("lazy", 2, True),
    ]  # fmt: skip
    assert knobs.play == 0
    assert shown.svg == draw()
    assert shown.at == [2, 50, 0, 0]


def test_what_is_turned_in_the_page_is_drawn_anew_with_the_number_of_the_turn():
    made = playground()
    turn(made, [7, 100, 1, 1], 4)
    assert made.values == {"n": 8, "share": 1.0, "kind": "star", "lazy": True}
    _, shown = told(made)
    assert (shown.svg, shown.at, shown.turn) == (draw(8, 1.0, "star", True), [7, 100, 1, 1], 4)
    turn(made, [99, -1, "x"], 5)  # from a page that has gone mad
    assert made.values["n"] == 8


def test_what_is_set_from_python_is_drawn_anew():
    made = playground()
    made.set(n=5, share=0.731, kind="star")
    assert made.values == {"n": 5, "share": 0.73, "kind": "star", "lazy": False}
    assert repr(made) == "<playground n = 5, share = 0.73, kind = star, lazy = no>"


def test_the_picture_without_a_page_has_ink_and_ground_of_its_own():
    drawing = playground().snapshot()
    assert 'fill="#123456"' in drawing
    assert "#fff" in drawing
    assert playground().snapshot("png").startswith(b"\x89PNG")


def test_a_long_error_is_shown_whole_in_several_lines():
    def draw(n=3):
        raise ValueError("this is too much, and that has a reason " * 5 + f"which comes last: {n}")

    shown = Playground(draw, n=range(5)).snapshot()
    assert shown.count("<tspan") == 3
    assert "which comes last: 3" in shown


def test_an_error_while_drawing_is_shown_where_the_picture_would_be():
    made = Playground(lambda n=1: DRAWN.format(1 / (n - 2)), n=[1, 2, 3])
    made.set(n=2)
    assert "ZeroDivisionError: division by zero" in made.snapshot()
    made.set(n=3)
    assert "1.0" in made.snapshot()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n": "many"}, "n='many': a range, a list of values, a pair of numbers, or bool"),
        ({"n": []}, "n=\\[\\]"),
        ({"n": range(3), "play": "m"}, "play='m': one of the knobs, n"),
        ({"kind": ["a", "b"]}, "kind='ring': one of a, b"),
    ],
)
def test_what_cannot_be_a_control_is_refused(options, said):
    with pytest.raises(ArgumentError, match=said):
        Playground(draw, **options)
    with pytest.raises(ArgumentError, match="draw=3"):
        Playground(3)
    with pytest.raises(ArgumentError, match="m=4: the knobs are n, share"):
        playground().set(m=4)


def test_numbers_of_numpy_are_numbers():
    made = Playground(draw, n=list(np.arange(3)))
    turn(made, [2], 1)
    assert made.values["n"] == 2
