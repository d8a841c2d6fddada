"""ESC's expected samples against the paper's formula and against simulation."""

from __future__ import annotations

import numpy as np
import pytest

from tierwise.stats import expected_samples_esc


def published(p, window, cap):
    q, rounds = np.sum(np.asarray(p) ** window), cap // window
    stops = sum(q * (1 - q) ** i * (i + 1) for i in range(rounds - 1))
    return window * (stops + (1 - q) ** (rounds - 1) * rounds)


@pytest.mark.parametrize(("window", "cap"), [(1, 1), (2, 8), (5, 40), (4, 4)])
@pytest.mark.parametrize("p", [[1.0], [0.5, 0.5], [0.7, 0.2, 0.1], [0.6, 0.2]])
def test_equals_the_published_sum(p, window, cap):
    assert expected_samples_esc(p, window, cap) == pytest.approx(published(p, window, cap))


def test_by_hand():
    # q = .5, one look after 2 of 4: 2 + .5 * 2
    assert expected_samples_esc([0.5, 0.5], 2, 4) == pytest.approx(3)


def test_rows_and_a_last_window_that_is_cut():
    out = expected_samples_esc([[0.5, 0.5], [1.0, 0.0]], 2, 5)
    assert out == pytest.approx([2 + 0.5 * 2 + 0.25 * 1, 2])


def test_by_simulation():
    rng = np.random.default_rng(1)
    p, window, cap = [0.6, 0.3, 0.1], 3, 11
    used = []
    for _ in range(4000):
        samples = rng.choice(3, size=cap, p=p)
        ends = [e for e in (3, 6, 9) if len(set(samples[e - 3 : e])) == 1]
        used.append(ends[0] if ends else cap)
    error = np.std(used) / np.sqrt(len(used))
    assert expected_samples_esc(p, window, cap) == pytest.approx(np.mean(used), abs=4 * error)


@pytest.mark.parametrize(("window", "cap"), [(0, 4), (5, 4)])
def test_windows_out_of_range_are_refused(window, cap):
    with pytest.raises(ValueError, match="window"):
        expected_samples_esc([1.0], window, cap)
