"""Checkers for the chapter on why attacks exist."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advlib.attacks import pgd
from advlib.contract import frozen
from advlib.data import load_images
from advlib.evaluate import accuracy
from advlib.exercises import expect
from advlib.exercises.frame import Attempt, Mistake, Suspects, checks_function, checks_value
from advlib.norms import Linf

# --- my_worst_margin(w, b, x, y, eps) ------------------------------------------------------------------


@checks_function
def worst_margin(attempt: Attempt) -> str:
    """``my_worst_margin(w, b, x, y, eps)`` is y · (w · x + b) − ε‖w‖₁ for each image."""
    for seed, (n, count, eps) in enumerate([(3, 5, 0.1), (48, 1, 8 / 255), (700, 6, 0.02)]):
        generator = torch.Generator().manual_seed(seed)
        w, b = torch.randn(n, generator=generator), torch.tensor(0.7)
        x = torch.rand(count, n, generator=generator)
        y = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
        y[0] = -1.0
        before = x.clone()
        result = attempt(w, b, x, y, eps)
        _unchanged(x, before)
        _per_image(result, count, "margin")
        right = y * (x @ w + b) - eps * w.abs().sum()
        _compare(result, right, _margin_mistakes(w, b, x, y, eps), "the margin that the worst δ leaves")
    return "what the worst δ of the ball leaves of each margin, for 3, 48 and 700 inputs"


def _margin_mistakes(w: Tensor, b: Tensor, x: Tensor, y: Tensor, eps: float) -> Suspects:
    clean, loss = y * (x @ w + b), eps * w.abs().sum()
    drop = "the worst δ takes ε · Σ |wᵢ| off the margin"
    return [
        (clean, Mistake("these are the margins without any attack", "ε does not come in", drop)),
        (clean + loss, Mistake("the margin grew: this is the best δ for the model", "the sign is flipped", drop)),
        (
            clean - eps * w.norm(),
            Mistake(
                "the margin falls by ε‖w‖₂: the answer for an L2 ball",
                "the norm of an L2 ball was taken",
                "an L∞ ball is paid back in ‖w‖₁",
            ),
        ),
        (
            clean - eps * w.sum(),
            Mistake(
                "positive and negative weights cancel",
                "the absolute values are missing",
                "δᵢ takes the sign of each weight by itself: w.abs().sum()",
            ),
        ),
        (
            clean - eps * w.abs().max(),
            Mistake(
                "only the largest weight is used: the answer for an L1 ball",
                "the maximum was taken instead of the sum",
                drop,
            ),
        ),
        (clean - eps * w.abs().mean(), Mistake("the loss is n times too small", "a mean in place of the sum", drop)),
        (clean - eps * len(w), Mistake("the margin falls by ε · n", "the weights are taken for ±1", drop)),
        (
            x @ w + b - loss,
            Mistake(
                "right where y is +1, wrong where it is −1",
                "the label is not used",
                "the margin is y · (w · x + b): positive where the model is right",
            ),
        ),
        (
            y * (x @ w + b - loss),
            Mistake(
                "right where y is +1, but where it is −1 the margin grew",
                "ε‖w‖₁ was taken off before multiplying by y",
                "take it off the margin, after multiplying by y",
            ),
        ),
        (y * (x @ w) - loss, Mistake("every margin is off by y · b", "the bias b is missing", "w · x + b")),
        (clean * (1 - eps), Mistake("the margin shrinks by the factor 1 − ε", "ε scales the margin", drop)),
    ]


# --- my_noise_ratio(grad) ------------------------------------------------------------------------------


@checks_function
def noise_ratio(attempt: Attempt) -> str:
    """``my_noise_ratio(grad)`` is ‖g‖₁ / ‖g‖₂ for each image, and 0 where g = 0."""
    for seed, shape in enumerate([(4, 3, 8, 8), (1, 1, 5, 7), (6, 3, 12, 12)]):
        grad = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) ** 3 * (1 + seed)
        grad[0] *= -grad[0].sum().sign()  # its entries add up to less than zero
        if seed == 2:
            grad[1] = 0
        before = grad.clone()
        result = attempt(grad)
        _unchanged(grad, before, "grad")
        _per_image(result, shape[0], "ratio")
        flat = grad.flatten(1)
        right = flat.abs().sum(1) / flat.norm(dim=1).clamp_min(1e-12)
        _compare(result, right, _ratio_mistakes(grad), "‖g‖₁ / ‖g‖₂")
    return "‖g‖₁ / ‖g‖₂ for each image, on three shapes, also where a gradient is exactly zero"


def _ratio_mistakes(grad: Tensor) -> Suspects:
    flat = grad.flatten(1)
    l1, l2, n = flat.abs().sum(1), flat.norm(dim=1).clamp_min(1e-12), flat.shape[1]
    each = "one ratio per image: flatten(1) first, then norms over dim=1"
    square = "the L2 norm is the root of the sum of squares"
    return [
        (
            l2 / l1,
            Mistake(
                "the ratio is upside down: it lies below 1",
                "worst and random were exchanged",
                "divide the worst case, ‖g‖₁, by the random one, ‖g‖₂",
            ),
        ),
        (l1 / l2**2, Mistake("the ratio changes when the gradient is scaled", "the root is missing", square)),
        (
            flat.sum(1) / l2,
            Mistake(
                "some ratios are negative",
                "the absolute values are missing",
                "the L1 norm sums |gᵢ|: flat.abs().sum(1)",
            ),
        ),
        (
            flat.sum(1).abs() / l2,
            Mistake(
                "positive and negative entries cancel",
                "abs came after the sum",
                "the L1 norm sums |gᵢ|: flat.abs().sum(1)",
            ),
        ),
        (l1 / n / l2, Mistake("the ratio is n times too small", "a mean in place of the sum", "‖g‖₁ is a sum")),
        (
            l1 / l2 / n**0.5,
            Mistake(
                "the ratio is √n times too small",
                "it was divided by its largest value, √n",
                "‖g‖₁ / ‖g‖₂ by itself is asked",
            ),
        ),
        (
            flat.abs().amax(1) / l2,
            Mistake(
                "every ratio is below 1", "the L∞ norm was taken for the worst case", "an L∞ ball is paid back in ‖g‖₁"
            ),
        ),
        (l1, Mistake("this is ‖g‖₁: the worst case alone", "the random case is missing", "divide by ‖g‖₂")),
        (
            (grad.abs().sum() / grad.norm()).expand(len(grad)),
            Mistake("every image gets the same ratio", "the norms were taken over the whole batch", each),
        ),
    ]


# --- a sturdier network --------------------------------------------------------------------------------

NEEDED, STANDS = 0.85, 0.40  # accuracy on new signs, and under ten steps at 2/255


@checks_value
def sturdier(model: nn.Module) -> str:
    """``model`` reads 85 % of new signs, and 40 % under ten steps at 2/255."""
    if not isinstance(model, nn.Module):
        kind = type(model).__name__
        cause = "`fit` returns its history; the network is trained in place" if isinstance(model, list) else ""
        raise Mistake(f"got {kind}, expected a network", cause, "pass the trained network itself")
    test = load_images("signs", "test", n=256, seed=7)
    with frozen(model):
        clean = accuracy(model, test.x, test.y)
        if clean < NEEDED:
            raise Mistake(
                f"it reads {clean:.0%} of 256 new signs; {NEEDED:.0%} are needed",
                "it learnt too little: too few images or epochs, or too much weight decay",
                "more images or epochs, or less weight decay",
            )
        x_adv = pgd(model, test.x, test.y, Linf(2 / 255), steps=10)
        stands = accuracy(model, x_adv, test.y)
    if stands < STANDS:
        raise Mistake(
            f"it reads {clean:.0%} of 256 new signs, but {stands:.0%} under ten steps at 2/255; "
            f"{STANDS:.0%} are needed",
            "its weights are large, or it saw few images",
            "more weight decay, and more images to make up for what that costs",
        )
    return f"{clean:.0%} of 256 new signs, and {stands:.0%} under ten steps at 2/255"


# --- what both functions share -------------------------------------------------------------------------


def _unchanged(x: Tensor, before: Tensor, name: str = "x") -> None:
    if not torch.equal(x, before):
        raise Mistake(
            f"the caller's {name} was changed", "an operation in place: +=, abs_, clamp_ …", "compute a new tensor"
        )


def _per_image(result: object, count: int, what: str) -> None:
    if not isinstance(result, Tensor):
        raise Mistake(
            f"got {type(result).__name__}, expected a tensor",
            "a loop, .item() or .tolist()",
            f"return one {what} per image as a tensor of shape (N,)",
        )
    if result.shape != (count,):
        raise Mistake(
            f"the result has shape {tuple(result.shape)}, expected ({count},)",
            "a sum over the images, or an axis too many",
            f"one {what} per image: sum over its own values",
        )
    if not result.isfinite().all():
        raise Mistake(
            "the result contains NaN or infinity",
            "a division by zero: a gradient can be exactly zero",
            "keep the divisor above zero: .clamp_min(1e-12)",
        )


def _compare(result: Tensor, right: Tensor, suspects: Suspects, what: str) -> None:
    result = result.detach()

    def same(a: Tensor, b: Tensor) -> bool:
        return torch.allclose(a.float(), b, rtol=1e-4, atol=1e-5)

    if same(result, right):
        return
    expect.no_known_mistake(result, suspects, right, same)
    off = (result - right).abs().max().item()
    raise Mistake(
        f"the result is not {what}: it is off by up to {off:.4g}",
        "another formula",
        "go back to the derivation, and check it on two inputs by hand",
    )
