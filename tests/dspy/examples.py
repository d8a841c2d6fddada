"""The shipped arithmetic task as DSPy examples."""

from __future__ import annotations

from typing import Any

import dspy
from tierwise.runs import load_task
from tierwise.search.problem import SearchSize

LITTLE = SearchSize(
    screen_items=24,
    screen_samples=5,
    race_items=40,
    race_samples=7,
    study_items=60,
    study_variants=3,
    test_items=80,
    permutations=8,
)

DIRECT_SPACE = """
prompts: {demos: [0]}
temperature: [0.8]
variants: [1]
modes: [direct]
strategies: {single: {}, self_consistency: {samples: [3]}}
difficulty: {signals: [none], buckets: [1]}
"""
"""One sample or a vote of three, in one mode."""


def exact(example: Any, prediction: Any, trace: object = None) -> bool:
    return bool(example.answer == prediction.answer)


def arithmetic(n: int, first: int = 0) -> list[Any]:
    items = load_task("arithmetic").task.items
    step = len(items) // (n + first)
    return [
        dspy.Example(question=item.inputs["question"], answer=item.target).with_inputs("question")
        for item in items[:: max(step, 1)][first : first + n]
    ]
