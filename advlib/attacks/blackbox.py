"""Black boxes: the victim that may only be asked, with every question counted, and what its attackers share.

The victim is any callable from images (N, C, H, W) in [0, 1] to answers; one query is one image shown to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from advlib import contract, losses
from advlib.answers import answer
from advlib.attacks.victim import round_towards
from advlib.device import in_batches, width
from advlib.distributed import share
from advlib.progress import progress

__all__ = ["Attacked", "BlackBox", "black_box", "check_start", "draws_for_each"]

Attacked = Tensor | tuple[Tensor, Tensor]  # x_adv alone, or with the queries used (N,)


@contextmanager
def black_box(
    victim,
    x: Tensor,
    y: Tensor,
    target,
    queries: int,
    batch_size: int | None,
    seed: int = 0,
    return_queries: bool = False,
) -> Iterator[BlackBox]:
    """The victim as a ``BlackBox``, all input checked; a module is put in eval mode meanwhile."""
    if isinstance(victim, type) or not callable(victim):
        raise TypeError(
            f"victim is {contract.shown(victim)}; expected a callable that maps images (N, C, H, W) to answers: a "
            "torch.nn.Module or a function. (A class? Pass an instance of it.)"
        )
    contract.check_images(x)
    contract.check_labels(y, len(x))
    contract.check_count(queries, "queries")
    contract.check_seed(seed)
    contract.check_flag(return_queries, "return_queries")
    if isinstance(victim, nn.Module):
        contract.check_model(victim)
    module = isinstance(victim, nn.Module)
    labels = y.to(contract.model_device(victim) if module else x.device).long()
    target = contract.check_target(target, labels)
    with (
        contract.frozen(victim) if module else nullcontext(),
        torch.inference_mode(False),
        torch.no_grad(),
        progress(total=share(queries * len(x)), unit="query") as bar,
    ):
        yield BlackBox(victim, x, labels, target, queries, batch_size, bar)


class BlackBox:
    """A victim that answers and counts: about no image of the set is it ever asked more than ``queries`` times.

    ``rows`` says which image of the set each query is about; a row may occur several times.
    """

    def __init__(
        self, victim: Callable, x: Tensor, y: Tensor, target: Tensor | None, queries: int, batch_size: int | None, bar
    ):
        self.victim, self.x, self.y, self.target = victim, x, y, target
        self.queries, self.batch_size, self.bar = queries, batch_size, bar
        self.clean = x.detach().to(y.device, torch.promote_types(x.dtype, torch.float32), copy=True)
        self.rows = torch.arange(len(x), device=y.device)
        self.used = torch.zeros_like(self.rows)
        self.width = width(victim, self.clean[0])  # of one image; a question costs less than to find it out
        self.log: bool | None = None  # whether scores are probabilities; seen from the first answer

    def left(self, rows: Tensor | int) -> Tensor:
        return self.queries - self.used[rows]

    def margins(self, images: Tensor, rows: Tensor) -> Tensor:
        """How far the attack has won by the victim's scores, (n,): positive where it has."""
        scores = self._ask(images, rows, contract.check_logits)
        if self.log is None:
            self._meet(scores)
        if self.log:
            scores = scores.clamp_min(torch.finfo(scores.dtype).tiny).log()  # the logits, but for a constant
        target = None if self.target is None else self.target[rows]
        return losses.margin(scores, self.y[rows], target).to(self.clean)

    def fooled(self, images: Tensor, rows: Tensor) -> Tensor:
        """Whether the attack has won by the victim's labels, (n,)."""
        labels = self.labels(images, rows)
        return labels != self.y[rows] if self.target is None else labels == self.target[rows]

    def labels(self, images: Tensor, rows: Tensor) -> Tensor:
        answers = self._ask(images, rows, _check_labels_or_scores)
        if answers.ndim == 1:
            return answers
        self._check_goals(answers.shape[1])
        return answers.argmax(1)

    def result(self, adv: Tensor, return_queries: bool) -> Attacked:
        adv = round_towards(self.clean, adv, self.x.dtype).to(self.x.device)
        return (adv, self.used.to(self.x.device)) if return_queries else adv

    def _ask(self, images: Tensor, rows: Tensor, check: Callable) -> Tensor:
        self.used += torch.bincount(rows, minlength=len(self.used))
        asked = int(self.used[rows].max())
        if asked > self.queries:
            raise RuntimeError(f"query {asked} of at most {self.queries} for one image: the attack must stop before.")

        def ask(part: Tensor) -> Tensor:
            # Rounded as the result will be, and a copy, since a black box may write into what it is shown.
            shown = images[part]
            if shown.dtype != self.x.dtype:
                shown = round_towards(self.clean[rows[part]], shown, self.x.dtype)
            said = answer(self.victim, shown)
            check(said, len(part), f" at query {asked}")
            self.bar.update(len(part))
            return said.to(rows.device, copy=True)  # it may answer in the same memory each time

        every = torch.arange(len(rows), device=rows.device)
        return torch.cat(in_batches(ask, every, self.width, self.batch_size))

    def _check_goals(self, classes: int) -> None:
        contract.check_labels(self.y, len(self.y), classes)
        contract.check_target(self.target, self.y, classes)

    def _meet(self, scores: Tensor) -> None:
        self._check_goals(scores.shape[1])
        if isinstance(self.victim, nn.Module):
            contract.check_probabilities(scores)
        self.log = contract.are_probabilities(scores)


def _check_labels_or_scores(answer, n: int, where: str) -> None:
    if isinstance(answer, Tensor) and answer.ndim == 1:
        contract.check_labels(answer, n, name=f"the victim's answer{where}")
    else:
        contract.check_logits(answer, n, where)


def draws_for_each(x: Tensor, seed: int) -> list[torch.Generator]:
    """A random generator for each image, so that its draws do not depend on which others are still attacked."""
    seeds = torch.randint(2**62, (len(x),), generator=torch.Generator().manual_seed(seed))
    return [torch.Generator().manual_seed(int(s)) for s in seeds]


def check_start(start, x: Tensor) -> None:
    """``start`` is images, one for each of ``x``; else TypeError or ValueError."""
    contract.check_images(start, "start")
    if start.shape != x.shape:
        raise ValueError(f"start has shape {tuple(start.shape)}; expected {tuple(x.shape)}: one for each image.")
