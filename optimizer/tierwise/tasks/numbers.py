"""Numbers as people write them: signs, currencies, separators, units, percent."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

_DASHES = str.maketrans(dict.fromkeys("−–‒﹣-", "-") | dict.fromkeys("\u00a0\u2009\u202f\t\n", " "))

_CURRENCY = r"(?:(?:US|CA|AU|A|C)?\$|[€£¥₹]|(?:USD|EUR|GBP|JPY|INR|CAD|AUD|CHF)\b)?"
_DIGITS = (
    r"\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d{1,3}(?: \d{3})+(?:\.\d*)?|\d{1,3}(?:_\d{3})+(?:\.\d*)?"
    r"|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d*)?|\d+(?:\.\d*)?|\.\d+"
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
_NOT_UNITS = frozenset({"and", "or", "plus", "minus", "to", "over", "half", "point"})
_MOST_WORDS = 4


def canonical_number(raw: str) -> str | None:
    """The number in ``raw`` in plain decimal notation, None where it is no single number.

    A sign may stand before or after a currency; thousands may be set apart; a unit of up to four
    words may follow, and ``million`` and the like count. A percentage is its number. What reads as
    two numbers, a range or a sum is none.
    """
    text = (
        raw.translate(_DASHES).strip().strip("*`\"'").lstrip(" =≈~").rstrip(" .=").replace("\\", "")
    )
    match = _QUANTITY.fullmatch(text.strip("$ ") if text.count("$") == 2 else text)
    if match is None or (match["sign"] and match["inner"]):
        return None
    scale = _scale(match["unit"])
    if scale is None:
        return None
    digits = match["digits"].replace(",", "").replace("_", "").replace(" ", "")
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
