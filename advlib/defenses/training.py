"""The one trainer. Adversarial training is ordinary training on attacked batches: pass `perturb`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from advlib.contract import check_count, check_model, model_device
from advlib.data.images import Images
from advlib.progress import switched_off

__all__ = ["Epoch", "fit"]

Perturb = Callable[[nn.Module, Tensor, Tensor], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


class Epoch(NamedTuple):
    """What one pass over the training images came to: means over all of them, as they were trained on."""

    loss: float
    accuracy: float


def fit(
    model: nn.Module,
    images: Images | Callable[[int], Images],
    *,
    epochs: int,
    lr: float = 2e-3,
    batch_size: int = 128,
    perturb: Perturb | None = None,
    seed: int = 0,
    weight_decay: float = 1e-3,
    loss: Loss = F.cross_entropy,
    progress: bool = True,
) -> list[Epoch]:
    """Train `model` in place with AdamW, and leave it in eval mode.

    images     x (N, C, H, W) in [0, 1] with labels; or a function that gives epoch e (0, 1, …) images of its
               own, always as many
    lr         the highest learning rate: it rises to it for 30 % of the steps, then falls to zero as a cosine
    perturb    ``perturb(model, x, y) -> x_adv``, such as an attack: train on what it returns instead (Madry
               et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", 2018, equation 2.1)
    seed       decides order and dropout: the same seed gives the same weights on one machine. The global
               random state is left alone
    loss       ``loss(logits, y)``, a mean over the batch

    Returns one `Epoch(loss, accuracy)` per epoch. Raises `ValueError` as soon as the loss is not finite.

    >>> from advlib.data import load_images
    >>> from advlib.models.nets import signs_linear
    >>> history = fit(signs_linear(), load_images("signs", "train", n=256), epochs=4, lr=5e-4, progress=False)
    >>> len(history), history[-1].loss < history[0].loss
    (4, True)
    """
    check_model(model)
    check_count(epochs, "epochs")
    check_count(batch_size, "batch_size")
    if not lr > 0:
        raise ValueError(f"lr is {lr!r}; expected a learning rate > 0, such as 0.002.")
    draw = images if callable(images) else lambda epoch: images
    device = model_device(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=weight_decay)
    schedule, history = None, []
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        for epoch in range(epochs):
            now = _checked(draw(epoch))
            count = math.ceil(len(now) / batch_size)
            batches = torch.randperm(len(now)).tensor_split(count)  # of nearly one size: no tiny last one
            if schedule is None:
                schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * count)
            name, last = f"epoch {epoch + 1}/{epochs}", epoch == epochs - 1
            bar = tqdm(batches, name, disable=not progress or switched_off(), leave=last)
            total, right, seen = 0.0, 0, 0
            model.train()
            for rows in bar:
                x, y = now.x[rows].to(device), now.y[rows].to(device)
                if perturb is not None:
                    x = perturb(model, x, y)
                value, correct = _step(model, x, y, loss, optimizer)
                if not math.isfinite(value):
                    raise ValueError(
                        f"the loss became {value} in {name}: the weights have blown up. Try a "
                        f"lower learning rate than lr={lr:g}."
                    )
                schedule.step()
                total, right, seen = total + value * len(y), right + correct, seen + len(y)
                bar.set_postfix(loss=f"{total / seen:.3f}", accuracy=f"{right / seen:.1%}")
            history.append(Epoch(total / seen, right / seen))
    optimizer.zero_grad()
    model.eval()
    return history


def _step(model, x, y, loss, optimizer) -> tuple[float, int]:
    """Descend once, and return the loss and the number of right answers before it."""
    logits = model(x)
    value = loss(logits, y)
    if torch.isfinite(value):
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return value.item(), (logits.argmax(1) == y).sum().item()


def _checked(images) -> Images:
    if not isinstance(images, Images):
        raise TypeError(
            f"images is a {type(images).__name__}; expected an Images value, such as "
            "load_images('signs', 'train'), or a function that gives one per epoch."
        )
    if not len(images):
        raise ValueError("images is empty; expected at least one image to train on.")
    return images
