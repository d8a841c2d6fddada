"""Numbers with units, by pint (the extra ``tierwise[units]``).

A task names the unit of its answers; an answer in another unit of that kind is the same number in
the task's unit, so that votes, rounding and tolerances need no unit. pint is given one unit at a
time, in few plain characters: what a model writes is never evaluated as an expression.
"""

from __future__ import annotations

import functools
import re
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

from tierwise.errors import InputError
from tierwise.tasks.numbers import numbers_with_units, written_number

_DIGITS = 15
"""Significant digits that a converted number keeps."""

_UNIT = re.compile(r"[^\W\d_°µΩ%]{0,30}[°µΩ%]?(?:[\w°µΩ%²³⁻·*/^(). -]{0,40})")
_LONG_POWER = re.compile(r"\d{3}")


def canonical_quantity(raw: str, unit: str) -> str | None:
    """The number of ``raw`` in ``unit``; a number without a unit is in it already.

    None where there is no single number, or its unit is unknown or of another kind.
    """
    for value, said in numbers_with_units(raw):
        if not said:
            return written_number(value)
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
    if not _UNIT.fullmatch(text) or _LONG_POWER.search(text):
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
        context.prec = _DIGITS
        shown = Decimal(exact.numerator) / Decimal(exact.denominator)
    return written_number(Fraction(shown))
