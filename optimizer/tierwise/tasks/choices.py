"""Lettered options, and yes or no."""

from __future__ import annotations

import re

_WRAPPED = "\"'`*_ "
_SAID = re.compile(
    r"(?:the )?(?:correct |final |best )?(?:answer|option|choice)(?: is)? ?:? ?", re.IGNORECASE
)
_LETTER = re.compile(r"[\[(]?\*{0,2}([A-Za-z])\*{0,2}(?:[\])][.:,]?|[.:,])\*{0,2}(?: .*)?")
_PARENTHESISED = re.compile(r"[\[(]([A-Za-z])[\])][.:,]?(?: .*)?")

_YES, _NO = ("yes", "true", "y"), ("no", "false", "n")


def choice(raw: str) -> str | None:
    """The letter of an option: ``B``, ``(b)``, ``B. Paris``, ``option B``; None where unclear."""
    text = _bare(raw)
    letters = [c for c in text if c.isalpha()]
    if len(letters) == 1:
        return letters[0].upper() if letters[0].isascii() else None
    match = _LETTER.fullmatch(text)
    return match.group(1).upper() if match else None


def option(raw: str, text: str | None) -> str | None:
    """The letter where ``raw`` names an option by ``(B)`` or a lone letter, else ``text``."""
    bare = _bare(raw)
    match = _PARENTHESISED.fullmatch(bare)
    letter = match.group(1) if match else (text or "")
    if len(letter) == 1 and letter.isascii() and letter.isalpha():
        return letter.upper()
    return text


def yes_no(raw: str) -> str | None:
    """``yes`` or ``no``; true and false are read as these, by the first word."""
    words = re.findall(r"[^\W\d_]+", _bare(raw).casefold())
    if not words:
        return None
    return "yes" if words[0] in _YES else "no" if words[0] in _NO else None


def _bare(raw: str) -> str:
    text = " ".join(raw.split()).strip(_WRAPPED)
    said = _SAID.match(text)
    return text[said.end() :].strip(_WRAPPED) if said else text
