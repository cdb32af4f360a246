"""Every attack, called alike, and what it may be called with: images and labels of all kinds, drawn by chance."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advlib import attacks
from advlib.answers import logits_of
from advlib.attacks.facts import FACTS, LABELS, Fact
from advlib.norms import Ball
from tests.attacks.calls import BALLS, Call, calls

ELSEWHERE = {"backdoor", "label_flip"}  # they attack no image: tests/attacks/test_poisoning.py has their properties
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
PATCH = 1  # pixel to a side
# How far results may lie apart that are the same but for rounding: on the very boundary it decides who has won.
ROUNDING = 1e-5


def examples(few: int) -> settings:
    """So many of ten examples in `make test`, and a hundred times as many in `make fuzz`."""
    name = settings.get_current_profile_name()
    profile = settings.get_profile("fuzz" if name == "fuzz" else "properties")
    return settings(profile, max_examples=max(1, few * profile.max_examples // 10))


# ------------------------------------------------------------------------------------------------------- the attacks
@dataclass(frozen=True, repr=False)
class Attack:
    """``attack(model, x, y, ball)`` gives images: for each of x one, or one for all."""

    fact: Fact
    run: Callable[..., Tensor]
    takes: tuple[str, ...] = ()
    one_for_all: bool = False

    def __str__(self) -> str:
        return self.fact.name

    def _repr_pretty_(self, printer, cycle: bool) -> None:
        printer.text(str(self))  # by hypothesis

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, ball: Ball | None, **changes) -> Tensor:
        return self.run(model, x, y, ball, **changes)

    @property
    def balls(self) -> list[Ball | None]:
        return [BALLS[norm] for norm in self.fact.norms] or [None]

    def faults(self, ball: Ball | None, x: Tensor, result: Tensor) -> list[str]:
        """What of the contract the result breaks; nothing as a rule."""
        low, wide = (-1 if self.fact.name == "universal" else 0), result.double()
        expected = (1, *x.shape[1:]) if self.one_for_all else tuple(x.shape)
        expected = (*expected[:2], PATCH, PATCH) if self.fact.name == "patch" else expected
        found = [f"shape {tuple(result.shape)}, not {expected}"] * (tuple(result.shape) != expected)
        found += [f"{result.dtype}, not {x.dtype}"] * (result.dtype != x.dtype)
        found += [f"on {result.device}, not {x.device}"] * (result.device != x.device)
        found += ["not detached"] * result.requires_grad
        found += ["pixels outside the box"] * (not bool(((wide >= low) & (wide <= 1)).all()))
        found += ["shares memory with x"] * (result.data_ptr() == x.data_ptr())
        if ball is not None and "within" in self.takes and not found:
            size = ball.size(wide if self.one_for_all else wide - x.detach().double())
            found += [f"size {size.tolist()} in {ball}"] * (not bool((size <= ball.eps + 1e-6).all()))
        return found


def _of(call: Call) -> Attack:
    return Attack(call.fact, call, tuple(call.takes))


def _advgan(model: nn.Module, x: Tensor, y: Tensor, ball: Ball) -> Tensor:
    return attacks.AdvGAN(ball, channels=x.shape[1], width=4).attack(x)


# Those that are called otherwise, each brought to the same call.
APART: dict[str, tuple] = {
    "universal": (
        lambda model, x, y, ball, **more: attacks.universal(model, x, y, ball, steps=3, batch_size=2, **more),
        ("within", "target", "seed"),
        True,
    ),
    "patch": (
        lambda model, x, y, _, **more: attacks.patch(model, x, y, PATCH, steps=3, batch_size=2, **more).image[None],
        ("target", "seed"),
        True,
    ),
    "eot": (
        lambda model, x, y, ball, **more: attacks.fgsm(
            attacks.eot(model, attacks.Views(), samples=2), x, y, ball, **more
        ),
        ("within", "target"),
    ),
    "bpda": (
        lambda model, x, y, ball, **more: attacks.fgsm(attacks.bpda(model, torch.round), x, y, ball, **more),
        ("within", "target"),
    ),
    "AdvGAN": (_advgan, ("within",)),
}
ATTACKS = [_of(call) for call in calls()] + [Attack(fact, *APART[fact.name]) for fact in FACTS if fact.name in APART]


# ------------------------------------------------------------------------------------------------------ the networks
def network(
    shape: tuple[int, ...], classes: int, dtype: torch.dtype = torch.float32, seed: int = 0, scale: float = 1.0
) -> nn.Sequential:
    """A tiny network with batch norm and dropout, for images of this shape (C, H, W)."""
    channels, height, width = shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(4 * height * width, classes),
        ).to(dtype)
    net[5].weight.data.mul_(scale if dtype in (torch.float32, torch.float64) else 1.0)
    net[5].bias.data.add_(2.0)  # two logits that add up to 1 by chance would be taken for probabilities
    return net


# -------------------------------------------------------------------------------------------------------- the images
def _strided(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, dim=3)[..., ::2]


def _inference(x: Tensor) -> Tensor:
    with torch.inference_mode():
        return x.clone()


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda x: x,
    "strided": _strided,
    "expanded": lambda x: x[:1].expand(x.shape),
    "channels last": lambda x: x.to(memory_format=torch.channels_last),
    "transposed": lambda x: x.mT.contiguous().mT,
    "requires_grad": lambda x: x.clone().requires_grad_(),
    "inference": _inference,
}


@dataclass(frozen=True)
class Problem:
    """Images of some shape, dtype and layout, and how to call an attack on them."""

    n: int = 3
    shape: tuple[int, int, int] = (3, 5, 4)
    classes: int = 5
    dtype: torch.dtype = torch.float32
    layout: str = "plain"
    seed: int = 0
    targeted: bool = False
    scale: float = 1.0  # of the logits, where the dtype holds them
    ball: int = 0  # which of those that the attack takes
    corners: bool = (
        True  # whether some pixels are exactly 0 or 1: to paint one so changes nothing, and rounding decides
    )
    wrong: bool = False  # whether the first image is of another class than the network says

    def network(self) -> nn.Sequential:
        return network(self.shape, self.classes, self.dtype, self.seed, self.scale)

    def images(self) -> Tensor:
        x = torch.rand(self.n, *self.shape, generator=torch.Generator().manual_seed(self.seed))
        if self.corners:
            x[0, 0], x[-1, -1] = 0, 1
        return LAYOUTS[self.layout](x.to(self.dtype))

    def within(self, attack: Attack) -> Ball | None:
        return attack.balls[self.ball % len(attack.balls)]

    def labels(self, model: nn.Module, x: Tensor) -> Tensor:
        """Those that the model reads, so that there is something to attack."""
        y = logits_of(model, x).argmax(1)
        y[0] = (y[0] + self.wrong) % self.classes
        return y

    def settings(self, attack: Attack, x: Tensor, y: Tensor) -> dict:
        """What else the attack is called with."""
        found: dict = {"seed": self.seed} if "seed" in attack.takes else {}
        if self.targeted and "target" in attack.takes and attack.fact.knows != LABELS:
            found["target"] = (y + 1) % self.classes
        return found


def problems(**fixed) -> st.SearchStrategy[Problem]:
    """Problems of all kinds but for what is ``fixed``."""
    side = st.integers(PATCH, 7)
    drawn = dict(
        n=st.integers(1, 5),
        shape=st.tuples(st.integers(1, 4), side, side),
        classes=st.sampled_from([5, 2, 3, 10, 1000]),
        dtype=st.sampled_from(DTYPES),
        layout=st.sampled_from(sorted(LAYOUTS)),
        seed=st.integers(0, 2**31),
        scale=st.sampled_from([1.0, 1e-30, 1e10]),
        ball=st.integers(0, 3),
        targeted=st.booleans(),
        wrong=st.booleans(),
    )
    return st.builds(Problem, **{name: one for name, one in drawn.items() if name not in fixed}).map(
        lambda problem: replace(problem, **fixed)
    )


# ------------------------------------------------------------------------------------------ what must be left alone
def state(model: nn.Module, *tensors: Tensor) -> dict[str, object]:
    """All that an attack must leave as it was, as values that can be compared."""
    found: dict[str, object] = {
        "torch's generator": _bytes(torch.get_rng_state()),
        "numpy's generator": np.random.get_state()[1].tobytes(),
        "random's state": random.getstate(),
        "modes of torch": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()),
    }
    for name, module in model.named_modules():
        hooks = [list(value) for key, value in vars(module).items() if key.endswith("_hooks")]
        own = sorted(key for key, value in vars(module).items() if callable(value))
        found[f"module {name}"] = getattr(module, "training", None), hooks, own, list(dict(module._buffers))
    for name, parameter in model.named_parameters():
        found[f"parameter {name}"] = _tensor(parameter), parameter.requires_grad
        found[f"gradient {name}"] = None if parameter.grad is None else _tensor(parameter.grad)
    for name, buffer in model.named_buffers():
        found[f"buffer {name}"] = _tensor(buffer)
    for i, tensor in enumerate(tensors):
        found[f"input {i}"] = _tensor(tensor), tensor.requires_grad, tensor.grad is None
    return found


def _tensor(tensor: Tensor) -> tuple:
    return id(tensor), tensor.data_ptr(), tensor.stride(), tensor.dtype, _bytes(tensor.detach())


def _bytes(tensor: Tensor) -> bytes:
    # A tensor of one pixel counts as contiguous whatever its stride: a copy is.
    return tensor.clone(memory_format=torch.contiguous_format).view(-1).view(torch.uint8).numpy().tobytes()


def changed(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """The names of what is not as it was."""
    return [name for name in {**before, **after} if before.get(name) != after.get(name)]
