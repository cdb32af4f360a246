"""The exercises of chapter 7, BIM and PGD."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib import losses
from advlib.ball import wide
from advlib.exercises import climbing, properties, specimens, steps
from advlib.exercises.frame import Case, Explore, Formula, Mistake, Wrong
from advlib.exercises.harm import damage
from advlib.norms import Ball, Linf

# --- my_bim(model, x, y, eps, step, steps) ---------------------------------------------------------------


def _climbs() -> list[Case]:
    small, *others = steps.cases((0.03, 0.1, 0.25, 0.03))
    plans = [(0.04, 5), (0.03, 1), (0.008, 7), (0.1, 5), (0.008, 7), (0.05, 4), (0.02, 3), (0.06, 6)]
    found = [Case(case.name, *case.args, *plan) for case, plan in zip([small, *others], plans)]
    model, x, y = specimens.mlp(1, 9, 5, seed=8, scale=4), *small.args[1:3]
    return [*found, Case("steps that overshoot", model, x, y, 0.3, 0.25, 6), Case("no step", model, x, y, 0.3, 0.1, 0)]


BIM_WRONG = [
    *steps.LOSS,
    steps.WAY,
    *climbing.WALK,
    Wrong({"score": lambda z, y: F.cross_entropy(z, y, reduction="none")},
          "the result is each image's iterate of highest loss", "the best iterate was kept",
          "BIM returns the last one; keeping the best is an idea for later"),
    Wrong({"stop": lambda z, y: z.argmax(1) != y}, "images stop moving once they are misread", "stopped early",
          "BIM makes all its steps; stopping early is an idea for later"),
]  # fmt: skip

bim = Formula(
    name="bim",
    chapter=7,
    title="Write BIM",
    points=3,
    right=climbing.climb,
    cases=_climbs,
    same=properties.nearly,
    properties=[properties.inside_box, properties.which_images, properties.change],
    verified="the same images as the formula, on ten models and batches, for 0 to 7 steps of different sizes",
    wrong=BIM_WRONG,
)


# --- my_restarts(attack, model, x, y, restarts) ----------------------------------------------------------


class _Noise:
    """An attack to restart: noise, other for each seed."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        self.seeds.append(int(seed))
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(int(seed)))
        return (x + 0.3 * noise).clamp(0, 1)


def best_of(
    attack: Callable[..., Tensor],
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    restarts: int,
    *,
    seeds: Callable[[int], list[int]] = lambda n: list(range(n)),
    score: Callable[[Tensor, Tensor], Tensor] = lambda z, y: F.cross_entropy(z, y, reduction="none"),
    pick: Callable[[Tensor, Tensor], Tensor] = lambda runs, scores: runs[scores.argmax(0), torch.arange(runs.shape[1])],
) -> Tensor:
    """For each image, the result of highest loss."""
    runs = torch.stack([attack(model, x, y, seed) for seed in seeds(restarts)])
    with torch.no_grad():
        scores = torch.stack([score(model(run), y) for run in runs])
    return pick(runs, scores)


def _restarted() -> list[Case]:
    found = []
    for shape, classes, runs in (
        ((16, 1, 9), 7, 4),
        ((5, 3, 16), 10, 3),
        ((6, 1, 12), 4, 5),
        ((12, 1, 12), 4, 1),
        ((2, 1, 8), 5, 6),
    ):
        # One restart of a sure model: some losses are exactly 0, without ties between results.
        model = specimens.mlp(shape[1], shape[2], classes, seed=classes, scale=4 if runs > 1 else 400)
        x, y = specimens.images(*shape, seed=runs), specimens.labels(shape[0], classes, seed=runs)
        with torch.no_grad():
            y[::2] = model(x[::2]).argmax(1)  # rightly read at the start
        found.append(Case(f"{runs} restarts", _Noise(), model, x, y, runs))
    return found


def _above(start: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """The best results, where their losses are above those that the loop starts with."""

    def kept(attack, model, x, y, restarts):
        best = best_of(attack, model, x, y, restarts)
        return torch.where(wide(losses.cross_entropy(model(best), y) > start(model, x, y)), best, x)

    return kept


def _in_a_chain(attack, model, x, y, restarts):
    best, highest = x, torch.full((len(x),), -torch.inf)
    for seed in range(restarts):
        run = attack(model, best, y, seed)
        loss = losses.cross_entropy(model(run), y)
        best, highest = torch.where(wide(loss > highest), run, best), torch.maximum(loss, highest)
    return best


def _until_misread(runs: Tensor, scores: Tensor) -> Tensor:
    return runs[torch.where(scores.any(0), scores.argmax(0), -1), torch.arange(runs.shape[1])]


START = "best_loss starts at minus infinity: torch.full((len(x),), -torch.inf)"


def _above_the_last(runs: Tensor, scores: Tensor) -> Tensor:
    better = scores.diff(dim=0, prepend=torch.full_like(scores[:1], -torch.inf)) > 0
    return runs[(better * torch.arange(len(runs))[:, None]).amax(0), torch.arange(runs.shape[1])]


PER_IMAGE = "compare image by image: reduction='none', and a mask of those that are better"
RESTARTS_WRONG = [
    Wrong({"pick": lambda runs, scores: runs[scores.argmin(0), torch.arange(runs.shape[1])]},
          "each image's worst restart was kept", "the comparison is turned round",
          "the attacker wants the highest loss"),
    Wrong({"pick": lambda runs, scores: runs[-1]}, "the last restart was kept, not the best",
          "every round overwrites the one before, or all images do where any gets better",
          "replace an image only where its loss is higher than the best so far, and keep that loss with it"),
    Wrong({"pick": _above_the_last}, "the last restart that beat the one before it was kept",
          "best_loss is overwritten also where it was higher", "best_loss = torch.maximum(best_loss, loss)"),
    Wrong({"pick": lambda runs, scores: runs[0]}, "the first restart was kept",
          "nothing is ever replaced, or only where all images get better",
          "best_loss starts at minus infinity, and is updated with the images"),
    Wrong({"pick": lambda runs, scores: runs[scores.mean(1).argmax()]}, "one restart was kept for the whole batch",
          "the losses were averaged over the images, or one image decides for all", PER_IMAGE),
    Wrong({"pick": lambda runs, scores: runs.mean(0)}, "the restarts were averaged", "a mean over the results",
          "the mean of good attacks need not be one: keep the best"),
    Wrong({"pick": lambda runs, scores: runs}, "all restarts are returned", "nothing is chosen among them",
          "return one result for each image"),
    Wrong({"seeds": lambda n: [0] * n}, "every restart used the seed 0, and so the same start",
          "the loop's number is not passed on", "attack(model, x, y, seed) with another seed in each round"),
    Wrong({"seeds": lambda n: [n] * n}, "every restart used the same seed, the number of restarts",
          "`restarts` was passed on instead of the loop's number",
          "attack(model, x, y, seed) with another seed in each round"),
    Wrong({"seeds": lambda n: list(range(1, n + 1))}, "the seeds were 1 to restarts", "the loop starts at 1",
          "for seed in range(restarts)"),
    Wrong({"seeds": lambda n: list(range(n + 1))}, "there is one restart too many",
          "range(restarts + 1), or a call before the loop", "for seed in range(restarts)"),
    Wrong({"seeds": lambda n: list(range(max(n - 1, 1)))}, "one restart is missing",
          "range(restarts - 1), or the last result is never compared", "for seed in range(restarts)"),
    Wrong({"score": lambda z, y: -z.gather(1, y[:, None])[:, 0]}, "the restart with the smallest logit of y was kept",
          "nll_loss without log_softmax, or the logit itself was compared",
          "compare F.cross_entropy(model(x_adv), y, reduction='none')"),
    Wrong({"score": lambda z, y: z.amax(1)}, "the restart with the largest logit was kept",
          "another score than the loss of y", "compare F.cross_entropy(model(x_adv), y, reduction='none')"),
    Wrong({"score": lambda z, y: F.cross_entropy(z, z.argmax(1), reduction="none")},
          "the loss of the model's own prediction was compared", "y was replaced by the prediction",
          "use the y that is passed"),
    Wrong({"score": lambda z, y: (z.argmax(1) != y).float()},
          "of several results, the first that is misread was kept, whatever its loss",
          "success was compared instead of the loss", "compare F.cross_entropy(model(x_adv), y, reduction='none')"),
    Wrong(lambda attack, model, x, y, restarts: x.clone(), "the result is x itself",
          "the results are never written back", "best[better] = x_adv[better]"),
    Wrong({"score": lambda z, y: (z.argmax(1) != y).float(), "pick": _until_misread},
          "an image is replaced as long as it is read rightly, whatever the losses are",
          "success was compared instead of the loss, and the last failure kept",
          "compare F.cross_entropy(model(x_adv), y, reduction='none')"),
    Wrong(_above(lambda model, x, y: losses.cross_entropy(model(x), y)),
          "an image whose results all have a lower loss than the clean one comes back as it was",
          "best_loss starts at the clean images' losses", START),
    Wrong(_above(lambda model, x, y: torch.zeros(len(x))), "an image whose losses are all 0 comes back as it was",
          "best_loss starts at 0", START),
    Wrong(_in_a_chain, "each restart begins where the best one so far ended", "best or x_adv was passed in place of x",
          "attack(model, x, y, seed), with the clean x"),
    *(Wrong({"score": score}, seen, cause, "compare F.cross_entropy(model(x_adv), y, reduction='none')")
      for score, seen, cause in [
        (lambda z, y: z.scatter(1, y[:, None], -torch.inf).amax(1) - z.gather(1, y[:, None])[:, 0],
         "the restart with the largest margin was kept", "another score than the cross-entropy"),
        (lambda z, y: F.cross_entropy(z.softmax(1), y, reduction="none"),
         "the loss of probabilities was compared", "softmax twice: cross_entropy contains one"),
        (lambda z, y: z.softmax(1).amax(1), "the restart with the surest answer was kept", "max of the probabilities"),
    ]),
]  # fmt: skip

restarts = Formula(
    name="restarts",
    chapter=7,
    title="Restarts that keep the best",
    points=3,
    right=best_of,
    cases=_restarted,
    trace=lambda args: args[0].seeds,
    allowed=["advlib.exercises.bim"],
    verified="each image's best result, for 1 to 5 restarts with a seed of their own",
    wrong=RESTARTS_WRONG,
)


# --- my_attack(model, x, y, within): cheap and good ------------------------------------------------------


def _cheap(
    exercise: Explore,
    attack: Callable,
    notes: list[str],
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    within: Ball,
    *,
    share: float = 0.8,
    passes: float = 5,
) -> str:
    """``attack(model, x, y, within)`` fools ``share`` of the images, with at most ``passes`` for each."""
    before = x.clone()
    with specimens.counting(model) as (victim, count):
        result = exercise.attempt(attack, (victim, x, y, within), notes)
        spent = count() / len(x)
    for harm in damage(lambda x: x, (before,), (x,)):
        raise harm.mistake
    result = properties.images(result, before)
    properties.inside_ball(within.size(result - x), within.eps, within.symbol)
    fooled = properties.misread(model, result, y).float().mean().item()
    if not spent:
        raise Mistake("no image went through the model that was passed", mend="attack the argument `model`")
    if fooled < share:
        seen = f"{fooled:.0%} are misread, for {spent:.1f} passes an image; {share:.0%} are asked"
        properties.weak(seen, result, x, within.eps, lambda x: properties.misread(model, x, y).float().mean().item())
        raise Mistake(seen, mend=f"{passes:g} passes are allowed: take more steps" if spent <= passes - 1 else "")
    if spent > passes:
        raise Mistake(
            f"{fooled:.0%} are misread, but for {spent:.1f} passes an image; at most {passes:g} are allowed",
            mend="stop an image at its first success, and take fewer, larger steps; each restart counts anew, and so "
            "does a pass that only asks who is fooled: the logits of the gradient's pass tell that as well",
        )
    return f"{fooled:.0%} misread for {spent:.1f} passes an image"


def _signs() -> tuple[Any, ...]:
    from advlib import load_images, load_model

    signs = load_images("signs", "test", n=192)
    return load_model("signs-cnn"), signs.x, signs.y, Linf(4 / 255)


def _pgd(**settings: Any) -> Callable:
    from advlib.attacks import pgd

    return lambda model, x, y, within: pgd(model, x, y, within, **settings)


CHEAP_ATTACK_WRONG = [
    Wrong(lambda *given: _pgd(steps=7, early_stop=False), "misread, but for"),
    Wrong(lambda *given: _pgd(steps=1), "passes an image; 80% are asked"),
    Wrong(lambda *given: lambda model, x, y, within: x, "no image went through the model that was passed"),
    Wrong(lambda *given: lambda model, x, y, within: _pgd(steps=3)(model, x, y, Linf(8 / 255)),
          "the L∞ size of a perturbation is 0.0314, but ε is 0.0157"),
    Wrong(lambda *given: lambda model, x, y, within: x.mul_(1) + 2, "pixels reach from"),
    Wrong(lambda *given: lambda model, x, y, within: x.add_(0.001) and x, "x was changed"),
]  # fmt: skip

cheap_attack = Explore(
    name="cheap_attack",
    chapter=7,
    title="Explore: cheap and good",
    points=3,
    live=True,
    measured=_cheap,
    allowed=["advlib"],
    seconds=120,
    example=_signs,
    right=lambda *given: _pgd(steps=7),
    wrong=CHEAP_ATTACK_WRONG,
)
