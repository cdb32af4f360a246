"""A step along the gradient, in parts: what all attacks made of such steps share, and the slips common to them.

Each part is a keyword argument, so that a wrong attack is the right one with a part exchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib.ball import wide
from advlib.exercises import specimens
from advlib.exercises.frame import Case, Wrong

Loss = Callable[[Tensor, Tensor], Tensor]


def ce(z: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy, summed over the batch: each image's own gradient."""
    return F.cross_entropy(z, y, reduction="sum")


def gradient(model: nn.Module, x: Tensor, y: Tensor, loss: Loss = ce) -> Tensor:
    """∇ₓ of the loss at ``x``."""
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(model(x), y), x)[0]


def unit(g: Tensor) -> Tensor:
    """g / ‖g‖₂ for each image; a gradient of zero stays zero."""
    norm = wide(g.flatten(1).norm(dim=1))
    return torch.where(norm > 0, g / norm, 0)


def clipped(x: Tensor, delta: Tensor) -> Tensor:
    return (x + delta).clamp(0, 1)


def step(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    *,
    loss: Loss = ce,
    direction: Callable[[Tensor], Tensor] = torch.sign,
    way: float = 1,
    length: Callable[[float], float] = float,
    end: Callable[[Tensor, Tensor], Tensor] = clipped,
) -> Tensor:
    """clip(x + ε · direction(∇ₓ loss), 0, 1)."""
    return end(x, way * length(eps) * direction(gradient(model, x, y, loss)))


def of_batch(direction: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda g: direction(g.mean(0, keepdim=True)).expand_as(g)


LOSS = [
    Wrong({"loss": lambda z, y: ce(z, z.argmax(1))},
          "the gradient is that of the model's own prediction's loss, not of y's",
          "y was replaced by model(x).argmax(1): a cure for label leaking, but another attack",
          "use the y that is passed"),
    Wrong({"loss": lambda z, y: ce(z.softmax(1), y)}, "the gradient is that of cross-entropy applied to probabilities",
          "softmax twice: cross_entropy contains one", "give cross_entropy the logits, model(x)"),
    Wrong({"loss": lambda z, y: F.nll_loss(z, y, reduction="sum")},
          "the gradient is that of the label's logit alone, −z_y",
          "nll_loss was given logits without log_softmax, or the other logits play no part",
          "use cross_entropy, or log_softmax before nll_loss"),
    Wrong({"loss": lambda z, y: z.amax(1).sum()}, "the gradient is that of the largest logit",
          "the logits were differentiated instead of the loss", "loss = F.cross_entropy(model(x), y, reduction='sum')"),
    Wrong({"loss": lambda z, y: (z.scatter(1, y[:, None], -torch.inf).amax(1) - z.gather(1, y[:, None])[:, 0]).sum()},
          "the gradient is that of the margin, the largest wrong logit minus the label's",
          "another loss than the cross-entropy", "loss = F.cross_entropy(model(x), y, reduction='sum')"),
    Wrong({"loss": lambda z, y: F.mse_loss(z, F.one_hot(y, z.shape[1]).to(z), reduction="sum")},
          "the gradient is that of a squared error", "another loss than the cross-entropy",
          "loss = F.cross_entropy(model(x), y, reduction='sum')"),
    Wrong({"loss": lambda z, y: F.mse_loss(z.softmax(1), F.one_hot(y, z.shape[1]).to(z), reduction="sum")},
          "the gradient is that of a squared error of probabilities", "another loss than the cross-entropy",
          "loss = F.cross_entropy(model(x), y, reduction='sum')"),
    Wrong({"loss": lambda z, y: (z.logsumexp(1)[:, None] - z[:, y]).sum()},
          "every image is attacked with the labels of all images", "z[:, y] takes all labels' columns for every image",
          "one entry per row: z[torch.arange(len(z)), y]"),
    Wrong({"loss": lambda z, y: ce(z[:1], y[:1])}, "only the first image has a gradient",
          "the loss is that of one image", "give cross_entropy all logits and all labels"),
]  # fmt: skip
WAY = Wrong(
    {"way": -1},
    "the loss went down: this is a step downhill",
    "the sign is flipped: training descends, an attack ascends",
    "add the step instead of subtracting it",
)
END = [
    Wrong({"end": torch.add}, "pixels leave [0, 1]", "the result is not clipped",
          "end with .clamp(0, 1), after the step"),
    Wrong({"end": lambda x, delta: (x + delta).clamp(-1, 1)}, "negative pixels are let through",
          "clipped to [-1, 1], the range of normalised images, or only at the upper border",
          "pixels lie in [0, 1] here: .clamp(0, 1)"),
    Wrong({"end": lambda x, delta: (x + delta).clamp_min(0)}, "pixels above 1 are let through, negative ones are not",
          "only the lower border is clipped", "clip at both: .clamp(0, 1)"),
    Wrong({"end": lambda x, delta: (x + delta).clamp(x.min(), x.max())},
          "pixels are clipped to the darkest and brightest of the batch", "the range was taken from the images",
          "an image may use all of [0, 1]: .clamp(0, 1)"),
    Wrong({"end": lambda x, delta: (x + delta.clamp(0, 1)).clamp(0, 1)}, "pixels only ever get brighter",
          "the perturbation was clipped to [0, 1], or the sign became 0 or 1",
          "a perturbation may be negative: clip only the sum"),
    Wrong({"end": lambda x, delta: x + delta.clamp(0, 1)}, "pixels only ever get brighter, and some leave [0, 1]",
          "the perturbation was clipped instead of the image", "clip last: (x + perturbation).clamp(0, 1)"),
    Wrong({"end": lambda x, delta: delta}, "the result is the perturbation, not the image", "x was not added",
          "return (x + perturbation).clamp(0, 1)"),
    Wrong({"end": lambda x, delta: delta.clamp(0, 1)},
          "the result is the perturbation, clipped to [0, 1], not the image", "x was not added",
          "return (x + perturbation).clamp(0, 1)"),]  # fmt: skip
SIGN = [
    Wrong({"direction": lambda g: g}, "pixels change by different amounts, in proportion to the gradient",
          "the sign is missing", "FGSM steps by ε in every pixel: eps * grad.sign()"),
    Wrong({"direction": lambda g: g / len(g)},
          "pixels change by different amounts, in proportion to the gradient of the mean loss", "the sign is missing",
          "FGSM steps by ε in every pixel: eps * grad.sign()"),
    Wrong({"direction": unit}, "the step is ε long in the L2 norm", "the gradient was divided by its length",
          "for an L∞ ball take the sign of every entry: eps * grad.sign()"),
    Wrong({"direction": lambda g: torch.nan_to_num(g / g.abs().amax((1, 2, 3), keepdim=True))},
          "only the pixel with the steepest gradient moves by ε",
          "the gradient was divided by its largest entry instead of taking its sign",
          "every pixel may move by ε: eps * grad.sign()"),
    Wrong({"direction": of_batch(torch.sign)}, "every image gets the same perturbation",
          "the gradient was averaged or summed over the batch", "each image has its own gradient: keep the first axis"),
    Wrong({"direction": lambda g: g.abs().sign()}, "every pixel moves the same way",
          "the absolute value was taken before the sign", "eps * grad.sign()"),
    Wrong({"direction": lambda g: torch.where(g >= 0, 1.0, -1.0).to(g)},
          "pixels whose gradient is exactly zero were changed", "zero was counted as positive: g >= 0",
          "grad.sign() is 0 there"),
    Wrong({"direction": lambda g: torch.where(g > 0, 1.0, -1.0).to(g)}, "pixels without gradient got darker",
          "zero was counted as negative: g > 0 or else −1", "grad.sign() is 0 there"),
    *(Wrong({"direction": lambda g, tiny=tiny: torch.where(g.abs() > tiny, g.sign(), 0)},
            "pixels whose gradient is tiny stay", f"what is below {tiny:g} was taken for zero", "grad.sign()")
      for tiny in (1e-3, 1e-4, 1e-6)),
]  # fmt: skip
COMMON = [*LOSS, WAY, *END]


def again(attack: Callable[..., Tensor]) -> list[Wrong]:
    """Two steps where one is asked: of ε or half of it, from the first one's result, in (…, ε) of ``attack``."""

    def twice(share: float) -> Callable[..., Tensor]:
        def attacked(model: nn.Module, x: Tensor, *rest: Any) -> Tensor:
            *labels, eps = rest
            return attack(model, attack(model, x, *labels, share * eps), *labels, share * eps)

        return attacked

    rows = ((1, "two steps of ε were made"), (0.5, "two steps of ε/2 were made"))
    return [
        Wrong(twice(share), seen, "a loop, or two calls: the gradient is taken twice", "one step is asked")
        for share, seen in rows
    ]


def cases(budgets: tuple[float, ...]) -> list[Case]:
    """(model, x, y, ε) of many kinds: see the names. The smallest first: on it, most known mistakes part company."""
    kinds = [
        ("a network of 1×9×9 images", specimens.mlp(1, 9, 5, seed=8), (5, 1, 9), 5),
        ("a network of 1×28×28 images", specimens.mlp(1, 28, 7, seed=2), (6, 1, 28), 7),
        ("a linear model of 3×48×48 images", specimens.linear(3, 48, 10, seed=1), (5, 3, 48), 10),
        ("a convolutional network, batch of 1", specimens.conv(3, 5, seed=3), (1, 3, 32), 5),
        ("a network of 3×48×48 images", specimens.mlp(3, 48, 16, seed=4, scale=6), (4, 3, 48), 16),
    ]
    found = [
        Case(name, model, specimens.images(*shape, seed=i), specimens.labels(shape[0], k, seed=i), eps)
        for i, ((name, model, shape, k), eps) in enumerate(zip(kinds, (budgets[1], *budgets)))
    ]
    dark = specimens.images(3, 1, 8, seed=5, low=0.3)
    dark[1] = 0.1
    inner = specimens.images(4, 1, 12, seed=6, low=0.2, high=0.8)
    double = specimens.images(3, 1, 10, seed=7).double()
    return [
        *found,
        Case(
            "a gradient of exactly zero", specimens.silenced(1, 8, 4, seed=5), dark, torch.tensor([0, 1, 2]), budgets[0]
        ),
        Case(
            "tiny gradients", specimens.mlp(1, 12, 4, seed=6, scale=1e-7), inner, torch.tensor([0, 1, 2, 3]), budgets[1]
        ),
        Case("float64", specimens.mlp(1, 10, 3, seed=7).double(), double, torch.tensor([0, 2, 1]), budgets[2]),
    ]
