"""Two processes come to one process's figures, learn what one learns, and end together."""

import json
import os
import re
import time

import pytest
import torch
from torch import nn

from advlib import cli, distributed
from advlib.models import load_model
from tests import several


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def ended(folder):
    """How torchrun ended, of two processes the second of which raises in the end."""
    return several.launch("all", folder)


@pytest.fixture(scope="module")
def two(folder, ended):
    """What each of two processes found."""
    assert "no light in the second room" in ended.stderr, ended.stderr
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.fixture
def run(capsys):
    """Run `advlib` with these words in this process: (exit status, stdout)."""

    def run(*words):
        return cli.main([*map(str, words)]), capsys.readouterr().out

    return run


@pytest.fixture(scope="module")
def alone():
    return {"figures": several.figures(), "learnt": several.learnt()}


@pytest.mark.thorough
def test_two_processes_give_exactly_one_processs_figures(two, alone):
    figures = [one["figures"] for one in (*two, alone)]
    attacked = [one.pop("attacked here") for one in figures]
    assert attacked[0] + attacked[1] == attacked[2] and min(attacked) > 0, "the parts were not dealt out"
    assert figures[0] == figures[1] == figures[2]


@pytest.mark.thorough
def test_two_processes_learn_what_one_learns(two, alone):
    """The order is the same, and the mean of two halves' gradients is the whole's: what is left is rounding."""
    (history, weights), (theirs, others), (whole, expected) = (one["learnt"]["Identity"] for one in (*two, alone))
    assert history == theirs and all(torch.equal(weights[name], others[name]) for name in weights)
    for epoch, one in zip(history, whole):
        assert epoch[:2] == pytest.approx(one[:2], abs=1e-5)
    assert all(torch.allclose(weights[name], expected[name], atol=1e-4) for name in weights)


@pytest.mark.thorough
def test_with_batch_norm_they_learn_the_same_but_for_its_noise(two, alone):
    (history, state), (_, other), (whole, expected) = (one["learnt"]["BatchNorm1d"] for one in (*two, alone))
    assert all(torch.equal(state[name], other[name]) for name in state)
    assert [epoch[0] for epoch in history] == pytest.approx([epoch[0] for epoch in whole], abs=0.05)
    assert torch.allclose(state["2.running_mean"], expected["2.running_mean"], atol=0.1)
    assert torch.allclose(state["2.running_var"], expected["2.running_var"], rtol=0.2, atol=0.02)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "case, words",
    [
        ("other images", "process 0 was given x=.*20.* and process 1 x=.*21.*expected the same in all"),
        ("other settings", "process 0 was given epochs=1 and process 1 epochs=2"),
        ("one fails", "the second process has had enough"),
        ("too few", "batch_size is 1 for 2 processes and 9 images; expected an image for each"),
    ],
)
def test_an_error_in_one_process_is_raised_in_all(two, case, words):
    for one in two:
        assert re.search(words, one["errors"][case]), one["errors"][case]


@pytest.mark.thorough
def test_who_fails_says_why_once_and_all_end(two, ended):
    assert ended.returncode != 0 and "SIGTERM" in ended.stderr
    assert ended.stderr.count("no light in the second room") == 1 and ended.stdout.count("written: ") == 1
    assert "\nadvlib train: no light in the second room" in f"\n{ended.stderr}"


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_whoever_is_killed_ends_the_run_and_it_goes_on_to_the_same_weights(two, folder, tmp_path):
    began = time.monotonic()
    killed, resumed = (several.alone(how, tmp_path) for how in ("killed@2", "goes on"))
    assert time.monotonic() - began < 150, "who was left did not end"
    assert json.loads(killed.stdout) == [2, -9]
    assert killed.stderr.count("advlib train: ") == 1 and "has lost the others: one of them has ended" in killed.stderr
    assert resumed.stdout.count("written: ") == 1 and json.loads(resumed.stdout.splitlines()[-1]) == [0, 0]
    expected, model = (load_model(path / "out" / "quick.safetensors") for path in (folder, tmp_path))
    assert all(torch.equal(one, other) for one, other in zip(expected.parameters(), model.parameters()))
    assert model.card["made_with"]["processes"] == 2


def test_alone_nothing_is_shared_and_nothing_changes():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model[0].weight.grad = torch.ones(2, 2)
    with distributed.sharing(x=1):
        assert distributed.each(len, ["a", "bc"]) == [1, 2] and distributed.share(7) == 7
    distributed.average(model, 0.5)
    value = torch.tensor(2.0)
    assert distributed.mean(value, 3) is value and torch.equal(model[0].weight.grad, torch.ones(2, 2))
    assert distributed.everyone("me") == ["me"] and distributed.total([1.5]) == [1.5]
    assert (distributed.rank(), distributed.world(), distributed.launched()) == (0, 1, False)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs: NCCL has one for each process")
def test_two_gpus_give_one_gpus_figures(run):
    words = ("report", "signs-linear", "--device", "cuda", "--images", 24, "--queries", 2, "--batch-size", 8)
    done = several.launch(*words, module="advlib")
    told = lambda text: [line for line in text.splitlines() if "of processor time" not in line]
    assert done.returncode == 0 and told(done.stdout) == told(run(*words)[1]), done.stderr
