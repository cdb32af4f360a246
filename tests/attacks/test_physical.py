"""Views by chance, the expectation over them, and patches."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from advlib.attacks import pgd
from advlib.attacks.physical import Patch, eot, patch
from advlib.attacks.views import Views, warp
from advlib.norms import Linf

STILL = Views(rotation=0, scale=(1, 1), shift=0, brightness=0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rand(*shape, seed=0):
    return torch.rand(shape, generator=seeded(seed))


def bright_spot() -> nn.Module:
    """Class 1 where something of the size of 3×3 pixels is brighter than all else may be: a template, anywhere."""
    model = nn.Sequential(nn.Conv2d(1, 1, 3, bias=False), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(1, 2))
    model[0].weight.data = torch.tensor([[[[1.0, -1, 1], [-1, 1, -1], [1, -1, 1]]]])
    model[3].weight.data, model[3].bias.data = torch.tensor([[0.0], [4.0]]), torch.tensor([6.0, 0.0])
    return model


# ------------------------------------------------------------------------------------------------------- warp
def test_nothing_is_changed_by_standing_still():
    x = rand(2, 3, 7, 10)
    assert torch.allclose(warp(x), x, atol=1e-5)
    assert torch.allclose(STILL(x, seeded()), x, atol=1e-5)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_clockwise(turns):
    x = rand(1, 1, 6, 6)
    assert torch.allclose(warp(x, rotation=90 * turns), x.rot90(-turns, (2, 3)), atol=1e-4)


def test_a_turn_narrows_the_picture_and_brings_one_side_nearer():
    seen = warp(torch.ones(1, 1, 40, 40), turn=40)[0, 0] > 0.5
    heights = seen.sum(0)
    inside = heights.nonzero().flatten()
    assert 20 < len(inside) < 40  # cos 40° of 40 pixels, give or take the perspective
    left, right = warp(torch.ones(1, 1, 40, 40), turn=40, scale=0.5)[0, 0].sum(0)[[12, 27]]
    assert left > right  # the right side went back


def test_half_the_scale_is_half_the_size():
    seen = warp(torch.ones(1, 1, 8, 8), scale=0.5)
    assert torch.allclose(seen, F.pad(torch.ones(1, 1, 4, 4), (2, 2, 2, 2)), atol=1e-5)


def test_each_picture_may_have_its_own_view():
    x = rand(2, 1, 6, 6)
    both = warp(x, rotation=torch.tensor([0.0, 90]), centre=torch.tensor([[0.5, 0.5], [0.5, 0.5]]))
    assert torch.allclose(both[0], x[0], atol=1e-5) and torch.allclose(both[1], x[1].rot90(-1, (1, 2)), atol=1e-4)


def test_gradients_reach_the_picture():
    x = rand(2, 1, 5, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: warp(x, rotation=20.0, turn=30.0, scale=0.9), x)


# ------------------------------------------------------------------------------------------------------ views
@given(
    rotation=st.floats(0, 180),
    turn=st.floats(0, 60),
    shift=st.floats(0, 0.5),
    brightness=st.floats(0, 1),
    noise=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
@settings(max_examples=30, deadline=None)
def test_every_view_is_a_picture(rotation, turn, shift, brightness, noise, seed):
    seen = Views(rotation, (0.5, 2), turn, shift, brightness, noise)(rand(3, 1, 6, 8), seeded(seed))
    assert seen.shape == (3, 1, 6, 8) and seen.min() >= 0 and seen.max() <= 1 and bool(seen.isfinite().all())


def test_views_stay_within_their_spread_and_differ():
    drawn = Views(rotation=10, scale=(0.5, 2), turn=5, shift=0.1).draw(500, seeded())
    for values, low, high in (
        (drawn["rotation"], -10, 10),
        (drawn["scale"], 0.5, 2),
        (drawn["turn"], -5, 5),
        (drawn["centre"], 0.4, 0.6),
    ):
        assert values.min() >= low and values.max() <= high and values.std() > 0.2 * (high - low)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rotation": -1},
        {"turn": 90},
        {"scale": (0, 1)},
        {"scale": (2, 1)},
        {"shift": 0.7},
        {"brightness": 2},
        {"noise": float("nan")},
    ],
)
def test_impossible_views_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Views(**wrong)


# -------------------------------------------------------------------------------------------------------- eot
def test_the_expectation_is_the_mean_of_logits():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    x, noisy = rand(2, 1, 4, 4), lambda x, generator: x + 0.1 * torch.rand(x.shape, generator=generator)
    with torch.no_grad():
        by_hand = model(noisy(x.repeat_interleave(5, 0), seeded(0))).view(2, 5, 3).mean(1)
        assert torch.allclose(eot(model, noisy, samples=5)(x), by_hand, atol=1e-6)


def test_each_call_sees_other_views_and_each_attack_the_same():
    model = eot(bright_spot(), Views(rotation=180), samples=2)
    x, y = rand(4, 1, 8, 8), torch.zeros(4).long()
    state = torch.get_rng_state()
    first, second = (pgd(model, x, y, Linf(0.2), steps=3) for _ in range(2))
    assert torch.equal(first, second) and torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        assert not torch.equal(model(x), model(x))


def test_an_attack_on_the_expectation_works_either_way_round():
    """The network looks at the left column, and a mirror may turn the image: only EOT changes the right one too."""

    class Left(nn.Module):
        def forward(self, x):
            score = x[:, 0, :, 0].mean(1) - 0.55
            return torch.stack((torch.zeros_like(score), score), 1)

    def mirror(x, generator):
        turned = torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5
        return torch.where(turned, x.flip(3), x)

    x, y = torch.full((20, 1, 2, 2), 0.4), torch.zeros(20).long()
    attack = lambda model: pgd(model, x, y, Linf(0.2), steps=10, random_start=False, early_stop=False)
    success = lambda adv: (Left()(mirror(adv.repeat(10, 1, 1, 1), seeded(9))).argmax(1) == 1).float().mean()
    assert success(attack(Left())) < 0.7
    assert success(attack(eot(Left(), mirror))) == 1


# ------------------------------------------------------------------------------------------------------ patch
@given(row=st.integers(0, 5), column=st.integers(0, 4))
@settings(max_examples=20, deadline=None)
def test_a_patch_covers_its_place_exactly_and_nothing_else(row, column):
    sticker, x = Patch(rand(3, 2, 3, seed=1), torch.ones(1, 2, 3)), rand(2, 3, 7, 7)
    worn = sticker.apply(x, centre=((row + 1) / 7, (column + 1.5) / 7))
    expected = x.clone()
    expected[:, :, row : row + 2, column : column + 3] = sticker.image
    assert torch.allclose(worn, expected, atol=1e-5)


def test_a_mask_cuts_the_patch_out():
    cross = torch.tensor([[0.0, 1, 0], [1, 1, 1], [0, 1, 0]])
    worn = Patch(torch.ones(1, 3, 3), cross[None]).apply(torch.zeros(1, 1, 3, 3))
    assert torch.allclose(worn[0, 0], cross, atol=1e-5)


def test_in_a_fixed_place_it_finds_the_best_pixels_exactly():
    """On a linear model every pixel of the patch goes to the end that its weight says."""
    weight = torch.randn(1, 1, 6, 6, generator=seeded(2))
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    model[1].weight.data = torch.stack((torch.zeros(36), weight.flatten()))
    model[1].bias.data = torch.tensor([20.0, 0])
    found = patch(model, rand(10, 1, 6, 6), torch.zeros(10).long(), 2, views=STILL, steps=30)
    assert torch.allclose(found.image, (weight[0, :, 2:4, 2:4] > 0).float(), atol=1e-4)


@pytest.mark.parametrize("target", [None, 1])
def test_wherever_it_is_stuck_it_fools(target):
    model, x, y = bright_spot(), 0.5 * rand(12, 1, 12, 12), torch.zeros(12).long()
    views = Views(rotation=10, scale=(1, 1.2), shift=0.3, brightness=0.1)
    found = patch(model, x, y, 4, target=target, views=views, steps=60, batch_size=6, samples=2)
    unseen = 0.5 * rand(100, 1, 12, 12, seed=8)
    fooled = lambda p: (model(p.scatter(unseen, views, seed=3)).argmax(1) == 1).float().mean()
    assert found.image.shape == (1, 4, 4) and found.image.dtype == x.dtype and not found.image.requires_grad
    assert found.image.min() >= 0 and found.image.max() <= 1
    assert fooled(found) > 0.7 and fooled(Patch(rand(1, 4, 4), found.mask)) < 0.3


def test_the_seed_decides_and_the_caller_s_things_stay_as_they_are():
    model, x, y = bright_spot(), rand(6, 1, 8, 8), torch.zeros(6).long()
    before, state = x.clone(), torch.get_rng_state()
    with torch.no_grad():
        one, two, other = (patch(model, x, y, 3, steps=6, batch_size=4, seed=s).image for s in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(x, before) and model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_half_and_double_precision():
    for dtype in (torch.float64, torch.bfloat16):
        model, x = bright_spot().to(dtype), rand(4, 1, 8, 8).to(dtype)
        found = patch(model, x, torch.zeros(4).long(), 3, steps=3)
        assert found.image.dtype == dtype and found.apply(x).dtype == dtype


def test_half_precision_moves_no_pixel():
    x = rand(2, 3, 224, 224).bfloat16()
    assert torch.equal(warp(x, rotation=20, scale=1.1), warp(x.float(), rotation=20, scale=1.1).bfloat16())


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda m, x, y: patch(m, x, y, 9), ValueError, "larger than the images"),
        (lambda m, x, y: patch(m, x, y, 0), ValueError, "size is 0"),
        (lambda m, x, y: patch(m, x, y, 2.5), TypeError, "whole number"),
        (lambda m, x, y: patch(m, x, y, torch.zeros(3, 3)), ValueError, "at least one 1"),
        (lambda m, x, y: patch(m, x, y, 3, views=30), TypeError, "Views"),
        (lambda m, x, y: patch(m, x, y, 3, target=0), ValueError, "equals the label"),
        (lambda m, x, y: patch(m, x * 255, y, 3), ValueError, "divide by 255"),
        (lambda m, x, y: patch(m, x, y + 7, 3), ValueError, "labels and model"),
        (lambda m, x, y: patch(m, x, y, 3, samples=0), ValueError, "samples is 0"),
        (lambda m, x, y: eot(m, "rotate"), TypeError, "transform"),
        (lambda m, x, y: eot(m, Views(), samples=0), ValueError, "samples is 0"),
        (lambda m, x, y: eot("model", Views()), TypeError, "nn.Module"),
        (lambda m, x, y: Patch(torch.ones(1, 9, 9), torch.ones(1, 9, 9)).apply(x), ValueError, "larger"),
    ],
)
def test_mistakes_are_named(call, error, words):
    with pytest.raises(error) as raised:
        call(bright_spot(), rand(4, 1, 8, 8), torch.zeros(4).long())
    assert words in str(raised.value)
