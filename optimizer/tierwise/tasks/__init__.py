"""Items, splits, the reading of answers, metrics (which alone see gold) and verifiers."""

from tierwise.tasks.answers import NORMALISERS, AnswerSpec
from tierwise.tasks.items import Item
from tierwise.tasks.metrics import (
    JUDGED,
    METRICS,
    RECORDED,
    Metric,
    form_for,
    named_metric,
    parts_of,
    python_metric,
    unscored,
    with_judge,
)
from tierwise.tasks.task import DEFAULT_SHARES, SPLITS, Task, assign_splits
from tierwise.tasks.verifiers import VERIFIERS, Verifier, verified
