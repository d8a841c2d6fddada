"""Tune a prompt and the way it is run, together, for each model tier.

The public names, loaded when they are first used::

    task_from_jsonl, tune            a task of one's own, and the main job
    Task, Budget, TierSpec, ProposalSpec
    Variant, Recipe, Policy, StrategySpec, PromptTemplate, AnswerSpec
    PolicyFile, PolicyRuntime        a policy, and what answers requests with it
    TierwiseError                    what is raised on purpose
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tierwise.api import task_from_jsonl, tune
    from tierwise.errors import TierwiseError
    from tierwise.schema import (
        Budget,
        Policy,
        PolicyFile,
        PromptTemplate,
        ProposalSpec,
        Recipe,
        StrategySpec,
        TierSpec,
        Variant,
    )
    from tierwise.serving import PolicyRuntime
    from tierwise.tasks import AnswerSpec, Task

_HOME = {
    "task_from_jsonl": "api",
    "tune": "api",
    "Budget": "schema",
    "ProposalSpec": "schema",
    "TierSpec": "schema",
    "TierwiseError": "errors",
    "Variant": "schema",
    "Policy": "schema",
    "PolicyFile": "schema",
    "PromptTemplate": "schema",
    "Recipe": "schema",
    "StrategySpec": "schema",
    "PolicyRuntime": "serving",
    "AnswerSpec": "tasks",
    "Task": "tasks",
}

__all__ = [
    "AnswerSpec",
    "Budget",
    "Policy",
    "PolicyFile",
    "PolicyRuntime",
    "PromptTemplate",
    "ProposalSpec",
    "Recipe",
    "StrategySpec",
    "Task",
    "TierSpec",
    "TierwiseError",
    "Variant",
    "task_from_jsonl",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tierwise' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tierwise.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
