"""The exercises of chapter 13, networks that attack: AdvGAN's loss, what perturbations share, and a ghost for two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib.data import signs
from advlib.exercises import derived, properties
from advlib.exercises.frame import Case, Explore, Formula, Mistake, Wrong, instead_of
from advlib.norms import Linf

# --- my_gan_loss(u, verdict, size, kappa, alpha, beta, c) -------------------------------------------------


def gan_objective(
    u: Tensor,
    verdict: Tensor,
    size: Tensor,
    kappa: float,
    alpha: float,
    beta: float,
    c: float,
    *,
    adv: Callable[[Tensor, float], Tensor] = lambda u, kappa: F.relu(kappa - u).mean(),
    gan: Callable[[Tensor], Tensor] = lambda verdict: (verdict - 1).square().mean(),
    hinge: Callable[[Tensor, float], Tensor] = lambda size, c: F.relu(size - c).mean(),
    joined: Callable[..., Tensor] = lambda adv, gan, hinge, alpha, beta: adv + alpha * gan + beta * hinge,
) -> Tensor:
    """mean max(0, κ − u) + α mean (D − 1)² + β mean max(0, ‖G‖ − c)."""
    return joined(adv(u, kappa), gan(verdict), hinge(size, c), alpha, beta)


def _batches() -> list[Case]:
    """Pictures on both sides of each hinge; a batch of one; nothing beyond the bound; weights of 0; float64."""
    draw = torch.Generator().manual_seed(0)

    def case(name: str, count: int, *numbers: float, dtype: torch.dtype = torch.float32) -> Case:
        u, verdict, size = (
            torch.randn(*shape, generator=draw, dtype=dtype) for shape in ((count,), (count, 1), (count,))
        )
        return Case(name, (4 * u).requires_grad_(), (verdict + 0.3).requires_grad_(), (size.abs() + 0.2), *numbers)

    return [
        case("seven pictures", 7, 2.0, 0.3, 0.7, 0.8),
        case("a batch of one", 1, 8.0, 0.5, 2.0, 0.1),
        case("no size beyond the bound", 5, 1.0, 0.2, 3.0, 9.0),
        case("without a discriminator", 6, 3.0, 0.0, 1.5, 0.5),
        case("κ = 0", 8, 0.0, 1.0, 0.4, 1.0),
        case("float64", 4, 5.0, 0.1, 0.1, 0.6, dtype=torch.float64),
    ]


ADV = "F.relu(kappa - u).mean(): what each picture still lacks"
GAN = "(verdict - 1).square().mean(): G wants D to say 1, “clean”"
HINGE = "F.relu(size - c).mean(): what each perturbation has too much"
GAN_LOSS_WRONG = [
    *(Wrong({"adv": adv}, seen, cause, ADV) for adv, seen, cause in [
        (lambda u, kappa: F.relu(u - kappa).mean(), "a picture costs more the better it fools", "u − κ for κ − u"),
        (lambda u, kappa: F.relu(kappa + u).mean(), "fooling the victim is penalised", "κ + u for κ − u"),
        (lambda u, kappa: (kappa - u).mean(), "pictures that are fooled with κ to spare still count",
         "the hinge max(0, ·) is missing"),
        (lambda u, kappa: F.relu(-u).mean(), "κ changes nothing", "kappa is not used"),
        (lambda u, kappa: F.relu(kappa - u.mean()), "the hinge is that of the mean log-odds",
         "the mean was taken before max(0, ·): one easy picture pays for a hard one"),
        (lambda u, kappa: F.softplus(kappa - u).mean(), "the hinge has no corner", "softplus for max(0, ·)"),
        (lambda u, kappa: F.relu(kappa - u).sum(), "the first term is too large by the number of pictures",
         "a sum for a mean"),
    ]),
    *(Wrong({"gan": gan}, seen, cause, GAN) for gan, seen, cause in [
        (lambda v: v.square().mean(), "G is drawn towards the verdict “attacked”",
         "this is D's part for attacked pictures: the 1 is missing"),
        (lambda v: (v - 1).abs().mean(), "the verdicts count by their distance from 1", "abs() for square()"),
        (lambda v: -(v - 1).square().mean(), "G is paid for being recognised",
         "a minus at the second term: that is D's aim"),
        (lambda v: (v.mean() - 1).square(), "only the mean verdict counts", "the mean was taken before the square"),
        (lambda v: -v.log().mean(), "the second term is −log D, and NaN where D says less than 0",
         "this is the first GANs' loss; here D is no probability"),
        (lambda v: (v.detach() - 1).square().mean(), "no gradient comes from D", "the verdict was detached"),
        (lambda v: (v - 1).square().sum(), "the second term is too large by the number of pictures",
         "a sum for a mean"),
    ]),
    *(Wrong({"hinge": hinge}, seen, cause, HINGE) for hinge, seen, cause in [
        (lambda s, c: F.relu(c - s).mean(), "small perturbations are penalised", "c − size for size − c"),
        (lambda s, c: (s - c).mean(), "perturbations inside the bound are rewarded for being smaller still",
         "the hinge max(0, ·) is missing"),
        (lambda s, c: s.mean(), "c changes nothing", "c is not used"),
        (lambda s, c: F.relu(s.mean() - c), "the hinge is that of the mean size",
         "the mean was taken before max(0, ·)"),
        (lambda s, c: F.relu(s - c).square().mean(), "what is beyond the bound is squared", "a square too many"),
    ]),
    *instead_of("joined",
        (lambda a, g, h, alpha, beta: a + beta * g + alpha * h, "the two weights are exchanged",
         "α and β stand at the wrong terms", "adv + alpha * gan + beta * hinge"),
        (lambda a, g, h, alpha, beta: a + g + beta * h, "α changes nothing", "alpha is not used",
         "adv + alpha * gan + beta * hinge"),
        (lambda a, g, h, alpha, beta: a + alpha * g + h, "β changes nothing", "beta is not used",
         "adv + alpha * gan + beta * hinge"),
        (lambda a, g, h, alpha, beta: a + g + h, "the weights change nothing", "alpha and beta are not used",
         "adv + alpha * gan + beta * hinge"),
        (lambda a, g, h, alpha, beta: a + alpha * (g + beta * h), "β counts α times", "a bracket",
         "adv + alpha * gan + beta * hinge"),
    ),
]  # fmt: skip

gan_loss = Formula(
    name="gan_loss",
    chapter=13,
    title="What G minimises",
    points=2,
    right=gan_objective,
    cases=_batches,
    outcome=derived.with_gradient(0, 1, dims=0),
    kind=derived.kind("a mean of each term"),
    properties=[derived.which("the log-odds", "D's verdicts")],
    verified="value and gradients, on six batches, on both sides of each hinge",
    wrong=GAN_LOSS_WRONG,
)


# --- my_common_share(delta) -------------------------------------------------------------------------------


def _share(common: Tensor, size: Tensor) -> Tensor:
    return torch.where(size > 0, common / size, 0)


def common_part(
    delta: Tensor,
    *,
    common: Callable[[Tensor], Tensor] = lambda d: d.mean(0).square().sum(),
    size: Callable[[Tensor], Tensor] = lambda d: d.square().flatten(1).sum(1).mean(),
    end: Callable[[Tensor, Tensor], Tensor] = _share,
) -> Tensor:
    """‖mean δ‖² / mean ‖δ‖²."""
    return end(common(delta), size(delta))


def _perturbations() -> list[Case]:
    draw = torch.Generator().manual_seed(0)
    one, other = (torch.randn(5, 3, 4, 4, generator=draw) for _ in range(2))
    sizes = torch.tensor([0.1, 1.0, 2.0, 0.0])[:, None, None, None]
    return [
        Case("a pattern and noise", 0.05 * (one[:1] + 0.6 * other)),
        Case("one pattern for all", one[:1].repeat(4, 1, 1, 1)),
        Case("opposite pairs", torch.cat([one[:2], -one[:2]])),
        Case("a batch of one", other[:1]),
        Case("unequal sizes, one of them zero", sizes * other[:4]),
        Case("tiny perturbations", 1e-6 * other),
        Case("all zero", torch.zeros(3, 1, 2, 2)),
        Case("float64, one channel", one[:, :1].double() + 0.2),
    ]


COMMON = "delta.mean(0).square().sum(): first the mean picture, then its squared length"
SIZE = "delta.square().flatten(1).sum(1).mean(): N squared lengths, then their mean"
COMMON_WRONG = [
    *(Wrong({"common": common}, seen, cause, COMMON) for common, seen, cause in [
        (lambda d: d.square().mean(0).sum(), "the share is always 1", "squared before the mean"),
        (lambda d: d.mean(0).norm(), "the numerator is a length, not its square", "norm() without the square"),
        (lambda d: d.sum(0).square().sum(), "the numerator is N² times too large", "a sum for a mean"),
        (lambda d: d.mean(1).square().sum(), "the numerator is that of the mean over the colours",
         "mean(1) for mean(0): dimension 0 counts the perturbations"),
        (lambda d: d.mean().square() * d[0].numel(), "the numerator is that of the mean over all values",
         "mean() over pixels, too: keep the picture, mean(0)"),
        (lambda d: d.abs().mean(0).square().sum(), "opposite patterns do not cancel", "the absolute value was taken"),
        (lambda d: d.mean(0).square().mean(), "the numerator is n times too small", "a mean over the pixels for a sum"),
        (lambda d: d.mean(0).abs().sum(), "the numerator is an L1 norm", "abs() for square()"),
        (lambda d: d.median(0).values.square().sum(), "the numerator is that of the median picture",
         "median() for mean()"),
    ]),
    *(Wrong({"size": size}, seen, cause, SIZE) for size, seen, cause in [
        (lambda d: d.square().sum(), "the share is N times too small", "the squared lengths were added up"),
        (lambda d: d.flatten(1).norm(dim=1).mean().square(), "the divisor is the square of the mean length",
         "the mean was taken before the square"),
        (lambda d: d.flatten(1).norm(dim=1).mean(), "the divisor is a length, not its square",
         "norm() without the square"),
        (lambda d: d[0].square().sum(), "the divisor is that of the first perturbation", "[0] picks one"),
        (lambda d: d.square().mean(), "the share is n times too large", "a mean over the pixels for a sum"),
        (lambda d: d.square().flatten(1).sum(1).amax(), "the divisor is that of the largest perturbation",
         "max() for mean()"),
        *((lambda d, tiny=tiny: d.square().flatten(1).sum(1).mean() + tiny,
           "it is too small where perturbations are tiny", f"about {tiny:g} was added to the divisor")
          for tiny in (1e-6, 1e-8, 1e-9, 1e-10, 1e-12)),
    ]),
    Wrong({"end": lambda a, b: a / b}, "where all are zero, the share is NaN", "zero was divided by zero",
          "torch.where(size > 0, common / size, 0)"),
    Wrong({"end": lambda a, b: torch.where(b > 0, b / a, 0)}, "this is 1 over the share", "the fraction is upside down",
          "exchange numerator and denominator"),
    Wrong({"end": lambda a, b: _share(a, b).sqrt()}, "this is the root of the share", "lengths were compared",
          "squared lengths are asked for"),
    Wrong({"end": lambda a, b: torch.where(b > 0, 1 - a / b, 0)}, "this is what the perturbations do not share",
          "one minus the share", "the common part over the whole"),
    Wrong(lambda d: _share(d.mean(0).square().sum(), d.square().flatten(1).sum(1)).mean(),
          "each picture has a ratio of its own, and their mean is returned", "divided before the mean", SIZE),
    Wrong(lambda d: F.cosine_similarity(d.flatten(1), d.mean(0).flatten()[None]).mean(),
          "this is the mean cosine with the mean", "another measure, which forgets the sizes", COMMON),
]  # fmt: skip

common_share = Formula(
    name="common_share",
    chapter=13,
    title="What all have in common",
    points=3,
    right=common_part,
    cases=_perturbations,
    verified="the share of eight batches: one pattern, opposite pairs, tiny ones, none",
    wrong=COMMON_WRONG,
)


# --- sixteen pictures that two networks read as 30, and a third as Yield ----------------------------------

NAMES = tuple(kind.label for kind in signs.CLASSES)
THIRTY, YIELD = NAMES.index("30 km/h"), NAMES.index("Yield")
WITHIN = Linf(16 / 255)
BAR = 12


def _read_as(model: nn.Module, x: Tensor, sign: int) -> Tensor:
    return ~properties.misread(model, x, torch.full((len(x),), sign))


def _ghosts(exercise: Explore, answer: Any, notes: list[str], victims: Sequence[nn.Module], yields: Tensor) -> str:
    """Inside the ball; enough pictures are a 30 to both networks, and enough still a Yield to the judge."""
    from advlib import load_model

    ghosts = properties.images(answer, yields)
    properties.inside_ball(WITHIN.size(ghosts - yields), float(WITHIN.eps), WITHIN.symbol)
    each = [_read_as(net, ghosts, THIRTY) for net in victims]
    both = int(torch.stack(each).all(0).sum())
    judged = int(_read_as(load_model("signs-robust"), ghosts, YIELD).sum())
    if both < BAR:
        counts = " and ".join(str(int(hits.sum())) for hits in each)
        raise Mistake(
            f"both networks read 30 in {both} of {len(yields)} pictures ({counts} by themselves); {BAR} are asked",
            mend="attack the mean of their logits, aim at 30, and do not stop early",
        )
    if judged < BAR:
        raise Mistake(
            f"signs-robust, the judge, reads Yield in {judged} of {len(yields)} pictures; {BAR} are asked",
            mend="leave the judge out of the attack, and change less",
        )
    return f"both networks read 30 in {both} of {len(yields)} pictures, and the judge Yield in {judged}"


def _shown() -> tuple[list[nn.Module], Tensor]:
    from advlib import load_model

    return [load_model("signs-cnn"), load_model("signs-wide")], signs.render([YIELD] * 16, seed=5)


def _together(victims: Sequence[nn.Module], yields: Tensor, level: float = 16, **settings: Any) -> Tensor:
    from advlib import attacks

    truth = torch.full((len(yields),), YIELD)
    options = {"steps": 20, "target": THIRTY, "diversity": 0.0} | settings
    return attacks.transfer(list(victims), yields, truth, Linf(level / 255), **options)


GHOSTS_WRONG = [
    Wrong(lambda victims, yields: yields.clone(), "both networks read 30 in 0 of 16 pictures"),
    Wrong(lambda victims, yields: _together(victims[:1], yields), "by themselves); 12 are asked"),
    Wrong(lambda victims, yields: _together(victims, yields, target=None), "both networks read 30 in"),
    Wrong(lambda victims, yields: _together(victims, yields, level=48), "the L∞ size of a perturbation is"),
    Wrong(lambda victims, yields: _together(victims, yields) - yields, "pixels reach from -0.06"),
    Wrong(lambda victims, yields: yields + 1, "pixels reach from"),
    Wrong(lambda victims, yields: yields[:3], "the result has shape (3, 3, 48, 48)"),
    Wrong(lambda victims, yields: yields * torch.nan, "values are NaN or infinite"),
]  # fmt: skip

ghosts = Explore(
    name="ghosts",
    chapter=13,
    title="Explore: two networks, one ghost",
    points=3,
    measured=_ghosts,
    example=_shown,
    right=_together,
    wrong=GHOSTS_WRONG,
)
