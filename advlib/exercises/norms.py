"""The exercises of chapter 4, norms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib.ball import wide
from advlib.evaluate import predict
from advlib.exercises import own, properties, specimens
from advlib.exercises.frame import Case, Explore, Formula, Mistake, Number, Wrong, instead_of
from advlib.norms import L1, L2, Ball, Linf

# --- sizes by hand: by default of (0.1, 0, −0.4), (0, 0, 0), (0.2, 0.2, 0), (0, 0, 0) -------------------------


def _values(pixels: Sequence[own.Pixel]) -> list[float]:
    return [value for pixel in pixels for value in pixel]


def _l1(pixels: Sequence[own.Pixel]) -> float:
    return sum(map(abs, _values(pixels)))


def _squares(pixels: Sequence[own.Pixel]) -> float:
    return sum(value**2 for value in _values(pixels))


def _of_the_darkest(size: Callable[[Sequence[own.Pixel]], float]) -> Callable[[Sequence[own.Pixel]], float]:
    """Of the pixel with the negative change alone."""
    return lambda pixels: size([min(pixels, key=min)])


def _sizes(pixels: Sequence[own.Pixel]) -> dict[str, float]:
    return {
        "L0": sum(map(any, pixels)),
        "L1": _l1(pixels),
        "L2": _squares(pixels) ** 0.5,
        "L∞": max(map(abs, _values(pixels))),
    }


NORMS_BY_HAND_WRONG = [Wrong({name: value}, *words) for name, value, *words in [
    ("L0", lambda p: sum(map(bool, _values(p))), "values were counted, not pixels", "",
     "a pixel counts once, however many of its colours change"),
    ("L0", lambda p: 12, "all values were counted", "", "count the pixels that are not (0, 0, 0)"),
    ("L0", lambda p: _values(p).count(0), "that is the number of zeros", "",
     "count what changes: the pixels that are not (0, 0, 0)"),
    ("L0", lambda p: sum(map(any, p)) / len(p), "that is a share", "", "count the pixels that change"),
    ("L0", _l1, "that is the sum of the absolute values, L1's formula", "", "count instead of adding up"),
    ("L1", lambda p: sum(_values(p)), "the signs were kept, so that the negative change takes away", "",
     "add up absolute values"),
    ("L1", lambda p: _l1(p) / 12, "that is the mean of the twelve values", "", "a sum, not a mean"),
    ("L1", lambda p: _l1(p) / 4, "that is the mean of the four pixels", "", "a sum, not a mean"),
    ("L1", _squares, "that is the sum of the squares", "", "add up the absolute values as they are"),
    ("L1", lambda p: sum(set(map(abs, _values(p)))), "a value that comes twice was added once", "",
     "every value counts, equal ones too"),
    ("L1", _of_the_darkest(_l1), "that is one pixel alone", "", "add up all pixels"),
    ("L2", _squares, "the root is missing: a sum of squares is no length", "", "take the root of the sum"),
    ("L2", _l1, "the root of each square alone is its absolute value", "", "add the squares up, then take one root"),
    ("L2", lambda p: sum(max(value, 0) ** 2 for value in _values(p)) ** 0.5,
     "the square of the negative change is missing", "", "the square of a negative number is positive"),
    ("L2", lambda p: _squares(p) / 2, "the sum of the squares was halved", "",
     "which number times itself is the sum?"),
    ("L2", lambda p: _squares(p) ** 2, "the sum of the squares was squared again", "",
     "which number times itself is the sum?"),
    ("L2", _of_the_darkest(lambda p: _squares(p) ** 0.5), "that is the length of one pixel alone", "",
     "add up the squares of all pixels"),
    ("L2", lambda p: sum(_squares([pixel]) ** 0.5 for pixel in p), "one root was taken for each pixel", "",
     "add all squares up, then take one root"),
    ("L2", lambda p: _squares(p) / 12, "that is the mean of the squares", "", "a sum of squares, and its root"),
    ("L2", lambda p: (_squares(p) / 12) ** 0.5, "that is the root of the mean square", "",
     "a sum of squares, and its root"),
    ("L∞", lambda p: max(_values(p)), "that is the largest value, not the largest absolute value", "",
     "a change of −0.4 is one of 0.4"),
    ("L∞", lambda p: min(_values(p)), "a size is never negative", "", "take the absolute value"),
    ("L∞", lambda p: min(abs(value) for value in _values(p) if value), "that is the smallest change", "",
     "take the largest absolute value"),
    ("L∞", lambda p: max(_l1([pixel]) for pixel in p), "that is the largest sum of a pixel", "",
     "each value by itself: take the largest absolute value"),
    ("L∞", lambda p: max(_values(p)) - min(_values(p)), "that is the span from the smallest to the largest value", "",
     "measure from zero: the largest absolute value"),
    ("L∞", lambda p: sum(map(any, p)), "that is a count", "", "take the largest absolute value"),
]]  # fmt: skip

norms_by_hand = Number(
    name="norms_by_hand",
    chapter=4,
    title="Norms by hand",
    points=2,
    right=_sizes,
    near=1e-4,
    example=lambda: (own.OF_THE_BOOK,),
    verified="{0:.0f} pixels, a sum of {1:.2g}, a length of {2:.2g}, and {3:.2g} at most",
    wrong=NORMS_BY_HAND_WRONG,
)


# --- projections: functions of (N, C, H, W) and ε -----------------------------------------------------------


def _changes(norm: type[Ball], budgets: tuple[float, ...]) -> list[Case]:
    """Perturbations outside, inside, at the centre and at the edge of the ball, for ε above and below 1."""
    far, found = (3, 0.3, 0.9, 0, 1.1, 1000), []
    kinds = [("small images", (6, 1, 2, 2)), ("colour images", (6, 3, 8, 8)), ("a batch of 1", (1, 3, 4, 4))]
    kinds += [("float64", (4, 1, 5, 7)), ("a batch inside the ball", (2, 3, 2, 3))]
    for i, ((name, shape), eps) in enumerate(zip(kinds, budgets)):
        delta = torch.randn(shape, generator=torch.Generator().manual_seed(i))
        reach = torch.tensor([0.5, 0.9] if "inside" in name else far[: len(delta)])
        delta = delta * wide(reach * eps / norm(1).size(delta))
        found.append(Case(f"{name}, ε = {eps:g}", delta.double() if name == "float64" else delta, eps))
    return found


def _inside(norm: type[Ball]) -> Callable[[Case, Tensor, Tensor], None]:
    def prove(case: Case, result: Tensor, right: Tensor) -> None:
        delta, eps = case.args
        properties.inside_ball(norm(1).size(result), eps, norm.symbol, mend="")
        inside = norm(1).size(delta) <= eps
        if not properties.to_scale(result[inside], delta[inside]):
            raise Mistake("a perturbation that was inside the ball has been changed", mend="leave it exactly as it is")
        further = (result - delta).flatten(1).norm(dim=1) - (right - delta).flatten(1).norm(dim=1)
        raise Mistake(f"the result is in the ball, but not the nearest point: it is {further.max():.3g} further away")

    return prove


def _ray(size: Callable[[Tensor], Tensor], eps: float, delta: Tensor) -> Tensor:
    return delta * (eps / size(delta)).nan_to_num(1).clamp_max(1)


def l1(delta: Tensor) -> Tensor:
    return delta.abs().sum((1, 2, 3), keepdim=True)


def l2(delta: Tensor) -> Tensor:
    return wide(delta.flatten(1).norm(dim=1))


def linf(delta: Tensor) -> Tensor:
    return delta.abs().amax((1, 2, 3), keepdim=True)


RAY = ("shrunk as a whole, which is the projection onto a round ball only", "scaled by ε / size, as in L2",
       "this ball's nearest point lies elsewhere: follow its own formula")  # fmt: skip
EACH_VALUE = "each value has its own limit: clamp(-eps, eps)"


def clip(delta: Tensor, eps: float) -> Tensor:
    """Each value to [−ε, ε]."""
    return delta.clamp(-eps, eps)


PROJECT_LINF_WRONG = [
    *(Wrong(way, *words) for way, *words in [
        (lambda d, e: d.clamp(max=e), "changes below −ε are left as they are", "only the upper side is clipped",
         EACH_VALUE),
        (lambda d, e: d.clamp(min=-e), "changes above ε are left as they are", "only the lower side is clipped",
         EACH_VALUE),
        (lambda d, e: d.clamp(0, 1), "the perturbation was clipped like an image", "clamp(0, 1)", EACH_VALUE),
        (lambda d, e: e * d.clamp(-1, 1), "clipped to [−1, 1], then multiplied by ε", "a clip of the wrong range",
         EACH_VALUE),
        (lambda d, e: e * d.sign(), "small changes were made larger", "every value is set to ±ε: a step",
         EACH_VALUE),
        (lambda d, e: e * (d / e).tanh(), "values inside were changed, too", "squashed by tanh", EACH_VALUE),
        (lambda d, e: d * (d.abs() <= e), "values beyond ε became 0", "cut out instead of clipped", EACH_VALUE),
        (lambda d, e: torch.where(d.abs() > e, e, d), "changes below −ε became +ε", "the sign of the value is lost",
         EACH_VALUE),
        (lambda d, e: torch.where(linf(d) > e, e * d.sign(), d), "one value too large sets all of the image to ±ε",
         "the whole image is handled at once", EACH_VALUE),
        (lambda d, e: _ray(linf, e, d), *RAY),
        (lambda d, e: d * e / linf(d).clamp_min(1e-12), "each image's largest value is ±ε",
         "scaled by ε / size, also inside", EACH_VALUE),
        (lambda d, e: _ray(lambda d: d.abs().max(), e, d), "all images are shrunk by one factor",
         "scaled by ε / the largest of the batch", EACH_VALUE),
        (lambda d, e: _ray(l2, e, d), "this is the projection onto the L2 ball", "the formula of L2", EACH_VALUE),
    ]),
    Wrong(lambda d, e: e * d.tanh(), "every value was squashed", "ε tanh(δ)", EACH_VALUE),
    Wrong(lambda d, e: d.clamp(0, e), "negative changes are gone", "clamp(0, eps), or the clamp(0, 1) of an image",
          "a change may be negative: clamp(-eps, eps), and nothing more"),
    Wrong(lambda d, e: torch.full_like(d, e), "every value is ε", "clamp(eps, …): the limits are exchanged",
          EACH_VALUE),
    Wrong(lambda d, e: torch.full_like(d, -e), "every value is −ε", "clamp(eps, -eps): the limits are exchanged",
          EACH_VALUE),
]  # fmt: skip

project_linf = Formula(
    name="project_linf",
    chapter=4,
    title="Two projections: L∞",
    points=1,
    right=clip,
    cases=lambda: _changes(Linf, (0.3, 0.05, 8 / 255, 0.5, 0.3)),
    same=properties.to_scale,
    properties=[properties.like, _inside(Linf)],
    verified="the nearest point of the L∞ ball, for batches, single images, points inside, and zero",
    wrong=PROJECT_LINF_WRONG,
)


def shrink(delta: Tensor, eps: float, *, size=l2, factor=lambda e, s: (e / s.clamp_min(1e-12)).clamp_max(1)) -> Tensor:
    """δ · min(1, ε / ‖δ‖₂), each image by itself."""
    return delta * factor(eps, size(delta))


def _if(some: Callable[[Tensor], Tensor]) -> Callable[[float, Tensor], Tensor]:
    return lambda e, s: e / s.clamp_min(1e-12) if some(s > e) else torch.ones_like(s)


MINIMUM, ROOT = "the factor is min(1, ε / size)", "the L2 size is the root of the sum of squares"
PER_IMAGE = "one size per image: flatten(1) before norm, sum or max; then shape (N, 1, 1, 1)"
PROJECT_L2_WRONG = [
    *instead_of(
        "size",
        (lambda d: d.norm(), "the images of a batch share one budget", "the norm was taken over the batch", PER_IMAGE),
        (lambda d: l2(d).max(), "all images are shrunk by the same factor", "the largest size of the batch decides",
         PER_IMAGE),
        (lambda d: l2(d).mean(), "all images are shrunk by the same factor", "the mean size of the batch decides",
         PER_IMAGE),
        (lambda d: l2(d)[:1], "all images are shrunk by the first one's factor", "[0] picks one image", PER_IMAGE),
        (lambda d: l2(d) ** 2, "long ones are shrunk too much, short ones too little", "the root is missing", ROOT),
        (lambda d: l2(d) / d[0].numel() ** 0.5, "the size is the root of the mean square", "mean for sum", ROOT),
        (l1, "the size is that of L1", "absolute values were added up", ROOT),
        (linf, "the size is that of L∞", "the largest value was taken", ROOT),
        (lambda d: d.norm(dim=1, keepdim=True), "every pixel has a budget of its own", "the norm is over the colours",
         PER_IMAGE),
        (lambda d: d.norm(dim=-1, keepdim=True), "every row has a budget of its own", "the norm is over dim=-1",
         PER_IMAGE),
    ),
    *instead_of(
        "factor",
        (lambda e, s: (e / s.flatten()).clamp_max(1), "the factors, shape (N,), do not fit the images, (N, C, H, W)",
         "the last axis of the images met the N factors", "[:, None, None, None] makes them (N, 1, 1, 1)"),
        (lambda e, s: e / s.clamp_min(1e-12), "a perturbation inside the ball was made larger",
         "every point is scaled to the surface", MINIMUM),
        (lambda e, s: e / s, "a perturbation inside the ball was made larger, and zero became NaN",
         "every point is scaled to the surface", MINIMUM),
        (lambda e, s: e / s.clamp_min(1), "where ε < 1, points inside the ball are shrunk",
         "the size was kept above 1, or the factor below ε", MINIMUM),
        (lambda e, s: (e / s.clamp_min(1)).clamp_max(1), "where ε < 1, points inside the ball are shrunk",
         "the guard against 0 is clamp_min(1), and holds all sizes below 1 for 1", "size.clamp_min(1e-12)"),
        (lambda e, s: 1 / s.clamp_min(1e-12), "every perturbation has length 1", "ε and the minimum are missing",
         MINIMUM),
        (lambda e, s: e, "every perturbation is multiplied by ε", "the division by its size is missing", MINIMUM),
        (lambda e, s: (s / e).clamp_max(1), "long perturbations stay long, short ones shrink",
         "the fraction is upside down", MINIMUM),
        (lambda e, s: (e / s.clamp_min(1e-12)).clamp_min(1), "short perturbations grow, long ones stay",
         "clamp_min for clamp_max", MINIMUM),
        (lambda e, s: (e / s.clamp_min(1e-12)).clamp_max(1).sqrt(), "the factor is the root of min(1, ε / size)",
         "ε was compared with the sum of squares", MINIMUM),
        (_if(torch.any), "a perturbation inside grows where another of the batch is outside",
         "one `if` for the whole batch", "torch.where, or a minimum, for each image"),
        (_if(torch.all), "nothing is projected while one of the batch is inside", "one `if` for the whole batch",
         "torch.where, or a minimum, for each image"),
        (lambda e, s: (s <= e).to(s), "what is outside became 0", "thrown away instead of shrunk", MINIMUM),
    ),
    *(Wrong({"factor": lambda e, s, tiny=tiny: (e / (s + tiny)).clamp_max(1)}, "the results are shorter than ε",
            f"about {tiny:g} was added to the size", "divide by size.clamp_min(1e-12)") for tiny in (0.1, 0.01, 1e-3)),
    Wrong(clip, "every value is clipped by itself", "this is the projection onto the L∞ ball", MINIMUM),
    *instead_of(
        "factor",
        (lambda e, s: torch.where(s > e, e, 1.0).to(s), "what is outside is multiplied by ε",
         "the division by its size is missing", MINIMUM),
        (lambda e, s: torch.where(s > e, 1 / s, 1), "what is outside gets length 1", "ε is missing", MINIMUM),
        (lambda e, s: (1 - e / s.clamp_min(1e-12)).clamp_min(0), "each length is shrunk by ε",
         "the soft threshold, which takes ε off", MINIMUM),
    ),
    Wrong({"size": lambda d: d.norm(dim=(2, 3), keepdim=True)}, "every colour channel has a budget of its own",
          "the norm is over the planes", PER_IMAGE),
]  # fmt: skip

project_l2 = Formula(
    name="project_l2",
    chapter=4,
    title="Two projections: L2",
    points=2,
    right=shrink,
    cases=lambda: _changes(L2, (0.5, 2.0, 0.3, 8.0, 0.8)),
    same=properties.to_scale,
    properties=[properties.like, _inside(L2)],
    verified="the nearest point of the L2 ball, for batches, single images, points inside, and zero",
    wrong=PROJECT_L2_WRONG,
)


def _soft(delta: Tensor, price: Tensor | float) -> Tensor:
    return delta.sign() * (delta.abs() - price).clamp_min(0)


def threshold(
    delta, eps, *, u=lambda d: d.abs().flatten(1), order=lambda u: u.sort(dim=1, descending=True).values, spent=1,
    start=1, pick=lambda prices: prices.amax(1), floor=lambda price: price.clamp_min(0), way=_soft,
):  # fmt: skip
    """The soft threshold with the price λ = max_k λ_k, at least 0."""
    u = order(u(delta))
    price = pick((u.cumsum(1) - spent * eps) / torch.arange(start, start + u.shape[1]))
    return way(delta, wide(floor(price)))


def _divides_eps(delta, eps):
    u = delta.abs().flatten(1).sort(descending=True).values
    return _soft(delta, wide((u.cumsum(1) - eps / torch.arange(1, u.shape[1] + 1)).amax(1).clamp_min(0)))


LARGEST = "sort with descending=True, take the largest of all λₖ, and at least 0"
PROJECT_L1_WRONG = [
    *instead_of(
        "u",
        (lambda d: d.flatten(1), "the price is too low where changes are negative", "δ was sorted without abs()",
         "sort delta.abs()"),
        (lambda d: d.abs().reshape(1, -1), "the images of a batch share one budget", "sorted over the whole batch",
         "one price per image: delta.flatten(1)"),
    ),
    *instead_of(
        "order",
        (lambda u: u.sort(dim=1).values, "λ was computed as if all values stayed above 0 (k = n)",
         "sorted from small to large, or the maximum is missing", LARGEST),
        (lambda u: u, "the price is that of values as they come", "not sorted", "sort with descending=True"),
        (lambda u: u.sort(dim=0, descending=True).values, "the values were sorted across the batch", "dim=0",
         "sort along each row: dim=1"),
    ),
    *instead_of(
        "pick",
        (lambda p: p.amin(1), "the smallest λₖ was taken", "amin for amax", LARGEST),
        (lambda p: p[:, 0], "λ was computed as if one value stayed above 0 (k = 1)", "the maximum is missing",
         LARGEST),
        (lambda p: p.mean(1), "the mean of the λₖ was taken", "mean for maximum", LARGEST),
        (lambda p: p.max().expand(len(p)), "the images of a batch pay one price", "the maximum is over the batch",
         "one price per image: amax(1)"),
    ),
    Wrong({"floor": lambda price: price}, "a perturbation inside the ball was made larger",
          "a negative price was paid", "inside the price is 0: .clamp_min(0)"),
    Wrong({"spent": 0}, "λₖ is the mean of the first k values", "ε was not subtracted", "(u.cumsum(1) - eps) / k"),
    Wrong(_divides_eps, "the price is far too high: hardly anything is left", "only ε was divided by k: brackets",
          "(u.cumsum(1) - eps) / k"),
    Wrong({"start": 0}, "k runs from 0, and the first λₖ is infinite", "torch.arange(n)", "torch.arange(1, n + 1)"),
    Wrong({"start": 2}, "k runs from 2", "k was counted one too high", "torch.arange(1, n + 1)"),
    *instead_of(
        "way",
        (lambda d, p: (d - p).clamp_min(0), "negative changes are gone", "the threshold was applied to δ, not to |δ|",
         "sign(δ) · max(|δ| − λ, 0)"),
        (lambda d, p: d - p * d.sign(), "small values come out on the other side of 0",
         "the threshold does not stop at 0", "max(|δᵢ| − λ, 0): .clamp_min(0)"),
        (lambda d, p: d - p, "λ was taken off every value, also off negative ones", "the sign plays no part",
         "sign(δ) · max(|δ| − λ, 0)"),
        (lambda d, p: d * (d.abs() > p), "values above λ were kept as they are", "a hard threshold",
         "they shrink by λ, too: max(|δᵢ| − λ, 0)"),
    ),
    Wrong(lambda d, e: _soft(d, e), "every value is shrunk by ε", "ε was taken for the price λ", LARGEST),
    Wrong(lambda d, e: _ray(l1, e, d), *RAY),
    Wrong(lambda d, e: d * e / l1(d).clamp_min(1e-12), "every perturbation has the L1 size ε",
          "scaled by ε / size", RAY[2]),
    Wrong(shrink, "this is the projection onto the L2 ball", "the formula of L2", RAY[2]),
    Wrong(clip, "every value is clipped by itself", "this is the projection onto the L∞ ball", RAY[2]),
    Wrong(lambda d, e: d if (l1(d) <= e).any() else threshold(d, e),
          "nothing is projected while one of the batch is inside",
          "one `if` for the whole batch", "the price is 0 inside: .clamp_min(0)"),
    Wrong(lambda d, e: torch.where(d.abs() == linf(d), e * d.sign(), 0), "all of ε stands on the largest value",
          "this is the steepest step, not the nearest point", LARGEST),
]  # fmt: skip

project_l1 = Formula(
    name="project_l1",
    chapter=4,
    title="The price without a search",
    points=3,
    right=threshold,
    cases=lambda: [*_changes(L1, (0.5, 6.0, 12.0, 3.0, 0.8)), Case("ties, ε = 2", torch.ones(2, 1, 2, 3), 2.0)],
    same=properties.to_scale,
    properties=[properties.like, _inside(L1)],
    verified="the nearest point of the L1 ball, for batches, single images, points inside, ties, and zero",
    wrong=PROJECT_L1_WRONG,
)


# --- my_steepest_l1(grad, eps) ------------------------------------------------------------------------------


def steepest(
    grad, eps, *, score=torch.abs, value=lambda g, e: e * g.sign(), place=lambda s: s.argmax(1, keepdim=True),
    rest=torch.zeros_like,
):  # fmt: skip
    """All of ε on each image's value with the largest |gᵢ|."""
    flat = grad.flatten(1)
    there = place(score(flat))
    return rest(flat).scatter(1, there, value(flat, eps).gather(1, there)).view_as(grad)


# Several answers are right here: two values share the first place, all do, or no value earns anything.
TIED = torch.tensor([[[[3.0, -1.0, -3.0]]], [[[2.0, 2.0, 2.0]]], [[[0.0, 0.0, 0.0]]]])


def _as_good(a: Any, b: Any) -> bool:
    """The same result, or, on ties, one that gains as much inside the same ball."""
    if properties.to_scale(a, b):
        return True
    if not (isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape == TIED.shape):
        return False
    inside = all((l1(result) <= 2 * (1 + 1e-4)).all() for result in (a, b))
    return inside and properties.alike((TIED * a).sum((1, 2, 3)), (TIED * b).sum((1, 2, 3)))


def _gradients() -> list[Case]:
    found = []
    for i, (shape, eps) in enumerate(
        (((4, 2, 2, 3), 3.0), ((5, 3, 8, 8), 0.5), ((1, 3, 4, 4), 12.0), ((3, 1, 5, 7), 1.0))
    ):
        grad = torch.randn(shape, generator=torch.Generator().manual_seed(i))
        grad *= wide(torch.logspace(-8, 0, shape[0]))
        found.append(Case(f"gradients {shape}, ε = {eps:g}", grad.double() if i == 3 else grad, eps))
    return [*found, Case("ties and a gradient of zero, ε = 2", TIED.clone(), 2.0)]


def _best_pixel(g: Tensor) -> Tensor:
    earned = g.abs().sum(1, keepdim=True)
    return earned == earned.amax((2, 3), keepdim=True)


def _short(case: Case, result: Tensor, right: Tensor) -> None:
    """What is proved of a step that is none of the known wrong ones."""
    grad, eps = case.args
    properties.inside_ball(L1(1).size(result), eps, "L1", mend="")
    gained, most = ((grad * step).sum((1, 2, 3)) for step in (result, right))
    worst = (gained / most).nan_to_num(1).min()
    raise Mistake(f"on {case.name}, one image gains {worst:.2g} of the largest possible ⟨g, δ⟩")


def _two_best(g: Tensor, each: float) -> Tensor:
    flat = g.flatten(1)
    best = flat.abs().topk(2, 1).indices
    return torch.zeros_like(flat).scatter(1, best, each * flat.gather(1, best).sign()).view_as(g)


ONE_MAXIMUM = "one maximum per image: flatten(1), then argmax(dim=1)"
AT_ONE, ALL_ON_ONE = "ε times the sign of g there", "in L1, all of ε goes to the one value that earns most"
STEEPEST_L1_WRONG = [
    *instead_of(
        "score",
        (lambda g: g, "a large negative gradient is overlooked", "argmax of g, without absolute values",
         "argmax of grad.abs(): turning a value down can earn most"),
        (lambda g: -g, "a large positive gradient is overlooked", "argmin of g", "argmax of grad.abs()"),
        (lambda g: -g.abs(), "the value with the smallest |gᵢ| was chosen", "argmin", "argmax of grad.abs()"),
        (lambda g: g.abs().sum(0, keepdim=True).expand_as(g), "all images change the same value",
         "the gradients were added up, or one argmax taken, over the batch", "flatten(1), then argmax(dim=1)"),
    ),
    *instead_of(
        "place",
        (lambda s: s.argmax(1, keepdim=True)[:1].expand(len(s), 1), "all images change the first one's best value",
         "one place for the whole batch", "flatten(1), then argmax(dim=1)"),
        (lambda s: (s.argmax(1, keepdim=True) + 1) % s.shape[1], "the value next to the best one was changed",
         "counted from 1", "argmax counts from 0"),
    ),
    *instead_of(
        "value",
        (lambda g, e: 0 * g + e, "the chosen value always goes up", "the sign is missing", AT_ONE),
        (lambda g, e: -e * g.sign(), "⟨g, δ⟩ is as small as possible", "the sign is turned round", AT_ONE),
        (lambda g, e: e * g, "the step grows with the gradient", "the value of g was taken, not its sign", AT_ONE),
        (lambda g, e: e * g.abs(), "the step grows with the gradient, and always goes up",
         "|g| was taken, not the sign of g", AT_ONE),
        (lambda g, e: e * g / g.abs(), "where the gradient is zero, the step is NaN", "g / |g| for the sign", AT_ONE),
        (lambda g, e: e * g / (g.abs() + 1e-8), "where the gradient is tiny, the step is shorter than ε",
         "g / (|g| + 1e-8) for the sign", "grad.sign()"),
        (lambda g, e: g.sign(), "the step is 1 whatever ε is", "ε is missing", AT_ONE),
        (lambda g, e: g, "the chosen value changes by its gradient", "ε and the sign are missing", AT_ONE),
        (lambda g, e: g.abs(), "the largest |gᵢ| itself stands there", "ε and the sign are missing", AT_ONE),
    ),
    Wrong({"rest": torch.clone}, "the other values hold the gradient", "a copy of g was filled, not zeros",
          "torch.zeros_like(flat)"),
    *(Wrong(way, *words) for way, *words in [
        (lambda g, e: e * g.sign() * (g.abs() == linf(g)), "where several values share the first place, each gets ε",
         "a mask of all that equal the maximum", "one of them gets ε: argmax, or divide by their number"),
        (lambda g, e: e * g.sign() * (g.abs() == g.abs().max()), "only one image of the batch gets a step",
         "the maximum of the whole batch", "flatten(1), then argmax(dim=1)"),
        (lambda g, e: e * g.sign(), "every value changes by ε", "this is the step for an L∞ ball", ALL_ON_ONE),
        (lambda g, e: torch.nan_to_num(e * g / l2(g)), "the step runs along the gradient",
         "this is the step for an L2 ball", ALL_ON_ONE),
        (lambda g, e: e * g / l2(g), "the step runs along the gradient, and is NaN where that is zero",
         "this is the step for an L2 ball", ALL_ON_ONE),
        (lambda g, e: torch.nan_to_num(e * g / l1(g)), "the size is ε, but spread over all values",
         "the gradient was divided by its L1 size", ALL_ON_ONE),
        (lambda g, e: e * g / l1(g), "the size is ε, spread over all values, and NaN where the gradient is zero",
         "the gradient was divided by its L1 size", ALL_ON_ONE),
        (lambda g, e: e * g.sign() / g[0].numel(), "every value changes by ε / n", "ε was shared out", ALL_ON_ONE),
        (lambda g, e: e * g.sign() * (g.abs() == g.abs().amax(1, keepdim=True)), "every pixel gets a step of ε",
         "the maximum over the colours (dim=1) alone", "flatten(1), then argmax(dim=1)"),
        (lambda g, e: e * g.sign() * _best_pixel(g), "all colours of the best pixel change by ε",
         "pixels were ranked, not values", ALL_ON_ONE),
        (lambda g, e: steepest(g.abs().sum(1, keepdim=True), e) * g.sign() / g.shape[1],
         "the colours of the best pixel share ε", "pixels were ranked, not values, and ε divided", ALL_ON_ONE),
        (lambda g, e: g + steepest(g, e), "the gradient was added to the step", "two things in one tensor",
         "return the step alone"),
        (lambda g, e: steepest(g, e).flatten(1), "the result is flat", "it keeps the shape (N, n)", ".view_as(grad)"),
        (lambda g, e: steepest(g, e).float(), "in float64 the result is float32",
         "a .float(), or a tensor made without dtype=grad.dtype", "compute in the type of grad: torch.zeros_like"),
    ]),
    *(Wrong(lambda g, e, axes=axes: e * g.sign() * (g.abs() == g.abs().amax(axes, keepdim=True)), seen,
            f"the maximum is over {over}", ONE_MAXIMUM)
      for axes, seen, over in [((2, 3), "one value of each colour channel gets ε", "each channel by itself"),
                               ((3,), "one value of each row of pixels gets ε", "dim=-1"),
                               ((2,), "one value of each column of pixels gets ε", "dim=2")]),
    *(Wrong(lambda g, e, parts=parts: steepest(parts(g), e).view_as(g), seen, cause, ONE_MAXIMUM)
      for parts, seen, cause in [
        (lambda g: g.reshape(1, 1, 1, -1), "one value of the whole batch gets ε", "argmax over the whole batch"),
        (lambda g: g.flatten(0, 1)[:, None], "in each colour channel one value gets ε", "argmax within each channel"),
    ]),
    Wrong(lambda g, e: e * g.sign() * F.one_hot(g.flatten(1).abs().argmax(1), g[0].numel()).amax(0).view_as(g[0]),
          "every image changes at the best values of all", "[:, place] takes every row",
          "out[torch.arange(len(out)), place], or scatter"),
    Wrong(lambda g, e: torch.where(g.abs() == linf(g), e * g.sign(), g), "the other values hold the gradient",
          "they were not set to 0", "begin with torch.zeros_like(grad)"),
    Wrong(lambda g, e: _two_best(g, e / 2), "ε is split among the two best values", "topk of 2", ALL_ON_ONE),
    Wrong({"value": lambda g, e: 0 * g + 1}, "the chosen value is 1", "a mask, or one_hot: ε and the sign are missing",
          AT_ONE),
]  # fmt: skip

steepest_l1 = Formula(
    name="steepest_l1",
    chapter=4,
    title="The steepest step in L1",
    points=2,
    right=steepest,
    cases=_gradients,
    same=_as_good,
    properties=[properties.like, _short],
    verified="the largest ⟨g, δ⟩ in the ball, for five shapes and ε, also with ties and tiny gradients",
    wrong=STEEPEST_L1_WRONG,
)


# --- far away, and the same -------------------------------------------------------------------------------


def _far(exercise, image, notes, model: nn.Module, one: Tensor, label: Tensor, others: Tensor) -> str:
    """``image`` shows the sign of ``one`` and lies further from it, in L2, than the nearest of ``others``."""
    if isinstance(image, Tensor) and image.shape == one.shape and image.min() < 0 <= (one + image).min():
        seen = f"the values reach from {image.min():.2f} to {image.max():.2f}; added to the sign they make an image"
        raise Mistake(seen, mend="pass the changed image itself, not the change")
    image = properties.images(image, one)
    nearest, length = L2(1).size(others - one).min().item(), L2(1).size(image - one).item()
    likeness = torch.corrcoef(torch.stack([image.flatten(), one.flatten()]))[0, 1].item()
    reading, probability = predict(model, image)
    found = []
    if length <= nearest:
        seen = f"the L2 distance is {length:.1f}, but the nearest other sign lies at {nearest:.1f}"
        found.append(Mistake(seen, mend="change every value by much: L2 adds up over all of them"))
    if not likeness >= 0.9:
        seen = f"the values' correlation with the original is {likeness:.2f}, and 0.9 is asked"
        found.append(Mistake(seen, mend="keep the order of dark and bright, and change the light"))
    if reading != label:
        found.append(Mistake("the network reads another sign", mend="keep the meaning, for you and for the network"))
    elif probability < 0.9:
        seen = f"the network reads it rightly, but with only {probability.item():.0%}; 90% are asked"
        found.append(Mistake(seen, mend="change it a little less"))
    if found:
        raise Mistake.all(found)
    return f"{length:.1f} away, further than the nearest other sign ({nearest:.1f}), and read rightly"


def _bright() -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A linear reader of which half is brighter, an image with a bright left half, and others at a distance of 4.9."""
    model = specimens.linear(3, 8, 2, seed=0)
    side = torch.where(torch.arange(8) < 4, 1.0, -1.0).expand(3, 8, 8)
    model[1].weight.data = torch.stack([side.flatten(), -side.flatten()])
    model[1].bias.data.zero_()
    one = (0.6 + 0.3 * side)[None]
    return model, one, torch.tensor([0]), one.flip(3) * torch.tensor([1.0, 0.9]).view(2, 1, 1, 1)


FAR_BUT_SAME_WRONG = [
    Wrong(lambda model, one, label, others: 0.9 * one, "the L2 distance is"),
    Wrong(lambda model, one, label, others: one[0], "the result has shape (3, 8, 8), expected (1, 3, 8, 8)"),
    Wrong(lambda model, one, label, others: 1.5 * one, "pixels reach from 0.450 to 1.350"),
    Wrong(lambda model, one, label, others: -0.9 * one, "added to the sign they make an image"),
    Wrong(lambda model, one, label, others: 1 - one, "the network reads another sign"),
    Wrong(lambda model, one, label, others: others[:1], "correlation with the original is -1.00"),
    Wrong(lambda model, one, label, others: 0.001 * one, "the network reads it rightly, but with only 53%"),
    Wrong(lambda model, one, label, others: torch.zeros_like(one), "correlation with the original is nan"),
    Wrong(lambda model, one, label, others: one.numpy(), "got an object of type ndarray"),
]  # fmt: skip

far_but_same = Explore(
    name="far_but_same",
    chapter=4,
    title="Explore: far away, and the same",
    points=3,
    measured=_far,
    example=_bright,
    right=lambda model, one, label, others: 0.1 * one,
    wrong=FAR_BUT_SAME_WRONG,
)
