"""What a figure shows, before it is drawn: images with a heading, a caption and an alt text.

`plots` draws panels with matplotlib, `widgets` as HTML.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from advlib.answers import predict
from advlib.contract import (
    check_class,
    check_images,
    check_jpeg_quality,
    check_number,
    check_tensor,
    check_texts,
    kind_of,
    shown,
)
from advlib.norms import readable
from advlib.tensors import FLOATS

ROUNDING = 1e-6  # by so much a mean of probabilities may be more than 1
OUTSIDE = 1e-3  # by so much pixels may be out of [0, 1], by rounding


def percent(probability: float) -> str:
    """A probability as people read it, never rounded up to a certainty.

    >>> percent(0.973), percent(0.99999), percent(0.0002)
    ('97 %', '> 99.9 %', '< 0.1 %')
    """
    check_number(probability, "probability", most=1 + ROUNDING)
    if probability > 0.999:
        return "> 99.9 %"
    if probability < 0.001:
        return "< 0.1 %"
    digits = 0 if 0.01 <= probability <= 0.99 else 1
    return f"{100 * probability:.{digits}f} %"


@dataclass(frozen=True)
class Panel:
    """One image of a figure: pixels (H, W, C) in [0, 1], a heading, a caption, and words for who cannot see
    it."""

    pixels: np.ndarray
    heading: str = ""
    caption: str = ""
    alt: str = ""


def pixels_of(image: Any) -> np.ndarray:
    """One image as an (H, W, C) float array in [0, 1], C = 1 or 3.

    ``image`` is a (C, H, W) tensor, an (H, W[, C]) array or a PIL image; bytes are divided by 255.
    Raises ``TypeError`` on what is no image, ``ValueError`` on another shape, on numbers outside [0, 1] and on NaN.

    >>> pixels_of(torch.ones(3, 4, 5)).shape
    (4, 5, 3)
    """
    if isinstance(image, Tensor):
        check_tensor(image, "image", like="one picture (C, H, W)")
        image = image.detach().cpu()
        pixels = (image if image.dtype == torch.uint8 or image.is_complex() else image.float()).numpy()
        pixels = pixels.transpose(1, 2, 0) if pixels.ndim == 3 else pixels
    else:
        # A PIL image may hold numbers of colours, or transparency.
        image = image.convert("RGB") if getattr(image, "mode", "L") not in ("L", "RGB") else image
        try:
            pixels = np.asarray(image)
        except ValueError as error:
            raise ValueError(f"image is {shown(image)}; expected rows of one length, (H, W[, C]).") from error
    if pixels.dtype.kind not in "fbiu":
        raise TypeError(f"image is of {pixels.dtype}; expected numbers in [0, 1], or bytes.")
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
        raise ValueError(
            f"image has shape {tuple(np.shape(image))}; expected one (C, H, W) tensor or (H, W, C) "
            "array with 1 or 3 channels: take one image of a batch with x[0]."
        )
    pixels = pixels / 255 if pixels.dtype == np.uint8 else pixels
    low, high = pixels.min(), pixels.max()
    if not (low >= -OUTSIDE and high <= 1 + OUTSIDE):
        raise ValueError(
            f"image has pixels from {low:.3g} to {high:.3g}; expected [0, 1]: divide by 255, "
            "or show a perturbation as 0.5 + it."
        )
    return pixels.clip(0, 1)


def encode(image: Any, quality: int | None = None) -> tuple[bytes, str, int]:
    """An image as a small file: its bytes, its kind ("png", "jpeg") and its width in pixels.

    ``image`` is what `pixels_of` takes. Lossless, unless a JPEG ``quality`` (1 to 95) is given.

    >>> encode(torch.zeros(1, 4, 5))[1:]
    ('png', 5)
    """
    if quality is not None:
        check_jpeg_quality(quality)
    pixels = np.rint(pixels_of(image) * 255).astype(np.uint8)
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    buffer, kind = io.BytesIO(), "png" if quality is None else "jpeg"
    if quality is not None:
        picture.save(buffer, "JPEG", quality=quality, optimize=True)
    else:
        if picture.mode == "RGB" and picture.getcolors(256) is not None:
            picture = _with_palette(pixels)  # a sign of a gradient has 27 colours: a third of the bytes
        picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue(), kind, picture.width


def _with_palette(pixels: np.ndarray) -> Image.Image:
    """The same pixels as numbers of colours. Pillow's own `quantize` may merge colours; this never does."""
    colours, index = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    picture = Image.fromarray(index.reshape(pixels.shape[:2]).astype(np.uint8))
    picture.putpalette(colours.tobytes())
    return picture


def class_name(label: int, classes: Sequence[str] | None) -> str:
    """The name of class ``label``, where there are names.

    >>> class_name(1, ("stop", "yield")), class_name(1, None)
    ('yield', 'class 1')
    """
    if classes is None:
        check_class(label, "label")
        return f"class {label}"
    check_texts(classes, "classes")
    check_class(label, "label", len(classes))
    return classes[label]


def triptych_panels(
    x: Tensor,
    x_adv: Tensor,
    model: nn.Module | None = None,
    *,
    classes: Sequence[str] | None = None,
    amplify: float | None = None,
) -> list[tuple[Panel, Panel, Panel]]:
    """Clean image, amplified perturbation and adversarial image, a row per image: what a triptych shows.

    ``x`` and ``x_adv`` are (N, C, H, W) or (C, H, W), pixels in [0, 1]. With a ``model`` each image carries
    the model's reading and its probability. The perturbation is drawn on grey (grey = no change) times
    ``amplify``: by default the largest whole factor at which no pixel saturates, the same for all rows.

    The class names are ``classes``, or the model's own. Raises ``ValueError`` if the two shapes differ.

    >>> rows = triptych_panels(torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 8 / 255))
    >>> rows[0][1].alt
    'perturbation × 15, at most 8/255'
    """
    x, x_adv = _batch(x, "x"), _batch(x_adv, "x_adv")
    if amplify is not None:
        check_number(amplify, "amplify", positive=True)
    if classes is not None:
        check_texts(classes, "classes")
    if x.shape != x_adv.shape:
        raise ValueError(
            f"x has shape {tuple(x.shape)} and x_adv {tuple(x_adv.shape)}; expected the same: "
            "give the clean images and what an attack made of them."
        )
    delta = x_adv - x
    sizes = delta.abs().flatten(1).max(1).values.tolist()
    # As many times as fit between grey and white; the small number forgives rounding.
    amplify = amplify or max(1, math.floor(0.5 / max(max(sizes), 1e-3) + 1e-3))
    shown = (0.5 + amplify * delta).clamp(0, 1)
    read_before, read_after = (_readings(model, images, classes) for images in (x, x_adv))
    rows = []
    for i, size in enumerate(sizes):
        change = f"× {amplify:g}\nat most {readable(size, digits=3)}" if size else "none"
        rows.append(
            (
                _read_panel(x[i], "clean", read_before[i]),
                Panel(pixels_of(shown[i]), "perturbation", change, f"perturbation {change}".replace("\n", ", ")),
                _read_panel(x_adv[i], "adversarial", read_after[i]),
            )
        )
    return rows


def _batch(images: Tensor, name: str) -> Tensor:
    """Images (N, C, H, W), of which one may come without a batch, and may be out of the box by rounding."""
    check_tensor(images, name, like="images (N, C, H, W)")
    images = (images[None] if images.ndim == 3 else images).detach().cpu()
    if images.dtype not in FLOATS or not images.numel() or bool(((images < -OUTSIDE) | (images > 1 + OUTSIDE)).any()):
        check_images(images, name)
    check_images(images.clamp(0, 1), name)
    if images.shape[1] not in (1, 3):
        raise ValueError(f"{name} has shape {tuple(images.shape)}; expected 1 or 3 channels, (N, C, H, W).")
    return images


def _readings(model: nn.Module | None, x: Tensor, classes: Sequence[str] | None) -> Sequence[tuple[str, float] | None]:
    """What the model reads in each image: a class name and its probability."""
    if model is None:
        return [None] * len(x)
    classes = classes or getattr(model, "classes", None)
    labels, probabilities = predict(model, x)
    return [(class_name(k, classes), p) for k, p in zip(labels.tolist(), probabilities.tolist(), strict=True)]


def _read_panel(image: Tensor, kind: str, reading: tuple[str, float] | None) -> Panel:
    if reading is None:
        return Panel(pixels_of(image), kind, alt=f"{kind} image")
    name, probability = reading[0], percent(reading[1])
    return Panel(pixels_of(image), kind, f"{name}\n{probability}", f"{kind} image, read as {name} ({probability})")


def check_rows(rows) -> None:
    """``rows`` are rows of panels, none of them empty; else TypeError or ValueError."""
    if not isinstance(rows, Sequence) or not rows or not all(isinstance(row, Sequence) and row for row in rows):
        raise TypeError(f"rows is {shown(rows)}; expected rows of panels, such as [[panel, panel]].")
    for panel in (one for row in rows for one in row):
        if not isinstance(panel, Panel):
            raise TypeError(f"rows contains a {kind_of(panel)}; expected panels: Panel(pixels_of(x[0]), 'heading').")


def describe(rows: Sequence[Sequence[Panel]]) -> str:
    """Alt text for a figure made of panels, for ``mystnb.image.alt`` or a slider's frame.

    >>> describe(triptych_panels(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)))
    'Clean image; perturbation none; adversarial image.'
    """
    check_rows(rows)
    sentences = ["; ".join(panel.alt for panel in row if panel.alt) for row in rows]
    return " ".join(f"{sentence[:1].upper()}{sentence[1:]}." for sentence in sentences)


def points_of(name: str, line: Any) -> list[list[float]]:
    """The columns eps, accuracy and, where there are any, low and high of a line that `plots.curves` draws.

    Raises `TypeError` or `ValueError` for other columns, lengths that differ, and accuracies outside of [0, 1].

    >>> points_of("signs-cnn", ([0, 0.1], [0.9, 0.4]))
    [[0.0, 0.1], [0.9, 0.4]]
    """
    if not hasattr(line, "accuracy") and (isinstance(line, str) or not isinstance(line, Sequence)):
        raise TypeError(f"lines: {name!r} is {shown(line)}; expected a Curve, or a tuple (eps, accuracy[, low, high]).")
    columns = [line.eps, line.accuracy, line.low, line.high] if hasattr(line, "accuracy") else list(line)
    try:
        columns = [[float(v) for v in column] for column in columns if column is not None]
    except (TypeError, ValueError) as error:
        raise TypeError(f"lines: {name!r} is {shown(line)}; expected columns of numbers.") from error
    if len(columns) not in (2, 4) or len({len(column) for column in columns}) != 1 or not columns[0]:
        raise ValueError(
            f"line {name!r} has columns of lengths {[len(c) for c in columns]}, expected eps and accuracy, "
            "or eps, accuracy, low and high, all of one length"
        )
    if not all(math.isfinite(e) for e in columns[0]) or not all(
        -ROUNDING <= a <= 1 + ROUNDING for column in columns[1:] for a in column
    ):
        raise ValueError(
            f"lines: {name!r} goes from {min(map(min, columns)):.4g} to {max(map(max, columns)):.4g}; expected finite "
            "ε, and accuracies from 0 to 1. Divide per cent by 100."
        )
    return columns
