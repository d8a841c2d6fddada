"""A task's retriever: the corpus that it brings, or the name of an address."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tierwise.errors import InputError
from tierwise.retrieval import Retriever, open_retriever, target_of
from tierwise.retrieval.bm25 import K1, B, Corpus, identity
from tierwise.schema import RetrieverSpec
from tierwise.schema._models import RetrieverModel
from tierwise.schema._schema import NotNegative


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

    def open(self) -> Retriever:
        """The retriever: what the name is bound to here, else the task's corpus.

        Raises:
            InputError: the name is bound to nothing and there is no corpus, or it cannot be read.
        """
        target = target_of(self.spec.name) or (None if self.corpus is None else str(self.corpus))
        return open_retriever(self.spec.name, target, k1=self.k1, b=self.b)

    def usual_bytes(self) -> float:
        """Of a passage as it is shown, on average; half of the most where that is not known."""
        if self.corpus is None:
            return self.spec.max_chars / 2
        documents = Corpus.load(self.corpus).documents
        shown = [len(self.spec.shown([document]).encode()) for document in documents]
        return sum(shown) / len(shown)

    def identity_among(self, known: Collection[str]) -> str:
        """That of the ``known`` retrievers of a pool which answered for this one."""
        own = [name for name in sorted(known) if name.startswith(f"{self.spec.name}/")]
        if len(own) > 1 and self.corpus is not None:
            corpus = identity(self.spec.name, Corpus.load(self.corpus), k1=self.k1, b=self.b)
            own = [corpus] if corpus in own else own
        if not own:
            raise InputError(f"the pool holds no look-ups of the retriever {self.spec.name!r}")
        return own[0]
