"""Checkers for the chapter on ImageNet: pictures that outlive the file they are saved in."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from advlib import contract
from advlib.data.photos import into_box, to_8bit, to_jpeg
from advlib.evaluate import predict
from advlib.exercises import expect, specimens
from advlib.exercises.frame import Attempt, Mistake, checks_function, checks_value

# --- my_to_file(x_adv, x, eps) ---------------------------------------------------------------------------


@checks_function
def to_file(attempt: Attempt) -> str:
    """``my_to_file(x_adv, x, eps)`` is the picture of 256 levels nearest to x_adv that is within ε of x."""
    for channels, size, levels in ((3, 24, 2.7), (1, 16, 2.0), (3, 12, 4.4), (3, 9, 0.6)):
        x = to_8bit(specimens.images(4, channels, size, seed=size))
        eps = levels / 255
        noise = 2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(size)) - 1
        x_adv = (x + (1.5 * eps * noise).clamp(-eps, eps)).clamp(0, 1)
        given = x_adv.clone()
        result = attempt(x_adv, x, eps)
        if not torch.equal(x_adv, given):
            raise Mistake("the caller's x_adv was changed", "an operation in place: clamp_, round_ …", "work on a copy")
        if isinstance(result, Tensor) and not result.is_floating_point():
            raise Mistake(
                f"the result is {result.dtype}, expected pixels in [0, 1]",
                "the levels 0 to 255 are returned as they stand in the file",
                "divide by 255 at the end",
            )
        expect.image_batch(result, x)
        _judge_levels(result, x_adv, x, levels)
    return "256 levels, inside the ball, and none nearer: for ε of 0.6, 2, 2.7 and 4.4 levels"


def _judge_levels(result: Tensor, x_adv: Tensor, x: Tensor, eps: float) -> None:
    """One result against the only right one; here all sizes count in levels, 1/255."""
    most = int(eps + 1e-3)
    wanted = ((x_adv - x) * 255).round().clamp(-most, most)
    got = (result - x) * 255
    if (got - wanted).abs().max() < 1e-2:
        return
    if result.max() > 1.5:
        raise Mistake(
            f"pixels reach {result.max().item():.0f}", "the levels 0 to 255 are returned", "divide by 255 at the end"
        )
    if torch.equal(result, x_adv):
        raise Mistake(
            "the result is x_adv itself", "nothing is rounded", "a file holds whole levels: round in units of 1/255"
        )
    off = (got - got.round()).abs().max().item()
    if off > 1e-2:
        if torch.allclose(result, (x_adv * 256).round() / 256, atol=1e-4):
            raise Mistake(
                "the pixels are multiples of 1/256", "256 levels have 255 steps between them", "use 255 both times"
            )
        raise Mistake(
            f"a pixel lies {off:.2f} of a level beside the nearest one",
            "clipped to the ball after rounding: where ε is no whole number of levels, its edge is none",
            "keep to the whole levels that fit into ε: int(eps * 255 + 1e-3) of them",
        )
    largest = got.abs().max().item()
    if largest > eps + 1e-2:
        raise Mistake(
            f"a pixel changed by {largest:.0f} levels, but ε is {eps:g}",
            "rounding to the nearest level steps out of the ball where ε is no whole number of levels",
            "limit the rounded change to the whole levels that fit into ε",
        )
    if torch.equal(result, x):
        raise Mistake("the result is x itself", "the change was rounded away", "round x_adv, not eps")
    for wrong, cause in (
        ((x_adv * 255 + 1e-3).floor() - x * 255, "cut off instead of rounded: .byte() and int() drop the fraction"),
        (((x_adv - x) * 255).trunc(), "the change was cut off towards zero"),
    ):
        if (got - wanted).abs().max() > 0.5 and (got - wrong).abs().max() < 1e-2:
            raise Mistake(
                f"{(got - wanted).abs().gt(0.5).float().mean().item():.0%} of the pixels could be nearer to x_adv",
                cause,
                "use .round()",
            )
    raise Mistake(
        f"{(got - wanted).abs().gt(0.5).float().mean().item():.0%} of the pixels could be nearer to x_adv",
        "more was taken off than the ball asks for",
        "round first, then limit the change to the whole levels that fit into ε",
    )


# --- my_straight_through(f, x) ---------------------------------------------------------------------------


@checks_function
def straight_through(attempt: Attempt) -> str:
    """``my_straight_through(f, x)`` has the value f(x) and, where it is differentiated, the gradient of x."""
    functions = {
        "rounding": lambda z: (z * 7).round() / 7,
        "JPEG": lambda z: to_jpeg(z, 60),
        "a function with a gradient of its own": lambda z: z**3,
        "a function of NumPy": lambda z: torch.from_numpy(z.numpy() ** 2),
    }
    for name, f in functions.items():
        x = specimens.images(2, 3, 16, seed=3).requires_grad_()
        before = x.detach().clone()
        weights = torch.rand(x.shape, generator=torch.Generator().manual_seed(4)) + 0.5
        result = attempt(f, x)
        if not torch.equal(x.detach(), before):
            raise Mistake("x was changed", "an operation in place", "compute a new tensor")
        expect.image_batch(result, x)
        value = f(before)
        if not torch.allclose(result, value, atol=1e-5):
            cause = "f is not applied" if torch.allclose(result, before, atol=1e-5) else "something is added to f(x)"
            raise Mistake(f"with {name}, the value is not f(x)", cause, "forwards it is f(x), and nothing else")
        _judge_gradient(name, result, weights, x)
    return "the value of f and the gradient of x: for rounding, JPEG, a smooth function and one of NumPy"


def _judge_gradient(name: str, result: Tensor, weights: Tensor, x: Tensor) -> None:
    if not result.requires_grad:
        raise Mistake(
            f"with {name}, the result records no gradient",
            "f cuts the graph, or all of it was detached",
            "x itself has to take part, outside of detach()",
        )
    (grad,) = torch.autograd.grad((weights * result).sum(), x, allow_unused=True)
    if grad is None or not grad.any():
        raise Mistake(
            f"with {name}, the gradient is zero",
            "a step function's slope came through, or x cancels: x + f(x) - x has f's gradient",
            "detach what x is corrected by: x + (…).detach()",
        )
    if not torch.allclose(grad, weights, atol=1e-5):
        raise Mistake(
            f"with {name}, the gradient is {(grad / weights).mean().item():.2g} times what it should be, on average",
            "f's own gradient is in it",
            "detach f(x) and the x that is taken off, and let one x through",
        )


# --- a picture that survives -----------------------------------------------------------------------------

EPS = 4  # levels
HANDLING = {
    "as an 8-bit PNG": lambda x: x,
    "as a JPEG of quality 95": lambda x: to_jpeg(x, 95),
    "as a JPEG of quality 85": lambda x: to_jpeg(x, 85),
    "as a JPEG of quality 75": lambda x: to_jpeg(x, 75),
    "made smaller by a seventh and larger again": lambda x: shrunk(x, 6 / 7),
}


@checks_value
def survivor(x_adv: Tensor, model: nn.Module, x: Tensor, target: int | None) -> str:
    """``x_adv`` is within 4/255 of the photo ``x`` and read as ``target`` however the file was handled."""
    if not isinstance(x_adv, Tensor):
        raise Mistake(f"got {type(x_adv).__name__}, expected the images as a tensor", mend="pass x_adv itself")
    if target is None:
        raise Mistake("there is no target yet", mend="set my_target to the number of the class you aimed for")
    x_adv = x_adv.detach()
    expect.image_batch(x_adv, x)
    expect.inside_box(x_adv)
    largest = (x_adv - x).abs().max().item() * 255
    if largest > EPS + 0.01:
        raise Mistake(
            f"a pixel changed by {largest:.1f} levels, but {EPS}/255 is the limit",
            "another ε, or the perturbation was added twice",
            f"attack within Linf({EPS} / 255)",
        )
    with contract.frozen(model):
        if predict(model, x)[0].eq(target).any():
            raise Mistake("the clean photo is read as the target already", mend="choose another target")
        lost = [name for name, handle in HANDLING.items() if predict(model, handle(to_8bit(x_adv)))[0].ne(target).any()]
    if not lost:
        return f"within {largest:.0f}/255, and read as the target {', '.join(HANDLING)}"
    fine = len(HANDLING) - len(lost)
    if not fine:
        raise Mistake(
            "the picture is not read as the target even in a lossless file",
            "the attack has not arrived, or it stops at the border of the class",
            "take more steps, with early_stop=False",
        )
    raise Mistake(
        f"it survives {fine} of {len(HANDLING)}, and is lost {', '.join(lost)}",
        "the attack has never met this handling, or met it too seldom",
        "put it among the transformations of the expectation; then take more steps, or another target",
    )


def shrunk(x: Tensor, share: float) -> Tensor:
    """The images made smaller, and as large as before again."""
    resize = {"mode": "bilinear", "antialias": True, "align_corners": False}
    small = [round(share * side) for side in x.shape[2:]]
    return into_box(F.interpolate(F.interpolate(x, small, **resize), x.shape[2:], **resize))
