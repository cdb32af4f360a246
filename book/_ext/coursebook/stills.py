"""What a slider or quiz shows before its script runs, and where none does: its first frame, its answers as a list.

The frame keeps the place that the widget will take, so that nothing on the page moves when it comes alive. The style
hides it then.
"""

import html
import json
import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

# How a notebook and a page call a widget on show, and the models of all of them.
VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
SHOWN = re.compile(rf'<script type="{re.escape(VIEW)}">(.*?)</script>', re.S)
NEEDS = "<noscript><p>This slider moves where JavaScript runs. Here is one of its frames.</p></noscript>"


def show_stills(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Put behind each widget of a page what it shows at first."""
    if doctree is None or not SHOWN.search(context.get("body", "")):
        return
    notebook = json.loads(Path(app.env.doc2path(page)).read_text(encoding="utf-8"))
    models = notebook["metadata"]["widgets"][STATE]["state"]

    def with_still(view: re.Match) -> str:
        return f'{view[0]}<div class="still">{still(models, json.loads(view[1])["model_id"])}</div>'

    context["body"] = SHOWN.sub(with_still, context["body"])


def still(models: dict, name: str) -> str:
    """A widget, as HTML that needs no script.

    >>> text = {"model_name": "HTMLModel", "state": {"value": "<p>clean</p>"}}
    >>> stack = {"model_name": "StackModel", "state": {"children": ["IPY_MODEL_a"], "selected_index": 0}}
    >>> still({"a": text, "b": stack}, "b")
    '<p>clean</p>'
    """
    kind, state = models[name]["model_name"], models[name]["state"]
    if kind == "HTMLModel":
        return state.get("value", "")
    if kind == "SelectionSliderModel":
        readout = html.escape(state["_options_labels"][state["index"]])
        label = html.escape(state["description"])
        return f'<div class="still-slider"><b>{label}</b><i></i><b>{readout}</b></div>{NEEDS}'
    if kind == "StackModel":
        chosen = state.get("selected_index")
        return "" if chosen is None else still(models, children(models, name)[chosen])
    inside = children(models, name)
    quiz = {models[child]["model_name"]: child for child in inside}
    if "RadioButtonsModel" in quiz:
        return _quiz(models, inside[0], quiz["RadioButtonsModel"], quiz["StackModel"])
    parts = [still(models, child) for child in inside]
    layout = models[state["layout"].removeprefix("IPY_MODEL_")]["state"]
    return "".join(reversed(parts) if layout.get("flex_flow") == "column-reverse" else parts)


def children(models: dict, name: str) -> list[str]:
    """The names of the models inside a widget."""
    return [child.removeprefix("IPY_MODEL_") for child in models[name]["state"].get("children", [])]


def _quiz(models: dict, question: str, choice: str, feedback: str) -> str:
    """The answers, each of which opens on what is said of it."""
    said = [still(models, one) for one in children(models, feedback)]
    answers = models[choice]["state"]["_options_labels"]
    folds = (f"<details><summary>{html.escape(one)}</summary>{text}</details>" for one, text in zip(answers, said))
    return still(models, question) + "".join(folds)
