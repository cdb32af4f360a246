"""What a chapter prints as the solution passes the chapter's own check, in grading mode too."""

import nbformat
import pytest

from tests.exercises.printed import CHAPTERS, printed
from tests.notebooks.needs import missing, needs

ALL = [pytest.param(path, one, id=one.grade_id) for path in sorted(CHAPTERS.glob("*.ipynb")) for one in printed(path)]


@pytest.mark.slow
@pytest.mark.parametrize(("path", "one"), ALL)
def test_printed_solution_passes(path, one, capsys, monkeypatch):
    reasons = map(missing, needs(nbformat.read(path, as_version=4).metadata, {}))
    if reason := next(filter(None, reasons), None):
        pytest.skip(reason)
    monkeypatch.setenv("ADVLIB_GRADING", "1")
    monkeypatch.chdir(CHAPTERS)
    names: dict = {"__name__": "__main__", "display": lambda *_: None}
    exec(one.needed, names)
    capsys.readouterr()
    exec(one.solution, names)
    exec(one.check, names)
    assert "✓" in capsys.readouterr().out
