"""Policies judged on stored samples: numpy only, no I/O, no money."""

from tierwise.evaluation.evaluator import Evaluator
from tierwise.evaluation.measures import Evaluation, MeasureRows
from tierwise.evaluation.permutations import STORED, Permutations
from tierwise.evaluation.replay import (
    Replayed,
    column_of,
    replay_columns,
    replay_item,
    replay_parts,
    replay_table,
    samples_asked,
)
from tierwise.evaluation.table import (
    ABSTAINED,
    ElectedScores,
    SampleTable,
    VariantTable,
    encode_answers,
)
