"""Sliders and quizzes: what is stored for the browser, and the fall-back for ipywidgets 7."""

import base64
import io
import itertools
import json
import re

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from ipywidgets.embed import dependency_state
from PIL import Image

from advlib import plots, widgets

ANSWERS = {"Up": "It climbs.", "Down": "It **descends** `x < y`.", "Neither": "It does move."}


def by_type(box, kind):
    """All widgets of a kind below ``box``."""
    found = [box] if isinstance(box, kind) else []
    return found + [w for child in getattr(box, "children", ()) for w in by_type(child, kind)]


def only(box, kind):
    (found,) = by_type(box, kind)
    return found


def state_of(box):
    """What is stored in the notebook: every model's state, by id."""
    return dependency_state([box], drop_defaults=False)


def links_of(box):
    """(source model, trait, target model, trait) for every link that is stored with ``box``."""
    state = state_of(box)

    def kind(end):
        return state[end[0].removeprefix("IPY_MODEL_")]["model_name"], end[1]

    return [
        kind(m["state"]["source"]) + kind(m["state"]["target"])
        for m in state.values()
        if m["model_name"] == "LinkModel"
    ]


@pytest.fixture
def slider():
    return widgets.slider_over(["<p>a</p>", "<p>b</p>", "<p>c</p>"], ["0", "4/255", "8/255"], start=1)


# --- the slider ------------------------------------------------------------------------------------


def test_slider_is_linked_in_the_browser(slider):
    assert links_of(slider) == [("SelectionSliderModel", "index", "StackModel", "selected_index")]


def test_slider_starts_where_it_is_told(slider):
    control, stack = only(slider, ipywidgets.SelectionSlider), only(slider, ipywidgets.Stack)
    assert (control.index, stack.selected_index) == (1, 1)
    assert control.options == ("0", "4/255", "8/255")
    assert control.description == "ε"
    assert [frame.value for frame in stack.children] == ["<p>a</p>", "<p>b</p>", "<p>c</p>"]


def test_values_default_to_numbers():
    box = widgets.slider_over(["<p>a</p>", "<p>b</p>"], label="step")
    assert only(box, ipywidgets.SelectionSlider).options == ("0", "1")


def test_frames_may_be_anything_that_is_drawn():
    figure = plots.curves({"a": ([0, 0.1], [1, 0])})
    frames = [torch.rand(3, 8, 8), np.zeros((8, 8)), Image.new("RGB", (8, 8)), figure]
    box = widgets.slider_over(frames, alt=["noise", "black", "black too", "a curve"])
    pages = [frame.value for frame in only(box, ipywidgets.Stack).children]
    assert [re.search('alt="(.*?)"', page).group(1) for page in pages] == ["noise", "black", "black too", "a curve"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"frames": ["<p>a</p>"]}, "at least two frames"),
        ({"frames": ["a", "b"], "values": [1]}, "one value for each"),
        ({"frames": ["a", "b"], "values": [1, 1]}, "all different"),
        ({"frames": ["a", "b"], "start": 2}, "expected the number of a frame, 0 to 1"),
        ({"frames": ["a", "b"], "start": -1}, "start is -1; expected a whole number"),
        ({"frames": ["a", "b"], "label": " "}, "screen readers say it aloud"),
        ({"frames": [torch.rand(1, 4, 4)] * 2}, "frame 0 is a bare image"),
        ({"frames": [torch.rand(1, 4, 4)] * 2, "alt": ["one"]}, "frame 1 is a bare image"),
        ({"frames": [torch.rand(1, 4, 4)] * 2, "alt": ["one", ""]}, "empty alt text"),
        ({"frames": ["a", '<img src="x.png">']}, "frame 1 has an <img> without alt text"),
        ({"frames": ["a", '<img src="x.png" alt="">']}, "frame 1 has an <img> without alt text"),
    ],
)
def test_slider_refuses(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        widgets.slider_over(**arguments)


# --- pictures --------------------------------------------------------------------------------------


def shown(page):
    """The image inside a piece of HTML."""
    data = re.search(r"data:image/\w+;base64,([^\"]+)", page).group(1)
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_picture_keeps_pixels_and_enlarges_them_in_the_browser():
    pixels = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    page = widgets.picture(pixels, alt="noise")
    np.testing.assert_array_equal(np.asarray(shown(page)), pixels)
    assert "max-width: 192px" in page and "image-rendering: pixelated" in page


def test_large_pictures_and_figures_are_not_pixelated():
    assert "image-rendering: auto" in widgets.picture(np.zeros((300, 300)), alt="black")
    assert "image-rendering: auto" in widgets.picture(plots.curves({"a": ([0, 1], [1, 0])}), alt="a curve")
    assert shown(widgets.picture(np.zeros((9, 9)), alt="black", quality=90)).format == "JPEG"


def test_texts_are_text_and_markup_in_them_is_not():
    page = widgets.picture(np.zeros((2, 2)), "a < b\n**bold** `code`", alt='say "hi" & go', heading="<b>")
    assert "a &lt; b<br><strong>bold</strong> <code" in page and "&lt;b&gt;" in page
    assert 'alt="say &quot;hi&quot; &amp; go"' in page


def test_triptych_has_three_pictures_a_row_each_with_alt_text():
    x = torch.zeros(2, 1, 4, 4)
    page = widgets.triptych(x, x + 8 / 255)
    assert page._repr_html_() == page
    alts = re.findall('<img[^>]*alt="([^"]+)"', page)
    assert alts == ["clean image", "perturbation × 15, at most 8/255", "adversarial image"] * 2


def test_a_slider_of_seventeen_triptychs_is_small():
    """Three of them fit a page of 3 MB with room to spare."""
    x = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))  # noise: the worst case
    step = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).sign()
    frames = [widgets.triptych(x, (x + k / 255 * step).clamp(0, 1)) for k in range(17)]
    assert len(json.dumps(state_of(widgets.slider_over(frames)))) < 500_000


# --- the quiz --------------------------------------------------------------------------------------


def test_quiz_shows_nothing_before_an_answer_and_is_linked_in_the_browser():
    box = widgets.quiz("Where to?", ANSWERS, correct="Up")
    assert links_of(box) == [("RadioButtonsModel", "index", "StackModel", "selected_index")]
    assert only(box, ipywidgets.RadioButtons).index is None
    assert only(box, ipywidgets.Stack).selected_index is None


def test_every_answer_has_its_feedback_marked_by_word_and_symbol():
    box = widgets.quiz("Where to?", ANSWERS, correct="Up")
    assert only(box, ipywidgets.RadioButtons).options == tuple(ANSWERS)
    pages = [frame.value for frame in only(box, ipywidgets.Stack).children]
    assert ["✓ Right." in page for page in pages] == [True, False, False]
    assert ["✗ Not quite." in page for page in pages] == [False, True, True]
    assert "It climbs." in pages[0] and "It does move." in pages[2]
    assert "<strong>descends</strong>" in pages[1] and "x &lt; y" in pages[1]


def test_question_is_the_first_thing_said():
    box = widgets.quiz("Is `a < b`?", ANSWERS, correct="Up")
    assert re.sub("<.*?>", "", box.children[0].value) == "Quiz. Is a &lt; b?"


def test_several_answers_may_be_right():
    box = widgets.quiz("Where to?", ANSWERS, correct={"Up", "Down"})
    assert sum("✓" in frame.value for frame in only(box, ipywidgets.Stack).children) == 2


@pytest.mark.parametrize(
    ("answers", "correct", "message"),
    [
        (ANSWERS, "up", "spelt the same"),
        (ANSWERS, [], "the right one among them"),
        ({"Up": "Yes."}, "Up", "at least two answers"),
        ({"Up": "Yes.", "Down": " "}, "Up", "no feedback for ['Down']"),
    ],
)
def test_quiz_refuses(answers, correct, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        widgets.quiz("Where to?", answers, correct=correct)


# --- the stored state ------------------------------------------------------------------------------


def test_stored_state_is_the_same_on_every_run(monkeypatch):
    def fresh_run():
        ipywidgets.Widget.close_all()
        monkeypatch.setattr(widgets, "_numbers", itertools.count())
        boxes = [widgets.slider_over(["<p>a</p>", "<p>b</p>"]), widgets.quiz("?", ANSWERS, correct="Up")]
        return dependency_state(boxes, drop_defaults=False)

    first = fresh_run()
    assert len(first) > 20
    assert fresh_run() == first
    ipywidgets.Widget.close_all()


def test_no_id_comes_twice():
    boxes = [widgets.slider_over(["<p>a</p>", "<p>b</p>"]) for _ in range(2)]
    assert not set(state_of(boxes[0])) & set(state_of(boxes[1]))


def test_pyplot_is_left_alone():
    before = plt.get_fignums()
    widgets.slider_over([plots.curves({"a": ([0, 1], [1, 0])})] * 2, alt=["one", "two"])
    assert plt.get_fignums() == before


# --- ipywidgets 7 ----------------------------------------------------------------------------------


@pytest.fixture
def seven(monkeypatch):
    monkeypatch.delattr(ipywidgets, "Stack")


def test_seven_links_a_tab_in_the_browser(seven):
    box = widgets.slider_over(["<p>a</p>", "<p>b</p>"], start=1)
    assert links_of(box) == [("SelectionSliderModel", "index", "TabModel", "selected_index")]
    tab = only(box, ipywidgets.Tab)
    assert [frame.value for frame in tab.children] == ["<p>a</p>", "<p>b</p>"] and tab.selected_index == 1
    box.children[0].index = 0
    assert tab.selected_index == 0  # by the kernel, where a front end draws no links
    assert "advlib-stack" in tab._dom_classes and ".advlib-stack" in box.children[-1].value


def test_seven_quiz_starts_empty(seven):
    box = widgets.quiz("Where to?", ANSWERS, correct="Up")
    assert links_of(box) == [("RadioButtonsModel", "index", "TabModel", "selected_index")]
    assert only(box, ipywidgets.Tab).selected_index is None
    assert ["✓" in frame.value for frame in only(box, ipywidgets.Tab).children] == [True, False, False]
