"""What attacks without a ball, and attacks on few pixels, share: they search on the images that still stand."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from advlib import contract, losses
from advlib.attacks.victim import Victim
from advlib.device import in_batches, width
from advlib.distributed import share
from advlib.progress import progress

__all__ = ["attack_standing"]


def attack_standing(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    target: int | Tensor | None,
    batch_size: int | None,
    passes: int,
    search: Callable,
) -> Tensor:
    """Check all input, and ``search(victim, rows, x, tick)`` on the images that are not won as they are."""
    contract.check_model(model)
    contract.check_images(x)
    contract.check_labels(y, len(x))
    labels = y.to(contract.model_device(model)).long()
    target = contract.check_target(target, labels)
    with contract.frozen(model), progress(total=share(passes * len(x)), unit="pass") as bar:
        clean = x.detach().to(labels.device, torch.promote_types(x.dtype, torch.float32), copy=True)
        victim = Victim(model, labels, target, losses.margin, x.dtype)

        def attack(rows: Tensor) -> tuple[Tensor, Tensor]:
            with torch.no_grad():
                logits = victim.logits(clean[rows], " on the images as they are")
                standing = losses.margin(logits, *victim.goal(rows)) <= 0
            adv, still = clean[rows], rows[standing]
            if len(still):
                adv[standing] = search(victim, still, clean[still], bar.update)
            return adv, victim.dead[rows]

        everyone = torch.arange(len(x), device=labels.device)
        adv, victim.dead = map(torch.cat, zip(*in_batches(attack, everyone, width(model, clean[0]), batch_size)))
        victim.warn()
        # Rounded as the model saw it: no ball is to be kept, but success is.
        return adv.to(x.dtype).to(x.device)
