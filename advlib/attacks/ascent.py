"""The one engine: climb a per-image loss inside a norm ball and the pixel box.

FGSM is one step of it, BIM many; PGD adds a random start, momentum and restarts. ``ascend`` attacks a classifier.
``climb`` below it knows no model, only an oracle that gives a score and a direction, so that universal
perturbations, patches and gradients estimated from queries climb with the same loop.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from advlib import contract, losses
from advlib.attacks.chance import rewinder
from advlib.attacks.fast import faster
from advlib.attacks.schedules import Adaptive, Constant, Fixed, Linear, check_climb
from advlib.attacks.trial import verified
from advlib.attacks.victim import Victim, round_towards
from advlib.ball import wide
from advlib.device import at_least_float32, in_batches, width
from advlib.distributed import share
from advlib.norms import Ball
from advlib.progress import progress

__all__ = ["ascend", "climb", "Iterate", "Constant", "Fixed", "Linear", "Adaptive"]


# -------------------------------------------------------------------------------------------------- the loop
class _Climbers(SimpleNamespace):
    """What the loop remembers of the images still climbing: tensors whose first dimension is the image."""

    def only(self, chosen: Tensor) -> _Climbers:
        return _Climbers(**{name: value[chosen] for name, value in vars(self).items()})


def climb(
    gradient: Callable,
    score: Callable,
    x: Tensor,
    start: Tensor,
    within: Ball,
    *,
    steps: int,
    schedule,
    momentum: float = 0.0,
    inertia: float = 0.0,
    keep: str = "best",
    early_stop: bool = True,
    tick: Callable[[], None] = lambda: None,
    watch: Callable | None = None,
) -> tuple[Tensor, Tensor]:
    """Climb from ``start`` inside ``within`` around ``x``. Returns the kept iterates and their scores (N,).

    ``gradient(adv, rows)`` gives (loss (n,), score (n,), direction like adv) at the iterates of the images
    ``rows``, ``score(adv, rows)`` the score alone. A score above zero means that the attack has won. ``tick()`` is
    called after each step, ``watch(step, rows, adv, loss)`` at each iterate, with None for the loss of the last. steps,
    schedule, momentum, inertia, keep, early_stop: as in ``advlib.attacks.ascend``.

    >>> from advlib.norms import Linf
    >>> brightness = lambda adv, rows: adv.mean((1, 2, 3)) - 0.7
    >>> uphill = lambda adv, rows: (brightness(adv, rows), brightness(adv, rows), torch.ones_like(adv))
    >>> grey = torch.full((1, 1, 2, 2), 0.5)
    >>> climb(uphill, brightness, grey, grey, Linf(0.1), steps=3, schedule=Constant(0.5))[0].max()
    tensor(0.6000)
    """
    check_climb(steps, schedule, momentum, inertia, keep, early_stop, least=0)
    contract.check_images(x)
    contract.check_change(start, "start", x)
    contract.check_ball(within, x)
    asked = dict(gradient=gradient, score=score, tick=tick, watch=tick if watch is None else watch)
    for name, function in asked.items():
        contract.check_function(function, name, "as the docstring of climb says")
    kept, kept_score = start.clone(), x.new_full((len(x),), -torch.inf)
    it = _Climbers(rows=torch.arange(len(x), device=x.device), x=x, adv=start)
    if momentum:
        it.velocity = torch.zeros_like(x)
    if inertia:
        it.previous = start
    if isinstance(schedule, Adaptive):
        _start_adapting(it, schedule)

    def remember(now: Tensor) -> None:
        better = now > kept_score[it.rows]
        kept[it.rows[better]] = it.adv[better]
        kept_score[it.rows[better]] = now[better]

    for k in range(steps):
        loss, now, grad = gradient(it.adv, it.rows)
        if watch:
            watch(k, it.rows, it.adv, loss)
        if keep == "best" or early_stop:
            remember(now)
        if early_stop and bool((now > 0).any()):
            climbing = now <= 0
            it, loss, grad = it.only(climbing), loss[climbing], grad[climbing]
            if not len(it.rows):
                return kept, kept_score
            within = within.rows(climbing)
        eps = within.eps_for(it.x)
        if isinstance(schedule, Adaptive):
            grad, size = _adapt(it, schedule, k, steps, loss, grad)
            radius = size * eps
        else:
            radius = schedule.at(k, steps, eps)
        if momentum:
            # MI-FGSM adds up gradients of unit L1 norm (Dong et al. 2018, Eq. 6); a zero gradient stays zero.
            norm = grad.abs().sum(dim=(1, 2, 3), keepdim=True)
            it.velocity = grad = momentum * it.velocity + grad / norm.clamp_min(torch.finfo(grad.dtype).tiny)
        new = it.adv + within.steepest(grad, it.adv, radius=radius)
        if inertia:
            new = it.x + within.project(new - it.x, it.x)
            pull = (1 - inertia) * (new - it.adv) + (inertia * (it.adv - it.previous) if k else 0)
            it.previous, new = it.adv, it.adv + pull
        it.adv = it.x + within.project(new - it.x, it.x)
        tick()
    if watch:
        watch(steps, it.rows, it.adv, None)
    if keep == "best" or early_stop:
        remember(score(it.adv, it.rows))
    if keep == "last":
        kept[it.rows] = it.adv
    return kept, kept_score


def _start_adapting(it: _Climbers, schedule: Adaptive) -> None:
    n = len(it.rows)
    it.size = it.x.new_full((n,), schedule.size)
    it.loss = it.x.new_full((n,), torch.inf)  # of the iterate before
    it.top, it.top_grad = it.adv, torch.zeros_like(it.x)  # the iterate with the highest loss, and its gradient
    it.top_loss = it.x.new_full((n,), -torch.inf)
    it.rises = it.x.new_zeros(n)  # steps since the last checkpoint that raised the loss
    it.top_before = it.top_loss  # the highest loss at the last checkpoint
    it.just_halved = torch.zeros(n, dtype=torch.bool, device=it.x.device)


def _adapt(it: _Climbers, schedule: Adaptive, k: int, steps: int, loss: Tensor, grad: Tensor):
    """Croce & Hein (2020), Algorithm 1: the gradient to follow and each image's step size at step k."""
    it.rises, it.loss = it.rises + (loss > it.loss), loss
    higher = loss > it.top_loss
    it.top, it.top_grad = torch.where(wide(higher), it.adv, it.top), torch.where(wide(higher), grad, it.top_grad)
    it.top_loss = torch.where(higher, loss, it.top_loss)
    checkpoints = schedule.checkpoints(steps)
    if k in checkpoints[1:]:
        since = k - checkpoints[checkpoints.index(k) - 1]
        too_few_rises = it.rises < schedule.rho * since  # condition 1
        stuck = ~it.just_halved & (it.top_loss <= it.top_before)  # condition 2
        halve = too_few_rises | stuck
        it.size = torch.where(halve, it.size / 2, it.size)
        it.adv, grad = torch.where(wide(halve), it.top, it.adv), torch.where(wide(halve), it.top_grad, grad)
        it.rises, it.top_before, it.just_halved = torch.zeros_like(it.rises), it.top_loss, halve
    return grad, it.size


# ------------------------------------------------------------------------------------- attacking a classifier
class Iterate(NamedTuple):
    """Where an attack is after some of its steps; what a ``callback`` is called with."""

    step: int  # steps made: 0 at the start, before the first
    restart: int  # 0 for the first run
    rows: Tensor  # (n,): which images of x these are. Those that early_stop has taken out are missing
    x_adv: Tensor  # (n, C, H, W), like x
    loss: Tensor  # (n,): the loss that is climbed, at x_adv


@verified
def ascend(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    within: Ball,
    *,
    target: int | Tensor | None = None,
    steps: int = 40,
    schedule=Linear(),  # noqa: B008 - a value that nothing can change
    loss: Callable = losses.log_odds,
    momentum: float = 0.0,
    inertia: float = 0.0,
    random_start: bool = False,
    restarts: int = 1,
    keep: str = "best",
    early_stop: bool = True,
    seed: int = 0,
    mask: Tensor | None = None,
    batch_size: int | None = None,
    fast: bool | str = True,
    callback: Callable[[Iterate], object] | None = None,
) -> Tensor:
    """Maximise ``loss`` of ``model`` at ``x + δ`` over δ in ``within``, by projected steepest ascent.

    Shapes: x (N, C, H, W) in [0, 1], y (N,); the result is like x, detached, inside the ball and the box.

    within      the ball; one made of a tensor (N,), as in ``Linf(eps)``, gives each image an ε of its own.
    target      makes it a targeted attack: a class index, or one per image (N,).
    steps       gradients taken in each run, and steps made.
    schedule    step sizes: ``Constant(0.1)`` is a tenth of ε at each step, ``Fixed(0.01)`` is 0.01 whatever ε is.
    loss        one of ``advlib.losses``. The log-odds have cross-entropy's direction for each image, without its
                rounding on confident ones; as steps are normalised, climbing them climbs cross-entropy exactly.
                ``losses.cross_entropy`` is the textbook's. Where a gradient is exactly zero, the margin's is taken.
    momentum    μ of MI-FGSM: the steps follow a decaying sum of normalised gradients.
    inertia     share of the last move that is made again (1 − α of Auto-PGD's heavy ball).
    random_start  begin at a random δ of the ball (and of the box), not at x.
    restarts    runs; the best outcome is kept. With ``early_stop`` a run is for the images that the ones before left
                standing. Without a random start all runs are the same.
    seed        of the random starts. The same images get the same starts, on every device and in batches of any size.
    keep        "best" iterate by margin, or the "last" one.
    early_stop  leave an image at its first success. Cheaper; switch it off for adversarial training.
    mask        booleans (or 0 and 1) that can be broadcast to x, True where a pixel may change. No other does, and the
                whole budget goes to the allowed ones. An image without any comes back as it is.
    batch_size  images at once; None chooses, and halves when memory runs out. It changes the result by rounding alone,
                but for what the model itself draws by chance (``attacks.eot``).
    fast        let the model compute the same in less time (``advlib.attacks.fast``); "bf16" in half precision.
    callback    ``callback(iterate)`` is called at the start and after each step, with an ``Iterate`` of copies. It
                watches: what it returns is ignored, and neither it nor the one pass more that the last loss costs
                changes the result. An exception in it ends the attack. Each batch of images begins again at step 0.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract, and a model that returns probabilities,
        NaN or infinities (with the step at which it did).

    >>> from advlib.norms import L2
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> x, y = torch.rand(5, 1, 2, 2), torch.zeros(5, dtype=torch.long)
    >>> ascend(model, x, y, L2(0.3), steps=5, loss=losses.margin).shape
    torch.Size([5, 1, 2, 2])
    """
    contract.check_model(model)
    contract.check_images(x)
    contract.check_labels(y, len(x))
    contract.check_ball(within, x)
    check_climb(steps, schedule, momentum, inertia, keep, early_stop)
    contract.check_function(loss, "loss", "(logits, y, target) -> (N,), one of advlib.losses")
    contract.check_flag(random_start, "random_start")
    contract.check_count(restarts, "restarts")
    contract.check_seed(seed)
    if callback is not None:
        contract.check_function(callback, "callback", "of one argument, an Iterate")
    labels = y.to(contract.model_device(model)).long()
    target = contract.check_target(target, labels)
    with (
        contract.frozen(model),
        faster(model, x, fast) as switched,
        progress(total=share(restarts * steps * len(x)), unit="pass") as bar,
    ):
        clean = at_least_float32(x.detach().to(labels.device)).clone()
        mask = contract.check_mask(mask, clean)
        victim = Victim(model, labels, target, loss, x.dtype)
        adv, won = clean.clone(), clean.new_full((len(x),), -torch.inf)
        generator = torch.Generator().manual_seed(seed)

        def tell(batch: Tensor, step: int, rows: Tensor, now: Tensor, loss: Tensor | None) -> None:
            # Whatever the callback does to the model or to chance is undone, and so is a last pass that only it needs.
            with contract.frozen(model), torch.random.fork_rng([clean.device] if clean.is_cuda else []):
                images = batch[rows]
                loss = victim.loss_at(now, images) if loss is None else loss.clone()
                shown = round_towards(clean[images], now, x.dtype).to(x.device, copy=True)
                if callback is not None:
                    callback(Iterate(step, restart, images.to(x.device), shown, loss.to(x.device)))

        def masked(gradient: Callable, allowed: Tensor, adv: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            # Without a gradient a pixel gets no part of the steepest step: with mask m this climbs f(x + m ⊙ δ).
            loss, score, grad = gradient(adv, rows)
            return loss, score, grad * allowed[rows]

        def attack(rows: Tensor) -> tuple[Tensor, ...]:
            rewind()
            gradient = victim.gradient_on(rows)
            result, score = climb(
                gradient if mask is None else partial(masked, gradient, mask[rows]),
                victim.score_on(rows),
                clean[rows],
                start[rows],
                within.rows(rows),
                steps=steps,
                schedule=schedule,
                momentum=momentum,
                inertia=inertia,
                keep=keep,
                early_stop=early_stop,
                tick=lambda: bar.update(len(rows)),
                watch=callback and partial(tell, rows),
            )
            return result, score, victim.flat[rows], victim.dead[rows]

        for restart in range(restarts):
            # Drawn for all images at once, so that batches and early stops do not change the draw.
            start = clean + within.sample(clean, generator, mask) if random_start else clean
            todo, rewind = torch.arange(len(x), device=labels.device), rewinder(model)
            rows = todo[won <= 0] if early_stop else todo
            if done := in_batches(attack, rows, width(model, clean[0]), batch_size):
                result, score, victim.flat[rows], victim.dead[rows] = map(torch.cat, zip(*done))
                better = (score > won[rows]) | (restart == 0)
                adv[rows[better]], won[rows[better]] = result[better], score[better]
        switched.check(adv)
        victim.warn()
        return round_towards(clean, adv, x.dtype).to(x.device)
