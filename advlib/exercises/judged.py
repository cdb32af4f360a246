"""Chapter 21's two defences to judge: a verdict counts with the images that bear it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from advlib.answers import right as is_right
from advlib.exercises import properties
from advlib.exercises.frame import Explore, Mistake, Wrong
from advlib.intervals import Share
from advlib.norms import Ball, Linf

NEAR = 0.05  # so far may the images of who says "stands" be from the fewest that we know how to leave
WORDS = ("stands", "falls")


def _left(model: nn.Module, x: Tensor, y: Tensor) -> Share:
    right = is_right(model, x, y)
    return Share(int(right.sum()), len(right))


def _adaptive(model: Any, x: Tensor, y: Tensor, within: Ball) -> Tensor:
    """Straight past what stands before the network, judged by the whole."""
    from advlib import attacks

    past = attacks.bpda(model.model, model.transform)
    return attacks.pgd(past, x, y, within, steps=20, early_stop=False)


def _judged(
    exercise: Explore,
    answer: Any,
    notes: list[str],
    defences: dict[str, nn.Module],
    claims: dict[str, float],
    x: Tensor,
    y: Tensor,
    within: Ball,
) -> str:
    """Every verdict is borne by its images: they refute the claim, or leave nearly as few as an attack that fits."""
    if not isinstance(answer, dict) or set(answer) != set(defences):
        raise Mistake(
            f"got {properties.described(answer)}, expected a dictionary with the keys {', '.join(defences)}",
            mend='{"name": ("stands" or "falls", images), …}',
        )
    found, faults = [], []
    for name, model in defences.items():
        try:
            found.append(f"{name} {_verdict(answer[name], model, claims[name], x, y, within)}")
        except Mistake as mistake:
            mistake.seen = f"{name}: {mistake.seen}"
            faults.append(mistake)
    if faults:
        raise Mistake.all(faults)
    return "; ".join(found)


def _verdict(given: Any, model: nn.Module, claim: float, x: Tensor, y: Tensor, within: Ball) -> str:
    if not isinstance(given, tuple | list) or len(given) != 2 or given[0] not in WORDS:
        raise Mistake("expected a pair: a word, “stands” or “falls”, and the images that bear it")
    word, x_adv = given[0], properties.images(given[1], x)
    properties.inside_ball(within.size(x_adv - x), float(within.eps), within.symbol)
    left = _left(model, x_adv, y)
    refuted = left.high < claim
    figure = f"your images leave {left:.0%} ({left.low:.0%} to {left.high:.0%}), the claim is {claim:.0%}"
    if word == "falls" and not refuted:
        raise Mistake(f"{figure}: this does not refute it", mend="a claim falls where the whole interval lies below it")
    if word == "stands" and refuted:
        raise Mistake(f"{figure}: these images refute what you let stand")
    if word == "stands" and left > _left(model, _adaptive(model, x, y, within), y) + NEAR:
        raise Mistake(
            f"{figure}: this does not bear the verdict, for there are attacks that leave fewer",
            mend="ask what the defence relies on, and attack that, before you let a claim stand",
        )
    return f"{word}, at most {left:.0%} ({left.low:.0%} to {left.high:.0%})"


class _Offset(nn.Module):
    """A network behind fine waves, which hide the slope, or behind none."""

    def __init__(self, model: nn.Module, waves: float, height: float):
        super().__init__()
        self.model, self.waves, self.height = model, waves, height

    def transform(self, x: Tensor) -> Tensor:
        return x + self.height * torch.sin(2 * math.pi * self.waves * x)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(self.transform(x))


def _two() -> tuple[Any, ...]:
    from advlib import load_images, load_model
    from advlib.attacks import pgd

    signs, network, within = load_images("signs", "test", n=64), load_model("signs-trades"), Linf(8 / 255)
    defences = {"Oak": _Offset(network, 1, 0), "Pine": _Offset(network, 100, 0.01)}
    claims = {
        name: float(_left(one, pgd(one, signs.x, signs.y, within, steps=20), signs.y)) for name, one in defences.items()
    }
    return defences, claims, signs.x, signs.y, within


def _both(words: tuple[str, str], attack: Callable = _adaptive, judged: Callable = lambda answer: answer) -> Callable:
    def answer(defences: dict, claims: dict, x: Tensor, y: Tensor, within: Ball) -> Any:
        return judged(
            {name: (word, attack(model, x, y, within)) for word, (name, model) in zip(words, defences.items())}
        )

    return answer


def _direct(model: nn.Module, x: Tensor, y: Tensor, within: Ball) -> Tensor:
    from advlib.attacks import pgd

    return pgd(model, x, y, within, steps=10)


VERDICTS_WRONG = [
    Wrong(_both(("stands", "stands"), _direct), "this does not bear the verdict"),
    Wrong(_both(("stands", "stands")), "these images refute what you let stand"),
    Wrong(_both(("falls", "falls")), "this does not refute it"),
    Wrong(_both(("stands", "falls"), lambda model, x, y, within: x.clone()), "for there are attacks that leave fewer"),
    Wrong(_both(("stands", "falls"), lambda model, x, y, within: _adaptive(model, x, y, Linf(16 / 255))),
          "the L∞ size of a perturbation is"),
    Wrong(_both(("robust", "masked")), "expected a pair"),
    Wrong(_both(("stands", "falls"), judged=lambda answer: list(answer)), "expected a dictionary with the keys"),
    Wrong(_both(("stands", "falls"), lambda model, x, y, within: x[:3]), "the result has shape (3, 3, 48, 48)"),
]  # fmt: skip

verdicts = Explore(
    name="verdicts",
    chapter=21,
    title="Explore: judge two defences",
    points=4,
    measured=_judged,
    example=_two,
    right=_both(("stands", "falls")),
    wrong=VERDICTS_WRONG,
)
