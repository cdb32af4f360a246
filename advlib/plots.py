"""Figures of the course: clean / perturbation / adversarial, accuracy curves, grids of images.

Every function returns a ``matplotlib.figure.Figure`` that pyplot does not know, so that a notebook shows it
once: where it is the last expression of a cell. One style, one colour-blind-safe palette, and no meaning
that rests on colour alone. Input that cannot be drawn raises TypeError or ValueError.
"""

from __future__ import annotations

import contextlib
import io
import operator
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor, nn

from advlib.contract import check_count, check_number, check_share, check_text, kind_of, shown
from advlib.norms import readable
from advlib.panels import Panel, check_rows, class_name, percent, pixels_of, points_of, triptych_panels

# The black of letters and axes. On the page it is the page's own, light or dark; over a picture, use black itself.
INK = "#222222"

# Okabe and Ito's colours (https://jfly.uni-koeln.de/color/), told apart with every common colour blindness.
# Ordered by contrast on white, because a line takes them from the front.
PALETTE = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "black": INK,
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "yellow": "#F0E442",
}
COLOURS = list(PALETTE.values())
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
DASHES = ["-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 3))]

STYLE = {
    "figure.dpi": 120,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",  # opaque: legible in a dark notebook too
    "image.interpolation": "none",  # pixels stay squares, at any size: the attacker's grid is the thing to look at
    "font.size": 13,  # a figure is 340 pixels wide on a phone
    "axes.titlesize": 13,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "patch.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "axes.axisbelow": True,  # no line of the grid runs over a bar
    "grid.color": "#DDDDDD",
    "lines.linewidth": 2,
    "lines.markersize": 6,
}


class Picture(Figure):
    """A figure that a notebook draws although pyplot was never asked."""

    def _repr_svg_(self) -> str:
        return svg_of(self)


def png_of(figure: Figure) -> bytes:
    """The figure as PNG bytes, cropped to what is drawn."""
    return _saved(figure, "png")


def svg_of(figure: Figure) -> str:
    """The figure as SVG, cropped to what is drawn, images in their own pixels: alike figures are the same text."""
    with matplotlib.rc_context({"svg.hashsalt": "advlib", "svg.fonttype": "path"}):
        text = _saved(figure, "svg", metadata=dict.fromkeys(["Creator", "Date", "Format", "Type"])).decode()
    return text[text.index("<svg") :]


def _saved(figure: Figure, kind: str, **settings: Any) -> bytes:
    if not isinstance(figure, Figure):
        raise TypeError(f"figure is a {kind_of(figure)}; expected a matplotlib.figure.Figure.")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=figure.dpi, bbox_inches="tight", pad_inches=0.08, **settings)
    return buffer.getvalue()


@contextlib.contextmanager
def style():
    """The course's look, for figures that a chapter draws itself.

    >>> with style():
    ...     figure = Picture(figsize=(4, 3))
    ...     axes = figure.subplots()
    """
    with matplotlib.rc_context(STYLE):
        yield


@style()
def draw_panels(rows: Sequence[Sequence[Panel]], *, width: float = 2.2, fontsize: float = 13) -> Figure:
    """Draw rows of panels, each ``width`` inches wide, with hard pixel edges; a heading only where it
    changes.

    >>> import torch
    >>> figure = draw_panels([[Panel(pixels_of(torch.zeros(1, 8, 8)), "clean", "Stop")]])
    >>> figure.axes[0].get_title()
    'clean'
    """
    check_rows(rows)
    check_number(width, "width", positive=True)
    check_number(fontsize, "fontsize", positive=True)
    columns, per_line = max(len(row) for row in rows), round(120 * width / fontsize)
    captions = [[_wrapped(panel.caption, per_line) for panel in row] for row in rows]
    lines = 1 + max(caption.count("\n") for row in captions for caption in row)
    headed = any(panel.heading for panel in rows[0])
    height = width * _aspect(rows) + 1.45 * fontsize / 72 * lines
    size = (columns * width, len(rows) * height + 1.6 * fontsize / 72 * headed)
    figure = Picture(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    above = [""] * columns
    for row, texts, line in zip(rows, captions, axes, strict=True):
        for i, (panel, text, ax) in enumerate(zip(row, texts, line, strict=False)):
            # A photo larger than its panel is drawn in the panel's size; all else in its own pixels (STYLE).
            larger = panel.pixels.shape[1] > width * figure.dpi
            ax.imshow(panel.pixels, cmap="gray", vmin=0, vmax=1, interpolation="antialiased" if larger else None)
            if panel.heading != above[i]:
                ax.set_title(panel.heading, fontsize=fontsize)
            ax.text(0.5, -0.04, text, transform=ax.transAxes, ha="center", va="top", fontsize=fontsize)
            above[i] = panel.heading
    return figure


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.fill(line, width) for line in text.split("\n"))


def _aspect(rows: Sequence[Sequence[Panel]]) -> float:
    tallest, widest = rows[0][0].pixels.shape[:2]
    return tallest / widest


def triptych(
    x: Tensor,
    x_adv: Tensor,
    model: nn.Module | None = None,
    *,
    classes: Sequence[str] | None = None,
    amplify: float | None = None,
) -> Figure:
    """Clean image, amplified perturbation, adversarial image: a row per image (see `triptych_panels`).

    >>> import torch
    >>> x = torch.full((2, 3, 8, 8), 0.5)
    >>> figure = triptych(x, x + 0.03, nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), classes="abcd")
    >>> len(figure.axes)
    6
    """
    return draw_panels(triptych_panels(x, x_adv, model, classes=classes, amplify=amplify))


def grid(
    images: Any, labels: Sequence[Any] | None = None, *, columns: int = 4, classes: Sequence[str] | None = None
) -> Figure:
    """Many small images with a label under each.

    ``images`` is an `Images` value (labels and classes come with it), an (N, C, H, W) tensor or a list of
    images. ``labels`` may be numbers, named through ``classes``, or texts.

    >>> import torch
    >>> len(grid(torch.rand(3, 1, 8, 8), labels=["a", "b", "c"]).axes)
    3
    """
    if hasattr(images, "classes") and hasattr(images, "y"):
        images, labels, classes = images.x, images.y if labels is None else labels, classes or images.classes
    check_count(columns, "columns")
    if not isinstance(images, (Tensor, Sequence)):
        raise TypeError(
            f"images is {shown(images)}; expected an Images value, a tensor (N, C, H, W) or a list of images."
        )
    if labels is not None and not isinstance(labels, (Tensor, Sequence)):
        raise TypeError(f"labels is {shown(labels)}; expected a label for each image, in a list or a tensor.")
    captions = [""] * len(images) if labels is None else [_caption(label, classes) for label in labels]
    if not len(images) or len(captions) != len(images):
        raise ValueError(
            f"got {len(images)} images and {len(captions)} labels, expected at least one image and a label for each"
        )
    panels = [Panel(pixels_of(image), "", text) for image, text in zip(images, captions, strict=True)]
    columns = min(columns, len(panels))
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    return draw_panels(rows, width=1.6, fontsize=12)


def _caption(label: Any, classes: Sequence[str] | None) -> str:
    if isinstance(label, str):
        return label
    try:
        return class_name(operator.index(label), classes)
    except (TypeError, ValueError) as error:
        raise ValueError(f"labels contains {shown(label)}; expected texts or class indices. ({error})") from error


@style()
def curves(
    lines: Mapping[str, Any], *, xlabel: str = "ε", ylabel: str = "accuracy", chance: float | None = None
) -> Figure:
    """Accuracy against ε, a line per entry, with its confidence band and its name at its end.

    Each value is a `Curve` (``eps``, ``accuracy``, ``low``, ``high``) or a tuple ``(eps, accuracy[, low,
    high])``; accuracies are in [0, 1]. ``chance`` draws the level of guessing. Lines differ in colour,
    marker and dashes.

    >>> figure = curves({"signs-cnn": ([0, 4 / 255, 8 / 255], [0.99, 0.6, 0.3])})
    >>> [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    ['0', '4/255', '8/255']
    """
    if not isinstance(lines, Mapping) or not all(isinstance(name, str) for name in lines):
        raise TypeError(f"lines is {shown(lines)}; expected a line by its name: {{'signs-cnn': curve}}.")
    check_text(xlabel, "xlabel")
    check_text(ylabel, "ylabel")
    if chance is not None:
        check_share(chance, "chance")
    if not lines or len(lines) > len(MARKERS):
        raise ValueError(f"got {len(lines)} lines, expected 1 to {len(MARKERS)}: split the figure in two")
    figure = Picture(figsize=(6.4, 4), layout="constrained")
    ax = figure.subplots()
    ends, all_eps = [], set()
    for (name, line), colour, marker, dash in zip(lines.items(), COLOURS, MARKERS, DASHES, strict=False):
        eps, accuracy, *band = points_of(name, line)
        ax.plot(eps, accuracy, color=colour, marker=marker, linestyle=dash, label=name, clip_on=False, zorder=3)
        if band:
            ax.fill_between(eps, *band, color=colour, alpha=0.18, linewidth=0)
        ends.append((accuracy[-1], sum(accuracy), eps[-1], name, colour))
        all_eps.update(eps)
    if chance is not None:
        ax.axhline(chance, color=INK, linewidth=1, linestyle=(0, (2, 2)))
        ax.annotate(
            f"guessing ({percent(chance)})",
            (0, chance),
            xycoords=("axes fraction", "data"),
            xytext=(6, 3),
            textcoords="offset points",
            fontsize=11,
        )
    ax.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, 1.0), xlim=(min(all_eps), max(all_eps)))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    _fraction_ticks(ax, sorted(all_eps))
    _name_ends(ax, ends)
    return figure


def _fraction_ticks(ax: Axes, eps: list[float]) -> None:
    """Label the axis in 255ths where every ε is a whole number of them, as many as there is room for.

    An axis that goes beyond 1 shows no ε of L∞: an L2 length, a number of steps.
    """
    if eps[-1] > 1 or any(abs(e * 255 - round(e * 255)) > 1e-3 for e in eps):
        return
    room, shown = 0.14 * (eps[-1] - eps[0]), [eps[0]]
    for e in eps[1:]:
        if e - shown[-1] >= room:
            shown.append(e)
    ax.set_xticks(shown, [readable(e, digits=3) for e in shown])


def _name_ends(ax: Axes, ends: list[tuple[float, float, float, str, str]], gap: float = 0.07) -> None:
    """Write each line's name right of its end, moved apart where ends are close, tied to it by a thin
    leader. Where two lines end alike, the one that lay higher before is named above."""
    heights: list[float] = []
    for y, *_ in sorted(ends):
        heights.append(max(y, heights[-1] + gap) if heights else y)
    right = ax.get_xlim()[1]
    excess = max(0.0, heights[-1] - 1.0)
    for (y, _, x, name, colour), height in zip(sorted(ends), heights, strict=True):
        ax.annotate(
            name,
            (x, y),
            xytext=(1.05, height - excess),
            textcoords=("axes fraction", "data"),
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "relpos": (0, 0.5),  # from before the name, not from its middle
                "color": colour,
                "linewidth": 1,
                "shrinkA": 2,
                "shrinkB": 5 if x == right else 2,
            },
        )
