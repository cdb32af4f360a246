"""The benchmarks run, and compare like with like; how long anything takes is none of a test's business."""

import pytest
import torch

from advlib.attacks import bim, fgsm
from advlib.models import nets
from advlib.norms import Linf
from tests.benchmarks import measure, peers
from tests.benchmarks.sections import SECTIONS, Scale

TINY = Scale(share=0.01, steps=2, repeats=1, images=4, batches=(2, 4), queries=20)


@pytest.mark.thorough
@pytest.mark.parametrize("name", SECTIONS)
def test_each_section_gives_a_table(name):
    text = SECTIONS[name](TINY)
    if "nothing measured" in text:
        pytest.skip(text)
    lines = text.splitlines()
    assert len(lines) > 2 and len({line.count("|") for line in lines}) == 1


@pytest.mark.parametrize("name", ["torchattacks", "foolbox"])
def test_peers_take_the_same_steps_as_we_do(name):
    if name not in peers.installed():
        pytest.skip(f"{name} is not installed; `make bench` installs it")
    model, x, y = nets.mnist_cnn().eval(), torch.rand(3, 1, 28, 28), torch.tensor([0, 1, 2])
    peer = peers.installed()[name]
    theirs = [peer(model, x, y, 0.1, 0.1, 1, False), peer(model, x, y, 0.1, 0.02, 3, False)]
    ours = [
        fgsm(model, x, y, Linf(0.1)),
        bim(model, x, y, Linf(0.1), steps=3, step=0.02, early_stop=False, keep="last", fast=False),
    ]
    for there, here in zip(theirs, ours):
        # The rest are gradients too small for a sign.
        assert ((there - here).abs() < 1e-5).float().mean() > 0.999


def test_times_are_medians_of_runs_that_take_turns():
    calls = []
    seconds = measure.times({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=3)
    assert calls == ["a", "b"] * 3 and set(seconds) == {"a", "b"}


def test_a_table_is_markdown():
    assert measure.table(["x", "y"], [["a", "1"]]) == "| x | y |\n| --- | --: |\n| a | 1 |"
    assert "torch" in measure.machine()
