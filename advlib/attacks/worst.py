"""The worst case: several attacks of different kinds, each on the images that the ones before left standing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from advlib import contract, losses
from advlib.answers import logits_of
from advlib.attacks.bim import apgd, pgd
from advlib.attacks.fast import faster
from advlib.attacks.minimal import fmn
from advlib.attacks.sparse import sparse_rs
from advlib.attacks.square import square
from advlib.attacks.trial import verified
from advlib.attacks.victim import round_towards
from advlib.norms import L0, L1, L2, Ball, Linf
from advlib.progress import progress

__all__ = ["worst_case"]

RIVALS = 9  # classes that the targeted attacks aim for, the likeliest first, as in AutoAttack
STEPS = 30  # of each of them


def worst_case(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    within: Ball,
    *,
    target: int | Tensor | None = None,
    queries: int = 5000,
    seed: int = 0,
    batch_size: int | None = None,
) -> Tensor:
    """The strongest answer for each image from a set of attacks that leave nothing to choose, cheapest first.

    The idea is AutoAttack's (Croce & Hein 2020): gradients of the log-odds (which have
    cross-entropy's direction), gradients of the DLR loss towards
    each rival class, a minimal-norm attack, and random search without any gradient. An image that falls is out. What
    still stands goes on to the next attack, which begins where it can from the best failure so far.

    within      ``Linf``, ``L2`` or ``L1``, with one ε or one per image (N,); or ``L0`` with one.
    target      a class index, or one per image (N,): the class that counts, and the only rival aimed for.
    seed        of the random start and the random search.
    batch_size  images at once; None chooses.
    queries     how often the random search may ask about each image that got that far (a tenth more where it begins
                from a failure first); 0 leaves it out. Images that it gets nowhere near are given up earlier.
    Shapes: x (N, C, H, W) in [0, 1], y (N,); returns images like x. Where nothing fooled the model, the image with
    the largest margin that was seen.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract.

    >>> from advlib.norms import Linf
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 5))
    >>> x, y = torch.rand(6, 1, 2, 2), torch.zeros(6, dtype=torch.long)
    >>> worst_case(model, x, y, Linf(0.1), queries=20).shape
    torch.Size([6, 1, 2, 2])
    """
    contract.check_count(queries, "queries", least=0)
    contract.check_seed(seed)
    contract.check_images(x)
    contract.check_ball(within, x)
    if isinstance(within, L0):
        contract.check_one_eps(within, "worst_case in L0")
    contract.check_labels(y, len(x))
    logits = logits_of(model, x, batch_size=batch_size).to(x.device)
    contract.check_labels(y, len(x), logits.shape[1])
    labels = y.to(x.device).long()
    target = contract.check_target(target, labels, logits.shape[1])
    standing = bool((losses.margin(logits, labels, target) <= 0).any())
    with contract.frozen(model):
        attacks = _attacks(within, logits, labels, target, queries, seed)
        return _one_after_the_other(model, x.detach(), labels, logits, target, attacks, batch_size, fast=standing)


@verified
def _one_after_the_other(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    logits: Tensor,
    target: Tensor | None,
    attacks: list[Callable],
    batch_size: int | None,
    fast: bool,
) -> Tensor:
    """Each attack on the images that stand, ``logits`` being those of x."""
    with faster(model, x, fast) as switched:
        best, score = x.clone(), losses.margin(logits, labels, target)
        for attack in progress(attacks, unit="attack"):
            rows = (score <= 0).nonzero().flatten()
            if not len(rows):
                break
            x_adv = attack(model, x[rows], labels[rows], rows=rows, start=best[rows], batch_size=batch_size)
            reached = losses.margin(
                logits_of(model, x_adv, batch_size=batch_size).to(x.device),
                labels[rows],
                None if target is None else target[rows],
            )
            better = reached > score[rows]
            best[rows[better]], score[rows[better]] = x_adv[better], reached[better]
        switched.check(best.to(contract.model_device(model)))
    return best


def _attacks(within: Ball, logits: Tensor, y: Tensor, target: Tensor | None, queries: int, seed: int) -> list[Callable]:
    """The attacks in their order; each takes the images ``rows`` that still stand and their best failures ``start``."""
    aim = lambda rows: None if target is None else target[rows]
    rivals = logits.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True)
    if target is not None:
        rivals = target[:, None]

    def by_log_odds(model, x, y, *, rows, start, batch_size):
        return pgd(model, x, y, within.rows(rows), target=aim(rows), seed=seed, batch_size=batch_size)

    def towards(rank):
        def attack(model, x, y, *, rows, start, batch_size):
            # DLR is not defined for fewer than four classes; there the margin does as well.
            loss = losses.dlr if logits.shape[1] >= 4 else losses.margin
            return apgd(
                model,
                x,
                y,
                within.rows(rows),
                target=rivals[rows, rank],
                loss=loss,
                steps=STEPS,
                random_start=False,
                batch_size=batch_size,
            )

        return attack

    def nearest(model, x, y, *, rows, start, batch_size):
        x_adv = fmn(model, x, y, norm=type(within), target=aim(rows), batch_size=batch_size)
        clean = x.to(torch.promote_types(x.dtype, torch.float32))  # in half precision a sum may round out of the ball
        return round_towards(clean, clean + within.rows(rows).project(x_adv.to(clean) - clean, clean), x.dtype)

    def improved_at_random(model, x, y, *, rows, start, batch_size):
        return square(
            model,
            x,
            y,
            within.rows(rows),
            target=aim(rows),
            queries=max(2, queries // 10),
            start=start,
            seed=seed,
            hope=4,
            ahead=True,
            batch_size=batch_size,
        )

    def at_random(model, x, y, *, rows, start, batch_size):
        search: Callable = sparse_rs
        if not isinstance(within, L0):
            reached = losses.margin(logits_of(model, start, batch_size=batch_size).to(y.device), y, aim(rows))
            search = partial(square, hope=4, reached=reached, ahead=True)
        return search(
            model, x, y, within.rows(rows), target=aim(rows), queries=queries, seed=seed, batch_size=batch_size
        )

    ranks = range(min(RIVALS, logits.shape[1] - 1) if target is None else 1)
    # From the best failure Square finds quickly what it finds; from its own stripes it finds others, slowly.
    search = {Linf: [improved_at_random, at_random], L2: [improved_at_random, at_random], L0: [at_random], L1: []}
    return [by_log_odds, *(towards(rank) for rank in ranks), nearest, *(search[type(within)] if queries else [])]
