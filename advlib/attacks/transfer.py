"""Transfer: fool networks of your own, and send the result to a victim nobody may look into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from advlib import contract, losses
from advlib.attacks.ascent import Constant, Fixed, ascend
from advlib.attacks.blackbox import black_box
from advlib.attacks.chance import ByChance
from advlib.attacks.fast import faster
from advlib.device import in_batches, width
from advlib.distributed import share
from advlib.norms import Ball
from advlib.progress import progress

__all__ = ["substitute_labels", "transfer"]

SMALLEST = 0.9  # of the image's side that a resized one still has


def transfer(
    substitutes: nn.Module | Sequence[nn.Module],
    x: Tensor,
    y: Tensor,
    within: Ball,
    *,
    target: int | Tensor | None = None,
    steps: int = 20,
    step: float | None = None,
    loss: Callable = losses.log_odds,
    momentum: float = 1.0,
    diversity: float = 0.5,
    keep: str = "last",
    early_stop: bool = False,
    seed: int = 0,
    batch_size: int | None = None,
) -> Tensor:
    """Images made on substitutes that should fool another network too: momentum, input diversity, an ensemble.

    MI-FGSM (Dong et al. 2018, Eq. 6 and 7) on the mean of the substitutes' logits (their Section 3.2; Liu et al. 2017
    were the first to attack an ensemble), where at each step, with probability ``diversity``, the image is shrunk by
    chance and padded back to its size at a chance position (Xie et al. 2019, DI²-FGSM). Cross-entropy's
    direction is computed from the log-odds, which stay steep when a substitute is very sure of itself.

    Deviations: DI²-FGSM enlarges, by up to a tenth, and pads to the largest size; here the image shrinks, by up to a
    tenth, and is padded to its own size, because not every substitute takes images of other sizes. The papers climb
    cross-entropy.

    substitutes  one ``nn.Module`` or several with the same classes, all on one device.
    within       any ball; one made of a tensor (N,) gives each image an ε of its own.
    target       a class index, or one per image (N,).
    loss         one of ``advlib.losses``.
    step         a constant step in units of the ball's ε; None for ε / steps, as in MI-FGSM.
    keep, early_stop  the last iterate and all steps, because fooling the substitute is not the goal: the further past
                 its boundary, the likelier past the victim's.
    seed         of the chance in the resizing.
    batch_size   images at once; None chooses.
    Shapes: x (N, C, H, W) in [0, 1], y (N,); returns images like x.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract; substitutes with different classes.

    >>> from advlib.norms import Linf
    >>> model = lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    >>> x, y = torch.rand(5, 1, 4, 4), torch.zeros(5, dtype=torch.long)
    >>> x_adv = transfer([model(), model()], x, y, Linf(0.1))
    >>> bool(((x_adv - x).abs() < 0.1 + 1e-6).all())
    True
    """
    substitutes = [substitutes] if isinstance(substitutes, nn.Module) else substitutes
    if not isinstance(substitutes, Sequence) or not substitutes:
        raise TypeError(
            f"substitutes is {contract.shown(substitutes)}; expected a torch.nn.Module or a non-empty list of them."
        )
    for substitute in substitutes:
        contract.check_model(substitute)
    contract.check_images(x)
    contract.check_labels(y, len(x))
    contract.check_ball(within, x)
    contract.check_count(steps, "steps")
    if step is not None:
        contract.check_step(step)
    contract.check_share(diversity, "diversity", what="probability")
    contract.check_function(loss, "loss", "(logits, y, target) -> (N,), one of advlib.losses")
    contract.check_number(momentum, "momentum")
    contract.check_choice(keep, "keep", ("best", "last"))
    contract.check_flag(early_stop, "early_stop")
    contract.check_seed(seed)
    y = y.to(x.device)
    target = contract.check_target(target, y)

    def attack(rows: Tensor) -> Tensor:
        # A fresh generator for each batch: the same resizing at the same step, however the set is split.
        ensemble = _Ensemble(substitutes, diversity, torch.Generator().manual_seed(seed))
        attacked = ascend(
            ensemble,
            x[rows],
            y[rows],
            within.rows(rows),
            target=None if target is None else target[rows],
            steps=steps,
            schedule=Constant(1 / steps) if step is None else Fixed(step),
            loss=loss,
            momentum=momentum,
            keep=keep,
            early_stop=early_stop,
            batch_size=len(rows),
        )
        bar.update(len(rows))
        return attacked

    with ExitStack() as stack:
        bar = stack.enter_context(progress(total=share(len(x)), unit="image"))
        for network in substitutes:
            # One by one: what draws is the ensemble, whose draws are the attack's alone.
            stack.enter_context(contract.frozen(network))
            stack.enter_context(faster(network, x))
        widest = max(width(network, x[0]) for network in substitutes)
        return torch.cat(in_batches(attack, torch.arange(len(x), device=x.device), widest, batch_size))


def substitute_labels(victim: Callable[[Tensor], Tensor], x: Tensor, batch_size: int | None = None) -> Tensor:
    """What the victim calls each image, (N,): one query per image, and all a thief needs to train a substitute.

    Papernot et al. (2017), "Practical black-box attacks against machine learning": label your own pictures by the
    victim, fit a network of your own to them, and ``transfer`` attacks on it. The victim answers with labels or
    with scores. Shapes: x (N, C, H, W) in [0, 1], of which it is shown ``batch_size`` at once.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract.

    >>> substitute_labels(lambda images: (images.mean((1, 2, 3)) > 0.4).long(), torch.full((2, 1, 4, 4), 0.5))
    tensor([1, 1])
    """
    contract.check_images(x)
    nothing = torch.zeros(len(x), dtype=torch.long, device=x.device)
    with black_box(victim, x, nothing, None, 1, batch_size) as box:
        return box.labels(box.clean, torch.arange(len(x), device=box.clean.device)).to(x.device)


class _Ensemble(ByChance):
    """The mean of the networks' logits, each time on the same images or on images resized by chance."""

    each_batch_alike = True

    def __init__(self, networks: Sequence[nn.Module], diversity: float, generator: torch.Generator):
        super().__init__()
        self.networks, self.diversity, self.generator = nn.ModuleList(networks), diversity, generator

    def forward(self, x: Tensor) -> Tensor:
        coin, *chance = torch.rand(4, generator=self.generator).tolist()
        if coin < self.diversity:
            x = _resized(x, *chance)
        logits = [network(x) for network in self.networks]
        if len({answer.shape for answer in logits}) > 1:
            raise ValueError(
                f"the substitutes returned shapes {[tuple(answer.shape) for answer in logits]}; expected "
                "logits for the same classes."
            )
        return sum(logits) / len(logits)


def _resized(x: Tensor, share: float, down: float, across: float) -> Tensor:
    """Xie et al. (2019): x shrunk to between SMALLEST and all of its size, somewhere on a black picture of its size."""
    height, width = x.shape[2:]
    small = [max(1, round((SMALLEST + (1 - SMALLEST) * share) * side)) for side in (height, width)]
    top, left = int(down * (height - small[0] + 1)), int(across * (width - small[1] + 1))
    x = F.interpolate(x, size=small, mode="bilinear", align_corners=False)
    return F.pad(x, (left, width - small[1] - left, top, height - small[0] - top))
