"""What an answer did to its arguments: models, images, lists and gradients are to be as they were."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from advlib.exercises.mistake import Mistake


@dataclass(frozen=True)
class Harm:
    """What was left behind: a note to a right answer, or, where it is serious, a mistake."""

    mistake: Mistake
    serious: bool = True

    @property
    def note(self) -> str:
        return f"{self.mistake.seen}; {self.mistake.mend}"


def damage(function: Callable, before: tuple, after: tuple) -> list[Harm]:
    """What a call did to the arguments, which are named as ``function`` names its parameters."""
    names = inspect.signature(function).parameters
    return [harm for triple in zip(names, before, after) if (harm := _harm(*triple))]


@contextlib.contextmanager
def called(args: tuple) -> Iterator[Callable[[], bool]]:
    """Tell whether every network among the arguments was asked."""
    seen: dict[nn.Module, bool] = {arg: False for arg in args if isinstance(arg, nn.Module)}
    handles = [net.register_forward_hook(lambda net, *_: seen.update({net: True})) for net in seen]
    try:
        yield lambda: all(seen.values())
    finally:
        for handle in handles:
            handle.remove()


def _harm(name: str, before: Any, after: Any) -> Harm | None:
    if isinstance(after, nn.Module):
        return _harm_to_model(name, before, after)
    if isinstance(after, list | tuple):
        if len(after) != len(before):
            return Harm(Mistake(f"the caller's {name} was changed: it has {len(after)} entries now, not {len(before)}"))
        return next(filter(None, (_harm(f"{name}[{i}]", *pair) for i, pair in enumerate(zip(before, after)))), None)
    if not isinstance(after, Tensor):
        return None
    if after.shape != before.shape or not torch.equal(after.detach().nan_to_num(7), before.detach().nan_to_num(7)):
        return Harm(
            Mistake(
                f"the caller's {name} was changed",
                "an operation in place, such as +=, clamp_ or an assignment into it",
                f"work on a copy: {name.split('[')[0]}.clone()",
            )
        )
    if after.requires_grad > before.requires_grad or (after.grad is not None and before.grad is None):
        after.requires_grad_(False)
        mend = f"{name} = {name}.clone().detach() before requires_grad_() avoids it"
        return Harm(Mistake(f"the caller's {name} now records gradients", "", mend), serious=False)
    return None


def _harm_to_model(name: str, before: nn.Module, after: nn.Module) -> Harm | None:
    pairs = list(zip(before.state_dict().values(), after.state_dict().values()))
    if len(before.state_dict()) != len(after.state_dict()) or not all(torch.equal(*pair) for pair in pairs):
        return Harm(Mistake(f"the weights or statistics of the caller's {name} were changed", "", "only look at it"))
    if [m.training for m in before.modules()] != [m.training for m in after.modules()]:
        mend = "leave its mode alone, or put it back: in training mode batch norm and dropout act otherwise"
        return Harm(Mistake(f"{name} was left in {'training' if after.training else 'eval'} mode", "", mend))
    if [p.requires_grad for p in before.parameters()] != [p.requires_grad for p in after.parameters()]:
        return Harm(
            Mistake(f"the weights of {name} no longer record gradients as before", "", "put requires_grad back")
        )
    grads = [(b.grad, a.grad) for b, a in zip(before.parameters(), after.parameters())]
    if not all(b is a is None or (b is not None and a is not None and torch.equal(b, a)) for b, a in grads):
        mend = "torch.autograd.grad(loss, x)[0] computes the gradient of x alone"
        seen = "loss.backward() also filled the .grad of every weight, which a later step of training would use"
        if any(b is not None and (a is None or not a.any()) for b, a in grads):
            seen = "zero_grad(), or None, threw away what stood in the .grad of the caller's weights"
        return Harm(Mistake(seen, "", mend), serious=False)
    return None
