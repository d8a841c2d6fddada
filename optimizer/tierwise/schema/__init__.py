"""Prompts, tiers, prices and policies: frozen values, no I/O."""

from tierwise.schema.policy import (
    Difficulty,
    Limits,
    Policy,
    Probe,
    Recipe,
    StrategySpec,
    Variant,
    Weight,
    uniform,
)
from tierwise.schema.policy_file import PolicyFile, TaskRef, json_schema
from tierwise.schema.prompt import ANSWER, Message, PromptTemplate, substitute
from tierwise.schema.space import Constraints, Dimension, Range, SearchSpace
from tierwise.schema.tier import Price, SampleBill, Tier, price
from tierwise.schema.turns import Passage, Path, RetrieverSpec, Said, Turn, TurnTemplate, read_turn

__all__ = [
    "ANSWER",
    "Constraints",
    "Difficulty",
    "Dimension",
    "Limits",
    "Message",
    "Passage",
    "Path",
    "Policy",
    "PolicyFile",
    "Price",
    "Probe",
    "PromptTemplate",
    "Range",
    "Recipe",
    "RetrieverSpec",
    "Said",
    "SampleBill",
    "SearchSpace",
    "StrategySpec",
    "TaskRef",
    "Tier",
    "Turn",
    "TurnTemplate",
    "Variant",
    "Weight",
    "json_schema",
    "price",
    "read_turn",
    "substitute",
    "uniform",
]
