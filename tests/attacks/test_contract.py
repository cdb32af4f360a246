"""What every attack must keep in each norm, whatever it does. The table is `FACTS`: a new attack is held to it at once.

What it must leave alone, that it repeats itself, and that batches change nothing: `tests/properties` tries all attacks.
"""

import pytest
import torch
from torch import nn

from advlib import attacks
from advlib.answers import logits_of
from advlib.attacks.facts import INSIDE, LABELS, WEIGHTS
from advlib.evaluate import robust_accuracy
from advlib.norms import L0, L1, L2, Linf
from tests.attacks.calls import calls, network

CALLS = calls()
WITHIN = [call for call in CALLS if "within" in call.takes]
MASKED = [call for call in CALLS if "mask" in call.takes]
CLIMBING = [call for call in WITHIN if call.fact.family == INSIDE and "queries" not in call.takes]
DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available()


def each(chosen, name="attack"):
    return pytest.mark.parametrize(name, chosen, ids=str)


def each_pair(chosen):
    """Each attack with each of the balls that it takes, or whose norm it makes small."""
    pairs = [pytest.param(call, ball, id=f"{call} {ball or ''}") for call in chosen for ball in call.balls]
    return pytest.mark.parametrize("attack, ball", pairs)


def batch(n=6, channels=3, size=6, classes=5):
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, channels, size, size, generator=generator)
    x[0, 0] = 0
    x[-1, -1] = 1
    return x, torch.randint(0, classes, (n,), generator=generator)


def read(model, x):
    """The labels that the model gives: every image stands, and every attack has something to do."""
    return logits_of(model, x).argmax(1)


def in_box(x_adv):
    return bool((x_adv >= 0).all() and (x_adv <= 1).all())


def within(ball, x, x_adv, slack=1e-6):
    wide = torch.float64
    return bool((ball.size(x_adv.to(wide) - x.to(wide)) <= ball.eps + slack).all()) and in_box(x_adv)


def kept(attack, ball, x, x_adv):
    """Inside the ball that the attack was given, if it was given one, and inside the box."""
    return within(ball, x, x_adv) if attack in WITHIN else in_box(x_adv)


@each_pair(CALLS)
def test_result_is_like_x_inside_the_ball_and_the_box(attack, ball):
    model, (x, _) = network(), batch()
    y = read(model, x)
    x_adv = attack(model, x, y, ball)
    assert x_adv.shape == x.shape and x_adv.dtype == x.dtype and x_adv.device == x.device
    assert not x_adv.requires_grad and x_adv.data_ptr() != x.data_ptr()
    assert kept(attack, ball, x, x_adv) and (attack not in WITHIN or not torch.equal(x_adv, x))


@each_pair([call for call in CALLS if "target" in call.takes])
def test_a_targeted_result_is_inside_too(attack, ball):
    model, (x, _) = network(), batch()
    y, settings = read(model, x), {}
    if attack.fact.knows == LABELS:  # a walk along the boundary begins where it shall end
        aim = x[(y != y[0]).nonzero()[0]]
        x, y, settings = x[y == y[0]], y[y == y[0]], {"target": int(read(model, aim))}
        settings["start"] = aim.expand_as(x)
    x_adv = attack(model, x, y, ball, **({"target": (y + 1) % 5} | settings))
    assert x_adv.shape == x.shape and kept(attack, ball, x, x_adv)


@each_pair(CALLS)
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_every_dtype_and_device(attack, ball, device, dtype):
    model, (x, _) = network().to(device, dtype), batch()
    x = x.to(device, dtype)
    x_adv = attack(model, x, read(model, x), ball)
    assert x_adv.dtype == dtype and x_adv.device == x.device and kept(attack, ball, x, x_adv)


@each(CALLS)
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
def test_works_where_gradients_are_switched_off(attack, context):
    model, (x, _) = network(), batch()
    y, ball = read(model, x), attack.balls[0]
    expected = attack(model, x, y, ball)
    with context():
        assert torch.equal(attack(model, x.clone(), y, ball), expected)


@each_pair(WITHIN)
def test_a_budget_of_zero_leaves_the_image(attack, ball):
    model, (x, _) = network(), batch()
    assert torch.equal(attack(model, x, read(model, x), type(ball)(0)), x)


OWN = {Linf: [0.0, 0.03125, 0.0625, 0.125, 0.25], L2: [0.0, 0.25, 0.5, 0.75, 1.0], L1: [0.0, 1, 2, 3, 4], L0: range(5)}


@each(CLIMBING)
@pytest.mark.parametrize("norm", OWN, ids=lambda norm: norm.__name__)
@pytest.mark.parametrize("batch_size", [None, 2])
def test_each_image_may_have_its_own_budget(attack, norm, batch_size):
    """Whichever images stopped early, whichever are in the batch: the answer of its own ball for each."""
    model, (x, _) = network().double(), batch(n=5)
    x, eps = x.double(), torch.tensor(OWN[norm])
    y = logits_of(model, x).argmax(1)
    own = attack(model, x, y, norm(eps), batch_size=batch_size)
    alike = torch.cat([attack(model, x, y, norm(one.item()))[i : i + 1] for i, one in enumerate(eps)])
    assert torch.allclose(own, alike, atol=1e-9) and within(norm(eps), x, own)
    assert torch.equal(own[0], x[0]) and not torch.equal(own[1:], x[1:])


def test_a_step_is_the_same_length_whatever_the_budget():
    model, (x, y) = network(), batch(n=3)
    own = Linf(torch.tensor([0.005, 0.1, 0.2]))
    for attack in (attacks.bim, attacks.mifgsm):
        moved = attack(model, x, y, own, steps=1, step=0.01, keep="last", early_stop=False) - x
        assert torch.allclose(own.size(moved), torch.tensor([0.005, 0.01, 0.01]), atol=1e-6)


@pytest.mark.parametrize(
    "attack, norm",
    [
        (lambda *a: attacks.transfer(*a, steps=3), L2),
        (lambda *a: attacks.transfer(*a, steps=3, step=0.1), Linf),
        (lambda *a: attacks.nes(*a, queries=60, samples=10), L1),
        (lambda *a: attacks.square(*a, queries=60), Linf),
        (lambda *a: attacks.square(*a, queries=60), L2),
        (lambda *a: attacks.worst_case(*a, queries=60), Linf),
        (lambda *a: attacks.worst_case(*a, queries=60), L2),
        (lambda *a: attacks.worst_case(*a), L1),
    ],
)
def test_other_attacks_in_a_ball_keep_to_each_budget_too(attack, norm):
    model, (x, _) = network(), batch(n=5)
    y, own = logits_of(model, x).argmax(1), norm(torch.tensor(OWN[norm]))
    x_adv = attack(model, x, y, own)
    assert within(own, x, x_adv) and torch.equal(x_adv[0], x[0])
    assert bool((own.size(x_adv - x)[-1] > own.eps[1]).all())  # not the smallest one for all
    assert 0 <= robust_accuracy(model, x, y, own, attack=lambda *a, batch_size: attack(*a)) <= 1


def test_what_takes_one_budget_for_all_says_so():
    model, (x, y) = network(), batch(n=2)
    own, few = Linf(torch.tensor([0.1, 0.2])), L0(torch.tensor([1, 2]))
    for name, call in {
        "universal": lambda: attacks.universal(model, x, y, own),
        "AdvGAN": lambda: attacks.AdvGAN(own),
        "jsma": lambda: attacks.jsma(model, x, y, few),
        "sparse_rs": lambda: attacks.sparse_rs(model, x, y, few),
        "worst_case in L0": lambda: attacks.worst_case(model, x, y, few),
    }.items():
        with pytest.raises(ValueError, match=f"{name} takes one ε for all images and got 2 of them"):
            call()


def masks(n=6):
    """One for each image of ``batch``; the second allows nothing."""
    mask = torch.rand(n, 1, 6, 6, generator=torch.Generator().manual_seed(3)) < 0.4
    mask[1] = False
    return mask


@each_pair(MASKED)
@pytest.mark.parametrize("batch_size", [None, 4])
def test_nothing_outside_a_mask_changes(attack, ball, batch_size):
    model, (x, _) = network(), batch()
    y, mask = logits_of(model, x).argmax(1), masks()
    x_adv = attack(model, x, y, ball, mask=mask, batch_size=batch_size)
    assert torch.equal(x_adv.where(~mask, 0), x.where(~mask, 0)) and torch.equal(x_adv[1], x[1])
    assert within(ball, x, x_adv) and all(not torch.equal(x_adv[i], x[i]) for i in (0, 2, 3, 4, 5))


@each(MASKED)
def test_masks_of_any_form_mean_the_same(attack):
    model, (x, y), ball = network(), batch(), L2(0.8)
    for mask in (torch.rand(6, 6) < 0.5, torch.rand(1, 6, 6) < 0.5, torch.rand(1, 3, 1, 1) < 0.5, torch.tensor(True)):
        expected = attack(model, x, y, ball, mask=mask.expand(x.shape))
        for form in (mask, mask.float(), mask.int()):
            assert torch.equal(attack(model, x, y, ball, mask=form), expected)
    assert torch.allclose(expected, attack(model, x, y, ball), atol=1e-5)  # the last one allows all


@each_pair(MASKED)
def test_the_best_within_a_mask_is_the_best_on_a_model_that_sees_no_more(attack, ball):
    class Sees(nn.Module):
        """Pastes what it was first shown over all that the mask forbids."""

        def __init__(self, net, mask, x):
            super().__init__()
            self.net, self.mask, self.x = net, mask, x

        def forward(self, x):
            return self.net(torch.where(self.mask, x, self.x))

    net, (x, _) = network().double(), batch()
    x, mask = x.double(), masks()
    mask[1, 0, 2, 3] = True
    y = logits_of(net, x).argmax(1)
    settings = {name: False for name in ("random_start", "early_stop") if name in attack.takes}
    seen, masked = attack(Sees(net, mask, x), x, y, ball, **settings), attack(net, x, y, ball, mask=mask, **settings)
    assert torch.allclose(masked, seen, atol=1e-9)


@each_pair([call for call in CALLS if call.fact.knows == WEIGHTS])
def test_no_gradient_gives_no_nan_and_says_so(attack, ball):
    class Constant(nn.Module):
        def forward(self, x):
            return torch.tensor([[2.0, 1.0, 0.0, 0.0, 0.0]]) + 0 * x.sum((1, 2, 3))[:, None]

    x, _ = batch()
    with pytest.warns(attacks.GradientMaskingWarning, match="exactly zero on 6 of 6 images"):
        x_adv = attack(Constant(), x, torch.zeros(6, dtype=torch.long), ball)
    assert kept(attack, ball, x, x_adv)
