"""What any attack's answer must be, worded for who wrote it: each function raises `Mistake` or returns
nothing."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib.exercises.frame import Mistake, Suspects

CLIPPED_LAST = "end with .clamp(0, 1), after the step"


def image_batch(result: object, x: Tensor) -> None:
    """A tensor like ``x``: same shape, dtype and device, all numbers."""
    if isinstance(result, tuple | list):
        raise Mistake(
            f"got a {type(result).__name__} of {len(result)}, expected one tensor of images",
            "torch.autograd.grad returns a tuple, or several values are returned",
            "take the entry you want with [0]; return x_adv alone",
        )
    if not isinstance(result, Tensor):
        raise Mistake(f"got {type(result).__name__}, expected a tensor", mend="return x_adv as a torch tensor")
    if result.shape != x.shape:
        cause = "the loss is returned instead of the images" if result.ndim == 0 else "a reshape, or a lost axis"
        raise Mistake(
            f"the result has shape {tuple(result.shape)}, expected that of x, {tuple(x.shape)}",
            cause,
            "return one image per image: same shape as x",
        )
    if (result.dtype, result.device) != (x.dtype, x.device):
        raise Mistake(
            f"the result is {result.dtype} on {result.device}, but x is {x.dtype} on {x.device}",
            "a conversion on the way",
            "compute in the type and on the device of x",
        )
    bad = (~result.isfinite()).flatten(1).any(1).sum().item()
    if bad:
        raise Mistake(
            f"{bad} of {len(x)} images contain NaN or infinity",
            "a division by zero: an image's gradient can be exactly zero",
            "add a tiny number, such as 1e-12, to what you divide by",
        )


def number(value: object, name: str) -> float:
    """A finite number, also out of a tensor with one entry."""
    try:
        result = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, RuntimeError):
        result = math.nan
    if not math.isfinite(result):
        raise Mistake(f"{name} is {value!r:.40}, expected one finite number", mend="pass a float")
    return result


def one_per_image(result: object, logits: Tensor) -> None:
    """A tensor (N,) for logits (N, K)."""
    n, k = logits.shape
    if not isinstance(result, Tensor):
        raise Mistake(
            f"got {type(result).__name__}, expected a tensor with one number per image, shape ({n},)",
            mend="compute with tensors from beginning to end",
        )
    if result.shape == (n,):
        return
    causes = {
        (): ("the mean or the sum over the batch was taken", "each image has a number of its own: no mean at the end"),
        (n, 1): ("keepdim=True, or [:, None], on the way", "drop the second dimension: [:, 0]"),
        (n, n): ("z[:, y] takes all labels' columns for every image", "one entry per row: z[torch.arange(len(z)), y]"),
        (n, k): ("nothing was picked or added up within a row", "the classes are the second dimension"),
        (k,): ("the sum or maximum runs over the images", "the classes are the second dimension: dim=1"),
    }
    raise Mistake(
        f"the result has shape {tuple(result.shape)}, expected one number per image: ({n},)",
        *causes.get(tuple(result.shape), ("a reshape, or a lost axis", "return one number per image")),
    )


def untouched(x: Tensor, before: Tensor, attempt) -> None:
    """The caller's ``x`` as it was."""
    if not torch.equal(x.detach(), before):
        raise Mistake(
            "the caller's x was changed",
            "an operation in place: +=, clamp_, add_, x.data …",
            "work on a copy: x_adv = x.clone().detach()",
        )
    if x.requires_grad or x.grad is not None:
        attempt.note("the caller's x now records gradients; x = x.clone().detach() before requires_grad_() avoids it")
        x.requires_grad_(False)
        x.grad = None


def tidy(result: Tensor, model: nn.Module, attempt) -> None:
    """Loose ends that do not make an answer wrong."""
    if result.requires_grad:
        attempt.note("the result still records gradients and so keeps the whole graph in memory; .detach() it")
    if any(parameter.grad is not None for parameter in model.parameters()):
        attempt.note(
            "loss.backward() also filled the .grad of every parameter, which a later optimiser step would "
            "use; torch.autograd.grad(loss, x)[0] computes the gradient of x alone"
        )
    if any(module.training for module in model.modules()):
        attempt.note("the model was left in training mode; an attack leaves it as it was")


def same(a: Tensor, b: Tensor, share: float = 0.999) -> bool:
    """Equal up to rounding on nearly all pixels (a gradient near zero may round to either sign)."""
    return a.shape == b.shape and ((a - b).abs() <= 1e-5).float().mean().item() >= share


def no_known_mistake(
    result: Tensor, suspects: Suspects, right: Tensor, same: Callable[[Tensor, Tensor], bool] = same
) -> None:
    """Raise the mistake that leads to this very result, unless it leads to the right one here as well."""
    for wrong, mistake in suspects:
        if same(result, wrong) and not same(wrong, right):
            raise mistake


def inside_box(result: Tensor) -> None:
    """Pixels in [0, 1]."""
    low, high = result.min().item(), result.max().item()
    if low < -1e-6 or high > 1 + 1e-6:
        raise Mistake(
            f"pixels reach from {low:.3f} to {high:.3f}, but an image lies in [0, 1]",
            "the result is not clipped",
            CLIPPED_LAST,
        )


def inside_ball(size: Tensor, eps: float, norm: str) -> None:
    """Perturbations of at most ε, given their sizes (N,)."""
    largest = size.max().item()
    if largest > eps * (1 + 1e-4) + 1e-6:
        raise Mistake(
            f"the {norm} size of a perturbation is {largest:.4f}, but ε is {eps:.4f}",
            "the step is not ε long, or ε is not the one that was passed",
            "use the argument eps as it comes, and project or scale the step to it",
        )


def whole_budget(size: Tensor, possible: Tensor, eps: float, norm: str) -> None:
    """Perturbations as large as the formula makes them, given both sizes (N,)."""
    if size.max() < 0.99 * possible.max():
        raise Mistake(
            f"the largest {norm} size of a perturbation is {size.max().item():.4f}, but ε is {eps:.4f}",
            "a number is written into the code instead of eps, or the step is scaled once more",
            "use the argument eps, and all of it",
        )


def climbs(model: nn.Module, x: Tensor, y: Tensor, result: Tensor) -> None:
    """A higher loss than before."""
    with torch.no_grad():
        before, after = (F.cross_entropy(model(z), y).item() for z in (x, result))
    if after <= before:
        raise Mistake(
            f"the loss went from {before:.3f} to {after:.3f}; an attack makes it rise",
            "the step does not follow the gradient of the loss at x",
            "add the step: x + …, with the gradient of the cross-entropy of (model(x), y)",
        )
