"""Numbers as people write them: signs, currencies, separators, units, percent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from tierwise.tasks.markup import unwrapped, without_emphasis

_CURRENCY = r"(?:(?:US|CA|AU|A|C)?\$|[€£¥₹]|(?:USD|EUR|GBP|JPY|INR|CAD|AUD|CHF)\b)?"
_DIGITS = (
    r"\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d{1,3}(?: \d{3})+(?:\.\d*)?|\d{1,3}(?:_\d{3})+(?:\.\d*)?"
    r"|\d{1,3}(?:'\d{3})+(?:\.\d*)?|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d*)?|\d+(?:\.\d*)?|\.\d+"
)
_QUANTITY = re.compile(
    rf"(?P<sign>[-+]?) ?{_CURRENCY} ?(?P<inner>[-+]?)"
    rf"(?P<digits>{_DIGITS})(?P<exponent>[eE][-+]?\d{{1,3}})?(?P<unit>.*)"
)

_SCALES = {
    "dozen": 12,
    "hundred": 100,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
_WORD = re.compile(r"[^\W\d_][^\W\d_./²³'’()-]*(?:[./'’-][^\W\d_]+)*[²³.]?")
_ATTACHED = re.compile(r"[%°$€£¥₹]|[^\W\d_]{2,}|[mgshl]\b")
_TEN_TO = re.compile(
    r"(?<=\d) ?(?:×|x|\*|·|times|cdot) ?10"
    r"(?: ?\^ ?\{?([-+]?\d{1,3})\}?|(-?[⁰¹²³⁴-⁹]{1,3}))(?!\.?\d)"
)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_ABOUT = re.compile(
    r"(?:(?:(?:the )?(?:final |correct )?answer(?: is)?:?|is|equals|equal to"
    r"|approximately|approx\.?|about|around|roughly|exactly|only|just"
    r"|a total of)\s+)+",
    re.IGNORECASE,
)
_STATED = re.compile(
    r"[^\d=]*\b(?:is|are|was|has|have|had|equals|costs?|takes?|needs?|makes?|earns?|gets?)\s+(\S*\d.*)",
    re.IGNORECASE,
)
_MINUS = re.compile(r"^(?:minus|negative) (?=[\d.])", re.IGNORECASE)
_EXPLAINED = re.compile(
    r" \(|,? (?:because|since|as|so|which|where|given|not)\b|, (?=[^\W\d])|; |\. |\.?\n| ?— ?|\? ",
    re.IGNORECASE,
)
_ALTERNATIVE = re.compile(r"[\s,;(]*\b(?:or|and|to|through|nor)\b", re.IGNORECASE)
_NOT_UNITS = frozenset({"and", "or", "plus", "minus", "to", "over", "half", "point"})
_MOST_WORDS = 8


def canonical_number(raw: str) -> str | None:
    """The number in ``raw`` in plain decimal notation, None where it is no single number.

    A sign may stand before or after a currency; thousands may be set apart; a unit of up to eight
    words may follow, and ``million`` and the like count. A percentage is its number. The result of
    a calculation (``6 * 7 = 42``) is the number, and what follows as an explanation (``42, since
    …``, ``42 (6 times 7)``) is left out. What reads as two numbers, a range or a sum is none.
    """
    text = without_emphasis(unwrapped(raw)).replace("{,}", ",").replace("\\", "")
    text = _TEN_TO.sub(lambda m: "e" + (m[1] or m[2]).translate(_RAISED), text)
    for part in _parts(text):
        value = _quantity(part)
        if value is not None:
            return value
    return None


def _parts(text: str) -> Iterator[str]:
    """The text, what stands before an explanation, and what stands after the last equals sign."""
    yield text
    explained = _EXPLAINED.search(text)
    if explained and not _ALTERNATIVE.match(text[explained.start() :]):
        text = text[: explained.start()]
        yield text
    if stated := _STATED.fullmatch(text):
        yield stated[1]
    if "=" in text and not _ALTERNATIVE.search(text):
        yield text.rpartition("=")[2]


def _quantity(text: str) -> str | None:
    text = text.strip().strip("*`\"'#").lstrip(" =≈~:").rstrip(" .=,;:")
    text = _ABOUT.sub("", text)
    text = _MINUS.sub("-", text)
    if text[:1] in "([{" and text[-1:] in ")]}":
        text = text[1:-1]
    match = _QUANTITY.fullmatch(text.strip("$ ") if text.count("$") == 2 else text)
    if match is None or (match["sign"] and match["inner"]):
        return None
    scale = _scale(match["unit"])
    if scale is None:
        return None
    digits = re.sub("[,_ ']", "", match["digits"])
    try:
        value = Decimal(f"{match['sign'] or match['inner']}{digits}{match['exponent'] or ''}")
    except InvalidOperation:
        return None
    if not value.is_finite() or abs(value.adjusted()) > 60:
        return None
    plain = format(value * scale, "f")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return "0" if plain in ("-0", "") else plain


def rounded(number: str, digits: int) -> str:
    """A canonical number with at most so many significant digits."""
    value = Decimal(number)
    if not value:
        return number
    unit = Decimal((0, (1,), value.adjusted() - digits + 1))
    return (
        canonical_number(format(value.quantize(unit) if unit > value * 0 else value, "f")) or number
    )


def canonical_integer(raw: str) -> str | None:
    """As ``canonical_number``, for whole numbers only."""
    text = canonical_number(raw)
    return text if text is not None and "." not in text else None


def _scale(unit: str) -> int | None:
    """What a unit multiplies by (1 for most), None where it is no unit."""
    if unit and not unit.startswith(" ") and not _ATTACHED.match(unit):
        return None
    words = unit.replace("%", " ").replace("°", " ").split()
    scale = 1
    if words and words[0].casefold() in _SCALES:
        scale = _SCALES[words.pop(0).casefold()]
    if len(words) > _MOST_WORDS:
        return None
    for word in words:
        plain = word.strip("()$€£¥₹.,").casefold()
        if plain in _NOT_UNITS or (plain and not _WORD.fullmatch(plain)):
            return None
    return scale
