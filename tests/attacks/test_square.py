"""Square: the exact answer where there is one, inside the ball, and no question wasted."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from advlib.attacks.square import square
from advlib.norms import L0, L1, L2, Linf
from tests.attacks.victims import Counting, batch, linear, network


def test_square_finds_the_exact_answer_on_a_linear_victim():
    """Only δ = −ε · sign(w), to the last pixel, is enough here."""
    weight = torch.randn(1, 5, 5, generator=torch.Generator().manual_seed(0)).double()
    x = torch.full((3, 1, 5, 5), 0.5).double()
    best = 0.1 * weight.abs().sum()
    victim = linear(weight, bias=best - 1e-6 - 0.5 * weight.sum())
    x_adv = square(victim, x, torch.zeros(3, dtype=torch.long), Linf(0.1), queries=3000)
    assert torch.allclose(x_adv - x, (-0.1 * weight.sign()).expand_as(x))


def test_no_square_is_painted_over_with_itself():
    """On a victim that never reacts every question after the first must differ from the first."""
    x = torch.full((1, 1, 6, 6), 0.5)
    counting = Counting(lambda images: torch.tensor([[1.0, 0.0]]).repeat(len(images), 1), x)
    square(counting, x, torch.tensor([0]), Linf(0.1), queries=200)
    assert all(not torch.equal(shown, counting.shown[0]) for shown in counting.shown[1:])


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.7)], ids=str)
def test_square_takes_the_whole_ball(ball):
    x = torch.full((4, 3, 9, 9), 0.5)
    x_adv = square(linear(torch.zeros(3, 9, 9), bias=1.0), x, torch.zeros(4, dtype=torch.long), ball, queries=40)
    assert torch.allclose(ball.size(x_adv - x), torch.full((4,), ball.eps))


def test_square_in_l2_moves_energy_to_where_it_pays():
    """Only a quarter of the image matters; the start spreads the budget over all of it."""
    weight = torch.zeros(1, 12, 12).double()
    weight[0, :6, :6] = 1.0
    x = torch.full((4, 1, 12, 12), 0.5).double()
    victim, y = linear(weight, bias=-15.0), torch.zeros(4, dtype=torch.long)
    gain = lambda x_adv: ((x - x_adv) * weight).sum((1, 2, 3)) / weight.norm()  # at most ε, by Cauchy–Schwarz
    x_adv = square(victim, x, y, L2(0.45), queries=400)
    assert (victim(x_adv).argmax(1) == 0).all() and bool((gain(x_adv) > 0.45 * 0.45).all())
    assert (victim(square(victim, x, y, L2(1.2), queries=400)).argmax(1) == 1).all()


def test_square_improves_a_start():
    weight = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    x = torch.full((2, 1, 8, 8), 0.5).double()
    victim = linear(weight, bias=0.099 * weight.abs().sum() - 0.5 * weight.sum())
    start = x - 0.1 * weight.sign()
    start[0, 0, :3, :3] = 0.5  # the first image lacks a corner of the answer
    y = torch.zeros(2, dtype=torch.long)
    x_adv, used = square(victim, x, y, Linf(0.1), start=start, queries=400, return_queries=True)
    margin = lambda images: -victim(images)[:, 0]
    assert torch.equal(x_adv[1], start[1]) and int(used[1]) == 1
    assert margin(start)[0] < margin(x_adv)[0] and int(used[0]) > 1


@pytest.mark.slow
def test_square_gives_up_only_where_it_gets_nowhere(lenet, mnist):
    model, (x, y) = lenet("clntrained"), mnist(40)
    patient, asked = square(model, x, y, Linf(0.15), queries=400, return_queries=True)
    hasty, fewer = square(model, x, y, Linf(0.15), queries=400, hope=4, return_queries=True)
    fell, given_up = asked < 400, fewer < asked
    assert torch.equal(hasty[~given_up], patient[~given_up]) and (fewer[given_up] >= 32).all()
    assert (fell & ~given_up).sum() > 0.75 * fell.sum() > 10
    assert fewer[~fell].float().mean() < 300


def test_behind_what_another_attack_reached_there_is_half_the_hope():
    x, model = batch(12), network()
    y = model(x).argmax(1)
    run = lambda **settings: square(model, x, y, Linf(0.06), queries=400, return_queries=True, **settings)[1]
    nowhere, ahead = torch.full((12,), -torch.inf), torch.full((12,), torch.inf)
    assert torch.equal(run(hope=4, reached=ahead), run(hope=2, reached=nowhere))
    assert run(hope=4, reached=ahead).sum() < run(hope=4, reached=nowhere).sum() <= run(hope=4).sum()


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.6)], ids=str)
def test_asking_ahead_gives_the_same_in_fewer_calls(ball):
    x, model = batch(), network()
    y, found, calls = model(x).argmax(1), [], []
    for ahead in (False, True):
        counting = Counting(model, x)
        found.append(square(counting, x, y, ball, queries=150, hope=4, ahead=ahead, return_queries=True))
        calls.append(len(counting.shown))
    (slowly, asked), (ahead, counted) = found
    assert torch.allclose(slowly, ahead) and torch.equal(asked, counted)
    assert len(set(asked.tolist())) > 2 and calls[1] < 0.7 * calls[0]


@settings(max_examples=25, deadline=None)
@given(
    ball=st.sampled_from([Linf(0.2), Linf(0.0), L2(0.5), L2(0.0)]),
    n=st.integers(1, 3),
    channels=st.integers(1, 4),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    queries=st.integers(1, 30),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.float16, torch.bfloat16]),
)
def test_square_on_any_shape_stays_in_the_ball_and_the_box(ball, n, channels, height, width, queries, dtype):
    x = torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(n)).to(dtype)
    x_adv = square(
        lambda images: images.flatten(1)[:, [0, -1]].float(), x, torch.zeros(n, dtype=torch.long), ball, queries=queries
    )
    assert x_adv.dtype == dtype and bool(((x_adv >= 0) & (x_adv <= 1)).all())
    assert bool((ball.size(x_adv.double() - x.double()) <= ball.eps + 1e-6).all())


@pytest.mark.parametrize(
    "mistake, error, message",
    [
        (lambda x, y: square("model", x, y, Linf(0.1)), TypeError, "expected a callable"),
        (lambda x, y: square(nn.Flatten, x, y, Linf(0.1)), TypeError, "Pass an instance"),
        (lambda x, y: square(network(), x, y, L1(3)), ValueError, "defined for Linf and L2"),
        (lambda x, y: square(network(), x, y, L0(3)), ValueError, "defined for Linf and L2"),
        (lambda x, y: square(network(), x, y, 0.1), TypeError, "expected a norm ball"),
        (lambda x, y: square(network(), x, y, Linf(0.1), p=0), ValueError, "a share of the image"),
        (lambda x, y: square(network(), x, y, Linf(0.1), queries=0), ValueError, "queries is 0"),
        (lambda x, y: square(network(), x, y, Linf(0.1), hope=0), ValueError, "hope is 0; expected"),
        (lambda x, y: square(network(), x, y, Linf(0.1), start=1 - x), ValueError, "away from x"),
        (lambda x, y: square(network(), x, y, Linf(0.1), start=x[:2]), ValueError, "one for each image"),
        (lambda x, y: square(network(), x, y + 9, Linf(0.1)), ValueError, "class indices from 0 to 3"),
    ],
)
def test_mistakes_are_named(mistake, error, message):
    x = batch()
    with pytest.raises(error, match=message):
        mistake(x, network()(x).argmax(1))
