"""The report card: every figure is what its own function gives, and no more attacks run than must."""

import pytest
import torch
from torch import nn

from advlib.attacks import worst_case
from advlib.data import load_images
from advlib.evaluate import accuracy, robust_accuracy
from advlib.models import load_model
from advlib.norms import L0, L1, L2, Linf
from advlib.report_card import _standing, report_card

SMALL = {Linf: (1 / 255, 4 / 255), L2: (0.2, 0.5), L1: (2.0,), L0: (4,)}


@pytest.fixture(scope="module")
def signs():
    return load_images("signs", "test", n=48)


@pytest.fixture(scope="module")
def card(signs):
    return report_card(load_model("signs-linear"), signs, name="signs-linear", eps=SMALL, queries=20)


@pytest.mark.thorough
def test_its_shares_are_those_of_the_functions_it_names(card, signs):
    model = load_model("signs-linear")
    assert card.clean == pytest.approx(accuracy(model, signs.x, signs.y)) and card.n == card.clean.n == 48
    assert list(card.worst) == ["L∞", "L2", "L1", "L0"]
    alone = robust_accuracy(model, signs.x, signs.y, Linf(4 / 255), attack=worst_case, queries=20)
    assert card.worst["L∞"][4 / 255] == alone and alone.n == 48


@pytest.mark.thorough
def test_what_is_proved_is_less_than_what_stands(card):
    """On a linear model intervals are exact, and so is PGD: the two bounds meet."""
    assert card.proved["interval"] == card.worst["L∞"][1 / 255] <= card.clean


@pytest.mark.thorough
def test_the_smallest_changes_agree_with_the_worst_case(card):
    right = round(card.clean * card.n)
    assert len(card.smallest["L∞"]) == right and list(card.smallest["L∞"]) == sorted(card.smallest["L∞"])
    larger = sum(size > 4 / 255 for size in card.smallest["L∞"])
    assert larger >= round(card.worst["L∞"][4 / 255] * card.n)


@pytest.mark.thorough
def test_it_is_a_text_a_page_and_a_picture(card):
    text = str(card)
    for part in (
        "Report card of signs-linear, 48 images",
        "L∞ ≤ 4/255",
        "by interval",
        "median",
        "noise, σ = 0.05",
        "queries=20",
    ):
        assert part in text
    assert all(f"  {what}  " in text for _, rows in card.sections() for what, _ in rows), "words touch their figure"
    page = card.page()
    assert page.startswith("<!doctype html>") and "data:image/png;base64," in page and "L∞ ≤ 4/255" in page
    assert len(card.figure().axes) == 4 and "L∞: " in card.alt


def test_a_model_that_nothing_can_look_into_gets_no_proof(signs):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = load_model("signs-linear")

        def forward(self, x):
            return self.model(x.detach())

    card = report_card(Own(), signs, eps={Linf: (1 / 255,), L1: (2.0,)}, queries=5)
    assert not card.proved and "Own" in card.not_proved and "nothing" in str(card)
    assert "a cut gradient" in str(card) and list(card.worst) == ["L∞"] and not card.smallest


def test_the_balls_are_tried_from_both_ends_and_only_where_it_is_open():
    smallest = torch.tensor([0.5, 1.5, 2.5, 3.5])  # what it takes to fool each image
    asked = []

    def attacked(within, rows):
        asked.append((within.eps, rows.tolist()))
        return smallest[rows] > within.eps

    stand = _standing(attacked, L2, (1.0, 2.0, 3.0), torch.tensor([True, True, True, True]))
    assert [one.tolist() for one in stand] == [
        [False, True, True, True],
        [False, False, True, True],
        [False] * 3 + [True],
    ]
    assert asked == [(3.0, [0, 1, 2, 3]), (1.0, [0, 1, 2]), (2.0, [1, 2])]
