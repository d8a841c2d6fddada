"""Metrics: they see the gold answer. A verifier or a difficulty signal never gets an ``Item``.

A metric may also be Python beside the task's file, ``metric: {python: metric.py:score}``. It is for
tasks of one's own: the code runs with the rights of whoever tunes, and is never part of a policy.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from tierwise.errors import InputError, UnsupportedError, unknown_name
from tierwise.tasks.answers import AnswerSpec, canonical_labels, canonical_text
from tierwise.tasks.code_tests import code_in, passes
from tierwise.tasks.items import Item
from tierwise.tasks.latex import latex_equal, require_math_verify
from tierwise.tasks.markup import plain_signs
from tierwise.tasks.numbers import canonical_number, canonical_quantity, check_unit
from tierwise.tasks.objects import canonical_json
from tierwise.tasks.user_code import load_function, user_fault

Metric = Callable[[str | None, Item], float]
"""(canonical answer or None, item) -> score in [0, 1]."""

RECORDED = "recorded"
"""The score that a recording carries; a table of recorded samples takes it from there."""
JUDGED = "judge"
"""Name of the metric whose scores a judge gives (``schema.judge``)."""


def exact_match(spec: AnswerSpec) -> Metric:
    """1 where the canonical answer equals the canonical target; an abstention scores 0.

    Code equals a target that is code and does the same on the calls of ``answer.calls``.
    """

    def score(answer: str | None, item: Item) -> float:
        if answer is None:
            return 0.0
        if spec.calls:
            own = spec.of(item.inputs)
            return float(own.values(answer) in (own.values(own.read(t)) for t in item.targets))
        return float(answer in map(spec.canonical, item.targets))

    return score


def math_equal(spec: AnswerSpec) -> Metric:
    """1 where the answer is the target mathematically, by math-verify; an abstention scores 0.

    Raises:
        InputError: math-verify is not installed (``tierwise[math]``).
    """
    require_math_verify()

    def score(answer: str | None, item: Item) -> float:
        golds = map(spec.canonical, item.targets)
        return float(answer is not None and any(latex_equal(gold, answer) for gold in golds))

    return score


def recorded(spec: AnswerSpec) -> Metric:
    """No score of a new answer: a recording's own scores are all that there is."""

    def score(answer: str | None, item: Item) -> float:
        raise UnsupportedError(
            "the metric is 'recorded', the score that a recording carries: only recorded/MODEL "
            "tiers can be tuned with it; give the task a metric that scores new answers"
        )

    return score


def contains(spec: AnswerSpec) -> Metric:
    """1 where a canonical target stands in the answer as whole words; case is no matter."""

    def score(answer: str | None, item: Item) -> float:
        said = f" {' '.join(_words(answer or ''))} "
        golds = (f" {' '.join(_words(spec.canonical(target)))} " for target in item.targets)
        return float(answer is not None and any(gold.strip() and gold in said for gold in golds))

    return score


def numeric(
    spec: AnswerSpec, absolute: float = 0.0, relative: float = 0.0, units: str | None = None
) -> Metric:
    """1 where the answer is a number within ``absolute`` or ``relative`` (of the target) of it.

    Both are in ``units``, those of ``answer.units`` where left out.

    Raises:
        InputError: a tolerance is negative, or there is no such unit.
    """
    if not (absolute >= 0 and relative >= 0):
        raise InputError("numeric: a tolerance must not be negative")
    unit = units or spec.units
    if unit is not None:
        check_unit(unit)

    def score(answer: str | None, item: Item) -> float:
        said = None if answer is None else read(answer)
        if said is None:
            return 0.0
        golds = map(read, item.targets)
        return float(any(gold is not None and _within(said, gold) for gold in golds))

    def read(text: str) -> str | None:
        return canonical_number(text) if unit is None else canonical_quantity(text, unit)

    def _within(said: str, gold: str) -> bool:
        most = max(Fraction(absolute), Fraction(relative) * abs(Fraction(gold)))
        return abs(Fraction(said) - Fraction(gold)) <= most

    return score


def f1(spec: AnswerSpec) -> Metric:
    """The harmonic mean of precision and recall of the answer's words, against the best target.

    As SQuAD has it (Rajpurkar et al., arXiv 1606.05250): case, punctuation and English articles are
    left out.
    """

    def score(answer: str | None, item: Item) -> float:
        said = Counter(_words(answer or ""))
        return max(_overlap(said, Counter(_words(target))) for target in item.targets)

    return score


def set_f1(spec: AnswerSpec) -> Metric:
    """The harmonic mean of precision and recall of the answer's labels, see ``labels``."""

    def score(answer: str | None, item: Item) -> float:
        said = Counter(_labels(answer or ""))
        return max(_overlap(said, Counter(_labels(target))) for target in item.targets)

    return score


def json_fields(spec: AnswerSpec, **weights: float) -> Metric:
    """The weighted share of an object's fields that are right; no object scores 0.

    Left out, every field of the target weighs the same. A field is right where both are the same
    number, the same text apart from case and white space, or the same list or object.

    Raises:
        InputError: a weight is no positive number.
    """
    if not all(isinstance(w, int | float) and w > 0 for w in weights.values()):
        raise InputError("json_fields: a field's weight is a number above 0")

    def score(answer: str | None, item: Item) -> float:
        said = _object(answer)
        return max(_share(said, _object(target), weights) for target in item.targets)

    return score


def rouge(spec: AnswerSpec, kind: str = "rougeL") -> Metric:
    """The F-measure of ROUGE (Lin, 2004) against the best target, by rouge-score, over all letters.

    ``kind`` is rouge1, rouge2, rougeL or rougeLsum.

    Raises:
        InputError: rouge-score is not installed (``tierwise[texts]``), or there is no such kind.
    """
    if kind not in ROUGE:
        raise unknown_name("metric.rouge.kind", kind, ROUGE)
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise InputError("rouge needs rouge-score: pip install 'tierwise[texts]'") from None
    scorer = RougeScorer([kind], tokenizer=_Words())

    def score(answer: str | None, item: Item) -> float:
        if answer is None:
            return 0.0
        golds = map(spec.canonical, item.targets)
        return max(float(scorer.score(gold, answer)[kind].fmeasure) for gold in golds)

    return score


ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")


class _Words:
    """A tokenizer of rouge-score: words of any script, where its own knows ASCII alone."""

    def tokenize(self, text: str) -> list[str]:
        return re.findall(r"\w+", unicodedata.normalize("NFC", text).casefold())


def bleu(spec: AnswerSpec) -> Metric:
    """Sentence BLEU against all targets, by sacrebleu with its effective order, from 0 to 1.

    Raises:
        InputError: sacrebleu is not installed (``tierwise[texts]``).
    """
    try:
        from sacrebleu.metrics import BLEU
    except ImportError:
        raise InputError("bleu needs sacrebleu: pip install 'tierwise[texts]'") from None
    scorer = BLEU(effective_order=True)

    def score(answer: str | None, item: Item) -> float:
        if answer is None or not answer.strip():
            return 0.0
        found = scorer.sentence_score(answer, [spec.canonical(gold) for gold in item.targets])
        return min(1.0, max(0.0, float(found.score) / 100))

    return score


def code_tests(spec: AnswerSpec, seconds: float = 5.0, memory_mb: float = 512.0) -> Metric:
    """The share of the item's tests that pass after the answer's Python code, each a target.

    An item's target is a test, such as ``assert add(1, 2) == 3``; a list of targets are several.
    Nothing runs unless it was asked for (``code_tests.py``).

    Raises:
        InputError: a limit is not positive; later: running code was not asked for.
    """
    if not (seconds > 0 and memory_mb > 0):
        raise InputError("code_tests: seconds and memory_mb are above 0")

    @functools.lru_cache(maxsize=2**16)
    def passed(code: str, test: str) -> bool:
        return passes(code, test, seconds=seconds, memory_mb=memory_mb)

    def score(answer: str | None, item: Item) -> float:
        if answer is None:
            return 0.0
        code = code_in(answer)
        return sum(passed(code, test) for test in item.targets) / len(item.targets)

    return score


def unscored(answer: str | None, item: Item) -> float:
    """No score: a judge's scores are bought, and ``with_judge`` puts them here.

    Raises:
        UnsupportedError: always.
    """
    raise UnsupportedError(
        "the metric is a judge, whose scores are bought: only a run that samples answers can ask it"
    )


class MetricPart(NamedTuple):
    """A metric that is a part of another, and what it weighs."""

    name: str
    metric: Metric
    weight: float


@dataclass(frozen=True)
class WeightedMetric:
    """The mean of other metrics by weight; reports show each."""

    parts: tuple[MetricPart, ...]

    def __call__(self, answer: str | None, item: Item) -> float:
        """The weighted mean."""
        total = sum(part.weight for part in self.parts)
        return sum(part.weight * part.metric(answer, item) for part in self.parts) / total


def parts_of(metric: Metric) -> tuple[MetricPart, ...]:
    """The parts of a weighted metric; none of any other."""
    return metric.parts if isinstance(metric, WeightedMetric) else ()


def asks_judge(metric: Metric | None) -> bool:
    """Whether a judge gives the scores, or a part of them."""
    return metric is not None and unscored in (metric, *(p.metric for p in parts_of(metric)))


def with_judge(metric: Metric, judge: Metric) -> Metric:
    """``judge``, as the part of ``metric`` where it is one."""
    if not parts_of(metric):
        return judge
    parts = (p._replace(metric=judge) if p.metric is unscored else p for p in parts_of(metric))
    return WeightedMetric(tuple(parts))


def weighted(spec: AnswerSpec, **weights: Any) -> Metric:
    """The mean of other metrics by name, with these weights: ``{exact_match: 0.7, f1: 0.3}``.

    One with parameters has its weight among them: ``{numeric: {weight: 2, relative: 0.01}}``. Of
    ``judge`` only the weight is read here.

    Raises:
        InputError: no such metric, or a weight is no positive number.
    """
    parts = []
    for name, given in weights.items():
        rest = dict(given) if isinstance(given, Mapping) else {}
        weight = rest.pop("weight", None) if isinstance(given, Mapping) else given
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0:
            raise InputError(
                "weighted: give metrics with weights above 0, such as {exact_match: 1}, or "
                "{numeric: {weight: 2, relative: 0.01}}"
            )
        told = {name: rest} if rest else name
        shown, metric = (name, unscored) if name == JUDGED else named_metric(told, spec)
        parts.append(MetricPart(shown, metric, float(weight)))
    if not parts:
        raise InputError("weighted: give metrics with weights above 0, such as {exact_match: 1}")
    return WeightedMetric(tuple(parts))


METRICS: dict[str, Callable[..., Metric]] = {
    "exact_match": exact_match,
    "contains": contains,
    "numeric": numeric,
    "f1": f1,
    "set_f1": set_f1,
    "json_fields": json_fields,
    "math_equal": math_equal,
    "rouge": rouge,
    "bleu": bleu,
    "code_tests": code_tests,
    "weighted": weighted,
    RECORDED: recorded,
}
"""Name -> what makes the metric from the task's reading of answers, and from its parameters."""


def named_metric(value: Any, spec: AnswerSpec, folder: Path | None = None) -> tuple[str, Metric]:
    """A metric with its name, as a task has it: a name, or ``{name: parameters}``.

    ``folder`` is where ``{python: FILE.py:FUNCTION}`` looks for the file; None: it is refused.

    Raises:
        InputError: no such metric or parameter, or one out of range.
    """
    name: Any = value
    given: Any = {}
    match value:
        case str():
            pass
        case {"python": str(reference), **rest} if not rest and folder is not None:
            return f"python:{reference}", python_metric(reference, folder)
        case {**one} if len(one) == 1:
            ((name, given),) = one.items()
        case _:
            raise InputError(
                "metric must be a name, such as exact_match, a name with its parameters, such as "
                "{numeric: {relative: 0.01}}, or {python: metric.py:score}"
            )
    if name not in METRICS:
        raise unknown_name("metric", str(name), METRICS)
    if not isinstance(given, Mapping):
        raise InputError(f"metric.{name} takes parameters by name, got {given!r}")
    made = METRICS[name]
    known = inspect.signature(made).parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in known):
        names = [p.name for p in known][1:]
        for parameter, number in given.items():
            if parameter not in names:
                raise unknown_name(f"parameter of {name}", str(parameter), names)
            of_texts = "str" in str(inspect.signature(made).parameters[str(parameter)].annotation)
            if of_texts and isinstance(number, str):
                continue
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise InputError(f"metric.{name}.{parameter} must be a number, got {number!r}")
    judged = isinstance(given.get(JUDGED), Mapping)  # its rubric is no part of a name
    named = {**given, JUDGED: given[JUDGED].get("weight")} if judged else given
    shown = ", ".join(f"{key}={number}" for key, number in named.items())
    return (f"{name}({shown})" if shown else name), made(
        spec, **{str(k): v for k, v in given.items()}
    )


def _words(text: str) -> list[str]:
    words = re.findall(r"\w+", unicodedata.normalize("NFC", plain_signs(text)).casefold())
    return [word for word in words if word not in ("a", "an", "the")]


def _labels(text: str) -> list[str]:
    return [label for label in (canonical_labels(text) or "").split(", ") if label]


def _overlap(said: Counter[str], gold: Counter[str]) -> float:
    shared = (said & gold).total()
    return 2 * shared / (said.total() + gold.total()) if shared else 0.0


def _object(text: str | None) -> dict[str, Any]:
    read = None if text is None else canonical_json(text)
    found = None if read is None else json.loads(read)
    return found if isinstance(found, dict) else {}


def _share(said: Mapping[str, Any], gold: Mapping[str, Any], weights: Mapping[str, float]) -> float:
    wanted = weights or dict.fromkeys(gold, 1.0)
    right = sum(
        weight
        for name, weight in wanted.items()
        if name in said and _folded(said[name]) == _folded(gold.get(name))
    )
    return right / sum(wanted.values()) if wanted else 0.0


def _folded(value: Any) -> Any:
    """A field as it is compared."""
    match value:
        case str():
            return canonical_number(value) or canonical_text(value)
        case bool() | None:
            return value
        case int() | float():
            return canonical_number(repr(value))
        case list():
            return [_folded(each) for each in value]
        case dict():
            return {name: _folded(each) for name, each in value.items()}
    return value


def python_metric(reference: str, folder: Path) -> Metric:
    """The metric ``FILE.py:FUNCTION`` in ``folder``, a function (answer, item) -> score in [0, 1].

    It is called with the canonical answer and the item (``inputs``, ``target``, ``id``), from
    several threads at once; an abstention scores 0 without a call.

    Raises:
        InputError: no such file or function, the file cannot be run, and later: the function
            failed, or gave something else than a number in [0, 1].
    """
    score, path = load_function(reference, folder, "metric.python")
    return _checked(score, path, reference.rpartition(":")[2])


def callable_metric(score: Callable[[str, Item], Any]) -> Metric:
    """A function (answer, item) -> score as a metric, called as ``python_metric`` says."""
    code = getattr(score, "__code__", None)
    name = getattr(score, "__name__", type(score).__name__)
    return _checked(score, Path(code.co_filename) if code else None, name)


FORMS = {
    "set_f1": "labels",
    "json_fields": "json",
    "numeric": "number",
    **dict.fromkeys((JUDGED, "rouge", "bleu", "code_tests"), "none"),
}
"""Metric -> how answers are read for it where a task does not say; others fold words."""


def form_for(metric: object) -> AnswerSpec:
    """How answers are read for a metric where nothing says so; of a weighted one, for its parts."""
    named: Mapping[Any, Any] = metric if isinstance(metric, Mapping) else {metric: {}}
    parts = named.get("weighted")
    names = [*(parts if isinstance(parts, Mapping) else named)]
    return AnswerSpec(normalise=next((FORMS[n] for n in names if n in FORMS), "text"))


def _checked(score: Callable[[str, Item], Any], path: Path | None, name: str) -> Metric:
    def metric(answer: str | None, item: Item) -> float:
        if answer is None:
            return 0.0
        try:
            value = score(answer, item)
        except Exception as error:  # noqa: BLE001  anybody's code: whatever it raises
            what = f"{name} failed on item {item.id!r} with the answer {answer[:60]!r}"
            raise user_fault(error, path, what) from None
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not 0 <= number <= 1:
            raise InputError(
                f"a score is a number from 0 to 1; on item {item.id!r} {name} gave {value!r}",
                path=path,
            )
        return number

    return metric
