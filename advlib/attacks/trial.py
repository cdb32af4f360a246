"""How a model is tried that computes the same in another way: on a few images, before an attack and after it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

__all__ = ["Met", "Switched", "Unfaithful", "few", "logits_on", "plain", "same", "verified"]

# How far logits may move, as a share of their largest distance from their mean: far above rounding, far below what a
# wrong switch does.
ROUNDING = 1e-3
TRIED = 8  # images, evenly spaced among those to come: a model may treat some unlike others

# What a pass met on its way, in order: a convolution or batch norm, its input and its output.
Met = list[tuple[nn.Module, Tensor, Tensor]]

Given = ParamSpec("Given")
Found = TypeVar("Found")


class Unfaithful(Exception):
    """A switched model answers otherwise than it does by itself."""


@dataclass
class Switched:
    """A model within `faster`."""

    model: nn.Module
    undo: ExitStack  # what has been switched
    tried: bool = False

    def check(self, x_adv: Tensor) -> None:
        """Undo the switches, and raise `Unfaithful` where they mattered to what an attack has come to.

        A model that goes other ways with other images may do so only far from where the attack began.
        """
        if self.tried:
            probe = few(x_adv)
            switched = logits_on(self.model, probe)
            self.undo.close()
            if switched is None or not same(logits_on(self.model, probe), switched):
                raise Unfaithful


def verified(attack: Callable[Given, Found]) -> Callable[Given, Found]:
    """An attack with the setting ``fast``, made once more with ``fast=False`` where its switches were `Unfaithful`."""

    @wraps(attack)
    def made(*args: Given.args, **settings: Given.kwargs) -> Found:
        try:
            return attack(*args, **settings)
        except Unfaithful:
            settings["fast"] = False
            return attack(*args, **settings)

    return made


def plain(module: nn.Module, kind: type) -> bool:
    """Whether ``module`` is a ``kind`` as torch made it, in the precision that switches keep."""
    return (
        type(module) is kind
        and "forward" not in vars(module)
        and all(p.dtype in (torch.float32, torch.float64) for p in module.parameters())
    )


def few(x: Tensor) -> Tensor:
    """Some of the images, evenly spaced."""
    return x[torch.linspace(0, len(x) - 1, min(TRIED, len(x)), device=x.device).long()]


def same(logits: Tensor | None, expected: Tensor) -> bool:
    """Whether logits differ by rounding alone. What all of them share is left out: a softmax does not see it."""
    if logits is None or logits.shape != expected.shape:
        return False
    spread = (expected - expected.mean(-1, keepdim=True)).abs().max()
    return bool((logits - expected).abs().max() <= ROUNDING * spread)


def logits_on(model: nn.Module, x: Tensor, note: Callable | None = None, back: bool = False) -> Tensor | None:
    """The model's logits at ``x``, if a pass forward (and ``back``) goes well.

    ``note`` is told of every plain convolution and batch norm on the way.
    """
    hooks = [
        module.register_forward_hook(note)
        for module in model.modules()
        if note and (plain(module, nn.Conv2d) or plain(module, nn.BatchNorm2d))
    ]
    try:
        with torch.set_grad_enabled(back):
            x = x.clone().requires_grad_(back)
            logits = model(x)
            if back:
                torch.autograd.grad(logits.sum(), x)
            return logits.detach().clone()  # the next answer may be in the same memory
    except Exception:  # whatever it is, the attack meets it again, and reports it
        return None
    finally:
        for hook in hooks:
            hook.remove()
