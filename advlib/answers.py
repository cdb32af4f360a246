"""What a classifier answers: logits, or a label and its probability."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from advlib import contract
from advlib.device import at_least_float32, in_batches, width

__all__ = ["DoesNotFit", "answer", "logits_of", "predict", "right"]


class DoesNotFit(ValueError):
    """The model was made for images of another shape."""


# What torch says of an image that does not fit a layer.
OF_SHAPES = ("shapes cannot be multiplied", "expected input", "must match the size", "size mismatch")


def predict(model: nn.Module, x: Tensor, *, batch_size: int | None = None) -> tuple[Tensor, Tensor]:
    """Predicted labels (N,) and their probabilities (N,) for images x (N, C, H, W) in [0, 1], on x's device.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> labels, probabilities = predict(model, torch.rand(5, 1, 2, 2))
    >>> labels.shape, probabilities.shape
    (torch.Size([5]), torch.Size([5]))
    """
    probability, label = logits_of(model, x, batch_size=batch_size).softmax(1).max(1)
    return label.to(x.device), probability.to(x.device)


def logits_of(model: nn.Module, x: Tensor, *, batch_size: int | None = None) -> Tensor:
    """The model's logits (N, K), at least float32, in eval mode and without gradients; the model stays as it was."""
    contract.check_model(model)
    contract.check_images(x)
    with contract.frozen(model), torch.no_grad():
        images = x.detach().to(contract.model_device(model))

        def run(rows: Tensor) -> Tensor:
            logits = answer(model, images[rows])
            contract.check_logits(logits, len(rows))
            return at_least_float32(logits).clone()  # a model may answer in the same memory each time

        parts = in_batches(run, torch.arange(len(x), device=images.device), width(model, x[0]), batch_size)
    contract.check_probabilities(parts[0])
    return torch.cat(parts)


def right(model: nn.Module, x: Tensor, y: Tensor, *, batch_size: int | None = None) -> Tensor:
    """Whether each image's label is predicted: booleans (N,) on the CPU.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    >>> _ = model[1].weight.data.copy_(torch.eye(2))
    >>> right(model, torch.tensor([[0.9, 0.3], [0.8, 0.3]]).view(2, 1, 1, 2), torch.tensor([0, 1]))
    tensor([ True, False])
    """
    contract.check_images(x)
    contract.check_labels(y, len(x))
    logits = logits_of(model, x, batch_size=batch_size)
    contract.check_labels(y, len(x), logits.shape[1])
    return (logits.argmax(1) == y.to(logits.device)).cpu()


def answer(model: Callable, images: Tensor):
    """``model(images)``; where it cannot calculate with their dtype or shape, TypeError or ValueError says so.

    A model may well take images of another dtype than its parameters': then nothing is said. One that begins by writing
    into its images gets a copy.
    """
    try:
        return model(images)
    except RuntimeError as error:
        if "leaf Variable that requires grad is being used in an in-place" in str(error):
            return model(images.clone())
        if "Inference tensors cannot be saved for backward" in str(error):
            raise ValueError(
                "the model's weights were made under torch.inference_mode, which lets no gradient through; expected "
                "one made or loaded outside. Copy it there: copy.deepcopy(model)."
            ) from error
        if any(words in str(error) for words in OF_SHAPES):
            raise DoesNotFit(
                f"the model cannot take images x of shape {tuple(images.shape)}; expected the channels, height and "
                f"width that it was made for. (Channels come second: (N, C, H, W).) It says: {error}"
            ) from error
        own = next((p.dtype for p in model.parameters()), None) if isinstance(model, nn.Module) else None
        if own in (None, images.dtype) or "type" not in str(error):
            raise
        ours, theirs = (str(dtype).removeprefix("torch.") for dtype in (images.dtype, own))
        raise TypeError(
            f"x has dtype {ours}, but the model's parameters are {theirs}; expected the same. Convert the images, "
            f"x.to(torch.{theirs}), or the model, model.to(torch.{ours})."
        ) from error
