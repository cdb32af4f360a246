"""Bars: none for what is quick, one for what takes longer, counted from the beginning."""

import pytest
import torch

from advlib import progress as module
from advlib.progress import progress


@pytest.fixture
def made(monkeypatch):
    """The bars that tqdm is asked for, with what they are told."""
    found = []

    class Spy:
        def __init__(self, **settings):
            self.settings, self.counted, self.closed = settings, settings["initial"], False
            found.append(self)

        def update(self, n):
            self.counted += n

        def refresh(self):
            pass

        def close(self):
            self.closed = True

    monkeypatch.setattr(module, "tqdm", Spy)
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    return found


@pytest.fixture
def clock(monkeypatch):
    """Seconds as the test says."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_what_is_quick_makes_no_bar(made):
    assert list(progress(range(5))) == [0, 1, 2, 3, 4] and made == []


def test_a_bar_comes_after_two_seconds_with_all_that_was_done_before(made, clock):
    for one in progress(range(6), unit="sign"):
        clock[0] = float(one)
    (bar,) = made
    assert bar.settings == {"total": 6, "leave": False, "unit": "sign", "initial": 3}
    assert bar.counted == 6 and bar.closed


def test_a_tensor_is_walked_like_a_list(made):
    assert [one.item() for one in progress(torch.arange(3))] == [0, 1, 2]


def test_what_is_counted_by_hand(made, clock):
    with pytest.raises(KeyboardInterrupt), progress(total=100) as bar:
        bar.update(10)
        clock[0] = 2.5
        bar.update(20)
        bar.update(30)
        raise KeyboardInterrupt
    assert made[0].settings["total"] == 100 and made[0].counted == 60 and made[0].closed


def test_a_variable_keeps_bars_away(made, clock, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    with progress(total=3) as bar:
        clock[0] = 9.0
        bar.update(3)
    assert made == []


def test_what_is_expected_may_change(made, clock):
    with progress(total=3) as bar:
        bar.expect(5)
        clock[0] = 9.0
        bar.update()
        bar.expect(7)
    assert made[0].settings["total"] == 5 and made[0].total == 7
