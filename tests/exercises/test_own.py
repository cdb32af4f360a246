"""Numbers of one's own: by name, the same anywhere, and as good an exercise as the book's."""

import os
import subprocess
import sys

import pytest
import torch

from advlib import load_images, load_model
from advlib.exercises import check, own
from tests.exercises.verdicts import verdict

NAMES = [f"student {number}" for number in range(300)]


@pytest.fixture(autouse=True)
def _nobody(monkeypatch):
    monkeypatch.delenv(own.SETTING, raising=False)


def test_without_a_name_they_are_the_books():
    x, y = torch.rand(512, 3, 2, 2), torch.arange(512)
    with own.named("  "):
        assert own.pixels() == own.OF_THE_BOOK and own.share() == 0.5 and own.sign(x, y)[1] == own.YIELD


def test_the_same_name_has_the_same_numbers_in_another_process_and_in_another_spelling():
    code = "from advlib.exercises import own; print(own.pixels(), own.share())"
    there = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, own.SETTING: "josé"},
        capture_output=True,
        text=True,
        check=True,
    )
    with own.named(" JOSE\u0301 "):
        assert there.stdout.strip() == f"{own.pixels()} {own.share()}"
    assert own.pixels() == own.OF_THE_BOOK


def test_names_have_numbers_of_all_kinds():
    found = {}
    for name in NAMES:
        with own.named(name):
            found[name] = own.pixels(), own.share()
    assert len({pixels for pixels, _ in found.values()}) > 250 and len({share for _, share in found.values()}) > 50


@pytest.mark.parametrize("name", NAMES[:60])
def test_norms_by_hand_are_as_good_an_exercise_for_everybody(name, capsys):
    with own.named(name):
        pixels = own.pixels()
    right = check.norms_by_hand.right(pixels)
    assert right["L2"] * 10 == pytest.approx(round(right["L2"] * 10)) and right["L0"] in (2, 3)
    assert verdict(capsys, check.norms_by_hand, right, pixels).startswith("✓")
    for wrong in check.norms_by_hand.wrong:
        ((norm, way),) = wrong.way.items()
        if abs(way(pixels) - right[norm]) > 1e-3:
            said = verdict(capsys, check.norms_by_hand, right | {norm: way(pixels)}, pixels)
            assert said.startswith("✗") and norm in said


def test_every_sign_that_is_given_out_is_one_that_halving_misses():
    signs, model = load_images("signs", "test", n=512), load_model("signs-cnn")
    for number in own.JUMPED_OVER:
        one = model, signs.x[number : number + 1], signs.y[number : number + 1]
        halved, right = check.smallest_eps.wrong[0].way(*one), check.smallest_eps.right(*one, tolerance=1e-2)
        assert 0.005 <= right < 0.2 and halved > right + 0.03, number


def test_another_share_is_another_factor(capsys):
    z, y = check.flat_factor.example()
    factors = [check.flat_factor.right(z, y, share=share) for share in (0.3, 0.5, 0.7)]
    assert factors == sorted(factors) and factors[1] > 1.05 * factors[0]
    assert verdict(capsys, check.flat_factor, factors[0], z, y, share=0.3).startswith("✓")
    said = verdict(capsys, check.flat_factor, factors[0], z, y, share=0.7)
    assert said.startswith("✗") and "70% of them are asked" in said


@pytest.mark.parametrize("name", [None, 3])
def test_a_name_is_text(name):
    with pytest.raises(TypeError, match="expected your name as text"):
        own.name(name)


def test_only_the_chapters_signs_have_numbers():
    with pytest.raises(ValueError, match="got 4 images and 4 labels"):
        own.sign(torch.rand(4, 3, 2, 2), torch.arange(4))
