"""The exercises of chapter 19, masked gradients: round what hides the gradient, and through the chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib.evaluate import predict
from advlib.exercises import properties, specimens, steps
from advlib.exercises.frame import Case, Explore, Formula, Mistake, Wrong
from advlib.exercises.steps import Loss, ce, gradient
from advlib.norms import Ball, Linf

View = Callable[[Tensor], Tensor]

# --- my_bpda_gradient(model, transform, smooth, x, y) ----------------------------------------------------


def _back(view: View, x: Tensor, g: Tensor) -> Tensor:
    """What a gradient ``g`` at view(x) is at x."""
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(view(x), x, g)[0]


def through(
    model: nn.Module,
    transform: View,
    smooth: View,
    x: Tensor,
    y: Tensor,
    *,
    loss: Loss = ce,
    at: Callable[[View, View, Tensor], Tensor] = lambda t, s, x: t(x),
    back: Callable[[View, View, Tensor, Tensor], Tensor] = lambda t, s, x, g: _back(s, x, g),
    end: Callable[[Tensor, Tensor], Tensor] = lambda g, x: g,
) -> Tensor:
    """∇ℓ at t(x), led back to x through s."""
    x = x.detach()
    return end(back(transform, smooth, x, gradient(model, at(transform, smooth, x), y, loss)), x)


def _blurred(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1)


def _transformed() -> list[Case]:
    """Four transformations without a useful gradient, and a smooth one for each."""
    pairs: dict[str, tuple[View, View]] = {
        "three levels": (lambda z: (2 * z).round() / 2, lambda z: z**2 * (3 - 2 * z)),
        "blurred, then rounded": (lambda z: (7 * _blurred(z)).round() / 7, lambda z: _blurred(z).sin()),
        "black and white": (lambda z: (z > 0.5).to(z), lambda z: torch.sigmoid(6 * (z - 0.5))),
        "squares, without a gradient": (lambda z: z.detach() ** 2, lambda z: z**2),
    }
    models = [
        specimens.mlp(1, 6, 4, 1, 3),
        specimens.conv(3, 5, 2),
        specimens.mlp(3, 8, 7, 3),
        specimens.linear(1, 5, 3, 4),
    ]
    shapes = [(4, 1, 6), (3, 3, 8), (1, 3, 8), (6, 1, 5)]
    found = []
    for i, ((name, pair), model, shape) in enumerate(zip(pairs.items(), models, shapes, strict=True)):
        classes = (4, 5, 7, 3)[i]
        # Not on a border of [0, 1], where two of the smooth ones are flat.
        x = specimens.images(*shape, seed=i, low=0.05, high=0.95)
        found.append(Case(name, model, *pair, x, specimens.labels(shape[0], classes, seed=i)))
    model, *pair, x, y = found[0].args
    double = specimens.mlp(1, 6, 4, 1, 3).double()
    return [*found, Case("float64", double, *pair, x.double(), y)]


AT_SEEN = "the network must be asked at transform(x), which is what it sees in use"
BACK = "take the gradient at transform(x), then lead it back through smooth: torch.autograd.grad(smooth(x), x, g)"
NO_GRADIENT = [
    Wrong({"end": end}, seen, cause, "return the gradient itself, with its size")
    for end, seen, cause in [
        (lambda g, x: g.sign(), "the result holds -1, 0 and 1 only", "its sign was taken, which is the attack's part"),
        (lambda g, x: -g, "the gradient points downhill", "a minus sign"),
        (lambda g, x: x + g, "the result is x plus the gradient", "a step was made"),
    ]
]  # fmt: skip
LOSS_OVER_BATCH = Wrong(
    {"loss": F.cross_entropy},
    "the gradient is N times too small",
    "the mean over the batch was differentiated",
    "reduction='sum' gives each image its own gradient",
)
BPDA_WRONG = [
    *steps.LOSS,
    LOSS_OVER_BATCH,
    *(Wrong({"at": at}, seen, cause, AT_SEEN) for at, seen, cause in [
        (lambda t, s, x: s(x), "the network was asked at smooth(x)", "forwards, too, smooth stood for transform"),
        (lambda t, s, x: x, "the network was asked at x itself", "transform is left out on the way forward"),
        (lambda t, s, x: t(s(x)), "the network was asked at transform(smooth(x))", "one was put behind the other"),
        (lambda t, s, x: s(t(x)), "the network was asked at smooth(transform(x))", "one was put behind the other"),
    ]),
    *(Wrong({"back": back}, seen, cause, BACK) for back, seen, cause in [
        (lambda t, s, x, g: g, "the gradient is that at transform(x), as it is",
         "smooth plays no part: straight through, where the text asks for the way through smooth"),
        (lambda t, s, x, g: torch.zeros_like(g), "the gradient is zero everywhere",
         "it was led back through transform, whose gradient is zero or cut"),
        (lambda t, s, x, g: _back(s, t(x), g), "the way back leads through smooth at transform(x)",
         "smooth was differentiated at what the network saw, not at x"),
        (lambda t, s, x, g: s(g), "the result is smooth(g)", "smooth was applied to the gradient"),
        (lambda t, s, x, g: _back(s, x, torch.ones_like(g)), "the gradient is that of smooth alone",
         "the network's gradient was not passed on"),
        (lambda t, s, x, g: g * _back(s, x, torch.ones_like(g)), "g was multiplied by the slopes of smooth's sum",
         "right only where smooth takes each value by itself"),
        (lambda t, s, x, g: torch.autograd.functional.jvp(s, x, g)[1], "this is J g, and asked is Jᵀ g",
         "jvp goes forwards through smooth"),
        (lambda t, s, x, g: g + _back(s, x, g), "the gradient is that of x plus that of smooth(x)",
         "x stands outside of detach() beside smooth(x)"),
    ]),
    *NO_GRADIENT,
]  # fmt: skip

bpda_gradient = Formula(
    name="bpda_gradient",
    chapter=19,
    title="Write BPDA's gradient",
    points=3,
    right=through,
    cases=_transformed,
    same=properties.to_scale,
    verified="forwards the transformation, backwards the smooth one: for four pairs of them, and in float64",
    wrong=BPDA_WRONG,
)


# --- my_eot_gradient(model, views, x, y) -----------------------------------------------------------------


def _mean(gradients: list[Tensor]) -> Tensor:
    return torch.stack(gradients).mean(0)


def expected(
    model: nn.Module,
    views: Sequence[View],
    x: Tensor,
    y: Tensor,
    *,
    loss: Loss = ce,
    chosen: Callable[[Sequence[View]], Sequence[View]] = list,
    one: Callable[[nn.Module, View, Tensor, Tensor, Loss], Tensor] = lambda model, t, x, y, loss: gradient(
        lambda z: model(t(z)),
        x,
        y,
        loss,  # type: ignore[arg-type]
    ),
    join: Callable[[list[Tensor]], Tensor] = _mean,
    end: Callable[[Tensor, Tensor], Tensor] = lambda g, x: g,
) -> Tensor:
    """The mean over the views t of ∇ₓ ℓ(h(t(x)), y)."""
    return end(join([one(model, t, x, y, loss) for t in chosen(views)]), x)


def _chained(views: Sequence[View]) -> list[View]:
    """Each view of what the one before it shows."""

    def chain(last: int) -> View:
        def view(x: Tensor) -> Tensor:
            for t in views[: last + 1]:
                x = t(x)
            return x

        return view

    return [chain(i) for i in range(len(views))]


def _of_mean(joined: Callable[[list[Tensor], Tensor], Tensor]) -> Callable[..., Tensor]:
    """A gradient of one loss, made of the logits of all views."""

    def wrong(model: nn.Module, views: Sequence[View], x: Tensor, y: Tensor) -> Tensor:
        x = x.detach().clone().requires_grad_()
        return torch.autograd.grad(joined([model(t(x)) for t in views], y), x)[0]

    return wrong


def _mean_picture(model: nn.Module, views: Sequence[View], x: Tensor, y: Tensor) -> Tensor:
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(ce(model(_mean([t(x) for t in views])), y), x)[0]


def _views() -> list[Case]:
    """Shifts, turns and other light, in lists of one to five; each keeps the shape."""
    views: list[View] = [
        lambda z: 0.6 * z.roll(1, -1),
        lambda z: z.flip(-1),
        lambda z: 0.3 * z + 0.5,
        lambda z: z.transpose(-1, -2) ** 2,
        lambda z: F.pad(z[..., 1:, :], (0, 0, 0, 1)),
    ]
    found = []
    for i, (shape, classes, few) in enumerate(
        (((3, 1, 6), 4, 3), ((2, 3, 8), 6, 5), ((5, 1, 4), 3, 1), ((1, 3, 5), 5, 4))
    ):
        model = specimens.mlp(shape[1], shape[2], classes, seed=i, scale=4)
        x, y = specimens.images(*shape, seed=i), specimens.labels(shape[0], classes, seed=i)
        found.append(Case(f"{few} view{'s' * (few > 1)}", model, views[:few], x, y))
    model, few_views, x, y = found[0].args
    return [*found, Case("float64", specimens.mlp(1, 6, 4, 0, 4).double(), few_views, x.double(), y)]


EACH = "for each view t take the gradient of the loss of model(t(x)) in x; then the mean of these gradients"
EOT_WRONG = [
    *steps.LOSS,
    LOSS_OVER_BATCH,
    *(Wrong({"join": join}, seen, cause, EACH) for join, seen, cause in [
        (lambda gs: torch.stack(gs).sum(0), "the gradients were added up", "the division by their number is missing"),
        (lambda gs: torch.stack([g.sign() for g in gs]).mean(0), "each view has one vote per pixel",
         "the sign was taken before the mean, so that a tiny gradient counts as much as a large one"),
        (lambda gs: torch.stack(gs).cumsum(0).mean(0), "each view's gradient holds those of the views before it",
         "x.grad was not cleared: backward() adds to it"),
        (lambda gs: torch.stack(gs).median(0).values, "the gradients' median was taken", "median() for mean()"),
        (lambda gs: _mean([steps.unit(g) for g in gs]), "each view's gradient was brought to length 1 first",
         "a view that matters little counts as much as one that matters much"),
        (lambda gs: torch.stack(gs).sum(0) / (len(gs) + 1), "the sum was divided by one too many", "a wrong count"),
    ]),
    *(Wrong({"chosen": chosen}, seen, cause, EACH) for chosen, seen, cause in [
        (lambda views: views[:1], "only the first view counts", "a return inside the loop, or views[0]"),
        (lambda views: views[-1:], "only the last view counts", "the gradient is overwritten in each round"),
        (lambda views: [lambda z: z], "no view counts: this is the gradient at x", "model(x) for model(t(x))"),
        (_chained, "each view is one of what the view before it shows", "x = t(x) carries the result on"),
        (lambda views: [*views, lambda z: z], "x itself was counted as one more view", "x is no draw of the defence"),
    ]),
    Wrong({"one": lambda model, t, x, y, loss: gradient(model, t(x), y, loss)},
          "each gradient is one in the transformed picture, not in x",
          "the picture that records gradients is t(x)", "x records gradients, and t is applied to it"),
    Wrong(_of_mean(lambda logits, y: ce(_mean(logits), y)), "the gradient is that of the mean logits' loss",
          "the mean was taken before the loss, as advlib.attacks.eot does; asked is the mean of the losses", EACH),
    Wrong(_of_mean(lambda logits, y: F.nll_loss(_mean([z.softmax(1) for z in logits]).log(), y, reduction="sum")),
          "the gradient is that of the mean probability's loss",
          "the mean was taken before the logarithm; the text asks for the mean of the losses", EACH),
    Wrong(_of_mean(lambda logits, y: torch.stack([ce(z, y) for z in logits]).amax()),
          "only the view with the highest loss counts", "max() for mean()", EACH),
    Wrong(_mean_picture, "the network was asked about the mean of the transformed pictures",
          "the mean was taken before the network, which never sees such a picture", EACH),
    *NO_GRADIENT,
]  # fmt: skip

eot_gradient = Formula(
    name="eot_gradient",
    chapter=19,
    title="Write EOT's gradient",
    points=2,
    right=expected,
    cases=_views,
    same=properties.to_scale,
    verified="the mean of the views' gradients: of one to five views, on four networks, and in float64",
    wrong=EOT_WRONG,
)


# --- a defence that rounds and draws ---------------------------------------------------------------------

BAR = 0.3
DRAWS = 8


def _broken(
    exercise: Explore, x_adv: Any, notes: list[str], guard: nn.Module, x: Tensor, y: Tensor, within: Ball
) -> str:
    """``x_adv`` is inside the ball, and the defended network is right on few, over draws that no attack has seen."""
    x_adv = properties.images(x_adv, x)
    properties.inside_ball(within.size(x_adv - x), within.eps, within.symbol)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(190_019)
        right = torch.stack([predict(guard, x_adv)[0] == y for _ in range(DRAWS)]).float().mean().item()
    if right > BAR:
        raise Mistake(
            f"the defended network is right on {right:.0%}, over {DRAWS} fresh draws; at most {BAR:.0%} are asked",
            mend="go round the rounding (bpda) and over the draws (eot), in this order, and do not stop early",
        )
    return f"the defended network is right on {right:.0%}, over {DRAWS} fresh draws"


def _guarded() -> tuple[nn.Module, Tensor, Tensor, Ball]:
    from advlib import load_images, load_model
    from advlib.defenses import BitDepth, ResizePad

    signs = load_images("signs", "test", n=48)
    return ResizePad(BitDepth(load_model("signs-cnn"), bits=3)), signs.x, signs.y, Linf(8 / 255)


def _adaptive(guard: Any, x: Tensor, y: Tensor, within: Ball) -> Tensor:
    from advlib import attacks

    inner = attacks.bpda(guard.model.model, guard.model.transform)
    drawn = attacks.eot(inner, guard.transform, samples=4)
    return attacks.pgd(drawn, x, y, within, steps=15, keep="last", early_stop=False)


def _on_the_bare(guard: Any, x: Tensor, y: Tensor, within: Ball) -> Tensor:
    from advlib import attacks

    return attacks.pgd(guard.model.model, x, y, within, steps=10)


BROKEN_WRONG = [
    Wrong(lambda guard, x, y, within: x.clone(), "the defended network is right on"),
    Wrong(_on_the_bare, "at most 30% are asked"),
    Wrong(lambda guard, x, y, within: _on_the_bare(guard, x, y, Linf(32 / 255)), "the L∞ size of a perturbation is"),
    Wrong(lambda guard, x, y, within: x + 1, "pixels reach from"),
    Wrong(lambda guard, x, y, within: x[:3], "the result has shape (3, 3, 48, 48)"),
    Wrong(lambda guard, x, y, within: x * torch.nan, "values are NaN or infinite"),
]  # fmt: skip

through_guard = Explore(
    name="through_guard",
    chapter=19,
    title="Explore: round it, and draw",
    points=3,
    measured=_broken,
    example=_guarded,
    right=_adaptive,
    wrong=BROKEN_WRONG,
)
