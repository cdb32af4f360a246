"""Whoever searches for a method finds the chapter about it first, not the one that names it most often."""

from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

from . import course_map


def name_what_is_taught(app: Sphinx, doctree: nodes.document) -> None:
    """Enter into the search index, for a chapter, what `course.yml` says to `find` in it, and its attacks."""
    here = app.env.docname
    if here.startswith("chapters/"):
        section = next(doctree.findall(nodes.section))
        # Without an anchor the entry and the page are one result, not two.
        entries = [("single", name, "", "main", None) for name in names(Path(app.srcdir), Path(here).name)]
        section.insert(1, addnodes.index(entries=entries))


def names(root: Path, chapter: str) -> list[str]:
    """What a chapter is searched by: "06_fgsm" by FGSM, fgsm, fast gradient sign method, …"""
    rows = [row for part in course_map.parts(root / "book" / "course.yml") for row in part["chapters"]]
    found = [name for row in rows if row["file"] == chapter for name in row.get("find", [])]
    return list(dict.fromkeys([*found, *_attacks(int(chapter[:2]))]))


def _attacks(number: int) -> Iterator[str]:
    from advlib.attacks.facts import FACTS  # brings PyTorch, which the map of attacks needs as well

    for fact in FACTS:
        if fact.chapter == number:
            yield from (fact.title, fact.name)
