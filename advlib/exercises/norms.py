"""Checkers for the chapter on norms."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from advlib.contract import check_images
from advlib.evaluate import predict
from advlib.exercises import expect
from advlib.exercises import norms_mistakes as mistakes
from advlib.exercises.frame import Attempt, Mistake, Unwritten, checks_function, checks_value
from advlib.norms import L1, L2, Ball, Linf

# --- sizes by hand -------------------------------------------------------------------------------------

TRUE_SIZES = {"L0": 2, "L1": 0.9, "L2": 0.5, "L∞": 0.4}
# What the best-known mistakes make of (0.1, 0, −0.4), (0, 0, 0), (0.2, 0.2, 0), (0, 0, 0).
WRONG_SIZES = {
    "L0": [
        (4, "values were counted, not pixels", "a pixel counts once, however many of its colours change"),
        (12, "all the values were counted", "count the pixels that are not (0, 0, 0)"),
        (0.9, "this is the sum of the absolute values, the formula of L1", "count instead of adding up"),
    ],
    "L1": [
        (0.1, "the signs were kept, so that −0.4 takes away", "add up absolute values"),
        (0.075, "divided by the number of values", "a sum, not a mean"),
        (0.25, "these are the squares, added up", "add up the absolute values as they are"),
    ],
    "L2": [
        (0.25, "the root is missing: a sum of squares is no length", "take the root of 0.25"),
        (0.9, "the root of each square alone is its absolute value", "add the squares up first, then one root"),
        (0.3, "the square of −0.4 was subtracted, or left out", "the square of a negative number is positive"),
        (0.125, "halved instead of the root taken", "which number times itself is 0.25?"),
    ],
    "L∞": [
        (0.2, "the largest value, where the absolute values were asked", "−0.4 is a change of 0.4"),
        (-0.4, "a size is never negative", "take the absolute value"),
        (0.1, "the smallest change that is not zero, or the first", "take the largest absolute value"),
    ],
}


@checks_value
def norms_by_hand(sizes: dict[str, float]) -> str:
    """``sizes`` holds the L0, L1, L2 and L∞ of the perturbation printed in the exercise."""
    if not isinstance(sizes, dict) or set(sizes) != set(TRUE_SIZES):
        raise Mistake(
            f"got {sizes!r:.60}",
            "the names of the four norms are gone",
            "keep the dictionary with the keys L0, L1, L2 and L∞, and put numbers in",
        )
    if any(value is None or value is ... for value in sizes.values()):
        raise Unwritten
    for norm, value in sizes.items():
        value = expect.number(value, norm)
        if math.isclose(value, TRUE_SIZES[norm], abs_tol=1e-6):
            continue
        for wrong, cause, mend in WRONG_SIZES[norm]:
            if math.isclose(value, wrong, abs_tol=1e-6):
                raise Mistake(f"{norm} is {value:g}", cause, mend)
        raise Mistake(
            f"{norm} is {value:g}",
            "another formula, or a slip in adding up",
            "write the twelve absolute values down, and apply the norm's formula to them",
        )
    return "2 pixels, a sum of 0.9, a length of 0.5, and 0.4 at most"


# --- projections and steps: functions of (N, C, H, W) and ε ----------------------------------------------


@checks_function
def project_linf(attempt: Attempt) -> str:
    """``my_project_linf(delta, eps)`` clips every value to [−ε, ε]."""
    return _projection(attempt, Linf, (0.3, 0.05), mistakes.project_linf)


@checks_function
def project_l2(attempt: Attempt) -> str:
    """``my_project_l2(delta, eps)`` is δ · min(1, ε / ‖δ‖₂), each image by itself."""
    return _projection(attempt, L2, (2.0, 0.5), mistakes.project_l2)


@checks_function
def project_l1(attempt: Attempt) -> str:
    """``my_project_l1(delta, eps)`` is the soft threshold with the price λ that makes the size ε."""
    return _projection(attempt, L1, (6.0, 1.0), mistakes.project_l1)


@checks_function
def steepest_l1(attempt: Attempt) -> str:
    """``my_steepest_l1(grad, eps)`` spends ε on the value of each image with the largest |gᵢ|."""
    for shape, eps in (((5, 3, 8, 8), 3.0), ((3, 1, 5, 7), 0.5), ((1, 3, 4, 4), 12.0)):
        grad = _random(shape)
        right = L1(eps).steepest(grad)
        result = _answer(attempt, grad, eps, right, mistakes.steepest_l1)
        if result is not None:
            _inside(result, L1(eps))
            short = (grad * (right - result)).flatten(1).sum(1).max().item()
            raise Mistake(
                f"⟨g, δ⟩ is {short:.3g} below the largest possible, for one image at least",
                "ε is not all on the value with the largest |gᵢ|",
                "find that place for each image, and write ε times the sign of g there",
            )
    return "the largest ⟨g, δ⟩ in the ball, for three shapes and three ε"


def _projection(attempt: Attempt, norm: type[Ball], budgets: tuple[float, float], known: Callable) -> str:
    colour, grey = (_random(shape) for shape in ((5, 3, 8, 8), (4, 1, 5, 7)))
    colour[1] *= 0.2 * budgets[0] / norm(1).size(colour[1:2])  # well inside
    with_zero = grey.clone()
    with_zero[2] = 0
    for delta, eps in zip((colour, colour[:1], grey, with_zero), budgets[:1] * 2 + budgets[1:] * 2, strict=True):
        right = norm(eps).project(delta)
        result = _answer(attempt, delta, eps, right, known)
        if result is None:
            continue
        _inside(result, norm(eps))
        was_inside = norm(eps).size(delta) <= eps
        if not torch.allclose(result[was_inside], delta[was_inside], atol=1e-5):
            raise Mistake(
                "a perturbation that was inside the ball already has been changed",
                "points inside are projected, too",
                "they stay exactly as they are",
            )
        further = (L2(1).size(result - delta) - L2(1).size(right - delta)).max().item()
        raise Mistake(
            f"the result is inside the ball, but not the nearest point: {further:.3g} further away",
            "another way into the ball than the projection",
            "follow the formula for this norm",
        )
    return f"the nearest point of the {norm.symbol} ball, for batches, single images, points inside, and zero"


def _answer(attempt: Attempt, given: Tensor, eps: float, right: Tensor, known: Callable) -> Tensor | None:
    """The learner's result where it is not the right one and no known mistake; None where it is right."""
    before = given.clone()
    result = attempt(given, eps)
    if not torch.equal(given, before):
        raise Mistake(
            "the tensor that was passed has been changed",
            "an operation in place: *=, clamp_, …",
            "compute a new tensor: delta * factor, delta.clamp(…)",
        )
    if not isinstance(result, Tensor) or result.shape != given.shape:
        got = f"a tensor of shape {tuple(result.shape)}" if isinstance(result, Tensor) else type(result).__name__
        raise Mistake(
            f"got {got}, expected a tensor of shape {tuple(given.shape)}",
            "a reshape that was not undone, a lost axis, or a size instead of a change",
            "return a change of the same shape as the one that is passed: .view_as(…)",
        )
    bad = (~result.isfinite()).flatten(1).any(1).sum().item()
    if bad:
        raise Mistake(
            f"{bad} of {len(given)} results contain NaN or infinity",
            "a division by zero: a perturbation can be zero",
            "divide by size.clamp_min(1e-12)",
        )
    if torch.allclose(result, right, atol=1e-4, rtol=1e-4):
        return None
    expect.no_known_mistake(result, known(given, eps), right)
    return result


def _inside(result: Tensor, ball: Ball) -> None:
    largest = ball.size(result).max().item()
    if largest > ball.eps * (1 + 1e-3):
        raise Mistake(
            f"a result has the {ball.symbol} size {largest:.4g}, but ε is {ball.eps:g}",
            "another norm, or a number written into the code instead of eps",
            f"check with {type(ball).__name__}(eps).size(result): at most eps for each image",
        )


def _random(shape: tuple[int, ...]) -> Tensor:
    """Changes of very different sizes, so that one budget for the whole batch is noticed."""
    delta = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
    return delta * torch.linspace(0.5, 2, len(delta))[:, None, None, None]


# --- far away, and the same -------------------------------------------------------------------------------


@checks_value
def far_but_same(image: Tensor, model: nn.Module, one: Tensor, label: Tensor, others: Tensor) -> str:
    """``image`` shows the sign of ``one`` and lies further from it, in L2, than the nearest of ``others``."""
    if not isinstance(image, Tensor) or image.shape != one.shape:
        raise Mistake(
            f"got {type(image).__name__} of shape {tuple(getattr(image, 'shape', ()))}, "
            f"expected a tensor of shape {tuple(one.shape)}",
            "an axis is lost, or a batch is passed",
            "pass one image with its batch axis: image[None]",
        )
    image = image.detach()
    try:
        check_images(image)
    except (TypeError, ValueError) as error:
        raise Mistake(str(error), "what was done to the image left the box", "end with .clamp(0, 1)") from None
    nearest = L2(1).size(others - one).min().item()
    length = L2(1).size(image - one).item()
    likeness = torch.corrcoef(torch.stack([image.flatten(), one.flatten()]))[0, 1].item()
    reading, probability = predict(model, image)
    if length <= nearest:
        raise Mistake(
            f"the L2 distance is {length:.1f}, but the nearest other sign lies at {nearest:.1f}",
            "the change is too small",
            "change every value by much: L2 adds up over all of them",
        )
    if not likeness >= 0.9:
        raise Mistake(
            f"the values' correlation with the original is {likeness:.2f}, and 0.9 is asked",
            "the pattern is gone: noise, another picture, too far a shift, or white-out",
            "keep the order of dark and bright, and change the light",
        )
    if reading != label:
        raise Mistake(
            "the network reads another sign",
            "too much for the network, or an attack",
            "the goal is a far image that keeps its meaning, for you and for the network",
        )
    if probability < 0.9:
        raise Mistake(
            f"the network reads it rightly, but with only {probability.item():.0%}",
            "close to the edge of what it can read",
            "change it a little less",
        )
    return f"{length:.1f} away, further than the nearest other sign ({nearest:.1f}), and read rightly"
