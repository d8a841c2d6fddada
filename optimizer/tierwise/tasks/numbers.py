"""Numbers as people write them: signs, currencies, separators, fractions, units, percent.

Conversion between units is by pint (the extra ``tierwise[units]``). pint is given one unit at a
time, in few plain characters: what a model writes is never evaluated as an expression.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any, NamedTuple

from tierwise.errors import InputError
from tierwise.tasks.markup import unwrapped, without_emphasis

_CURRENCY = (
    r"(?P<currency>(?:US|CA|AU|NZ|HK|A|C|R)?\$|[€£¥₹₩₽₺₫₱₪฿₦￥￡]"
    r"|(?:Rs\.?|USD|EUR|GBP|JPY|INR|CAD|AUD|CHF|CNY|RMB)(?![A-Za-z]))?"
)
_DIGITS = (
    r"\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d{1,3}(?: \d{3})+(?:\.\d*)?|\d{1,3}(?:_\d{3})+(?:\.\d*)?"
    r"|\d{1,3}(?:'\d{3})+(?:\.\d*)?|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d*)?|\d+(?:\.\d*)?|\.\d+"
)
_QUANTITY = re.compile(
    rf"(?P<sign>[-+]?) ?{_CURRENCY} ?(?P<inner>[-+]?)"
    r"(?:(?:(?P<whole>\d{1,9})(?: and)? )?(?P<top>\d{1,12}) ?/ ?(?P<bottom>\d{1,12})"
    rf"|(?P<digits>{_DIGITS})(?P<exponent>[eE][-+]?\d{{1,3}})?)(?P<unit>.*)"
)
_FRAC = re.compile(r"(\d?)\s*\\[dtc]?frac\s*(?:\{(\d+)\}|(\d))\s*(?:\{(\d+)\}|(\d))")
_VULGAR = re.compile(r"(\d?) ?([¼-¾⅐-⅞])")

_SCALES = {
    "hundred": 100,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
_LETTER_SCALES = {"k": "thousand", "K": "thousand", "M": "million", "B": "billion", "bn": "billion"}
"""Scales that are written as a letter, where a currency stands before the number."""
_WORD = re.compile(r"[^\W\d_][^\W\d_./²³'’()-]*(?:[./'’-][^\W\d_]+)*[²³.]?")
_ATTACHED = re.compile(r"[%°$€£¥₹]|[^\W\d_]{2,}|[mgshl]\b|(?![a-zA-Z])[^\W\d_]")
_TEN_TO = re.compile(
    r"(?<=\d) ?(?:×|x|\*|·|times|cdot) ?10"
    r"(?: ?\^ ?\{?([-+]?\d{1,3})\}?|(-?[⁰¹²³⁴-⁹]{1,3}))(?!\.?\d)"
)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_ABOUT = re.compile(
    r"(?:(?:(?:the )?(?:final |correct )?answer(?: is)?:?|is|equals|equal to|therefore|thus|simply"
    r"|approximately|approx\.?|about|around|roughly|exactly|only|just"
    r"|a total of)\s+)+",
    re.IGNORECASE,
)
_WHICH_IS = re.compile(r", which (?:is|equals|gives|makes) ")
_SENTENCE = re.compile(
    r"(?!.*(?:\?|\b(?:how|what|which|not|never|neither|no|none|or|if|between|than|least|most|up|over|under|step|see|part"
    r"|question|equation|case|option|figure)\b|n't\b|[<>≤≥±]))[A-Z][^\d:=(]{3,60} "
    r"(\S{0,3}\d\S*(?: \S+)?)[^\d=]*",
    re.IGNORECASE,
)
"""A sentence with one number in it; ``Tom sold 72 clips``."""
_LABELLED = re.compile(r"[^\d:=]{1,60}: ?([^:]*\d[^:]*)")
_BRACKETED = re.compile(r"[^\d()]*\(([^()]*\d[^()]*)\)[.\s]*")
_DENIED = re.compile(r"\b(?:not|neither|never|no)\b|n't\b", re.IGNORECASE)
_STATED = re.compile(
    r"[^\d=]*\b(?:is|are|was|has|have|had|equals|costs?|takes?|needs?|makes?|earns?|gets?)\s+(\S*\d.*)",
    re.IGNORECASE,
)
_MINUS = re.compile(r"^(?:minus|negative) (?=[\d.])", re.IGNORECASE)
_EXPLAINED = re.compile(
    r" \(|,? (?:because|since|as|so|which|where|given|not)\b|, (?=[^\W\d])|; |\. |\.?\n| ?— ?|\? ",
    re.IGNORECASE,
)
_ALTERNATIVE = re.compile(
    r"[\s,;(]*(?:\b(?:or|and|to|through|nor)\b|(?<=[,;] )(?:[^\W\d]+ ?[:=] ?)?[-+$€£]{0,2}\d)",
    re.IGNORECASE,
)
_NOT_UNITS = frozenset({"and", "or", "plus", "minus", "to", "over", "half", "point"})
_MOST_WORDS = 8
_LONGEST = 300


def canonical_number(raw: str) -> str | None:
    """The number in ``raw`` in plain decimal notation, None where it is no single number.

    A fraction that has no end as a decimal is ``p/q``. A sign may stand before or after a currency;
    thousands may be set apart; a unit of up to eight words may follow, and ``million`` and the like
    count. A percentage is its number. The result of a calculation (``6 * 7 = 42``) is the number,
    and what follows as an explanation (``42, since …``, ``42 (6 times 7)``) is left out. What reads
    as two numbers, a range or a sum is none.
    """
    for part in _parts(_plain(raw)):
        value = _quantity(part)
        if value is not None:
            return value
    return None


def _numbers_with_units(raw: str) -> Iterator[tuple[Fraction, str]]:
    """Each number that ``raw`` may say, with the unit behind it as it is written, or ``""``."""
    for part in _parts(_plain(raw)):
        if (found := _number(part)) is not None:
            words, value = found.unit.split(), found.value
            if words and words[0].casefold() in _SCALES:
                value *= _SCALES[words.pop(0).casefold()]
            yield value, " ".join(words)


def _plain(raw: str) -> str:
    text = without_emphasis(unwrapped(_FRAC.sub(_slashed, raw)))
    text = text.replace("{,}", ",").replace("\\!", "").replace("\\", "")
    text = _VULGAR.sub(
        lambda m: f"{m[1]} {unicodedata.normalize('NFKC', m[2]).replace('⁄', '/')}".strip(), text
    )
    return _TEN_TO.sub(lambda m: "e" + (m[1] or m[2]).translate(_RAISED), text)


def _slashed(fraction: re.Match[str]) -> str:
    whole, *parts = fraction.groups()
    top, bottom = (part for part in parts if part is not None)
    return f"{whole} {top}/{bottom}" if whole else f"{top}/{bottom}"


def _parts(text: str) -> Iterator[str]:
    """The text, what stands before an explanation, and what stands after the last equals sign."""
    yield text
    whole = text
    if (bracketed := _BRACKETED.fullmatch(text)) and not _DENIED.search(text):
        yield bracketed[1]
    explained = _EXPLAINED.search(text)
    if explained and not _ALTERNATIVE.match(text, explained.start()):
        text = text[: explained.start()]
        yield text
    if stated := _STATED.fullmatch(text) or _LABELLED.fullmatch(text) or _SENTENCE.fullmatch(text):
        yield stated[1]
    whole = _WHICH_IS.sub("=", whole)
    if "=" in whole and not _ALTERNATIVE.search(whole):
        yield whole.rpartition("=")[2]


class _Number(NamedTuple):
    value: Fraction
    unit: str
    currency: bool


def _quantity(text: str) -> str | None:
    found = _number(text)
    scale = None if found is None else _scale(found.unit, found.currency)
    return None if found is None or scale is None else _written(found.value * scale)


def _number(text: str) -> _Number | None:
    """A number and what stands behind it."""
    if not text.isascii():  # emoji, and vowel signs of units in other scripts
        text = "".join(
            c for c in text if c == "°" or unicodedata.category(c) not in ("So", "Mn", "Mc")
        )
    text = text.strip().strip("*`\"'#").lstrip(" =≈~:").rstrip(" .=,;:\"'")
    text = _ABOUT.sub("", text)
    text = _MINUS.sub("-", text)
    if "{" not in text:
        text = text.rstrip("}")
    if text[:1] in "([{<" and text[-1:] in ")]}>":
        text = text[1:-1]
    match = _QUANTITY.fullmatch(text.strip("$ ") if text.count("$") == 2 else text)
    if match is None or (match["sign"] and match["inner"]):
        return None
    if len(text) > _LONGEST:
        return None
    if match["digits"]:
        number = Decimal(re.sub("[,_ ']", "", match["digits"]) + (match["exponent"] or ""))
        if number and abs(number.adjusted()) > 60:
            return None
        value = Fraction(number)
    elif int(match["bottom"]):
        value = int(match["whole"] or 0) + Fraction(int(match["top"]), int(match["bottom"]))
    else:
        return None
    sign = -1 if "-" in (match["sign"], match["inner"]) else 1
    return _Number(sign * value, match["unit"], bool(match["currency"]))


def _written(value: Fraction) -> str:
    """``value`` as a decimal, or as ``p/q`` where it has no end as one."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest > 1:
        return str(value)
    whole, part = divmod(abs(value), 1)
    digits = ""
    while part:
        digit, part = divmod(part * 10, 1)
        digits += str(digit)
    return ("-" if value < 0 else "") + str(whole) + (f".{digits}" if digits else "")


def rounded(number: str, digits: int) -> str:
    """A canonical number with at most so many significant digits."""
    value = Fraction(number)
    if not value:
        return number
    most = (Decimal(value.numerator) / Decimal(value.denominator)).adjusted()
    unit = Fraction(10) ** (most - digits + 1)
    return _written(round(value / unit) * unit)


def canonical_integer(raw: str) -> str | None:
    """As ``canonical_number``, for whole numbers only."""
    text = canonical_number(raw)
    return text if text is not None and text.lstrip("-").isdecimal() else None


def _scale(unit: str, currency: bool) -> int | None:
    """What a unit multiplies by (1 for most), None where it is no unit."""
    first = unit.split(maxsplit=1)[0] if unit.strip() else ""
    if currency and first in _LETTER_SCALES:
        unit = unit.replace(first, f" {_LETTER_SCALES[first]}", 1)
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


# --- units -------------------------------------------------------------------------------------

_CONVERTED_DIGITS = 15
"""Significant digits that a converted number keeps."""

_UNIT_NAME = re.compile(r"[^\W\d_°µΩ%]{0,30}[°µΩ%]?(?:[\w°µΩ%²³⁻·*/^(). -]{0,40})")
_LONG_POWER = re.compile(r"\d{3}")


def canonical_quantity(raw: str, unit: str) -> str | None:
    """The number of ``raw`` in ``unit``; a number without a unit is in it already.

    None where there is no single number, or its unit is unknown or of another kind.
    """
    for value, said in _numbers_with_units(raw):
        if not said:
            return _written(value)
        number = _converted(value, said, unit)
        if number is not None:
            return number
    return None


def check_unit(unit: str) -> None:
    """Raise InputError unless ``unit`` is one that pint knows, and pint is there."""
    if _unit(unit) is None:
        raise InputError(
            f"answer.units {unit!r} is no unit that pint knows, such as km, kg, m/s or degC",
            loc=("units",),
        )


@functools.cache
def _registry() -> Any:
    try:
        import pint
    except ImportError:
        raise InputError(
            "numbers with units need pint: pip install 'tierwise[units]'", loc=("units",)
        ) from None
    return pint.UnitRegistry(non_int_type=Fraction, cache_folder=None)


@functools.lru_cache(maxsize=4096)
def _unit(text: str) -> Any:
    """The unit that a text names; None where it names none."""
    registry = _registry()
    text = text.strip().rstrip(".")
    if not _UNIT_NAME.fullmatch(text) or _LONG_POWER.search(text):
        return None
    try:
        return registry.parse_units(text)
    except Exception:  # noqa: BLE001  pint's parser raises whatever it meets: tokens, zero, names
        return None


def _converted(value: Fraction, said: str, unit: str) -> str | None:
    found, wanted = _unit(said), _unit(unit)
    if found is None or wanted is None:
        return None
    try:
        number = _registry().Quantity(value, found).to(wanted).magnitude
    except Exception:  # noqa: BLE001  units of another kind, and offsets in products of units
        return None
    exact = Fraction(number)
    with localcontext() as context:
        context.prec = _CONVERTED_DIGITS
        shown = Decimal(exact.numerator) / Decimal(exact.denominator)
    return _written(Fraction(shown))
