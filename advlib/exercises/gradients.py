"""Checkers for the chapter on gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advlib.evaluate import predict
from advlib.exercises import expect, specimens
from advlib.exercises import gradients_mistakes as mistakes
from advlib.exercises.frame import Attempt, Mistake, Suspects, checks_function, checks_value

# --- my_input_gradient(model, x, y) -----------------------------------------------------------------------


@checks_function
def input_gradient(attempt: Attempt) -> str:
    """``my_input_gradient(model, x, y)`` is each image's own ∇ₓ of the loss; the model stays as it was."""
    for model, x, y in _classifiers():
        before, was = x.clone(), _state(model)
        result = attempt(model, x, y)
        if not torch.equal(x.detach(), before) or x.grad is not None or x.requires_grad:
            raise Mistake(
                "the caller's x was changed, or records gradients now",
                "requires_grad was switched on for x itself, or an operation in place",
                "begin with x = x.clone().requires_grad_()",
            )
        _same_model(model, was)
        if isinstance(result, Tensor) and result.shape == x.shape[1:] and len(x) > 1:
            raise Mistake(
                f"one gradient for {len(x)} images",
                "the gradients were averaged or added up over the batch",
                "keep one gradient per image: the shape of x",
            )
        expect.image_batch(result, x)
        right = mistakes.gradient(model, x, y)
        _compare(result, right, mistakes.of_input_gradient(model, x, y))
    return "each image's own gradient on four models and batches of 1 to 6; x and model as they were"


def _classifiers() -> list[tuple[nn.Module, Tensor, Tensor]]:
    """Models with batches for them, the last one with a layer that training mode would change."""
    normed = specimens.conv(3, 5, seed=4)
    normed.insert(1, nn.BatchNorm2d(8).eval())
    kinds = [
        (specimens.mlp(1, 12, 7, seed=2), (6, 1, 12), 7),
        (specimens.mlp(3, 16, 4, seed=1), (4, 3, 16), 4),
        (specimens.conv(3, 5, seed=3), (1, 3, 20), 5),
        (normed, (5, 3, 14), 5),
    ]
    return [
        (model, specimens.images(*shape, seed=i), specimens.labels(shape[0], k, seed=i))
        for i, (model, shape, k) in enumerate(kinds)
    ]


def _state(model: nn.Module) -> tuple:
    return (
        [module.training for module in model.modules()],
        [p.requires_grad for p in model.parameters()],
        [tensor.detach().clone() for tensor in model.state_dict().values()],
    )


def _same_model(model: nn.Module, was: tuple) -> None:
    modes, wanted, values = was
    if [module.training for module in model.modules()] != modes:
        raise Mistake("the model was left in training mode", "model.train() was called", "leave its mode alone")
    if any(parameter.grad is not None for parameter in model.parameters()):
        raise Mistake(
            "the .grad of the model's weights was filled; the next step of training would use it",
            "loss.backward() goes to everything that records gradients",
            "torch.autograd.grad(loss, x)[0]",
        )
    if [p.requires_grad for p in model.parameters()] != wanted:
        raise Mistake(
            "the model's weights no longer record gradients",
            "requires_grad was switched off for good",
            "switch it back on, or leave it: torch.autograd.grad(loss, x) computes that of x alone",
        )
    if not all(torch.equal(now, then) for now, then in zip(model.state_dict().values(), values, strict=True)):
        raise Mistake(
            "the model's weights or statistics changed",
            "a step of an optimiser, or training mode",
            "only look at the model",
        )


# --- my_backprop(weights, biases, x, y) -------------------------------------------------------------------


@checks_function
def backprop(attempt: Attempt) -> str:
    """``my_backprop(weights, biases, x, y)`` is ∇ₓ through two tanh layers and a linear one, by hand."""
    for sizes, n in (((20, 9, 7, 5), 6), ((784, 32, 16, 10), 4), ((12, 8, 8, 8), 1)):
        net = mistakes.Layers.drawn(sizes, n, seed=n)
        before = [tensor.clone() for tensor in (*net.weights, *net.biases, net.x)]
        result = attempt(net.weights, net.biases, net.x, net.y)
        if not all(
            torch.equal(now, then) for now, then in zip((*net.weights, *net.biases, net.x), before, strict=True)
        ):
            raise Mistake(
                "the weights, the biases or x were changed",
                "an operation in place",
                "only numbers of your own, such as the error, may be changed in place",
            )
        _like_rows(result, net.x)
        _compare(result, mistakes.back(net), mistakes.of_backprop(net))
    return "the gradient of autograd on three networks with two hidden layers, batches of 1 to 6"


def _like_rows(result: object, x: Tensor) -> None:
    if not isinstance(result, Tensor):
        raise Mistake(
            f"got {type(result).__name__}, expected a tensor",
            "several values are returned",
            "return the gradient in the pixels alone",
        )
    if result.shape != x.shape:
        summed = result.ndim < 2 or len(result) == 1 < len(x)
        raise Mistake(
            f"the result has shape {tuple(result.shape)}, expected that of x, {tuple(x.shape)}",
            "the gradients of all images were added up"
            if summed
            else "the gradient in a weight or at a hidden layer, or a transposed product",
            "a row for each image; the last product is with W1: (N, hidden) @ (hidden, n)",
        )


# --- my_finite_differences(f, x, tau) -----------------------------------------------------------------------


@checks_function
def finite_differences(attempt: Attempt) -> str:
    """``my_finite_differences(f, x, tau)`` is (f(x + τ·e_i) − f(x − τ·e_i)) / 2τ for every i."""
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0, -1.0], dtype=torch.float64)
    functions = [
        ("a cubic", lambda v: (weights[: len(v)].to(v) * v**3).sum() + v[0] * v[-1], 4, 0.1),
        ("an exponential", lambda v: (weights[: len(v)].to(v) * v).sum().exp(), 5, 1e-3),
        ("a function of one number", lambda v: v[0].sin(), 1, 0.5),
    ]
    for i, (name, f, n, tau) in enumerate(functions):
        x = torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(i)) + 0.5
        before = x.clone()
        result = attempt(f, x, tau)
        if not torch.equal(x, before):
            raise Mistake(
                "x was changed",
                "an entry was raised in place, and not put back",
                "work on a copy, a fresh one for each i: x + nudge",
            )
        if not isinstance(result, Tensor) or result.shape != x.shape:
            got = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
            raise Mistake(
                f"on {name}, the result is {got}, expected a tensor of shape ({n},)",
                "all entries were moved at once, or a list is returned",
                "one slope for every i: torch.stack them",
            )
        _compare(result, mistakes.differences(f, x, tau), mistakes.of_differences(f, x, tau))
    return "two-sided differences of three functions, with τ of 0.5, 0.1 and 0.001"


def _compare(result: Tensor, right: Tensor, suspects: Suspects) -> None:
    result = result.detach()
    if mistakes.alike(result, right):
        return
    expect.no_known_mistake(result, suspects, right, same=mistakes.alike)
    off = (result - right).norm() / right.norm()
    raise Mistake(
        f"the result is off by {off:.0%} of the right one's length",
        "a factor, a layer or a sign is not the one of the derivation",
        "compare with torch.autograd.grad on a batch of one, entry by entry",
    )


# --- a network without gradient, fooled all the same ------------------------------------------------------


@checks_value
def silent_network(images: Tensor, model: nn.Module, x: Tensor, y: Tensor, *, eps: float, share: float = 1 / 3) -> str:
    """``images`` are ``x``, no value changed by more than ``eps``; ``model`` misreads a ``share`` of them."""
    expect.image_batch(images, x)
    images = images.detach()
    expect.inside_box(images)
    expect.inside_ball((images - x).abs().flatten(1).amax(1), eps, "L∞")
    fooled = (predict(model, images)[0] != y).float().mean().item()
    if fooled >= share:
        return f"{fooled:.0%} of {len(x)} signs are misread, no value changed by over {eps * 255:.0f}/255"
    still = (images == x).flatten(1).all(1).float().mean().item()
    seen = f"{fooled:.0%} of the signs are misread; {share:.0%} are asked for"
    if still > 0.1:
        raise Mistake(
            f"{seen}. {still:.0%} of the pictures did not change at all",
            "their gradient is exactly zero in the steep network",
            "take the gradient of a network that reads alike and is not saturated",
        )
    largest = (images - x).abs().flatten(1).amax(1)
    if (largest < eps / 2).float().mean() > 0.5:
        raise Mistake(
            f"{seen}. Most pictures changed by less than half of what is allowed",
            "too few or too short steps",
            f"go up to {eps * 255:.0f}/255",
        )
    raise Mistake(
        seen,
        "the direction is not the one that the network reacts to, or only few values moved far",
        "follow the gradient of the plain network, and let every value move: take its sign",
    )
