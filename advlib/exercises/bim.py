"""Checkers for the chapter on BIM and PGD."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib.evaluate import predict
from advlib.exercises import expect, specimens
from advlib.exercises.bim_mistakes import Climb, bim_mistakes
from advlib.exercises.frame import Attempt, Mistake, checks_function, checks_value
from advlib.exercises.specimens import Specimen
from advlib.norms import Ball

# --- my_bim(model, x, y, eps, step, steps) -------------------------------------------------------------


@checks_function
def bim(attempt: Attempt) -> str:
    """``my_bim(model, x, y, eps, step, steps)`` is the basic iterative method in an L∞ ball."""
    for specimen, step, steps in _climbs():
        _judge_climb(attempt, specimen, step, steps)
    return "the same images as the formula, on three models, for 1, 5 and 7 steps of different sizes"


def _climbs() -> list[tuple[Specimen, float, int]]:
    def specimen(name: str, model: nn.Module, shape: tuple[int, int, int], classes: int, eps: float) -> Specimen:
        x = specimens.images(*shape, seed=classes)
        return Specimen(name, model, x, specimens.labels(shape[0], classes, seed=classes), eps)

    sharp = specimens.mlp(3, 48, 16, seed=4)
    sharp[-1].weight.data.mul_(10)  # far from equal probabilities, so that a second softmax is noticed

    smooth = specimen("a network of 1×28×28 images", specimens.mlp(1, 28, 7, seed=2), (6, 1, 28), 7, 0.1)
    small = specimen("a convolutional network, batch of 1", specimens.conv(3, 5, seed=3), (1, 3, 32), 5, 0.25)
    colour = specimen("a network of 3×48×48 images", sharp, (4, 3, 48), 16, 0.03)
    return [(smooth, 0.04, 5), (colour, 0.008, 7), (small, 0.1, 5), (smooth, 0.03, 1)]


def _judge_climb(attempt: Attempt, specimen: Specimen, step: float, steps: int) -> None:
    model, x, y, eps = specimen
    climb = Climb(model, x, y, eps, step, steps)
    right, before = climb.run(), x.clone()
    result = attempt(model, x, y, eps, step, steps)
    expect.untouched(x, before, attempt)
    expect.image_batch(result, x)
    _still_evaluating(model)
    expect.tidy(result, model, attempt)
    result = result.detach()
    if expect.same(result, right, share=0.99):
        return
    expect.no_known_mistake(result, bim_mistakes(climb), right)
    expect.inside_box(result)
    expect.inside_ball((result - x).abs().flatten(1).max(1).values, eps, "L∞")
    expect.climbs(model, x, y, result)
    off = (result - right).abs()
    raise Mistake(
        f"on {specimen.name}, {(off > 1e-5).float().mean().item():.0%} of the pixels differ from the "
        f"formula, by up to {off.max().item():.4f}",
        "another number of steps, another step, or a variable of the notebook instead of an argument",
        "use model, x, y, eps, step and steps as they are passed; start at x",
    )


def _still_evaluating(model: nn.Module) -> None:
    if any(module.training for module in model.modules()):
        model.eval()
        raise Mistake(
            "the model was left in training mode",
            "model.train() was called",
            "an attack leaves the model as it was: in eval mode, batch norm and dropout stand still",
        )


# --- my_restarts(attack, model, x, y, restarts) --------------------------------------------------------


class _Recorded:
    """An attack for the exercise: a step along the gradient's sign, of random length for each seed."""

    def __init__(self) -> None:
        self.seeds: list[int] = []
        self.results: list[Tensor] = []

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        self.seeds.append(int(seed))
        length = 0.02 + 0.2 * torch.rand(len(x), 1, 1, 1, generator=torch.Generator().manual_seed(int(seed) + 40))
        one_step = Climb(model, x, y, eps=1.0, step=1.0, steps=1)
        self.results.append((x + length * one_step.gradient(x).sign()).clamp(0, 1))
        return self.results[-1].clone()


@checks_function
def restarts(attempt: Attempt) -> str:
    """``my_restarts(attack, model, x, y, restarts)`` keeps each image's result of highest loss."""
    for shape, classes, runs in (((6, 1, 28), 7, 4), ((5, 3, 16), 10, 3), ((3, 1, 12), 4, 1)):
        model = specimens.mlp(shape[1], shape[2], classes, seed=classes)
        x, y = specimens.images(*shape, seed=runs), specimens.labels(shape[0], classes, seed=runs)
        attack, before = _Recorded(), x.clone()
        result = attempt(attack, model, x, y, runs)
        expect.untouched(x, before, attempt)
        expect.image_batch(result, x)
        _still_evaluating(model)
        _all_seeds(attack.seeds, runs)
        _best_of(result.detach(), attack.results, model, x, y)
    return "each image's best result, for 4, 3 and 1 restarts with a seed of their own"


def _all_seeds(seeds: list[int], runs: int) -> None:
    if len(seeds) != runs:
        raise Mistake(
            f"the attack was called {len(seeds)} times for restarts={runs}",
            "the loop runs too often or not often enough",
            "for seed in range(restarts): one call each",
        )
    if runs > 1 and len(set(seeds)) == 1:
        raise Mistake(
            f"every restart used the same seed, {seeds[0]}, and so the same start",
            "the loop's number is not passed on",
            "attack(model, x, y, seed) with another seed in each round",
        )
    if sorted(seeds) != list(range(runs)):
        raise Mistake(f"the seeds were {seeds}, expected {list(range(runs))}", mend="for seed in range(restarts)")


def _best_of(result: Tensor, results: list[Tensor], model: nn.Module, x: Tensor, y: Tensor) -> None:
    runs = torch.stack(results)
    with torch.no_grad():
        losses = torch.stack([F.cross_entropy(model(z), y, reduction="none") for z in results])
    images = torch.arange(len(x))
    right = runs[losses.argmax(0), images]
    if expect.same(result, right, share=1.0):
        return
    per_image = "compare image by image: reduction='none', and a mask of those that are better"
    suspects = [
        (
            runs[losses.argmin(0), images],
            Mistake(
                "each image's worst restart was kept",
                "the comparison is turned round",
                "the attacker wants the highest loss",
            ),
        ),
        (
            runs[-1],
            Mistake(
                "the last restart was kept, not the best",
                "every round overwrites the one before",
                "replace an image only where its loss is higher than the best so far",
            ),
        ),
        (
            runs[0],
            Mistake(
                "the first restart was kept",
                "nothing is ever replaced",
                "best_loss starts at minus infinity, and is updated with the images",
            ),
        ),
        (
            runs[losses.mean(1).argmax()],
            Mistake("one restart was kept for the whole batch", "the losses were averaged over the images", per_image),
        ),
        (
            runs.mean(0),
            Mistake(
                "the restarts were averaged",
                "a mean over the results",
                "the mean of good attacks need not be one: keep the best",
            ),
        ),
        (x, Mistake("the result is x itself", "the results are never written back", "best[better] = x_adv[better]")),
    ]
    expect.no_known_mistake(result, suspects, right)
    with torch.no_grad():
        reached = F.cross_entropy(model(result), y, reduction="none")
    worse = int((reached < losses.max(0).values - 1e-5).sum())
    raise Mistake(
        f"{worse} of {len(x)} images have a lower loss than the best of their restarts",
        "best_loss is not updated together with the images, or another loss is compared",
        per_image,
    )


# --- my_attack(model, x, y, within): cheap and good ----------------------------------------------------


class _Counted(nn.Module):
    """A model that counts the images that go through it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.passes = model, 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += len(x)
        return self.model(x)


@checks_value
def cheap_attack(
    attack: Callable, model: nn.Module, x: Tensor, y: Tensor, within: Ball, *, share: float = 0.8, passes: float = 5
) -> str:
    """``attack(model, x, y, within)`` fools ``share`` of the images, with at most ``passes`` for each."""
    attempt, counted, before = Attempt(attack), _Counted(model).eval(), x.clone()
    result = attempt(counted, x, y, within)
    expect.untouched(x, before, attempt)
    expect.image_batch(result, x)
    result = result.detach()
    expect.inside_box(result)
    expect.inside_ball(within.size(result - x), within.eps, within.symbol)
    spent = counted.passes / len(x)
    fooled = (predict(model, result.clamp(0, 1))[0] != y).float().mean().item()
    if not counted.passes:
        raise Mistake(
            "no image went through the model that was passed",
            "the notebook's model is used, or no model at all",
            "attack the argument `model`",
        )
    if fooled < share:
        raise Mistake(
            f"{fooled:.0%} are misread, for {spent:.1f} passes an image; {share:.0%} are asked",
            "too few steps, or steps that are too short",
            "more steps, or a schedule that shrinks",
        )
    if spent > passes:
        raise Mistake(
            f"{fooled:.0%} are misread, but for {spent:.1f} passes an image; at most {passes:g} are allowed",
            "images that are fooled already are still attacked, or too many steps",
            "stop an image at its first success, and take fewer, larger steps",
        )
    return f"{fooled:.0%} misread for {spent:.1f} passes an image"
