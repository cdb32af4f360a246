"""Attacks: each finds δ inside a norm ball such that a classifier errs on x + δ."""

from advlib.attacks.ascent import GradientMaskingWarning, ascend
from advlib.attacks.fgsm import fgsm

__all__ = ["GradientMaskingWarning", "ascend", "fgsm"]
