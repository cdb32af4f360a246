"""The losses' checks: right answers in other styles, and wrong ones of which only what is seen can be told."""

import pytest
import torch
from torch.nn import functional as F

from advlib.exercises import check
from tests.exercises.verdicts import verdict

rows = torch.arange


def by_rows(z):
    return torch.stack([row.max() + (row - row.max()).exp().sum().log() for row in z])


def of_differences(z, y):
    return (z - z.gather(1, y[:, None])).logsumexp(1)


def without_the_column(z, y):
    kept = F.one_hot(y, z.shape[1]) == 0
    return z[kept].view(len(z), -1).logsumexp(1) - z.gather(1, y[:, None]).squeeze(1)


RIGHT = [
    ("logsumexp", by_rows),
    ("cross_entropy", of_differences),
    ("cross_entropy", lambda z, y: -(F.one_hot(y, z.shape[1]) * z.log_softmax(1)).sum(1)),
    ("log_odds", without_the_column),
    ("log_odds", lambda z, y: (z - 1e9 * F.one_hot(y, z.shape[1])).logsumexp(1) - z[rows(len(z)), y]),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_right_in_another_style(capsys, name, answer):
    assert verdict(capsys, getattr(check, name), answer).startswith("✓")


SEEN = [
    ("logsumexp", lambda z: torch.logsumexp(z, 1), "it calls torch's own logsumexp"),
    ("logsumexp", lambda z: by_rows(z)[:, None] - by_rows(z), "(N, 1) combined with (N,) gives (N, N)"),
    ("logsumexp", lambda z: by_rows(z).squeeze(), "squeeze() takes off every dimension of size 1"),
    ("logsumexp", lambda z: by_rows(z.float()), "in float64 the result is float32"),
    ("cross_entropy", lambda z, y: of_differences(z, y)[:, None], "take off the second dimension at the end"),
    ("cross_entropy", lambda z, y: of_differences(z, y) + 0.5, "7 of 7 values differ from the formula"),
    ("cross_entropy", lambda z, y: of_differences(z, y) + 0 * (z - z).sqrt().sum(1), "entries are NaN or infinite"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "words"), SEEN)
def test_what_is_seen_is_said(capsys, name, answer, words):
    assert words in verdict(capsys, getattr(check, name), answer)


def test_the_factor_may_come_in_a_tensor(capsys):
    z, y = check.flat_factor.example()
    factor = torch.tensor([check.flat_factor.right(z, y)])
    assert verdict(capsys, check.flat_factor, factor, z, y).startswith("✓")


def test_what_was_counted_instead_is_seen_where_its_share_is_reached(capsys):
    z, y = check.flat_factor.example()
    steps = (k / 20 for k in range(1, 400))
    factor = next(s for s in steps if (F.cross_entropy(s * z, y, reduction="none") == 0).float().mean() >= 0.5)
    assert "have a loss of 0 and no slope" in verdict(capsys, check.flat_factor, 1.01 * factor, z, y)
