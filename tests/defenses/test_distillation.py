"""Distillation: what a student learns, and why its gradients seem to vanish."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from advlib.data.images import Images
from advlib.defenses.distillation import AtTemperature, Taught, distill, heat
from advlib.defenses.training import fit
from advlib.losses import log_odds

T = 50.0


@pytest.fixture(scope="module")
def taught():
    """Images, a teacher trained on them and its student."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(256, 1, 4, 4, generator=generator), torch.arange(256) % 3
    x[:, 0, 0, :3] = 0.3 + 0.4 * F.one_hot(y, 3)
    images = Images(x, y, ("a", "b", "c"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        teacher, student = (nn.Sequential(nn.Flatten(), nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 3)) for _ in "ab")
    settings = {"epochs": 15, "lr": 0.02, "batch_size": 32, "progress": False}
    fit(heat(teacher, T), images, loss=AtTemperature(T), **settings)
    history = distill(teacher, student, images, temperature=T, **settings)
    return images, teacher, student, history


def test_the_student_learns_what_the_teacher_knows(taught):
    images, teacher, student, history = taught
    assert history[-1].accuracy > 0.95
    agree = student(images.x).argmax(1) == teacher(images.x).argmax(1)
    assert agree.float().mean() > 0.95


def test_its_probabilities_round_to_one_and_its_log_odds_do_not(taught):
    images, _, student, _ = taught
    x, y = images.x, images.y
    with torch.no_grad():
        logits = student(x)
    certain = lambda logits: (logits.softmax(1).gather(1, y[:, None]) == 1).float().mean()
    assert certain(logits) > 0.9 and certain(logits / T) == 0
    assert len(log_odds(logits, y).unique()) > 250, "each image keeps a value of its own to climb"


def test_taught_is_its_equation_and_does_not_look_at_labels(taught):
    images, teacher, student, _ = taught
    x, y = images.x[:20], images.y[:20]
    value, logits = Taught(teacher, T)(student, x, x, y)
    soft, own = (teacher(x) / T).softmax(1), (student(x) / T).log_softmax(1)
    assert value.item() == pytest.approx(-(soft * own).sum(1).mean().item(), abs=1e-6)
    assert torch.equal(logits, student(x))
    assert Taught(teacher, T)(student, x, x, 2 - y)[0] == value
    value.backward()
    assert all(p.grad is None for p in teacher.parameters())
    student.zero_grad(set_to_none=True)


def test_heating_scales_the_logits_and_nothing_else():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    before, x = copy.deepcopy(model), torch.rand(5, 1, 4, 4)
    assert heat(model, 30.0) is model
    assert torch.allclose(model(x), 30 * before(x), atol=1e-4) and torch.equal(model[1].weight, before[1].weight)
    with pytest.raises(ValueError, match="no nn.Linear"):
        heat(nn.Conv2d(1, 2, 3), 30.0)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_is_positive(temperature):
    with pytest.raises(ValueError, match="temperature"):
        heat(nn.Linear(2, 2), temperature)
    with pytest.raises(ValueError, match="temperature"):
        AtTemperature(temperature)
    with pytest.raises(ValueError, match="temperature"):
        Taught(nn.Linear(2, 2), temperature)
