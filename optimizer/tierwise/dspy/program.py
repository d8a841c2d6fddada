"""Programs of several predictors: each is tuned in turn, with the others frozen.

A predictor's items are what it is asked for when the program runs on an example; its metric is that
of the whole program, which goes on from the predictor's answer. Those before it are replayed from
what they said then; those after it answer once, by the student's own prompt. So an answer's score
costs no call for the last predictor, and one call for each predictor after it for the others.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from dspy.utils.exceptions import AdapterParseError
from pydantic import TypeAdapter

import dspy
from tierwise.dspy.examples import score_of
from tierwise.dspy.module import TunedPredict, replaced
from tierwise.errors import BudgetError, InputError, UnsupportedError
from tierwise.proposals.dspy_lm import TierEngine, lm_of
from tierwise.schema import Budget
from tierwise.schema.files import write_whole
from tierwise.stats import paired_difference
from tierwise.tasks import SPLITS, Item, assign_splits
from tierwise.tasks.task import DEFAULT_SHARES

FOR_PREDICTORS = 0.7
"""Part of all calls that the predictors' own searches get, with the runs that score them."""
KEPT_EVERY = 16
"""Examples after which what the predictors said is written to its file."""
ORIGIN = "tierwise_origin"
"""The key of an example of a predictor that says which of the program's examples it is of."""


@dataclass(frozen=True)
class ProgramResult:
    """What tuning a program came to, on test examples that no predictor was tuned on.

    Scores are means of the program's metric, ``difference`` is tuned minus student, paired by
    example, with a 95% interval. ``calls`` counts all calls of the model, those of the predictors'
    searches among them, and ``usd`` their price; ``items`` says how many examples each predictor
    was tuned and tested on.
    """

    predictors: tuple[str, ...]
    items: Mapping[str, int]
    test_examples: int
    student_score: float
    tuned_score: float
    difference: tuple[float, float, float]
    calls: int
    usd: float

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_whole(path, TypeAdapter(ProgramResult).dump_json(self, indent=2).decode())


class _Reached(Exception):
    """The predictor was asked, which is all that was to be known."""


class Stub(dspy.Predict):  # type: ignore[misc]  # DSPy has no types
    """Stands for a predictor: gives back ``said``, keeps what it was asked, calls nothing."""

    def __init__(self, signature: Any, said: Mapping[str, Any] | None) -> None:
        super().__init__(signature)
        self.said, self.times = said, 0
        self.asked: list[Mapping[str, Any]] = []

    def forward(self, **kwargs: Any) -> Any:
        """The prediction; ``_Reached`` where there is none to give."""
        self.times += 1
        if self.said is None:
            self.asked.append(kwargs)
            raise _Reached
        return dspy.Prediction(**self.said)


@dataclass
class ProgramRun:
    """A student and its predictors in the order in which the program calls them.

    Attributes:
        engine, adapter: what answers for predictors that are not tuned yet.
        tuned: the modules of those that are.
        said: example -> predictor -> what it said when the example was run.
        most_usd: dollars after which no run of the program begins.
        searched_usd: dollars for the predictors' own searches so far.
    """

    student: Any
    names: tuple[str, ...]
    engine: TierEngine
    adapter: Any
    tuned: dict[str, TunedPredict] = field(default_factory=dict)
    said: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    most_usd: float = math.inf
    searched_usd: float = 0.0

    def signature(self, name: str) -> Any:
        """The predictor's signature."""
        return dict(self.student.named_predictors())[name].signature

    def prediction(self, program: Any, example: Any) -> Any:
        """What a program of this kind says; None where a predictor's answer could not be read.

        Raises:
            BudgetError: the dollars for the whole program are spent.
        """
        if self.usd >= self.most_usd:
            raise BudgetError(
                f"${self.usd:.4g} of the program's ${self.most_usd:g} are spent: raise budget_usd "
                "and compile again with the same out, which goes on with what was bought"
            )
        lm = lm_of(self.engine, cache=False)
        try:
            with dspy.context(lm=lm, adapter=self.adapter):
                return program(**example.inputs())
        except AdapterParseError:
            return None

    @property
    def calls(self) -> int:
        """Calls of the model by the program's own runs so far."""
        return self.engine.calls + sum(module.usage.calls for module in self.tuned.values())

    @property
    def usd(self) -> float:
        """Dollars for the searches and the program's own runs so far."""
        modules = sum(module.usage.usd for module in self.tuned.values())
        return self.searched_usd + self.engine.usd + modules

    def asked(self, name: str, example: Any) -> Mapping[str, Any] | None:
        """What ``name`` is asked for on an example; None where the program does not call it.

        The predictors before it answer, once for each example, and what they say is kept.

        Raises:
            UnsupportedError: the program calls a predictor twice.
        """
        stub = Stub(self.signature(name), None)
        stubs = self._replayed(name, example) | {name: stub}
        recorders: dict[str, _Recorder] = {}
        for before in self._before(name):
            if before not in stubs:
                recorders[before] = _Recorder(self.tuned[before])
        program = replaced(self.student, {**stubs, **recorders})
        with suppress(_Reached):
            self.prediction(program, example)
        kept = self.said.setdefault(example_id(example), {})
        for before, recorder in recorders.items():
            if len(recorder.predictions) > 1:
                raise _twice(before)
            if recorder.predictions:
                kept[before] = recorder.predictions[0]
        return stub.asked[0] if stub.asked else None

    def outcome(self, name: str, example: Any, answer: Mapping[str, Any]) -> Any:
        """The program's prediction where ``name`` says ``answer``, None where it could not be read.

        Raises:
            UnsupportedError: the program calls the predictor twice.
        """
        stub = Stub(self.signature(name), answer)
        program = replaced(self.student, {**self._replayed(name, example), name: stub})
        prediction = self.prediction(program, example)
        if stub.times > 1:
            raise _twice(name)
        return prediction

    def _before(self, name: str) -> tuple[str, ...]:
        return self.names[: self.names.index(name)]

    def _replayed(self, name: str, example: Any) -> dict[str, Any]:
        said = self.said.get(example_id(example), {})
        return {
            before: Stub(self.signature(before), said[before])
            for before in self._before(name)
            if before in said
        }


class _Recorder(dspy.Module):  # type: ignore[misc]  # DSPy has no types
    """A tuned predictor that keeps what it said."""

    def __init__(self, module: TunedPredict) -> None:
        super().__init__()
        self.module, self.predictions = module, list[dict[str, Any]]()

    def forward(self, **kwargs: Any) -> Any:
        prediction = self.module(**kwargs)
        self.predictions.append(dict(prediction.items()))
        return prediction


def _twice(name: str) -> UnsupportedError:
    return UnsupportedError(
        f"the program calls predictor {name!r} more than once for an example: what it is asked "
        "the second time depends on its own answer, so it has no items of its own. Give each call "
        "a predictor"
    )


def order_of_calls(student: Any, example: Any, engine: TierEngine, adapter: Any) -> tuple[str, ...]:
    """The names of the student's predictors, in the order in which an example calls them.

    Raises:
        UnsupportedError: one is in a list or dictionary, or the example does not call it.
    """
    found = dict(student.named_predictors())
    for name in found:
        if "[" in name:
            raise UnsupportedError(
                f"predictor {name!r} is in a list or a dictionary: give it an attribute of its own"
            )
    order: list[str] = []
    modules = {name: _Ordered(predictor, name, order) for name, predictor in found.items()}
    with dspy.context(lm=lm_of(engine, cache=False), adapter=adapter):
        replaced(student, modules)(**example.inputs())
    missing = [name for name in found if name not in order]
    if missing:
        raise UnsupportedError(
            f"the program does not call its predictor {missing[0]!r} on the first example, so its "
            "place in the order is not known; put an example first that calls all of them"
        )
    return tuple(dict.fromkeys(order))


class _Ordered(dspy.Module):  # type: ignore[misc]  # DSPy has no types
    """A predictor that says when it is called."""

    def __init__(self, module: Any, name: str, order: list[str]) -> None:
        super().__init__()
        self.module, self.name, self.order = module, name, order

    def forward(self, **kwargs: Any) -> Any:
        self.order.append(self.name)
        return self.module(**kwargs)


def example_id(example: Any) -> str:
    """A stable name of an example, by its content."""
    content = json.dumps({k: str(v) for k, v in example.items()}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def split_examples(
    trainset: Sequence[Any], valset: Sequence[Any] | None
) -> dict[str, tuple[Any, ...]]:
    """The examples by split, each once; a ``valset`` gives half of itself to the test."""
    by_id = {example_id(example): example for example in (*trainset, *(valset or ()))}
    held_out = {example_id(example) for example in valset or ()}

    def split(ids: Sequence[str], shares: Mapping[str, float]) -> dict[str, tuple[Item, ...]]:
        return assign_splits([Item(i, {"example": i}, "") for i in ids], shares)

    first = split(
        [i for i in by_id if i not in held_out],
        DEFAULT_SHARES if valset is None else {"train": 0.25, "validation": 0.75},
    )
    second = split([i for i in by_id if i in held_out], {"validation": 0.4, "test": 0.6})
    return {
        name: tuple(by_id[item.id] for item in (*first[name], *second[name])) for name in SPLITS
    }


class ProgramMetric:
    """The program's metric as that of one predictor; each answer of an item is scored once.

    Scores are kept in a file, since those of a predictor with others after it cost calls.
    """

    def __init__(
        self,
        run: ProgramRun,
        name: str,
        metric: Callable[..., Any],
        by_id: Mapping[str, Any],
        file: Path,
    ) -> None:
        self.run, self.name, self.metric, self.by_id, self.file = run, name, metric, by_id, file
        self.__name__ = getattr(metric, "__name__", type(metric).__name__)
        self._known: dict[tuple[str, str], float] = {}
        if file.is_file():
            for line in file.read_text(encoding="utf-8").splitlines():
                origin, said, score = _SCORED.validate_json(line)
                self._known[origin, said] = score

    def __call__(self, example: Any, prediction: Any, trace: Any = None) -> float:
        """The metric of the program that goes on from the prediction."""
        said = {name: prediction.get(name) for name in self.run.signature(self.name).output_fields}
        answer = {name: value for name, value in said.items() if value is not None}
        key = (str(example[ORIGIN]), json.dumps(answer, sort_keys=True, default=str))
        if key not in self._known:
            original = self.by_id[key[0]]
            outcome = self.run.outcome(self.name, original, answer)
            score = self._known[key] = score_of(self.metric, original, outcome)
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps([*key, score]) + "\n")
        return self._known[key]


_SCORED: TypeAdapter[tuple[str, str, float]] = TypeAdapter(tuple[str, str, float])
_SAID: TypeAdapter[dict[str, dict[str, dict[str, Any]]]] = TypeAdapter(
    dict[str, dict[str, dict[str, Any]]]
)


def program_score(metric: Callable[..., Any], example: Any, prediction: Any) -> float:
    """The metric of a program's prediction; 0 where there is none."""
    return 0.0 if prediction is None else score_of(metric, example, prediction)


def items_of(
    run: ProgramRun, name: str, splits: Mapping[str, Sequence[Any]], file: Path, most: int
) -> dict[str, list[Any]]:
    """The predictor's examples by split: what it is asked for on at most ``most`` of the program's.

    What the predictors before it said is kept in ``file`` as it comes, so that an interrupted run
    goes on with the same items.

    Raises:
        InputError: the program calls it on no example.
    """
    if file.is_file():
        for example, said in _SAID.validate_json(file.read_bytes()).items():
            run.said.setdefault(example, {}).update(said)
    n = sum(map(len, splits.values()))
    taken = min(1.0, most / max(n, 1))
    signature = run.signature(name)
    found: dict[str, list[Any]] = {}
    for split, examples in splits.items():
        for at, example in enumerate(examples[: round(taken * len(examples))]):
            if at % KEPT_EVERY == 0:
                write_whole(file, _SAID.dump_json(run.said).decode())
            asked = run.asked(name, example)
            if asked is None:
                continue
            inputs = {field: asked.get(field) for field in signature.input_fields}
            own = dspy.Example(**inputs, **{ORIGIN: example_id(example)})
            found.setdefault(split, []).append(own.with_inputs(*inputs))
        write_whole(file, _SAID.dump_json(run.said).decode())
    if not found:
        raise InputError(f"the program calls predictor {name!r} on none of its examples")
    return found


def tested(
    student: Any, tuned: Any, metric: Callable[..., Any], examples: Sequence[Any], run: ProgramRun
) -> tuple[int, float, float, tuple[float, float, float]]:
    """How many examples, the mean scores of the student and the tuned program on them, and the
    paired difference [low, high].

    Raises:
        BudgetError: the dollars end before two examples.
    """
    before: list[float] = []
    after: list[float] = []
    for each in examples:
        try:
            pair = [program_score(metric, each, run.prediction(p, each)) for p in (student, tuned)]
        except BudgetError:
            if len(after) < 2:
                raise
            break
        before.append(pair[0])
        after.append(pair[1])
    found = paired_difference(after, before)
    n, difference = len(after), (found.mean, found.low, found.high)
    return n, sum(before) / n, sum(after) / n, difference


@dataclass(frozen=True)
class ProgramCalls:
    """How a budget in calls is shared by the predictors' searches and the program's own runs.

    A predictor with d others after it gets a (1 + d)-th of its part for its search, since each
    answer that it buys may cost d more to be scored. What is left is for the runs that give the
    later predictors their inputs, and for the test of the whole program.
    """

    calls: int
    n_predictors: int

    @classmethod
    def within(cls, budget: Budget, engine: TierEngine, n_predictors: int, file: Path) -> Self:
        """Of a budget, whose dollars are counted in calls at the price of the first example's.

        That is kept in ``file``, so that an interrupted run goes on with the same parts.

        Raises:
            InputError: there are dollars alone, and calls cost nothing.
        """
        if budget.usd is None:
            return cls(budget.calls or 0, n_predictors)
        if file.is_file():
            return cls(int(file.read_text()), n_predictors)
        if not engine.usd and budget.calls is None:
            raise InputError("the model has no price, so budget_usd bounds nothing: give max_calls")
        calls = int(budget.usd / engine.usd * engine.calls) if engine.usd else sys.maxsize
        calls = min(calls, budget.calls or calls)
        write_whole(file, str(calls))
        return cls(calls, n_predictors)

    def search(self, place: int) -> int:
        """Calls of the search of the predictor that is called at this place, from 0."""
        part = FOR_PREDICTORS * self.calls / self.n_predictors
        return int(part / (self.n_predictors - place))

    def examples(self, run: ProgramRun) -> int:
        """On how many examples the program may be run for the inputs of the next predictor."""
        per_example = samples_of(list(run.tuned.values())[-1:])
        if not run.tuned:
            return self.calls
        part = (1 - FOR_PREDICTORS) / 2 * self.calls / max(self.n_predictors - 1, 1)
        return int(part / per_example)

    def tests(self, run: ProgramRun) -> int:
        """On how many examples the student and the tuned program are compared at the end."""
        per_example = self.n_predictors + samples_of(list(run.tuned.values()))
        return int((1 - FOR_PREDICTORS) / 2 * self.calls / per_example)


def samples_of(modules: Sequence[TunedPredict]) -> float:
    """Samples that a request of all of them takes, as their policies expect."""
    return sum(module.policy.expected.samples_per_item or 0.0 for module in modules)


def only(program: Any, name: str) -> Any:
    """A program of one predictor: the one of that name, with its demonstrations."""
    predictor = dict(program.named_predictors())[name]
    alone = dspy.Predict(predictor.signature)
    alone.demos = list(predictor.demos)
    return alone
