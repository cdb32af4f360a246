"""What every norm ball is: a perturbation set Δ = {δ : ‖δ‖ ≤ ε} with one ε, or one for each image.

The four norms are in ``advlib.norms``, which also offers the names of this file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from advlib.checks import MOST, check_count, check_number, shown
from advlib.tensors import check_change, check_generator, check_tensor, dtype_of

__all__ = ["Ball", "readable", "wide"]


@dataclass(frozen=True, eq=False)
class Ball:
    """The perturbations δ with ‖δ‖ ≤ ε. Use a norm: ``Linf``, ``L2``, ``L1`` or ``L0``.

    eps     a number ε ≥ 0 in pixel units; or a tensor (N,) that gives each of N images an ε of its own. Such a ball
            belongs to those N images, in their order: to some of them belongs ``rows`` of it.

    Raises
        TypeError: ε is no number, and no tensor of them. ValueError: an ε is negative, infinite or NaN; a tensor of
        another shape; in a method, another number of ε than of images.
    """

    eps: float | Tensor
    symbol = "‖δ‖"
    _example = "0.5"

    def __post_init__(self):
        name = type(self).__name__
        if isinstance(self.eps, Tensor):
            self._check_shape(self.eps, name)
            object.__setattr__(self, "eps", self.eps.detach().clone())  # a value, whatever its maker does later
        elif isinstance(self.eps, np.number) and np.isrealobj(self.eps):
            object.__setattr__(self, "eps", self.eps.item())
        elif isinstance(self.eps, bool) or not isinstance(self.eps, (int, float)):
            raise TypeError(
                f"{name}(ε) got ε = {shown(self.eps)} of type {type(self.eps).__name__}; expected a number in pixel "
                f"units, such as {name}({self._example}), or a tensor (N,) with one for each image."
            )
        self._refuse(
            lambda eps: not 0 <= eps < 1e300,
            "expected a finite number ≥ 0. ε is a size: turn a negative one round, and look for a 0/0 behind a NaN.",
        )

    def __str__(self) -> str:
        return f"{self.symbol} ≤ {readable(self.eps)}"

    def __eq__(self, other) -> bool:
        return self._key() == other._key() if isinstance(other, Ball) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    @property
    def per_image(self) -> bool:
        """Whether each image has an ε of its own: ``eps`` is a tensor (N,)."""
        return isinstance(self.eps, Tensor)

    def rows(self, index: Tensor) -> Ball:
        """The ball of the images ``x[index]``, on the index's device; itself where all images share one ε.

        >>> from advlib.norms import Linf
        >>> print(Linf(torch.tensor([4, 8, 16]) / 255).rows(torch.tensor([2, 0])))
        L∞ ≤ 4/255 to 16/255
        """
        check_tensor(index, "index", like="rows")
        if index.is_floating_point() or index.is_complex():
            raise TypeError(f"index has dtype {dtype_of(index)}; expected whole numbers, or booleans, one per image.")
        return replace(self, eps=self.eps.to(index.device)[index]) if isinstance(self.eps, Tensor) else self

    def scaled(self, factor: float) -> Ball:
        """The same norm with ε multiplied by ``factor``: ``Linf(0.1).scaled(2) == Linf(0.2)``."""
        check_number(factor, "factor")
        return type(self)(self.eps * factor)

    def size(self, delta: Tensor) -> Tensor:
        """The norm of each perturbation: (N, C, H, W) → (N,)."""
        raise NotImplementedError

    def project(self, delta: Tensor, x: Tensor | None = None, radius: float | Tensor | None = None) -> Tensor:
        """The nearest perturbation (in Euclidean distance) inside the ball, and with ``x`` inside the box too.

        ``radius`` takes the place of ε: one for all images or (N,) for each.
        """
        raise NotImplementedError

    def steepest(self, grad: Tensor, x: Tensor | None = None, radius: float | Tensor | None = None) -> Tensor:
        """The δ of the ball that maximises ⟨grad, δ⟩: the exact attack on a linear loss.

        With ``x``, the best δ among those that keep ``x + δ`` in [0, 1]. Where the gradient is zero, so is δ.
        ``radius`` takes the place of ε: a step, for all images or (N,) for each.
        """
        raise NotImplementedError

    def sample(self, x: Tensor, generator: torch.Generator, mask: Tensor | None = None) -> Tensor:
        """A random δ for each image of ``x``, uniform in the ball, then cut to the box.

        ``generator`` lives on the CPU, so that a seed means the same start on every device. With ``mask``, booleans
        like x, δ is uniform among those that are zero wherever the mask is False.
        """
        raise NotImplementedError

    def eps_for(self, x: Tensor) -> float | Tensor:
        """ε for the images ``x``: the number that it is, or (N,) on their device. ValueError: not as many as images."""
        check_change(x, "x")
        if not isinstance(self.eps, Tensor):
            return self.eps
        if len(self.eps) != len(x):
            raise ValueError(
                f"{type(self).__name__}(ε) got {len(self.eps)} ε for {len(x)} images; expected one for each image, or "
                "one number for all. For some images of a set take ball.rows(index)."
            )
        return self.eps.to(x.device)

    def factor(self, x: Tensor) -> float | Tensor:
        """ε as it multiplies the images ``x``: a number, or (N, 1, 1, 1)."""
        eps = self.eps_for(x)
        return wide(eps.to(x)) if isinstance(eps, Tensor) else eps

    def _radius(self, radius: float | Tensor | None, like: Tensor) -> Tensor:
        """ε or the radius in its place, as a tensor that multiplies images."""
        return wide(torch.as_tensor(self.eps_for(like) if radius is None else radius).to(like).expand(len(like)))

    def _check(self, change, name: str, x=None, radius=None) -> None:
        """What a method is given is like images, a radius a size; else TypeError or ValueError."""
        check_change(change, name, x)
        if radius is not None and not isinstance(radius, Tensor):
            check_number(radius, "radius")

    def _check_draw(self, x, generator, mask) -> None:
        """What to draw for, and from; else TypeError or ValueError."""
        check_change(x, "x")
        check_generator(generator)
        if mask is not None:
            check_tensor(mask, "mask", like="booleans")
            if mask.shape != x.shape or mask.dtype != torch.bool:
                got = f"{mask.dtype} {tuple(mask.shape)}"
                raise ValueError(f"mask is {got}; expected booleans like x, {tuple(x.shape)}: contract.check_mask.")

    def _refuse(self, wrong: Callable, expected: str | Callable) -> None:
        """ValueError for the first ε that is ``wrong``, saying what was ``expected`` (a text, or a function of ε)."""
        for i, eps in enumerate(self.eps.tolist() if isinstance(self.eps, Tensor) else [self.eps]):
            if wrong(eps):
                which = f" for image {i}" if isinstance(self.eps, Tensor) else ""
                text = expected(eps) if callable(expected) else expected
                got = shown(eps) if abs(eps) > MOST else f"{float(eps):g}"
                raise ValueError(f"{type(self).__name__}(ε) got ε = {got}{which}; {text}")

    def _check_shape(self, eps: Tensor, name: str) -> None:
        check_tensor(eps, "ε")
        if eps.dtype == torch.bool or eps.is_complex():
            raise TypeError(f"{name}(ε) got a tensor of {eps.dtype}; expected numbers in pixel units.")
        if eps.ndim != 1 or not len(eps):
            mend = f"{name}(eps.item())" if eps.numel() == 1 else f"{name}(eps.flatten())"
            raise ValueError(
                f"{name}(ε) got a tensor of shape {tuple(eps.shape)}; expected (N,), one ε for each image"
                + (f". Use {mend}." if eps.numel() else "; this one is empty.")
            )

    def _key(self) -> tuple:
        return type(self), tuple(self.eps.tolist()) if isinstance(self.eps, Tensor) else self.eps


def wide(per_image: Tensor) -> Tensor:
    """(N,) → (N, 1, 1, 1), to stand beside images."""
    return per_image[:, None, None, None]


def readable(eps: float | Tensor, digits: int = 6) -> str:
    """8/255 stays 8/255: the way people write a budget of 8-bit pixels. Of several, the smallest and the largest.

    A thousandth of 1/255 is forgiven, so that a measured distance reads like the budget it used up.

    >>> readable(8 / 255), readable(torch.tensor([0.5, 0.1, 0.2])), readable(0.123456, digits=3)
    ('8/255', '0.1 to 0.5', '0.123')
    """
    check_count(digits, "digits")
    if isinstance(eps, Tensor):
        low, high = (readable(float(end), digits) for end in eps.aminmax())
        return low if low == high else f"{low} to {high}"
    check_number(eps.item() if isinstance(eps, np.number) else eps, "eps")
    levels = round(255 * eps)
    if 0 < levels < 255 and abs(255 * eps - levels) < 1e-3:
        return f"{levels}/255"
    return f"{eps:.{digits}g}"
