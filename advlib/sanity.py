"""Signs of gradient masking: ways in which a model defeats the attack rather than the adversary, as measurements.

After Athalye, Carlini & Wagner (2018), "Obfuscated gradients give a false sense of security", Section 3.1, and Carlini
et al. (2019), "On evaluating adversarial robustness", Section 5.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from advlib import contract, losses
from advlib.answers import right as is_right
from advlib.norms import L1, Ball
from advlib.progress import progress
from advlib.suspect import Suspect

__all__ = ["SanityCheck", "SanityChecks", "sanity_checks"]

Finding = tuple[bool, str, str]  # flagged, evidence, meaning

MANY = 0.1  # the share of images above which a sign is one; five honest networks stay below half of it
SURE = 0.01  # the p-value below which a difference is none of chance
FEWEST = 20  # images that a share of MANY can be told from none on
LOOKS = 50  # random points of the ball
UNSEEN, FEW = 1e-5, 350  # noise of a four-hundredth of a grey level on so many values: who does not notice it rounds
SEEN = 1 / 255  # noise on all pixels that a model which rounds its input to 8 bits or fewer does notice


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
    withstood, a change without limit that does not win, random points that beat the gradient, questions that
    beat the gradient, and starts that decide.

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
            by_chance |= check.flagged and look in (_chance, _batch)
            yield check


def _chance(suspect: Suspect) -> Finding:
    moved = _moved(suspect.logits(suspect.x), suspect.logits(suspect.x))
    return (
        bool(moved.any()),
        f"asked twice, the model answers {_share(moved)} of the images differently",
        "Each gradient is that of another draw: attack the mean over many, advlib.attacks.eot.",
    )


def _batch(suspect: Suspect) -> Finding:
    together, alone = suspect.logits(suspect.x), torch.cat([suspect.logits(one) for one in suspect.x[:FEWEST].split(1)])
    moved = _moved(together[:FEWEST], alone) & ~_moved(together, suspect.logits(suspect.x))[:FEWEST]
    return (
        bool(moved.any()),
        f"alone, {_share(moved)} of {FEWEST} images are answered differently than among others",
        "An image's neighbours are no part of it: evaluate one by one, or freeze what looks at the batch.",
    )


def _cut(suspect: Suspect) -> Finding:
    return (
        suspect.blind,
        f"the logits {'do not depend' if suspect.blind else 'depend'} differentiably on the image",
        "Gradient attacks have nothing to follow: put a differentiable stand-in behind it (BPDA), or ask questions.",
    )


def _rounded(suspect: Suspect) -> Finding:
    generator, plain = torch.Generator().manual_seed(suspect.seed), suspect.logits(suspect.x)
    noise = (2 * torch.rand(suspect.x.shape, generator=generator) - 1).to(suspect.x)
    few = (torch.rand(suspect.x.shape, generator=generator) < FEW / suspect.x[0].numel()).to(suspect.x)
    same = lambda noise: (plain == suspect.logits((suspect.x + noise).clamp(0, 1))).all(1)
    # An answer that stays the same whatever comes is saturated, not rounded.
    unnoticed = same(UNSEEN * few * noise) & ~same(SEEN * noise)
    return (
        _many(unnoticed),
        f"noise of {UNSEEN:g} on some pixels leaves every logit as it was on {_share(unnoticed)} of the images",
        "Where the input is rounded the gradient is zero or made up: pass it through as if nothing was rounded "
        "(BPDA), or attack by questions.",
    )


def _zero(suspect: Suspect) -> Finding:
    zero = (suspect.clean_gradient == 0).flatten(1).all(1).cpu()
    return (
        _many(zero) and not suspect.blind,
        "there is no gradient" if suspect.blind else f"the gradient of the log-odds is 0 on {_share(zero)} of them",
        "A gradient attack stands still there: look for what rounds, saturates or is cut inside the model.",
    )


def _saturated(suspect: Suspect) -> Finding:
    by_loss, by_odds = suspect.fooled_by_textbook(losses.cross_entropy), suspect.fooled_by_textbook(losses.log_odds)
    return (
        _beats(by_odds, by_loss),
        f"of the images PGD on cross-entropy, as textbooks write it, fools {_share(by_loss)}; on the log-odds, "
        f"which have its direction without its rounding, {_share(by_odds)}",
        "The model is so sure that its probabilities round to 1, and with them the gradient: climb losses.log_odds.",
    )


def _one_step(suspect: Suspect) -> Finding:
    one, many = suspect.fooled_by_one_step, suspect.fooled_by_pgd()
    return (
        _beats(one, many),
        f"one step fools {_share(one)}, {suspect.steps} steps {_share(many)}",
        "More steps can only find more where the gradient is of use: look at it, and at the step size.",
    )


def _one_step_only(suspect: Suspect) -> Finding:
    one, many = suspect.fooled_by_one_step, suspect.fooled_by_pgd()
    return (
        not _many(one, 0.5) and _many(many, 1 - MANY),
        f"one step fools {_share(one)}, {suspect.steps} steps {_share(many)}",
        "By one step the model looks robust and is not: it has learnt to stand that step alone (catastrophic "
        "overfitting), or ε is beyond what it learnt. Count only what stands many small steps.",
    )


def _unlimited(suspect: Suspect) -> Finding:
    stand = ~suspect.fooled_without_limit()
    return (
        _many(stand),
        f"allowed to change everything, PGD leaves {_share(stand)} of the images right",
        "Any image can be turned into any other then: what fails here is the attack.",
    )


def _random_points(suspect: Suspect) -> Finding:
    beyond = suspect.fooled_by_chance(LOOKS) & ~suspect.fooled_by_pgd()
    evidence = f"{LOOKS} random points of the ball fool {_share(beyond)} of the images, which PGD leaves right"
    return _many(beyond), evidence, "What chance finds and the gradient does not, it hides: attack by questions."


def _questions(suspect: Suspect) -> Finding:
    if isinstance(suspect.within, L1):
        return False, "not asked: there is no search for this norm", ""
    fooled = suspect.fooled_by_questions()
    return (
        _many(fooled),
        f"{suspect.queries} questions each fool {_share(fooled)} of the images, which PGD leaves right",
        "An attacker who sees less must not do better: the gradient hides what is there.",
    )


def _starts(suspect: Suspect) -> Finding:
    one, other = suspect.fooled_by_pgd(), suspect.fooled_by_pgd(seed=suspect.seed + 1)
    differ = one ^ other
    return (
        _many(differ, 2 * MANY),
        f"from another random start PGD's verdict is another on {_share(differ)} of the images",
        "One run says little here: use restarts, more steps, or evaluate.robust_accuracy.",
    )


# In this order. What the second table compares means nothing where the model answers by chance.
ALONE = {
    "answers by chance": _chance,
    "answers depend on the batch": _batch,
    "a cut gradient": _cut,
    "gradients of exactly zero": _zero,
    "a rounded input": _rounded,
    "no limit, and no success": _unlimited,
}
COMPARED = {
    "a softmax that rounds": _saturated,
    "one step beats many": _one_step,
    "stands one step only": _one_step_only,
    "random points beat the gradient": _random_points,
    "questions beat the gradient": _questions,
    "the start decides": _starts,
}


def _moved(one: Tensor, other: Tensor) -> Tensor:
    """Which rows of logits differ by more than rounding does."""
    return (one - other).abs().amax(1) > 1e-3 * one.abs().amax(1).clamp_min(1e-6)


def _many(seen: Tensor, share: float = MANY) -> bool:
    return int(seen.sum()) > share * len(seen)


def _beats(one: Tensor, other: Tensor) -> bool:
    """The first fools more images than the second: by MANY of them, and not by chance (McNemar's exact test)."""
    more, fewer = int((one & ~other).sum()), int((other & ~one).sum())
    if more - fewer <= MANY * len(one):
        return False
    return bool(binomtest(more, more + fewer, alternative="greater").pvalue < SURE)


def _share(seen: Tensor) -> str:
    return f"{int(seen.sum()) / len(seen):.0%}"
