"""Networks of the kinds that people attack, made of the same few layers; and those through which no gradient goes."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from tests.properties.problems import Problem, network


class _Around(nn.Module):
    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net


class Shared(_Around):
    """Layers that are met twice in a pass, and a name for one of them besides."""

    def __init__(self, net: nn.Module):
        super().__init__(net)
        self.again = net[1]

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + 0.5 * self.net(1 - x)


class Autocast(_Around):
    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.net(x)


class InPlace(_Around):
    """Writes into the images that it is given."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.sub_(0.5).mul_(2))


class SameMemory(_Around):
    """Answers in the same memory each time, where no gradient is wanted."""

    def forward(self, x: Tensor) -> Tensor:
        logits = self.net(x)
        if logits.requires_grad:
            return logits
        if getattr(self, "memory", torch.empty(0)).shape != logits.shape:
            self.memory = logits.clone()
        return self.memory.copy_(logits)


class Counting(_Around):
    """Has a buffer that is expanded, one that each pass exchanges, and one that only a pass makes."""

    def __init__(self, net: nn.Module):
        super().__init__(net)
        self.register_buffer("scale", torch.ones(1).expand(3))
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.passes = self.passes + 1
        if "made" not in self._buffers:
            self.register_buffer("made", torch.ones(2))
        return self.net(x) * self.scale[0].to(x)


def _half_frozen(net: nn.Sequential) -> nn.Module:
    net[0].weight.requires_grad_(False)
    net[5].weight.grad = torch.ones_like(net[5].weight)
    net[1].eval()
    return net


def _hooked(net: nn.Sequential) -> nn.Module:
    net[0].register_forward_hook(lambda module, inputs, output: output * 1.5)
    net[2].register_forward_pre_hook(lambda module, inputs: (inputs[0] + 0.1,))
    net.register_full_backward_hook(lambda module, inwards, outwards: None)
    return net


def _no_parameters(net: nn.Sequential) -> nn.Module:
    return net.requires_grad_(False)


def _renormed(net: nn.Sequential) -> nn.Module:
    weight_norm(net[0])
    return net


def _scripted(net: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch recommends torch.compile instead
        return torch.jit.script(net)


def _traced(net: nn.Module, problem: Problem) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(net.eval(), problem.images().detach())


def _jit_frozen(net: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.freeze(torch.jit.script(net.eval()))


# What the network becomes: a function of it, or of it and the problem.
KINDS: dict[str, Callable] = {
    "in train mode": lambda net, problem: net,
    "half frozen": lambda net, problem: _half_frozen(net),
    "without gradients": lambda net, problem: _no_parameters(net),
    "hooked": lambda net, problem: _hooked(net),
    "shared layers": lambda net, problem: Shared(net),
    "parametrised": lambda net, problem: _renormed(net),
    "autocast": lambda net, problem: Autocast(net.float()),
    "in place": lambda net, problem: InPlace(net),
    "in place at once": lambda net, problem: nn.Sequential(nn.ReLU(inplace=True), net),
    "same memory": lambda net, problem: SameMemory(net),
    "counting": lambda net, problem: Counting(net),
    "DataParallel": lambda net, problem: nn.DataParallel(net),
    "scripted": lambda net, problem: _scripted(net),
    "traced": _traced,
    "frozen by jit": lambda net, problem: _jit_frozen(net),
}


def made(kind: str, problem: Problem) -> nn.Module:
    """A network of this kind; in train mode if it is a kind that has modes."""
    model = KINDS[kind](problem.network(), problem)
    if kind not in ("half frozen", "traced", "frozen by jit"):
        model.train()
    return model


# ----------------------------------------------------------------------------------------- what has no gradient to give
def _inference(problem: Problem) -> nn.Module:
    with torch.inference_mode():
        return copy.deepcopy(problem.network())


def _quantised(problem: Problem) -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(problem.shape), problem.classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch moves it elsewhere
        return torch.ao.quantization.quantize_dynamic(net, {nn.Linear})


def _optimised(problem: Problem) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.optimize_for_inference(torch.jit.script(problem.network().eval()))


WITHOUT_GRADIENT: dict[str, tuple[Callable[[Problem], nn.Module], str]] = {
    "made in inference mode": (_inference, "made under torch.inference_mode.*copy.deepcopy"),
    "quantised": (_quantised, "do not depend differentiably.*quantised"),
    "optimised for inference": (_optimised, "do not depend differentiably"),
}


def lazy(problem: Problem) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(problem.classes))


def exported(problem: Problem) -> nn.Module:
    """A program of ``torch.export``: it has no train and no eval mode to change."""
    batch = torch.export.Dim("batch", min=1, max=64)
    net, x = problem.network().eval(), problem.images()
    return torch.export.export(net, (x,), dynamic_shapes=({0: batch},)).module()


def compiled(problem: Problem) -> nn.Module:
    return torch.compile(problem.network(), backend="eager")


__all__ = ["KINDS", "WITHOUT_GRADIENT", "compiled", "exported", "lazy", "made", "network"]
