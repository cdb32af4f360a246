"""The signs of gradient masking, each a measurement on a suspect: whether it is seen, its figures, what it means."""

from __future__ import annotations

import torch
from scipy.special import bdtrc
from torch import Tensor

from advlib import losses
from advlib.norms import L0, L1
from advlib.suspect import Suspect

__all__ = ["ALONE", "COMPARED", "FEWEST", "UNSTABLE"]

Finding = tuple[bool, str, str]  # flagged, evidence, meaning

MANY = 0.1  # the share of images above which a sign is one; five honest networks stay below half of it
SURE = 0.01  # the p-value below which a difference is none of chance
FEWEST = 20  # images that a share of MANY can be told from none on
LOOKS = 50  # random points of the ball
UNSEEN, FEW = 1e-5, 350  # noise of a four-hundredth of a grey level on so many values: who does not notice it rounds
SEEN = 1 / 255  # noise on all pixels that a model which rounds its input to 8 bits or fewer does notice
# Degrees by which an honest gradient does not turn over such a part of the ball, on most of the images that PGD leaves:
# on fifteen networks for signs the median was 5 to 20, on two for digits 29 and 61, behind ripples 70 to 93.
NEARBY, TURNED = 1 / 2, 65


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


def _shattered(suspect: Suspect) -> Finding:
    if isinstance(suspect.within, L0):
        return False, "not looked at: this norm knows no small step", ""
    stand = ~suspect.fooled_by_pgd()
    turned = suspect.turn(NEARBY)[stand] > TURNED
    return (
        _many(stand) and _many(turned, 0.5),
        f"PGD leaves {_share(stand)} of the images right; half of ε away in a random direction, the gradient is turned "
        f"by more than {TURNED}° on {int(turned.sum())} of these {len(turned)}",
        "It points up a ripple, not up the hill (gradient shattering): attack past what ripples (BPDA), follow the "
        "mean gradient over noise (EOT), or attack by questions.",
    )


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


# In this order. What the second table compares means nothing where one of UNSTABLE is seen.
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
    "a shattered gradient": _shattered,
    "questions beat the gradient": _questions,
    "the start decides": _starts,
}
UNSTABLE = ("answers by chance", "answers depend on the batch")


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
    return bool(bdtrc(more - 1, more + fewer, 0.5) < SURE)  # how likely a fair coin falls so often, or more often


def _share(seen: Tensor) -> str:
    return f"{int(seen.sum()) / len(seen):.0%}"
