"""Balls against brute force, and their laws under hypothesis."""

import itertools
import re

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from advlib.norms import L0, L1, L2, Ball, Linf, readable

BALLS = [Linf(0.1), Linf(0.9), L2(0.4), L2(3.0), L1(0.7), L1(6.0), L0(2), L0(5)]
CONVEX = [ball for ball in BALLS if not isinstance(ball, L0)]
SHAPE = (2, 3, 3, 2)

values = lambda low, high: arrays(np.float64, SHAPE, elements=st.floats(low, high)).map(torch.tensor)
perturbations, images = values(-2, 2), values(0, 1)
every_ball = pytest.mark.parametrize("ball", BALLS, ids=str)


def fits(ball: Ball, delta: torch.Tensor, x: torch.Tensor | None = None) -> bool:
    inside = bool((ball.size(delta) <= ball.eps + 1e-6).all())
    return inside and (x is None or bool(((x + delta >= 0) & (x + delta <= 1)).all()))


def inner(a, b):
    return (a * b).sum((1, 2, 3))


def test_sizes_are_the_norms_of_numpy():
    delta = torch.randn(4, 3, 5, 5, dtype=torch.float64)
    flat = delta.flatten(1).numpy()
    for ball, order in [(Linf(1), np.inf), (L2(1), 2), (L1(1), 1)]:
        np.testing.assert_allclose(ball.size(delta), np.linalg.norm(flat, order, axis=1))


def test_l0_counts_positions_not_channels():
    delta = torch.zeros(1, 3, 4, 4)
    delta[0, :, 1, 2] = 0.5
    delta[0, 0, 3, 3] = 0.5
    assert L0(2).size(delta).tolist() == [2]


@every_ball
@settings(max_examples=40, deadline=None)
@given(delta=perturbations, x=images)
def test_projection_is_inside_and_idempotent(ball, delta, x):
    for box in (None, x):
        once = ball.project(delta, box)
        assert fits(ball, once, box)
        assert torch.allclose(ball.project(once, box), once, atol=1e-6)


@pytest.mark.parametrize("ball", CONVEX, ids=str)
@settings(max_examples=40, deadline=None)
@given(delta=perturbations, x=images, seed=st.integers(0, 99))
def test_projection_obeys_the_variational_inequality(ball, delta, x, seed):
    """p is the projection of δ on a convex set exactly when ⟨δ − p, q − p⟩ ≤ 0 for all q of the set."""
    for box in (None, x):
        p = ball.project(delta, box)
        q = ball.sample(x if box is not None else torch.full_like(x, 0.5), torch.Generator().manual_seed(seed))
        assert (inner(delta - p, q - p) <= 1e-5).all()


@pytest.mark.parametrize("ball", [L2(1.0), L1(1.5)], ids=str)
def test_projection_in_the_box_matches_a_solver(ball):
    generator = torch.Generator().manual_seed(1)
    delta = torch.randn(1, 1, 2, 2, generator=generator, dtype=torch.float64)
    x = torch.rand(1, 1, 2, 2, generator=generator, dtype=torch.float64)
    size = lambda d: ball.size(torch.tensor(d).view(1, 1, 2, 2)).item()
    solved = scipy.optimize.minimize(
        lambda d: ((d - delta.flatten().numpy()) ** 2).sum(),
        np.zeros(4),
        method="SLSQP",
        bounds=[(-v, 1 - v) for v in x.flatten().tolist()],
        constraints={"type": "ineq", "fun": lambda d: ball.eps - size(d)},
    )
    np.testing.assert_allclose(ball.project(delta, x).flatten(), solved.x, atol=1e-3)


def test_l0_projection_matches_brute_force():
    delta, x = torch.randn(1, 2, 2, 3), torch.rand(1, 2, 2, 3)
    boxed = (x + delta).clamp(0, 1) - x
    candidates = []
    for kept in itertools.combinations(range(6), 2):
        mask = torch.zeros(6)
        mask[list(kept)] = 1
        candidates.append(((boxed * mask.view(1, 1, 2, 3) - delta) ** 2).sum().item())
    assert ((L0(2).project(delta, x) - delta) ** 2).sum().item() == pytest.approx(min(candidates))


@every_ball
@settings(max_examples=40, deadline=None)
@given(grad=perturbations, x=images, seed=st.integers(0, 99))
def test_steepest_beats_every_other_point(ball, grad, x, seed):
    best = ball.steepest(grad, x)
    assert fits(ball, best, x)
    other = ball.sample(x, torch.Generator().manual_seed(seed))
    assert (inner(grad, best) >= inner(grad, other) - 1e-5).all()
    assert (inner(grad, best) >= inner(grad, ball.project(grad, x)) - 1e-5).all()


@pytest.mark.parametrize("ball, dual", [(Linf(0.1), 1), (L2(0.4), 2), (L1(0.7), np.inf)], ids=str)
def test_steepest_without_a_box_reaches_the_dual_norm(ball, dual):
    """max ⟨g, δ⟩ over ‖δ‖ₚ ≤ ε is ε‖g‖_q with 1/p + 1/q = 1."""
    grad = torch.randn(5, 3, 4, 4, dtype=torch.float64)
    bound = ball.eps * np.linalg.norm(grad.flatten(1).numpy(), dual, axis=1)
    if isinstance(ball, L1):  # one pixel takes all of it: the ball alone does not know of [0, 1]
        assert (ball.steepest(grad) != 0).flatten(1).sum(1).tolist() == [1] * 5
    np.testing.assert_allclose(inner(grad, ball.steepest(grad)), bound)


@pytest.mark.parametrize("ball", [L1(1.2), L2(0.9)], ids=str)
def test_steepest_in_the_box_matches_a_solver(ball):
    generator = torch.Generator().manual_seed(3)
    grad = torch.randn(1, 1, 2, 2, generator=generator, dtype=torch.float64)
    x = torch.rand(1, 1, 2, 2, generator=generator, dtype=torch.float64)
    solved = scipy.optimize.minimize(
        lambda d: -(d * grad.flatten().numpy()).sum(),
        np.full(4, 1e-3),
        method="SLSQP",
        bounds=[(-v, 1 - v) for v in x.flatten().tolist()],
        constraints={"type": "ineq", "fun": lambda d: ball.eps - ball.size(torch.tensor(d).view(1, 1, 2, 2)).item()},
    )
    assert inner(grad, ball.steepest(grad, x)).item() == pytest.approx(-solved.fun, abs=1e-4)


@every_ball
def test_steepest_of_a_zero_gradient_is_zero(ball):
    zero = torch.zeros(2, 3, 4, 4)
    for x in (None, torch.rand(2, 3, 4, 4)):
        assert torch.equal(ball.steepest(zero, x), zero)


@pytest.mark.parametrize("ball", BALLS, ids=str)
def test_tiny_gradients_still_point_somewhere(ball):
    grad = 1e-30 * torch.randn(2, 3, 4, 4)
    delta = ball.steepest(grad, torch.full_like(grad, 0.5))
    assert torch.isfinite(delta).all() and (ball.size(delta) > 0.9 * min(ball.eps, 0.5)).all()


@every_ball
def test_a_radius_for_each_image_takes_the_place_of_eps(ball):
    grad, x = torch.randn(3, 3, 4, 4), torch.full((3, 3, 4, 4), 0.5)
    radius = ball.eps * torch.tensor([0.0, 0.5, 1.0])
    size = ball.size(ball.steepest(grad, x, radius=radius))
    expected = radius.ceil() if isinstance(ball, L0) else radius
    assert torch.allclose(size, expected.clamp_max(0.5) if isinstance(ball, Linf) else expected, atol=1e-5)


@every_ball
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_an_eps_for_each_image_is_a_ball_for_each(ball, dtype):
    generator = torch.Generator().manual_seed(0)
    delta, x = torch.randn(3, 2, 4, 4, generator=generator).to(dtype), torch.rand(3, 2, 4, 4).to(dtype)
    each = [type(ball)(0), ball.scaled(0.5), ball]
    own = type(ball)(torch.tensor([one.eps for one in each]))
    for ask in (
        lambda ball: ball.project(delta),
        lambda ball: ball.project(delta, x),
        lambda ball: ball.steepest(delta),
        lambda ball: ball.steepest(delta, x),
        lambda ball: ball.steepest(delta, x, radius=torch.ones(3)),
        lambda ball: ball.sample(x, torch.Generator().manual_seed(1)),
    ):
        assert torch.allclose(ask(own), torch.stack([ask(one)[i] for i, one in enumerate(each)]), atol=1e-6)
    assert fits(own, own.project(delta, x), x)


def test_a_ball_of_several_eps_is_a_value_that_goes_along_with_its_images():
    eps = torch.tensor([4.0, 8.0, 16.0]) / 255
    ball, same = Linf(eps), Linf(eps.clone())
    eps.zero_()
    assert ball == same and hash(ball) == hash(same) and ball != Linf(8 / 255) and ball != L2(same.eps)
    assert ball != Linf(same.eps[:2]) and ball.per_image and not Linf(0.1).per_image
    assert str(ball) == "L∞ ≤ 4/255 to 16/255" and str(Linf(torch.full((2,), 8 / 255))) == "L∞ ≤ 8/255"
    assert repr(L0(torch.tensor([1, 2]))) == "L0(eps=tensor([1, 2]))"
    assert ball.rows(torch.tensor([2, 0])) == Linf(same.eps[[2, 0]])
    assert ball.rows(torch.tensor([False, True, False])) == Linf(same.eps[1:2])
    assert Linf(0.1).rows(torch.tensor([2, 0])) == Linf(0.1)
    assert Linf(torch.tensor([0.25, 0.75])).scaled(2) == Linf(torch.tensor([0.5, 1.0]))
    assert L0(torch.tensor([3, 4])).scaled(0.5) == L0(torch.tensor([2, 2]))


@pytest.mark.parametrize("ball", [Linf(torch.tensor([0.1])), L0(torch.tensor([1, 2]))], ids=str)
@pytest.mark.parametrize("method", ["project", "steepest", "sample"])
def test_as_many_eps_as_images(ball, method):
    x = torch.rand(3, 1, 2, 2)
    with pytest.raises(ValueError, match=r"got [12] ε for 3 images.*ball.rows\(index\)"):
        getattr(ball, method)(x, *[torch.Generator()] * (method == "sample"))


@every_ball
def test_samples_are_inside_vary_and_repeat_with_the_seed(ball):
    x = torch.rand(64, 3, 6, 6)
    draw = lambda seed: ball.sample(x, torch.Generator().manual_seed(seed))
    assert fits(ball, draw(0), x)
    assert torch.equal(draw(0), draw(0)) and not torch.equal(draw(0), draw(1))
    assert not torch.equal(draw(0)[0], draw(0)[1])


@pytest.mark.parametrize("ball", [L2(0.2), L1(0.5)], ids=str)
@pytest.mark.parametrize("pixels", [2, 5])
def test_samples_fill_the_ball_uniformly(ball, pixels):
    """The share within radius rε of a uniform draw in n dimensions is rⁿ (mid-grey: the box is out of the way).

    Of more than two pixels a mask allows two: n is still 2."""
    x = torch.full((4000, 1, 1, pixels), 0.5)
    mask = None if pixels == 2 else (torch.arange(5) % 3 == 1).expand(x.shape)
    size = ball.size(ball.sample(x, torch.Generator().manual_seed(0), mask)) / ball.eps
    for r in (0.3, 0.5, 0.8):
        assert (size <= r).float().mean().item() == pytest.approx(r**2, abs=0.03)


@every_ball
def test_samples_stay_within_a_mask(ball):
    x = torch.rand(64, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    mask = torch.rand(64, 1, 6, 6, generator=torch.Generator().manual_seed(2)).expand_as(x) < 0.2
    mask = mask & (torch.arange(64) > 0)[:, None, None, None]
    draw = lambda mask: ball.sample(x, torch.Generator().manual_seed(0), mask)
    delta = draw(mask)
    assert fits(ball, delta, x) and not delta[~mask].any() and not delta[0].any()
    assert (ball.size(delta[1:]) > 0).all()
    if isinstance(ball, L0):  # as many pixels as without a mask, where so many are allowed
        assert torch.equal(L0(1).size(delta), mask.any(1).sum((1, 2)).clamp_max(ball.eps).to(x))
    assert torch.allclose(draw(torch.ones_like(mask)), draw(None), atol=1e-6)


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: Linf(8), ValueError, "Did you mean Linf(8/255)"),
        (lambda: Linf(-0.1), ValueError, "≥ 0"),
        (lambda: L2(float("nan")), ValueError, "finite"),
        (lambda: L2(float("inf")), ValueError, "finite"),
        (lambda: L1("12"), TypeError, "expected a number"),
        (lambda: L2(True), TypeError, "expected a number"),
        (lambda: L0(2.5), ValueError, "whole number"),
        (lambda: L0(-1), ValueError, "≥ 0"),
        (lambda: L2([0.1, 0.2]), TypeError, "or a tensor (N,) with one for each image"),
        (lambda: L2(torch.tensor([0.1, -0.2])), ValueError, "ε = -0.2 for image 1; expected a finite number ≥ 0"),
        (lambda: L2(torch.tensor([0.1, float("nan")])), ValueError, "ε = nan for image 1; expected a finite"),
        (lambda: Linf(torch.tensor([0.1, 8.0])), ValueError, "ε = 8 for image 1; pixels run from 0 to 1. Did you mean"),
        (lambda: L0(torch.tensor([1.0, 2.5])), ValueError, "ε = 2.5 for image 1; expected a whole number"),
        (
            lambda: L1(torch.tensor(12.0)),
            ValueError,
            "shape (); expected (N,), one ε for each image. Use L1(eps.item())",
        ),
        (lambda: L1(torch.ones(2, 1, 1, 1)), ValueError, "Use L1(eps.flatten())"),
        (lambda: L1(torch.ones(0)), ValueError, "this one is empty"),
        (lambda: L1(torch.tensor([True])), TypeError, "got a tensor of torch.bool"),
    ],
)
def test_a_wrong_eps_is_named(make, error, words):
    with pytest.raises(error, match=re.escape(words)):
        make()


def test_balls_are_values_that_read_well():
    assert Linf(8 / 255) == Linf(8 / 255) and hash(L2(1)) == hash(L2(1)) and Linf(0.5) != L2(0.5)
    assert [str(b) for b in (Linf(8 / 255), Linf(0.3), L2(0.5), L1(12), L0(20))] == [
        "L∞ ≤ 8/255",
        "L∞ ≤ 0.3",
        "L2 ≤ 0.5",
        "L1 ≤ 12",
        "L0 ≤ 20",
    ]
    assert Linf(0.7).scaled(2) == Linf(1.0) and L2(0.5).scaled(2) == L2(1.0) and L0(3).scaled(0.5) == L0(2)


@pytest.mark.parametrize(
    "eps, digits, text",
    [
        (0, 6, "0"),
        (1 / 255, 6, "1/255"),
        (8 / 255, 6, "8/255"),
        (8 / 255 + 1e-6, 3, "8/255"),  # as it is measured in float32
        (8.01 / 255, 3, "0.0314"),
        (0.1, 6, "0.1"),
        (0.123456, 6, "0.123456"),
        (0.123456, 3, "0.123"),
        (1, 3, "1"),
        (1200, 6, "1200"),
    ],
)
def test_sizes_are_written_as_people_write_them(eps, digits, text):
    assert readable(eps, digits) == text
