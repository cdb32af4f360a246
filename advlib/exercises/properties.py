"""What results have to be, and what a wrong one proves about the answer that gave it.

The properties of `Formula` are called as ``property(case, result, right)`` on a result that is wrong. Each raises
`Mistake` where it proves what is wrong, and says no more than that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from advlib.evaluate import predict
from advlib.exercises.mistake import Mistake

NEAR = 1e-5
BALL = "bring the change from the clean image back into the ball of size ε"


def described(value: object) -> str:
    """A value in few words."""
    if isinstance(value, Tensor):
        kind = "" if type(value) is Tensor else f" ({type(value).__name__})"
        return f"a tensor{kind} of shape {tuple(value.shape)} and type {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if value is None or isinstance(value, bool | int | float | str):
        return f"{value!r:.40}"
    return f"an object of type {type(value).__name__}"


def difference(result: Any, right: Any, args: tuple = ()) -> str:
    """What differs, without a guess why; of what is called with ``args``."""
    if isinstance(result, Tensor) and isinstance(right, Tensor) and result.shape == right.shape:
        if right.numel() == 1:
            return f"the result is {result.item():.4g}, the formula's is {right.item():.4g}"
        off = (result.double() - right.double()).abs()
        wrong = int((off > NEAR).sum())
        seen = f"{wrong} of {right.numel()} values differ from the formula's, by up to {off.max().item():.3g}"
        return seen + _in_common(result.double(), right.double(), args)
    return f"the result is {described(result)}, expected {described(right)}"


def _in_common(result: Tensor, right: Tensor, args: tuple) -> str:
    """What the values of a wrong result, or those that are wrong in it, have in common."""
    if (result == result.flatten()[0]).all():
        return f"; every value is {result.flatten()[0]:.4g}"
    above, below = bool((result > right + NEAR).any()), bool((result < right - NEAR).any())
    way = "" if above and below else f"; {'none is' if below else 'all that do are'} too large"
    if result.ndim == 0 or len(result) < 2:
        return way
    if (result == result[:1]).all() and not (right == right[:1]).all():
        return f"; all {len(result)} rows are the same"
    wrong, rows = ((result - right).abs() > NEAR).reshape(len(result), -1).any(1), torch.arange(len(result))
    for which, these in {"first": rows == 0, "last": rows == rows[-1]}.items():
        for words, those in ((f"only the {which} is wrong", these), (f"only the {which} is right", ~these)):
            if torch.equal(wrong.cpu(), those):
                same = (arg for arg in args if isinstance(arg, Tensor) and arg.shape == result.shape)
                back = any(torch.equal(arg.to(result)[wrong], result[wrong]) for arg in same)
                return f"; of {len(result)} rows {words}" + ", and what is wrong came back as it was" * back
    return way


def alike(a: Any, b: Any, share: float = 1.0) -> bool:
    """The same type, shape and values up to rounding; of the values, on at least ``share`` of each tensor."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if type(a) not in (Tensor, nn.Parameter) or (a.shape, a.dtype, a.device) != (b.shape, b.dtype, b.device):
            return False
        if not a.is_floating_point():
            return torch.equal(a, b)
        close = torch.isclose(a.detach(), b.detach(), rtol=1e-4, atol=NEAR, equal_nan=True)
        return bool(close.all()) if share == 1 else close.float().mean().item() >= share
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(alike(*pair, share) for pair in zip(a, b))
    one, other = _scalar(a), _scalar(b)
    if one is None or other is None:
        return False
    return math.isclose(one, other, rel_tol=1e-4, abs_tol=NEAR) or (math.isnan(one) and math.isnan(other))


def nearly(a: Any, b: Any) -> bool:
    """`alike` on all but a few pixels: where a gradient is nearly zero, rounding may choose its sign."""
    return alike(a, b, share=0.995)


def to_three_digits(a: Any, b: Any) -> bool:
    """Two shares, either of which may have been rounded."""
    values = [_scalar(a), _scalar(b)]
    return alike(a, b) or (None not in values and math.isclose(*values, abs_tol=1e-3))  # type: ignore[arg-type]


def to_scale(a: Any, b: Any) -> bool:
    """`alike`, in units of the largest entry of ``b``: for gradients and changes, which may be tiny."""
    if not (isinstance(a, Tensor) and isinstance(b, Tensor) and b.is_floating_point() and b.numel()):
        return alike(a, b)
    largest = b.detach().abs().nan_to_num(0, 0, 0).max()
    return alike(a / largest, b / largest) if largest > 0 else alike(a, b)


def _scalar(value: Any) -> float | None:
    """A number, also out of a tensor or array with one entry."""
    if isinstance(value, Tensor | np.ndarray | np.generic) and math.prod(value.shape) == 1:
        value = value.item()
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def number(value: object, name: str) -> float:
    """A finite number, or `Mistake`."""
    result = _scalar(value)
    if result is None or not math.isfinite(result):
        raise Mistake(f"{name} is {described(value)}, expected one finite number", mend="pass a float")
    return result


# --- properties of a wrong result ---------------------------------------------------------------------------


def plain(results: list[Any]) -> None:
    """No result of a type that could answer comparisons as it likes."""
    for result in results:
        if isinstance(result, Tensor) and type(result) not in (Tensor, nn.Parameter):
            raise Mistake(f"got {described(result)}, expected a plain tensor", mend="return a torch.Tensor")


def like(case: Any, result: Any, right: Any) -> None:
    """A tensor like the right one: type, shape, dtype, device, finite numbers."""
    if not isinstance(right, Tensor):
        return
    if not isinstance(result, Tensor):
        raise Mistake(f"got {described(result)}, expected a tensor of shape {tuple(right.shape)}")
    if result.shape != right.shape:
        raise Mistake(f"the result has shape {tuple(result.shape)}, expected {tuple(right.shape)}")
    if (result.dtype, result.device) != (right.dtype, right.device):
        raise Mistake(
            f"the result is {result.dtype} on {result.device}, expected {right.dtype} on {right.device}",
            mend="compute in the type and on the device of what is passed",
        )
    if not result.isfinite().all():
        seen = f"on {case.name}, {int((~result.isfinite()).sum())} of {result.numel()} values are NaN or infinite"
        if any(_nan_where_zero(result, arg) for arg in getattr(case, "args", ())):
            cause, mend = "zero was divided by zero", "divide only where the divisor is not 0: torch.where"
            raise Mistake(f"{seen}, just where what is passed is 0 throughout", cause, mend)
        raise Mistake(seen)


def _nan_where_zero(result: Tensor, arg: Any) -> bool:
    """Whether just those rows are NaN, and wholly so, that are 0 throughout in what was passed."""
    if not (isinstance(arg, Tensor) and arg.is_floating_point() and arg.ndim and result.shape[:1] == arg.shape[:1]):
        return False
    zero, nan = (arg == 0).reshape(len(arg), -1).all(1), result.isnan().reshape(len(result), -1)
    return bool(zero.any()) and torch.equal(zero, nan.any(1)) and torch.equal(zero, nan.all(1))


def inside_box(case: Any, result: Tensor, right: Any = None) -> None:
    """Pixels in [0, 1]."""
    low, high = result.min().item(), result.max().item()
    if low < -1e-6 or high > 1 + 1e-6:
        mend = "end with .clamp(0, 1)"
        if high > 2:
            mend = "pixels run from 0 to 1 here, not to 255"
        elif low < 0 and -low < 2 * high < 1:
            mend = "this looks like a change: add it to x"
        raise Mistake(f"pixels reach from {low:.3f} to {high:.3f}, but an image lies in [0, 1]", mend=mend)


def inside_ball(size: Tensor, eps: float, norm: str, mend: str = BALL) -> None:
    """Perturbations of at most ε, given their sizes (N,)."""
    largest = size.max().item()
    if not largest <= eps * (1 + 1e-4) + 1e-6:
        raise Mistake(f"the {norm} size of a perturbation is {largest:.4f}, but ε is {eps:.4f}", mend=mend)


def which_images(case: Any, result: Tensor, right: Tensor) -> None:
    """For (model, x, y, …): where only some images are wrong, what is common to just those."""
    model, x, y = case.args[:3]
    wrong = ((result - right).abs() > NEAR).flatten(1).any(1)
    if wrong.all() or not wrong.any() or len(x) < 2:
        return
    g = x.detach().clone().requires_grad_()
    logits = model(g)
    (g,) = torch.autograd.grad(nn.functional.cross_entropy(logits, y, reduction="sum"), g)
    still = " came back unchanged" if torch.equal(result[wrong], x[wrong]) else " are wrong"
    rows = torch.arange(len(x))
    for words, these in {
        "the images whose gradient is exactly zero": (g == 0).flatten(1).all(1),
        "the images that the model misreads already": logits.argmax(1) != y,
        "the images that the model reads rightly": logits.argmax(1) == y,
        "the images of class 0": y == 0,
        "all images but the first": rows > 0,
        "the first image": rows == 0,
        "the last image": rows == len(x) - 1,
    }.items():
        if torch.equal(wrong, these):
            raise Mistake(f"on {case.name}, just {words}{still}")


def change(case: Any, result: Tensor, right: Tensor) -> None:
    """For (model, x, y, …): what the size and the direction of the change prove."""
    x = case.args[1]
    inner = (right > 1e-4) & (right < 1 - 1e-4) & (result > 1e-4) & (result < 1 - 1e-4)
    free = (inner & (right != x)).flatten(1)
    if not free.any():
        return
    if x.shape[1] == 3 and not torch.equal(result, x):
        colours = (result - x).where(inner, torch.nan)
        if not (colours - colours.nanmean(1, keepdim=True)).nan_to_num(0).abs().gt(NEAR).any():
            raise Mistake(
                f"on {case.name}, the three colours of a pixel change alike", mend="each has its own gradient"
            )
    got, wanted = (result - x).flatten(1), (right - x).flatten(1)
    ratio = (got / wanted).where(free, torch.nan)
    each = ratio.nanmedian(1, keepdim=True).values
    if not each.isnan().any() and (ratio - each).nan_to_num(0).abs().max() < 1e-2 * each.abs().max() and each.min() > 0:
        low, high = each.min().item(), each.max().item()
        span = f"{low:.3g}" if high - low < 1e-2 * high else f"{low:.3g} to {high:.3g}"
        raise Mistake(f"on {case.name}, the step has the right direction, but is {span} times as long as it should be")
    size, due = got.abs().where(free, torch.nan), wanted.abs().where(free, torch.nan)
    if torch.allclose(size, due, atol=NEAR, equal_nan=True):
        share = ((got * wanted < 0) & free).float().sum() / free.float().sum()
        raise Mistake(
            f"on {case.name}, every change has the right size, but {share:.0%} of them go the other way",
            mend="the gradient is not that of the loss asked for, at the point asked for",
        )


def weak(seen: str, images: Tensor, x: Tensor, eps: float, fooled: Callable[[Tensor], float]) -> None:
    """For an L∞ attack that fools too few: what its direction or its size proves."""
    opposite, change = fooled((2 * x - images).clamp(0, 1)), (images - x).abs()
    if opposite > 0.1 + 2 * fooled(images):
        raise Mistake(f"{seen}. The opposite changes fool {opposite:.0%}", mend="turn the sign round: go uphill")
    if (used := change.flatten(1).amax(1).median()) < 0.9 * eps:
        mend = f"go up to {eps * 255:.3g}/255"
        raise Mistake(f"{seen}. Half of them change by {used * 255:.2g}/255 at most", mend=mend)
    if (used := change.mean()) < eps / 2:
        size, mend = f"{eps * 255:.3g}/255 are", "let every value move by all that is allowed: take the sign"
        raise Mistake(f"{seen}. A value changes by {used * 255:.2g}/255 on average, {size} allowed", mend=mend)


def images(result: object, x: Tensor) -> Tensor:
    """A batch of images like ``x`` in [0, 1], detached; for open tasks."""
    from_case = type("Case", (), {"name": "the images that you passed"})
    like(from_case, result, x)
    assert isinstance(result, Tensor)
    result = result.detach()
    inside_box(from_case, result)
    return result


def misread(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Which images the model reads as another class."""
    return predict(model, x)[0] != y
