"""Two threads may attack one model, or two that share layers: each gets what it would get alone."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from advlib.answers import logits_of
from tests.properties.problems import ATTACKS, Problem, changed, examples, problems, state

pytestmark = pytest.mark.filterwarnings("ignore::advlib.attacks.GradientMaskingWarning")
ADVGAN = next(attack for attack in ATTACKS if attack.fact.name == "AdvGAN")
QUICK = [attack for attack in ATTACKS if attack.fact.name not in ("worst_case", "carlini_wagner")]  # parts say as much


@examples(20)
@example(problem=Problem(), pair=[ADVGAN] * 3, around=False)  # each made its networks from everybody's generator
@given(
    problem=problems(dtype=torch.float32),
    pair=st.lists(st.sampled_from(QUICK), min_size=2, max_size=3),
    around=st.booleans(),
)
def test_threads_do_not_notice_each_other(problem, pair, around):
    model, x = problem.network().train(), problem.images()
    y = problem.labels(model, x)
    models = [nn.Sequential(nn.Identity(), model).train() if around and i else model for i in range(len(pair))]
    work = [
        lambda attack=attack, model=model: attack(model, x, y, problem.within(attack), **problem.settings(attack, x, y))
        for attack, model in zip(pair, models)
    ]
    before = state(models[-1], x, y)
    expected = [one() for one in work] + [logits_of(model, x)]
    with ThreadPoolExecutor(len(work) + 1) as pool:
        running = [pool.submit(one) for one in (*work, lambda: logits_of(model, x))]
        found = [one.result() for one in running]
    assert all(torch.equal(one, other) for one, other in zip(found, expected))
    assert not changed(before, state(models[-1], x, y))
