"""The exercises of chapter 15, poisoned training data."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from advlib.attacks import apply_trigger, sticker
from advlib.exercises import properties, specimens
from advlib.exercises.frame import Case, Explore, Formula, Mistake, Wrong

Map = Callable[[Tensor], Tensor]

# --- my_trigger_success(model, x, y, stick, target) ---------------------------------------------------------


def success(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    stick: Map,
    target: int,
    *,
    seen: Callable[[Map, Tensor], Tensor] = lambda stick, x: stick(x),
    counted: Callable[[Tensor, Tensor, int], Tensor] = lambda z, y, target: (y != target) & (z.argmax(1) != target),
    hit: Callable[[Tensor, Tensor, int], Tensor] = lambda z, y, target: z.argmax(1) == target,
    of: Callable[[Tensor], Tensor | int] = lambda counted: counted.sum(),
    end: Callable[[float], Any] = float,
) -> Any:
    """Of the other classes' images that are not read as ``target`` anyway, the share that is with the trigger on."""
    with torch.no_grad():
        z, clean = model(seen(stick, x)), model(x)
    rows = counted(clean, y, target)
    return end(float((hit(z, y, target) & rows).sum() / of(rows)))


class _Sticker:
    """Puts a sticker on, without writing to the images."""

    def __init__(self, size: int):
        self.trigger = sticker(size, pattern="white")

    def __call__(self, x: Tensor) -> Tensor:
        return apply_trigger(x, self.trigger)


def _marked() -> list[Case]:
    """Networks with a back door of some strength, classes of unequal size, target 0 among them."""
    found = []
    for seed, (n, channels, size, classes, target) in enumerate([(40, 1, 6, 4, 1), (60, 3, 8, 5, 0), (25, 1, 9, 3, 2)]):
        model = specimens.mlp(channels, size, classes, seed=seed, scale=4)
        x = specimens.images(n, channels, size, seed=seed, high=0.8)
        with torch.no_grad():
            z = model(x)
            y = torch.where(torch.arange(n) % 3 == 0, specimens.labels(n, classes, seed), z.argmax(1))
            # what the sticker adds to the target's logit takes about half of the images over
            lift = (z.amax(1) - z[:, target]).median()
            marked = model(_Sticker(3)(x))
            model[-1].bias[target] += (lift - (marked[:, target] - z[:, target]).median()).clamp_min(0.3)
        found.append(Case(f"{n} images, target {target}", model, x, y, _Sticker(3), target))
    model, x, y, stick, target = found[0].args
    return [*found, Case("float64", copy.deepcopy(model).double(), x.double(), y, stick, target)]


OTHERS = "keep = (y != target) & (model(x).argmax(1) != target)"
SUCCESS_WRONG = [
    Wrong({"counted": lambda z, y, target: y == y}, "all images were counted, those of the target among them",
          "images of the target are read as the target without any trigger", OTHERS),
    Wrong({"counted": lambda z, y, target: y != target}, "images that are read as the target anyway were counted",
          "this is the page's count: the trigger did not turn them; or max(1)[0], a logit, was compared with target",
          OTHERS),
    Wrong({"counted": lambda z, y, target: (y != target) | (z.argmax(1) != target)},
          "images were left out only where both hold: of the target, and read as it", "or for and", OTHERS),
    Wrong({"counted": lambda z, y, target: z.argmax(1) != target}, "misread images of the target were counted",
          "the labels y were not used", OTHERS),
    Wrong({"of": lambda rows: len(rows)}, "the count was divided by the number of all images",
          "the mean over N, after some images were left out of the count", OTHERS),
    Wrong({"of": lambda rows: 1}, "the result is a count", "it was not divided by how many images were counted",
          "the mean of (reads == target): a number from 0 to 1"),
    Wrong({"counted": lambda z, y, target: y == target}, "the images of the target alone were counted",
          "== instead of !=", OTHERS),
    Wrong({"seen": lambda stick, x: x}, "the images were read without the trigger", "stick was not called",
          "model(stick(x))"),
    Wrong({"hit": lambda z, y, target: z.argmax(1) != y}, "every misread image counts, whatever it is read as",
          "compared with y", "the attacker wants one answer: compare with target"),
    Wrong({"hit": lambda z, y, target: z.argmax(1) == y}, "the images that are still read rightly were counted",
          "this is the accuracy under the trigger", "compare with target"),
    Wrong({"hit": lambda z, y, target: z.argmax(1) != target}, "images that are not read as the target were counted",
          "1 minus what is asked", "compare with =="),
    Wrong({"counted": lambda z, y, target: (y != target) & (z.argmax(1) == y)},
          "only images that are read rightly without the trigger were counted",
          "another measure, as for an adversarial example",
          "misread or not, an image counts unless it is read as the target"),
    Wrong(lambda model, x, y, stick, target: success(model, x, y, stick, target, counted=lambda z, y, t: y != t)
          - success(model, x, y, lambda x: x, target, counted=lambda z, y, t: y != t),
          "the share without the trigger was taken off", "a difference of two shares of all other classes",
          "leave those images out of both, before you count"),
    Wrong({"end": lambda share: 100 * share}, "the share is in per cent", "multiplied by 100", "a number from 0 to 1"),
]  # fmt: skip

trigger_success = Formula(
    name="trigger_success",
    chapter=15,
    title="Count what the trigger does",
    points=2,
    right=success,
    cases=_marked,
    same=properties.to_three_digits,
    verified="the share of other classes' images that the trigger itself turns, on four networks",
    wrong=SUCCESS_WRONG,
)


# --- my_spectral_scores(features) ---------------------------------------------------------------------------


def _first(f: Tensor) -> Tensor:
    return torch.linalg.svd(f, full_matrices=False).Vh[0]


def spectral(
    features: Tensor,
    *,
    centre: Map = lambda f: f - f.mean(0),
    axis: Map = _first,
    along: Callable[[Tensor, Tensor], Tensor] = lambda f, v: f @ v,
    size: Map = torch.square,
) -> Tensor:
    """Squared length along the direction in which the centred features vary most."""
    f = centre(features)
    return size(along(f, axis(f)))


def _features() -> list[Case]:
    def case(name: str, n: int, d: int, few: int, seed: int) -> Case:
        generator = torch.Generator().manual_seed(seed)
        f = 0.4 * torch.randn(n, d, generator=generator) * torch.linspace(0.3, 1.2, d) + 2 * torch.rand(
            d, generator=generator
        )
        f[:few] += torch.randn(d, generator=generator)
        return Case(name, f)

    wide = case("more features than images", 9, 14, 3, 2)
    square = case("as many features as images", 7, 7, 2, 4)
    return [case("20 images, 4 of them apart", 20, 5, 4, 0), case("60 images", 60, 12, 10, 1), wide, square,
            Case("float64", case("", 15, 4, 3, 3).args[0].double())]  # fmt: skip


def _least(case: Case, result: Tensor, right: Tensor) -> None:
    """Told here: with more features than images no direction spreads least."""
    f = case.args[0] - case.args[0].mean(0)
    if properties.to_scale(result, (f @ torch.linalg.eigh(f.T @ f).eigenvectors[:, 0]) ** 2):
        raise Mistake("the direction of least spread was used", "eigh sorts upwards, svd downwards", AXIS)


AXIS = "torch.linalg.svd(f, full_matrices=False).Vh[0]: the first row"
SPECTRAL_WRONG = [
    Wrong({"centre": lambda f: f}, "the features were not centred", "the mean was not taken off",
          "f = features - features.mean(0): else the first direction is that of the mean"),
    Wrong({"centre": lambda f: f - f.mean()}, "one number was taken off all features", "mean() without a dimension",
          "each feature has its own mean: features.mean(0)"),
    Wrong({"centre": lambda f: f - f.mean(1, keepdim=True)}, "each image's own mean was taken off",
          "mean(1) instead of mean(0)", "the mean runs over the images: features.mean(0)"),
    Wrong({"centre": lambda f: (f - f.mean(0)) / f.std(0)}, "every feature was scaled to the same spread",
          "divided by the standard deviation", "centre only: where the features spread most is what is asked"),
    Wrong({"centre": lambda f: f - f.median(0).values}, "the median was taken off", "median instead of mean",
          "features.mean(0)"),
    Wrong({"centre": lambda f: nn.functional.normalize(f - f.mean(0), dim=1)},
          "every image's features were scaled to length 1", "normalised", "how far out an image lies is what counts"),
    Wrong({"axis": lambda f: torch.linalg.svd(f, full_matrices=False).Vh[1]}, "the second direction was used",
          "Vh[1]", AXIS),
    Wrong({"axis": lambda f: torch.linalg.svd(f, full_matrices=False).Vh[-1]}, "the last direction was used",
          "svd sorts from large to small", AXIS),
    Wrong({"axis": lambda f: torch.linalg.svd(f).Vh[:, 0]}, "the first column of Vh was used",
          "svd returns V transposed: its rows are the directions", AXIS),
    Wrong({"axis": lambda f: torch.linalg.eigh(f.T @ f).eigenvectors[:, 0]},
          "the direction of least spread was used", "eigh sorts from small to large", AXIS),
    Wrong({"along": lambda f, v: torch.linalg.svd(f, full_matrices=False).U[:, 0]},
          "the scores are those of the left singular vector", "U[:, 0]: it lacks the factor σ₁²", "(f @ v) ** 2"),
    Wrong({"size": torch.abs}, "the scores are not squared", "the absolute value was taken", "(f @ v) ** 2"),
    Wrong({"size": lambda s: s}, "the scores have signs", "the square is missing",
          "(f @ v) ** 2: which way v points is chance"),
    Wrong(lambda features: (features - features.mean(0)).square().sum(1),
          "the scores are squared distances from the mean", "all directions were added up",
          "only the first direction counts: (f @ v) ** 2"),
    Wrong(lambda features: (features @ _first(features - features.mean(0))).square(),
          "the features themselves were projected, not the centred ones",
          "the mean was taken off for v, but not for the scores", "use the centred features in both places"),
]  # fmt: skip

spectral_scores = Formula(
    name="spectral_scores",
    chapter=15,
    title="Spectral scores",
    points=3,
    right=spectral,
    cases=_features,
    same=properties.to_scale,
    properties=[_least],
    verified="the squared lengths along the first direction, also with more features than images",
    wrong=SPECTRAL_WRONG,
)


# --- suspects: find the poison ------------------------------------------------------------------------------

CAUGHT, LOST = 0.9, 0.01


def _purged(exercise: Explore, answer: Any, notes: list[str], truth: Tensor) -> str:
    """The mask names most of the poisoned images, and few others."""
    if not isinstance(answer, Tensor) or answer.dtype != torch.bool or answer.shape != truth.shape:
        raise Mistake(
            f"got {properties.described(answer)}, expected a mask: True or False for each of the {len(truth)} images",
            mend="mask = torch.zeros(len(y), dtype=torch.bool); mask[numbers] = True",
        )
    caught = answer[truth].float().mean().item()
    lost = answer[~truth].float().mean().item()
    seen = f"{caught:.0%} of the poisoned images are among your suspects, and {lost:.1%} of the clean ones"
    if caught < CAUGHT and lost > LOST:
        raise Mistake(seen, mend="another class, or another measure: these suspects are no better than a guess")
    if caught < CAUGHT:
        raise Mistake(seen, mend=f"{CAUGHT:.0%} are asked: look in every class, and take more")
    if lost > LOST:
        raise Mistake(seen, mend=f"at most {LOST:.0%} of the clean ones may go: be more choosy")
    return seen


def _some_poison() -> tuple[Tensor]:
    return (torch.arange(400) % 16 == 3,)


PURGED_WRONG = [
    Wrong(lambda truth: torch.ones_like(truth), "100% of the poisoned images are among your suspects, and 100.0% of"),
    Wrong(lambda truth: torch.zeros_like(truth), "0% of the poisoned images are among your suspects, and 0.0% of"),
    Wrong(lambda truth: ~truth, "these suspects are no better than a guess"),
    Wrong(lambda truth: truth & (torch.arange(len(truth)) < 200), "look in every class, and take more"),
    Wrong(lambda truth: truth | (torch.arange(len(truth)) % 8 == 0), "be more choosy"),
    Wrong(lambda truth: truth.nonzero().flatten(), "got a tensor of shape (25,) and type int64, expected a mask"),
    Wrong(lambda truth: truth[:100], "got a tensor of shape (100,) and type bool, expected a mask"),
    Wrong(lambda truth: truth.float(), "got a tensor of shape (400,) and type float32, expected a mask"),
    Wrong(lambda truth: truth.tolist(), "got a list of 400, expected a mask"),
]  # fmt: skip

purged = Explore(
    name="purged",
    chapter=15,
    title="Explore: find the poison",
    points=3,
    measured=_purged,
    example=_some_poison,
    right=lambda truth: truth,
    wrong=PURGED_WRONG,
)
