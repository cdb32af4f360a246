"""The checklist of gradient masking: every planted bad defence is flagged for its reason, no honest network is."""

import math

import pytest
import torch
from torch import nn

from advlib.data import load_images
from advlib.defenses.training import fit
from advlib.evaluate import sanity_checks
from advlib.models import load_model
from advlib.norms import L0, L1, L2, Linf


class Around(nn.Module):
    """A network with something done before or behind it."""

    def __init__(self, model, forward):
        super().__init__()
        self.model, self.does = model, forward

    def forward(self, x):
        return self.does(self.model, x)


def resized(model, x):
    size = int(torch.randint(40, 48, ()))
    return model(nn.functional.pad(nn.functional.interpolate(x, size=(size, size)), (0, 48 - size, 0, 48 - size)))


SMALL = {"steps": 15, "queries": 150}
PLANTED = {
    "logits times 100": (lambda m, x: 100 * m(x), "a softmax that rounds"),
    "saturated softmax": (lambda m, x: (torch.softmax(100 * m(x), 1) + 1e-12).log(), "gradients of exactly zero"),
    "input of 3 bits": (lambda m, x: m((x * 7).round() / 7), "a rounded input"),
    "input of 8 bits": (lambda m, x: m((x * 255).round() / 255), "a rounded input"),
    "rounded, passed straight through": (lambda m, x: m(x + ((x * 7).round() / 7 - x).detach()), "a rounded input"),
    "detached output": (lambda m, x: m(x).detach(), "a cut gradient"),
    "resized by chance": (resized, "answers by chance"),
    "less the batch's mean": (lambda m, x: m(x) - m(x).mean(0), "answers depend on the batch"),
}
# What else is seen, rightly, where a gradient is gone: chance, questions and a change without limit say so too.
ALSO = {
    "gradients of exactly zero",
    "no limit, and no success",
    "random points beat the gradient",
    "questions beat the gradient",
}


@pytest.fixture(scope="module")
def signs():
    return load_images("signs", "test", n=64)


def names(found):
    return {check.name for check in found.flagged}


@pytest.mark.thorough
@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_defence_is_flagged_for_its_reason(planted, signs):
    forward, reason = PLANTED[planted]
    found = names(
        sanity_checks(Around(load_model("signs-midfit-a"), forward), signs.x, signs.y, Linf(4 / 255), **SMALL)
    )
    assert reason in found
    assert found - {reason} <= ALSO


def ripple(waves, height, wave=torch.sin):
    return lambda m, x: m(x + height * wave(2 * math.pi * waves * x))


def triangle(phase):
    return 2 / math.pi * torch.asin(0.999 * torch.sin(phase))


RIPPLES = {
    "100 waves": ripple(100, 0.01),
    "1000 waves": ripple(1000, 0.002),
    "30 waves": ripple(30, 0.02),
    "of low waves": ripple(100, 0.003),
    "of triangles": ripple(40, 0.02, triangle),
    "on a ripple": lambda m, x: ripple(100, 0.01)(lambda x: ripple(300, 0.003)(m, x), x),
}


@pytest.mark.thorough
@pytest.mark.parametrize("planted", RIPPLES)
def test_a_ripple_before_a_robust_network_is_flagged_as_what_it_is(planted, signs):
    """PGD leaves up to three times as many as past the ripple, and no other sign is sure to be seen."""
    model = Around(load_model("signs-trades"), RIPPLES[planted])
    assert "a shattered gradient" in names(sanity_checks(model, signs.x[:40], signs.y[:40], Linf(8 / 255), **SMALL))


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["signs-robust", "signs-trades"])
def test_a_gradient_that_keeps_its_direction_is_not_called_shattered(name, signs):
    """Nor is a slow wave, behind which PGD finds what there is."""
    for model in (load_model(name), Around(load_model(name), ripple(4, 0.03))):
        for seed in (0, 1):
            found = sanity_checks(model, signs.x[:32], signs.y[:32], Linf(8 / 255), steps=10, queries=1, seed=seed)
            assert "a shattered gradient" not in names(found)


@pytest.mark.parametrize("name, eps", [("signs-linear", 4), ("signs-midfit-a", 4), ("signs-decayed-b", 2)])
def test_an_honest_network_shows_no_sign(name, eps, signs):
    assert names(sanity_checks(load_model(name), signs.x, signs.y, Linf(eps / 255), **SMALL)) == set()


@pytest.mark.thorough
@pytest.mark.parametrize("name, eps", [("advtrained", 0.3), ("clntrained", 0.1)])
def test_networks_of_other_origin_show_none(lenet, mnist, name, eps):
    assert names(sanity_checks(lenet(name), *mnist(100), Linf(eps), **SMALL)) == set()


@pytest.mark.thorough
def test_a_model_that_overfits_one_step_is_flagged():
    """FGSM training without a random start at ε = 0.3 on digits: it stands one step and nothing else."""

    def one_step(model, x, y):
        x = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(nn.functional.cross_entropy(model(x), y), x)
        return (x + 0.3 * grad.sign()).clamp(0, 1).detach()

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(32 * 49, 100), nn.ReLU(), nn.Linear(100, 10),
        )  # fmt: skip
    fit(model, load_images("mnist", "train", n=10_000), epochs=6, perturb=one_step, progress=False)
    digits = load_images("mnist", "test", n=100)
    assert names(sanity_checks(model, digits.x, digits.y, Linf(0.3), **SMALL)) == {"stands one step only"}


@pytest.mark.thorough
@pytest.mark.parametrize("ball", [L2(0.3), L1(3.0), L0(5)], ids=str)
def test_every_norm_is_looked_at(ball, signs):
    found = sanity_checks(load_model("signs-linear"), signs.x, signs.y, ball, steps=10, queries=20)
    assert len(found.checks) == 13 and all(check.evidence for check in found.checks)


def test_it_prints_what_was_seen_and_leaves_chance_alone(signs):
    model = Around(load_model("signs-linear"), lambda m, x: m(x).detach())
    state = torch.get_rng_state()
    found = sanity_checks(model, signs.x, signs.y, Linf(2 / 255), steps=2, queries=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert "✗ a cut gradient: the logits do not depend differentiably on the image\n    Gradient attacks" in str(found)
    assert str(found).startswith(found.verdict) and found.verdict.endswith(f"on {found.n} images.")
    assert "<caption>" in found._repr_html_() and "✗ seen" in found._repr_html_()


def test_too_few_images_are_refused(signs):
    with pytest.raises(ValueError, match="is right on .* of 5 images; expected at least 20"):
        sanity_checks(load_model("signs-linear"), signs.x[:5], signs.y[:5], Linf(2 / 255))
