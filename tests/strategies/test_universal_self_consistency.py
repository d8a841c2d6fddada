"""The model selects the answer that agrees best with the others."""

from __future__ import annotations

from tierwise.schema import StrategySpec
from tierwise.strategies import Ask, Return, Sample, Seen, UniversalSelfConsistency
from tierwise.testing import StrategyConformance

ROOTS = (Sample("x"), Sample("y"), Sample(None))


class TestUniversalSelfConsistency(StrategyConformance):
    specs = (
        StrategySpec.of("universal_self_consistency", samples=2),
        StrategySpec.of("universal_self_consistency", samples=5),
    )
    out_of_range = (
        StrategySpec.of("universal_self_consistency", samples=1),
        StrategySpec.of("universal_self_consistency", samples=True),
    )

    def test_the_choice_is_below_the_last_sample_and_of_so_many(self):
        asked = UniversalSelfConsistency(3).step(Seen(ROOTS))
        assert asked == Ask.below((2,), "select", 3)

    def test_the_sample_that_was_named_is_returned(self):
        assert selecting(2.0) == Return(1)

    def test_what_names_none_or_no_answer_leaves_the_plurality(self):
        assert selecting(float("nan")) == Return(0)
        assert selecting(3.0) == Return(0)
        assert UniversalSelfConsistency(2).step(
            Seen((Sample(None, failed=True), Sample("y")))
        ) == Return(1)


def selecting(number):
    selected = Sample(None, {"select": number}, turn="select", parent=2)
    return UniversalSelfConsistency(3).step(Seen((*ROOTS, selected)))
