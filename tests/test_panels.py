"""Panels: the images and words of a figure, before anybody draws it."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from advlib.panels import describe, encode, percent, pixels_of, triptych_panels


class Reads(nn.Module):
    """Says class 1 for bright images, class 0 for dark ones, with the same confidence for all."""

    classes = ("Stop", "Priority road")

    def forward(self, x):
        bright = (x.flatten(1).mean(1) > 0.5).float()
        return torch.stack([3 * (1 - bright), 3 * bright], 1)


DARK, BRIGHT = torch.full((2, 3, 4, 4), 0.48), torch.full((2, 3, 4, 4), 0.48 + 8 / 255)


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0.5, "50 %"), (0.973, "97 %"), (0.995, "99.5 %"), (0.9995, "> 99.9 %"), (1.0, "> 99.9 %"),
     (0.004, "0.4 %"), (0.0, "< 0.1 %")],
)  # fmt: skip
def test_percent(probability, text):
    assert percent(probability) == text


@given(st.floats(0, 1))
def test_percent_never_claims_certainty(probability):
    assert percent(probability) not in ("100 %", "100.0 %", "0 %", "0.0 %")


@pytest.mark.parametrize(
    "image",
    [
        torch.full((3, 4, 5), 0.2),
        torch.full((3, 4, 5), 51, dtype=torch.uint8),
        torch.full((3, 4, 5), 0.2, requires_grad=True),
        np.full((4, 5, 3), 0.2),
        np.full((4, 5, 3), 51, np.uint8),
        Image.new("RGB", (5, 4), (51, 51, 51)),
        Image.new("RGBA", (5, 4), (51, 51, 51, 255)),
        Image.new("RGB", (5, 4), (51, 51, 51)).quantize(4),
    ],
)
def test_pixels_of_whatever_holds_an_image(image):
    assert pixels_of(image).shape == (4, 5, 3)
    np.testing.assert_allclose(pixels_of(image), 0.2, atol=1e-6)


def test_pixels_of_grey():
    for image in (torch.zeros(1, 4, 5), np.zeros((4, 5)), Image.new("L", (5, 4))):
        assert pixels_of(image).shape == (4, 5, 1)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(2, 3, 4, 4), r"shape \(2, 3, 4, 4\).*x\[0\]"),
        (torch.zeros(2, 4, 4), "with 1 or 3 channels"),
        (torch.zeros(7), "with 1 or 3 channels"),
        (torch.full((3, 4, 4), 255.0), "divide by 255"),
        (torch.full((3, 4, 4), -0.1), "show a perturbation as 0.5 [+] it"),
        (torch.full((3, 4, 4), float("nan")), "image has pixels from nan"),
    ],
)
def test_pixels_of_refuses(image, message):
    with pytest.raises(ValueError, match=message):
        pixels_of(image)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3]), st.sampled_from([2, 3, 256]))
def test_encoding_loses_nothing(seed, channels, levels):
    pixels = np.random.default_rng(seed).integers(0, levels, (7, 9, channels), np.uint8) * (255 // (levels - 1))
    data, kind, width = encode(pixels)
    decoded = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert (kind, width) == ("png", 9)
    np.testing.assert_array_equal(decoded, np.broadcast_to(pixels, (7, 9, 3)))


def test_few_colours_make_a_small_file():
    signs = torch.randint(2, (3, 48, 48), generator=torch.Generator().manual_seed(0)).float()
    noise = torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(0))
    assert len(encode(signs)[0]) < len(encode(noise)[0]) / 3


def test_jpeg_on_request():
    data, kind, _ = encode(torch.rand(3, 48, 48), quality=80)
    assert kind == "jpeg" and Image.open(io.BytesIO(data)).format == "JPEG"


def test_triptych_panels_tell_the_story_in_text():
    (clean, change, adversarial), _ = triptych_panels(DARK, BRIGHT, Reads())
    assert (clean.heading, change.heading, adversarial.heading) == ("clean", "perturbation", "adversarial")
    assert (clean.caption, adversarial.caption) == ("Stop\n95 %", "Priority road\n95 %")
    assert change.caption == "× 15\nat most 8/255"
    assert adversarial.alt == "adversarial image, read as Priority road (95 %)"
    np.testing.assert_allclose(change.pixels, 0.5 + 15 * 8 / 255, atol=1e-4)


def test_triptych_panels_take_names_from_the_caller_the_model_or_nowhere():
    class Nameless(Reads):
        classes = None

    def first(model, **names):
        return triptych_panels(DARK, BRIGHT, model, **names)[0][0].caption.split("\n")[0]

    assert first(Reads()) == "Stop"
    assert first(Reads(), classes=["A", "B"]) == "A"
    assert first(Nameless()) == "class 0"
    assert triptych_panels(DARK, BRIGHT)[0][0].caption == ""


@given(st.floats(1e-4, 1))
def test_amplified_perturbation_never_saturates_by_itself(size):
    x = torch.zeros(1, 1, 2, 2)
    shown = triptych_panels(x, x + size)[0][1]
    factor = float(shown.caption.split("\n")[0].removeprefix("× "))
    assert factor == int(factor) >= 1
    assert factor == 1 or 0.5 + factor * size <= 1.001


def test_amplification_is_shared_by_rows_and_can_be_fixed():
    x_adv = BRIGHT.clone()
    x_adv[1] = 0.48 + 1 / 255
    assert [row[1].caption.split("\n")[0] for row in triptych_panels(DARK, x_adv)] == ["× 15", "× 15"]
    assert triptych_panels(DARK, x_adv, amplify=4)[0][1].caption.startswith("× 4\n")


def test_one_image_is_a_batch_of_one():
    assert len(triptych_panels(DARK[0], BRIGHT[0], Reads())) == 1


def test_two_shapes_are_refused():
    with pytest.raises(ValueError, match=r"x has shape \(2, 3, 4, 4\) and x_adv \(1, 3, 4, 4\); expected the same"):
        triptych_panels(DARK, BRIGHT[:1])


def test_describe_keeps_the_case_of_names():
    text = describe(triptych_panels(DARK[:1], BRIGHT[:1], Reads()))
    assert text == (
        "Clean image, read as Stop (95 %); perturbation × 15, at most 8/255; "
        "adversarial image, read as Priority road (95 %)."
    )
