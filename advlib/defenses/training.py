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

__all__ = ["Epoch", "fit"]


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
    perturb: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None,
    seed: int = 0,
    weight_decay: float = 1e-3,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    progress: bool = True,
) -> list[Epoch]:
    """Train `model` in place with AdamW, and leave it in eval mode.

    images     the training set, x (N, C, H, W) in [0, 1]; or a function that gives epoch e (0, 1, …) its own images
    lr         the highest learning rate: it rises to it for a third of the steps and then falls to zero, as a cosine
    perturb    ``perturb(model, x, y) -> x_adv``, such as an attack: train on what it returns instead (Madry et al.,
               "Towards Deep Learning Models Resistant to Adversarial Attacks", 2018, equation 2.1)
    seed       decides order and dropout; the same seed gives the same weights on one machine. The global random
               state is left alone
    loss       ``loss(logits, y)``, a mean over the batch

    Returns one `Epoch(loss, accuracy)` per epoch. Raises `ValueError` as soon as the loss is not finite.

    >>> from advlib.data import load_images
    >>> from advlib.models.nets import signs_linear
    >>> history = fit(signs_linear(), load_images("signs", "train", n=64), epochs=2, progress=False)
    >>> len(history), history[1].loss < history[0].loss
    (2, True)
    """
    check_model(model)
    check_count(epochs, "epochs")
    check_count(batch_size, "batch_size")
    if not lr > 0:
        raise ValueError(f"lr is {lr!r}; expected a learning rate > 0, such as 0.002.")
    draw = images if callable(images) else lambda epoch: images
    device = model_device(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=weight_decay)
    history, schedule = [], None
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for epoch in range(epochs):
            now = _checked(draw(epoch))
            batches = torch.randperm(len(now)).tensor_split(math.ceil(len(now) / batch_size))  # no tiny last one
            if schedule is None:
                schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * len(batches))
            total = correct = seen = 0
            bar = tqdm(batches, f"epoch {epoch + 1}/{epochs}", disable=not progress, leave=epoch == epochs - 1)
            model.train()
            for done, rows in enumerate(bar, start=1):
                x, y = now.x[rows].to(device), now.y[rows].to(device)
                if perturb is not None:
                    x = perturb(model, x, y)
                logits = model(x)
                value = loss(logits, y)
                if not torch.isfinite(value):
                    raise ValueError(f"the loss became {value.item()} in epoch {epoch + 1}, batch {done}: the weights "
                                     f"have blown up. Try a lower learning rate than lr={lr:g}.")
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                schedule.step()
                total += value.item() * len(y)
                correct += (logits.argmax(1) == y).sum().item()
                seen += len(y)
                bar.set_postfix(loss=f"{value.item():.3f}", accuracy=f"{correct / seen:.1%}")
            history.append(Epoch(total / seen, correct / seen))
    model.eval()
    return history


def _checked(images) -> Images:
    if not isinstance(images, Images):
        raise TypeError(f"images is a {type(images).__name__}; expected an Images value such as "
                        "load_images('signs', 'train'), Images(x, y, classes), or a function epoch -> Images.")
    if not len(images):
        raise ValueError("images is empty; expected at least one image to train on.")
    return images
