"""IBP training: make the network's interval bounds tight, so that they certify."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from advlib import contract
from advlib.defenses.certificates.intervals import evaluated, layers_of
from advlib.defenses.certificates.promises import interval_margins
from advlib.norms import Ball, Linf

__all__ = ["IBP"]


@dataclass(frozen=True)
class IBP:
    """The objective of IBP training, κ · CE(z(x), y) + (1 − κ) · CE(ẑ, y): Gowal et al. (2018), Eq. 12.

    ẑ are the worst logits that interval bounds allow on the ball, all relative to z_y: 0 for y, and for
    j ≠ y minus the lower bound of z_y − z_j. An objective is called as ``objective(model, x, x_attacked, y)`` and gives
    (value, logits of x); this one does not look at ``x_attacked``.

    within      the ball ``Linf(ε)``, with one ε.
    kappa       κ, the share of the clean loss, from 0 to 1.

    From the start with the whole ball, a network learns to be a constant: let it grow, by ``at``. The bounds are
    those of eval mode, batch norm's running statistics among them, also where the model is in training; each module
    keeps its mode.

    Raises
        TypeError, ValueError: no L∞ ball or one with several ε; κ outside of [0, 1]. In a call: labels out
        of range, and layers through which no bounds are known.

    >>> import torch
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> x, y = torch.rand(5, 1, 2, 2), torch.tensor([0, 1, 0, 1, 0])
    >>> value, logits = IBP(Linf(0.1))(model, x, x, y)
    >>> value.backward()
    >>> logits.shape
    torch.Size([5, 2])
    """

    within: Ball
    kappa: float = 0.5

    def __post_init__(self):
        contract.check_ball(self.within)
        if not isinstance(self.within, Linf):
            raise ValueError(f"within is {self.within}; interval bounds are of L∞ balls: Linf(0.1).")
        contract.check_one_eps(self.within, "IBP")
        contract.check_number(self.kappa, "kappa")
        if self.kappa > 1:
            raise ValueError(f"kappa is {self.kappa}; expected the share of the clean loss, from 0 to 1.")

    def at(self, t: float, warmup: float = 0.0, ramp: float = 0.5) -> IBP:
        """The objective when the share ``t`` of the training is over: ε rises from 0, and κ falls from 1, in a straight
        line between the shares ``warmup`` and ``ramp``.

        >>> for t in (0, 0.25, 0.9):
        ...     print(IBP(Linf(0.2)).at(t))
        IBP(within=Linf(eps=0.0), kappa=1.0)
        IBP(within=Linf(eps=0.1), kappa=0.75)
        IBP(within=Linf(eps=0.2), kappa=0.5)

        Raises
            TypeError, ValueError: shares that are not 0 ≤ warmup < ramp ≤ 1.
        """
        for value, name in ((t, "t"), (warmup, "warmup"), (ramp, "ramp")):
            contract.check_share(value, name)
        if not 0 <= warmup < ramp <= 1:
            raise ValueError(f"warmup is {warmup} and ramp {ramp}; expected shares 0 ≤ warmup < ramp ≤ 1.")
        share = min(1.0, max(0.0, (t - warmup) / (ramp - warmup)))
        return IBP(self.within.scaled(share), 1.0 - share * (1 - self.kappa))

    def __call__(self, model: nn.Module, x: Tensor, x_attacked: Tensor | None, y: Tensor) -> tuple[Tensor, Tensor]:
        layers = layers_of(model)
        logits = model(x)  # first: it moves batch norm's statistics, which the bounds are of
        with evaluated(model):
            worst = -interval_margins(layers, x, y, self.within)
        value = self.kappa * F.cross_entropy(logits, y) + (1 - self.kappa) * F.cross_entropy(worst, y)
        return value, logits
