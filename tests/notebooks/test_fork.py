"""A fork's notebooks install the fork: Colab's kernel cannot know whence a notebook came, so each says it."""

import re
from pathlib import Path

import nbformat
import pytest

from tests.notebooks.fork import INSTALLED, ROOT, address, adopt, main
from tests.notebooks.guard import setup_source

NOTEBOOKS = [*sorted((ROOT / "chapters").glob("*.ipynb")), *sorted((ROOT / "book").glob("*.ipynb"))]
FORK = "https://github.com/ada/my-course"


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """The files of this course that name its address."""
    for path in [*NOTEBOOKS[:2], ROOT / "_config.yml", ROOT / "README.md", ROOT / "pyproject.toml"]:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_installs_what_the_course_s_address_has(path: Path) -> None:
    found = INSTALLED.findall(setup_source(nbformat.read(path, as_version=4)))
    assert found == [address()], f"{path.name} installs {found}, _config.yml has {address()}: make fork URL={address()}"


def test_a_fork_is_named_everywhere_and_nothing_else_changes(course: Path) -> None:
    before = {path: path.read_bytes() for path in course.rglob("*") if path.is_file()}
    changed = adopt(f" {FORK}.git/ ".replace(".git/", "/"), course)
    assert sorted(changed) == sorted(before) and address(course) == FORK
    original = address().encode()
    for path, text in before.items():
        assert path.read_bytes() == text.replace(original, FORK.encode())


def test_to_adopt_twice_changes_nothing_and_back_again_all(course: Path) -> None:
    before = {path: path.read_bytes() for path in course.rglob("*") if path.is_file()}
    adopt(FORK, course)
    assert adopt(FORK, course) == []
    adopt(address(), course)
    assert {path: path.read_bytes() for path in before} == before


def test_an_address_that_only_begins_alike_is_left_alone(course: Path) -> None:
    (course / "README.md").write_text(f"{address()}-extras and {address()}.")
    adopt(FORK, course)
    assert (course / "README.md").read_text() == f"{address()}-extras and {FORK}."


@pytest.mark.parametrize("wrong", ["", "ada/course", "http://github.com/ada/course", "https://github.com/ada"])
def test_what_is_no_address_is_refused(course: Path, wrong: str) -> None:
    with pytest.raises(ValueError, match=re.escape("expected an address such as https://github.com/owner/name")):
        adopt(wrong, course)


def test_without_an_address_it_says_how(capsys: pytest.CaptureFixture) -> None:
    assert main([]) == 2
    assert "make fork URL=https://github.com/owner/name" in capsys.readouterr().err
