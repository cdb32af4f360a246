"""Counting right: accuracies, intervals, the report and the curve."""

import pytest
import scipy.stats
import torch
from torch import nn

from advlib import attacks
from advlib.evaluate import Curve, accuracy, curve, interval, report
from advlib.norms import L2


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


def test_curve_prints_a_line_per_eps():
    seen = Curve(eps=(0.0, 8 / 255), accuracy=(1.0, 0.25), low=(0.9, 0.1), high=(1.0, 0.4))
    assert str(seen) == "ε = 0: 100.0% (90.0% to 100.0%)\nε = 8/255: 25.0% (10.0% to 40.0%)"
