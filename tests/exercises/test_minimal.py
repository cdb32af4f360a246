"""Chapter 9's exercises beyond what all exercises keep to."""

import torch

from advlib.attacks.minimal import deepfool
from advlib.exercises import check
from tests.exercises.verdicts import verdict


def wall_by_wall(W, b, x, y):
    found = []
    for picture, label in zip(x, y.tolist()):
        z = W @ picture + b
        walls = [(z[label] - z[k]) / torch.dist(W[k], W[label]) for k in range(len(b)) if k != label]
        found.append(max(min(walls), z.new_zeros(())))
    return torch.stack(found)


def with_a_mask(model, w, x, target, c, kappa):
    x_adv = torch.sigmoid(2 * w)
    z = model(x_adv)
    rows = torch.arange(len(z))
    others = torch.ones_like(z, dtype=torch.bool)
    others[rows, target] = False
    rival = z[others].view(len(z), -1).max(1).values
    return ((x_adv - x) ** 2).flatten(1).sum(1) + c * torch.relu(rival - z[rows, target] + kappa)


def test_a_loop_over_pictures_is_right_as_well(capsys):
    assert "✓" in verdict(capsys, check.boundary_distance, wall_by_wall)


def test_a_sigmoid_of_twice_w_is_the_same_change_of_variable(capsys):
    assert "✓" in verdict(capsys, check.cw_objective, with_a_mask)


def test_two_slips_at_once_are_both_named(capsys):
    def slipped(W, b, x, y):
        z = x @ W.T
        gap, own = z.gather(1, y[:, None]) - z, torch.arange(len(b)) == y[:, None]
        return (gap / (W - W[y][:, None]).norm(dim=2)).masked_fill(own, torch.inf).amin(1)

    said = verdict(capsys, check.boundary_distance, slipped)
    assert "the bias is missing" in said and "negative distance" in said


def test_deepfools_own_picture_is_not_nearer(capsys):
    given = check.shorter_way.example()
    assert "DeepFool's is" in verdict(capsys, check.shorter_way, deepfool(*given), *given)
