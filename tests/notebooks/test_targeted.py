"""The chapter on targeted attacks with its one line changed: the same experiment on real digits."""

from pathlib import Path

import nbformat
import pytest

from tests.notebooks.needs import missing

CHAPTER = Path(__file__).resolve().parents[2] / "chapters" / "08_targeted.ipynb"
CHANGED = 'data = "signs"\n'


@pytest.mark.slow
def test_mnist_is_one_changed_line(capsys) -> None:
    if reason := missing("mnist"):
        pytest.skip(reason)
    cells = [cell.source for cell in nbformat.read(CHAPTER, as_version=4).cells if cell.cell_type == "code"]
    (tools,), (experiment,) = ([source for source in cells if words in source] for words in ("def compare", CHANGED))
    names: dict = {}
    exec(cells[1], names)  # the imports
    exec(tools, names)
    exec(experiment.replace(CHANGED, 'data = "mnist"\n'), names)
    assert capsys.readouterr().out.count("(") >= 8
    success = {goal: line[1][3] for goal, line in names["effort"].items()}
    assert success["any"] > success["random"] > success["least likely"]
