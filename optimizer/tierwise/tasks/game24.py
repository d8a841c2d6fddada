"""The game of 24: does an expression use exactly the given numbers, and come to 24?"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Mapping
from fractions import Fraction

GOAL = 24
_LONGEST = 120
_SIGNS = str.maketrans(
    {"×": "*", "·": "*", "∗": "*", "÷": "/", "−": "-", "–": "-", "[": "(", "]": ")"}
)
_ARITHMETIC = re.compile(r"[0-9+\-*/() ]+")


def game24(inputs: Mapping[str, str], text: str, answer: str | None) -> float:
    """1 where the answer solves the game whose numbers stand in the inputs, else 0.

    The answer is an expression with ``+ - * /`` and brackets, maybe followed by ``= 24``; where
    there is no answer, the text's last line that has an equals sign is taken.
    """
    numbers = tuple(sorted(int(n) for value in inputs.values() for n in re.findall(r"\d+", value)))
    return float(_solves(answer if answer is not None else _last_equation(text), numbers))


def _last_equation(text: str) -> str:
    lines = [line for line in text.splitlines() if "=" in line]
    return lines[-1] if lines else ""


@functools.lru_cache(maxsize=2**14)
def _solves(claim: str, numbers: tuple[int, ...]) -> bool:
    left, _, right = claim.translate(_SIGNS).rpartition(":")[2].partition("=")
    expression = left.strip(" .`*")
    if right.strip(" .`*") not in ("", str(GOAL)):
        return False
    if len(expression) > _LONGEST or not _ARITHMETIC.fullmatch(expression):
        return False
    try:
        tree = ast.parse(expression, mode="eval").body
        used: list[int] = []
        return _value(tree, used) == GOAL and tuple(sorted(used)) == numbers
    except (SyntaxError, ZeroDivisionError, _NoArithmeticError):
        return False


class _NoArithmeticError(Exception):
    """Something else than numbers, + - * / and brackets."""


def _value(node: ast.expr, used: list[int]) -> Fraction:
    """The exact value; the numbers on the way are added to ``used``."""
    match node:
        case ast.Constant(value=int(value)):
            used.append(value)
            return Fraction(value)
        case ast.BinOp(left, ast.Add(), right):
            return _value(left, used) + _value(right, used)
        case ast.BinOp(left, ast.Sub(), right):
            return _value(left, used) - _value(right, used)
        case ast.BinOp(left, ast.Mult(), right):
            return _value(left, used) * _value(right, used)
        case ast.BinOp(left, ast.Div(), right):
            return _value(left, used) / _value(right, used)
        case ast.UnaryOp(ast.USub(), operand):
            return -_value(operand, used)
    raise _NoArithmeticError
