"""Defences: how a model is trained, what is put around it, and what can be promised of it.

Training: ``fit(model, images, perturb=Climb(Linf(8 / 255), steps=2), epochs=10)``
    fit, Scheduled              the one training loop, and what changes in the course of it
    Climb, Reseeded, Noise      trained on images attacked (FGSM with a random start, PGD), or with noise
    Divergence, Trades          TRADES: what it climbs, and its objective
    distill, heat               defensive distillation

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

from advlib.defenses.adversarial import Climb, Divergence, Noise, Reseeded, Trades
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
from advlib.defenses.distillation import distill, heat
from advlib.defenses.ensembles import Ensemble
from advlib.defenses.preprocessing import JPEG, BitDepth, Quantize, ResizePad
from advlib.defenses.training import Scheduled, fit

__all__ = [
    "fit",
    "Scheduled",
    "Climb",
    "Reseeded",
    "Noise",
    "Divergence",
    "Trades",
    "distill",
    "heat",
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
