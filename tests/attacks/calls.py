"""How the tests call every attack: derived from `FACTS` and from signatures, so that a new one is under contract at
once. What is missing for that, `gaps` says, with the file to change."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from advlib.attacks.facts import FACTS, Fact
from advlib.norms import L0, L1, L2, Ball, Linf

# What modules of `advlib.attacks` have in their __all__ besides attacks: the engine, and what helps an attack along.
TOOLS = (
    {"ascend", "climb", "climb_together", "attack_standing", "Adaptive", "Constant", "Fixed", "Iterate", "Linear"}
    | {"Victim", "GradientMaskingWarning", "round_towards", "ByChance", "faster", "rewinder", "unnoticed"}
    | {"Met", "Switched", "Unfaithful", "few", "logits_on", "plain", "same", "verified"}
    | {"Attacked", "BlackBox", "black_box", "check_start", "draws_for_each", "substitute_labels", "check_climb"}
    | {"Patch", "Views", "warp", "GanEpoch", "Poisoned", "Trigger", "apply_trigger", "sticker", "FACTS", "Fact"}
)
# Attacks that give something else than one adversarial image for each image: where each is held to its own contract.
APART = {
    "universal": "test_universal.py",  # one δ
    "patch": "test_physical.py",  # a sticker
    "eot": "test_physical.py",  # a model
    "bpda": "test_bpda.py",  # a model
    "AdvGAN": "test_generative.py",  # a network
    "backdoor": "test_poisoning.py",  # a training set
    "label_flip": "test_poisoning.py",
}
# Settings that make an attack quick. Without them it is tested with its defaults.
QUICK: dict[str, dict] = {
    "bim": dict(steps=4),
    "pgd": dict(steps=4, restarts=2),
    "mifgsm": dict(steps=4),
    "apgd": dict(steps=12),
    "worst_case": dict(queries=12),
    "deepfool": dict(steps=5),
    "carlini_wagner": dict(steps=6, binary_search_steps=2),
    "fmn": dict(steps=8),
    "one_pixel": dict(queries=12, population=5),
    "sparse_rs": dict(queries=12),
    "square": dict(queries=12),
    "nes": dict(queries=30, samples=6),
    "hop_skip_jump": dict(queries=60, probes=6),
    "transfer": dict(steps=4),
}
BALLS = {Linf: Linf(0.1), L2: L2(0.8), L1: L1(3.0), L0: L0(3)}


@dataclass(frozen=True)
class Call:
    """One attack, called alike whatever it takes: ``call(model, x, y, ball, **changes)``."""

    fact: Fact

    def __str__(self) -> str:
        return self.fact.name

    @property
    def takes(self) -> list[str]:
        return list(inspect.signature(self.fact.attack).parameters)

    @property
    def balls(self) -> list[Ball | None]:
        """The balls it stays in, or whose norms it makes small; None where neither is its business."""
        return [BALLS[norm] for norm in self.fact.norms] or [None]

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, ball: Ball | None, **changes) -> Tensor:
        within = [ball] if "within" in self.takes else []
        settings = dict(QUICK.get(self.fact.name, {}), **changes)
        if "norm" in self.takes:
            settings["norm"] = type(ball)
        return self.fact.attack(model, x, y, *within, **settings)


def calls(facts: Iterable[Fact] = FACTS) -> list[Call]:
    """The attacks that need no more than a model, images, labels, and a ball perhaps."""
    found = []
    for fact in facts:
        parameters = inspect.signature(fact.attack).parameters.values()
        needed = [one.name for one in parameters if one.default is one.empty]
        if needed[1:] in (["x", "y"], ["x", "y", "within"]) and fact.name not in APART:
            found.append(Call(fact))
    return found


def network(channels: int = 3, size: int = 6, classes: int = 5, seed: int = 0) -> nn.Sequential:
    """A network with all that an attack must leave alone: batch norm, dropout, weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(8 * size * size, classes),
        )


def gaps(folder: Path, exported: Iterable[str], facts: Iterable[Fact] = FACTS, tests: Path | None = None) -> list[str]:
    """One line for each name in a module's ``__all__`` that is not exported, no fact, or under no contract."""
    exported, names = set(exported), {fact.name for fact in facts}
    held = {call.fact.name for call in calls(facts)} | set(APART)
    lines, known = [], set()
    for path in sorted(folder.glob("*.py")):
        if path.name == "__init__.py":
            continue
        where, public = f"advlib/attacks/{path.name}", _all_of(path)
        if public is None:
            lines.append(f"{where}: has no __all__; list in it what other modules may use")
        for name in public or ():
            known.add(name)
            if name in TOOLS:
                continue
            if name not in exported:
                lines.append(
                    f"advlib/attacks/__init__.py: does not export {name} of {where}; export it, or if it is no attack "
                    "name it among the TOOLS of tests/attacks/calls.py"
                )
            if name not in names:
                lines.append(f"advlib/attacks/facts.py: FACTS lacks {name} of {where}, and so does the cheat sheet")
            if name not in held:
                lines.append(
                    f"tests/attacks/calls.py: {name} of {where} is under no contract; it is once FACTS has it and it "
                    "needs no more than (model, x, y) or (model, x, y, within); else name it in APART with its own test"
                )
    for name in sorted(exported - known):
        lines.append(f"advlib/attacks/__init__.py: exports {name}, which no module has in its __all__")
    for table, listed in (("TOOLS", TOOLS), ("APART", APART), ("QUICK", QUICK)):
        for name in sorted(set(listed) - known):
            lines.append(f"tests/attacks/calls.py: {table} names {name}, which no module has in its __all__")
    for name, file in APART.items():
        path = (tests or Path(__file__).parent) / file
        if not path.is_file() or name not in path.read_text("utf-8"):
            lines.append(f"tests/attacks/{file}: does not test {name}, as APART of tests/attacks/calls.py says")
    return lines


def _all_of(path: Path) -> list[str] | None:
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return None
