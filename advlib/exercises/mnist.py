"""The exercises of chapter 22, MNIST."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib import attacks, losses
from advlib.answers import logits_of
from advlib.contract import frozen
from advlib.evaluate import accuracy, predict
from advlib.exercises import properties, specimens
from advlib.exercises.frame import Case, Explore, Formula, Mistake, Wrong
from advlib.exercises.specimens import bright
from advlib.models import nets
from advlib.norms import Linf

# --- my_gradient(weights, biases, x, y) -------------------------------------------------------------------


def onehot(z: Tensor, y: Tensor) -> Tensor:
    return F.one_hot(y, z.shape[1])


def walk(
    weights: list[Tensor],
    biases: list[Tensor],
    x: Tensor,
    y: Tensor,
    *,
    layer: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda out, W, b: out @ W.T + b,
    act: Callable[[Tensor], Tensor] = torch.relu,
    error: Callable[[Tensor, Tensor], Tensor] = lambda z, y: z.softmax(1) - onehot(z, y),
    mask: Callable[[Tensor, Tensor, int, int], Tensor | bool] = lambda g, a, i, last: a > 0,
    order: Callable[[list[Tensor]], list[Tensor]] = list,
    back: Callable[[Tensor, Tensor], Tensor] = torch.matmul,
    pixels: Callable[[Tensor, Tensor], Tensor] = torch.matmul,
) -> Tensor:
    """Forward, then from p − e_y back to the pixels, past the masks [a > 0]."""
    sums: list[Tensor] = []
    for W, b in zip(weights, biases, strict=True):
        sums.append(layer(act(sums[-1]) if sums else x, W, b))
    *hidden, z = sums
    g, hidden = error(z, y), order(hidden)
    for i in reversed(range(len(hidden))):
        g = back(g, weights[i + 1])
        g = g * mask(g, hidden[i], i, len(hidden) - 1)
    return pixels(g, weights[0])


def _labels_mixed(z: Tensor, y: Tensor) -> Tensor:
    p = z.softmax(1)
    p[:, y] -= 1
    return p


def _unpacked(weights, biases, x, y):
    (W1, W2), (b1, b2) = weights, biases
    a = x @ W1.T + b1
    return (((a.relu() @ W2.T + b2).softmax(1) - F.one_hot(y, len(b2))) @ W2 * (a > 0)) @ W1


def _first_two(weights, biases, x, y):
    return walk([weights[0], weights[1]], [biases[0], biases[1]], x, y)


def _networks() -> list[Case]:
    def case(name: str, sizes: tuple[int, ...], n: int, scale: float = 2, dtype: torch.dtype = torch.float32) -> Case:
        generator = torch.Generator().manual_seed(sum(sizes))
        weights = [scale * torch.randn(b, a, generator=generator) / a**0.5 for a, b in itertools.pairwise(sizes)]
        biases = [torch.randn(b, generator=generator) for b in sizes[1:]]
        x = (1.4 * torch.rand(n, sizes[0], generator=generator) - 0.2).clamp(0, 1)
        y = torch.randint(sizes[-1] - 1, (n,), generator=generator)
        y[0] = 0
        return Case(name, [W.to(dtype) for W in weights], [b.to(dtype) for b in biases], x.to(dtype), y)

    black = case("black images without biases", (12, 8, 4), 3)
    black.args[2][1:], black.args[1][0][:] = 0, 0
    return [
        case("a 6–7–5–4 network", (6, 7, 5, 4), 5),
        case("a 5–5–5–5 network", (5, 5, 5, 5), 4),
        case("a 784–128–10 network", (784, 128, 10), 6),
        case("a network without a hidden layer", (30, 9), 4),
        case("a batch of one, three hidden layers", (12, 10, 9, 8, 5), 1),
        case("float64 and logits of thousands", (20, 16, 12), 5, scale=80, dtype=torch.float64),
        black,
    ]


PER_LAYER = "every hidden layer has its own ReLU and its own mask"
LOOP = "a loop over zip(weights, biases)"
SOFTMAX = "p = logits.softmax(1), once"
RELU_GRADIENT_WRONG = [
    Wrong({"mask": lambda g, a, i, last: True}, "the gradient passes through hidden units that are silent",
          "the mask of the ReLU is missing", "multiply by (a > 0), a being what the layer puts out before its ReLU"),
    Wrong({"mask": lambda g, a, i, last: a >= 0}, "units whose sum is exactly zero let the gradient through",
          "a >= 0 instead of a > 0", "[a > 0] is 0 at a = 0, as in PyTorch"),
    Wrong({"mask": lambda g, a, i, last: a.relu()}, "the error is multiplied by the hidden units' values",
          "max(a, 0) was taken for its derivative", "the derivative is 1 or 0: (a > 0)"),
    Wrong({"mask": lambda g, a, i, last: (a > 0) | (i < last)}, "only the last hidden layer has a mask",
          "the mask stands outside of the loop", PER_LAYER),
    Wrong({"mask": lambda g, a, i, last: (a > 0) | (i > 0)}, "only the first hidden layer has a mask",
          "the mask stands outside of the loop", PER_LAYER),
    Wrong({"error": lambda z, y: z.softmax(1)}, "the true class plays no part", "e_y was not subtracted from p",
          "subtract 1 at the true class: p - F.one_hot(y, k)"),
    Wrong({"error": lambda z, y: onehot(z, y) * (z.softmax(1) - 1)}, "only the true class plays a part",
          "its error p_y − 1 stands alone, without the p of the others", "p - F.one_hot(y, k)"),
    Wrong({"error": lambda z, y: z - onehot(z, y)}, "the error at the logits is z − e_y", "the softmax is missing",
          SOFTMAX),
    Wrong({"error": lambda z, y: z.softmax(1).softmax(1) - onehot(z, y)}, "the probabilities are too even",
          "the softmax was taken twice", SOFTMAX),
    Wrong({"error": lambda z, y: z.softmax(0) - onehot(z, y)}, "the probabilities add up to 1 over the batch",
          "softmax(0) instead of softmax(1)", SOFTMAX),
    Wrong({"error": lambda z, y: z.exp() / z.exp().sum(1, keepdim=True) - onehot(z, y)},
          "where the logits are large, the gradient is NaN", "exp of a large logit is infinite",
          "logits.softmax(1) takes off the largest first"),
    Wrong({"error": lambda z, y: (z.softmax(1) - onehot(z, y)) * (z > 0)},
          "a logit below zero lets no gradient through", "a mask behind the last layer", "begin with p − e_y itself"),
    Wrong({"error": lambda z, y: z.relu().softmax(1) - onehot(z, y)}, "logits below zero count as zero",
          "a ReLU behind the last layer", "apply it between layers only"),
    Wrong({"error": lambda z, y: (z.relu().softmax(1) - onehot(z, y)) * (z > 0)},
          "logits below zero count as zero, and let no gradient through", "a ReLU and its mask behind the last layer",
          "apply them between layers only"),
    Wrong({"order": lambda hidden: hidden[::-1]}, "the masks stand at the wrong layers",
          "they come in the order of the way forward", "the way back meets the last hidden layer first: hidden[::-1]"),
    Wrong({"error": _labels_mixed}, "1 was subtracted at every label of the batch, in every row",
          "p[:, y] takes all rows for each label", "p[torch.arange(len(y)), y] -= 1, or p - F.one_hot(y, k)"),
    Wrong({"error": lambda z, y: z.softmax(1) - F.one_hot(y, 10)}, "there are not always ten classes",
          "10 is written into the code", "F.one_hot(y, logits.shape[1])"),
    Wrong({"error": lambda z, y: z.softmax(1) - F.one_hot(y)}, "the last class may be nobody's label",
          "F.one_hot(y) makes as many columns as the largest label asks for", "F.one_hot(y, logits.shape[1])"),
    Wrong({"layer": lambda out, W, b: out @ W.T}, "this is the gradient of a network without its biases",
          "the forward pass leaves them out", "a = out @ W.T + b"),
    Wrong({"layer": lambda out, W, b: out @ W + b}, "x @ W instead of x @ W.T", "the weights are (outputs, inputs)",
          "forwards out @ W.T + b, backwards g @ W"),
    Wrong({"act": lambda a: a}, "the forward pass has no ReLU", "the sums a were passed on instead of max(a, 0)",
          "out = a.relu(), and keep a for the mask"),
    Wrong({"back": lambda g, W: g @ W.T, "pixels": lambda g, W: g @ W.T}, "the way back multiplies by Wᵀ",
          "with images in rows, W₂ᵀ(p − e_y) is (p − e_y) @ W₂", "g @ W"),
    Wrong({"pixels": lambda g, W: g}, "the result is the error at the first layer's sums",
          "the last product, with the first layer's weights, is missing", "return g @ weights[0]"),
    Wrong(_unpacked, "it works for two linear layers only", "two names for the weights, W1 and W2", LOOP),
    Wrong(_first_two, "only the first two linear layers are used", "indices written into the code", LOOP),
    Wrong({"error": lambda z, y: z.softmax(1) - onehot(z, z.argmax(1))},
          "this is the gradient for the class that the network reads",
          "y was replaced by the prediction", "use the y that is passed"),
    *(Wrong({"mask": mask}, *words, "the derivative of a ReLU is 1 or 0: (a > 0)") for mask, *words in [
        (lambda g, a, i, last: a.sigmoid() * (1 - a.sigmoid()), "the slope is that of a sigmoid",
         "σ′(a) instead of [a > 0]"),
        (lambda g, a, i, last: a.sigmoid(), "the slope is that of a softplus", "σ(a) instead of [a > 0]"),
        (lambda g, a, i, last: 1 - a.tanh() ** 2, "the slope is that of a tanh", "1 − tanh²(a) instead of [a > 0]"),
        (lambda g, a, i, last: (a > 0) & (g > 0), "negative errors are cut off as well as silent units",
         "a second mask, of the error: that is guided backpropagation"),
        (lambda g, a, i, last: g > 0, "negative errors are cut off instead of silent units",
         "the mask is of g, not of a"),
        (lambda g, a, i, last: a < 0, "the silent units let the gradient through, and no others", "< instead of >"),
        (lambda g, a, i, last: a.sign(), "silent units turn the gradient round", "sign(a) is −1 there"),
        (lambda g, a, i, last: (a > 0).to(a).mean(0), "all images share one mask, the mean of theirs",
         "averaged over the batch"),
        (lambda g, a, i, last: a[:1] > 0, "all images share the first one's mask", "[0] picks one image"),
        (lambda g, a, i, last: torch.where(a > 0, 1, 0.01).to(a), "silent units let 1 % through",
         "a leaky ReLU's slope"),
    ]),
    *(Wrong({"error": error}, *words) for error, *words in [
        (lambda z, y: z.log_softmax(1) - onehot(z, y), "the error at the logits is log p − e_y", "log_softmax",
         SOFTMAX),
        (lambda z, y: z.sigmoid() - onehot(z, y), "the error at the logits is σ(z) − e_y", "a sigmoid", SOFTMAX),
        (lambda z, y: (z.softmax(1) - onehot(z, y)) / z.shape[1], "the gradient is divided by the number of classes",
         "a mean over the classes", "p − e_y as it is"),
        (lambda z, y: (z.softmax(1) - onehot(z, y)) * z.softmax(1) * (1 - z.softmax(1)),
         "the error is (p − e_y) · p (1 − p)",
         "the slope of a sigmoid was multiplied, as for a squared error", "p − e_y as it is"),
    ]),
    Wrong({"act": torch.sigmoid, "mask": lambda g, a, i, last: a.sigmoid() * (1 - a.sigmoid())},
          "this is the gradient of a network with sigmoids", "sigmoid instead of ReLU", "out = a.relu()"),
    Wrong({"act": torch.tanh, "mask": lambda g, a, i, last: 1 - a.tanh() ** 2},
          "this is the gradient of a network with tanh", "tanh instead of ReLU", "out = a.relu()"),
    Wrong(lambda weights, biases, x, y: walk(weights, biases, x, y) * (x > 0),
          "where a pixel is black, the gradient is 0",
          "a mask [x > 0] was applied to the pixels, too", PER_LAYER),
]  # fmt: skip

AUTOGRAD = ("grad", "backward", "run_backward", "grad_and_value", "vjp", "jvp", "jacrev", "jacfwd", "jacobian",
            "linearize", "make_dual")  # fmt: skip

relu_gradient = Formula(
    name="relu_gradient",
    chapter=22,
    title="The gradient of any depth",
    points=3,
    right=walk,
    cases=_networks,
    properties=[properties.like],
    by_hand=AUTOGRAD,
    verified="the gradient of autograd, on networks with none, one, two and three hidden layers",
    wrong=RELU_GRADIENT_WRONG,
)


# --- a network of the same layout that withstands more ----------------------------------------------------

HONEST = "train on attacked digits, and leave the gradients as they are"
QUERIES, ASKED = 200, 256  # what the black box is asked for each image, and how many images


def plain(model: nn.Module) -> nn.Module | None:
    """A 784–128–10 network with the weights of the model's two linear layers; None where it has others."""
    linear = sorted(
        (part for part in model.modules() if isinstance(part, nn.Linear)), key=lambda part: -part.in_features
    )
    if [part.weight.shape for part in linear] != [(128, 784), (10, 128)]:
        return None
    twin = nets.mnist_mlp().to(linear[0].weight)
    for own, part in zip((twin[1], twin[3]), linear, strict=True):
        own.load_state_dict(part.state_dict())
    return twin.eval()


def _layout(model: nn.Module, x: Tensor) -> Iterator[Mistake]:
    """What is not 784–128–10: other layers, or answers that are not those of the two with a ReLU between them."""
    twin, mend = plain(model), "start from nets.mnist_mlp(): only its training may change"
    if twin is None:
        layers = ", ".join(f"{part.in_features}–{part.out_features}" for part in model.modules()
                           if isinstance(part, nn.Linear))  # fmt: skip
        yield Mistake(f"its linear layers are {layers or 'none'}, expected 784–128, 128–10", mend=mend)
        return
    noise = torch.rand(x[:64].shape, generator=torch.Generator().manual_seed(0)).to(x)
    probe = torch.cat([x[:64], noise, (x[:64] + 0.1 * noise).clamp(0, 1)])
    if not torch.allclose(logits_of(model, probe), logits_of(twin, probe), rtol=1e-3, atol=1e-4):
        seen = "its answers are not those of its two linear layers with a ReLU between them"
        yield Mistake(f"{seen}: something else stands before, between or behind them", mend=mend)


def _withstands(
    exercise: Explore,
    model: Any,
    notes: list[str],
    x: Tensor,
    y: Tensor,
    eps: float,
    *,
    clean: float = 0.95,
    robust: float = 0.8,
) -> str:
    """A 784–128–10 network, right on a share ``clean`` of images and on ``robust`` under PGD at ``eps``."""
    if not isinstance(model, nn.Module):
        mend = "pass the network itself: fit(…) trains it in place, and returns the history"
        raise Mistake(f"got {properties.described(model)}, expected the network", mend=mend)
    within, x = Linf(eps), x.to(next(model.parameters(), x).dtype)
    with frozen(model), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            right = accuracy(model, x, y)
        except (ValueError, RuntimeError) as error:
            raise Mistake(f"it does not take these digits and give logits for them: {error}") from None
        found = list(_layout(model, x))
        # The margin's gradient does not vanish where the network is certain, as that of cross-entropy does.
        x_adv = attacks.pgd(model, x, y, within, steps=20, loss=losses.margin)
        masked = any(issubclass(warning.category, attacks.GradientMaskingWarning) for warning in warned)
        many, one = (accuracy(model, images, y) for images in (x_adv, attacks.fgsm(model, x, y, within)))
        left = (predict(model, x_adv)[0] == y).nonzero().flatten()[:ASKED]
        kept = 1.0
        if len(left) and not masked:
            asked = attacks.square(model, x[left], y[left], within, queries=QUERIES)
            kept = accuracy(model, asked, y[left])
    if right < clean:
        mend = "train longer or on more digits, or at first at a smaller ε"
        found.append(Mistake(f"it reads {right:.1%} of the clean digits; {clean:.0%} are asked", mend=mend))
    if masked:
        seen = f"its gradient is exactly zero on some digits: the {many:.1%} under PGD are no robustness"
        found.append(Mistake(seen, mend=HONEST))
    if kept < 0.9:
        seen = f"random squares fool {1 - kept:.0%} of {len(left)} digits that PGD left"
        found.append(Mistake(f"{seen}: its gradients lead astray, and {many:.1%} is too good", mend=HONEST))
    if many < robust:
        seen = f"under PGD at ε = {eps:g} it reads {many:.1%}; {robust:.0%} are asked. Under FGSM it reads {one:.1%}"
        # Only what survives one step and next to nothing else has overfitted so; a few points less under PGD are usual.
        cause = "it withstands one step and little else: catastrophic overfitting" if one - many > 0.3 else ""
        clue = ". A network that only ever saw clean digits does no better" if many < 0.2 and not cause else ""
        mend = "in perturb=…, several steps at an ε like that of the check, and early_stop=False; more passes"
        found.append(Mistake(seen + clue, cause, mend))
    if found:
        raise Mistake.all(found)
    return f"{right:.1%} of the clean digits and {many:.1%} under PGD at ε = {eps:g}, in the layout 784–128–10"


def _grey() -> tuple[Tensor, Tensor, float]:
    """Dark and light images: two classes that an ε below 0.2 cannot exchange."""
    y = torch.arange(40) % 2
    noise = torch.rand(40, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    return 0.1 * noise + 0.25 + 0.4 * y[:, None, None, None], y, 0.1


def _sturdy(*_: Any) -> nn.Module:
    return bright((-2, 1), above=2.5)


ROBUST_MLP_WRONG = [
    Wrong(lambda *given: [0.3, 0.1], "got a list of 2, expected the network"),
    Wrong(lambda *given: nets.mnist_cnn(), "its linear layers are"),
    Wrong(lambda *given: nn.Sequential(nn.Flatten(), nn.Linear(784, 99), nn.ReLU(), nn.Linear(99, 10)),
          "its linear layers are 784–99, 99–10, expected 784–128, 128–10"),
    Wrong(lambda *given: nn.Sequential(specimens.Rounded(), _sturdy()), "something else stands before, between or"),
    Wrong(lambda *given: nn.Sequential(_sturdy(), nn.Softmax(1)), "probabilities"),
    Wrong(lambda *given: bright((0.48, torch.nan), above=0), "NaN"),
    Wrong(lambda *given: bright((-2, 1), above=2.8), "it reads 50.0% of the clean digits; 95% are asked"),
    Wrong(lambda *given: bright((-2, 1), above=2.36), "it reads 50.0%; 80% are asked. Under FGSM it reads 50.0%"),
    Wrong(lambda *given: bright((-2, 1), above=2.5, detail=10), "A network that only ever saw clean digits does no"),
    Wrong(lambda *given: bright((0.2, 10), (0.36, -40), (0.45, 70), above=1.2), "catastrophic overfitting"),
    Wrong(lambda *given: bright((0.33, 10), above=0.02), "its gradient is exactly zero on some digits"),
    Wrong(lambda *given: bright((-2, -0.1), (0.32, 10), above=0), "random squares fool"),
]  # fmt: skip

robust_mlp = Explore(
    name="robust_mlp",
    chapter=22,
    title="Explore: harder, at the same size",
    points=3,
    live=True,
    measured=_withstands,
    example=_grey,
    right=_sturdy,
    wrong=ROBUST_MLP_WRONG,
)
