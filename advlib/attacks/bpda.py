"""Attacks through what has no gradient: forwards the transformation as it is, backwards a smooth one in its place."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from advlib import contract

__all__ = ["bpda"]


class _Approximated(nn.Module):
    def __init__(self, model: nn.Module, transform: Callable, substitute: Callable | None):
        super().__init__()
        self.model, self.transform, self.substitute = model, transform, substitute

    def forward(self, x: Tensor) -> Tensor:
        seen = self.transform(x.detach()).detach()
        smooth = x if self.substitute is None else self.substitute(x)
        if seen.shape != smooth.shape:
            raise ValueError(
                f"transform makes {tuple(seen.shape)} of images {tuple(x.shape)}, its substitute "
                f"{tuple(smooth.shape)}; expected one shape. Pass a substitute that changes it as transform does."
            )
        return self.model(seen + (smooth - smooth.detach()))  # to the last bit what was seen


def bpda(model: nn.Module, transform: Callable[[Tensor], Tensor], substitute: Callable | None = None) -> nn.Module:
    """Backward pass differentiable approximation: the model behind a transformation t that has no useful gradient.

    Athalye et al. (2018), "Obfuscated gradients give a false sense of security", Section 4.1: forwards t itself, so
    the logits are those of the defended model; backwards the gradient of a smooth s with s(x) ≈ t(x), by default of
    s(x) = x (straight through, their Section 4.1.1). Any attack on this model is the BPDA attack.

    transform   ``transform(x) -> x'``, such as ``JPEG(model, 75).transform``. It may round, or leave PyTorch.
    substitute  ``substitute(x) -> x'``, differentiable; None for the identity.

    The direction is only about right: give the attack more steps, and do not stop it early. For a transformation that
    draws by chance take ``eot``, for one that does both ``eot(bpda(…), …)``.

    Raises
        TypeError: a model, transform or substitute that cannot be called. ValueError, in a pass: transform and
        substitute give images of different shapes.

    >>> import torch
    >>> model, x = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), torch.rand(2, 1, 2, 2, requires_grad=True)
    >>> through = bpda(model, torch.round)
    >>> torch.allclose(through(x), model(x.round())), torch.autograd.grad(through(x)[:, 0].sum(), x)[0].abs().sum() > 0
    (True, tensor(True))
    """
    contract.check_model(model)
    contract.check_function(transform, "transform", "x -> x', such as JPEG(model, 75).transform")
    if substitute is not None:
        contract.check_function(substitute, "substitute", "x -> x', differentiable")
    return _Approximated(model, transform, substitute)
