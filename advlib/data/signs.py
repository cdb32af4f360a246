"""German road signs, generated: sixteen classes as a camera in a car would see them, no photo involved.

>>> from advlib.data import signs
>>> x = signs.render([0, 7], seed=1)          # a speed limit of 30 and a stop sign, somewhere on a road
>>> x.shape
torch.Size([2, 3, 48, 48])
>>> signs.CLASSES[7].label, signs.CLASSES[7].gtsrb
('Stop', 14)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.nn import functional as F

from advlib.contract import check_count
from advlib.data import sign_shapes as shapes


@dataclass(frozen=True)
class SignClass:
    """One meaning a sign can have."""

    name: str               # for code and file names
    label: str              # for people
    gtsrb: int              # its class in the German Traffic Sign Recognition Benchmark
    shape: Callable         # the drawing in `sign_shapes`
    argument: object = None


CLASSES: tuple[SignClass, ...] = (
    *(SignClass(f"limit-{v}", f"{v} km/h", n, shapes.speed_limit, str(v))
      for v, n in ((30, 1), (50, 2), (60, 3), (70, 4), (80, 5), (100, 7), (120, 8))),
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
STYLES = 8                  # makes of each sign
CHUNK = 128                 # images rendered at once: small enough for a laptop's cache


def draw(label: int, size: int = 256) -> torch.Tensor:
    """The sign itself, from the front, on white: (3, size, size), for figures."""
    kind = CLASSES[_checked([label])[0]]
    check_count(size, "size", least=8)
    ink = shapes.picture(kind.shape, kind.argument, size)
    return ink[:3] + 1 - ink[3:]


def render(labels: Sequence[int] | torch.Tensor, seed: int = 0, size: int = 48, device="cpu") -> torch.Tensor:
    """Photograph-like pictures of the signs `labels`: (N, 3, size, size) float32 in [0, 1].

    Image i is decided by (seed, i, labels[i], size) alone: not by the device, the machine (to 1e-5) or the rest of the batch.
    """
    labels = _checked(labels)
    check_count(seed, "seed", least=0)
    check_count(size, "size", least=8)
    out = [_scene(labels[i:i + CHUNK], *_draws(seed, i, len(labels[i:i + CHUNK]), size), size, device)
           for i in range(0, len(labels), CHUNK)]
    return torch.cat(out) if out else torch.zeros(0, 3, size, size, device=device)


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
        raise ValueError(f"labels contains {wrong[0]}; expected 0 … {len(CLASSES) - 1}, places in signs.CLASSES.")
    return labels.long()


# -- chance ----------------------------------------------------------------------------------------------------------

OCTAVES = (3, 6, 12, 24)
FIELDS = 3                  # independent textures: background, its colour, light


def _draws(seed, first, count, size):
    """Uniform numbers for images first … first + count − 1, from a CPU generator: the same on every machine."""
    knobs, texture, noise = 120, FIELDS * sum(n * n for n in OCTAVES), 3 * size * size
    rows = torch.empty(count, knobs + texture + noise)
    generator = torch.Generator()
    for k in range(count):
        generator.manual_seed((seed * 0x9E3779B1 + first + k) % 2**32)
        rows[k].uniform_(generator=generator)
    return rows.split([knobs, texture, noise], dim=1)


class _Knobs:
    """Hands out columns of uniform numbers, one random quantity of all images at a time, each shaped (n, 1, 1, 1)."""

    def __init__(self, numbers):
        self.columns = iter(numbers.T)

    def unit(self):
        return next(self.columns)[:, None, None, None]

    def uniform(self, low, high):
        return low + (high - low) * self.unit()

    def log_uniform(self, low, high):
        return low * (high / low) ** self.unit()

    def normal(self, sigma):
        return sigma * _normal(self.unit())

    def chance(self, p):
        """1 with probability p, else 0."""
        return (self.unit() < p).float()

    def colour(self, low, high):
        return torch.cat([self.uniform(a, b) for a, b in zip(low, high)], dim=1)


def _normal(uniform):
    return math.sqrt(2) * torch.special.erfinv((2 * uniform - 1) * (1 - 1e-5))


# -- the scene -------------------------------------------------------------------------------------------------------

def _scene(labels, numbers, texture, noise, size, device):
    n = len(labels)
    knobs = _Knobs(numbers.to(device))
    textures = _textures(texture.to(device), knobs, size)
    pixels = _pixels(size, device)
    style = (knobs.unit().flatten() * STYLES).long().clamp(max=STYLES - 1)
    ink = _templates(round(1.5 * size), torch.device(device))[labels.to(device), style]

    points = _placement(pixels, knobs)
    image = _background(pixels, textures, knobs)
    image = _neighbours(image, points, ink, knobs)
    sign = F.grid_sample(ink, points, align_corners=False)
    sign = _wear(sign, points, knobs)
    image = image * (1 - sign[:, 3:]) + _light(sign[:, :3], pixels, textures, knobs)
    return _camera(image, noise.to(device).reshape(n, 3, size, size), knobs).clamp(0, 1)


@lru_cache(maxsize=8)
def _templates(size, device):
    """Every class in every style: (classes, styles, 4, size, size)."""
    return torch.stack([torch.stack([shapes.picture(c.shape, c.argument, size, style) for style in shapes.styles(STYLES)])
                        for c in CLASSES]).to(device)


def _pixels(size, device):
    """Centres of the pixels in [-1, 1]²: (size, size, 2), x to the right, y down."""
    axis = (torch.arange(size, device=device) + 0.5) * (2.0 / size) - 1.0
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)


def _textures(uniform, knobs, size):
    """Fields of smooth noise over several octaves, zero mean and about unit spread: (n, FIELDS, size, size)."""
    total, norm, start = 0, 0, 0
    for side in OCTAVES:
        grid = uniform[:, start:start + FIELDS * side * side].reshape(-1, FIELDS, side, side)
        start += FIELDS * side * side
        strength = torch.cat([knobs.uniform(0.1, 1) for _ in range(FIELDS)], dim=1)
        spread = _spread(side, size).to(uniform.device)
        total = total + spread @ (strength * (3.4 * grid - 1.7) @ spread.T)
        norm = norm + strength**2
    return total / norm.sqrt()


@lru_cache(maxsize=16)
def _spread(side, size):
    """The linear map that enlarges `side` numbers to `size`, smoothly: (size, side)."""
    return F.interpolate(torch.eye(side)[None, None], (size, side), mode="bicubic")[0, 0]


def _placement(pixels, knobs):
    """Where each pixel lands on the sign's square, through a random homography: (n, size, size, 2)."""
    x, y = (pixels[..., k] - knobs.normal(0.05)[..., 0] for k in (0, 1))
    angle, shear = knobs.normal(0.07)[..., 0], knobs.normal(0.04)[..., 0]
    scale = 1 / knobs.uniform(0.64, 0.94)[..., 0]
    narrow = 1 / (1 - 0.35 * knobs.unit()[..., 0] ** 4)
    depth = 1 + knobs.normal(0.06)[..., 0] * x + knobs.normal(0.04)[..., 0] * y
    u = narrow * (angle.cos() * x + angle.sin() * y) + shear * y
    v = angle.cos() * y - angle.sin() * x
    return torch.stack((u, v), dim=-1) * (scale / depth)[..., None]


PALETTES = torch.tensor([                                        # dark end, bright end
    ((0.02, 0.03, 0.02), (0.30, 0.34, 0.16)),                    # leaves
    ((0.08, 0.05, 0.02), (0.60, 0.45, 0.20)),                    # autumn leaves
    ((0.03, 0.03, 0.03), (0.16, 0.15, 0.14)),                    # shade
    ((0.20, 0.19, 0.18), (0.62, 0.60, 0.57)),                    # asphalt, concrete
    ((0.35, 0.30, 0.24), (0.85, 0.80, 0.70)),                    # plaster
    ((0.45, 0.55, 0.70), (0.75, 0.85, 1.00)),                    # blue sky
    ((0.80, 0.82, 0.86), (1.10, 1.10, 1.10)),                    # white sky
    ((0.10, 0.08, 0.08), (0.45, 0.22, 0.16)),                    # brick
])


def _background(pixels, textures, knobs):
    """Two materials that meet along an edge, as trees before the sky or a house beside a street do."""
    palettes, image = PALETTES.to(pixels.device), 0
    contrast = knobs.log_uniform(0.15, 3)
    for layer in range(2):
        choice = (knobs.unit().flatten() * len(palettes)).long().clamp(max=len(palettes) - 1)
        dark, bright = palettes[choice].unbind(1)
        mix = torch.sigmoid(1.5 * contrast * textures[:, layer:layer + 1] + knobs.normal(0.7))
        material = dark[..., None, None] + (bright - dark)[..., None, None] * mix
        if layer == 0:
            image = material
        else:
            angle = knobs.uniform(0, 2 * math.pi)
            side = angle.cos() * pixels[..., 0] + angle.sin() * pixels[..., 1] - knobs.uniform(-0.2, 1.3)
            cover = torch.sigmoid((side + knobs.uniform(0, 0.5) * textures[:, 2:]) * knobs.log_uniform(5, 60))
            image = image * (1 - cover) + material * cover
    return image * knobs.log_uniform(0.12, 3) * knobs.colour((0.9, 0.95, 0.85), (1.1, 1.05, 1.15))


def _rectangle(points, x, y, half_width, half_height, softness=0.03):
    """1 inside a rectangle on the sign's plane, 0 outside: (n, 1, size, size)."""
    dx = half_width - (points[:, None, ..., 0] - x).abs()
    dy = half_height - (points[:, None, ..., 1] - y).abs()
    return torch.sigmoid(dx / softness) * torch.sigmoid(dy / softness)


def _neighbours(image, points, ink, knobs):
    """The pole behind the sign, and often a plate or a second sign above or below it."""
    pole = _rectangle(points, knobs.normal(0.1), knobs.uniform(0, 3), knobs.uniform(0.04, 0.12), 3.0) * knobs.chance(0.7)
    image = image * (1 - pole) + pole * knobs.uniform(0.1, 0.9)
    second = torch.stack((torch.zeros_like(points[..., 0]), torch.where(knobs.chance(0.5) > 0, 1.0, -1.0)[..., 0]
                          * knobs.uniform(1.95, 2.3)[..., 0] + torch.zeros_like(points[..., 0])), dim=-1)
    other = F.grid_sample(ink.roll(1, 0), points - second, align_corners=False) * knobs.chance(0.35)
    image = image * (1 - other[:, 3:]) + other[:, :3] * knobs.log_uniform(0.2, 1.5)
    plate = _rectangle(points, 0.0, knobs.uniform(1.25, 1.6), knobs.uniform(0.6, 1.0), knobs.uniform(0.15, 0.4)) * knobs.chance(0.2)
    return image * (1 - plate) + plate * knobs.log_uniform(0.2, 1.2)


def _wear(sign, points, knobs):
    """Faded or dirty colours, and now and then a sticker."""
    colour, alpha = sign[:, :3], sign[:, 3:]
    grey = colour.mean(1, keepdim=True)
    colour = grey + (colour - grey) * knobs.uniform(0.55, 1.15)
    for chance in (0.15, 0.10):
        sticker = knobs.chance(chance) * _rectangle(points, knobs.uniform(-0.7, 0.7), knobs.uniform(-0.7, 0.7),
                                                    knobs.uniform(0.05, 0.28), knobs.uniform(0.04, 0.15), 0.04) * alpha
        colour = colour * (1 - sticker) + sticker * knobs.colour((0.05, 0.05, 0.05), (0.95, 0.9, 0.9))
    return torch.cat((colour, alpha), dim=1)


def _light(colour, pixels, textures, knobs):
    """Exposure, tint, a gradient, and the shadow of something beside the road."""
    gain = knobs.log_uniform(0.12, 2.2) * (1 + knobs.normal(0.15) * pixels[..., 0] + knobs.normal(0.15) * pixels[..., 1])
    angle = knobs.uniform(0, 2 * math.pi)
    edge = angle.cos() * pixels[..., 0] + angle.sin() * pixels[..., 1] - knobs.uniform(-0.6, 0.6)
    shade = torch.sigmoid((edge + knobs.uniform(0, 0.4) * textures[:, 2:]) * knobs.log_uniform(3, 30))
    shadow = 1 - knobs.chance(0.3) * knobs.uniform(0.2, 0.7) * shade
    warmth = knobs.normal(0.12)
    tint = torch.cat((warmth.exp(), knobs.normal(0.05).exp(), (-warmth).exp() * knobs.normal(0.08).exp()), dim=1)
    return colour * gain.clamp(min=0.02) * shadow * tint


def _camera(image, noise, knobs):
    """Veil, over-exposure, then a sensor of few pixels, its noise, and enlargement back to `size`."""
    size = image.shape[-1]
    veil = knobs.chance(0.4) * knobs.uniform(0, 0.35)
    image = image * (1 - veil) + veil * knobs.colour((0.3, 0.3, 0.3), (0.9, 0.9, 1.0))
    image = image * knobs.log_uniform(0.7, 1.4)

    count = size * knobs.uniform(0.3, 1.0)[..., 0]               # pixels the sensor has for this crop, along one side
    blur = size / count * knobs.uniform(0.3, 0.7)[..., 0]
    down_x, down_y = (_sampling(size, count, blur + knobs.unit()[..., 0] ** 4 * size / 30) for _ in "xy")
    up = _enlargement(size, count)
    seen = _along_y(down_y, _along_x(down_x, image.clamp(0, 1)))
    level = knobs.log_uniform(0.002, 0.015) + knobs.log_uniform(0.002, 0.02) * seen.clamp(min=0).sqrt()
    return _along_y(up, _along_x(up, (seen + level * _normal(noise)).clamp(0, 1)))


def _along_x(matrix, image):
    """Apply one (size, size) matrix per image to every row of its channels."""
    return (image.flatten(1, 2) @ matrix.mT).view_as(image)


def _along_y(matrix, image):
    n, channels, size, _ = image.shape
    columns = image.transpose(1, 2).reshape(n, size, channels * size)
    return (matrix @ columns).view(n, size, channels, size).transpose(1, 2)


def _sampling(size, count, blur):
    """Rows of Gaussian weights: `count` evenly spread, blurred samples of `size` pixels: (n, size, size)."""
    index = torch.arange(size, device=count.device)
    centre = (index[:, None] + 0.5) * size / count - 0.5
    distance = (index[None, :] - centre.clamp(max=size - 0.5)) / blur
    weight = torch.exp(-0.5 * distance.clamp(-6, 6) ** 2)           # the far tail would be denormal numbers: slow
    return weight / weight.sum(-1, keepdim=True)


def _enlargement(size, count):
    """Bilinear interpolation from the first `count` samples back to `size`: (n, size, size)."""
    index = torch.arange(size, device=count.device)
    position = (index[:, None] + 0.5) * count / size - 0.5
    weight = (1 - (position.clamp(min=0) - index[None, :]).abs()).clamp(min=0)
    return weight / weight.sum(-1, keepdim=True)
