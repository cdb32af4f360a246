"""The one trainer."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from advlib.data.images import Images
from advlib.defenses.training import Epoch, fit


def stripes(n=96, seed=0):
    """Two classes that differ in one pixel."""
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.rand(n, 1, 4, 4, generator=generator), torch.arange(n) % 2
    x[:, 0, 0, 0] = 0.2 + 0.6 * y
    return Images(x, y, ("dark", "bright"))


def net(seed=0, dropout=0.0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 2)
        )


def train(model, images=None, **changes):
    usual = {"epochs": 12, "lr": 0.02, "batch_size": 16, "progress": False}
    return fit(model, images or stripes(), **usual | changes)


def test_it_learns_and_tells_how_it_went():
    model = net()
    history = train(model)
    assert len(history) == 12 and isinstance(history[0], Epoch)
    assert history[-1].loss < 0.5 * history[0].loss and history[-1].accuracy > 0.9
    assert not model.training
    images = stripes(seed=1)
    assert (model(images.x).argmax(1) == images.y).float().mean() > 0.9


def test_the_history_is_a_mean_over_all_images_whatever_the_batches():
    images = stripes(n=50)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        logits = model(images.x)
        right = (logits.argmax(1) == images.y).float().mean().item()
    (epoch,) = train(model, images, epochs=1, lr=1e-12)
    assert epoch == pytest.approx((F.cross_entropy(logits, images.y).item(), right), abs=1e-4)


def test_the_same_seed_gives_the_same_weights_and_another_seed_does_not():
    made = []
    for seed in (0, 0, 1):
        torch.rand(seed + 1)  # the global state must not matter
        made.append(net(dropout=0.5))
        train(made[-1], epochs=2, seed=seed)
    first, again, other = (torch.cat([p.flatten() for p in model.parameters()]) for model in made)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    train(net(dropout=0.5), epochs=1)
    assert torch.equal(before, torch.get_rng_state())


def test_perturb_sees_the_model_and_every_batch_and_decides_what_is_learnt():
    model, seen = net(), []

    def blank(asked, x, y):
        assert asked is model
        seen.append(len(x))
        return torch.full_like(x, 0.5)

    history = train(model, perturb=blank, epochs=3)
    assert seen == [16] * 18
    assert history[-1].accuracy < 0.7, "it learnt from the unperturbed images"


def test_adversarial_training_withstands_what_ordinary_training_does_not():
    from advlib.attacks import fgsm
    from advlib.norms import Linf

    def attack(model, x, y):
        return fgsm(model, x, y, Linf(0.25))

    images, robust = stripes(n=256), []
    for perturb in (None, attack):
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
        train(model, images, epochs=8, perturb=perturb)
        robust.append((model(attack(model, images.x, images.y)).argmax(1) == images.y).float().mean().item())
    assert robust[1] > robust[0] + 0.2, robust


def test_every_epoch_can_have_images_of_its_own():
    asked = []

    def fresh(epoch):
        asked.append(epoch)
        return stripes(seed=epoch)

    history = train(net(), fresh, epochs=4)
    assert asked == [0, 1, 2, 3] and history[-1].accuracy > history[0].accuracy


def test_another_loss_can_be_asked_for():
    def one_hot_squares(logits, y):
        return F.mse_loss(logits, F.one_hot(y, 2).float())

    assert train(net(), loss=one_hot_squares)[-1].loss < 0.25


def test_weights_that_blow_up_are_reported_not_returned():
    with pytest.raises(ValueError, match="loss became nan in epoch 1/12.*lower learning rate"):
        train(net(), loss=lambda logits, y: logits.sum() * float("nan"))


@pytest.mark.parametrize(
    "changes, error, message",
    [
        ({"epochs": 0}, ValueError, "epochs"),
        ({"epochs": 1.5}, TypeError, "epochs"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"lr": 0}, ValueError, "lr"),
        ({"lr": float("nan")}, ValueError, "lr"),
    ],
)
def test_bad_arguments_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        train(net(), **changes)


def test_images_must_be_images_and_models_models():
    with pytest.raises(TypeError, match="Images"):
        fit(net(), stripes().x, epochs=1)
    with pytest.raises(TypeError, match="nn.Module"):
        fit("signs-cnn", stripes(), epochs=1)


@pytest.mark.parametrize("progress", [True, False])
def test_the_progress_bar_can_be_switched_off(progress, capsys, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    train(net(), epochs=2, progress=progress)
    assert ("epoch 2/2" in capsys.readouterr().err) == progress


def test_a_lone_image_left_over_does_not_stop_batch_norm():
    assert len(train(net(), stripes(n=33), epochs=1)) == 1
