"""The one trainer. Adversarial training is ordinary training on attacked batches: pass `perturb`.

What is changed is an argument: the images that a batch becomes (`perturb`), what is made small (`loss`, or
`objective` where it needs more than logits and labels), and either over time (`Scheduled`). The ones that the course
uses are in `advlib.defenses.adversarial` and `advlib.defenses.distillation`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from advlib import contract, distributed
from advlib.answers import answer
from advlib.contract import check_count, check_model, check_number, model_device
from advlib.data.images import Images
from advlib.defenses.checkpoint import Checkpoint, described
from advlib.defenses.epochs import Epoch, Sums
from advlib.device import at_least_float32
from advlib.progress import switched_off

__all__ = ["Epoch", "Scheduled", "fit", "Perturb", "Loss", "Objective"]

Perturb = Callable[[nn.Module, Tensor, Tensor], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
Objective = Callable[[nn.Module, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
CLEAN_EVERY = 8  # batches of adversarial training: one of so many is also shown to the model without the attack
LOOKED_AT = 8  # images that the model is tried on before training
SEEDS_APART = 1_000_003  # between the processes of a group, whose chance shall not be the same
ASKED = (0.0, 0.25, 0.5, 0.75)  # shares of the run at which a checkpoint compares what is scheduled


@dataclass(frozen=True)
class Scheduled:
    """A `perturb` or an `objective` that changes as training goes on: ``at(t)`` gives the one to use.

    t in [0, 1) is the share of the steps already taken. An ε that grows over the first half of the training::

        Scheduled(lambda t: Climb(Linf(8 / 255).scaled(min(1, 2 * t))))
    """

    at: Callable[[float], Callable]

    def __post_init__(self):
        contract.check_function(self.at, "at", "of t in [0, 1)")

    def __repr__(self) -> str:
        return "Scheduled(" + ", ".join(f"{t:g}: {described(self.at(t))}" for t in ASKED) + ")"


def fit(
    model: nn.Module,
    images: Images | Callable[[int], Images],
    *,
    epochs: int,
    lr: float = 2e-3,
    batch_size: int = 128,
    perturb: Perturb | Scheduled | None = None,
    seed: int = 0,
    weight_decay: float = 1e-3,
    loss: Loss = F.cross_entropy,
    objective: Objective | Scheduled | None = None,
    average: float = 0.0,
    amp: bool = False,
    checkpoint: str | os.PathLike | None = None,
    progress: bool = True,
) -> list[Epoch]:
    """Train `model` in place with AdamW, and leave it in eval mode.

    images      x (N, C, H, W) in [0, 1] with labels; or a function that gives epoch e (0, 1, …) images of its
                own, always as many. Stored as ``channels_last``, they train convolutions faster on a CPU
    lr          the highest learning rate: it rises to it for 30 % of the steps, then falls to zero as a cosine
    perturb     ``perturb(model, x, y) -> x_adv``, such as an attack: train on what it returns instead (Madry
                et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", 2018, equation 2.1). Chance
                in it must come from torch's global generator, or from a seed drawn there: the same seed again for
                each batch would give each the same start
    seed        decides order, dropout and the chance in `perturb`: the same seed gives the same weights on one
                machine. The global random state is left alone
    loss        ``loss(logits, y)``, a mean over the batch, of the logits of what `perturb` returned
    objective   instead of `loss`, for what needs more than those: ``objective(model, x, x_adv, y) -> (value, logits)``
                with x_adv = x where there is no `perturb`; value is what to make small, logits (N, K) the model's
                answer to x_adv. It runs the model itself
    average     the model ends as the exponential mean of its weights and buffers over the steps, with this decay,
                such as 0.998; 0 for the last weights
    amp         passes in bfloat16 where that is safe (autocast), those of `perturb` included: faster on a GPU, and on
                a CPU that has instructions for it
    checkpoint  a file, written whole at the end of each epoch. Where it is there already, training goes on after the
                last epoch it holds and ends at the same weights as without the interruption

    `perturb` and `objective` may be `Scheduled`. Returns one `Epoch(loss, accuracy, robust)` per epoch.

    In a process group each process takes its share of every batch, and the gradients' mean decides for all. Chance is
    drawn, and a batch norm computed, in each process for its share, so that weights differ from those of one process
    as those of another seed do. All end with the same ones; the first process's were those to begin with.

    Raises
        TypeError, ValueError: arguments or images out of their range; a model whose answers are no logits for as many
            classes as there are; a checkpoint of a run with other settings. ValueError as soon as the loss is not
            finite.

    >>> from advlib.data import load_images
    >>> from advlib.models.nets import signs_linear
    >>> history = fit(signs_linear(), load_images("signs", "train", n=256), epochs=4, lr=5e-4, progress=False)
    >>> len(history), history[-1].loss < history[0].loss
    (4, True)
    """
    check_model(model)
    check_count(epochs, "epochs")
    check_count(batch_size, "batch_size")
    check_number(lr, "lr", positive=True)
    check_number(weight_decay, "weight_decay")
    check_number(average, "average")
    contract.check_flag(amp, "amp")
    contract.check_flag(progress, "progress")
    contract.check_seed(seed)
    contract.check_function(loss, "loss", "(logits, y) -> a mean, such as F.cross_entropy")
    for given, name in ((perturb, "perturb"), (objective, "objective")):
        if given is not None and not isinstance(given, Scheduled):
            contract.check_function(given, name, "or Scheduled, as the docstring of fit says")
    if checkpoint is not None:
        contract.check_path(checkpoint, "checkpoint")
    if average >= 1:
        raise ValueError(f"average is {average}; expected a decay below 1, such as 0.998, or 0 for none.")
    if objective is not None and loss is not F.cross_entropy:
        raise ValueError("both loss and objective were given; an objective decides alone what is made small.")
    draw = images if callable(images) else lambda epoch: images
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=weight_decay)
    mean = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(average), use_buffers=True) if average else None
    settings: dict[str, object] = {
        "epochs": epochs,
        "lr": lr,
        "batch_size": batch_size,
        "seed": seed,
        "weight_decay": weight_decay,
    }
    settings |= {
        "average": average,
        "amp": amp,
        "perturb": described(perturb),
        "loss": described(loss if objective is None else objective),
    }
    if not callable(images):
        settings["images"] = f"{_checked(images)}, {images.x.mean(dtype=torch.float64):.9f} in the mean"
    if distributed.world() > 1:
        settings["processes"] = distributed.world()
        distributed.agree(**settings, checkpoint=checkpoint is not None)
        model.load_state_dict(distributed.only_first(model.state_dict))
    kept = Checkpoint(checkpoint, settings)
    kept.restore(model=model, mean=mean)
    schedule, history = None, [Epoch(*figures) for figures in kept.history]
    ask = partial(_ask, model, perturb, _on_logits(loss) if objective is None else objective, amp)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed + SEEDS_APART * distributed.rank())
        kept.restore_chance()
        try:
            for epoch in range(len(history), epochs):
                now = _checked(draw(epoch))
                count = math.ceil(len(now) / batch_size)
                if schedule is None:
                    check_answers(model, now)
                    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * count)
                    kept.restore(optimizer=optimizer, schedule=schedule)
                if schedule.total_steps != epochs * count:
                    raise ValueError(f"epoch {epoch} got {len(now)} images; expected as many as the one before had.")
                order = distributed.only_first(partial(torch.randperm, len(now)))
                batches = order.tensor_split(count)  # of nearly one size: no tiny last one
                if len(batches[-1]) < distributed.world():
                    raise ValueError(
                        f"batch_size is {batch_size} for {distributed.world()} processes and {len(now)} images; "
                        "expected an image for each process at least."
                    )
                name, last = f"epoch {epoch + 1}/{epochs}", epoch == epochs - 1
                bar = tqdm(batches, name, disable=not progress or switched_off(), leave=last)
                sums = Sums()
                model.train()
                for k, batch in enumerate(bar):
                    rows = batch.tensor_split(distributed.world())[distributed.rank()]
                    t = (epoch * count + k) / (epochs * count)
                    value = ask(now.x[rows], now.y[rows], t, sums, clean_too=k % CLEAN_EVERY == 0)
                    everywhere = distributed.mean(value, len(rows))
                    if not torch.isfinite(everywhere):
                        raise ValueError(
                            f"the loss became {everywhere.item()} in {name}: the weights have blown up. Try a "
                            f"lower learning rate than lr={lr:g}."
                        )
                    optimizer.zero_grad()
                    value.backward()
                    distributed.average(model, len(rows) / len(batch))
                    optimizer.step()
                    schedule.step()
                    if mean is not None:
                        mean.update_parameters(model)
                    bar.set_postfix(sums.shown())
                history.append(sums.everywhere().epoch())
                kept.write(history, model=model, mean=mean, optimizer=optimizer, schedule=schedule)
        finally:
            optimizer.zero_grad()
            model.eval()
    if mean is not None:
        model.load_state_dict(mean.module.state_dict())
    return history


def _ask(model, perturb, objective, amp: bool, x: Tensor, y: Tensor, t: float, sums: Sums, clean_too: bool) -> Tensor:
    """The value to descend for one batch, at share t of the run; what the model answered goes to `sums`."""
    device = model_device(model)
    x, y, x_adv = x.to(device), y.to(device), None
    with torch.autocast(device.type, torch.bfloat16, enabled=amp):
        if perturb is not None:
            if clean_too:
                sums.clean.add(_answers(model, x), y)
            x_adv = _at(perturb, t)(model, x, y)
        value, logits = _at(objective, t)(model, x, x if x_adv is None else x_adv, y)
    if not isinstance(value, Tensor) or value.ndim:
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else contract.shown(value)
        raise ValueError(f"the loss (or objective) gave {got}; expected one number, the mean over the batch.")
    (sums.clean if perturb is None else sums.robust).add(logits, y)
    sums.loss += value.item() * len(y)
    sums.seen += len(y)
    return value


def _on_logits(loss: Loss) -> Objective:
    """A loss of logits and labels, as an objective."""

    def objective(model, x, x_adv, y):
        logits = at_least_float32(model(x_adv))
        return loss(logits, y), logits

    return objective


def _at(what, t: float):
    return what.at(t) if isinstance(what, Scheduled) else what


def _answers(model: nn.Module, x: Tensor) -> Tensor:
    """The logits in eval mode, without moving what the model remembers of its batches."""
    with contract.frozen(model), torch.no_grad():
        return answer(model, x)


def _checked(images) -> Images:
    if not isinstance(images, Images):
        raise TypeError(
            f"images is a {type(images).__name__}; expected an Images value, such as "
            "load_images('signs', 'train'), or a function that gives one per epoch."
        )
    if not len(images):
        raise ValueError("images is empty; expected at least one image to train on.")
    return images


def check_answers(model: nn.Module, images: Images) -> None:
    """What the model answers is logits, of as many classes as there are labels."""
    some = images.x[:LOOKED_AT]
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        logits = _answers(model, some.to(model_device(model)))
    contract.check_logits(logits, len(some))
    contract.check_probabilities(logits)
    contract.check_labels(images.y, len(images), logits.shape[1])
