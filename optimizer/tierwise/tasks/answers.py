r"""From a completion's text to the answer that votes compare and metrics score.

Extraction is a regular expression in linear time (google-re2), normalisation a named rule; both are
plain data, so a policy file carries them. An answer that cannot be extracted is ``None``: an
abstention, which is paid for and never beats an extracted answer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tierwise.errors import InputError, unknown_name
from tierwise.tasks import latex
from tierwise.tasks.choices import choice, option, yes_no
from tierwise.tasks.numbers import integer, number


def _text(raw: str) -> str | None:
    folded = " ".join(raw.split()).casefold().lstrip("\"'`* ").rstrip("\"'`*. ")
    return folded or None


def _option(raw: str) -> str | None:
    return option(raw, _text(raw))


def _none(raw: str) -> str | None:
    return raw or None


NORMALISERS: dict[str, Callable[[str], str | None]] = {
    "none": _none,
    "text": _text,
    "integer": integer,
    "number": number,
    "choice": choice,
    "option": _option,
    "yes_no": yes_no,
    "latex": latex.canonical,
}


@functools.lru_cache(maxsize=256)
def _compile(pattern: str) -> Any:
    import re2  # 20 ms; only what extracts pays for it

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
        raise InputError(
            f"answer.extract.regex {pattern!r} is not a regular expression that runs in linear "
            f"time (RE2 syntax: no look-around, no back-references): {reason}"
        ) from None


@dataclass(frozen=True, slots=True)
class AnswerSpec:
    """How the answer is found in a text (``regex``, first or last match) and made canonical.

    Group 1 of the pattern is the answer, or the whole match where it has no group. ``regex=None``
    takes the whole text. ``returns`` says what a served policy hands out: the text or the answer.
    """

    regex: str | None = None
    take: Literal["first", "last"] = "last"
    normalise: str = "text"
    returns: Literal["text", "extracted"] = "text"

    def __post_init__(self) -> None:
        if self.normalise not in NORMALISERS:
            raise unknown_name("answer.normalise", self.normalise, NORMALISERS)
        if self.regex is not None:
            _compile(self.regex)

    def extract(self, text: str) -> str | None:
        """The canonical answer in ``text``, or None where there is none."""
        raw: str | None = text
        if self.regex is not None:
            raw = None
            for match in _compile(self.regex).finditer(text):
                raw = match.group(1) if match.re.groups else match.group(0)
                if self.take == "first":
                    break
        return None if raw is None else NORMALISERS[self.normalise](raw)

    def canonical(self, answer: str) -> str:
        """The canonical form of a gold answer; one that the rule cannot read stays as it is."""
        normalised = NORMALISERS[self.normalise](answer)
        return answer.strip() if normalised is None else normalised
