"""Conformance suites: what strategies, difficulty signals, metrics and answer forms keep to.

For third parties too; needs pytest. Nothing in tierwise imports this package::

    from tierwise.testing import StrategyConformance

    class TestMine(StrategyConformance):
        specs = [StrategySpec.of("mine", samples=5)]
"""

from tierwise.testing.metrics import AnswerFormConformance, MetricConformance
from tierwise.testing.signals import SignalConformance
from tierwise.testing.strategies import (
    StrategyConformance,
    StrategyWalk,
    random_samples,
    walk_strategy,
)

__all__ = [
    "AnswerFormConformance",
    "MetricConformance",
    "SignalConformance",
    "StrategyConformance",
    "StrategyWalk",
    "random_samples",
    "walk_strategy",
]
