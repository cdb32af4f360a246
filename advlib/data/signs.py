"""German road signs, generated: sixteen classes as a camera in a car would see them, no photo involved.

>>> from advlib.data import signs
>>> x = signs.render([0, 7], seed=1)          # a speed limit of 30 and a stop sign, somewhere on a road
>>> x.shape
torch.Size([2, 3, 48, 48])
>>> signs.CLASSES[7].label, signs.CLASSES[7].gtsrb
('Stop', 14)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from advlib.contract import check_count, check_device, check_seed
from advlib.data import sign_scenes as scenes
from advlib.data import sign_shapes as shapes


@dataclass(frozen=True)
class SignClass:
    """One meaning a sign can have."""

    name: str  # for code and file names
    label: str  # for people
    gtsrb: int  # its class in the German Traffic Sign Recognition Benchmark
    shape: Callable  # the drawing in `sign_shapes`
    argument: object = None


CLASSES: tuple[SignClass, ...] = (
    *(
        SignClass(f"limit-{v}", f"{v} km/h", n, shapes.speed_limit, str(v))
        for v, n in ((30, 1), (50, 2), (60, 3), (70, 4), (80, 5), (100, 7), (120, 8))
    ),
    SignClass("stop", "Stop", 14, shapes.stop),
    SignClass("yield", "Yield", 13, shapes.give_way),
    SignClass("no-entry", "No entry", 17, shapes.no_entry),
    SignClass("priority-road", "Priority road", 12, shapes.priority_road),
    SignClass("turn-right", "Turn right", 33, shapes.turn, 1),
    SignClass("turn-left", "Turn left", 34, shapes.turn, -1),
    SignClass("ahead-only", "Ahead only", 35, shapes.ahead),
    SignClass("roundabout", "Roundabout", 40, shapes.roundabout),
    SignClass("caution", "General caution", 18, shapes.caution),
)
STYLES = 8  # makes of each sign
CHUNK = 32  # images rendered at once: what a cache holds


def draw(label: int, size: int = 256) -> torch.Tensor:
    """The sign itself, seen from the front on white: (3, size, size) in [0, 1], for figures.

    `label` is a place in `CLASSES`. Raises TypeError or ValueError for anything else.

    >>> draw(7, size=64).shape
    torch.Size([3, 64, 64])
    """
    check_count(size, "size", least=8)
    kind = CLASSES[_checked([label])[0]]
    ink = shapes.picture(kind.shape, kind.argument, size)
    return (ink[:3] + 1 - ink[3:]).clamp(0, 1).float()


def render(
    labels: Sequence[int] | torch.Tensor, seed: int = 0, size: int = 48, device: str | torch.device | None = None
) -> torch.Tensor:
    """Photograph-like pictures of signs: (N, 3, size, size) float32 in [0, 1], on `device`, by default the CPU.

    labels     (N,) places in `CLASSES`
    seed       a whole number ≥ 0. Image i is decided by (seed, i, labels[i], size) alone: not by the rest of
               the batch, the device or the machine, but that now and then a pixel is rounded the other way
               (a 6e-8 of it). The global random state is left alone

    Raises TypeError or ValueError for labels, seeds, sizes or devices that are none.

    >>> x = render([0, 7, 7], seed=1)
    >>> torch.allclose(x[:2], render([0, 7], seed=1), rtol=0, atol=1e-7)
    True
    """
    labels = _checked(labels)
    check_seed(seed)
    check_count(size, "size", least=8)
    check_device(device)
    device = device or "cpu"
    canvas = torch.device("cpu" if torch.device(device).type == "mps" else device)  # MPS knows no float64
    ink = _templates(round(1.5 * size), canvas)
    images = [torch.zeros(0, 3, size, size, device=device)]
    for first in range(0, len(labels), CHUNK):
        part = labels[first : first + CHUNK]
        chance = scenes.chance(seed, range(first, first + len(part)), size)
        drawn = scenes.photograph(ink, part.to(canvas), chance.to(canvas), size)
        images.append(drawn.float().to(device))
    return torch.cat(images)


@lru_cache(maxsize=8)
def _templates(size, device):
    """Every class in every style: (classes, styles, 4, size, size)."""
    pictures = [
        shapes.picture(kind.shape, kind.argument, size, style) for kind in CLASSES for style in shapes.styles(STYLES)
    ]
    return torch.stack(pictures).view(len(CLASSES), STYLES, 4, size, size).to(device)


def _checked(labels) -> torch.Tensor:
    """The labels as a tensor (N,) on the CPU, where chance is made."""
    try:
        labels = torch.as_tensor(labels).cpu()
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"labels is {labels!r}; expected whole numbers, such as [0, 7].") from None
    if labels.numel() and (labels.is_floating_point() or labels.dtype == torch.bool):
        raise TypeError(f"labels has dtype {labels.dtype}; expected whole numbers: labels.long().")
    if labels.ndim != 1:
        raise ValueError(f"labels has shape {tuple(labels.shape)}; expected (N,): one label per image.")
    wrong = [k for k in labels.tolist() if not 0 <= k < len(CLASSES)]
    if wrong:
        raise ValueError(f"labels contains {wrong[0]}; expected 0 … {len(CLASSES) - 1}, as in signs.CLASSES.")
    return labels.long()
