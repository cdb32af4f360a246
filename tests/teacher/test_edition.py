"""The answers are in the teacher's book, and in nothing that `make book` makes."""

from pathlib import Path

import pytest
import yaml

from book._ext.teacher import edition

ROOT = Path(__file__).resolve().parents[2]
ANSWERS = sorted((ROOT / edition.ANSWERS).glob("[0-9]*.md"))
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))


def test_the_teacher_s_contents_are_the_public_ones_and_every_answer() -> None:
    found = edition.with_answers(TOC, ROOT)
    assert found["parts"][:-1] == TOC["parts"] and "classroom" not in str(TOC)
    index = found["parts"][-1]["chapters"][0]
    assert index["file"] == "classroom/answers/index"
    assert [page["file"] for page in index["sections"]] == [f"classroom/answers/{path.stem}" for path in ANSWERS]


def test_no_answer_is_in_the_public_book(built_book: Path) -> None:
    """Neither a page, nor its source, nor a word of it in the search index, the inventory or the map of the site."""
    assert ANSWERS and not [path for path in built_book.rglob("*") if "classroom" in path.as_posix()]
    said = {line for path in ANSWERS for line in path.read_text(encoding="utf-8").splitlines() if len(line) > 80}
    text = [
        path.read_text(encoding="utf-8") for path in built_book.rglob("*") if path.suffix in (".html", ".js", ".md")
    ]
    told = [line for line in said if any(line in one for one in text)]
    assert not told, f"an answer stands in the public book: {told[0]}"
    for name in ("searchindex.js", "sitemap.xml", "404.html", "genindex.html"):
        assert "classroom/answers" not in (built_book / name).read_text(encoding="utf-8"), name


@pytest.mark.thorough
def test_the_teacher_s_book_has_the_answers_and_says_so(tmp_path: Path) -> None:
    """Built of one page, which takes seconds where the whole takes minutes."""
    toc = {"format": "jb-book", "root": "book/notation", "parts": []}
    built = edition.build_book(ROOT, tmp_path, toc)
    assert [path.stem for path in sorted((built / edition.ANSWERS).glob("[0-9]*.html"))] == [
        one.stem for one in ANSWERS
    ]
    page = (built / "book" / "notation.html").read_text(encoding="utf-8")
    assert "the teacher's edition" in page and 'href="../classroom/answers/index.html"' in page
    assert "answers" in (built / "searchindex.js").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_build_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "_config.yml").write_text(
        "title: T\nsphinx: {local_extensions: {}, config: {html_theme_options: {logo: {}}}}\n"
    )
    with pytest.raises(RuntimeError, match="could not be built"):
        edition.build_book(tmp_path, tmp_path / "out", {"root": "nothing", "parts": []})
