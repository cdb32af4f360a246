"""What the best-known mistakes with gradients lead to.

An answer that gives these very numbers made that mistake.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib import losses
from advlib.exercises.frame import Mistake, Suspects


def alike(a: Tensor, b: Tensor) -> bool:
    """Equal up to rounding, measured by the length of ``b``; a gradient's entries may all be tiny."""
    return a.shape == b.shape and bool((a - b).norm() <= 1e-4 * b.norm())


def gradient(model: nn.Module, x: Tensor, y: Tensor, loss: Callable = losses.cross_entropy) -> Tensor:
    """∇ₓ of the loss, each image's own."""
    z = x.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(model(z), y).sum(), z)[0]


def of_input_gradient(model: nn.Module, x: Tensor, y: Tensor) -> Suspects:
    right = gradient(model, x, y)
    length = right.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    guess = model(x).argmax(1)
    cases = [
        (
            right / len(x),
            "each gradient is divided by the number of images",
            "the loss is a mean over the batch, which is F.cross_entropy's habit",
            "sum the losses before differentiating",
        ),
        (
            -right,
            "the sign is flipped: this points downhill",
            "minus the loss was differentiated",
            "the gradient of the loss itself points uphill",
        ),
        (right.sign(), "the result holds -1, 0 and 1 only", "the sign was taken already", "return the gradient itself"),
        (right.abs(), "no entry is negative", "the absolute value was taken", "return the gradient itself"),
        (right / length, "every gradient has length 1", "divided by its length", "return the gradient itself"),
        (
            right / right.abs().amax((1, 2, 3), keepdim=True),
            "the largest entry of every gradient is 1",
            "divided by its largest entry",
            "return the gradient itself",
        ),
        (
            right.mean(0, keepdim=True).expand_as(right),
            "every image has the same gradient",
            "averaged over the batch",
            "each image has its own",
        ),
        (
            right.sum(0, keepdim=True).expand_as(right),
            "every image has the same gradient",
            "added up over the batch",
            "each image has its own",
        ),
        (x + right, "this is the image moved along its gradient", "x was added", "return the gradient itself"),
        (
            gradient(model, x, guess),
            "this is the gradient for the class that the model reads",
            "y was replaced by the prediction",
            "use the y that is passed",
        ),
        (
            gradient(model, x, y, lambda z, y: losses.cross_entropy(z.softmax(1), y)),
            "the gradient is that of cross-entropy applied to probabilities",
            "softmax twice (chapter 2)",
            "give the loss the logits, model(x)",
        ),
        (
            gradient(model, x, y, losses.margin),
            "this is the gradient of the margin loss",
            "another loss",
            "cross-entropy is asked for",
        ),
        (
            gradient(model, x, y, lambda z, y: F.nll_loss(z, y, reduction="none")),
            "this is the gradient of minus the true logit",
            "nll_loss of bare logits",
            "cross-entropy of the logits",
        ),
        (
            gradient(model, x, y, lambda z, y: (-losses.cross_entropy(z, y)).exp()),
            "this is the gradient of the probability",
            "exp(−loss) was differentiated",
            "differentiate the loss",
        ),
    ]
    return [(wrong, Mistake(*words)) for wrong, *words in cases]


@dataclass(frozen=True)
class Layers:
    """Two tanh layers and a linear one, and images for them."""

    weights: list[Tensor]
    biases: list[Tensor]
    x: Tensor
    y: Tensor

    @classmethod
    def drawn(cls, sizes: tuple[int, ...], n: int, seed: int) -> Layers:
        """Random layers of these sizes and ``n`` random images."""
        generator = torch.Generator().manual_seed(seed)
        pairs = list(zip(sizes, sizes[1:], strict=False))
        weights = [1.5 * torch.randn(out, into, generator=generator) / into**0.5 for into, out in pairs]
        biases = [0.5 * torch.randn(out, generator=generator) for _, out in pairs]
        x = torch.rand(n, sizes[0], generator=generator)
        return cls(weights, biases, x, torch.randint(sizes[-1], (n,), generator=generator))

    def hidden(self, biases: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """u₁, u₂ and the logits."""
        (w1, w2, w3), (b1, b2, b3) = self.weights, self.biases if biases else [0.0] * 3
        u1 = torch.tanh(self.x @ w1.T + b1)
        u2 = torch.tanh(u1 @ w2.T + b2)
        return u1, u2, u2 @ w3.T + b3


def back(net: Layers, error: Tensor | None = None, slopes: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """The error at the logits carried back to the pixels; right, unless another error or slopes are given."""
    u1, u2, z = net.hidden()
    s1, s2 = slopes or (1 - u1**2, 1 - u2**2)
    error = z.softmax(1) - F.one_hot(net.y, z.shape[1]) if error is None else error
    w1, w2, w3 = net.weights
    return ((error @ w3 * s2) @ w2 * s1) @ w1


def of_backprop(net: Layers) -> Suspects:
    u1, u2, z = net.hidden()
    a1, a2 = torch.atanh(u1), torch.atanh(u2)
    p, truth = z.softmax(1), F.one_hot(net.y, z.shape[1]).to(z)
    s1, s2, one = 1 - u1**2, 1 - u2**2, torch.ones(())
    right = back(net)
    v1, v2, bare = net.hidden(biases=False)
    cases = [
        (
            -right,
            "this is the gradient with its sign flipped",
            "e_y − p instead of p − e_y",
            "the error at the logits is p − e_y",
        ),
        (back(net, p), "the true class plays no part", "e_y was not subtracted from p", "subtract 1 at the true class"),
        (back(net, z - truth), "the error at the logits is not p − e_y", "the softmax is missing", "p = z.softmax(1)"),
        (
            back(net, p - F.one_hot(z.argmax(1), z.shape[1])),
            "this is the gradient for the class that the network reads",
            "y was replaced by the prediction",
            "use the y that is passed",
        ),
        (
            right / len(net.x),
            "each gradient is divided by the number of images",
            "the mean of the losses was taken",
            "each image has a gradient of its own: leave the mean out",
        ),
        (
            back(net, slopes=(one, one)),
            "the gradient passes the hidden layers as if there were no tanh",
            "the factors 1 − u² are missing",
            "multiply by 1 - u2**2 after W3, and by 1 - u1**2 after W2",
        ),
        (
            back(net, slopes=(one, s2)),
            "the first tanh is left out on the way back",
            "the factor 1 − u₁² is missing",
            "multiply by 1 - u1**2 before W1",
        ),
        (
            back(net, slopes=(s1, one)),
            "the second tanh is left out on the way back",
            "the factor 1 − u₂² is missing",
            "multiply by 1 - u2**2 before W2",
        ),
        (
            back(net, slopes=(1 - a1**2, 1 - a2**2)),
            "the slope of the tanh is not right",
            "1 − a² instead of 1 − u²",
            "u is what comes out of the tanh: 1 - u**2",
        ),
        (
            back(net, slopes=(1 - u1, 1 - u2)),
            "the slope of the tanh is not right",
            "1 − u: the square is missing",
            "1 - u**2",
        ),
        (
            back(net, slopes=(u1 * (1 - u1), u2 * (1 - u2))),
            "the slope of the tanh is not right",
            "u (1 − u) is the slope of the sigmoid",
            "1 - u**2",
        ),
        (
            back(net, slopes=((a1 > 0).float(), (a2 > 0).float())),
            "the slopes are 0 and 1 only",
            "a > 0 is the slope of a ReLU",
            "1 - u**2",
        ),
        (back(net, slopes=(u1, u2)), "the slope of the tanh is not right", "u itself was multiplied", "1 - u**2"),
        (
            back(net, bare.softmax(1) - truth, (1 - v1**2, 1 - v2**2)),
            "this is the gradient of a network without biases",
            "the forward pass leaves them out",
            "x @ W.T + b",
        ),
        (right.sign(), "these are signs", "the sign was taken already", "return the gradient itself"),
    ]
    return [(wrong, Mistake(*words)) for wrong, *words in cases]


def differences(f: Callable, x: Tensor, tau: float, forwards: float = 1.0, backwards: float = 1.0) -> Tensor:
    """(f(x + τ·e_i) − f(x − τ·e_i)) / 2τ for every i, or with other lengths to either side."""
    nudges = tau * torch.eye(len(x), dtype=x.dtype)
    return torch.stack([(f(x + forwards * n) - f(x - backwards * n)) / (2 * tau) for n in nudges])


def of_differences(f: Callable, x: Tensor, tau: float) -> Suspects:
    right = differences(f, x, tau)
    one_sided = "only one side was looked at"
    z = x.clone().requires_grad_()
    (exact,) = torch.autograd.grad(f(z), z)
    cases = [
        (2 * right, "the slopes are twice too large", "divided by τ", "the two points lie 2τ apart: divide by 2 * tau"),
        (
            right / 2,
            "the slopes are half of what they should be",
            "divided by 4τ, or τ was halved",
            "(f(x + τ·e_i) − f(x − τ·e_i)) / (2 * tau)",
        ),
        (-right, "the sign is flipped", "f(x − …) minus f(x + …)", "the raised one minus the lowered one"),
        (2 * tau * right, "the slopes are 2τ times too small", "the division is missing", "divide by 2 * tau"),
        (
            tau * tau * right,
            "multiplied by τ instead of divided",
            "/ 2 * tau divides by 2 and then multiplies by tau",
            "brackets: / (2 * tau)",
        ),
        (
            2 * differences(f, x, tau, 1, 0),
            "these are one-sided differences, (f(x + τ) − f(x)) / τ",
            one_sided,
            "raise and lower: the errors of first order cancel",
        ),
        (
            2 * differences(f, x, tau, 0, 1),
            "these are one-sided differences, (f(x) − f(x − τ)) / τ",
            one_sided,
            "raise and lower: the errors of first order cancel",
        ),
        (differences(f, x, tau, 1, 0), "one side was looked at, but divided by 2τ", one_sided, "raise and lower"),
        (differences(f, x, tau, 2, 0), "x + 2τ and x were compared", "both points lie on one side", "x + τ and x − τ"),
        (exact, "this is the exact gradient", "autograd was used", "only call f, twice for each i"),
        (
            right[:1].expand_as(right),
            "all slopes are the first one",
            "the same entry was moved each time",
            "a nudge of its own for each i",
        ),
    ]
    return [(wrong, Mistake(*words)) for wrong, *words in cases]
