r"""From a completion's text to the answer that votes compare and metrics score.

Extraction is a regular expression in linear time (google-re2), normalisation a named rule; both are
plain data, so a policy file carries them. An answer that cannot be extracted is ``None``: an
abstention, which is paid for and never beats an extracted answer.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tierwise.errors import InputError, unknown_name
from tierwise.tasks.latex import canonical_latex
from tierwise.tasks.numbers import canonical_integer, canonical_number

_WRAPPED = "\"'`*_ "
_SAID = re.compile(
    r"(?:the )?(?:correct |final |best )?(?:answer|option|choice)(?: is)? ?:? ?", re.IGNORECASE
)
_LETTER = re.compile(r"[\[(]?\*{0,2}([A-Za-z])\*{0,2}(?:[\])][.:,]?|[.:,])\*{0,2}(?: .*)?")
_PARENTHESISED = re.compile(r"[\[(]([A-Za-z])[\])][.:,]?(?: .*)?")

_YES, _NO = ("yes", "true", "y"), ("no", "false", "n")


def canonical_text(raw: str) -> str | None:
    """Case-folded words without quotes, asterisks and a full stop at the ends."""
    folded = " ".join(raw.split()).casefold().lstrip("\"'`* ").rstrip("\"'`*. ")
    return folded or None


def canonical_choice(raw: str) -> str | None:
    """The letter of an option: ``B``, ``(b)``, ``B. Paris``, ``option B``; None where unclear."""
    text = _bare(raw)
    letters = [c for c in text if c.isalpha()]
    if len(letters) == 1:
        return letters[0].upper() if letters[0].isascii() else None
    match = _LETTER.fullmatch(text)
    return match.group(1).upper() if match else None


def canonical_option(raw: str) -> str | None:
    """The letter where ``raw`` names an option by ``(B)`` or a lone letter, else its text."""
    bare, text = _bare(raw), canonical_text(raw)
    match = _PARENTHESISED.fullmatch(bare)
    letter = match.group(1) if match else (text or "")
    if len(letter) == 1 and letter.isascii() and letter.isalpha():
        return letter.upper()
    return text


def canonical_yes_no(raw: str) -> str | None:
    """``yes`` or ``no``; true and false are read as these, by the first word."""
    words = re.findall(r"[^\W\d_]+", _bare(raw).casefold())
    if not words:
        return None
    return "yes" if words[0] in _YES else "no" if words[0] in _NO else None


def _bare(raw: str) -> str:
    text = " ".join(raw.split()).strip(_WRAPPED)
    said = _SAID.match(text)
    return text[said.end() :].strip(_WRAPPED) if said else text


NORMALISERS: dict[str, Callable[[str], str | None]] = {
    "none": lambda raw: raw or None,
    "text": canonical_text,
    "integer": canonical_integer,
    "number": canonical_number,
    "choice": canonical_choice,
    "option": canonical_option,
    "yes_no": canonical_yes_no,
    "latex": canonical_latex,
}
"""Name -> the canonical form of an extracted answer, None where it cannot be read."""


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
