"""A task's ``task.yaml``: its keys, its retriever, and what a study takes from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from tierwise.errors import InputError, raise_any
from tierwise.schema.find import find_task
from tierwise.schema.models import AnswerModel, RetrieverModel
from tierwise.schema.prompt import PromptTemplate
from tierwise.schema.turns import RetrieverSpec
from tierwise.schema.validation import NotNegative, Strict, Text, validate
from tierwise.schema.yaml_io import Document, read
from tierwise.tasks import Task
from tierwise.tasks.task import DEFAULT_SHARES

K1, B = 1.5, 0.75
"""Of bm25: how soon a repeated word counts no more, and how much a document's length counts."""


class TaskRetrieverModel(RetrieverModel):
    """``retriever`` in ``task.yaml``; its name is the task's where it says none."""

    # Wider than in a policy, whose retriever must have a name: mypy asks fields to be no wider.
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$")] | None = None  # type: ignore[assignment]
    kind: Literal["bm25", "http"] = "bm25"
    k1: NotNegative = K1
    b: Annotated[float, Field(ge=0, le=1)] = B

    def of(self, task: str, corpus: Path | None) -> TaskRetriever:
        """The retriever of a task.

        Raises:
            InputError: the query's regular expression is none.
        """
        named = self.model_copy(update={"name": self.name or task})
        return TaskRetriever(named.value(), corpus, float(self.k1), float(self.b))


@dataclass(frozen=True)
class TaskRetriever:
    """How a task's queries are answered; ``corpus`` None: by what its name is bound to."""

    spec: RetrieverSpec
    corpus: Path | None = None
    k1: float = K1
    b: float = B


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


def retriever_of(name_or_path: Path | str) -> TaskRetriever | None:
    """The retriever of a task, without its items and prompts; None where it has none."""
    document, faults = read(find_task(name_or_path)), list[InputError]()
    found = retriever_in(validate(TaskModel, document), document, faults)
    raise_any(faults)
    return found


def retriever_in(
    model: TaskModel, document: Document, faults: list[InputError]
) -> TaskRetriever | None:
    """The task's retriever; a corpus alone is searched by words (bm25)."""
    if model.corpus is None and model.retriever is None:
        return None
    wanted = model.retriever or TaskRetrieverModel()
    corpus = None if model.corpus is None else beside(document, model.corpus)
    if wanted.kind == "http" and corpus is not None:
        faults.append(document.fault("a corpus is for kind: bm25, not for http", ("corpus",)))
    if wanted.kind == "bm25" and corpus is None:
        message = "kind: bm25 needs a corpus beside this file: corpus: corpus.jsonl"
        faults.append(document.fault(message, ("retriever",)))
    if corpus is not None and not corpus.is_file():
        faults.append(document.fault(f"no such file: {model.corpus}", ("corpus",)))
    try:
        return wanted.of(model.name, corpus)
    except InputError as error:
        faults.append(document.placed(error, ("retriever", "query", "regex")))
    return None


def beside(document: Document, name: str) -> Path:
    """The file ``name`` in the folder of a document."""
    return Path(str(document.path)).parent / name
