"""Do a notebook's sliders and quizzes move in a page without a kernel, given what widgets it stored?"""

import html
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from nbformat import NotebookNode
from playwright.sync_api import Browser, Locator

from book._ext.coursebook import assets
from tests.notebooks.guard import WIDGET_STATE, stored_widgets

# What is to be seen of one widget: the frames on show. The slider's own readout stands in no frame.
SHOWN = """box => [...box.querySelectorAll('.widget-html-content')]
    .filter(frame => frame.checkVisibility()).map(frame => frame.innerHTML).join('|')"""

WAITS = 250  # of 20 milliseconds, for a frame that is drawn late on a busy machine


def page(state: dict, views: Iterable[str]) -> str:
    """A page with the widgets of these ids, each in a box of its own, and the script that draws them."""

    def script(kind: str, value: dict) -> str:
        text = json.dumps(value).replace("</", "<\\/")  # a frame's HTML must not end the script
        return f'<script type="application/vnd.jupyter.{kind}+json">{text}</script>'

    boxes = "".join(
        f'<div class="box" data-id="{html.escape(one)}">'
        + script("widget-view", {"version_major": 2, "version_minor": 0, "model_id": one})
        + "</div>"
        for one in views
    )
    drawn = (assets.MODULES / "@jupyter-widgets" / "html-manager" / "dist" / "embed.js").as_uri()
    return f'<!doctype html><meta charset="utf-8">{script("widget-state", state)}{boxes}<script src="{drawn}"></script>'


def still(browser: Browser, state: dict, views: Iterable[str], folder: Path) -> list[str]:
    """A line for each slider and quiz two positions of which show the same; empty where all of them move."""
    found = []
    file = folder / "widgets.html"
    file.write_text(page(state, views), encoding="utf-8")
    tab = browser.new_page()
    tab.set_default_timeout(120_000)  # a busy machine is slow, not wrong
    try:
        tab.goto(file.as_uri())
        for one in views:
            box = tab.locator(f'.box[data-id="{one}"]')
            box.locator(".jupyter-widgets").first.wait_for()
            seen = [box.evaluate(SHOWN)]
            for handle in box.locator(".noUi-handle, .ui-slider-handle").all():
                handle.focus()
                shown_after(box, lambda: handle.press("End"))
                seen = [shown_after(box, lambda: handle.press("Home"))]
                for _ in range(positions(state, one) - 1):
                    seen.append(shown_after(box, lambda: handle.press("ArrowRight")))
            for answer in box.locator("input[type=radio]").all():
                seen.append(shown_after(box, answer.check))
            if len(set(seen)) < len(seen):
                found.append(f"widget {one[:8]}: of {len(seen)} positions only {len(set(seen))} show something new")
    finally:
        tab.close()
    return found


def shown_after(box: Locator, act: Callable[[], None]) -> str:
    """What is to be seen once something has changed, or where nothing does for too long."""
    before = box.evaluate(SHOWN)
    act()
    for _ in range(WAITS):
        if (shown := box.evaluate(SHOWN)) != before:
            return shown
        box.page.wait_for_timeout(20)
    return before


def models(state: dict, view: str) -> Iterator[dict]:
    """A widget and those inside it."""
    model = state["state"][view]
    yield model
    for child in model["state"].get("children", []):
        yield from models(state, child.removeprefix("IPY_MODEL_"))


def positions(state: dict, view: str) -> int:
    """How many options the slider inside a widget has, or its quiz; 0 for any other widget, such as a progress bar."""
    kinds = ("SelectionSliderModel", "RadioButtonsModel")
    found = (model for model in models(state, view) if model["model_name"] in kinds)
    return max((len(model["state"]["_options_labels"]) for model in found), default=0)


def still_in(notebook: NotebookNode, browser: Browser, folder: Path) -> list[str]:
    """`still` for all sliders and quizzes that a notebook shows."""
    state = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {"state": {}})
    views = [one for one, whole in stored_widgets(notebook) if whole and positions(state, one)]
    return still(browser, state, views, folder) if views else []
