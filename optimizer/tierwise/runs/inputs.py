"""What a job names, loaded and checked: its search space and its task.

The formats are those of ``schema``; here they are held against the strategies, difficulty signals,
metrics and verifiers that there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from tierwise.difficulty import SIGNALS, asking
from tierwise.errors import Faults, InputError, Loc, faults_of, raise_any, unknown_name
from tierwise.retrieval.bm25 import Corpus
from tierwise.schema import (
    ANSWER,
    Constraints,
    Dimension,
    Job,
    LoadedTask,
    Message,
    PromptTemplate,
    Range,
    SearchSpace,
    Setting,
    StrategySpec,
    TaskRetriever,
    find_space,
    find_task,
    load_library,
    load_prompts,
    retriever_of,
    with_turns,
)
from tierwise.schema.models import answer_spec
from tierwise.schema.policy import Param
from tierwise.schema.prompt_file import check_fields, choose
from tierwise.schema.space import SpaceModel
from tierwise.schema.task_file import TaskModel, beside, retriever_in
from tierwise.schema.validation import validate
from tierwise.schema.yaml_io import Document, read
from tierwise.strategies import STRATEGIES, build, paths_in
from tierwise.tasks import (
    METRICS,
    RECORDED,
    SPLITS,
    VERIFIERS,
    AnswerSpec,
    Item,
    Metric,
    Task,
    named_metric,
)
from tierwise.tasks.data_files import Fields, load_items
from tierwise.tasks.verifiers import SCORES


def space_of(job: Job, task: LoadedTask | None = None) -> str:
    """The job's space; where it names none: ``search`` for a task with a corpus, else ``default``.

    ``task`` is the job's where it lives in Python and has no file.

    Raises:
        InputError: the task's file cannot be read.
    """
    if job.space:
        return job.space
    found = retriever_of(job.task) if task is None else task.retriever
    return "default" if found is None else "search"


def load_task(
    name_or_path: Path | str, space: SearchSpace | None = None, *, prompts_needed: bool = True
) -> LoadedTask:
    """A task by name, folder or file; with a ``space``, the prompts that the space chooses.

    Without a space, or where the space does not say, the library takes part only if the task brings
    no prompts of its own. ``prompts_needed=False``: only the task's own, and none is no fault (a
    recording brings its own).

    Raises:
        InputError: no such task, or every fault of its files with file and line.
    """
    path = find_task(name_or_path)
    document = read(path)
    model = validate(TaskModel, document)
    faults: list[InputError] = []
    answer = answer_spec(model.answer, document, faults)
    _check(model, document, faults)
    scorer = _scorer(model, document, answer, faults)
    setting = Setting(tuple(model.inputs), model.instruction)
    items: tuple[Item, ...] = ()
    written: tuple[PromptTemplate, ...] = ()
    try:
        items = _items(model, document, answer)
    except InputError as error:
        faults += faults_of(error)
    try:
        written = _own(model, document, setting)
    except InputError as error:
        faults += faults_of(error)
    retriever = _retriever(model, document, faults)
    raise_any(faults)
    own = tuple(prompt for prompt in written if prompt.turn == ANSWER)
    if not prompts_needed:
        return LoadedTask(_task(model, items, answer, scorer), own, path, own, retriever=retriever)
    try:
        prompts = _chosen(own, setting, space)
        if space and paths_in(space):
            own, prompts = with_turns(own), with_turns(prompts)
        asked = asking_prompts(written, setting, space.signals if space else ())
    except InputError as error:
        raise document.placed(error, ("prompts",)) from None
    return LoadedTask(
        _task(model, items, answer, scorer), prompts, path, own or prompts, asked, retriever
    )


def _task(
    model: TaskModel, items: tuple[Item, ...], answer: AnswerSpec, scorer: tuple[str, Metric | None]
) -> Task:
    return Task(
        name=model.name,
        version=model.version,
        inputs=tuple(model.inputs),
        items=items,
        answer=answer,
        metric=scorer[0],
        verifiers=tuple(model.verifiers),
        scorer=scorer[1],
        shares={k: float(v) for k, v in model.splits.items()},
        demonstration=model.demonstration,
    )


def _check(model: TaskModel, document: Document, faults: list[InputError]) -> None:
    for i, name in enumerate(model.verifiers):
        if name not in VERIFIERS:
            error = unknown_name("verifier", name, VERIFIERS)
            faults.append(document.placed(error, ("verifiers", i)))
    for name in model.splits:
        if name not in SPLITS:
            faults.append(document.placed(unknown_name("split", name, SPLITS), ("splits", name)))
    if not sum(model.splits.values()) > 0:
        faults.append(document.fault("the splits' shares must not all be 0", ("splits",)))
    if repeated := sorted({n for n in model.inputs if model.inputs.count(n) > 1}):
        faults.append(document.fault(f"input {repeated[0]!r} is here twice", ("inputs",)))
    for name in model.fields.inputs if model.fields else ():
        if name not in model.inputs:
            error = unknown_name("input", name, model.inputs)
            faults.append(document.placed(error, ("fields", "inputs", name)))
    for mode, text in model.demonstration.items():
        try:
            shown = PromptTemplate(mode, (Message("assistant", text),))
            check_fields(shown, (*model.inputs, "target"))
        except InputError as error:
            message = error.message.replace("prompt", "demonstration", 1)
            faults.append(document.fault(message, ("demonstration", mode)))


def _scorer(
    model: TaskModel, document: Document, answer: AnswerSpec, faults: list[InputError]
) -> tuple[str, Metric | None]:
    """The metric's name, and the metric where the name alone does not say it."""
    try:
        name, metric = named_metric(model.metric, answer, Path(str(document.path)).parent)
    except InputError as error:
        faults.append(document.placed(error, ("metric",)))
        return "exact_match", None
    return name, None if name in METRICS else metric


def _items(model: TaskModel, document: Document, answer: AnswerSpec) -> tuple[Item, ...]:
    fields = None if model.fields is None else Fields(**model.fields.model_dump())
    path = beside(document, model.items)
    if not path.is_file():
        readme = path.with_name("README.md")
        hint = f" ({readme} says where it comes from)" if readme.is_file() else ""
        raise document.fault(f"no such file: {model.items}{hint}", ("items",))
    reads_targets = model.metric != RECORDED and not (
        isinstance(model.metric, dict) and "python" in model.metric
    )
    return load_items(path, model.inputs, fields, answer if reads_targets else None)


def _own(model: TaskModel, document: Document, setting: Setting) -> tuple[PromptTemplate, ...]:
    if model.prompts is None:
        return ()
    path = beside(document, model.prompts)
    if not path.is_file():
        raise document.fault(f"no such file: {model.prompts}", ("prompts",))
    return load_prompts(path, setting, turns=known_turns())


def _chosen(
    own: tuple[PromptTemplate, ...], setting: Setting, space: SearchSpace | None
) -> tuple[PromptTemplate, ...]:
    wanted = None if space is None else space.library
    library: tuple[PromptTemplate, ...] = ()
    if wanted is True or (wanted is None and not own):
        library = load_library(setting, None)
    elif wanted:
        library = load_library(setting, wanted)
    prompts = (*own, *(p for p in library if p.id not in {q.id for q in own}))
    if not prompts:
        raise InputError("there are no prompts: add a prompt file, or let the library take part")
    return tuple(choose(prompts, space.families)) if space and space.families else prompts


def _retriever(
    model: TaskModel, document: Document, faults: list[InputError]
) -> TaskRetriever | None:
    found = retriever_in(model, document, faults)
    if found is not None and found.corpus is not None and found.corpus.is_file():
        try:
            Corpus.load(found.corpus)
        except InputError as error:
            faults.append(error)
    return found


def known_turns() -> set[str]:
    """What a prompt's completions may be: answers, or what a difficulty signal asks for."""
    return {ANSWER, *asking(tuple(SIGNALS)).values()}


def asking_prompts(
    own: Sequence[PromptTemplate], setting: Setting, signals: Sequence[str]
) -> tuple[PromptTemplate, ...]:
    """Prompts of the turns that ``signals`` ask in: the task's own, else the library's.

    Raises:
        InputError: the library's are needed, and the task has no instruction.
    """
    found: list[PromptTemplate] = []
    for turn in asking(signals).values():
        mine = [prompt for prompt in own if prompt.turn == turn]
        found += mine or load_library(setting, None, turn=turn)
    return tuple(found)


_RETRIEVAL = {
    "passages": {"low": 1, "high": 3},
    "samples": {"low": 1, "high": 5},
    "threshold": [0.8, 1.0],
    "stop_when_stale": [True, False],
    "least_match": [0.0, 0.5, 1.0],
}
"""What is searched of ``retrieval`` where a space only says ``search_rounds``."""


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
