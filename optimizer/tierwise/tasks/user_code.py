"""Functions of a user's own, beside a task: a metric, or what reads its answers.

They run with the rights of whoever tunes or serves. A policy names one and never brings it: who
serves such a policy gives the function (``tierwise serve --normaliser FILE.py:FUNCTION``), and its
hash tells whether it is the one that the policy was tuned with.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tierwise.errors import InputError

Normaliser = Callable[[str], str | None]
"""An extracted answer -> its canonical form, None for an abstention."""

PYTHON = "python:"
"""How the name of a normaliser in Python begins: ``python:FILE.py:FUNCTION:HASH``."""

_BOUND: dict[str, Normaliser] = {}


def load_function(reference: str, folder: Path, key: str) -> tuple[Callable[..., Any], Path]:
    """The function ``FILE.py:FUNCTION`` in ``folder`` and its file; ``key`` is what names it.

    Raises:
        InputError: no such file or function, or the file cannot be run.
    """
    name, colon, function = reference.rpartition(":")
    path = folder / name
    if not colon or path.suffix != ".py" or not function.isidentifier():
        raise InputError(
            f"{key} must be FILE.py:FUNCTION, such as metric.py:score, got {reference!r}"
        )
    if not path.is_file():
        raise InputError(f"no such file: {name}, which {key} names")
    found = getattr(_module(path), function, None)
    if not callable(found):
        raise InputError(f"there is no function {function!r} in it", path=path)
    return found, path


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"_tierwise_user_{path.stem}", path)
    assert spec is not None  # for a file that ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001  anybody's code: whatever it raises
        raise user_fault(error, path, "cannot be run") from None
    return module


def user_fault(error: BaseException, path: Path | None, what: str) -> InputError:
    """What is said of an exception in a user's function: with its line, without a traceback."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    if isinstance(error, SyntaxError):
        lines = [error.lineno]
    message = f"{what}: {type(error).__name__}: {error}"
    return InputError(message, path=path, line=lines[-1] if lines else None)


def bind_normaliser(reference: str, folder: Path) -> str:
    """Load ``FILE.py:FUNCTION`` to read answers; gives back its name, which tells its version.

    Raises:
        InputError: as ``load_function``.
    """
    function, path = load_function(reference, folder, "answer.normalise.python")
    return _bind(function, f"{path.name}:{reference.rpartition(':')[2]}", path.read_bytes(), path)


def bind_function(function: Callable[[str], Any]) -> str:
    """The name of a function that reads answers in this process."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    code = getattr(function, "__code__", None)
    try:
        source = inspect.getsource(function).encode()
    except (OSError, TypeError):  # typed into a prompt, or made by C
        source = code.co_code if code else repr(name).encode()
    path = Path(code.co_filename) if code else None
    return _bind(function, f"{function.__module__}:{name}", source, path)


def _bind(function: Callable[[str], Any], name: str, source: bytes, path: Path | None) -> str:
    full = f"{PYTHON}{name}:{hashlib.sha256(source).hexdigest()[:12]}"
    _BOUND[full] = functools.partial(_checked, function, path, name)
    return full


def _checked(function: Callable[[str], Any], path: Path | None, name: str, raw: str) -> str | None:
    try:
        found = function(raw)
    except Exception as error:  # noqa: BLE001  anybody's code: whatever it raises
        raise user_fault(error, path, f"{name} failed on the answer {raw[:60]!r}") from None
    if found is not None and not isinstance(found, str):
        raise InputError(
            f"{name} gives the canonical answer as text, or None; of {raw[:60]!r} it gave "
            f"{found!r}",
            path=path,
        )
    return found or None


def bound_normaliser(full: str) -> Normaliser:
    """The function of that name.

    Raises:
        InputError: nobody has bound it in this process, or another version of it.
    """
    if full in _BOUND:
        return _BOUND[full]
    name = full.removeprefix(PYTHON).rpartition(":")[0]
    others = [other for other in _BOUND if other.startswith(f"{PYTHON}{name}:")]
    if others:
        raise InputError(
            f"answers are read by the Python function {name}, and the one that is here is another "
            f"version of it than the policy was tuned with ({full.rpartition(':')[2]})"
        )
    raise InputError(
        f"answers are read by the Python function {name}, which a policy never brings: give it by "
        f"--normaliser {name}, or bind it in Python with tierwise.tasks.user_code.bind_normaliser"
    )
