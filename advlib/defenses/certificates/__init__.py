"""Certificates: proofs that no perturbation of a ball changes an answer.

L∞, by bounds: ``interval_bounds`` push a box through the network, ``crown_bounds`` pull a linear function back;
``certified`` asks them about the label, and ``IBP`` trains a network that they say much of.
L2, by chance: ``Smoothed`` votes over noisy copies.
"""

from advlib.defenses.certificates.ibp import IBP
from advlib.defenses.certificates.intervals import Bounds, interval_bounds
from advlib.defenses.certificates.promises import certified, certified_accuracy, margin_bounds
from advlib.defenses.certificates.relaxations import crown_bounds
from advlib.defenses.certificates.smoothing import ABSTAIN, Certificate, Smoothed

__all__ = [
    "interval_bounds",
    "crown_bounds",
    "Bounds",
    "margin_bounds",
    "certified",
    "certified_accuracy",
    "IBP",
    "Smoothed",
    "Certificate",
    "ABSTAIN",
]
