"""AdvGAN: a network that learns to attack, so that each attack is one forward pass and needs no gradient."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from advlib import contract, losses, norms
from advlib.answers import answer
from advlib.attacks.victim import round_towards
from advlib.data.images import Images, check_some
from advlib.device import at_least_float32, in_batches
from advlib.files import replacing
from advlib.frozen import ALONE
from advlib.norms import L2, Ball, Linf
from advlib.progress import progress

__all__ = ["AdvGAN", "GanEpoch"]


class GanEpoch(NamedTuple):
    """What a pass over the training images came to: the three losses of AdvGAN and the share of images fooled."""

    adversarial: float
    gan: float
    hinge: float
    success: float


class AdvGAN(nn.Module):
    """A generator G of perturbations in a ball, taught against one classifier; x + G(x) is the attack.

    Xiao et al. (2018), "Generating adversarial examples with adversarial networks". A discriminator D learns to tell
    x + G(x) from x, so that G learns to leave images that look real; in training only, the classifier is asked too.

    within      the ball that no attack leaves: G ends in ε · tanh for L∞, in a projection for the other norms.
    channels    of the images; width: channels of G's first layer. seed: decides the first weights.

    Raises
        TypeError, ValueError: no ball, or channels or width below 1.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    >>> images = Images(torch.rand(12, 1, 8, 8), torch.arange(12) % 3, ("a", "b", "c"))
    >>> gan = AdvGAN(Linf(0.1), channels=1, width=4)
    >>> history = gan.fit(model, images, epochs=2)
    >>> gan.attack(images.x).shape
    torch.Size([12, 1, 8, 8])
    """

    def __init__(self, within: Ball, channels: int = 3, *, width: int = 16, seed: int = 0):
        super().__init__()
        contract.check_ball(within)
        contract.check_one_eps(within, "AdvGAN")
        contract.check_count(channels, "channels")
        contract.check_count(width, "width")
        contract.check_seed(seed)
        self.within, self.channels, self.width = within, channels, width
        with ALONE, torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed a GPU's generator as well
            self.generator, self.discriminator = _generator(channels, width), _discriminator(channels, width)

    def forward(self, x: Tensor) -> Tensor:
        """x + G(x), differentiable, in the ball and in [0, 1] up to rounding; ``attack`` is exact."""
        return x + self._perturbation(x)[0]

    def attack(self, x: Tensor, *, batch_size: int | None = None) -> Tensor:
        """Adversarial images like x (N, C, H, W), in the ball and in [0, 1], in one forward pass and no label.

        Raises
            TypeError, ValueError: images that break the contract or have another number of channels.
        """
        contract.check_images(x)
        self._check_channels(x)
        device = contract.model_device(self)
        clean = at_least_float32(x.detach().to(device))

        def run(rows: Tensor) -> Tensor:
            with torch.no_grad():
                images = clean[rows]
                return images + self.within.project(self._perturbation(images)[0], images)

        everyone = torch.arange(len(x), device=device)
        adv = in_batches(run, everyone, clean[0].numel() * self.width, batch_size)
        return round_towards(clean, torch.cat(adv), x.dtype).to(x.device)

    def fit(
        self,
        model: nn.Module,
        images: Images,
        *,
        target: int | None = None,
        epochs: int = 10,
        lr: float = 2e-3,
        batch_size: int = 32,
        gan: float = 0.1,
        hinge: float = 0.1,
        confidence: float = 5.0,
        seed: int = 0,
    ) -> list[GanEpoch]:
        """Teach G to fool ``model`` (Eq. 4): minimise L_adv + α · L_GAN + β · L_hinge; D maximises L_GAN.

        L_adv       Eq. 2, with the loss of Carlini & Wagner: what the margin still lacks of ``confidence``.
                    A margin does not round, so it needs no log-odds.
        L_GAN       Eq. 1, in its least-squares form; its weight α is ``gan``.
        L_hinge     Eq. 3: how far G's output, before it is brought back, is outside the ball; β is ``hinge``. (For
                    L∞ it never is.)
        target      the class every image is to become; images of that class are left out. None: any wrong class.
        seed        decides the order of the images.

        Returns one ``GanEpoch`` per pass. The classifier stays as it is; G and D move to its device.

        Raises
            TypeError, ValueError: input that breaks the contract, a target that is no class, a model or a loss that
            becomes NaN, with the epoch.
        """
        self._check_fit(model, images, target, epochs, batch_size)
        contract.check_number(lr, "lr", positive=True)
        for value, name in ((gan, "gan"), (hinge, "hinge"), (confidence, "confidence")):
            contract.check_number(value, name)
        contract.check_seed(seed)
        if target is not None:
            images = images[images.y != target]
        device, generator = contract.model_device(model), torch.Generator().manual_seed(seed)
        self.to(device)
        teach_g = torch.optim.Adam(self.generator.parameters(), lr)
        teach_d = torch.optim.Adam(self.discriminator.parameters(), lr)
        rates = [torch.optim.lr_scheduler.CosineAnnealingLR(teach, epochs) for teach in (teach_g, teach_d)]
        history = []
        with contract.frozen(model), progress(total=epochs * len(images), unit="image") as bar:
            for epoch in range(epochs):
                total = torch.zeros(4)
                for rows in torch.randperm(len(images), generator=generator).split(batch_size):
                    x, y = images.x[rows].to(device), images.y[rows].to(device)
                    goal = None if target is None else torch.full_like(y, target)
                    delta, outside = self._perturbation(x)
                    adv = x + delta

                    real, fake = self.discriminator(x), self.discriminator(adv.detach())
                    _step(teach_d, (real - 1).square().mean() + fake.square().mean())

                    logits = answer(model, adv)
                    contract.check_logits(logits, len(x), f" in epoch {epoch + 1}")
                    contract.check_probabilities(logits)
                    contract.check_labels(y, len(y), logits.shape[1])
                    margin = losses.margin(logits, y, goal)
                    parts = torch.stack(
                        [
                            F.relu(confidence - margin).mean(),
                            (self.discriminator(adv) - 1).square().mean(),
                            outside.mean(),
                        ]
                    )
                    contract.check_finite(parts, "losses", f" in epoch {epoch + 1}")
                    _step(teach_g, parts @ parts.new_tensor([1.0, gan, hinge]))

                    total += len(x) * torch.cat((parts, (margin > 0).float().mean()[None])).detach().cpu()
                    bar.update(len(x))
                for rate in rates:
                    rate.step()
                history.append(GanEpoch(*(total / len(images)).tolist()))
        return history

    def save(self, path: str | os.PathLike) -> None:
        """Write the weights, with all that ``load`` needs to know, to a ``.safetensors`` file."""
        contract.check_path(path)
        card = {
            "within": type(self.within).__name__,
            "eps": repr(self.within.eps),
            "channels": str(self.channels),
            "width": str(self.width),
        }
        weights = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        with replacing(path) as temporary:
            safetensors.torch.save_file(weights, temporary, metadata=card)

    @classmethod
    def load(cls, path: str | os.PathLike, device: str | torch.device | None = None) -> AdvGAN:
        """The AdvGAN that ``save`` wrote. Raises ValueError for a file that is none."""
        contract.check_path(path)
        contract.check_device(device)
        try:
            with safetensors.safe_open(Path(path), framework="pt") as file:
                card = file.metadata() or {}
            ball = {"Linf": norms.Linf, "L2": norms.L2, "L1": norms.L1, "L0": norms.L0}[card["within"]]
            gan = cls(ball(float(card["eps"])), int(card["channels"]), width=int(card["width"]))
            gan.load_state_dict(safetensors.torch.load_file(path))
        except (KeyError, RuntimeError, safetensors.SafetensorError) as error:
            raise ValueError(f"{path} holds no AdvGAN ({error}); expected a file that AdvGAN.save wrote.") from error
        return gan.to(device or "cpu")

    def _perturbation(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """G(x) in the box and the ball, and how far outside the ball it was before (N,), in units of ε."""
        raw = self.generator(x.to(next(self.generator.parameters()).dtype)).to(x.dtype).tanh()
        full = raw * self.within.eps if isinstance(self.within, Linf) else raw
        boxed = _straight_through(full, full.clamp(-x, 1 - x))
        outside = F.relu(self.within.size(boxed) - self.within.eps) / max(self.within.eps, 1e-6)
        if isinstance(self.within, (Linf, L2)):
            return self.within.project(boxed), outside
        # Which pixels L1 and L0 leave out has no gradient: it passes as if all were kept.
        return _straight_through(boxed, self.within.project(boxed)), outside

    def _check_channels(self, x: Tensor) -> None:
        if x.shape[1] != self.channels:
            raise ValueError(
                f"the images have {x.shape[1]} channels, but this AdvGAN was made for {self.channels}: "
                f"AdvGAN(within, channels={x.shape[1]})."
            )

    def _check_fit(self, model, images, target, epochs, batch_size) -> None:
        contract.check_model(model)
        contract.check_count(epochs, "epochs")
        contract.check_count(batch_size, "batch_size")
        check_some(images)
        self._check_channels(images.x)
        if target is not None:
            contract.check_class(target, "target", len(images.classes))
            if bool((images.y == target).all()):
                raise ValueError(f"all images are of class {target}, the target; pass images of other classes.")


def _straight_through(wanted: Tensor, got: Tensor) -> Tensor:
    """``got``, with the gradient of ``wanted``: a pixel beyond a bound would have none and never hear to come back."""
    return wanted + (got - wanted).detach()


def _step(teach: torch.optim.Optimizer, loss: Tensor) -> None:
    teach.zero_grad()
    loss.backward()
    teach.step()


class _Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class _Resized(nn.Sequential):
    """Whatever the strides inside made of height and width, give back what came."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(super().forward(x), x.shape[2:], mode="bilinear", align_corners=False)


def _block(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    # Normalised over each image alone: an attack must not depend on the batch it is in.
    return [nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.GroupNorm(1, outputs), nn.ReLU()]


def _generator(channels: int, width: int) -> nn.Module:
    """Down to a quarter, two residual blocks, and up again, as in the paper; each scale looks at the whole before."""
    inner = _Resized(
        *_block(2 * width, 4 * width, stride=2),
        *(_Residual(*_block(4 * width, 4 * width)) for _ in range(2)),
        *_block(4 * width, 2 * width),
    )
    outer = _Resized(*_block(width, 2 * width, stride=2), _Residual(inner), *_block(2 * width, width))
    return nn.Sequential(*_block(channels, width), _Residual(outer), nn.Conv2d(width, channels, 3, padding=1))


def _discriminator(channels: int, width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, width, 4, stride=2, padding=2),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=2),
        nn.LeakyReLU(0.2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * width, 1),
    )
