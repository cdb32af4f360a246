"""Randomised smoothing, held against a classifier of which the vote and the distance are known exactly."""

import pytest
import torch
from scipy.stats import binomtest, norm
from torch import nn

from advlib.attacks import eot, pgd
from advlib.defenses import ABSTAIN, Smoothed
from advlib.defenses.certificates.smoothing import _at_least
from advlib.norms import L2


def halves(weight=(1.0, -2.0, 2.0, 4.0), bias=0.0):
    """Class 0 where ⟨w, x⟩ + b > 0: noise of σ leaves its vote at Φ(distance / σ), so the radius is the distance."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    model[1].weight.data = torch.stack((torch.tensor(weight), torch.zeros(4)))
    model[1].bias.data = torch.tensor([bias, 0.0])
    return model


def at(distance):
    """An image so far from the plane of ``halves(bias=-2.5)``, on the side of class 0."""
    w = torch.tensor([1.0, -2, 2, 4])
    return (torch.full((4,), 0.5) + distance * w / w.norm()).view(1, 1, 2, 2)


MODEL, SIGMA = halves(bias=-2.5), 0.2


@pytest.mark.parametrize("distance", [0.05, 0.2, -0.2, 0.4])
def test_the_radius_is_the_distance_less_what_the_votes_leave_open(distance):
    label, radius = Smoothed(MODEL, SIGMA).certify(at(distance), n=20_000)
    assert label.item() == (0 if distance > 0 else 1)
    p = norm.cdf(abs(distance) / SIGMA)
    fourth = norm.ppf(p - 6 * (p * (1 - p) / 20_000) ** 0.5) * SIGMA  # six standard deviations below
    assert fourth - 0.02 < radius.item() <= abs(distance)


def test_the_promise_is_broken_no_more_often_than_alpha_says():
    x = at(0.1).expand(300, -1, -1, -1)
    label, radius = Smoothed(MODEL, SIGMA).certify(x, n0=20, n=200, alpha=0.1)
    broken = int(((label != ABSTAIN) & (radius > 0.1)).sum())
    assert broken > 0 and binomtest(broken, 300, 0.1, alternative="greater").pvalue > 1e-3


def test_more_votes_promise_more():
    radii = [Smoothed(MODEL, SIGMA).certify(at(0.35), n=n).radius.item() for n in (50, 500, 5000)]
    assert radii == sorted(radii) and radii[0] < radii[2] - 0.05


def test_nobody_is_promised_more_than_the_votes_can_say():
    smoothed = Smoothed(halves(bias=100.0), SIGMA)  # always class 0
    for n in (20, 1000):
        _, radius = smoothed.certify(at(0), n=n)
        assert radius.item() == pytest.approx(smoothed.largest_radius(n))
        assert smoothed.largest_radius(n) == pytest.approx(SIGMA * norm.ppf(0.001 ** (1 / n)))
    assert smoothed.certify(at(0), n=5).label.item() == ABSTAIN  # 0.001 ** (1 / 5) is below a half
    assert smoothed.largest_radius(5) == 0


def test_on_the_boundary_it_abstains_and_away_from_it_it_answers():
    smoothed = Smoothed(MODEL, SIGMA)
    x = torch.cat([at(0).expand(40, -1, -1, -1), at(0.3), at(-0.3)])
    label, radius = smoothed.certify(x, n=200)
    assert (label[:40] == ABSTAIN).all() and (radius[:40] == 0).all() and label[40:].tolist() == [0, 1]
    assert (smoothed.predict(x, n=200)[:40] == ABSTAIN).sum() >= 38
    assert smoothed.predict(x, n=200)[40:].tolist() == [0, 1]


def test_it_answers_where_the_binomial_test_is_sure():
    smoothed, sure = Smoothed(MODEL, SIGMA), []
    x = torch.cat([at(0.01 * step) for step in range(20)])
    votes = [one for (one,) in smoothed._votes(x, (60,), 0.01, 0)]
    for one in votes:
        sure.append(binomtest(int(one.max()), int(one.sum()), 0.5).pvalue <= 0.01)
    assert ((smoothed.predict(x, n=60, alpha=0.01) != ABSTAIN) == torch.tensor(sure)).all()
    assert 3 < sum(sure) < 17


@pytest.mark.parametrize("k, n", [(0, 10), (1, 10), (9, 10), (10, 10), (990, 1000)])
def test_the_bound_is_clopper_and_pearsons(k, n):
    exact = binomtest(k, n, alternative="greater").proportion_ci(0.99, method="exact").low
    assert _at_least(k, n, 0.01) == pytest.approx(exact, abs=1e-12)


def test_the_same_seed_draws_the_same_and_the_global_state_is_left_alone():
    smoothed, x = Smoothed(MODEL, SIGMA), torch.cat([at(0.1), at(0.2)])
    before = torch.get_rng_state()
    one, again, other = (smoothed.certify(x, n=300, seed=seed).radius for seed in (3, 3, 4))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert torch.equal(before, torch.get_rng_state())
    votes = smoothed._votes(at(0.05).expand(2, -1, -1, -1), (150, 150), 0.1, 0)
    assert len({tuple(vote.tolist()) for pair in votes for vote in pair}) > 1, "the same noise again"


def test_noise_is_not_cut_to_the_box():
    noisy = Smoothed(MODEL, 0.5).transform(torch.ones(1, 1, 60, 60), torch.Generator().manual_seed(0))
    assert (noisy > 1).float().mean() == pytest.approx(0.5, abs=0.05)
    assert noisy.std() == pytest.approx(0.5, abs=0.03)


def test_what_it_promises_an_attack_on_the_expectation_does_not_break():
    smoothed, x, y = Smoothed(MODEL, SIGMA), at(0.3), torch.tensor([0])
    label, radius = smoothed.certify(x, n=5000)
    for eps, answer in ((float(radius) * 0.99, 0), (0.45, 1)):
        x_adv = pgd(eot(MODEL, smoothed.transform), x, y, L2(eps), steps=20, early_stop=False)
        assert smoothed.predict(x_adv, n=5000).item() == answer


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(MODEL[0], nn.BatchNorm1d(4), MODEL[1])
    model.train()
    Smoothed(model, SIGMA).certify(at(0.1), n=100)
    assert model.training and model[1].num_batches_tracked == 0 and model[2].weight.requires_grad


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda: Smoothed("model", 0.1), TypeError, "nn.Module"),
        (lambda: Smoothed(MODEL, 0), ValueError, "sigma is 0"),
        (lambda: Smoothed(MODEL, SIGMA).predict(at(0) * 255), ValueError, "divide by 255"),
        (lambda: Smoothed(MODEL, SIGMA).predict(at(0), n=0), ValueError, "n is 0"),
        (lambda: Smoothed(MODEL, SIGMA).predict(at(0), alpha=1.0), ValueError, "alpha is 1.0"),
        (lambda: Smoothed(MODEL, SIGMA).predict(at(0), alpha=0), ValueError, "alpha is 0"),
        (lambda: Smoothed(MODEL, SIGMA).certify(at(0), n0=0), ValueError, "n0 is 0"),
        (lambda: Smoothed(MODEL, SIGMA).certify(at(0), n=1.5), TypeError, "n is 1.5"),
        (lambda: Smoothed(MODEL, SIGMA).certify(at(0), seed=-1), ValueError, "seed is -1"),
        (lambda: Smoothed(nn.Flatten(0), SIGMA).certify(at(0)), ValueError, "expected logits .* for noisy|for noisy"),
    ],
)
def test_bad_input_is_named(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()
