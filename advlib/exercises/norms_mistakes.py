"""What the best-known mistakes in a projection or a steepest step lead to, each with its explanation.

Every function gives (result, mistake) for one batch: an answer that equals a result made that mistake.
"""

from __future__ import annotations

import torch
from torch import Tensor

from advlib.exercises.frame import Mistake, Suspects

BATCH_SIZE = Mistake(
    "the images of a batch share one budget",
    "the size was taken over the whole batch",
    "one size per image: delta.flatten(1) before norm, sum or max",
)
GROWS = Mistake(
    "a perturbation inside the ball was made larger",
    "every point is scaled to the surface",
    "the factor is at most 1: .clamp_max(1)",
)
RAY = Mistake(
    "the perturbation is shrunk as a whole, which is the projection onto a round ball only",
    "scaled by ε / size, as in L2",
    "this ball's nearest point lies elsewhere: follow its own formula",
)
CLIPPED = Mistake(
    "every value is clipped by itself",
    "this is the projection onto the L∞ ball",
    "in this ball all values share one budget",
)


def project_linf(delta: Tensor, eps: float) -> Suspects:
    size = _per_image(delta.abs().flatten(1).amax(1))
    return [
        (
            delta.clamp(max=eps),
            Mistake(
                "changes below −ε are left as they are",
                "only the upper side is clipped",
                "darker is a change as well: clamp(-eps, eps)",
            ),
        ),
        (
            delta.clamp(0, eps),
            Mistake("negative changes are gone", "clipped to [0, ε]", "a change may be negative: clamp(-eps, eps)"),
        ),
        (
            delta.abs().clamp(max=eps),
            Mistake(
                "all changes have become positive",
                "the sign was lost with abs()",
                "clip the values as they are: clamp(-eps, eps)",
            ),
        ),
        (
            delta.clamp(0, 1),
            Mistake("the perturbation was clipped like an image", "clamp(0, 1)", "the limits of a change are −ε and ε"),
        ),
        (delta.clamp(-1, 1), Mistake("clipped to [−1, 1] whatever ε is", "ε is not used", "clamp(-eps, eps)")),
        (
            eps * delta.sign(),
            Mistake(
                "small changes were made larger",
                "every value is set to ±ε: a step, not a projection",
                "values inside stay as they are: clamp(-eps, eps)",
            ),
        ),
        (delta * (eps / size).clamp_max(1), RAY),
        (delta * eps / size, GROWS),
        (
            delta.clamp(-eps / 2, eps / 2),
            Mistake(
                "clipped to half of the budget", "ε is taken for a width", "ε is the largest change in either direction"
            ),
        ),
        (
            _only_if_outside(delta, delta.sign() * eps, eps, size),
            Mistake(
                "an image with one value too large has all its values set to ±ε",
                "the whole image is handled at once",
                "each value has its own limit: clamp(-eps, eps)",
            ),
        ),
    ]


def project_l2(delta: Tensor, eps: float) -> Suspects:
    length = _per_image(delta.flatten(1).norm(dim=1))
    total = _per_image(delta.abs().flatten(1).sum(1))

    def shrunk(size: Tensor) -> Tensor:
        return delta * (eps / size).nan_to_num(1.0).clamp_max(1)

    per_pixel = delta.norm(dim=1, keepdim=True)
    return [
        (shrunk(delta.norm()), BATCH_SIZE),
        (delta * eps / delta.norm(), BATCH_SIZE),
        (
            shrunk(length.max()),
            Mistake(
                "all images are shrunk by the same factor",
                "the largest size of the batch decides for all",
                "one factor per image, shape (N, 1, 1, 1)",
            ),
        ),
        (delta * eps / length, GROWS),
        (delta * eps / length.clamp_min(1e-12), GROWS),
        (
            shrunk(length.square()),
            Mistake(
                "long perturbations are shrunk too much",
                "the root is missing in the size",
                "the L2 size is the root of the sum of squares",
            ),
        ),
        (
            shrunk(total),
            Mistake(
                "the result is shorter than ε allows",
                "the size was taken in the L1 norm",
                "the L2 size is the root of the sum of squares",
            ),
        ),
        (delta.clamp(-eps, eps), CLIPPED),
        (
            shrunk(per_pixel),
            Mistake(
                "every pixel has a budget of its own",
                "the size was taken over the colours only",
                "flatten the whole image before taking its norm",
            ),
        ),
        (
            delta * eps,
            Mistake(
                "every perturbation is multiplied by ε",
                "the division by its size is missing",
                "the factor is min(1, ε / size)",
            ),
        ),
        (
            delta / length.clamp_min(1e-12),
            Mistake(
                "every perturbation has length 1",
                "ε is missing, and the minimum with 1",
                "the factor is min(1, ε / size)",
            ),
        ),
        (
            delta * (length / eps).clamp_max(1),
            Mistake(
                "long perturbations stay long, short ones shrink",
                "the fraction is upside down",
                "the factor is min(1, ε / size)",
            ),
        ),
    ]


def project_l1(delta: Tensor, eps: float) -> Suspects:
    total = _per_image(delta.abs().flatten(1).sum(1))
    magnitude, n = delta.abs(), delta[0].numel()

    def soft(price: Tensor | float) -> Tensor:
        return delta.sign() * (magnitude - price).clamp_min(0)

    price = _price(delta.abs().flatten(1), eps)
    paid = _per_image(price.clamp_min(0))
    signed = _per_image(_price(delta.flatten(1), eps).clamp_min(0))
    of_batch = _price(delta.abs().reshape(1, -1), eps).clamp_min(0)
    spread = (total - eps) / n
    no_floor = Mistake(
        "small values come out on the other side of zero",
        "the threshold does not stop at zero",
        "max(|δᵢ| − λ, 0): .clamp_min(0)",
    )
    return [
        (delta * (eps / total).nan_to_num(1.0).clamp_max(1), RAY),
        (delta * eps / total, RAY),
        (delta.clamp(-eps, eps), CLIPPED),
        (soft(eps), Mistake("every value is shrunk by ε", "ε is taken for the price λ", "λ = max over k of λₖ")),
        (
            (magnitude - paid).clamp_min(0),
            Mistake("all changes have become positive", "the sign is missing", "multiply by delta.sign()"),
        ),
        (
            (delta - paid).clamp_min(0),
            Mistake(
                "negative changes are gone", "the threshold was applied to δ, not to |δ|", "sign(δ) · max(|δ| − λ, 0)"
            ),
        ),
        (
            soft(signed),
            Mistake(
                "the price comes out wrong where changes are negative",
                "δ was sorted without absolute values",
                "sort delta.abs()",
            ),
        ),
        (delta.sign() * (magnitude - paid), no_floor),
        (delta - paid * delta.sign(), no_floor),
        (
            soft(_per_image(price)),
            Mistake(
                "a perturbation inside the ball was made larger",
                "a negative price was paid",
                "inside the price is zero: .clamp_min(0)",
            ),
        ),
        (soft(of_batch[:, None, None, None]), BATCH_SIZE),
        (
            soft(spread.clamp_min(0)),
            Mistake(
                "the results are larger than ε",
                "λ was computed as if all values stayed above zero (k = n); sorting upwards leads there, too",
                "sort with descending=True, and take the largest λₖ",
            ),
        ),
        (
            soft(spread),
            Mistake(
                "λ was computed as if all values stayed above zero (k = n)",
                "the maximum over k is missing",
                "take the largest of all λₖ, and at least zero",
            ),
        ),
        (
            soft(_per_image(_price(delta.abs().flatten(1), eps, pick=torch.amin).clamp_min(0))),
            Mistake(
                "the results are larger than ε", "the smallest λₖ was taken", "the true price is the largest of them"
            ),
        ),
    ]


def steepest_l1(grad: Tensor, eps: float) -> Suspects:
    flat = grad.flatten(1)
    magnitude = flat.abs()

    def at(score: Tensor, value: Tensor | float) -> Tensor:
        """``value`` at the place of each row's highest score."""
        place = score.argmax(1, keepdim=True)
        return torch.zeros_like(flat).scatter(1, place, _like(value, flat).gather(1, place)).view_as(grad)

    largest_of_all = (magnitude == magnitude.max()).to(flat)
    pixels = grad.abs().sum(1, keepdim=True)
    best_pixel = (pixels == pixels.amax((2, 3), keepdim=True)).to(grad)
    signs = eps * flat.sign()
    return [
        (
            at(flat, signs),
            Mistake(
                "a large negative gradient is overlooked",
                "argmax of g, without absolute values",
                "argmax of grad.abs(): turning a value down can earn most",
            ),
        ),
        (
            at(magnitude, eps),
            Mistake("the chosen value always goes up", "the sign is missing", "ε times the sign of g there"),
        ),
        (
            at(magnitude, -signs),
            Mistake("⟨g, δ⟩ is as small as possible", "the sign is turned round", "ε times the sign of g, not −ε"),
        ),
        (
            (largest_of_all * signs).view_as(grad),
            Mistake(
                "only one image of the batch gets a step",
                "argmax over the whole batch",
                "flatten(1), then argmax(dim=1)",
            ),
        ),
        (
            signs.view_as(grad),
            Mistake("every value changes by ε", "this is the step for an L∞ ball", "in L1 the values share ε"),
        ),
        (
            eps * grad / _per_image(flat.norm(dim=1)),
            Mistake(
                "the step runs along the gradient",
                "this is the step for an L2 ball",
                "in L1, all of ε goes to one value",
            ),
        ),
        (
            eps * grad / _per_image(magnitude.sum(1)),
            Mistake(
                "the size is ε, but spread over all values",
                "the gradient was divided by its L1 size",
                "one value earns most: put all of ε there",
            ),
        ),
        (
            at(magnitude, eps * flat),
            Mistake(
                "the step grows with the gradient", "the value of g was taken, not its sign", "ε times the sign of g"
            ),
        ),
        (at(magnitude, flat.sign()), Mistake("the step is 1 whatever ε is", "ε is missing", "ε times the sign of g")),
        (
            best_pixel * eps * grad.sign(),
            Mistake(
                "all colours of the best pixel change by ε",
                "pixels were ranked, not values",
                "L1 counts every value: one of them gets all of ε",
            ),
        ),
    ]


def _price(magnitude: Tensor, eps: float, pick=torch.amax) -> Tensor:
    """λ per row of (N, n), before it is kept from being negative."""
    u = magnitude.sort(dim=1, descending=True).values
    return pick((u.cumsum(1) - eps) / torch.arange(1, u.shape[1] + 1), dim=1)


def _only_if_outside(delta: Tensor, instead: Tensor, eps: float, size: Tensor) -> Tensor:
    return torch.where(size > eps, instead, delta)


def _like(value: Tensor | float, flat: Tensor) -> Tensor:
    return torch.as_tensor(value).to(flat).expand_as(flat)


def _per_image(size: Tensor) -> Tensor:
    return size[:, None, None, None]
