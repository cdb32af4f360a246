"""The objective of IBP training: its formula, its schedule, and that it teaches networks that can be certified."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from advlib.defenses import IBP, certified_accuracy, interval_bounds, margin_bounds
from advlib.evaluate import accuracy
from advlib.norms import L2, Linf
from tests.defenses.certificates.networks import NETWORKS, images, made, mlp, stripes, trained

Y = torch.tensor([0, 1, 2])


@pytest.mark.parametrize("kappa", [0.0, 0.3, 1.0])
def test_it_is_the_clean_and_the_worst_loss_in_their_shares(kappa):
    model, x, within = made(mlp), images(), Linf(0.05)
    value, logits = IBP(within, kappa)(model, x, None, Y)
    worst = -margin_bounds(model, x, Y, within, method="interval")
    torch.testing.assert_close(logits, model(x))
    torch.testing.assert_close(value, kappa * F.cross_entropy(logits, Y) + (1 - kappa) * F.cross_entropy(worst, Y))


def test_the_worst_logits_are_those_of_the_bounds_where_no_linear_layer_is_last():
    model, x, within = made(NETWORKS["pooled at the end"]), images(), Linf(0.05)
    lower, upper = interval_bounds(model, x, within)
    worst = upper.scatter(1, Y[:, None], lower.gather(1, Y[:, None]))
    torch.testing.assert_close(IBP(within, 0)(model, x, None, Y)[0], F.cross_entropy(worst, Y))


def test_a_ball_of_radius_zero_is_ordinary_training():
    model, x = made(mlp), images()
    torch.testing.assert_close(IBP(Linf(0), 0.0)(model, x, None, Y)[0], F.cross_entropy(model(x), Y))


def test_its_gradient_is_that_of_finite_differences():
    model, x = made(NETWORKS["convolutional"]).double(), images().double()
    objective, weight = IBP(Linf(0.03), 0.2), model[3].weight
    (grad,) = torch.autograd.grad(objective(model, x, None, Y)[0], weight)
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)).double()
    ends = []
    with torch.no_grad():
        for step in (1e-6, -2e-6):
            weight += step * direction
            ends.append(objective(model, x, None, Y)[0])
    assert ((ends[0] - ends[1]) / 2e-6).item() == pytest.approx((grad * direction).sum().item(), rel=1e-4)


def test_epsilon_rises_and_kappa_falls_between_the_two_shares():
    objective = IBP(Linf(0.2), kappa=0.4)
    ramp = [objective.at(t, warmup=0.2, ramp=0.6) for t in (0, 0.2, 0.3, 0.6, 1)]
    assert [one.within.eps for one in ramp] == pytest.approx([0, 0, 0.05, 0.2, 0.2])
    assert [one.kappa for one in ramp] == pytest.approx([1, 1, 0.85, 0.4, 0.4])


def test_a_network_that_learns_by_it_can_be_certified_and_one_that_does_not_cannot():
    data, test, within = stripes(), stripes(n=100, seed=3), Linf(0.12)
    model = made(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    )
    model.train()
    descent, objective, steps = torch.optim.Adam(model.parameters(), 0.01), IBP(within), 150
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        rows = torch.randperm(len(data), generator=generator)[:50]
        value, logits = objective.at(step / steps)(model, data.x[rows], data.x[rows], data.y[rows])
        descent.zero_grad()
        value.backward()
        descent.step()
    model.eval()
    share = lambda model: certified_accuracy(model, test.x, test.y, within, method="interval")
    assert accuracy(model, test.x, test.y) > 0.95
    assert share(model) > 0.8 > 0.3 > share(trained())


def test_modes_stay_and_only_the_clean_pass_moves_the_statistics():
    model = made(NETWORKS["convolutional"])
    model.train()
    model[1].eval()
    before = [model[1][1].running_mean.clone(), int(model[9].num_batches_tracked)]
    value, _ = IBP(Linf(0.1))(model, images(), None, Y)
    value.backward()
    assert model.training and model[9].training and not model[1][1].training
    assert torch.equal(model[1][1].running_mean, before[0]) and model[9].num_batches_tracked == before[1] + 1
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda: IBP(0.1), TypeError, "expected a norm ball"),
        (lambda: IBP(L2(0.5)), ValueError, "L∞"),
        (lambda: IBP(Linf(torch.tensor([0.1, 0.2]))), ValueError, "one ε for all images"),
        (lambda: IBP(Linf(0.1), kappa=1.5), ValueError, "kappa is 1.5"),
        (lambda: IBP(Linf(0.1), kappa="half"), TypeError, "kappa"),
        (lambda: IBP(Linf(0.1)).at(0.5, warmup=0.5, ramp=0.5), ValueError, "0 ≤ warmup < ramp ≤ 1"),
        (lambda: IBP(Linf(0.1))(nn.Sequential(nn.Flatten(), nn.GELU()), images(), None, Y), ValueError, "GELU"),
    ],
)
def test_bad_input_is_named(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()
