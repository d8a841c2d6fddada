"""A task's ``task.yaml``: its keys, its retriever, and what a study takes from it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import CoreSchema

from tierwise.errors import InputError, Loc, unknown_name
from tierwise.schema.fields import (
    IF_ANY,
    IF_SET,
    Name,
    NotNegative,
    Share,
    Strict,
    Text,
    as_mapping,
)
from tierwise.schema.files import find_task
from tierwise.schema.judge import Judge, JudgeSpec, VerifierSpec
from tierwise.schema.prompt import Message, PromptTemplate, Setting, check_fields, load_prompts
from tierwise.schema.turns import AnswerKeys, RetrieverSpec
from tierwise.schema.yaml_io import Document, read, read_as
from tierwise.tasks import (
    JUDGED,
    METRICS,
    RECORDED,
    SPLITS,
    VERIFIERS,
    AnswerSpec,
    Metric,
    Task,
    form_for,
    named_metric,
    unscored,
)
from tierwise.tasks.items import Fields
from tierwise.tasks.task import DEFAULT_SHARES, ballot_fault

_UNSAID = AnswerSpec()
"""How answers are read where a task does not say: as its metric wants (``form_for``)."""
K1, B = 1.5, 0.75
"""Of bm25: how soon a repeated word counts no more, and how much a document's length counts."""


class TaskRef(NamedTuple):
    """The task that a policy was tuned on."""

    name: str
    version: int
    metric: str
    items_sha256: str

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return as_mapping(cls, handler)


@dataclass(frozen=True, slots=True)
class TaskRetriever(RetrieverSpec):
    """How a task's queries are answered: by its corpus, or by what its name is bound to.

    Attributes:
        name: the task's where the file says none.
        corpus: the file of its documents; None: whatever the name is bound to.
    """

    name: Name = ""
    kind: Literal["bm25", "http"] = "bm25"
    k1: NotNegative = K1
    b: Share = B
    corpus: Annotated[
        SkipJsonSchema[Path | None], Field(validation_alias="(corpus)", exclude=True)
    ] = None

    @property
    def spec(self) -> RetrieverSpec:
        """What a policy knows of it."""
        return RetrieverSpec(**{f.name: getattr(self, f.name) for f in fields(RetrieverSpec)})


def _identifier(name: str) -> str:
    if not (name.isascii() and name.isidentifier()):
        raise ValueError(
            f"{name[:40]!r} must be a word: letters, digits and '_'; a column's name stands in "
            "fields, such as fields: {inputs: {question: COLUMN}}"
        )
    return name


@dataclass(frozen=True)
class TaskFile(Strict):
    """``task.yaml``.

    Attributes:
        inputs: fields of an item's inputs that prompts may use.
        items: a file beside this one; ``fields`` says which of its columns hold what.
        metric: a name, ``{name: parameters}``, ``{python: metric.py:score}``, or ``{judge: …}``.
        prompts: a file beside this one.
        demonstration: mode -> text of a demonstration's answer.
        corpus: a file beside this one, which the retriever searches.
        judge: a model that scores answers without their target, for ``judged_best_of_n``.
    """

    name: Name
    inputs: Annotated[tuple[Annotated[str, AfterValidator(_identifier)], ...], Field(min_length=1)]
    items: Text
    version: int = 1
    description: Annotated[str, IF_ANY] = ""
    fields: Annotated[Fields | None, IF_SET] = None
    splits: Mapping[str, NotNegative] = field(default_factory=lambda: DEFAULT_SHARES)
    answer: AnswerKeys = _UNSAID
    metric: Annotated[
        Any,
        WithJsonSchema(
            {
                "anyOf": [
                    {"enum": sorted(METRICS)},
                    {
                        "type": "object",
                        "properties": {
                            "python": {"type": "string"},
                            "judge": {"type": "object"},
                            **{name: {"type": "object"} for name in sorted(METRICS)},
                        },
                        "minProperties": 1,
                        "maxProperties": 1,
                        "additionalProperties": False,
                    },
                ]
            }
        ),
    ] = "exact_match"
    verifiers: Annotated[tuple[Text, ...], IF_ANY] = ()
    instruction: Annotated[Text | None, IF_SET] = None
    prompts: Annotated[Text | None, IF_SET] = None
    demonstration: Annotated[Mapping[str, Text], IF_ANY] = field(default_factory=dict)
    corpus: Annotated[Text | None, IF_SET] = None
    retriever: Annotated[TaskRetriever | None, IF_SET] = None
    judge: Annotated[VerifierSpec | None, IF_SET] = None

    def __post_init__(self) -> None:
        if self.answer is _UNSAID:
            object.__setattr__(self, "answer", form_for(self.metric))

    @classmethod
    def load(cls, name_or_path: Path | str) -> tuple[TaskFile, Document]:
        """The file of a task by name, folder or path, with the document that it is.

        Its items and prompts are not read, and ``faults`` not asked for.

        Raises:
            InputError: no such task, or every key that is wrong, with its line.
        """
        document = read(find_task(name_or_path))
        return read_as(cls, document), document

    @property
    def setting(self) -> Setting:
        """What it gives its prompts."""
        return Setting(self.inputs, self.instruction)

    def faults(self) -> Iterator[InputError]:
        """What is wrong between its keys, each with its place."""
        for i, name in enumerate(self.verifiers):
            if name not in VERIFIERS:
                yield unknown_name("verifier", name, VERIFIERS, loc=("verifiers", i))
        if fault := ballot_fault(self.answer, self.metric, unscored if self.judged else None):
            yield fault
        for name in self.splits:
            if name not in SPLITS:
                yield unknown_name("split", name, SPLITS, loc=("splits", name))
        if not sum(self.splits.values()) > 0:
            yield InputError("the splits' shares must not all be 0", loc=("splits",))
        if repeated := sorted({n for n in self.inputs if self.inputs.count(n) > 1}):
            yield InputError(f"input {repeated[0]!r} is here twice", loc=("inputs",))
        for name in self.fields.inputs if self.fields else ():
            if name not in self.inputs:
                loc: Loc = ("fields", "inputs", name)
                yield unknown_name("input", name, self.inputs, loc=loc)
        for mode, text in self.demonstration.items():
            try:
                shown = PromptTemplate(mode, (Message("assistant", text),))
                check_fields(shown, (*self.inputs, "target"))
            except InputError as error:
                message = error.message.replace("prompt", "demonstration", 1)
                yield InputError(message, loc=("demonstration", mode))
        http = self.retriever is not None and self.retriever.kind == "http"
        if http and self.corpus is not None:
            yield InputError("a corpus is for kind: bm25, not for http", loc=("corpus",))
        if self.retriever is not None and not http and self.corpus is None:
            message = "kind: bm25 needs a corpus beside this file: corpus: corpus.jsonl"
            yield InputError(message, loc=("retriever",))

    def scorer(self, folder: Path) -> tuple[str, Metric]:
        """The metric with its name; ``folder`` is where one in Python looks for its file.

        Raises:
            InputError: there is none of that name, or it cannot be used.
        """
        if self._judge_at == ("metric", JUDGED):
            return JUDGED, unscored
        try:
            return named_metric(self.metric, self.answer, folder)
        except InputError as error:
            raise InputError(error.message, loc=("metric",)) from None

    @property
    def judged(self) -> bool:
        """Whether its metric is a judge, or has one among its parts."""
        return bool(self._judge_at)

    @property
    def _judge_at(self) -> Loc:
        """The place of its judge; nothing where it has none."""
        metric = self.metric if isinstance(self.metric, Mapping) else {}
        parts = metric.get("weighted")
        if isinstance(parts, Mapping) and JUDGED in parts:
            return ("metric", "weighted", JUDGED)
        return ("metric", JUDGED) if set(metric) == {JUDGED} else ()

    def judge_spec(self, document: Document) -> JudgeSpec | None:
        """The judge that is its metric; None where that is another one.

        Raises:
            InputError: every key of it that is wrong, with its line.
        """
        at = self._judge_at
        if not at:
            return None
        data = self.metric[JUDGED] if len(at) == 2 else self.metric["weighted"][JUDGED]
        if not isinstance(data, Mapping):
            raise document.fault(
                "a judge is its model and its rubric, such as {model: openai/gpt-4o, rubric: …}", at
            )
        return read_as(JudgeSpec, document, data, lambda loc: (*at, *loc))

    @property
    def reads_targets(self) -> bool:
        """Whether its metric reads targets by the answer's rule: names do, but for a
        recording's, and for code, which is not run yet."""
        named = not isinstance(self.metric, Mapping) or set(self.metric) <= set(METRICS)
        return self.metric != RECORDED and named and not self.answer.calls

    def retriever_in(self, folder: Path) -> TaskRetriever | None:
        """Its retriever, named; a corpus alone is searched by words (bm25).

        Raises:
            InputError: there is no such corpus.
        """
        if self.corpus is None and self.retriever is None:
            return None
        wanted = self.retriever or TaskRetriever()
        corpus = None if self.corpus is None else folder / self.corpus
        if corpus is not None and not corpus.is_file():
            raise InputError(f"no such file: {self.corpus}", loc=("corpus",))
        return replace(wanted, name=wanted.name or self.name, corpus=corpus)


def own_prompts(
    file: TaskFile, folder: Path, turns: Collection[str] | None = None
) -> tuple[PromptTemplate, ...]:
    """The prompts that a task brings; ``turns``: what their ``turn`` may be, None: anything.

    Raises:
        InputError: no such file, or every fault of it.
    """
    if file.prompts is None:
        return ()
    path = folder / file.prompts
    if not path.is_file():
        raise InputError(f"no such file: {file.prompts}", loc=("prompts",))
    return load_prompts(path, file.setting, turns=turns)


def retriever_of(name_or_path: Path | str) -> TaskRetriever | None:
    """The retriever of a task, without its items and prompts; None where it has none.

    Raises:
        InputError: no such task, a key that is wrong, or no such corpus.
    """
    file, document = TaskFile.load(name_or_path)
    try:
        return file.retriever_in(document.folder)
    except InputError as error:
        raise document.placed(error, error.loc) from None


@dataclass(frozen=True)
class LoadedTask:
    """A task and the prompts that a study may choose from.

    Attributes:
        prompts: those that the space chooses.
        path: that of ``task.yaml``.
        own: the task's prompts whatever the space chooses: the first is the baseline of a job that
            names none.
        asking: prompts whose completions are no answers: those of the space's signals that ask the
            model about the task.
        retriever: what answers queries, where the task has a corpus or names an address.
        judge: who scores answers, where the metric is a judge.
        verifier: whom best-of-n may rank answers by, the task's key ``judge``.
    """

    task: Task
    prompts: tuple[PromptTemplate, ...]
    path: Path
    own: tuple[PromptTemplate, ...] = ()
    asking: tuple[PromptTemplate, ...] = ()
    retriever: TaskRetriever | None = None
    judge: Judge | None = None
    verifier: VerifierSpec | None = None
