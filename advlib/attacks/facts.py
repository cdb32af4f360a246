"""What a cheat sheet says of each attack, beside the code that it is true of; the tests measure it.

The book's pages "Cheat sheet" and "Map of attacks" are drawn from ``FACTS``. In its formulas g is the gradient of the
loss in the image, and s(g) the steepest direction in the ball's norm: sign(g) for L∞, g / ‖g‖₂ for L2.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType

from advlib.attacks.bim import apgd, bim, mifgsm, pgd
from advlib.attacks.bpda import bpda
from advlib.attacks.fgsm import fgsm
from advlib.attacks.generative import AdvGAN
from advlib.attacks.hop_skip_jump import hop_skip_jump
from advlib.attacks.minimal import carlini_wagner, deepfool, fmn
from advlib.attacks.nes import nes
from advlib.attacks.one_pixel import one_pixel
from advlib.attacks.physical import eot, patch
from advlib.attacks.poisoning import backdoor, label_flip
from advlib.attacks.sparse import jsma, sparse_rs
from advlib.attacks.square import square
from advlib.attacks.transfer import transfer
from advlib.attacks.universal import universal
from advlib.attacks.worst import worst_case
from advlib.norms import L0, L1, L2, Linf

__all__ = ["FACTS", "Fact"]

ALL = (Linf, L2, L1, L0)
WEIGHTS, SCORES, LABELS = "weights", "scores", "labels"  # what of the victim the attacker sees
NOTHING, TRAINING = "nothing", "the training data"
INSIDE, SMALLEST, SPARSE = "Inside a ball", "The smallest perturbation", "A few pixels"
QUESTIONS, BEYOND = "With questions only", "Beyond single images"
MANY, MODEL = "One change for many images", "A model trained wrongly"  # goals that are no family's
# Arguments that say how to compute, not what: most attacks have them, and they mean the same everywhere.
COMMON = ("batch_size", "callback", "early_stop", "fast", "keep", "return_queries", "seed")


@dataclass(frozen=True)
class Fact:
    """One attack in one line. Passes are those of a default call, for one image that is not fooled on the way.

    >>> fact = next(fact for fact in FACTS if fact.attack is pgd)
    >>> fact.name, fact.forward, fact.backward
    ('pgd', 41, 40)
    """

    attack: Callable
    title: str
    family: str
    formula: str  # Markdown with $…$, one line
    norms: tuple[type, ...]  # the balls it takes, or the norms that it makes small; may be none
    knows: str
    forward: int
    backward: int
    chapter: int
    note: str = ""  # what else the number of passes depends on

    @property
    def name(self) -> str:
        return self.attack.__name__

    @property
    def goal(self) -> str:
        """What is looked for: what the family is named for, or ``GOALS`` says."""
        return GOALS.get(self.attack, self.family)

    @property
    def passes(self) -> int:
        return self.forward + self.backward

    @property
    def targeted(self) -> bool:
        """May the attacker choose the wrong class?"""
        return "target" in inspect.signature(self.attack).parameters

    @property
    def call(self) -> str:
        """The function with its arguments and their defaults, without types and without those of ``COMMON``.

        >>> FACTS[0].call
        'fgsm(model, x, y, within, *, target=None, loss=log_odds, mask=None)'
        """
        signature = inspect.signature(self.attack)
        shown = [
            one.replace(annotation=one.empty, default=_Shown.of(one))
            for one in signature.parameters.values()
            if one.name not in COMMON
        ]
        return self.name + str(signature.replace(parameters=shown, return_annotation=signature.empty))


class _Shown:
    """A default value as a person writes it: functions and classes by their names, other values without parts."""

    def __init__(self, value: object):
        self.value = value

    @staticmethod
    def of(parameter: inspect.Parameter) -> object:
        return parameter.empty if parameter.default is parameter.empty else _Shown(parameter.default)

    def __repr__(self) -> str:
        if isinstance(self.value, (type, FunctionType)):
            return self.value.__name__
        kind = type(self.value)
        return repr(self.value) if kind.__module__ == "builtins" else f"{kind.__name__}(…)"


FORMULAS: dict[Callable, str] = {
    fgsm: r"$x' = x + \varepsilon\, s(g)$",
    bim: r"$x_{k+1} = x + \Pi_\Delta(x_k + \alpha\, s(g_k) - x)$",
    pgd: r"$x_0 = x + {}$random $\delta \in \Delta$, then BIM with falling $\alpha_k$",
    mifgsm: r"BIM along $v_{k+1} = \mu\, v_k + g_k / \lVert g_k\rVert_1$",
    apgd: r"PGD with inertia; $\alpha \to \alpha/2$ where $\ell$ stalls",
    worst_case: r"$\min_a m(x'_a)$ over $a = {}$PGD, Auto-PGD, FMN, Square",
    deepfool: (
        r"$\delta_k = \dfrac{h_y - h_k}{\lVert w_k\rVert_*}\, s(w_k)$ with $w_k = \nabla_x (h_k - h_y)$; "
        r"nearest $k$"
    ),
    carlini_wagner: (
        r"$\min_w \lVert\delta\rVert_2^2 + c\,\max(m(x+\delta) + \kappa, 0)$ with $x+\delta = "
        r"\tfrac12(\tanh w + 1)$"
    ),
    fmn: r"climb $-m$; $\varepsilon \to \varepsilon\,(1 - \gamma)$ where fooled, else $\varepsilon\,(1 + \gamma)$",
    jsma: (
        r"the pair of pixels with the largest $\alpha\,\lvert\beta\rvert$: $\alpha$ what $h_t$ gains, $\beta$ "
        r"what all others lose"
    ),
    one_pixel: r"$\min m(x+\delta)$ by evolution: children $a + \tfrac12 (b - c)$",
    sparse_rs: r"swap some of $k$ pixels; keep if $m$ fell",
    square: r"paint a square $\pm\varepsilon$; keep if $m$ fell",
    nes: r"$g \approx -\tfrac{1}{\sigma q} \sum_{i=1}^q m(x + \sigma u_i)\, u_i$, then PGD",
    hop_skip_jump: r"normal $\approx \tfrac1q \sum_{i=1}^q \pm u_i$, the sign by the label at $x_k + \sigma u_i$",
    transfer: r"MI-FGSM on the mean logits of substitutes",
    universal: r"$\max_{\delta \in \Delta} \sum_i \ell(x_i + \delta, y_i)$",
    patch: r"$\max_p \sum_i \mathbb{E}_v\, \ell(x_i \text{ with } v(p) \text{ on it}, y_i)$ over views $v$",
    eot: r"any attack on $\mathbb{E}_v\, h_\theta(v(x))$ over views $v$",
    bpda: r"any attack on $h_\theta(t(x))$; backwards $t$ counts as the identity",
    AdvGAN: r"$x' = x + \Pi_\Delta\, G(x)$, $G$ a trained network",
    backdoor: r"$(x, y) \to (x + {}$trigger$,\ t)$ for a share of the data",
    label_flip: r"$(x, y) \to (x, y')$ for a share of the data",
}
# What else the number of passes depends on.
NOTES: dict[Callable, str] = {
    pgd: "each restart as much again",
    worst_case: "in L∞, ten classes or more; up to 5,936 forward where the search comes close, more on a small network",
    deepfool: "a backward pass per rival class",
    jsma: "for five pairs of pixels",
    transfer: "of each substitute, none of the victim",
    universal: "for up to 128 images together",
    patch: "for up to 64 images together",
    eot: "for each pass of that attack",
    bpda: "for each pass of that attack",
    AdvGAN: "once trained, which needs the weights",
}
# What is looked for, where the family does not say it. BPDA and EOT prepare a model for any attack of the first kind.
GOALS: dict[Callable, str] = {
    **dict.fromkeys((square, nes, transfer, eot, bpda, AdvGAN), INSIDE),
    hop_skip_jump: SMALLEST,
    **dict.fromkeys((universal, patch), MANY),
    **dict.fromkeys((backdoor, label_flip), MODEL),
}
# Attack, title, family, norms, what it knows, passes forward and backward, chapter.
_TABLE: tuple[tuple, ...] = (
    (fgsm, "FGSM", INSIDE, ALL, WEIGHTS, 1, 1, 6),
    (bim, "BIM", INSIDE, ALL, WEIGHTS, 11, 10, 7),
    (pgd, "PGD", INSIDE, ALL, WEIGHTS, 41, 40, 7),
    (mifgsm, "MI-FGSM", INSIDE, ALL, WEIGHTS, 11, 10, 7),
    (apgd, "Auto-PGD", INSIDE, ALL, WEIGHTS, 101, 100, 21),
    (worst_case, "Worst case", INSIDE, ALL, WEIGHTS, 676, 410, 21),
    (deepfool, "DeepFool", SMALLEST, (L2, Linf), WEIGHTS, 52, 500, 9),
    (carlini_wagner, "Carlini–Wagner", SMALLEST, (L2,), WEIGHTS, 1001, 1000, 9),
    (fmn, "FMN", SMALLEST, ALL, WEIGHTS, 101, 100, 9),
    (jsma, "JSMA", SPARSE, (L0,), WEIGHTS, 7, 12, 10),
    (one_pixel, "One pixel", SPARSE, (), SCORES, 4000, 0, 10),
    (sparse_rs, "Sparse-RS", SPARSE, (L0,), SCORES, 2000, 0, 10),
    (square, "Square", QUESTIONS, (Linf, L2), SCORES, 5000, 0, 12),
    (nes, "NES", QUESTIONS, ALL, SCORES, 5000, 0, 12),
    (hop_skip_jump, "HopSkipJump", QUESTIONS, (L2, Linf), LABELS, 5000, 0, 12),
    (transfer, "Transfer", QUESTIONS, ALL, NOTHING, 20, 20, 11),
    (universal, "Universal", BEYOND, ALL, WEIGHTS, 401, 200, 14),
    (patch, "Patch", BEYOND, (), WEIGHTS, 401, 200, 14),
    (eot, "EOT", BEYOND, ALL, WEIGHTS, 10, 10, 14),
    (bpda, "BPDA", BEYOND, ALL, WEIGHTS, 1, 1, 19),
    (AdvGAN, "AdvGAN", BEYOND, ALL, NOTHING, 0, 0, 13),
    (backdoor, "Backdoor", BEYOND, (), TRAINING, 0, 0, 15),
    (label_flip, "Label flip", BEYOND, (), TRAINING, 0, 0, 15),
)
FACTS: tuple[Fact, ...] = tuple(
    Fact(attack, title, family, FORMULAS[attack], norms, knows, forward, backward, chapter, NOTES.get(attack, ""))
    for attack, title, family, norms, knows, forward, backward, chapter in _TABLE
)
