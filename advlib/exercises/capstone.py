"""The exercises of chapter 24, the capstone, that ask for a function: hand in what is inside, and score an attack."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from advlib.exercises.frame import Case, Formula, Wrong, instead_of

# --- my_entry(x, x_adv, eps) --------------------------------------------------------------------------------


def inside(
    x: Tensor,
    x_adv: Tensor,
    eps: float,
    *,
    known: Callable[[Tensor, Tensor], Tensor] = lambda x, x_adv: torch.where(x_adv.isnan(), x, x_adv),
    ball: Callable[[Tensor, float], Tensor] = lambda delta, eps: delta.clamp(-eps, eps),
    end: Callable[[Tensor, Tensor], Tensor] = lambda x, delta: (x + delta).clamp(0, 1),
) -> Tensor:
    """The nearest images to ``x_adv`` in the L∞ ball and in [0, 1]; x where ``x_adv`` is not a number."""
    return end(x, ball(known(x, x_adv) - x, eps))


def _handed_in() -> list[Case]:
    def case(name: str, seed: int, shape: tuple[int, ...], eps: float, spread: float, missing: float = 0.0) -> Case:
        generator = torch.Generator().manual_seed(seed)
        draw = lambda: torch.rand(shape, generator=generator)
        x = draw().round(decimals=2)
        x_adv = x + spread * eps * (2 * draw() - 1)
        return Case(name, x, torch.where(draw() < missing, torch.nan, x_adv), eps)

    small = torch.tensor([0.5, 0.02, 0.98, 0.3]).view(2, 1, 1, 2)
    first = Case("four pixels", small, small + torch.tensor([0.3, -0.08, 0.05, torch.nan]).view(2, 1, 1, 2), 0.1)
    wild = torch.tensor([torch.inf, -torch.inf, 2, -7]).view(1, 1, 2, 2)
    x, x_adv, eps = case("", 5, (2, 3, 4, 4), 0.05, 3, 0.1).args
    return [
        first,
        case("colours, out of the ball", 1, (3, 3, 5, 5), 8 / 255, 4),
        case("some that are not numbers", 2, (4, 1, 6, 6), 0.2, 3, 0.2),
        case("one image, inside already", 3, (1, 3, 4, 4), 0.1, 0.5),
        Case("infinite values", torch.full((1, 1, 2, 2), 0.5), wild, 0.3),
        Case("float64", x.double(), x_adv.double(), eps),
    ]  # fmt: skip


def _whole(bad: Callable[[Tensor, Tensor, float], Tensor]) -> Callable[[Tensor, Tensor, float], Tensor]:
    """Images with anything wrong in them come back clean."""

    def wrong(x: Tensor, x_adv: Tensor, eps: float) -> Tensor:
        harmed = bad(x, x_adv, eps).flatten(1).any(1)[:, None, None, None]
        return torch.where(harmed, x, inside(x, x_adv, eps))

    return wrong


KEEP = "delta = (x_adv - x).clamp(-eps, eps), value by value"
MISSING = "torch.where(x_adv.isnan(), x, x_adv), before anything else"
INSIDE_WRONG = [
    *instead_of("known",
        (lambda x, x_adv: x_adv, "values that are not numbers are handed in", "clamp leaves NaN as it is", MISSING),
        (lambda x, x_adv: x_adv.nan_to_num(0.0), "where there was no number, the value goes down",
         "nan_to_num makes it 0, which is black", MISSING),
        (lambda x, x_adv: torch.where(x_adv.isfinite(), x_adv, x), "infinite values came back clean",
         "isfinite() is false for infinity, too", "isnan(): infinity is cut by the clamp like any other value"),
    ),
    *instead_of("ball",
        (lambda delta, eps: delta, "changes larger than ε are handed in", "only the box was kept", KEEP),
        (lambda delta, eps: delta.clamp(max=eps), "changes below −ε are handed in", "one side of the ball was kept",
         KEEP),
        (lambda delta, eps: eps * delta.sign(), "values inside the ball were moved to its border",
         "the sign was taken: another attack", KEEP),
        (lambda delta, eps: delta * (eps / delta.abs().amax((1, 2, 3), keepdim=True)).clamp(max=1),
         "the whole change of an image is smaller than it need be", "it was scaled down until the largest value fits",
         KEEP),
        (lambda delta, eps: torch.where(delta.abs() <= eps, delta, 0), "values outside of the ball came back clean",
         "they were dropped instead of cut", KEEP),
        (lambda delta, eps: delta * (eps / delta.flatten(1).norm(dim=1))[:, None, None, None].clamp(max=1),
         "the change was cut to an L2 ball", "its L2 norm was brought to ε", KEEP),
    ),
    *instead_of("end",
        (lambda x, delta: x + delta, "pixels below 0 or above 1 are handed in", "the box is missing",
         "end with .clamp(0, 1)"),
        (lambda x, delta: delta, "the change is handed in, not the image", "x was not added", "x + delta"),
        (lambda x, delta: (x + delta).clamp(0, 255), "pixels above 1 are handed in", "the box of 0 … 255",
         "end with .clamp(0, 1)"),
    ),
    Wrong(_whole(lambda x, x_adv, eps: ~((x_adv - x).abs() <= eps + 1e-6)),
          "images that had a value outside came back clean", "the whole image was given up", KEEP),
    Wrong(_whole(lambda x, x_adv, eps: x_adv.isnan()), "images with one value missing came back clean",
          "the whole image was given up", MISSING),
    Wrong(lambda x, x_adv, eps: x_adv.clamp(x - eps, x + eps).nan_to_num(0).clamp(0, 1),
          "where there was no number, the value is 0", "nan_to_num came after the ball was kept", MISSING),
    Wrong(lambda x, x_adv, eps: x_adv.nan_to_num(0.5).clamp(0, 1).clamp(-eps, eps), "the images are nearly black",
          "they were cut to a ball around 0", KEEP),
]  # fmt: skip

entry = Formula(
    name="entry",
    chapter=24,
    title="Stay inside",
    points=2,
    right=inside,
    cases=_handed_in,
    verified="inside ball and box, value by value, also where an attack produced infinity or no number at all",
    wrong=INSIDE_WRONG,
)


# --- my_attack_score(clean, attacked) -----------------------------------------------------------------------

Masks = Sequence[Tensor | None]


def _fooled(before: Tensor, after: Tensor) -> Tensor:
    return before & ~after


def _mean(shares: list[float]) -> float:
    return sum(shares) / len(shares)


def attack_score(
    clean: Sequence[Tensor],
    attacked: Masks,
    *,
    fooled: Callable[[Tensor, Tensor], Tensor] = _fooled,
    of: Callable[[Tensor], int] = lambda before: int(before.sum()),
    forfeited: float | None = 0.0,
    joined: Callable[[list[float]], float] = _mean,
) -> float:
    """The mean over defences of the share of what each reads rightly that the attack made it misread."""
    shares = [
        forfeited if after is None else int(fooled(before, after).sum()) / of(before)
        for before, after in zip(clean, attacked)
    ]
    return joined([share for share in shares if share is not None])


def _matches() -> list[Case]:
    def case(name: str, seed: int, n: int, *left: float | None) -> Case:
        generator = torch.Generator().manual_seed(seed)
        draw = lambda: torch.rand(n, generator=generator)
        clean = [draw() < 0.75 + 0.04 * i for i in range(len(left))]
        # An attack may also make a defence right where it was wrong.
        after = [None if one is None else torch.where(before, draw() < one, draw() < 0.4)
                 for one, before in zip(left, clean)]  # fmt: skip
        return Case(name, clean, after)

    return [
        case("three defences", 0, 20, 0.2, 0.9, None),
        case("four defences", 1, 31, 0.1, 0.5, 0.6, 0.95),
        case("five, of which two were forfeited", 2, 25, 0.3, None, 0.8, 0.5, None),
        case("a single defence", 3, 16, 0.5),
        case("every match forfeited", 4, 12, None, None),
        case("three defences, one of them unharmed", 5, 40, 1.0, 0.05, 0.6),
    ]


def _pooled(clean: Sequence[Tensor], attacked: Masks) -> float:
    before = sum(int(one.sum()) for one in clean)
    return sum(int(_fooled(*pair).sum()) for pair in zip(clean, attacked) if pair[1] is not None) / before  # type: ignore[arg-type]


def _over_all(joined: Callable[[Tensor], Tensor]) -> Callable[[Sequence[Tensor], Masks], float]:
    """One verdict for each sign over all defences, then the mean."""

    def wrong(clean: Sequence[Tensor], attacked: Masks) -> float:
        rows = [before if after is None else after for before, after in zip(clean, attacked)]
        return 1 - joined(torch.stack([before & row for before, row in zip(clean, rows)])).float().mean().item()

    return wrong


ONE_EACH = "a share for each defence first, then their mean: every defence counts the same"
BEFORE = "count the signs that were read rightly clean and are misread now: before & ~after"
BY_CLEAN = "divide by the number of signs that this defence reads rightly clean"
FORFEIT = "a forfeited match counts in the mean, with 0"
SCORE_WRONG = [
    Wrong(_pooled, "the signs of all defences were thrown together", "one fraction for all matches", ONE_EACH),
    Wrong({"of": len}, "each share is too small", "divided by all signs", BY_CLEAN),
    Wrong({"forfeited": None, "joined": lambda shares: _mean(shares or [0.0])},
          "forfeited matches do not count", "they were left out of the mean", FORFEIT),
    Wrong({"forfeited": 1.0}, "a forfeited match counts as a full success", "1 for 0", FORFEIT),
    *instead_of("fooled",
        (lambda before, after: before & after, "this is the share that still stands", "not fooled, but left",
         BEFORE),
        (lambda before, after: ~after, "signs that were misread from the start count as fooled",
         "only the reading after the attack was looked at", BEFORE),
        (lambda before, after: before ^ after, "signs that the attack set right count as fooled",
         "every change of the reading was counted", BEFORE),
    ),
    *instead_of("joined",
        (min, "only the defence that did best counts", "the worst case over defences", ONE_EACH),
        (max, "only the defence that did worst counts", "the best case over defences", ONE_EACH),
        (lambda shares: sorted(shares)[len(shares) // 2], "this is the middle defence's share", "the median",
         ONE_EACH),
        (lambda shares: shares[-1], "only the last defence counts", "the share is overwritten in each round", ONE_EACH),
        (lambda shares: shares[0], "only the first defence counts", "a return inside the loop", ONE_EACH),
        (sum, "the shares were added up", "not divided by the number of defences", ONE_EACH),
    ),
    Wrong(_over_all(lambda rows: rows.all(0)), "a sign counts as fooled where a single defence misreads it",
          "the worst case that scores a defence", ONE_EACH),
    Wrong(_over_all(lambda rows: rows.any(0)), "a sign counts as fooled only where all defences misread it",
          "joined sign by sign", ONE_EACH),
]  # fmt: skip

attack_points = Formula(
    name="attack_points",
    chapter=24,
    title="Score an attack",
    points=3,
    right=attack_score,
    cases=_matches,
    verified="the mean over one to five defences, of what each read rightly before; forfeited matches count as 0",
    wrong=SCORE_WRONG,
)
