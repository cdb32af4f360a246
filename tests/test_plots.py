"""Figures: what they show, and that pyplot is left alone."""

import base64
import io
import itertools
import re
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from advlib import plots
from advlib.data.images import Images

X = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
X_ADV = (X + 0.03).clamp(0, 1)
MODEL = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
EPS = [0, 2 / 255, 4 / 255, 8 / 255]


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def texts(figure):
    """All words in a figure."""
    return [t.get_text() for ax in figure.axes for t in (ax.title, *ax.texts)]


def all_figures():
    return [
        plots.triptych(X[:2], X_ADV[:2], MODEL, classes=["a", "b", "c"]),
        plots.grid(X, labels=[0, 1, 2, 0, 1], classes=["a", "b", "c"]),
        plots.curves({"one": (EPS, [1, 0.8, 0.5, 0.2])}),
    ]


def test_pyplot_never_hears_of_a_figure():
    before = plt.get_fignums()
    for figure in all_figures():
        plots.png_of(figure)
    assert plt.get_fignums() == before


def test_the_caller_s_style_stays():
    before = dict(plt.rcParams)
    all_figures()
    assert dict(plt.rcParams) == before


def test_a_notebook_draws_them_on_opaque_white():
    for figure in all_figures():
        image = Image.open(io.BytesIO(plots.png_of(figure)))
        corner = image.convert("RGBA").getpixel((0, 0))
        assert corner == (255, 255, 255, 255)
        assert image.width >= 300
        paper = re.search(r'<g id="patch_1">\s*<path [^>]*style="([^"]*)"', figure._repr_svg_())
        assert paper and paper[1] == "fill: #ffffff"


def test_the_same_figure_is_the_same_drawing():
    figure = plots.curves({"one": (EPS, [1, 0.8, 0.5, 0.2])})
    again = plots.curves({"one": (EPS, [1, 0.8, 0.5, 0.2])})
    assert figure._repr_svg_() == plots.svg_of(again)


def test_a_drawing_has_the_pixels_of_its_pictures():
    x = (torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 255).round() / 255
    inside = re.search(r"data:image/png;base64,([^\"]+)", plots.svg_of(plots.grid(x)))
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(inside[1]))).convert("RGB"))
    assert picture.shape == (8, 8, 3)
    shown = torch.from_numpy(picture.copy()).permute(2, 0, 1) / 255
    assert min((shown - x[0]).abs().max(), (shown.flip(1) - x[0]).abs().max()) < 1 / 255


def test_first_four_colours_stand_out_on_white():
    for colour in plots.COLOURS[:4]:
        assert 1.05 / (luminance(colour) + 0.05) >= 3  # WCAG's contrast for graphics


def test_lines_differ_in_more_than_colour():
    assert len(plots.COLOURS) == len(plots.MARKERS) == len(plots.DASHES) == len(set(plots.MARKERS))
    figure = plots.curves({str(i): (EPS, [i / 8] * 4) for i in range(8)})
    lines = figure.axes[0].lines
    assert len({line.get_marker() for line in lines}) == 8
    assert all(a.get_linestyle() != "" for a in lines)


def test_triptych_draws_hard_pixels_with_readings_below():
    figure = plots.triptych(X[:2], X_ADV[:2], MODEL, classes=["a", "b", "c"])
    assert len(figure.axes) == 6
    assert all(image.get_interpolation() == "none" for ax in figure.axes for image in ax.images)
    assert texts(figure).count("clean") == 1  # headings stand over the first row only
    assert sum("%" in text for text in texts(figure)) == 4
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), X[0].permute(1, 2, 0), atol=1e-6)


def test_grid_takes_images_values_tensors_and_lists():
    value = Images(X, torch.tensor([0, 1, 2, 0, 1]), ("a", "b", "c"))
    assert texts(plots.grid(value))[1::2][:3] == ["a", "b", "c"]
    assert len(plots.grid(X, columns=8).axes) == 5
    assert len(plots.grid(list(X), columns=2).axes) == 6
    assert "class 7" in texts(plots.grid(X[:1], labels=torch.tensor([7])))


def test_grid_wraps_long_names():
    assert any("\n" in text for text in texts(plots.grid(X[:1], labels=["speed limit 100 km per hour"])))


@pytest.mark.parametrize("images, labels", [(X, ["one"]), (X[:0], None)])
def test_grid_refuses(images, labels):
    with pytest.raises(ValueError, match="expected at least one image and a label for each"):
        plots.grid(images, labels)


def test_curve_values_bands_and_chance():
    curve = SimpleNamespace(eps=EPS, accuracy=[1, 0.8, 0.5, 0.2], low=[0.9, 0.7, 0.4, 0.1], high=[1, 0.9, 0.6, 0.3])
    figure = plots.curves({"model": curve, "other": (EPS, [1, 1, 1, 1])}, chance=1 / 16)
    ax = figure.axes[0]
    assert len(ax.collections) == 1  # one line has a band
    assert ax.lines[0].get_ydata().tolist() == [1, 0.8, 0.5, 0.2]
    assert {"model", "other", "guessing (6 %)"} <= set(texts(figure))


def test_direct_labels_keep_apart():
    figure = plots.curves({name: (EPS, [1, 0.5, 0.1, y]) for name, y in zip("abcd", (0.01, 0.02, 0.03, 0.5))})
    heights = sorted(t.xyann[1] for t in figure.axes[0].texts)
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 0.069


def test_direct_labels_of_lines_that_end_alike_are_in_the_order_of_the_lines():
    lines = {"low": (EPS, [1, 0.2, 0.1, 0]), "high": (EPS, [1, 0.8, 0.5, 0]), "middle": (EPS, [1, 0.5, 0.2, 0])}
    labels = plots.curves(lines).axes[0].texts
    assert [t.get_text() for t in sorted(labels, key=lambda t: t.xyann[1])] == ["low", "middle", "high"]


def test_direct_labels_stay_below_the_top():
    figure = plots.curves({name: (EPS, [1, 1, 1, y]) for name, y in zip("abc", (0.98, 0.99, 1.0))})
    assert max(t.xyann[1] for t in figure.axes[0].texts) <= 1.0001


def ticks(figure):
    return [t.get_text() for t in figure.axes[0].get_xticklabels()]


def test_ticks_are_255ths_where_that_is_exact_and_there_is_room():
    assert ticks(plots.curves({"a": (EPS, [1] * 4)})) == ["0", "2/255", "4/255", "8/255"]
    assert "255" not in "".join(ticks(plots.curves({"steps, not ε": ([1, 2, 4, 8], [1] * 4)})))
    many = [k / 255 for k in range(33)]
    assert 5 <= len(ticks(plots.curves({"a": (many, [1] * 33)}))) <= 12
    assert not any("/" in t for t in ticks(plots.curves({"a": ([0, 0.5, 1.1], [1] * 3)})))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({}, "got 0 lines"),
        ({str(i): (EPS, [1] * 4) for i in range(9)}, "got 9 lines"),
        ({"a": (EPS, [1, 1])}, r"line 'a' has columns of lengths \[4, 2\]"),
        ({"a": (EPS, [1] * 4, [1] * 4)}, r"lengths \[4, 4, 4\]"),
        ({"a": ([], [])}, r"lengths \[0, 0\]"),
    ],
)
def test_curves_refuse(lines, message):
    with pytest.raises(ValueError, match=message):
        plots.curves(lines)


def test_curves_sort_nothing_and_take_tensors():
    figure = plots.curves({"a": (torch.tensor(EPS), torch.tensor([1.0, 0.9, 0.2, 0.4]))})
    assert figure.axes[0].lines[0].get_ydata().tolist() == pytest.approx([1.0, 0.9, 0.2, 0.4])
