"""What a universal perturbation and a patch share: one picture that climbs for many images at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from advlib import contract, losses
from advlib.attacks.ascent import Linear, climb
from advlib.attacks.victim import Victim
from advlib.device import at_least_float32, in_batches, width
from advlib.norms import Ball
from advlib.progress import progress

__all__ = ["climb_together"]

MOMENTUM = 0.5  # minibatches disagree; their decaying sum less so


def climb_together(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    wear: Callable,
    start: Tensor,
    within: Ball,
    *,
    target: int | Tensor | None = None,
    steps: int,
    seed: int,
    batch_size: int,
    samples: int = 1,
) -> Tensor:
    """Find the one picture (1, C, h, w), within a ball around ``start``, that fools most images wearing it.

    ``wear(picture, images, generator)`` puts it on each of the images, differentiably, by chance where it likes:
    a perturbation is added, a patch is stuck on somewhere. Each step sees ``batch_size`` images ``samples`` times.
    The result is in at least float32, on the model's device.
    """
    contract.check_model(model)
    contract.check_images(x)
    contract.check_labels(y, len(x))
    for value, name in ((steps, "steps"), (batch_size, "batch_size"), (samples, "samples")):
        contract.check_count(value, name)
    contract.check_seed(seed)
    labels = y.to(contract.model_device(model)).long()
    target = contract.check_target(target, labels)
    with contract.frozen(model), progress(total=steps, unit="step") as bar:
        clean = at_least_float32(x.detach().to(labels.device)).clone()
        start = start.detach().to(clean, copy=True)
        victim = Victim(model, labels, target, _clipped_cross_entropy, x.dtype)
        everyone = torch.arange(len(x), device=labels.device)
        gradient_at, margin_at = victim.gradient_on(everyone), victim.score_on(everyone)
        generator = torch.Generator().manual_seed(seed)
        passes = _minibatches(len(x), batch_size, generator)

        def fooled(picture: Tensor, _=None) -> Tensor:
            """How many of all images the picture fools, and by a fraction how near it is to fooling the others.

            All pictures are compared on the same draws."""
            same = torch.Generator().manual_seed(seed + 1)

            def look(rows: Tensor) -> Tensor:
                with torch.no_grad():
                    return margin_at(wear(picture, clean[rows], same).clamp(0, 1), rows).to(clean)

            margin = torch.cat(in_batches(look, everyone, width(model, clean[0]), batch_size))
            return (margin > 0).sum().to(margin)[None] + F.softsign(margin.mean())

        def gradient(picture: Tensor, _):
            rows, is_new_pass = next(passes)
            rows = rows.to(labels.device).repeat(samples)
            picture = picture.detach().requires_grad_()
            worn = wear(picture, clean[rows], generator)
            # The gradient is taken at the clipped images and passed on as if they were not clipped: a pixel beyond
            # the box would never hear that it should come back.
            loss, _, grad = gradient_at(worn.detach().clamp(0, 1), rows)
            (grad,) = torch.autograd.grad(worn, picture, grad / len(rows))
            score = fooled(picture) if is_new_pass else torch.full_like(loss[:1], -torch.inf)
            return loss.mean(0, keepdim=True), score, grad

        best, _ = climb(
            gradient,
            fooled,
            start,
            start,
            within,
            steps=steps,
            schedule=Linear(),
            momentum=MOMENTUM,
            early_stop=False,
            tick=bar.update,
        )
        victim.warn()
        return best


def _clipped_cross_entropy(logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
    """Cross-entropy up to log K. A label with less than 1/K of the probability has lost: it need not pull any more,
    or a few images that are easy to fool would own the mean.

    Here the images' gradients are added up, and their sizes count: log(1 + exp u) of the log-odds u is cross-entropy
    with its size, without its rounding."""
    u = losses.log_odds(logits, y, target)
    return F.softplus(u).clamp_max(math.log(logits.shape[1])) if target is None else -F.softplus(-u)


def _minibatches(n: int, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, bool]]:
    """Endless passes through n images in random order: the rows of each minibatch, and whether a pass begins."""
    while True:
        for k, rows in enumerate(torch.randperm(n, generator=generator).split(size)):
            yield rows, k == 0
