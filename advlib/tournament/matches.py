"""One match, an attack on a defence, and the small file in which it is kept."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from advlib import __version__, contract
from advlib.data.images import Images
from advlib.files import replacing
from advlib.norms import Ball
from advlib.panels import encode
from advlib.tournament.entries import Entry
from advlib.tournament.warden import Answer, Warden

__all__ = ["Match", "Organiser", "Rules", "png", "secret"]

PICTURES = 3  # adversarial images that a match keeps, of those that fooled
HOUSE_PATIENCE = 10  # times as long may the house's attacks take as a team's


@dataclass(frozen=True)
class Rules:
    """What decides a match beside the two who play it."""

    images: int
    photos: int
    within: str
    seed: int
    seconds: float
    passes: int | None
    memory: int


@dataclass(frozen=True)
class Match:
    """What came of one match; or, where ``attack`` is empty, of reading the clean images.

    ``right`` says of each image whether the defence read it rightly: clean, or after the attack. Images that it misread
    clean are not attacked, and are not right.
    """

    defense: str
    attack: str
    right: tuple[bool, ...]
    seconds: float  # of processor time
    passes: int  # of the model over one image, forwards or backwards
    attacked: int = 0  # images
    outcome: str = ""  # "" where it went well; else in a word what went wrong
    reason: str = ""  # and in a sentence
    at_fault: str = ""  # "defense" or "attack"
    # Of images that fooled: which, as what they were read, and a PNG in base 64.
    pictures: tuple[dict[str, Any], ...] = field(default=(), repr=False)

    @property
    def fooled(self) -> int:
        """How many of the attacked images the defence misread."""
        return self.attacked - sum(self.right)


class Organiser:
    """Plays matches by the rules, each once: what was played is read from its file."""

    def __init__(self, folder: Path, rules: Rules, within: Ball, images: Images, warden: Warden):
        self.folder, self.rules, self.within, self.images, self.warden = folder, rules, within, images, warden
        self.known: dict[str, Match] = {}  # how each defence reads the images as they are

    def clean(self, defense: Entry) -> Match:
        """How a defence reads the images as they are."""
        if defense.team not in self.known:
            self.known[defense.team] = self._kept(defense, None) or self._keep(self._clean(defense), defense)
        return self.known[defense.team]

    def play(self, defense: Entry, attack: Entry) -> Match:
        """The match of an attack on a defence that can be read."""
        if kept := self._kept(defense, attack):
            return kept
        return self._keep(self._attack(defense, attack, torch.tensor(self.clean(defense).right)), defense, attack)

    # ------------------------------------------------------------------------------------------------- the match
    def _clean(self, defense: Entry) -> Match:
        answer = self._read(defense, self.images.x)
        right, outcome, reason = self._judged(answer, self.images.y)
        per_image = answer.seconds / len(right)
        at_fault = "defense" if outcome else ""
        return Match(defense.team, "", tuple(right.tolist()), per_image, 1, 0, outcome, reason, at_fault)

    def _attack(self, defense: Entry, attack: Entry, right: Tensor) -> Match:
        rows = right.nonzero().flatten()
        match = Match(defense.team, attack.team, tuple(right.tolist()), 0.0, 0, len(rows))
        if not len(rows):
            return match
        x, y = self.images.x[rows], self.images.y[rows]
        patience = HOUSE_PATIENCE if attack.house else 1
        job = {
            "task": "attack",
            "house": attack.team if attack.house else "",
            "attack": "" if attack.house else attack.code,
            "norm": type(self.within).__name__,
            "eps": self.within.eps,
            "passes": None if attack.house else self.rules.passes,
        }
        answer = self._ask(defense, job, {"x": x, "y": y}, patience)
        match = replace(match, seconds=answer.seconds, passes=answer.passes)
        outcome, reason, x_adv = self._checked(answer, x)
        if outcome and attack.house:  # known to work: what it fails on is to blame
            reason = f"the house's attack {attack.team} could not be run on it: {reason}"
            return replace(match, right=(False,) * len(right), outcome=outcome, reason=reason, at_fault="defense")
        if outcome:
            return replace(match, outcome=outcome, reason=reason, at_fault="attack")
        answer = self._read(defense, x_adv)
        stand, outcome, reason = self._judged(answer, y)
        after = torch.zeros_like(right)
        after[rows] = stand
        match = replace(match, right=tuple(after.tolist()))
        if outcome:
            return replace(match, outcome=outcome, reason=reason, at_fault="defense")
        read = answer.tensors["logits"].argmax(1)
        fooled = (~stand).nonzero().flatten()[:PICTURES].tolist()
        shown = ({"image": int(rows[i]), "read": int(read[i]), "png": png(x_adv[i])} for i in fooled)
        return replace(match, pictures=tuple(shown))

    def _checked(self, answer: Answer, x: Tensor) -> tuple[str, str, Tensor]:
        """What an attack gave back, measured here: outcome and reason, if it does not count, and its images."""
        if answer.outcome:
            return answer.outcome, answer.reason, x
        x_adv = answer.tensors.get("x_adv", torch.empty(0))
        if x_adv.shape != x.shape or x_adv.dtype != x.dtype:
            return "shape", f"it returned shape {tuple(x_adv.shape)}; expected {tuple(x.shape)}", x
        if not torch.isfinite(x_adv).all():
            return "NaN", "it returned NaN or infinite pixels", x
        try:
            contract.check_result(x_adv, x, self.within)
        except ValueError as error:
            return "left the ball", str(error), x
        return "", "", x_adv.clamp(0, 1)

    def _judged(self, answer: Answer, y: Tensor) -> tuple[Tensor, str, str]:
        """Which images were read rightly; the labels are compared here, where no submission runs."""
        wrong = torch.zeros(len(y), dtype=torch.bool)
        if answer.outcome:
            return wrong, answer.outcome, answer.reason
        logits, classes = answer.tensors.get("logits", torch.empty(0)), len(self.images.classes)
        if logits.shape != (len(y), classes) or logits.dtype != torch.float32:
            return wrong, "shape", f"it gave logits of shape {tuple(logits.shape)}; expected {(len(y), classes)}"
        finite = torch.isfinite(logits).all(1)
        if not finite.any():
            return wrong, "NaN", "it gave NaN or infinite logits"
        return (logits.argmax(1) == y) & finite, "", ""

    def _read(self, defense: Entry, x: Tensor) -> Answer:
        """Logits from a process of its own each time: what a defence saw before, it does not remember."""
        return self._ask(defense, {"task": "read"}, {"x": x})

    def _ask(self, defense: Entry, job: dict, given: dict[str, Tensor], patience: int = 1) -> Answer:
        assert defense.weights
        common = {
            "architecture": defense.architecture,
            "net": defense.code,
            "weights": self.warden.keep(defense.weights.read_bytes()),
            "seed": secret(self.rules.seed, "chance"),
            "seconds": self.rules.seconds * patience,
            "memory": self.rules.memory,
        }
        return self.warden.ask({**common, **job}, given)

    # ------------------------------------------------------------------------------------------------- its file
    def _key(self, defense: Entry, attack: Entry | None) -> str:
        """All that decides a match, as a hash: the seed is nobody's business."""
        parts = (*asdict(self.rules).items(), __version__, defense.digest, attack.digest if attack else "")
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def _path(self, defense: Entry, attack: Entry | None) -> Path:
        names = f"{defense.digest[:16]}-{attack.digest[:16] if attack else 'clean'}"
        return self.folder / "results" / "matches" / f"{names}.json"

    def _kept(self, defense: Entry, attack: Entry | None) -> Match | None:
        try:
            kept = json.loads(self._path(defense, attack).read_text("utf-8"))
            if kept.pop("key") != self._key(defense, attack):
                return None
            kept |= {"right": tuple(kept["right"]), "pictures": tuple(kept["pictures"])}
            return replace(Match(**kept), defense=defense.team, attack=attack.team if attack else "")
        except (OSError, ValueError, KeyError, TypeError):  # none, or one that was cut short or written by hand
            return None

    def _keep(self, match: Match, defense: Entry, attack: Entry | None = None) -> Match:
        content = {"key": self._key(defense, attack), **asdict(match)}
        with replacing(self._path(defense, attack)) as temporary:
            temporary.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
        return match


def secret(seed: int, purpose: str) -> int:
    """A seed for one purpose, from which no other can be guessed: a submission can read the one it runs under."""
    return int.from_bytes(hashlib.sha256(f"tournament {purpose} {seed}".encode()).digest()[:5], "big")


def png(image: Tensor) -> str:
    """An image (3, H, W) as PNG in base64; pixels are rounded to 8 bits."""
    data, _, _ = encode(image.clamp(0, 1))
    return base64.b64encode(data).decode()
