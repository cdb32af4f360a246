"""Attacks: each finds a perturbation δ such that a classifier errs on x + δ.

Inside a ball: ``attack(model, x, y, within, *, target=None, …)``
    fgsm                one step, the exact answer for a linear loss
    bim                 small steps, clipped back into the ball
    pgd                 the standard: a random start, shrinking steps, momentum, restarts
    mifgsm              steps along a decaying sum of gradients
    apgd                Auto-PGD: step sizes that choose themselves
    worst_case          the strongest answer per image of several unlike attacks; what an evaluation should use
    A ball may give each image an ε of its own; ``mask=`` says which pixels may change, ``callback=`` watches each step.

The smallest perturbation: ``attack(model, x, y, *, norm=L2, …)``
    deepfool            step to the nearest boundary of the linearised model
    carlini_wagner      L2, by Adam in tanh variables, with a search for the constant
    fmn                 fast minimum norm: a ball that shrinks and grows; L∞, L2, L1 and L0

A few pixels
    jsma                pixel after pixel, the most salient first
    one_pixel           differential evolution over one pixel or a few
    sparse_rs           random search over k pixels

With questions only: ``attack(victim, x, y, …, queries=…)``; the victim is any callable
    square              scores: random squares
    nes                 scores: a gradient estimated from them
    hop_skip_jump       labels: a walk along the boundary
    transfer            no question at all: attack substitutes, and hope
    substitute_labels   the victim's labels for your own images, to train a substitute with

Beyond single images
    universal           one δ for all images
    patch, Patch        a sticker that works wherever it is stuck
    eot, Views, warp    the expectation over transformations, and the views it is taken over
    bpda                through a transformation that has no gradient
    AdvGAN              a network that attacks in one forward pass
    backdoor, label_flip, sticker, apply_trigger      poisoned training data

``ascend`` and ``climb`` are the engine under all that follow a gradient.
"""

from advlib.attacks.ascent import ascend, climb
from advlib.attacks.bim import apgd, bim, mifgsm, pgd
from advlib.attacks.bpda import bpda
from advlib.attacks.fgsm import fgsm
from advlib.attacks.generative import AdvGAN
from advlib.attacks.hop_skip_jump import hop_skip_jump
from advlib.attacks.minimal import carlini_wagner, deepfool, fmn
from advlib.attacks.nes import nes
from advlib.attacks.one_pixel import one_pixel
from advlib.attacks.physical import Patch, eot, patch
from advlib.attacks.poisoning import apply_trigger, backdoor, label_flip, sticker
from advlib.attacks.sparse import jsma, sparse_rs
from advlib.attacks.square import square
from advlib.attacks.transfer import substitute_labels, transfer
from advlib.attacks.universal import universal
from advlib.attacks.victim import GradientMaskingWarning
from advlib.attacks.views import Views, warp
from advlib.attacks.worst import worst_case

__all__ = [
    "fgsm",
    "bim",
    "pgd",
    "mifgsm",
    "apgd",
    "worst_case",
    "deepfool",
    "carlini_wagner",
    "fmn",
    "jsma",
    "one_pixel",
    "sparse_rs",
    "square",
    "nes",
    "hop_skip_jump",
    "transfer",
    "substitute_labels",
    "universal",
    "patch",
    "Patch",
    "eot",
    "bpda",
    "Views",
    "warp",
    "AdvGAN",
    "backdoor",
    "label_flip",
    "sticker",
    "apply_trigger",
    "ascend",
    "climb",
    "GradientMaskingWarning",
]
