"""Items, splits, the reading of answers, and metrics (which alone see gold)."""

from tierwise.task.answers import NORMALISERS, AnswerSpec
from tierwise.task.item import SPLITS, Item, assign_splits
from tierwise.task.metrics import METRICS, Metric
from tierwise.task.task import Task

__all__ = [
    "METRICS", "NORMALISERS", "SPLITS", "AnswerSpec", "Item", "Metric", "Task", "assign_splits",
]  # fmt: skip
