"""What a job names, loaded and checked: its search space and its task.

The formats are those of ``schema``; here they are held against the strategies, difficulty signals
and retrievers that there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from tierwise.difficulty import SIGNALS, asking
from tierwise.errors import RENAMED, InputError, Loc, faults_of, raise_any, unknown_name
from tierwise.retrieval.bm25 import Corpus
from tierwise.schema import (
    ANSWER,
    Dimension,
    Job,
    Judge,
    JudgeSpec,
    LoadedTask,
    PromptTemplate,
    Range,
    SearchSpace,
    Setting,
    StrategySpec,
    TaskFile,
    choose,
    load_library,
    own_prompts,
    retriever_of,
    with_turns,
)
from tierwise.schema.policy import Param
from tierwise.strategies import STRATEGIES, paths_in
from tierwise.strategies import build as build_strategy
from tierwise.tasks import METRICS, Item, Task
from tierwise.tasks.data_files import columns_of, load_items
from tierwise.tasks.items import Fields
from tierwise.tasks.user_code import PYTHON, bind_normaliser
from tierwise.tasks.verifiers import SCORES

_T = TypeVar("_T")


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
    file, document = TaskFile.load(name_or_path)
    folder, faults = document.folder, [document.placed(e, e.loc) for e in file.faults()]

    def tried(call: Callable[[], _T], *at: str) -> _T | None:
        """What ``call`` returns; None where it fails, which is a fault at the key ``at``."""
        try:
            return call()
        except InputError as error:
            faults.extend(document.placed(each, (*at, *each.loc)) for each in faults_of(error))
        return None

    file = tried(lambda: _with_normaliser(file, folder), "answer", "normalise") or file
    name, metric = tried(lambda: file.scorer(folder)) or ("exact_match", None)
    spec = tried(lambda: file.judge_spec(document))
    items = tried(lambda: _items(file, folder, spec)) or ()
    written = tried(lambda: own_prompts(file, folder, known_turns())) or ()
    judge = None
    if spec is not None:
        judge = tried(lambda: Judge.of(spec, items, file.answer, folder), "metric", "judge")
    retriever = tried(lambda: file.retriever_in(folder))
    if retriever is not None and retriever.corpus is not None:
        tried(lambda: Corpus.load(retriever.corpus or ""))
    raise_any(faults)
    task = Task(
        name=file.name,
        version=file.version,
        inputs=file.inputs,
        items=items,
        answer=file.answer,
        metric=name,
        verifiers=file.verifiers,
        scorer=None if name in METRICS else metric,
        shares=file.splits,
        demonstration=file.demonstration,
    )
    path = Path(str(document.path))
    own = tuple(prompt for prompt in written if prompt.turn == ANSWER)
    if not prompts_needed:
        return LoadedTask(
            task, own, path, own, retriever=retriever, judge=judge, verifier=file.judge
        )
    setting = replace(file.setting, chat=task.chat)
    try:
        prompts = _chosen(own, setting, space)
        if space and paths_in(space):
            own, prompts = with_turns(own), with_turns(prompts)
        asked = asking_prompts(written, setting, space.signals if space else ())
    except InputError as error:
        raise document.placed(error, ("prompts",)) from None
    return LoadedTask(task, prompts, path, own or prompts, asked, retriever, judge, file.judge)


def _with_normaliser(file: TaskFile, folder: Path) -> TaskFile:
    """``file`` with the user's function that reads its answers, where it names one.

    Only here, where a user asks for a task: a policy names tasks too, and runs nobody's code.
    """
    if not file.answer.reads_by_python:
        return file
    reference = file.answer.normalise.removeprefix(PYTHON).rpartition(":")[0]
    bound = bind_normaliser(reference, folder)
    return replace(file, answer=replace(file.answer, normalise=bound))


def _items(file: TaskFile, folder: Path, judge: JudgeSpec | None) -> tuple[Item, ...]:
    path = folder / file.items
    if not path.is_file():
        readme = path.with_name("README.md")
        hint = f" ({readme} says where it comes from)" if readme.is_file() else ""
        raise InputError(f"no such file: {file.items}{hint}", loc=("items",))
    answer = file.answer if file.reads_targets else None
    fields = file.fields
    if judge is not None and judge.needs_no_target(file.metric) and fields in (None, Fields()):
        fields = None if "target" in columns_of(path) else Fields(target=None)
    return load_items(path, file.inputs, fields, answer)


def _chosen(
    own: tuple[PromptTemplate, ...], setting: Setting, space: SearchSpace | None
) -> tuple[PromptTemplate, ...]:
    wanted = None if space is None else space.prompts.library
    library: tuple[PromptTemplate, ...] = ()
    as_it_is = None if own else setting.as_it_is
    own = own if as_it_is is None else (as_it_is,)
    if wanted is True or (wanted is None and (not own or (as_it_is and setting.instruction))):
        library = load_library(setting, None)
    elif wanted:
        library = load_library(setting, wanted)
    prompts = (*own, *(p for p in library if p.id not in {q.id for q in own}))
    if not prompts:
        raise InputError("there are no prompts: add a prompt file, or let the library take part")
    return (
        tuple(choose(prompts, space.prompts.families))
        if space and space.prompts.families
        else prompts
    )


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


_RETRIEVAL: Mapping[str, Dimension] = {
    "passages": Range(1, 3),
    "samples": Range(1, 5),
    "threshold": (0.8, 1.0),
    "stop_when_stale": (True, False),
    "least_match": (0.0, 0.5, 1.0),
}
"""What is searched of ``retrieval`` where a space only says ``search_rounds``."""


def load_space(name_or_path: Path | str) -> SearchSpace:
    """A search space by name or path, checked against the strategies and signals that there are.

    Raises:
        InputError: no such space, or every fault of the file with its line.
    """
    space, document = SearchSpace.load(name_or_path)
    faults: list[InputError] = []
    for i, kind in enumerate(space.signals):
        if kind not in SIGNALS:
            loc: Loc = ("difficulty", "signals", i)
            faults.append(unknown_name("difficulty signal", kind, SIGNALS, loc=loc))
    if max(space.buckets) > 1 and set(space.signals) == {"none"}:
        message = "more than one bucket needs a signal other than none"
        faults.append(InputError(message, loc=("difficulty", "buckets")))
    strategies = dict(space.strategies)
    if space.search_rounds is not None:
        given = strategies.get("retrieval", _RETRIEVAL)
        if "rounds" in given:
            message = "retrieval.rounds is said twice: here, and by search_rounds"
            faults.append(InputError(message, loc=("strategies", "retrieval", "rounds")))
        strategies["retrieval"] = {**given, "rounds": space.search_rounds}
    checked = {kind: _checked(kind, given, faults) for kind, given in strategies.items()}
    raise_any(sorted([document.placed(f, f.loc) for f in faults], key=lambda f: f.line or 0))
    return replace(space, strategies=checked)


def _checked(
    kind: str, given: Mapping[str, Dimension], faults: list[InputError]
) -> dict[str, Dimension]:
    """The dimensions of a strategy with the types of its parameters; faults are added."""
    at: Loc = ("strategies", kind)
    if kind not in STRATEGIES.classes:
        faults.append(unknown_name("strategy", kind, STRATEGIES.classes, loc=at))
        return {}
    enumerated: Mapping[str, str] | None = getattr(STRATEGIES.classes[kind], "dimensions", None)
    own = fields(STRATEGIES.classes[kind])
    # A type is its name or the class, by whether the strategy's file postpones annotations.
    types = enumerated or {f.name: getattr(f.type, "__name__", str(f.type)) for f in own}
    needed = [f.name for f in own if f.default is MISSING]
    found: dict[str, Dimension] = {}
    wrong: list[InputError] = []
    for name, dimension in given.items():
        if name not in types:
            wrong.append(unknown_name(f"parameter of {kind}", name, types, loc=(*at, name)))
            continue
        try:
            found[name] = _typed_dimension(dimension, types[name])
            if name == "verifier":
                _check_scores(found[name])
        except InputError as error:
            wrong.append(InputError(f"{kind}.{name}: {error.message}", loc=(*at, name)))
    if enumerated is not None:
        faults += wrong
        return found
    meant = {*given, *(RENAMED.get(name) for name in given)}
    wrong += [InputError(f"{kind} needs {n!r}", loc=at) for n in needed if n not in meant]
    faults += wrong or list(_unbuildable(kind, found, at))
    return found


def _unbuildable(kind: str, found: Mapping[str, Dimension], at: Loc) -> Iterator[InputError]:
    """Every end and choice must build with some ends and choices of the other parameters."""
    errors: dict[tuple[str, Param], InputError] = {}
    built: set[tuple[str, Param]] = set()
    for values in itertools.product(*(corners(d) for d in found.values())):
        params = dict(zip(found, values, strict=True))
        try:
            build_strategy(StrategySpec.of(kind, params))
            built.update(params.items())
        except InputError as error:
            errors |= dict.fromkeys(params.items(), error)
    failed = [name for name, value in errors if (name, value) not in built]
    told = {errors[pair].message: errors[pair] for pair in errors if pair not in built}
    for message in told:
        name = next((n for n in failed if message.startswith(f"{kind}.{n} ")), None)
        yield InputError(message, loc=(*at, name) if name else at)


def _check_scores(names: Dimension) -> None:
    for name in corners(names):
        if name is not None and name not in SCORES:
            raise unknown_name("score to rank by", str(name), SCORES)


def corners(dimension: Dimension) -> tuple[Param, ...]:
    """All choices, or the two ends of a range."""
    return dimension if isinstance(dimension, tuple) else dimension.ends


def _typed_dimension(dimension: Dimension, kind: str) -> Dimension:
    """``dimension`` with values of ``kind`` (int, float, str, bool).

    Raises:
        InputError: they are of another type.
    """
    if not isinstance(dimension, Range):
        return tuple(_typed(choice, kind) for choice in dimension)
    if kind not in ("int", "float"):
        raise InputError(f"must be a choice of {_KINDS.get(kind, kind)}, not a range")
    low, high = _typed(dimension.low, kind), _typed(dimension.high, kind)
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    return Range(low, high, dimension.log)


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
