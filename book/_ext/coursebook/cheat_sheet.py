"""The directive `cheat-sheet`: every attack of the package in one line, from what the package says of itself."""

from itertools import groupby

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from . import chapter

HEAD = ["| Attack | In one line, and how to call it | Norms | Sees | Passes |", "|---|---|---|---|---|"]


class CheatSheet(SphinxDirective):
    """Draw `advlib.attacks.facts`, a table for each family of attacks, with links to the chapters that exist."""

    def run(self) -> list[nodes.Node]:
        from advlib.attacks import facts  # brings PyTorch, which the other pages do without

        self.env.note_dependency(facts.__file__)
        lines = []
        for family, members in groupby(facts.FACTS, key=lambda fact: fact.family):
            lines += ["", f"**{family}**", "", *HEAD, *map(self._row, members)]
        box = nodes.container(classes=["cheat-sheet"])
        self.state.nested_parse(StringList(lines, facts.__file__), self.content_offset, box)
        return [box]

    def _row(self, fact) -> str:
        norms = ", ".join(norm.symbol for norm in fact.norms) or "–"
        passes = "<br>".join(filter(None, [cost(fact.forward, fact.backward), fact.note]))
        return (
            f"| **{fact.title}**<br>{chapter_link(self.env, fact.chapter)} | {fact.formula}<br>`{fact.call}` | {norms} "
            f"| {fact.knows} | {passes} |"
        )


def chapter_link(env, number: int, text: str = "") -> str:
    """Markdown that links a chapter from a page of the book, as ``text`` or "chapter 6"; its words until it exists."""
    text = text or f"chapter {number}"
    page = chapter.pages(env.found_docs).get(number)
    return f"[{text}](../{page}.ipynb)" if page else text


def cost(forward: int, backward: int) -> str:
    """The number of model passes in words, a line for each direction.

    >>> cost(41, 40), cost(5000, 0), cost(0, 0)
    ('41 forward<br>40 back', '5,000 forward', 'none')
    """
    parts = [f"{count:,} {way}" for count, way in ((forward, "forward"), (backward, "back")) if count]
    return "<br>".join(parts) or "none"
