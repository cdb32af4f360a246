"""Chapter 15's exercises beyond what all exercises keep to."""

import torch

from advlib.exercises import check
from tests.exercises.verdicts import verdict


def of_the_covariance(features):
    f = features - features.mean(0, keepdim=True)
    return (f @ torch.linalg.eigh(f.T @ f).eigenvectors[:, -1]).square()


def between_pictures(features):
    f = features - features.mean(0)
    values, vectors = torch.linalg.eigh(f @ f.T)
    return values[-1] * vectors[:, -1] ** 2


def test_other_ways_to_the_same_scores_are_right(capsys):
    for way in (of_the_covariance, between_pictures):
        assert "✓" in verdict(capsys, check.spectral_scores, way)


def test_scores_of_features_that_were_never_centred_are_named(capsys):
    assert "not centred" in verdict(
        capsys, check.spectral_scores, lambda f: (f @ torch.linalg.svd(f, full_matrices=False)[2][0]) ** 2
    )


def one_by_one(model, x, y, stick, target):
    turned = []
    for one, label in zip(x.split(1), y):
        if label != target and model(one).argmax() != target:
            turned.append(int(model(stick(one)).argmax()) == target)
    return sum(turned) / len(turned)


def test_pictures_may_be_counted_one_by_one(capsys):
    assert "✓" in verdict(capsys, check.trigger_success, one_by_one)


def test_counting_the_targets_own_pictures_is_named(capsys):
    said = verdict(
        capsys,
        check.trigger_success,
        lambda model, x, y, stick, target: (model(stick(x)).argmax(1) == target).double().mean().item(),
    )
    assert "those of the target among them" in " ".join(said.split())


def test_a_whole_class_is_no_answer_to_where_the_poison_is(capsys):
    truth, labels = torch.arange(3072) < 96, torch.arange(3072) // 192
    assert "✗" in verdict(capsys, check.purged, labels == 0, truth)
    assert "✓" in verdict(capsys, check.purged, truth, truth)
