"""The formulas of the FGSM exercises, and what their best-known mistakes lead to.

Each mistake comes with the images that it produces: an answer that gives these very images made that mistake.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib.exercises.expect import CLIPPED_LAST
from advlib.exercises.frame import Mistake, Suspects


def clip(x: Tensor) -> Tensor:
    """Pixels back into [0, 1]."""
    return x.clamp(0, 1)


def gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """∇ₓ of the cross-entropy, summed over the batch: each image's own gradient."""
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(x), y, reduction="sum"), x)[0]


def fgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """The step that is best for a linear loss in an L∞ ball."""
    return clip(x + eps * gradient(model, x, y).sign())


def l2_norm(g: Tensor) -> Tensor:
    """Per image, shaped to divide a batch; never zero."""
    return g.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)


def fgm_l2(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """The step that is best for a linear loss in an L2 ball."""
    g = gradient(model, x, y)
    return clip(x + eps * g / l2_norm(g))


def _common_mistakes(model: nn.Module, x: Tensor, y: Tensor, step: Callable[[Tensor], Tensor]) -> Suspects:
    """What goes wrong alike whatever the norm: the loss, the direction of the step, and the clipping around
    it."""
    g = gradient(model, x, y)
    delta = step(g)
    guess = model(x).argmax(1)

    def along(loss: Callable[[Tensor], Tensor]) -> Tensor:
        z = x.detach().clone().requires_grad_()
        return clip(x + step(torch.autograd.grad(loss(model(z)), z)[0]))

    reach = f"pixels reach from {(x + delta).min().item():.2f} to {(x + delta).max().item():.2f}"
    units = "eps already is in pixel units, in which white is 1: use it as it is"
    return [
        (x + delta, Mistake(f"{reach}, but an image lies in [0, 1]", "the result is not clipped", CLIPPED_LAST)),
        (
            clip(x - delta),
            Mistake(
                "the loss went down: this is a step downhill",
                "the sign is flipped: training descends, an attack ascends",
                "add the step instead of subtracting it",
            ),
        ),
        (
            (x + delta).clamp(-1, 1),
            Mistake(
                "negative pixels are let through",
                "clipped to [-1, 1], the range of normalised images",
                "pixels lie in [0, 1] here: .clamp(0, 1)",
            ),
        ),
        (
            x + delta.clamp(0, 1),
            Mistake(
                "pixels only ever get brighter, and some leave [0, 1]",
                "the perturbation was clipped, not the image",
                "clip last: (x + perturbation).clamp(0, 1)",
            ),
        ),
        (
            clip(x + delta.clamp(0, 1)),
            Mistake(
                "pixels only ever get brighter",
                "the perturbation was clipped to [0, 1] as if it were an image",
                "a perturbation may be negative: clip only the sum",
            ),
        ),
        (
            delta,
            Mistake(
                "the result is the perturbation, not the image",
                "x was not added",
                "return (x + perturbation).clamp(0, 1)",
            ),
        ),
        (
            clip(delta),
            Mistake(
                "the result is the perturbation, clipped to [0, 1], not the image",
                "x was not added",
                "return (x + perturbation).clamp(0, 1)",
            ),
        ),
        (
            x,
            Mistake(
                "the result is x itself",
                "the step is zero, or the wrong variable is returned",
                "check that the gradient is not zero, and return x plus the step",
            ),
        ),
        (
            clip(x + delta / 2),
            Mistake(
                "each step is half as long as it may be",
                "ε is taken for the width of the interval, from end to end",
                "ε is the largest change in either direction",
            ),
        ),
        (clip(x + delta / 255), Mistake("the step is 255 times too short", "ε was divided by 255 once more", units)),
        (clip(x + delta * 255), Mistake("the step is 255 times too long", "ε was multiplied by 255", units)),
        (
            along(lambda z: F.cross_entropy(z, guess)),
            Mistake(
                "the step raises the loss of the model's own prediction, not of the label y",
                "y was replaced by model(x).argmax(1): a cure for label leaking, but another attack",
                "use the y that is passed",
            ),
        ),
        (
            along(lambda z: F.cross_entropy(z.softmax(1), y)),
            Mistake(
                "the gradient is that of cross-entropy applied to probabilities",
                "softmax twice: cross_entropy contains one",
                "give cross_entropy the logits, model(x)",
            ),
        ),
        (
            along(lambda z: F.nll_loss(z, y)),
            Mistake(
                "the gradient is that of the label's logit alone",
                "nll_loss was given logits without log_softmax",
                "use cross_entropy, or log_softmax before nll_loss",
            ),
        ),
        (
            clip(x + step(g.mean(0, keepdim=True))),
            Mistake(
                "every image gets the same perturbation",
                "the gradient was averaged or summed over the batch",
                "each image has its own gradient: keep the first axis",
            ),
        ),
    ]


def fgsm_mistakes(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Suspects:
    """Wrong results for `fgsm`, each with its mistake."""
    g = gradient(model, x, y)
    no_sign = Mistake(
        "pixels change by different amounts, in proportion to the gradient",
        "the sign is missing",
        "FGSM steps by ε in every pixel: eps * gradient.sign()",
    )
    return [
        *_common_mistakes(model, x, y, lambda g: eps * g.sign()),
        (
            g.sign(),
            Mistake(
                "the result holds -1, 0 and 1 only: the sign of the gradient",
                "ε and x are missing",
                "return (x + eps * sign).clamp(0, 1)",
            ),
        ),
        # With the loss summed over the batch, or averaged; clipped or not.
        *((wrong, no_sign) for raw in (g, g / len(x)) for wrong in (x + eps * raw, clip(x + eps * raw))),
        (
            fgm_l2(model, x, y, eps),
            Mistake(
                "the step is ε long in the L2 norm",
                "the gradient was divided by its length",
                "for an L∞ ball take the sign of every entry: eps * gradient.sign()",
            ),
        ),
        (
            clip(x + eps * g / g.abs().amax((1, 2, 3), keepdim=True)),
            Mistake(
                "only the pixel with the steepest gradient moves by ε",
                "the gradient was divided by its largest entry instead of taking its sign",
                "every pixel may move by ε: eps * gradient.sign()",
            ),
        ),
    ]


def l2_mistakes(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Suspects:
    """Wrong results for `fgm_l2`, each with its mistake."""
    g = gradient(model, x, y)
    undivided = Mistake(
        "the step grows with the gradient",
        "the gradient was not divided by its length",
        "every image's step has length ε: eps * g / ‖g‖₂",
    )
    return [
        *_common_mistakes(model, x, y, lambda g: eps * g / l2_norm(g)),
        (
            fgsm(model, x, y, eps),
            Mistake(
                "every pixel moves by ε: this is the step for an L∞ ball",
                "the sign of the gradient was taken",
                "for an L2 ball divide the gradient by its length",
            ),
        ),
        (
            clip(x + eps * g / g.norm()),
            Mistake(
                "the whole batch shares one budget",
                "the norm was taken over all images at once",
                "one norm per image: g.flatten(1).norm(dim=1)",
            ),
        ),
        (
            clip(x + eps * g / g.norm(dim=1, keepdim=True).clamp_min(1e-12)),
            Mistake(
                "every pixel gets a step of length ε",
                "the norm was taken over the colour channels only",
                "flatten each image before taking its norm: g.flatten(1).norm(dim=1)",
            ),
        ),
        (
            clip(x + eps * g / g.abs().sum((1, 2, 3), keepdim=True).clamp_min(1e-12)),
            Mistake(
                "the step has length ε in the L1 norm",
                "divided by the sum of the absolute values",
                "the L2 norm is the root of the sum of squares",
            ),
        ),
        *(
            (
                clip(x + eps * raw / l2_norm(raw) ** 2),
                Mistake(
                    "the step gets shorter where the gradient gets longer",
                    "divided by the squared norm: the root is missing",
                    "the L2 norm is the root of the sum of squares",
                ),
            )
            for raw in (g, g / len(x))
        ),
        *((wrong, undivided) for raw in (g, g / len(x)) for wrong in (x + eps * raw, clip(x + eps * raw))),
    ]
