"""A search space's YAML, checked against the strategies and signals that there are."""

from __future__ import annotations

import itertools
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from tierwise.content.find import find_space
from tierwise.difficulty import SIGNALS
from tierwise.errors import InputError, unknown_name
from tierwise.schema import StrategySpec
from tierwise.schema._schema import Count, NotNegative, Positive, Strict, Text, validate
from tierwise.schema._yaml import Document, Faults, Loc, faults_of, raise_any, read
from tierwise.schema.policy import Param
from tierwise.schema.space import Constraints, Dimension, Range, SearchSpace
from tierwise.strategies import STRATEGIES, build
from tierwise.tasks.verifiers import SCORES

WholeFromZero = Annotated[int, Field(ge=0)]

_RETRIEVAL = {
    "passages": {"low": 1, "high": 3},
    "samples": {"low": 1, "high": 5},
    "threshold": [0.8, 1.0],
    "stop_when_stale": [True, False],
    "least_match": [0.0, 0.5, 1.0],
}
"""What is searched of ``retrieval`` where a space only says ``search_rounds``."""


class PromptsModel(Strict):
    """Which prompts take part, with how many demonstrations and other paraphrases."""

    families: list[Text] = Field(default_factory=list)
    library: Any = None
    demos: Annotated[list[WholeFromZero], Field(min_length=1)] = Field(default_factory=lambda: [0])
    paraphrases: WholeFromZero = 0


class DifficultyModel(Strict):
    """Signals, numbers of buckets, and a probe's samples, of one variant or interleaved over several."""

    signals: Annotated[list[Text], Field(min_length=1)] = Field(default_factory=lambda: ["none"])
    buckets: Annotated[list[Count], Field(min_length=1)] = Field(default_factory=lambda: [1])
    probe_samples: Any = 2
    probe_variants: Annotated[list[Count], Field(min_length=1)] = Field(default_factory=lambda: [1])


class ConstraintsModel(Strict):
    """What a policy must keep to."""

    max_usd_per_item: Positive | None = None
    max_rounds: Count | None = None


class SpaceModel(Strict):
    """A search space."""

    description: str = ""
    prompts: PromptsModel = PromptsModel()
    temperature: Annotated[list[NotNegative], Field(min_length=1)]
    variants: Annotated[list[Count], Field(min_length=1)] = Field(default_factory=lambda: [1])
    modes: Annotated[list[Text], Field(min_length=1)]
    strategies: Annotated[dict[str, dict[str, Any] | None], Field(min_length=1)]
    difficulty: DifficultyModel = DifficultyModel()
    search_rounds: Any = None
    constraints: ConstraintsModel = ConstraintsModel()


def load_space(name_or_path: Path | str) -> SearchSpace:
    """A search space by name or path; its name is that of the file.

    Raises:
        InputError: no such space, or every fault of the file with its line.
    """
    path = find_space(name_or_path)
    return _Reading(read(path)).space(path.stem)


class _Reading:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.model = validate(SpaceModel, document)
        self.faults: list[InputError] = []

    def space(self, name: str) -> SearchSpace:
        model = self.model
        for i, signal in enumerate(model.difficulty.signals):
            if signal not in SIGNALS:
                error = unknown_name("difficulty signal", signal, SIGNALS)
                self._add(error, ("difficulty", "signals", i))
        if max(model.difficulty.buckets) > 1 and set(model.difficulty.signals) == {"none"}:
            message = "more than one bucket needs a signal other than none"
            self.faults.append(self.document.fault(message, ("difficulty", "buckets")))
        for loc, values in self._lists():
            if len(set(values)) < len(values):
                self.faults.append(self.document.fault(f"{loc[-1]}: the same choice twice", loc))
        rounds = None
        if model.search_rounds is not None:
            rounds = self._whole(model.search_rounds, ("search_rounds",), 0)
            self._search_rounds(rounds)
        strategies = {kind: self._strategy(kind) for kind in model.strategies}
        probe_samples = self._whole(
            model.difficulty.probe_samples, ("difficulty", "probe_samples"), 1
        )
        library = self._library()
        raise_any(sorted(self.faults, key=lambda f: f.line or 0))
        return SearchSpace(
            name=name,
            families=tuple(model.prompts.families),
            paraphrases=model.prompts.paraphrases,
            demos=tuple(model.prompts.demos),
            temperatures=tuple(float(t) for t in model.temperature),
            variants=tuple(model.variants),
            modes=tuple(model.modes),
            strategies=strategies,
            signals=tuple(model.difficulty.signals),
            buckets=tuple(model.difficulty.buckets),
            probe_samples=probe_samples,
            probe_variants=tuple(model.difficulty.probe_variants),
            search_rounds=rounds,
            constraints=Constraints(**model.constraints.model_dump()),
            library=library,
        )

    def _search_rounds(self, rounds: Range) -> None:
        """``search_rounds`` are the rounds of ``retrieval``, which it brings along."""
        given = self.model.strategies.setdefault("retrieval", dict(_RETRIEVAL)) or {}
        if "rounds" in given:
            message = "retrieval.rounds is said twice: here, and by search_rounds"
            self.faults.append(self.document.fault(message, ("strategies", "retrieval", "rounds")))
        low, high = rounds.ends
        self.model.strategies["retrieval"] = {**given, "rounds": {"low": low, "high": high}}

    def _add(self, error: InputError, loc: Loc) -> None:
        self.faults += [self.document.placed(each, loc) for each in faults_of(error)]

    def _lists(self) -> list[tuple[Loc, list[Any]]]:
        model = self.model
        return [
            (("temperature",), model.temperature),
            (("variants",), model.variants),
            (("modes",), model.modes),
            (("prompts", "demos"), model.prompts.demos),
            (("prompts", "families"), model.prompts.families),
            (("difficulty", "signals"), model.difficulty.signals),
            (("difficulty", "buckets"), model.difficulty.buckets),
            (("difficulty", "probe_variants"), model.difficulty.probe_variants),
        ]

    def _library(self) -> bool | tuple[str, ...] | None:
        wanted = self.model.prompts.library
        if wanted is None or isinstance(wanted, bool):
            return wanted
        if isinstance(wanted, list) and wanted and all(isinstance(w, str) for w in wanted):
            return tuple(wanted)
        message = "prompts.library must be true, false or a list of families"
        self.faults.append(self.document.fault(message, ("prompts", "library")))
        return None

    def _whole(self, value: Any, loc: Loc, least: int) -> Range:
        try:
            found = dimension(value, "int")
            if isinstance(found, tuple):
                if len(found) != 1 or not isinstance(found[0], int):
                    raise InputError("must be a whole number or {low: …, high: …}")
                found = Range(found[0], found[0], whole=True)
            if found.low < least:
                raise InputError(f"must be at least {least}, got {found.low:g}")
            return found
        except InputError as error:
            self._add(_named(error, ".".join(map(str, loc))), loc)
        return Range(1, 1, whole=True)

    def _strategy(self, kind: str) -> dict[str, Dimension]:
        at: Loc = ("strategies", kind)
        if kind not in STRATEGIES.classes:
            self._add(unknown_name("strategy", kind, STRATEGIES.classes), at)
            return {}
        types = {f.name: str(f.type) for f in fields(STRATEGIES.classes[kind])}
        found: dict[str, Dimension] = {}
        before = len(self.faults)
        for name, value in (self.model.strategies[kind] or {}).items():
            if name not in types:
                self._add(unknown_name(f"parameter of {kind}", name, types), (*at, name))
                continue
            try:
                found[name] = dimension(value, types[name])
                if name == "verifier":
                    _check_scores(found[name])
            except InputError as error:
                self._add(_named(error, f"{kind}.{name}"), (*at, name))
        needed = [f.name for f in fields(STRATEGIES.classes[kind]) if f.default is MISSING]
        given = self.model.strategies[kind] or {}
        for name in needed:
            if name not in given:
                self.faults.append(self.document.fault(f"{kind} needs {name!r}", at))
        if len(self.faults) == before:
            self._try(kind, found, at)
        return found

    def _try(self, kind: str, found: dict[str, Dimension], at: Loc) -> None:
        """Every end and choice must build with some ends and choices of the other parameters."""
        errors: dict[tuple[str, Param], InputError] = {}
        built: set[tuple[str, Param]] = set()
        for values in itertools.product(*(corners(d) for d in found.values())):
            params = dict(zip(found, values, strict=True))
            try:
                build(StrategySpec.of(kind, params))
                built.update(params.items())
            except InputError as error:
                errors |= dict.fromkeys(params.items(), error)
        failed = [name for name, value in errors if (name, value) not in built]
        told = {errors[pair].message: errors[pair] for pair in errors if pair not in built}
        for message, fault in told.items():
            name = next((n for n in failed if message.startswith(f"{kind}.{n} ")), None)
            self._add(fault, (*at, name) if name else at)


def _check_scores(names: Dimension) -> None:
    for name in corners(names):
        if name is not None and name not in SCORES:
            raise unknown_name("score to rank by", str(name), SCORES)


def corners(dimension: Dimension) -> tuple[Param, ...]:
    """All choices, or the two ends of a range."""
    return dimension if isinstance(dimension, tuple) else dimension.ends


def dimension(value: Any, kind: str) -> Dimension:
    """A value, a list of choices, or ``{low, high, log}`` for a parameter of type ``kind``.

    Raises:
        InputError: it is none of these, or of another type than ``kind`` (int, float, str, bool).
    """
    if not isinstance(value, dict):
        choices = value if isinstance(value, list) else [value]
        if not choices:
            raise InputError("must have at least one choice")
        if len(set(map(repr, choices))) < len(choices):
            raise InputError("has the same choice twice")
        return tuple(_typed(choice, kind) for choice in choices)
    known = ("low", "high", "log")
    faults = [unknown_name("key", name, known) for name in value if name not in known]
    faults += [InputError(f"{name!r} is missing") for name in known[:2] if name not in value]
    if faults:
        raise Faults(faults[:1])
    log = value.get("log", False)
    if not isinstance(log, bool):
        raise InputError("log must be true or false")
    if kind not in ("int", "float"):
        raise InputError(f"must be a choice of {_KINDS.get(kind, kind)}, not a range")
    low, high = _typed(value["low"], kind), _typed(value["high"], kind)
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    return Range(float(low), float(high), log, whole=kind == "int")


_KINDS = {"int": "whole numbers", "float": "numbers", "str": "texts", "bool": "true or false"}


def _typed(value: Any, kind: str) -> Param:
    fits = {
        "int": isinstance(value, int) and not isinstance(value, bool),
        "float": isinstance(value, int | float) and not isinstance(value, bool),
        "str": isinstance(value, str),
        "bool": isinstance(value, bool),
    }.get(kind, value is None or isinstance(value, int | float | str))
    if not fits:
        raise InputError(f"must be made of {_KINDS.get(kind, kind)}, got {value!r}")
    return float(value) if kind == "float" else value


def _named(error: InputError, name: str) -> InputError:
    return InputError(f"{name}: {error.message}")
