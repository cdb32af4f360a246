"""AdvGAN: attacks in one forward pass."""

import pytest
import torch
from torch import nn

from advlib.attacks.generative import AdvGAN
from advlib.data import Images
from advlib.norms import L0, L1, L2, Linf

BALLS = [Linf(0.3), L2(1.5), L1(9), L0(8)]
CLASSES = ("a", "b", "c")


def quadrant_model() -> nn.Module:
    """Three classes by which quarter is brightest; smooth, and without a single trained weight."""
    model = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(4, 3, bias=False))
    model[2].weight.data = 20 * torch.eye(3, 4)
    return model


def some_images(n=96, seed=0) -> Images:
    y = torch.arange(n) % 3
    x = 0.4 + 0.2 * torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    for k in range(3):
        top, left = 4 * (k // 2), 4 * (k % 2)
        x[y == k, :, top : top + 4, left : left + 4] += 0.15
    return Images(x, y, CLASSES)


def predicted(model, x):
    with torch.no_grad():
        return model(x).argmax(1)


@pytest.mark.parametrize("within", BALLS, ids=str)
def test_it_fools_images_it_has_not_seen_without_leaving_the_ball(within):
    model, unseen = quadrant_model(), some_images(seed=1)
    assert bool((predicted(model, unseen.x) == unseen.y).all())
    gan = AdvGAN(within, 1, width=4)
    history = gan.fit(model, some_images(), epochs=15, lr=5e-3)
    adv = gan.attack(unseen.x)
    assert adv.min() >= 0 and adv.max() <= 1 and within.size(adv - unseen.x).max() <= within.eps + 1e-5
    assert len(history) == 15 and history[-1].success > history[0].success
    assert (predicted(model, adv) != unseen.y).float().mean() > 0.6


def test_a_target_is_reached_from_all_other_classes():
    model, unseen = quadrant_model(), some_images(seed=1)
    gan = AdvGAN(Linf(0.3), 1, width=4)
    gan.fit(model, some_images(), target=2, epochs=15, lr=5e-3)
    adv = gan.attack(unseen.x[unseen.y != 2])
    assert (predicted(model, adv) == 2).float().mean() > 0.8


def test_the_hinge_draws_the_output_into_the_ball():
    gan = AdvGAN(L2(0.5), 1, width=4)
    history = gan.fit(quadrant_model(), some_images(), epochs=10, lr=5e-3, hinge=10.0)
    assert history[-1].hinge < 0.5 * history[0].hinge


def test_each_image_is_attacked_on_its_own_and_a_batch_of_one_is_a_batch():
    gan, x = AdvGAN(Linf(0.1), 1, width=4), some_images(7).x
    together = gan.attack(x)
    assert torch.allclose(gan.attack(x, batch_size=2), together, atol=1e-6)
    assert torch.allclose(torch.cat([gan.attack(image[None]) for image in x]), together, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 3, 48, 48), (2, 3, 5, 7), (1, 3, 1, 1)])
def test_images_of_any_size(shape):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    assert AdvGAN(Linf(0.1), 3, width=4).attack(x).shape == shape


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_result_has_the_images_type_and_stays_in_the_ball(dtype):
    x = some_images(5).x.to(dtype)
    adv = AdvGAN(Linf(0.1), 1, width=4).attack(x)
    assert adv.dtype == dtype and (adv.double() - x.double()).abs().max() <= 0.1 + 1e-6


def test_to_make_one_seeds_nobody_s_generator(monkeypatch):
    for room in ("cuda", "mps"):
        monkeypatch.setattr(f"torch.{room}.manual_seed", lambda seed: pytest.fail("a GPU's generator was seeded"))
    monkeypatch.setattr("torch.cuda.manual_seed_all", lambda seed: pytest.fail("all GPUs' generators were seeded"))
    before = torch.get_rng_state()
    AdvGAN(Linf(0.1), seed=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_seed_decides_and_the_classifier_stays_as_it_was():
    model, images = quadrant_model(), some_images(24)
    model.insert(0, nn.BatchNorm2d(1))
    statistics, weights = model[0].running_mean.clone(), [p.clone() for p in model.parameters()]
    state, before = torch.get_rng_state(), images.x.clone()

    def attacked(seed):
        gan = AdvGAN(Linf(0.3), 1, width=4, seed=seed)
        with torch.no_grad():
            gan.fit(model, images, epochs=2, seed=seed)
        return gan.attack(images.x)

    assert torch.equal(attacked(1), attacked(1)) and not torch.equal(attacked(1), attacked(2))
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(images.x, before)
    assert model.training and torch.equal(model[0].running_mean, statistics)
    assert all(torch.equal(p, w) and p.grad is None and p.requires_grad for p, w in zip(model.parameters(), weights))


@pytest.mark.parametrize("within", BALLS, ids=str)
def test_saved_and_loaded_it_attacks_alike(within, tmp_path):
    gan, x = AdvGAN(within, 1, width=4), some_images(4).x
    gan.fit(quadrant_model(), some_images(24), epochs=1)
    gan.save(tmp_path / "gan.safetensors")
    loaded = AdvGAN.load(tmp_path / "gan.safetensors")
    assert loaded.within == within and torch.equal(loaded.attack(x), gan.attack(x))


def test_other_files_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    for name in ("other", "text"):
        with pytest.raises(ValueError, match="holds no AdvGAN"):
            AdvGAN.load(tmp_path / f"{name}.safetensors")


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda g, m, i: AdvGAN(0.3), TypeError, "Linf(0.3)"),
        (lambda g, m, i: AdvGAN(Linf(0.3), 0), ValueError, "channels is 0"),
        (lambda g, m, i: g.fit(m, i.x, epochs=1), TypeError, "Images"),
        (lambda g, m, i: g.fit(m, i[:0], epochs=1), ValueError, "images is empty"),
        (lambda g, m, i: g.fit(m, i, epochs=0), ValueError, "epochs is 0"),
        (lambda g, m, i: g.fit(m, i, target=3), ValueError, "target is 3"),
        (lambda g, m, i: g.fit(m, i, target="c"), TypeError, "index of a class"),
        (lambda g, m, i: g.fit(m, i[i.y == 1], target=1), ValueError, "all images are of class 1"),
        (lambda g, m, i: g.fit(m, Images(i.x.expand(-1, 3, -1, -1), i.y, CLASSES)), ValueError, "3 channels"),
        (lambda g, m, i: g.fit(nn.Sequential(m, nn.Softmax(1)), i, epochs=1), ValueError, "probabilities"),
        (lambda g, m, i: g.fit(nn.Sequential(m, nn.Threshold(1e9, float("nan"))), i, epochs=1), ValueError, "epoch 1"),
        (lambda g, m, i: g.attack(i.x * 255), ValueError, "divide by 255"),
        (lambda g, m, i: g.attack(i.x.expand(-1, 3, -1, -1)), ValueError, "3 channels"),
    ],
)
def test_mistakes_are_named(call, error, words):
    with pytest.raises(error) as raised:
        call(AdvGAN(Linf(0.3), 1, width=4), quadrant_model(), some_images(9))
    assert words in str(raised.value)


@pytest.mark.parametrize("within", BALLS, ids=str)
def test_black_images_leave_no_nan(within):
    """A generator that only darkens changes nothing about black images: 0/0 must not come of it."""
    gan = AdvGAN(within, 1, width=4)
    gan.generator[-1].weight.data.zero_()
    gan.generator[-1].bias.data.fill_(-1.0)
    black = Images(torch.zeros(6, 1, 8, 8), torch.arange(6) % 3, CLASSES)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    model[1].bias.data = torch.tensor([5.0, 0, 1])
    assert all(map(torch.isfinite, map(torch.tensor, gan.fit(model, black, epochs=2)[-1])))
    assert bool(gan.attack(black.x).isfinite().all())
