"""Sliders and quizzes that work in Jupyter, in Colab and in a static page, with or without a kernel.

Everything that can be shown is drawn beforehand, as HTML, and put into a `Stack`; a link that lives in the
browser connects the slider (or the radio buttons) with it. Nothing is computed when a reader touches it.
ipywidgets 7, which Colab has, knows no `Stack`: there it is a `Tab` without its tabs.
"""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import ipywidgets
from matplotlib.figure import Figure
from torch import Tensor, nn

from advlib.contract import check_count, check_text, check_texts, shown
from advlib.panels import Panel, encode, triptych_panels
from advlib.plots import PALETTE, svg_of


class Html(str):
    """A piece of HTML that a notebook renders."""

    def _repr_html_(self) -> str:
        return str(self)


# --- frames -----------------------------------------------------------------------------------------------

# A flex basis for what has letters in it: nothing on a line of 30rem or more, beyond any line on a narrower one,
# where a figure so takes a line of its own.
WHOLE_LINE = "max(0px, (30rem - 100%) * 999)"


def picture(
    image: Any, caption: str = "", *, alt: str, heading: str = "", width: int | None = None, quality: int | None = None
) -> Html:
    """One image with its texts, as HTML that carries its own pixels.

    ``image`` is a (C, H, W) tensor or (H, W[, C]) array in [0, 1], a PIL image, or a matplotlib figure.
    ``caption`` and ``heading`` are real text, with `code`, **bold** and line breaks; ``alt`` says what the
    image shows to who cannot see it. ``width`` in CSS pixels is by default the image's own, small images
    being enlarged a whole number of times with hard pixel edges. PNG (lossless) unless a JPEG ``quality``
    (1 to 95) is given.

    >>> picture([[0.0, 1.0]], "Stop, 97 %", alt="a step")[:41]
    '<div style="flex: 1 1 0; max-width: 192px'
    """
    check_text(alt, "alt", empty=False)
    check_text(caption, "caption")
    check_text(heading, "heading")
    if width is not None:
        check_count(width, "width")
    if isinstance(image, Figure):
        data, kind, pixels = svg_of(image).encode(), "svg+xml", math.inf
        own_width, basis = math.ceil(image.get_figwidth() * 100), WHOLE_LINE
    else:
        data, kind, pixels = encode(image, quality)
        own_width, basis = pixels * math.ceil(192 / pixels), "0"
    width = own_width if width is None else width
    rendering = "pixelated" if pixels < width else "auto"
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    # The class keeps the book's dark theme from dimming the pixels.
    drawn = (
        f'<img class="dark-light" alt="{html.escape(alt)}" src="{source}" '
        f'style="width: 100%; height: auto; margin: 0; padding: 0; image-rendering: {rendering}">'
    )
    box = f"flex: 1 1 {basis}; max-width: {width}px; min-width: 0; text-align: center; line-height: 1.35"
    return Html(f'<div style="{box}">{_text_line(heading)}{drawn}{_text_line(caption)}</div>')


def row(*pictures: str) -> Html:
    """Pictures side by side, shrinking together on a narrow page; there a figure gets a line of its own.

    >>> row("<b>left</b>", "<b>right</b>").count("<b>")
    2
    """
    check_texts(pictures, "pictures", "picture(x[0], alt='a stop sign')")
    box = "display: flex; flex-wrap: wrap; gap: 8px; align-items: flex-start"
    return Html(f'<div style="{box}">{"".join(pictures)}</div>')


def triptych(
    x: Tensor,
    x_adv: Tensor,
    model: nn.Module | None = None,
    *,
    classes: Sequence[str] | None = None,
    amplify: float | None = None,
    width: int | None = None,
) -> Html:
    """Clean image, amplified perturbation, adversarial image as HTML: `plots.triptych` as a slider's frame.

    >>> import torch
    >>> triptych(torch.zeros(1, 4, 4), torch.ones(1, 4, 4) / 255).count("<img")
    3
    """
    rows = triptych_panels(x, x_adv, model, classes=classes, amplify=amplify)
    return Html("".join(row(*(_of_panel(panel, width) for panel in line)) for line in rows))


def _of_panel(panel: Panel, width: int | None) -> Html:
    return picture(panel.pixels, panel.caption, alt=panel.alt, heading=panel.heading, width=width)


def _inline(text: str) -> str:
    """Plain text as HTML, with `code`, **bold** and line breaks."""
    text = html.escape(text)
    plain = "color: inherit; background: none; border: 0; padding: 0"
    text = re.sub(r"`([^`]+)`", rf'<code style="{plain}">\1</code>', text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
    return text.replace("\n", "<br>")


def _text_line(text: str) -> str:
    return f"<div>{_inline(text)}</div>" if text else ""


# --- the slider -------------------------------------------------------------------------------------------


def slider_over(
    frames: Sequence[Any],
    values: Sequence[Any] | None = None,
    *,
    label: str = "ε",
    alt: Sequence[str] | None = None,
    start: int = 0,
) -> ipywidgets.Widget:
    """A slider that shows one of several pre-drawn frames; ``values`` are its readouts ("8/255").

    ``frames`` are HTML strings (`picture`, `row`, `triptych`) whose images have alt texts, or bare images
    and figures, each with its text in ``alt``. ``label`` names the slider, for screen readers as well.
    ``start`` is the number of the frame shown first. Works by mouse and by arrow keys.

    Raises ``TypeError`` on other types, ``ValueError`` on fewer than two frames, values of another number, twice
    the same readout, a missing alt text or a start that is not there.

    >>> box = slider_over(["<p>clean</p>", "<p>attacked</p>"], values=["0", "8/255"], label="ε")
    >>> box.children[0].options
    ('0', '8/255')
    """
    for value, name in ((frames, "frames"), (values, "values")):
        if isinstance(value, str) or (not isinstance(value, Iterable) and not (value is None and name == "values")):
            raise TypeError(f"{name} is {shown(value)}; expected several, one for each place of the slider.")
    check_texts(() if alt is None else alt, "alt", "a text for each frame")
    check_text(label, "label", empty=False)
    check_count(start, "start", least=0)
    frames = list(frames)
    readouts = [str(value) for value in (range(len(frames)) if values is None else values)]
    if len(frames) < 2 or len(readouts) != len(frames) or len(set(readouts)) != len(frames):
        raise ValueError(
            f"got {len(frames)} frames and the values {readouts}, expected at least two frames "
            "and one value for each, all different"
        )
    if not 0 <= start < len(frames):
        raise ValueError(f"got start={start}, expected the number of a frame, 0 to {len(frames) - 1}")
    pages = [_frame_html(frame, i, alt) for i, frame in enumerate(frames)]
    slider = _made(
        ipywidgets.SelectionSlider,
        options=readouts,
        index=start,
        description=label,
        continuous_update=True,
        layout={"width": "100%", "max_width": "36rem"},
        style={"description_width": "initial"},
    )
    return _switch(slider, pages, start)


def _frame_html(frame: Any, number: int, alt: Sequence[str] | None) -> str:
    if isinstance(frame, str):
        if re.search(r"<img(?![^>]*\balt=\"[^\"]+\")", frame):
            raise ValueError(
                f'frame {number} has an <img> without alt text; expected one: say in alt="…" what it shows'
            )
        return frame
    if alt is None or number >= len(alt):
        raise ValueError(f"frame {number} is a bare image; expected alt=[…], a text for each frame, or use picture()")
    return picture(frame, alt=alt[number])


# --- the quiz ---------------------------------------------------------------------------------------------

# ipywidgets cuts long answers off; here they wrap, as on paper.
_QUIZ_STYLE = """<style>
.advlib-quiz .widget-radio-box label {
  height: auto; line-height: 1.4; white-space: normal; overflow: visible; margin: 4px 0;
  display: flex; justify-content: flex-start; align-items: baseline; gap: .5em;
  width: auto; max-width: 100%;
}
.advlib-quiz .widget-radio-box label input {
  order: -1; flex: none; margin: 0; height: auto; position: static; color-scheme: light;
}
</style>"""


def quiz(question: str, answers: Mapping[str, str], *, correct: str | Collection[str]) -> ipywidgets.Widget:
    """A question to answer before going on: every answer has its own feedback, marked ✓ or ✗ in words.

    ``question`` and the feedback are plain text with `code`, **bold** and line breaks; answers are plain
    text. ``correct`` is the right answer, or several. Nothing is shown until an answer is chosen.

    Raises ``TypeError`` on other types, ``ValueError`` on fewer than two answers, an answer without feedback, or
    a right answer that is not there.

    >>> box = quiz("Is ε in pixel units?", {"Yes": "Normalisation is inside the model.", "No": "Read on."},
    ...            correct="Yes")
    >>> box.children[1].options
    ('Yes', 'No')
    """
    check_text(question, "question", empty=False)
    if not isinstance(answers, Mapping) or not all(isinstance(one, str) for pair in answers.items() for one in pair):
        raise TypeError(f"answers is {shown(answers)}; expected texts by texts: {{answer: feedback}}.")
    if not isinstance(correct, (str, Collection)):
        raise TypeError(f"correct is {shown(correct)}; expected the right answer, or several.")
    right = {correct} if isinstance(correct, str) else set(correct)
    if len(answers) < 2 or not right or not right <= set(answers):
        raise ValueError(
            f"got the answers {list(answers)} and correct={sorted(right)}, expected at least two answers, "
            "the right one among them, spelt the same"
        )
    silent = [answer for answer, feedback in answers.items() if not feedback.strip()]
    if silent:
        raise ValueError(
            f"answers: no feedback for {silent}; expected some: tell who chooses it why it is right or wrong"
        )
    text = f'<p style="line-height: 1.5"><strong>Quiz.</strong> {_inline(question)}</p>'
    asked = _made(ipywidgets.HTML, value=text)
    choice = _made(ipywidgets.RadioButtons, options=list(answers), index=None, layout={"width": "auto"})
    box = _switch(choice, [_feedback(text, answer in right) for answer, text in answers.items()], None)
    look = _made(ipywidgets.HTML, value=_QUIZ_STYLE, layout={"display": "none"})
    box.children = (asked, *box.children, look)
    box.add_class("advlib-quiz")
    return box


def _feedback(text: str, right: bool) -> str:
    verdict, colour = ("✓ Right.", PALETTE["green"]) if right else ("✗ Not quite.", PALETTE["vermillion"])
    return (
        f'<p role="status" style="border-left: 4px solid {colour}; padding-left: .75em; line-height: 1.5">'
        f"<strong>{verdict}</strong> {_inline(text)}</p>"
    )


# --- the one mechanism ------------------------------------------------------------------------------------

_numbers = itertools.count()


def _made(
    kind: type[ipywidgets.Widget],
    *,
    layout: Mapping[str, str] | None = None,
    style: Mapping[str, str] | None = None,
    **traits: Any,
) -> ipywidgets.Widget:
    """A widget whose ids are the same on every run of a notebook, so that storing it again changes nothing.

    The ids count up within a kernel: running a cell twice never gives an id a second time.
    """
    parts = {"layout": ipywidgets.Layout(model_id=_next_id(), **(layout or {}))}
    if kind.class_traits().get("style"):
        parts["style"] = kind.class_traits()["style"].klass(model_id=_next_id(), **(style or {}))
    return kind(model_id=_next_id(), **parts, **traits)


def _next_id() -> str:
    return hashlib.sha256(f"advlib widget {next(_numbers)}".encode()).hexdigest()[:32]


# Of a `Tab`, only what is in it. Version 7 calls its bar .p-TabBar, the pages' script .lm-TabBar.
_STACK_STYLE = """<style>
.advlib-stack > .p-TabBar, .advlib-stack > .lm-TabBar { display: none !important; }
.advlib-stack > .widget-tab-contents {
  border: 0 !important; padding: 0 !important; background: none !important; overflow: visible !important; }</style>"""


def _switch(selector: ipywidgets.Widget, pages: Sequence[str], start: int | None) -> ipywidgets.Widget:
    """The selector above the page that it selects."""
    first = _made(ipywidgets.HTML, value=pages[0], layout={"width": "100%"})
    shared = {"layout": first.layout, "style": first.style}  # the stored state stays small
    frames = [first, *(ipywidgets.HTML(value=page, model_id=_next_id(), **shared) for page in pages[1:])]
    seven = not hasattr(ipywidgets, "Stack")
    stack = _made(ipywidgets.Tab if seven else ipywidgets.Stack, children=frames, selected_index=start)
    box = _made(ipywidgets.VBox, children=[selector, stack])
    if seven:
        stack.add_class("advlib-stack")
        ipywidgets.dlink((selector, "index"), (stack, "selected_index"))  # by the kernel, too, should no link be drawn
        box.children += (_made(ipywidgets.HTML, value=_STACK_STYLE, layout={"display": "none"}),)
    # A link in the browser. `index`, for a selection's `value` is not known there.
    box.link = ipywidgets.widgets.widget_link.Link((selector, "index"), (stack, "selected_index"), model_id=_next_id())
    return box
