"""Figures as a part of their page: sharp at any size, and in the page's own ink, on light paper and on dark.

Below a chapter's figure stands its caption, a paragraph that begins with **Figure 6.2.** and says what is found in it.
"""

import base64
import html
import re
from hashlib import sha256
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

from advlib.plots import INK, STYLE

from . import pictures

# A figure in a slider's frame, which other programs show as a picture of its own.
FRAMED = re.compile(
    r'<img [^>]*?alt="(?P<alt>[^"]*)" src="data:image/svg\+xml;base64,(?P<data>[^"]+)" style="(?P<style>[^"]*)">'
)
# What a figure has for programs that edit it, and a style that is meant for a document of its own.
UNREAD = re.compile(r'\s*<!--.*?-->|\s*<defs>\s*<style.*?</style>\s*</defs>|(?<=<g) id="[^"]*"', re.S)
NAMED = re.compile(r'\bid="|href="#|url\(#')
# Paper, ink and the lines of a grid are the page's own.
COLOURS = {
    'style="fill: #ffffff"/>': 'style="fill: none"/>',
    "fill: #ffffff; opacity": "fill: var(--pst-color-background); opacity",  # behind a legend
    INK: "currentColor",
    "fill: none; stroke: #000000": "fill: none; stroke: currentColor",  # the whiskers of a bar
    str(STYLE["grid.color"]).lower(): "var(--course-grid)",
}

CAPTION = re.compile(r"Figure (\d+)\.(\d+)\.")


class DrawnFigures(SphinxPostTransform):
    """The figures that notebooks store."""

    default_priority = 9  # before Sphinx looks for what a builder can show
    formats = ("html",)

    def run(self, **settings: object) -> None:
        lighter = pictures.lightened(Path(self.app.doctreedir, "images"))
        for node in list(self.document.findall(nodes.image)):
            if "cell_output" in node.parent.get("classes", ()) and node["uri"].endswith(".svg"):
                text = Path(self.app.srcdir, node["uri"]).read_text(encoding="utf-8")
                node.replace_self(nodes.raw("", lighter(drawn(text, node.get("alt", ""))), format="html"))


def mark_captions(app: Sphinx, page: nodes.document) -> None:
    """Give each caption its look, and an address."""
    for text in page.findall(nodes.paragraph):
        first = next((part for part in text if part.astext()), None)
        if isinstance(first, nodes.strong) and (found := CAPTION.fullmatch(first.astext())):
            text["classes"].append("finding")
            text["ids"].append(f"figure-{found[1]}-{found[2]}")


def drawn(svg: str, alt: str, style: str = "") -> str:
    """An SVG image as an element of a page, with its words for those who do not see it.

    What it names within itself gets a name of its own on the page.

    >>> drawn('<svg><path id="a" style="stroke: #222222"/></svg>', "a line").partition(' id="')[0]
    '<svg class="drawn" role="img" aria-label="a line"><path'
    """
    own = f"d{sha256(svg.encode()).hexdigest()[:5]}-"
    svg = NAMED.sub(lambda found: found[0] + own, UNREAD.sub("", svg))
    for colour, of_the_page in COLOURS.items():
        svg = svg.replace(colour, of_the_page)
    look = f' style="{style}"' if style else ""
    return svg.replace("<svg", f'<svg class="drawn" role="img" aria-label="{html.escape(alt)}"{look}', 1)


def drawn_frames(text: str) -> str:
    """A piece of HTML whose figures are elements of the page."""
    return FRAMED.sub(
        lambda found: drawn(base64.b64decode(found["data"]).decode(), html.unescape(found["alt"]), found["style"]), text
    )
