"""The engine: what it keeps, when it stops, how it steps."""

import inspect
import warnings

import pytest
import torch
from torch import nn

from advlib import attacks, losses
from advlib.answers import logits_of
from advlib.attacks import GradientMaskingWarning
from advlib.attacks.ascent import Adaptive, Constant, Linear, ascend, climb
from advlib.evaluate import accuracy
from advlib.norms import L2, Linf


class Counting(nn.Module):
    """Counts the images of every forward pass."""

    def __init__(self, net):
        super().__init__()
        self.net, self.sizes = net, []

    def forward(self, x):
        self.sizes.append(len(x))
        return self.net(x)


def linear_model(n_in=12, classes=3, seed=0, scale=1.0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(n_in, classes))
    model[1].weight.data.mul_(scale)
    return model


X = torch.rand(8, 3, 2, 2, generator=torch.Generator().manual_seed(0))
Y = logits_of(linear_model(), X).argmax(1)


def hill(adv, rows):
    """A score that is highest, at 0, for pixels of 0.6: a constant step of 0.25 jumps over it."""
    adv = adv.detach().requires_grad_()
    score = -(adv - 0.6).square().sum((1, 2, 3))
    (grad,) = torch.autograd.grad(score.sum(), adv)
    return score.detach(), score.detach(), grad


def climb_hill(**settings):
    x = torch.full((1, 1, 1, 1), 0.5)
    return climb(hill, lambda a, r: hill(a, r)[1], x, x, Linf(0.25), **settings)[0].item()


def test_the_best_iterate_is_kept_not_the_last():
    assert climb_hill(steps=1, schedule=Constant(1.0), keep="last") == pytest.approx(0.75)
    assert climb_hill(steps=1, schedule=Constant(1.0), keep="best") == pytest.approx(0.5)


def test_a_shrinking_step_settles_where_a_constant_one_jumps_about():
    assert climb_hill(steps=20, schedule=Linear(2.0)) == pytest.approx(0.6, abs=0.03)


def test_adaptive_steps_shrink_when_they_stop_paying():
    assert climb_hill(steps=60, schedule=Adaptive(), inertia=0.25) == pytest.approx(0.6, abs=0.01)


def test_auto_pgd_checkpoints_are_those_of_the_paper():
    """Croce & Hein (2020): p = 0, 0.22, then p + max(p − p_before − 0.03, 0.06), of 100 steps."""
    assert Adaptive().checkpoints(100) == [0, 22, 41, 57, 70, 80, 87, 93, 99]


def test_momentum_is_the_decaying_sum_of_unit_l1_gradients():
    """MI-FGSM, Eq. 6, by hand for two steps on a linear loss: both gradients are the same, so is their sign."""
    gradients = iter([torch.tensor([3.0, -1.0]), torch.tensor([-1.0, 3.0])])
    directions = []

    class Spy(L2):
        def steepest(self, grad, x=None, radius=None):
            directions.append(grad.flatten().clone())
            return 0 * grad

    def gradient(adv, rows):
        return torch.zeros(1), -torch.ones(1), next(gradients).view(1, 2, 1, 1)

    x = torch.full((1, 2, 1, 1), 0.5)
    climb(gradient, lambda a, r: -torch.ones(1), x, x, Spy(1.0), steps=2, schedule=Constant(0.1), momentum=0.5)
    assert torch.allclose(directions[0], torch.tensor([0.75, -0.25]))
    assert torch.allclose(directions[1], 0.5 * torch.tensor([0.75, -0.25]) + torch.tensor([-0.25, 0.75]))


def test_fooled_images_leave_the_batch_and_are_left_alone():
    model = Counting(linear_model())
    ascend(model, X, Y, Linf(1.0), steps=10, schedule=Constant(0.1))
    assert model.sizes[0] == 8 and model.sizes[-1] < 8 and model.sizes == sorted(model.sizes, reverse=True)
    wrong = (Y + 1) % 3
    assert torch.equal(ascend(linear_model(), X, wrong, Linf(0.1), steps=3), X)


def test_without_early_stop_every_image_makes_every_step():
    model = Counting(linear_model())
    ascend(model, X, Y, Linf(1.0), steps=5, schedule=Constant(0.1), early_stop=False)
    assert model.sizes == [8] * 6  # five gradients, and the score of where the last one led


def test_without_early_stop_the_loss_goes_on_rising():
    """What adversarial training needs: the worst image, not the first that fools."""
    stopped, climbed = (
        ascend(linear_model(), X, Y, Linf(0.5), steps=10, schedule=Constant(0.1), early_stop=s) for s in (True, False)
    )
    loss = lambda x: losses.cross_entropy(logits_of(linear_model(), x), Y)
    assert (loss(climbed) >= loss(stopped) - 1e-6).all() and loss(climbed).mean() > loss(stopped).mean() + 0.1


def test_restarts_never_lose_what_one_start_found():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))
    y = logits_of(model, X).argmax(1)
    score = lambda restarts: losses.margin(
        logits_of(
            model, ascend(model, X, y, Linf(0.1), steps=2, random_start=True, restarts=restarts, early_stop=False)
        ),
        y,
    )
    assert (score(5) >= score(1) - 1e-6).all()


def test_restarts_run_only_what_still_stands():
    model = Counting(linear_model())
    ascend(model, X, Y, Linf(1.0), steps=3, random_start=True, restarts=3)
    assert sum(model.sizes) < 3 * 4 * 8


def test_seeds_draw_other_starts():
    starts = [
        ascend(
            linear_model(),
            X,
            Y,
            Linf(0.1),
            steps=1,
            schedule=Constant(0.0),
            random_start=True,
            keep="last",
            early_stop=False,
            seed=seed,
        )
        for seed in (0, 0, 1)
    ]
    assert torch.equal(starts[0], starts[1]) and not torch.equal(starts[0], starts[2])


class Noisy(nn.Module):
    """Draws from the global random state, and counts its calls in a buffer as ``eot`` does."""

    def __init__(self):
        super().__init__()
        self.net = linear_model()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.net((x + self.calls.sin() + 0.1 * torch.randn_like(x)).square())


WATCHED = [attacks.bim, attacks.pgd, attacks.mifgsm, attacks.apgd]
each_watched = pytest.mark.parametrize("attack", WATCHED, ids=lambda f: f.__name__)
ALL_STEPS = dict(keep="last", early_stop=False)


def test_a_callback_sees_every_iterate_and_its_loss():
    seen = []
    last = attacks.bim(linear_model(), X, Y, Linf(0.1), steps=3, **ALL_STEPS, callback=seen.append)
    assert [now.step for now in seen] == [0, 1, 2, 3] and {now.restart for now in seen} == {0}
    assert torch.equal(seen[0].x_adv, X) and torch.equal(seen[-1].x_adv, last)
    for now in seen:
        assert now.rows.tolist() == list(range(8)) and not now.x_adv.requires_grad
        expected = losses.log_odds(logits_of(linear_model(), now.x_adv), Y)
        assert torch.allclose(now.loss, expected, atol=1e-6)
    shorter = attacks.bim(linear_model(), X, Y, Linf(0.1), steps=2, step=0.25 / 3, **ALL_STEPS)
    assert torch.allclose(seen[2].x_adv, shorter)


def test_a_callback_is_told_which_images_in_which_batch_and_run():
    seen = []
    settings = dict(steps=2, restarts=2, batch_size=5, early_stop=False)
    attacks.pgd(linear_model().double(), X.double(), Y, Linf(0.1), **settings, callback=seen.append)
    told = [(now.restart, now.step, now.rows.tolist()) for now in seen]
    assert told == [(run, k, part) for run in (0, 1) for part in ([0, 1, 2, 3, 4], [5, 6, 7]) for k in (0, 1, 2)]
    assert all(now.x_adv.dtype == torch.float64 for now in seen)


def test_a_callback_sees_an_image_until_it_fools():
    seen, y = [], Y.clone()
    y[3] = (Y[3] + 1) % 3  # wrong from the start
    x_adv = attacks.bim(linear_model(), X, y, Linf(1.0), step=0.1, callback=seen.append)
    last = {row: now.x_adv[i] for now in seen for i, row in enumerate(now.rows.tolist())}
    assert 3 in seen[0].rows and all(3 not in now.rows for now in seen[1:])
    assert all(torch.equal(last[i], x_adv[i]) for i in range(8))


@each_watched
@pytest.mark.parametrize("batch_size", [None, 3])
@pytest.mark.parametrize("model", [linear_model, Noisy])
def test_a_callback_changes_nothing_whatever_it_does(attack, model, batch_size):
    model = model()

    def meddle(now):
        for value in (now.rows, now.x_adv, now.loss):
            value.zero_()
        torch.rand(3)
        model.train()
        for parameter in model.parameters():
            parameter.requires_grad_()
        accuracy(model, X, Y)
        if now.step == 1:
            attacks.pgd(model, X, Y, Linf(0.1), steps=2)
        return True

    def run(**settings):
        torch.manual_seed(0)
        if attack is not attacks.apgd:
            settings["keep"] = "last"
        if "restarts" in inspect.signature(attack).parameters:
            settings["restarts"] = 2
        return attack(model, X, Y, Linf(0.05), steps=5, early_stop=False, batch_size=batch_size, **settings)

    assert torch.equal(run(callback=meddle), run())


def test_a_callback_is_called_and_may_end_the_attack_by_an_error():
    class Enough(Exception):
        pass

    def enough(now):
        if now.step == 2:
            raise Enough

    model = Counting(linear_model()).train()
    with pytest.raises(Enough):
        ascend(model, X, Y, Linf(0.1), early_stop=False, callback=enough)
    assert len(model.sizes) == 3 and model.training
    with pytest.raises(TypeError, match="callback is 3 of type int; expected a function of one argument, an Iterate"):
        ascend(model, X, Y, Linf(0.1), callback=3)


@pytest.mark.parametrize("scale", [1e3, 1e5])
def test_a_saturated_softmax_is_seen_and_passed_by(scale):
    """Logits so large that cross-entropy has no gradient left: the margin takes its place, and that is said. The
    log-odds do not even notice."""
    model = linear_model(scale=scale)
    y = logits_of(model, X).argmax(1)
    with pytest.warns(GradientMaskingWarning, match="saturated softmax.*margin loss was climbed.*log_odds"):
        x_adv = ascend(model, X, y, Linf(0.9), steps=5, loss=losses.cross_entropy)
    assert accuracy(model, x_adv, y) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert accuracy(model, ascend(model, X, y, Linf(0.9), steps=5), y) == 0


def test_no_warning_without_a_reason():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ascend(linear_model(), X, Y, Linf(0.5), steps=5, early_stop=False)


def test_logits_times_thirty_fall_like_the_plain_ones(lenet, mnist):
    class Scaled(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            return 30 * self.net(x)

    (x, y), model = mnist(100), Scaled(lenet("clntrained"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert accuracy(model, ascend(model, x, y, Linf(0.3), steps=40), y) == 0
    with pytest.warns(GradientMaskingWarning):
        assert accuracy(model, ascend(model, x, y, Linf(0.3), steps=40, loss=losses.cross_entropy), y) == 0


def test_targeted_ascent_arrives():
    target = (Y + 1) % 3
    x_adv = ascend(linear_model(), X, Y, Linf(1.0), target=target, steps=20)
    assert (logits_of(linear_model(), x_adv).argmax(1) == target).all()


def test_labels_of_any_integer_type_do():
    assert ascend(linear_model().double(), X.double(), Y.int(), Linf(0.1), steps=2).dtype == torch.float64
