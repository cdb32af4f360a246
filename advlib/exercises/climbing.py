"""Many steps along the gradient, in parts: what iterated attacks share, and the slips common to them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from advlib.ball import wide
from advlib.exercises.frame import Wrong
from advlib.exercises.steps import Loss, ce, gradient, of_batch, unit


def into_ball(x_adv: Tensor, x: Tensor, eps: float) -> Tensor:
    return torch.clamp(x_adv, x - eps, x + eps)


def into_box(x_adv: Tensor, x: Tensor | None = None, eps: float = 0) -> Tensor:
    return x_adv.clamp(0, 1)


def inside(x_adv: Tensor, x: Tensor, eps: float) -> Tensor:
    return into_box(into_ball(x_adv, x, eps))


def anywhere(x_adv: Tensor, x: Tensor, eps: float) -> Tensor:
    return x_adv


def clean(x: Tensor, x_adv: Tensor) -> Tensor:
    return x


def last(x: Tensor, x_adv: Tensor) -> Tensor:
    return x_adv


def climb(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    step: float,
    steps: int,
    *,
    loss: Loss = ce,
    direction: Callable[[Tensor], Tensor] = torch.sign,
    memory: Callable[[Tensor, Tensor], Tensor] = lambda before, g: g,
    way: float = 1,
    length: Callable[[float, float, int], float] = lambda step, eps, steps: step,
    count: Callable[[int], int] = int,
    at: Callable[[Tensor, Tensor], Tensor] = last,
    base: Callable[[Tensor, Tensor], Tensor] = last,
    centre: Callable[[Tensor, Tensor], Tensor] = clean,
    back: Callable[[Tensor, Tensor, float], Tensor] = inside,
    stop: Loss | None = None,
    score: Loss | None = None,
    after: Callable[[Tensor, Tensor, float], Tensor] = anywhere,
) -> Tensor:
    """``steps`` times: into the ball and the box from x_adv + step · sign(∇ₓ loss).

    The gradient is that ``at`` an iterate, the step leads from ``base``, the ball lies around ``centre``. An image
    stays where ``stop`` is true of it; of its iterates, the last is returned, or the one of the highest ``score``.
    """
    x_adv = best = x
    highest = torch.full((len(x),), -torch.inf, dtype=x.dtype)
    g = torch.zeros_like(x)
    for _ in range(count(steps)):
        g = memory(g, gradient(model, at(x, x_adv), y, loss))
        moved = back(base(x, x_adv) + way * length(step, eps, steps) * direction(g), centre(x, x_adv), eps)
        with torch.no_grad():
            x_adv = torch.where(wide(stop(model(x_adv), y)), x_adv, moved) if stop else moved
            if score:
                now = score(model(x_adv), y)
                best, highest = torch.where(wide(now > highest), x_adv, best), torch.maximum(now, highest)
    return after(best if score else x_adv, x, eps)


def normalised(g: Tensor) -> Tensor:
    return torch.nan_to_num(g / g.abs().sum((1, 2, 3), keepdim=True))


WALK = [
    Wrong({"at": clean}, "every step goes in the same direction", "the gradient is always that at the clean image",
          "compute it at x_adv, inside the loop: a new plane at every step"),
    Wrong({"back": into_box}, "the change accumulates beyond ε", "the projection onto the ball is missing",
          "after each step: torch.clamp(x_adv, x - eps, x + eps), with the clean x"),
    Wrong({"back": anywhere}, "the change accumulates beyond ε, and pixels leave [0, 1]",
          "neither the ball nor the box is kept", "after each step: torch.clamp(x_adv, x - eps, x + eps).clamp(0, 1)"),
    Wrong({"back": anywhere, "after": into_box}, "the change accumulates beyond ε",
          "the projection onto the ball is missing, and the box is kept only at the end",
          "after each step: torch.clamp(x_adv, x - eps, x + eps).clamp(0, 1)"),
    Wrong({"centre": last}, "the change accumulates beyond ε, though each single step keeps to it",
          "the projection goes around the last iterate instead of the clean image",
          "torch.clamp(x_adv, x - eps, x + eps), with the clean x"),
    Wrong({"base": clean, "centre": last}, "each step is ε long, and the ball has the size `step`",
          "eps and step are exchanged: min(x_adv + ε, x + step) is the same as min(x + step, x_adv + ε)",
          "step along the gradient by `step`, clip to eps"),
    Wrong({"back": into_box, "after": inside}, "the steps leave the ball on the way",
          "projected only once, after the last step", "project inside the loop, after each step"),
    Wrong({"back": anywhere, "after": inside}, "the steps leave the ball and the box on the way",
          "clipped only once, after the last step", "clip inside the loop, after each step"),
    Wrong({"back": into_ball}, "pixels leave [0, 1]", "the ball is kept, the box is not",
          "clip to [0, 1] as well, inside the loop"),
    Wrong({"back": into_ball, "after": into_box}, "the gradient is taken at points outside [0, 1]",
          "clipped to the box only at the end", "clip to [0, 1] inside the loop"),
    Wrong({"back": lambda x_adv, x, eps: into_box(x_adv.clamp(-eps, eps))}, "pixels lie between −ε and ε",
          "the image was clipped to the ball's radius, not its change",
          "clip around the clean image: torch.clamp(x_adv, x - eps, x + eps)"),
    Wrong({"direction": lambda g: g}, "the steps have the gradient's size", "the sign is missing",
          "step * grad.sign()"),
    Wrong({"direction": lambda g: g / len(g)}, "the steps have the size of the mean loss's gradient",
          "the sign is missing", "step * grad.sign()"),
    Wrong({"direction": unit}, "each step has length `step` in the L2 norm", "the gradient was divided by its length",
          "inside an L∞ ball take its sign: step * grad.sign()"),
    Wrong({"direction": of_batch(torch.sign)}, "every image gets the same step",
          "the gradient was averaged over the batch", "each image has its own gradient"),
    Wrong({"length": lambda step, eps, steps: eps}, "each step is ε long", "ε was used as the step size",
          "the argument `step` is the step size"),
    Wrong({"length": lambda step, eps, steps: eps / max(steps, 1)}, "each step is ε / steps long",
          "the argument `step` is not used", "step * grad.sign()"),
    Wrong({"length": lambda step, eps, steps: 2.5 * eps / max(steps, 1)}, "each step is 2.5 ε / steps long",
          "the argument `step` is not used", "step * grad.sign()"),
    Wrong({"length": lambda step, eps, steps: step / 255}, "each step is 255 times too short",
          "step was divided by 255 once more", "step already is in pixel units"),
    Wrong({"count": lambda steps: min(steps, 1)}, "only one step was made",
          "a return inside the loop, or x_adv is not carried on", "each round starts where the last one ended"),
    Wrong({"count": lambda steps: max(steps - 1, 0)}, "one step is missing", "the loop starts at 1, or ends early",
          "for _ in range(steps)"),
    Wrong({"count": lambda steps: steps + 1}, "there is one step too many",
          "a step before the loop, or range(steps + 1)", "for _ in range(steps)"),
    Wrong({"count": lambda steps: 10}, "ten steps were made, whatever `steps` is", "a number is written into the code",
          "for _ in range(steps)"),
    Wrong({"base": clean}, "each step starts from the clean image again",
          "x + step · sign instead of x_adv + step · sign", "each round starts where the last one ended"),
    Wrong({"memory": lambda before, g: before + normalised(g)},
          "each step follows the sum of all gradients so far, in units of their L1 norm", "momentum was added",
          "BIM follows the gradient at the last iterate alone"),
    Wrong({"memory": torch.add}, "each step follows the sum of all gradients so far",
          ".grad was not set to zero between the steps: backward() adds to it",
          "x_adv.grad = None before each backward(), or torch.autograd.grad(loss, x_adv)[0]"),
    Wrong({"after": lambda x_adv, x, eps: x_adv - x}, "the result is the perturbation, not the image",
          "x was not added", "return x_adv"),
    Wrong({"after": lambda x_adv, x, eps: x.clone()}, "the result is x itself",
          "the wrong variable is returned, or no step is made",
          "return x_adv; the number of rounds is `steps`, their size `step`"),
]  # fmt: skip
