"""Transfer: what is made on the substitutes, whatever the victim."""

import pytest
import torch
from torch import nn

from advlib.attacks.transfer import substitute_labels, transfer
from advlib.norms import L0, L2, Linf
from tests.attacks.victims import Counting, batch, network


def linear(weight, classes=2):
    net = nn.Sequential(nn.Flatten(), nn.Linear(weight.numel(), classes, bias=False)).to(weight.dtype)
    net[1].weight.data.zero_()
    net[1].weight.data[0] = weight.flatten()
    return net


def weights(n, size=6):
    return torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(0)).double()


class Spy(nn.Module):
    """A network that remembers what it was shown."""

    def __init__(self, net):
        super().__init__()
        self.net, self.shown = net, []

    def forward(self, x):
        self.shown.append(x.detach().clone())
        return self.net(x)


def test_one_linear_substitute_gives_the_exact_answer():
    (weight,) = weights(1)
    x = torch.full((2, 1, 6, 6), 0.5).double()
    x_adv = transfer(linear(weight), x, torch.tensor([0, 0]), Linf(0.1), diversity=0.0)
    assert torch.allclose(x_adv - x, -0.1 * weight.sign().expand_as(x))


def test_an_ensemble_is_attacked_in_the_mean_of_its_logits():
    first, second = weights(2) * torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    x = torch.full((2, 1, 6, 6), 0.5).double()
    x_adv = transfer([linear(first), linear(second)], x, torch.tensor([0, 0]), Linf(0.1), diversity=0.0)
    assert torch.allclose(x_adv - x, -0.1 * (first + second).sign().expand_as(x))
    assert not torch.equal(first.sign(), (first + second).sign())


def test_it_goes_on_after_the_substitute_is_fooled_unless_told_otherwise():
    (weight,) = weights(1)
    x = torch.full((1, 1, 6, 6), 0.5).double()
    substitute = linear(weight)
    y = 1 - substitute(x).argmax(1)  # wrong from the start
    x_adv = transfer(substitute, x, y, Linf(0.1), diversity=0.0)
    assert torch.allclose(Linf(0.1).size(x_adv - x), torch.tensor([0.1]).double())
    stopped = transfer(substitute, x, y, Linf(0.1), diversity=0.0, early_stop=True, keep="best")
    assert torch.equal(stopped, x)


def test_a_target_is_approached():
    (weight,) = weights(1)
    x = torch.full((2, 1, 6, 6), 0.5).double()
    x_adv = transfer(linear(weight), x, torch.tensor([1, 1]), L2(0.5), target=0, diversity=0.0)
    assert torch.allclose(x_adv - x, (0.5 * weight / weight.norm()).expand_as(x))


@pytest.mark.parametrize("diversity", [0.0, 0.5, 1.0])
def test_diversity_is_the_share_of_steps_on_resized_images(diversity):
    spy = Spy(linear(weights(3, size=30)[:, 0] / 100))
    x = 0.7 + 0.05 * weights(2, size=30).clamp(-1, 1).expand(2, 3, 30, 30)
    transfer(spy, x, torch.tensor([0, 0]), Linf(0.1), steps=60, diversity=diversity)
    assert len(spy.shown) == 60 and all(shown.shape == x.shape for shown in spy.shown)
    resized = [bool((shown == 0).any()) for shown in spy.shown]  # only the padding is black here
    assert abs(sum(resized) / 60 - diversity) < 0.2
    kept = [int((shown[0, 0] > 0).any(1).sum()) for shown in spy.shown]
    assert min(kept) >= 27 and (len(set(kept)) > 2) == (diversity > 0)


def test_batches_do_not_change_the_answer():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5)).double()
    x, y = weights(7, size=12).sigmoid().expand(7, 3, 12, 12), torch.arange(7) % 5
    net(x)
    whole = transfer(net, x, y, L2(0.5), diversity=1.0)
    for size in (1, 3):
        assert torch.allclose(transfer(net, x, y, L2(0.5), diversity=1.0, batch_size=size), whole, atol=1e-9)
    assert not torch.allclose(transfer(net, x, y, L2(0.5), diversity=1.0, seed=1), whole, atol=1e-3)


def test_every_substitute_is_left_as_it_was():
    nets = [nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(36, 2)) for _ in range(2)]
    nets[1].eval()
    before = [{name: value.clone() for name, value in net.state_dict().items()} for net in nets]
    transfer(nets, torch.rand(4, 1, 6, 6), torch.zeros(4, dtype=torch.long), L0(3))
    assert nets[0].training and not nets[1].training
    for net, state in zip(nets, before):
        assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
        assert all(p.requires_grad and p.grad is None for p in net.parameters())


@pytest.mark.parametrize(
    "mistake, error, message",
    [
        (lambda x, y, net: transfer([], x, y, Linf(0.1)), TypeError, "non-empty list"),
        (lambda x, y, net: transfer("net", x, y, Linf(0.1)), TypeError, "expected a torch.nn.Module"),
        (lambda x, y, net: transfer([net, nn.Linear], x, y, Linf(0.1)), TypeError, "an instance of it"),
        (lambda x, y, net: transfer([net, linear(x[0], 3)], x, y, Linf(0.1)), ValueError, "the same classes"),
        (lambda x, y, net: transfer(net, x, y, Linf(0.1), diversity=2), ValueError, "a probability"),
        (lambda x, y, net: transfer(net, x, y, Linf(0.1), step=-1.0), ValueError, "finite number > 0"),
        (lambda x, y, net: transfer(net, x, y, Linf(0.1), target=0), ValueError, "target equals the label"),
        (lambda x, y, net: transfer(net, x, y + 5, Linf(0.1)), ValueError, "class indices from 0 to 1"),
        (lambda x, y, net: transfer(net, 2 * x + 1, y, Linf(0.1)), ValueError, "divide by 255|normalised"),
    ],
)
def test_mistakes_are_named(mistake, error, message):
    x = torch.rand(3, 1, 4, 4)
    with pytest.raises(error, match=message):
        mistake(x, torch.zeros(3, dtype=torch.long), linear(x[0]))


def test_mnist_images_made_on_a_copy_fool_the_original(lenet, mnist):
    """A victim's twin with noise in its weights stands for a good substitute."""
    victim, twin, (x, y) = lenet("clntrained"), lenet("clntrained"), mnist(100)
    generator = torch.Generator().manual_seed(0)
    for p in twin.parameters():
        p.data += 0.3 * p.data.std() * torch.randn(p.shape, generator=generator)
    x_adv = transfer(twin, x, y, Linf(0.2), steps=10)
    chance = x + Linf(0.2).sample(x, generator)
    assert (victim(x_adv).argmax(1) == y).sum() < 40 and (victim(chance).argmax(1) == y).sum() > 90


def test_labels_of_a_victim_cost_one_query_each():
    x, model = batch(n=7), network()
    counting = Counting(model, x)
    assert torch.equal(substitute_labels(counting, x), model(x).argmax(1))
    assert [counting.asked[i] for i in range(7)] == [1] * 7
    assert torch.equal(substitute_labels(lambda images: model(images).argmax(1), x, batch_size=2), model(x).argmax(1))
