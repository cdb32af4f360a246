"""What adversarial training changes: attacks with another start each time, TRADES, noise."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from advlib.attacks import pgd
from advlib.data.images import Images
from advlib.defenses.adversarial import Climb, Divergence, Noise, Reseeded, Trades, divergence
from advlib.defenses.training import fit
from advlib.losses import log_odds
from advlib.norms import L2, Linf


@pytest.fixture
def problem():
    """A small network with batch norm, images and labels."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(6 * 36, 4)
    )
    return model.train(), torch.rand(9, 2, 8, 8), torch.arange(9) % 4


@pytest.mark.parametrize("within", [Linf(0.1), L2(0.7)])
@pytest.mark.parametrize("kind", [Climb, Divergence])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_climb_stays_in_the_ball_and_the_box_and_leaves_the_model_alone(problem, kind, within, steps):
    model, x, y = problem
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x_adv = kind(within, steps, 0.8)(model, x, y)
    assert (within.size(x_adv - x) <= within.eps + 1e-6).all() and x_adv.min() >= 0 and x_adv.max() <= 1
    assert not x_adv.requires_grad and model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_each_batch_starts_elsewhere_and_the_global_seed_decides_where(problem):
    model, x, y = problem
    perturb = Climb(Linf(0.1), 1, 0.01)
    torch.manual_seed(3)
    first, second = perturb(model, x, y), perturb(model, x, y)
    torch.manual_seed(3)
    assert torch.equal(perturb(model, x, y), first)
    assert (first - second).abs().mean() > 0.02


def test_a_climb_is_the_textbooks_pgd(problem):
    model, x, y = problem
    model.eval()
    torch.manual_seed(5)
    mine = Climb(Linf(0.1), 3, 0.5)(model, x, y)
    torch.manual_seed(5)
    seed = int(torch.randint(2**31, ()))
    settings = {"momentum": 0, "keep": "last", "early_stop": False, "loss": log_odds}
    assert torch.allclose(mine, pgd(model, x, y, Linf(0.1), steps=3, step=0.05, seed=seed, **settings), atol=1e-6)


def test_more_steps_climb_higher(problem):
    model, x, y = problem
    model.eval()
    torch.manual_seed(0)
    value = lambda x: log_odds(model(x), y).mean()
    one, ten = (value(Climb(Linf(0.05), *how)(model, x, y)) for how in ((1, 0.3), (10, 0.3)))
    assert value(x) < one < ten


def test_divergence_is_pytorchs_kl(problem):
    a, b = torch.randn(2, 5, 4)
    expected = F.kl_div(b.log_softmax(1), a.log_softmax(1), reduction="none", log_target=True).sum(1)
    assert torch.allclose(divergence(a, b), expected, atol=1e-6)
    model, x, y = problem
    model.eval()
    torch.manual_seed(0)
    start = x + Linf(0.05).sample(x, torch.Generator().manual_seed(1))
    far = Divergence(Linf(0.05), 5, 0.5)(model, x, y)
    assert divergence(model(x), model(far)).mean() > 2 * divergence(model(x), model(start)).mean()


def test_trades_is_its_equation(problem):
    model, x, y = problem
    model.eval()
    x_adv = (x + 0.1).clamp(0, 1)
    value, logits = Trades(3.0)(model, x, x_adv, y)
    clean, attacked = model(x).softmax(1), model(x_adv).softmax(1)
    expected = F.nll_loss(clean.log(), y) + 3 * (clean * (clean / attacked).log()).sum(1).mean()
    assert value.item() == pytest.approx(expected.item(), abs=1e-5) and torch.equal(logits, model(x_adv))
    assert Trades(0.0)(model, x, x_adv, y)[0].item() == pytest.approx(F.cross_entropy(model(x), y).item(), abs=1e-6)


def test_trades_training_trades_accuracy_for_robustness():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(512) % 2
    x = torch.rand(512, 1, 4, 4, generator=generator)
    # One pixel that tells a little and withstands the attack, and many that tell much and do not.
    x = (0.5 + 0.1 * (x - 0.5) + 0.08 * (2 * y - 1)[:, None, None, None]).clamp(0, 1)
    x[:, 0, 0, 0] = torch.where(torch.rand(512, generator=generator) < 0.75, y, 1 - y).float()
    images, within, reached = Images(x, y, ("a", "b")), Linf(0.1), []
    for beta in (0.0, 6.0):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
        settings = {"perturb": Divergence(within, 2, 0.75), "objective": Trades(beta), "progress": False}
        fit(model, images, epochs=15, lr=0.1, batch_size=32, **settings)
        x_adv = pgd(model, x, y, within, steps=5)
        reached.append([(model(images).argmax(1) == y).float().mean().item() for images in (x, x_adv)])
    (clean, robust), (trades_clean, trades_robust) = reached
    assert clean > trades_clean + 0.1 and trades_robust > robust + 0.1, reached


def test_noise_has_its_size_and_is_not_cut(problem):
    x = torch.zeros(50, 3, 8, 8)
    torch.manual_seed(0)
    first, second = Noise(0.25)(None, x, None), Noise(0.25)(None, x, None)
    assert first.std() == pytest.approx(0.25, abs=0.01) and first.min() < -0.5
    assert not torch.equal(first, second)


def test_an_attack_of_the_library_gets_another_seed_each_time(problem):
    model, x, y = problem
    seeds = []

    def attack(model, x, y, within, *, steps, seed):
        seeds.append(seed)
        assert within == Linf(0.1) and steps == 4
        return x

    perturb = Reseeded(attack, Linf(0.1), steps=4)
    for _ in range(5):
        perturb(model, x, y)
    assert len(set(seeds)) == 5
    assert repr(perturb) == "Reseeded(attack, Linf(eps=0.1), steps=4)"


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: Climb(0.1), TypeError, "ball"),
        (lambda: Climb(Linf(0.1), 0), ValueError, "steps"),
        (lambda: Climb(Linf(0.1), 1, 0.0), ValueError, "step"),
        (lambda: Trades(-1.0), ValueError, "beta"),
        (lambda: Noise(0.0), ValueError, "sigma"),
    ],
)
def test_bad_settings_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
