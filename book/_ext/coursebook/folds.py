"""Folds of a chapter: the result of a cell tagged `predict`, and the blocks that a chapter folds in plain HTML.

    {"tags": ["predict"], "collapsed": true, "jupyter": {"outputs_hidden": true}}

is the metadata of a cell whose result is to be predicted: the notebook opens with that output collapsed, the page
with it in a fold. The Markdown below that says what came out stands in `<details><summary>What came out</summary>`.
Answering the quiz above opens both (`course.js`). The steps of help below an exercise are such blocks, too.

The code of a cell tagged `hide-input` is folded below what it draws, under a name that says what that is.
"""

import re

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

from . import chapter
from .stills import VIEW

TAG = "predict"
OUTCOME = "What came out"
STEPS = ("Nudge", "Idea", "Solution")
KINDS = {OUTCOME: TAG} | dict.fromkeys(STEPS, "step")
# Two names, of which the style shows one: a fold that is open asks for nothing.
OPENING = (
    f'<details class="{TAG}"><summary>'
    '<span class="while-closed">Predict first: answer the quiz above, or open the result</span>'
    '<span class="while-open">The result</span></summary>'
)
BLOCK = re.compile(rf"<details>(\s*<summary>\s*({'|'.join(KINDS)})\s*</summary>)")


def mark_folds(app: Sphinx, page: nodes.document) -> None:
    """Fold the results to be predicted, and name the kind of each block that the style and the script know."""
    for cell in page.findall(nodes.container):
        if f"tag_{TAG}" in cell["classes"] and cell[-1].get("nb_element") == "cell_code_output":
            cell.insert(-1, nodes.raw("", OPENING, format="html"))
            cell.append(nodes.raw("", "</details>", format="html"))
    for block in page.findall(nodes.raw):
        if block["format"] == "html":
            marked = BLOCK.sub(lambda found: f'<details class="{KINDS[found[2]]}">{found[1]}', block.astext())
            block.children = [nodes.Text(marked)]


def name_hidden_code(app: Sphinx, page: nodes.document) -> None:
    """Say of each cell's folded code what it is the code of."""
    number = next(iter(chapter.pages([app.env.docname])), None)
    drawn = 0
    for cell in page.findall(nodes.container):
        if cell.get("nb_element") != "cell_code":
            continue
        figures = [image for image in cell.findall(nodes.image) if image["uri"].endswith(".svg")]
        drawn += len(figures)
        if cell.get("hide_mode") != "input":
            continue
        shown = cell.children[1:]
        if figures and number:
            name = f"Code of figure {number}.{drawn}"
        elif any(VIEW in part.astext() for part in shown):
            name = "Code of the quiz" if re.search(r"\bquiz\b", cell[0].astext()) else "Code of the slider"
        elif shown:
            name = "Code of the picture" if figures else "Code of these numbers"
        else:
            name = "Setup" if "pip" in cell[0].astext() else "Code that the next cells use"
        cell["prompt_show"] = cell["prompt_hide"] = name


class CodeBelow(SphinxPostTransform):
    """Folded code stands below what it draws."""

    default_priority = 200  # behind MyST-NB's, which folds it
    formats = ("html",)

    def run(self, **settings: object) -> None:
        for code in list(self.document.findall(HideCodeCellNode)):
            cell = code.parent
            if len(cell) > 1 and cell[0] is code:
                cell.remove(code)
                cell.append(code)
                code["classes"] = ["below-output"]
