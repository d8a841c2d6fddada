"""The exceptions that tierwise raises on purpose.

::

    TierwiseError                  everything below; carries the exit code of the command line
    ├── InputError          (2)    a file, an option or a name is wrong: what, where, what is right
    ├── BudgetError         (3)    the budget ended before there was a usable result
    ├── ProviderError       (4)    a provider failed for good
    └── UnsupportedError    (2)    the samples at hand cannot answer the question (nothing is made
    up)
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

Loc = tuple[str | int, ...]
"""Where a value is: keys and list indices from the top."""

_SHOWN = 25


class TierwiseError(Exception):
    """Base of all errors that are meant for people; ``exit_code`` is the command line's."""

    exit_code = 2


class InputError(TierwiseError, ValueError):
    """Bad input: says what is wrong, where (file and line where there is one) and what is right.

    Attributes:
        loc: place of the fault inside the object that was checked, for whoever knows the lines.
            It is a ValueError so that pydantic reports one that a class raises as a fault.
    """

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        path: Path | str | None = None,
        line: int | None = None,
        loc: Loc = (),
    ) -> None:
        self.message, self.path, self.line, self.loc = message, path, line, loc
        where = "" if path is None else f"{path}:{line}: " if line else f"{path}: "
        super().__init__(where + message)


class Faults(InputError):
    """All that is wrong with an input, a line each; ``faults`` holds them one by one."""

    def __init__(self, faults: Sequence[InputError]) -> None:
        self.faults = tuple(each for fault in faults for each in faults_of(fault))
        if len(self.faults) == 1:
            only = self.faults[0]
            super().__init__(only.message, path=only.path, line=only.line, loc=only.loc)
        else:
            lines = [str(fault) for fault in self.faults[:_SHOWN]]
            if len(self.faults) > _SHOWN:
                lines.append(f"… and {len(self.faults) - _SHOWN} more")
            super().__init__("\n".join(lines))


def faults_of(error: InputError) -> tuple[InputError, ...]:
    """The single faults inside an error."""
    return error.faults if isinstance(error, Faults) else (error,)


def raise_any(faults: Sequence[InputError]) -> None:
    """Raise all of ``faults`` as one error, if there are any."""
    if faults:
        raise Faults(faults)


class BudgetError(TierwiseError):
    """The budget (dollars, calls, tokens, seconds) ended before there was a usable result."""

    exit_code = 3


class ProviderError(TierwiseError):
    """A provider failed for good: wrong key, unknown model, host not reachable."""

    exit_code = 4


class UnsupportedError(TierwiseError):
    """The stored samples do not support what was asked; nothing is extrapolated silently."""

    exit_code = 2


RENAMED = {
    "arm": "variant",
    "arms": "variants",
    "draw": "sample",
    "draws": "samples",
    "max_draws": "max_samples",
    "nominal": "simulated",
    "probe_arms": "probe_variants",
    "probe_draws": "probe_samples",
    "select": "validation",
    "tune": "validation",
    "wording": "paraphrases",
    "wordings": "paraphrases",
}
"""Words of the first files -> what they are called now; an old word is an error that says so."""
REMOVED = {
    "max_pss": "the report still shows prompt sensitivity (PSS), which no longer bounds a policy",
    "robust": "policies are no longer chosen by their score over paraphrases",
}
"""Keys of the first files that are gone -> what is left of them."""


def unknown_name(
    kind: str, name: str, known: Iterable[str], *, path: Path | str | None = None, loc: Loc = ()
) -> InputError:
    """An ``InputError`` for a name that is not in ``known``, with the nearest known names."""
    names = sorted(known)
    told = f"unknown {kind} {name!r}"
    if RENAMED.get(name) in names:
        message = f"{told}: it is called {RENAMED[name]!r} now"
        return InputError(message, path=path, loc=loc)
    if name in REMOVED:
        return InputError(f"{told}: {REMOVED[name]}", path=path, loc=loc)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        hint = "did you mean " + " or ".join(repr(n) for n in near) + "?"
    elif len(names) <= 12:
        hint = "known: " + (", ".join(names) or "none")
    else:
        hint = f"known: {', '.join(names[:10])}, … ({len(names)} in all)"
    return InputError(f"{told}; {hint}", path=path, loc=loc)


_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters but tab and newline, what turns the direction of text, half characters."""


def printable(text: str, *, one_line: bool = False) -> str:
    """``text`` for a terminal or, as ``one_line``, for a log: what could act on it as an escape.

    Names and texts come from files, models and clients; raw, they could move the cursor, forge
    lines of a log or reverse what a person reads.
    """
    shown = _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return shown.replace("\n", "\\n") if one_line else shown
