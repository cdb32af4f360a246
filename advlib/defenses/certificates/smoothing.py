"""Randomised smoothing: a vote over noisy copies, and the L2 radius that no attack crosses."""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.special import bdtr, betaincinv, ndtri
from torch import Tensor, nn

from advlib import contract
from advlib.answers import answer
from advlib.progress import progress

__all__ = ["ABSTAIN", "Certificate", "Smoothed"]

ABSTAIN = -1
BLOCK = 100  # noisy copies in a pass: fixed, so that the draws are the same on every machine


class Certificate(NamedTuple):
    """What a smoothed classifier promises of each image: a class, or ``ABSTAIN``, and a radius in L2."""

    label: Tensor  # (N,)
    radius: Tensor  # (N,), 0 where it abstains


class Smoothed:
    """The classifier g(x) = the class that ``model`` gives most often to x + noise, noise ~ N(0, σ²) on each value.

    Cohen, Rosenfeld & Kolter (2019), Eq. 1. Where the model says class A to x + noise with probability p > ½, g says A
    on all of the L2 ball of radius σ Φ⁻¹(p) around x (their Theorem 1 in its binary form), whatever the model is.
    p is not known, only estimated: g itself can be computed for nothing but with errors of a stated probability.

    sigma       σ > 0, in pixel units. The noise is not cut to the pixel box: the model sees values outside of [0, 1],
                and does better if it was trained with such noise.

    ``transform(x, generator)`` adds noise: attack through it with ``eot(model, smoothed.transform)``. The model stays
    as it was, and so does the global random state.

    Raises
        TypeError, ValueError: no model, σ not above 0.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> _ = model[1].weight.data.copy_(torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]]))
    >>> x = torch.tensor([[0.9, 0.9, 0.1, 0.1], [0.5, 0.5, 0.5, 0.5]]).view(2, 1, 2, 2)
    >>> smoothed = Smoothed(model, sigma=0.25)
    >>> smoothed.predict(x, n=200)
    tensor([ 0, -1])
    >>> label, radius = smoothed.certify(x, n=1000)
    >>> label, 0.5 < radius[0] < 0.8   # the true distance is 0.8
    (tensor([ 0, -1]), tensor(True))
    """

    def __init__(self, model: nn.Module, sigma: float):
        contract.check_model(model)
        contract.check_number(sigma, "sigma", positive=True)
        self.model, self.sigma = model, sigma

    def transform(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """The images with noise drawn from ``generator``, which lives on the CPU."""
        contract.check_change(x, "x", some=True)
        contract.check_generator(generator)
        return x + self.sigma * torch.randn(x.shape, generator=generator).to(x)

    def predict(self, x: Tensor, n: int = 1000, *, alpha: float = 0.001, seed: int = 0) -> Tensor:
        """The class of g for each image, (N,), or ``ABSTAIN`` where n votes are too close to tell (their PREDICT).

        For each image, an answer is another than that of g with probability at most alpha, over the noise drawn.

        n           votes; each is a pass of the model over one noisy copy.
        seed        of the noise: the same seed and images give the same votes, on every device.
        Shapes: x (N, C, H, W) in [0, 1].

        Raises
            TypeError, ValueError: input that breaks the pixel-space contract; alpha not between 0 and 1.
        """
        labels = []
        for (votes,) in self._votes(x, (n,), alpha, seed):
            (most, second), order = votes.topk(2)
            # If both were as likely, how often would their votes be as unequal as this? Twice the binomial's tail.
            chance = min(1.0, 2 * float(bdtr(int(second), int(most + second), 0.5)))
            labels.append(int(order[0]) if chance <= alpha else ABSTAIN)
        return torch.tensor(labels, device=x.device)

    def certify(self, x: Tensor, n0: int = 100, n: int = 1000, *, alpha: float = 0.001, seed: int = 0) -> Certificate:
        """For each image a class and a radius in L2 on which g answers it, or ``ABSTAIN`` and 0 (their CERTIFY).

        n0 votes choose the class A, n others tell how likely it is: p is at least the one-sided bound of Clopper &
        Pearson (1934), and the radius σ Φ⁻¹ of that. For each image the promise is wrong with probability at most
        alpha, over the noise drawn: of a thousand promises at alpha = 0.001, one may be. Even a unanimous vote
        promises no more than ``largest_radius(n, alpha)``.

        Arguments, shapes and errors: as in ``predict``.
        """
        labels, radii = [], []
        contract.check_count(n0, "n0")
        for chosen, votes in self._votes(x, (n0, n), alpha, seed):
            label = int(chosen.argmax())
            p = _at_least(int(votes[label]), n, alpha)
            labels.append(label if p > 0.5 else ABSTAIN)
            radii.append(self.sigma * float(ndtri(p)) if p > 0.5 else 0.0)
        return Certificate(torch.tensor(labels, device=x.device), torch.tensor(radii, device=x.device))

    def largest_radius(self, n: int, alpha: float = 0.001) -> float:
        """The radius that n votes certify when all of them agree: σ Φ⁻¹(α^(1/n)), the cap whatever the model is.

        >>> f"{Smoothed(nn.Identity(), sigma=1).largest_radius(1000):.2f}"
        '2.46'
        """
        contract.check_count(n, "n")
        _check_alpha(alpha)
        return max(0.0, self.sigma * float(ndtri(_at_least(n, n, alpha))))

    def _votes(self, x: Tensor, counts: tuple[int, ...], alpha: float, seed: int) -> list[list[Tensor]]:
        """For each image, the votes (K,) of so many noisy copies, and then of so many others."""
        contract.check_images(x)
        contract.check_count(counts[-1], "n")
        contract.check_seed(seed)
        _check_alpha(alpha)
        generator = torch.Generator().manual_seed(seed)
        with contract.frozen(self.model), torch.no_grad():
            images = x.detach().to(contract.model_device(self.model))
            return [[self._vote(one, count, generator) for count in counts] for one in progress(images, unit="image")]

    def _vote(self, image: Tensor, count: int, generator: torch.Generator) -> Tensor:
        votes: list[Tensor] = []
        for done in range(0, count, BLOCK):
            noisy = self.transform(image.expand(min(BLOCK, count - done), *image.shape), generator)
            logits = answer(self.model, noisy)
            contract.check_logits(logits, len(noisy), " for noisy images")
            votes.append(logits.argmax(1).bincount(minlength=logits.shape[1]))
        return torch.stack(votes).sum(0).cpu()


def _at_least(successes: int, n: int, alpha: float) -> float:
    """Clopper & Pearson's lower bound of a probability, right with probability 1 − alpha."""
    return float(betaincinv(successes, n - successes + 1, alpha)) if successes else 0.0


def _check_alpha(alpha) -> None:
    contract.check_number(alpha, "alpha", positive=True)
    if alpha >= 1:
        raise ValueError(f"alpha is {alpha}; expected the probability of an error, such as 0.001.")
