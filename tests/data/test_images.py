"""The `Images` value keeps the contract, and `load_images` gives what it promises."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advlib.data import Images, load_images, signs


def six() -> Images:
    return Images(torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2]), ("a", "b", "c"))


# -- the value -------------------------------------------------------------------------------------------------------

BAD = {
    "no tensor": (TypeError, "x is a numpy.ndarray", dict(x=torch.rand(6, 3, 8, 8).numpy())),
    "bytes": (TypeError, "Divide by 255", dict(x=torch.zeros(6, 3, 8, 8, dtype=torch.uint8))),
    "one image alone": (ValueError, r"unsqueeze\(0\)", dict(x=torch.rand(3, 8, 8))),
    "above 1": (ValueError, "divide by 255", dict(x=torch.rand(6, 3, 8, 8) * 255)),
    "normalised": (ValueError, "look normalised", dict(x=torch.rand(6, 3, 8, 8) * 2 - 1)),
    "NaN": (ValueError, "NaN", dict(x=torch.full((6, 3, 8, 8), torch.nan))),
    "empty images": (ValueError, "empty batch", dict(x=torch.rand(6, 3, 0, 8))),
    "labels as a list": (TypeError, r"Use torch.tensor\(y\)", dict(y=[0, 1, 2, 0, 1, 2])),
    "labels as floats": (TypeError, r"Use y.long\(\)", dict(y=torch.zeros(6))),
    "labels one-hot": (ValueError, "one-hot", dict(y=torch.zeros(6, 3, dtype=torch.long))),
    "too few labels": (ValueError, "one label for each of the 6 images", dict(y=torch.zeros(5, dtype=torch.long))),
    "a label beyond the classes": (ValueError, "class indices from 0 to 2", dict(y=torch.full((6,), 3))),
    "a negative label": (ValueError, "contains -1", dict(y=torch.full((6,), -1))),
    "no classes": (TypeError, "the names of the classes", dict(classes=())),
    "classes in one string": (TypeError, "the names of the classes", dict(classes="abc")),
    "classes as numbers": (TypeError, "the names of the classes", dict(classes=(0, 1, 2))),
}


@pytest.mark.parametrize("mistake", BAD)
def test_a_broken_contract_is_named(mistake):
    kind, message, fields = BAD[mistake]
    good = six()
    with pytest.raises(kind, match=message):
        Images(**{"x": good.x, "y": good.y, "classes": good.classes} | fields)


def test_it_cannot_be_changed():
    with pytest.raises(AttributeError):
        six().x = torch.zeros(1)


def test_classes_become_a_tuple():
    assert Images(torch.rand(1, 3, 8, 8), torch.tensor([0]), ["a"]).classes == ("a",)


@pytest.mark.parametrize(
    "which, expected",
    [
        (0, [0]),
        (-1, [5]),
        (slice(1, 3), [1, 2]),
        (slice(None, None, 2), [0, 2, 4]),
        ([4, 1], [4, 1]),
        (torch.tensor([3, 3]), [3, 3]),
        (torch.tensor([True, False, False, False, False, True]), [0, 5]),
    ],
)
def test_indexing_is_a_tensors(which, expected):
    images = six()
    chosen = images[which]
    assert torch.equal(chosen.x, images.x[expected]) and torch.equal(chosen.y, images.y[expected])
    assert chosen.classes == images.classes


def test_an_index_beyond_the_end_is_an_index_error_so_that_loops_end():
    with pytest.raises(IndexError):
        six()[6]
    assert [len(image) for image in six()] == [1] * 6


def test_a_selection_may_be_empty():
    images = six()
    none = images[images.y == 7]
    assert len(none) == 0 and none.classes == images.classes
    assert list(none.batches(4)) == [] or sum(len(x) for x, _ in none.batches(4)) == 0
    with pytest.raises(ValueError, match="no images"):
        none.show()


@given(st.integers(1, 9))
def test_batches_are_all_images_in_order(size):
    images = six()
    parts = list(images.batches(size))
    assert all(len(x) == len(y) <= size for x, y in parts)
    assert torch.equal(torch.cat([x for x, _ in parts]), images.x)
    assert torch.equal(torch.cat([y for _, y in parts]), images.y)


@pytest.mark.parametrize("size", [0, -1, 2.0, "8", True])
def test_a_batch_size_is_a_whole_number(size):
    with pytest.raises((TypeError, ValueError), match="size is"):
        six().batches(size)


def test_moving_to_a_device_keeps_all():
    images = six()
    moved = images.to("cpu")
    assert torch.equal(moved.x, images.x) and torch.equal(moved.y, images.y) and moved.classes == images.classes


def test_show_draws_each_image_under_its_name():
    figure = six().show(n=5, columns=2)
    assert [ax.get_title() for ax in figure.axes] == ["a", "b", "c", "a", "b"]


def test_show_draws_grey_images_and_no_figure_is_left_to_pyplot():
    from matplotlib import pyplot

    figure = Images(torch.rand(2, 1, 8, 8), torch.tensor([0, 0]), ("a",)).show()
    assert len(figure.axes) == 2 and pyplot.get_fignums() == []


# -- generated signs -------------------------------------------------------------------------------------------------


def test_signs_take_turns():
    images = load_images("signs", "test", n=2 * len(signs.CLASSES))
    assert images.x.shape == (32, 3, 48, 48) and images.x.dtype == torch.float32
    assert images.y.tolist() == [*range(len(signs.CLASSES))] * 2 and images.y.dtype == torch.int64
    assert images.classes == tuple(sign.label for sign in signs.CLASSES)


def test_signs_are_the_same_for_the_same_seed_and_more_of_them_begin_alike():
    few, many = load_images("signs", n=8, seed=3), load_images("signs", n=16, seed=3)
    assert torch.allclose(few.x, many.x[:8], atol=1e-5)


def test_no_sign_is_in_both_splits_or_under_two_seeds():
    x = torch.cat([load_images("signs", split, n=16, seed=seed).x for split in ("train", "test") for seed in (0, 1, 2)])
    distance = torch.cdist(x.flatten(1), x.flatten(1), p=1) + torch.eye(len(x)) * 1e9
    assert distance.min() > 1


# -- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, kind, message",
    [
        (dict(name="sings"), ValueError, "unknown data set 'sings': did you mean 'signs'"),
        (dict(name="imagenet"), ValueError, "Known: signs, mnist, cifar10, gtsrb, gtsrb-signs"),
        (dict(name="signs", split="tset"), ValueError, "did you mean 'test'"),
        (dict(name="mnist", split="sample"), ValueError, "unknown split of 'mnist' 'sample'"),
        (dict(name="signs", n=0), ValueError, "n is 0"),
        (dict(name="signs", n=2.5), TypeError, "n is 2.5"),
        (dict(name="signs", n=True), TypeError, "n is True"),
        (dict(name="signs", seed=-1), ValueError, "seed is -1"),
        (dict(name="signs", seed="0"), TypeError, "seed is '0'"),
    ],
)
def test_bad_input_is_named(arguments, kind, message):
    with pytest.raises(kind, match=message):
        load_images(**arguments)
