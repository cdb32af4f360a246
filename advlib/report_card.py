"""The report card of a model: what it reads, what attacks of every kind leave of that, what is proved, what was run."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.transforms import functional as tf

from advlib import __version__, answers, contract, distributed
from advlib.attacks.minimal import fmn
from advlib.attacks.sparse import sparse_rs
from advlib.attacks.square import square
from advlib.attacks.worst import worst_case
from advlib.card import ReportCard
from advlib.data.images import Images, check_some
from advlib.data.streams import Folder, Stream, parts_done
from advlib.defenses.certificates import certified
from advlib.defenses.certificates.promises import METHODS
from advlib.intervals import Share
from advlib.norms import L0, L1, L2, Ball, Linf
from advlib.progress import progress
from advlib.sanity import SanityChecks, sanity_checks
from advlib.suspect import differentiable

__all__ = ["ReportCard", "report_card"]

# Budgets from hardly visible to plain, for 8-bit photographs and, where there is one channel, for scanned digits.
COLOUR: dict[type[Ball], tuple[float, ...]] = {
    Linf: (2 / 255, 4 / 255, 8 / 255),
    L2: (0.5, 1.0, 2.0),
    L1: (5.0, 10.0, 20.0),
    L0: (5, 10, 20),
}
GREY: dict[type[Ball], tuple[float, ...]] = {
    Linf: (0.1, 0.2, 0.3),
    L2: (1.0, 2.0, 3.0),
    L1: (5, 10, 20),
    L0: (5, 10, 20),
}
NORMS = (Linf, L2, L1, L0)
UNKNOWN = SanityChecks(0, ())  # of the parts in which no signs are looked for
NOISE_SEED = 1
# What the weather does, no adversary: it says how much of a loss under attack is an adversary's.
CORRUPTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "noise, σ = 0.05": lambda x: x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(NOISE_SEED)),
    "blur, σ = 1 pixel": lambda x: tf.gaussian_blur(x, [5, 5], [1.0, 1.0]),
    "half as bright": lambda x: tf.adjust_brightness(x, 0.5),
    "half the contrast": lambda x: tf.adjust_contrast(x, 0.5) if x.shape[1] == 3 else 0.25 + x / 2,
    "turned by 10°": lambda x: tf.rotate(x, 10, interpolation=tf.InterpolationMode.BILINEAR),
}


def report_card(
    model: nn.Module,
    images: Images | Stream,
    *,
    name: str = "the model",
    eps: Mapping[type[Ball], Sequence[float]] | None = None,
    proofs: Sequence[str] = ("interval",),
    queries: int = 500,
    seed: int = 0,
    batch_size: int | None = None,
) -> ReportCard:
    """Measure a model: clean, under the worst case in four norms, proved, masked, corrupted, and at what cost.

    An image that falls in a small ball falls in a larger one, and one for which nothing was found in the largest ball
    is not attacked in smaller ones: the balls are tried from both ends, and an image only where it is open. A model
    without any gradient is attacked by questions alone, and not in L1, for which there is no such search.

    images    with labels, x (N, C, H, W) in [0, 1]; at least 20 must be right. Or parts of more than memory holds, one
              after the other, such as ``data.Folder``: signs of masking are looked for in the first alone.
    eps       for each norm the ε, rising; None for those of 8-bit photographs or, for one channel, of digits.
    proofs    methods of ``defenses.certified``. "crown" proves more, in seconds for each image of a network of
              convolutions.
    queries   questions of the random searches per image and ball. seed: of all chance.

    In a process group each process takes some of the batches, or of several parts some parts: all get the same card.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract.
    """
    contract.check_model(model)
    contract.check_text(name, "name", empty=False)
    _check_budgets(eps)
    _check_proofs(proofs)
    contract.check_count(queries, "queries", least=0)
    contract.check_seed(seed)
    how: dict = dict(name=name, eps=eps, proofs=proofs, queries=queries, seed=seed, batch_size=batch_size)
    if isinstance(images, Images):
        return _of_one(model, images, **how)
    if isinstance(images, Folder) and len(images) == 1:  # its batches can be shared, the part itself cannot
        return _of_one(model, next(iter(images)), **how)
    known: SanityChecks | None = None

    def measured(part: Images) -> ReportCard:
        nonlocal known
        card = _measured(model, part, sanity=known if distributed.rank() == 0 else UNKNOWN, **how)
        known = card.sanity
        return card

    return ReportCard.of_parts(list(parts_done(measured, images)))


def _check_budgets(eps) -> None:
    if eps is None:
        return
    example = "{Linf: (4 / 255, 8 / 255), L2: (0.5, 1.0)}"
    if not isinstance(eps, Mapping) or not eps:
        raise TypeError(f"eps is {contract.shown(eps)}; expected the ε of each norm, such as {example}.")
    for norm, sizes in eps.items():
        if norm not in NORMS:
            raise TypeError(f"eps is of the norm {contract.shown(norm)}; expected classes of balls, such as {example}.")
        if isinstance(sizes, str) or not isinstance(sizes, Sequence) or not sizes:
            raise TypeError(f"eps[{norm.__name__}] is {contract.shown(sizes)}; expected several ε, such as {example}.")
        for one in sizes:
            contract.check_number(one, f"eps[{norm.__name__}], of which one", positive=True)
            norm(one)
        if list(sizes) != sorted(set(sizes)):
            raise ValueError(f"eps[{norm.__name__}] is {contract.shown(sizes)}; expected rising ε, each once.")


def _check_proofs(proofs) -> None:
    if isinstance(proofs, str) or not isinstance(proofs, Sequence):
        raise TypeError(f"proofs is {contract.shown(proofs)}; expected names of methods, such as ('interval',).")
    for one in proofs:
        contract.check_choice(one, "proofs, of which one", METHODS)


def _of_one(model: nn.Module, images: Images, **how) -> ReportCard:
    check_some(images)
    with distributed.sharing(x=images.x, y=images.y, how=how):
        card = _measured(model, images, sanity=None, **how)
        return replace(card, seconds=sum(distributed.everyone(card.seconds)))


def _measured(
    model: nn.Module,
    images: Images,
    *,
    sanity: SanityChecks | None,
    name: str,
    eps: Mapping[type[Ball], Sequence[float]] | None,
    proofs: Sequence[str],
    queries: int,
    seed: int,
    batch_size: int | None,
) -> ReportCard:
    budgets = eps or (GREY if images.x.shape[1] == 1 else COLOUR)
    is_right = partial(answers.right, model, batch_size=batch_size)
    began = time.process_time()
    right = is_right(images.x, images.y)  # before all else: it says what is wrong with a model
    seconds = time.process_time() - began
    blind = not differentiable(model, images.x)
    if blind:
        budgets = {norm: sizes for norm, sizes in budgets.items() if norm is not L1}
    share = lambda hit: Share(int(hit.sum()), len(hit))

    def attacked(within: Ball, rows: Tensor) -> Tensor:
        x, y = images.x[rows], images.y[rows]
        attack: Callable = (sparse_rs if isinstance(within, L0) else square) if blind else worst_case
        return is_right(attack(model, x, y, within, queries=queries, seed=seed, batch_size=batch_size), y)

    worst = {
        norm(1).symbol: {e: share(stand) for e, stand in zip(sizes, _standing(attacked, norm, sizes, right))}
        for norm, sizes in progress(list(budgets.items()), unit="norm")
    }
    first = next(iter(budgets[Linf])) if Linf in budgets else None
    proved, why = _proved(model, images, first, proofs, batch_size) if first else ({}, "no ε in L∞ was asked for")
    return ReportCard(
        name=name,
        n=len(images),
        clean=share(right),
        worst=worst,
        proved={how: share(sure) for how, sure in proved.items()},
        not_proved=why,
        smallest={
            norm(1).symbol: _smallest(model, images, right, norm, batch_size)
            for norm in budgets
            if norm in (Linf, L2) and not blind
        },
        sanity=sanity
        or sanity_checks(
            model,
            images.x,
            images.y,
            next(norm(sizes[-1]) for norm, sizes in budgets.items()),
            queries=queries,
            seed=seed,
            batch_size=batch_size,
        ),
        corruptions={
            what: share(is_right(change(images.x).clamp(0, 1), images.y)) for what, change in CORRUPTIONS.items()
        },
        parameters=sum(one.numel() for one in model.parameters()),
        seconds=seconds,
        run=(
            f"attacks.{'square, sparse_rs' if blind else 'worst_case'}(queries={queries}, seed={seed}) for each ball",
            "no attack for the smallest change, without a gradient" if blind else "attacks.fmn for the smallest change",
            "evaluate.sanity_checks in the largest ball of the first norm",
            f"advlib {__version__}, torch {torch.__version__}, Python {platform.python_version()}, "
            f"{contract.model_device(model).type}",
        ),
    )


def _standing(attacked: Callable, norm: type[Ball], sizes: Sequence[float], right: Tensor) -> list[Tensor]:
    """For each ε which images stand, from as few attacks as will do: the largest ball first, then the smallest, ….

    Who falls at ε falls at every larger one, who stands at ε at every smaller one.
    """
    stand = [right.clone() for _ in sizes]
    open_at = [right.clone() for _ in sizes]
    for k in sorted(range(len(sizes)), key=lambda k: (k != len(sizes) - 1, k)):
        rows = open_at[k].nonzero().flatten()
        if len(rows):
            still = attacked(norm(sizes[k]), rows)
            for i in range(len(sizes)):
                known = rows[still] if i <= k else rows[:0]
                fallen = rows[~still] if i >= k else rows[:0]
                stand[i][fallen] = False
                open_at[i][known] = open_at[i][fallen] = False
    return stand


def _proved(
    model: nn.Module, images: Images, eps: float, methods: Sequence[str], batch_size: int | None
) -> tuple[dict[str, Tensor], str]:
    try:
        within = Linf(eps)
        return {
            how: certified(model, images.x, images.y, within, method=how, batch_size=batch_size).cpu()
            for how in methods
        }, "no method was asked for"
    except (TypeError, ValueError) as error:  # a model that no method can look into
        return {}, str(error)


def _smallest(model: nn.Module, images: Images, right: Tensor, norm: type[Ball], batch_size) -> tuple[float, ...]:
    rows = right.nonzero().flatten()
    if not len(rows):
        return ()
    x, y = images.x[rows], images.y[rows]
    adv = fmn(model, x, y, norm=norm, batch_size=batch_size)
    size = norm(1).size((adv - x).double())
    size[answers.right(model, adv, y, batch_size=batch_size).to(size.device)] = torch.inf
    return tuple(size.sort().values.tolist())
