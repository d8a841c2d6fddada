"""A task: items in three splits, with a metric and the reading of answers."""

from __future__ import annotations

import functools
import hashlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tierwise.errors import InputError, unknown_name
from tierwise.tasks.answers import AnswerSpec
from tierwise.tasks.conversation import conversation
from tierwise.tasks.data_files import load_items
from tierwise.tasks.items import Fields, Item
from tierwise.tasks.metrics import (
    METRICS,
    RECORDED,
    Metric,
    asks_judge,
    callable_metric,
    form_for,
    named_metric,
)
from tierwise.tasks.verifiers import VERIFIERS

SPLITS = ("train", "validation", "test")
"""train: demonstrations, fitted signals, proposals. validation: everything that is chosen. test:
once, at the end."""

FEWEST_IN_SPLIT = 8
"""Items of validation and of test, where there are three times as many."""

FREE_TEXT_WORDS = 12
"""Words of the median target from which on answers are free text: two are hardly ever the same."""

DEFAULT_SHARES: Mapping[str, float] = {"train": 0.15, "validation": 0.55, "test": 0.30}


@dataclass(frozen=True)
class Task:
    """Items, their metric, the reading of answers and the shares of the three splits.

    ``metric`` is a name of ``METRICS``, or, with a ``scorer`` of one's own, whatever it is called.
    ``verifiers`` are the names of those that fit the task's inputs and answers.
    """

    name: str
    version: int
    inputs: tuple[str, ...]
    items: tuple[Item, ...]
    answer: AnswerSpec = AnswerSpec()
    metric: str = "exact_match"
    shares: Mapping[str, float] = field(default_factory=lambda: DEFAULT_SHARES)
    demonstration: Mapping[str, str] = field(default_factory=dict)
    """mode -> text of a demonstration's answer, with ``{{ target }}`` and the input fields."""
    verifiers: tuple[str, ...] = ()
    scorer: Metric | None = None

    def __post_init__(self) -> None:
        if not self.items:
            raise InputError(f"task {self.name!r} has no items")
        if self.scorer is None and self.metric not in METRICS:
            raise unknown_name("metric", self.metric, METRICS)
        if fault := ballot_fault(self.answer, self.metric, self.scorer):
            raise fault
        for item in self.items if self.answer.calls else ():
            self.answer.of(item.inputs)  # a line that is no call is found before anything is bought
        for name in self.verifiers:
            if name not in VERIFIERS:
                raise unknown_name("verifier", name, VERIFIERS)
        for name in self.shares:
            if name not in SPLITS:
                raise unknown_name("split", name, SPLITS)

    @classmethod
    def from_rows(
        cls,
        data: Any,
        *,
        inputs: Sequence[str],
        target: str | None = "target",
        answer: AnswerSpec | None = None,
        metric: str | Mapping[str, Any] | Callable[[str, Item], Any] = "exact_match",
        name: str = "task",
    ) -> Self:
        """A task of the rows of a DataFrame, a list of dicts, a ``datasets.Dataset`` or examples.

        ``inputs`` and ``target`` are names of columns. ``metric`` is a name of ``METRICS``,
        ``{name: parameters}``, or a function (canonical answer, item) -> score in [0, 1]; an
        abstention scores 0 without a call. ``target=None``: the items have none.

        Raises:
            InputError: no such column, or every fault of the rows, by place.
        """
        from tierwise.tasks.rows import items_in

        items = items_in(data, inputs, Fields(target=target), _reader(answer, metric))
        return cls._of(items, inputs, answer, metric, name)

    @classmethod
    def from_file(
        cls,
        path: Path | str,
        *,
        inputs: Sequence[str],
        target: str | None = "target",
        answer: AnswerSpec | None = None,
        metric: str | Mapping[str, Any] | Callable[[str, Item], Any] = "exact_match",
        name: str | None = None,
    ) -> Self:
        """A task of a file of flat rows or items (``.jsonl``, ``.csv``, ``.json``, maybe gzipped).

        Raises:
            InputError: every fault of the file, with its line.
        """
        path = Path(path)
        items = load_items(path, inputs, Fields(target=target), _reader(answer, metric))
        return cls._of(items, inputs, answer, metric, name or path.name.split(".")[0])

    from_jsonl = from_file

    @classmethod
    def _of(
        cls,
        items: tuple[Item, ...],
        inputs: Sequence[str],
        answer: AnswerSpec | None,
        metric: str | Mapping[str, Any] | Callable[[str, Item], Any],
        name: str,
    ) -> Self:
        spec = answer or (AnswerSpec() if callable(metric) else form_for(metric))
        scorer: Metric | None
        if callable(metric):
            named, scorer = getattr(metric, "__name__", "metric"), callable_metric(metric)
        else:
            named, scorer = named_metric(metric, spec)
        return cls(name, 1, tuple(inputs), items, spec, named, scorer=scorer)

    @functools.cached_property
    def splits(self) -> dict[str, tuple[Item, ...]]:
        """Items by split (train, validation, test)."""
        return assign_splits(self.items, self.shares)

    @functools.cached_property
    def score(self) -> Metric:
        """The metric, bound to this task's reading of answers."""
        return self.scorer or METRICS[self.metric](self.answer)

    @functools.cached_property
    def free_text(self) -> bool:
        """Whether answers are texts of which no two are the same, so that votes count nothing.

        They are not made canonical, the targets have many words, and the metric takes another text
        than the target for right too.
        """
        form = str(self.answer.normalise)
        if form not in ("none", "text") or self.metric in (RECORDED, "exact_match"):
            return False
        if not any(item.target for item in self.items):
            return form == "none"
        words = statistics.median(len(item.target.split()) for item in self.items)
        return words >= FREE_TEXT_WORDS

    @functools.cached_property
    def chat(self) -> str | None:
        """The input that holds a chat in every item; None where none does."""
        for name in self.inputs:
            if all(conversation(item.inputs[name]) is not None for item in self.items):
                return name
        return None

    @functools.cached_property
    def items_sha256(self) -> str:
        """Hash over the contents of all items, in any order."""
        digest = hashlib.sha256()
        for sha in sorted(item.content_sha256 for item in self.items):
            digest.update(sha.encode())
        return digest.hexdigest()


def ballot_fault(
    answer: AnswerSpec, metric: object, scorer: Metric | None = None
) -> InputError | None:
    """Why votes field by field cannot be scored by a metric of that name; None where they can."""
    of_samples = metric == RECORDED or asks_judge(scorer)
    if not answer.ballots or answer.calls or not of_samples:
        return None
    return InputError(
        f"votes field by field may elect an object that no sample is, and the metric {metric!r} "
        "has scores of samples alone: set answer.vote: whole, or a metric that scores any answer",
        loc=("answer",),
    )


def _reader(answer: AnswerSpec | None, metric: object) -> AnswerSpec | None:
    """How a metric by name reads targets: a function reads them as it likes, code is not run."""
    if callable(metric) or metric == RECORDED or (answer and answer.calls):
        return None
    return answer or form_for(metric)


def assign_splits(
    items: Sequence[Item], shares: Mapping[str, float]
) -> dict[str, tuple[Item, ...]]:
    """Assign ``items`` to the splits by a stable hash of content.

    Adding or removing items moves no other item, so a share is met in expectation only. A small
    task may then get a test split of three items, which says nothing: validation and test have at
    least ``FEWEST_IN_SPLIT`` items, or a third of all, those of the nearest hashes.
    """
    total = sum(shares.values())
    split: dict[str, str] = {}  # by content: items that are the same stay together
    for sha in sorted({item.content_sha256 for item in items}):
        u = int(sha[:13], 16) / 16**13 * total
        for name in SPLITS:
            u -= shares.get(name, 0.0)
            if u < 0:
                break
        split[sha] = name
    fewest = min(FEWEST_IN_SPLIT, len(split) // 3)
    for name in ("test", "validation"):
        # Hashes are sorted: the last of validation are the nearest to test, the first of test to
        # it.
        others = [sha for sha in split if split[sha] != name]
        others = others[::-1] if name == "test" else others
        have = len(split) - len(others)
        for sha in others[: max(0, fewest - have)] if shares.get(name) else ():
            split[sha] = name
    return {
        name: tuple(item for item in items if split[item.content_sha256] == name) for name in SPLITS
    }
