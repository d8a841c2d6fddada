"""Verifiers: they score an answer from the question alone, and never see the gold answer.

A verifier gets a request's inputs, the completion's text and its canonical answer (None for an
abstention), and depends on nothing else: so a score that was computed from stored samples is the
score that serving computes. Higher is better; NaN is no score. A task names the verifiers that fit
it (``verifiers: [game24]``), a strategy the one that it ranks by.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction

Verifier = Callable[[Mapping[str, str], str, str | None], float]
"""(inputs, text, canonical answer or None) -> score, higher is better."""

_GOAL = 24
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
    if right.strip(" .`*") not in ("", str(_GOAL)):
        return False
    if len(expression) > _LONGEST or not _ARITHMETIC.fullmatch(expression):
        return False
    try:
        tree = ast.parse(expression, mode="eval").body
        used: list[int] = []
        return _value(tree, used) == _GOAL and tuple(sorted(used)) == numbers
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


VERIFIERS: dict[str, Verifier] = {"game24": game24}

LOGPROBS = ("mean_logprob", "min_logprob")
"""Scores that come with a sample, where the tier gives log-probabilities."""

RECORDED_SCORES = ("verifier_score", "confidence")
"""Scores that only a recording may carry."""

SCORES = (*LOGPROBS, *RECORDED_SCORES, *VERIFIERS)
"""Every score that a strategy may rank by."""


def verified(
    names: Iterable[str], inputs: Mapping[str, str], text: str, answer: str | None
) -> dict[str, float]:
    """The scores of one answer by those of ``names`` that are verifiers."""
    return {name: VERIFIERS[name](inputs, text, answer) for name in names if name in VERIFIERS}
