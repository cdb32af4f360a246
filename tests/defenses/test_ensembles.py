"""Several models that answer as one."""

import pytest
import torch
from torch import nn

from advlib.attacks import pgd
from advlib.defenses import Ensemble
from advlib.norms import Linf


def member(seed=0, classes=3, names=None):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, classes))
    if names:
        model.classes = names
    return model.eval()


def batch(n=6):
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def test_the_mean_of_logits_and_of_probabilities():
    members, x = [member(seed) for seed in range(3)], batch()
    logits = torch.stack([one(x) for one in members])
    torch.testing.assert_close(Ensemble(members)(x), logits.mean(0))
    torch.testing.assert_close(Ensemble(members, "probabilities")(x).exp(), logits.softmax(-1).mean(0))


def test_confident_members_do_not_round_to_nothing():
    class Says(nn.Module):
        def __init__(self, *logits):
            super().__init__()
            self.answer = torch.tensor([logits])

        def forward(self, x):
            return self.answer + 0 * x.sum()

    both = Ensemble([Says(0.0, 300.0, 500.0), Says(0.0, 310.0, 500.0)], "probabilities")
    x = torch.zeros(1, requires_grad=True)
    expected = torch.tensor([[-500.0, -190 - torch.log(torch.tensor(2.0)), 0]])
    torch.testing.assert_close(both(x).detach(), expected, atol=1e-3, rtol=1e-5)
    assert both(x.half()).dtype == torch.float32


def test_one_member_is_itself_up_to_what_a_softmax_does_not_see():
    alone, x = member(), batch()
    torch.testing.assert_close(Ensemble([alone])(x), alone(x))
    torch.testing.assert_close(Ensemble([alone], "probabilities")(x).softmax(1), alone(x).softmax(1))


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_it_is_attacked_like_any_model_and_is_left_as_it_was(average):
    ensemble, x = Ensemble([member(0), member(1)], average).train(), batch()
    y = ensemble.eval()(x).argmax(1)
    ensemble.train()
    x_adv = pgd(ensemble, x, y, Linf(0.3))
    assert ensemble.training and all(one.training for one in ensemble.members)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in ensemble.parameters())
    assert (ensemble.eval()(x_adv).argmax(1) != y).float().mean() >= 0.5


def test_it_carries_the_names_that_its_members_agree_on():
    names = ("a", "b", "c")
    assert Ensemble([member(names=names), member(), member(names=list(names))]).classes == names
    assert not hasattr(Ensemble([member(), member()]), "classes")


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda: Ensemble([]), ValueError, "models is empty"),
        (lambda: Ensemble([member(), "signs-cnn"]), TypeError, "nn.Module"),
        (lambda: Ensemble([member()], "votes"), ValueError, "average is 'votes'"),
        (
            lambda: Ensemble([member(names=("a", "b", "c")), member(), member(names=("a", "c", "b"))]),
            ValueError,
            "number 2 of those that say begins",
        ),
        (lambda: Ensemble([member(), member(classes=4)])(batch()), ValueError, r"\(6, 3\), \(6, 4\)"),
    ],
)
def test_bad_input_is_named(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()
