r"""What models write around an answer: other scripts' digits and punctuation, Markdown, LaTeX,
tags.

``plain_signs`` maps sign by sign, so that a place in its result is the same place in the text:
patterns look at it, and what they find is cut from the text itself. ``unwrapped`` takes away what
emphasises or encloses an answer: ``**42**``, ``\boxed{42}``, ``\(42\)``, ``42</answer>``.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Any

from tierwise.errors import InputError, Loc

_ALIKE = {
    **dict.fromkeys("−–‒‐‑﹣⁻", "-"),
    **dict.fromkeys("“”„«»″", '"'),
    **dict.fromkeys("‘’‚′", "'"),
    **dict.fromkeys("،、٬", ","),
    **dict.fromkeys("。．٫", "."),
    **dict.fromkeys("∶︰﹕：", ":"),
    **dict.fromkeys("؛；", ";"),
    **dict.fromkeys("【〔「『", "["),
    **dict.fromkeys("】〕」』", "]"),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", " "),
    "٪": "%",
}


class _Signs(dict[int, str]):
    """Sign -> the ASCII sign that means the same, found when it is first met."""

    def __missing__(self, code: int) -> str:
        sign = chr(code)
        self[code] = _ALIKE.get(sign) or _ascii(sign)
        return self[code]


def _ascii(sign: str) -> str:
    if sign.isdecimal():
        return str(unicodedata.decimal(sign))
    if sign.isspace() and sign not in "\r\n\u2028\u2029\x85\x0b\x0c":
        return " "
    how = unicodedata.decomposition(sign)
    # Superscripts and subscripts are no digits: x² is not x2.
    if not how or how.startswith(("<super>", "<sub>", "<fraction>")):
        return sign
    same = unicodedata.normalize("NFKC", sign)
    return same if len(same) == 1 and same.isascii() else sign


_SIGNS = _Signs({code: chr(code) for code in range(128)})

_TOKEN = re.compile(r"<\|[^|<>\n]{1,40}\|>|</?[A-Za-z][\w-]{0,30}>")
_ENCLOSED = re.compile(
    r"\\(?:boxed|fbox|framebox|text|textbf|textit|textrm|mbox|mathbf|mathrm|mathit|boldsymbol"
    r"|underline|emph|bf|rm)"
    r"\s*\{([^{}]*)\}"
)
_BARE_BOX = re.compile(r"\\(?:boxed|fbox|framebox)(?![a-zA-Z{])\s*")
_MATH_MODE = re.compile(r"\\[()\[\]]")
_EMPHASIS = re.compile(
    r"(?<![\w)])\*{1,3}(?=\S)|(?<=\S)\*{1,3}(?![\w(])|`+|(?<!\w)_{1,3}(?=\w)|(?<=\w)_{1,3}(?!\w)"
)


def plain_signs(text: str) -> str:
    """``text`` with the ASCII sign for each sign that means the same; of the same length."""
    return text if text.isascii() else text.translate(_SIGNS)


def unwrapped(raw: str) -> str:
    """``raw`` in plain signs and composed letters (NFC), without markup around or inside."""
    text = plain_signs(unicodedata.normalize("NFC", raw))
    if not any(sign in text for sign in "\\<*`_"):
        return text.strip()
    text = _TOKEN.sub(" ", text)
    if "\\" in text:
        for _ in range(6):
            text, n = _ENCLOSED.subn(r"\1", text)
            if not n:
                break
        text = _MATH_MODE.sub(" ", _BARE_BOX.sub(" ", text))
    return text.strip()


def without_emphasis(text: str) -> str:
    """``text`` without the asterisks, underscores and backquotes of Markdown."""
    return _EMPHASIS.sub("", text) if any(sign in text for sign in "*`_") else text


@functools.lru_cache(maxsize=512)
def linear_regex(pattern: str, where: str, loc: Loc = ()) -> Any:
    """``pattern`` compiled by RE2, which runs in linear time whatever the text; ``where`` it
    stands.

    Raises:
        InputError: it is no such pattern.
    """
    import re2  # 20 ms; only what extracts pays for it

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
        raise InputError(
            f"{where} {pattern!r} is not a regular expression that runs in linear time (RE2 "
            f"syntax: no look-around, no back-references): {reason}",
            loc=loc,
        ) from None
