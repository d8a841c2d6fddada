"""Jointly tune the prompt and the inference strategy for each model tier, within a budget.

The public names, loaded when they are first used::

    tune, plan, compare              the main job, what it would buy, and what came of it
    Run                              a finished run: policies, frames, report
    Task, Tier, Price, Budget        what a job is made of
    AnswerSpec, PromptTemplate, ProposalSpec, Judge
    Variant, Recipe, Policy, StrategySpec
    PolicyFile, PolicyRuntime        a policy, and what answers requests with it
    TierwiseError                    base of what is raised on purpose
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tierwise.api import Run, plan, tune
    from tierwise.api import compare_runs as compare
    from tierwise.errors import TierwiseError
    from tierwise.schema import (
        Budget,
        Policy,
        PolicyFile,
        Price,
        PromptTemplate,
        ProposalSpec,
        Recipe,
        StrategySpec,
        Variant,
    )
    from tierwise.schema import JudgeSpec as Judge
    from tierwise.schema import TierSpec as Tier
    from tierwise.serving import PolicyRuntime
    from tierwise.tasks import AnswerSpec, Task

_HOME = {
    "Run": "api.Run",
    "compare": "api.compare_runs",
    "plan": "api.plan",
    "tune": "api.tune",
    "Budget": "schema.Budget",
    "Judge": "schema.JudgeSpec",
    "Policy": "schema.Policy",
    "PolicyFile": "schema.PolicyFile",
    "Price": "schema.Price",
    "PromptTemplate": "schema.PromptTemplate",
    "ProposalSpec": "schema.ProposalSpec",
    "Recipe": "schema.Recipe",
    "StrategySpec": "schema.StrategySpec",
    "Tier": "schema.TierSpec",
    "TierwiseError": "errors.TierwiseError",
    "Variant": "schema.Variant",
    "PolicyRuntime": "serving.PolicyRuntime",
    "AnswerSpec": "tasks.AnswerSpec",
    "Task": "tasks.Task",
}

__all__ = [
    "AnswerSpec",
    "Budget",
    "Judge",
    "Policy",
    "PolicyFile",
    "PolicyRuntime",
    "Price",
    "PromptTemplate",
    "ProposalSpec",
    "Recipe",
    "Run",
    "StrategySpec",
    "Task",
    "Tier",
    "TierwiseError",
    "Variant",
    "compare",
    "plan",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tierwise' has no attribute {name!r}")
    module, _, attribute = _HOME[name].rpartition(".")
    return getattr(importlib.import_module(f"tierwise.{module}"), attribute)


def __dir__() -> list[str]:
    return __all__
