"""DeepFool, Carlini–Wagner and FMN: exact on linear models, honest about failure, small beside peers'."""

from functools import partial

import pytest
import torch
from torch import nn

from advlib.attacks import GradientMaskingWarning
from advlib.attacks.minimal import carlini_wagner, deepfool, fmn
from advlib.losses import margin
from advlib.norms import L0, L1, L2, Linf

ATTACKS = {
    "deepfool L2": (partial(deepfool, norm=L2), L2),
    "deepfool L∞": (partial(deepfool, norm=Linf), Linf),
    "carlini_wagner": (partial(carlini_wagner, steps=30, binary_search_steps=3), L2),
    "fmn L∞": (partial(fmn, norm=Linf, steps=40), Linf),
    "fmn L2": (partial(fmn, norm=L2, steps=40), L2),
    "fmn L1": (partial(fmn, norm=L1, steps=40), L1),
    "fmn L0": (partial(fmn, norm=L0, steps=40), L0),
}
each_attack = pytest.mark.parametrize("attack, norm", ATTACKS.values(), ids=ATTACKS.keys())
each_norm = pytest.mark.parametrize("norm", [Linf, L2, L1, L0], ids=lambda norm: norm.__name__)


def linear(weight, bias=None) -> nn.Sequential:
    weight = torch.as_tensor(weight, dtype=torch.float32)
    model = nn.Sequential(nn.Flatten(), nn.Linear(weight.shape[1], weight.shape[0]))
    model[1].weight.data.copy_(weight)
    model[1].bias.data.copy_(torch.zeros(len(weight)) if bias is None else torch.as_tensor(bias))
    return model


def network(classes=4, seed=0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, classes))


def images(n=8, seed=0):
    x = torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    x[:, 0, 0], x[:, 1, 0] = 0, 1  # exact black and white, as in every real picture
    return x


def binary(x, gap=1.0):
    """A linear model of two classes that prefers class 0 by ``gap`` at each image of x, and its weights."""
    w = torch.randn(48, generator=torch.Generator().manual_seed(3))
    logits = x.flatten(1) @ w

    class Model(nn.Module):
        def forward(self, images):
            z = images.flatten(1) @ w.to(images) - logits.to(images) - gap
            return torch.stack([-z, z], dim=1) / 2

    return Model(), w.view(1, 3, 4, 4)


def least(norm, w, x, gap):
    """The size of the smallest δ in the box with ⟨w, δ⟩ = gap, by bisection over exact steepest steps."""
    low, high = torch.zeros(len(x)), torch.full((len(x),), 48.0 if norm is not Linf else 1.0)
    for _ in range(40):
        middle = (low + high) / 2
        delta = norm(48 if norm is L0 else 1).steepest(w.expand_as(x), x, radius=middle)
        enough = (w * delta).sum((1, 2, 3)) >= gap
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return high.ceil() if norm is L0 else high


@pytest.mark.parametrize("norm, dual", [(L2, L2), (Linf, L1)], ids=["L2", "L∞"])
def test_deepfool_reaches_a_linear_boundary_in_one_step(norm, dual):
    x = 0.4 + 0.2 * images()  # away from the box
    model, w = binary(x, gap=0.3)
    x_adv = deepfool(model, x, torch.zeros(8).long(), norm=norm, steps=1)
    distance = 0.3 / dual(1).size(w)
    assert torch.allclose(norm(1).size(x_adv - x), 1.02 * (distance + 1e-4).expand(8), rtol=1e-3)


def test_deepfool_goes_to_the_nearest_boundary_not_to_the_likeliest_class():
    model = linear([[0.0, 0], [1, 0], [0, 10]], bias=[0.0, -0.6, -5.5])  # at x: 0, −0.1, −0.5
    x, y = torch.tensor([0.5, 0.5]).view(1, 1, 1, 2), torch.tensor([0])
    size = lambda candidates: L2(1).size(deepfool(model, x, y, candidates=candidates) - x).item()
    assert size(1) == pytest.approx(1.02 * 0.1, rel=0.01) and size(2) == pytest.approx(1.02 * 0.05, rel=0.01)


@each_norm
def test_fmn_finds_the_least_perturbation_of_a_linear_model_in_the_box(norm):
    x = images()
    model, w = binary(x, gap=2.0)
    x_adv = fmn(model, x, torch.zeros(8).long(), norm=norm, steps=200)
    size, best = norm(1).size(x_adv - x), least(norm, w, x, 2.0)
    assert (size >= best - 1e-4).all() and (size <= 1.02 * best + (0 if norm is not L0 else 1)).all()
    assert (model(x_adv).argmax(1) == 1).all()


def test_carlini_wagner_finds_the_least_perturbation_of_a_linear_model_in_the_box():
    x = images()
    model, w = binary(x, gap=2.0)
    size = L2(1).size(carlini_wagner(model, x, torch.zeros(8).long(), lr=0.05) - x)
    best = least(L2, w, x, 2.0)
    assert (size >= best - 1e-4).all() and (size <= 1.02 * best).all()


def test_carlini_wagner_moves_pixels_that_are_exactly_black_or_white():
    """tanh⁻¹(±1) is infinite: a naive change of variables leaves these pixels there, or makes NaN."""
    x = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    model = linear([[0.0, 0], [1, -1]], bias=[0.0, 0.0])  # fooled when x₀ − x₁ > 0: both pixels must move
    x_adv = carlini_wagner(model, x, torch.tensor([0]))
    assert model(x_adv).argmax() == 1 and L2(1).size(x_adv - x).item() == pytest.approx(0.5**0.5, rel=0.02)


def test_carlini_wagner_raises_its_constant_until_it_wins_and_lowers_it_after():
    x = images()
    model, _ = binary(x)
    y = torch.zeros(8).long()
    size = lambda const, rounds: L2(1).size(
        carlini_wagner(model, x, y, initial_const=const, binary_search_steps=rounds, steps=20) - x
    )
    assert (size(1e-3, 1) == 0).all() and (size(1e-3, 4) > 0).all()
    assert size(1000.0, 8).mean() < size(1000.0, 1).mean()


def test_confidence_is_the_margin_that_is_reached():
    model, x = network(), images()
    y = model(x).argmax(1)
    x_adv = carlini_wagner(model, x, y, confidence=0.3, steps=80)
    assert (margin(model(x_adv), y) >= 0.3 - 1e-5).all()
    assert L2(1).size(x_adv - x).mean() > L2(1).size(carlini_wagner(model, x, y, steps=80) - x).mean()


@each_attack
def test_images_that_are_wrong_already_come_back_unchanged(attack, norm):
    model, x = network(), images()
    y = model(x).argmax(1)
    y[::2] = (y[::2] + 1) % 4
    x_adv = attack(model, x, y)
    assert torch.equal(x_adv[::2], x[::2]) and (norm(1).size(x_adv - x)[1::2] > 0).all()
    assert (model(x_adv).argmax(1) != y).all()


@each_attack
def test_images_for_which_nothing_is_found_come_back_unchanged(attack, norm):
    x = images()
    model, _ = binary(x, gap=1000.0)
    assert torch.equal(attack(model, x, torch.zeros(8).long()), x)


@each_attack
def test_a_model_without_gradients_gives_no_nan_and_is_named(attack, norm):
    class Constant(nn.Module):
        def forward(self, x):
            return torch.tensor([[2.0, 1.0, 0.0]]) + 0 * x.sum((1, 2, 3))[:, None]

    with pytest.warns(GradientMaskingWarning, match="exactly zero on 8 of 8 images"):
        assert torch.equal(attack(Constant(), images(), torch.zeros(8).long()), images())


@each_attack
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_what_is_returned_fools_in_its_own_precision(attack, norm, dtype):
    model, x = network().to(dtype), images().to(dtype)
    y = model(x).argmax(1)
    x_adv = attack(model, x, y)
    assert x_adv.dtype == dtype and (x_adv >= 0).all() and (x_adv <= 1).all()
    assert (model(x_adv).argmax(1) != y).all()


class Remembers(nn.Module):
    """A model that keeps all it was shown."""

    def __init__(self, model):
        super().__init__()
        self.model, self.shown = model, []

    def forward(self, x):
        self.shown.append(x.detach().clone())
        return self.model(x)


@pytest.mark.parametrize("name", ["carlini_wagner", "fmn L∞", "fmn L2", "fmn L1", "fmn L0"])
def test_the_smallest_iterate_that_fooled_is_returned_not_the_last(name):
    attack, norm = ATTACKS[name]
    model, x = Remembers(network()), images(1)
    y = model(x).argmax(1)
    x_adv = attack(model, x, y)
    shown = torch.cat(model.shown)
    sizes = norm(1).size(shown - x)[model.model(shown).argmax(1) != y]
    assert norm(1).size(x_adv - x) == sizes.min() and (model.model(x_adv).argmax(1) != y).all()


def test_deepfool_leaves_fooled_images_out_of_later_steps():
    model, x = Remembers(network()), images(40)
    y = model(x).argmax(1)
    deepfool(model, x, y)
    sizes = [len(shown) for shown in model.shown[2:-1]]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < 40


@pytest.mark.parametrize("name", ["carlini_wagner", "fmn L∞", "fmn L2", "fmn L1", "fmn L0"])
def test_targets_are_reached(name):
    attack, _ = ATTACKS[name]
    model, x = network(), images()
    y = model(x).argmax(1)
    target = (y + 1) % 4
    assert (model(attack(model, x, y, target=target, steps=80)).argmax(1) == target).all()


@each_attack
def test_batches_and_neighbours_do_not_change_the_answer(attack, norm):
    model, x = network().double(), images(5).double()
    y = model(x).argmax(1)
    whole = attack(model, x, y)
    assert torch.allclose(attack(model, x, y, batch_size=2), whole, atol=1e-6)
    assert torch.allclose(attack(model, x[3:4], y[3:4]), whole[3:4], atol=1e-6)


@each_attack
def test_logits_of_any_scale(attack, norm):
    model, x = network(), images()
    y = model(x).argmax(1)
    for scale in (1e-20, 1e10):
        scaled = lambda images: scale * model(images)
        x_adv = attack(nn.Sequential(model, Times(scale)), x, y)
        assert x_adv.isfinite().all() and (x_adv >= 0).all() and (x_adv <= 1).all()
        if attack.func is not carlini_wagner:  # whose constant weighs logits against pixels
            assert (scaled(x_adv).argmax(1) != y).all()


class Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


@pytest.mark.parametrize(
    "call, error, message",
    [
        (partial(deepfool, norm=L1), ValueError, "deepfool makes one of these small: L2 or Linf"),
        (partial(fmn, norm=L2(0.5)), ValueError, "Pass the class without ε: norm=L2"),
        (partial(fmn, norm=2), ValueError, "norm is 2; fmn makes one of these small: Linf or L2 or L1 or L0"),
        (partial(fmn, steps=0), ValueError, "steps is 0"),
        (partial(fmn, step=0.0), ValueError, "step is 0.0; expected a finite number > 0"),
        (partial(deepfool, candidates=0), ValueError, "candidates is 0"),
        (partial(deepfool, overshoot=-0.1), ValueError, "overshoot is -0.1; expected a finite number ≥ 0"),
        (partial(carlini_wagner, confidence=-1.0), ValueError, "confidence is -1.0"),
        (partial(carlini_wagner, lr=float("nan")), ValueError, "lr is nan"),
        (partial(carlini_wagner, initial_const="1"), TypeError, "initial_const is '1' of type str"),
        (partial(carlini_wagner, binary_search_steps=2.5), TypeError, "binary_search_steps is 2.5"),
    ],
    ids=range(11),
)
def test_bad_settings(call, error, message):
    with pytest.raises(error, match=message):
        call(network(), images(), torch.zeros(8).long())


# ------------------------------------------------------------------- beside foolbox on a published network
def sizes(model, x, y, x_adv, norm):
    assert (model(x_adv).argmax(1) != y).all()
    return norm(1).size(x_adv - x)


def test_deepfool_on_mnist(lenet, mnist):
    """Mean L2 over the images that are right at first: foolbox 1.603, adv_lib 1.599."""
    model, (x, y) = lenet("clntrained"), mnist(100)
    size = sizes(model, x, y, deepfool(model, x, y), L2)
    assert size[size > 0].mean() <= 1.60


@pytest.mark.thorough
@pytest.mark.parametrize(
    "norm, foolbox",
    [(Linf, 0.1123), (L2, 1.3513), (L1, 6.3655), (L0, 7.0)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_fmn_on_mnist(lenet, mnist, norm, foolbox):
    """Medians of foolbox's FMN at 40 steps on 50 images (L2: of its DDN, which is better)."""
    model, (x, y) = lenet("clntrained"), mnist(50)
    assert sizes(model, x, y, fmn(model, x, y, norm=norm, steps=40), norm).median() <= foolbox


def test_carlini_wagner_on_mnist(lenet, mnist):
    """A short run on few images; 5 × 200 steps on a hundred reach the peers' mean of 1.378."""
    model, (x, y) = lenet("clntrained"), mnist(8)
    assert sizes(model, x, y, carlini_wagner(model, x, y, steps=60, binary_search_steps=4), L2).mean() <= 1.60
