r"""From a completion's text to the answer that votes compare and metrics score.

Extraction is a regular expression in linear time (google-re2), normalisation a named rule; both are
plain data, so a policy file carries them. An answer that cannot be extracted is ``None``: an
abstention, which is paid for and never beats an extracted answer.
"""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tierwise.errors import InputError, unknown_name
from tierwise.tasks.latex import canonical_latex
from tierwise.tasks.markup import plain_signs, unwrapped, without_emphasis
from tierwise.tasks.numbers import canonical_integer, canonical_number, rounded

_WRAPPED = "\"'`*_ "
_SAID = re.compile(
    r"(?:so |thus |therefore,? )?(?:the |my )?(?:correct |final |best |right )?"
    r"(?:answers?|option|choice|letter|labels?)(?: is)? ?[:=]? ?[*_]*",
    re.IGNORECASE,
)
_LETTER = re.compile(r"[\[({]?([A-Za-z])(?:[\])}][.:,]?|[.:,])(?P<rest> .*)?")
_PARENTHESISED = re.compile(r"[\[({]([A-Za-z])[\])}][.:,]?(?P<rest> .*)?|([A-Z])[.):](?: .*)?")
_NAMED = re.compile(r"(?:option |choice |letter )?([A-Z])(?P<rest> .*)", re.DOTALL)
_ANOTHER = re.compile(
    r" ?(?:[,/&;|]|or\b|and\b|nor\b|vs\b)? ?[\[({]?[A-HJ-Z](?:[\])}.,]| ?$| (?:or|and) )"
    r"| (?:or|and|nor|vs)\b"
)
_REASON = re.compile(r" (?:because|since|as|is|which|for|due|given|would|[-–—(])")
_END = re.compile(
    r"(?:\s*(?:<\|[^|<>\n]{1,40}\|>|</(?:answer|final_answer|final|response|result|output|solution|s)>))+\s*$"
)
_WHOLE = re.compile(
    r"\\(?:boxed|fbox|text(?:bf|it|rm)?|math(?:bf|rm))\s*\{(.*)\}|\\\((.*)\\\)", re.DOTALL
)
_BRACKET = re.compile(r"[{\[]")
_BETWEEN = re.compile(r"\s*[,;|/&\n]\s*|\s+(?:and|und|et|y)\s+", re.IGNORECASE)
_BULLET = re.compile(r"^(?:[-*•]|\d{1,2}[.)])\s+")

_YES, _NO = ("yes", "true", "y"), ("no", "false", "n")


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
    """The letter of an option: ``B``, ``(b)``, ``B. Paris``, ``option B``; None where unclear."""
    text = _bare(raw)
    letters = [c for c in text if c.isalpha()]
    if len(letters) == 1:
        return letters[0].upper() if letters[0].isascii() else None
    match = _LETTER.fullmatch(text)
    if match is None:
        match = _NAMED.fullmatch(text)
        # "A dog" and "I think" are words; a letter that a reason follows is the letter.
        if match and match[1] in "AI" and not _REASON.match(match["rest"]):
            return None
    if match is None or _ANOTHER.match(match["rest"] or ""):
        return None
    return match[1].upper()


def canonical_option(raw: str) -> str | None:
    """The letter where ``raw`` names an option by ``(B)`` or a lone letter, else its text."""
    bare, text = _bare(raw), canonical_text(_bare(raw))
    match = _PARENTHESISED.fullmatch(bare)
    if match and _ANOTHER.match(match["rest"] or ""):
        return text
    letter = (match[1] or match[3]) if match else (text or "")
    if len(letter) == 1 and letter.isascii() and letter.isalpha():
        return letter.upper()
    return text


def canonical_yes_no(raw: str) -> str | None:
    """``yes`` or ``no``; true and false are read as these, by the first word."""
    words = re.findall(r"[^\W\d_]+", _bare(raw).casefold())
    if not words:
        return None
    return "yes" if words[0] in _YES else "no" if words[0] in _NO else None


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


def canonical_json(raw: str) -> str | None:
    """An object or a list in one written form: keys sorted, no white space, 3 for 3.0.

    It may stand in a code fence or in a text; of several the last one counts. A key twice, NaN and
    what is no JSON are not read.
    """
    text = raw
    decoder = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_refused)
    found: Any = None
    at = 0
    while (begin := _BRACKET.search(text, at)) is not None:
        try:
            found, at = decoder.raw_decode(text, begin.start())
        except (ValueError, RecursionError):
            at = begin.end()
    if not isinstance(found, dict | list):
        return None
    return json.dumps(_settled_json(found), sort_keys=True, ensure_ascii=False)


def json_part(canonical: str, fields: Sequence[str]) -> str | None:
    """These fields of a canonical JSON object; None where it is none or lacks one."""
    found = json.loads(canonical)
    if not isinstance(found, dict) or any(name not in found for name in fields):
        return None
    return json.dumps({name: found[name] for name in fields}, sort_keys=True, ensure_ascii=False)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def _refused(constant: str) -> Any:
    raise ValueError(constant)


def _settled_json(value: Any) -> Any:
    match value:
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case str():
            return " ".join(unicodedata.normalize("NFC", value).split())
        case list():
            return [_settled_json(each) for each in value]
        case dict():
            return {name: _settled_json(each) for name, each in value.items()}
    return value


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
            f"time (RE2 syntax: no look-around, no back-references): {reason}",
            loc=("extract", "regex"),
        ) from None


@dataclass(frozen=True, slots=True)
class AnswerSpec:
    """How the answer is found in a text (``regex``, first or last match) and made canonical.

    The answer is the first group of the pattern that took part in the match, or the whole match
    where it has no group: alternatives may have a group each. The pattern sees full-width letters,
    other scripts' digits and typographic punctuation as their ASCII signs. ``regex=None`` takes the
    whole text. With ``digits`` numbers are rounded to so many significant digits, so that votes
    take near ones for one answer; with ``fields`` only these of an object are the answer.
    ``returns`` says what a served policy hands out: the text or the answer.
    """

    regex: str | None = None
    take: Literal["first", "last"] = "last"
    normalise: str = "text"
    returns: Literal["text", "extracted"] = "text"
    digits: int | None = None
    fields: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.fields and self.normalise != "json":
            raise InputError("answer.fields is for normalise: json", loc=("fields",))
        if self.digits is not None and not (self.normalise == "number" and self.digits >= 1):
            raise InputError(
                "answer.digits is at least 1, and for normalise: number", loc=("digits",)
            )
        if self.normalise not in NORMALISERS:
            raise unknown_name("answer.normalise", self.normalise, NORMALISERS, loc=("normalise",))
        if self.regex is not None:
            _compile(self.regex)

    def extract(self, text: str) -> str | None:
        """The canonical answer in ``text``, or None where there is none."""
        raw: str | None = text
        if self.regex is not None:
            raw = None
            for match in _compile(self.regex).finditer(plain_signs(text)):
                groups = range(1, match.re.groups + 1) if match.re.groups else (0,)
                spans = (match.span(group) for group in groups)
                raw = next((text[a:b] for a, b in spans if a >= 0), None)
                if self.take == "first":
                    break
        return None if raw is None else self.read(raw)

    def read(self, raw: str) -> str | None:
        """The canonical form of an answer that stands alone; None where it cannot be read."""
        found = NORMALISERS[self.normalise](raw)
        if found is None:
            return None
        if self.digits is not None:
            return rounded(found, self.digits)
        return json_part(found, self.fields) if self.fields else found

    def canonical(self, answer: str) -> str:
        """The canonical form of a gold answer; one that the rule cannot read stays as it is."""
        normalised = self.read(answer)
        return answer.strip() if normalised is None else normalised
