"""The exercises of chapter 23, ImageNet: pictures that outlive the file they are saved in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from advlib.contract import frozen
from advlib.data.photos import into_box, to_8bit, to_jpeg
from advlib.evaluate import predict
from advlib.exercises import derived, properties, specimens
from advlib.exercises.frame import Case, Explore, Formula, Mistake, Wrong

# --- my_to_file(x_adv, x, eps) ---------------------------------------------------------------------------


def limited(change: Tensor, eps: float) -> Tensor:
    """Changes in levels, cut to the whole ones that fit into ε."""
    return change.clamp(-int(eps * 255 + 1e-3), int(eps * 255 + 1e-3))


def on_levels(
    x_adv: Tensor,
    x: Tensor,
    eps: float,
    *,
    levels: Callable[[Tensor, Tensor], Tensor] = lambda x_adv, x: ((x_adv - x) * 255).round(),
    limit: Callable[[Tensor, float], Tensor] = limited,
    end: Callable[[Tensor, Tensor], Tensor] = lambda result, x: result,
) -> Tensor:
    """x plus the change in whole levels, as many as fit into ε."""
    return end((x + limit(levels(x_adv, x), eps) / 255).clamp(0, 1), x)


def _whole_image(x_adv: Tensor, x: Tensor, eps: float) -> Tensor:
    change = (x_adv - x) * 255
    inside = (change.round().abs() <= eps * 255 + 1e-3).flatten(1).all(1).view(-1, 1, 1, 1)
    towards_x = (change.abs() + 1e-3).floor() * change.sign()
    return (x + torch.where(inside, change.round(), towards_x) / 255).clamp(0, 1)


def _without_slack(x_adv: Tensor, x: Tensor, eps: float) -> Tensor:
    low, high = ((x - eps) * 255).ceil(), ((x + eps) * 255).floor()
    return torch.clamp((x_adv * 255).round(), low, high).clamp(0, 255) / 255


def _files() -> list[Case]:
    """Pixels that never lie halfway between two levels, at ε of whole levels and of others."""
    found = []
    # The last is a whole number of levels that comes out a little below: 33 * (1 / 255) * 255 is 32.99999…
    plans = (((4, 1, 6), 2.7), ((3, 3, 12), 2.0), ((1, 3, 8), 0.6), ((2, 1, 8), 4.4), ((2, 1, 8), 33 * (1 / 255) * 255))
    for i, (shape, eps) in enumerate(plans):
        x = to_8bit(specimens.images(*shape, seed=i))
        drawn = torch.rand(x.shape, generator=torch.Generator().manual_seed(i), dtype=torch.float64)
        change = (3 * eps * (drawn - 0.5)).clamp(-eps, eps)
        off = change.frac().abs()
        change = torch.where((off - 0.5).abs() < 0.05, change - 0.1 * change.sign(), change).to(x)
        case = Case(f"images at ε = {eps:g}/255", (x + change / 255).clamp(0, 1), x, eps / 255)
        found.append(case)
    x_adv, x, eps = (value.double() if isinstance(value, Tensor) else value for value in found[0].args)
    return [*found, Case("float64", x_adv, (x * 255).round() / 255, eps)]


def _levels(case: Case, result: Tensor, right: Tensor) -> None:
    """The file's and the ball's demands, one after the other."""
    x_adv, x, eps = case.args
    change = (result - x).double() * 255
    if (off := (change - change.round()).abs().max().item()) > 0.01:
        raise Mistake(f"on {case.name}, a pixel lies {off:.2f} of a level beside the nearest level", mend="round last")
    if (largest := change.abs().max().item()) > eps * 255 + 0.01:
        raise Mistake(f"on {case.name}, a pixel changed by {largest:.0f} levels, but ε is {eps * 255:g}")
    nearer = ((result - x_adv).abs() > (right - x_adv).abs() + 1e-4).float().mean().item()
    raise Mistake(f"on {case.name}, {nearer:.0%} of the pixels could be nearer to x_adv and still inside the ball")


WHOLE = "keep to the whole levels that fit into ε: int(eps * 255 + 1e-3) of them"
TO_FILE_WRONG = [
    Wrong({"limit": lambda change, eps: change}, "pixels change by more than ε where it is no whole number of levels",
          "rounding to the nearest level steps out of the ball, and nothing, or a wider limit, takes it back", WHOLE),
    Wrong({"limit": lambda change, eps: change.clamp(-eps * 255, eps * 255)},
          "pixels lie between two levels where ε is no whole number of them",
          "clipped to the ball after rounding: its edge is no level", WHOLE),
    Wrong({"limit": lambda change, eps: change.clamp(-eps, eps)}, "pixels change by a fraction of a level at most",
          "levels, 0 to 255, were clipped to ε in pixel units", "in levels, ε is eps * 255"),
    Wrong({"limit": lambda change, eps: change.clamp(-int(eps * 255), int(eps * 255))},
          "an ε of 33 levels counts as one of 32", "33 * (1 / 255) * 255 is 32.99999…, and int() cuts that off",
          "add a tiny number first: int(eps * 255 + 1e-3)"),
    Wrong({"limit": lambda change, eps: change * (change.abs() <= eps * 255 + 1e-3)},
          "pixels whose nearest level is outside of the ball come back as they were",
          "x was put in the place of what is outside", "take the last level inside: " + WHOLE),
    Wrong({"levels": lambda x_adv, x: (x_adv - x) * 255}, "pixels lie between two levels", "the round() is missing",
          "a file holds whole levels: ((x_adv - x) * 255).round()"),
    Wrong({"levels": lambda x_adv, x: ((x_adv - x) * 255).trunc()},
          "pixels could be nearer to x_adv: each change was cut off towards zero",
          "int(), trunc() or byte() drop the fraction", "use .round()"),
    Wrong({"levels": lambda x_adv, x: (x_adv * 255).floor() - x * 255},
          "pixels could be nearer to x_adv: the picture's levels are rounded down", "int(), byte() or floor()",
          "use .round()"),
    Wrong({"levels": lambda x_adv, x: (x_adv - x).round()}, "the result is x itself",
          "the change is rounded away, or never added", "multiply by 255 before rounding"),
    Wrong({"end": lambda result, x: result * 255}, "pixels reach 255", "the levels 0 to 255 are returned",
          "divide by 255 at the end"),
    Wrong({"end": lambda result, x: (result * 255).round().byte()}, "the result is torch.uint8",
          "the levels 0 to 255 are returned as they stand in the file", "divide by 255 at the end"),
    Wrong({"levels": lambda x_adv, x: (x_adv * 255).floor() - x * 255, "limit": lambda change, eps: change},
          "the levels are those below x_adv, some of them outside of the ball",
          "int(), byte() or floor() drop the fraction, and the ball is not kept",
          "round, and limit the change: int(eps * 255 + 1e-3) levels"),
    Wrong(_whole_image, "where one pixel leaves the ball, all pixels of its image are cut off towards x",
          "the image was judged as a whole", "each pixel has its own nearest level: clamp the change of each"),
    Wrong(_without_slack, "where ε is a whole number of levels, some pixels do not reach the last of them",
          "(x + eps) * 255 may come out as 101.99999, and floor() makes 101 of it",
          "add a tiny number before rounding down, and take one off before rounding up"),
    Wrong(lambda x_adv, x, eps: torch.clamp(x_adv, x - eps, x + eps), "the result is x_adv itself",
          "nothing is rounded", "a file holds whole levels: round in units of 1/255"),
    Wrong(lambda x_adv, x, eps: (x_adv * 255).round() / 256, "the picture got darker by a 256th",
          "rounded in units of 1/255, and divided by 256", "use 255 both times"),
    *(Wrong({"levels": levels}, *words, "use .round()") for levels, *words in [
        (lambda x_adv, x: (x_adv * 255).ceil() - x * 255, "the picture's levels are rounded up", "ceil()"),
        (lambda x_adv, x: ((x_adv - x) * 255).abs().ceil() * (x_adv - x).sign(), "each change is rounded away from x",
         "ceil()"),
    ]),
    Wrong({"levels": lambda x_adv, x: ((x_adv - x) * 255).round() % 256}, "pixels that should get darker get brighter",
          "the change was made uint8, in which −1 is 255", "keep the change in floats"),
    Wrong({"limit": lambda change, eps: (change * (int(eps * 255 + 1e-3) / change.abs().amax((1, 2, 3), keepdim=True)
           .clamp_min(1)).clamp_max(1)).trunc()}, "one pixel that leaves the ball shrinks the change of its image",
          "scaled instead of clipped", "clip each pixel's change by itself: " + WHOLE),
    Wrong({"limit": lambda change, eps: limited(change, eps).clamp_min(0)}, "no pixel gets darker", "clamped at 0",
          WHOLE),
    Wrong(lambda x_adv, x, eps: (x + limited(((x_adv - x) * 256).round(), eps * 256 / 255) / 256).clamp(0, 1),
          "changes are multiples of 1/256", "256 instead of 255", "use 255 in all places"),
    Wrong(lambda x_adv, x, eps: (x_adv * 256).round() / 256, "pixels lie on 257 levels", "256 instead of 255",
          "use 255 both times"),
]  # fmt: skip

to_file = Formula(
    name="to_file",
    chapter=23,
    title="Into a file",
    points=2,
    right=on_levels,
    cases=_files,
    properties=[properties.like, properties.inside_box, _levels],
    by_hand=["to_8bit_within"],
    allowed=["advlib.norms"],
    verified="256 levels, inside the ball, and none nearer: for ε of 0.6 to 33 levels, float32 and float64",
    wrong=TO_FILE_WRONG,
)


# --- my_straight_through(f, x) ---------------------------------------------------------------------------


def straight(f: Callable[[Tensor], Tensor], x: Tensor, *, end: Callable = lambda result: result) -> Tensor:
    """f(x) forwards, x backwards."""
    return end(x + (f(x.detach()) - x).detach())


def _functions() -> list[Case]:
    functions = {
        "a function with a gradient of its own": lambda z: z**3,
        "rounding": lambda z: (z * 7).round() / 7,
        "values that leave [0, 1]": lambda z: (3 * z).round() - 1,
        "JPEG": lambda z: to_jpeg(z, 60),
        "a function of NumPy": lambda z: torch.from_numpy(z.numpy() ** 2),
    }
    shapes = [(2, 1, 4), (1, 3, 8), (2, 1, 4), (2, 3, 16), (2, 3, 8)]
    inputs = [specimens.images(*shape, seed=3) for shape in shapes]
    cases = [Case(name, f, x.requires_grad_()) for (name, f), x in zip(functions.items(), inputs, strict=True)]
    return [*cases, Case("float64", functions["rounding"], inputs[1].detach().double().requires_grad_())]


OUTSIDE = "x + (f(x.detach()) - x).detach(): one x stands outside of detach()"
STRAIGHT_THROUGH_WRONG = [
    Wrong(lambda f, x: f(x.detach()), "no gradient reaches x", "f(x) alone, or all of the sum, was detached", OUTSIDE),
    Wrong(lambda f, x: f(x), "the gradient is that of f, zero for a rounding", "f(x) stands outside of detach()",
          OUTSIDE),
    Wrong(lambda f, x: x.clone(), "value and gradient are those of x", "f is not applied, or f(x) cancels out",
          OUTSIDE),
    Wrong(lambda f, x: x + (f(x) - x), "the gradient is that of f, for the two x cancel", "nothing was detached",
          OUTSIDE),
    Wrong(lambda f, x: x + (f(x.detach()) - x), "the gradient is zero",
          "the two x cancel, or the result is a new leaf, with requires_grad_()", OUTSIDE),
    Wrong(lambda f, x: x + (f(x).detach() - x),
          "the gradient is zero: the two x cancel, and f was given a tensor that records gradients",
          "only f(x) was detached, not the x that is taken off", OUTSIDE),
    Wrong(lambda f, x: f(x) + x - x.detach(), "the gradient is that of x plus that of f", "f(x) was not detached",
          OUTSIDE),
    Wrong(lambda f, x: x + (f(x) - x).detach(), "NumPy refuses the x that f is given: it records gradients",
          "detach() comes after f", "f(x.detach()): detach before and after"),
    Wrong(lambda f, x: f(x) + (x - f(x)).detach(), "the value is x, and the gradient is that of f",
          "the sides are swapped: f(x) stands outside of detach()", OUTSIDE),
    Wrong(lambda f, x: f(x.detach()) + (x - f(x.detach())).detach(), "the value is x, and no gradient reaches it",
          "the sides are swapped: f(x) stands outside of the last detach()", OUTSIDE),
    Wrong(lambda f, x: x.detach() + (f(x) - x), "the gradient is that of f minus that of x",
          "detach() stands at the other x", OUTSIDE),
    Wrong(lambda f, x: x.detach() + (f(x.detach()) - x), "the gradient has the wrong sign: it is that of −x",
          "detach() stands at the other x", OUTSIDE),
    Wrong(lambda f, x: x - (f(x.detach()) - x).detach(), "the value is 2x − f(x)",
          "the correction was taken off, or it is x − f(x)", "add f(x) − x"),
    Wrong(lambda f, x: x + f(x.detach()).detach(), "the value is x + f(x)", "x was not taken off again", OUTSIDE),
    Wrong({"end": lambda result: result.clamp(0, 1)}, "values outside of [0, 1] are cut off", "a clamp at the end",
          "forwards it is f(x), and nothing else"),
    Wrong({"end": lambda result: result.float()}, "the result is float32 where x is float64",
          "a conversion in the code", "compute in the type of x"),
    *(Wrong(lambda f, x, k=k: k * x + (f(x.detach()) - k * x).detach(),
           f"the value is f(x), but the gradient is {k:g} times that of x",
            f"{k:g} · x stands outside of detach()", OUTSIDE) for k in (2, 0.5)),
    Wrong(lambda f, x: (x + f(x.detach())) / 2, "the value is the mean of x and f(x)", "half of each was added",
          OUTSIDE),
    Wrong(lambda f, x: f(x.detach()) + (x - x.detach()) * ((x > 0) & (x < 1)), "where x is 0 or 1, no gradient passes",
          "the way back was cut at the ends of [0, 1]", "let the gradient through everywhere: " + OUTSIDE),
    Wrong(lambda f, x: x * (f(x.detach()) / x.detach()), "the gradient is multiplied by f(x) / x, NaN where x is 0",
          "a factor was detached instead of a difference", OUTSIDE),
    Wrong(lambda f, x: x * (f(x.detach()) / x.clamp_min(1e-8)).detach(), "the gradient is multiplied by f(x) / x",
          "a factor was detached instead of a difference", OUTSIDE),
]  # fmt: skip

straight_through = Formula(
    name="straight_through",
    chapter=23,
    title="Straight through",
    points=3,
    right=straight,
    cases=_functions,
    outcome=derived.with_gradient(1),
    kind=derived.kind("f(x), with the gradient of x"),
    properties=[derived.which("x")],
    allowed=["advlib.exercises.imagenet", "advlib.data.photos"],
    verified="the value of f and the gradient of x: for a smooth function, rounding, JPEG and NumPy",
    wrong=STRAIGHT_THROUGH_WRONG,
)


# --- a picture that survives -----------------------------------------------------------------------------

EPS = 4  # levels
PNG = "as an 8-bit PNG"
HANDLING = {
    PNG: lambda x: x,
    "as a JPEG of quality 95": lambda x: to_jpeg(x, 95),
    "as a JPEG of quality 85": lambda x: to_jpeg(x, 85),
    "as a JPEG of quality 75": lambda x: to_jpeg(x, 75),
    "made smaller by a seventh and larger again": lambda x: shrunk(x, 6 / 7),
}


def shrunk(x: Tensor, share: float) -> Tensor:
    """The images made smaller, and as large as before again."""
    resize = {"mode": "bilinear", "antialias": True, "align_corners": False}
    small = [round(share * side) for side in x.shape[2:]]
    return into_box(F.interpolate(F.interpolate(x, small, **resize), x.shape[2:], **resize))


def _survives(exercise: Explore, x_adv: Any, notes: list[str], model: nn.Module, x: Tensor, target: Any) -> str:
    """``x_adv`` is within 4/255 of the photo ``x`` and read as ``target`` however the file was handled."""
    if target is None or target is ...:
        raise Mistake("there is no target yet", mend="set my_target to the number of the class you aimed for")
    aim = properties.number(target, "my_target")
    x = x.to(next(model.parameters(), x).dtype)
    x_adv = properties.images(x_adv.to(x) if isinstance(x_adv, Tensor) and x_adv.is_floating_point() else x_adv, x)
    found = []
    if (largest := (x_adv - x).abs().max().item() * 255) > EPS + 0.01:
        found.append(Mistake(f"a pixel changed by {largest:.1f} levels, but {EPS}/255 is the limit"))
    with frozen(model):
        if (predict(model, x)[0] == aim).any():
            raise Mistake(f"the clean photo is read as class {aim:g} already", mend="choose another target")
        read = {name: predict(model, handle(to_8bit(x_adv)))[0] for name, handle in HANDLING.items()}
    lost = [f"{name} (read as class {label[0]})" for name, label in read.items() if (label != aim).any()]
    if len(lost) == len(HANDLING):
        found.append(Mistake(f"even in a lossless file it is read as class {read[PNG][0]}, not {aim:g}"))
    elif lost:
        seen = f"it survives {len(HANDLING) - len(lost)} of {len(HANDLING)}, and is lost {', '.join(lost)}"
        mend = "let each step of the attack meet such handling; then take more steps, or another target"
        found.append(Mistake(seen, mend=mend))
    if found:
        raise Mistake.all(found)
    return f"within {largest:.0f}/255, and read as the target {', '.join(HANDLING)}"


def _grey() -> tuple[nn.Module, Tensor, int]:
    return specimens.Contrast(), torch.full((1, 3, 28, 28), 127 / 255), 1


def _halves(model: nn.Module, x: Tensor, target: int, levels: float = 4) -> Tensor:
    return x + levels / 255 * torch.ones(28).index_fill(0, torch.arange(14, 28), -1)


def _stripes(model: nn.Module, x: Tensor, target: int) -> Tensor:
    return x + 4 / 255 * torch.tensor([1.0, -1.0]).repeat(14)


SURVIVOR_WRONG = [
    Wrong(lambda *given: _halves(*given, levels=8), "a pixel changed by 8.0 levels, but 4/255 is the limit"),
    Wrong(lambda *given: _halves(*given) + 4, "pixels reach from 4.482 to 4.514, but an image lies in [0, 1]"),
    Wrong(lambda *given: given[1].clone(), "even in a lossless file it is read as class 0, not 1"),
    Wrong(_stripes, "it survives 4 of 5, and is lost made smaller by a seventh and larger again"),
    Wrong(lambda *given: _halves(*given) - given[1], "pixels reach from -0.016 to 0.016, but an image lies in [0, 1]"),
    Wrong(lambda *given: _halves(*given)[0], "the result has shape (3, 28, 28), expected (1, 3, 28, 28)"),
    Wrong(lambda *given: _halves(*given).numpy(), "got an object of type ndarray, expected a tensor"),
    Wrong(lambda *given: (_halves(*given) * 255).round().byte(), "the result is torch.uint8"),
    Wrong(lambda *given: given[1] * torch.nan, "values are NaN or infinite"),
]  # fmt: skip

survivor = Explore(
    name="survivor",
    chapter=23,
    title="Explore: a picture that survives",
    points=3,
    measured=_survives,
    example=_grey,
    right=_halves,
    wrong=SURVIVOR_WRONG,
)
