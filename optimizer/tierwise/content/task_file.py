"""A task's ``task.yaml`` with its items and prompts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from tierwise.content.find import find_task
from tierwise.content.items import Fields, load_items
from tierwise.content.prompts import (
    Setting,
    asking_prompts,
    check_fields,
    choose,
    load_library,
    load_prompts,
    with_turns,
)
from tierwise.content.retriever_file import TaskRetriever, TaskRetrieverModel
from tierwise.errors import InputError, unknown_name
from tierwise.retrieval.bm25 import Corpus
from tierwise.schema import ANSWER, Message, PromptTemplate
from tierwise.schema._models import AnswerModel, answer_spec
from tierwise.schema._schema import NotNegative, Strict, Text, validate
from tierwise.schema._yaml import Document, faults_of, raise_any, read
from tierwise.schema.space import SearchSpace
from tierwise.strategies import paths_in
from tierwise.tasks import METRICS, SPLITS, VERIFIERS, AnswerSpec, Item, Metric, Task, python_metric
from tierwise.tasks.task import DEFAULT_SHARES


class FieldsModel(Strict):
    """Columns of flat rows."""

    inputs: dict[str, str] = Field(default_factory=dict)
    target: Text = "target"
    target_regex: Text | None = None
    id: Text = "id"


class TaskModel(Strict):
    """``task.yaml``."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$")]
    version: int = 1
    description: str = ""
    inputs: Annotated[
        list[Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]], Field(min_length=1)
    ]
    items: Text
    fields: FieldsModel | None = None
    splits: dict[str, NotNegative] = Field(default_factory=lambda: dict(DEFAULT_SHARES))
    answer: AnswerModel = AnswerModel()
    metric: Any = "exact_match"
    verifiers: list[Text] = Field(default_factory=list)
    instruction: Text | None = None
    prompts: Text | None = None
    demonstration: dict[str, Text] = Field(default_factory=dict)
    corpus: Text | None = None
    retriever: TaskRetrieverModel | None = None


@dataclass(frozen=True)
class LoadedTask:
    """A task and the prompts that a study may choose from.

    ``own`` are the task's prompts whatever the space chooses: the first is the baseline of a job
    that names none. ``path`` is that of ``task.yaml``. ``asking`` are prompts whose completions are
    no answers: those of the space's signals that ask the model about the task. ``retriever``
    answers queries, where the task has a corpus or names an address.
    """

    task: Task
    prompts: tuple[PromptTemplate, ...]
    path: Path
    own: tuple[PromptTemplate, ...] = ()
    asking: tuple[PromptTemplate, ...] = ()
    retriever: TaskRetriever | None = None


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
        items = _items(model, document)
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
    model: TaskModel, items: tuple[Item, ...], answer: AnswerSpec, scorer: Metric | None
) -> Task:
    python = isinstance(model.metric, dict)
    return Task(
        name=model.name,
        version=model.version,
        inputs=tuple(model.inputs),
        items=items,
        answer=answer,
        metric=f"python:{model.metric['python']}" if python else model.metric,
        verifiers=tuple(model.verifiers),
        scorer=scorer,
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
) -> Metric | None:
    """The metric in Python, None where it is one by name; either is seen to be usable now."""
    try:
        match model.metric:
            case str(name) if name in METRICS:
                METRICS[name](answer)
            case str(name):
                raise unknown_name("metric", name, METRICS)
            case {"python": str(reference), **rest} if not rest:
                return python_metric(reference, Path(str(document.path)).parent)
            case _:
                raise InputError(
                    "metric must be a name, such as exact_match, or {python: metric.py:score}"
                )
    except InputError as error:
        faults.append(document.placed(error, ("metric",)))
    return None


def _items(model: TaskModel, document: Document) -> tuple[Item, ...]:
    fields = None if model.fields is None else Fields(**model.fields.model_dump())
    path = _beside(document, model.items)
    if not path.is_file():
        readme = path.with_name("README.md")
        hint = f" ({readme} says where it comes from)" if readme.is_file() else ""
        raise document.fault(f"no such file: {model.items}{hint}", ("items",))
    return load_items(path, model.inputs, fields)


def retriever_of(name_or_path: Path | str) -> TaskRetriever | None:
    """The retriever of a task, without its items and prompts; None where it has none."""
    document, faults = read(find_task(name_or_path)), list[InputError]()
    found = _retriever(validate(TaskModel, document), document, faults)
    raise_any(faults)
    return found


def _retriever(
    model: TaskModel, document: Document, faults: list[InputError]
) -> TaskRetriever | None:
    """The task's retriever; a corpus alone is searched by words (bm25)."""
    if model.corpus is None and model.retriever is None:
        return None
    wanted = model.retriever or TaskRetrieverModel()
    corpus = None if model.corpus is None else _beside(document, model.corpus)
    if wanted.kind == "http" and corpus is not None:
        faults.append(document.fault("a corpus is for kind: bm25, not for http", ("corpus",)))
    if wanted.kind == "bm25" and corpus is None:
        message = "kind: bm25 needs a corpus beside this file: corpus: corpus.jsonl"
        faults.append(document.fault(message, ("retriever",)))
    if corpus is not None and not corpus.is_file():
        faults.append(document.fault(f"no such file: {model.corpus}", ("corpus",)))
    elif corpus is not None:
        try:
            Corpus.load(corpus)
        except InputError as error:
            faults.append(error)
    try:
        return wanted.of(model.name, corpus)
    except InputError as error:
        faults.append(document.placed(error, ("retriever", "query", "regex")))
    return None


def _own(model: TaskModel, document: Document, setting: Setting) -> tuple[PromptTemplate, ...]:
    if model.prompts is None:
        return ()
    path = _beside(document, model.prompts)
    if not path.is_file():
        raise document.fault(f"no such file: {model.prompts}", ("prompts",))
    return load_prompts(path, setting)


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


def _beside(document: Document, name: str) -> Path:
    return Path(str(document.path)).parent / name
