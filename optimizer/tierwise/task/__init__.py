"""Items, splits, the reading of answers, metrics (which alone see gold) and verifiers."""

from tierwise.task.answers import NORMALISERS, AnswerSpec
from tierwise.task.item import SPLITS, Item, assign_splits
from tierwise.task.metrics import METRICS, RECORDED, Metric
from tierwise.task.python_metric import python_metric
from tierwise.task.task import Task
from tierwise.task.verifiers import VERIFIERS, Verifier, verified

__all__ = [
    "METRICS",
    "NORMALISERS",
    "RECORDED",
    "SPLITS",
    "VERIFIERS",
    "AnswerSpec",
    "Item",
    "Metric",
    "Task",
    "Verifier",
    "assign_splits",
    "python_metric",
    "verified",
]
