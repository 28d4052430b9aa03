"""Every notebook runs from top to bottom on four real engines, with the right answers put in; and is committed as it should be.

What a wrong answer is told is tested without the notebooks around it, in `course/test_exercises.py`.
"""

import itertools

import nbformat
import pytest
from answers_by_number import ANSWERS
from px_cells import TUTORIALS, complaints

from ifog.course import exercises

by_name = pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def asked(cell):
    """The number of the exercise that a cell is the answer to, or None."""
    tags = cell.metadata.get("tags", [])
    return next((tag.removeprefix("answer-") for tag in tags if tag.startswith("answer-")), None)


def numbers(path):
    """The exercises of a chapter, by the number in the name of its file."""
    chapter = path.stem.partition("_")[0]
    return [number for number in exercises() if chapter.isdigit() and number.partition(".")[0] == str(int(chapter))]


@by_name
def test_outputs_are_cleared(path):
    code = code_cells(nbformat.read(path, as_version=4))
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


@by_name
def test_every_exercise_of_the_chapter_is_asked_and_checked(path):
    code = code_cells(nbformat.read(path, as_version=4))
    assert [number for cell in code if (number := asked(cell))] == numbers(path)
    for cell, after in itertools.pairwise(code):
        if number := asked(cell):
            name = exercises()[number].name
            call = f'check("{number}")' if exercises()[number].on_engines else f'check("{number}", {name})'
            assert after.source == call
            assert name in cell.source
            assert cell.source.startswith("%%px") == exercises()[number].on_engines


@by_name
def test_nbgrader_gives_a_point_for_each_check_and_leaves_answers_to_the_student(path):
    code = code_cells(nbformat.read(path, as_version=4))
    marks = {cell.source: cell.metadata.nbgrader for cell in code if "nbgrader" in cell.metadata}
    checks = {cell.source: cell.source.split('"')[1].replace(".", "-") for cell in code if cell.source.startswith("check(")}
    kind = {"schema_version": 3, "grade": True, "points": 1, "locked": True, "solution": False, "task": False}
    assert marks == {source: kind | {"grade_id": f"check-{number}"} for source, number in checks.items()}


def test_ruff_sees_what_stands_in_px_cells(tmp_path):
    cells = [nbformat.v4.new_code_cell("%%px\nimport ifog"), nbformat.v4.new_code_cell("%%px -t 0\nifog.rank( )\nundefined")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "bad.ipynb")
    said = complaints([tmp_path / "bad.ipynb"])
    assert "Undefined name `undefined`" in said
    assert "bad.ipynb" in said
    assert complaints(TUTORIALS) == ""


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the kernel's, not ours
@by_name
def test_notebook_runs_with_the_right_answers(path, engines):
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    for cell in code_cells(notebook):
        if number := asked(cell):
            magic = "%%px\n" if exercises()[number].on_engines else ""
            cell.source = f"{magic}{ANSWERS[number].before}\n\n{ANSWERS[number].right}"
    NotebookClient(notebook, timeout=60, kernel_name="python3", store_widget_state=False).execute()
    verdicts, pictures = [], 0
    for cell in code_cells(notebook):
        for output in cell.outputs:
            data = output.get("data", {})
            assert "Warning" not in output.get("text", "") + data.get("text/plain", "")
            pictures += "image/png" in data or "<svg" in data.get("text/html", "")
            if cell.source.startswith("check("):
                verdicts.append(data["text/plain"])
    assert pictures
    assert len(verdicts) == len(numbers(path))
    assert all(verdict.startswith("✓") for verdict in verdicts), verdicts
