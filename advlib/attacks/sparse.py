"""Few pixels, each changed at will: JSMA by gradients, Sparse-RS by scores. All channels count once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from advlib import contract, losses
from advlib.attacks.blackbox import Attacked, black_box, draws_for_each
from advlib.attacks.standing import attack_standing
from advlib.attacks.victim import Victim
from advlib.norms import L0

__all__ = ["jsma", "sparse_rs"]

POOL = 32  # positions among which JSMA looks for its pair: more find none that is better
# Sparse-RS: from which of 10,000 queries on the pixels swapped at once are alpha · k divided by what.
DIVISORS = {0: 1, 1: 2, 51: 4, 201: 5, 501: 6, 1001: 8, 2001: 10, 4001: 12, 6001: 15, 8001: 20}


def jsma(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    within: L0,
    *,
    target: int | Tensor | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """Change the most salient pair of pixels, look again, and so on: the Jacobian-based saliency map attack.

    Papernot et al. (2016), "The limitations of deep learning in adversarial settings", Algorithms 2 and 3: with α =
    what the target's logit gains from a change of two pixels and β = what all others gain together, the pair with the
    largest −αβ (α > 0 > β) is changed. Deviations: values go to the end of the range that raises the target, one pixel
    alone may beat all pairs, and only the 32 positions with the largest α − β are paired.

    within      ``L0(k)``: at most k pixels change; an image that is won with fewer stops there.
    target      a class index, or one per image (N,); None aims at each image's likeliest other class.
    Shapes: x (N, C, H, W) in [0, 1], y (N,); returns images like x, the best iterate where none is won.
    A step costs two backward passes of the ``model``, whatever the number of classes, on ``batch_size`` images at once.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract; a ball that is not ``L0``.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> _ = model[1].weight.data.copy_(torch.tensor([[1.0, 1, 1, 2], [-1.0, 1, 0, 3]]))
    >>> x = torch.full((1, 1, 2, 2), 0.5)
    >>> jsma(model, x, torch.tensor([0]), L0(2)).flatten()      # a pixel down and a pixel up
    tensor([0.0000, 0.5000, 0.5000, 1.0000])
    """
    _check_l0(within, "jsma")
    budget = int(within.eps)

    def search(victim: Victim, rows: Tensor, x: Tensor, tick: Callable) -> Tensor:
        n, c, h, w = x.shape
        best, best_margin = x.clone(), x.new_full((n,), -torch.inf)
        changed = x.new_zeros(n, h * w, dtype=torch.bool)
        adv, todo, aim = x.clone(), torch.arange(n, device=x.device), None
        for k in range(budget + 1):
            images = adv[todo]
            margin, aim, gain, others = _jacobian(victim, images, rows[todo], aim, f" at step {k + 1}")
            tick(len(todo))
            better = margin > best_margin[todo]
            best[todo[better]], best_margin[todo[better]] = images[better], margin[better]
            end = torch.where(gain > 0, 1, torch.where(gain < 0, 0, images))
            alpha, beta = ((slope * (end - images)).sum(1).flatten(1) for slope in (gain, others))
            victim.dead[rows[todo]] = (margin <= 0) & (gain == 0).all(dim=(1, 2, 3))
            free = (alpha > 0) & ~changed[todo]
            going = (margin <= 0) & free.any(1) & (changed[todo].sum(1) < budget)
            todo, aim, end, free = todo[going], aim[going], end[going], free[going]
            if not len(todo):
                break
            one_left = budget - changed[todo].sum(1) == 1
            pair = _most_salient(alpha[going], beta[going], free, one_left)
            chosen = torch.zeros_like(free).scatter(1, pair, True)
            changed[todo] |= chosen
            adv[todo] = torch.where(chosen.view(-1, 1, h, w), end, adv[todo])
        return best

    return attack_standing(model, x, y, target, batch_size, budget, search)


def _jacobian(victim: Victim, adv: Tensor, rows: Tensor, aim: Tensor | None, where: str):
    """The margin (n,), the class aimed at, and the gradients of its logit and of the sum of all others."""
    adv = adv.detach().requires_grad_()
    logits, (y, target) = victim.logits(adv, where), victim.goal(rows)
    margin = losses.margin(logits, y, target).detach()
    if aim is None:
        aim = logits.detach().scatter(1, y[:, None], -torch.inf).argmax(1) if target is None else target
    own = logits.gather(1, aim[:, None])[:, 0]
    gain, _ = victim.input_gradient(own, adv, where, again=True)
    others, _ = victim.input_gradient(logits.sum(1) - own, adv, where)
    return margin, aim, gain, others


def _most_salient(alpha: Tensor, beta: Tensor, free: Tensor, one_left: Tensor) -> Tensor:
    """The pair of free positions (n, 2) with the largest −αβ; a pair of equals is a single pixel.

    Where no pair both raises the target and lowers the others, the pair that raises the target most.
    """
    pool = (alpha - beta).masked_fill(~free, -torch.inf).topk(min(POOL, alpha.shape[1])).indices
    a, b, free = alpha.gather(1, pool), beta.gather(1, pool), free.gather(1, pool)
    same = torch.eye(pool.shape[1], dtype=torch.bool, device=pool.device)
    both = lambda value: value[:, :, None] + value[:, None, :] * ~same  # on the diagonal, one pixel
    a, b = both(a), both(b)
    saliency = torch.where((a > 0) & (b < 0), -a * b, 0)
    score = torch.where(saliency.amax((1, 2), keepdim=True) > 0, saliency, a)
    allowed = free[:, :, None] & free[:, None, :] & (same | ~one_left[:, None, None])
    winner = score.masked_fill(~allowed, -torch.inf).flatten(1).argmax(1)
    return pool.gather(1, torch.stack([winner // pool.shape[1], winner % pool.shape[1]], dim=1))


def sparse_rs(
    victim: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    within: L0,
    *,
    target: int | Tensor | None = None,
    queries: int = 2000,
    alpha: float = 0.8,
    seed: int = 0,
    batch_size: int | None = None,
    return_queries: bool = False,
) -> Attacked:
    """Random search over which k pixels to change, and to what: keep a swap that the victim's margin rewards.

    Sparse-RS, Croce et al. (2022), for the L0 ball. A candidate is a set of k pixels, and for each of them a corner of
    the colour cube. A share of the set, smaller and smaller, is swapped for pixels outside it. Deviations: with a
    target it climbs the margin, the authors' code cross-entropy.

    victim      an ``nn.Module`` or any callable that answers images (N, C, H, W) with scores (N, K).
    within      ``L0(k)``.
    target      a class index, or one per image (N,).
    queries     the most images the victim is shown for each image of x; an image stops once it is won.
    alpha       the share swapped first; 0.8 is the default of the authors' class, 0.3 of their script.
    seed, batch_size  of the draws, each image having its own; and how many images the victim is shown at once.
    Shapes: x (N, C, H, W) in [0, 1], y (N,); returns images like x, the best found where none fools. With
    ``return_queries`` the result is (x_adv, queries used (N,)).

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract; a ball that is not ``L0``.

    >>> victim = lambda images: torch.stack([0.1 - images.mean((1, 2, 3)), torch.zeros(len(images))], dim=1)
    >>> x = torch.zeros(1, 1, 4, 4)
    >>> L0(1).size(sparse_rs(victim, x, torch.tensor([0]), L0(3)))    # two pixels of 16 turned white suffice
    tensor([2.])
    """
    _check_l0(within, "sparse_rs")
    contract.check_share(alpha, "alpha", positive=True)
    with black_box(victim, x, y, target, queries, batch_size, seed, return_queries) as box:
        n, c, h, w = x.shape
        budget = min(int(within.eps), h * w)
        adv, best = box.clean.clone(), box.margins(box.clean, box.rows)
        best = torch.where(best > 0, best, -torch.inf)  # any candidate beats an image that stands
        chosen, draws = torch.zeros(n, h * w, dtype=torch.bool, device=adv.device), draws_for_each(adv, seed)
        colours = box.clean.flatten(2).clone()
        for k in range(queries - 1 if budget else 0):
            rows = box.rows[best <= 0]
            if not len(rows):
                break
            swaps = budget if k == 0 else max(1, int(alpha * budget / _divisor(k, queries)))
            noise = torch.stack([torch.rand(2 + c, h * w, generator=draws[row]) for row in rows]).to(adv)
            taken = _swapped(chosen[rows], noise[:, 0], noise[:, 1], swaps)
            new = (taken & ~chosen[rows]) if budget < h * w else noise[:, 0] < swaps / budget
            painted = torch.where(new[:, None], noise[:, 2:].round(), colours[rows])
            candidate = torch.where(taken[:, None], painted, box.clean[rows].flatten(2)).view(-1, c, h, w)
            margin = box.margins(candidate, rows)
            better = margin > best[rows]
            rows = rows[better]
            adv[rows], best[rows] = candidate[better], margin[better]
            chosen[rows], colours[rows] = taken[better], painted[better]
        return box.result(adv, return_queries)


def _divisor(k: int, queries: int) -> int:
    """What the first number of swaps is divided by at query k: the schedule, stretched to ``queries``."""
    at = k * 10_000 // queries
    return next(divisor for since, divisor in reversed(DIVISORS.items()) if at >= since)


def _swapped(chosen: Tensor, leave: Tensor, enter: Tensor, swaps: int) -> Tensor:
    """The sets of positions ``chosen`` (n, P) with ``swaps`` of them exchanged for others, by chance."""
    if not bool(chosen.any()):
        return _top(enter, swaps)
    swaps = min(swaps, int((~chosen[0]).sum()))
    leaving = _top(leave.masked_fill(~chosen, -1), swaps)
    entering = _top(enter.masked_fill(chosen, -1), swaps)
    return chosen & ~leaving | entering


def _top(noise: Tensor, count: int) -> Tensor:
    return torch.zeros_like(noise, dtype=torch.bool).scatter(1, noise.topk(count).indices, True)


def _check_l0(within, attack: str) -> None:
    contract.check_ball(within)
    if not isinstance(within, L0):
        raise ValueError(f"{attack} changes few pixels and got {within}; expected L0(k), such as L0(20).")
    contract.check_one_eps(within, attack)
