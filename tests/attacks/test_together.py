"""One picture for many images: what the engine beneath `universal` and `patch` promises by itself."""

import torch

from advlib.attacks.together import climb_together
from advlib.norms import Linf
from tests.attacks.test_universal import fooled, linear


def test_pixels_beyond_the_box_hear_to_come_back():
    """A δ that is below all black images changes nothing: a clip's own gradient would be zero there for ever."""
    black = torch.zeros(4, 1, 3, 3)
    below = torch.full((1, 1, 3, 3), 0.25)  # stands for δ = −0.5
    add = lambda picture, images, generator: images + 2 * picture - 1
    model = linear(torch.ones(1, 1, 3, 3), bias=1.5)
    found = climb_together(model, black, torch.zeros(4).long(), add, below, Linf(0.5), steps=20, seed=0, batch_size=2)
    assert fooled(model, black, torch.zeros(4).long(), 2 * found - 1) == 1
