r"""From a completion's text to the answer that votes compare and metrics score.

Extraction is a regular expression in linear time (google-re2), normalisation a named rule; both are
plain data, so a policy file carries them. An answer that cannot be extracted is ``None``: an
abstention, which is paid for and never beats an extracted answer.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tierwise.errors import InputError, unknown_name
from tierwise.tasks.code_tests import behaviour, check_allowed, check_call, code_in
from tierwise.tasks.latex import canonical_latex
from tierwise.tasks.markup import linear_regex, plain_signs, unwrapped, without_emphasis
from tierwise.tasks.numbers import (
    canonical_integer,
    canonical_number,
    canonical_quantity,
    check_unit,
    rounded,
)
from tierwise.tasks.objects import (
    canonical_json,
    checked_schema,
    field_values,
    json_part,
    object_of,
    schema_fields,
)
from tierwise.tasks.tool_calls import canonical_tool_calls
from tierwise.tasks.user_code import PYTHON, bind_function, bound_normaliser

_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_THOUGHT = re.compile(r".*</think(?:ing)?>\s*(?=\S)", re.DOTALL)
_WRAPPED = "\"'`*_ "
_SAID = re.compile(
    r"(?:so |thus |therefore,? )?(?:the |my )?(?:correct |final |best |right )?"
    r"(?:answers?|options?|choices?|letters?|labels?)(?: is| are)? ?[:=]? ?(?:both )?[*_]*",
    re.IGNORECASE,
)
_LEADING = re.compile(
    r"^(?:(?:so|thus|hence|therefore|it|it's|this|that|the|my|is|be|must|should|would|will|correct"
    r"|right|best|final|answers?|option|choice|letter|label|to the question|clearly|probably"
    r"|definitely|certainly|most|likely)[,:=]? )+",
    re.IGNORECASE,
)
_LETTER = re.compile(r"[\[({]?([A-Za-z])(?:[\])}][.:,;]?|(?P<stop>[.:,;]))(?P<rest> .*)?")
_PARENTHESISED = re.compile(r"[\[({]([A-Za-z])[\])}][.:,]?(?P<rest> .*)?|([A-Z])[.):](?: .*)?")
_NAMED = re.compile(r"(?:option |choice |letter )?([A-Z])(?P<rest> .*)", re.DOTALL)
_AT_END = re.compile(
    r"[^()\[\]]*[\[(]([A-Z])[\])][.! ]*|[^()\[\]]*\b(?:option|choice) ([A-Z])[.! ]*"
)
_ANOTHER = re.compile(
    r" ?(?:[,/&;|+]|or\b|and\b|nor\b|vs\b)? ?"
    r"(?:[\[({][A-Za-z][\])}]|[A-HJ-Z](?:[.,]| ?$| (?:or|and) ))"
    r"| (?:or|and(?! not)|nor|vs)\b"
)
_OF_OTHERS = re.compile(
    r" [A-Z](?:(?:,| and| or|, and|, or) [A-Z])* (?:is|are|was|were|can|do|does)"
)
_REASON = re.compile(r" (?:because|since|as|is|which|for|due|given|would|[-–—(])")
_DENIED = re.compile(
    r" (?:(?:is|was|can|could|would|does)(?: ?not|n't)\b|(?:is|was) "
    "(?:incorrect|wrong|false|unlikely))"
)
_NOT = re.compile(r"\b(?:not|neither|nor|none|never)\b|n't\b", re.IGNORECASE)
_END = re.compile(
    r"(?:\s*(?:<\|[^|<>\n]{1,40}\|>|</(?:answer|final_answer|final|response|result|output|solution|s)>))+\s*$"
)
_WHOLE = re.compile(
    r"\\(?:boxed|fbox|text(?:bf|it|rm)?|math(?:bf|rm))\s*\{(.*)\}|\\\((.*)\\\)", re.DOTALL
)
_BETWEEN = re.compile(
    r"\s*[,;|/&+\n]\s*(?:(?:and|und|et|y)\s+)?|\s+(?:and|und|et|y)\s+", re.IGNORECASE
)
_BULLET = re.compile(r"^(?:[-*•]|\d{1,2}[.)])\s+")

_YES = ("yes", "true", "y")
_YES_OR_NO = re.compile(
    r"\W*(?:(?:so|thus|hence|therefore|in "
    "conclusion|overall|it|it's|that|this|the|my|statement|claim"
    r"|is|be|would|must|should|answer|clearly|probably|definitely|certainly|most|likely|almost"
    r"|simply|actually|an?(?: \w+)?)\W+)*?"
    r"(yes|true|y|no|false|n)\b(?P<rest>.*)",
    re.DOTALL,
)
_NO_ANSWER = re.compile(
    r"\W*(?:and|or|[/|])\W*(?:yes|true|no|false|not)\b|/"
    r"|\W+(?:for|if|when|in|to)\b[^.\n]*\b(?:yes|no)\b"
)
"""What follows where the word is no answer: another one."""
_PART_OF_MORE = re.compile(
    r" (?!(?:because|since|as|it|its|he|she|they|we|you|i|the|there|this|that|these|those|a|an|but"
    r"|for|in|if|when|and|due|given|based|according)\b)\w"
)
"""What follows where the word is part of a phrase: ``no idea``, ``true statements``."""


def canonical_text(raw: str) -> str | None:
    """Case-folded words in plain signs, without markup, quotes and punctuation at the ends."""
    text = _END.sub("", plain_signs(raw))
    while match := _WHOLE.fullmatch(text.strip(" $*")):
        text = match[1] if match[2] is None else match[2]
    if not text.isascii():  # ligatures and the like; superscripts are no digits
        text = "".join(unicodedata.normalize("NFKC", c) if c.isalpha() else c for c in text)
    # Case folding may undo the composing of letters.
    folded = unicodedata.normalize("NFC", " ".join(text.split()).casefold())
    return folded.lstrip("\"'`* ").rstrip("\"'`*.,;:! ") or None


def canonical_choice(raw: str) -> str | None:
    """The letter of an option: ``B``, ``(b)``, ``B. Paris``, ``Paris (B)``; None where unclear."""
    text = _LEADING.sub("", _bare(raw), count=1)
    letters = [c for c in text if c.isalpha()]
    if len(letters) == 1 and not any(c.isdigit() or c == "°" for c in text):
        return letters[0].upper() if letters[0].isascii() else None
    match = _LETTER.fullmatch(text)
    if match is None:
        match = _NAMED.fullmatch(text)
        # "A dog" and "I think" are words; a letter that a reason follows is the letter.
        if match and match[1] in "AI" and not _REASON.match(match["rest"]):
            return None
    elif match["stop"] == "." and _OF_OTHERS.match(match["rest"] or ""):
        return match[1].upper()
    if match is None:
        return _letter_at_end(text)
    rest = match["rest"] or ""
    return None if _ANOTHER.match(rest) or _DENIED.match(rest) else match[1].upper()


def canonical_option(raw: str) -> str | None:
    """The letter where ``raw`` names an option by ``(B)`` or a lone letter, else its text."""
    bare, text = _bare(raw), canonical_text(_bare(raw))
    match = _PARENTHESISED.fullmatch(_LEADING.sub("", bare, count=1))
    rest = (match["rest"] or "") if match else ""
    if _ANOTHER.match(rest) or _DENIED.match(rest):
        return text
    letter = (match[1] or match[3]) if match else _letter_at_end(bare) or text or ""
    if len(letter) == 1 and letter.isascii() and letter.isalpha():
        return letter.upper()
    return text


def _letter_at_end(text: str) -> str | None:
    """The letter that stands behind an option's text: ``Paris (B)``."""
    match = None if _NOT.search(text) else _AT_END.fullmatch(text)
    return (match[1] or match[2]) if match else None


def canonical_yes_no(raw: str) -> str | None:
    """``yes`` or ``no``; true and false are read as these. ``No one knows`` is neither."""
    match = _YES_OR_NO.match(_bare(raw).casefold())
    if match is None or _NO_ANSWER.match(match["rest"]):
        return None
    if match[1] != "yes" and _PART_OF_MORE.match(match["rest"]):
        return None
    if match[1] in ("y", "n") and any(map(str.isalpha, match["rest"])):
        return None
    return "yes" if match[1] in _YES else "no"


def canonical_labels(raw: str) -> str | None:
    """A set of labels, sorted and joined by ``, ``: in whatever order and form they are listed.

    They may be apart by commas, semicolons, slashes, line breaks or ``and``, in brackets and
    quotes, or a JSON list.
    """
    text = _SAID.sub("", unwrapped(raw), count=1).strip(" .[](){}")
    found = set()
    for part in _BETWEEN.split(text):
        label = canonical_text(without_emphasis(_BULLET.sub("", part.strip())).strip(" []{}()"))
        if label:
            found.add(label)
    return ", ".join(sorted(found)) or None


def _bare(raw: str) -> str:
    text = " ".join(without_emphasis(unwrapped(raw)).replace("$", " ").split()).strip(_WRAPPED)
    said = _SAID.match(text)
    return text[said.end() :].strip(_WRAPPED) if said else text


def _settled(read: Callable[[str], str | None]) -> Callable[[str], str | None]:
    """``read`` until nothing changes, so that a canonical form is its own canonical form."""

    def settled(raw: str) -> str | None:
        found = read(raw)
        for _ in range(8):
            before, found = found, None if found is None else read(found)
            if found == before:
                break
        return found

    return settled


CODE = "code"
"""The form of answers that are Python code, told apart by what they do."""

NORMALISERS: dict[str, Callable[[str], str | None]] = {
    "none": lambda raw: raw or None,
    "text": _settled(canonical_text),
    "integer": canonical_integer,
    "number": canonical_number,
    "choice": canonical_choice,
    "option": _settled(canonical_option),
    "yes_no": canonical_yes_no,
    "labels": _settled(canonical_labels),
    "latex": canonical_latex,
    "json": canonical_json,
    "tool_calls": canonical_tool_calls,
    CODE: _settled(lambda raw: code_in(raw).strip() or None),
}
"""Name -> the canonical form of an extracted answer, None where it cannot be read."""


@dataclass(frozen=True, slots=True)
class AnswerSpec:
    """How the answer is found in a text (``regex``, first or last match) and made canonical.

    The answer is the first group of the pattern that took part in the match, or the whole match
    where it has no group: alternatives may have a group each. Of several patterns the first that
    matches counts; where its match cannot be read, those after it look at what follows the match.
    Patterns see full-width letters, other scripts' digits and typographic punctuation as their
    ASCII signs. ``regex=None`` takes the whole text. With ``digits`` numbers are rounded to so many
    significant digits, so that votes take near ones for one answer. With ``units`` numbers are
    those of a quantity in this unit. ``normalise`` is a name of ``NORMALISERS``, or
    a function of one's own, which is kept by name and never part of a policy (``user_code.py``).
    ``returns`` says what a served policy hands out: the text or the answer.

    Of JSON, ``schema`` is what an answer must keep to (a JSON Schema or a pydantic model; it is
    kept as text), else it is an abstention; ``fields`` are those that count, all of a schema's
    where none are named. Where fields are known they are voted on one by one (``vote="fields"``).

    Of ``code``, ``calls`` are calls of its functions with plain values, such as ``f([1, 2])``; what
    they give is what is voted on, and code in which one fails is an abstention. ``{{ field }}``
    stands for an input of the item, whose lines may be a call each (``of``).
    """

    regex: str | tuple[str, ...] | None = None
    take: Literal["first", "last"] = "last"
    normalise: Any = "text"
    returns: Literal["text", "extracted"] = "text"
    digits: int | None = None
    fields: tuple[str, ...] = ()
    schema: Any = None
    vote: Literal["fields", "whole"] = "fields"
    units: str | None = None
    calls: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.calls) != (self.normalise == CODE):
            raise InputError(
                "normalise: code and calls go together: code is told apart by what calls of its "
                "functions give, such as calls: ['f([])', 'f([3, 1])']",
                loc=("calls",),
            )
        object.__setattr__(self, "calls", tuple(self.calls))
        for call in self.calls:
            if not _PLACEHOLDER.search(call):
                check_call(call)
        for name in ("fields", "schema"):
            if getattr(self, name) and self.normalise != "json":
                raise InputError(f"answer.{name} is for normalise: json", loc=(name,))
        if self.schema is not None:
            object.__setattr__(self, "schema", checked_schema(self.schema))
            known = schema_fields(self.schema)
            for name in self.fields:
                if name not in known:
                    raise unknown_name("field of answer.schema", name, known, loc=("fields",))
        if self.digits is not None and not (self.normalise == "number" and self.digits >= 1):
            raise InputError(
                "answer.digits is at least 1, and for normalise: number", loc=("digits",)
            )
        if self.units is not None:
            if self.normalise != "number":
                raise InputError("answer.units is for normalise: number", loc=("units",))
            check_unit(self.units)
        if callable(self.normalise):
            object.__setattr__(self, "normalise", bind_function(self.normalise))
        if self.normalise not in NORMALISERS and not self.reads_by_python:
            raise unknown_name("answer.normalise", self.normalise, NORMALISERS, loc=("normalise",))
        if self.regex is not None and not isinstance(self.regex, str):
            object.__setattr__(self, "regex", tuple(self.regex))
        for pattern in self.patterns:
            linear_regex(pattern, "answer.extract.regex", ("extract", "regex"))

    @property
    def reads_by_python(self) -> bool:
        """Whether a user's function makes answers canonical."""
        return str(self.normalise).startswith(PYTHON)

    def check_usable(self) -> None:
        """Raise InputError where a user's function reads answers and is not here, or where answers
        are code and running it was not asked for."""
        if self.reads_by_python:
            bound_normaliser(self.normalise)
        if self.calls:
            check_allowed()

    @property
    def _told_apart(self) -> bool:
        """Whether answers are code, and its calls are known."""
        return bool(self.calls) and not any(map(_PLACEHOLDER.search, self.calls))

    def of(self, inputs: Mapping[str, str]) -> AnswerSpec:
        """The reading of answers to one request, whose inputs its calls may name.

        Raises:
            InputError: an input that calls name is not there, or a line of it is no call.
        """
        if not self.calls or self._told_apart:
            return self
        missing = {name for call in self.calls for name in _PLACEHOLDER.findall(call)} - {*inputs}
        if missing:
            raise unknown_name("input in answer.calls", min(missing), inputs, loc=("calls",))
        filled = (_PLACEHOLDER.sub(lambda m: inputs[m[1]], call) for call in self.calls)
        lines = tuple(line.strip() for call in filled for line in call.splitlines() if line.strip())
        return replace(self, calls=lines)

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns, in the order in which they are tried."""
        return (self.regex,) if isinstance(self.regex, str) else self.regex or ()

    @property
    def ballots(self) -> tuple[str, ...]:
        """The fields that are voted on one by one; none: answers are voted on whole."""
        if self.vote == "whole":
            return ()
        return ("behaviour",) if self.calls else self._fields

    @property
    def _fields(self) -> tuple[str, ...]:
        return self.fields or (schema_fields(self.schema) if self.schema else ())

    def values(self, answer: str | None) -> tuple[str, ...]:
        """What a canonical answer votes for in each ballot; nothing of an abstention."""
        fields = self.ballots
        if self._told_apart and answer is not None:
            return (behaviour(answer, self.calls) or "",)
        return field_values(answer, fields) if fields and answer is not None else ()

    def elected(self, values: Sequence[str]) -> str:
        """The canonical answer with these values, one a ballot."""
        return object_of(self.ballots, values)

    def extract(self, text: str) -> str | None:
        """The canonical answer in ``text``, or None where there is none; a thought is no answer."""
        if thought := _THOUGHT.match(text):
            text = text[thought.end() :]
        if self.regex is None:
            return self.read(text)
        plain, begin = plain_signs(text), 0
        for pattern in self.patterns:
            matches = linear_regex(pattern, "answer.extract.regex").finditer(plain[begin:])
            found = next(matches if self.take == "first" else iter(deque(matches, 1)), None)
            if found is None:
                continue
            groups = range(1, found.re.groups + 1) if found.re.groups else (0,)
            spans = (found.span(group) for group in groups)
            raw = next((text[begin + a : begin + b] for a, b in spans if a >= 0), None)
            answer = None if raw is None else self.read(raw)
            if answer is not None:
                return answer
            begin += found.end()
        return None

    def read(self, raw: str) -> str | None:
        """The canonical form of an answer that stands alone; None where it cannot be read."""
        if self.schema is not None:
            found = canonical_json(raw, self.schema)
        elif self.units is not None:
            found = canonical_quantity(raw, self.units)
        elif self.reads_by_python:
            found = bound_normaliser(self.normalise)(raw)
        else:
            found = NORMALISERS[self.normalise](raw)
        if found is None or (self._told_apart and behaviour(found, self.calls) is None):
            return None
        if self.digits is not None:
            return rounded(found, self.digits)
        fields = self._fields
        return json_part(found, fields, required=self.schema is None) if fields else found

    def canonical(self, answer: str) -> str:
        """The canonical form of a gold answer; one that the rule cannot read stays as it is."""
        normalised = self.read(answer)
        return answer.strip() if normalised is None else normalised
