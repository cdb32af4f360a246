"""What no perturbation of the ball can change: proofs for single images, and the share of a set that has one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advlib import contract
from advlib.defenses.certificates.intervals import box, check_box, check_fits, differences, layers_of, least, through
from advlib.defenses.certificates.relaxations import crown_margins
from advlib.device import in_batches, width
from advlib.intervals import Share
from advlib.norms import Ball

__all__ = ["certified", "certified_accuracy", "margin_bounds"]

METHODS = ("crown", "interval")


def margin_bounds(
    model: nn.Module, x: Tensor, y: Tensor, within: Ball, *, method: str = "crown", batch_size: int | None = None
) -> Tensor:
    """Lower bounds (N, K) of z_y − z_j over the L∞ ball around each image, cut to the box; 0 where j is y.

    method      "crown": ``crown_bounds``' relaxation of each difference. "interval": boxes up to the last layer, which
                is merged with the difference; a hundred times cheaper, and much looser unless a network was trained
                for it (``IBP``).
    Shapes, model and errors: as in ``interval_bounds``.

    >>> from advlib.norms import Linf
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    >>> _ = model[1].weight.data.copy_(torch.tensor([[1.0, 1], [1, -1]]))   # z₀ − z₁ is twice the second pixel
    >>> margin_bounds(model, torch.full((1, 1, 1, 2), 0.5), torch.tensor([0]), Linf(0.1))
    tensor([[0.0000, 0.8000]])
    """
    contract.check_choice(method, "method", METHODS)
    contract.check_images(x)
    contract.check_labels(y, len(x))
    if method == "crown":
        return crown_margins(model, x, y, within, batch_size=batch_size)
    layers = layers_of(model)
    check_box(x, within)
    check_fits(model, x)
    with contract.frozen(model), torch.no_grad():
        images = x.detach().to(contract.model_device(model))

        def run(rows: Tensor) -> Tensor:
            return interval_margins(layers, images[rows], y.to(rows.device)[rows], within.rows(rows))

        found = in_batches(run, torch.arange(len(x), device=images.device), width(model, x[0]), batch_size)
    return torch.cat(found).to(x.device)


def interval_margins(layers: list[nn.Module], x: Tensor, y: Tensor, within: Ball) -> Tensor:
    """``margin_bounds`` by intervals, of layers in eval mode; differentiable in their weights."""
    before = through(layers[:-1], box(x, within))
    logits = layers[-1](before.lower)
    contract.check_logits(logits, len(x))
    return least(differences(y, logits.shape[1], logits), layers[-1], before)


def certified(
    model: nn.Module, x: Tensor, y: Tensor, within: Ball, *, method: str = "crown", batch_size: int | None = None
) -> Tensor:
    """For each image, (N,), whether it is proved that the model answers y on all of the ball: z_y > z_j for all j ≠ y.

    False says only that this method found no proof. Nothing is said of perturbations outside of the ball, of other
    norms, or of other images; and the proof is one about real numbers, computed in floating point.

    Arguments, shapes and errors: as in ``margin_bounds``.

    >>> from advlib.norms import Linf
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    >>> _ = model[1].weight.data.copy_(torch.tensor([[1.0, 0], [0, 1]]))
    >>> x = torch.tensor([[0.9, 0.1], [0.6, 0.5]]).view(2, 1, 1, 2)   # far from the boundary, near it
    >>> certified(model, x, torch.tensor([0, 0]), Linf(0.1))
    tensor([ True, False])
    """
    margins = margin_bounds(model, x, y, within, method=method, batch_size=batch_size)
    return margins.scatter(1, y.to(margins.device).long()[:, None], torch.inf).amin(1) > 0


def certified_accuracy(
    model: nn.Module, x: Tensor, y: Tensor, within: Ball, *, method: str = "crown", batch_size: int | None = None
) -> Share:
    """The share of images that are right and proved to stay so: a lower bound of robust accuracy, as attacks give an
    upper one.

    Arguments, shapes and errors: as in ``margin_bounds``.

    >>> from advlib.norms import Linf
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    >>> _ = model[1].weight.data.copy_(torch.tensor([[1.0, 0], [0, 1]]))
    >>> x = torch.tensor([[0.9, 0.1], [0.6, 0.5]]).view(2, 1, 1, 2)
    >>> print(certified_accuracy(model, x, torch.tensor([0, 0]), Linf(0.1)))
    50.0% (9.5% to 90.5%, 2 images)
    """
    proved = int(certified(model, x, y, within, method=method, batch_size=batch_size).sum())
    return Share(proved, len(x))
