"""The exercises of chapter 16: the attack inside adversarial training, another objective, and a run of one's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib.defenses.adversarial import Climb
from advlib.defenses.training import fit
from advlib.exercises import derived, properties, steps
from advlib.exercises.frame import Case, Explore, Formula, Wrong, instead_of
from advlib.exercises.steps import Loss, ce, gradient
from advlib.exercises.why import sturdy
from advlib.models.zoo import load_model
from advlib.norms import Linf

# --- my_rs_fgsm(model, x, y, eps, start) ------------------------------------------------------------------


def from_start(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    start: Tensor,
    *,
    loss: Loss = ce,
    direction: Callable[[Tensor], Tensor] = torch.sign,
    way: float = 1,
    length: Callable[[float], float] = lambda eps: 1.25 * eps,
    at: Callable[[Tensor, Tensor], Tensor] = torch.add,
    base: Callable[[Tensor, Tensor], Tensor] = lambda x, start: start,
    ball: Callable[[Tensor, float], Tensor] = lambda delta, eps: delta.clamp(-eps, eps),
    end: Callable[[Tensor, Tensor], Tensor] = steps.clipped,
) -> Tensor:
    """clip(x + clip(start + 1.25 ε · sign(∇ℓ at x + start), −ε, ε), 0, 1)."""
    climbed = base(x, start) + way * length(eps) * direction(gradient(model, at(x, start), y, loss))
    return end(x, ball(climbed, eps))


def _started() -> list[Case]:
    """Those of every step, each from a start inside the ball and the box; one of them from a corner of it."""
    found = steps.cases((8 / 255, 0.1, 0.25, 0.03))
    for i, case in enumerate(found):
        model, x, y, eps = case.args
        drawn = torch.rand(x.shape, generator=torch.Generator().manual_seed(i)).to(x)
        start = eps * (2 * drawn - 1) if i != 1 else eps * (2 * drawn - 1).sign()
        case.args = (model, x, y, eps, (x + start).clamp(0, 1) - x)
    return found


WHERE = "the gradient at x + start, and the step from there: the noise is part of the perturbation"
WITHIN = "(start + 1.25 * eps * grad.sign()).clamp(-eps, eps): the ball is around x"
RS_WRONG = [
    *instead_of("at",
        (lambda x, start: x, "the gradient is that at the clean image", "model(x) for model(x + start)", WHERE),
        (lambda x, start: start, "the network was asked about the noise alone", "x was not added to start", WHERE),
        (lambda x, start: x - start, "the gradient is that at x − start", "a flipped sign", WHERE),
    ),
    *instead_of("base",
        (lambda x, start: torch.zeros_like(x), "the step starts at x, and is ε long in every pixel",
         "the noise moved the gradient, but is not in the result", WHERE),
        (lambda x, start: -start, "the noise was taken off instead of added", "start with a minus sign", WHERE),
        (lambda x, start: 2 * start, "the noise counts twice", "start was added to x and to the step", WHERE),
    ),
    Wrong({"at": lambda x, start: x, "base": lambda x, start: torch.zeros_like(x)},
          "this is FGSM from the clean image: the start plays no part", "start is not used", WHERE),
    *instead_of("length",
        (float, "the step is ε long, where 1.25 ε is asked", "eps for 1.25 * eps", "1.25 * eps * grad.sign()"),
        (lambda eps: eps / 2, "the step is ε/2 long", "half a step, so that noise and step stay in the ball", WITHIN),
        (lambda eps: 1.25, "every pixel that has a gradient ends at the border of the ball",
         "the step is 2 ε or longer: another factor than 1.25, or eps is missing", "1.25 * eps * grad.sign()"),
        (lambda eps: 1.25 * eps / 255, "the step is 255 times too short", "eps was divided by 255 once more",
         "eps already is in pixel units"),
    ),
    *instead_of("ball",
        (lambda delta, eps: delta, "pixels change by up to 2.25 ε", "the sum of noise and step was not projected",
         WITHIN),
        (lambda delta, eps: delta.clamp(-1.25 * eps, 1.25 * eps), "pixels change by up to 1.25 ε",
         "projected onto a ball of the step's length", WITHIN),
        (lambda delta, eps: delta.clamp_max(eps), "some pixels fall by more than ε", "only the upper border is kept",
         WITHIN),
        (lambda delta, eps: delta.clamp(0, eps), "no pixel gets darker", "clamped to [0, ε]", WITHIN),
        (lambda delta, eps: eps * delta.sign(), "every pixel ends at the border of the ball",
         "the sign was taken of noise and step together", WITHIN),
        (lambda delta, eps: delta / 2.25, "every change is shrunk to fit", "scaled instead of clamped", WITHIN),
    ),
    Wrong({"length": float, "ball": lambda delta, eps: delta}, "pixels change by up to 2 ε: the step is ε long",
          "the step alone was clipped to the ball, and the noise added after", WITHIN),
    Wrong({"ball": lambda delta, eps: delta, "end": lambda x, delta: delta.clamp(0, 1)},
          "the result is the perturbation, clipped like an image", "x was not added", "return (x + delta).clamp(0, 1)"),
    steps.WAY, *steps.LOSS, *steps.END[:4], steps.END[6], *steps.SIGN[:6],
]  # fmt: skip

rs_fgsm = Formula(
    name="rs_fgsm",
    chapter=16,
    title="FGSM from a random start",
    points=2,
    right=from_start,
    cases=_started,
    same=properties.nearly,
    properties=[properties.inside_box, properties.which_images],
    verified="the same images as the formula, on eight models, from starts inside the ball and in its corners",
    wrong=RS_WRONG,
)


# --- my_trades(z, z_adv, y, beta) -------------------------------------------------------------------------


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() * (log_p - log_q)).sum(1)


def trades_loss(
    z: Tensor,
    z_adv: Tensor,
    y: Tensor,
    beta: float,
    *,
    right: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda z, z_adv, y: F.cross_entropy(z, y, reduction="none"),
    apart: Callable[[Tensor, Tensor], Tensor] = lambda z, z_adv: _kl(z.log_softmax(1), z_adv.log_softmax(1)),
    joined: Callable[[Tensor, Tensor, float], Tensor] = lambda a, b, beta: a + beta * b,
    whole: Callable[[Tensor], Tensor] = torch.mean,
) -> Tensor:
    """The mean over the batch of CE(z, y) + β · KL(softmax z ‖ softmax z′)."""
    return whole(joined(right(z, z_adv, y), apart(z, z_adv), beta))


def _pairs() -> list[Case]:
    def case(name: str, n: int, k: int, beta: float, seed: int, scale: float = 2.0) -> Case:
        generator = torch.Generator().manual_seed(seed)
        z = scale * torch.randn(n, k, generator=generator)
        z_adv = z + scale * torch.randn(n, k, generator=generator)
        y = torch.randint(k, (n,), generator=generator)
        y[0] = 0
        return Case(name, z, z_adv, y, beta)

    same, double = case("attacked logits like the clean ones", 4, 5, 6.0, 3), case("float64", 3, 4, 2.0, 4)
    same.args = (same.args[0], same.args[0].clone(), *same.args[2:])
    double.args = (double.args[0].double(), double.args[1].double(), *double.args[2:])
    return [
        case("3 images, 4 classes, β = 6", 3, 4, 6.0, 0),
        case("5 images, 16 classes, β = 1", 5, 16, 1.0, 1),
        case("1 image, 3 classes, β = 0", 1, 3, 0.0, 2),
        case("logits of tens, β = 0.5", 6, 10, 0.5, 5, scale=8),
        case("logits of hundreds, β = 0.5", 3, 4, 0.5, 6, scale=150),
        same,
        double,
    ]


def _tracked() -> list[Case]:
    """Logits that record gradients, but for the hundreds: there even torch's own kl_div has none that is finite."""
    cases = _pairs()
    for case in (one for one in cases if one.args[0].abs().max() < 100):
        case.args = (case.args[0].requires_grad_(), case.args[1].requires_grad_(), *case.args[2:])
    return cases


WAY_ROUND = "Σ pₖ (log pₖ − log p′ₖ), p of the clean logits and p′ of the attacked ones"
CLEAN = "F.cross_entropy(z, y), of the clean logits"
TRADES_WRONG = [
    *instead_of("right",
        (lambda z, z_adv, y: F.cross_entropy(z_adv, y, reduction="none"),
         "the first term is the cross-entropy of the attacked logits", "z_adv for z, as in PGD training", CLEAN),
        (lambda z, z_adv, y: 0 * z[:, 0], "the labels play no part", "the cross-entropy is missing", CLEAN),
        (lambda z, z_adv, y: F.cross_entropy(z, y, reduction="none") + F.cross_entropy(z_adv, y, reduction="none"),
         "both kinds of logits are held to the label", "two cross-entropies", CLEAN),
        (lambda z, z_adv, y: F.cross_entropy(z.softmax(1), y, reduction="none"),
         "the cross-entropy is one of probabilities", "a softmax came first", CLEAN),
        (lambda z, z_adv, y: -z.gather(1, y[:, None])[:, 0], "the first term is −z_y", "nll_loss without log_softmax",
         CLEAN),
        (lambda z, z_adv, y: -F.cross_entropy(z, y, reduction="none"), "the first term has the wrong sign",
         "a minus too many", CLEAN),
    ),
    *instead_of("apart",
        (lambda z, z_adv: _kl(z_adv.log_softmax(1), z.log_softmax(1)), "the divergence is the other way round",
         "F.kl_div takes log p′ first and p second, or clean and attacked were exchanged", WAY_ROUND),
        (lambda z, z_adv: -_kl(z.log_softmax(1), z_adv.log_softmax(1)), "the divergence is rewarded: it counts below 0",
         "log p′ − log p, or a minus before β", WAY_ROUND),
        (lambda z, z_adv: (z.softmax(1) * -z_adv.log_softmax(1)).sum(1),
         "attacked logits like the clean ones still cost something", "−Σ p log p′: the term Σ p log p is missing",
         WAY_ROUND),
        (lambda z, z_adv: _kl(z.log_softmax(1), z_adv.log_softmax(1)) / z.shape[1],
         "the divergence is divided by the number of classes", "F.kl_div(…, reduction='mean') divides by N · K",
         "sum over the classes, mean over the images: reduction='batchmean'"),
        (lambda z, z_adv: _kl(z.log_softmax(1), z_adv.log_softmax(1)) * len(z),
         "the divergence is added up over the images, not averaged", "sum() for sum(1)", "one mean over the batch"),
        (lambda z, z_adv: (z - z_adv).pow(2).sum(1), "the second term is a squared distance of the logits",
         "another measure than KL", WAY_ROUND),
        (lambda z, z_adv: (z - z_adv).pow(2).mean(1), "the second term is the mean squared distance of the logits",
         "F.mse_loss: that is another method, logit pairing", WAY_ROUND),
        (lambda z, z_adv: (z.softmax(1) - z_adv.softmax(1)).abs().sum(1),
         "the second term is the distance of the probabilities", "another measure than KL", WAY_ROUND),
        (lambda z, z_adv: (z.softmax(1) * (z.log_softmax(1) - z_adv.softmax(1))).sum(1),
         "the second logarithm is missing", "F.kl_div was given p′, and takes log p′",
         "F.kl_div(z_adv.log_softmax(1), z.softmax(1), reduction='batchmean')"),
        (lambda z, z_adv: (z.softmax(1).exp() * (z.softmax(1) - z_adv.log_softmax(1))).sum(1),
         "p stands in the place of log p", "F.kl_div(…, log_target=True) takes log p",
         "F.kl_div(z_adv.log_softmax(1), z.softmax(1), reduction='batchmean')"),
        (lambda z, z_adv: (z.softmax(1) * (z - z_adv)).sum(1), "the divergence is one of raw logits",
         "log_softmax is missing in both logarithms", WAY_ROUND),
        (lambda z, z_adv: _kl(z.detach().log_softmax(1), z_adv.log_softmax(1)),
         "the value is right, but the divergence pulls at the attacked logits alone", "the clean logits are detached",
         "leave both in the graph: both answers are to move together"),
        (lambda z, z_adv: _kl(z.log_softmax(1), z_adv.detach().log_softmax(1)),
         "the value is right, but the divergence pulls at the clean logits alone", "the attacked logits are detached",
         "leave both in the graph: both answers are to move together"),
        (lambda z, z_adv: _kl(z.log_softmax(0), z_adv.log_softmax(0)), "the probabilities add up to 1 over the images",
         "softmax over dim 0", "dim=1: each image has its own"),
        (lambda z, z_adv: 0.5 * (_kl(z.log_softmax(1), z_adv.log_softmax(1))
                                 + _kl(z_adv.log_softmax(1), z.log_softmax(1))),
         "the divergence is the mean of both directions", "a symmetric form", WAY_ROUND),
    ),
    *instead_of("joined",
        (lambda a, b, beta: a + b, "β changes nothing", "beta is not used", "ce + beta * kl"),
        (lambda a, b, beta: beta * a + b, "β stands at the cross-entropy", "the wrong term has it", "ce + beta * kl"),
        (lambda a, b, beta: beta * (a + b), "β weighs both terms", "brackets", "ce + beta * kl"),
        (lambda a, b, beta: a + b / beta if beta else a, "the divergence is divided by β",
         "1/λ of the paper's Equation 3 taken twice: β is 1/λ", "ce + beta * kl"),
        (lambda a, b, beta: (1 - beta) * a + beta * b, "this is a mixture, (1 − β) and β", "a weighted mean",
         "ce + beta * kl"),
    ),
]  # fmt: skip

trades = Formula(
    name="trades",
    chapter=16,
    title="The objective of TRADES",
    points=3,
    right=trades_loss,
    cases=_tracked,
    outcome=derived.with_gradient(0, 1, dims=0),
    kind=derived.kind("one mean over the batch, with both logarithms by log_softmax(1)"),
    properties=[derived.which("z", "z_adv")],
    verified="value and gradient in both kinds of logits, for seven batches, one of them in float64",
    wrong=TRADES_WRONG,
)


# --- a network of one's own that stands at 2/255 ----------------------------------------------------------

CLEAN_NEEDED, STANDS = 0.85, 0.60


def _hardened(eps: float = 3 / 255, epochs: int = 6, perturb: bool = True) -> nn.Module:
    from advlib import load_images

    network = load_model("signs-midfit-a")
    attack = Climb(Linf(eps)) if perturb else None
    fit(network, load_images("signs", "train", n=4096), epochs=epochs, perturb=attack, lr=4e-3, progress=False)
    return network


HARDER_WRONG = [
    Wrong(lambda: load_model("signs-fgsm-trained"), "these are the weights of signs-fgsm-trained"),
    Wrong(lambda: load_model("signs-robust"), "this is a signs-large; a signs_small is asked for"),
    Wrong(lambda: _hardened(epochs=1, perturb=False), "under ten steps at 2/255; 60% are needed"),
    Wrong(lambda: _hardened(eps=24 / 255, epochs=1), "of 256 new signs; 85% are needed"),
    Wrong(lambda: [(0.1, 0.9)], "`fit` returns its history; the network is trained in place"),
    Wrong(lambda: 0.9, "got 0.9, expected a network"),
]  # fmt: skip

harder = Explore(
    name="harder",
    chapter=16,
    title="Explore: a budget of seconds",
    points=3,
    live=True,
    measured=partial(sturdy, needed=CLEAN_NEEDED, stands_needed=STANDS),
    right=_hardened,
    wrong=HARDER_WRONG,
)
