"""Whatever goes wrong on the way: the error that comes out is the one that went in, and all is as it was before."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from tests.properties.problems import ATTACKS, ROUNDING, Attack, Problem, changed, examples, problems, state

pytestmark = pytest.mark.filterwarnings("ignore::advlib.attacks.GradientMaskingWarning")
ATTACKING = [attack for attack in ATTACKS if attack.fact.name != "AdvGAN"]  # which asks no network
ERRORS = {
    "an error of the network": lambda: RuntimeError("inside the network"),
    "a value of the network's": lambda: ValueError("inside the network"),
    "a type of the network's": lambda: TypeError("inside the network"),
    "Ctrl-C": KeyboardInterrupt,
    "the end": lambda: SystemExit(3),
    "Python's memory": MemoryError,
    "CUDA's memory": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "the processor's memory": lambda: RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 B"),
    "Apple's memory": lambda: RuntimeError("MPS backend out of memory (MPS allocated: 1.00 GB)"),
}
MEMORY = [name for name in ERRORS if "memory" in name]


def each(attacks):
    return pytest.mark.parametrize("attack", attacks, ids=str)


class Breaks(nn.Module):
    """A network that raises, or answers NaN, from its ``at``-th pass on, or with more than ``most`` images."""

    def __init__(self, net: nn.Module, error=None, at: int = 0, most: int | None = None):
        super().__init__()
        self.net, self.error, self.at, self.most = net, error, at, most
        self.passes, self.raised = 0, None

    def forward(self, x):
        self.passes += 1
        logits = self.net(x)
        if self.passes >= self.at if self.most is None else len(x) > self.most:
            if self.error is None:
                return logits * torch.nan
            self.raised = self.error()
            raise self.raised
        return logits


def run(attack: Attack, model: nn.Module, problem: Problem, y):
    x = problem.images()
    return attack(model, x, y, problem.within(attack), **problem.settings(attack, x, y))


@each(ATTACKING)
@examples(6)
@example(problem=Problem(classes=3), error="a type of the network's", at=2)  # SciPy swallowed it
@example(problem=Problem(n=1, wrong=True), error="Apple's memory", at=2)  # met by a trial pass that was not needed
@given(problem=problems(dtype=torch.float32), error=st.sampled_from(sorted(ERRORS)), at=st.integers(1, 6))
def test_an_error_comes_out_as_it_is_and_leaves_nothing_behind(attack, problem, error, at):
    model = Breaks(problem.network(), ERRORS[error], at).train()
    x = problem.images()
    y = problem.labels(model.net, x)
    before = state(model, x, y)
    try:
        run(attack, model, problem, y)
    except BaseException as caught:
        assert caught is model.raised, f"{caught!r} instead of {model.raised!r}"
    else:
        assert model.raised is None, f"{model.raised!r} was lost"
    assert not changed(before, state(model, x, y))


@each(ATTACKING)
@examples(3)
@given(problem=problems(dtype=torch.float32), at=st.integers(1, 6))
def test_nan_on_the_way_is_named_and_leaves_nothing_behind(attack, problem, at):
    model = Breaks(problem.network(), at=at).train()
    x = problem.images()
    y = problem.labels(model.net, x)
    before = state(model, x, y)
    try:
        run(attack, model, problem, y)
    except ValueError as caught:
        assert "the model gave NaN logits" in str(caught) and model.passes >= at
    else:
        assert model.passes < at, "NaN was taken for an answer"
    assert not changed(before, state(model, x, y))


@each([attack for attack in ATTACKING if "batch_size" in attack.takes])
@examples(3)
@example(
    problem=Problem(5, (3, 7, 7), dtype=torch.float64, corners=False), error="Python's memory", most=2
)  # transfer drew anew
@given(
    problem=problems(dtype=torch.float64, scale=1.0, corners=False),
    error=st.sampled_from(MEMORY),
    most=st.integers(1, 3),
)
def test_where_memory_runs_out_fewer_images_at_once_give_the_same(attack, problem, error, most):
    """The example is of ``transfer``, which drew anew for the images that were tried again."""
    model, x = problem.network(), problem.images()
    y = problem.labels(model, x)
    expected = run(attack, model, problem, y)
    found = run(attack, Breaks(model, ERRORS[error], most=most), problem, y)
    assert torch.allclose(found, expected, atol=ROUNDING)
