"""The exceptions that tierwise raises on purpose.

::

    TierwiseError                  everything below; carries the exit code of the command line
    ├── InputError          (2)    a file, an option or a name is wrong: what, where, what is right
    ├── BudgetError         (3)    the budget ended before there was a usable result
    ├── ProviderError       (4)    a provider failed for good
    └── UnsupportedError    (2)    the samples at hand cannot answer the question (nothing is made up)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class TierwiseError(Exception):
    """Base of all errors that are meant for people; ``exit_code`` is the command line's."""

    exit_code = 2


class InputError(TierwiseError):
    """Bad input: says what is wrong, where (file and line where there is one) and what is right."""

    exit_code = 2

    def __init__(
        self, message: str, *, path: Path | str | None = None, line: int | None = None
    ) -> None:
        self.message, self.path, self.line = message, path, line
        where = "" if path is None else f"{path}:{line}: " if line else f"{path}: "
        super().__init__(where + message)


class BudgetError(TierwiseError):
    """The budget (dollars, calls, tokens, seconds) ended before there was a usable result."""

    exit_code = 3


class ProviderError(TierwiseError):
    """A provider failed for good: wrong key, unknown model, host not reachable."""

    exit_code = 4


class UnsupportedError(TierwiseError):
    """The stored samples do not support what was asked; nothing is extrapolated silently."""

    exit_code = 2


def unknown_name(
    kind: str,
    name: str,
    known: Iterable[str],
    *,
    path: Path | str | None = None,
    line: int | None = None,
) -> InputError:
    """An ``InputError`` for a name that is not in ``known``, with the nearest known names."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        hint = "did you mean " + " or ".join(repr(n) for n in near) + "?"
    elif len(names) <= 12:
        hint = "known: " + (", ".join(names) or "none")
    else:
        hint = f"known: {', '.join(names[:10])}, … ({len(names)} in all)"
    return InputError(f"unknown {kind} {name!r}; {hint}", path=path, line=line)
