"""Defensive distillation: a student learns a teacher's probabilities, softened by a temperature T.

Papernot, McDaniel, Wu, Jha & Swami, "Distillation as a Defense to Adversarial Perturbations against Deep Neural
Networks" (2016). A model trained at T divides its logits by T before the softmax; used at T = 1 its logits are about T
times as large as another's, and its cross-entropy rounds to zero. Carlini & Wagner (2017), "Towards
evaluating the robustness of neural networks", broke it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib.contract import check_model, check_number, frozen
from advlib.data.images import Images, check_some
from advlib.defenses.training import Epoch, check_answers, fit
from advlib.device import at_least_float32

__all__ = ["AtTemperature", "Taught", "distill", "heat"]

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class AtTemperature:
    """A loss for `fit`: cross-entropy of softmax(z / T), what a teacher is trained with.

    >>> AtTemperature(10.0)(torch.tensor([[30.0, 10.0]]), torch.tensor([0])).round(decimals=3)
    tensor(0.1270)
    """

    temperature: float

    def __post_init__(self):
        check_number(self.temperature, "temperature", positive=True)

    def __call__(self, logits: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(logits / self.temperature, y)


@dataclass(frozen=True)
class Taught:
    """An `objective` for `fit`: cross-entropy between the teacher's probabilities at T and the student's at T.

    Papernot et al. (2016), Section III, the student's training: −Σₖ pₖ log softmax(z / T)ₖ with
    p = softmax(z_teacher / T). The labels are not used.
    """

    teacher: nn.Module = field(repr=False)
    temperature: float = 100.0

    def __post_init__(self):
        check_model(self.teacher)
        check_number(self.temperature, "temperature", positive=True)

    def __call__(self, model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        with frozen(self.teacher), torch.no_grad():
            soft = (at_least_float32(self.teacher(x_adv)) / self.temperature).softmax(1)
        logits = at_least_float32(model(x_adv))
        return F.cross_entropy(logits / self.temperature, soft), logits


def heat(model: Model, temperature: float) -> Model:
    """Multiply the last linear layer by T, in place: the same model for use at temperature T.

    An untrained network's logits are about 1; divided by T = 100 they hardly differ, and their gradients are too small
    to learn from. Heated first, it trains at T as it would have at 1. For a trained model, softmax(z / T) is what
    softmax(z) was.

    Raises `ValueError` for a model without a linear layer.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> x = torch.rand(2, 1, 2, 2)
    >>> before = model(x)
    >>> torch.allclose(heat(model, 50.0)(x), 50 * before, atol=1e-5)
    True
    """
    check_model(model)
    check_number(temperature, "temperature", positive=True)
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ValueError("the model has no nn.Linear layer; expected one that makes its logits, to multiply by T.")
    with torch.no_grad():
        for parameter in layers[-1].parameters():
            parameter.mul_(temperature)
    return model


def distill(
    teacher: nn.Module, student: nn.Module, images: Images, *, temperature: float = 100.0, **training: Any
) -> list[Epoch]:
    """Train `student` in place on the teacher's probabilities at `temperature`; use it at T = 1, as it is.

    teacher     a model trained at this temperature: with ``fit(heat(model, T), …, loss=AtTemperature(T))``; or an
                ordinary one, heated: ``heat(model, T)``
    student     a network, untrained or ordinary; it is heated here
    images      whose images are shown to both; the labels only count in the accuracy that is reported
    training    epochs, lr, seed and others of `fit`

    Returns the history that `fit` returns, and raises what `fit` raises.

    >>> images = Images(torch.rand(32, 1, 4, 4), torch.arange(32) % 2, ("a", "b"))
    >>> network = lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    >>> len(distill(heat(network(), 100), network(), images, epochs=2, progress=False))
    2
    """
    check_model(teacher)
    check_some(images)
    check_answers(teacher, images)
    return fit(heat(student, temperature), images, objective=Taught(teacher, temperature), **training)
