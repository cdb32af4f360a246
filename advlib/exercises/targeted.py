"""The exercises of chapter 8, targeted attacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib.answers import logits_of
from advlib.attacks import pgd
from advlib.ball import wide
from advlib.evaluate import predict
from advlib.exercises import climbing, properties, specimens, steps
from advlib.exercises.frame import Case, Explore, Formula, Mistake, Wrong
from advlib.exercises.steps import Loss, ce, step
from advlib.norms import Linf

# A goal is the target and the label, stacked: what the parts of an attack get in the place of y.


def of_target(z: Tensor, goal: Tensor) -> Tensor:
    return ce(z, goal[0])


def of_label(z: Tensor, goal: Tensor) -> Tensor:
    return ce(z, goal[1])


def _logit(z: Tensor, label: Tensor) -> Tensor:
    return z.gather(1, label[:, None])[:, 0]


def _rivals(z: Tensor, label: Tensor) -> Tensor:
    return z.scatter(1, label[:, None], -torch.inf).amax(1)


def _where_zero(other: Loss) -> Loss:
    """Another loss for images whose target is class 0."""
    each = lambda z, label: F.cross_entropy(z, label, reduction="none")
    return lambda z, goal: torch.where(goal[0] == 0, other(z, goal[1]), each(z, goal[0])).sum()


def _aims(budgets: tuple[float, ...]) -> list[Case]:
    """(model, x, y, target, ε): the target is never the label, sometimes class 0, sometimes what the model says."""
    found = []
    for case in steps.cases(budgets):
        model, x, y, eps = case.args
        with torch.no_grad():
            z = model(x)
        target = (y + 1 + specimens.labels(len(y), z.shape[1] - 1, seed=3)) % z.shape[1]
        found.append(Case(case.name, model, x, y, torch.where(y == 1, 0, target), eps))
    x, y, target, eps = found[0].args[1:]
    # Apart: where both meet, cross-entropy rounds to no gradient, and an answer on the log-odds knows better.
    sure, huge = specimens.mlp(1, 9, 5, seed=8, scale=4), specimens.mlp(1, 9, 5, seed=8, scale=100)
    read = sure(x).argmax(1)
    far = torch.where((read + 1) % 5 == y, read + 2, read + 1) % 5
    return [
        *found,
        Case("targets that are read already", sure, x, y, target.where(read == y, read), eps),
        Case("huge logits", huge, x, y, far, eps),
    ]


def refusing(when: Callable[[Tensor], Any]) -> Callable[[Tensor, Tensor], None]:
    def refuse(y: Tensor, target: Tensor) -> None:
        if when(target == y):
            raise ValueError("a target is the label")

    return refuse


any_label = refusing(torch.any)


def _no_zero(y: Tensor, target: Tensor) -> None:
    any_label(y, target)
    any_label(target, torch.zeros_like(target))


def aimed(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    target: Tensor,
    eps: float,
    *,
    refuse: Callable[[Tensor, Tensor], None] = any_label,
    **parts: Any,
) -> Tensor:
    """clip(x − ε · sign(∇ₓ loss of the target), 0, 1); a target that is the label is refused."""
    refuse(y, target)
    return step(model, x, torch.stack([target, y]), eps, **{"way": -1, "loss": of_target, **parts})


def climbed_down(
    model: nn.Module, x: Tensor, y: Tensor, target: Tensor, eps: float, rounds: int, size: float, **parts: Any
) -> Tensor:
    """``rounds`` times: into the ball and the box from x_adv − size · sign(∇ₓ loss of the target)."""
    goal = torch.stack([target, y])
    return climbing.climb(model, x, goal, eps, size, rounds, **{"way": -1, "loss": of_target, **parts})


def _two_steps(model: nn.Module, x: Tensor, y: Tensor, target: Tensor, eps: float) -> Tensor:
    return (aimed(model, x, y, target, eps, end=torch.add) + eps * steps.gradient(model, x, y).sign()).clamp(0, 1)


def _left_out(model: nn.Module, x: Tensor, y: Tensor, target: Tensor, eps: float) -> Tensor:
    moved = aimed(model, x, y, target, eps, refuse=refusing(lambda same: False))
    return torch.where(wide(target == y), x, moved)


BOTH = (
    "the loss of the true class plays a part in the step",
    "both losses are used, the target's and the label's, or the difference of both logits",
    "aim with the target's loss alone",
)
AIM = [
    Wrong({"way": 1}, "the loss of the target went up: the wanted class became less likely",
          "the label was exchanged, but the sign was not flipped", "go down the target's loss: subtract the step"),
    Wrong({"way": 1, "loss": of_label}, "this is the untargeted attack: it climbs the loss of the true class",
          "the loss is that of y, and the target plays no part", "use the loss of target, and subtract the step"),
    Wrong({"loss": of_label}, "the loss of the true class went down: the right answer became more likely",
          "the sign was flipped, but the loss is still that of y", "use the loss of target"),
    Wrong({"loss": lambda z, goal: of_target(z, goal) - of_label(z, goal)}, *BOTH),
    Wrong({"loss": lambda z, goal: of_target(z, goal) + of_label(z, goal)}, BOTH[0] + ", with the wrong sign",
          *BOTH[1:]),
    Wrong({"loss": lambda z, goal: F.mse_loss(z.softmax(1), F.one_hot(goal[0], z.shape[1]).to(z), reduction="sum")},
          "the gradient is that of a squared error of probabilities", "another loss than the cross-entropy",
          "loss = F.cross_entropy(model(x), target, reduction='sum')"),
    Wrong({"loss": lambda z, goal: (z.logsumexp(1)[:, None] - z[:, goal[0]]).sum()},
          "every image aims at the targets of all images", "z[:, target] takes all targets' columns for every image",
          "one entry per row: z[torch.arange(len(z)), target]"),
    Wrong({"loss": lambda z, goal: ce(z, goal[0, :1].expand(len(z)))}, "every image aims at the first one's target",
          "target[0] was used for the whole batch", "one entry per row: z[torch.arange(len(z)), target]"),
    Wrong({"loss": lambda z, goal: ce(z[:1], goal[0, :1])}, "only the first image is attacked",
          "the loss is that of one image", "give cross_entropy all logits and all targets"),
    Wrong({"loss": _where_zero(lambda z, y: -F.cross_entropy(z, y, reduction="none"))},
          "images whose target is class 0 flee their label instead of aiming", "class 0 was taken for “no target”",
          "0 is a class like any other: `if target:` is false for it"),
    Wrong({"loss": _where_zero(lambda z, y: 0 * z[:, 0])}, "images whose target is class 0 stay as they are",
          "class 0 was taken for “no target”", "0 is a class like any other: `if target:` is false for it"),
    Wrong({"loss": lambda z, goal: ce(z.softmax(1), goal[0])},
          "the gradient is that of cross-entropy applied to probabilities",
          "softmax twice: cross_entropy contains one", "give cross_entropy the logits, model(x)"),
    Wrong({"loss": lambda z, goal: -_logit(z, goal[0]).sum()},
          "the gradient is that of the target's logit alone, −z_t",
          "nll_loss was given logits without log_softmax, or the other logits play no part",
          "use cross_entropy, or log_softmax before nll_loss"),
    Wrong({"loss": lambda z, goal: (_rivals(z, goal[0]) - _logit(z, goal[0])).sum()},
          "the gradient is that of the target's margin", "another loss than the cross-entropy",
          "loss = F.cross_entropy(model(x), target, reduction='sum')"),
    Wrong({"loss": lambda z, goal: ce(z, z.argmax(1))}, "the step lowers the loss of what the model says already",
          "the prediction stands in the place of the target", "use the target that is passed"),
]  # fmt: skip
REFUSE = 'if (target == y).any(): raise ValueError("…")'
TARGETED_FGSM_WRONG = [
    *AIM,
    *steps.again(aimed),
    *steps.END,
    *steps.SIGN,
    Wrong({"way": 1, "loss": lambda z, goal: of_target(z, goal) - of_label(z, goal)},
          BOTH[0] + ", and its sign is turned round", *BOTH[1:]),
    Wrong(_two_steps, "two steps were made: down the target's loss, and up the label's", *BOTH[1:]),
    Wrong({"refuse": refusing(lambda same: False)}, "a target that is the true label goes through",
          "nothing compares target with y: such an image counts as a success before any attack", REFUSE),
    Wrong({"refuse": refusing(torch.all)}, "one target that is the true label goes through among others that are not",
          "all() asks whether every target is a label, and so does torch.equal", REFUSE),
    Wrong({"refuse": refusing(lambda same: same[0])},
          "a target that is the true label goes through where it is not the first", "only target[0] is compared",
          REFUSE),
    Wrong({"refuse": _no_zero}, "an image whose target is class 0 is refused",
          "class 0 was taken for “no target”", "0 is a class like any other: only target == y is refused"),
    Wrong(_left_out, "an image whose target is its label comes back as it was",
          "it is left out, where an error is asked for", REFUSE),
    Wrong(lambda model, x, y, target, eps: aimed(model, x, model(x).argmax(1), target, eps),
          "a target that the model says already is refused", "target is compared with the prediction", REFUSE),
]  # fmt: skip


def _one_step() -> list[Case]:
    found = _aims((8 / 255, 0.1, 0.25, 0.03))
    model, x, y, target, eps = found[0].args
    return [
        *found,
        Case("five images, the last target is the label", model, x, y, torch.cat([target[:-1], y[-1:]]), eps),
        Case("five images, the first target is the label", model, x, y, torch.cat([y[:1], target[1:]]), eps),
        Case("one image whose target is its label", model, x[:1], y[:1], y[:1], eps),
    ]


targeted_fgsm = Formula(
    name="targeted_fgsm",
    chapter=8,
    title="Targeted FGSM",
    points=2,
    right=aimed,
    cases=_one_step,
    same=properties.nearly,
    properties=[properties.like, properties.inside_box, properties.which_images, properties.change],
    refuses=ValueError,
    verified="the same images as the formula, on ten models and batches, and no target that is a label",
    wrong=TARGETED_FGSM_WRONG,
)


# --- my_targeted_bim(model, x, y, target, eps, steps, step) ----------------------------------------------


def _many_steps() -> list[Case]:
    found = _aims((0.03, 0.1, 0.25, 0.03))
    plans = [
        (5, 0.04),
        (1, 0.03),
        (7, 0.008),
        (5, 0.1),
        (7, 0.008),
        (4, 0.05),
        (3, 0.02),
        (6, 0.06),
        (5, 0.02),
        (4, 0.03),
    ]
    cases = [Case(case.name, *case.args, *plan) for case, plan in zip(found, plans)]
    model, x, y, target = specimens.mlp(1, 9, 5, seed=8, scale=4), *found[0].args[1:4]
    return [
        *cases,
        Case("steps that overshoot", model, x, y, target, 0.3, 6, 0.25),
        Case("no step", model, x, y, target, 0.3, 0, 0.1),
    ]


TARGETED_BIM_WRONG = [
    *AIM,
    *climbing.WALK,
    Wrong({"stop": lambda z, goal: z.argmax(1) == goal[0]}, "images stop moving once they are read as their target",
          "stopped early", "make all the steps that are asked for: a success at its border is a fragile one"),
    Wrong({"stop": lambda z, goal: (z.argmax(1) == goal[0]).all().expand(len(z))},
          "all images stop moving once the last is read as its target", "stopped early",
          "make all the steps that are asked for"),
    Wrong({"stop": lambda z, goal: z.argmax(1) != goal[1]}, "images stop moving once they are misread as anything",
          "stopped early, and at any error", "make all the steps that are asked for"),
    Wrong({"score": lambda z, goal: -F.cross_entropy(z, goal[0], reduction="none")},
          "the result is each image's iterate of the target's lowest loss", "the best iterate was kept",
          "return the last one"),
]  # fmt: skip

targeted_bim = Formula(
    name="targeted_bim",
    chapter=8,
    title="Many steps",
    points=3,
    right=climbed_down,
    cases=_many_steps,
    same=properties.nearly,
    properties=[properties.like, properties.inside_box, properties.which_images, properties.change],
    verified="the same images as the formula, on twelve models and batches, for 0 to 7 steps of different sizes",
    wrong=TARGETED_BIM_WRONG,
)


# --- a picture for every wish -----------------------------------------------------------------------------


def _wishes(exercise: Explore, x_adv: Any, notes: list[str], model: nn.Module, x: Tensor, y: Tensor, eps: float) -> str:
    """``x_adv[t]`` is within ``eps`` of the image ``x`` (1, C, H, W) and read as class t; ``x_adv[y]`` is ``x``."""
    own, classes = int(y), logits_of(model, x).shape[1]
    x_adv = properties.images(x_adv, x.expand(classes, *x.shape[1:]))
    size = Linf(eps).size(x_adv - x)
    within = lambda delta: Linf(eps).size(delta) <= eps * (1 + 1e-4) + 1e-6
    read = predict(model, x_adv)[0].tolist()
    missed = [t for t in range(classes) if t != own and read[t] != t]
    outside = [t for t in range(classes) if size[t] > eps * (1 + 1e-4) + 1e-6]
    found = []
    kept = x_adv[[t for t in range(classes) if t != own]]
    if len(outside) == classes and within(x_adv - x_adv[own : own + 1]).all():
        seen = f"all pictures are within ε of picture {own}, and that is another image than the one passed"
        raise Mistake(seen, mend="begin with the image that is asked for, and leave it in its row")
    if size.max() > 2 * eps and size[own] <= 1e-6 and within(kept[1:] - kept[:-1]).all():
        seen = f"the L∞ size of a picture is up to {size.max():.4f}, but each is within ε of the one before it"
        raise Mistake(seen, "every attack begins where the one before it ended", "attack the clean image each time")
    if size[own] > 1e-6:
        mend = f"the image shows class {own}: leave row {own} as it was"
        found.append(Mistake(f"picture {own} is not the clean image", mend=mend))
    if outside:
        seen = f"the L∞ size of pictures {_listed(outside)} is up to {size.max():.4f}, but ε is {eps:.4f}"
        found.append(Mistake(seen, mend=properties.BALL))
    if missed and not size.any():
        found.append(Mistake("all pictures are the clean image", mend="write the attacked pictures into their rows"))
    elif missed:
        words = f"{classes - 1 - len(missed)} of {classes - 1} wishes came true; missing: {_listed(missed)}"
        mend = ""
        with torch.no_grad():
            before, after = logits_of(model, x).log_softmax(1)[0], logits_of(model, x_adv).log_softmax(1).diag()
        for shift in (1, -1):
            # the row beside the image's own may hold nothing
            if len(missed) > 1 and sum(read[t] == (t + shift) % classes for t in missed) >= len(missed) - 1:
                words += f", read as class t {shift:+d}: the rows are shifted"
        if (after < before)[missed].float().mean() > 0.9:
            words += ". There the class that is wanted became less likely"
            mend = "go down the target's loss: subtract the step"
        elif len(missed) > 1 and len({read[t] for t in missed}) == 1 and read[missed[0]] != own:
            words += f". They are all read as class {read[missed[0]]}"
            mend = "aim each picture at the class of its row: target="
        elif "shifted" not in words and (after > before + 0.1)[missed].all():
            words += ". There the class that is wanted became likelier"
            mend = "go on that way: more steps, smaller ones towards the end, or other starts"
        elif len(missed) == classes - 1 > 1 and all(read[t] == own for t in missed):
            words += f". They are all still read as class {own}"
            mend = "pass the image's own class as y, and the class of the row as target="
        found.append(Mistake(words, mend=mend))
    if found:
        raise Mistake.all(found)
    return f"all {classes - 1} wishes came true, within {size.max().item() * 255:.1f}/255"


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _one_image() -> tuple[Any, ...]:
    """A linear model, an image of its class 2, and the ε that the other three classes need."""
    model, x = specimens.linear(1, 8, 4, seed=0), specimens.images(1, 1, 8, seed=1)
    return model, x, model(x).argmax(1), 0.4


def _made(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    others = torch.tensor([t for t in range(logits_of(model, x).shape[1]) if t != y])
    made = x.repeat(len(others) + 1, 1, 1, 1)
    made[others] = pgd(model, made[others], y.repeat(len(others)), Linf(eps), target=others, steps=100)
    return made


def _but(change: Callable[[Tensor, Tensor, Tensor], Any]) -> Callable:
    """The right pictures, changed by ``change(pictures, x, y)``."""
    return lambda model, x, y, eps: change(_made(model, x, y, eps), x, y)


EVERY_TARGET_WRONG = [
    Wrong(_but(lambda z, x, y: x.expand_as(z)), "all pictures are the clean image"),
    Wrong(_but(lambda z, x, y: torch.cat([x, z[1:]])), "2 of 3 wishes came true; missing: 0"),
    Wrong(_but(lambda z, x, y: (x + 1.1 * (z - x)).clamp(0, 1)), "is up to"),
    Wrong(_but(lambda z, x, y: x + 4 * (z - x)), "but an image lies in [0, 1]"),
    Wrong(_but(lambda z, x, y: z - x), "pixels reach from -0.4"),
    Wrong(_but(lambda z, x, y: z * 255), "pixels reach from 0.000 to 255"),
    Wrong(_but(lambda z, x, y: z[torch.arange(4) != y]), "shape (3, 1, 8, 8), expected (4, 1, 8, 8)"),
    Wrong(_but(lambda z, x, y: z.roll(1, 0)), "read as class t -1: the rows are shifted"),
    Wrong(_but(lambda z, x, y: z[[0, 1, 1, 3]]), "picture 2 is not the clean image"),
    Wrong(_but(lambda z, x, y: z / 0), "values are NaN or infinite"),
    Wrong(_but(lambda z, x, y: list(z)), "got a list of 4"),
    Wrong(_but(lambda z, x, y: (z * 255).byte()), "the result is torch.uint8"),
]  # fmt: skip

every_target = Explore(
    name="every_target",
    chapter=8,
    title="Explore: every wish",
    points=3,
    measured=_wishes,
    right=_made,
    example=_one_image,
    wrong=EVERY_TARGET_WRONG,
)
