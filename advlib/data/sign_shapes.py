"""The German road signs as vector shapes: every outline is a signed distance, so any size is sharp.

Coordinates: a sign fills the square [-1, 1]², x to the right, y down. A *field* is the signed distance to one
shape, negative inside, at all points at once: points (…, 2), field (…). Glyphs are strokes of constant width
along lines and arcs, as in the lettering of real signs (DIN 1451), drawn here from coordinates of our own.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Point = tuple[float, float]
Layers = list[tuple[tuple[float, float, float], Tensor]]  # colour and field, from the back to the front

RED, BLUE, YELLOW = (0.70, 0.07, 0.09), (0.04, 0.22, 0.58), (0.93, 0.60, 0.04)
WHITE, BLACK = (0.93, 0.93, 0.92), (0.06, 0.06, 0.07)
CORNER = 1 / math.cos(math.pi / 8)  # of an octagon whose sides touch the square
OCTAGON = [(CORNER * math.cos(k * math.pi / 8), CORNER * math.sin(k * math.pi / 8)) for k in range(1, 16, 2)]
DIAMOND = [(0, -1), (1, 0), (0, 1), (-1, 0)]
TRIANGLE = [(0, -0.88), (1, 0.85), (-1, 0.85)]


@dataclass(frozen=True)
class Style:
    """What varies between signs of one meaning. The defaults are today's standard sign."""

    ring: float = 0.235  # width of a red ring, in radii of the sign
    height: float = 0.82  # of digits
    weight: float = 0.145  # stroke width / height of digits
    breadth: float = 1.0  # of digits, letters and arrows, relative to the standard
    bold: bool = False  # arrows with solid, heavy heads, as on older signs
    rim: float = 0.035  # the white edge around a coloured disc
    turn: float = 0.0  # of the roundabout's arrows, in degrees: not all are mounted upright


def styles(count: int) -> list[Style]:
    """`count` styles, the standard one first. The list is the same on every machine."""
    draw, made = random.Random(1451), [Style()]
    for k in range(1, count):
        made.append(
            Style(
                ring=draw.uniform(0.19, 0.27),
                height=draw.uniform(0.72, 0.90),
                bold=k % 2 == 1,
                weight=draw.uniform(0.11, 0.19),
                breadth=draw.uniform(0.88, 1.12),
                rim=draw.uniform(0.0, 0.07),
                turn=draw.uniform(-60, 60),
            )
        )
    return made


# -- signed distances ----------------------------------------------------------------------------------------


def disc(points: Tensor, radius: float, centre: Point = (0.0, 0.0)) -> Tensor:
    """A filled circle."""
    return (points - points.new_tensor(centre)).norm(dim=-1) - radius


def box(points: Tensor, half_width: float, half_height: float, centre: Point = (0.0, 0.0)) -> Tensor:
    """A filled rectangle."""
    beyond = (points - points.new_tensor(centre)).abs() - points.new_tensor((half_width, half_height))
    return beyond.clamp(min=0).norm(dim=-1) + beyond.amax(-1).clamp(max=0)


def polygon(points: Tensor, vertices: Sequence[Point]) -> Tensor:
    """The nearest edge, negative where a ray to the right crosses an odd number of edges."""
    a = points.new_tensor(vertices)
    b = a.roll(-1, 0)
    distance = _to_segments(points, a, b).amin(-1)
    x, y = points[..., None, 0], points[..., None, 1]
    straddles = (a[:, 1] > y) != (b[:, 1] > y)
    rise = torch.where(a[:, 1] == b[:, 1], torch.ones_like(a[:, 1]), b[:, 1] - a[:, 1])
    crossing = a[:, 0] + (y - a[:, 1]) / rise * (b[:, 0] - a[:, 0])
    inside = (straddles & (x < crossing)).sum(-1) % 2 == 1
    return torch.where(inside, -distance, distance)


def stroke(points: Tensor, path: Sequence[Point], width: float) -> Tensor:
    """A pen of `width` along `path`: round at the joints, cut flat at the two ends of an open path."""
    knots = points.new_tensor(path)
    field = _to_segments(points, knots[:-1], knots[1:]).amin(-1) - width / 2
    if math.dist(path[0], path[-1]) < 1e-9:
        return field
    for end, before in ((0, 1), (-1, -2)):
        local, outward = points - knots[end], knots[end] - knots[before]
        beyond = local @ (outward / outward.norm())
        cap = local.norm(dim=-1) < 0.75 * width  # only here, not where the path comes by again
        field = torch.where(cap, torch.maximum(field, beyond), field)
    return field


def _to_segments(points, a, b):
    """Distances (..., S) from every point to each of the S segments from `a` to `b`."""
    edge = b - a
    local = points[..., None, :] - a
    t = ((local * edge).sum(-1) / (edge * edge).sum(-1).clamp(min=1e-12)).clamp(0, 1)
    return (local - t[..., None] * edge).norm(dim=-1)


# -- glyphs --------------------------------------------------------------------------------------------------


def arc(cx: float, cy: float, rx: float, ry: float, start: float, stop: float) -> list[Point]:
    """Points on an ellipse from angle `start` to `stop` in degrees: 0 right, 90 down, 180 left, 270 up."""
    steps = max(3, round(abs(stop - start) / 12))
    angles = [math.radians(start + (stop - start) * k / steps) for k in range(steps + 1)]
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


def glyph(char: str, breadth: float, weight: float) -> list[list[Point]]:
    """The centre lines of a digit or letter, in a box of height 1 and width `breadth`."""
    left, right, top, base = weight / 2, breadth - weight / 2, weight / 2, 1 - weight / 2
    mid, half = breadth / 2, (breadth - weight) / 2
    upper, lower = (top + 0.48) / 2, (0.48 + base) / 2  # centres of the bowls of 3, 8 and S
    up, down = upper - top, base - lower  # and their half-heights
    bowl, tall = (0.38 + base) / 2, (base - 0.38) / 2  # the bowl of 5 and 6
    if char in "0O":
        ring = arc(mid, top + half, half, half, 180, 360) + arc(mid, base - half, half, half, 0, 180)
        return [ring + ring[:1]]
    return {
        "1": [[(right, 0.0), (right, 1.0)], [(0.0, 0.29), (right, 0.09)]],
        "2": [arc(mid, top + half, half, half, 185, 400) + [(left, base), (breadth, base)]],
        "3": [arc(mid, upper, 0.92 * half, up, 195, 450), arc(mid, lower, half, down, 270, 525)],
        "5": [[(0.94 * breadth, top), (left + 0.03, top), (left, 0.50), *arc(mid, bowl, half, tall, 215, 520)]],
        "6": [arc(mid, bowl, half, tall, 0, 360), arc(right, bowl, 2 * half, bowl, 180, 258)],
        "7": [
            [(0.0, top), (right, top), (mid + 0.35 * half, 0.38), (mid - 0.15 * half, 0.68), (mid - 0.35 * half, 1.0)]
        ],
        "8": [arc(mid, upper, 0.9 * half, up, 0, 360), arc(mid, lower, half, down, 0, 360)],
        "S": [arc(mid, upper, half, up, 345, 90) + arc(mid, lower, half, down, 270, 525)],
        "T": [[(0.0, top), (breadth, top)], [(mid, top), (mid, 1.0)]],
        "P": [
            [(left, 0.0), (left, 1.0)],
            [(left, top), (mid, top)] + arc(mid, 0.30, half, 0.30 - top, 270, 450) + [(left, 0.60)],
        ],
    }[char]


NARROW = {"1": 0.62, "T": 0.92, "S": 0.97}  # width, relative to other glyphs


def word(points: Tensor, text: str, height: float, breadth: float, weight: float, gap: float) -> Tensor:
    """`text` centred on the sign. `height` in radii of the sign; the rest relative to it."""
    widths = [breadth * NARROW.get(char, 1.0) for char in text]
    x = -(sum(widths) + gap * (len(text) - 1)) / 2
    local, field = points / height, []
    for char, width in zip(text, widths):
        here = local - local.new_tensor((x, -0.5))
        field += [stroke(here, path, weight) for path in glyph(char, width, weight)]
        x += width + gap
    return torch.stack(field).amin(0) * height


# -- signs ---------------------------------------------------------------------------------------------------


def speed_limit(points: Tensor, style: Style, text: str) -> Layers:
    """Black digits on white within a red ring: two wide digits, or three condensed ones."""
    breadth, gap = (0.60, 0.10) if len(text) == 2 else (0.44, 0.10)
    digits = word(points, text, style.height, breadth * style.breadth, style.weight, gap)
    return [
        (WHITE, disc(points, 1.0)),
        (RED, disc(points, 1.0 - style.rim)),
        (WHITE, disc(points, 1.0 - style.ring - style.rim)),
        (BLACK, digits),
    ]


def stop(points: Tensor, style: Style, _: None) -> Layers:
    """White letters on a red octagon."""
    letters = word(points, "STOP", 0.88 * style.height, 0.47 * style.breadth, 1.1 * style.weight, 0.11)
    edge = polygon(points, OCTAGON)
    return [(WHITE, edge), (RED, edge + 0.03 + style.rim), (WHITE, letters)]


def give_way(points: Tensor, style: Style, _: None) -> Layers:
    """A white triangle with a red edge, on its tip."""
    edge = polygon(points * points.new_tensor((1, -1)), TRIANGLE)
    return [(WHITE, edge), (RED, edge + 0.7 * style.rim), (WHITE, edge + 0.85 * style.ring)]


def no_entry(points: Tensor, style: Style, _: None) -> Layers:
    """A white bar on a red disc."""
    return [
        (WHITE, disc(points, 1.0)),
        (RED, disc(points, 1.0 - style.rim)),
        (WHITE, box(points, 0.78 * style.breadth**0.5, 0.8 * style.ring)),
    ]


def priority_road(points: Tensor, style: Style, _: None) -> Layers:
    """A yellow square with a white edge, on its corner."""
    edge = polygon(points, DIAMOND)
    return [
        (WHITE, edge),
        (BLACK, edge + style.rim),
        (WHITE, edge + style.rim + 0.03),
        (YELLOW, edge + 0.19 + 0.3 * style.ring),
    ]


def caution(points: Tensor, style: Style, _: None) -> Layers:
    """A black exclamation mark on a white triangle with a red edge."""
    edge = polygon(points, TRIANGLE)
    b = 0.085 + 0.2 * style.weight
    mark = torch.minimum(
        polygon(points, [(-b, -0.32), (b, -0.32), (0.5 * b, 0.36), (-0.5 * b, 0.36)]), disc(points, 0.09, (0, 0.54))
    )
    return [(WHITE, edge), (RED, edge + 0.7 * style.rim), (WHITE, edge + 0.85 * style.ring), (BLACK, mark - 0.01)]


def arrow(points: Tensor, style: Style, path: list[Point]) -> Tensor:
    """A shaft along `path` with a head at its last point: two barbs, or a solid triangle."""
    (x, y), (x0, y0) = path[-1], path[-2]
    length = math.hypot(x - x0, y - y0)
    ux, uy = (x - x0) / length, (y - y0) / length  # ahead; (-uy, ux) is to the side
    width = (0.25 if style.bold else 0.175) * style.breadth
    back, side = (0.46, 0.38) if style.bold else (0.36, 0.36)
    barbs = [(x - back * ux - s * side * uy, y - back * uy + s * side * ux) for s in (1, -1)]
    if style.bold:
        head, shaft = polygon(points, [(x, y), *barbs]), [*path[:-1], (x - 0.3 * ux, y - 0.3 * uy)]
    else:
        tip = (x - 0.09 * ux, y - 0.09 * uy)
        head, shaft = stroke(points, [barbs[0], tip, barbs[1]], 0.9 * width), [*path[:-1], tip]
    return torch.minimum(head, stroke(points, shaft, width))


def blue(points: Tensor, style: Style, field: Tensor) -> Layers:
    """A white shape on a blue disc."""
    return [(WHITE, disc(points, 1.0)), (BLUE, disc(points, 1.0 - style.rim)), (WHITE, field)]


def turn(points: Tensor, style: Style, side: int) -> Layers:
    """An arrow that bends to the right (`side` 1) or, as its mirror image, to the left (-1)."""
    bend = arc(0.02, 0.12, 0.35, 0.36, 195, 270)
    path = [(-0.33, 0.68), (-0.33, 0.12), *bend, (0.2, -0.24), (0.66, -0.24)]
    return blue(points, style, arrow(points * points.new_tensor((side, 1)), style, path))


def ahead(points: Tensor, style: Style, _: None) -> Layers:
    """An arrow straight up."""
    return blue(points, style, arrow(points, style, [(0, 0.72), (0, 0), (0, -0.72)]))


def roundabout(points: Tensor, style: Style, _: None) -> Layers:
    """Three arrows that chase each other anticlockwise."""
    arrows = []
    for angle in (style.turn, style.turn + 120, style.turn + 240):
        tip = math.radians(angle - 76)
        path = arc(0, 0, 0.70, 0.70, angle + 25, angle - 48) + [(0.62 * math.cos(tip), 0.62 * math.sin(tip))]
        arrows.append(arrow(points * 1.2, style, path) / 1.2)
    return blue(points, style, torch.stack(arrows).amin(0))


def picture(
    shape: Callable[[Tensor, Style, object], Layers], argument: object, size: int, style: Style = Style()
) -> Tensor:
    """One sign as RGBA (4, size, size), float64 in [0, 1], transparent around it, colours premultiplied by alpha.

    >>> picture(stop, None, size=32)[3].mean() > 0.8          # an octagon covers most of its square
    tensor(True)
    """
    axis = (torch.arange(size, dtype=torch.float64) + 0.5) * (2.0 / size) - 1.0
    points = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)
    canvas = torch.zeros(4, size, size, dtype=torch.float64)
    for colour, field in shape(points, style, argument):
        cover = (0.5 - field * size / 2).clamp(0, 1)
        canvas = canvas * (1 - cover) + cover * canvas.new_tensor((*colour, 1.0))[:, None, None]
    return canvas
