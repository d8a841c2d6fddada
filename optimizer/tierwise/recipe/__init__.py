"""Prompts, tiers, prices and policies: frozen values, no I/O."""

from tierwise.recipe.policy import (
    Arm,
    Difficulty,
    Limits,
    Policy,
    Probe,
    Recipe,
    StrategySpec,
    Weight,
    uniform,
)
from tierwise.recipe.policy_file import PolicyFile, TaskRef, json_schema
from tierwise.recipe.prompt import ANSWER, Message, PromptTemplate, substitute
from tierwise.recipe.space import Constraints, Dimension, Range, SearchSpace
from tierwise.recipe.tier import DrawBill, Price, Tier, price

__all__ = [
    "ANSWER", "Arm", "Constraints", "Difficulty", "Dimension", "DrawBill", "Limits", "Message",
    "Policy", "PolicyFile", "Price", "Probe", "PromptTemplate", "Range", "Recipe", "SearchSpace",
    "StrategySpec", "TaskRef", "Tier", "Weight", "json_schema", "price", "substitute", "uniform",
]  # fmt: skip
