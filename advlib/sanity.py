"""Signs of gradient masking: ways in which a model defeats the attack rather than the adversary, as measurements.

After Athalye, Carlini & Wagner (2018), "Obfuscated gradients give a false sense of security", Section 3.1, and Carlini
et al. (2019), "On evaluating adversarial robustness", Section 5.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advlib import contract
from advlib.answers import right as is_right
from advlib.masking import ALONE, COMPARED, FEWEST, UNSTABLE
from advlib.norms import Ball
from advlib.progress import progress
from advlib.suspect import Suspect

__all__ = ["SanityCheck", "SanityChecks", "sanity_checks"]


@dataclass(frozen=True)
class SanityCheck:
    """One sign of gradient masking: whether it was seen, the figures it rests on, and what it means."""

    name: str
    flagged: bool
    evidence: str
    meaning: str

    def __str__(self) -> str:
        line = f"{'✗' if self.flagged else '✓'} {self.name}: {self.evidence}"
        return f"{line}\n    {self.meaning}" if self.flagged else line


@dataclass(frozen=True)
class SanityChecks:
    """What ``sanity_checks`` saw. Print it, or let a notebook show it as a table."""

    n: int  # images that were right, and so were looked at
    checks: tuple[SanityCheck, ...]

    @property
    def flagged(self) -> tuple[SanityCheck, ...]:
        """The signs that were seen; none does not prove that no gradient is masked."""
        return tuple(check for check in self.checks if check.flagged)

    @property
    def verdict(self) -> str:
        if not self.flagged:
            return f"No sign of gradient masking on {self.n} images."
        return f"{len(self.flagged)} of {len(self.checks)} signs of gradient masking on {self.n} images."

    def __str__(self) -> str:
        return "\n".join([self.verdict, *map(str, self.checks)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cell = '<td style="text-align:left">'
        rows = "".join(
            f'<tr><th scope="row" style="text-align:left">{html.escape(check.name)}</th>'
            f"{cell}{'✗ seen' if check.flagged else '✓ not seen'}</td>{cell}{html.escape(check.evidence)}</td>"
            f"{cell}{html.escape(check.meaning) if check.flagged else ''}</td></tr>"
            for check in self.checks
        )
        return f"<table><caption>{html.escape(self.verdict)}</caption>{rows}</table>"


def sanity_checks(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    within: Ball,
    *,
    steps: int = 40,
    queries: int = 1000,
    seed: int = 0,
    batch_size: int | None = None,
) -> SanityChecks:
    """Look for signs that attacks fail on ``model`` because its gradient is masked, not because it is robust.

    Looked at are the images that are right, for: answers by chance, answers that depend on the batch, a cut gradient,
    gradients of exactly zero, a rounded input, a softmax that rounds, one step that beats many, one step that alone is
    withstood, a change without limit that does not win, random points that beat the gradient, a gradient that turns
    within a small part of the ball, questions that beat the gradient, and starts that decide.

    A sign says that gradient attacks prove little here, and how an adaptive attack begins. None proves nothing: that
    takes an attack for the defence (Tramèr et al. 2020, "On adaptive attacks to adversarial example defenses").

    within   with one ε, large enough that attacks succeed on some images.
    steps    of PGD. queries: questions per image that a black-box attack may ask. seed: of all chance.
    Shapes: x (N, C, H, W) in [0, 1], y (N,); 100 images or more tell small shares from none.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract; fewer than 20 images that are right.

    >>> from advlib.norms import Linf
    >>> x, model = torch.rand(40, 1, 4, 4), nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    >>> sanity_checks(model, x, model(x).argmax(1), Linf(0.1), queries=50).flagged
    ()
    """
    contract.check_images(x)
    contract.check_ball(within)
    contract.check_one_eps(within, "sanity_checks")
    contract.check_labels(y, len(x))
    for value, name in ((steps, "steps"), (queries, "queries")):
        contract.check_count(value, name)
    contract.check_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        right = is_right(model, x, y, batch_size=batch_size)
        if int(right.sum()) < FEWEST:
            raise ValueError(
                f"the model is right on {int(right.sum())} of {len(x)} images; expected at least {FEWEST} to look at. "
                "Pass more images, or look first why it is wrong on them."
            )
        chosen, of = right.to(x.device), y.to(x.device)
        suspect = Suspect(model, x[chosen], of[chosen], within, steps, queries, seed, batch_size)
        return SanityChecks(int(right.sum()), tuple(_checks(suspect)))


def _checks(suspect: Suspect) -> Iterator[SanityCheck]:
    by_chance = False
    for name, look in progress(list((ALONE | COMPARED).items()), unit="check"):
        if by_chance and name in COMPARED:
            yield SanityCheck(name, False, "not compared: the same image is not always answered alike", "")
        else:
            check = SanityCheck(name, *look(suspect))
            by_chance |= check.flagged and name in UNSTABLE
            yield check
