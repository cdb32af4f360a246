"""What to say beside a reading: that it should not be believed, or that the model seems to get the wrong pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advlib import contract
from advlib.data.signs import CLASSES
from advlib.models.nets import Normalize

# Below this probability a reading of the model should not be believed. `signs-cnn` is that sure of 96 % of real photos
# of signs that it knows (154 of 160, on which the round number was chosen) and of 92 % of drawn ones (3,785 of 4,096),
# but of no photo without a sign (0 of 40) and of 7 % of clippings of such photos (21 of 320). Of real signs that it
# does not know it is as sure in 60 % (150 of 251): there only the reminder helps that it knows sixteen. In the other
# models the two kinds overlap, whichever score is taken (largest logit, energy, agreement of shifted views), and only
# the reminder is given.
BELIEVABLE = {"signs-cnn": 0.999}
TIMES_NEARER = 1.25  # from which normalised pixels fit the statistics of training too well for chance


def only_signs(model: str, classes: tuple[str, ...]) -> str | None:
    """The reminder that a model for signs reads one in whatever it is shown."""
    if tuple(classes) != tuple(sign.label for sign in CLASSES):
        return None
    return f"{model} knows {len(classes)} German road signs and nothing else: it reads one of them in any picture."


def doubt(model: str, photo: str, label: str, probability: float) -> str | None:
    """What to say of a clean reading that should not be believed."""
    least = BELIEVABLE.get(model)
    if least is None or probability >= least:
        return None
    return (
        f"{photo} may show none of the signs that {model} knows: it reads {label} with {probability:.1%}, but is more "
        f"than {least:.1%} sure of 96 in 100 photos of them."
    )


def normalisation(model: nn.Module, x: Tensor) -> str | None:
    """A warning where the model seems to have been trained on normalised pixels and gets plain ones; x (1, C, H, W).

    Two facts are looked at. The first convolution or linear layer gets x as it is; if not, all is well. And where a
    batch normalisation kept the statistics of training, those of x are compared with those of x normalised, by the
    Kullback-Leibler divergence of Gaussians in the median channel. Without one nothing can be told, and that is said.

    Measured on 40 photos and 60 signs with four networks, their own normalisation taken away or folded into their
    first layer. (How sure the model is of either tells nothing: normalised pixels have more contrast, which makes
    right models surer, too. SqueezeNet's log-odds rise by 2.1 without its normalisation and by 1.4 with it.)
    """
    x = x.to(contract.model_device(model))
    first = next((layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))), None)
    if first is None or not torch.equal(_input_of(first, model, x).flatten(), x.flatten()):
        return None
    name = next(name for name, layer in model.named_modules() if layer is first)
    mend = (
        "If it was trained on normalised images, return nn.Sequential(Normalize(mean, std), network) instead (from "
        "advlib.models import Normalize)."
    )
    norms = (layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d))
    norm = next((layer for layer in norms if layer.running_mean is not None), None)
    if norm is None:
        return f"the first layer ({name}) gets plain pixels in [0, 1], and nothing tells whether it should. {mend}"
    times = _misfit(norm, model, x) / min(_misfit(norm, model, usual(x)) for usual in _usual(x.shape[1], x.device))
    if times < TIMES_NEARER:
        return None
    return (
        f"it looks as if the normalisation were missing: the first layer ({name}) gets plain pixels in [0, 1], but "
        f"normalised ones come {times:.1f} times nearer to what its batch normalisation saw in training. {mend}"
    )


def _usual(channels: int, device: torch.device) -> list[nn.Module]:
    """ImageNet's normalisation, and the one to [-1, 1]."""
    if channels == 1:
        return [Normalize([0.449], [0.226]).to(device), Normalize([0.5], [0.5]).to(device)]
    imagenet = Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    return [imagenet.to(device), Normalize([0.5] * 3, [0.5] * 3).to(device)]


def _input_of(layer: nn.Module, model: nn.Module, x: Tensor) -> Tensor:
    """What reaches a layer of the model when it is shown x."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    try:
        with torch.no_grad():
            model(x)
    finally:
        hook.remove()
    return seen[0] if seen else torch.empty(0, device=x.device)


def _misfit(norm: nn.BatchNorm2d, model: nn.Module, x: Tensor) -> float:
    """KL(channel of x ‖ the same channel in training), for Gaussians; of the median channel."""
    assert norm.running_mean is not None and norm.running_var is not None
    values = _input_of(norm, model, x).double()
    mean, var = values.mean((0, 2, 3)), values.var((0, 2, 3)) + norm.eps
    kept = norm.running_var.double() + norm.eps
    kl = (var / kept + (mean - norm.running_mean.double()) ** 2 / kept - 1 - (var / kept).log()) / 2
    return max(kl.median().item(), 1e-9)
