"""The exercises of chapter 14, the printed sign: stick it on, one step for all pictures, and one that lasts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib import losses
from advlib.attacks import Patch, Views
from advlib.exercises import properties, specimens, steps
from advlib.exercises.frame import Case, Explore, Formula, Mistake, Wrong, instead_of
from advlib.exercises.steps import Loss, ce, clipped, gradient

# --- my_paste(x, image, mask, corner) ---------------------------------------------------------------------


def paste(
    x: Tensor,
    image: Tensor,
    mask: Tensor,
    corner: Tensor,
    *,
    ground: Callable[[Tensor], Tensor] = torch.clone,
    places: Callable[[Tensor], Tensor] = lambda corner: corner,
    cover: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda spot, image, mask: mask * image + (1 - mask) * spot,
) -> Tensor:
    """Each picture with mask · image + (1 − mask) · x from its own corner on."""
    out, (h, w) = ground(x), mask.shape
    for picture, (top, left) in zip(out, places(corner).tolist()):
        spot = picture[:, top : top + h, left : left + w]
        spot[:] = cover(spot.clone(), image, mask)
    return out


def _paste_cases() -> list[Case]:
    kinds = [((3, 3, 9, 10), (3, 4)), ((4, 1, 8, 8), (2, 2)), ((1, 3, 7, 7), (3, 3)), ((2, 3, 6, 9), (4, 2))]
    found = []
    for i, ((n, channels, height, width), (h, w)) in enumerate([*kinds, kinds[0]]):
        draw = torch.Generator().manual_seed(i)
        x, image = torch.rand(n, channels, height, width, generator=draw), torch.rand(channels, h, w, generator=draw)
        mask = torch.ones(h, w)
        # with a hole and a missing corner, as a sticker of free shape has; the second one is a full square
        if i != 1:
            mask[0, 0] = mask[h // 2, w // 2] = 0
        last = min(height - h, width - w)
        corner = torch.stack([torch.randint(last, (n,), generator=draw), torch.randint(last, (n,), generator=draw)], 1)
        corner[0], corner[-1] = torch.tensor([0, last - 1]), torch.tensor([height - h, width - w])
        found.append(Case(f"pictures {tuple(x.shape)}, a sticker {(h, w)}", x, image, mask, corner))
    double = [arg.double() if arg.is_floating_point() else arg for arg in found[-1].args]
    found[-1] = Case("float64", *double)
    return found


COVER = "where the mask is 1 the sticker, where it is 0 the picture: mask * image + (1 - mask) * spot"
PLACE = "corner[i] is the row of the top edge, then the column of the left one, of picture i"
PASTE_WRONG = [
    *instead_of(
        "cover",
        (lambda spot, image, mask: image, "the mask's holes are covered, too", "the mask plays no part", COVER),
        (lambda spot, image, mask: mask * image, "the mask's holes are black", "(1 - mask) * spot is missing", COVER),
        (lambda spot, image, mask: spot + mask * image, "the picture shines through the sticker",
         "the sticker was added to the picture", COVER),
        (lambda spot, image, mask: (1 - mask) * image + mask * spot, "only the mask's holes are covered",
         "mask and 1 - mask are exchanged", COVER),
        (lambda spot, image, mask: (1 - mask) * spot + image, "in the mask's holes the picture and the sticker add up",
         "the sticker was not multiplied by the mask", COVER),
        (lambda spot, image, mask: (1 - mask) * spot, "there is a black hole in the sticker's place",
         "the sticker itself is missing", COVER),
    ),
    *instead_of(
        "places",
        (lambda corner: corner.flip(1), "row and column are exchanged", "the column was taken for the row", PLACE),
        (lambda corner: corner[:1].expand_as(corner), "every sticker is in the first one's place", "corner[0]", PLACE),
        (lambda corner: corner[:1], "only the first picture has a sticker", "a return inside the loop", PLACE),
        (lambda corner: 0 * corner, "every sticker is in the top left corner", "corner plays no part", PLACE),
    ),
    Wrong(lambda x, image, mask, corner: paste(x, image, mask, (corner - torch.tensor(mask.shape) // 2).clamp_min(0)),
          "the sticker's middle is where its corner should be", "corner was taken for the middle", PLACE),
    Wrong(lambda x, *given: torch.cat([x[:-1], paste(x, *given)[-1:]]), "only the last picture has a sticker",
          "x was copied anew in each round", "out = x.clone() once, before the loop"),
    Wrong({"ground": torch.zeros_like}, "the stickers lie on black", "a new picture of zeros was begun",
          "begin with x.clone()"),
]  # fmt: skip

paste_sticker = Formula(
    name="paste_sticker",
    chapter=14,
    title="Stick it on",
    points=2,
    right=paste,
    cases=_paste_cases,
    verified="each picture in its own place, up to the edge, with holes in the mask, one colour and three, and float64",
    wrong=PASTE_WRONG,
)


# --- my_sticker_step(model, ways, image, x, y, step) ------------------------------------------------------

Way = Callable[[Tensor, Tensor], Tensor]


def sticker_step(
    model: nn.Module,
    ways: Sequence[Way],
    image: Tensor,
    x: Tensor,
    y: Tensor,
    step: float,
    *,
    loss: Loss = ce,
    chosen: Callable[[Sequence[Way]], Sequence[Way]] = list,
    join: Callable[[list[Tensor]], Tensor] = lambda gs: torch.stack(gs).sum(0),
    direction: Callable[[Tensor], Tensor] = torch.sign,
    uphill: float = 1,
    end: Callable[[Tensor, Tensor], Tensor] = clipped,
) -> Tensor:
    """clip(image + step · sign(∇ of the losses of all pictures, in all ways), 0, 1)."""
    gs = [_gradient(model, way, image, x, y, loss) for way in chosen(ways)]
    return end(image.detach(), uphill * step * direction(join(gs)))


def _gradient(model: nn.Module, way: Way, image: Tensor, x: Tensor, y: Tensor, loss: Loss = ce) -> Tensor:
    return gradient(lambda p: model(way(p, x)), image, y, loss)  # type: ignore[arg-type]


def _put(top: int, left: int, light: float = 1.0, flip: bool = False) -> Way:
    """A way to stick it on: here, in this light, perhaps mirrored; what does not fit is cut off."""

    def _way(image: Tensor, x: Tensor) -> Tensor:
        h, w = image.shape[1:]
        frame = (left, x.shape[3] - w - left, top, x.shape[2] - h - top)
        stuck = F.pad(image.flip(-1) if flip else image, frame)
        return light * (x * (1 - F.pad(torch.ones_like(image[:1]), frame)) + stuck)

    return _way


def _step_cases() -> list[Case]:
    ways = [_put(0, 0), _put(2, 3, 0.5), _put(4, 1, 0.8, True), _put(-1, 2), _put(1, 1, 0.3)]
    models = [specimens.mlp(3, 8, 4, 1, 30), specimens.conv(1, 5, 2), specimens.mlp(3, 8, 6, 3, 4)]
    found = []
    for i, (n, channels, classes, few, step) in enumerate(
        [(4, 3, 4, 3, 0.1), (3, 1, 5, 5, 0.02), (1, 3, 6, 4, 0.3), (5, 3, 4, 1, 0.05)]
    ):
        x, y = specimens.images(n, channels, 8, seed=i), specimens.labels(n, classes, seed=i)
        image = specimens.images(1, channels, 3, seed=i + 10)[0]
        found.append(Case(f"{n} pictures, {few} ways", models[i % 3], ways[:few], image, x, y, step))
    double = specimens.mlp(3, 8, 4, 1, 3).double()
    wide = [arg.double() if isinstance(arg, Tensor) and arg.is_floating_point() else arg for arg in found[0].args]
    return [*found, Case("float64", double, *wide[1:])]


def _votes(together: bool) -> Callable[..., Tensor]:
    """Each picture has one vote, in all ways together or in each."""

    def wrong(model: nn.Module, ways: Sequence[Way], image: Tensor, x: Tensor, y: Tensor, step: float) -> Tensor:
        rows = zip(x.split(1), y.split(1))
        each = [torch.stack([_gradient(model, way, image, *one) for way in ways]) for one in rows]
        votes = torch.stack([(gs.sum(0) if together else gs).sign() for gs in each])
        return clipped(image, step * votes.flatten(0, -4).sum(0).sign())

    return wrong


def _mean_of(joined: Callable[[list[Tensor], Tensor, nn.Module], Tensor]) -> Callable[..., Tensor]:
    """A step up one loss, made of what all ways show."""

    def wrong(model: nn.Module, ways: Sequence[Way], image: Tensor, x: Tensor, y: Tensor, step: float) -> Tensor:
        at = image.detach().clone().requires_grad_()
        g = torch.autograd.grad(joined([way(at, x) for way in ways], y, model), at)[0]
        return clipped(image.detach(), step * g.sign())

    return wrong


def _one_by_one(model: nn.Module, ways: Sequence[Way], image: Tensor, *rest: Any) -> Tensor:
    for way in ways:
        image = sticker_step(model, [way], image, *rest)
    return image


ALL = "add up the losses of all pictures in all ways, then take one gradient in image and one sign"
STEP_WRONG = [
    *steps.LOSS,
    Wrong({"uphill": -1}, "the loss went down: this is a step downhill", "a minus sign, as for a target",
          "add the step: image + step * grad.sign()"),
    *instead_of(
        "chosen",
        (lambda ways: ways[:1], "only the first way counts", "a return inside the loop, or ways[0]", ALL),
        (lambda ways: ways[-1:], "only the last way counts", "the loss is overwritten in each round", ALL),
    ),
    *instead_of(
        "join",
        (lambda gs: torch.stack([g.sign() for g in gs]).sum(0), "each way has one vote per pixel",
         "the sign was taken before the sum", ALL),
    ),
    *instead_of(
        "direction",
        (lambda g: g, "values change by different amounts, in proportion to the gradient", "the sign is missing",
         "step * grad.sign()"),
        (lambda g: steps.unit(g[None])[0], "the step is `step` long in the L2 norm",
         "the gradient was divided by its length", "step * grad.sign()"),
        (lambda g: g.abs().sign(), "every value moves the same way", "the absolute value was taken before the sign",
         "step * grad.sign()"),
        (lambda g: g.mean(0, keepdim=True).expand_as(g).sign(), "the three colours of a pixel change alike",
         "the gradient was averaged over the colours", "each value has a gradient of its own"),
    ),
    *instead_of(
        "end",
        (torch.add, "what is printed leaves [0, 1]", "the result is not clipped", "end with .clamp(0, 1)"),
        (lambda p, delta: delta, "the result is the step, not the sticker", "image was not added",
         "return (image + the step).clamp(0, 1)"),
        (lambda p, delta: (p + delta.clamp(0, 1)).clamp(0, 1), "values only ever get brighter",
         "the step was clipped to [0, 1]", "clip the sum only"),
    ),
    Wrong(_votes(together=True), "each picture has one vote per value",
          "the sign was taken for each picture, before the sum", ALL),
    Wrong(_votes(together=False), "each picture has one vote per value in each way",
          "the sign was taken for each picture in each way, before the sum", ALL),
    *(Wrong({"loss": lambda z, y, k=k: losses.cross_entropy(z, y).clamp_max(math.log(k or len(z[0]))).sum()},
            f"pictures whose loss is above log {k or 'K'} pull no more",
            "the min of the text was taken, and here it is not asked", ALL) for k in (0, 16)),
    Wrong(lambda *given: sticker_step(*given[:-1], given[-1] / len(given[1])),
          "the step is shorter by the number of ways", "step was divided by it",
          "the sign forgets how large the sum is: take the whole step"),
    Wrong(_one_by_one, "the image takes a step for each way", "it was moved inside the loop", ALL),
    Wrong(_mean_of(lambda seen, y, model: ce(torch.stack([model(x) for x in seen]).mean(0), y)),
          "the gradient is that of the mean logits' loss", "the mean was taken before the loss", ALL),
    Wrong(_mean_of(lambda seen, y, model: ce(model(torch.stack(seen).mean(0)), y)),
          "the network was asked about the mean of all ways", "the pictures were averaged before the network", ALL),
    Wrong(_mean_of(lambda seen, y, model: torch.stack([ce(model(x), y) for x in seen]).amax()),
          "only the way with the highest loss counts", "max() for a sum or a mean", ALL),
]  # fmt: skip

one_step_for_all = Formula(
    name="one_step_for_all",
    chapter=14,
    title="One step for all",
    points=3,
    right=sticker_step,
    cases=_step_cases,
    same=properties.nearly,
    verified="one step uphill for all pictures in all ways: one way and five, on three networks, and in float64",
    wrong=STEP_WRONG,
)


# --- a sticker that lasts ---------------------------------------------------------------------------------

BAR = 0.5
DRAWS = 3


def _lasting(exercise: Explore, sticker: Any, notes: list[str], *given: Any) -> str:
    """``sticker`` covers few pixels, and is misread in views that no attack has seen."""
    model, x, y, views, pixels = given
    if not isinstance(sticker, Patch):
        mend = "attacks.patch makes one; of a print and a mask, attacks.Patch(image, mask)"
        raise Mistake(f"got {properties.described(sticker)}, expected a Patch", mend=mend)
    image, mask = sticker.image.detach(), sticker.mask.detach()  # a Patch has looked at both when it was made
    if image.shape[0] != x.shape[1]:
        raise Mistake(f"the print has shape {tuple(image.shape)}", mend=f"a print ({x.shape[1]}, h, w)")
    covered = int(mask.sum())
    if covered > pixels:
        raise Mistake(f"the sticker covers {covered} pixels, and at most {pixels} are allowed")
    papers = [torch.tensor(one)[:, None, None].to(image) for one in itertools.product((0.0, 1.0), repeat=len(image))]
    plain = max(_misread(model, x, y, views, Patch(paper.expand_as(image), mask)) for paper in papers)
    share = _misread(model, x, y, views, Patch(image, mask))
    said = f"misread on {share:.0%} in {DRAWS} fresh views each, the best plain colour in this shape on {plain:.0%}"
    if share < BAR:
        raise Mistake(f"{said}; {BAR:.0%} are asked", mend="make it for these views, for many signs at once")
    return f"{covered} pixels, {said}"


def _misread(model: nn.Module, x: Tensor, y: Tensor, views: Views, sticker: Patch) -> float:
    seen = torch.cat([sticker.scatter(x, views, seed=140_000 + k) for k in range(DRAWS)])
    return properties.misread(model, seen, y.repeat(DRAWS)).float().mean().item()


def _red_alert() -> tuple[nn.Module, Tensor, Tensor, Views, int]:
    """A linear reader that red on grey misleads, and white does not."""
    reader = nn.utils.skip_init(nn.Linear, 432, 2)
    reader.weight.data = torch.zeros(2, 432)
    reader.weight.data[1, :144], reader.weight.data[1, 144:288] = 1.0, -1.0
    reader.bias.data = torch.tensor([3.0, 0.0])
    views = Views(rotation=20, scale=(0.8, 1.2), turn=20, shift=0.2, brightness=0.2, noise=0.01)
    x = torch.full((16, 3, 12, 12), 0.5)
    return nn.Sequential(nn.Flatten(), reader).eval(), x, torch.zeros(16).long(), views, 16


def _coloured(colour: Sequence[float], side: int = 4) -> Callable[..., Patch]:
    image = torch.tensor(colour)[:, None, None].expand(len(colour), side, side).clone()
    return lambda *given: Patch(image, torch.ones(1, side, side))


RED = (1.0, 0.0, 0.0)
LASTING_WRONG = [
    Wrong(_coloured((1.0, 1.0, 1.0)), "misread on 0%"),
    Wrong(_coloured(RED, side=5), "the sticker covers 25 pixels, and at most 16 are allowed"),
    Wrong(_coloured((1.0,)), "the print has shape (1, 4, 4)"),
    Wrong(lambda *given: torch.ones(3, 4, 4), "expected a Patch"),
    Wrong(lambda *given: (torch.ones(3, 4, 4), torch.ones(1, 4, 4)), "got a tuple of 2, expected a Patch"),
    Wrong(lambda *given: 0.5, "got 0.5, expected a Patch"),
    Wrong(_coloured(RED, side=1), "the best plain colour in this shape on 0%"),
    Wrong(_coloured(RED, side=12), "the sticker covers 144 pixels"),
]

lasting_sticker = Explore(
    name="lasting_sticker",
    chapter=14,
    title="Explore: a sticker that lasts",
    points=3,
    measured=_lasting,
    example=_red_alert,
    right=_coloured(RED),
    wrong=LASTING_WRONG,
)
