"""Policies judged on stored samples: numpy only, no I/O, no money."""

from tierwise.evaluation.evaluator import Evaluator
from tierwise.evaluation.measures import Evaluation, Rows
from tierwise.evaluation.permutations import STORED, Permutations
from tierwise.evaluation.replay import Replayed, column_of, replay, replayed
from tierwise.evaluation.table import ABSTAINED, SampleTable, VariantTable, encode_answers

__all__ = [
    "ABSTAINED",
    "STORED",
    "Evaluation",
    "Evaluator",
    "Permutations",
    "Replayed",
    "Rows",
    "SampleTable",
    "VariantTable",
    "column_of",
    "encode_answers",
    "replay",
    "replayed",
]
