"""Every chapter keeps to the guard; that its outputs are true is tested by nbval, cell by cell."""

from pathlib import Path

import nbformat
import pytest

from tests.notebooks.guard import faults, setup_source, untrue

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "chapters" / "06_fgsm.ipynb"
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_keeps_to_the_rules(path: Path) -> None:
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    setup = setup_source(nbformat.read(GOLDEN, as_version=4))
    assert faults(path, toc, setup) == []


def test_golden_chapter_is_there() -> None:
    assert GOLDEN in CHAPTERS


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("*.ipynb")), ids=lambda path: path.stem)
def test_page_of_the_book_stores_a_whole_run(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert untrue(notebook) == []
    assert setup_source(notebook) == setup_source(nbformat.read(GOLDEN, as_version=4))
