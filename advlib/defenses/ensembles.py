"""Several models that answer as one."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from advlib import contract
from advlib.device import at_least_float32

__all__ = ["Ensemble"]


class Ensemble(nn.Module):
    """The mean of several models' answers, as one model: images (N, C, H, W) to logits (N, K).

    average     "logits": the mean of the logits, so that a member who is loud, with large logits, decides.
                "probabilities": log of the mean softmax, log 1/M Σ p_m(x), computed without leaving logarithms;
                each member has one vote, and no more. (The softmax of the result is the mean of theirs.)

    It carries ``.classes`` where its members do.

    Raises
        TypeError, ValueError: no models, another average, members whose classes differ; in a pass, logits of
        different shapes.

    >>> class Says(nn.Module):
    ...     def __init__(self, *logits):
    ...         super().__init__()
    ...         self.answer = torch.tensor([logits])
    ...     def forward(self, x):
    ...         return self.answer.expand(len(x), -1)
    >>> loud, quiet = Says(30.0, 0.0), Says(0.0, 3.0)
    >>> x = torch.rand(1, 1, 2, 2)
    >>> for average in ("logits", "probabilities"):
    ...     Ensemble([loud, quiet, quiet], average)(x).softmax(1)
    tensor([[9.9966e-01, 3.3535e-04]])
    tensor([[0.3650, 0.6350]])
    """

    def __init__(self, models: Iterable[nn.Module], average: str = "logits"):
        super().__init__()
        if isinstance(models, (str, Tensor)) or not isinstance(models, Iterable):
            raise TypeError(f"models is {contract.shown(models)}; expected several models, such as [one, other].")
        members = list(models)
        for model in members:
            contract.check_model(model)
        if not members:
            raise ValueError("models is empty; expected at least one model.")
        contract.check_choice(average, "average", ("logits", "probabilities"))
        self.members, self.average = nn.ModuleList(members), average
        known = [tuple(model.classes) for model in members if hasattr(model, "classes")]  # type: ignore[arg-type]
        for i, classes in enumerate(known):
            if classes != known[0]:
                raise ValueError(
                    f"the models do not know the same classes: one begins {known[0][:3]} and has {len(known[0])}, "
                    f"number {i + 1} of those that say begins {classes[:3]} and has {len(classes)}. "
                    "Train the members on one data set."
                )
        if known:
            self.classes = known[0]

    def forward(self, x: Tensor) -> Tensor:
        answers = [member(x) for member in self.members]
        if len({answer.shape for answer in answers}) > 1:
            raise ValueError(
                f"the members returned shapes {[tuple(answer.shape) for answer in answers]}; expected logits for the "
                "same classes."
            )
        logits = torch.stack(answers)
        if self.average == "logits":
            return logits.mean(0)
        return at_least_float32(logits).log_softmax(-1).logsumexp(0) - math.log(len(answers))

    def extra_repr(self) -> str:
        return f"average={self.average!r}"
