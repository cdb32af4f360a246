"""The exercises of chapter 3, gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib import losses
from advlib.exercises import properties, specimens, steps
from advlib.exercises.frame import Case, Explore, Formula, Mistake, Wrong, instead_of
from advlib.exercises.steps import Loss, ce, gradient

Part = Callable[[Tensor, Tensor], Any]


def _itself(g: Tensor, x: Tensor) -> Tensor:
    return g


ITSELF = "return the gradient itself"


def _length(g: Tensor) -> Tensor:
    return g.flatten(1).norm(dim=1).view(-1, *[1] * (g.ndim - 1))


def _largest(g: Tensor) -> Tensor:
    return g.flatten(1).abs().amax(1).view(-1, *[1] * (g.ndim - 1))


# --- my_input_gradient(model, x, y) -----------------------------------------------------------------------


def input_grad(model, x, y, *, loss: Loss = ce, after: Part = _itself, training=None) -> Tensor:
    """Each image's own ∇ₓ of its loss."""
    if training is not None:
        model.train(training)
    return after(gradient(model, x, y, loss), x)


class _Kept(nn.Sequential):
    """A network whose copies keep the .grad of its weights."""

    def __deepcopy__(self, memo: dict) -> _Kept:
        twin = _Kept(*copy.deepcopy(list(self), memo)).train(self.training)
        for mine, its in zip(self.parameters(), twin.parameters()):
            its.grad = copy.copy(mine.grad)
        return twin


def _classifiers() -> list[Case]:
    """Those of the attacks; batch norm, which training mode changes; huge logits; a model that comes in training."""
    normed = specimens.conv(3, 5, seed=4).insert(1, nn.BatchNorm2d(8)).eval()
    huge, x = specimens.mlp(1, 10, 4, seed=9, scale=1e3), specimens.images(4, 1, 10, seed=9)
    known = [Case(case.name, *case.args[:3]) for case in steps.cases((0, 0, 0, 0))]
    kept = _Kept(*specimens.mlp(1, 9, 5, seed=8).train())
    for weight in kept.parameters():
        weight.grad = torch.ones_like(weight)
    with torch.no_grad():
        misread = (huge(x).argmax(1) + 1) % 4
    return [
        *known,
        Case("a network with batch norm", normed, specimens.images(5, 3, 14, seed=3), specimens.labels(5, 5, seed=3)),
        Case("huge logits", huge, x, misread),
        Case("a network in training mode, with gradients in its weights", kept, *known[0].args[1:]),
    ]


def _probability(z: Tensor, y: Tensor) -> Tensor:
    return (-ce(z, y)).exp() if len(y) == 1 else z.softmax(1).gather(1, y[:, None]).sum()


DIFFERENTIATED = "loss = my_cross_entropy(model(x), y).sum()"
INPUT_GRADIENT_WRONG = [
    *steps.LOSS,
    Wrong({"after": lambda g, x: g / _length(g)}, "every gradient has length 1, and one of zero is NaN",
          "divided by its length", ITSELF),
    Wrong({"after": lambda g, x: g / g.abs().amax((1, 2, 3), keepdim=True)},
          "the largest entry of each image's gradient is 1, and one of zero is NaN", "divided by its largest entry",
          ITSELF),
    *instead_of(
        "loss",
        (lambda z, y: -F.nll_loss(z, y, reduction="sum"), "this is the gradient of the label's logit",
         "z_y was differentiated instead of the loss", DIFFERENTIATED),
        (lambda z, y: z.sum(), "this is the gradient of the sum of all logits",
         "the model's output was differentiated instead of the loss", DIFFERENTIATED),
        (lambda z, y: _probability(z, y), "this is the gradient of the label's probability",
         "the probability was differentiated instead of the loss", DIFFERENTIATED),
        (lambda z, y: -_probability(z, y), "this is the gradient of minus the label's probability",
         "nll_loss was given probabilities: the logarithm is missing", DIFFERENTIATED),
        (lambda z, y: -z.softmax(1).gather(1, y[:, None]).log().sum(), "where p_y rounds to 0, the gradient is NaN",
         "the logarithm was taken of a softmax", "log_softmax, logsumexp or cross_entropy, of the logits (chapter 2)"),
    ),
    Wrong({"training": True}, "this is the gradient of a network in training mode", "model.train() was called",
          "leave its mode alone: in training mode batch norm mixes the images"),
]  # fmt: skip

input_gradient = Formula(
    name="input_gradient",
    chapter=3,
    title="The input gradient",
    points=2,
    right=input_grad,
    cases=_classifiers,
    same=properties.to_scale,
    properties=[properties.like],
    strict=True,
    allowed=["advlib.losses"],
    verified="each image's own gradient on eleven models, also tiny ones and exact zeros; x and model as they were",
    wrong=INPUT_GRADIENT_WRONG,
)


# --- my_backprop(weights, biases, x, y) -------------------------------------------------------------------


def _slope(a: Tensor, v: Tensor) -> Tensor:
    return 1 - v**2


def _one(a: Tensor, v: Tensor) -> Tensor:
    return torch.ones_like(v)


def _from_truth(z: Tensor, y: Tensor, squash: Callable = lambda z: z.softmax(1)) -> Tensor:
    return squash(z) - F.one_hot(y, z.shape[1])


def _all_rows(z: Tensor, y: Tensor) -> Tensor:
    p = z.softmax(1)
    p[:, y] -= 1
    return p


def back(
    weights, biases, x, y, *, bias=(1, 1, 1), act=torch.tanh, error=_from_truth, slope=_slope, first=None, second=None,
    pixels=torch.matmul, order=lambda v1, v2: (v1, v2),
):  # fmt: skip
    """The error at the logits, carried back to the pixels."""
    (w1, w2, w3), (b1, b2, b3) = weights, [k * b for k, b in zip(bias, biases)]
    a1 = x @ w1.T + b1
    a2 = act(a1) @ w2.T + b2
    s1, s2 = order((first or slope)(a1, act(a1)), (second or slope)(a2, act(a2)))
    return pixels(error(act(a2) @ w3.T + b3, y) @ w3 * s2 @ w2 * s1, w1)


def _networks() -> list[Case]:
    """Sizes (n, hidden, hidden, classes); the last are all alike, so that no shape warns of a wrong axis."""
    found = []
    for sizes, n in (((20, 9, 7, 5), 6), ((784, 32, 16, 10), 4), ((12, 8, 8, 8), 1), ((6, 6, 6, 6), 6)):
        draw, dtype = torch.Generator().manual_seed(n), torch.float64 if sizes[0] == n else torch.float32
        pairs = list(zip(sizes, sizes[1:]))
        weights = [(1.5 * torch.randn(out, into, generator=draw) / into**0.5).to(dtype) for into, out in pairs]
        biases = [(0.5 * torch.randn(out, generator=draw)).to(dtype) for _, out in pairs]
        x, y = torch.rand(n, sizes[0], generator=draw).to(dtype), specimens.labels(n, sizes[-1], seed=n)
        found.append(Case(f"layers of {', '.join(map(str, sizes))}, {n} images", weights, biases, x, y))
    return found


P, V = "the error at the logits is p − e_y, with p = z.softmax(1)", "1 - v**2, where v is what comes out of the tanh"
TANH = "the slope of the tanh is not right"
BACKPROP_WRONG = [
    *instead_of(
        "error",
        (lambda z, y: z.softmax(1), "the true class plays no part", "e_y was not subtracted from p", P),
        (lambda z, y: 0 * z - F.one_hot(y, z.shape[1]), "only the true class plays a part", "p is missing", P),
        (lambda z, y: _from_truth(z, y, lambda z: z), "it starts from z − e_y", "the softmax is missing", P),
        (lambda z, y: _from_truth(z, y, lambda z: z.log_softmax(1)), "it starts from log p − e_y", "log_softmax", P),
        (lambda z, y: _from_truth(z, y, torch.sigmoid), "it starts from σ(z) − e_y", "a sigmoid, not the softmax", P),
        (lambda z, y: _from_truth(z, y, lambda z: z.softmax(0)), "the probabilities add up to 1 over the batch",
         "softmax over dim=0", P),
        (_all_rows, "1 was subtracted in every row at every image's class", "error[:, y] takes all rows",
         "error[torch.arange(len(x)), y] -= 1"),
        (lambda z, y: _from_truth(z, z.argmax(1)), "this is the gradient for the class that the network reads",
         "y was replaced by the prediction", "use the y that is passed"),
        (lambda z, y: _from_truth(z, y[:1].expand_as(y)), "every image is taken to have the first image's label",
         "y[0] was used for the whole batch", "error[torch.arange(len(x)), y] -= 1"),
    ),
    *instead_of(
        "slope",
        (_one, "the gradient passes the hidden layers as if there were no tanh", "the factors 1 − v² are missing",
         "multiply by 1 - v2**2 after W3, and by 1 - v1**2 after W2"),
        (lambda a, v: 1 - a**2, TANH, "1 − a² instead of 1 − v²", V),
        (lambda a, v: 1 - torch.tanh(v) ** 2, TANH, "1 − tanh²(v): the tanh was taken twice", V),
        (lambda a, v: 1 - v, TANH, "1 − v: the square is missing", V),
        (lambda a, v: (1 - v) ** 2, TANH, "(1 − v)² instead of 1 − v²", V),
        (lambda a, v: 1 + v**2, TANH, "1 + v² instead of 1 − v²", V),
        (lambda a, v: v * (1 - v), TANH, "v (1 − v) is the slope of the sigmoid", V),
        (lambda a, v: (a > 0).to(v), TANH, "a > 0 is the slope of a ReLU", V),
        (lambda a, v: v, TANH, "v itself was multiplied", V),
        (lambda a, v: v**2, TANH, "v² was multiplied: the “1 −” is missing", V),
    ),
    Wrong({"first": _one}, "the first tanh is left out on the way back", "the factor 1 − v₁² is missing",
          "multiply by 1 - v1**2 before W1"),
    Wrong({"second": _one}, "the second tanh is left out on the way back", "the factor 1 − v₂² is missing",
          "multiply by 1 - v2**2 before W2"),
    Wrong({"order": lambda s1, s2: (s2, s1)}, "where the layers have different sizes, the shapes do not fit",
          "v1 and v2 are exchanged on the way back", "1 - v2**2 comes first, after W3; 1 - v1**2 after W2"),
    *(Wrong({"bias": bias}, seen, cause, "x @ W.T + b, in every layer") for bias, seen, cause in [
        ((0, 0, 0), "this is the gradient of a network without biases", "the forward pass leaves them out"),
        ((0, 1, 1), "this is the gradient of a network whose b1 is 0", "the forward pass leaves b1 out"),
        ((1, 0, 1), "this is the gradient of a network whose b2 is 0", "the forward pass leaves b2 out"),
        ((1, 1, 0), "this is the gradient of a network whose b3 is 0", "the forward pass leaves b3 out"),
    ]),
    Wrong({"act": torch.relu, "slope": lambda a, v: (a > 0).to(v)}, "this is the gradient of a network with ReLUs",
          "relu instead of tanh", "v = torch.tanh(a)"),
    Wrong({"act": torch.sigmoid, "slope": lambda a, v: v * (1 - v)},
          "this is the gradient of a network with sigmoids", "sigmoid instead of tanh", "v = torch.tanh(a)"),
    *instead_of(
        "error",
        (lambda z, y: _from_truth(z, y) / z.shape[1], "the gradient is divided by the number of classes",
         "a mean over the classes", P),
        (lambda z, y: _from_truth(z, y, lambda z: z.softmax(1).softmax(1)), "the probabilities are too even",
         "softmax twice", P),
        (lambda z, y: _from_truth(z, y) * z.softmax(1) * (1 - z.softmax(1)), "the error is (p − e_y) · p (1 − p)",
         "the slope of a sigmoid was multiplied, as for a squared error", P),
        (lambda z, y: _from_truth(z, y, torch.exp), "it starts from exp(z) − e_y", "the softmax lacks its division", P),
        (lambda z, y: _from_truth(z.tanh(), y) * (1 - z.tanh() ** 2), "there is a tanh behind the logits, too",
         "tanh after the last layer", "z = v2 @ W3.T + b3"),
        (lambda z, y: _from_truth(z.tanh(), y), "a tanh stands behind the logits on the way forward",
         "tanh after the last layer", "z = v2 @ W3.T + b3"),
    ),
    Wrong({"pixels": lambda g, w1: g}, "the result is the error at the first layer's sums",
          "the last product, with W1, is missing", "… @ W1"),
]  # fmt: skip

backprop = Formula(
    name="backprop",
    chapter=3,
    title="One layer more, by hand",
    points=3,
    right=back,
    cases=_networks,
    same=properties.to_scale,
    properties=[properties.like],
    by_hand=["grad", "backward", "grad_and_value", "vjp", "jvp", "jacrev", "jacfwd", "jacobian", "linearize"],
    verified="the gradient of autograd on four networks with two hidden layers, batches of 1 to 6",
    wrong=BACKPROP_WRONG,
)


# --- my_finite_differences(f, x, tau) -----------------------------------------------------------------------


def differences(
    f, x, tau, *, ahead=1, behind=1, width=lambda tau: 2 * tau, reach=lambda tau, x: tau, kind=torch.float64,
    after=lambda slopes: slopes,
):  # fmt: skip
    """(f(x + τ·e_i) − f(x − τ·e_i)) / 2τ for every i."""
    nudges, x = (reach(tau, x) * torch.eye(len(x), dtype=x.dtype)).to(kind), x.to(kind)
    return after(torch.stack([(f(x + ahead * e) - f(x - behind * e)) / width(tau) for e in nudges]))


def _at_once(f, x, tau):
    return (f(x + tau) - f(x - tau)) / (2 * tau)


def _not_put_back(f, x, tau):
    x, slopes = x.clone(), []
    for i in range(len(x)):
        x[i] += tau
        above = f(x)
        x[i] -= 2 * tau
        slopes.append((above - f(x)) / (2 * tau))
    return torch.stack(slopes)


def _functions() -> list[Case]:
    """Each of a vector. Autograd sees no slope of the staircase, and its slopes are not those of a coarse τ."""
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0, -1.0], dtype=torch.float64)
    kinds = [
        ("a cubic", lambda v: (weights[: len(v)].to(v) * v**3).sum() + v[0] * v[-1], 4, 0.1),
        ("a staircase", lambda v: (weights[: len(v)].to(v) * (8 * v).round()).sum(), 5, 0.3),
        ("an exponential", lambda v: (weights[: len(v)].to(v) * v).sum().exp(), 5, 1e-6),
        ("a function of one number", lambda v: v[0].sin(), 1, 0.5),
    ]
    draw = torch.Generator().manual_seed(0)
    return [Case(name, f, torch.rand(n, dtype=torch.float64, generator=draw) + 0.5, t) for name, f, n, t in kinds]


def _numbers_alike(a: Any, b: Any) -> bool:
    """`to_scale`, whatever the type: slopes collected in a float32 tensor are as good."""
    return properties.to_scale(*(v.double() if isinstance(v, Tensor) else v for v in (a, b)))


TWO, ONE_SIDE = "raise and lower: (f(x + τ·e_i) − f(x − τ·e_i)) / (2 * tau)", "only one side was looked at"
EACH, APART = "one slope for every i: x + tau * e_i and x − tau * e_i", "the points lie 2τ apart: divide by 2 * tau"
FINITE_DIFFERENCES_WRONG = [
    *instead_of(
        "width",
        (lambda tau: 1, "the slopes are 2τ times too small", "the division is missing", APART),
        (lambda tau: 2, "the slopes are τ times too small", "divided by 2, not by 2τ", APART),
        (lambda tau: 2 / tau, "multiplied by τ instead of divided", "/ 2 * tau divides by 2 and multiplies by tau",
         "brackets: / (2 * tau)"),
    ),
    *(Wrong({"ahead": a, "behind": b, "width": lambda tau, w=w: w * tau}, *words, TWO) for a, b, w, *words in [
        (1, 0, 1, "these are one-sided differences, (f(x + τ) − f(x)) / τ", ONE_SIDE),
        (0, 1, 1, "these are one-sided differences, (f(x) − f(x − τ)) / τ", ONE_SIDE),
        (1, 0, 2, "f(x + τ) was compared with f(x), but divided by 2τ",
         "only one side was looked at, or x_minus = x made no copy"),
        (0, 1, 2, "f(x) was compared with f(x − τ), but divided by 2τ", ONE_SIDE),
        (2, 0, 2, "x + 2τ and x were compared", "both points lie on one side"),
        (0.5, 0.5, 1, "x + τ/2 and x − τ/2 were compared", "τ was taken for the distance of the two points"),
        (2, 2, 4, "x + 2τ and x − 2τ were compared", "τ was doubled"),
    ]),
    *(Wrong({"reach": lambda tau, x: 1e-5, "width": lambda tau: 2e-5, "after": after}, f"these are derivatives{more}",
            "autograd, or a far smaller step than τ", "only call f, at x + tau * e_i and x − tau * e_i")
      for after, more in [(lambda slopes: slopes, ""), (torch.abs, ", without their signs")]),
    Wrong({"reach": lambda tau, x: tau * x.abs()}, "the step is τ·|xᵢ|, other for each i",
          "τ was taken as a share of xᵢ", "the step is τ for every i"),
    Wrong({"kind": torch.float32}, "the slopes hold the noise of float32", "x was turned into float32",
          "keep the type of x: chapter 3's figure shows why"),
    *instead_of(
        "after",
        (lambda s: s.mean().expand_as(s), "all slopes are their mean", "averaged over the entries", EACH),
    ),
    Wrong(lambda f, x, tau: torch.zeros_like(x), "every slope is 0",
          "x_plus = x and x_minus = x make no copies: both are the caller's x; or the slopes were never written",
          "x.clone() for each of the two, and each slope into the result"),
    Wrong(_at_once, "there is one number instead of a slope for every i",
          "all entries were moved at once, or the slopes added up", EACH),
    Wrong(lambda f, x, tau: _at_once(f, x, tau).expand_as(x), "every slope is that of moving all entries",
          "all entries were moved at once", EACH),
    Wrong(lambda f, x, tau: torch.stack([f(x - x * e + tau * e) - f(x - x * e - tau * e) for e in torch.eye(len(x))])
          / (2 * tau), "entries were set to τ and −τ", "= tau instead of += tau", EACH),
    Wrong(lambda f, x, tau: torch.stack([f(x + e) - f(x - e) for e in torch.ones(len(x), len(x)).tril().to(x) * tau])
          / (2 * tau), "the i-th slope moves all entries up to i",
          "one copy was made before the loop, and keeps each nudge", "a fresh copy for each i: x + nudge"),
    Wrong(lambda f, x, tau: (f(x + tau * torch.eye(len(x)).to(x)) - f(x - tau * torch.eye(len(x)).to(x))) / (2 * tau),
          "f was given all nudged vectors at once", "a table was passed, but f takes one vector",
          "call f for one row after the other"),
    Wrong(_not_put_back, "each entry stays lowered while the next ones are moved", "x was changed in place",
          "a fresh copy for each i: x + nudge"),
    *(Wrong(lambda f, x, tau, slope=slope: torch.stack([slope(f, x, tau * e, tau) for e in torch.eye(len(x)).to(x)]),
            *words) for slope, *words in [
        (lambda f, x, e, tau: (f(x + e) - 2 * f(x) + f(x - e)) / tau**2, "these are second derivatives",
         "f(x + τ) − 2 f(x) + f(x − τ)", TWO),
        (lambda f, x, e, tau: (f(x + e) + f(x - e)) / (2 * tau), "the two values of f were added",
         "+ instead of −", TWO),
        (lambda f, x, e, tau: (f(x + e / 2) - f(x - e / 2)) / (2 * tau), "x + τ/2 and x − τ/2, but divided by 2τ",
         "τ was halved in one place only", APART),
        (lambda f, x, e, tau: (f(x + e * x) - f(x - e * x)) / (2 * e * x).sum(), "the step is τ·xᵢ, other for each i",
         "τ was taken as a share of xᵢ, also in the divisor", "the step is τ for every i"),
        (lambda f, x, e, tau: (f(x + e) - f(x - e)) / tau**2, "divided by τ²", "the square is too much", APART),
    ]),
]  # fmt: skip

finite_differences = Formula(
    name="finite_differences",
    chapter=3,
    title="Finite differences",
    points=2,
    right=differences,
    cases=_functions,
    same=_numbers_alike,
    properties=[properties.like],
    verified="two-sided differences of four functions, one of them a staircase, with τ from 0.5 to 0.000001",
    wrong=FINITE_DIFFERENCES_WRONG,
)


# --- a network without gradient, fooled all the same ------------------------------------------------------


def _silent(exercise, images, notes, model, x, y, *, eps: float = 8 / 255, share: float = 1 / 3) -> str:
    """``images`` are ``x``, no value changed by more than ``eps``; ``model`` misreads a ``share`` of them."""
    levels = f"{eps * 255:.3g}/255"
    if isinstance(images, Tensor) and images.shape == x.shape and images.abs().max() <= 1.001 * eps < x.max():
        raise Mistake(f"no value is larger than {levels}: these are changes, not signs", mend="add them to x_net")
    images = properties.images(images, x)
    change = (images - x).abs().flatten(1)
    properties.inside_ball(change.amax(1), eps, "L∞")
    read = ~properties.misread(model, x, y)

    def fooled(images: Tensor) -> float:
        return (properties.misread(model, images, y) & read).float().mean().item()

    if fooled(images) >= share:
        return f"{fooled(images):.0%} of {len(x)} signs are misread, no value changed by over {levels}"
    seen = f"{fooled(images):.0%} of the signs are misread; {share:.0%} are asked"
    still = (change == 0).all(1)
    silent = (gradient(model, x, y, lambda z, y: losses.margin(z, y).sum()) == 0).flatten(1).all(1)
    if still.float().mean() > 0.1:
        raise Mistake(
            f"{seen}. {still.sum()} of {len(x)} did not change at all; of these, {(still & silent).sum()} have no "
            "gradient in the steep network",
            mend="take the gradient of a network that reads alike and is not saturated",
        )
    properties.weak(seen, images, x, eps, fooled)
    raise Mistake(seen, mend="follow the gradient of the plain network")


class Steep(nn.Module):
    """A two-layer network with tanh(s · a) in place of tanh(a)."""

    def __init__(self, net: nn.Module, s: float):
        super().__init__()
        self.net, self.s = net, s

    def forward(self, x: Tensor) -> Tensor:
        flatten, first, tanh, last = self.net
        return last(tanh(self.s * first(flatten(x))))


def _saturated() -> tuple[nn.Module, Tensor, Tensor]:
    """A network whose hidden units are at their ends, in training mode, and images that it reads rightly."""
    steep, x = Steep(specimens.mlp(3, 32, 4, seed=0), 1e4), specimens.images(60, 3, 32, seed=0)
    with torch.no_grad():
        return steep, x, steep(x).argmax(1)


def _moved(steep: Steep, x: Tensor, y: Tensor, levels: float = 8, guide: nn.Module | None = None) -> Tensor:
    g = gradient(guide or steep.net, x, y, lambda z, y: losses.margin(z, y).sum())
    return (x + levels / 255 * g.sign()).clamp(0, 1)


SILENT_NETWORK_WRONG = [
    Wrong(lambda steep, x, y: x.clone(), "60 of 60 did not change at all"),
    Wrong(lambda steep, x, y: _moved(steep, x, y, guide=steep), "have no gradient in the steep network"),
    Wrong(lambda steep, x, y: _moved(steep, x, y, 16), "the L∞ size of a perturbation is 0.0627, but ε is 0.0314"),
    Wrong(lambda steep, x, y: _moved(steep, x, y, 0.2), "Half of them change by 0.2/255 at most"),
    Wrong(lambda steep, x, y: _moved(steep, x, y, -8), "The opposite changes fool"),
    Wrong(lambda steep, x, y: _moved(steep, x, y) - x, "these are changes, not signs"),
    Wrong(lambda steep, x, y: 2 * _moved(steep, x, y) - 0.5, "an image lies in [0, 1]"),
    Wrong(lambda steep, x, y: torch.where(torch.arange(32) == 0, _moved(steep, x, y), x), "on average, 8/255 are"),
    Wrong(lambda steep, x, y: _moved(steep, x, y)[:5], "shape (5, 3, 32, 32), expected (60, 3, 32, 32)"),
]  # fmt: skip

silent_network = Explore(
    name="silent_network",
    chapter=3,
    title="Explore: fool the silent network",
    points=3,
    measured=_silent,
    example=_saturated,
    right=_moved,
    wrong=SILENT_NETWORK_WRONG,
)
