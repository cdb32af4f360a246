"""Checkers for the chapter on threat models."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from advlib.contract import frozen
from advlib.evaluate import predict
from advlib.exercises import expect
from advlib.exercises.frame import Attempt, Mistake, Suspects, checks_function

NEAR = 1e-6  # what rounding may add

# --- my_obeys(x, x_adv, eps) ------------------------------------------------------------------------------

# Every picture of the test: what was done to it, as a change of a grey picture of 3 × 4 × 4 numbers.
CHANGES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "nothing was changed": lambda x, eps: x,
    "every number grew by exactly eps": lambda x, eps: x + eps,
    "one number grew by exactly eps": lambda x, eps: _put(x, 0.5 + eps),
    "every number grew by 2 · eps": lambda x, eps: x + 2 * eps,
    "one number fell by 2 · eps": lambda x, eps: _put(x, 0.5 - 2 * eps),
    "one number grew by 1.5 · eps": lambda x, eps: _put(x, 0.5 + 1.5 * eps),
    "every number fell by half of eps": lambda x, eps: x - eps / 2,
    "one number grew by eps and a ten-thousandth": lambda x, eps: _put(x, 0.5 + eps + 1e-4),
    "one number is NaN": lambda x, eps: _put(x, torch.nan),
    "a white number grew above 1, by less than eps": lambda x, eps: x.clamp_min(1) + eps / 2,
    "a black number fell below 0, by less than eps": lambda x, eps: x.clamp_max(0) - eps / 2,
}
GROUNDS = dict.fromkeys(CHANGES, 0.5) | {
    "a white number grew above 1, by less than eps": 1.0,
    "a black number fell below 0, by less than eps": 0.0,
}


def _put(x: Tensor, value: float) -> Tensor:
    x = x.clone()
    x[1, 2, 3] = value
    return x


def _size(x: Tensor, x_adv: Tensor) -> Tensor:
    return (x_adv - x).abs().flatten(1).amax(1)


def _in_box(x_adv: Tensor) -> Tensor:
    return (x_adv.flatten(1).amin(1) >= -NEAR) & (x_adv.flatten(1).amax(1) <= 1 + NEAR)


def judged(x: Tensor, x_adv: Tensor, eps: float) -> Tensor:
    """The right verdicts."""
    return (_size(x, x_adv) <= eps + NEAR) & _in_box(x_adv)


def _wrong_verdicts(x: Tensor, x_adv: Tensor, eps: float) -> Suspects:
    delta = (x_adv - x).flatten(1)
    box, small = _in_box(x_adv), _size(x, x_adv) <= eps + NEAR
    cases = [
        (
            (delta.amax(1) <= eps + NEAR) & box,
            "a picture in which one number fell by 2 · eps passes",
            "the absolute value is missing: a fall counts as less than nothing",
            "(x_adv - x).abs()",
        ),
        (
            small,
            "pictures with numbers below 0 or above 1 pass",
            "the box [0, 1] is not checked",
            "also ask for x_adv >= 0 and x_adv <= 1",
        ),
        (
            (delta.abs().mean(1) <= eps + NEAR) & box,
            "a picture in which one number changed by 2 · eps passes",
            "the mean change is compared with eps",
            "every single number is bound by eps: take the largest, amax(1)",
        ),
        (
            (delta.norm(dim=1) <= eps + NEAR) & box,
            "a picture in which every number changed by at most eps fails",
            "all changes were added up in one size: that is another norm",
            "take the largest change, amax(1)",
        ),
        (
            (delta.abs().sum(1) <= eps + NEAR) & box,
            "a picture in which every number changed by at most eps fails",
            "all changes were added up in one size: that is another norm",
            "take the largest change, amax(1)",
        ),
        (
            ~(
                (_size(x, x_adv) > eps + NEAR)
                | (x_adv.flatten(1).amin(1) < -NEAR)
                | (x_adv.flatten(1).amax(1) > 1 + NEAR)
            ),
            "a picture with NaN passes",
            "comparisons with NaN are False, so nothing was found to forbid",
            "ask for what should be: size <= eps + 1e-6",
        ),
        (
            (_size(x, x_adv) < eps - NEAR) & box,
            "a picture that changed by exactly eps fails",
            "< instead of <=, or no room for rounding",
            "size <= eps + 1e-6",
        ),
        (
            (_size(x, x_adv) <= eps / 255 + NEAR) & box,
            "a picture that changed by half of eps fails",
            "eps was divided by 255 once more",
            "eps already is in units in which white is 1",
        ),
        (
            (_size(x, x_adv) <= eps * 255) & box,
            "pictures that changed by more than eps pass",
            "eps was multiplied by 255",
            "eps already is in units in which white is 1",
        ),
        (
            (_size(x, x_adv) <= 1.01 * eps + 1e-3) & box,
            "a picture with one ten-thousandth too much passes",
            "too much is forgiven",
            "only rounding is forgiven: 1e-6",
        ),
        (
            ~judged(x, x_adv, eps),
            "all verdicts are turned round",
            "True stands for breaking the rules",
            "True is for pictures that obey",
        ),
        (
            judged(x, x_adv, eps).all().expand(len(x)),
            "all pictures get the same verdict",
            "the largest change was taken over the whole batch",
            "flatten(1), then amax(1): one number for each picture",
        ),
    ]
    return [(wrong, Mistake(*words)) for wrong, *words in cases]


@checks_function
def obeys(attempt: Attempt) -> str:
    """``my_obeys(x, x_adv, eps)`` says for each picture whether it keeps to an L∞ budget and to the box."""
    for eps in (8 / 255, 0.1):
        x = torch.stack([torch.full((3, 4, 4), ground) for ground in GROUNDS.values()])
        x_adv = torch.stack([change(image, eps) for image, change in zip(x, CHANGES.values(), strict=True)])
        right, before = judged(x, x_adv, eps), x.clone()
        result = attempt(x, x_adv, eps)
        expect.untouched(x, before, attempt)
        verdicts = _verdicts(result, len(x))
        for wrong, mistake in _wrong_verdicts(x, x_adv, eps):
            if torch.equal(verdicts, wrong):
                raise mistake
        for name, said, true in zip(CHANGES, verdicts.tolist(), right.tolist(), strict=True):
            if said != true:
                raise Mistake(
                    f"where {name}, the verdict is {said}; it should be {true}",
                    mend="at most eps in every number, in [0, 1], a millionth forgiven",
                )
    return f"{len(CHANGES)} pictures judged rightly, at two ε"


def _verdicts(result: object, n: int) -> Tensor:
    if isinstance(result, bool) or (isinstance(result, Tensor) and result.ndim == 0):
        raise Mistake(
            "got one verdict for all pictures",
            "the largest change was taken over the whole batch",
            "flatten(1), then amax(1): one number for each picture",
        )
    if isinstance(result, list | tuple) and all(isinstance(verdict, bool) for verdict in result):
        result = torch.tensor(result)
    if not isinstance(result, Tensor):
        raise Mistake(
            f"got {type(result).__name__}, expected a tensor of {n} verdicts", mend="return a bool tensor (N,)"
        )
    if result.shape != (n,):
        raise Mistake(
            f"the verdicts have shape {tuple(result.shape)}, expected ({n},)",
            "there is one for each number, or channel",
            "flatten(1) before amax(1) or all(1)",
        )
    if result.dtype != torch.bool:
        raise Mistake(f"the verdicts are {result.dtype}, expected True and False", mend="return the comparison itself")
    return result


# --- my_success_rate(before, after, y, target) ------------------------------------------------------------


def fair_rate(before: Tensor, after: Tensor, y: Tensor, target: int | None) -> float:
    """The right rate."""
    right, won = before == y, after != y if target is None else after == target
    return (right & won).sum().item() / max(right.sum().item(), 1)


def _wrong_rates(before: Tensor, after: Tensor, y: Tensor, target: int | None) -> list[tuple[float, Mistake]]:
    right, misread = before == y, after != y
    won = misread if target is None else after == target
    n, share = len(y), fair_rate(before, after, y, target)
    divide = "divide the count of (right & won) by the count of right"
    cases = [
        (
            fair_rate(before, after, y, None),
            "every misread picture counts, also where a target is wanted",
            "the target plays no part",
            "with a target, only after == target is a success",
        ),
        (
            won.sum().item() / n,
            "pictures that were misread before the attack count as successes",
            "before plays no part",
            "count only where before == y",
        ),
        (
            (right & won).sum().item() / n,
            "the successes are counted rightly, but divided by all pictures",
            "pictures that were wrong anyway are in the denominator",
            divide,
        ),
        (
            won.sum().item() / max(right.sum().item(), 1),
            "pictures that were misread before the attack count as successes",
            "only the denominator leaves them out",
            divide,
        ),
        (
            (before != after).sum().item() / n,
            "every change of the answer counts",
            "before was compared with after",
            "a success goes from right to wrong: compare each with y",
        ),
        (1 - share, "this is the share that withstood the attack", "accuracy and success were exchanged", divide),
        (100 * share, "this is a rate in per cent", "it was multiplied by 100", "return a number from 0 to 1"),
        (float((right & won).sum()), "this is a count, not a rate", "the division is missing", divide),
    ]
    return [(wrong, Mistake(*words)) for wrong, *words in cases]


@checks_function
def success_rate(attempt: Attempt) -> str:
    """``my_success_rate(before, after, y, target)`` is the share of the rightly read pictures that the attack won."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(5, (60,), generator=generator)
    before, after = (
        torch.where(torch.rand(60, generator=generator) < share, y, torch.randint(5, (60,), generator=generator))
        for share in (0.6, 0.3)
    )
    for target in (None, 2):
        keep = y != target if target is not None else torch.ones(60, dtype=torch.bool)
        _rate(attempt, before[keep], after[keep], y[keep], target)
    _rate(attempt, (y + 1) % 5, y, y, None)
    return "untargeted, targeted, and where nothing was right before"


def _rate(attempt: Attempt, before: Tensor, after: Tensor, y: Tensor, target: int | None) -> None:
    try:
        result = attempt(before, after, y, target)
        value = float(result)
    except (TypeError, ValueError, RuntimeError):
        raise Mistake(
            f"got {result!r:.40}, expected one number",
            "one value for each picture was returned",
            "count, then divide: .sum().item() / …",
        ) from None
    except Mistake as mistake:
        if "ZeroDivisionError" in mistake.seen:
            raise Mistake(
                "it divides by zero where no picture was right before",
                "there was nothing to win",
                "max(right.sum().item(), 1) in the denominator",
            ) from None
        raise
    share = fair_rate(before, after, y, target)
    if abs(value - share) <= 1e-3:
        return
    if value != value:
        raise Mistake(
            "the rate is NaN where no picture was right before",
            "zero was divided by zero",
            "max(right.sum().item(), 1) in the denominator",
        )
    for wrong, mistake in _wrong_rates(before, after, y, target):
        if abs(value - wrong) <= 1e-3:
            raise mistake
    raise Mistake(f"got {value:.3f}, expected {share:.3f}", mend="count right & won, divide by the count of right")


# --- my_black_box(ask, x, y, eps, questions) --------------------------------------------------------------

EPS, QUESTIONS = 16 / 255, 300


def black_box(answer: Callable, model: nn.Module, x: Tensor, y: Tensor) -> None:
    """``my_black_box(ask, x, y, eps, questions)`` misleads half of the signs and keeps to both budgets."""
    asked = 0

    def ask(images: Tensor) -> Tensor:
        nonlocal asked
        asked += len(images)
        with frozen(model), torch.no_grad():
            return model(images).softmax(1)

    @checks_function
    def judge(attempt: Attempt) -> str:
        before = x.clone()
        result = attempt(ask, x, y, EPS, QUESTIONS)
        expect.untouched(x, before, attempt)
        expect.image_batch(result, x)
        expect.inside_box(result)
        expect.inside_ball(_size(x, result), EPS, "L∞")
        each = asked / len(x)
        if each > QUESTIONS:
            raise Mistake(
                f"{each:.0f} questions were asked for each sign; {QUESTIONS} are allowed",
                "every picture in a call is one question",
                "stop when the budget is spent",
            )
        won = int((predict(model, result)[0] != y).sum())
        if won < len(x) / 2:
            raise Mistake(
                f"{won} of {len(x)} signs are misread; {(len(x) + 1) // 2} are asked for, "
                f"after {each:.0f} questions each",
                "changes at random, without keeping what helped" if each < 2 else "too small steps",
                "keep a change where the probability of y fell, and try the next",
            )
        return f"{won} of {len(x)} signs are misread, after {each:.0f} questions each"

    judge(answer)
