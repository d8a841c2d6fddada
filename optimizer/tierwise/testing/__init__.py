"""Conformance suites: what every strategy and every difficulty signal must keep to.

For third parties too; needs pytest. Nothing in tierwise imports this room::

    from tierwise.testing import StrategyConformance

    class TestMine(StrategyConformance):
        specs = [StrategySpec.of("mine", samples=5)]
"""

from tierwise.testing.signals import SignalConformance
from tierwise.testing.strategies import StrategyConformance
from tierwise.testing.walk import StrategyWalk, random_samples, walk_strategy

__all__ = [
    "SignalConformance",
    "StrategyConformance",
    "StrategyWalk",
    "random_samples",
    "walk_strategy",
]
