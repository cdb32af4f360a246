"""The switches: the same function in less time, nothing lost, and everything as it was afterwards."""

import copy
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from advlib import contract
from advlib.attacks import bim, eot, fast, fgsm, pgd, transfer, trial, worst_case
from advlib.attacks.ascent import ascend
from advlib.attacks.fast import _identity, faster
from advlib.attacks.transfer import _Ensemble
from advlib.norms import Linf

X = torch.rand(6, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """A residual block, as ResNets have them: what order the layers come in stands only in ``forward``."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + x)


def used(model):
    """The model with batch norms as training leaves them, in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight.data, module.bias.data):
                    tensor.normal_()
                if module.track_running_stats:
                    module.running_mean.normal_()
                    module.running_var.uniform_(0.5, 2)
    return model.eval()


def network(*middle):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return used(
            nn.Sequential(
                nn.Conv2d(3, 8, 3, bias=False),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                *middle,
                nn.AdaptiveAvgPool2d(2),
                nn.Flatten(),
                nn.Linear(32, 4),
            )
        )


def folded(model):
    """How many batch norms are passed by."""
    return sum(vars(module).get("forward") is _identity for module in model.modules())


def reordered(model):
    """How many convolutions store their weights channels last (which one channel or one tap cannot show)."""
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    return sum(not conv.weight.is_contiguous() for conv in convolutions)


def same(a, b):
    return torch.allclose(a, b, atol=1e-5, rtol=1e-4)


def test_the_function_stays_and_so_does_its_gradient():
    model = network(Block())
    gradient = lambda: torch.autograd.grad(model(x).logsumexp(1).sum(), x)[0]
    x = X.clone().requires_grad_()
    logits, grad = model(X), gradient()
    with faster(model, X):
        assert folded(model) == 3 and reordered(model) == 3
        assert same(model(X), logits) and same(gradient(), grad)


@pytest.mark.parametrize(
    "size, stride, padding, shape",
    [
        (7, 2, 3, (12, 13)),
        (7, 2, 3, (4, 4)),
        (3, 2, 1, (11, 12)),
        (5, 2, 0, (12, 13)),
        (4, 2, 2, (9, 10)),
        (2, 2, 0, (11, 12)),
        (3, 1, 1, (12, 13)),
        (3, 3, 0, (12, 13)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_gradient_of_a_strided_first_layer(size, stride, padding, shape, channels):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(channels, 8, size, stride, padding), nn.Flatten(), nn.LazyLinear(5))
        model = model.double()
        x = torch.rand(4, channels, *shape, dtype=torch.float64, requires_grad=True)
        model(x)
    gradient = lambda: torch.autograd.grad(model(x).logsumexp(1).sum(), x)[0]
    expected = gradient()
    with faster(model, x):
        assert ("forward" in vars(model[0])) == (stride > 1 and channels * stride**2 <= 16)
        assert torch.allclose(gradient(), expected, atol=1e-12)


def test_small_maps_of_many_channels_stay_as_they_are():
    model = network(nn.AdaptiveAvgPool2d(2), nn.Conv2d(8, 256, 3, padding=1), nn.Conv2d(256, 8, 3, padding=1))
    expected = model(X)
    with faster(model, X):
        assert [model[n].weight.is_contiguous() for n in (0, 4, 5)] == [False, False, True]
        assert same(model(X), expected)
    assert not model[5]._forward_pre_hooks


@pytest.mark.parametrize(
    "side, size, stride, padding, left",
    [
        (1, 3, 1, 1, 1),
        (1, 5, 2, 2, 1),
        (2, 3, 2, 1, 2),
        (2, 5, 1, 2, 3),
        (2, 3, 1, 1, 3),
        (1, 4, 1, 2, 2),
        (2, 7, 2, 3, 2),
    ],
)
@pytest.mark.parametrize("groups", [1, 8])
def test_a_kernel_keeps_what_meets_a_pixel(side, size, stride, padding, left, groups):
    conv = nn.Conv2d(8, 8, size, stride, padding, groups=groups)
    model = network(nn.AdaptiveAvgPool2d(side), conv, nn.BatchNorm2d(8))
    gradient = lambda: torch.autograd.grad(model(x).logsumexp(1).sum(), x)[0]
    x = X.clone().requires_grad_()
    logits, grad = model(X), gradient()
    with faster(model, X):
        assert conv.weight.shape[2:] == (left, left)
        assert same(model(X), logits) and same(gradient(), grad)
    assert conv.weight.shape[2:] == (size, size) and conv.padding == (padding, padding)


@pytest.mark.parametrize(
    "change", [{"padding": "same"}, {"dilation": 2, "padding": 2}, {"padding": 1, "padding_mode": "circular"}], ids=str
)
def test_irregular_kernels_are_not_cropped(change):
    model = network(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 3, **change))
    expected = model(X)
    with faster(model, X):
        assert model[4].weight.shape[2:] == (3, 3) and same(model(X), expected)


def test_the_model_is_as_it_was_even_after_an_error():
    model = network(Block(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 3, padding=1))
    tensors = {name: (tensor.data_ptr(), tensor.clone()) for name, tensor in model.state_dict().items()}
    with pytest.raises(KeyError):
        with faster(model, X):
            raise KeyError
    assert model.state_dict().keys() == tensors.keys() and not folded(model) and not reordered(model)
    for name, tensor in model.state_dict().items():
        assert tensor.data_ptr() == tensors[name][0] and torch.equal(tensor, tensors[name][1])
    assert model[3].conv1.bias is None and all(p.requires_grad for p in model.parameters())


def test_an_attack_gives_the_same_with_and_without():
    model, y = network(Block()), torch.zeros(6, dtype=torch.long)
    attack = lambda fast: bim(model, X, y, Linf(0.1), steps=5, early_stop=False, fast=fast)
    fast, plain = attack(True), attack(False)
    assert ((fast - plain).abs() < 1e-5).float().mean() > 0.99
    assert not folded(model)


def test_one_step_is_not_worth_a_switch(monkeypatch):
    seen = []
    model = network()
    monkeypatch.setattr(nn.Flatten, "forward", lambda self, x: (seen.append(folded(model)), x.flatten(1))[1])
    fgsm(model, X, torch.zeros(6, dtype=torch.long), Linf(0.1))
    assert seen == [0]


def test_hooks_are_neither_lost_nor_called_more_often():
    model, calls = network(), []
    model[1].register_forward_hook(lambda *_: calls.append(1))
    ascend(model, X, torch.zeros(6, dtype=torch.long), Linf(0.1), steps=3, early_stop=False)
    assert len(calls) == 4


class OwnConv(nn.Conv2d):
    def forward(self, x):
        return super().forward(x).tanh()


def twice():
    """One batch norm behind two convolutions."""
    norm = nn.BatchNorm2d(8)
    return network(nn.Conv2d(8, 8, 1), norm, nn.Conv2d(8, 8, 1), norm)


def tied():
    """Two convolutions with one weight; only one has a batch norm."""
    model = network(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1))
    model[5].weight = model[3].weight
    return model


class Fork(nn.Module):
    """What its convolution puts out goes two ways."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)

    def forward(self, x):
        x = self.conv(x)
        return self.norm(x) + x


FOLDS = {
    "plain": (network, 1),
    "parametrised": (
        lambda: network(nn.utils.parametrizations.spectral_norm(nn.Conv2d(8, 8, 1)), nn.BatchNorm2d(8)),
        1,
    ),
    "ReLU between": (lambda: network(nn.Conv2d(8, 8, 1), nn.ReLU(inplace=True), nn.BatchNorm2d(8)), 0),
    "custom": (lambda: network(OwnConv(8, 8, 1), nn.BatchNorm2d(8)), 1),
    "no statistics": (lambda: network(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8, track_running_stats=False)), 1),
    "shared norm": (twice, 1),
    "shared weight": (tied, 1),
    "fork": (lambda: network(Fork()), 0),
    "random": (lambda: nn.Sequential(network(), nn.Dropout(0.5).train()), 0),
}


@pytest.mark.parametrize("name", FOLDS)
def test_only_what_is_safe_is_folded(name):
    make, folds = FOLDS[name]
    model = make()
    torch.manual_seed(1)
    expected = model(X)
    with faster(model, X):
        assert folded(model) == folds
        torch.manual_seed(1)
        assert same(model(X), expected)


class Draws(nn.Module):
    """A network that sees its images a little brighter each time, as ``draw`` has it."""

    def __init__(self, draw):
        super().__init__()
        self.network, self.draw = network(), draw
        self.generator = torch.Generator().manual_seed(3)
        self.numpy, self.python = np.random.default_rng(3), random.Random(3)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x):
        return self.network(x * (1 + self.draw(self)))


def counted(model):
    model.passes += 1
    return 0.1 * model.passes


DRAWS = {
    "torch's stream": lambda model: torch.rand(()),
    "NumPy's stream": lambda model: np.random.rand(),
    "Python's stream": lambda model: random.random(),
    "a generator of torch": lambda model: torch.rand((), generator=model.generator),
    "a generator of NumPy": lambda model: model.numpy.random(),
    "a generator of Python": lambda model: model.python.random(),
    "a buffer": counted,
    "and leaves them out": lambda model: 0 * torch.rand(()),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_model_that_draws_is_left_alone_and_misses_no_number(name):
    once, twice = Draws(DRAWS[name]), Draws(DRAWS[name])
    answers = []
    for model, switched in ((once, False), (twice, True)):
        torch.manual_seed(2), np.random.seed(2), random.seed(2)
        with contract.frozen(model), faster(model, X, switched):
            assert not folded(model)
            answers.append(model(X))
    assert torch.equal(*answers)


def test_a_model_that_draws_from_where_nobody_sees_is_left_alone():
    hidden = torch.Generator().manual_seed(0)
    model = Draws(lambda model: torch.rand((), generator=hidden))
    with contract.frozen(model), faster(model, X):
        assert not folded(model)


def by_views(model, x, y, seed):
    seen = []

    def transform(images, generator):
        seen.append(generator.initial_seed())
        return images * (0.8 + 0.2 * torch.rand(len(images), 1, 1, 1, generator=generator).to(images))

    return ascend(eot(model, transform, samples=2, seed=seed), x, y, Linf(0.1), steps=5, early_stop=False), seen


def by_transfer(model, x, y, seed):
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Ensemble, "forward", noting(_Ensemble.forward, seen))
        return transfer([model, network().double()], x, y, Linf(0.1), steps=6, seed=seed), seen


def noting(forward, seen):
    def noted(self, x):
        answer = forward(self, x)
        seen.append(self.generator.get_state().tolist())
        return answer

    return noted


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("attack", [by_views, by_transfer])
def test_what_an_attack_draws_does_not_depend_on_the_trial(attack, seed, monkeypatch):
    model, x, y = network(Block()).double(), X.double(), torch.zeros(6, dtype=torch.long)
    with_it, drawn = attack(model, x, y, seed)
    monkeypatch.setattr(fast, "_may_be_switched", lambda model: False)
    without, drawn_without = attack(model, x, y, seed)
    assert drawn == drawn_without and len(drawn) > 4
    assert torch.allclose(with_it, without, atol=1e-9)


def test_substitutes_are_switched_one_by_one(monkeypatch):
    models, seen = [network(), network(Block())], []
    monkeypatch.setattr(nn.Flatten, "forward", lambda self, x: (seen.append(sum(map(folded, models))), x.flatten(1))[1])
    transfer(models, X, torch.zeros(6, dtype=torch.long), Linf(0.1), steps=3)
    assert seen[-6:] == [4] * 6 and not any(map(folded, models))


class Exits(nn.Module):
    """Bright images leave early, past the batch norm that the fold moves into the convolution."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4)

    def forward(self, x):
        seen = self.conv(x)
        bright = (x.mean((1, 2, 3)) > 0.3)[:, None, None, None]
        late = self.norm(seen) if not bool(bright.all()) else seen
        return self.head(torch.where(bright, seen, late).mean((2, 3)))


@pytest.mark.parametrize("dark", [0, 2, 5])
def test_it_is_tried_on_the_images_to_come_and_not_on_the_first_alone(dark):
    model, x = used(Exits()), X.clone()
    x[:dark] *= 0.1
    expected = model(x)
    with faster(model, x):
        assert not folded(model) and same(model(x), expected)


class Lures(Exits):
    """The batch norm that the fold moves into the convolution is passed by only where a corner is bright."""

    def forward(self, x):
        seen = self.conv(x)
        corner = x[:, :, :3, :3].mean((1, 2, 3))
        lured = (corner > 0.25)[:, None, None, None]
        normed = self.norm(seen) if not bool(lured.all()) else seen
        logits = self.head(torch.where(lured, seen, normed).mean((2, 3)))
        return logits + (8 - 30 * corner[:, None]) * F.one_hot(
            torch.tensor(0), 4
        )  # class 0 is left by way of the corner


@pytest.mark.parametrize("attack", [pgd, worst_case])
def test_it_is_tried_on_what_came_of_the_images_too(attack, monkeypatch):
    """At the images themselves nothing is wrong with the fold; where the attack ends there is."""
    model, x, y = used(Lures()), X * 0.2, torch.zeros(6, dtype=torch.long)
    settings = {"steps": 5, "early_stop": False} if attack is pgd else {"queries": 5}
    refused = []
    check = trial.Switched.check

    def watched(self, x_adv):
        try:
            check(self, x_adv)
        except trial.Unfaithful:
            refused.append(len(x_adv))
            raise

    monkeypatch.setattr(trial.Switched, "check", watched)
    found = attack(model, x, y, Linf(0.3), **settings)
    monkeypatch.setattr(fast, "_may_be_switched", lambda model: False)
    assert refused and torch.equal(found, attack(model, x, y, Linf(0.3), **settings))


def test_what_all_logits_share_hides_no_difference():
    """Beside 10⁶ on every logit, a wrong switch would look like rounding."""
    model = used(nn.Sequential(Exits(), Plus(1e6))).double()
    x = X.double()
    x[1:] *= 0.1
    expected = model(x)
    with faster(model, x):
        assert torch.allclose(model(x), expected, atol=1e-5, rtol=0)


class Plus(nn.Module):
    def __init__(self, offset):
        super().__init__()
        self.offset = offset

    def forward(self, x):
        return x + self.offset


class Viewing(nn.Module):
    """A ``view`` that only images stored channel by channel allow, as in many a first network."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(800, 4)

    def forward(self, x):
        return self.last(F.relu(self.norm(self.conv(x))).view(len(x), -1))


def test_a_model_that_cannot_take_a_switch_keeps_the_others():
    model = used(Viewing())
    expected = model(X)
    with faster(model, X):
        assert folded(model) == 1 and not reordered(model)
        assert same(model(X), expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(432, 4)),
        lambda: nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8)).eval(),
        lambda: network().half(),
        lambda: torch.compile(network(), backend="eager"),
        lambda: torch.jit.trace(network(), X),
    ],
    ids=["no convolution", "fails", "half", "compiled", "scripted"],
)
@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_other_models_are_left_alone(make):
    model = make()
    before = copy.deepcopy(model.state_dict())
    with faster(model, X):
        assert not folded(model) and not reordered(model)
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_half_precision_is_asked_for_and_ends():
    model = network()
    with contract.frozen(model), faster(model, X, "bf16"):
        assert model(X).dtype == torch.bfloat16
    assert model(X).dtype == torch.float32
    x_adv = bim(model, X, torch.zeros(6, dtype=torch.long), Linf(0.1), fast="bf16")
    assert x_adv.dtype == torch.float32 and ((x_adv - X).abs() <= 0.1 + 1e-6).all()


def test_a_word_it_does_not_know_is_an_error():
    with pytest.raises(ValueError, match='fast is "?\'?fp8.*expected True, False or "bf16"'):
        with faster(network(), X, "fp8"):
            pass
