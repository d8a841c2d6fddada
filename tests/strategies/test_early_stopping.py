"""ESC (arXiv 2401.10480): stop at a unanimous window."""

from __future__ import annotations

import itertools

import pytest

from tierwise.schema import StrategySpec
from tierwise.strategies import Ask, EarlyStopping, Sample, Seen
from tierwise.testing import StrategyConformance, walk_strategy


def samples(answers):
    return [Sample(a) for a in answers]


class TestEarlyStopping(StrategyConformance):
    specs = (
        StrategySpec.of("early_stopping", window=3, max_samples=9),
        StrategySpec.of("early_stopping", window=1, max_samples=1),
        StrategySpec.of("early_stopping", window=4, max_samples=10),
        StrategySpec.of("early_stopping", window=5, max_samples=5),
    )
    out_of_range = (
        StrategySpec.of("early_stopping", window=0, max_samples=5),
        StrategySpec.of("early_stopping", window=6, max_samples=5),
        StrategySpec.of("early_stopping", window=2, max_samples=0),
        StrategySpec.of("early_stopping", window=2),
    )

    def test_windows_do_not_overlap(self):
        end = walk_strategy(EarlyStopping(3, 9), samples("abbbbcaaa"))
        assert end.rounds == (3, 3, 3)
        assert walk_strategy(EarlyStopping(3, 9), samples("abbbbbccc")).rounds == (3, 3)

    def test_the_plurality_of_everything_wins_and_not_the_last_window(self):
        end = walk_strategy(EarlyStopping(2, 8), samples("aba" + "a" * 5))
        assert (end.rounds, end.answer) == ((2, 2), "a")
        end = walk_strategy(EarlyStopping(2, 8), samples("abacbb"))
        assert (end.rounds, end.answer) == ((2, 2, 2), "b")

    def test_an_abstention_spoils_a_window(self):
        assert walk_strategy(EarlyStopping(2, 4), samples([None, None, "a", "a"])).rounds == (2, 2)
        assert walk_strategy(EarlyStopping(2, 4), samples([None, "a", "a", "a"])).rounds == (2, 2)

    def test_the_last_window_is_cut_at_the_cap(self):
        assert walk_strategy(EarlyStopping(3, 5), samples("abcaa")).rounds == (3, 2)

    def test_a_window_that_a_probe_began_is_completed(self):
        assert EarlyStopping(3, 9).step(Seen((Sample("a"),))) == Ask(2)

    @pytest.mark.parametrize(("window", "cap"), [(2, 6), (3, 7), (1, 3)])
    def test_samples_are_those_of_the_closed_form(self, window, cap):
        p = {"a": 0.6, "b": 0.3, "c": 0.1}
        mean = 0.0
        for answers in itertools.product(p, repeat=cap):
            weight = 1.0
            for answer in answers:
                weight *= p[answer]
            mean += weight * len(
                walk_strategy(EarlyStopping(window, cap), samples(answers)).samples
            )
        # A window is unanimous with probability q, and the last one is cut at the cap.
        q = sum(each**window for each in p.values())
        windows = enumerate(range(0, cap, window))
        expected = sum(min(window, cap - done) * (1 - q) ** i for i, done in windows)
        assert mean == pytest.approx(expected)
