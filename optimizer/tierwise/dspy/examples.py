"""DSPy's examples and metric as a tierwise task."""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dspy.adapters.utils import format_field_value, parse_value

import dspy
from tierwise.errors import InputError, TierwiseError
from tierwise.tasks import SPLITS, AnswerSpec, Item, Task, assign_splits
from tierwise.tasks.task import DEFAULT_SHARES

WITH_VALSET = ({"train": 0.25, "validation": 0.75}, {"validation": 0.4, "test": 0.6})
SMALLEST_SPLITS = {"train": 0, "validation": 32, "test": 24}


@dataclass(frozen=True)
class ExampleTask(Task):
    """A task whose splits are given rather than computed from its items."""

    assigned: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)

    @functools.cached_property
    def splits(self) -> dict[str, tuple[Item, ...]]:
        """Items by split (train, validation, test)."""
        return {name: self.assigned.get(name, ()) for name in SPLITS}


@dataclass(frozen=True)
class Examples:
    """The task of a program, and the examples behind its items, by item id."""

    task: ExampleTask
    by_id: Mapping[str, Any]

    def of(self, split: str) -> list[Any]:
        """The examples of a split."""
        return [self.by_id[item.id] for item in self.task.splits[split]]


def read_examples(
    signature: Any,
    metric: Callable[..., Any],
    answer: AnswerSpec,
    trainset: Sequence[Any],
    valset: Sequence[Any] | None = None,
    shares: Mapping[str, float] = DEFAULT_SHARES,
    least: Mapping[str, int] = SMALLEST_SPLITS,
) -> Examples:
    """The task of ``signature``'s examples; an example that is there twice counts once.

    With a ``valset``, ``trainset`` gives the splits train and validation, and ``valset`` validation
    and test; else ``trainset`` is split into all three by ``shares``. The last output field is the
    answer. ``least`` is what each split must get.

    Raises:
        InputError: an example lacks an input, or a split gets too few.
    """
    by_id: dict[str, Any] = {}
    train = _items(signature, trainset, by_id)
    if valset is None:
        assigned = assign_splits(train, shares)
    else:
        held_out = _items(signature, valset, by_id)
        known = {item.id for item in train}
        first = assign_splits(train, WITH_VALSET[0])
        second = assign_splits([i for i in held_out if i.id not in known], WITH_VALSET[1])
        assigned = {name: first[name] + second[name] for name in SPLITS}
    there = f"({len(trainset)} in trainset, {len(valset or ())} in valset)"
    _check_sizes(assigned, least, f"examples {there}")
    return Examples(_task(signature, metric, answer, assigned, by_id), by_id)


def assigned_examples(
    signature: Any,
    metric: Callable[..., Any],
    answer: AnswerSpec,
    splits: Mapping[str, Sequence[Any]],
) -> Examples:
    """The task of examples whose splits are given; examples of equal inputs are items of their own.

    Raises:
        InputError: an example lacks an input, or a split has too few.
    """
    by_id: dict[str, Any] = {}
    assigned = {
        name: tuple(_items(signature, splits.get(name, ()), by_id, apart=True)) for name in SPLITS
    }
    _check_sizes(assigned, SMALLEST_SPLITS, "examples, or more calls to run the program on them")
    return Examples(_task(signature, metric, answer, assigned, by_id), by_id)


def _check_sizes(
    assigned: Mapping[str, tuple[Item, ...]], least: Mapping[str, int], more: str
) -> None:
    for name, n in least.items():
        if len(assigned[name]) < n:
            raise InputError(
                f"the {name} split has {len(assigned[name])} examples and needs {n}: bring more "
                f"{more}"
            )


def _task(
    signature: Any,
    metric: Callable[..., Any],
    answer: AnswerSpec,
    assigned: Mapping[str, tuple[Item, ...]],
    by_id: Mapping[str, Any],
) -> ExampleTask:
    return ExampleTask(
        name="dspy-" + "-".join(signature.output_fields).lower(),
        version=1,
        inputs=tuple(signature.input_fields),
        items=tuple(i for s in SPLITS for i in assigned[s]),
        answer=answer,
        metric=getattr(metric, "__name__", type(metric).__name__),
        scorer=scorer(signature, metric, by_id),
        assigned=assigned,
    )


def scorer(
    signature: Any, metric: Callable[..., Any], by_id: Mapping[str, Any]
) -> Callable[[str | None, Item], float]:
    """DSPy's metric as a tierwise one: it sees a prediction with the answer field alone.

    The field holds what the votes compared, in the module that ``compile`` gives back too: so both
    score alike. No answer scores 0.
    """
    name, annotation = answer_field(signature)

    def score(answer: str | None, item: Item) -> float:
        if answer is None:
            return 0.0
        prediction = dspy.Prediction(**{name: value_of(answer, annotation)})
        what = f"a prediction with {name!r} alone, the field that votes compare"
        return score_of(metric, by_id[item.id], prediction, what)

    return score


def score_of(
    metric: Callable[..., Any],
    example: Any,
    prediction: Any,
    what: str = "the program's prediction",
) -> float:
    """DSPy's metric, called with or without a trace, as a number from 0 to 1.

    Raises:
        InputError: the metric fails, or gives something else.
    """
    extra = len(inspect.signature(metric).parameters) > 2
    try:
        said = metric(example, prediction, *([None] if extra else []))
        value = float(getattr(said, "score", said))
    except TierwiseError:
        raise
    except Exception as error:  # noqa: BLE001  anybody's metric: whatever it raises
        raise InputError(f"the metric failed on {what}: {type(error).__name__}: {error}") from None
    if not (0 <= value <= 1) or math.isnan(value):
        raise InputError(f"a metric's score is a number from 0 to 1, got {value!r}")
    return value


def answer_field(signature: Any) -> tuple[str, Any]:
    """Name and type of the last output field: what votes compare."""
    name, info = list(signature.output_fields.items())[-1]
    return name, info.annotation


def value_of(answer: str, annotation: Any) -> Any:
    """An extracted answer as the field's type; as text where it is not of that type."""
    try:
        return parse_value(answer, annotation)
    except (ValueError, SyntaxError):
        return answer


def inputs_of(signature: Any, given: Mapping[str, Any]) -> dict[str, str]:
    """The texts that stand for the inputs in a prompt, as DSPy's adapters write them.

    Raises:
        InputError: an input is missing.
    """
    missing = [name for name in signature.input_fields if given.get(name) is None]
    if missing:
        wanted = ", ".join(signature.input_fields)
        raise InputError(f"input {missing[0]!r} is missing; the signature takes {wanted}")
    fields = signature.input_fields.items()
    return {name: str(format_field_value(info, given[name])) for name, info in fields}


def _items(
    signature: Any, examples: Sequence[Any], by_id: dict[str, Any], *, apart: bool = False
) -> list[Item]:
    """The items of examples: those of equal content are one, or, ``apart``, one each."""
    name, _ = answer_field(signature)
    found: dict[str, Item] = {}
    for example in examples:
        item = Item("", inputs_of(signature, example), str(example.get(name, "")))
        digest = hashlib.sha256(item.content_sha256.encode()).hexdigest()[:16]
        if apart:
            digest = f"{digest}-{len(by_id)}"
        found[digest] = Item(digest, item.inputs, item.target)
        by_id.setdefault(digest, example)
    return list(found.values())
