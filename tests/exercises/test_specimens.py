"""The models and batches that checkers try answers on."""

import pytest
import torch

from advlib.exercises import specimens


@pytest.mark.parametrize(
    ("model", "shape", "classes"),
    [
        (specimens.linear(3, 48, 10, seed=0), (2, 3, 48), 10),
        (specimens.mlp(1, 28, 7, seed=0), (3, 1, 28), 7),
        (specimens.conv(3, 5, seed=0), (1, 3, 32), 5),
    ],
)
def test_models_fit_images(model, shape, classes):
    x = specimens.images(*shape, seed=0)
    assert model(x).shape == (shape[0], classes)
    assert not model.training


def test_images_touch_both_ends_so_that_clipping_matters():
    x = specimens.images(4, 3, 16, seed=0)
    assert x.min() == 0 and x.max() == 1
    assert (x == 0).float().mean() > 0.05 and (x == 1).float().mean() > 0.05


def test_same_seed_same_specimen_and_global_state_alone():
    state = torch.random.get_rng_state()
    first, second = (specimens.mlp(1, 8, 3, seed=7)[1].weight for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(specimens.images(2, 1, 8, seed=3), specimens.images(2, 1, 8, seed=3))
    assert torch.equal(specimens.labels(9, 4, seed=3), specimens.labels(9, 4, seed=3))
    assert torch.equal(torch.random.get_rng_state(), state)
