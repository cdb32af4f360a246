"""The exercises of chapter 5, why attacks exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from advlib import load_images, load_model
from advlib.answers import logits_of
from advlib.attacks import pgd, square
from advlib.defenses.training import fit
from advlib.evaluate import predict
from advlib.exercises import properties
from advlib.exercises.frame import Case, Explore, Formula, Mistake, Wrong
from advlib.models.nets import NETS, signs_small
from advlib.models.recipes import RECIPES
from advlib.norms import Linf

# --- my_worst_margin(w, b, x, y, eps) --------------------------------------------------------------------


def margin(w: Tensor, b: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return y * (x @ w + b)


def left(
    w: Tensor,
    b: Tensor,
    x: Tensor,
    y: Tensor,
    eps: float,
    *,
    clean: Callable[..., Tensor] = margin,
    way: float = -1,
    drop: Callable[[Tensor, float], Any] = lambda w, eps: eps * w.abs().sum(),
) -> Tensor:
    """y · (w · x + b) − ε‖w‖₁."""
    return clean(w, b, x, y) + way * drop(w, eps)


def _linear_models() -> list[Case]:
    found = []
    for seed, (n, count, eps) in enumerate([(3, 5, 0.1), (48, 1, 8 / 255), (700, 6, 0.02), (2, 4, 0.5), (9, 3, 0.0)]):
        generator = torch.Generator().manual_seed(seed)
        w, b = torch.randn(n, generator=generator), torch.tensor(0.7)
        x = (1.4 * torch.rand(count, n, generator=generator) - 0.2).clamp(0, 1)
        y = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
        y[0] = -1
        found.append(Case(f"{count} images of {n} values, ε = {eps:.3g}", w, b, x, y, eps))
    w, b, x, y, eps = found[0].args
    zero = torch.where(torch.arange(len(w)) == 1, 0, w)
    double = [value.double() for value in (w, b, x, y)]
    return [*found, Case("a weight of zero", zero, b, x, y, eps), Case("float64", *double, eps)]


DROP = "the worst δ takes ε · Σ |wᵢ| off the margin"
WORST_MARGIN_WRONG = [
    Wrong({"way": 1}, "the margin grew: this is the best δ for the model", "the sign is flipped", DROP),
    Wrong({"drop": lambda w, eps: eps * w.norm()}, "the margin falls by ε‖w‖₂: the answer for an L2 ball",
          "the norm of an L2 ball was taken", "an L∞ ball is paid back in ‖w‖₁"),
    Wrong({"drop": lambda w, eps: eps * w.square().sum()}, "the margin falls by ε · Σ wᵢ²",
          "δ was taken along w, not along its sign", DROP),
    Wrong({"drop": lambda w, eps: eps * w.sum()}, "positive and negative weights cancel",
          "the absolute values are missing", "δᵢ takes the sign of each weight by itself: w.abs().sum()"),
    Wrong({"drop": lambda w, eps: eps * w.sum().abs()},
          "positive and negative weights cancel before the absolute value", "abs came after the sum",
          "δᵢ takes the sign of each weight by itself: w.abs().sum()"),
    Wrong({"drop": lambda w, eps: eps * w.abs().max()}, "only the largest weight is used: the answer for an L1 ball",
          "the maximum was taken instead of the sum", DROP),
    Wrong({"drop": lambda w, eps: eps * w.abs().mean()}, "the drop is n times too small", "a mean in place of the sum",
          DROP),
    Wrong({"drop": lambda w, eps: eps * len(w)}, "the margin falls by ε · n", "the weights are taken for ±1", DROP),
    Wrong({"drop": lambda w, eps: eps}, "the margin falls by ε", "the weights do not come in", DROP),
    Wrong({"clean": lambda w, b, x, y: x @ w + b}, "right where y is +1, wrong where it is −1",
          "the label is not used", "the margin is y · (w · x + b): positive where the model is right"),
    Wrong({"clean": lambda w, b, x, y: (x @ w + b).abs()}, "images that the model misreads count as read rightly",
          "|f| was taken for the margin", "the margin is y · (w · x + b): positive where the model is right"),
    Wrong({"clean": lambda w, b, x, y: y * (x @ w)}, "every margin is off by y · b", "the bias b is missing",
          "w · x + b"),
    Wrong({"clean": lambda w, b, x, y: y * (x @ w) + b}, "where y is −1, the margin is off by 2b",
          "y multiplies w · x but not b", "y * (x @ w + b)"),
    Wrong(lambda w, b, x, y, eps: y * (x @ w + b - eps * w.abs().sum()),
          "right where y is +1, but where it is −1 the margin grew", "ε‖w‖₁ was taken off before multiplying by y",
          "take it off the margin, after multiplying by y"),
    Wrong(lambda w, b, x, y, eps: (1 - eps) * margin(w, b, x, y), "the margin shrinks by the factor 1 − ε",
          "ε scales the margin", DROP),
    Wrong(lambda w, b, x, y, eps: margin(w, b, (x - eps * y[:, None] * w.sign()).clamp(0, 1), y),
          "the attacked pixels were clipped to [0, 1]", "clamp(0, 1)",
          "here δ may leave the box: only its size counts"),
    Wrong(lambda w, b, x, y, eps: x - eps * y[:, None] * w.sign(), "the result is the attacked images",
          "the margin is missing", "y * (x_adv @ w + b)"),
    Wrong({"drop": lambda w, eps: 0}, "these are the margins without any attack", "ε does not come in", DROP),
    Wrong({"drop": lambda w, eps: eps * len(w) ** 0.5 * w.norm()}, "the margin falls by ε√n‖w‖₂",
          "δ was taken along w in the L2 ball around the box: a bound that is not reached", DROP),
    Wrong({"drop": lambda w, eps: eps * (w.abs().sum() + 0.7)}, "the margin falls by ε|b| too much",
          "the bias is attacked as well", "the attacker changes x alone: Σ runs over the weights"),
    Wrong({"clean": lambda w, b, x, y: 0}, "this is what δ takes off, with its minus", "the clean margin is missing",
          "take it off y · (w · x + b)"),
    Wrong({"clean": lambda w, b, x, y: 0, "way": 1}, "this is what δ takes off", "the clean margin is missing",
          "take it off y · (w · x + b)"),
    Wrong({"clean": lambda w, b, x, y: (2 * y - 1) * (x @ w + b)}, "where y is −1, the margin counts three times",
          "2y − 1 makes ±1 of labels 0 and 1; these are ±1 already", "y * (x @ w + b)"),
    Wrong({"clean": lambda w, b, x, y: (y > 0) * (x @ w + b)}, "where y is −1, the clean margin is 0",
          "labels are taken for 0 and 1; they are ±1", "y * (x @ w + b)"),
    *(Wrong(lambda w, b, x, y, eps, way=way: y * ((x + way * eps) @ w + b), f"every pixel goes {where} by ε",
            "δ has no signs: the same for all pixels", "δ is −ε · y · sign(w), pixel by pixel")
      for way, where in ((-1, "down"), (1, "up"))),
    *(Wrong(lambda w, b, x, y, eps, own=own, drop=drop: margin(w, b, x, y) / own(w) - drop(w, eps), seen,
            f"divided by {norm}, as in the distance to the boundary", "the margin itself is asked, not the distance")
      for own, norm, drop, seen in [
          (torch.norm, "‖w‖₂", lambda w, eps: eps * w.abs().sum() / w.norm(), "the margin left is divided by ‖w‖₂"),
          (torch.norm, "‖w‖₂", lambda w, eps: eps, "this is the L2 distance to the boundary, less ε"),
          (lambda w: w.abs().sum(), "‖w‖₁", lambda w, eps: eps, "this is the L∞ distance to the boundary, less ε"),
      ]),
]  # fmt: skip

worst_margin = Formula(
    name="worst_margin",
    chapter=5,
    title="The worst case of a linear model",
    points=2,
    right=left,
    cases=_linear_models,
    properties=[properties.like],
    verified="what the worst δ leaves of each margin, for 2 to 700 inputs, batches of 1 to 6, and ε from 0 to 0.5",
    wrong=WORST_MARGIN_WRONG,
)


# --- my_noise_ratio(grad) ----------------------------------------------------------------------------------


l1: Callable[[Tensor], Tensor] = lambda g: g.abs().sum(1)
l2: Callable[[Tensor], Tensor] = lambda g: g.norm(dim=1)


def worst_over_noise(
    grad: Tensor,
    *,
    flat: Callable[[Tensor], Tensor] = lambda grad: grad.flatten(1),
    over: Callable[[Tensor], Tensor] = l1,
    under: Callable[[Tensor], Tensor] = l2,
    divide: Callable[[Tensor, Tensor], Tensor] = lambda over, under: torch.where(under > 0, over / under, 0),
) -> Tensor:
    """‖g‖₁ / ‖g‖₂ of each image, 0 where g = 0."""
    g = flat(grad)
    return divide(over(g), under(g))


def _each_plane(grad: Tensor) -> Tensor:
    return worst_over_noise(grad.flatten(0, 1), flat=lambda g: g.flatten(1)).view(grad.shape[:2])


def _gradients() -> list[Case]:
    found = []
    for seed, shape in enumerate([(4, 3, 2, 3), (6, 3, 12, 12), (1, 1, 5, 7), (5, 1, 4, 4)]):
        grad = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) ** 3 * (1 + seed)
        grad[0] *= -grad[0].sum().sign()  # its entries add up to less than zero
        found.append(Case(f"gradients of shape {shape}", grad))
    found[0].args[0][1] = 0
    found[1].args[0][2] = 0
    alone = found[3].args[0]
    alone[1] = 0.3 * alone[1].sign()  # all pixels matter alike
    alone[2] = 1e-7 * alone[0]
    alone[3] = 1e-8 * alone[1]
    alone[4] = torch.zeros(1, 4, 4).index_fill(1, torch.tensor([2]), 0)
    alone[4, 0, 2, 1] = -9.5e-9  # a single pixel matters
    drawn = torch.randn(17, 1, 4, 4, generator=torch.Generator().manual_seed(9))
    ladder = drawn * torch.logspace(-16, 0, 17).view(-1, 1, 1, 1)
    return [*found, Case("gradients of sizes from 1e-16 to 1", ladder), Case("float64", found[0].args[0].double())]


EACH = "one ratio per image: flatten(1) first, then norms over dim=1"
ROOT = "the L2 norm is the root of the sum of squares"
WHERE = "divide where the norm is not zero: torch.where(l2 > 0, l1 / l2, 0)"
TINY = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15)
NOISE_RATIO_WRONG = [
    Wrong({"under": lambda g: l2(g) ** 2}, "the ratio changes when the gradient is scaled", "the root is missing",
          ROOT),
    Wrong({"over": lambda g: g.sum(1)}, "some ratios are negative", "the absolute values are missing",
          "the L1 norm sums |gᵢ|: flat.abs().sum(1)"),
    Wrong({"over": lambda g: g.sum(1).abs()}, "positive and negative entries cancel", "abs came after the sum",
          "the L1 norm sums |gᵢ|: flat.abs().sum(1)"),
    Wrong({"over": lambda g: g.abs().amax(1)}, "every ratio is at most 1", "the L∞ norm was taken for the worst case",
          "an L∞ ball is paid back in ‖g‖₁"),
    Wrong({"divide": lambda over, under: over}, "this is ‖g‖₁: the worst case alone", "the random case is missing",
          "divide by ‖g‖₂"),
    Wrong({"divide": lambda over, under: over / under}, "an image whose gradient is exactly zero gets NaN",
          "zero was divided by zero", WHERE),
    Wrong({"divide": lambda over, under: torch.where(under > 0, over / under, 1)},
          "an image whose gradient is exactly zero gets 1", "the smallest ratio was filled in", "0 is asked there"),
    *(Wrong({"divide": lambda over, under, tiny=tiny: over / (under + tiny)},
            "where the gradient is tiny, the ratio is too small",
            f"about {tiny:g} was added to the divisor; confident networks have gradients far smaller than that", WHERE)
      for tiny in (1.0, 0.1, 1e-2, *TINY)),
    *(Wrong({"divide": lambda over, under, tiny=tiny: over / under.clamp_min(tiny)},
            "where the gradient is tiny, the ratio is far too small",
            f"the divisor was kept above {tiny:g}; confident networks have gradients far smaller than that", WHERE)
      for tiny in (1.0, 1e-2, *TINY)),
    *(Wrong({"divide": lambda over, under, tiny=tiny: torch.where(under > tiny, over / under, 0)},
            "an image whose gradient is tiny gets 0",
            f"all norms below {tiny:g} were taken for zero; confident networks have gradients far smaller", WHERE)
      for tiny in TINY),
    Wrong({"flat": lambda grad: grad.flatten().expand(len(grad), -1)}, "every image gets the same ratio",
          "the norms were taken over the whole batch", EACH),
    Wrong(lambda grad: worst_over_noise(grad[(grad != 0).flatten(1).any(1)]),
          "images whose gradient is zero are missing", "they were left out, by an `if` or a mask", "they get a 0"),
    Wrong({"flat": lambda grad: grad}, "the norms run over the colours only, one for each pixel",
          "dim=1 is the channel axis", EACH),
    Wrong(lambda grad: worst_over_noise(grad, flat=lambda grad: grad).mean((1, 2)),
          "the ratio is the mean of those of the pixels", "dim=1 is the channel axis, and a mean came after it", EACH),
    Wrong({"divide": lambda over, under: torch.where(over > 0, under / over, 0)}, "no ratio is above 1",
          "the fraction is upside down", "‖g‖₁ stands above, ‖g‖₂ below"),
    *(Wrong({"under": under}, *words, ROOT) for under, *words in [
        (lambda g: g.norm().expand(len(g)), "all images are divided by one number", "‖g‖₂ of the whole batch"),
        (lambda g: g.std(1), "the divisor is each gradient's standard deviation", "std instead of the L2 norm"),
        (lambda g: g.std(1, unbiased=False), "the divisor is the standard deviation (with n)", "std for the norm"),
        (lambda g: g.abs().amax(1), "the ratio is ‖g‖₁ / ‖g‖∞", "the largest entry was taken for the L2 norm"),
    ]),
    Wrong(lambda grad: worst_over_noise(grad, over=lambda g: g.abs().mean(1), under=lambda g: g.std(1)),
          "the mean of |gᵢ| is divided by the standard deviation", "mean and std instead of sum and norm", ROOT),
    Wrong(lambda grad: worst_over_noise(grad, over=l2, under=lambda g: torch.ones(len(g)).to(g)),
          "this is ‖g‖₂: the random case alone", "the worst case is missing", "‖g‖₁ / ‖g‖₂"),
    Wrong(lambda grad: _each_plane(grad), "there is one ratio for each colour channel", "flatten(2)", EACH),
    Wrong(lambda grad: _each_plane(grad).mean(1), "the ratio is the mean of those of the channels",
          "one ratio for each colour channel, then a mean", EACH),
    *(Wrong(lambda grad, norms=norms: worst_over_noise(grad, flat=lambda grad: grad, over=norms[0], under=norms[1]),
            f"the norms are those of matrices{more}", "torch.linalg.norm of two axes is a matrix norm", EACH)
      for more, norms in [
          (", added up", (lambda g: torch.linalg.norm(g, 1, (-2, -1)).sum(1), lambda g: g.norm(dim=(-2, -1)).sum(1))),
          (" below", (lambda g: g.abs().sum((1, 2, 3)), lambda g: torch.linalg.matrix_norm(g, 2).norm(dim=1))),
      ]),
]  # fmt: skip

noise_ratio = Formula(
    name="noise_ratio",
    chapter=5,
    title="Worst case over noise",
    points=2,
    right=worst_over_noise,
    cases=_gradients,
    properties=[properties.like],
    verified="‖g‖₁ / ‖g‖₂ for each image, also where a gradient is tiny or exactly zero",
    wrong=NOISE_RATIO_WRONG,
)


# --- a sturdier network ------------------------------------------------------------------------------------

NEEDED, STANDS = 0.85, 0.40  # accuracy on new signs, and under ten steps at 2/255


def sturdy(
    exercise: Explore, model: Any, notes: list[str], *, needed: float = NEEDED, stands_needed: float = STANDS
) -> str:
    """``model`` is a signs_small of the learner's own that reads enough new signs, also under attack at 2/255."""
    network = _own_signs_small(model)
    test = load_images("signs", "test", n=256, seed=7)
    clean = (predict(network, test.x)[0] == test.y).float().mean().item()
    x_adv = pgd(network, test.x, test.y, Linf(2 / 255), steps=10)
    standing = predict(network, x_adv)[0] == test.y
    few = standing.nonzero().flatten()[:48]
    if len(few):
        asked = square(network, test.x[few], test.y[few], Linf(2 / 255), queries=100)
        standing[few] = predict(network, asked)[0] == test.y[few]
    stands = standing.float().mean().item()
    found = []
    if clean < needed:
        found.append(Mistake(f"it reads {clean:.0%} of 256 new signs; {needed:.0%} are needed"))
    if stands < stands_needed:
        found.append(Mistake(f"it reads {stands:.0%} of them under ten steps at 2/255; {stands_needed:.0%} are needed"))
    if found:
        raise Mistake.all(found)
    return f"a signs_small that reads {clean:.0%} of 256 new signs, and {stands:.0%} under ten steps at 2/255"


def _own_signs_small(model: Any) -> nn.Module:
    """A plain signs_small with the weights of ``model``, in which nothing can hide; or `Mistake`."""
    if not isinstance(model, nn.Module):
        cause = "`fit` returns its history; the network is trained in place" if isinstance(model, list) else ""
        raise Mistake(
            f"got {properties.described(model)}, expected a network", cause, "pass the trained network itself"
        )
    shapes = _shapes(model)
    if shapes != _shapes(signs_small()):
        like = next((f"a {name}" for name, build in NETS.items() if _shapes(build()) == shapes), "another network")
        raise Mistake(f"this is {like}; a signs_small is asked for, with nothing before or behind it")
    plain = signs_small()
    plain.load_state_dict({name: value.detach().float() for name, value in model.state_dict().items()})
    plain.eval()
    x = load_images("signs", "test", n=32, seed=7).x
    theirs = logits_of(model, x.to(next(model.parameters()).dtype)).float().cpu()
    if not torch.allclose(theirs, logits_of(plain, x), rtol=1e-2, atol=1e-2):
        raise Mistake(
            "it answers otherwise than a signs_small with its weights: something else changes images or answers",
            mend="hand in the network as `fit` leaves it",
        )
    for name in (name for name, recipe in RECIPES.items() if recipe.net == "signs-small"):
        given = load_model(name).state_dict()
        if all(torch.equal(value, given[key]) for key, value in plain.state_dict().items()):
            raise Mistake(f"these are the weights of {name}, which come with the course", mend="train one of your own")
    return plain


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in model.state_dict().items()}


def _trained(count: int = 2048, epochs: int = 20) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = signs_small()
    fit(network, load_images("signs", "train", n=count), epochs=epochs, lr=4e-3, weight_decay=5, progress=False)
    return network


def _given(name: str, factor: float = 1) -> nn.Module:
    """A network that comes with the course, its logits scaled."""
    model = load_model(name)
    for parameter in model[-1].parameters():
        parameter.data.mul_(factor)
    return model


def _rounding() -> nn.Module:
    """Coarse pixels, through which no gradient comes."""
    model = _given("signs-decayed-a")
    model.register_forward_pre_hook(lambda module, args: ((args[0] * 7).round() / 7,))
    return model


STURDIER_WRONG = [
    Wrong(lambda: _given("signs-cnn"), "this is a signs-cnn; a signs_small is asked for"),
    Wrong(lambda: _given("signs-decayed-a"), "these are the weights of signs-decayed-a, which come with the course"),
    Wrong(_rounding, "it answers otherwise than a signs_small with its weights"),
    Wrong(lambda: nn.Sequential(_rounding(), nn.Identity()),
          "another network; a signs_small is asked for, with nothing"),
    Wrong(lambda: _given("signs-overfit-a", 1e4), "of them under ten steps at 2/255; 40% are needed"),
    Wrong(lambda: _trained(64, 1), "of 256 new signs; 85% are needed"),
    Wrong(lambda: [(0.1, 0.99)], "`fit` returns its history; the network is trained in place"),
    Wrong(lambda: 0.9, "got 0.9, expected a network"),
    Wrong(lambda: _given, "got an object of type function, expected a network"),
]  # fmt: skip

sturdier = Explore(
    name="sturdier",
    chapter=5,
    title="Explore: a sturdier network",
    points=3,
    live=True,
    measured=sturdy,
    right=_trained,
    wrong=STURDIER_WRONG,
)
