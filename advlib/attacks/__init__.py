"""Attacks: each finds a perturbation δ such that a classifier errs on x + δ.

Inside a ball     fgsm      one step: the exact answer for a linear loss
                  bim       small steps, clipped back into the ball
                  pgd       the standard: random start, shrinking steps, momentum, restarts
                  mifgsm    steps along a decaying sum of gradients
                  apgd      Auto-PGD: step sizes that choose themselves

All are the same ascent (``ascend``) with other settings, and all are called alike:
``x_adv = attack(model, x, y, within, target=None, …)``.
"""

from advlib.attacks.ascent import GradientMaskingWarning, ascend
from advlib.attacks.bim import apgd, bim, mifgsm, pgd
from advlib.attacks.fgsm import fgsm

__all__ = ["fgsm", "bim", "pgd", "mifgsm", "apgd", "ascend", "GradientMaskingWarning"]
