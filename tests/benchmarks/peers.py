"""Other libraries behind one call, in an L∞ ball; one step is FGSM, many are PGD, from a random start or not."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from torch import Tensor, nn


def torchattacks(model: nn.Module, x: Tensor, y: Tensor, eps: float, step: float, steps: int, start: bool) -> Tensor:
    import torchattacks

    if steps == 1:
        return torchattacks.FGSM(model, eps=eps)(x, y)
    return torchattacks.PGD(model, eps=eps, alpha=step, steps=steps, random_start=start)(x, y)


def foolbox(model: nn.Module, x: Tensor, y: Tensor, eps: float, step: float, steps: int, start: bool) -> Tensor:
    import foolbox

    if steps == 1:
        attack = foolbox.attacks.FGSM(random_start=False)
    else:
        attack = foolbox.attacks.LinfPGD(abs_stepsize=step, steps=steps, random_start=start)
    _, x_adv, _ = attack(foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device), x, y, epsilons=eps)
    return x_adv


def autoattack(model: nn.Module, x: Tensor, y: Tensor, eps: float, *, classes: int, steps: int) -> Tensor:
    """AutoAttack's standard set (Croce & Hein 2020, section 6) from torchattacks' parts.

    ``steps`` for each start and each of nine target classes, 100 in the paper and 10 in ``torchattacks.AutoAttack``,
    which takes no other number.
    """
    from torchattacks import APGD, APGDT, FAB, MultiAttack, Square

    rivals = min(classes, 10)  # the true class and nine targets
    parts = [
        APGD(model, eps=eps, steps=steps),
        APGDT(model, eps=eps, steps=steps, n_classes=rivals),
        FAB(model, eps=eps, steps=steps, multi_targeted=True, n_classes=rivals),
        Square(model, eps=eps, n_queries=5000),
    ]
    return MultiAttack(parts)(x, y)


def installed() -> dict[str, Callable]:
    """The peers that are here, by name."""
    return {peer.__name__: peer for peer in (torchattacks, foolbox) if find_spec(peer.__name__)}
