"""What a slider or quiz shows before its script runs, and where none does: its first frame, its answers as a list.

The frame keeps the place that the widget will take, so that nothing on the page moves when it comes alive. The style
hides it then. All other frames lie in a script beside the page, which is loaded when the text can be read. (A page that
is opened as a file may load a script, but may not fetch a file.)
"""

import html
import json
import re
from pathlib import Path

from docutils import nodes
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.application import Sphinx

from . import figures, pictures
from .files import write

# How a notebook and a page call a widget on show, and the models of all of them.
VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
SHOWN = re.compile(rf'<script type="{re.escape(VIEW)}">(.*?)</script>', re.S)
NEEDS = "<noscript><p>This slider moves where JavaScript runs. Here is one of its frames.</p></noscript>"

# The script of a page's frames, and what stands in it before and behind the JSON.
SCRIPT = "frames/{}.js"
OPENING = f"""document.head.append(Object.assign(document.createElement("script"), {{
  type: "{STATE}",
  textContent: JSON.stringify("""
CLOSING = "),\n}));\n"


def show_stills(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Put behind each widget of a page what it shows at first, and the rest into a script."""
    found = NbMetadataCollector.get_js_files(app.env, page)
    if doctree is None or "ipywidgets_state" not in found:
        return
    _, embedded = found["ipywidgets_state"]
    state = json.loads(embedded["body"])
    models = lightened(state["state"], Path(app.doctreedir) / "images")

    def with_still(view: re.Match) -> str:
        return f'{view[0]}<div class="still">{still(models, json.loads(view[1])["model_id"])}</div>'

    context["body"] = SHOWN.sub(with_still, context["body"])
    script = SCRIPT.format(page)
    write(Path(app.outdir, "_static", script), script_of(state).encode())
    found["ipywidgets_state"] = (script, {"defer": "defer"})


def lightened(models: dict, folder: Path) -> dict:
    """The models with figures in the page's colours and lighter pictures, which ``folder`` keeps."""
    lighter = pictures.lightened(folder)
    for model in models.values():
        if model["model_name"] == "HTMLModel":
            model["state"]["value"] = lighter(figures.drawn_frames(model["state"].get("value", "")))
    return models


def script_of(state: dict) -> str:
    """A script that puts the stored widgets of a page where their own script looks for them."""
    return f"{OPENING}{json.dumps(state)}{CLOSING}"


def models_of(folder: Path, page: str) -> dict:
    """The stored models of a page of the book built in ``folder``; none for a page without widgets."""
    script = folder / "_static" / SCRIPT.format(page)
    if not script.is_file():
        return {}
    return json.loads(script.read_text(encoding="utf-8").removeprefix(OPENING).removesuffix(CLOSING))["state"]


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
