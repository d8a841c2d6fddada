"""One sample."""

from __future__ import annotations

from tierwise.schema import StrategySpec
from tierwise.strategies import Ask, Return, Sample, Seen, Single
from tierwise.testing import StrategyConformance


class TestSingle(StrategyConformance):
    specs = (StrategySpec.of("single"),)

    def test_asks_once_and_returns_it(self):
        assert Single().step(Seen()) == Ask(1)
        assert Single().step(Seen((Sample("7"),))) == Return(0)

    def test_a_reused_probe_is_voted_on(self):
        seen = Seen((Sample("6"), Sample("7"), Sample("7")))
        assert Single().step(seen) == Return(1)
