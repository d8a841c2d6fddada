"""HTML and SVG that are escaped by construction: plain text never becomes markup."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_VOID = {"meta", "br", "hr"}


class Markup(str):
    """Text that is markup already; every other text is escaped where it is put into an element."""

    __slots__ = ()


Child = str | int | float | None


def escaped(text: str) -> Markup:
    """``text`` as character data, good in elements and in quoted attributes.

    Characters that HTML does not allow (and half surrogates, which UTF-8 cannot hold) are replaced.
    """
    return Markup(html.escape(_UNPRINTABLE.sub("\ufffd", text), quote=True))


def joined(children: Iterable[Child]) -> Markup:
    """Children one after the other; None is nothing."""
    return Markup("".join(_child(child) for child in children))


def el(name: str, /, *children: Child, **attributes: str | int | float | bool | None) -> Markup:
    """An element. ``class_`` is ``class``, ``stroke_width`` is ``stroke-width``.

    An attribute that is None or False is left out; True stands alone.
    """
    said = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        said.append(f" {key}" if value is True else f' {key}="{_value(value)}"')
    opening = f"<{name}{''.join(said)}>"
    if name in _VOID:
        return Markup(opening)
    return Markup(f"{opening}{joined(children)}</{name}>")


def _child(child: Child) -> str:
    if child is None:
        return ""
    return child if isinstance(child, Markup) else escaped(str(child))


def _value(value: str | int | float) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return escaped(str(value))
