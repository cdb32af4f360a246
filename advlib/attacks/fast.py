"""Switches that make a network's passes cheaper and leave its function alone.

Batch norms are folded into the convolutions before them, and weights that only meet padding are left out. On a CPU,
convolutions work on images stored pixel by pixel (``channels_last``), and the gradient reaches the pixels by a cheaper
way. Nothing is copied or traced: the model itself is switched, runs its own code, and is switched back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from advlib.attacks.chance import ByChance, unnoticed
from advlib.attacks.trial import Met, Switched, few, logits_on, plain, same
from advlib.contract import model_device, shown

__all__ = ["faster"]

# Where a CPU's kernels for ``channels_last`` are slow: maps of so few pixels with so many channels.
FEW_PIXELS, MANY_CHANNELS = 16, 256


@contextmanager
def faster(model: nn.Module, x: Tensor, fast: bool | str = True) -> Iterator[Switched]:
    """Within this context ``model`` computes the same up to rounding in less time; afterwards it is as it was.

    x           the images to come, (N, C, H, W). Each switch is tried on a few of them, and undone where the logits
                are not the same or the model fails. At the end `Switched.check` tries them on what came of the images.
    fast        True for what leaves the result alone, False for nothing. "bf16" computes in half precision
                besides (autocast): faster again, but it flips the signs of 1 to 8 % of the gradient.

    A model is left alone where a switch could be noticed: with hooks, compiled or scripted, without a plain
    ``nn.Conv2d``, or where its answer depends on more than the image: on chance, or on a buffer that passes change.
    Only plain layers are touched, so parametrised and custom ones stay.

    Raises
        ValueError: ``fast`` is none of the three.

    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2)).eval()
    >>> x = torch.rand(5, 3, 8, 8)
    >>> logits = model(x)
    >>> with faster(model, x):
    ...     bool((model(x) - logits).abs().max() < 1e-5)
    True
    """
    if not isinstance(fast, bool) and not (isinstance(fast, str) and fast == "bf16"):
        raise ValueError(f'fast is {shown(fast)}; expected True, False or "bf16".')
    with ExitStack() as undo:
        tried = bool(fast) and _may_be_switched(model) and _switch(model, few(x.detach()).to(model_device(model)), undo)
        if fast == "bf16":
            undo.enter_context(torch.autocast(model_device(model).type, torch.bfloat16))
        yield Switched(model, undo, tried and fast != "bf16")


def _may_be_switched(model: nn.Module) -> bool:
    modules = dict(model.named_modules())
    by_chance = any(isinstance(module, ByChance) for module in modules.values())
    hooked = any(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
        for module in modules.values()
    )
    compiled = any(
        isinstance(module, torch.jit.ScriptModule) or module._compiled_call_impl is not None or "_orig_mod" in name
        for name, module in modules.items()
    )
    switchable = any(plain(module, nn.Conv2d) for module in modules.values())
    return switchable and not by_chance and not hooked and not compiled


def _switch(model: nn.Module, x: Tensor, undo: ExitStack) -> bool:
    """Throw all switches, or where the model then gives other logits, each that leaves them the same; whether any."""
    met: Met = []
    with unnoticed(model, x.device) as drawn:
        expected = logits_on(model, x, lambda module, given, output: met.append((module, given[0], output)))
        if expected is None or drawn() or not same(logits_on(model, x), expected):
            return False
    switches = [_fold_batch_norms, _crop_kernels] + [_channels_last, _subpixel_gradient] * (x.device.type == "cpu")

    def kept(chosen: list[Callable]) -> bool:
        with ExitStack() as trial:
            for switch in chosen:
                switch(model, met, trial)
            alike = same(logits_on(model, x, back=True), expected)
            if alike:
                undo.push(trial.pop_all())
            return alike

    if kept(switches):
        return True
    held = [kept([switch]) for switch in switches]
    return any(held)


def _fold_batch_norms(model: nn.Module, met: Met, undo: ExitStack) -> None:
    """w ← w · γ / √(σ² + ε) and b ← (b − μ) · γ / √(σ² + ε) + β: in eval mode a batch norm is a fixed affine map.

    So a convolution whose output goes into one and nowhere else can do its work.
    """
    once = _met_once(model, met)
    for (conv, _, made), (norm, eaten, _) in zip(met, met[1:]):
        if (
            type(conv) is nn.Conv2d
            and type(norm) is nn.BatchNorm2d
            and eaten is made
            and {conv, norm} <= once
            and not norm.training
            and norm.running_mean is not None
        ):
            weight, bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )
            undo.callback(setattr, conv, "bias", conv.bias)
            undo.callback(setattr, conv.weight, "data", conv.weight.data)
            undo.callback(delattr, norm, "forward")
            conv.weight.data, conv.bias, norm.forward = weight.data, bias, _identity


def _met_once(model: nn.Module, met: Met) -> set[nn.Module]:
    """The layers that a pass meets once and whose weights no other layer shares: they may be changed."""
    modules = [module for module, _, _ in met]
    weights = [id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False)]
    return {
        module
        for module in modules
        if modules.count(module) == 1 and (module.weight is None or weights.count(id(module.weight)) == 1)
    }


def _identity(x: Tensor) -> Tensor:
    return x


def _crop_kernels(model: nn.Module, met: Met, undo: ExitStack) -> None:
    """Leave out the rows and columns of a kernel that meet no pixel, only the padding around the map.

    Of 3 × 3 weights on a map of one pixel, that leaves the one in the middle: a ninth of the weights to fetch.
    """
    once = _met_once(model, met)
    for conv, x, made in met:
        if type(conv) is nn.Conv2d and conv in once and _regular(conv):
            rows, columns = map(_seen, x.shape[2:], made.shape[2:], conv.weight.shape[2:], conv.stride, conv.padding)
            weight = conv.weight.data[:, :, rows, columns]
            if weight.shape != conv.weight.shape:
                undo.callback(setattr, conv.weight, "data", conv.weight.data)
                undo.callback(setattr, conv, "padding", conv.padding)
                conv.weight.data = weight.contiguous()
                conv.padding = (conv.padding[0] - rows.start, conv.padding[1] - columns.start)


def _seen(pixels: int, outputs: int, weights: int, stride: int, padding: int) -> slice:
    """The weights that meet a pixel, along one side: weight k of output o meets pixel stride · o + k − padding.

    The map's size stays: with them and as much less padding as is left out in front, there are as many outputs.
    """
    return slice(max(0, padding - stride * (outputs - 1)), min(weights, padding + pixels))


def _regular(conv: nn.Conv2d) -> bool:
    """Whether it pads with zeros, by numbers, and its kernel has no gaps."""
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str) and conv.dilation == (1, 1)


def _channels_last(model: nn.Module, met: Met, undo: ExitStack) -> None:
    """Store weights so: what a convolution with such weights puts out is stored alike, and so on to the end."""
    for conv, x, _ in met:
        if type(conv) is not nn.Conv2d:
            continue
        if x[0, 0].numel() <= FEW_PIXELS and conv.in_channels >= MANY_CHANNELS:
            undo.callback(conv.register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(),)).remove)
        else:
            undo.callback(setattr, conv.weight, "data", conv.weight.data)
            conv.weight.data = conv.weight.data.to(memory_format=torch.channels_last)


def _subpixel_gradient(model: nn.Module, met: Met, undo: ExitStack) -> None:
    """Let the gradient reach the pixels through a convolution that makes S × S of them at once.

    The gradient of a convolution with stride S is a transposed one. To three colours that is slow: kernels work on
    16 channels at a time. But pixel S·q + r gets its gradient from the weights S·b + r at the outputs q − b, for
    each remainder r: an ordinary convolution with S² outputs per colour, put side by side (Shi et al. 2016, "Is the
    deconvolution layer the same as a convolutional layer?").
    """
    conv, x, _ = met[0]
    if type(conv) is not nn.Conv2d or "forward" in vars(conv):
        return
    (size, *sizes), (stride, *strides) = conv.weight.shape[2:], conv.stride
    square = sizes == [size] and strides == [stride] and conv.padding in [(n, n) for n in range(size)]
    if square and _regular(conv) and conv.groups == 1 and 1 < stride <= size and conv.in_channels * stride**2 <= 16:
        taps = -(-size // stride)
        weight = F.pad(conv.weight.detach(), (0, taps * stride - size) * 2)  # O, C, S·b + r twice
        weight = weight.unflatten(3, (taps, stride)).unflatten(2, (taps, stride)).flip(2, 4)
        weight = weight.permute(1, 3, 5, 0, 2, 4).flatten(0, 2)  # C·r·r, O, b, b
        weight = weight.contiguous(memory_format=torch.channels_last)
        undo.callback(delattr, conv, "forward")
        conv.forward = lambda x: _Strided.apply(x, conv, weight)


class _Strided(torch.autograd.Function):
    """A strided convolution whose gradient is computed as ``_subpixel_gradient`` says."""

    @staticmethod
    def forward(ctx, x: Tensor, conv: nn.Conv2d, weight: Tensor) -> Tensor:
        ctx.conv, ctx.weight, ctx.shape = conv, weight, x.shape[2:]
        return F.conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding)

    @staticmethod
    def backward(ctx, grad: Tensor):
        pixels = F.conv2d(grad, ctx.weight.to(grad.dtype), padding=ctx.weight.shape[-1] - 1)
        (top, left), (height, width) = ctx.conv.padding, ctx.shape
        pixels = F.pixel_shuffle(pixels, ctx.conv.stride[0])[:, :, top : top + height, left : left + width]
        unseen = (0, width - pixels.shape[3], 0, height - pixels.shape[2])  # at the edge, past the last stride
        return F.pad(pixels, unseen), None, None
