"""Checkers for the chapter on MNIST."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib import attacks
from advlib.evaluate import accuracy, logits_of
from advlib.exercises import expect
from advlib.exercises.frame import Attempt, Mistake, Suspects, checks_function, checks_value
from advlib.norms import Linf

# --- my_gradient(weights, biases, x, y) -------------------------------------------------------------------


@dataclass(frozen=True)
class Layers:
    """A network of linear layers with a ReLU between each two, and images for it."""

    weights: list[Tensor]
    biases: list[Tensor]
    x: Tensor
    y: Tensor

    def forward(self, biases: bool = True) -> list[Tensor]:
        """What every layer puts out before its ReLU; the logits last."""
        out: list[Tensor] = []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            out.append((out[-1].relu() if out else self.x) @ weight.T + (bias if biases else 0))
        return out

    def back(self, error: Tensor, masks: list[Tensor]) -> Tensor:
        """Carry the error at the logits back to the pixels; a mask for each hidden layer, the first first."""
        for weight, mask in zip(self.weights[:0:-1], masks[::-1], strict=True):
            error = (error @ weight) * mask
        return error @ self.weights[0]


def draw(sizes: tuple[int, ...], n: int, seed: int) -> Layers:
    """Random layers of these sizes, and ``n`` images."""
    generator = torch.Generator().manual_seed(seed)
    weights = [2 * torch.randn(b, a, generator=generator) / a**0.5 for a, b in itertools.pairwise(sizes)]
    biases = [torch.randn(b, generator=generator) for b in sizes[1:]]
    y = torch.randint(sizes[-1], (n,), generator=generator)
    return Layers(weights, biases, torch.rand(n, sizes[0], generator=generator), y)


@checks_function
def relu_gradient(attempt: Attempt) -> str:
    """``my_gradient(weights, biases, x, y)`` is each image's ∇ₓ of the cross-entropy, without autograd."""
    for sizes, n in (((784, 128, 10), 6), ((20, 16, 12, 7), 5), ((30, 9), 4), ((12, 10, 9, 8, 5), 1)):
        net = draw(sizes, n, seed=len(sizes))
        name = "–".join(map(str, sizes))
        right, before = gradient(net), net.x.clone()
        result = attempt(net.weights, net.biases, net.x, net.y)
        expect.untouched(net.x, before, attempt)
        _like_pixels(result, net.x)
        result = result.detach()
        if expect.same(result, right, share=1.0):
            continue
        expect.no_known_mistake(result, wrong_gradients(net), right)
        off = ((result - right).abs() > 1e-5).float().mean().item()
        raise Mistake(
            f"on a {name} network, {off:.0%} of the entries differ from the gradient",
            "a layer, a mask or the error at the logits is not the one of the derivation",
            "start from p − e_y; for each layer from the last: multiply by its weights, then by the mask of "
            "the layer below",
        )
    return "the gradient of autograd, on networks with none, one, two and three hidden layers"


def gradient(net: Layers) -> Tensor:
    """The right answer, by autograd."""
    x = net.x.clone().requires_grad_()
    loss = F.cross_entropy(Layers(net.weights, net.biases, x, net.y).forward()[-1], net.y, reduction="sum")
    return torch.autograd.grad(loss, x)[0]


def wrong_gradients(net: Layers) -> Suspects:
    """What the best-known mistakes lead to."""
    *hidden, logits = net.forward()
    masks = [(a > 0).to(a) for a in hidden]
    ones = [torch.ones_like(a) for a in hidden]
    onehot = F.one_hot(net.y, logits.shape[1]).to(logits)
    error = logits.softmax(1) - onehot
    right = net.back(error, masks)
    *bare, bare_logits = net.forward(biases=False)
    unbiased = net.back(bare_logits.softmax(1) - onehot, [(a > 0).to(a) for a in bare])
    guessed = logits.softmax(1) - F.one_hot(logits.argmax(1), logits.shape[1])
    cases = [
        (
            -right,
            "this is the gradient with its sign flipped",
            "e_y − p instead of p − e_y",
            "the error at the logits is p − e_y: it is negative at the true class only",
        ),
        (
            net.back(error, ones),
            "the gradient passes through hidden units that are silent",
            "the mask of the ReLU is missing",
            "multiply by (a > 0), a being what the layer puts out before its ReLU",
        ),
        (
            net.back(logits.softmax(1), masks),
            "the true class plays no part",
            "e_y was not subtracted from p",
            "subtract 1 at the true class: p − F.one_hot(y, k)",
        ),
        (
            net.back(logits - onehot, masks),
            "the error at the logits is not p − e_y",
            "the softmax is missing",
            "p = logits.softmax(1)",
        ),
        (
            right / len(net.x),
            "each gradient is divided by the number of images",
            "the mean of the losses was taken",
            "each image has a gradient of its own: leave the mean out",
        ),
        (right.sign(), "these are signs", "the sign was taken already", "return the gradient itself"),
        (
            unbiased,
            "this is the gradient of a network without its biases",
            "the forward pass leaves them out",
            "a = x @ weight.T + bias",
        ),
        (
            net.back(error * (logits > 0), masks),
            "a logit below zero lets no gradient through",
            "a ReLU, or its mask, behind the last layer",
            "the last layer has no ReLU",
        ),
        (
            net.back(guessed, masks),
            "this is the gradient for the class that the network reads",
            "y was replaced by the prediction",
            "use the y that is passed",
        ),
        (
            net.back(error, [*ones[:-1], *masks[-1:]]),
            "only the last hidden layer has a mask",
            "the mask is not part of the loop",
            "every hidden layer has its own ReLU and its own mask",
        ),
        (
            net.back(error, [*masks[:1], *ones[1:]]),
            "only the first hidden layer has a mask",
            "the mask is not part of the loop",
            "every hidden layer has its own ReLU and its own mask",
        ),
    ]
    return [(wrong, Mistake(*words)) for wrong, *words in cases]


def _like_pixels(result: object, x: Tensor) -> None:
    if not isinstance(result, Tensor):
        raise Mistake(f"got {type(result).__name__}, expected a tensor", mend="return the gradient alone")
    if result.shape == (x.shape[1],) or (result.shape == (1, x.shape[1]) and len(x) > 1):
        raise Mistake(
            f"the result has shape {tuple(result.shape)}, expected that of x, {tuple(x.shape)}",
            "the gradients of all images were added up",
            "keep one row for each image",
        )
    if result.shape != x.shape:
        raise Mistake(
            f"the result has shape {tuple(result.shape)}, expected that of x, {tuple(x.shape)}",
            "the gradient in a weight or at a hidden layer, or a transposed product",
            "the last product is with the first layer's weights: (N, hidden) @ (hidden, n)",
        )


# --- a network of the same size that withstands more ------------------------------------------------------

SIZE = 784 * 128 + 128 + 128 * 10 + 10


@checks_value
def robust_mlp(model: nn.Module, x: Tensor, y: Tensor, eps: float, *, clean: float, robust: float) -> str:
    """A 784–128–10 network, right on a share ``clean`` of images and on ``robust`` under PGD at ``eps``."""
    if not isinstance(model, nn.Module):
        raise Mistake(
            f"got {type(model).__name__}, expected the network",
            "fit(…) returns its history and trains the network in place",
            "pass the network itself",
        )
    size = sum(parameter.numel() for parameter in model.parameters())
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    if size != SIZE or len(layers) != 2:
        raise Mistake(
            f"the network has {len(layers)} linear layers and {size:,} parameters; 784–128–10 has 2 and {SIZE:,}",
            "another architecture",
            "start from nets.mnist_mlp(): only its training may change",
        )
    x = x.to(next(model.parameters()).dtype)
    try:
        logits_of(model, x)
    except ValueError as error:
        raise Mistake(f"the network breaks the contract: {error}") from None
    right = accuracy(model, x, y)
    if right < clean:
        raise Mistake(
            f"it reads {right:.0%} of the clean images rightly; {clean:.0%} are asked for",
            "too little training, or an ε so large that nothing else was learnt",
            "more images or epochs; first a smaller ε",
        )
    after_one = accuracy(model, attacks.fgsm(model, x, y, Linf(eps)), y)
    after_many = accuracy(model, attacks.pgd(model, x, y, Linf(eps), steps=20), y)
    if after_many >= robust:
        return (
            f"{right:.0%} of the clean images and {after_many:.0%} under PGD at ε = {eps:g}, with the "
            f"same {SIZE:,} weights"
        )
    seen = f"it reads {after_many:.0%} rightly under PGD at ε = {eps:g}; {robust:.0%} are asked for"
    if after_one >= robust:
        raise Mistake(
            f"{seen}. Under FGSM it reads {after_one:.0%}",
            "it learnt to survive one step only: catastrophic overfitting, or label leaking",
            "train on attacks of several steps",
        )
    if after_many < 0.5:
        raise Mistake(
            seen,
            "it never saw an attacked image while it was trained, or ε was far too small",
            "pass perturb=… to fit(…)",
        )
    raise Mistake(
        seen,
        "too few images or epochs, or a weaker attack in training than in the check",
        "train on more of the 60,000 images, on several steps, at an ε no smaller than the check's",
    )
