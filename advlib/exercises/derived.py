"""Results that count with their gradient: of a loss, training and attacks see little else.

The three parts of a `Formula`: ``outcome=derived.with_gradient(…)``, ``kind=derived.kind(…)`` and
``properties=[derived.which(…)]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from advlib.exercises.mistake import Mistake
from advlib.exercises.properties import alike, described, difference, like


class Derived(NamedTuple):
    """A value, and its gradients when it is added up with unequal weights; of size 0 where it records none."""

    value: Tensor
    grads: tuple[Tensor, ...]


def with_gradient(*places: int, dims: int | None = None) -> Callable[[tuple, Any], Any]:
    """A result counts with its gradients in the arguments at ``places``, if it has the shape of the first of them.

    Or of its first ``dims`` dimensions: 1 for a number for each image, 0 for one number.
    """

    def outcome(args: tuple, result: Any) -> Any:
        inputs = [args[place] for place in places]
        if not isinstance(result, Tensor) or result.shape != inputs[0].shape[:dims]:
            return result
        grads = tuple(torch.zeros(0) for _ in inputs)
        if result.requires_grad:
            weights = torch.rand(result.shape, generator=torch.Generator().manual_seed(4)).to(result) + 0.5
            found = torch.autograd.grad((weights * result).sum(), inputs, allow_unused=True)
            grads = tuple(torch.zeros_like(x) if grad is None else grad for x, grad in zip(inputs, found))
        return Derived(result.detach(), grads)

    return outcome


def kind(mend: str) -> Callable[[Any, Any, Any], None]:
    """A finite value of the right shape, with finite gradients; ``mend`` says how to get one."""

    def proved(case: Any, result: Any, right: Derived) -> None:
        if not isinstance(result, Derived):
            due = f"a tensor of shape {tuple(right.value.shape)}" if right.value.ndim else "one number as a tensor"
            raise Mistake(f"got {described(result)}, expected {due}", mend=mend)
        like(case, result.value, right.value)
        if not all(grad.isfinite().all() for grad in result.grads):
            raise Mistake(f"on {case.name}, the gradient is NaN or infinite")

    return proved


def which(*names: str) -> Callable[[Any, Any, Any], None]:
    """Whether the value is wrong, or else the gradient in which of the arguments, given their ``names``."""

    def proved(case: Any, result: Derived, right: Derived) -> None:
        if not alike(result.value, right.value):
            raise Mistake(f"on {case.name}, {difference(result.value, right.value)}")
        for name, grad, due in zip(names, result.grads, right.grads):
            if not alike(grad, due):
                seen = f"its gradient in {name} is not the formula's" if len(grad) else f"no gradient reaches {name}"
                mend = "" if len(grad) else f"compute with {name} from beginning to end: no detach(), no .item()"
                raise Mistake(f"on {case.name}, the value is right, but {seen}", mend=mend)

    return proved
