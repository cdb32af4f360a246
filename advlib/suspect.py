"""A model under suspicion of masking its gradient: what it answers, and who falls to which attack on it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from advlib import contract, losses
from advlib.answers import logits_of
from advlib.attacks.ascent import Constant, climb
from advlib.attacks.bim import pgd
from advlib.attacks.sparse import sparse_rs
from advlib.attacks.square import square
from advlib.device import in_batches, width
from advlib.norms import L0, L1, L2, Ball, Linf

__all__ = ["Suspect", "differentiable"]


def differentiable(model: nn.Module, x: Tensor) -> bool:
    """Whether the logits of the images depend on them by operations that have a gradient, be it zero."""
    with contract.frozen(model):
        image = x[:1].detach().to(contract.model_device(model)).requires_grad_()
        return bool(model(image).requires_grad)


class Suspect:
    """A model and the images it is right on. Who is fooled is told as booleans (N,) on the CPU, one per image."""

    def __init__(
        self, model: nn.Module, x: Tensor, y: Tensor, within: Ball, steps: int, queries: int, seed: int,
        batch_size: int | None,
    ):  # fmt: skip
        self.model, self.x, self.y, self.within = model, x, y, within
        self.steps, self.queries, self.seed, self.batch_size = steps, queries, seed, batch_size
        self.blind = not differentiable(model, x)  # no gradient to follow: gradient attacks do nothing
        self._by_pgd: dict[int, Tensor] = {}

    def logits(self, x: Tensor) -> Tensor:
        return logits_of(self.model, x, batch_size=self.batch_size).cpu()

    def fooled(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        y = self.y if rows is None else self.y[rows]
        return self.logits(x.clamp(0, 1)).argmax(1) != y.cpu()

    def gradient(self, x: Tensor, loss: Callable) -> Tensor:
        """∇ₓ of each image's loss; zero where there is none. No fall-back, and no other precision: as it comes."""
        if self.blind:
            return torch.zeros_like(x)
        device = contract.model_device(self.model)
        with contract.frozen(self.model):

            def run(rows: Tensor) -> Tensor:
                image = x[rows].detach().to(device).requires_grad_()
                value = loss(self.model(image), self.y[rows].to(device)).sum()
                return torch.autograd.grad(value, image)[0].to(x)

            everyone = torch.arange(len(x), device=x.device)
            return torch.cat(in_batches(run, everyone, width(self.model, x[0]), self.batch_size))

    @cached_property
    def clean_gradient(self) -> Tensor:
        """∇ₓ of the log-odds of the images as they are."""
        return self.gradient(self.x, losses.log_odds)

    def turn(self, part: float) -> Tensor:
        """By how many degrees the gradient turns (N,) over a random step in that part of the ball; 0 where it is 0."""
        generator = torch.Generator().manual_seed(self.seed)
        nearby = self.x + self.within.scaled(part).sample(self.x, generator)
        here, there = (g.double().flatten(1) for g in (self.clean_gradient, self.gradient(nearby, losses.log_odds)))
        turn = F.cosine_similarity(here, there, eps=0).clamp(-1, 1).acos().rad2deg()
        return turn.nan_to_num(0).cpu()

    @cached_property
    def fooled_by_one_step(self) -> Tensor:
        """Who falls to FGSM."""
        return self.fooled(self.x + self.within.steepest(self.clean_gradient, self.x))

    def fooled_by_textbook(self, loss: Callable) -> Tensor:
        """Who falls to PGD as textbooks write it: from the image, by constant steps, at the last iterate."""
        nothing = self.x.new_zeros(len(self.x))  # neither its loss nor its score is looked at
        uphill = lambda adv, rows: (nothing, nothing, self.gradient(adv, loss))
        adv, _ = climb(
            uphill, lambda adv, rows: nothing, self.x, self.x, self.within, keep="last", early_stop=False,
            steps=0 if self.blind else self.steps, schedule=Constant(min(1.0, 2.5 / self.steps)),
        )  # fmt: skip
        return self.fooled(adv)

    def fooled_by_pgd(self, seed: int | None = None) -> Tensor:
        seed = self.seed if seed is None else seed
        if seed not in self._by_pgd:
            self._by_pgd[seed] = self._attack(self.within, seed)
        return self._by_pgd[seed]

    def fooled_without_limit(self) -> Tensor:
        """Who falls to PGD that may change everything."""
        size = self.x[0].numel()
        whole = {Linf: Linf(1.0), L2: L2(math.sqrt(size)), L1: L1(float(size)), L0: L0(size)}
        return self._attack(whole[type(self.within)])

    def fooled_by_chance(self, looks: int) -> Tensor:
        """Who falls to one of the ``looks`` random points. A ball's corners lie further out than most of its inside."""
        generator, fooled = torch.Generator().manual_seed(self.seed), torch.zeros(len(self.x), dtype=torch.bool)
        for _ in range(looks):
            towards = torch.randn(self.x.shape, generator=generator).to(self.x)
            fooled |= self.fooled(self.x + self.within.project(self.within.steepest(towards, self.x), self.x))
        return fooled

    def fooled_by_questions(self) -> Tensor:
        """Who of those that PGD leaves right falls to random search. There is none for L1."""
        fooled = torch.zeros(len(self.x), dtype=torch.bool)
        stand = (~self.fooled_by_pgd()).nonzero().flatten()
        if len(stand):
            rows = stand.to(self.x.device)
            search: Callable = sparse_rs if isinstance(self.within, L0) else square
            ask = lambda images: self.logits(images).to(images.device)
            settings = {"queries": self.queries, "seed": self.seed, "batch_size": self.batch_size}
            fooled[stand] = self.fooled(search(ask, self.x[rows], self.y[rows], self.within, **settings), rows)
        return fooled

    def _attack(self, within: Ball, seed: int = 0) -> Tensor:
        if self.blind:
            return torch.zeros(len(self.x), dtype=torch.bool)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of masked gradients: that is what is being found out
            adv = pgd(self.model, self.x, self.y, within, steps=self.steps, seed=seed, batch_size=self.batch_size)
        return self.fooled(adv)
