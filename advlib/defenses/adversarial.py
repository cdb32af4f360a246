"""What adversarial training changes in `fit`: what a batch becomes (`perturb`), and what is made small (`objective`).

Each is a value: `fit` and its checkpoints can tell two apart. Chance is drawn from torch's global generator, which
`fit` seeds, so that each batch gets another start. With one seed for all of them every batch would be attacked from
the same corner of the ball, and the model would learn to withstand that one start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib.contract import check_ball, check_count, check_function, check_number, check_one_eps, check_step, frozen
from advlib.device import at_least_float32
from advlib.losses import log_odds
from advlib.norms import Ball

__all__ = ["Climb", "Divergence", "Noise", "Reseeded", "Trades", "divergence"]


def divergence(logits: Tensor, other: Tensor) -> Tensor:
    """KL(softmax z ‖ softmax z′) = Σ pₖ (log pₖ − log p′ₖ), one value per image: (N, K), (N, K) → (N,).

    >>> divergence(torch.tensor([[2.0, 0.0]]), torch.tensor([[2.0, 0.0]]))
    tensor([0.])
    """
    log_p, log_other = at_least_float32(logits).log_softmax(1), at_least_float32(other).log_softmax(1)
    return (log_p.exp() * (log_p - log_other)).sum(1)


@dataclass(frozen=True)
class Climb:
    """A `perturb` made for speed: `steps` steepest steps up the log-odds from a random start in the ball.

    within  the ball, such as ``Linf(8/255)``
    steps   1 is FGSM from a random start (Wong, Rice & Kolter, "Fast is better than free", 2020, Algorithm 3);
            more are the PGD of adversarial training (Madry et al. 2018)
    step    the length of a step in units of ε. 1.25 is right for one step; for more about 1.5 / steps

    The model is asked in eval mode. Where `pgd` keeps the best iterate and leaves fooled images alone, this one
    returns the last: a model has to see the attack at its full length.
    Raises `TypeError` or `ValueError` for a ball, a count or a step that is none.

    >>> from advlib.norms import Linf
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> x, y = torch.rand(5, 1, 2, 2), torch.zeros(5, dtype=torch.long)
    >>> bool(((Climb(Linf(0.1), steps=2, step=0.75)(model, x, y) - x).abs() < 0.1 + 1e-6).all())
    True
    """

    within: Ball
    steps: int = 1
    step: float = 1.25

    def __post_init__(self):
        check_ball(self.within)
        check_one_eps(self.within, type(self).__name__)
        check_count(self.steps, "steps")
        check_step(self.step)

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        with frozen(model):
            return self.up(model, x, lambda logits: log_odds(logits, y))

    def up(self, model: nn.Module, x: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
        """x_adv from climbing ``loss(logits) -> (N,)``; the model has to be frozen."""
        stride = self.within.scaled(self.step)
        x_adv = x + self.within.sample(x, torch.Generator().manual_seed(_seed()))
        for _ in range(self.steps):
            x_adv = x_adv.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(loss(model(x_adv)).sum(), x_adv)
            x_adv = x + self.within.project(x_adv.detach() + stride.steepest(gradient) - x, x)
        return x_adv


@dataclass(frozen=True)
class Divergence(Climb):
    """`Climb` as TRADES attacks: away from the model's own answer to x, not from the label.

    Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy" (2019), Algorithm 1: each step
    climbs KL(f(x) ‖ f(x′)).
    """

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        with frozen(model):
            with torch.no_grad():
                clean = model(x)
            return self.up(model, x, lambda logits: divergence(clean, logits))


@dataclass(frozen=True)
class Trades:
    """An `objective`: cross-entropy of the clean images plus β times how far the attacked answers are from theirs.

    Zhang et al. (2019), Equation 5: CE(f(x), y) + β · KL(f(x) ‖ f(x′)), x′ by `Divergence`. β trades accuracy for
    robustness; the paper's 6 is for CIFAR-10.
    """

    beta: float = 6.0

    def __post_init__(self):
        check_number(self.beta, "beta")

    def __call__(self, model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        clean, attacked = at_least_float32(model(x)), at_least_float32(model(x_adv))
        return F.cross_entropy(clean, y) + self.beta * divergence(clean, attacked).mean(), attacked


@dataclass(frozen=True)
class Noise:
    """A `perturb`: Gaussian noise of standard deviation σ on every pixel, not cut to [0, 1].

    What randomised smoothing trains with (Cohen, Rosenfeld & Kolter 2019, Section 3.3).

    >>> Noise(0.2)(None, torch.zeros(4, 3, 32, 32), None).std().round(decimals=1)
    tensor(0.2000)
    """

    sigma: float

    def __post_init__(self):
        check_number(self.sigma, "sigma", positive=True)

    def __call__(self, model: nn.Module | None, x: Tensor, y: Tensor | None) -> Tensor:
        return x + self.sigma * torch.randn_like(x)


class Reseeded:
    """A `perturb` from any attack of the library that takes a seed: another seed for each batch.

    ``Reseeded(pgd, Linf(8/255), steps=10)`` calls ``pgd(model, x, y, Linf(8/255), steps=10, seed=…)``.
    Raises `TypeError` or `ValueError` for what is no function, and no ball with one ε.
    """

    def __init__(self, attack: Callable[..., Tensor], within: Ball, **settings: Any):
        check_function(attack, "attack", "(model, x, y, within, *, seed) -> x_adv, such as attacks.pgd")
        check_ball(within)
        check_one_eps(within, "Reseeded")
        self.attack, self.within, self.settings = attack, within, settings

    def __repr__(self) -> str:
        given = "".join(f", {key}={value!r}" for key, value in self.settings.items())
        return f"Reseeded({self.attack.__name__}, {self.within!r}{given})"

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return self.attack(model, x, y, self.within, seed=_seed(), **self.settings)


def _seed() -> int:
    return int(torch.randint(2**31, ()))
