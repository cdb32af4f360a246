"""Chapter 24's newcomer: a defence that hides in two ways, and the attack that is asked for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from advlib.answers import right as is_right
from advlib.exercises import properties, specimens
from advlib.exercises.frame import Explore, Mistake, Wrong
from advlib.intervals import Share
from advlib.norms import Ball, Linf

PASSES = 150  # of the model, for each image
NEAR = 0.05


def _unmasked(exercise: Explore, attack: Any, notes: list[str], *given: Any) -> str:
    """The attack keeps the tournament's rules and leaves about as few as one that knows the defence."""
    defence, x, y, within = given
    # The attack sees the defence itself, not what the counter puts in front of it: the white box has no lid.
    with specimens.counting(defence) as (_, passes):
        x_adv = exercise.attempt(attack, (copy.deepcopy(defence), x.clone(), y.clone(), within), notes)
        spent = passes() / len(x)
    x_adv = properties.images(x_adv, x)
    properties.inside_ball(within.size(x_adv - x), float(within.eps), within.symbol)
    if not spent:
        raise Mistake("no image went through the model that was passed", mend="attack the argument `model`")
    if spent > PASSES:
        raise Mistake(
            f"it took {spent:.0f} passes an image; at most {PASSES} are allowed",
            mend="fewer steps or restarts, or none for images that are fooled already",
        )
    left, known = _left(defence, x_adv, y), _left(defence, _straight_through(defence, x, y, within), y)
    if left > known + NEAR:
        figure = f"it leaves {left:.0%} ({left.low:.0%} to {left.high:.0%})"
        raise Mistake(
            f"{figure}; an attack that knows the defence leaves {known:.0%}",
            mend="read what forward does, line by line: what stops the gradient? And who says when an image is fooled?",
        )
    return f"it leaves {left:.0%} ({left.low:.0%} to {left.high:.0%}), for {spent:.0f} passes an image"


def _left(model: nn.Module, x: Tensor, y: Tensor) -> Share:
    stands = is_right(model, x, y)
    return Share(int(stands.sum()), len(stands))


def _straight_through(defence: Any, x: Tensor, y: Tensor, within: Ball, steps: int = 20) -> Tensor:
    """Forwards the whole defence, backwards its network as if nothing stood before or behind it."""
    from advlib import attacks

    past = attacks.bpda(defence.net, defence.coarse)
    return attacks.pgd(past, x, y, within, steps=steps, early_stop=False)


class Twofold(nn.Module):
    """A network behind a few grey levels, with answers of a few levels."""

    def __init__(self, net: nn.Module, levels: int):
        super().__init__()
        self.net, self.levels = net, levels

    def coarse(self, x: Tensor) -> Tensor:
        return (self.levels * x).round() / self.levels

    def forward(self, x: Tensor) -> Tensor:
        return 100 * self.net(self.coarse(x))


def _two_tricks() -> tuple[nn.Module, Tensor, Tensor, Ball]:
    from advlib import load_images, load_model

    signs = load_images("signs", "test", n=48)
    return Twofold(load_model("signs-trades"), 15).eval(), signs.x, signs.y, Linf(8 / 255)


def _plain(steps: int = 10, **how: Any) -> Callable:
    def attack(model: nn.Module, x: Tensor, y: Tensor, within: Ball) -> Tensor:
        from advlib import attacks

        return attacks.pgd(model, x, y, within, steps=steps, early_stop=False, **how)

    return attack


def _informed(scale: float = 1, steps: int = 20) -> Callable:
    def attack(model: Any, x: Tensor, y: Tensor, within: Ball) -> Tensor:
        return _straight_through(model, x, y, within.scaled(scale), steps)

    return attack


def _then(end: Callable[[Tensor], Tensor]) -> Callable:
    return lambda model, x, y, within: end(_plain(1)(model, x, y, within))


UNMASKED_WRONG = [
    Wrong(lambda *_: _plain(), "an attack that knows the defence leaves"),
    Wrong(lambda *_: _informed(2), "the L∞ size of a perturbation is"),
    Wrong(lambda *_: _plain(200), "at most 150 are allowed"),
    Wrong(lambda *_: _then(lambda x: x[:3]), "the result has shape (3, 3, 48, 48)"),
    Wrong(lambda *_: _then(lambda x: x * torch.nan), "values are NaN or infinite"),
    Wrong(lambda *_: _then(lambda x: x + 1), "pixels reach from"),
    Wrong(lambda *_: lambda model, x, y, within: x, "no image went through the model that was passed"),
]  # fmt: skip

unmask = Explore(
    name="unmask",
    chapter=24,
    title="Explore: unmask the newcomer",
    points=4,
    measured=_unmasked,
    allowed=("advlib",),
    example=_two_tricks,
    right=lambda *_: _informed(),
    wrong=UNMASKED_WRONG,
    seconds=60,
)
