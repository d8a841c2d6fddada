r"""LaTeX answers: one written form for votes, and equality in the mathematical sense for gold.

``canonical_latex`` is plain text work, so that a policy file's votes are the same wherever it runs:
``\dfrac{3}{6}``, ``0.5`` and ``\frac12`` are ``1/2``, but ``(x+1)^2`` is not ``x^2+2x+1``.
``latex_equal`` knows that they are equal; it needs math-verify (``tierwise[math]``), loaded when
first used.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import unicodedata
from fractions import Fraction
from typing import Any

from tierwise.errors import InputError
from tierwise.tasks.markup import plain_signs

_LONGEST, _LONGEST_READ = 300, 4_000
"""Characters that are compared mathematically, and that are read at all."""
_UNITS = (
    r"(?:square|cubic|sq\.?|cu\.?)? ?(?:units?|cm|mm|km|m|kg|g|mg|in|inch(?:es)?|ft|foot|feet"
    r"|yards?|miles?"
    r"|met(?:er|re)s?|centimet(?:er|re)s?|kilomet(?:er|re)s?|hours?|hrs?|minutes?|mins?|seconds?|secs?|days?|weeks?"
    r"|years?|degrees?|dollars?|cents?|mph|percent|ways?|people|students?|points?)"
)
_FONT = (
    r"\\(?:text|textbf|textit|textrm|textsf|mbox|mathbf|mathrm|mathit|mathsf|bold|boldsymbol|bm)"
)
_ARGUMENT = r"\{[^{}]*(?:\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}[^{}]*)*\}"
_NO_UNIT = r"(?:hundred|thousand|million|billion|trillion|or|and|if|when|where|not|more|less|mod)\b"
_WRITTEN = (
    (re.compile(r"\\\\(?=(?:[dtc]?frac|sqrt|pi|infty|text|left|right|cdot|times)\b)"), r"\\"),
    (re.compile(r"\\(?:left|right|displaystyle|big|Big|bigg|Bigg|limits)(?![a-zA-Z])"), ""),
    (re.compile(r"^\\(?:bf|it|rm|tt|tiny|small|large|Large|LARGE|huge|Huge)(?![a-zA-Z])"), ""),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\lbrack(?![a-zA-Z])"), "["),
    (re.compile(r"\\rbrack(?![a-zA-Z])"), "]"),
    (re.compile(r"\\lbrace(?![a-zA-Z])"), r"\\{"),
    (re.compile(r"\\rbrace(?![a-zA-Z])"), r"\\}"),
    (re.compile(r"\\varnothing(?![a-zA-Z])"), r"\\emptyset"),
    (re.compile(r"(?<!\\)\\(?:[!,;: ]|$)|\\q?quad(?![a-zA-Z])|~"), ""),
    (re.compile(r"\^\{\\circ\}|\^ ?\\circ(?![a-zA-Z])|\\degree(?![a-zA-Z])|°|\\?[%$]|[€£¥]"), ""),
    (re.compile(rf",?\s*{_FONT}\{{\s*(?:and|or)\s*\}}"), ","),
    (re.compile(r"(?<=[\d})])\s*,?\s+(?:and|or)\s+(?=[\d(\\+-])"), ","),
    (re.compile(rf"{_FONT}\{{\s*,\s*\}}|\{{,\}}"), ","),
    (re.compile(rf"{_FONT}\{{\s*(?={_NO_UNIT})"), r"\\words{"),
    (re.compile(rf"(?<=.){_FONT}\{{[^{{}}]*\}}(?:\^\{{?\d\}}?)?$"), ""),
    (re.compile(rf"_\{{{_FONT}\{{(\w+)\}}\}}"), r"_{\1}"),
    (re.compile(rf"(?<=[\d}}])\s+{_UNITS}(?:\^?\{{?[23²³]\}}?)?$", re.IGNORECASE), ""),
    (re.compile(r"(?<=\d)\s*×\s*(?=\d)"), r"\\cdot"),
    (re.compile(r"^\\[(\[](.*)\\[)\]]$"), r"\1"),
    (re.compile(r"(?<!\d)(\d{1,9})\s+(\d{1,9})/(\d{1,9})$"), r"\1\\frac{\2}{\3}"),
    (re.compile(r"^\{?\s*(\w+)\s*\\over(?![a-zA-Z])\s*(\w+)\s*\}?$"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s*(\d)"), r"\\frac{\1}"),
    (re.compile(rf"(\\frac\s*{_ARGUMENT})\s*(\d)"), r"\1{\2}"),
    (re.compile(r"\\sqrt\s*(\d)"), r"\\sqrt{\1}"),
    (re.compile(r"√(\d+)|√\(([^()]*)\)"), r"\\sqrt{\1\2}"),
    (re.compile(r"(?<=[\d(,+-])\{(\\[a-zA-Z]+)\}"), r"\1"),
    (re.compile(r"([_^])\{([0-9a-zA-Z])\}"), r"\1\2"),
    (re.compile(r"(?<=\d)'(?=\d{3}(?!\d))"), ""),
    (re.compile(r"\\(?:cdot|times)(?![a-zA-Z])"), r"\\cdot"),
    (re.compile(r"\s+"), ""),
    (re.compile(r"^[a-zA-Z]\\in(?![a-zA-Z])"), ""),
    (re.compile(r"^(?:[a-zA-Z](?:_\w|\([^()=]*\))?|\([a-zA-Z,\\]*\))=(?=.)"), ""),
    (re.compile(r"^\(([^(),;]*)\)$"), r"\1"),
)
"""Pattern and what takes its place, in this order, until nothing changes."""
_SIGNS = str.maketrans(
    {
        "π": r"\pi",
        "∞": r"\infty",
        "∈": r"\in",
        "∅": r"\emptyset",
        "±": r"\pm",
        "⋅": r"\cdot",
        "·": r"\cdot",
        "≤": r"\le",
        "≥": r"\ge",
        "≠": r"\ne",
        "∪": r"\cup",
        "∩": r"\cap",
        "²": "^2",
        "³": "^3",
        "½": r"\frac{1}{2}",
        "¼": r"\frac{1}{4}",
        "¾": r"\frac{3}{4}",
        "⅓": r"\frac{1}{3}",
        "⅔": r"\frac{2}{3}",
        "⅛": r"\frac{1}{8}",
        "θ": r"\theta",
    }
)
_FRACTION = re.compile(
    r"([-+]?)(?:\\frac\{([-+]?\d{1,40})\}\{([-+]?\d{1,40})\}|(\d{1,40})/(\d{1,40}))"
)
_DECIMAL = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d{1,40})?(?:\.\d{1,40})?")
_MIXED = re.compile(r"([-+]?)(\d{1,9})\\frac\{(\d{1,9})\}\{(\d{1,9})\}")
_SCIENTIFIC = re.compile(r"([-+]?\d{1,9}(?:\.\d{1,30})?)\\cdot10\^(?:(\d)|\{([-+]?\d{1,2})\})")
_BOX = re.compile(r"\\(?:boxed|fbox|framebox)(?![a-zA-Z])\s*(?:(\d[\d.,/]*)|([^\s${}\\]+))?")
_BRACE = re.compile(r"(?<!\\)[{}]")
_WRAPPED = re.compile(rf"(?:{_FONT}\s*)?\{{")
_TAG = re.compile(r"<\|[^|<>\n]{1,40}\|>|</[A-Za-z][\w-]{0,30}>")
_SAYS_MORE = re.compile(r"\d_\w|\d_\{[^{}]*\}|\\words\{[^{}]*\}")
"""The base of a number, and words that are no unit."""
_RUNAWAY = re.compile(r"\^\{?[^{}]*\d{4,}|\^\{[^{}]*\^|\d{4,}!|!!")


def canonical_latex(raw: str) -> str | None:
    """One written form of a LaTeX answer; a rational number is ``p`` or ``p/q``.

    None for more than a few thousand characters, which are no answer and would take long.
    """
    if len(raw) > _LONGEST_READ:
        return None
    text = plain_signs(unicodedata.normalize("NFC", raw)).translate(_SIGNS)
    text = _unboxed(_TAG.sub("", text)).strip("\"'`*\n ")
    for _ in range(8):  # what a rule uncovers another may read
        before = text
        for pattern, instead in _WRITTEN:
            text = pattern.sub(instead, text)
        text = _unwrapped(text.strip("\"'`* ").rstrip(".,;:"))
        if text == before:
            break
    return _rational(text) or text or None


def _unboxed(text: str) -> str:
    """What stands in the boxes of ``text``, several set apart by commas; ``text`` without any."""
    found, at = [], 0
    while (box := _BOX.search(text, at)) is not None:
        begin, at = box.end(), box.end()
        if box[1] or box[2]:
            found.append(box[1] or box[2])
        elif text[begin : begin + 1] == "{":
            at = _closed(text, begin)
            found.append(_unboxed(text[begin + 1 : at - 1]))
    return ",".join(found) if found else text


def _unwrapped(text: str) -> str:
    """``text`` without the braces, or the font, that all of it stands in."""
    while (match := _WRAPPED.match(text)) and _closed(text, match.end() - 1) == len(text):
        text = text[match.end() : -1].strip()
    return text


def _closed(text: str, begin: int) -> int:
    """The place after the brace that closes the one at ``begin``, or the end of ``text``."""
    depth = 0
    for brace in _BRACE.finditer(text, begin):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.end()
    return len(text)


def latex_equal(gold: str, answer: str) -> bool:
    """Whether two canonical answers are the same mathematically, by math-verify.

    What could take for ever (towers of exponents, large factorials, hundreds of characters) is
    compared as it is written.

    Raises:
        InputError: math-verify is not installed.
    """
    if gold == answer:
        return True
    if set(_SAYS_MORE.findall(gold)) != set(_SAYS_MORE.findall(answer)):
        return False  # math-verify leaves out what it cannot read
    if max(len(gold), len(answer)) > _LONGEST or _RUNAWAY.search(gold) or _RUNAWAY.search(answer):
        return False
    return _equal(gold, answer)


def require_math_verify() -> None:
    """Raise an InputError unless math-verify is installed; loads nothing."""
    if importlib.util.find_spec("math_verify") is None:
        raise InputError(
            "the metric 'math_equal' needs math-verify, which is not installed: "
            "pip install 'tierwise[math]'"
        )


@functools.lru_cache(maxsize=2**14)
def _equal(gold: str, answer: str) -> bool:
    verify: Any = _math_verify().verify
    # Its timeouts use signals, which only the main thread may set.
    return bool(verify(_parsed(gold), _parsed(answer), timeout_seconds=None))


@functools.lru_cache(maxsize=2**14)
def _parsed(text: str) -> Any:
    return _math_verify().parse(f"${text}$", parsing_timeout=None)


@functools.cache
def _math_verify() -> Any:
    require_math_verify()
    import logging
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of its grammar's runtime
        module = importlib.import_module("math_verify")
    for name in ("math_verify", "latex2sympy2_extended"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return module


def _rational(text: str) -> str | None:
    if match := _FRACTION.fullmatch(text):
        sign, *parts = match.groups()
        top, bottom = (part for part in parts if part is not None)
        if int(bottom) == 0:
            return None
        value = Fraction(int(top), int(bottom)) * (-1 if sign == "-" else 1)
    elif (match := _MIXED.fullmatch(text)) and 0 < int(match[3]) < int(match[4]):
        value = int(match[2]) + Fraction(int(match[3]), int(match[4]))
        value *= -1 if match[1] == "-" else 1
    elif match := _SCIENTIFIC.fullmatch(text):
        value = Fraction(match[1]) * Fraction(10) ** int(match[2] or match[3])
    elif any(c.isdigit() for c in text) and _DECIMAL.fullmatch(text):
        value = Fraction(text.replace(",", ""))
    else:
        return None
    return str(value)
