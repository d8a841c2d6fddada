"""Prompts, tiers, prices and policies: frozen values, no I/O."""

from tierwise.recipe.policy import (
    Arm,
    Difficulty,
    Limits,
    Policy,
    Probe,
    Recipe,
    StrategySpec,
    uniform,
)
from tierwise.recipe.prompt import Message, PromptTemplate, substitute
from tierwise.recipe.tier import DrawBill, Price, Tier, price

__all__ = [
    "Arm", "Difficulty", "DrawBill", "Limits", "Message", "Policy", "Price", "Probe",
    "PromptTemplate", "Recipe", "StrategySpec", "Tier", "price", "substitute", "uniform",
]  # fmt: skip
