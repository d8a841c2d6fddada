"""Tierwise in DSPy: tiers as language models, an optimizer, and modules that run policies."""

from tierwise.dspy.embedded_adapter import EmbeddedAdapter
from tierwise.dspy.joint import JointOptimizer
from tierwise.dspy.proposing import Proposing
from tierwise.dspy.tuned import TunedPredict, trace_of, tuned
from tierwise.proposals.dspy_lm import TierEngine, tier_lm

__all__ = [
    "EmbeddedAdapter",
    "JointOptimizer",
    "Proposing",
    "TierEngine",
    "TunedPredict",
    "tier_lm",
    "trace_of",
    "tuned",
]
