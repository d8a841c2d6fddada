"""Metrics: they see the gold answer. A verifier or a difficulty signal never gets an ``Item``.

A metric may also be Python beside the task's file, ``metric: {python: metric.py:score}``. It is for
tasks of one's own: the code runs with the rights of whoever tunes, and is never part of a policy.
"""

from __future__ import annotations

import importlib.util
import math
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tierwise.errors import InputError, UnsupportedError
from tierwise.tasks.answers import AnswerSpec
from tierwise.tasks.item import Item
from tierwise.tasks.latex import latex_equal, require_math_verify

Metric = Callable[[str | None, Item], float]
"""(canonical answer or None, item) -> score in [0, 1]."""

RECORDED = "recorded"
"""The score that a recording carries; a table of recorded samples takes it from there."""


def exact_match(spec: AnswerSpec) -> Metric:
    """1 where the canonical answer equals the canonical target; an abstention scores 0."""

    def score(answer: str | None, item: Item) -> float:
        return float(answer is not None and answer in map(spec.canonical, item.targets))

    return score


def math_equal(spec: AnswerSpec) -> Metric:
    """1 where the answer is the target mathematically, by math-verify; an abstention scores 0.

    Raises:
        InputError: math-verify is not installed (``tierwise[math]``).
    """
    require_math_verify()

    def score(answer: str | None, item: Item) -> float:
        golds = map(spec.canonical, item.targets)
        return float(answer is not None and any(latex_equal(gold, answer) for gold in golds))

    return score


def recorded(spec: AnswerSpec) -> Metric:
    """No score of a new answer: a recording's own scores are all that there is."""

    def score(answer: str | None, item: Item) -> float:
        raise UnsupportedError(
            "the metric is 'recorded', the score that a recording carries: only recorded/MODEL "
            "tiers can be tuned with it; give the task a metric that scores new answers"
        )

    return score


METRICS: dict[str, Callable[[AnswerSpec], Metric]] = {
    "exact_match": exact_match,
    "math_equal": math_equal,
    RECORDED: recorded,
}


def python_metric(reference: str, folder: Path) -> Metric:
    """The metric ``FILE.py:FUNCTION`` in ``folder``, a function (answer, item) -> score in [0, 1].

    It is called with the canonical answer and the item (``inputs``, ``target``, ``id``), from
    several threads at once; an abstention scores 0 without a call.

    Raises:
        InputError: no such file or function, the file cannot be run, and later: the function
            failed, or gave something else than a number in [0, 1].
    """
    name, colon, function = reference.rpartition(":")
    path = folder / name
    if not colon or path.suffix != ".py" or not function.isidentifier():
        raise InputError(
            f"metric.python must be FILE.py:FUNCTION, such as metric.py:score, got {reference!r}"
        )
    if not path.is_file():
        raise InputError(f"no such file: {name}, which metric.python names")
    score = getattr(_module(path), function, None)
    if not callable(score):
        raise InputError(f"there is no function {function!r} in it", path=path)
    return _checked(score, path, function)


def callable_metric(score: Callable[[str, Item], Any]) -> Metric:
    """A function (answer, item) -> score in [0, 1] as a metric, called as ``python_metric`` says."""
    code = getattr(score, "__code__", None)
    name = getattr(score, "__name__", type(score).__name__)
    return _checked(score, Path(code.co_filename) if code else None, name)


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"_tierwise_metric_{path.stem}", path)
    assert spec is not None  # for a file that ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001  anybody's code: whatever it raises
        raise _failed(error, path, "cannot be run") from None
    return module


def _checked(score: Callable[[str, Item], Any], path: Path | None, name: str) -> Metric:
    def metric(answer: str | None, item: Item) -> float:
        if answer is None:
            return 0.0
        try:
            value = score(answer, item)
        except Exception as error:  # noqa: BLE001  anybody's code: whatever it raises
            raise _failed(error, path, f"{name} failed on item {item.id!r}") from None
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not 0 <= number <= 1:
            raise InputError(
                f"a score is a number from 0 to 1; on item {item.id!r} {name} gave {value!r}",
                path=path,
            )
        return number

    return metric


def _failed(error: BaseException, path: Path | None, what: str) -> InputError:
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    if isinstance(error, SyntaxError):
        lines = [error.lineno]
    message = f"{what}: {type(error).__name__}: {error}"
    return InputError(message, path=path, line=lines[-1] if lines else None)
