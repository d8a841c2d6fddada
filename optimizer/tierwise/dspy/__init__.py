"""Tierwise in DSPy: tiers as language models, an optimizer, and modules that run policies."""

from tierwise.dspy.adapter import EmbeddedAdapter
from tierwise.dspy.joint import JointOptimizer, Proposing
from tierwise.dspy.module import TunedPredict, trace_of, tuned
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
