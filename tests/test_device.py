import pytest
import torch
from torch import nn

from advlib.device import VALUES_AT_ONCE, described, device, in_batches, width


def test_device_is_one_that_is_here():
    assert torch.zeros(1, device=device()).item() == 0


def test_a_gpu_is_taken_and_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "Tesla T4")
    assert device() == torch.device("cuda")
    assert described().startswith("GPU: Tesla T4. ")


def test_without_a_gpu_it_says_so(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert device() == torch.device("cpu") and described() == "No GPU here, and none is needed."
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    assert device() == torch.device("mps") and "Apple" in described()


def test_parts_cover_everything_once_in_order():
    seen = []
    in_batches(lambda rows: seen.append(rows.tolist()), torch.arange(10), values=1, batch_size=4)
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_size_is_chosen_from_the_size_of_an_image():
    sizes = []
    in_batches(lambda rows: sizes.append(len(rows)), torch.arange(100), values=VALUES_AT_ONCE["cpu"] // 30)
    assert sizes == [25, 25, 25, 25]
    in_batches(lambda rows: sizes.append(len(rows)), torch.arange(0), values=1)
    assert sum(sizes) == 100


def test_width_is_that_of_the_first_convolution_or_of_what_an_attack_keeps():
    image = torch.rand(3, 224, 224)
    strided = nn.Sequential(nn.Conv2d(3, 96, 7, stride=2, padding=3), nn.Conv2d(96, 9999, 3))
    assert width(strided, image) == 10 * image.numel()
    assert width(nn.Conv2d(3, 96, 7, padding=3), image) == 96 * 224 * 224
    assert width(lambda x: x, image) == width(nn.Flatten(), image) == 10 * image.numel()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried …"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory: you tried …"),
        RuntimeError("MPS backend out of memory (MPS allocated: 6.34 GB, other allocations: 384.00 KB)"),
    ],
    ids=["CUDA", "Python", "Linux", "Windows", "MPS"],
)
def test_out_of_memory_halves_and_goes_on(error):
    seen = []

    def run(rows):
        if len(rows) > 3:
            raise error
        seen.extend(rows.tolist())

    in_batches(run, torch.arange(20), values=1, batch_size=16)
    assert seen == list(range(20))


def test_another_error_is_not_taken_for_one_of_memory():
    def run(rows):
        if len(rows) > 3:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        in_batches(run, torch.arange(20), values=1, batch_size=16)


def test_one_image_that_does_not_fit_is_an_error():
    def run(rows):
        raise torch.OutOfMemoryError("too much")

    with pytest.raises(torch.OutOfMemoryError):
        in_batches(run, torch.arange(3), values=1)


@pytest.mark.parametrize("wrong", [0, -1, 2.5, "8", True])
def test_a_wrong_batch_size_is_named(wrong):
    with pytest.raises(ValueError, match="batch_size"):
        in_batches(lambda rows: None, torch.arange(3), values=1, batch_size=wrong)
