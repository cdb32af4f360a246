"""The exercises of chapter 10, a few pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib.evaluate import predict
from advlib.exercises import properties, specimens
from advlib.exercises.frame import Case, Explore, Formula, Mistake, Wrong, instead_of
from advlib.norms import L0

# --- my_gains(x, g) ---------------------------------------------------------------------------------------


def gains(
    x: Tensor,
    g: Tensor,
    *,
    end: Callable[[Tensor, Tensor], Tensor] = lambda x, g: (g > 0).to(x),
    gain: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda x, g, end: g * (end - x),
    over: Callable[[Tensor], Tensor] = lambda each: each.sum(1),
) -> Tensor:
    """Σ over colours of max(g (1 − x), −g x), for each pixel."""
    return over(gain(x, g, end(x, g)))


def _gain_cases() -> list[Case]:
    kinds = [((3, 3, 4, 4), 1.0), ((2, 3, 5, 8), 1e-3), ((4, 1, 6, 6), 10.0), ((1, 3, 9, 7), 1.0), ((2, 3, 4, 4), 1.0)]
    found = []
    for i, (shape, scale) in enumerate(kinds):
        draw = torch.Generator().manual_seed(i)
        x = (1.4 * torch.rand(shape, generator=draw) - 0.2).clamp(0, 1)
        g = scale * torch.randn(shape, generator=draw)
        g[..., 0] = 0
        name = f"images {shape}"
        found.append(Case(f"{name}, float64", x.double(), g.double()) if i == 4 else Case(name, x, g))
    return found


FREE = "a value may go to 1 where g > 0, to 0 where g < 0: end = (g > 0).to(x)"
EARNED = "a value earns g times its way: g * (end - x)"
COLOURS = "the three colours of a pixel move together: add up what they earn, sum(1)"
GAINS_WRONG = [
    *instead_of(
        "end",
        (lambda x, g: torch.ones_like(x), "values that should fall have a negative gain",
         "every value is sent to 1", FREE),
        (lambda x, g: torch.zeros_like(x), "values that should rise have a negative gain",
         "every value is sent to 0", FREE),
        (lambda x, g: (g < 0).to(x), "the gains are negative", "the ends are exchanged", FREE),
        (lambda x, g: x + g.sign(), "the room that a value has plays no part",
         "|g| was added up, as if every value could move by 1", FREE),
        (lambda x, g: torch.where(x > 0.5, 0.0, 1.0).to(x), "each value goes to its farther end, whatever the gradient",
         "the direction was taken from x", FREE),
        (lambda x, g: torch.where(x > 0.5, 1.0, 0.0).to(x), "each value goes to its nearer end, whatever the gradient",
         "x was rounded", FREE),
    ),
    *instead_of(
        "gain",
        (lambda x, g, end: (end - x).abs() * (g != 0), "the gradient's size plays no part",
         "the way was ranked, not what it earns", EARNED),
        (lambda x, g, end: (end - x).abs(), "the gradient's size plays no part, nor where it is zero",
         "the way was taken, not what it earns", EARNED),
        (lambda x, g, end: g.abs() * torch.maximum(x, 1 - x), "every value earns as on the longer of its two ways",
         "the room was taken without the direction", FREE),
        (lambda x, g, end: g.square() * (end - x).abs(), "the gradient counts twice", "g was squared", EARNED),
        (lambda x, g, end: g * x, "this is the gradient times the image", "another saliency map", EARNED),
        (lambda x, g, end: g * end, "only values that should rise earn something, whatever they have already",
         "the image was not subtracted", EARNED),
        (lambda x, g, end: torch.maximum(g * (1 - x), g * x), "a value that falls has a negative gain",
         "g x for −g x: the minus is missing", EARNED),
        (lambda x, g, end: (g * (1 - x)).clamp_min(0), "values that should fall earn nothing",
         "only brighter was thought of", FREE),
        (lambda x, g, end: (-g * x).clamp_min(0), "values that should rise earn nothing", "only darker was thought of",
         FREE),
        (lambda x, g, end: g * (end - x).square(), "the way counts twice", "the way was squared", EARNED),
    ),
    *instead_of(
        "over",
        (lambda each: each, "each colour has a gain of its own", "the sum over the colours is missing", COLOURS),
        (lambda each: each.amax(1), "each pixel has the gain of its best colour", "amax over the colours", COLOURS),
        (lambda each: each.mean(1), "with three colours the gains are three times too small", "a mean over the colours",
         COLOURS),
        (lambda each: each[:, 0], "only the first colour counts", "[:, 0]", COLOURS),
        (lambda each: each.norm(dim=1), "the colours were put together like a length", "a norm over the colours",
         COLOURS),
        (lambda each: each.sum((1, 2, 3)), "there is one number for each image", "the sum is over the pixels, too",
         COLOURS),
        (lambda each: each.sum((2, 3)), "there is one number for each colour", "the sum is over the pixels", COLOURS),
        (lambda each: each.sum(1, keepdim=True), "the result has an axis of size 1 too many", "keepdim=True",
         "sum(1), shape (N, H, W)"),
    ),
    Wrong(lambda x, g: torch.maximum((g * (1 - x)).sum(1), (-g * x).sum(1)), "all colours of a pixel go the same way",
          "the sum was taken before the maximum", FREE),
]  # fmt: skip

pixel_gains = Formula(
    name="pixel_gains",
    chapter=10,
    title="What a pixel earns",
    points=2,
    right=gains,
    cases=_gain_cases,
    same=properties.to_scale,
    verified="the gain of every pixel, for one and three colours, pictures that are not square, and tiny gradients",
    wrong=GAINS_WRONG,
)


# --- my_corner(gains, h) ----------------------------------------------------------------------------------


def _sums(gains: Tensor, h: int) -> Tensor:
    return F.avg_pool2d(gains[:, None], h, stride=1)[:, 0]


def _side_by_side(gains: Tensor, h: int) -> Tensor:
    return F.avg_pool2d(gains[:, None], h)[:, 0]


def _split(where: Tensor, width: int) -> Tensor:
    return torch.stack([where // width, where % width], dim=1)


def corner(
    gains: Tensor,
    h: int,
    *,
    sums: Callable[[Tensor, int], Tensor] = _sums,
    best: Callable[[Tensor], Tensor] = lambda sums: sums.flatten(1).argmax(1),
    width: Callable[[Tensor, Tensor], int] = lambda sums, gains: sums.shape[2],
    end: Callable[[Tensor, int], Tensor] = lambda corner, h: corner,
) -> Tensor:
    """The top row and the left column of the h × h square with the largest sum, for each image."""
    each = sums(gains, h)
    return end(_split(best(each), width(each, gains)), h)


def _corner_cases() -> list[Case]:
    kinds = [((4, 7, 10), 3), ((5, 9, 6), 2), ((1, 8, 8), 4), ((3, 5, 5), 5), ((4, 6, 11), 1), ((3, 12, 9), 5)]
    found = []
    for i, (shape, h) in enumerate(kinds):
        # a few large gains and many small ones, as in a picture
        drawn = torch.rand(shape, generator=torch.Generator().manual_seed(i)) ** 4
        found.append(Case(f"gains {shape}, h = {h}", drawn.double() if i == 5 else drawn, h))
    return found


EACH, INDEX = "one square per image: flatten(1).argmax(1)", "divide by the number of columns of the *sums*, W − h + 1"
CORNER = "return the square's top row and left column, as they count from 0"
CORNER_WRONG = [
    *instead_of(
        "sums",
        (lambda g, h: g, "the square begins at the single best pixel", "the sums over squares are missing",
         "F.avg_pool2d(gains[:, None], h, stride=1)"),
        (lambda g, h: F.max_pool2d(g[:, None], h, stride=1)[:, 0], "the square is the first that holds the best pixel",
         "the maximum in each square was taken", "avg_pool2d, or a sum"),
        (lambda g, h: F.pad(_sums(g, h)[:, :-1, :-1], (0, 1, 0, 1), value=-1.0),
         "squares at the last row or column are never found", "range(H - h) ends one too early", "range(H - h + 1)"),
        (_side_by_side, "only squares side by side were looked at",
         "avg_pool2d moves on by h where no stride is given", "stride=1"),
        (lambda g, h: -_sums(g, h), "this is the square with the smallest sum", "argmin, or a minus", "argmax"),
        (lambda g, h: _sums(g.mean(0, keepdim=True).expand_as(g), h), "all images have the same square",
         "the gains were averaged over the batch", EACH),
        (lambda g, h: _sums(g, max(1, h - 1)), "the square is one too small", "h − 1", "h rows and h columns"),
        (lambda g, h: _sums(g, min(h + 1, *g.shape[1:])), "the square is one too large", "h + 1",
         "h rows and h columns"),
    ),
    *instead_of(
        "best",
        (lambda s: s.argmax().expand(len(s)), "all images have one square, and it may lie outside",
         "argmax of the whole batch", EACH),
        (lambda s: (s.argmax() % s[0].numel()).expand(len(s)), "all images have one square, the best of all",
         "argmax of the whole batch", EACH),
        (lambda s: s.flatten(1).argmax(1)[:1].expand(len(s)), "all images have the first one's square", "[0]", EACH),
    ),
    *instead_of(
        "width",
        (lambda s, g: g.shape[2], "row and column do not belong together", "divided by the picture's W", INDEX),
        (lambda s, g: s.shape[1], "on pictures that are not square, row and column do not belong together",
         "divided by the number of rows", INDEX),
        (lambda s, g: g.shape[1], "row and column do not belong together", "divided by the picture's H", INDEX),
    ),
    *instead_of(
        "end",
        (lambda c, h: c.flip(1), "row and column are exchanged", "the left column stands first", CORNER),
        (lambda c, h: c + h // 2, "this is the middle of the square", "half of h was added, or padding before the sums",
         CORNER),
        (lambda c, h: c + h - 1, "this is the square's last row and column", "h − 1 was added", CORNER),
        (lambda c, h: c + h, "this is where the square ends", "h was added", CORNER),
        (lambda c, h: c + 1, "row and column are one too large", "counted from 1", CORNER),
        (lambda c, h: c.float(), "the numbers are no whole numbers", "/ in place of //, or float()", "where // width"),
    ),
    Wrong(lambda g, h: torch.minimum(corner(g, h, sums=lambda g, h: g), torch.tensor(g.shape[1:]) - h),
          "the square begins at the single best pixel, or as near as it fits", "the sums over squares are missing",
          "F.avg_pool2d(gains[:, None], h, stride=1)"),
    Wrong(lambda g, h: torch.stack([g.sum(k).unfold(1, h, 1).sum(-1).argmax(1) for k in (2, 1)], 1),
          "the rows were chosen without the columns", "whole rows and whole columns were added up",
          "add up each square, then one argmax over all of them"),
    Wrong({"sums": _side_by_side, "end": lambda c, h: c * h}, "only every h-th row and column was looked at",
          "avg_pool2d moves on by h where no stride is given", "stride=1, and no factor h"),
]  # fmt: skip

sticker_corner = Formula(
    name="sticker_corner",
    chapter=10,
    title="Where to stick it",
    points=3,
    right=corner,
    cases=_corner_cases,
    verified="the best square of each image, for six sizes, wide and high pictures, h = 1, and a square that fills all",
    wrong=CORNER_WRONG,
)


# --- an image with fewer pixels changed than greedy changes -------------------------------------------------


def _fewer(
    exercise: Explore, image: Any, notes: list[str], model: nn.Module, one: Tensor, label: Tensor, limit: int
) -> str:
    """``image`` is misread and differs from ``one`` in at most ``limit`` pixels."""
    image = properties.images(image, one)
    changed = int(L0(1).size(image - one).item())
    reading, _ = predict(model, image.clamp(0, 1))
    found = []
    if changed > limit:
        seen = f"{changed} pixels changed, and at most {limit} are asked"
        values = int((image != one).sum())
        mend = "a change of 1e-6 counts, too: put back what need not change" if values > 3 * limit else ""
        found.append(Mistake(seen, mend=mend or "put back what is not needed, or choose each pixel by trying"))
    if bool((reading == label).all()):
        found.append(Mistake("the network still reads the sign rightly", mend="go on until another class is ahead"))
    if found:
        raise Mistake.all(found)
    return f"{changed} pixels changed, {limit} allowed, and the sign is misread"


def _dots() -> tuple[nn.Module, Tensor, Tensor, int]:
    """A linear reader that a bright row of pixels misleads: three are enough."""
    model = specimens.linear(3, 8, 2, seed=0)
    model[1].weight.data.zero_()
    model[1].weight.data.view(2, 3, 8, 8)[1, :, 2] = 1.0
    model[1].bias.data = torch.tensor([8.0, 0.0])
    return model, torch.full((1, 3, 8, 8), 0.1), torch.tensor([0]), 4


def _row(count: int, value: float = 1.0) -> Callable[..., Tensor]:
    def painted(model: nn.Module, one: Tensor, label: Tensor, limit: int) -> Tensor:
        image = one.clone()
        image[:, :, 2, :count] = value
        return image

    return painted


FEWER_WRONG = [
    Wrong(_row(1), "the network still reads the sign rightly"),
    Wrong(_row(6), "6 pixels changed, and at most 4 are asked"),
    Wrong(lambda model, one, label, limit: _row(4)(model, one, label, limit) + 1e-6, "pixels changed, and at most 4"),
    Wrong(lambda model, one, label, limit: (_row(4)(model, one, label, limit) + 1e-6).clamp(0, 1), "64 pixels changed"),
    Wrong(_row(4, 3.0), "pixels reach from 0.100 to 3.000"),
    Wrong(lambda model, one, label, limit: _row(4)(model, one, label, limit)[0], "the result has shape (3, 8, 8)"),
    Wrong(lambda model, one, label, limit: _row(4)(model, one, label, limit).numpy(), "got an object of type ndarray"),
    Wrong(lambda model, one, label, limit: 7, "got 7"),
]  # fmt: skip

fewer_pixels = Explore(
    name="fewer_pixels",
    chapter=10,
    title="Explore: fewer than greedy",
    points=3,
    measured=_fewer,
    example=_dots,
    right=_row(4),
    wrong=FEWER_WRONG,
)
