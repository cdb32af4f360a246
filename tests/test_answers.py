"""What a model answers, whatever its mode and however its images are split."""

import pytest
import torch
from torch import nn

from advlib.answers import logits_of, predict

X = torch.tensor([0.1, 0.4, 0.9])[:, None, None, None].expand(3, 1, 4, 4).clone()


class Brightness(nn.Module):
    """Class 1 where an image is brighter than 0.5 on average, else class 0."""

    def forward(self, x):
        bright = 20 * (x.mean((1, 2, 3)) - 0.5)
        return torch.stack([-bright, bright], 1)


def test_predict_gives_labels_and_their_probabilities():
    label, probability = predict(Brightness(), X)
    assert label.tolist() == [0, 0, 1]
    assert probability[1].item() == pytest.approx(torch.sigmoid(torch.tensor(4.0)).item())


def test_predictions_do_not_depend_on_batches_or_mode():
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(16, 3)).train()
    before = model[0].running_mean.clone()
    assert torch.allclose(logits_of(model, X), logits_of(model, X, batch_size=2), atol=1e-6)
    assert model.training and torch.equal(model[0].running_mean, before)
