"""What an epoch of training came to, and the sums that it is counted by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from advlib.distributed import total

__all__ = ["Epoch", "Right", "Sums"]


class Epoch(NamedTuple):
    """What one pass over the training images came to: means over them, as they were trained on."""

    loss: float
    accuracy: float  # on clean images; where they are attacked or noisy, on those of one batch in eight
    robust: float | None = None  # on what `perturb` made of them; None where there was no `perturb`


@dataclass
class Right:
    """How many answers were right, out of how many."""

    right: int = 0
    seen: int = 0

    def add(self, logits: Tensor, y: Tensor) -> None:
        self.right += int((logits.argmax(1) == y).sum())
        self.seen += len(y)

    def share(self) -> float:
        return self.right / self.seen


@dataclass
class Sums:
    """Figures of the images of one epoch, so far."""

    clean: Right = field(default_factory=Right)
    robust: Right = field(default_factory=Right)
    loss: float = 0.0
    seen: int = 0

    def everywhere(self) -> Sums:
        """The figures of all processes."""
        loss, seen, *counts = total(
            [self.loss, self.seen, self.clean.right, self.clean.seen, self.robust.right, self.robust.seen]
        )
        clean, robust = (Right(*map(int, counts[k : k + 2])) for k in (0, 2))
        return Sums(clean, robust, loss, int(seen))

    def epoch(self) -> Epoch:
        robust = self.robust.share() if self.robust.seen else None
        return Epoch(self.loss / self.seen, self.clean.share(), robust)

    def shown(self) -> dict[str, str]:
        now = self.epoch()
        shown = {"loss": f"{now.loss:.3f}", "accuracy": f"{now.accuracy:.1%}"}
        return shown if now.robust is None else shown | {"robust": f"{now.robust:.1%}"}
