"""Defences: how a model is trained, what is put around it, and what can be promised of it.

Around a model: ``defended = JPEG(model, 75)``
    JPEG, BitDepth, Quantize    the image loses its fine detail; attack through them with ``attacks.bpda``
    ResizePad                   a size and a place by chance; attack its expectation with ``attacks.eot``
    Ensemble                    several models answer as one

Proofs: ``certified(model, x, y, within)``
    certified, certified_accuracy   in L∞, for networks that are a sequence of plain layers
    interval_bounds, crown_bounds, margin_bounds   what they rest on
    IBP                             the objective that trains networks which can be certified
    Smoothed                        in L2, for any network, by a vote over noisy copies; ABSTAIN where it is not sure
"""

from advlib.defenses.certificates import (
    ABSTAIN,
    IBP,
    Smoothed,
    certified,
    certified_accuracy,
    crown_bounds,
    interval_bounds,
    margin_bounds,
)
from advlib.defenses.ensembles import Ensemble
from advlib.defenses.preprocessing import JPEG, BitDepth, Quantize, ResizePad

__all__ = [
    "Ensemble",
    "JPEG",
    "BitDepth",
    "Quantize",
    "ResizePad",
    "interval_bounds",
    "crown_bounds",
    "margin_bounds",
    "certified",
    "certified_accuracy",
    "IBP",
    "Smoothed",
    "ABSTAIN",
]
