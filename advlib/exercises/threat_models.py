"""The exercises of chapter 1, threat models."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from advlib import losses
from advlib.contract import frozen
from advlib.exercises import properties, specimens
from advlib.exercises.frame import Case, Explore, Formula, Mistake, Wrong
from advlib.exercises.harm import damage

# The parts of a formula.
Map = Callable[[Tensor], Tensor]
Join = Callable[[Tensor, Tensor], Tensor]

NEAR = 1e-6  # what rounding may add

# --- my_obeys(x, x_adv, eps) ------------------------------------------------------------------------------


def _largest(delta: Tensor) -> Tensor:
    return delta.flatten(1).amax(1)


def _in_box(x_adv: Tensor) -> Tensor:
    return ((x_adv >= -NEAR) & (x_adv <= 1 + NEAR)).flatten(1).all(1)


def judged(
    x: Tensor, x_adv: Tensor, eps: float, *,
    change: Map = torch.abs,
    size: Map = _largest,
    small: Callable[[Tensor, float], Tensor] = lambda size, eps: size <= eps + NEAR,
    box: Map = _in_box, both: Join = torch.logical_and, end: Callable[[Tensor], Any] = lambda verdicts: verdicts,
) -> Any:  # fmt: skip
    """For each picture: does it keep to the L∞ budget and to the box?"""
    return end(both(small(size(change(x_adv - x)), eps), box(x_adv)))


# Pictures: their ground, by how many ε one number changes, and by how many all do.
CHANGES = [
    *[(0.5, 0, 0), (0.5, 0, 1), (0.3, 0, -1), (0.45, 1, 0), (0.7, -1, 0), (0.0, 1, 0), (0.5, 0, 2), (0.5, -2, 0)],
    *[(0.5, 1.5, 0), (0.5, 0, -0.5), (0.5, torch.nan, 0), (1.0, 0.5, 0), (0.0, -0.5, 0), (1.0, -0.5, 0), (0.0, 0, 0)],
    *[(0.4, 1.02, 0), (1.0, 0, 0.5), (0.0, 0, -0.5), (0.2, 0.7, 0.2), (1.0, 2, 0)],
    *[(0.5, -2, 2), (0.5, 0, 0.05), (0.5, 3, 0), (0.5, 0, -2), (0.1, 8, 0)],
]


def _pictures() -> list[Case]:
    found = []
    kinds = [(8 / 255, (3, 4, 4)), (0.1, (1, 6, 5)), (0.02, (2, 3, 3))]
    for eps, shape in kinds:
        x = torch.stack([torch.full(shape, ground) for ground, _, _ in CHANGES])
        x_adv = x + eps * torch.tensor([every for _, _, every in CHANGES])[:, None, None, None]
        x_adv[:, -1, -1, -2] += eps * torch.tensor([one for _, one, _ in CHANGES])
        found.append(Case(f"ε = {eps:.3g}", x, x_adv, eps))
    grey, ups = torch.full((2, 1, 4, 4), 0.5), torch.tensor([0.9, -0.9]).repeat(8).view(4, 4)
    cancel = Case("changes up and down, ε = 0.05", grey, grey + 0.05 * torch.stack([ups, 3 * ups])[:, None], 0.05)
    _, x, x_adv, eps = "", *found[-1].args
    dark = torch.zeros(3, 1, 2, 2)
    hole = dark + torch.tensor([0.0, torch.nan, 0.01])[:, None, None, None]
    found += [cancel, Case("NaN in dark pictures", dark, hole, eps)]
    found += [Case("a batch of one", x[7:8], x_adv[7:8], eps), Case("all obey", x[:6], x_adv[:6], eps)]
    return [*found, Case("float64", x.double(), x_adv.double(), eps)]


def _verdicts(result: Any) -> Any:
    """One bool is a tensor without dimensions."""
    return torch.tensor(result) if isinstance(result, bool) else result


def _misjudged(case: Case, result: Any, right: Tensor) -> None:
    result = _verdicts(result)
    if isinstance(result, Tensor) and (result.shape, result.dtype) != (right.shape, torch.bool):
        got = "one verdict for all" if result.ndim == 0 else properties.described(result)
        raise Mistake(
            f"got {got}, expected True or False for each of {len(right)} pictures",
            mend="flatten(1) makes a row of each picture, then amax(1) or all(1); return the comparison itself",
        )
    properties.like(case, result, right)
    x, x_adv, eps = case.args
    i = int((result != right).nonzero()[0])
    raise Mistake(
        f"a picture whose numbers reach from {x_adv[i].min():.4g} to {x_adv[i].max():.4g}, and of which one changed by "
        f"{(x_adv - x)[i].abs().max():.4g}, gets {bool(result[i])}; ε is {eps:.4g}, so it should be {bool(right[i])}",
        mend="at most eps in every number, all in [0, 1], a millionth forgiven",
    )


def _in_all(x, x_adv, eps):
    return (x_adv - x).abs() <= eps + NEAR


ALL_NUMBERS, UNIT = "take the largest change of each picture, amax(1)", "eps already is in units in which white is 1"
OBEYS_WRONG = [
    Wrong({"change": lambda delta: delta}, "a picture in which one number fell by 2 · eps passes",
          "the absolute value is missing: a fall counts as less than nothing", "(x_adv - x).abs()"),
    Wrong({"change": torch.neg}, "a picture in which a number grew by more than eps passes",
          "x − x_adv without the absolute value: growing counts as less than nothing", "(x_adv - x).abs()"),
    Wrong({"box": lambda x_adv: torch.tensor(True)}, "pictures with numbers below 0 or above 1 pass",
          "the box [0, 1] is not checked, or it is asked of x instead of x_adv",
          "also ask for x_adv >= 0 and x_adv <= 1"),
    Wrong({"box": lambda x_adv: (x_adv <= 1 + NEAR).flatten(1).all(1)}, "a picture with numbers below 0 passes",
          "of the box only the upper border is checked", "also ask for x_adv >= 0"),
    Wrong({"box": lambda x_adv: (x_adv >= -NEAR).flatten(1).all(1)}, "a picture with numbers above 1 passes",
          "of the box only the lower border is checked, or the upper one taken for 255", "also ask for x_adv <= 1"),
    Wrong({"box": lambda x_adv: ((x_adv > 0) & (x_adv < 1)).flatten(1).all(1)}, "pictures with black or white fail",
          "the borders of the box are left out", "0 and 1 are allowed: >= and <="),
    Wrong({"small": lambda size, eps: torch.tensor(True)}, "pictures that changed by more than eps pass",
          "only the box is checked, or eps was multiplied by 255", "also ask for a largest change of at most eps"),
    Wrong({"both": torch.logical_or}, "one of the two rules is enough for a picture to pass", "or instead of and",
          "both have to hold: &"),
    Wrong({"size": lambda delta: delta.flatten(1).mean(1)}, "a picture in which one number changed by 2 · eps passes",
          "the mean change is compared with eps", ALL_NUMBERS),
    Wrong({"size": lambda delta: delta.flatten(1).amin(1)}, "a picture in which one number changed by 2 · eps passes",
          "the smallest change is compared with eps: one obedient number is enough", ALL_NUMBERS),
    Wrong({"size": lambda delta: delta.flatten(1).norm(dim=1)},
          "a picture in which every number changed by at most eps fails",
          "the length of the change, its L2 norm, is compared with eps", ALL_NUMBERS),
    Wrong({"size": lambda delta: delta.flatten(1).sum(1)},
          "a picture in which every number changed by at most eps fails",
          "the changes were added up: that is the L1 norm", ALL_NUMBERS),
    Wrong({"size": lambda delta: delta[:, 0].flatten(1).amax(1)}, "a change in the last colour is overlooked",
          "only the first channel is looked at", "flatten(1) makes one row of all numbers of a picture"),
    Wrong(lambda *given: judged(*given, size=lambda delta: delta.amax().expand(len(delta))),
          "one picture that changed too much lets all others fail",
          "the largest change, or all(), was taken over the whole batch",
          "flatten(1), then amax(1): one number for each picture"),
    Wrong({"small": lambda size, eps: ~(size > eps + NEAR),
           "box": lambda x_adv: ~((x_adv < -NEAR) | (x_adv > 1 + NEAR)).flatten(1).any(1)},
          "a picture with NaN passes",
          "comparisons with NaN are False, so nothing was found to forbid (or NaN was made a number)",
          "ask for what should be: size <= eps + 1e-6"),
    Wrong({"small": lambda size, eps: size <= eps}, "pictures that changed by exactly eps fail, some of them",
          "no room for rounding: x + eps − x may come out a little above eps", "size <= eps + 1e-6"),
    Wrong({"small": lambda size, eps: size < eps}, "a picture that changed by exactly eps fails",
          "< instead of <=, and no room for rounding", "size <= eps + 1e-6"),
    Wrong({"small": lambda size, eps: size < eps - NEAR}, "a picture that changed by exactly eps fails",
          "the millionth was taken off instead of added", "size <= eps + 1e-6"),
    Wrong({"small": lambda size, eps: size <= eps / 255 + NEAR}, "a picture that changed by half of eps fails",
          "eps was divided by 255 once more, or the change multiplied by 255", UNIT),
    Wrong({"small": lambda size, eps: size <= eps / 2 + NEAR}, "a picture that changed by exactly eps fails",
          "ε is taken for the width of the interval, from end to end", "ε is the largest change in either direction"),
    Wrong({"small": lambda size, eps: size <= 2 * eps + NEAR}, "a picture that changed by 2 · eps passes",
          "twice as much is allowed", "size <= eps + 1e-6"),
    Wrong({"small": lambda size, eps: size <= 8 / 255 + NEAR}, "the budget is 8/255, whatever eps is",
          "a number is written into the code instead of eps", "use the argument eps"),
    Wrong({"small": lambda size, eps: size <= eps + 1e-3}, "a picture with two per cent too much passes",
          "too much is forgiven", "only rounding is forgiven: 1e-6"),
    Wrong({"end": torch.logical_not}, "all verdicts are turned round", "True stands for breaking the rules",
          "True is for pictures that obey"),
    Wrong(lambda x, x_adv, eps: torch.ones(len(x)).bool(), "every picture passes", "nothing is compared",
          "size <= eps + 1e-6, and all of x_adv in [0, 1]"),
    Wrong(lambda x, x_adv, eps: torch.zeros(len(x)).bool(), "no picture passes, not even x itself", "",
          "size <= eps + 1e-6, and all of x_adv in [0, 1]"),
    Wrong({"end": lambda verdicts: bool(verdicts.all())}, "got one verdict for all", "", "flatten(1)"),
    Wrong(lambda *given: judged(*given) & ~given[1].isnan().any(), "one picture with NaN lets all others fail",
          "NaN was asked for over the whole batch", "one verdict for each picture: flatten(1), then any(1)"),
    Wrong(_in_all, "got a tensor of shape (25, 3, 4, 4) and type bool", "", "flatten(1)"),
    Wrong({"end": torch.Tensor.float}, "got a tensor of shape (25,) and type float32", "", "the comparison itself"),
    Wrong(lambda x, x_adv, eps: (_in_all(x, x_adv, eps) & (x_adv >= -NEAR) & (x_adv <= 1 + NEAR)).flatten(1).any(1),
          "one number that keeps to both rules is enough for a picture to pass", "any() instead of all()",
          "flatten(1).all(1)"),
    *(Wrong({"change": change}, *words) for change, *words in [
        (torch.square, "a picture that changed by more than eps passes: its square is smaller",
         "squares of changes are compared with eps", "(x_adv - x).abs()"),
        (lambda delta: delta.mean((1, 2, 3), keepdim=True).abs(), "changes up and down cancel in a picture",
         "the mean change, abs() after it", ALL_NUMBERS),
        (lambda delta: delta.sum((1, 2, 3), keepdim=True).abs(),
         "changes up and down cancel, and many small ones add up",
         "the sum of the changes, abs() after it", ALL_NUMBERS),
    ]),
    *(Wrong(lambda x, x_adv, eps, size=size, box=box: (size(x, x_adv) <= eps + NEAR) & box(x, x_adv), *words)
      for size, box, *words in [
        (lambda x, x_adv: _largest((x_adv.clamp(0, 1) - x).abs()), lambda x, x_adv: _in_box(x_adv.clamp(0, 1)),
         "pictures outside of [0, 1] pass", "x_adv was clipped before it was judged", "judge x_adv as it is"),
        (lambda x, x_adv: (_largest(x_adv) - _largest(x)).abs(), lambda x, x_adv: _in_box(x_adv),
         "only the brightest numbers of both pictures are compared", "max before the difference", ALL_NUMBERS),
        (lambda x, x_adv: _largest((x_adv - x).abs() / (x.abs() + 1e-8)), lambda x, x_adv: _in_box(x_adv),
         "dark numbers may change less than bright ones", "the change was divided by x", "(x_adv - x).abs()"),
        (lambda x, x_adv: _largest((x_adv - x).abs()), lambda x, x_adv: _in_box(x_adv - x),
         "changes downwards are forbidden", "the box is asked of the change", "ask it of x_adv"),
    ]),
    Wrong({"small": lambda size, eps: size > eps + NEAR,
          "box": lambda x_adv: ((x_adv < -NEAR) | (x_adv > 1 + NEAR)).flatten(1).any(1),
           "both": torch.logical_or}, "the verdicts are turned round, but for NaN",
           "True stands for breaking the rules",
          "True is for pictures that obey"),
]  # fmt: skip

obeys = Formula(
    name="obeys",
    chapter=1,
    title="Judge the attacker",
    points=2,
    right=judged,
    cases=_pictures,
    same=lambda a, b: properties.alike(_verdicts(a), _verdicts(b)),
    kind=_misjudged,
    verified=f"{len(CHANGES)} kinds of pictures judged rightly, at three ε",
    wrong=OBEYS_WRONG,
)


# --- my_success_rate(before, after, y, target) ------------------------------------------------------------


def fair_rate(
    before: Tensor, after: Tensor, y: Tensor, target: int | None = None, *,
    right: Join = torch.eq,
    won: Callable[..., Tensor] = lambda before, after, y, target: after != y if target is None else after == target,
    hits: Join = torch.logical_and,
    among: Callable[[Tensor, Tensor], Any] = lambda right, won: right.sum().item(),
    share: Callable[[float, float], float] = lambda count, of: count / max(of, 1),
    end: Callable[[float], Any] = float,
) -> Any:  # fmt: skip
    """Of the pictures read rightly before, the share that the attack won."""
    was, is_won = right(before, y), won(before, after, y, target)
    return end(share(hits(was, is_won).sum().item(), among(was, is_won)))


def _attacked() -> list[Case]:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(5, (60,), generator=generator)
    before, after = (
        torch.where(torch.rand(60, generator=generator) < share, y, torch.randint(5, (60,), generator=generator))
        for share in (0.6, 0.3)
    )
    found = [Case("60 pictures without a target", before, after, y, None)]
    for target in (2, 0, 4):
        keep = y != target
        found.append(Case(f"the target {target}", before[keep], after[keep], y[keep], target))
    one = torch.tensor([3])
    return [
        *found,
        Case("pictures of which none was right before", (y + 1) % 5, after, y, None),
        Case("such pictures, with the target 0", one, one - 3, one + 1, 0),
        Case("one picture, won", one, one + 1, one, None),
        Case("one picture, lost", one, one, one, None),
    ]


def _no_rate(case: Case, result: Any, right: float) -> None:
    if isinstance(result, Tensor) and result.numel() != 1:
        raise Mistake(
            f"got {properties.described(result)}, expected one number", mend="count, then divide: .sum().item() / …"
        )
    found = properties.number(result, "the rate")
    raise Mistake(f"on {case.name}, the rate is {found:.4g}, expected {right:.4g}")


def _each(before, after, y, target):
    return (before == y) & (after != y if target is None else after == target)


def _all(before: Tensor, y: Tensor) -> Tensor:
    return torch.ones_like(before == y)


def _lost_accuracy(before, after, y, target):
    return ((before == y).sum() - (after == y).sum()).item() / len(y)


DIVIDE = "divide the count of (right & won) by the count of right"
NO_ZERO = "max(right.sum().item(), 1) in the denominator"
SUCCESS_RATE_WRONG = [
    Wrong({"won": lambda before, after, y, target: after != y},
          "every misread picture counts, also where a target is wanted", "the target plays no part",
          "with a target, only after == target is a success"),
    Wrong({"won": lambda before, after, y, target: after == target if target else after != y},
          "with the target 0, every misread picture counts", "`if target` takes class 0 for no target",
          "ask `if target is None`"),
    Wrong({"won": lambda before, after, y, target: torch.as_tensor(after == target)},
          "without a target, nothing counts as a success", "after is compared with target, also where that is None",
          "after != y where target is None"),
    Wrong({"won": lambda before, after, y, target: after != y if target is None else after != target},
          "with a target, every answer but the target counts", "!= instead of ==", "after == target is the success"),
    Wrong({"won": lambda before, after, y, target: before != after, "right": _all},
          "every change of the answer counts", "before was compared with after",
          "a success goes from right to wrong: compare each with y"),
    Wrong({"right": _all}, "pictures that were misread before the attack count as successes", "before plays no part",
          "count only where before == y"),
    Wrong({"right": torch.ne}, "the pictures that were misread before the attack are counted, and no others",
          "before != y instead of before == y", "right = before == y"),
    Wrong({"among": lambda right, won: len(right)}, "the successes are counted rightly, but divided by all pictures",
          "pictures that were wrong anyway are in the denominator", DIVIDE),
    Wrong({"hits": lambda right, won: won}, "pictures that were misread before the attack count as successes",
          "only the denominator leaves them out", DIVIDE),
    Wrong(lambda before, after, y, target: fair_rate(after, before, y, target), "the rate is that of the way back",
          "before and after are exchanged", "right = before == y, won = after != y, or after == target"),
    Wrong({"hits": lambda right, won: won & right.any()}, "pictures that were misread before the attack count as wins",
          "they are left out below the line, but not above it", DIVIDE),
    Wrong({"among": lambda right, won: won.sum().item()}, "the share is one of the pictures that are misread after",
          "divided by the count of won", DIVIDE),
    Wrong({"hits": torch.logical_or}, "pictures count that were right before or that are won", "or instead of and",
          "right & won"),
    Wrong(_lost_accuracy, "this is the accuracy before minus the accuracy after",
          "pictures that the attack happened to mend are taken off, and all pictures are in the denominator", DIVIDE),
    Wrong({"end": lambda share: 1 - share}, "this is the share that withstood the attack",
          "accuracy and success were exchanged", DIVIDE),
    Wrong({"end": lambda share: 100 * share}, "this is a rate in per cent", "it was multiplied by 100",
          "return a number from 0 to 1"),
    Wrong({"share": lambda count, of: count}, "this is a count, not a rate", "the division is missing", DIVIDE),
    Wrong({"share": lambda count, of: count // max(of, 1)}, "the rate is 0 or 1, nothing between",
          "// divides without a remainder", "use /"),
    Wrong({"share": lambda count, of: count / of}, "it divides by zero where no picture was right before",
          "there was nothing to win", NO_ZERO),
    Wrong({"share": lambda count, of: count / of if of else torch.nan},
          "the rate is NaN where no picture was right before",
          "zero was divided by zero, or a mean taken over nothing", NO_ZERO),
    Wrong({"share": lambda count, of: count / of if of else 1.0}, "the rate is 1 where no picture was right before",
          "nothing to win is counted as won", "the rate is 0 there"),
    Wrong({"share": lambda count, of: count / (of + 1)},
          "the rate is a little too small: its denominator is 1 too large", "1 was added against a division by zero",
          NO_ZERO),
    Wrong(_each, "got a tensor of shape (60,) and type bool, expected one number", "", "count, then divide"),
    Wrong({"won": lambda before, after, y, target: after == y}, "this is the share that kept its right answer",
          "after == y: accuracy and success were exchanged", "after != y, or after == target"),
    Wrong({"won": lambda before, after, y, target: after == y if target is None else after == target},
          "without a target, the pictures that stay right are counted", "== instead of !=",
          "after != y where target is None"),
    Wrong({"won": lambda before, after, y, target: after == y if target is None else after != target},
          "this is the share that withstood the attack", "== and != are exchanged", "after != y, or after == target"),
    Wrong({"won": lambda before, after, y, target: before != after if target is None else after == target,
           "right": _all}, "all pictures count, and without a target every change of the answer",
          "y plays no part", "count where before == y: after != y, or after == target"),
    *(Wrong(lambda before, after, y, target, rate=rate: rate(before == y, after, y, target), *words) for rate,
           *words in [
        (lambda right, after, y, target: (after == y).float().mean().item(), "this is the accuracy after the attack",
         "before and target play no part", DIVIDE),
        (lambda right, after, y, target: (after != y).float().mean().item(),
         "this is the share of all that is misread after",
         "before and target play no part", DIVIDE),
        (lambda right, after, y, target: 1 - (after == y).sum().item() / max(right.sum().item(), 1),
         "this is the accuracy lost, as a share of that before", "pictures that the attack mended are taken off",
         DIVIDE),
        (lambda right, after, y,
         target: (right.sum() - (after == y).sum()).item() / max(right.sum().item(), 1) * right.any().item(),
         "this is the accuracy lost, as a share of that before",
         "pictures that the attack mended are taken off, and no target counts", DIVIDE),
    ]),
    Wrong(lambda before, after, y, target: fair_rate(before, after, y, target) if target is not None else (
          ((before == y).sum() - (after == y).sum()) / (before == y).sum()).item() if (before == y).any() else 0.0,
          "without a target, this is the accuracy lost, as a share of that before",
          "pictures that the attack mended are taken off", DIVIDE),
    Wrong(lambda before, after, y, target: fair_rate(before, after, y, target) * (
          1 if target is None else (before == y).float().mean().item()),
          "with a target, it is divided by all pictures", "two denominators", DIVIDE),
    Wrong(lambda before, after, y, target: (_each(before, after, y, target).sum() / max((after != y).sum(), 1)).item(),
          "divided by the pictures that are misread after", "another denominator", DIVIDE),
    Wrong(lambda before, after, y, target: (before != after).float().mean().item() if target is None
          else fair_rate(before, after, y, target),
          "without a target, every change of the answer counts, of all pictures",
          "before was compared with after", "count where before == y, and after != y"),
    *(Wrong({"end": lambda share, digits=digits: round(share, digits)},
           f"the rate is rounded to {digits or 'no'} digit{'s' * (digits != 1)}",
            "round()", "return the number itself") for digits in (2, 1, 0)),
]  # fmt: skip

success_rate = Formula(
    name="success_rate",
    chapter=1,
    title="Count fairly",
    points=3,
    right=fair_rate,
    cases=_attacked,
    kind=_no_rate,
    same=properties.to_three_digits,
    verified="right without a target, with three targets, 0 among them, and where nothing was right before",
    wrong=SUCCESS_RATE_WRONG,
)


# --- my_black_box(ask, x, y, eps, questions) --------------------------------------------------------------

EPS, QUESTIONS = 16 / 255, 300


def _only_asks(exercise: Explore, answer: Callable, notes: list[str], model: nn.Module, x: Tensor, y: Tensor) -> str:
    """``my_black_box(ask, x, y, eps, questions)`` misleads half of the images, keeps to both budgets and only asks."""
    before, asked = (x.clone(), y.clone()), 0
    with specimens.counting(model) as (network, passes):

        def count(images: Tensor) -> None:
            nonlocal asked
            asked += len(images)

        def ask(images: Tensor) -> Tensor:
            with frozen(network), torch.no_grad():
                p = network(images).softmax(1)
            count(images)
            return p

        result = exercise.attempt(answer, (ask, x, y, EPS, QUESTIONS), notes)
        beside = passes() - asked
    if beside:
        raise Mistake(
            f"{abs(beside)} images went through the network otherwise than through `ask`",
            "the notebook's network, a copy of it, or the one behind `ask` was used",
            "the attacker of a black box only sees answers: use nothing but ask(images)",
        )
    for harm in damage(lambda x, y: None, before, (x, y)):
        raise harm.mistake
    result = properties.images(result, before[0])
    properties.inside_ball((result - x).abs().flatten(1).amax(1), EPS, "L∞")
    each, won = asked / len(x), int(properties.misread(model, result, y).sum())
    if each > QUESTIONS:
        raise Mistake(
            f"{each:.0f} questions were asked for each sign; {QUESTIONS} are allowed",
            mend="every picture in a call is one question: stop when the budget is spent",
        )
    if not asked and won >= len(x) / 2:
        raise Mistake(
            f"{won} of {len(x)} signs are misread, but `ask` was never called",
            mend="find the pictures inside the function, for whatever `ask` and x it is given",
        )
    if won < len(x) / 2:
        change = (result - x).abs().max().item()
        how = (
            f"; the largest change is {change:.3g}, ε is {EPS:.3g}" if change else "; the pictures came back unchanged"
        )
        seen = (
            f"{won} of {len(x)} signs are misread; questions for each: {each:.0f}. {(len(x) + 1) // 2} have to be{how}"
        )
        if not asked:
            raise Mistake(seen, mend="ask(images) tells whether a change helped: keep those that did")
        with torch.no_grad():
            odds = [losses.log_odds(model(images), y) for images in (x, result)]
        if (odds[1] < odds[0]).float().mean() > 0.5:
            raise Mistake(f"{seen}. Most are read more surely than before", mend="keep what made y less probable")
        if 0 < change < 1.01 * EPS / 255:
            raise Mistake(seen, "eps was divided by 255", "it already is in units in which white is 1: use it as it is")
        if (result - x).abs().mean() < 0.6 * EPS < change / 0.6:
            mend = "change whole squares or stripes, each value by the full ε, and keep what makes y less probable"
            raise Mistake(f"{seen}, and a value changes by {(result - x).abs().mean():.3g} on average", mend=mend)
        raise Mistake(seen, mend="try whole squares or stripes, each on the best picture so far, not on x again")
    return f"{won} of {len(x)} signs are misread; questions for each: {each:.0f}"


def _victim() -> tuple[nn.Module, Tensor, Tensor]:
    """A linear model, easy to mislead, and eight pictures of little contrast with what it reads in them."""
    model, x = specimens.linear(1, 16, 4, seed=0), 0.45 + 0.1 * specimens.images(8, 1, 16, seed=0)
    with torch.no_grad():
        return model, x, model(x).argmax(1)


def _square(further: float = 1.0, first: int = 0, whom: Callable = lambda ask: ask) -> Callable:
    def searches(ask, x, y, eps, questions):
        from advlib import Linf, attacks

        for _ in range(first):
            ask(x)
        return attacks.square(whom(ask), x, y, Linf(further * eps), queries=questions)

    return searches


def _noise(ask, x, y, eps, questions):
    return (x + eps * torch.randn(x.shape).sign()).clamp(0, 1)


def _behind(ask: Callable) -> nn.Module:
    return next(cell.cell_contents for cell in ask.__closure__ or () if isinstance(cell.cell_contents, nn.Module))


def _after_all(change: Callable[[Tensor, Tensor], Tensor]) -> Callable:
    return lambda *given: lambda ask, x, *rest: change(_square()(ask, x, *rest), x)


BESIDE = "images went through the network otherwise than through `ask`"
BLACK_BOX_WRONG = [
    Wrong(lambda model, *_: _square(whom=lambda ask: model), BESIDE, "the notebook's model"),
    Wrong(lambda model, *_: _square(whom=lambda ask: copy.deepcopy(model)), BESIDE, "a copy"),
    Wrong(lambda model, *_: _square(whom=lambda ask: model.forward), BESIDE, "the model's forward"),
    Wrong(lambda *_: _square(whom=_behind), BESIDE, "the network behind `ask`"),
    Wrong(lambda *_: lambda ask, x, y, eps, questions: x.clone(), "0 of 8 signs are misread; questions for each: 0"),
    Wrong(lambda *_: _noise, "of 8 signs are misread; questions for each: 0. 4 have to be"),
    Wrong(lambda *_: _square(first=QUESTIONS), "questions were asked for each sign; 300 are allowed"),
    Wrong(lambda *_: _square(further=4), "but ε is 0.0627"),
    Wrong(_after_all(lambda found, x: found - 1), "pixels reach from"),
    Wrong(_after_all(lambda found, x: (found - x).clamp_min(0)), "the L∞ size of a perturbation is"),
    Wrong(_after_all(lambda found, x: found[:1]), "the result has shape (1, 1, 16, 16), expected (8, 1, 16, 16)"),
    Wrong(_after_all(lambda found, x: found * torch.nan), "values are NaN or infinite"),
    Wrong(_after_all(lambda found, x: x.copy_(found)), "the caller's x was changed"),
    Wrong(lambda *_: lambda ask, x, y, eps, questions: torch.autograd.grad(ask(x.clone().requires_grad_()).sum(), x)[0],
          "does not require grad"),
]  # fmt: skip

black_box = Explore(
    name="black_box",
    chapter=1,
    title="Explore: few questions",
    points=3,
    live=True,
    measured=_only_asks,
    allowed=["advlib"],
    seconds=120,
    example=_victim,
    right=lambda *given: _square(),
    wrong=BLACK_BOX_WRONG,
)
