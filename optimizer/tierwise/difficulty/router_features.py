"""What the router sees: named features of the inputs' text, and with a probe those of its samples.

A feature's name never changes what it means, since policy files name their weights by it.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from tierwise.difficulty.probe_agreement import ProbeAgreement
from tierwise.difficulty.probe_confidence import ProbeConfidence
from tierwise.strategies import Sample

_Count = Callable[[str], float]


def _matches(pattern: str) -> _Count:
    """How often ``pattern`` occurs, whatever the case; patterns here run in linear time."""
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda text: float(sum(1 for _ in compiled.finditer(text)))


def _any_of(words: str) -> _Count:
    return _matches(rf"\b(?:{'|'.join(words.split())})\b")


_WORD = re.compile(r"\S+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _numbers(text: str) -> list[str]:
    return _NUMBER.findall(text)


def _digits_of(number: str) -> int:
    return sum(c.isdigit() for c in number)


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return math.fsum(known) / len(known) if known else 0.0


TEXT_FEATURES: Mapping[str, _Count] = {
    # length
    "words": lambda t: float(len(_words(t))),
    "log_words": lambda t: math.log1p(len(_words(t))),
    "characters": lambda t: float(len(t)),
    "log_characters": lambda t: math.log1p(len(t)),
    "lines": lambda t: float(t.strip().count("\n") + 1),
    "sentences": _matches(r"[.!?](?=\s|$)"),
    "mean_word_length": lambda t: _mean(float(len(w)) for w in _words(t)),
    "longest_word": lambda t: float(max(map(len, _words(t)), default=0)),
    "distinct_words": lambda t: float(len({w.casefold() for w in _words(t)})),
    "repeated_words": lambda t: float(len(_words(t)) - len({w.casefold() for w in _words(t)})),
    # numbers
    "numbers": lambda t: float(len(_numbers(t))),
    "distinct_numbers": lambda t: float(len(set(_numbers(t)))),
    "long_numbers": lambda t: float(sum(_digits_of(n) > 1 for n in _numbers(t))),
    "longest_number": lambda t: float(max(map(_digits_of, _numbers(t)), default=0)),
    "decimals": _matches(r"\d[.,]\d"),
    "fractions": _matches(r"\d\s?/\s?\d"),
    "percents": _matches(r"%|\bper ?cent\b"),
    "money": _matches(r"[$€£¥]|\b(?:dollars?|cents?|euros?|pounds?)\b"),
    "number_words": _any_of(
        "one two three four five six seven eight nine ten dozen hundred thousand million half "
        "twice double triple third quarter"
    ),
    # operators
    "operators": _matches(r"[+*/^=×÷]|(?:^|\s)[-−](?=\s|\d)"),
    "plus": _matches(r"\+"),
    "minus": _matches(r"(?:^|\s)[-−](?=\s|\d)"),
    "times": _matches(r"[*×]"),
    "divide": _matches(r"(?:\s/\s)|÷"),
    "equals": _matches(r"="),
    "compares": _matches(r"[<>≤≥]"),
    "brackets": _matches(r"[(\[{]"),
    # what is asked
    "question_marks": _matches(r"\?"),
    "asks_what": _any_of("what which"),
    "asks_who": _any_of("who whom whose"),
    "asks_when_where": _any_of("when where"),
    "asks_why_how": _any_of("why how"),
    "asks_how_many": _matches(r"\bhow (?:many|much|long|far|old|often)\b"),
    "asks_to_work": _any_of("calculate compute solve prove derive evaluate simplify determine"),
    "asks_to_write": _any_of("write explain describe summarize summarise list translate compare"),
    "options": _matches(r"(?:^|\s)\(?[A-E][).:](?=\s)"),
    # how it is put together
    "commas": _matches(r","),
    "clauses": _matches(r"[;:]|,\s(?:and|but|or|so|which|who|while)\b"),
    "connectives": _any_of("and but or so because although while unless until since"),
    "conditions": _any_of("if then when unless suppose assume given otherwise"),
    "order_words": _any_of("before after first second last next then finally later earlier"),
    "negations": _matches(r"\b(?:not|no|never|none|neither|nor|without|except)\b|n't\b"),
    "comparatives": _any_of("more less fewer greater larger smaller most least than each every"),
    "relations": _matches(r"\bof\b"),
    "capitalised": lambda t: float(sum(w[:1].isupper() for w in _words(t))),
    "quotes": _matches(r"[\"“”«»]"),
    "symbols": lambda t: float(sum(not (c.isalnum() or c.isspace()) for c in t)),
    "code": _matches(r"[`\\_]|\b(?:def|class|return|import|function)\b"),
}
"""Of all inputs together: name -> number."""


@functools.lru_cache(maxsize=4096)
def _of_text(text: str) -> Mapping[str, float]:
    return {name: count(text) for name, count in TEXT_FEATURES.items()}


def text_features(inputs: Mapping[str, str]) -> Mapping[str, float]:
    """All features of the inputs' texts; a long text is read as far as its first 20,000 signs."""
    return _of_text("\n".join(inputs.values())[:20_000])


INTERCEPT = "intercept"
CONFIDENCE, AGREEMENT = "probe_confidence", "probe_agreement"

PROBE_FEATURES: Mapping[str, Callable[[Sequence[Sample]], float]] = {
    CONFIDENCE: lambda probe: ProbeConfidence().value({}, probe),
    AGREEMENT: lambda probe: ProbeAgreement().value({}, probe),
}
"""Of a probe's samples: name -> number."""

ROUTER_FEATURES = (*TEXT_FEATURES, *PROBE_FEATURES)
"""Every feature that a weight may name."""


def router_features(inputs: Mapping[str, str], probe: Sequence[Sample] = ()) -> dict[str, float]:
    """What is visible: features of the text, and with a probe those of its samples."""
    found = dict(text_features(inputs))
    return found | ({name: of(probe) for name, of in PROBE_FEATURES.items()} if probe else {})
