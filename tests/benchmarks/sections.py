"""What is measured. Each section gives its tables as Markdown."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import get_model

from advlib import contract, losses
from advlib.attacks import apgd, bim, fgsm, pgd, square, worst_case
from advlib.attacks.ascent import Constant, ascend
from advlib.attacks.facts import FACTS
from advlib.attacks.fast import faster
from advlib.device import device
from advlib.evaluate import accuracy
from advlib.models.nets import Normalize
from advlib.norms import Linf
from tests.benchmarks import measure, peers, workloads
from tests.benchmarks.workloads import Workload


@dataclass(frozen=True)
class Scale:
    """How much to run: ``share`` of a workload's images, steps, repeats, images of the tables of strength."""

    share: float = 1.0
    steps: int = 40
    repeats: int = 3
    images: int = 1000
    batches: tuple[int, ...] = (64, 256, 1024, 2048)
    queries: int = 5000


MANY = 50_000  # images of ImageNet's validation set
NETWORKS = ("squeezenet1_1", "resnet18", "resnet50")
PRICED = (fgsm, pgd, apgd, square, worst_case)
FULL, QUICK = Scale(), Scale(share=0.25, steps=10, images=200, batches=(64, 256), queries=500)


def floor(model: nn.Module, x: Tensor, y: Tensor, steps: int, batch_size: int) -> None:
    """The least that an attack of ``steps`` gradients costs: passes forward, and back to the input alone."""
    with contract.frozen(model):
        for images, labels in zip(x.split(batch_size), y.split(batch_size)):
            for _ in range(steps):
                adv = images.detach().requires_grad_()
                torch.autograd.grad(F.cross_entropy(model(adv), labels), adv)


def best_batch(model: nn.Module, x: Tensor, y: Tensor) -> int:
    """Images at once with which the floor is lowest: all of them are seldom best."""
    sizes = [size for size in (8, 16, 32, 64, 128) if size < len(x)] + [len(x)]
    seconds = measure.times({size: partial(floor, model, x, y, 1, size) for size in sizes}, 3)
    return min(seconds, key=seconds.__getitem__)


def speed(scale: Scale) -> str:
    """One step and many, as multiples of the floor, ours and the peers' in the same run."""
    columns = {
        load.name: {**_one_step(load, scale), **_many_steps(load, scale)} for load in workloads.for_time(scale.share)
    }
    names = next(iter(columns.values()))
    rows = [[name, *(f"{column[name]:.2f}" for column in columns.values())] for name in names]
    return measure.table(["time / floor", *columns], rows)


def _one_step(load: Workload, scale: Scale) -> dict[str, float]:
    model, x, y, eps = load.model, load.x, load.y, load.eps
    runs = {
        "floor": partial(floor, model, x, y, 1, best_batch(model, x, y)),
        "FGSM: ours": partial(fgsm, model, x, y, Linf(eps)),
    }
    for name, peer in peers.installed().items():
        runs[f"FGSM: {name}"] = partial(peer, model, x, y, eps, eps, 1, False)
    return _ratios(measure.times(runs, 3 * scale.repeats))


def _many_steps(load: Workload, scale: Scale) -> dict[str, float]:
    model, x, y, eps, steps = load.model, load.x, load.y, load.eps, scale.steps
    ours = partial(bim, model, x, y, Linf(eps), steps=steps, step=eps / 30, keep="last", early_stop=False)
    many = f"{steps} steps: "
    runs = {
        "floor": partial(floor, model, x, y, steps, best_batch(model, x, y)),
        many + "ours, plain": partial(ours, fast=False),
        many + "ours": ours,
        many + "ours, bf16": partial(ours, fast="bf16"),
    }
    for name, peer in peers.installed().items():
        runs[many + name] = partial(peer, model, x, y, eps, eps / 30, steps, False)
    return _ratios(measure.times(runs, scale.repeats))


def _ratios(seconds: dict[str, float]) -> dict[str, float]:
    least = seconds.pop("floor")
    return {name: value / least for name, value in seconds.items()}


def signs(scale: Scale) -> str:
    """How many signs of the input gradient the switches leave as they are."""

    def gradient(load: Workload, fast: bool | str) -> Tensor:
        with contract.frozen(load.model), faster(load.model, load.x, fast):
            x = load.x.clone().requires_grad_()
            loss = F.cross_entropy(load.model(x).float(), load.y, reduction="sum")
            return torch.autograd.grad(loss, x)[0].sign()

    rows = [
        [
            load.name,
            *(f"{(gradient(load, fast) == gradient(load, False)).float().mean():.5f}" for fast in (True, "bf16")),
        ]
        for load in workloads.for_time(scale.share)
    ]
    return measure.table(["gradient signs that agree", "safe switches", "bf16"], rows)


def batches(scale: Scale) -> str:
    """Milliseconds per image and step: the same for few images and for many, if batches are chosen well."""
    rows = []
    for n in scale.batches:
        load = workloads.for_time(n / 256)[0]
        model, x, y = load.model, load.x, load.y
        ours = partial(bim, model, x, y, Linf(0.3), steps=5, keep="last", early_stop=False)
        runs = {
            "floor": partial(floor, model, x, y, 5, best_batch(model, x, y)),
            "plain": partial(ours, fast=False),
            "ours": ours,
        }
        seconds = measure.times(runs, scale.repeats).values()
        rows.append([str(n), *(f"{1000 * value / n / 5:.3f}" for value in seconds)])
    head = f"ms per image and step, {load.name}; images"
    return measure.table([head, "floor", "ours, plain", "ours"], rows)


def stopping(scale: Scale) -> str:
    """Early stopping: time until all images are fooled, against libraries that make every step with each."""
    load = workloads.lenet("clntrained", scale.images // 4, 0.3)
    if load is None:
        return "Early stopping: no MNIST networks in ADVLIB_DATA, nothing measured."
    model, x, y, eps, steps = load.model, load.x, load.y, load.eps, scale.steps
    attacks = {
        "ours": partial(pgd, model, x, y, Linf(eps), steps=steps),
        "ours, every step": partial(pgd, model, x, y, Linf(eps), steps=steps, early_stop=False),
    }
    for name, peer in peers.installed().items():
        attacks[name] = partial(peer, model, x, y, eps, eps / 30, steps, True)
    left = {}
    runs = {name: lambda name=name: left.update({name: 100 * accuracy(model, attacks[name](), y)}) for name in attacks}
    rows = [
        [name, f"{seconds:.2f}", f"{left[name]:.1f}"] for name, seconds in measure.times(runs, scale.repeats).items()
    ]
    return measure.table([f"{load.attacked}, {len(x)} images", "seconds", "robust accuracy in %"], rows)


def strength(scale: Scale) -> str:
    """Robust accuracy after the same attacks, ours and the peers'; the lower the truer. No start is random."""
    columns, steps = {}, scale.steps
    for load in workloads.for_strength(scale.images):
        model, x, y, eps = load.model, load.x, load.y, load.eps
        ours = partial(pgd, model, x, y, Linf(eps), steps=steps)
        results = {"clean": x, "FGSM: ours": fgsm(model, x, y, Linf(eps))}
        results["FGSM: ours, loss=cross_entropy"] = fgsm(model, x, y, Linf(eps), loss=losses.cross_entropy)
        double = copy.deepcopy(model).double()
        exact = fgsm(double, x.double(), y, Linf(eps), loss=losses.cross_entropy)
        results["FGSM: ours, loss=cross_entropy, float64"] = exact.float()
        for name, peer in peers.installed().items():
            results[f"FGSM: {name}"] = peer(model, x, y, eps, eps, 1, False)
        results[f"BIM-{steps}: ours"] = ascend(model, x, y, Linf(eps), steps=steps, schedule=Constant(1 / 10))
        for name, peer in peers.installed().items():
            results[f"BIM-{steps}: {name}"] = peer(model, x, y, eps, eps / 10, steps, False)
        results |= {f"PGD-{steps}: ours": ours(), f"PGD-{steps}: ours, bf16": ours(fast="bf16")}
        columns[load.attacked] = {name: f"{100 * accuracy(model, x_adv, y):.1f}" for name, x_adv in results.items()}
    names = next(iter(columns.values()))
    rows = [[name, *(column[name] for column in columns.values())] for name in names]
    return measure.table([f"robust accuracy in %, {scale.images} images", *columns], rows)


def worst(scale: Scale) -> str:
    """Sets of attacks that leave nothing to choose: `worst_case` against AutoAttack, on networks that resist."""
    rows = [row for load in workloads.for_the_worst(max(2, scale.images // 50)) for row in _worst_rows(load, scale)]
    return measure.table(["network, its images", "set of attacks", "processor s", "robust accuracy in %"], rows)


def _worst_rows(load: Workload, scale: Scale) -> list[list[str]]:
    model, x, y, eps = load.model, load.x, load.y, load.eps
    runs = {"ours, worst_case": lambda: worst_case(model, x, y, Linf(eps), queries=scale.queries)}
    if "torchattacks" in peers.installed() and scale.queries == FULL.queries:  # AutoAttack always asks so often
        classes = int(model(x[:1]).shape[1])
        for steps in (100, 10):  # as published, and as torchattacks sets it
            name = f"AutoAttack, {steps} steps"
            runs[name] = partial(peers.autoattack, model, x, y, eps, classes=classes, steps=steps)
    rows = []
    for name, run in runs.items():
        began = time.process_time()
        accuracy_left = f"{100 * accuracy(model, run(), y):.1f}"
        rows.append([f"{load.attacked}, {len(x)}", name, f"{time.process_time() - began:.0f}", accuracy_left])
    return rows


def scaling(scale: Scale) -> str:
    """What 50,000 ImageNet images cost: the passes of an attack, as counted, times the time of one, as measured."""
    where = device()
    unit = "core" if where.type == "cpu" else where.type
    times = {name: _pass_times(name, where, scale) for name in NETWORKS[: None if scale.share == 1 else 1]}
    rows = [
        [f"one pass, ms of a {unit} per image", "1", "0", *(f"{1000 * one:.1f}" for one, _ in times.values())],
        ["the same and back to the pixels", "1", "1", *(f"{1000 * both:.1f}" for _, both in times.values())],
    ]
    for fact in (fact for fact in FACTS if fact.attack in PRICED):
        ahead, back = fact.forward - fact.backward, fact.backward
        hours = [MANY * (ahead * one + back * both) / 3600 for one, both in times.values()]
        rows.append([f"{fact.title}, {unit}-hours", str(fact.forward), str(back), *(f"{h:,.1f}" for h in hours)])
    return measure.table([f"{MANY:,} images of 224²", "passes forward", "passes back", *times], rows)


def _pass_times(name: str, where: torch.device, scale: Scale) -> tuple[float, float]:
    """Seconds per image of a pass forward, and of one forward and back to the pixels; of processor time on a CPU."""
    model = nn.Sequential(Normalize((0.5,) * 3, (0.2,) * 3), get_model(name, weights=None)).eval().to(where)
    size = 8 if where.type == "cpu" else 128
    x, y = torch.rand(size, 3, 224, 224, device=where), torch.zeros(size, dtype=torch.long, device=where)

    def look() -> None:
        with torch.no_grad():
            model(x)

    with contract.frozen(model), faster(model, x):
        runs = {"one": look, "both": partial(floor, model, x, y, 1, size)}
        clock = time.process_time if where.type == "cpu" else time.perf_counter
        seconds = measure.times(runs, 2 * scale.repeats + 1, clock)
    return seconds["one"] / size, seconds["both"] / size


SECTIONS = {section.__name__: section for section in (speed, signs, batches, stopping, strength, worst, scaling)}
