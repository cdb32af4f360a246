"""Defences that clean the image before the network sees it: JPEG, few levels, a size by chance.

Each is a module around a model, ``defended(x) = model(transform(x))``, with its ``transform`` to attack through.
None says more of its gradient than is true: JPEG has none, a rounding's is zero. So an attack that knows nothing of the
defence fails loudly on it, which is no robustness: ``advlib.attacks.bpda`` and ``advlib.attacks.eot`` go through.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from advlib import contract
from advlib.attacks.views import warp
from advlib.data.photos import to_jpeg

__all__ = ["JPEG", "Quantize", "BitDepth", "ResizePad"]


class _Preprocessing(nn.Module):
    """A model behind a ``transform``. What it carries for people, ``classes`` and ``preprocess``, it carries too."""

    def __init__(self, model: nn.Module):
        super().__init__()
        contract.check_model(model)
        self.model = model
        for name in ("classes", "preprocess"):
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(self.transform(x))

    def transform(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class JPEG(_Preprocessing):
    """The model sees what is left of the image in a JPEG file: Guo et al. (2018), Section 3.2 (there, quality 75).

    quality     1 to 95. The file is a real one, written and read by Pillow, on the CPU.
    Shapes: images (N, 1 or 3, H, W) in [0, 1]. No gradient comes back: attack ``bpda(model, defended.transform)``.

    Raises
        TypeError, ValueError: no model, a quality that is no whole number or out of range; images of other channels.

    >>> from advlib.attacks import bpda, pgd
    >>> from advlib.norms import Linf
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    >>> defended, x, y = JPEG(model, 75), torch.rand(2, 3, 8, 8), torch.tensor([0, 1])
    >>> pgd(bpda(model, defended.transform), x, y, Linf(0.1)).shape
    torch.Size([2, 3, 8, 8])
    """

    def __init__(self, model: nn.Module, quality: int = 75):
        super().__init__(model)
        contract.check_jpeg_quality(quality)
        self.quality = quality

    def transform(self, x: Tensor) -> Tensor:
        """The images as they come back from a file, without gradient."""
        contract.check_images(x)
        if x.shape[1] not in (1, 3):
            raise ValueError(f"x has {x.shape[1]} channels; a JPEG file holds grey (1) or coloured (3) pictures.")
        return to_jpeg(x.detach(), self.quality)

    def extra_repr(self) -> str:
        return f"quality={self.quality}"


class Quantize(_Preprocessing):
    """The model sees each value rounded to the nearest of ``levels`` evenly spaced ones; 2 leave black and white.

    The rounding's gradient is zero, as it is everywhere but on the steps: attack it as
    ``bpda(model, defended.transform)``.

    Raises
        TypeError, ValueError: no model, fewer than 2 levels.

    >>> Quantize(nn.Identity(), levels=3)(torch.tensor([[0.1, 0.3, 0.7, 0.8]]))
    tensor([[0.0000, 0.5000, 0.5000, 1.0000]])
    """

    def __init__(self, model: nn.Module, levels: int):
        super().__init__(model)
        contract.check_count(levels, "levels", least=2)
        self.levels = levels

    def transform(self, x: Tensor) -> Tensor:
        """The images with few levels, and a gradient of zero."""
        contract.check_tensor(x, "x", like="images (N, C, H, W)")
        if not x.is_floating_point():
            raise TypeError(f"x has dtype {contract.dtype_of(x)}; expected a floating-point type.")
        return (x * (self.levels - 1)).round() / (self.levels - 1)

    def extra_repr(self) -> str:
        return f"levels={self.levels}"


class BitDepth(Quantize):
    """The model sees each value in so many ``bits``, 1 to 8: Xu et al. (2018), "Feature squeezing", Section 3.1.

    >>> BitDepth(nn.Identity(), bits=1)(torch.tensor([[0.1, 0.3, 0.7, 0.8]]))
    tensor([[0., 0., 1., 1.]])
    """

    def __init__(self, model: nn.Module, bits: int):
        contract.check_count(bits, "bits")
        if bits > 8:
            raise ValueError(f"bits is {bits}; expected 1 to 8: a picture file has no more than 8 bits a value.")
        super().__init__(model, 2**bits)
        self.bits = bits

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


class ResizePad(_Preprocessing):
    """The model sees each image in a size and at a place by chance, on black: Xie et al. (2018), Section 3.

    "Mitigating adversarial effects through randomization": there from 299 pixels to between 299 and 330, on 331.

    scale       the smallest and the largest size, as shares of the image's own; sizes and places are whole pixels.
    onto        (H, W) of the black canvas; None for that of the images, which networks of one input size need.

    A pass draws from torch's global random state, as dropout does: ``torch.manual_seed`` repeats it. The gradient is
    that of the draw; attack the expectation, ``eot(model, defended.transform)``, which brings a generator of its own.

    Raises
        TypeError, ValueError: no model, scales that are not 0 < smallest ≤ largest; a canvas that is too small.

    >>> from advlib.attacks import eot, pgd
    >>> from advlib.norms import Linf
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(300, 3))
    >>> defended, x, y = ResizePad(model, scale=(0.8, 1)), torch.rand(2, 3, 10, 10), torch.tensor([0, 1])
    >>> pgd(eot(model, defended.transform, samples=4), x, y, Linf(0.1)).shape
    torch.Size([2, 3, 10, 10])
    """

    def __init__(self, model: nn.Module, scale: tuple[float, float] = (0.8, 1.0), onto: Sequence[int] | None = None):
        super().__init__(model)
        contract.check_scales(scale)
        if onto is not None:
            contract.check_pair(onto, "onto", "(331, 331)", whole=True)
        self.scale, self.onto = scale, onto

    def transform(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The images, each in a size and at a place drawn from ``generator`` (on the CPU; None for torch's own)."""
        contract.check_change(x, "x", some=True)
        if generator is not None:
            contract.check_generator(generator)
        size, canvas = torch.tensor(x.shape[2:]), torch.tensor(self.onto or x.shape[2:])
        smallest, largest = (torch.round(share * size[0]) for share in self.scale)
        chance = torch.rand(len(x), 3, generator=generator)
        # Of a + 1 whole numbers from 0 to a, each is as likely.
        rows = (smallest + ((largest - smallest + 1) * chance[:, 0]).floor()).clamp_min(1)
        seen = rows[:, None] / size[0] * size
        free = canvas - seen
        if bool((free < -1e-3).any()):
            raise ValueError(
                f"images {tuple(x.shape[2:])} at scale {self.scale[1]:g} do not fit onto {tuple(canvas.tolist())}; "
                "choose a smaller scale, or a larger canvas with onto=(H, W)."
            )
        corner = ((free + 1e-3).floor() + 1).mul(chance[:, 1:]).floor()
        return warp(x, scale=rows / size[0], centre=(corner + seen / 2) / canvas, onto=canvas.tolist())

    def extra_repr(self) -> str:
        return f"scale={self.scale}, onto={self.onto}"
