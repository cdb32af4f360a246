"""The exercises of chapter 6, FGSM."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from advlib import losses
from advlib.ball import wide
from advlib.contract import frozen
from advlib.evaluate import predict
from advlib.exercises import properties, specimens, steps
from advlib.exercises.frame import Formula, Mistake, Number, Wrong
from advlib.exercises.steps import clipped, gradient, unit

FGSM_WRONG = [
    *steps.COMMON,
    Wrong({"end": lambda x, delta: delta.sign()}, "the result holds -1, 0 and 1 only: the sign of the gradient",
          "ε and x are missing", "return (x + eps * sign).clamp(0, 1)"),
    *steps.SIGN,
]  # fmt: skip

fgsm = Formula(
    name="fgsm",
    chapter=6,
    title="Write FGSM",
    points=2,
    right=steps.step,
    cases=lambda: steps.cases((8 / 255, 0.1, 0.25, 0.03)),
    same=properties.nearly,
    properties=[properties.inside_box, properties.which_images, properties.change],
    verified="the same images as the formula, on eight models, four ε, one and three channels, batches of 1 to 6",
    wrong=FGSM_WRONG,
)


def _divided(divisor, name: str = "direction") -> dict:
    return {name: lambda g: torch.nan_to_num(g / divisor(g))}


FGM_L2_WRONG = [
    *steps.COMMON,
    Wrong({"direction": torch.sign}, "every pixel moves by ε: this is the step for an L∞ ball",
          "the sign of the gradient was taken", "for an L2 ball divide the gradient by its length"),
    Wrong(_divided(lambda g: g.norm()), "the whole batch shares one budget",
          "the norm was taken over all images at once", "one norm per image: g.flatten(1).norm(dim=1)"),
    Wrong(_divided(lambda g: g.norm(dim=1, keepdim=True)), "every pixel gets a step of length ε",
          "the norm was taken over the colour channels only",
          "flatten each image before taking its norm: g.flatten(1).norm(dim=1)"),
    Wrong(_divided(lambda g: wide(g.flatten(1).abs().sum(1))), "the step has length ε in the L1 norm",
          "divided by the sum of the absolute values", "the L2 norm is the root of the sum of squares"),
    Wrong(_divided(lambda g: g.abs().amax((1, 2, 3), keepdim=True)),
          "the largest change of a pixel is ε, so the L2 size is larger", "divided by the largest entry, the L∞ norm",
          "the L2 norm is the root of the sum of squares"),
    Wrong(_divided(lambda g: wide(g.flatten(1).norm(dim=1)) ** 2),
          "the step gets shorter where the gradient gets longer", "divided by the squared norm: the root is missing",
          "the L2 norm is the root of the sum of squares"),
    Wrong(_divided(lambda g: wide(g.flatten(1).norm(dim=1)) ** 2 / len(g)),
          "the step gets shorter where the gradient of the mean loss gets longer",
          "divided by the squared norm: the root is missing", "the L2 norm is the root of the sum of squares"),
    Wrong({"direction": lambda g: g}, "the step grows with the gradient", "the gradient was not divided by its length",
          "every image's step has length ε: eps * g / ‖g‖₂"),
    Wrong({"direction": lambda g: g / len(g)}, "the step grows with the gradient of the mean loss",
          "the gradient was not divided by its length", "every image's step has length ε: eps * g / ‖g‖₂"),
    Wrong({"direction": lambda g: g / wide(g.flatten(1).norm(dim=1))},
          "images whose gradient is exactly zero come back as NaN", "zero was divided by zero",
          "torch.where(norm > 0, g / norm, 0)"),
    *(Wrong({"direction": lambda g, tiny=tiny: g / (wide(g.flatten(1).norm(dim=1)) + tiny)},
            "where the gradient is tiny, the step is shorter than ε",
            f"about {tiny:g} was added to the norm; confident networks have gradients far smaller than that",
            "divide by the norm itself where it is not zero: torch.where(norm > 0, g / norm, 0)")
      for tiny in (1e-4, 1e-6, 1e-8, 1e-10)),
    *(Wrong({"direction": lambda g, tiny=tiny: g / wide(g.flatten(1).norm(dim=1).clamp_min(tiny))},
            "where the gradient is tiny, the step is far shorter than ε",
            f"the norm was kept above {tiny:g}; confident networks have gradients far smaller than that",
            "divide by the norm itself where it is not zero: torch.where(norm > 0, g / norm, 0)")
      for tiny in (1e-5, 1e-7)),
    Wrong({"direction": steps.of_batch(unit)}, "every image gets the same perturbation",
          "the gradient was averaged or summed over the batch", "each image has its own gradient: keep the first axis"),
]  # fmt: skip

fgm_l2 = Formula(
    name="fgm_l2",
    chapter=6,
    title="The L2 step",
    points=3,
    right=lambda model, x, y, eps, **parts: steps.step(model, x, y, eps, **{"direction": unit, **parts}),
    cases=lambda: steps.cases((1.0, 0.5, 3.0, 2.0)),
    properties=[properties.inside_box, properties.which_images, properties.change],
    verified="the same images as the formula, on eight models, also where a gradient is tiny or exactly zero",
    wrong=FGM_L2_WRONG,
)


# --- the smallest ε at which FGSM fools ---------------------------------------------------------------------


def _fooled(model: nn.Module, x: Tensor, y: Tensor, eps: Tensor) -> Tensor:
    """Whether FGSM, on the log-odds as on the page, misleads the model at each of these ε."""
    with frozen(model):
        direction = gradient(model, x, y, lambda z, y: losses.log_odds(z, y).sum()).sign()
    return predict(model, clipped(x, eps.view(-1, 1, 1, 1).to(x) * direction))[0] != y


def _grid(finest: float) -> Tensor:
    return torch.arange(1, round(1 / finest) + 1) * finest


def smallest(model: nn.Module, x: Tensor, y: Tensor, *, tolerance: float = 1e-3) -> float:
    """The first ε, on a grid ten times as fine as the tolerance, at which the model misreads the image."""
    if predict(model, x)[0] != y:
        raise Mistake("the model misreads the clean image already", mend="choose an image that it reads rightly")
    grid = _grid(tolerance / 10)
    return next((e.item() for e in grid.split(256) for e in e[_fooled(model, x, y, e)][:1]), float("inf"))


def _bisected(model: nn.Module, x: Tensor, y: Tensor, **_: float) -> float:
    low, high = 0.0, 1.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if _fooled(model, x, y, torch.tensor([middle])) else (middle, high)
    return high


def _not_fooled(eps: float, right: float, model: nn.Module, x: Tensor, y: Tensor, **_: float) -> None:
    if eps > 1:
        raise Mistake(f"ε is {eps:g}, but pixels lie in [0, 1]", mend="ε is a number between 0 and 1")
    if eps <= 0:
        raise Mistake(f"ε is {eps:g}, and no change fools nobody", mend="find the first ε above 0 that does")
    if not _fooled(model, x, y, torch.tensor([eps])):
        raise Mistake(
            f"at ε = {eps:.4f} the model still gives the right label", mend="the answer is the ε that fools it"
        )
    raise Mistake(
        f"ε = {eps:.4f} fools the model, but so does ε = {right:.4f}, which is smaller",
        mend="step along sign(∇ₓ u) of this image, ε in steps of 0.001, and stop at the first that fools",
    )


def _by(factor: float) -> Callable[..., float]:
    return lambda *given, **options: factor * smallest(*given, **options)


def _in_hundredths(model: nn.Module, x: Tensor, y: Tensor, **_: float) -> float:
    return next((e.item() for e in _grid(0.01) if _fooled(model, x, y, e[None])), float("inf"))


SMALLEST_EPS_WRONG = [
    Wrong(_bisected, "it fools the model, but a smaller ε does so as well",
          "halving the interval jumped over it: FGSM is not monotone in ε",
          "try one ε after the other, from 0 upwards"),
    Wrong(_by(255), "pixels lie in [0, 1]", "ε in steps of 0 to 255", "divide it by 255"),
    Wrong(_by(2), "it is twice the answer", "the width from −ε to ε", "ε is the change in one direction"),
    Wrong(_in_hundredths, "a smaller ε fools the model as well", "the steps of the search are 0.01 long",
          "steps of 0.001"),
]  # fmt: skip


def _not_monotone() -> tuple[nn.Module, Tensor, Tensor]:
    """FGSM misleads this network at ε from 0.053 to 0.08, and again from 0.2 on."""
    return specimens.Bump(0.053, 0.08, 0.2), torch.full((1, 1, 2, 2), 0.3), torch.tensor([0])


smallest_eps = Number(
    name="smallest_eps",
    chapter=6,
    title="Explore: the smallest ε",
    points=3,
    label="ε",
    right=smallest,
    near=1e-3,
    properties=[_not_fooled],
    example=_not_monotone,
    verified="ε = {0:.4f} fools the model, and no ε that is 0.001 smaller does",
    wrong=SMALLEST_EPS_WRONG,
)
