"""How often is the model right, on clean images and under attack, and how sure is that number?"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advlib import contract
from advlib.device import in_batches, width
from advlib.norms import L1, L2, Ball, Linf, readable

__all__ = ["predict", "accuracy", "robust_accuracy", "interval", "report", "Report", "curve", "Curve"]


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
    parts: list[Tensor] = []
    with contract.frozen(model), torch.no_grad():
        images = x.detach().to(contract.model_device(model))

        def run(rows: Tensor) -> None:
            logits = model(images[rows])
            contract.check_logits(logits, len(rows))
            parts.append(logits if logits.dtype == torch.float64 else logits.float())

        in_batches(run, torch.arange(len(x), device=images.device), width(model, x[0]), batch_size)
    contract.check_probabilities(parts[0])
    return torch.cat(parts)


def accuracy(model: nn.Module, x: Tensor, y: Tensor, *, batch_size: int | None = None) -> float:
    """The share of images whose label is predicted.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> x = torch.rand(5, 1, 2, 2)
    >>> accuracy(model, x, predict(model, x)[0])
    1.0
    """
    return _right(model, x, y, batch_size).float().mean().item()


def robust_accuracy(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    within: Ball,
    *,
    attack: Callable[..., Tensor] | None = None,
    batch_size: int | None = None,
    **settings,
) -> float:
    """The share of images that are right, and stay right under ``attack``: by default ``attacks.worst_case``.

    Only the images that are right are attacked. No attack proves robustness: this is an upper bound on it, and
    ``advlib.attacks.worst_case`` makes it a tight one.

    Shapes: x (N, C, H, W) in [0, 1], y (N,). ``settings`` go to the attack.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract.

    >>> from advlib.norms import Linf
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> _ = model[1].weight.data.copy_(torch.tensor([[1.0, 1, 0, 0], [0.0, 0, 1, 1]]))
    >>> x = torch.tensor([[0.9, 0.9, 0.1, 0.1], [0.55, 0.5, 0.5, 0.45]]).view(2, 1, 2, 2)   # far, near the boundary
    >>> robust_accuracy(model, x, torch.tensor([0, 0]), Linf(0.1), queries=50)
    0.5
    """
    if attack is None:
        from advlib.attacks.worst import worst_case  # which counts with this module, so not at the top

        attack = worst_case
    contract.check_ball(within)
    right = _right(model, x, y, batch_size)
    if not right.any():
        return 0.0
    rows = right.nonzero().flatten().to(x.device)
    x_adv = attack(model, x[rows], y.to(x.device)[rows], within, batch_size=batch_size, **settings)
    return int(_right(model, x_adv, y.to(x.device)[rows], batch_size).sum()) / len(x)


def _right(model: nn.Module, x: Tensor, y: Tensor, batch_size: int | None = None) -> Tensor:
    contract.check_images(x)
    contract.check_labels(y, len(x))
    logits = logits_of(model, x, batch_size=batch_size)
    contract.check_labels(y, len(x), logits.shape[1])
    return (logits.argmax(1) == y.to(logits.device)).cpu()


def interval(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's (1927) 95 % confidence interval for a proportion: right even at 0 of n and n of n.

    >>> low, high = interval(0, 20)
    >>> print(f"{low:.2f} to {high:.2f}")
    0.00 to 0.16
    """
    contract.check_count(n, "n")
    contract.check_count(successes, "successes", least=0)
    if successes > n:
        raise ValueError(f"{successes} successes among n = {n}; expected at most n.")
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class Report:
    """What an attack did to a model; print it, or let a notebook show it as a table."""

    n: int
    clean_accuracy: float
    robust_accuracy: float
    attacked: int  # images that were right, on which there was something to win
    success_rate: float  # the share of those that the attack took
    success_interval: tuple[float, float]  # 95 %, Wilson
    mean_size: dict[str, float]  # of the perturbation, by norm
    max_size: dict[str, float]

    def rows(self) -> list[tuple[str, str]]:
        low, high = self.success_interval
        return [
            ("images", str(self.n)),
            ("clean accuracy", f"{self.clean_accuracy:.1%}"),
            ("robust accuracy", f"{self.robust_accuracy:.1%}"),
            ("attack success", f"{self.success_rate:.1%} of {self.attacked} (95 % interval {low:.1%} to {high:.1%})"),
            *(
                (f"perturbation, {norm}", f"mean {self.mean_size[norm]:.4g}, max {self.max_size[norm]:.4g}")
                for norm in self.mean_size
            ),
        ]

    def __str__(self) -> str:
        return "\n".join(f"{name:<27}{value}" for name, value in self.rows())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells = "".join(
            f'<tr><th scope="row" style="text-align:left">{html.escape(name)}</th>'
            f'<td style="text-align:left">{html.escape(value)}</td></tr>'
            for name, value in self.rows()
        )
        return f"<table>{cells}</table>"


def report(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    x_adv: Tensor,
    *,
    target: int | Tensor | None = None,
    batch_size: int | None = None,
) -> Report:
    """Compare a model on images and on their adversarial versions.

    Shapes: x and x_adv (N, C, H, W) in [0, 1], y (N,). Success is counted on the images that were right before;
    with ``target``, only a prediction of the target is one. Sizes are means and maxima over all images.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract, or x_adv of another shape than x.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> x = torch.rand(5, 1, 2, 2)
    >>> report(model, x, predict(model, x)[0], x).robust_accuracy
    1.0
    """
    contract.check_images(x_adv, "x_adv")
    right = _right(model, x, y, batch_size)
    if x_adv.shape != x.shape:
        raise ValueError(f"x_adv has shape {tuple(x_adv.shape)}, x has {tuple(x.shape)}; expected the same images.")
    still_right = _right(model, x_adv, y, batch_size)
    won = ~still_right
    if target is not None:
        target = contract.check_target(target, y)
        won = _right(model, x_adv, target, batch_size)
    attacked, taken = int(right.sum()), int((right & won).sum())
    delta = (x_adv.to(x.device) - x).double()
    sizes = {
        "L∞": Linf(1).size(delta),
        "L2": L2(1).size(delta),
        "L1": L1(1).size(delta),
        "L0 (pixels)": (delta != 0).any(1).sum((1, 2)).double(),
    }
    return Report(
        n=len(x),
        clean_accuracy=right.float().mean().item(),
        robust_accuracy=(still_right & right).float().mean().item(),
        attacked=attacked,
        success_rate=taken / attacked if attacked else float("nan"),
        success_interval=interval(taken, attacked) if attacked else (0.0, 1.0),
        mean_size={norm: size.mean().item() for norm, size in sizes.items()},
        max_size={norm: size.max().item() for norm, size in sizes.items()},
    )


@dataclass(frozen=True)
class Curve:
    """Robust accuracy against ε, with a 95 % interval at each point."""

    eps: tuple[float, ...]
    accuracy: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __str__(self) -> str:
        return "\n".join(
            f"ε = {readable(e)}: {a:.1%} ({low:.1%} to {high:.1%})"
            for e, a, low, high in zip(self.eps, self.accuracy, self.low, self.high)
        )


def curve(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: Callable[..., Tensor],
    eps: Sequence[float],
    *,
    norm: Callable[[float], Ball] = Linf,
    batch_size: int | None = None,
    **settings,
) -> Curve:
    """Accuracy under ``attack`` for each ε of ``eps``: the shape of robustness, rather than one point of it.

    Shapes: x (N, C, H, W) in [0, 1], y (N,). ``attack`` is called as ``attack(model, x, y, norm(ε), **settings)``;
    at ε = 0 nothing is attacked. An image wrong before the attack counts as wrong.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract, or no ε at all.

    >>> from advlib.attacks import fgsm
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> x = torch.rand(5, 1, 2, 2)
    >>> curve(model, x, predict(model, x)[0], fgsm, [0, 0.5]).accuracy[0]
    1.0
    """
    balls = [norm(e) for e in eps]
    if not balls:
        raise ValueError("eps is empty; expected at least one ε, such as [0, 2/255, 4/255, 8/255].")
    clean = _right(model, x, y, batch_size)
    counts = []
    for ball in balls:
        x_adv = attack(model, x, y, ball, **settings) if ball.eps else x
        counts.append(int((_right(model, x_adv, y, batch_size) & clean).sum()))
    bounds = [interval(count, len(x)) for count in counts]
    return Curve(
        eps=tuple(float(ball.eps) for ball in balls),
        accuracy=tuple(count / len(x) for count in counts),
        low=tuple(low for low, _ in bounds),
        high=tuple(high for _, high in bounds),
    )
