"""When a reading should not be believed, when a model seems to get the wrong pixels, and how often that errs."""

import copy
import os
from pathlib import Path

import matplotlib.cbook
import pytest
import torch
from torch import nn

from advlib.answers import predict
from advlib.cli import cautions
from advlib.data import load_images, load_photo
from advlib.data.signs import CLASSES
from advlib.models import Normalize, load_model

DATA = Path(os.environ.get("ADVLIB_DATA", "nowhere"))
LEAST = cautions.BELIEVABLE["signs-cnn"]


def believed(x):
    """How many readings of signs-cnn are let through."""
    return int((predict(load_model("signs-cnn"), x)[1] >= LEAST).sum())


def read(paths):
    return torch.cat([load_model("signs-cnn").preprocess(load_photo(path)) for path in sorted(paths)])


def test_most_drawn_signs_are_believed_and_hardly_any_portrait_noise_or_plain_colour():
    assert believed(load_images("signs", "test", n=512).x) >= 0.88 * 512
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as portrait:
        assert believed(read([portrait.name])) == 0
    assert believed(torch.rand(40, 3, 48, 48, generator=torch.Generator().manual_seed(0))) <= 2
    assert believed(torch.linspace(0, 1, 20).view(-1, 1, 1, 1).expand(20, 3, 48, 48)) == 0


@pytest.mark.skipif(not (DATA / "gtsrb_sample").is_dir(), reason="ADVLIB_DATA has no gtsrb_sample")
def test_the_error_rates_that_the_comment_states():
    known = {sign.gtsrb for sign in CLASSES}
    real = {one: list((DATA / "gtsrb_sample").glob(f"{one:05d}/*.png")) for one in range(43)}
    assert believed(read(path for one in known for path in real[one])) == 154
    assert believed(read(path for one in set(real) - known for path in real[one])) == 150
    assert believed(read((DATA / "photos").glob("*.JPEG"))) == 0


def test_a_doubt_names_photo_reading_and_reason():
    text = cautions.doubt("signs-cnn", "cat.png", "Priority road", 0.996)
    assert text.startswith("cat.png may show none of the signs that signs-cnn knows: it reads Priority road with 99.6%")
    assert cautions.doubt("signs-cnn", "stop.png", "Stop", 0.9999) is None
    assert cautions.doubt("signs-linear", "cat.png", "Stop", 0.3) is None  # its readings tell nothing


def test_only_a_model_for_these_signs_is_said_to_know_only_them():
    assert cautions.only_signs("mine", ("cat", "dog")) is None
    assert "mine knows 16 German road signs" in cautions.only_signs("mine", [sign.label for sign in CLASSES])


# -- normalisation ---------------------------------------------------------------------------------------------------


def folded(model):
    """The same network for plain pixels: its normalisation taken into its first convolution."""
    normalize, first, *others = copy.deepcopy(model)
    shift = (first.weight * (normalize.mean / normalize.std)[None]).sum((1, 2, 3))
    first.weight.data /= normalize.std[None]
    first.bias = nn.Parameter(-shift)
    return nn.Sequential(first, *others).eval()


@pytest.mark.parametrize("name", ["signs-cnn", "signs-midfit-a", "signs-decayed-a"])
def test_a_missing_normalisation_is_seen_in_what_batch_normalisation_kept(name):
    """With it in place nothing is said; without it, nearly always; where it is not wanted, nearly never."""
    model, x = load_model(name), load_images("signs", "test", n=60).x
    texts = {
        kind: [cautions.normalisation(one, image) for image in x.split(1)]
        for kind, one in {"right": model, "bare": model[1:], "folded": folded(model)}.items()
    }
    warned = {kind: sum(text is not None for text in said) for kind, said in texts.items()}
    assert warned["right"] == 0 and warned["bare"] >= 57 and warned["folded"] <= 3
    text = next(filter(None, texts["bare"]))
    assert "looks as if the normalisation were missing: the first layer (1) gets plain pixels" in text
    assert "times nearer" in text and "nn.Sequential(Normalize(mean, std), network)" in text


def test_without_batch_normalisation_it_is_only_said_what_the_first_layer_gets():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(128, 2))
    text = cautions.normalisation(network, torch.rand(1, 1, 10, 10))
    assert text.startswith("the first layer (0) gets plain pixels in [0, 1], and nothing tells whether it should")
    assert cautions.normalisation(nn.Sequential(Normalize([0.5], [0.5]), network), torch.rand(1, 1, 10, 10)) is None
    assert cautions.normalisation(nn.Flatten(), torch.rand(1, 1, 10, 10)) is None
