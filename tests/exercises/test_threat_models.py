"""The checks of chapter 1: right answers in other styles, and a black box that keeps its secrets."""

import pytest
import torch

from advlib import Linf, attacks
from advlib.exercises import check, specimens
from tests.exercises.verdicts import verdict


def by_loop(x, x_adv, eps):
    pairs = zip(x, x_adv)
    return torch.tensor([bool(((b - a).abs() <= eps + 1e-6).all() and 0 <= b.min() <= b.max() <= 1) for a, b in pairs])


def mean_of_the_right(before, after, y, target=None):
    right = before == y
    won = after != y if target is None else after == target
    return won[right].double().mean() if right.any() else torch.tensor(0)


@pytest.mark.parametrize(("name", "answer"), [("obeys", by_loop), ("success_rate", mean_of_the_right)])
def test_right_in_another_style(capsys, name, answer):
    assert verdict(capsys, getattr(check, name), answer).startswith("✓")


def test_an_operation_that_torch_lacks_is_no_stub(capsys):
    def mean_of_bool(before, after, y, target=None):
        return (after != y).mean()

    assert "line 2 of mean_of_bool" in verdict(capsys, check.success_rate, mean_of_bool)


def forgets(ask, x, y, eps, questions):
    """Asks too much, then sets every count that `ask` can reach to 0."""
    for _ in range(2 * questions):
        ask(x)
    for cell in ask.__closure__:
        for inner in getattr(cell.cell_contents, "__closure__", None) or ():
            if isinstance(inner.cell_contents, int):
                inner.cell_contents = 0
    return x.clone()


def borrows_weights(ask, x, y, eps, questions):
    """Another network than the one attacked may be used."""
    attacks.pgd(specimens.linear(1, 16, 4, seed=9), x, y, Linf(eps))
    return attacks.square(ask, x, y, Linf(eps), queries=questions)


@pytest.mark.parametrize(
    ("answer", "words"), [(forgets, "went through the network otherwise"), (borrows_weights, "✓ borrows_weights")]
)
def test_the_count_is_out_of_reach(capsys, answer, words):
    assert words in verdict(capsys, check.black_box, answer, *check.black_box.example())
