"""What a figure shows, before it is drawn: images with a heading, a caption and words for who cannot see them.

`plots` draws panels with matplotlib, `widgets` as HTML.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from advlib.contract import frozen, model_device


def percent(probability: float) -> str:
    """A probability as people read it, never rounded up to a certainty.

    >>> percent(0.973), percent(0.99999), percent(0.0002)
    ('97 %', '> 99.9 %', '< 0.1 %')
    """
    if probability > 0.999:
        return "> 99.9 %"
    if probability < 0.001:
        return "< 0.1 %"
    digits = 0 if 0.01 <= probability <= 0.99 else 1
    return f"{100 * probability:.{digits}f} %"


def in_255ths(eps: float) -> str:
    """A pixel distance as a fraction of 255 where it is one, else with three digits.

    >>> in_255ths(8 / 255), in_255ths(0.1)
    ('8/255', '0.1')
    """
    steps = eps * 255
    return f"{round(steps)}/255" if eps and abs(steps - round(steps)) < 1e-3 else f"{eps:.3g}"


@dataclass(frozen=True)
class Panel:
    """One image of a figure: pixels (H, W, C) in [0, 1], a heading, a line below, and words for who cannot see it."""

    pixels: np.ndarray
    heading: str = ""
    caption: str = ""
    alt: str = ""


def pixels_of(image: Any) -> np.ndarray:
    """A (C, H, W) tensor, an (H, W[, C]) array or a PIL image as an (H, W, C) float array in [0, 1], C = 1 or 3.

    Bytes are divided by 255. Raises ``ValueError`` on anything that is not one image.
    """
    if isinstance(image, Tensor):
        pixels = image.detach().float().cpu().numpy()
        pixels = pixels.transpose(1, 2, 0) if pixels.ndim == 3 else pixels
    else:
        pixels = np.asarray(image)
    if pixels.dtype == np.uint8:
        pixels = pixels / 255
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(
            f"got an image of shape {tuple(np.shape(image))}, expected one (C, H, W) tensor or (H, W, C) array "
            "with 1 or 3 channels: take one image of a batch with x[0]"
        )
    return pixels.clip(0, 1)


def _batch(x: Tensor, name: str) -> Tensor:
    if not isinstance(x, Tensor) or x.ndim not in (3, 4):
        got = f"shape {tuple(x.shape)}" if hasattr(x, "shape") else type(x).__name__
        raise ValueError(f"{name} has {got}, expected a tensor (N, C, H, W) or one image (C, H, W)")
    return x.detach() if x.ndim == 4 else x.detach()[None]


def _readings(model: nn.Module, x: Tensor, classes: Sequence[str] | None) -> list[tuple[str, float]]:
    """What the model reads in each image: (class name, probability)."""
    with frozen(model), torch.no_grad():
        top = model(x.to(model_device(model))).softmax(1).max(1)
    return [(class_name(k, classes), p) for k, p in zip(top.indices.tolist(), top.values.tolist(), strict=True)]


def class_name(label: int, classes: Sequence[str] | None) -> str:
    return str(classes[label]) if classes else f"class {label}"


def triptych_panels(
    x: Tensor,
    x_adv: Tensor,
    model: nn.Module | None = None,
    *,
    classes: Sequence[str] | None = None,
    amplify: float | None = None,
) -> list[tuple[Panel, Panel, Panel]]:
    """Clean image, amplified perturbation and adversarial image, a row per image: what a triptych shows.

    ``x`` and ``x_adv`` are (N, C, H, W) or (C, H, W), pixels in [0, 1]. With a ``model`` each image carries the
    model's reading and its probability. The perturbation is drawn on grey (grey = no change) times ``amplify``:
    by default the largest whole factor at which no pixel saturates, the same for all rows.

    Raises ``ValueError`` if the two shapes differ.
    """
    x, x_adv = _batch(x, "x").cpu(), _batch(x_adv, "x_adv").cpu()
    if x.shape != x_adv.shape:
        raise ValueError(
            f"x has shape {tuple(x.shape)} and x_adv {tuple(x_adv.shape)}, expected the same: "
            "give the clean images and what an attack made of them"
        )
    delta = x_adv - x
    largest = delta.abs().flatten(1).max(1).values
    factor = amplify or max(1, math.floor(0.5 / max(largest.max().item(), 1e-9) + 1e-3)) if largest.max() else 1
    shown = (0.5 + factor * delta).clamp(0, 1)
    blank = [("", 0.0)] * len(x)
    before, after = (_readings(model, z, classes) if model else blank for z in (x, x_adv))
    rows = []
    for i in range(len(x)):
        texts = [f"{name}\n{percent(p)}" if name else "" for name, p in (before[i], after[i])]
        change = f"× {factor:g}\nlargest change {in_255ths(largest[i].item())}"
        rows.append(
            (
                Panel(pixels_of(x[i]), "clean", texts[0], _alt("clean image", before[i])),
                Panel(pixels_of(shown[i]), "perturbation", change, f"perturbation {change}".replace("\n", ", ")),
                Panel(pixels_of(x_adv[i]), "adversarial", texts[1], _alt("adversarial image", after[i])),
            )
        )
    return rows


def _alt(what: str, reading: tuple[str, float]) -> str:
    name, probability = reading
    return f"{what}, read as {name} ({percent(probability)})" if name else what


def describe(rows: Sequence[Sequence[Panel]]) -> str:
    """Alt text for a figure made of panels, for ``mystnb.image.alt`` or a slider's frame.

    >>> describe([(Panel(np.zeros((2, 2, 1)), alt="clean image, read as stop (97 %)"),)])
    'Clean image, read as stop (97 %).'
    """
    return " ".join(f"{'; '.join(p.alt for p in row if p.alt)}.".capitalize() for row in rows)
