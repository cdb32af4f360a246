"""Makes each "chapter 6" in a text a link to that chapter; notebooks keep the plain words, for Colab."""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

from . import chapter

MENTION = re.compile(r"\b[Cc]hapters? \d+(?:(?:, | and | or | to |, and )\d+)*")
NUMBER = re.compile(r"(?:[Cc]hapters? )?\d+")
BARE = (nodes.title, nodes.reference, nodes.literal, nodes.literal_block, nodes.raw, addnodes.pending_xref)


def link_chapters(app: Sphinx, doctree: nodes.document) -> None:
    """Link what other chapters are named in the paragraphs of a page, where they exist."""
    here = app.env.docname
    pages = chapter.pages(app.env.found_docs - {here})
    for text in [text for text in doctree.findall(nodes.Text) if MENTION.search(text) and not _bare(text)]:
        text.parent.replace(text, linked(text, pages, here))


def _bare(text: nodes.Text) -> bool:
    node = text.parent
    while node is not None and not isinstance(node, BARE):
        node = node.parent
    return node is not None


def linked(text: str, pages: dict[int, str], here: str) -> list[nodes.Node]:
    """The text in parts, those that name one of the ``pages`` as links.

    >>> [type(part).__name__ for part in linked("as chapters 6 and 30 say", {6: "chapters/06_fgsm"}, "book/index")]
    ['Text', 'pending_xref', 'Text']
    """
    parts, done = [], 0
    for mention in MENTION.finditer(text):
        for number in NUMBER.finditer(text, *mention.span()):
            page = pages.get(int(number.group().split()[-1]))
            if page is None:
                continue
            link = addnodes.pending_xref(
                refdomain="std", reftype="doc", reftarget=f"/{page}", refdoc=here, refexplicit=True, refwarn=True
            )
            link += nodes.inline(text=number.group())
            parts += [nodes.Text(text[done : number.start()]), link]
            done = number.end()
    return [*parts, nodes.Text(text[done:])]
