"""Policies judged on stored draws: numpy only, no I/O, no money."""

from tierwise.evaluation.evaluator import Evaluator
from tierwise.evaluation.measures import Evaluation, Rows
from tierwise.evaluation.orders import STORED, Orders
from tierwise.evaluation.replay import Replayed, column_of, replay, replayed
from tierwise.evaluation.table import ABSTAINED, ArmTable, SampleTable, encode_answers

__all__ = [
    "ABSTAINED", "STORED", "ArmTable", "Evaluation", "Evaluator", "Orders", "Replayed", "Rows",
    "SampleTable", "column_of", "encode_answers", "replay", "replayed",
]  # fmt: skip
