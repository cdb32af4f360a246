"""The exercises of chapter 18, ensembles: what cancels, one vote each, and a vote that gives no gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from advlib.evaluate import predict
from advlib.exercises import properties
from advlib.exercises.frame import Case, Explore, Formula, Mistake, Wrong
from advlib.norms import Ball, Linf


def _draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- my_rho(grads) ----------------------------------------------------------------------------------------

Length = Callable[[Tensor], Tensor]


def length(flat: Tensor) -> Tensor:
    return flat.norm(dim=-1)


def shortening(
    grads: Tensor,
    *,
    flatten: Callable[[Tensor], Tensor] = lambda g: g.flatten(2),
    of: Length = length,
    mean: Callable[[Tensor], Tensor] = lambda flat: flat.mean(0),
    below: Callable[[Tensor], Tensor] = lambda lengths: lengths.mean(0),
    over: Callable[[Tensor, Tensor], Tensor] = lambda a, b: torch.where(b > 0, a / b, 1),
    end: Callable[[Tensor], Tensor] = lambda rho: rho,
) -> Tensor:
    """‖mean of g_m‖₂ over the mean of ‖g_m‖₂, for each image."""
    flat = flatten(grads)
    return end(over(of(mean(flat)), below(of(flat))))


def _cosine(grads: Tensor) -> Tensor:
    """The mean cosine of all pairs."""
    unit = nn.functional.normalize(grads.flatten(2), dim=-1)
    gram = torch.einsum("anp,bnp->nab", unit, unit)
    many = len(grads)
    return (gram.sum((1, 2)) - gram.diagonal(dim1=1, dim2=2).sum(1)) / max(1, many * (many - 1))


def _gradients() -> list[Case]:
    shared = _draw(1, 4, 3, 6, 6, seed=1)
    uneven = _draw(3, 5, 1, 5, 5, seed=2) * torch.tensor([1.0, 10.0, 0.1])[:, None, None, None, None]
    silent = _draw(3, 4, 1, 4, 4, seed=3)
    silent[:, 1] = 0
    return [
        Case("3 members, 5 images, lengths 1, 10 and 0.1", uneven),
        Case("4 members that half agree", shared + _draw(4, 4, 3, 6, 6, seed=4)),
        Case("one member", _draw(1, 3, 3, 4, 4, seed=5)),
        Case("two opposite members", torch.cat([shared, -0.5 * shared])),
        Case("an image whose gradients are all zero", silent),
        Case("lengths of 1e-9", 1e-9 * _draw(5, 2, 1, 6, 6, seed=6)),
        Case("float64", _draw(2, 3, 1, 5, 5, seed=7).double()),
    ]


TINY = (1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12)
ZERO = "torch.where(below > 0, …, 1) leaves the others alone"
AXES = "flatten(2) gives (M, N, C·H·W): the length runs over the last axis, the mean over the first"
RHO_WRONG = [
    Wrong({"flatten": lambda g: g}, "there is a number for each row of pixels",
          "the length runs over the columns alone", AXES),
    *(Wrong({"of": of}, seen, cause, mend) for of, seen, cause, mend in [
        (lambda flat: flat.abs().sum(-1), "the lengths are those of the L1 norm", "the sum of absolute values",
         "the formula has L2: .norm(dim=-1)"),
        (lambda flat: flat.abs().amax(-1), "the lengths are those of the L∞ norm", "the largest entry",
         "the formula has L2: .norm(dim=-1)"),
        (lambda flat: flat.square().sum(-1), "the lengths are squared", "the root is missing", ".norm(dim=-1)"),
    ]),
    *(Wrong({"mean": mean}, seen, cause, mend) for mean, seen, cause, mend in [
        (lambda flat: flat.sum(0), "ρ is M times too large", "the gradients were added up, not averaged",
         "grads.mean(0) above, the mean of the lengths below"),
        (lambda flat: flat[0], "above the line stands the first member's gradient", "grads[0] for grads.mean(0)",
         "take the mean over the members"),
        (lambda flat: flat.median(0).values, "above the line stands the gradients' median", "median() for mean()",
         "grads.mean(0)"),
        (lambda flat: flat.sign().mean(0), "above the line stands the mean of signs", "sign() before the mean",
         "the gradients themselves"),
        (lambda flat: nn.functional.normalize(flat, dim=-1).mean(0) * flat.norm(dim=-1).mean(0)[:, None],
         "each gradient was brought to length 1 first", "a short gradient counts as much as a long one",
         "average the gradients as they are"),
    ]),
    *(Wrong({"below": below}, seen, cause, mend) for below, seen, cause, mend in [
        (lambda lengths: lengths.sum(0), "ρ is M times too small", "the lengths were added up, not averaged",
         "the mean of the lengths: .mean(0)"),
        (lambda lengths: lengths.amax(0), "below the line stands the longest gradient's length", "amax() for mean()",
         "the mean of the lengths"),
        (lambda lengths: 1 / (1 / lengths).mean(0), "ρ is the mean of one ratio for each member",
         "divided before the mean", "first the mean of the lengths, then one division"),
        (lambda lengths: lengths[0], "below the line stands the first member's length", "[0] for mean(0)",
         "the mean of the lengths"),
        (lambda lengths: lengths.square().mean(0).sqrt(), "below the line stands the root of the mean square",
         "the mean was taken of squared lengths", "the mean of the lengths themselves"),
        (lambda lengths: lengths.mean().expand(lengths.shape[1]), "all images share one denominator",
         "the mean ran over members and images", AXES),
    ]),
    *(Wrong({"over": over}, seen, cause, mend) for over, seen, cause, mend in [
        (lambda a, b: a / b, "where all gradients are zero, ρ is NaN", "0 / 0", "torch.where(below > 0, …, 1)"),
        (lambda a, b: torch.where(b > 0, a / b, 0), "where all gradients are zero, ρ is 0", "nothing cancels there",
         "let it be 1"),
        *((lambda a, b, tiny=tiny: a / (b + tiny), "tiny gradients give a ρ that is too small, and zero ones 0",
           f"about {tiny:g} was added to the denominator", ZERO) for tiny in TINY),
        *((lambda a, b, tiny=tiny: (a + tiny) / (b + tiny), "tiny gradients give a ρ that is too near 1",
           f"about {tiny:g} was added above and below", ZERO) for tiny in TINY),
        *((lambda a, b, tiny=tiny: torch.where(b > 0, a / (b + tiny), 1), "tiny gradients give a ρ that is too small",
           f"about {tiny:g} was added to the denominator, though zero has a case of its own", ZERO) for tiny in TINY),
        (lambda a, b: a / b.clamp_min(1e-8), "tiny gradients give a ρ that is too small, and zero ones 0",
         "the denominator was kept away from zero", "torch.where(below > 0, …, 1)"),
        (lambda a, b: torch.where(b > 0, b / a, 1), "this is 1/ρ", "the fraction is upside down",
         "the length of the mean stands above"),
    ]),
    Wrong({"end": lambda rho: rho.mean()}, "there is one number for all images", "a mean over the batch",
          "each image has a ρ of its own"),
    Wrong({"end": torch.square}, "this is ρ²", "squared at the end", "return ρ itself"),
    Wrong(lambda grads: shortening(grads.transpose(0, 1)),
          "there is a number for each member, not for each image", "members and images are exchanged", AXES),
    Wrong(lambda grads: shortening(grads.flatten(1)[:, None]).expand(grads.shape[1]),
          "every image has the ρ of the whole batch", "the lengths run over the images, too", AXES),
    Wrong(lambda grads: torch.where((grads == 0).flatten(2).all(2).all(0), 1, _cosine(grads) / (len(grads) > 1)),
          "this is the mean cosine between two members, and NaN for a single one", "c instead of ρ",
          "the length of the mean over the mean length"),
    Wrong(_cosine, "this is the mean cosine between two members", "c instead of ρ",
          "the length of the mean over the mean length"),
]  # fmt: skip

rho = Formula(
    name="rho",
    chapter=18,
    title="How much cancels",
    points=2,
    right=shortening,
    cases=_gradients,
    verified="right for one to five members, of like and unlike length, for zero and tiny gradients, and in float64",
    wrong=RHO_WRONG,
)


# --- my_mean_of_probabilities(logits) -----------------------------------------------------------------------


def mean_log(
    logits: Tensor,
    *,
    logs: Callable[[Tensor], Tensor] = lambda z: z.log_softmax(-1),
    join: Callable[[Tensor], Tensor] = lambda log_p: log_p.logsumexp(0),
    share: Callable[[Tensor], float] = lambda z: math.log(len(z)),
) -> Tensor:
    """log 1/M Σ softmax(z_m), without leaving logarithms."""
    return join(logs(logits)) - share(logits)


def _votes() -> list[Case]:
    sure = 700 * _draw(3, 4, 5, seed=3)
    sure[:, 0] = torch.tensor([2000.0, -2000.0, 0.0, 1.0, 2.0])
    return [
        Case("3 members, 4 images, 5 classes", 3 * _draw(3, 4, 5, seed=0)),
        Case("one loud member", 2 * _draw(4, 3, 6, seed=1) * torch.tensor([100.0, 1.0, 1.0, 1.0])[:, None, None]),
        Case("one member", _draw(1, 5, 3, seed=2)),
        Case("logits of 2000", sure),
        Case("as many members as images", 4 * _draw(4, 4, 4, seed=4)),
        Case("float64", _draw(2, 3, 7, seed=5).double()),
    ]


def _floor(case: Case, result: Tensor, right: Tensor) -> None:
    """All that is wrong has one value, the logarithm of a small number, and should be below it."""
    off = result[(result - right).abs() > 1e-2]
    if len(off) and off.max() - off.min() < 1e-3 and off.max() < -9 and bool((right <= result + 1e-2).all()):
        raise Mistake(
            f"on {case.name}, no logarithm is below {off.min().item():.1f}",
            f"about {off.min().exp().item():.0e} was added to the probabilities, or they were kept above it",
            MEAN,
        )


MEAN = "log_softmax over the classes, logsumexp over the members, minus log M"
MEAN_WRONG = [
    *(Wrong({"logs": logs}, seen, cause, MEAN) for logs, seen, cause in [
        (lambda z: z, "the rows are no logarithms of probabilities: log-sum-exp of the plain logits",
         "the softmax is missing"),
        (lambda z: z.softmax(-1), "the exponential was taken twice", "softmax for log_softmax"),
        (lambda z: z.softmax(-1).log(), "where every member's probability became 0, the result is -inf",
         "softmax and log, or exp and log, one after the other"),
        (lambda z: ((z - z.max()).exp() / (z - z.max()).exp().sum(-1, keepdim=True)).log(),
         "rows far below the largest logit of all are NaN", "one maximum was subtracted from all rows"),
        (lambda z: z.log_softmax(0), "the softmax runs over the members", "dim=0 for the classes"),
        (lambda z: z.log_softmax(1), "the softmax runs over the images", "dim=1 for the classes"),
        (lambda z: (z - z.logsumexp((0, 2), keepdim=True)) + math.log(len(z)),
         "one softmax was taken over members and classes together", "a loud member takes the others' votes"),
    ]),
    *(Wrong({"join": join}, seen, cause, MEAN) for join, seen, cause in [
        (lambda log_p: log_p.sum(0), "the logarithms were added up", "a product of probabilities"),
        (lambda log_p: log_p.mean(0) + math.log(len(log_p)), "the logarithms were averaged",
         "the geometric mean: one member that says 0 vetoes"),
        (lambda log_p: log_p.amax(0) + math.log(len(log_p)), "only the surest member counts for each class",
         "max for the mean"),
    ]),
    Wrong({"share": lambda z: 0.0}, "the probabilities add up to the number of members", "the division by M is missing",
          "subtract log M"),
    Wrong({"share": lambda z: float(len(z))}, "M was subtracted", "a division by M became a subtraction of M",
          "subtract its logarithm"),
    Wrong({"share": lambda z: -math.log(len(z))}, "log M was added", "a plus for a minus", "subtract log M"),
    Wrong(lambda logits: mean_log(logits, share=lambda z: 0.0) / len(logits), "the logarithm was divided by M",
          "a division of the probabilities is a subtraction in logarithms", "subtract log M"),
    Wrong({"share": lambda z: math.log(z.shape[1])}, "the number of images was taken for that of the members",
          "the second axis has the images", "len(logits) is M"),
    Wrong(lambda logits: logits.mean(0), "this is the mean of the logits", "the loudest member decides", MEAN),
    Wrong(lambda logits: logits.mean(0).log_softmax(-1), "this is the softmax of the mean logits, as a logarithm",
          "the mean was taken before the softmax", MEAN),
    Wrong(lambda logits: mean_log(logits).exp(), "these are the probabilities", "the logarithm is missing",
          "return their logarithms"),
    Wrong(lambda logits: nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits).mean(0),
          "readings were counted: this is a vote", "argmax for softmax", MEAN),
    Wrong(lambda logits: nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits).mean(0).log(),
          "readings were counted: this is the logarithm of a vote", "argmax for softmax", MEAN),
    Wrong(lambda logits: logits.logsumexp(0).log_softmax(-1), "a member with large logits owns the mean",
          "the members' logits were added up without a softmax of their own", MEAN),
]  # fmt: skip

mean_of_probabilities = Formula(
    name="mean_of_probabilities",
    chapter=18,
    title="The mean of probabilities",
    points=2,
    right=mean_log,
    cases=_votes,
    properties=[_floor],
    verified="right for one to four members, one of them loud, with logits of 2000, and in float64",
    wrong=MEAN_WRONG,
)


# --- a vote ------------------------------------------------------------------------------------------------

BAR = 0.35


def _outvoted(
    exercise: Explore, x_adv: Any, notes: list[str], vote: nn.Module, x: Tensor, y: Tensor, within: Ball
) -> str:
    """``x_adv`` is inside the ball, and the vote is right on few."""
    x_adv = properties.images(x_adv, x)
    properties.inside_ball(within.size(x_adv - x), float(within.eps), within.symbol)
    right = (predict(vote, x_adv)[0] == y).float().mean().item()
    if right <= BAR:
        return f"the vote is right on {right:.0%} of {len(x)} signs"
    each = [(predict(member, x_adv)[0] == y).float().mean().item() for member in vote.members]  # type: ignore[union-attr]
    raise Mistake(
        f"the vote is right on {right:.0%}; at most {BAR:.0%} are asked. Alone its members are right on "
        + ", ".join(f"{share:.0%}" for share in each),
        mend="climb something that all of them have a part in, and do not stop at a border that is not the vote's",
    )


class _Vote(nn.Module):
    """How many members read each class."""

    def __init__(self, members: list[nn.Module]):
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.stack([member(x) for member in self.members])
        return nn.functional.one_hot(z.argmax(-1), z.shape[-1]).sum(0) * 1.0


def _voters() -> tuple[nn.Module, Tensor, Tensor, Ball]:
    from advlib import load_images, load_model

    signs = load_images("signs", "test", n=64)
    return _Vote([load_model(f"signs-midfit-{seed}") for seed in "abc"]).eval(), signs.x, signs.y, Linf(4 / 255)


def _by(first: int, last: int, scale: float = 1) -> Callable[..., Tensor]:
    """PGD on the mean of some members' logits, in a ball ``scale`` times as large."""

    def attack(vote: nn.Module, x: Tensor, y: Tensor, within: Ball) -> Tensor:
        from advlib import attacks
        from advlib.defenses import Ensemble

        climbed = Ensemble(list(vote.members)[first:last]).eval()  # type: ignore[arg-type]
        larger = Linf(scale * float(within.eps))
        return attacks.pgd(climbed, x, y, larger, steps=20, keep="last", early_stop=False)

    return attack


OUTVOTED_WRONG = [
    Wrong(lambda vote, x, y, within: x.clone(), "the vote is right on"),
    Wrong(_by(0, 1), "Alone its members are right on"),
    Wrong(_by(0, 3, scale=8), "the L∞ size of a perturbation is"),
    Wrong(lambda vote, x, y, within: x + 1, "pixels reach from"),
    Wrong(lambda vote, x, y, within: x[:3], "the result has shape (3, 3, 48, 48)"),
    Wrong(lambda vote, x, y, within: x * torch.nan, "values are NaN or infinite"),
]  # fmt: skip

outvoted = Explore(
    name="outvoted",
    chapter=18,
    title="Explore: break a vote",
    points=3,
    measured=_outvoted,
    example=_voters,
    right=_by(0, 3),
    wrong=OUTVOTED_WRONG,
)
