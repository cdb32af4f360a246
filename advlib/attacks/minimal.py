"""The smallest perturbation that fools: DeepFool, Carlini–Wagner and FMN.

These attacks are given no ball. Each image gets a δ of its own size, and the sizes found over many images
measure a model. An image that is misclassified already, or for which nothing was found, comes back unchanged:
ask the model about the result to tell one from the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from advlib import contract
from advlib.attacks.standing import attack_standing
from advlib.attacks.victim import Victim
from advlib.ball import wide
from advlib.device import at_least_float32
from advlib.norms import L0, L1, L2, Ball, Linf

__all__ = ["deepfool", "carlini_wagner", "fmn"]

DUAL = {Linf: L1, L2: L2, L1: Linf}  # max ⟨g, δ⟩ over the unit ball of a norm is the dual norm of g
NUDGE = 1e-4  # added to DeepFool's distances, as its authors do: rounding must not end on the boundary
SHRINK = 1 - 1e-6  # keeps tanh⁻¹ finite on black and white pixels


def deepfool(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    norm: type[Ball] = L2,
    steps: int = 50,
    overshoot: float = 0.02,
    candidates: int = 10,
    batch_size: int | None = None,
) -> Tensor:
    """Step to the nearest decision boundary of the linearised model, again and again until it is crossed.

    Moosavi-Dezfooli, Fawzi & Frossard (2016), Algorithm 2. Seen linearly, class k takes over from the label y
    at distance (z_y − z_k) / ‖∇(z_k − z_y)‖* (Eq. 8), reached along the steepest direction of the norm.

    Deviations: the paper looks at all classes, and its authors' code at the ten likeliest of the clean image; here they
    are ranked anew at each step. Each step is stretched by 1 + η, as in that code (in the paper their sum is, at the
    end), and clipped to the pixel box, which neither knows. An image that is misread already is left alone: the walk is
    away from ``y``, the paper's from the model's own answer.

    norm        what to make small: ``L2`` or ``Linf``, in at most ``steps`` steps, ``batch_size`` images at once.
    overshoot   η: each step is stretched by 1 + η, to end beyond the boundary.
    candidates  how many of the likeliest other classes are looked at; each costs one backward pass per step.
    Shapes: x (N, C, H, W) in [0, 1], y (N,); returns images like x, those without success unchanged.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract; another norm.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> _ = model[1].weight.data.copy_(torch.tensor([[1.0, 1, 0, 0], [0.0, 0, 1, 1]]))
    >>> x = torch.tensor([0.6, 0.6, 0.4, 0.4]).view(1, 1, 2, 2)
    >>> L2(1).size(deepfool(model, x, torch.tensor([0])) - x)     # the boundary is 0.2 away
    tensor([0.2041])
    """
    contract.check_norm(norm, (L2, Linf), "deepfool")
    contract.check_count(steps, "steps")
    contract.check_count(candidates, "candidates")
    contract.check_number(overshoot, "overshoot")
    unit, dual = norm(1), DUAL[norm](1)

    def search(victim: Victim, rows: Tensor, x: Tensor, tick: Callable) -> Tensor:
        adv, todo, nudge = x.clone(), _all(rows), max(NUDGE, torch.finfo(victim.dtype).eps)
        for k in range(steps):
            gaps, grads = _boundaries(victim, adv[todo], rows[todo], candidates, f" at step {k + 1}")
            tick(len(todo))
            steepness = torch.stack([dual.size(grad) for grad in grads], dim=1)
            distance, nearest = torch.where(steepness > 0, gaps / steepness, torch.inf).min(1)
            stands, flat = (gaps >= 0).all(1), distance.isinf()
            victim.dead[rows[todo]] = stands & flat
            going = stands & ~flat
            todo, grad, distance = todo[going], grads[nearest[going], going.nonzero()[:, 0]], distance[going]
            if not len(todo):
                break
            step = wide(distance + nudge) * unit.steepest(grad)
            adv[todo] = (adv[todo] + (1 + overshoot) * step).clamp(0, 1)
        fooled = victim.score_on(rows)(adv, _all(rows)) > 0
        return torch.where(wide(fooled), adv, x)

    return attack_standing(model, x, y, None, batch_size, steps, search)


def _boundaries(victim: Victim, adv: Tensor, rows: Tensor, candidates: int, where: str) -> tuple[Tensor, Tensor]:
    """For the K likeliest other classes k: z_y − z_k (n, K), and gradients of z_k − z_y (K, n, C, H, W)."""
    adv = adv.detach().requires_grad_()
    logits, y = victim.logits(adv, where), victim.y[rows][:, None]
    logits = at_least_float32(logits)
    others = logits.detach().scatter(1, y, -torch.inf).topk(min(candidates, logits.shape[1] - 1)).indices
    leads = logits.gather(1, others) - logits.gather(1, y)
    # One graph, several backward passes: cheaper than a copy of the batch for each class.
    grads = [victim.input_gradient(lead, adv, where, again=True)[0] for lead in leads.unbind(1)]
    return -leads.detach(), torch.stack(grads)


def carlini_wagner(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    target: int | Tensor | None = None,
    confidence: float = 0.0,
    binary_search_steps: int = 5,
    steps: int = 200,
    lr: float = 0.1,
    initial_const: float = 1.0,
    batch_size: int | None = None,
) -> Tensor:
    """Minimise ‖δ‖₂² + c · max(κ − margin(x + δ), 0), and search for the smallest constant c that succeeds.

    Carlini & Wagner (2017), "Towards evaluating the robustness of neural networks", the L2 attack: with
    x + δ = ½ (tanh w + 1) every w is inside the pixel box, so Adam minimises over w without a constraint. After
    ``steps`` of it, c moves halfway to the largest constant that failed where the attack won, and up (tenfold, until it
    wins once) where it did not.

    Deviations: the defaults are made for small networks and a laptop. The authors' code tries 9 constants from 0.001 on
    with 10,000 steps of 0.01 each, fewer where the objective stops falling; here it is 5 constants from 1 on, with 200
    steps of 0.1. Pass theirs for a result to publish.

    target      a class index, or one per image (N,): the margin of the target instead.
    confidence  κ, the margin by which to win.
    lr          Adam's step size in w.
    initial_const, binary_search_steps  the first c, and how many c are tried on the ``model``.
    batch_size  images at once; None chooses.
    Shapes: x (N, C, H, W) in [0, 1], y (N,); returns images like x, those without success unchanged.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract; a negative confidence.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> _ = model[1].weight.data.copy_(torch.tensor([[1.0, 1, 0, 0], [0.0, 0, 1, 1]]))
    >>> x = torch.tensor([0.6, 0.6, 0.4, 0.4]).view(1, 1, 2, 2)
    >>> L2(1).size(carlini_wagner(model, x, torch.tensor([0]), steps=50) - x).item() < 0.21     # at best 0.2
    True
    """
    contract.check_count(steps, "steps")
    contract.check_count(binary_search_steps, "binary_search_steps")
    contract.check_number(confidence, "confidence")
    contract.check_number(lr, "lr", positive=True)
    contract.check_number(initial_const, "initial_const", positive=True)

    def search(victim: Victim, rows: Tensor, x: Tensor, tick: Callable) -> Tensor:
        smallest, gradient, everyone = _Smallest(x, L2), victim.gradient_on(rows), _all(rows)
        failed, worked = x.new_zeros(len(x)), x.new_full((len(x),), torch.inf)  # constants on either side
        c = x.new_full((len(x),), initial_const)
        for _ in range(binary_search_steps):
            w = torch.atanh(SHRINK * (2 * x - 1))
            adam, won = torch.optim.Adam([w], lr=lr), torch.zeros_like(rows, dtype=torch.bool)
            for _ in range(steps):
                tanh = w.tanh()
                adv = (tanh + 1) / 2
                _, margin, grad = gradient(adv, everyone)
                won |= smallest.offer(adv, (margin > 0) & (margin >= confidence))
                falls_short = wide(c * (margin < confidence).to(c))
                w.grad = (2 * (adv - x) - falls_short * grad) * (1 - tanh.square()) / 2
                adam.step()
                tick(len(x))
            failed, worked = torch.where(won, failed, c), torch.where(won, c, worked)
            c = torch.where(worked.isfinite(), (failed + worked) / 2, 10 * c)
        return smallest.adv

    return attack_standing(model, x, y, target, batch_size, binary_search_steps * steps, search)


def fmn(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    norm: type[Ball] = L2,
    target: int | Tensor | None = None,
    steps: int = 100,
    step: float = 1.0,
    gamma: float = 0.05,
    batch_size: int | None = None,
) -> Tensor:
    """Climb the margin in a ball that shrinks where the model is fooled and grows where it is not.

    Fast minimum norm, Pintor, Roli, Brendel & Biggio (2021), Algorithm 1: any norm, one model pass per step.
    Until an image is fooled for the first time, ε reaches at least to where the linearised margin is zero.

    Deviations: the paper's ε *is* that distance as long as nothing fools, and so may shrink; here it also grows by 1 +
    γ or more at each step. The projection is the exact one onto ball ∩ pixel box, where the paper projects and then
    clips. A step is ``step`` · ε long, along the gradient (its sign for L∞); the paper's does not depend on ε and is
    along the gradient for all norms.

    norm        what to make small: ``Linf``, ``L2``, ``L1`` or ``L0``.
    target      a class index, or one per image (N,).
    step        the first of ``steps`` steps in units of ε; they fall to a hundredth along a half cosine.
    batch_size  images at once; None chooses.
    gamma       γ: ε is multiplied by 1 ± γ at first, by 1 ± 0.001 in the end; in L0 it moves by one at least.
    Shapes: x (N, C, H, W) in [0, 1], y (N,); returns images like x, those without success unchanged.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract; a ball instead of a norm.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> _ = model[1].weight.data.copy_(torch.tensor([[1.0, 1, 0, 0], [0.0, 0, 1, 1]]))
    >>> x = torch.tensor([0.6, 0.6, 0.4, 0.4]).view(1, 1, 2, 2)
    >>> Linf(1).size(fmn(model, x, torch.tensor([0]), norm=Linf) - x).item() < 0.101            # at best 0.1
    True
    """
    contract.check_norm(norm, (Linf, L2, L1, L0), "fmn")
    contract.check_count(steps, "steps")
    contract.check_number(step, "step", positive=True)
    contract.check_number(gamma, "gamma", positive=True)
    ball, walk = norm(1), Linf(1) if norm is Linf else L2(1)

    def search(victim: Victim, rows: Tensor, x: Tensor, tick: Callable) -> Tensor:
        smallest, gradient = _Smallest(x, norm), victim.gradient_on(rows)
        farthest = ball.size(torch.maximum(x, 1 - x))  # in the box
        adv, eps = x, torch.zeros_like(farthest)
        for k in range(steps):
            _, margin, grad = gradient(adv, _all(rows))
            smallest.offer(adv, margin > 0)
            anneal = (1 + math.cos(math.pi * k / steps)) / 2
            rate = 0.001 + (gamma - 0.001) * anneal
            smaller, larger = eps * (1 - rate), eps * (1 + rate)
            if norm is L0:
                smaller = smaller.minimum(eps - 1).floor()
                larger = larger.maximum(eps + 1).floor()
            else:
                slope = DUAL[norm](1).size(grad).clamp_min(torch.finfo(grad.dtype).tiny)
                boundary = ball.size(adv - x) - margin / slope
                larger = torch.where(smallest.size.isfinite(), larger, larger.maximum(boundary))
            eps = torch.where(margin > 0, smaller.minimum(smallest.size), larger.minimum(farthest))
            eps = eps.clamp_min(1) if norm is L0 else eps
            length = step * (0.01 + 0.99 * anneal) * eps
            adv = x + ball.project(adv - x + walk.steepest(grad, radius=length), x, radius=eps)
            tick(len(x))
        return smallest.adv

    return attack_standing(model, x, y, target, batch_size, steps, search)


# ------------------------------------------------------------------------------------------ what they share
class _Smallest:
    """The smallest successful perturbation of each image so far; before the first, the image itself."""

    def __init__(self, x: Tensor, norm: type[Ball]):
        self.x, self.norm, self.adv, self.size = x, norm(1), x.clone(), x.new_full((len(x),), torch.inf)

    def offer(self, adv: Tensor, won: Tensor) -> Tensor:
        size = self.norm.size(adv - self.x)
        better = won & (size < self.size)
        self.adv = torch.where(wide(better), adv, self.adv)
        self.size = torch.where(better, size, self.size)
        return won


def _all(rows: Tensor) -> Tensor:
    return torch.arange(len(rows), device=rows.device)
