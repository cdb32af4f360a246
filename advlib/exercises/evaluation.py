"""The exercises of chapter 21, honest evaluation, that ask for a function: the worst case per image, McNemar's test."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from advlib.exercises.frame import Case, Formula, Wrong

# --- my_robust_accuracy(model, x, y, results, eps) ----------------------------------------------------------


def _clean(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return model(x).argmax(1) == y


def _in_ball(delta: Tensor, eps: float) -> Tensor:
    return delta.abs().amax((1, 2, 3)) <= eps + 1e-6


def robust_share(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    results: Sequence[Tensor],
    eps: float,
    *,
    clean: Callable[[nn.Module, Tensor, Tensor], Tensor] = _clean,
    inside: Callable[[Tensor, float], Tensor] = _in_ball,
    chosen: Callable[[Sequence[Tensor]], Sequence[Tensor]] = list,
    stood: Callable[[Tensor, Tensor], Tensor] = lambda right, allowed: right | ~allowed,
    join: Callable[[Tensor], Tensor] = lambda stands: stands.all(0),
    end: Callable[[Tensor, Tensor], float] = lambda stands, clean: stands.float().mean().item(),
) -> float:
    """The share of images that are right, and stay so in every result that lies in the ball."""
    right = clean(model, x, y)
    rows = [stood(model(x_adv).argmax(1) == y, inside(x_adv - x, eps)) for x_adv in chosen(results)]
    return end(join(torch.stack([right, *(right & row for row in rows)])), right)


def _bright() -> nn.Module:
    """Class 1 where the mean of the 36 pixels is above 0.5, else class 0."""
    last = nn.Linear(36, 2)
    last.weight.data = torch.tensor([[0.0], [1 / 36]]).expand(2, 36).clone()
    last.bias.data = torch.tensor([0.0, -0.5])
    return nn.Sequential(nn.Flatten(), last).eval()


def _case(seed: int, n: int, many: int, eps: float, largest: float) -> Case:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.rand(*shape, 1, 1, 1, generator=generator)
    side = (draw(n) < 0.5).float() * 2 - 1
    x = (0.5 + side * 1.2 * eps * draw(n)).expand(n, 1, 6, 6).clone()
    y = (side.flatten() > 0).long()
    y[::7] = 1 - y[::7]
    sizes = torch.tensor([0.5, 1.0, 1.0, largest])[(4 * draw(many, n)).long()]
    way = torch.where(draw(many, n) < 0.6, -side, side)
    results = list((x + eps * sizes * way).clamp(0, 1))
    return Case(f"{many} results for {n} images", _bright(), x, y, results, eps)


def _attacked() -> list[Case]:
    """Images near the boundary, and results of many sizes, more than half the right way; some leave the ball."""
    plans = ((24, 3, 0.1, 3), (17, 4, 0.2, 2), (30, 2, 0.05, 3), (20, 2, 0.1, 1), (12, 1, 0.1, 3), (9, 0, 0.1, 1))
    return [_case(i, *plan) for i, plan in enumerate(plans)]


def _of_accuracies(joined: Callable[[list[float]], float]) -> Callable[..., float]:
    """One number for each attack, then one of those."""

    def wrong(model: nn.Module, x: Tensor, y: Tensor, results: Sequence[Tensor], eps: float) -> float:
        return joined(
            [robust_share(model, x, y, [one], eps) for one in results] or [robust_share(model, x, y, [], eps)]
        )

    return wrong


def _cut_to_ball(model: nn.Module, x: Tensor, y: Tensor, results: Sequence[Tensor], eps: float) -> float:
    return robust_share(model, x, y, [x + (one - x).clamp(-eps, eps) for one in results], eps)


def _without_outside(model: nn.Module, x: Tensor, y: Tensor, results: Sequence[Tensor], eps: float) -> float:
    kept = torch.stack([torch.ones_like(y).bool(), *(_in_ball(one - x, eps) for one in results)]).all(0)
    return robust_share(model, x[kept], y[kept], [one[kept] for one in results], eps)


PER_IMAGE = "keep one True or False per image, and combine them with & from attack to attack; the mean comes last"
ROBUST_WRONG = [
    Wrong(_of_accuracies(min), "this is the lowest of the attacks' accuracies",
          "the worst attack for all images, not the worst for each", PER_IMAGE),
    Wrong(_of_accuracies(lambda shares: sum(shares) / len(shares)), "this is the mean of the attacks' accuracies",
          "weak attacks pull it up", PER_IMAGE),
    Wrong(_of_accuracies(max), "this is the highest of the attacks' accuracies", "max() for the worst case",
          PER_IMAGE),
    Wrong(_cut_to_ball, "results outside of the ball count after they were cut to it", "the change was clamped to ±ε",
          "what breaks the rules proves nothing: let the image stand"),
    Wrong(_without_outside, "images with a result outside of the ball are missing in the share",
          "they were left out, above the line and below", "such an image stands, and counts: right | ~allowed"),
    *(Wrong({part: way}, seen, cause, mend) for part, way, seen, cause, mend in [
        ("join", lambda stands: stands[1:].any(0) if len(stands) > 1 else stands[0],
         "an image counts as robust where a single attack fails", "or (any) for and (all)", PER_IMAGE),
        ("chosen", lambda results: results[-1:], "only the last result counts",
         "the record is overwritten in each round", PER_IMAGE),
        ("chosen", lambda results: results[:1], "only the first result counts", "a return inside the loop", PER_IMAGE),
        ("clean", lambda model, x, y: torch.ones_like(y, dtype=torch.bool),
         "an image that is misread before any attack can count as robust", "the clean images were not asked",
         "begin with model(x).argmax(1) == y"),
        ("inside", lambda delta, eps: torch.ones(len(delta), dtype=torch.bool),
         "results outside of the ball count as attacks", "the size of the change is not looked at",
         "let an image whose result left the ball stand"),
        ("inside", lambda delta, eps: delta.flatten(1).norm(dim=1) <= eps + 1e-6,
         "hardly any result counts as one in the ball", "the L2 norm was measured",
         "the L∞ norm: .abs().amax((1, 2, 3))"),
        ("inside", lambda delta, eps: delta.abs().amax((1, 2, 3)) < eps - 1e-6,
         "results at exactly ε are left out", "< where ≤ is meant", "<= eps + 1e-6"),
        ("inside", lambda delta, eps: delta.abs().amax((1, 2, 3)) <= eps,
         "results that rounding puts just beyond ε are left out", "no room for rounding", "<= eps + 1e-6"),
        ("inside", lambda delta, eps: (delta.abs().amax() <= eps + 1e-6).expand(len(delta)),
         "one image outside of the ball makes the whole result invalid", "the maximum over the batch was taken",
         "each image has a size of its own: .amax((1, 2, 3))"),
        ("inside", lambda delta, eps: delta.amax((1, 2, 3)) <= eps + 1e-6,
         "changes downwards are not measured", "abs() is missing", "(x_adv - x).abs()"),
        ("stood", lambda right, allowed: right & allowed, "an image whose result left the ball counts as fooled",
         "and for or", "what breaks the rules proves nothing: right | ~allowed"),
        ("end", lambda stands, clean: (stands.sum() / clean.sum().clamp_min(1)).item(),
         "this is the share of the images that were right before", "divided by their number",
         "robust accuracy divides by all images"),
    ]),
]  # fmt: skip

robust_accuracy = Formula(
    name="robust_accuracy",
    chapter=21,
    title="The worst case, image by image",
    points=3,
    right=robust_share,
    cases=_attacked,
    allowed=["advlib.norms"],
    verified="the worst case per image of none to four attacks, and what left the ball was not counted",
    wrong=ROBUST_WRONG,
)


# --- my_mcnemar(one, other) ---------------------------------------------------------------------------------


def _ways(b: int, c: int, counted: range) -> int:
    return sum(math.comb(b + c, k) for k in counted)


def paired(
    one: Tensor,
    other: Tensor,
    *,
    counts: Callable[[Tensor, Tensor], tuple[int, int]] = lambda one, other: (
        int((one & ~other).sum()),
        int((other & ~one).sum()),
    ),
    ways: Callable[[int, int], int] = lambda b, c: _ways(b, c, range(min(b, c) + 1)),
    sides: int = 2,
    end: Callable[[float], float] = lambda p: min(1.0, p),
) -> float:
    """McNemar's exact test: how likely a fair coin for each image that they differ on is as one-sided as this."""
    b, c = counts(one, other)
    return end(sides * ways(b, c) / 2 ** (b + c))


def _pairs() -> list[Case]:
    def case(name: str, both: int, b: int, c: int, neither: int) -> Case:
        one = torch.tensor([True] * (both + b) + [False] * (c + neither))
        other = torch.tensor([True] * both + [False] * b + [True] * c + [False] * neither)
        order = torch.randperm(len(one), generator=torch.Generator().manual_seed(both))
        return Case(name, one[order], other[order])

    return [
        case("3 against 9", 20, 3, 9, 10),
        case("14 against 4", 31, 14, 4, 22),
        case("8 against 8", 12, 8, 8, 5),
        case("no difference at all", 7, 0, 0, 6),
        case("5 against none", 11, 5, 0, 9),
        case("2 against 7", 40, 2, 7, 3),
        case("1,150 against 1,250", 300, 1150, 1250, 100),
    ]


def _chi_square(less: float) -> Callable[[Tensor, Tensor], float]:
    def wrong(one: Tensor, other: Tensor) -> float:
        b, c = int((one & ~other).sum()), int((other & ~one).sum())
        return math.erfc(math.sqrt(max(abs(b - c) - less, 0) ** 2 / max(b + c, 1) / 2))

    return wrong


def _unpaired(one: Tensor, other: Tensor) -> float:
    p, q, n = one.float().mean().item(), other.float().mean().item(), len(one)
    both = (p + q) / 2
    return math.erfc(abs(p - q) / math.sqrt(2 * both * (1 - both) / n) / math.sqrt(2))


def _all_tossed(one: Tensor, other: Tensor) -> float:
    few, n = min(int((one & ~other).sum()), int((other & ~one).sum())), len(one)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(few + 1)) / 2**n)


SPLIT = "b counts one & ~other, c counts other & ~one"
TAIL = "add C(b + c, k) for k = 0 … min(b, c): range(min(b, c) + 1)"
MCNEMAR_WRONG = [
    Wrong({"sides": 1}, "the probability is that of one side", "the factor 2 is missing",
          "either model may have been the luckier one: 2 ·"),
    Wrong({"end": float}, "a probability is above 1", "both sides count the middle", "min(1, …)"),
    *(Wrong({"ways": ways}, seen, cause, TAIL) for ways, seen, cause in [
        (lambda b, c: _ways(b, c, range(min(b, c))), "the last term of the sum is missing",
         "range(min(b, c)) ends before min(b, c)"),
        (lambda b, c: _ways(b, c, range(max(b, c) + 1)), "the sum runs to the larger count",
         "max for min"),
        (lambda b, c: math.comb(b + c, min(b, c)), "only one term is there", "the probability of just this count"),
        (lambda b, c: _ways(b, c, range(1, min(b, c) + 1)), "the term k = 0 is missing",
         "range begins at 1"),
        (lambda b, c: _ways(b, c, range(b + 1)), "the sum runs to b", "b for min(b, c)"),
    ]),
    *(Wrong({"counts": counts}, seen, cause, SPLIT) for counts, seen, cause in [
        (lambda one, other: (int(one.sum()), int(other.sum())), "b and c are what each model has right",
         "the images on which both agree were counted"),
        (lambda one, other: (int((one & other).sum()), int((~one & ~other).sum())),
         "b and c count the images on which both agree", "the wrong two of the four groups"),
        (lambda one, other: (int((one & ~other).sum()), int((one ^ other).sum())),
         "c counts every difference", "^ counts b and c together"),
    ]),
    Wrong(_all_tossed, "every image tosses a coin, also those on which both agree", "N for b + c",
          "C(b + c, k) over 2^(b + c)"),
    Wrong(_chi_square(0), "this is the approximation by χ²", "chi-square without a correction",
          "exact: binomial coefficients over 2^(b + c)"),
    Wrong(_chi_square(1), "this is the approximation by χ² with a correction", "chi-square, |b − c| − 1",
          "exact: binomial coefficients over 2^(b + c)"),
    Wrong(_unpaired, "this is the test for two separate samples", "the pairs were not used", SPLIT),
]  # fmt: skip

mcnemar = Formula(
    name="mcnemar",
    chapter=21,
    title="Two models, the same images",
    points=3,
    right=paired,
    cases=_pairs,
    verified="the exact probability for seven pairs of models, also where they do not differ",
    wrong=MCNEMAR_WRONG,
)
