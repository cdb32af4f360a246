"""What is certified holds: against brute force, and against the strongest attack."""

import pytest
import torch
from torch import nn

from advlib.attacks import worst_case
from advlib.defenses import certified, certified_accuracy, margin_bounds
from advlib.evaluate import robust_accuracy
from advlib.intervals import interval
from advlib.norms import L2, Linf
from tests.defenses.certificates.networks import images, made, mlp, stripes, trained

METHODS = ("crown", "interval")


def test_of_a_linear_model_both_methods_prove_all_that_is_true():
    model = made(lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 2)))
    x, w = stripes(n=100).x, (model[1].weight[0] - model[1].weight[1]).detach()
    z = model(x).detach()
    y, distance = z.argmax(1), (z[:, 0] - z[:, 1]).abs() / w.abs().sum()
    within = Linf(float(distance.median()))
    uphill = torch.where(y == 0, -1, 1)[:, None] * w.sign()
    true = model((x.flatten(1) + within.eps * uphill).clamp(0, 1).view_as(x)).argmax(1) == y
    assert 10 < true.sum() < 90
    for method in METHODS:
        assert torch.equal(certified(model, x, y, within, method=method), true)


@pytest.mark.parametrize("eps", [0.03, 0.08])
def test_what_is_certified_no_attack_breaks_and_crown_proves_more(eps):
    model, images = trained(), stripes(n=120, seed=3)
    proved = {method: certified(model, images.x, images.y, Linf(eps), method=method) for method in METHODS}
    assert (proved["crown"] >= proved["interval"]).all() and proved["crown"].sum() > proved["interval"].sum()
    x_adv = worst_case(model, images.x, images.y, Linf(eps), queries=200)
    standing = model(x_adv).argmax(1) == images.y
    assert standing[proved["crown"]].all()
    assert 10 < proved["crown"].sum() <= standing.sum() < 120


def test_a_wrong_answer_is_never_certified():
    model, images = trained(), stripes(n=40, seed=4)
    answers = model(images.x).argmax(1)
    assert certified(model, images.x, answers, Linf(0)).all()
    assert not certified(model, images.x, 1 - answers, Linf(0)).any()


def test_a_tie_is_not_certified():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    nn.init.zeros_(model[1].weight), nn.init.zeros_(model[1].bias)
    assert not certified(model, images(1, 1, 2), torch.tensor([0]), Linf(0)).any()


def test_the_accuracy_is_the_share_with_its_interval_below_what_attacks_leave():
    model, images = trained(), stripes(n=120, seed=3)
    found = certified_accuracy(model, images.x, images.y, Linf(0.08))
    count = int(certified(model, images.x, images.y, Linf(0.08)).sum())
    assert found == count / 120 and found.n == 120 and (found.low, found.high) == interval(count, 120)
    assert found <= robust_accuracy(model, images.x, images.y, Linf(0.08), queries=50)


def test_the_margin_of_the_label_itself_is_zero():
    margins = margin_bounds(made(mlp), images(), torch.tensor([2, 0, 1]), Linf(0.1))
    assert torch.equal(margins.gather(1, torch.tensor([[2], [0], [1]])), torch.zeros(3, 1))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "change, error, message",
    [
        (dict(y=torch.tensor([0, 1, 3])), ValueError, "y contains 3"),
        (dict(y=torch.tensor([0, 1])), ValueError, r"expected \(3,\)"),
        (dict(within=L2(0.5)), ValueError, "L∞ only"),
        (dict(x=images() * 3), ValueError, "pixels from"),
        (dict(model=nn.Sequential(nn.Flatten(), nn.Softmax(1))), ValueError, "^1 is a Softmax"),
    ],
)
def test_bad_input_is_named(change, error, message, method):
    usual = {"model": made(mlp), "x": images(), "y": torch.tensor([0, 1, 2]), "within": Linf(0.1), "method": method}
    with pytest.raises(error, match=message):
        certified(**usual | change)


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match='expected "crown" or "interval"'):
        certified(made(mlp), images(), torch.tensor([0, 1, 2]), Linf(0.1), method="ibp")
