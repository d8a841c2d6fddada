"""The words that the embedded models know: whole words, and one token for each number 0 … 30."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from tierwise.errors import InputError

_PIECE = re.compile(r"->|\d+|[^\W\d_]+|\S")


def words(text: str) -> list[str]:
    """``text`` cut into lower-case words, numbers and signs, known or not."""
    return _PIECE.findall(text.casefold())


LARGEST_NUMBER = 30
PAD, END = "<pad>", "<end>"
SYMBOLS = ("+", "-", "=", ";", ":", ",", "?", "->")
CONTROL = ("work", "answer", "stop", "search", "none", "rate", "think", "yes", "no", "of")
_NAMES = words("ann bob cal dee eli fay gus hal ida jon kim lee max ned ola pam")
_RELATIONS = words("boss friend mother coach teacher")
PARAPHRASE = tuple(
    words(
        "solve this find the what is one step at a time go by take small steps show every keep "
        "running total write only totals note each track two terms once in pairs use any order "
        "you like pick best change first repeat problem again then restate read ten pass through "
        "tens as bridge follow examples do look these"
    )
)
_MORE_NAMES = words(
    "abe amy ben bea cleo dan dora eve finn gil gwen hugo ira ivan jane joe kate lars lena leo mia "
    "nina noa omar otto paul quin rosa rudi sam tara tom uma vera will yara zoe zack"
)
_MORE_RELATIONS = words("father sister brother uncle aunt cousin doctor")
NAMES, RELATIONS = (*_NAMES, *_MORE_NAMES), (*_RELATIONS, *_MORE_RELATIONS)
WORDS: tuple[str, ...] = (
    PAD,
    END,
    *map(str, range(LARGEST_NUMBER + 1)),
    *SYMBOLS,
    *CONTROL,
    *_NAMES,
    *_RELATIONS,
    *PARAPHRASE,
    "unknown",
    *_MORE_NAMES,
    *_MORE_RELATIONS,
)
"""Every token; its place is its id, and part of the weights' format."""

ID = {word: i for i, word in enumerate(WORDS)}


def ids(pieces: Iterable[str]) -> list[int]:
    """The ids of ``pieces``.

    Raises:
        InputError: a piece is no word of the vocabulary; there is no token for "unknown".
    """
    found = []
    for piece in pieces:
        if piece not in ID or piece in (PAD, END):
            raise InputError(_unknown(piece))
        found.append(ID[piece])
    return found


def text(tokens: Iterable[int]) -> str:
    """The words of ``tokens``, a space between each, without the end mark."""
    return " ".join(WORDS[t] for t in tokens if t > 1)


def _unknown(piece: str) -> str:
    if piece.isdigit():
        return f"the embedded models know the numbers 0 to {LARGEST_NUMBER}; {piece!r} is not one"
    near = difflib.get_close_matches(piece, WORDS[2:], n=3, cutoff=0.5)
    hint = (
        f"did you mean {' or '.join(map(repr, near))}?"
        if near
        else (f"they know {len(WORDS) - 2} words, listed in tierwise.llm.embedded.vocabulary")
    )
    return f"the embedded models do not know the word {piece!r}; {hint}"
