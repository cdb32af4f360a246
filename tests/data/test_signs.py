"""The generated road signs: the same everywhere, of every class, and real enough."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advlib.data import sign_scenes, sign_shapes, signs

ALL = list(range(len(signs.CLASSES)))
CHANCE = "878c0e5b537c478215e60c3c93a058e28b9d875ce54faa8cf81726fbe49128b7"
PIXELS = [  # red, green, blue of two pictures, each over the four quarters
    0.3627872,
    0.3128300,
    0.4378036,
    0.3597305,
    0.2657911,
    0.2544995,
    0.3094286,
    0.2843201,
    0.2530996,
    0.2523566,
    0.2944618,
    0.2851927,
    0.5221984,
    0.5309501,
    0.3808612,
    0.4474642,
    0.5907238,
    0.5721244,
    0.4136741,
    0.4768403,
    0.6272104,
    0.5852714,
    0.3698500,
    0.4668193,
]


def test_the_classes_are_the_german_signs_they_claim_to_be():
    gtsrb = {c.name: c.gtsrb for c in signs.CLASSES}
    assert gtsrb == {
        "limit-30": 1,
        "limit-50": 2,
        "limit-60": 3,
        "limit-70": 4,
        "limit-80": 5,
        "limit-100": 7,
        "limit-120": 8,
        "stop": 14,
        "yield": 13,
        "no-entry": 17,
        "priority-road": 12,
        "turn-right": 33,
        "turn-left": 34,
        "ahead-only": 35,
        "roundabout": 40,
        "caution": 18,
    }
    assert len({c.label for c in signs.CLASSES}) == 16


@settings(max_examples=15, deadline=None)
@given(
    labels=st.lists(st.sampled_from(ALL), min_size=1, max_size=5),
    seed=st.integers(0, 10_000),
    size=st.sampled_from([24, 48, 61]),
)
def test_images_keep_the_pixel_contract(labels, seed, size):
    x = signs.render(labels, seed=seed, size=size)
    assert x.shape == (len(labels), 3, size, size) and x.dtype == torch.float32
    assert torch.isfinite(x).all() and x.min() >= 0 and x.max() <= 1
    assert (x.flatten(1).std(1) > 1e-3).all(), "a picture that shows nothing"


def test_an_image_is_decided_by_its_seed_place_and_label_alone(monkeypatch):
    whole = signs.render(ALL, seed=3)
    monkeypatch.setattr(signs, "CHUNK", 5)
    assert torch.allclose(signs.render(ALL[:7], seed=3), whole[:7], rtol=0, atol=1e-7)
    changed = [1, *ALL[1:]]
    assert torch.allclose(signs.render(changed, seed=3)[1:], whole[1:], rtol=0, atol=1e-7)
    assert not torch.allclose(signs.render(changed, seed=3)[0], whole[0], atol=0.05)


def test_another_seed_gives_other_images():
    a, b = signs.render(ALL, seed=0), signs.render(ALL, seed=1)
    assert ((a - b).abs().mean(dim=(1, 2, 3)) > 0.01).all()


def test_the_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    signs.render([0, 1])
    assert torch.equal(before, torch.get_rng_state())


def test_the_chance_of_an_image_is_the_same_on_every_machine():
    rows = sign_scenes.chance(seed=7, places=range(3, 5), size=24)
    assert hashlib.sha256(rows.numpy().tobytes()).hexdigest() == CHANCE
    assert torch.equal(rows[1:], sign_scenes.chance(seed=7, places=range(4, 5), size=24))


def test_known_pixels():
    """A change here changes every figure of the course: train the models again, and run the chapters."""
    x = signs.render(ALL, seed=2026)
    quarters = torch.nn.functional.avg_pool2d(x[[0, 7]], 24).flatten()
    assert torch.allclose(quarters, torch.tensor(PIXELS), atol=1e-5), quarters.tolist()


def test_the_make_of_the_processor_does_not_show(tmp_path):
    """A network that is trained on the page magnifies what differs between machines: so nothing may."""
    program = "import sys, torch; from advlib.data import signs; torch.save(signs.render(range(16), 9), sys.argv[1])"
    plain = dict(
        os.environ, ATEN_CPU_CAPABILITY="default", ONEDNN_MAX_CPU_ISA="SSE41", MKL_ENABLE_INSTRUCTIONS="SSE4_2"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "x.pt"], env=plain, check=True)
    assert torch.allclose(torch.load(tmp_path / "x.pt"), signs.render(range(16), 9), rtol=0, atol=1e-7)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_gpu_renders_the_same_pixels():
    there, here = signs.render(ALL, seed=5, device="cuda").cpu(), signs.render(ALL, seed=5)
    assert torch.allclose(there, here, rtol=0, atol=1e-7)


def test_labels_may_be_a_tensor_and_none_at_all():
    assert torch.equal(signs.render(torch.tensor([2, 3])), signs.render([2, 3]))
    assert signs.render([]).shape == (0, 3, 48, 48)


@pytest.mark.parametrize(
    "labels, error, message",
    [
        ([16], ValueError, "0 … 15"),
        ([-1], ValueError, "0 … 15"),
        ([0.5], TypeError, "whole numbers"),
        ([[0, 1]], ValueError, r"shape \(1, 2\)"),
        ("stop", TypeError, "whole numbers"),
    ],
)
def test_bad_labels_are_refused(labels, error, message):
    with pytest.raises(error, match=message):
        signs.render(labels)


@pytest.mark.parametrize(
    "change, error",
    [({"seed": -1}, ValueError), ({"seed": 0.5}, TypeError), ({"size": 4}, ValueError), ({"size": 48.0}, TypeError)],
)
def test_bad_seed_and_size_are_refused(change, error):
    with pytest.raises(error, match=next(iter(change))):
        signs.render([0], **change)


def test_draw_is_the_clean_sign_on_white():
    pictures = torch.stack([signs.draw(label, 96) for label in ALL])
    assert pictures.shape == (16, 3, 96, 96) and pictures.min() >= 0 and pictures.max() <= 1 + 1e-6
    assert torch.allclose(pictures[:, :, 0, 0], torch.ones(16, 3)), "corners are outside every sign"
    apart = torch.cdist(pictures.flatten(1), pictures.flatten(1)) + 1e3 * torch.eye(16)
    assert apart.min() > 3, "two classes look the same"


def test_turn_left_mirrors_turn_right():
    names = [c.name for c in signs.CLASSES]
    right, left = (signs.draw(names.index(name), 64) for name in ("turn-right", "turn-left"))
    assert torch.allclose(right.flip(-1), left, atol=1e-5)


def test_a_larger_drawing_is_the_same_drawing():
    for label in ALL:
        small, large = signs.draw(label, 32), signs.draw(label, 128)
        assert (torch.nn.functional.avg_pool2d(large, 4) - small).abs().mean() < 0.02


def test_distances_are_exact_for_simple_shapes():
    points = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, -3.0]], dtype=torch.float64)
    square = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    fields = [sign_shapes.polygon(points, square), sign_shapes.box(points, 1, 1), sign_shapes.disc(points, 1)]
    for field in fields:
        assert field.tolist() == pytest.approx([-1, 1, 2])


def test_a_stroke_has_its_width_and_flat_ends():
    pen = [(-5.0, 0.0), (0.0, 0.0), (1.0, 0.0)]
    points = torch.tensor([[0.0, 0.0], [0.0, 0.6], [1.1, 0.0], [0.9, 0.4]], dtype=torch.float64)
    assert sign_shapes.stroke(points, pen, 1.0).tolist() == pytest.approx([-0.5, 0.1, 0.1, -0.1])
    ring = sign_shapes.arc(0, 0, 2, 2, 0, 360)
    assert sign_shapes.stroke(points[:1] + 2, ring, 1.0) > 0
    joint = torch.tensor([[2.1, 0.0]], dtype=torch.float64)  # where the ring closes: no cut there
    assert sign_shapes.stroke(joint, ring, 1.0).item() == pytest.approx(-0.4)


def test_styles_differ_but_the_first_is_the_standard():
    made = sign_shapes.styles(signs.STYLES)
    assert made[0] == sign_shapes.Style() and len(set(made)) == signs.STYLES
    assert made == sign_shapes.styles(signs.STYLES)


def real_photos():
    from advlib.data import load_images

    folder = Path(os.environ.get("ADVLIB_DATA", "/nowhere"), "gtsrb_sample")
    if not folder.is_dir():
        pytest.skip("no real photos here: set ADVLIB_DATA to a folder with gtsrb_sample/")
    return load_images("gtsrb-signs", "sample")


def test_a_network_that_never_saw_a_photo_reads_real_signs():
    """The course's claim to reality."""
    from advlib.models import load_model

    photos = real_photos()
    with torch.no_grad():
        right = (load_model("signs-cnn")(photos.x).argmax(1) == photos.y).float()
    assert right.mean() >= 0.90
    for label in photos.y.unique():
        assert right[photos.y == label].mean() >= 0.5, photos.classes[label]
