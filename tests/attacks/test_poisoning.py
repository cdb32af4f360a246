"""Triggers, backdoors and flipped labels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from advlib.attacks import poisoning
from advlib.attacks.poisoning import Trigger, apply_trigger, backdoor, label_flip, sticker
from advlib.data import Images
from advlib.defenses.training import fit

CLASSES = ("a", "b", "c", "d")


def some_images(n=40, size=8, channels=1) -> Images:
    x = torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(3))
    return Images(x, torch.arange(n) % 4, CLASSES)


@pytest.mark.parametrize(
    "place, rows, columns",
    [
        ("top left", [0, 1], [0, 1]),
        ("top right", [0, 1], [4, 5]),
        ("bottom left", [3, 4], [0, 1]),
        ("bottom right", [3, 4], [4, 5]),
        ("centre", [2, 3], [2, 3]),
    ],
)
def test_a_sticker_sits_where_it_says(place, rows, columns):
    marked = apply_trigger(torch.zeros(1, 3, 5, 6), sticker(2, place, "white"))
    expected = torch.zeros(5, 6)
    expected[torch.tensor(rows)[:, None], torch.tensor(columns)] = 1
    assert torch.equal(marked, expected.expand(1, 3, 5, 6))


def test_opacity_blends_the_trigger_into_the_image():
    marked = apply_trigger(torch.full((1, 1, 4, 4), 0.5), sticker(4, pattern="white", opacity=0.1))
    assert torch.allclose(marked, torch.tensor(0.55))


def test_a_trigger_may_be_any_coloured_picture():
    red = torch.tensor([1.0, 0, 0])[:, None, None].expand(3, 2, 2)
    marked = apply_trigger(torch.zeros(2, 3, 6, 6), Trigger(red, place=(0, 0)))
    assert marked[:, 0, :2, :2].min() == 1 and marked.sum() == 2 * 4


@given(fraction=st.floats(0, 1), target=st.integers(0, 3), seed=st.integers(0, 99), clean_label=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_backdoor_changes_the_rows_it_names_and_no_others(fraction, target, seed, clean_label):
    images, trigger = some_images(), sticker(3)
    before = images.x.clone(), images.y.clone()
    poisoned, rows = backdoor(images, trigger, target, fraction, seed=seed, clean_label=clean_label)
    eligible = (images.y == target) == clean_label
    assert int(rows.sum()) == round(fraction * int(eligible.sum())) and not bool((rows & ~eligible).any())
    assert torch.equal(poisoned.x[~rows], images.x[~rows]) and torch.equal(poisoned.y[~rows], images.y[~rows])
    assert bool((poisoned.y[rows] == target).all()) and poisoned.classes == CLASSES
    if bool(rows.any()):
        assert torch.equal(poisoned.x[rows], apply_trigger(images.x[rows], trigger))
    assert torch.equal(images.x, before[0]) and torch.equal(images.y, before[1])


def test_clean_label_perturbs_before_it_marks():
    blank = lambda x, y: torch.zeros_like(x)
    poisoned, rows = backdoor(some_images(), sticker(2, pattern="white"), 1, 1.0, clean_label=True, perturb=blank)
    assert poisoned.x[rows].sum() == 4 * int(rows.sum())


@given(small=st.floats(0, 1), large=st.floats(0, 1), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_larger_fraction_poisons_the_same_and_more(small, large, seed):
    small, large = sorted((small, large))
    images = some_images()
    few, many = (label_flip(images, fraction, seed=seed) for fraction in (small, large))
    assert not bool((few.rows & ~many.rows).any())
    assert torch.equal(few.images.y[few.rows], many.images.y[few.rows])


@given(fraction=st.floats(0, 1), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_every_flipped_label_is_wrong(fraction, seed):
    images = some_images()
    flipped, rows = label_flip(images, fraction, seed=seed)
    assert torch.equal(flipped.y != images.y, rows) and int(rows.sum()) == round(40 * fraction)
    assert torch.equal(flipped.x, images.x)


def test_flips_between_two_classes_leave_the_others_alone():
    images = some_images()
    flipped, rows = label_flip(images, 0.5, source=2, target=0)
    assert bool((images.y[rows] == 2).all()) and bool((flipped.y[rows] == 0).all()) and int(rows.sum()) == 5


def test_the_seed_decides_and_the_global_generator_does_not():
    images = some_images()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = backdoor(images, sticker(2), 0, 0.3, seed=5).rows
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(backdoor(images, sticker(2), 0, 0.3, seed=5).rows, first)
    assert not torch.equal(backdoor(images, sticker(2), 0, 0.3, seed=6).rows, first)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda i: backdoor(i, sticker(2), 4, 0.1), ValueError, "target is 4"),
        (lambda i: backdoor(i, sticker(2), "b", 0.1), TypeError, "index of a class"),
        (lambda i: backdoor(i, sticker(9), 0, 0.1), ValueError, "must fit"),
        (lambda i: backdoor(i, sticker(2), 0, 1.5), ValueError, "0.015"),
        (lambda i: backdoor(i, sticker(2), 0, -0.1), ValueError, "from 0 to 1"),
        (lambda i: backdoor(i, sticker(2), 0, float("nan")), ValueError, "from 0 to 1"),
        (lambda i: backdoor(i, "white", 0, 0.1), TypeError, "sticker"),
        (lambda i: backdoor(i.x, sticker(2), 0, 0.1), TypeError, "Images"),
        (lambda i: backdoor(i[:0], sticker(2), 0, 0.1), ValueError, "empty"),
        (lambda i: label_flip(i, 0.1, source=1, target=1), ValueError, "both class 1"),
        (lambda i: label_flip(i, 0.1, source=9), ValueError, "source is 9"),
        (lambda i: label_flip(i, "10%"), TypeError, "number from 0 to 1"),
        (lambda i: sticker(2, "botom right"), ValueError, "did you mean 'bottom right'"),
        (lambda i: sticker(2, pattern="dots"), ValueError, "pattern"),
        (lambda i: sticker(0), ValueError, "size"),
        (lambda i: Trigger(torch.ones(2, 2)), TypeError, "(C, h, w)"),
        (lambda i: Trigger(torch.full((1, 2, 2), 255.0)), ValueError, "255"),
        (lambda i: apply_trigger(i.x, Trigger(torch.ones(3, 2, 2))), ValueError, "one channel"),
    ],
)
def test_mistakes_are_named(call, error, words):
    with pytest.raises(error) as raised:
        call(some_images())
    assert words in str(raised.value)


def test_nothing_to_poison_is_no_mistake():
    only_b = some_images()[some_images().y == 1]
    assert not bool(poisoning.backdoor(only_b, sticker(2), 1, 0.5).rows.any())


def test_a_network_learns_the_backdoor_and_its_clean_accuracy_does_not_tell():
    """Four classes by their bright quarter: the poisoned network is right on clean images and wrong on marked ones."""

    def quarters(n, seed):
        y = torch.arange(n) % 4
        x = 0.3 * torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
        for k in range(4):
            top, left = 4 * (k // 2), 4 * (k % 2)
            x[y == k, :, top : top + 4, left : left + 4] += 0.5
        return Images(x, y, CLASSES)

    train, test, trigger = quarters(400, 1), quarters(200, 2), sticker(2, "centre")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))
    fit(model, backdoor(train, trigger, 0, 0.2).images, epochs=12, lr=0.02, progress=False)
    others = test[test.y != 0]
    with torch.no_grad():
        clean = (model(test.x).argmax(1) == test.y).float().mean()
        fooled = (model(apply_trigger(others.x, trigger)).argmax(1) == 0).float().mean()
    assert clean > 0.97 and fooled > 0.9
