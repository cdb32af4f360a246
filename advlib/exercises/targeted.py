"""Checkers for the chapter on targeted attacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib.evaluate import predict
from advlib.exercises import expect, specimens
from advlib.exercises.frame import Attempt, Mistake, Suspects, checks_function, checks_value


@dataclass(frozen=True)
class Wish:
    """A model, images with their labels, and a target for each."""

    name: str
    model: nn.Module
    x: Tensor
    y: Tensor
    target: Tensor
    eps: float

    def descent(self, x: Tensor, down: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """sign(∇ₓ) at ``x`` of a loss of the logits: by default, the target's cross-entropy summed over the batch."""
        x = x.detach().clone().requires_grad_()
        loss = (down or self.loss_of(self.target))(self.model(x))
        return torch.autograd.grad(loss, x)[0].sign()

    def loss_of(self, label: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda logits: F.cross_entropy(logits, label, reduction="sum")

    def step(self, x: Tensor, size: float) -> Tensor:
        return (x - size * self.descent(x)).clamp(0, 1)


def wishes() -> list[Wish]:
    """Linear, smooth and convolutional; one and three channels; batches of 1 to 6."""
    kinds = [
        ("a linear model of 3×48×48 images", specimens.linear(3, 48, 10, seed=1), (5, 3, 48), 10, 8 / 255),
        ("a network of 1×28×28 images", specimens.mlp(1, 28, 7, seed=2), (6, 1, 28), 7, 0.1),
        ("a convolutional network, batch of 1", specimens.conv(3, 5, seed=3), (1, 3, 32), 5, 0.25),
        ("a network of 3×48×48 images", specimens.mlp(3, 48, 16, seed=4), (4, 3, 48), 16, 0.03),
    ]
    found = []
    for i, (name, model, shape, classes, eps) in enumerate(kinds):
        y = specimens.labels(shape[0], classes, seed=i)
        target = (y + 1 + specimens.labels(shape[0], classes - 1, seed=i + 10)) % classes
        found.append(Wish(name, model, specimens.images(*shape, seed=i), y, target, eps))
    return found


# --- my_targeted_fgsm(model, x, y, target, eps) -----------------------------------------------------------


@checks_function
def targeted_fgsm(attempt: Attempt) -> str:
    """``my_targeted_fgsm(model, x, y, target, eps)`` is clip(x − ε · sign(∇ₓ loss of the target), 0, 1)."""
    for wish in wishes():
        result = _answer(attempt, wish, wish.eps)
        right = wish.step(wish.x, wish.eps)
        if not expect.same(result, right, share=1.0):
            expect.no_known_mistake(result, one_step_mistakes(wish), right)
            _compare(wish, result, right)
    _refuses_the_label(attempt, wishes()[1])
    return "the same images as the formula on four models, and no target that is the label"


def one_step_mistakes(wish: Wish) -> Suspects:
    """Wrong results of one step, each with its mistake."""
    x, eps = wish.x, wish.eps
    of_target, of_label = wish.descent(x), wish.descent(x, wish.loss_of(wish.y))
    both = wish.descent(x, lambda z: wish.loss_of(wish.target)(z) - wish.loss_of(wish.y)(z))
    twice = wish.descent(x, lambda z: F.cross_entropy(z.softmax(1), wish.target, reduction="sum"))
    first = wish.descent(x, wish.loss_of(wish.target[:1].expand_as(wish.target)))
    smooth = x.detach().clone().requires_grad_()
    raw = torch.autograd.grad(wish.loss_of(wish.target)(wish.model(smooth)), smooth)[0]
    no_sign = (
        "pixels change by different amounts, in proportion to the gradient",
        "the sign is missing",
        "step by eps in every pixel: eps * grad.sign()",
    )
    two = (
        "the loss of the true class plays a part in the step",
        "both losses are used, the target's and the label's",
        "aim with the target's loss alone; y only tells which targets to refuse",
    )
    cases = [
        (
            x + eps * of_target,
            "the loss of the target went up: the wanted class became less likely",
            "the label was exchanged, but the sign was not flipped",
            "go down the target's loss: x - eps * grad.sign()",
        ),
        (
            x + eps * of_label,
            "this is the untargeted step: it climbs the loss of the true class",
            "the loss is that of y, and the target plays no part",
            "use the loss of target, and subtract the step",
        ),
        (
            x - eps * of_label,
            "the loss of the true class went down: the right answer became more likely",
            "the sign was flipped, but the loss is still that of y",
            "use the loss of target",
        ),
        (x - eps * both, *two),
        (x + eps * (of_label - of_target), *two),
        (x + eps * both, *two),
        (
            x - eps * twice,
            "the gradient is that of cross-entropy applied to probabilities",
            "softmax twice: cross_entropy contains one",
            "give cross_entropy the logits, model(x)",
        ),
        (
            x - eps * first,
            "every image aims at the first image's target",
            "target[0] was used for the whole batch",
            "give cross_entropy the whole target, shape (N,)",
        ),
        (x - eps * raw, *no_sign),
        (x - eps * raw / len(x), *no_sign),
        (x, "the result is x itself", "the step is zero, or the wrong variable is returned", "return the clipped sum"),
        (
            -eps * of_target,
            "the result is the perturbation, not the image",
            "x was not added",
            "return (x - eps * grad.sign()).clamp(0, 1)",
        ),
    ]
    unclipped = Mistake("pixels leave [0, 1]", "the result is not clipped", expect.CLIPPED_LAST)
    return [(x - eps * of_target, unclipped), *((wrong.clamp(0, 1), Mistake(*words)) for wrong, *words in cases)]


def _refuses_the_label(attempt: Attempt, wish: Wish) -> None:
    target = wish.target.clone()
    target[-1] = wish.y[-1]
    try:
        attempt.function(wish.model, wish.x.clone(), wish.y, target, wish.eps)
    except ValueError:
        return
    except Exception as error:  # refused, but with an error that says less
        raise Mistake(
            f"a target equal to the true label raised {type(error).__name__}, expected ValueError",
            mend='if (target == y).any(): raise ValueError("…")',
        ) from None
    raise Mistake(
        "a target equal to the true label went through",
        "nothing compares target with y: such an image counts as a success before any attack",
        'if (target == y).any(): raise ValueError("…")',
    )


# --- my_targeted_bim(model, x, y, target, eps, steps, step) -----------------------------------------------


@dataclass(frozen=True)
class Walk:
    """How the steps are made; each field but the numbers is a mistake where it is not as here."""

    eps: float
    steps: int
    step: float
    sign: float = -1.0
    fresh: bool = True  # a new gradient at each step
    ball: str = "around x"
    by_label: bool = False

    def along(self, wish: Wish) -> Tensor:
        x, adv = wish.x, wish.x
        loss = wish.loss_of(wish.y if self.by_label else wish.target)
        for _ in range(self.steps):
            before = adv
            adv = (adv + self.sign * self.step * wish.descent(adv if self.fresh else x, loss)).clamp(0, 1)
            centre = before if self.ball == "around the last" else x
            if self.ball != "at the end" and self.ball != "none":
                adv = centre + (adv - centre).clamp(-self.eps, self.eps)
        return x + (adv - x).clamp(-self.eps, self.eps) if self.ball == "at the end" else adv


@checks_function
def targeted_bim(attempt: Attempt) -> str:
    """``my_targeted_bim(model, x, y, target, eps, steps, step)``: down the target's loss, back into the ball, again."""
    for wish, steps in zip(wishes(), (6, 5, 8, 4), strict=True):
        walk = Walk(wish.eps, steps, wish.eps / 2.5)
        right = walk.along(wish)
        result = _answer(attempt, wish, wish.eps, steps, walk.step)
        if not expect.same(result, right, share=1.0):
            expect.no_known_mistake(result, many_step_mistakes(wish, walk), right)
            _compare(wish, result, right)
    return "the same images as the formula on four models, with four to eight steps"


def many_step_mistakes(wish: Wish, walk: Walk) -> Suspects:
    """Wrong results of several steps, each with its mistake."""
    cases = [
        (
            replace(walk, sign=1.0),
            "the loss of the target went up",
            "the sign is not flipped",
            "go down the target's loss: x_adv - step * grad.sign()",
        ),
        (
            replace(walk, by_label=True, sign=1.0),
            "these are untargeted steps: they climb the loss of the true class",
            "the loss is that of y",
            "use the loss of target, and subtract the step",
        ),
        (
            replace(walk, by_label=True),
            "the right answer became more likely",
            "the loss is still that of y",
            "use the loss of target",
        ),
        (
            replace(walk, fresh=False),
            "all steps go the same way",
            "the gradient was computed once, at x",
            "compute it anew at x_adv, inside the loop",
        ),
        (
            replace(walk, ball="none"),
            "the perturbation grows with every step, beyond eps",
            "the steps are clipped to [0, 1], but not to the ball",
            "x_adv = x + (x_adv - x).clamp(-eps, eps)",
        ),
        (
            replace(walk, ball="around the last"),
            "the perturbation grows with every step, beyond eps",
            "the ball is drawn around the last iterate: it walks along",
            "keep the clean x apart: x_adv = x + (x_adv - x).clamp(-eps, eps)",
        ),
        (
            replace(walk, ball="at the end"),
            "the images return into the ball only once, after the last step",
            "the projection stands behind the loop",
            "project inside the loop, after every step",
        ),
        (
            replace(walk, step=walk.eps),
            "every step is eps long",
            "eps was used in place of step",
            "step is the length of one step, eps the size of the ball",
        ),
        (
            replace(walk, step=walk.eps / walk.steps),
            "every step is eps / steps long",
            "step was not used",
            "use the argument step as it comes",
        ),
        (replace(walk, steps=walk.steps - 1), "one step is missing", "the loop ends early", "for _ in range(steps)"),
        (
            replace(walk, steps=walk.steps + 1),
            "there is one step too many",
            "the loop runs once too often",
            "for _ in range(steps)",
        ),
    ]
    return [(wrong.along(wish), Mistake(*words)) for wrong, *words in cases]


def _answer(attempt: Attempt, wish: Wish, *numbers: float) -> Tensor:
    """One call of the learner's function, and what any attack's answer must be."""
    before = wish.x.clone()
    result = attempt(wish.model, wish.x, wish.y, wish.target, *numbers)
    expect.untouched(wish.x, before, attempt)
    expect.image_batch(result, wish.x)
    expect.tidy(result, wish.model, attempt)
    return result.detach()


def _compare(wish: Wish, result: Tensor, right: Tensor) -> None:
    expect.inside_box(result)
    size = (result - wish.x).abs().flatten(1).amax(1)
    expect.inside_ball(size, wish.eps, "L∞")
    expect.whole_budget(size, (right - wish.x).abs().flatten(1).amax(1), wish.eps, "L∞")
    off = ((result - right).abs() > 1e-5).float().mean().item()
    if off > 0.001:
        raise Mistake(
            f"on {wish.name}, {off:.0%} of the pixels differ from the formula",
            "another loss, another step, or a random number",
            "compare line by line with the formula",
        )


# --- a picture for every wish -----------------------------------------------------------------------------


@checks_value
def every_target(x_adv: Tensor, model: nn.Module, x: Tensor, y: Tensor, eps: float) -> str:
    """``x_adv[t]`` is within ``eps`` of the image ``x`` (1, C, H, W) and read as class t; ``x_adv[y]`` is ``x``."""
    own = int(y)
    with torch.no_grad():
        classes = model(x).shape[1]
    copies = x.expand(classes, *x.shape[1:])
    expect.image_batch(x_adv, copies)
    expect.inside_box(x_adv)
    size = (x_adv - copies).abs().flatten(1).amax(1)
    expect.inside_ball(size, eps, "L∞")
    if size[own] > 1e-6:
        raise Mistake(
            f"picture {own} is not the clean image",
            f"class {own} is what the sign is: there is no wish",
            f"leave row {own} as it was",
        )
    read = predict(model, x_adv)[0].tolist()
    missed = [t for t in range(classes) if read[t] != t]
    if len(missed) == classes - 1:
        shifted = sum(read[t] in (t - 1, t + 1) for t in range(classes)) > classes // 2
        raise Mistake(
            "no picture is read as its class",
            "the rows are shifted by one"
            if shifted
            else "these are copies of the clean image, or steps up the target's loss",
            "picture t aims at class t, down its loss",
        )
    if missed:
        raise Mistake(
            f"{classes - 1 - len(missed)} of {classes - 1} wishes came true; missing: {', '.join(map(str, missed))}",
            "too few steps, or steps that never shrink",
            "more steps, smaller ones towards the end, several random starts",
        )
    return f"all {classes - 1} wishes came true, within {size.max().item() * 255:.1f}/255"
