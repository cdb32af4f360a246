"""The classifier under attack, as attacks ask about it, with an eye on gradients that vanish."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from advlib import contract, losses
from advlib.answers import answer

__all__ = ["GradientMaskingWarning", "Victim", "round_towards"]

# The share of images without a gradient above which a result is called in question. A dead ReLU silences a few.
MANY = 0.1


LOSS = "expected one number for each image, (N,): one of advlib.losses, such as losses.cross_entropy."


class GradientMaskingWarning(UserWarning):
    """The model's gradients vanish: a low success rate would say more about them than about robustness."""


class Victim:
    """What an attack asks a classifier for: logits, loss, margin and input gradient of some of its images."""

    def __init__(self, model: nn.Module, y: Tensor, target: Tensor | None, loss: Callable, dtype: torch.dtype):
        self.model, self.y, self.target, self.loss, self.dtype = model, y, target, loss, dtype
        self.flat = torch.zeros_like(y, dtype=torch.bool)  # images on which the loss had no gradient
        self.dead = torch.zeros_like(self.flat)  # images on which the margin had none either
        self.classes = None  # known after the first forward pass

    def gradient_on(self, batch: Tensor) -> Callable:
        """The ``gradient`` of ``climb`` for the images ``batch``."""
        step = 0

        def gradient(adv: Tensor, rows: Tensor):
            nonlocal step
            step += 1
            where, images = f" at step {step}", batch[rows]
            loss, score, grad, silent = self._pass(adv, images, where)
            if self.loss is not losses.margin and bool((silent & ~self.flat[images]).any()):
                self.flat[images] |= silent
                again, loss, grad = silent.clone(), loss.clone(), grad.clone()
                loss[again], _, grad[again], silent[again] = self._pass(adv[again], images[again], where)
            self.dead[images] = silent
            return loss, score, grad

        return gradient

    def score_on(self, batch: Tensor) -> Callable:
        """The ``score`` of ``climb`` for the images ``batch``."""

        def score(adv: Tensor, rows: Tensor) -> Tensor:
            with torch.no_grad():
                images = batch[rows]
                return losses.margin(self.logits(adv, " after the last step"), *self.goal(images))

        return score

    def _pass(self, adv: Tensor, images: Tensor, where: str):
        """One forward and one backward pass, to the input alone: no weight gradient is computed.

        Gives loss, margin, gradient, and which images got no gradient though they are not won yet.
        """
        adv = adv.detach().requires_grad_()
        loss, score = self._judge(self.logits(adv, where), images)
        grad, largest = self.input_gradient(loss, adv, where)
        return loss.detach(), score.detach(), grad, (largest == 0) & (score.detach() <= 0)

    def loss_at(self, adv: Tensor, images: Tensor) -> Tensor:
        """The loss that is climbed, (n,), at iterates that no gradient is wanted of."""
        with torch.no_grad():
            return self._judge(self.logits(adv, " after the last step"), images)[0]

    def _judge(self, logits: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and margin; on images where the loss proved flat, the margin is the loss."""
        goal, flat = self.goal(images), self.flat[images]
        score, loss = losses.margin(logits, *goal), self.loss(logits, *goal)
        return (torch.where(flat, score, loss) if bool(flat.any()) else loss), score

    def input_gradient(self, loss: Tensor, adv: Tensor, where: str, again: bool = False):
        """The gradient of each image's ``loss`` at ``adv``, and its largest entry (N,). ``again``: more will follow."""
        grad = None
        if loss.requires_grad:
            (grad,) = torch.autograd.grad(loss.sum(), adv, retain_graph=again, allow_unused=True)
        if grad is None:
            raise ValueError(
                "the model's logits do not depend differentiably on its input (a detach, .numpy(), torch.no_grad, "
                "argmax or a quantised layer inside?); a gradient attack has nothing to follow. Remove it, attack "
                "through it with advlib.attacks.bpda, or use advlib.attacks.square, which needs no gradient."
            )
        largest = grad.abs().amax(dim=(1, 2, 3))
        contract.check_finite(largest, "input gradients", where)
        return grad, largest

    def logits(self, adv: Tensor, where: str) -> Tensor:
        """The model's checked answer (n, K); ``where`` names the moment in an error's text."""
        # Where no gradient protects the iterate from a model that writes into its images, it gets a copy.
        logits = answer(self.model, adv.to(self.dtype, copy=not adv.requires_grad))
        contract.check_logits(logits, len(adv), where)
        if self.classes is None:
            self.classes = logits.shape[1]
            contract.check_probabilities(logits)
            contract.check_labels(self.y, len(self.y), self.classes)
            contract.check_target(self.target, self.y, self.classes)
            self._try_loss(logits.detach())
        return logits.to(torch.promote_types(logits.dtype, adv.dtype))  # a model may calculate in less than it gets

    def _try_loss(self, logits: Tensor) -> None:
        """A loss gives one number for each image; else TypeError or ValueError."""
        some = torch.arange(len(logits), device=self.y.device) % len(self.y)
        try:
            value = self.loss(logits, *self.goal(some))
        except (AttributeError, IndexError, RuntimeError) as error:
            raise TypeError(f"loss cannot be called as loss(logits, y, target) ({error}); {LOSS}") from error
        if not isinstance(value, Tensor) or value.shape != some.shape:
            got = tuple(value.shape) if isinstance(value, Tensor) else contract.shown(value)
            raise ValueError(f"loss gave {got} for {len(some)} images; {LOSS}")
        if bool(value.isnan().any()):
            raise ValueError(f"loss gave NaN for finite logits; {LOSS}")

    def goal(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """The labels and targets of these images, as losses take them."""
        return self.y[images], None if self.target is None else self.target[images]

    def warn(self) -> None:
        """Say so where more than a few images had no gradient: the result means something else then."""
        n, flat, dead = len(self.y), int(self.flat.sum()), int(self.dead.sum())
        if dead > MANY * n:
            text = (
                f"the input gradient is exactly zero on {dead} of {n} images, whichever the loss: the model masks "
                "its gradient, and this attack says nothing about its robustness. Go through what masks it with "
                "advlib.attacks.bpda, or use advlib.attacks.square, which needs no gradient."
            )
        elif flat > MANY * n:
            text = (
                f"the gradient of {getattr(self.loss, '__name__', 'the loss')} is exactly zero on {flat} of {n} "
                "images (a saturated softmax); the margin loss was climbed there instead. losses.log_odds has "
                "cross-entropy's direction without its rounding."
            )
        else:
            return
        warnings.warn(text, GradientMaskingWarning, stacklevel=3)


def round_towards(clean: Tensor, adv: Tensor, dtype: torch.dtype) -> Tensor:
    """``adv`` in ``dtype``, rounded towards the clean image, so that rounding never leaves the ball."""
    rounded = adv.to(dtype)
    if dtype in (torch.float16, torch.bfloat16):
        past = (rounded.to(adv.dtype) - clean).abs() > (adv - clean).abs()
        down = (rounded.to(adv.dtype) > clean).to(torch.int16)
        # Among floats ≥ 0 the next smaller one has the bit pattern minus one.
        rounded = torch.where(past, (rounded.view(torch.int16) - (2 * down - 1)).view(dtype), rounded)
    return rounded
