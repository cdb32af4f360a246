"""The exercises of chapter 20, certified robustness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from scipy.special import betaincinv, ndtri
from torch import Tensor, nn

from advlib.defenses.certificates.promises import certified
from advlib.evaluate import predict
from advlib.exercises import properties
from advlib.exercises.advice import first_line
from advlib.exercises.frame import Case, Explore, Formula, Mistake, Wrong
from advlib.norms import Linf


def _as_tuple(args: tuple, result: Any) -> Any:
    """A list of results counts as the tuple that was asked for."""
    return tuple(result) if isinstance(result, list) else result


def _parts(*names: str) -> Callable[[Case, Any, Any], None]:
    """Of a tuple of results: as many as asked, and each in turn like its right one; names the first that is not."""

    def prove(case: Case, result: Any, right: tuple) -> None:
        if not isinstance(result, tuple) or len(result) != len(right):
            raise Mistake(f"got {properties.described(result)}, expected {len(names)} results: {', '.join(names)}")
        for name, one, other in zip(names, result, right, strict=True):
            if properties.alike(one, other):
                continue
            where = Case(f"{case.name}, {name}")
            properties.like(where, one, other)
            if isinstance(one, Tensor):
                worst = (one - other).abs().max().item()
                raise Mistake(f"on {where.name} is wrong by up to {worst:.3g}")
            raise Mistake(f"on {where.name} is {properties.number(one, name):.4g}, expected {other:.4g}")

    return prove


# --- my_interval(W, b, lower, upper) ------------------------------------------------------------------------


def interval(
    W: Tensor,
    b: Tensor,
    lower: Tensor,
    upper: Tensor,
    *,
    plus: Callable[[Tensor], Tensor] = lambda W: W.clamp_min(0),
    minus: Callable[[Tensor], Tensor] = lambda W: W.clamp_max(0),
    shift: Callable[[Tensor], Tensor | float] = lambda b: b,
    end: Callable[[Tensor, Tensor], Any] = lambda low, high: (low, high),
) -> Any:
    """The ends of Wx + b: the positive weights take the same end of the input, the negative ones the other."""
    up, down, b = plus(W).T, minus(W).T, shift(b)
    return end(lower @ up + upper @ down + b, upper @ up + lower @ down + b)


def _boxes() -> list[Case]:
    def case(name: str, n: int, inputs: int, outputs: int, dtype: torch.dtype = torch.float32) -> Case:
        generator = torch.Generator().manual_seed(inputs + outputs)
        W, b = torch.randn(outputs, inputs, generator=generator), torch.randn(outputs, generator=generator)
        lower = torch.randn(n, inputs, generator=generator)
        upper = lower + torch.rand(n, inputs, generator=generator)
        return Case(name, *(tensor.to(dtype) for tensor in (W, b, lower, upper)))

    hand = [torch.tensor(rows) for rows in ([[1.0, -2.0]], [0.5], [[0.4, 0.4]], [[0.6, 0.6]])]
    point = case("a box without width", 2, 5, 3)
    point.args = (*point.args[:3], point.args[2].clone())
    square = case("as many outputs as inputs", 3, 4, 4)
    return [Case("the example of the text", *hand), square, case("a batch of 6", 6, 7, 3), point,
            case("float64", 2, 9, 5, torch.float64)]  # fmt: skip


SPLIT = "W.clamp_min(0) for the positive part, W.clamp_max(0) for the negative, which takes the other end of the input"


def _around(half: Callable) -> Callable:
    """Ends from the middle and a wrong half width."""

    def ends(W: Tensor, b: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        middle, width = ((upper + lower) / 2) @ W.T + b, half(W, b, (upper - lower) / 2)
        return middle - width, middle + width

    return ends


def _sorted(W: Tensor, b: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    one, other = lower @ W.T + b, upper @ W.T + b
    return torch.minimum(one, other), torch.maximum(one, other)


INTERVAL_WRONG = [
    Wrong(lambda W, b, lower, upper: (lower @ W.T + b, upper @ W.T + b), "each end is W times one end of the input",
          "the weights were not split, or both parts took one end: a negative weight turns the order round", SPLIT),
    Wrong(_sorted, "the ends are W times the ends of the input, sorted",
          "the inputs do not go to their low ends all together", SPLIT),
    Wrong({"minus": torch.zeros_like}, "the negative weights play no part", "only the positive part was used",
          "add the end of the input that W⁻ wants"),
    Wrong(lambda W, b, lower, upper: interval(W.clone(), b, lower, upper, plus=lambda W: W.clamp_(min=0),
          minus=lambda W: W.clamp_(max=0)), "neither the positive nor the negative weights play a part",
          "clamp_, with its underscore, writes into W: after both nothing is left", "clamp_min(0), clamp_max(0)"),
    Wrong({"plus": torch.zeros_like}, "the positive weights play no part", "only the negative part was used",
          "add the end of the input that W⁺ wants"),
    Wrong({"minus": lambda W: (-W).clamp_min(0)}, "negative weights count as positive ones",
          "max(−W, 0) was taken for W⁻", "W⁻ = min(W, 0) keeps its sign: W.clamp_max(0)"),
    Wrong({"plus": lambda W: W}, "the negative weights count twice", "W itself was taken for W⁺", SPLIT),
    Wrong({"minus": lambda W: W}, "the positive weights count twice", "W itself was taken for W⁻", SPLIT),
    Wrong({"plus": lambda W: W.clamp(0, 1), "minus": lambda W: W.clamp(-1, 0)},
          "weights beyond 1 and −1 count as 1 and −1", "clamp(0, 1) and clamp(-1, 0) for the two parts", SPLIT),
    Wrong(lambda W, b, *ends: tuple(interval(W, c, *ends)[i] for i, c in enumerate((b.clamp_max(0), b.clamp_min(0)))),
          "a bias above 0 is missing below, and one below 0 above", "b was split by its sign", "add b to both ends"),
    Wrong({"shift": lambda b: 0.0}, "the bias is missing", "b was not added", "add b to both ends"),
    Wrong({"shift": lambda b: 2 * b}, "the bias counts twice", "b was added to both parts", "add b once to each end"),
    Wrong({"end": lambda low, high: (high, low)}, "the ends are exchanged",
          "the highest stands first, or l and u, or W⁺ and W⁻, are exchanged", "return (lowest, highest)"),
    Wrong({"end": lambda low, high: (low.relu(), high.relu())}, "no end is below zero", "a ReLU was applied",
          "the ends of W x + b, before any ReLU"),
    Wrong({"end": lambda low, high: (low.clamp(0, 1), high.clamp(0, 1))}, "the ends were clipped to [0, 1]",
          "they were taken for pixels", "the sums of a layer have no such limits"),
    Wrong({"end": lambda low, high: low}, "only the lowest is returned", "the second result is missing",
          "return lowest, highest"),
    Wrong({"end": lambda low, high: ((low + high) / 2, (high - low) / 2)}, "these are middle and half width",
          "the ends were not formed", "middle − half, middle + half"),
    Wrong({"end": lambda low, high: (low.float(), high.float())}, "in float64 the ends are float32",
          "a conversion in the code", "compute in the type of what is passed"),
    Wrong({"end": lambda low, high: (low.amin(0).expand_as(low), high.amax(0).expand_as(high))},
          "all images share their ends", "the extremes were taken over the batch", "each image has ends of its own"),
    Wrong(_around(lambda W, b, r: 2 * r @ W.abs().T), "the range is twice as wide as it is",
          "u − l was taken for half the width", "r = (u − l) / 2"),
    Wrong(_around(lambda W, b, r: r @ W.abs().T + b), "the bias went into the half width",
          "the layer itself was called on r", "the half width is |W| r, without b"),
]  # fmt: skip

interval_layer = Formula(
    name="interval_layer",
    chapter=20,
    title="An interval through one layer",
    points=2,
    right=interval,
    cases=_boxes,
    outcome=_as_tuple,
    kind=_parts("the lowest", "the highest"),
    verified="the ends of five layers, with weights of both signs, also for boxes without width",
    wrong=INTERVAL_WRONG,
)


# --- my_relu_lines(lower, upper) ------------------------------------------------------------------------------


def lines(
    lower: Tensor,
    upper: Tensor,
    *,
    alpha: Callable[[Tensor, Tensor], Tensor] = lambda low, up: (up > -low).to(low),
    chord: Callable[[Tensor, Tensor], Tensor] = lambda low, up: up / (up - low),
    offset: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda slope, low, up: -slope * low,
    below: Callable[[Tensor], Tensor] = lambda low: (low >= 0).to(low),
    above: Callable[[Tensor], Tensor] = lambda low: (low >= 0).to(low),
    rest: Callable[[Tensor, Tensor], Tensor] = lambda low, up: torch.zeros_like(low),
    end: Callable[..., Any] = lambda below, above, offset: (below, above, offset),
) -> Any:
    """Slope below, slope above, offset above; where the sign is known, both lines are the ReLU."""
    crossing = (lower < 0) & (upper > 0)
    slope = chord(lower, upper)
    return end(
        torch.where(crossing, alpha(lower, upper), below(lower)),
        torch.where(crossing, slope, above(lower)),
        torch.where(crossing, offset(slope, lower, upper), rest(lower, upper)),
    )


def _ranges() -> list[Case]:
    generator = torch.Generator().manual_seed(2)
    ends = 2 * torch.randn(2, 4, 9, generator=generator)
    some = torch.tensor([[-1.0, 2.0], [-2.0, 1.0], [1.0, 3.0], [-3.0, -1.0], [-1.5, 1.5]])
    edge = torch.tensor([[0.0, 0.0], [0.0, 2.0], [-2.0, 0.0], [0.7, 0.7], [-0.7, -0.7]])
    return [
        Case("five ranges", *some.unbind(1)),
        Case("a layer of 9 units", ends.amin(0), ends.amax(0)),
        Case("ranges that end at 0 or have no width", *edge.unbind(1)),
        Case("float64", ends.amin(0).double(), ends.amax(0).double()),
    ]


def _unguarded(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    slope = upper.relu() / (upper.relu() - lower.clamp_max(0))
    return ((upper > -lower) & (upper > 0)).to(lower), slope, -slope * lower.clamp_max(0)


def _through_relus(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    slope = (upper.relu() - lower.relu()) / (upper - lower)
    return (upper > -lower).to(lower), slope, upper.relu() - slope * upper


def _chord_everywhere(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    slope = upper / (upper - lower)
    return (upper > -lower).to(lower), slope, -slope * lower


def _chord_above(lower: Tensor, upper: Tensor, tiny: float) -> tuple[Tensor, ...]:
    slope = upper / (upper - lower).clamp_min(tiny)
    return tuple(torch.where(upper > 0, one, 0) for one in ((upper > -lower).to(lower), slope, -slope * lower))


AREA = "1 where u > −l, else 0: the smaller area"
LINES_WRONG = [
    Wrong({"alpha": lambda low, up: torch.zeros_like(low)}, "the line below is 0 wherever the sign is open",
          "λ was left at 0", AREA),
    Wrong({"alpha": lambda low, up: torch.ones_like(low)}, "the line below is v wherever the sign is open",
          "λ was left at 1", AREA),
    Wrong({"alpha": lambda low, up: up / (up - low)}, "the line below is parallel to the chord",
          "λ = u / (u − l) is right, too, but not what is asked", AREA),
    Wrong({"alpha": lambda low, up: (up < -low).to(low)}, "λ is 1 where it should be 0, and 0 where 1",
          "the comparison is turned round", AREA),
    Wrong({"alpha": lambda low, up: (up >= -low).to(low)}, "where u = −l, λ is 1", "≥ instead of >",
          "at u = −l both are as good; asked is 0"),
    Wrong({"chord": lambda low, up: up / (up + low)}, "the chord has the slope u / (u + l)", "a sign is wrong",
          "from (l, 0) to (u, u): the slope is u / (u − l)"),
    Wrong({"chord": lambda low, up: torch.ones_like(low)}, "the line above has the slope 1",
          "v itself was shifted up", "the chord is lower: its slope is u / (u − l)"),
    Wrong({"chord": lambda low, up: -low / (up - low)}, "the chord has the slope −l / (u − l)", "l and u are exchanged",
          "it rises by u over a width of u − l"),
    Wrong({"offset": lambda slope, low, up: slope * low}, "the line above has the offset s l",
          "the sign of the offset is wrong", "it is 0 at v = l: the offset is −s l"),
    Wrong({"offset": lambda slope, low, up: -low}, "the offset is −l", "the slope is missing in it",
          "it is 0 at v = l: the offset is −s l"),
    Wrong({"offset": lambda slope, low, up: -slope * up}, "the line above has the offset −s u", "u for l",
          "it is 0 at v = l: the offset is −s l"),
    Wrong({"offset": lambda slope, low, up: up}, "the offset is u", "the height at v = u was taken for that at 0",
          "it is 0 at v = l: the offset is −s l"),
    Wrong({"offset": lambda slope, low, up: torch.zeros_like(low)}, "the line above goes through 0",
          "the offset is missing", "a line through 0 with this slope cuts the ReLU off: add −s l"),
    Wrong({"below": torch.zeros_like}, "the line below is 0 where l ≥ 0",
          "entries that are never negative were forgotten", "there both lines are v"),
    Wrong({"above": torch.zeros_like}, "the line above is 0 where l ≥ 0",
          "entries that are never negative were forgotten", "there both lines are v"),
    Wrong({"below": torch.ones_like, "above": torch.ones_like}, "where u ≤ 0, both lines are v",
          "entries that are always negative were forgotten", "there the ReLU is 0, and so are both lines"),
    Wrong({"below": lambda low: (low > 0).to(low), "above": lambda low: (low > 0).to(low)},
          "where l = 0, both lines are 0", "l > 0 instead of l ≥ 0", "from 0 upwards the ReLU is v"),
    Wrong({"rest": lambda low, up: -low * (low >= 0)}, "where l ≥ 0, the line above has an offset",
          "−s l was taken everywhere", "there the line is v: the offset is 0"),
    Wrong(_chord_everywhere, "the chord's formula was used for all entries", "no case is told apart",
          "where the sign is known, both lines are v or 0: torch.where"),
    Wrong(_through_relus, "where l = u, the line above is NaN, and where both are 0, λ is 0",
          "no case is told apart, so that 0 is divided by 0",
          "torch.where: where l ≥ 0 both lines are v, where u ≤ 0 they are 0"),
    Wrong(lambda low, up: tuple(one + off for one, off in zip(lines(low, up), (0, *2 * [0 * up / (up - low)]))),
          "where l = u, slope above and offset are NaN", "0 was divided by 0, and 0 times NaN is NaN, not 0",
          "a divisor that is never 0: torch.where(open_sign, upper - lower, 1)"),
    *(Wrong(lambda low, up, tiny=tiny: _chord_above(low, up, tiny), "where l ≥ 0, the line above is the chord" + more,
            f"only u ≤ 0 was told apart, {how}", "there both lines are v: slope 1, offset 0")
      for tiny, more, how in ((0.0, "", "and nothing else"), (1e-12, ", steep", "and u − l kept above 1e-12"))),
    Wrong(_unguarded, "where l = u, there are NaN, or where l = u = 0", "0 was divided by 0",
          "a divisor that is never 0: torch.where(open_sign, upper - lower, 1)"),
    Wrong({"end": lambda below, above, offset: (above, below, offset)}, "the two slopes are exchanged",
          "the line above stands first", "slope below, slope above, offset"),
    Wrong({"end": lambda below, above, offset: (below, above)}, "the offset is not returned",
          "two results instead of three", "return below, above, offset"),
    Wrong({"end": lambda below, above, offset: (below.bool(), above, offset)}, "the slope below is True or False",
          "a comparison was returned", "turn it into numbers: .to(lower)"),
]  # fmt: skip

relu_lines = Formula(
    name="relu_lines",
    chapter=20,
    title="Two lines around a ReLU",
    points=3,
    right=lines,
    cases=_ranges,
    outcome=_as_tuple,
    kind=_parts("the slope below", "the slope above", "the offset above"),
    verified="the lines of ranges of all kinds, also where one ends at 0 or has no width",
    wrong=LINES_WRONG,
)


# --- my_certificate(first, second, sigma, alpha) ------------------------------------------------------------


def _clopper_pearson(votes: int, n: int, alpha: float) -> float:
    return float(betaincinv(votes, n - votes + 1, alpha)) if votes else 0.0


def certificate(
    first: Tensor,
    second: Tensor,
    sigma: float,
    alpha: float,
    *,
    choose: Callable[[Tensor, Tensor], Tensor] = lambda first, second: first,
    count: Callable[[Tensor, Tensor], Tensor] = lambda first, second: second,
    level: Callable[[float], float] = lambda alpha: alpha,
    bound: Callable[[int, int, float], float] = _clopper_pearson,
    far: Callable[[float, float], float] = lambda p, sigma: sigma * float(ndtri(p)),
    half: float = 0.5,
    silent: Callable[[int], tuple] = lambda label: (-1, 0.0),
) -> tuple:
    """Choose by the first vote, bound p by the second, abstain at ½."""
    label, counts = int(choose(first, second).argmax()), count(first, second)
    p = bound(int(counts[label]), int(counts.sum()), level(alpha))
    return silent(label) if p <= half else (label, far(p, sigma))


def _votes() -> list[Case]:
    def case(name: str, first: list[int], second: list[int], sigma: float, alpha: float = 0.001) -> Case:
        return Case(name, torch.tensor(first), torch.tensor(second), sigma, alpha)

    return [
        case("a clear vote", [5, 90, 5], [40, 930, 30], 0.25),
        case("a unanimous vote", [100, 0], [1000, 0], 0.5),
        case("a vote too close to tell", [52, 48], [515, 485], 1.0),
        case("two votes with different winners", [40, 60, 0], [700, 300, 0], 0.25),
        case("a first vote larger than the second", [900, 100], [30, 70], 0.5, 0.05),
        case("a class without a second vote", [0, 3, 0], [50, 0, 50], 0.1),
        case("α = 0.05 and 100 votes", [8, 1, 1], [64, 20, 16], 2.0, 0.05),
        case("a bound just above one half", [60, 40], [556, 444], 1.0),
    ]


PROVE = "the bound is a quantile: beta.ppf(alpha, votes, n - votes + 1)"
TWO = "`first` names the class, `second` gives votes and n"
VOTES_WRONG = [
    Wrong({"choose": lambda first, second: second}, "the second vote also named the class",
          "second.argmax() instead of first.argmax()", TWO),
    Wrong({"choose": lambda first, second: first + second}, "both votes together named the class",
          "the counts were added up", TWO),
    Wrong({"count": lambda first, second: first + second}, "the first vote was counted again",
          "the counts were added up", TWO),
    Wrong({"count": lambda first, second: first}, "p was bounded by the first vote",
          "the second vote is not used", TWO),
    Wrong({"bound": lambda votes, n, alpha: votes / n}, "p is the share of the votes",
          "the estimate was taken for a bound", PROVE),
    Wrong({"level": lambda alpha: alpha / 2}, "the bound is too low", "α / 2: that is for an interval of two sides",
          "one side is asked: α itself"),
    Wrong({"level": lambda alpha: 1 - alpha}, "the bound lies above the share of the votes",
          "1 − α instead of α", "p is *at least* the α quantile"),
    Wrong({"bound": lambda votes, n, alpha: float(betaincinv(votes + 1, n - votes, 1 - alpha)) if votes < n else 1.0},
          "p is bounded from above", "the upper end of Clopper & Pearson's interval", PROVE),
    Wrong({"bound": lambda votes, n, alpha: float(betaincinv(votes + 1, n - votes + 1, alpha))},
          "the bound is a little off", "Beta(votes + 1, …): a Bayesian bound", PROVE),
    *(Wrong({"bound": lambda votes, n, alpha, sure=sure: float(betaincinv(votes, n - votes, alpha)) if 0 < votes < n
             else (votes > 0) * sure(alpha, n)}, "the bound is a little too high",
            "Beta(votes, n − votes): the + 1 is missing" + more, PROVE)
      for sure, more in [(lambda alpha, n: alpha ** (1 / n), ""),
                         (lambda alpha, n: 0.0, ", so that nothing is proved where all agree")]),
    *(Wrong({"count": lambda first, second: torch.cat([second, (first.sum() - second.sum())[None]]), "bound": bound},
            "n is the number of the first vote", "n = first.sum()" + more, TWO) for bound, more in [
        (lambda votes, n, alpha: _clopper_pearson(votes, max(votes, n), alpha), ""),
        (lambda votes, n, alpha: _clopper_pearson(votes, n, alpha) if votes <= n else 0.0, ": votes can be more"),
    ]),
    Wrong({"far": lambda p, sigma: float(ndtri(p))}, "the radius does not depend on σ", "σ is missing", "σ Φ⁻¹(p)"),
    Wrong({"far": lambda p, sigma: 2 * sigma * float(ndtri(p))}, "the radius is twice as long",
          "Φ⁻¹(p) − Φ⁻¹(1 − p) without the half", "σ Φ⁻¹(p)"),
    Wrong({"far": lambda p, sigma: sigma * p}, "the radius is σ p", "Φ⁻¹ is missing", "norm.ppf turns p into Φ⁻¹(p)"),
    Wrong({"far": lambda p, sigma: sigma**2 * float(ndtri(p))}, "the radius is σ² Φ⁻¹(p)",
          "the variance was taken for the standard deviation", "σ Φ⁻¹(p)"),
    Wrong({"half": -1.0}, "it never abstains, and radii are negative",
          "p ≤ ½ is not asked for", "return (-1, 0.0) where p <= 0.5"),
    Wrong({"half": 0.6}, "it abstains although the bound is above one half", "a bar other than ½", "p > 0.5 is enough"),
    Wrong({"silent": lambda label: (label, 0.0)}, "where it should abstain, it still names a class",
          "only the radius became 0", "where p may be ½ or less, the class is -1, too"),
    Wrong({"silent": lambda label: (-1, -1.0)}, "where it abstains, the radius is -1", "", "return (-1, 0.0)"),
    Wrong({"silent": lambda label: None}, "where it abstains, nothing is returned", "", "return (-1, 0.0)"),
    Wrong({"bound": lambda votes, n, alpha: float(betaincinv(votes, n - votes + 1, alpha)) if votes else float("nan")},
          "without a single vote, the radius is NaN", "the beta distribution is not defined for 0 votes",
          "p is at least 0 there"),
]  # fmt: skip

vote_certificate = Formula(
    name="vote_certificate",
    chapter=20,
    title="From votes to an answer",
    points=2,
    right=certificate,
    cases=_votes,
    outcome=_as_tuple,
    kind=_parts("the class", "the radius"),
    verified="class and radius of eight votes: clear, unanimous, close, contradicting, and empty",
    wrong=VOTES_WRONG,
)


# --- a network that boxes certify -----------------------------------------------------------------------------


def _proved(
    exercise: Explore, model: Any, notes: list[str], x: Tensor, y: Tensor, eps: float, *, share: float = 0.55
) -> str:
    """A network of which interval bounds certify a ``share`` of the images at ``eps``."""
    if not isinstance(model, nn.Module):
        mend = "pass the trained network itself"
        raise Mistake(f"got {properties.described(model)}, expected the network", mend=mend)
    try:
        safe = certified(model, x, y, Linf(eps), method="interval").float().mean().item()
        reading = predict(model, x)[0]
    except (ValueError, TypeError, RuntimeError) as error:
        mend = "nn.Sequential of Flatten, linear layers and ReLUs, as mlp makes it"
        raise Mistake(f"boxes cannot go through it: {first_line(error)}", mend=mend) from None
    right = (reading == y).float().mean().item()
    if safe < share:
        seen = f"boxes certify {safe:.1%} of the images at ε = {eps:g}; {share:.0%} are asked"
        if len(reading.unique()) == 1:
            cause = "it gives every image the same answer"
            raise Mistake(seen, cause, "let ε grow more slowly, or train for a smaller one")
        mend = "more of the loss on the bound (a smaller kappa), more steps"
        raise Mistake(f"{seen}. It reads {right:.1%} of the clean ones", mend=mend)
    return f"{safe:.1%} certified at ε = {eps:g} by boxes, {right:.1%} of the clean images read rightly"


def _levels() -> tuple[Tensor, Tensor, float]:
    """Pictures of three shades, which an ε below 0.15 cannot exchange."""
    y = torch.arange(42) % 3
    noise = torch.rand(42, 1, 12, 8, generator=torch.Generator().manual_seed(0))
    return 0.2 + 0.3 * y[:, None, None, None] + 0.02 * noise, y, 0.1


def _nearest(sharp: float = 1.0, detail: float = 0.0) -> nn.Module:
    """Reads the nearest of three shades: z_k = t_k m − t_k²/2, m the mean, with ``detail`` that cancels in it."""
    shades = torch.tensor([0.21, 0.51, 0.81])
    layer = nn.Linear(96, 3)
    stripes = torch.tensor([1.0, -1.0]).repeat(48)
    with torch.no_grad():
        layer.weight.copy_(sharp * shades[:, None] * (1 + detail * stripes) / 96)
        layer.bias.copy_(-sharp * shades**2 / 2)
    return nn.Sequential(nn.Flatten(), layer)


def _always_first() -> nn.Module:
    model = _nearest(sharp=0.0)
    model[1].bias.data[0] = 2.0
    return model


PROVABLE_WRONG = [
    Wrong(lambda *given: [0.3, 0.1], "got a list of 2, expected the network"),
    Wrong(lambda *given: lambda x: x, "expected the network"),
    Wrong(lambda *given: nn.Sequential(*_nearest(), nn.Sigmoid(), nn.Linear(3, 3)), "boxes cannot go through it"),
    Wrong(lambda *given: nn.Sequential(nn.Flatten(), nn.Linear(96, 3), nn.Softmax(1)), "through which no bounds"),
    Wrong(lambda *given: _nearest(sharp=float("nan")), "NaN"),
    Wrong(lambda *given: _nearest(detail=9.0), "boxes certify 0.0% of the images at ε = 0.1; 55% are asked. It reads"),
    Wrong(lambda *given: _always_first(), "it gives every image the same answer"),
]  # fmt: skip

provable = Explore(
    name="provable",
    chapter=20,
    title="Explore: prove more",
    points=3,
    live=True,
    measured=_proved,
    example=_levels,
    right=lambda *given: _nearest(),
    wrong=PROVABLE_WRONG,
)
