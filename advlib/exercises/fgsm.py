"""The exercises of chapter 6, FGSM."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from advlib import losses
from advlib.ball import wide
from advlib.contract import frozen
from advlib.evaluate import predict
from advlib.exercises import properties, specimens, steps
from advlib.exercises.frame import Formula, Mistake, Number, Wrong
from advlib.exercises.steps import clipped, gradient, unit

FGSM_WRONG = [
    *steps.COMMON,
    Wrong({"end": lambda x, delta: delta.sign()}, "the result holds -1, 0 and 1 only: the sign of the gradient",
          "ε and x are missing", "return (x + eps * sign).clamp(0, 1)"),
    *steps.SIGN,
    *steps.again(steps.step),
]  # fmt: skip

fgsm = Formula(
    name="fgsm",
    chapter=6,
    title="Write FGSM",
    points=2,
    right=steps.step,
    cases=lambda: steps.cases((8 / 255, 0.1, 0.25, 0.03)),
    same=properties.nearly,
    properties=[properties.inside_box, properties.which_images, properties.change],
    verified="the same images as the formula, on eight models, four ε, one and three channels, batches of 1 to 6",
    wrong=FGSM_WRONG,
)


def l2_step(model: nn.Module, x: Tensor, y: Tensor, eps: float, **parts: Callable) -> Tensor:
    """clip(x + ε · g / ‖g‖₂, 0, 1)."""
    return steps.step(model, x, y, eps, **{"direction": unit, **parts})


def _norm(g: Tensor) -> Tensor:
    return wide(g.flatten(1).norm(dim=1))


def _shared(g: Tensor, mean: bool) -> Tensor:
    """The gradient of the sum of the losses, or of their mean."""
    return g / len(g) if mean else g


def _over(g: Tensor, size: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.nan_to_num(g / size(g), 0, 0, 0)


def _with_divisor(size: Callable[[Tensor], Tensor], mean: bool) -> Callable[..., Tensor]:
    return lambda *given: l2_step(*given, direction=lambda g: _over(_shared(g, mean), size))


def _some_silent(model: nn.Module, x: Tensor, y: Tensor) -> bool:
    return bool((_norm(gradient(model, x, y)) == 0).any())


def _limited_step(model: nn.Module, x: Tensor, y: Tensor, eps: float, mean: bool) -> Tensor:
    g = _shared(gradient(model, x, y), mean)
    return clipped(x, g * (eps / _norm(g)).nan_to_num(0).clamp_max(1))


LENGTH = "divide each image's gradient by its own L2 norm, the root of its sum of squares: g.flatten(1).norm(dim=1)"
UNEQUAL = [
    (lambda g: torch.ones_like(g), "the step grows with the gradient",
     "the gradient was not divided by its length, or the length was kept above 1"),
    (lambda g: _norm(g) ** 2, "the step gets shorter where the gradient gets longer",
     "divided by the squared norm: the root is missing"),
    *((lambda g, tiny=tiny: _norm(g) + tiny, f"the step is shorter than ε where the gradient is not far above {tiny:g}",
       f"about {tiny:g} was added to the norm; confident networks have gradients far smaller")
      for tiny in (1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-10)),
]  # fmt: skip
DIVISORS = [
    (lambda g: _norm(g) / g[0].numel() ** 0.5, "the step is √n times too long, before clipping",
     "a mean of squares for their sum"),
    (lambda g: _norm(g) * g[0].numel() ** 0.5, "the step is √n times too short", "divided by √n as well"),
    (lambda g: _norm(g) * g[0].numel(), "the step is n times too short", "divided by the number of values as well"),
    (lambda g: g.norm(), "the whole batch shares one budget", "the norm was taken over all images at once"),
    (lambda g: _norm(g[:1]), "all images are divided by the first one's length", "[0] picks one image"),
    (lambda g: _norm(g).max(), "all images are divided by the longest gradient of the batch", "max over the batch"),
    (lambda g: g.norm(dim=0, keepdim=True), "each pixel is divided by its length over the batch", "norm(dim=0)"),
    (lambda g: g.norm(dim=1, keepdim=True), "every pixel gets a step of length ε", "the norm is over the colours only"),
    (lambda g: g.norm(dim=2, keepdim=True), "every column of pixels gets a step of length ε", "the norm is over dim=2"),
    (lambda g: g.norm(dim=3, keepdim=True), "every row of pixels gets a step of length ε", "the norm is over dim=-1"),
    (lambda g: g.norm(dim=(2, 3), keepdim=True), "every colour channel gets a step of length ε",
     "the norm is over planes"),
    (lambda g: wide(g.flatten(1).abs().sum(1)), "the step has length ε in the L1 norm",
     "divided by the sum of the absolute values"),
    (lambda g: wide(g.flatten(1).sum(1)), "some steps go downhill", "divided by the sum: squares and root are missing"),
    (lambda g: wide(g.flatten(1).abs().mean(1)), "the step is far too long",
     "divided by the mean of the absolute values"),
    (lambda g: wide(g.flatten(1).abs().amax(1)), "the largest change of a pixel is ε, so the L2 size is larger",
     "divided by the largest entry, the L∞ norm"),
    (lambda g: wide(g.flatten(1).std(1)), "the step is about √n times too long", "divided by the standard deviation"),
    *((lambda g, tiny=tiny: _norm(g).clamp_min(tiny),
    f"only where the gradient is below {tiny:g}, the step is shorter than ε",
       f"the norm was kept above {tiny:g} or so; confident networks have gradients far smaller")
      for tiny in (1.0, 0.3, 1e-2, 1e-5, 1e-6, 1e-7)),
]  # fmt: skip


FGM_L2_WRONG = [
    *steps.COMMON,
    Wrong({"direction": torch.sign}, "every pixel moves by ε: this is the step for an L∞ ball",
          "the sign of the gradient was taken", "for an L2 ball divide the gradient by its length"),
    Wrong({"direction": lambda g: g / _norm(g)},
          "images whose gradient is exactly zero come back as NaN", "zero was divided by zero",
          "torch.where(norm > 0, g / norm, 0)"),
    Wrong({"direction": steps.of_batch(unit)}, "every image gets the same perturbation",
          "the gradient was averaged or summed over the batch", "each image has its own gradient: keep the first axis"),
    # Functions, not parts: pairs with each of them would take seconds.
    *(Wrong(_with_divisor(size, mean), seen + more, cause, LENGTH)
      for mean, more, known in ((False, "", UNEQUAL + DIVISORS), (True, ", of the mean loss", UNEQUAL))
      for size, seen, cause in known),
    Wrong(lambda model, x, y, eps: x.clone() if _some_silent(model, x, y) else l2_step(model, x, y, eps),
          "where one gradient of the batch is zero, no image is attacked", "one `if` for the whole batch",
          "torch.where(norm > 0, g / norm, 0), image by image"),
    *(Wrong(lambda model, x, y, eps, per=per: _limited_step(model, x, y, eps, per),
            f"only steps longer than ε were shortened, and no other made longer{more}",
            "min(1, ε / norm) is the factor of a projection", LENGTH)
      for per, more in ((False, ""), (True, " (mean loss)"))),
    Wrong({"direction": lambda g: g.sign() / g[0].numel() ** 0.5}, "every pixel moves alike: the sign, made ε long",
          "the sign was taken before the length", LENGTH),
    *steps.again(l2_step),
    Wrong(lambda model, x, y, eps: clipped(x, eps * gradient(model, x, y) / wide(x.flatten(1).norm(dim=1))),
          "the step's length is that of the gradient over that of x", "divided by ‖x‖, the length of x", LENGTH),
    Wrong(lambda model, x, y, eps: clipped(x, eps * gradient(model, x, y) / len(x) / wide(x.flatten(1).norm(dim=1))),
          "the step's length is that of the mean loss's gradient over that of x", "divided by ‖x‖, the length of x",
          LENGTH),
]  # fmt: skip

fgm_l2 = Formula(
    name="fgm_l2",
    chapter=6,
    title="The L2 step",
    points=3,
    right=l2_step,
    cases=lambda: steps.cases((1.0, 0.5, 3.0, 2.0)),
    properties=[properties.inside_box, properties.which_images, properties.change],
    verified="the same images as the formula, on eight models, also where a gradient is tiny or exactly zero",
    wrong=FGM_L2_WRONG,
)


# --- the smallest ε at which FGSM fools ---------------------------------------------------------------------


def _odds(z: Tensor, y: Tensor) -> Tensor:
    return losses.log_odds(z, y).sum()


def _fooled(model: nn.Module, x: Tensor, y: Tensor, eps: Tensor, loss: steps.Loss = _odds) -> Tensor:
    """Whether FGSM, on the log-odds as on the page, misleads the model at each of these ε."""
    with frozen(model):
        direction = gradient(model, x, y, loss).sign()
    return predict(model, clipped(x, eps.view(-1, 1, 1, 1).to(x) * direction))[0] != y


def _grid(finest: float) -> Tensor:
    return torch.arange(1, round(1 / finest) + 1) * finest


def smallest(model: nn.Module, x: Tensor, y: Tensor, *, tolerance: float = 1e-3) -> float:
    """The first ε, on a grid ten times as fine as the tolerance, at which the model misreads the image."""
    if predict(model, x)[0] != y:
        raise Mistake("the model misreads the clean image already", mend="choose an image that it reads rightly")
    grid = _grid(tolerance / 10)
    return next((e.item() for e in grid.split(256) for e in e[_fooled(model, x, y, e)][:1]), float("inf"))


def _bisected(model: nn.Module, x: Tensor, y: Tensor, **_: float) -> float:
    low, high = 0.0, 1.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if _fooled(model, x, y, torch.tensor([middle])) else (middle, high)
    return high


ONE_STEP = "the answer is the ε with which one step fools it: fgsm(model, image, label, ε), of this image as it came"
JUMPED = "halving the interval, or a search from above, jumped over it: FGSM is not monotone in ε"


def _not_fooled(eps: float, right: float, model: nn.Module, x: Tensor, y: Tensor, **_: float) -> None:
    if eps > 1:
        raise Mistake(f"ε is {eps:g}, but pixels lie in [0, 1]", mend="ε is a number between 0 and 1")
    if eps <= 0:
        raise Mistake(f"ε is {eps:g}, and no change fools nobody", mend="find the first ε above 0 that does")
    if not _fooled(model, x, y, torch.tensor([eps])):
        seen, mend = f"at ε = {eps:.4f} the model still gives the right label", ONE_STEP
        if _fooled(model, x, y, torch.tensor([eps]), steps.ce):
            seen += "; along the gradient of the cross-entropy it would not"
            mend = "go along the gradient of the log-odds: fgsm, not textbook_fgsm"
        raise Mistake(seen, mend=mend)
    raise Mistake(
        f"ε = {eps:.4f} fools the model, but so does ε = {right:.4f}, which is smaller",
        "" if _fooled(model, x, y, torch.linspace(right, eps, 100)).all() else JUMPED,
        "step along sign(∇ₓ u) of this image, ε in steps of 0.001, and stop at the first that fools",
    )


def _by(factor: float) -> Callable[..., float]:
    return lambda *given, **options: factor * smallest(*given, **options)


def _in_hundredths(model: nn.Module, x: Tensor, y: Tensor, **_: float) -> float:
    return next((e.item() for e in _grid(0.01) if _fooled(model, x, y, e[None])), float("inf"))


def _of_the_plane(model: nn.Module, x: Tensor, y: Tensor, **_: float) -> float:
    return float(-_odds(model(x), y) / gradient(model, x, y, _odds).abs().sum())


SMALLEST_EPS_WRONG = [
    Wrong(_bisected, "it fools the model, but a smaller ε does so as well", JUMPED,
          "try one ε after the other, from 0 upwards"),
    Wrong(_by(255), "pixels lie in [0, 1]", "ε in steps of 0 to 255", "divide it by 255"),
    Wrong(_by(2), "it is twice the answer", "the width from −ε to ε", "ε is the change in one direction"),
    Wrong(_of_the_plane, "this is −u / ‖g‖₁, where the plane that touches u would reach 0",
          "the model was taken for its gradient's plane", "try the model itself, ε in steps of 0.001"),
    Wrong(_in_hundredths, "a smaller ε fools the model as well", "the steps of the search are 0.01 long",
          "steps of 0.001"),
]  # fmt: skip


def _not_monotone() -> tuple[nn.Module, Tensor, Tensor]:
    """FGSM misleads this network at ε from 0.053 to 0.08, and again from 0.2 on."""
    return specimens.Bump(0.053, 0.08, 0.2), torch.full((1, 1, 2, 2), 0.3), torch.tensor([0])


smallest_eps = Number(
    name="smallest_eps",
    chapter=6,
    title="Explore: the smallest ε",
    points=3,
    label="ε",
    right=smallest,
    near=1e-3,
    properties=[_not_fooled],
    example=_not_monotone,
    verified="ε = {0:.4f} fools the model, and no ε that is 0.001 smaller does",
    wrong=SMALLEST_EPS_WRONG,
)
