"""How often is the model right, on clean images and under attack, and how sure is that number?"""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from advlib import contract, distributed
from advlib.answers import logits_of, predict
from advlib.answers import right as is_right
from advlib.attacks.worst import worst_case
from advlib.curves import Curve, curve
from advlib.data.images import Images
from advlib.data.streams import Stream, parts_done
from advlib.intervals import Share, interval
from advlib.norms import L1, L2, Ball, Linf
from advlib.sanity import sanity_checks

__all__ = ["predict", "accuracy", "robust_accuracy", "Share", "interval", "report", "Report", "curve", "Curve"]
__all__ += ["sanity_checks"]


def accuracy(model: nn.Module, x: Tensor, y: Tensor, *, batch_size: int | None = None) -> float:
    """The share of images whose label is predicted.

    >>> import torch
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> x = torch.rand(5, 1, 2, 2)
    >>> accuracy(model, x, predict(model, x)[0])
    1.0
    """
    return is_right(model, x, y, batch_size=batch_size).float().mean().item()


def robust_accuracy(
    model: nn.Module,
    x: Tensor | Stream,
    y: Tensor | None = None,
    within: Ball | None = None,
    *,
    attack: Callable[..., Tensor] = worst_case,
    batch_size: int | None = None,
    **settings,
) -> Share:
    """The share of images that are right, and stay right under ``attack``: by default ``attacks.worst_case``.

    Only the images that are right are attacked. No attack proves robustness: this is an upper bound on it, and
    ``advlib.attacks.worst_case`` makes it a tight one. The share is a float that knows its 95 % interval.

    Shapes: x (N, C, H, W) in [0, 1], y (N,). ``settings`` go to the attack, which may be anybody's: what it returns
    is checked, and does not count as an attack where it left the ball or the box.

    More images than memory holds come as a stream of parts instead, ``robust_accuracy(model, parts, within=ball)``:
    of pairs (x, y) or `Images`, such as a DataLoader or ``data.Folder``. Each is attacked as if it came alone.

    In a process group, where all processes call this with the same images, each takes some of the batches, or of a
    stream some of the parts, and all get the one figure that a single process gets. Only of a model that draws by
    chance each process draws its own.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract, or an attack whose result does; for a
            stream, labels of their own or a ball with an ε for each image.

    >>> import torch
    >>> from advlib.norms import Linf
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> _ = model[1].weight.data.copy_(torch.tensor([[1.0, 1, 0, 0], [0.0, 0, 1, 1]]))
    >>> x = torch.tensor([[0.9, 0.9, 0.1, 0.1], [0.55, 0.5, 0.5, 0.45]]).view(2, 1, 2, 2)   # far, near the boundary
    >>> robust_accuracy(model, x, torch.tensor([0, 0]), Linf(0.1), queries=50)
    50.0% (9.5% to 90.5%, 2 images)
    """
    contract.check_function(attack, "attack", "(model, x, y, within) -> x_adv, such as attacks.pgd")
    contract.check_ball(within)
    if y is None and isinstance(x, Images):
        return robust_accuracy(model, x.x, x.y, within, attack=attack, batch_size=batch_size, **settings)
    if y is None:
        contract.check_model(model)
        assert within is not None
        contract.check_one_eps(within, "robust_accuracy of a stream")
        of = partial(robust_accuracy, model, attack=attack, batch_size=batch_size, within=within, **settings)
        shares = list(parts_done(of, x))
        return Share(sum(round(one * one.n) for one in shares), sum(one.n for one in shares))
    contract.check_images(x)
    assert isinstance(x, Tensor) and within is not None  # as the checks have seen
    contract.check_ball(within, x)
    with distributed.sharing(x=x, y=y, within=within):
        right = is_right(model, x, y, batch_size=batch_size)
        if not right.any():
            return Share(0, len(x))
        rows = right.nonzero().flatten().to(x.device)
        attacked, y, within = x[rows], y.to(x.device)[rows], within.rows(rows)
        x_adv = attack(model, attacked, y, within, batch_size=batch_size, **settings)
        contract.check_result(x_adv, attacked, within, attack)
        return Share(int(is_right(model, x_adv, y, batch_size=batch_size).sum()), len(x))


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

    >>> import torch
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> x = torch.rand(5, 1, 2, 2)
    >>> report(model, x, predict(model, x)[0], x).robust_accuracy
    1.0
    """
    contract.check_images(x_adv, "x_adv")
    right = is_right(model, x, y, batch_size=batch_size)
    if x_adv.shape != x.shape:
        raise ValueError(f"x_adv has shape {tuple(x_adv.shape)}, x has {tuple(x.shape)}; expected the same images.")
    still_right = is_right(model, x_adv, y, batch_size=batch_size)
    won = ~still_right
    if target is not None:
        target = contract.check_target(target, y, logits_of(model, x[:1]).shape[1])
        won = is_right(model, x_adv, target, batch_size=batch_size)
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
