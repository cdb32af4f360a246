"""The basic iterative method, and what its best-known mistakes lead to.

Each mistake comes with the images that it produces: an answer that gives these very images made that mistake.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib.exercises.frame import Mistake, Suspects


@dataclass(frozen=True)
class Climb:
    """A call of BIM. ``run`` does it as the formula says, or with one thing changed."""

    model: nn.Module
    x: Tensor
    y: Tensor
    eps: float
    step: float
    steps: int

    def gradient(self, x: Tensor, reduction: str = "sum") -> Tensor:
        x = x.detach().clone().requires_grad_()
        return torch.autograd.grad(F.cross_entropy(self.model(x), self.y, reduction=reduction), x)[0]

    def into_ball(self, x_adv: Tensor) -> Tensor:
        return torch.clamp(x_adv, self.x - self.eps, self.x + self.eps)

    def into_box(self, x_adv: Tensor) -> Tensor:
        return x_adv.clamp(0, 1)

    def inside(self, x_adv: Tensor) -> Tensor:
        return self.into_box(self.into_ball(x_adv))

    def run(
        self,
        move: Callable[[Tensor], Tensor] | None = None,
        back: Callable[[Tensor], Tensor] | None = None,
        at_end: Callable[[Tensor], Tensor] = lambda x_adv: x_adv,
    ) -> Tensor:
        """``move`` gives the step at an iterate, ``back`` brings it inside, ``at_end`` mends the last."""
        move = move or (lambda x_adv: self.step * self.gradient(x_adv).sign())
        back = back or self.inside
        x_adv = self.x
        for _ in range(self.steps):
            x_adv = back(x_adv + move(x_adv))
        return at_end(x_adv)


def bim_mistakes(climb: Climb) -> Suspects:
    """Wrong results of BIM, each with its mistake."""
    x, step, eps = climb.x, climb.step, climb.eps
    right, at_x = climb.run(), climb.gradient(x).sign()
    guess = replace(climb, y=climb.model(x).detach().argmax(1))
    softened = replace(climb, model=nn.Sequential(climb.model, nn.Softmax(1)))
    keep = lambda x_adv: x_adv
    unprojected = Mistake(
        "the change accumulates beyond ε",
        "the projection is missing, or goes around the last iterate instead of the clean image",
        "after each step: torch.clamp(x_adv, x - eps, x + eps), with the clean x",
    )
    unsigned = Mistake("the steps have the gradient's size", "the sign is missing", "step * grad.sign()")
    return [
        (
            climb.run(move=lambda z: step * at_x),
            Mistake(
                "every step goes in the same direction",
                "the gradient is always that at the clean image",
                "compute it at x_adv, inside the loop: a new plane at every step",
            ),
        ),
        (climb.run(back=climb.into_box), unprojected),
        (climb.run(back=keep), unprojected),
        (climb.run(back=lambda z: z, at_end=climb.into_box), unprojected),
        (
            climb.run(back=climb.into_box, at_end=climb.inside),
            Mistake(
                "the steps leave the ball on the way",
                "projected only once, after the last step",
                "project inside the loop, after each step",
            ),
        ),
        (
            climb.run(back=keep, at_end=climb.inside),
            Mistake(
                "the steps leave the ball and the box on the way",
                "clipped only once, after the last step",
                "clip inside the loop, after each step",
            ),
        ),
        (
            climb.run(back=climb.into_ball),
            Mistake(
                f"pixels reach from {climb.run(back=climb.into_ball).min().item():.2f} to "
                f"{climb.run(back=climb.into_ball).max().item():.2f}, but an image lies in [0, 1]",
                "the ball is kept, the box is not",
                "clip to [0, 1] as well, inside the loop",
            ),
        ),
        (
            climb.run(back=climb.into_ball, at_end=climb.into_box),
            Mistake(
                "the gradient is taken at points outside [0, 1]",
                "clipped to the box only at the end",
                "clip to [0, 1] inside the loop",
            ),
        ),
        *((climb.run(move=lambda z, how=how: step * climb.gradient(z, how)), unsigned) for how in ("sum", "mean")),
        (
            climb.run(move=lambda z: -step * climb.gradient(z).sign()),
            Mistake("the loss goes down: every step is downhill", "the sign is flipped", "add the step"),
        ),
        (
            replace(climb, step=eps).run(),
            Mistake("each step is ε long", "ε was used as the step size", "the argument `step` is the step size"),
        ),
        (
            replace(climb, step=eps / climb.steps).run(),
            Mistake("each step is ε / steps long", "the argument `step` is not used", "step * grad.sign()"),
        ),
        (
            replace(climb, steps=1).run(),
            Mistake(
                "only one step was made",
                "a return inside the loop, or x_adv is not carried on",
                "each round starts where the last one ended",
            ),
        ),
        (
            replace(climb, steps=climb.steps - 1).run(),
            Mistake("one step is missing", "the loop starts at 1", "for _ in range(steps)"),
        ),
        (
            replace(climb, steps=climb.steps + 1).run(),
            Mistake(
                "there is one step too many", "a step before the loop, or range(steps + 1)", "for _ in range(steps)"
            ),
        ),
        (
            climb.run(move=lambda z: step * climb.gradient(z).mean(0, keepdim=True).sign()),
            Mistake(
                "every image gets the same step",
                "the gradient was averaged over the batch",
                "each image has its own gradient",
            ),
        ),
        (
            guess.run(),
            Mistake(
                "the loss of the model's own prediction is raised, not that of y",
                "y was replaced by model(x).argmax(1)",
                "use the y that is passed",
            ),
        ),
        (
            softened.run(),
            Mistake(
                "the gradient is that of cross-entropy applied to probabilities",
                "softmax twice",
                "give cross_entropy the logits, model(x)",
            ),
        ),
        (right - x, Mistake("the result is the perturbation, not the image", "x was not added", "return x_adv")),
        (x, Mistake("the result is x itself", "the wrong variable is returned, or no step is made", "return x_adv")),
    ]
