"""Counting right: accuracies, intervals, the report and the curve."""

import copy
import json
import pickle

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from advlib import attacks
from advlib.evaluate import Curve, Share, accuracy, curve, interval, report, robust_accuracy
from advlib.intervals import interval_over_runs
from advlib.norms import L0, L1, L2, Linf


class Brightness(nn.Module):
    """Class 1 where an image is brighter than 0.5 on average, else class 0: everything can be counted by hand."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)

    def forward(self, x):
        bright = 20 * (x.mean((1, 2, 3)) - 0.5)
        return torch.stack([-bright, bright], 1)


LEVELS = torch.tensor([0.1, 0.4, 0.45, 0.55, 0.7, 0.9])
X = LEVELS[:, None, None, None].expand(6, 1, 4, 4).clone()
Y = torch.tensor([0, 0, 0, 1, 1, 0])  # the last label is wrong: clean accuracy is 5/6


def test_accuracy_is_the_share_that_is_right():
    assert accuracy(Brightness(), X, Y) == pytest.approx(5 / 6)


def test_report_counts_by_hand():
    x_adv = X.clone()
    x_adv[1] += 0.2  # 0.6: taken
    x_adv[3] -= 0.01  # 0.54: stands
    x_adv[5] -= 0.5  # 0.4: "right" by now, but it was wrong before, so it is no success and not robust
    seen = report(Brightness(), X, Y, x_adv)
    assert (seen.n, seen.attacked) == (6, 5)
    assert seen.clean_accuracy == pytest.approx(5 / 6) and seen.robust_accuracy == pytest.approx(4 / 6)
    assert seen.success_rate == pytest.approx(1 / 5) and seen.success_interval == interval(1, 5)
    assert seen.max_size["L∞"] == pytest.approx(0.5) and seen.mean_size["L∞"] == pytest.approx(0.71 / 6)
    assert seen.max_size["L2"] == pytest.approx(0.5 * 4) and seen.max_size["L1"] == pytest.approx(0.5 * 16)
    assert seen.max_size["L0 (pixels)"] == 16


def test_targeted_success_needs_the_target():
    class Three(Brightness):
        def forward(self, x):
            return torch.cat([super().forward(x), torch.full((len(x), 1), -50.0)], 1)

    x_adv = X[:5].flip(0)
    assert report(Three(), X[:5], Y[:5], x_adv).success_rate > 0
    assert report(Three(), X[:5], Y[:5], x_adv, target=2).success_rate == 0


def test_report_reads_well():
    text = str(report(Brightness(), X, Y, X))
    assert (
        "clean accuracy             83.3%" in text
        and "attack success             0.0% of 5 (95 % interval 0.0% to 43.4%)" in text
    )
    page = report(Brightness(), X, Y, X)._repr_html_()
    assert page.startswith("<table>") and '<th scope="row"' in page and "83.3%" in page


def test_a_report_without_anything_right_says_so():
    seen = report(Brightness(), X[:2], torch.tensor([1, 1]), X[:2])
    assert seen.attacked == 0 and seen.success_rate != seen.success_rate


@pytest.mark.parametrize("k, n", [(0, 20), (3, 20), (10, 20), (20, 20), (997, 1000)])
def test_interval_is_wilsons(k, n):
    reference = scipy.stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert interval(k, n) == pytest.approx((reference.low, reference.high), abs=1e-4)


def test_curve_falls_where_it_must():
    seen = curve(Brightness(), X, Y, attacks.fgsm, [0, 0.02, 0.07, 0.15, 0.3])
    assert seen.accuracy == pytest.approx([5 / 6, 5 / 6, 3 / 6, 2 / 6, 1 / 6])
    assert all(low <= a <= high for low, a, high in zip(seen.low, seen.accuracy, seen.high))


def test_curve_takes_any_norm_and_the_attacks_settings():
    calls = []

    def attack(model, x, y, within, *, steps):
        calls.append((within, steps))
        return x

    curve(Brightness(), X, Y, attack, [0, 1, 2], norm=L2, steps=7)
    assert calls == [(L2(1), 7), (L2(2), 7)]


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_the_interval_over_runs_covers_other_images_and_other_runs(spread):
    """Images differ, runs differ, and chance decides the rest: in 95 % of all repetitions the truth is inside."""
    rng = np.random.default_rng(0)
    n, runs, truth, inside = 200, 3, scipy.stats.norm.cdf(0.8 / np.sqrt(1 + 0.25 + spread**2)), 0
    for _ in range(500):
        score = 0.8 + rng.normal(size=n) + spread * rng.normal(size=(runs, 1)) + 0.5 * rng.normal(size=(runs, n))
        low, high = interval_over_runs((score > 0).sum(1).tolist(), n)
        inside += low <= truth <= high
    assert inside / 500 > 0.93


def chance(model, x, y, within, *, seed, share=0.5):
    """An attack that by luck takes some images, whatever ε."""
    lucky = torch.rand(len(x), generator=torch.Generator().manual_seed(seed)) < share
    return torch.where(lucky[:, None, None, None], 1 - x, x)


def test_curve_over_seeds_keeps_each_and_draws_their_mean():
    x, y = X[:5].repeat(8, 1, 1, 1), Y[:5].repeat(8)
    runs = [curve(Brightness(), x, y, chance, [0, 0.9], seed=seed) for seed in (0, 1, 2)]
    seen = curve(Brightness(), x, y, chance, [0, 0.9], seeds=(0, 1, 2))
    assert seen.by_seed == tuple(run.accuracy for run in runs) and len(set(seen.by_seed)) > 1
    assert seen.accuracy == pytest.approx([1, sum(run.accuracy[1] for run in runs) / 3])
    assert (seen.low[0], seen.high[0]) == (runs[0].low[0], runs[0].high[0])  # nothing is attacked at ε = 0
    wilson = interval(round(40 * seen.accuracy[1]), 40)
    assert seen.low[1] < wilson[0] and seen.high[1] > wilson[1]


def test_one_seed_is_one_run_and_says_nothing_of_others():
    run = curve(Brightness(), X, Y, chance, [0.9], seed=4)
    seen = curve(Brightness(), X, Y, chance, [0.9], seeds=[4])
    assert (seen.accuracy, seen.low, seen.high) == (run.accuracy, run.low, run.high)
    assert run.by_seed == () and seen.by_seed == (run.accuracy,)


@pytest.mark.parametrize(
    "settings, error, words",
    [
        (dict(seeds=()), TypeError, r"seeds is \(\); expected several whole numbers, such as seeds=\(0, 1, 2\)"),
        (dict(seeds=3), TypeError, "seeds is 3; expected several"),
        (dict(seeds=(0, 0.5)), TypeError, "a seed is 0.5"),
        (dict(seeds=(0, 1, 0)), ValueError, "expected different ones"),
        (dict(seeds=(0, 1), seed=2), ValueError, "got seed=2 and seeds=\\(0, 1\\); expected one of the two"),
        (dict(seeds=(0, 1), attack=attacks.fgsm), TypeError, "fgsm takes no seed.*leave out seeds"),
    ],
)
def test_wrong_seeds_are_named(settings, error, words):
    settings = {"attack": attacks.pgd} | settings
    with pytest.raises(error, match=words):
        curve(Brightness(), X, Y, settings.pop("attack"), [0.1], **settings)


def test_curve_prints_its_seeds():
    seen = Curve((8 / 255,), (0.25,), (0.1,), (0.4,), by_seed=((0.2,), (0.3,)))
    assert str(seen) == "ε = 8/255: 25.0% (10.0% to 40.0%; 2 seeds: 20.0% to 30.0%)"


def test_curve_prints_a_line_per_eps():
    seen = Curve(eps=(0.0, 8 / 255), accuracy=(1.0, 0.25), low=(0.9, 0.1), high=(1.0, 0.4))
    assert str(seen) == "ε = 0: 100.0% (90.0% to 100.0%)\nε = 8/255: 25.0% (10.0% to 40.0%)"


# -- a share that knows how sure it is -----------------------------------------------------------------------------


def test_a_share_is_a_float_with_wilsons_interval():
    share = Share(293, 512)
    assert share == 293 / 512 and share + 1 == 1 + 293 / 512 and f"{share:.2%}" == "57.23%" and json.dumps(share)
    assert (share.low, share.high) == interval(293, 512) and share.n == 512
    assert str(share) == repr(share) == f"{share}" == "57.2% (52.9% to 61.4%, 512 images)"
    assert str(Share(1, 1)).endswith(", 1 image)") and "4,096 images" in str(Share(1, 4096))


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda share: pickle.loads(pickle.dumps(share))])
def test_a_copied_share_is_as_sure(again):
    for share in (Share(1, 3), Share(293, 512), Share(0, 7)):
        assert again(share) == share and (again(share).low, again(share).n) == (share.low, share.n)


def test_robust_accuracy_comes_with_its_interval():
    seen = robust_accuracy(Brightness(), X, Y, Linf(0.07), attack=attacks.fgsm)
    assert seen == pytest.approx(3 / 6) and (seen.low, seen.high) == interval(3, 6) and seen.n == 6
    nothing = robust_accuracy(Brightness(), X[:5], 1 - Y[:5], Linf(0.1))  # not one is right, and none is attacked
    assert nothing == 0 and (nothing.low, nothing.high) == interval(0, 5)


# -- an attack that is not ours ------------------------------------------------------------------------------------


def returns(change):
    def foreign(model, x, y, within, **settings):
        return change(x)

    return foreign


@pytest.mark.parametrize(
    "within, change, words",
    [
        (Linf(0.1), lambda x: (x + 0.101).clamp(0, 1), r"foreign left the ball on 5 of 5 .* L∞ .*= 0.101, but"),
        (L2(0.1), lambda x: (x + 0.03).clamp(0, 1), r"left the ball .* = 0.12, but L2 ≤ 0.1 was asked"),
        (L1(0.1), lambda x: (x + 0.01).clamp(0, 1), "left the ball .* = 0.16"),
        (L0(15), lambda x: (x + 0.01).clamp(0, 1), "left the ball .* = 16"),
        (Linf(torch.tensor([0.3, 0.3, 0.3, 0.1, 0.3, 0.3])), lambda x: (x + 0.2).clamp(0, 1), "on 1 of 5 .*= 0.2"),
        (Linf(0.5), lambda x: x + 0.5, r"pixels from 0.6 to 1.2; expected \[0, 1\].*clamp"),
        (Linf(0.5), lambda x: x * torch.nan, "pixels from nan"),
        (Linf(0.5), lambda x: x[:1], r"torch.float32 \(1, 1, 4, 4\); expected images like its own.*\(5, 1, 4, 4\)"),
        (Linf(0.5), lambda x: (x, 3), "returned tuple; expected images"),
        (Linf(0.5), lambda x: x.int(), "returned torch.int32"),
    ],
)
def test_what_a_foreign_attack_returns_is_checked_before_it_counts(within, change, words):
    with pytest.raises(ValueError, match=words):
        robust_accuracy(Brightness(), X, Y, within, attack=returns(change))


def test_a_curve_checks_it_too():
    with pytest.raises(ValueError, match="foreign left the ball on 5 of 6"):
        curve(Brightness(), X, Y, returns(lambda x: (x + 0.2).clamp(0, 1)), [0, 0.1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("norm, eps", [(Linf, 0.03), (L2, 0.2), (L1, 1.0)])
def test_rounding_is_forgiven(dtype, norm, eps):
    """An attack that adds a perturbation of exactly ε in its own dtype has done nothing wrong."""
    x = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0)).mul(0.6).add(0.2).to(dtype)
    within, model = norm(eps), nn.Sequential(nn.Flatten(), nn.Linear(768, 3)).to(dtype)
    delta = torch.sign(torch.randn(x.shape, generator=torch.Generator().manual_seed(1)))
    delta = (delta * eps / within.size(delta).view(-1, 1, 1, 1)).to(dtype)
    y = model(x).argmax(1)
    assert 0 <= robust_accuracy(model, x, y, within, attack=returns(lambda x: x + delta)) <= 1


# -- dtypes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("within", [Linf(0.03), L2(0.3), L1(0.6)], ids=str)
def test_robust_accuracy_in_half_precision(dtype, within):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5))
    x = torch.rand(12, 3, 8, 8)
    y = model(x).argmax(1)
    full = robust_accuracy(model, x, y, within, queries=60)
    half = robust_accuracy(copy.deepcopy(model).to(dtype), x.to(dtype), y, within, queries=60)
    assert 0 < full < 1 and abs(half - full) <= 2 / 12


@pytest.mark.parametrize(
    "call",
    [
        lambda model, x, y: robust_accuracy(model, x, y, Linf(0.1)),
        lambda model, x, y: attacks.pgd(model, x, y, Linf(0.1)),
        lambda model, x, y: attacks.deepfool(model, x, y),
        lambda model, x, y: attacks.square(model, x, y, Linf(0.1), queries=5),
        lambda model, x, y: accuracy(model, x, y),
    ],
    ids=["robust_accuracy", "pgd", "deepfool", "square", "accuracy"],
)
@pytest.mark.parametrize("layer", [nn.Flatten, lambda: nn.Conv2d(1, 1, 1)], ids=["linear", "conv"])
def test_images_of_another_dtype_than_the_models_are_named(call, layer):
    model = nn.Sequential(layer(), nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(TypeError, match=r"x has dtype float64, but the model's parameters are float32; .*float32\)"):
        call(model, X.double(), Y)


def test_a_model_that_converts_its_images_takes_any():
    class Converts(nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1).float())

    assert robust_accuracy(Converts(16, 2), X.double(), Y, Linf(0.1), queries=5) <= 1
