"""The exercises of chapter 12, attack by asking: a gradient from scores, a normal from labels, and a limit."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from advlib.ball import wide
from advlib.exercises import properties, specimens
from advlib.exercises.frame import Case, Explore, Formula, Mistake, Wrong
from advlib.norms import Ball, Linf

Ask = Callable[[Tensor], Tensor]


def _directions(count: int, channels: int, size: int, seed: int) -> Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


# --- my_estimate(score, x, u, sigma) ------------------------------------------------------------------------


def estimate(
    score: Ask,
    x: Tensor,
    u: Tensor,
    sigma: float,
    *,
    gains: Callable[[Ask, Tensor, Tensor], Tensor] = lambda f, x, step: f(x + step) - f(x - step),
    step: Callable[[Tensor, float], Tensor] = lambda u, sigma: sigma * u,
    terms: Callable[[Tensor, Tensor], Tensor] = lambda gain, u: gain * u,
    join: Callable[[Tensor], Tensor] = lambda terms: terms.mean(0),
    divisor: Callable[[float, int], float] = lambda sigma, count: 2 * sigma,
    end: Callable[[Tensor, Tensor], Tensor] = lambda g, x: g,
) -> Tensor:
    """1/(2σq) Σ (f(x + σuᵢ) − f(x − σuᵢ)) uᵢ."""
    gain = wide(gains(score, x, step(u, sigma)))
    return end(join(terms(gain, u)) / divisor(sigma, len(u)), x)


def _scored() -> list[Case]:
    """Scores that curve, so that one-sided differences show; a single pair, float64, another σ."""
    model = specimens.mlp(1, 5, 4, seed=1, scale=5)

    def _of_network(z: Tensor) -> Tensor:
        with torch.no_grad():
            logits = model(z)
        return logits[:, 0] - logits[:, 2]

    def _bent(z: Tensor) -> Tensor:
        flat = z.flatten(1)
        return (3 * flat).sin().sum(1) + 2 * flat.square().sum(1) + 1

    def one(channels: int, size: int, seed: int) -> Tensor:
        return specimens.images(1, channels, size, seed)[0]

    return [
        Case("a score that curves", _bent, one(3, 4, 1), _directions(4, 3, 4, 1), 0.1),
        Case("a network's score", _of_network, one(1, 5, 2), _directions(6, 1, 5, 2), 0.03),
        Case("a single pair", _bent, one(1, 6, 3), _directions(1, 1, 6, 3), 0.2),
        Case("as many pairs as channels", _bent, one(3, 5, 4), _directions(3, 3, 5, 4), 0.5),
        Case("float64", _bent, one(2, 4, 5).double(), _directions(5, 2, 4, 5).double(), 0.01),
    ]


PAIR = "ask about x + σu and about x − σu, and take the difference of the two scores"
EACH_U = "each direction counts by its own difference: gain[:, None, None, None] * u, then the mean over the pairs"
ESTIMATE_WRONG = [
    *(Wrong({"gains": gains}, seen, cause, PAIR) for gains, seen, cause in [
        (lambda f, x, s: f(x + s), "each direction counts by the score at x + σu itself",
         "the score at x − σu was not taken off"),
        (lambda f, x, s: f(x + s) - f(x[None]), "each direction counts by f(x + σu) − f(x)",
         "a one-sided difference, which keeps what the score's curve adds"),
        (lambda f, x, s: f(x - s) - f(x + s), "the estimate points downhill", "the two scores are exchanged"),
        (lambda f, x, s: f(x + s) + f(x - s), "the two scores were added", "a plus for a minus"),
        (lambda f, x, s: f((x + s).clamp(0, 1)) - f((x - s).clamp(0, 1)), "the probes were clipped to [0, 1]",
         "clamp before asking; worth doing against a service, but not in the formula"),
        (lambda f, x, s: (f(x + s) - f(x - s)).sign(), "each direction has one vote",
         "the sign of the difference was taken"),
        (lambda f, x, s: (f(x + s) - f(x - s)).mean().expand(len(s)), "all directions count alike",
         "the differences were averaged before they met their directions"),
        (lambda f, x, s: (f(x + s) - f(x - s)).clamp_min(0), "directions that lead downhill play no part",
         "only gains were kept; a loss along u says as much about −u"),
    ]),
    Wrong({"step": lambda u, sigma: u}, "the probes are x ± u", "σ is missing in the probes", "ask about x ± σu"),
    Wrong({"step": lambda u, sigma: sigma * u.sign()}, "the probes are x ± σ sign(u)",
          "a sign step, which is for the attack", "ask about x ± σu"),
    *(Wrong({"terms": terms}, seen, cause, EACH_U) for terms, seen, cause in [
        (lambda gain, u: gain * u.sign(), "the differences meet sign(u)", "the directions' signs were taken"),
        (lambda gain, u: u, "the differences play no part", "the mean of the directions alone"),
        (lambda gain, u: gain * u / wide(u.flatten(1).square().sum(1)), "each term is divided by |u|²",
         "a projection on u, as for one direction alone"),
    ]),
    Wrong(lambda f, x, u, sigma: ((f(x + sigma * u) - f(x - sigma * u)) * u).mean(0) / (2 * sigma),
          "the differences met the columns of the pictures", "q numbers were multiplied with u as they are", EACH_U),
    Wrong(lambda f, x, u, sigma: (f(x + sigma * u) - f(x - sigma * u)).mean() / (2 * sigma),
          "the result is one number, the mean slope", "the differences were not multiplied by their directions",
          EACH_U),
    *(Wrong({"join": join}, seen, cause, EACH_U) for join, seen, cause in [
        (lambda t: t.sum(0), "the estimate is too large by the number of pairs", "a sum for a mean"),
        (lambda t: t.median(0).values, "the middle term was taken", "median() for mean()"),
    ]),
    *(Wrong({"divisor": divisor}, seen, cause, "divide by 2σ: the two probes lie 2σu apart")
      for divisor, seen, cause in [
        (lambda sigma, q: sigma, "the estimate is twice too large", "divided by σ, or 2 stands above the line"),
        (lambda sigma, q: 2 / sigma, "the estimate is multiplied by σ", "/ 2 * sigma: the brackets are missing"),
        (lambda sigma, q: 2 * sigma * q, "the estimate is too small by the number of pairs",
         "divided by q, and a mean as well"),
        (lambda sigma, q: 1, "the estimate is too small by a factor of 2σ", "the division is missing"),
        (lambda sigma, q: 2 * sigma**2, "the estimate is too large by 1/σ", "divided by 2σ²"),
        (lambda sigma, q: 2, "the estimate is too small by a factor of σ", "divided by 2 alone"),
    ]),
    *(Wrong({"end": end}, seen, cause, "return the estimate itself") for end, seen, cause in [
        (lambda g, x: g.sign(), "the result holds -1, 0 and 1 only", "its sign was taken, which is the attack's part"),
        (lambda g, x: x + g, "the result is x plus the estimate", "a step was made"),
        (lambda g, x: g / g.norm(), "the estimate has length 1", "it was divided by its norm"),
    ]),
]  # fmt: skip

nes_estimate = Formula(
    name="nes_estimate",
    chapter=12,
    title="A gradient from scores",
    points=3,
    right=estimate,
    cases=_scored,
    same=properties.to_scale,
    verified="the formula's estimate, from one to six pairs of questions, of scores that curve",
    wrong=ESTIMATE_WRONG,
)


# --- my_normal(fooled, here, u, reach) ----------------------------------------------------------------------


def normal(
    fooled: Ask,
    here: Tensor,
    u: Tensor,
    reach: float,
    *,
    step: Callable[[Tensor, float], Tensor] = lambda u, reach: reach * u,
    sign: Callable[[Tensor], Tensor] = lambda won: 2 * won - 1,
    base: Callable[[Tensor], Tensor | float] = lambda phi: phi.mean() if (phi != phi[0]).any() else 0.0,
    join: Callable[[Tensor, Tensor], Tensor] = lambda phi, u: (wide(phi) * u).mean(0),
    end: Callable[[Tensor, Tensor], Tensor] = lambda v, here: v,
) -> Tensor:
    """1/q Σ (φᵢ − φ̄) uᵢ with φᵢ = ±1; where all agree, 1/q Σ φᵢ uᵢ."""
    phi = sign(fooled(here + step(u, reach)).to(u))
    return end(join(phi - base(phi), u), here)


def _two_means(fooled: Ask, here: Tensor, u: Tensor, reach: float) -> Tensor:
    won = fooled(here + reach * u)
    return u[won].mean(0) - u[~won].mean(0)


def _borders() -> list[Case]:
    """Half-spaces and balls; points on the border, near it, and where all probes agree."""

    def half(channels: int, size: int, seed: int, shift: float) -> tuple[Ask, Tensor]:
        here = specimens.images(1, channels, size, seed)[0]
        w = _directions(1, channels, size, seed + 50)[0]
        return lambda z: ((z - here.to(z)) * w.to(z)).flatten(1).sum(1) > shift, here

    def _outside(z: Tensor) -> Tensor:
        return (z - 0.5).flatten(1).norm(dim=1) > 0.9

    found = []
    for name, channels, size, count, shift in (
        ("a flat border", 1, 4, 5, 0.0),
        ("a point beside the border", 3, 4, 9, 0.4),
        ("probes that all fool", 1, 5, 4, -99.0),
        ("probes of which none fools", 2, 3, 3, 99.0),
        ("a single probe", 1, 6, 1, 0.0),
    ):
        ask, here = half(channels, size, count, shift)
        found.append(Case(name, ask, here, _directions(count, channels, size, count), 0.2))
    start = 0.5 + 0.9 / 27**0.5 * torch.ones(3, 3, 3)
    double = half(1, 5, 3, 0.1)
    return [
        *found,
        Case("a round border", _outside, start, _directions(7, 3, 3, 9), 0.3),
        Case("float64", double[0], double[1].double(), _directions(6, 1, 5, 8).double(), 0.1),
    ]


PHI = "φ is +1 where the probe fools and −1 where it does not: 2 * fooled(…).to(u) − 1"
BASE = "take the mean φ̄ off each φ, over all probes; where all φ agree, take nothing off"
NORMAL_WRONG = [
    *(Wrong({"base": base}, seen, cause, BASE) for base, seen, cause in [
        (lambda phi: 0.0, "the mean of the answers was not taken off", "φ̄ is missing"),
        (lambda phi: phi.mean(), "where all probes agree, the normal is zero",
         "φ − φ̄ is 0 there, and the case that all agree is missing"),
        (lambda phi: 0.0 if (phi > 0).all() else phi.mean(), "where no probe fools, the normal is zero",
         "only the case that all of them fool was told apart"),
        (lambda phi: 0.0 if (phi < 0).all() else phi.mean(), "where all probes fool, the normal is zero",
         "only the case that none of them fools was told apart"),
        (lambda phi: -phi.mean() if (phi != phi[0]).any() else 0.0, "the mean of the answers was added",
         "φ + φ̄ for φ − φ̄"),
        (lambda phi: phi.median() if (phi != phi[0]).any() else 0.0, "the median of the answers was taken off",
         "median() for mean()"),
    ]),
    *(Wrong({"sign": sign}, seen, cause, PHI) for sign, seen, cause in [
        (lambda won: won, "the answers count as 1 and 0", "True and False were used as numbers"),
        (lambda won: 1 - 2 * won, "the normal points back to where nothing fools", "fooled counts as −1"),
    ]),
    *(Wrong({"step": step}, seen, cause, "ask about here + reach · u") for step, seen, cause in [
        (lambda u, reach: u, "the probes are here + u", "reach is missing"),
        (lambda u, reach: -reach * u, "the probes are here − reach · u", "a minus sign"),
        (lambda u, reach: reach * u.sign(), "the probes are here + reach · sign(u)", "the signs were taken"),
        (lambda u, reach: reach * u / wide(u.flatten(1).norm(dim=1)), "the probes have length reach",
         "u was brought to length 1; it comes as it is to be used"),
    ]),
    *(Wrong({"join": join}, seen, cause, "the mean of (φ − φ̄) u over all probes") for join, seen, cause in [
        (lambda phi, u: (wide(phi) * u).sum(0), "it is too large by the number of probes", "a sum for a mean"),
        (lambda phi, u: u[phi > 0].mean(0) if (phi > 0).any() else 0 * u[0],
         "only the directions that fool count", "what does not fool was left out; it says as much"),
        (lambda phi, u: u.mean(0), "the answers play no part", "the mean of the directions alone"),
        (lambda phi, u: u[phi.argmax()], "it is the first direction that fools", "argmax() for a mean"),
    ]),
    Wrong(lambda fooled, *given: normal(lambda z: fooled(z.clamp(0, 1)), *given), "the probes were clipped to [0, 1]",
          "clamp before asking; worth doing against a service, but not in the formula", "ask about here + reach · u"),
    Wrong(_two_means, "it is the mean of the directions that fool, less the mean of the others",
          "the right direction where both kinds occur, of another length; NaN where all agree",
          "the mean of (φ − φ̄) u over all probes"),
    Wrong(lambda *given: torch.where(_two_means(*given).isnan(), normal(*given), _two_means(*given)),
          "it is the mean of the directions that fool, less the mean of the others, where both kinds occur",
          "the right direction, of another length", "the mean of (φ − φ̄) u over all probes"),
    *(Wrong({"end": end}, seen, cause, "return the mean itself") for end, seen, cause in [
        (lambda v, here: v / v.norm(), "it has length 1", "it was divided by its norm, which the walk does later"),
        (lambda v, here: v.sign(), "it holds -1, 0 and 1 only", "its sign was taken"),
        (lambda v, here: here + v, "it is the point plus the normal", "a step was made"),
    ]),
]  # fmt: skip

label_normal = Formula(
    name="label_normal",
    chapter=12,
    title="A normal from labels",
    points=3,
    right=normal,
    cases=_borders,
    same=properties.to_scale,
    verified="the formula's normal, on flat and round borders, also where all probes agree",
    wrong=NORMAL_WRONG,
)


# --- my_attack(ask, x, y, within): under a limit ------------------------------------------------------------

QUESTIONS, SHARE = 100, 0.75


class _Service:
    """Probabilities of two digits; counts the pictures that it was asked about."""

    def __init__(self, model: nn.Module):
        self.model, self.asked = model, 0

    def __call__(self, images: Tensor) -> Tensor:
        self.asked += len(images)
        with torch.no_grad():
            return self.model(images).softmax(1).round(decimals=2)


def _under_limit(
    exercise: Explore, attack: Callable, notes: list[str], model: nn.Module, x: Tensor, y: Tensor, within: Ball
) -> str:
    """``attack(ask, x, y, within)`` fools enough for few enough questions a picture, on the average."""
    with specimens.counting(model) as (victim, passes):
        service = _Service(victim)
        result = exercise.attempt(attack, (service, x.clone(), y.clone(), within), notes)
        asked, behind = service.asked, passes() - service.asked
    result = properties.images(result, x)
    properties.inside_ball(within.size(result - x), within.eps, within.symbol)
    if behind > 0:
        raise Mistake(
            f"{behind} pictures went through the victim without being asked about",
            "the notebook's own `model` was called, whose weights the attacker does not have",
            "use `ask`, and networks of your own",
        )
    fooled = properties.misread(model, result, y).float().mean().item()
    each = asked / len(x)
    if each > QUESTIONS:
        raise Mistake(
            f"{fooled:.0%} are misread, but for {each:.0f} questions a picture; at most {QUESTIONS} are allowed",
            mend="count what `ask` is given: every picture in a batch is a question",
        )
    if fooled < SHARE:
        raise Mistake(
            f"{fooled:.0%} are misread, for {each:.0f} questions a picture; {SHARE:.0%} are asked",
            mend="bring something along: a network of your own tells where to begin",
        )
    return f"{fooled:.0%} misread, for {each:.0f} questions a picture"


def _served() -> tuple[nn.Module, Tensor, Tensor, Ball]:
    from advlib import load_images, load_model

    signs = load_images("signs", "test", n=32)
    return load_model("signs-midfit-a"), signs.x, signs.y, Linf(8 / 255)


def _substituted(level: float) -> Callable:
    def attack(ask: Ask, x: Tensor, y: Tensor, within: Ball) -> Tensor:
        from advlib import attacks, load_model

        own = load_model("signs-overfit-a")
        return attacks.pgd(own, x, y, Linf(level / 255), steps=10, keep="last", early_stop=False)

    return attack


def _searched(questions: int) -> Callable:
    def attack(ask: Ask, x: Tensor, y: Tensor, within: Ball) -> Tensor:
        from advlib import attacks

        return attacks.square(ask, x, y, within, queries=questions)

    return attack


def _behind_its_back(model: nn.Module, x: Tensor, y: Tensor, within: Ball) -> Callable:
    from advlib import attacks

    return lambda ask, *_: attacks.pgd(model, x, y, within, steps=5)


UNDER_LIMIT_WRONG = [
    Wrong(lambda *given: lambda ask, x, y, within: x, "are misread, for 0 questions a picture; 75% are asked"),
    Wrong(lambda *given: _searched(2), "questions a picture; 75% are asked"),
    Wrong(lambda *given: lambda ask, x, y, within: (ask(x.repeat(101, 1, 1, 1)), x)[1],
          "but for 101 questions a picture; at most 100"),
    Wrong(lambda *given: _substituted(16), "the L∞ size of a perturbation is 0.06"),
    Wrong(_behind_its_back, "went through the victim without being asked about"),
    Wrong(lambda *given: lambda ask, x, y, within: ask(x), "the result has shape (32, 16)"),
    Wrong(lambda *given: lambda ask, x, y, within: x + 1, "pixels reach from"),
    Wrong(lambda *given: lambda ask, x, y, within: x * torch.nan, "values are NaN or infinite"),
]  # fmt: skip

under_limit = Explore(
    name="under_limit",
    chapter=12,
    title="Explore: under a limit",
    points=3,
    live=True,
    measured=_under_limit,
    allowed=["advlib"],
    seconds=120,
    example=_served,
    right=lambda *given: _substituted(8),
    wrong=UNDER_LIMIT_WRONG,
)
