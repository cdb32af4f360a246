"""The one trainer."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from advlib.data.images import Images
from advlib.defenses import training
from advlib.defenses.adversarial import Climb, Noise, Trades
from advlib.defenses.training import Epoch, Scheduled, fit
from advlib.norms import Linf


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


def weights(model):
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


def train(model, images=None, **changes):
    """A short run, on `stripes` where no images are given."""
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
    assert epoch[:2] == pytest.approx((F.cross_entropy(logits, images.y).item(), right), abs=1e-4)


def test_the_same_seed_gives_the_same_weights_and_another_seed_does_not():
    made = []
    for seed in (0, 0, 1):
        torch.rand(seed + 1)  # the global state must not matter
        made.append(net(dropout=0.5))
        train(made[-1], epochs=2, seed=seed)
    first, again, other = (torch.cat([p.flatten() for p in model.parameters()]) for model in made)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_it_is_the_loop_that_a_textbook_would_write():
    images, model, expected = stripes(n=64), net(), net()
    train(model, images, epochs=2, seed=3)

    optimizer = torch.optim.AdamW(expected.parameters(), 0.02, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=8)
    torch.manual_seed(3)
    for _ in range(2):
        for rows in torch.randperm(64).split(16):
            optimizer.zero_grad()
            F.cross_entropy(expected(images.x[rows]), images.y[rows]).backward()
            optimizer.step()
            schedule.step()
    assert torch.equal(weights(model), weights(expected))


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
    assert history[-1].robust < 0.7, "it learnt from the unperturbed images"


def test_adversarial_training_withstands_what_ordinary_training_does_not():
    from advlib.attacks import fgsm

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
        ({"lr": float("inf")}, ValueError, "lr"),
        ({"weight_decay": -1.0}, ValueError, "weight_decay"),
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


# -- what a defence changes ------------------------------------------------------------------------------------------


def test_an_objective_sees_the_model_the_clean_and_the_attacked_batch():
    model, images = net(), stripes(n=32)

    def objective(asked, x, x_adv, y):
        assert asked is model and asked.training
        assert torch.equal(x_adv, 1 - x) and len(y) == 16
        logits = asked(x)  # learns from the clean images, whatever perturb made
        return F.cross_entropy(logits, y), asked(x_adv)

    history = train(model, images, objective=objective, perturb=lambda model, x, y: 1 - x, epochs=20)
    assert history[-1].accuracy > 0.9
    assert history[-1].robust < 0.5, "the logits that the objective returned are those that count as attacked"


def test_the_history_tells_clean_from_attacked_accuracy():
    images = stripes(n=64)

    def flipped(model, x, y):
        return 1 - x

    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    (epoch,) = train(model, images, epochs=1, lr=1e-12, batch_size=64, perturb=flipped)
    with torch.no_grad():
        clean, attacked = ((model(x).argmax(1) == images.y).float().mean() for x in (images.x, 1 - images.x))
    assert (epoch.accuracy, epoch.robust) == pytest.approx((clean.item(), attacked.item()))
    assert train(model, images, epochs=1)[0].robust is None


def test_measuring_clean_accuracy_changes_no_weight(monkeypatch):
    made = []
    for every in (1, 8):
        monkeypatch.setattr(training, "CLEAN_EVERY", every)
        made.append(net(dropout=0.5))
        train(made[-1], perturb=Noise(0.1), epochs=2)
    assert torch.equal(weights(made[0]), weights(made[1]))


def test_what_is_scheduled_is_asked_for_at_each_share_of_the_run():
    shares = []

    def at(t):
        shares.append(t)
        return lambda model, x, y: x

    train(net(), stripes(n=64), perturb=Scheduled(at), epochs=3)
    assert shares[-12:] == pytest.approx([k / 12 for k in range(12)])


def test_loss_and_objective_together_are_refused():
    with pytest.raises(ValueError, match="objective decides alone"):
        train(net(), loss=F.mse_loss, objective=Trades(1.0))


def test_averaged_weights_lie_behind_the_last_ones():
    models = {}
    for average in (0.0, 0.9):
        models[average] = net()
        train(models[average], epochs=1, average=average)
    first, last, mean = weights(net()), weights(models[0.0]), weights(models[0.9])
    assert 0 < (mean - first).norm() < (last - first).norm()
    with pytest.raises(ValueError, match="average is 1"):
        train(net(), average=1)


def test_mixed_precision_learns_and_leaves_the_weights_in_float32():
    seen = []

    def spy(logits, y):
        seen.append(logits.dtype)
        return F.cross_entropy(logits, y)

    exact, mixed = net(), net()
    train(exact)
    history = train(mixed, amp=True, loss=spy)
    assert history[-1].accuracy > 0.9 and {p.dtype for p in mixed.parameters()} == {torch.float32}
    assert set(seen) == {torch.float32}, "the loss is not computed in half precision"
    assert not torch.equal(weights(exact), weights(mixed)), "nothing was computed in half precision"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: what it computes in half precision there")
def test_mixed_precision_learns_on_a_gpu():
    model = net().cuda()
    history = train(model, amp=True, perturb=Climb(Linf(0.05)))
    assert history[-1].accuracy > 0.9 and {p.dtype for p in model.parameters()} == {torch.float32}


# -- interrupted and resumed -----------------------------------------------------------------------------------------

RUN = {"epochs": 4, "average": 0.9, "perturb": Climb(Linf(0.1), steps=2, step=0.75)}


class Interrupted:
    """`stripes`, one set per epoch, until ctrl-C in epoch `at`."""

    def __init__(self, at):
        self.at = at

    def __call__(self, epoch):
        if epoch == self.at:
            raise KeyboardInterrupt
        return stripes(seed=epoch)


@pytest.mark.parametrize("at", [1, 3])
def test_a_resumed_run_ends_at_the_same_weights_and_history(tmp_path, at):
    whole = net(dropout=0.5)
    expected = train(whole, Interrupted(None), **RUN)
    with pytest.raises(KeyboardInterrupt):
        train(net(dropout=0.5), Interrupted(at), checkpoint=tmp_path / "run.pt", **RUN)
    torch.rand(7)  # the global state must not matter
    again = net(seed=5, dropout=0.5)
    history = train(again, Interrupted(None), checkpoint=tmp_path / "run.pt", **RUN)
    assert torch.equal(weights(again), weights(whole)) and history == expected
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]


def test_an_interruption_within_an_epoch_goes_back_to_its_beginning(tmp_path):
    whole, calls = net(dropout=0.5), []
    train(whole, **RUN)

    def stop(model, x, y):
        calls.append(None)
        if len(calls) == 15:
            raise KeyboardInterrupt
        return RUN["perturb"](model, x, y)

    stop = type("Stop", (), {"__call__": staticmethod(stop), "__repr__": lambda self: repr(RUN["perturb"])})()
    model = net(dropout=0.5)
    with pytest.raises(KeyboardInterrupt):
        train(model, checkpoint=tmp_path / "run.pt", **RUN | {"perturb": stop})
    assert not model.training
    again = net(seed=5, dropout=0.5)
    train(again, checkpoint=tmp_path / "run.pt", **RUN)
    assert torch.equal(weights(again), weights(whole))


def test_a_finished_run_is_not_trained_again(tmp_path):
    first, again = net(), net(seed=1)
    history = train(first, Interrupted(None), checkpoint=tmp_path / "run.pt", **RUN)
    assert train(again, Interrupted(0), checkpoint=tmp_path / "run.pt", **RUN) == history
    assert torch.equal(weights(first), weights(again))


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"lr": 0.01}, "lr=0.01 here, 0.02 there"),
        ({"epochs": 5}, "epochs=5 here, 4 there"),
        ({"perturb": Climb(Linf(0.2), steps=2, step=0.75)}, "perturb='Climb.*eps=0.2.*here, 'Climb.*eps=0.1.*there"),
        ({"perturb": Scheduled(lambda t: Noise(0.1 + t))}, "perturb='Scheduled.*0.5: Noise.sigma=0.6"),
        ({"loss": F.multi_margin_loss}, "loss='torch.nn.functional.multi_margin_loss' here, .*cross_entropy' there"),
        ({"images": stripes(seed=9)}, "images=.* in the mean' here, .* in the mean' there"),
    ],
)
def test_resuming_with_other_settings_names_the_difference(tmp_path, changes, named):
    train(net(), checkpoint=tmp_path / "run.pt", **RUN)
    with pytest.raises(ValueError, match=f"run.pt is of a run with other settings: {named}"):
        train(net(), checkpoint=tmp_path / "run.pt", **RUN | changes)


def test_a_checkpoint_of_another_network_or_none_at_all_is_refused(tmp_path):
    train(net(), checkpoint=tmp_path / "run.pt", **RUN)
    other = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(ValueError, match="run.pt does not fit the model"):
        train(other, checkpoint=tmp_path / "run.pt", **RUN)
    (tmp_path / "broken.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="broken.pt is no checkpoint"):
        train(net(), checkpoint=tmp_path / "broken.pt", **RUN)


# -- models that cannot be trained -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model, message",
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(16, 2), nn.Softmax(1)), "returned probabilities"),
        (nn.Sequential(nn.Flatten(), nn.Linear(16, 1)), "K ≥ 2"),
        (nn.Sequential(nn.Linear(4, 4), nn.Flatten(0)), r"returned shape \(128,\)"),
    ],
)
def test_models_that_break_the_contract_are_named(model, message):
    with pytest.raises(ValueError, match=message):
        train(model)


def test_too_few_classes_are_named():
    images = Images(torch.rand(6, 1, 4, 4), torch.tensor([0, 1, 2, 0, 1, 2]), ("a", "b", "c"))
    with pytest.raises(ValueError, match="y contains 2"):
        train(net(), images)


def test_epochs_must_be_of_one_size():
    with pytest.raises(ValueError, match="epoch 1 got 96 images"):
        train(net(), lambda epoch: stripes(n=48 * (epoch + 1)), epochs=2)
