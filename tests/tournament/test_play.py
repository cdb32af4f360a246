"""A whole tournament: what is handed in is played, scored, kept, and played again only where something changed."""

import json

import pytest
import torch
from torch import nn

from advlib import load_model, tournament
from advlib.norms import Linf
from advlib.tournament import cell


def my_fgsm(model, x, y, within):
    x = x.requires_grad_()
    gradient = torch.autograd.grad(nn.functional.cross_entropy(model(x), y), x)[0]
    return (x + within.eps * gradient.sign()).clamp(0, 1).detach()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    tournament.submit_attack(folder, "ada", my_fgsm)
    tournament.submit_model(folder, "bob", load_model("signs-patches"), "signs-patches")
    tournament.submit_model(folder, "cyd", load_model("signs-linear"), "signs-linear")
    return folder


SETTINGS = dict(images=8, within=Linf(2 / 255), seed=3, seconds=20, progress=False)


@pytest.fixture(scope="module")
def result(folder):
    return tournament.play(folder, **SETTINGS)


def test_all_meet_all_and_the_house_plays(result):
    pairs = {(match.defense, match.attack) for match in result.matches}
    assert len(pairs) == len(result.matches) == 3 * 4
    assert {one.team for one in result.scores if one.house} == {"signs-cnn", "signs-robust", *cell.HOUSE_ATTACKS}


def test_who_reads_too_few_clean_images_scores_zero_and_is_not_attacked(result):
    cyd = result.of("cyd")
    assert (cyd.score, cyd.matches) == (0, 0) and 0 < cyd.clean < 0.8
    assert cyd.notes == (f"it reads {cyd.clean:.0%} of the clean signs; at least 80% are asked for",)


def test_an_attack_that_does_what_fgsm_does_takes_its_two_passes(result):
    assert result.of("ada", "attack").passes_per_image == result.of("fgsm", "attack").passes_per_image == 2
    assert result.of("worst_case", "attack").place == 1


def test_a_defence_scores_what_stands_after_every_attack(result):
    for one in (score for score in result.scores if score.side == "defense" and score.matches):
        met = [match for match in result.matches if match.defense == one.team]
        stands = sum(all(match.right[i] for match in met) for i in range(8))
        assert one.score == stands / 8 <= one.clean and one.low <= one.score <= one.high
    assert result.of("signs-robust").place == 1


def test_what_was_played_is_read(folder, result, monkeypatch):
    monkeypatch.setattr("advlib.tournament.warden.Warden.ask", lambda *_: pytest.fail("played again"))
    assert tournament.play(folder, **SETTINGS) == result


def test_the_same_seed_gives_the_same_scores(folder, result, tmp_path):
    for match in (folder / "results" / "matches").iterdir():
        kept = json.loads(match.read_text())
        if kept["defense"] == "bob":
            match.unlink()
    again = tournament.play(folder, **SETTINGS)
    without_cost = lambda one: [(s.side, s.team, s.score, s.clean, s.passes_per_image) for s in one.scores]
    assert without_cost(again) == without_cost(result)


def test_the_files(folder, result):
    assert (folder / "results" / "scores.csv").read_text().splitlines()[0].startswith("place,side,team")
    assert "ada" in (folder / "results" / "index.html").read_text()
    assert not list((folder / "results").rglob(".writing*"))
