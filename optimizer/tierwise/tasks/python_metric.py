"""A metric in Python, beside the task's file: ``metric: {python: metric.py:score}``.

It is for tasks of one's own: the code runs with the rights of whoever tunes. It is never part of a
policy, which holds data only.
"""

from __future__ import annotations

import importlib.util
import math
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tierwise.errors import InputError
from tierwise.tasks.item import Item
from tierwise.tasks.metrics import Metric


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
    return _checked(score, path)


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


def _checked(score: Callable[[str, Item], Any], path: Path) -> Metric:
    def metric(answer: str | None, item: Item) -> float:
        if answer is None:
            return 0.0
        try:
            value = score(answer, item)
        except Exception as error:  # noqa: BLE001  anybody's code: whatever it raises
            raise _failed(error, path, f"failed on item {item.id!r}") from None
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not 0 <= number <= 1:
            raise InputError(
                f"a score is a number from 0 to 1; on item {item.id!r} it gave {value!r}", path=path
            )
        return number

    return metric


def _failed(error: BaseException, path: Path, what: str) -> InputError:
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    if isinstance(error, SyntaxError):
        lines = [error.lineno]
    message = f"{what}: {type(error).__name__}: {error}"
    return InputError(message, path=path, line=lines[-1] if lines else None)
