"""Folds of a chapter: the result of a cell tagged `predict`, and the blocks that a chapter folds in plain HTML.

    {"tags": ["predict"], "collapsed": true, "jupyter": {"outputs_hidden": true}}

is the metadata of a cell whose result is to be predicted: the notebook opens with that output collapsed, the page
with it in a fold. The Markdown below that says what came out stands in `<details><summary>What came out</summary>`.
Answering the quiz above opens both (`course.js`). The steps of help below an exercise are such blocks, too.
"""

import re

from docutils import nodes
from sphinx.application import Sphinx

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
