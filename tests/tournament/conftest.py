"""One warden for all tests of a worker, and an organiser of small matches."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import safetensors.torch
import torch

from advlib.data import Images, load_images
from advlib.models import nets
from advlib.norms import Linf
from advlib.tournament.entries import Entry
from advlib.tournament.matches import Match, Organiser, Rules
from advlib.tournament.warden import Warden

WITHIN = Linf(4 / 255)
RULES = Rules(4, 0, str(WITHIN), seed=1, seconds=1, passes=None, memory=500)


@pytest.fixture(scope="session")
def warden() -> Iterator[Warden]:
    with Warden() as warden:
        yield warden


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """Of the linear network, as it is when it is made."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = nets.signs_linear().state_dict()
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    safetensors.torch.save_file(state, path)
    return path


@pytest.fixture(scope="session")
def one_warden(warden) -> Iterator[None]:
    """`play` and `submit_model` use the tests' warden: to start another takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("entries", "playing"):
            patch.setattr(f"advlib.tournament.{module}.Warden", lambda: nullcontext(warden))
        yield


class Table:
    """Where single matches are played: an attack by its text, a defence by its file net.py."""

    def __init__(self, folder: Path, warden: Warden, weights: Path):
        images = load_images("signs", "test", n=4)
        images = Images(images.x, _read_by(weights, images.x), images.classes)
        self.organiser = Organiser(folder, RULES, WITHIN, images, warden)
        self.weights = weights
        self.linear = Entry("defense", "linear", architecture="signs-linear", weights=weights, digest="linear")

    def attack(self, code: str, defense: Entry | None = None) -> Match:
        return self.organiser.play(defense or self.linear, Entry("attack", "mallory", code=code, digest=code))

    def house(self, defense: Entry, attack: str = "fgsm") -> Match:
        return self.organiser.play(defense, Entry("attack", attack, house=True, digest=attack))

    def defense(self, code: str) -> Entry:
        digest = str(abs(hash(code)))
        return Entry("defense", digest, architecture="net.py:make", code=code, weights=self.weights, digest=digest)


def _read_by(weights: Path, x: torch.Tensor) -> torch.Tensor:
    """What the network reads is right: there is something to attack."""
    model = nets.signs_linear()
    model.load_state_dict(safetensors.torch.load_file(weights))
    return model(x).argmax(1)


@pytest.fixture
def table(tmp_path, warden, weights) -> Table:
    return Table(tmp_path, warden, weights)
