"""Photographs of road signs, made by chance: a place by the road, its light, and a poor camera.

Everything works on batches. Pictures are (n, 3, size, size), masks (n, 1, size, size), and knobs, one number
per picture, (n, 1, 1, 1). Steps are in the order of nature: what stands there, how it is lit, how it is seen.
All is drawn in double precision: rounded once, at the end, pixels do not depend on the make of the processor.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

# -- chance --------------------------------------------------------------------------------------------------

KNOBS = 96  # numbers that decide a scene
FIELDS = 3  # independent textures in it
OCTAVES = (3, 6, 12, 24)  # grids that a texture is the sum of, from coarse to fine


def chance(seed: int, places: range, size: int) -> Tensor:
    """One row of uniform numbers in [0, 1) for each place in a data set: all that is random about its image.

    Each row comes from a CPU generator of its own, so it is the same on every machine and in every batch.

    >>> torch.equal(chance(0, range(2, 4), size=16)[0], chance(0, range(2, 3), size=16)[0])
    True
    """
    length = KNOBS + FIELDS * sum(side * side for side in OCTAVES) + 3 * size * size
    rows = torch.empty(len(places), length)
    generator = torch.Generator()
    for row, place in zip(rows, places):
        generator.manual_seed((seed * 0x9E3779B1 + place) % 2**32)  # neighbouring seeds start far apart
        row.uniform_(generator=generator)
    return rows


class _Knobs:
    """Hands out one random quantity of all pictures at a time, each from a column of uniform numbers."""

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
        return (self.unit() < p).double()

    def sign(self, p):
        """−1 with probability p, else 1."""
        return 1 - 2 * self.chance(p)

    def choice(self, count):
        """One of 0 … count − 1, as an index (n,)."""
        return (self.unit().flatten() * count).long()  # uniform numbers are below 1

    def colour(self, low, high):
        return torch.cat([self.uniform(a, b) for a, b in zip(low, high)], dim=1)


def _normal(uniform):
    """Uniform numbers made normal ones; the factor keeps 0 from becoming −∞."""
    return math.sqrt(2) * torch.special.erfinv((2 * uniform - 1) * (1 - 1e-5))


# -- the scene -----------------------------------------------------------------------------------------------


def photograph(ink: Tensor, labels: Tensor, chance: Tensor, size: int) -> Tensor:
    """Pictures of the signs `labels` (n,), each decided by its row of `chance`, all on one device, in float64.

    ink        the drawn signs, RGBA with colours premultiplied: (classes, styles, 4, side, side) in float64
    """
    texture = FIELDS * sum(side * side for side in OCTAVES)
    numbers, texture, noise = chance.double().split([KNOBS, texture, 3 * size * size], dim=1)
    knobs = _Knobs(numbers)
    sign = ink[labels, knobs.choice(ink.shape[1])]
    other = ink[knobs.choice(ink.shape[0]), knobs.choice(ink.shape[1])]
    textures = _textures(texture, knobs, size)
    pixels = _pixels(size, ink.device)
    points = _placement(pixels, knobs)

    image = _background(pixels, textures, knobs)
    image = _neighbours(image, points, other, knobs)
    sign = _wear(_seen(sign, points), points, knobs)
    image = image * (1 - sign[:, 3:]) + _light(sign[:, :3], pixels, textures, knobs)
    return _camera(image, noise.reshape(-1, 3, size, size), knobs)


def _seen(ink, points):
    """The sign's colours and its cover at `points` of its square, nothing outside: (n, 4, size, size)."""
    return F.grid_sample(ink, points.permute(0, 2, 3, 1), align_corners=False)


def _pixels(size, device):
    """Centres of the pixels in [-1, 1]²: (2, size, size), x to the right, y down."""
    axis = (torch.arange(size, dtype=torch.float64, device=device) + 0.5) * (2.0 / size) - 1.0
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"))


def _textures(uniform, knobs, size):
    """Smooth noise over several octaves, zero mean and about unit spread: (n, FIELDS, size, size)."""
    total, norm, start = torch.zeros(()), torch.zeros(()), 0
    for side in OCTAVES:
        grid = uniform[:, start : start + FIELDS * side * side].reshape(-1, FIELDS, side, side)
        start += FIELDS * side * side
        strength = torch.cat([knobs.uniform(0.1, 1) for _ in range(FIELDS)], dim=1)
        spread = _spread(side, size).to(uniform.device)
        total = total + spread @ (strength * (3.4 * grid - 1.7) @ spread.T)
        norm = norm + strength**2
    return total / norm.sqrt()


@lru_cache(maxsize=16)
def _spread(side, size):
    """The linear map that enlarges `side` numbers to `size`, smoothly: (size, side)."""
    return F.interpolate(torch.eye(side, dtype=torch.float64)[None, None], (size, side), mode="bicubic")[0, 0]


def _placement(pixels, knobs):
    """Where each pixel lands on the sign's square, through a random homography: (n, 2, size, size)."""
    x, y = pixels[0] - knobs.normal(0.065), pixels[1] - knobs.normal(0.065)
    angle, shear = knobs.normal(0.07), knobs.normal(0.04)
    radius, narrow = knobs.uniform(0.64, 0.94), 1 - 0.35 * knobs.unit() ** 4
    depth = 1 + knobs.normal(0.06) * x + knobs.normal(0.04) * y
    u = (angle.cos() * x + angle.sin() * y) / narrow + shear * y
    v = angle.cos() * y - angle.sin() * x
    return torch.cat((u, v), dim=1) / (radius * depth)


PALETTES = torch.tensor(
    [  # dark end, bright end
        ((0.02, 0.03, 0.02), (0.30, 0.34, 0.16)),  # leaves
        ((0.08, 0.05, 0.02), (0.60, 0.45, 0.20)),  # autumn leaves
        ((0.03, 0.03, 0.03), (0.16, 0.15, 0.14)),  # shade
        ((0.20, 0.19, 0.18), (0.62, 0.60, 0.57)),  # asphalt, concrete
        ((0.35, 0.30, 0.24), (0.85, 0.80, 0.70)),  # plaster
        ((0.45, 0.55, 0.70), (0.75, 0.85, 1.00)),  # blue sky
        ((0.80, 0.82, 0.86), (1.10, 1.10, 1.10)),  # white sky
        ((0.10, 0.08, 0.08), (0.45, 0.22, 0.16)),  # brick
    ],
    dtype=torch.float64,
)


def _background(pixels, textures, knobs):
    """Two materials that meet along an edge, as trees before the sky or a house beside a street do."""
    palettes, contrast = PALETTES.to(pixels.device), knobs.log_uniform(0.15, 3)

    def material(texture):
        dark, bright = palettes[knobs.choice(len(palettes))].unbind(1)
        mix = torch.sigmoid(1.5 * contrast * texture + knobs.normal(0.7))
        return dark[..., None, None] + (bright - dark)[..., None, None] * mix

    near, far = material(textures[:, :1]), material(textures[:, 1:2])
    beyond = _half_plane(
        pixels, knobs.uniform(-0.2, 1.3), textures[:, 2:] * knobs.uniform(0, 0.5), knobs.log_uniform(5, 60), knobs
    )
    image = near + beyond * (far - near)
    return image * knobs.log_uniform(0.12, 3) * knobs.colour((0.9, 0.95, 0.85), (1.1, 1.05, 1.15))


def _half_plane(pixels, distance, ragged, sharpness, knobs):
    """1 beyond a line at `distance` from the centre and of any direction, 0 on this side of it."""
    angle = knobs.uniform(0, 2 * math.pi)
    return torch.sigmoid(sharpness * (angle.cos() * pixels[0] + angle.sin() * pixels[1] - distance + ragged))


def _rectangle(points, x, y, half_width, half_height):
    """1 inside a rectangle on the sign's square, 0 outside, with soft edges: (n, 1, size, size)."""
    inside = torch.minimum(half_width - (points[:, :1] - x).abs(), half_height - (points[:, 1:] - y).abs())
    return (8 * inside + 0.5).clamp(0, 1)


def _neighbours(image, points, ink, knobs):
    """What stands behind a sign and around it: a board, the pole, a second sign or a plate above or below."""
    board = _rectangle(points, 0.0, 0.0, knobs.uniform(1.05, 1.4), knobs.uniform(1.05, 1.4))
    image = _over(image, knobs.chance(0.1) * board, knobs.log_uniform(0.05, 1.2))
    pole = _rectangle(points, knobs.normal(0.1), knobs.uniform(0, 3), knobs.uniform(0.04, 0.12), 3.0)
    image = _over(image, knobs.chance(0.7) * pole, knobs.uniform(0.1, 0.9))
    away = knobs.sign(0.5) * knobs.uniform(1.95, 2.3)
    other = knobs.chance(0.35) * _seen(ink, points - torch.cat((torch.zeros_like(away), away), dim=1))
    image = image * (1 - other[:, 3:]) + other[:, :3] * knobs.log_uniform(0.2, 1.5)
    away = knobs.sign(0.2) * knobs.uniform(1.25, 1.6)
    plate = _rectangle(points, 0.0, away, knobs.uniform(0.6, 1.0), knobs.uniform(0.15, 0.4))
    return _over(image, knobs.chance(0.25) * plate, knobs.log_uniform(0.2, 1.2))


def _over(image, cover, colour):
    return image + cover * (colour - image)


def _wear(sign, points, knobs):
    """Faded or dirty colours, and now and then a sticker."""
    colour, cover = sign[:, :3], sign[:, 3:]
    colour = _over(colour, 1 - knobs.uniform(0.55, 1.15), colour.mean(1, keepdim=True))
    for chance in (0.10, 0.08):
        sticker = _rectangle(
            points,
            knobs.uniform(-0.7, 0.7),
            knobs.uniform(-0.7, 0.7),
            knobs.uniform(0.05, 0.24),
            knobs.uniform(0.04, 0.13),
        )
        paint = knobs.colour((0.05, 0.05, 0.05), (0.95, 0.9, 0.9))
        colour = _over(colour, knobs.chance(chance) * sticker * cover, paint)
    return torch.cat((colour, cover), dim=1)


def _light(colour, pixels, textures, knobs):
    """How bright the sign is, from one side to the other; a shadow that falls on it; its tint."""
    gain = knobs.log_uniform(0.14, 2.2)
    gain = gain * (1 + knobs.normal(0.15) * pixels[0] + knobs.normal(0.15) * pixels[1])
    shade = _half_plane(
        pixels, knobs.uniform(-0.6, 0.6), textures[:, 2:] * knobs.uniform(0, 0.4), knobs.log_uniform(3, 30), knobs
    )
    shadow = 1 - knobs.chance(0.3) * knobs.uniform(0.2, 0.7) * shade
    warmth = knobs.normal(0.12)
    tint = torch.cat((warmth, knobs.normal(0.05), knobs.normal(0.08) - warmth), dim=1).exp()
    return colour * gain.clamp(min=0.02) * shadow * tint


def _camera(image, noise, knobs):
    """Haze and exposure, then a sensor of few pixels, its noise, and enlargement back to `size`."""
    size = image.shape[-1]
    haze = knobs.chance(0.4) * knobs.uniform(0, 0.35)
    image = _over(image, haze, knobs.colour((0.3, 0.3, 0.3), (0.9, 0.9, 1.0)))
    image = (image * knobs.log_uniform(0.7, 1.4)).clamp(0, 1)

    count = size * knobs.uniform(0.32, 1.0)[..., 0]  # pixels that the sensor has along one side
    blur = size / count * knobs.uniform(0.3, 0.7)[..., 0]
    down_x, down_y = (_sampling(size, count, blur + size / 36 * knobs.unit()[..., 0] ** 4) for _ in "xy")
    up = _enlargement(size, count)
    seen = _along_y(down_y, _along_x(down_x, image))
    level = knobs.log_uniform(0.002, 0.012) + knobs.log_uniform(0.002, 0.02) * seen.clamp(min=0).sqrt()
    seen = (seen + level * _normal(noise)).clamp(0, 1)
    return _along_y(up, _along_x(up, seen)).clamp(0, 1)


def _along_x(matrix, image):
    """Apply one (size, size) matrix per image to every row of its channels."""
    return (image.flatten(1, 2) @ matrix.mT).view_as(image)


def _along_y(matrix, image):
    """The same to every column."""
    n, channels, size, _ = image.shape
    columns = image.transpose(1, 2).reshape(n, size, channels * size)
    return (matrix @ columns).view(n, size, channels, size).transpose(1, 2)


def _sampling(size, count, blur):
    """Gaussian weights that take `count` evenly spread, blurred samples of `size` pixels: (n, size, size)."""
    index = torch.arange(size, device=count.device)
    centre = (index[:, None] + 0.5) * size / count - 0.5
    distance = (index[None, :] - centre.clamp(max=size - 0.5)) / blur
    weight = torch.exp(-0.5 * distance.clamp(-6, 6) ** 2)  # a longer tail is denormal numbers: slow
    return weight / weight.sum(-1, keepdim=True)


def _enlargement(size, count):
    """Bilinear interpolation from the first `count` samples back to `size`: (n, size, size)."""
    index = torch.arange(size, device=count.device)
    position = (index[:, None] + 0.5) * count / size - 0.5
    weight = (1 - (position.clamp(min=0) - index[None, :]).abs()).clamp(min=0)
    return weight / weight.sum(-1, keepdim=True)
