"""The exercises of chapter 11, transfer: how far two gradients agree, an ensemble with momentum, an unseen victim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib import losses
from advlib.exercises import climbing, properties, specimens, steps
from advlib.exercises.frame import Case, Explore, Formula, Mistake, Wrong
from advlib.exercises.steps import Loss, ce, gradient
from advlib.norms import Ball, Linf

# --- my_agreement(substitute, victim, x, y) --------------------------------------------------------------

Rule = Callable[[Tensor, Tensor], Tensor]


def _ratio(gain: Tensor, most: Tensor) -> Tensor:
    return torch.where(most > 0, gain / most, 0)


def _agreement(
    substitute: nn.Module,
    victim: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    loss: Loss = ce,
    turned: bool = False,
    step: Callable[[Tensor], Tensor] = torch.sign,
    gain: Rule = lambda s, h: (s * h).sum(1),
    most: Rule = lambda g, h: h.abs().sum(1),
    over: Rule = _ratio,
) -> Tensor:
    """Σ sign(g) h / ‖h‖₁ of each image; 0 where h = 0."""
    g, h = (gradient(net, x, y, loss).flatten(1) for net in (substitute, victim))
    g, h = (h, g) if turned else (g, h)
    return over(gain(step(g), h), most(g, h))


def _pairs() -> list[Case]:
    kinds = [
        ("two networks of 1×6×6 images", specimens.mlp(1, 6, 4, 1, 3), specimens.mlp(1, 6, 4, 2), (4, 1, 6), 4),
        ("two architectures", specimens.conv(3, 5, 2), specimens.mlp(3, 8, 5, 3), (5, 3, 8), 5),
        ("a linear substitute, a batch of 1", specimens.linear(1, 5, 3, 4), specimens.mlp(1, 5, 3, 5), (1, 1, 5), 3),
        ("one network twice", specimens.mlp(1, 7, 6, 6), specimens.mlp(1, 7, 6, 6), (3, 1, 7), 6),
        ("a victim with tiny gradients", specimens.mlp(1, 9, 4, 7), specimens.mlp(1, 9, 4, 8, 1e-7), (4, 1, 9), 4),
    ]
    found = [
        Case(name, *nets, specimens.images(*shape, seed=i), specimens.labels(shape[0], classes, seed=i))
        for i, (name, *nets, shape, classes) in enumerate(kinds)
    ]
    dark = specimens.images(3, 1, 8, seed=5, low=0.3)
    dark[1] = 0.1
    silent = specimens.silenced(1, 8, 4, seed=5)
    double = [specimens.mlp(1, 6, 4, seed).double() for seed in (1, 2)]
    x, y = found[0].args[2:]
    return [
        *found,
        Case("a victim's gradient of exactly zero", specimens.mlp(1, 8, 4, 9), silent, dark, torch.tensor([0, 1, 2])),
        Case("float64", *double, x.double(), y),
    ]


FORMULA = "(g.sign() * h).sum(1) / h.abs().sum(1), with both gradients flattened to (N, n)"
AGREEMENT_WRONG = [
    *steps.LOSS[:4],
    Wrong({"turned": True}, "the two networks are exchanged", "the sign of the victim's gradient was taken",
          "the sign is the substitute's, the size the victim's"),
    Wrong({"step": lambda g: g}, "the substitute's gradient kept its size", "the sign is missing", FORMULA),
    Wrong({"step": lambda g: -g.sign()}, "every sign is the other way round", "minus the gradient: a step downhill",
          FORMULA),
    Wrong({"step": lambda g: (g > 0).to(g)}, "only values that rise count", "a comparison instead of the sign",
          FORMULA),
    Wrong({"step": lambda g: g, "most": lambda g, h: g.norm(dim=1) * h.norm(dim=1)},
          "this is the cosine of the two gradients", "both were divided by their L2 length",
          "an L∞ attacker steps along the sign: " + FORMULA),
    Wrong({"gain": lambda s, h: (s == h.sign()).to(h).mean(1), "most": lambda g, h: torch.ones_like(h[:, 0])},
          "this is the share of values with the same sign", "the victim's sizes play no part",
          "weigh each sign by the victim's |h|: " + FORMULA),
    Wrong({"gain": lambda s, h: (s * h.sign()).mean(1), "most": lambda g, h: torch.ones_like(h[:, 0])},
          "this is the mean product of the two signs", "the victim's sizes play no part",
          "weigh each sign by the victim's |h|: " + FORMULA),
    *(Wrong({"most": most}, seen, cause, FORMULA) for most, seen, cause in [
        (lambda g, h: torch.ones_like(h[:, 0]), "the result is the gain itself", "nothing was divided by ‖h‖₁"),
        (lambda g, h: h.norm(dim=1), "the gain was divided by the L2 length of h", "norm(dim=1) is the L2 norm"),
        (lambda g, h: h.abs().amax(1), "the gain was divided by the largest |h|", "the L∞ norm of h"),
        (lambda g, h: h.abs().mean(1), "the result is n times too large", "the mean of |h| for its sum"),
        (lambda g, h: g.abs().sum(1), "the gain was divided by ‖g‖₁", "the substitute's norm"),
        (lambda g, h: h.abs().sum().expand(len(h)), "the whole batch shares one ‖h‖₁", "sum() over all images"),
        *((lambda g, h, tiny=tiny: h.abs().sum(1) + tiny, "it is too small where the victim's gradient is tiny",
           f"about {tiny:g} was added to ‖h‖₁") for tiny in (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)),
    ]),
    Wrong({"over": torch.div}, "where the victim's gradient is zero, the result is NaN", "zero was divided by zero",
          "torch.where(norm > 0, gain / norm, 0)"),
    *(Wrong({"loss": loss, "gain": lambda s, h: (s * h).sum().expand(len(h)),
             "most": lambda g, h: h.abs().sum().expand(len(h))}, "every image has the agreement of the whole batch",
            "sum() over all images" + more, "sum over dim=1")
      for loss, more in [(ce, ""), (lambda z, y: losses.log_odds(z, y).sum(), ", of the log-odds' gradients")]),
    Wrong({"over": lambda gain, most: torch.ones_like(gain)}, "every agreement is 1",
          "g and h are one tensor, as x.grad of two backward() is, or both come from the substitute",
          "torch.autograd.grad, once for each network"),
]  # fmt: skip

agreement = Formula(
    name="agreement",
    chapter=11,
    title="Write the agreement",
    points=2,
    right=_agreement,
    cases=_pairs,
    allowed=["advlib.losses"],
    verified="the formula's value on seven pairs of networks, also where the victim's gradient is tiny or zero",
    wrong=AGREEMENT_WRONG,
)


# --- my_ensemble_attack(models, x, y, eps, steps) --------------------------------------------------------


def _mean(logits: Sequence[Tensor]) -> Tensor:
    return sum(logits[1:], logits[0]) / len(logits)


def ensemble(
    models: Sequence[nn.Module],
    x: Tensor,
    y: Tensor,
    eps: float,
    steps: int,
    *,
    mean: Callable[[list[Tensor]], Tensor] = _mean,
    memory: Rule = lambda m, g: m + climbing.normalised(g),
    length: Callable[[float, float, int], float] = lambda step, eps, steps: eps / steps,
    **parts: Any,
) -> Tensor:
    """MI-FGSM with μ = 1 on the mean of the logits."""
    one = lambda z: mean([net(z) for net in models])
    return climbing.climb(
        one, x, y, eps, 0.0, steps, memory=memory, length=length, **{"back": climbing.into_box} | parts
    )


def _turning() -> nn.Module:
    """Its first gradient is spread over all pixels and its second is not: the L1 norm weighs them otherwise than L2.

    Log-odds u − max(v, 0), where v passes 0 in the first step of 0.1.
    """
    first, second = torch.full((81,), 0.1), torch.zeros(81)
    first[40], second[40], second[0] = 1.0, -1.0, 4.0
    below, above = nn.Linear(81, 2), nn.Linear(2, 2)
    below.weight.data = torch.stack([first, first - second])
    below.bias.data = torch.tensor([10.0, -0.3]) - below.weight.data.sum(1) / 2
    above.weight.data, above.bias.data = torch.tensor([[0.0, 0.0], [1.0, -1.0]]), torch.tensor([10.0, 0.0])
    return nn.Sequential(nn.Flatten(), below, nn.ReLU(), above).eval()


def _ensembles() -> list[Case]:
    def nets(classes: int, *seeds: int, size: int = 9) -> list[nn.Module]:
        return [specimens.mlp(1, size, classes, seed, scale) for seed, scale in zip(seeds, (4, 1, 9))]

    plans = [
        (nets(5, 1, 2, 3), 5, 0.1, 4),
        (nets(4, 4, 5), 4, 0.3, 6),
        (nets(3, 6), 3, 0.05, 1),
        (nets(5, 7, 8), 5, 0.2, 5),
    ]
    found = [
        Case(
            f"{len(models)} networks, {count} steps" if len(models) > 1 else "one network, one step",
            models,
            specimens.images(6, 1, 9, seed=i),
            specimens.labels(6, classes, seed=i),
            eps,
            count,
        )
        for i, (models, classes, eps, count) in enumerate(plans)
    ]
    double = [net.double() for net in nets(5, 1, 2)]
    turning = [_turning(), _turning()], torch.full((3, 1, 9, 9), 0.5), torch.zeros(3).long(), 0.2, 2
    mixed = [specimens.conv(3, 4, 1), specimens.mlp(3, 8, 4, 2)]
    x, y = specimens.images(1, 3, 8, seed=7), torch.tensor([2])
    # Read rightly and surely at first: the gradients grow a thousandfold on the way.
    sure = [specimens.mlp(1, 9, 5, seed, 30) for seed in (11, 12)]
    inner = specimens.images(5, 1, 9, seed=9, low=0.2, high=0.8)
    with torch.no_grad():
        named = _mean([net(inner) for net in sure]).argmax(1)
    return [
        Case("networks that are very sure", sure, inner, named, 0.5, 5),
        *found,
        Case("a few large slopes after many small ones", *turning),
        Case("two architectures, a batch of 1", mixed, x, y, 0.1, 3),
        Case("float64", double, found[0].args[1].double(), found[0].args[2], 0.1, 3),
    ]


MOMENTUM = "m = m + grad / grad.abs().sum((1, 2, 3), keepdim=True), and step along m.sign()"
LOGITS = "z = sum(net(x_adv) for net in models) / len(models), then one loss"
LENGTH = "step eps / steps long, so that all of them together make ε"
ENSEMBLE_WRONG = [
    *steps.LOSS[:4],
    steps.WAY,
    *(Wrong({"mean": mean}, seen, cause, LOGITS) for mean, seen, cause in [
        (lambda z: z[0], "only the first network is attacked", "models[0], or a return inside the loop"),
        (lambda z: z[-1], "only the last network is attacked", "the logits are overwritten in each round"),
        (lambda z: z[-1] / len(z), "only the last network is attacked, its logits divided by their number",
         "z is overwritten in each round, not added to"),
        (lambda z: sum(z[1:], z[0]), "the logits were added up, not averaged", "len(models) is missing"),
        (lambda z: _mean([one.softmax(1) for one in z]).log(), "the probabilities were averaged, not the logits",
         "the mean was taken behind the softmax"),
        (lambda z: torch.stack(z).amax(0), "the largest logit of each class counts", "max() for the mean"),
    ]),
    Wrong({"mean": lambda z: _mean([one.log_softmax(1) for one in z]),
           "loss": lambda log_p, y: F.nll_loss(log_p, y, reduction="sum")},
          "the losses were averaged, not the logits", "the mean was taken behind the loss", LOGITS),
    *(Wrong({"memory": memory}, seen, cause, MOMENTUM) for memory, seen, cause in [
        (lambda m, g: g, "each step follows the last gradient alone", "there is no momentum: m is never added to"),
        (torch.add, "gradients were added up with their sizes", "they are not divided by their L1 norm"),
        (lambda m, g: m + g / g.abs().sum(), "the whole batch shares one L1 norm", "sum() over all images"),
        (lambda m, g: m + steps.unit(g), "gradients were divided by their L2 norm", "norm() is the L2 norm"),
        (lambda m, g: m + g.sign(), "signs were added up", "the sign was taken before the sum"),
        (lambda m, g: 0.9 * m + climbing.normalised(g), "older gradients count for less", "μ is 0.9, not 1"),
        (lambda m, g: 0.5 * m + climbing.normalised(g), "older gradients count for half as much", "μ is 0.5, not 1"),
    ]),
    Wrong({"direction": lambda m: m}, "the steps are far too short", "the sign is missing", MOMENTUM),
    *(Wrong({"length": length, "back": back}, seen + kept, cause, LENGTH) for length, seen, cause in [
        (lambda step, eps, steps: eps, "each step is ε long", "ε is not divided by the number of steps"),
        (lambda step, eps, steps: 2 * eps / steps, "each step is 2 ε / steps long", "another step size"),
    ] for back, kept in ((climbing.into_box, ""), (climbing.inside, ", and cut off at the ball"))),
    Wrong({"length": lambda step, eps, steps: eps / 10}, "each step is ε / 10 long",
          "a number is written into the code", LENGTH),
    *[wrong for wrong in climbing.WALK if wrong.way.keys() <= {"at", "count", "base"}],
    Wrong({"back": climbing.anywhere}, "pixels leave [0, 1]", "the result is not clipped", ".clamp(0, 1)"),
    Wrong({"back": climbing.anywhere, "after": climbing.into_box}, "the gradient is taken at points outside [0, 1]",
          "clipped only at the end", "clip to [0, 1] inside the loop"),
    Wrong({"after": lambda x_adv, x, eps: x_adv - x}, "the result is the perturbation, not the image",
          "x was not added", "return x_adv"),
]  # fmt: skip

ensemble_attack = Formula(
    name="ensemble_attack",
    chapter=11,
    title="Write the ensemble attack",
    points=3,
    right=ensemble,
    cases=_ensembles,
    same=properties.nearly,
    properties=[properties.inside_box],
    verified="the formula's images on ensembles of one to three networks, one to six steps, and in float64",
    wrong=ENSEMBLE_WRONG,
)


# --- my_attack(substitutes, x, y, within), on a victim it never sees --------------------------------------

BAR = 0.35


def _unseen(exercise: Explore, attack: Callable, notes: list[str]) -> str:
    """What the attack makes of three substitutes fools a fourth network often enough."""
    substitutes, victim, x, y, within = _shown()
    with specimens.counting(victim) as (_, passes):
        result = exercise.attempt(attack, (substitutes, x.clone(), y, within), notes)
        seen = passes()
    result = properties.images(result, x)
    properties.inside_ball(within.size(result - x), within.eps, within.symbol)
    if seen:
        raise Mistake(
            f"{seen} images went through signs-cnn, the victim",
            "load_model gives you the very network that the attack may not see",
            "use the three substitutes that are passed",
        )
    right = ~properties.misread(victim, x, y)
    lost = properties.misread(victim, result, y)[right].float().mean().item()
    if lost < BAR:
        raise Mistake(
            f"signs-cnn misreads {lost:.0%} of the signs that it reads rightly; {BAR:.0%} are asked",
            mend="all substitutes at once, momentum and input diversity, and no early stop",
        )
    return f"signs-cnn, which the attack never saw, misreads {lost:.0%}"


def _shown() -> tuple[list[nn.Module], nn.Module, Tensor, Tensor, Ball]:
    from advlib import load_images, load_model

    signs = load_images("signs", "test", n=64)
    substitutes = [load_model(f"signs-{name}") for name in ("deep", "patches", "midfit-a")]
    return substitutes, load_model("signs-cnn"), signs.x, signs.y, Linf(8 / 255)


def _by_transfer(level: float = 8, only: int = 3, **settings: Any) -> Callable:
    def attack(substitutes: Sequence[nn.Module], x: Tensor, y: Tensor, within: Ball) -> Tensor:
        from advlib.attacks import transfer

        return transfer(
            list(substitutes)[-only:], x, y, Linf(level / 255), **{"steps": 10, "diversity": 1.0} | settings
        )

    return attack


UNSEEN_WRONG = [
    Wrong(lambda: lambda substitutes, x, y, within: x.clone(), "signs-cnn misreads 0%"),
    Wrong(lambda: _by_transfer(only=1, steps=5, momentum=0.0, diversity=0.0), "are asked"),
    Wrong(lambda: _by_transfer(level=16, steps=2), "the L∞ size of a perturbation is"),
    Wrong(lambda: lambda substitutes, x, y, within: (255 * x).byte(), "the result is torch.uint8"),
    Wrong(lambda: lambda substitutes, x, y, within: _by_transfer()(substitutes, x, y, within) - x, "reach from -0.03"),
    Wrong(lambda: lambda substitutes, x, y, within: x + 1, "pixels reach from"),
    Wrong(lambda: lambda substitutes, x, y, within: x[:3], "the result has shape (3, 3, 48, 48)"),
    Wrong(lambda: lambda substitutes, *given: _by_transfer()([_shown()[1]], *given), "images went through signs-cnn"),
    Wrong(lambda: lambda substitutes, x, y, within: x * torch.nan, "values are NaN or infinite"),
]  # fmt: skip

unseen = Explore(
    name="unseen",
    chapter=11,
    title="Explore: a victim unseen",
    points=3,
    live=True,
    measured=_unseen,
    allowed=["advlib"],
    seconds=180,
    right=_by_transfer,
    wrong=UNSEEN_WRONG,
)
