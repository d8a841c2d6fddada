"""What a retriever's name stands for here: a corpus on this machine, or an address.

A policy names its retriever and never says where it is. The deployment binds the name, by an option
(``--retriever wiki=http://…``) or by the environment (``TIERWISE_RETRIEVER_WIKI``, and the token of
an address in ``TIERWISE_RETRIEVER_WIKI_TOKEN``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection

from tierwise.errors import InputError
from tierwise.retrieval.base import Retriever
from tierwise.retrieval.bm25 import Bm25Retriever, Corpus, identity
from tierwise.retrieval.http import HttpRetriever
from tierwise.schema import TaskRetriever
from tierwise.schema.task_file import K1, B


def variable_of(name: str) -> str:
    """The environment variable that binds ``name``."""
    return "TIERWISE_RETRIEVER_" + re.sub(r"[^A-Z0-9]", "_", name.upper())


def target_of(name: str) -> str | None:
    """What ``name`` is bound to; None where it is not."""
    return os.environ.get(variable_of(name)) or None


def open_retriever(name: str, target: str | None, *, k1: float = K1, b: float = B) -> Retriever:
    """The retriever behind ``target``; the caller closes it.

    Raises:
        InputError: ``target`` is None, the corpus cannot be read, or bm25s is not installed.
    """
    if target is None:
        raise InputError(
            f"the retriever {name!r} is bound to nothing: give --retriever {name}=CORPUS.jsonl or "
            f"--retriever {name}=http://…, or set {variable_of(name)}"
        )
    if re.match(r"https?://", target):
        return HttpRetriever(name, target, token=os.environ.get(f"{variable_of(name)}_TOKEN"))
    return Bm25Retriever.open(name, target, k1=k1, b=b)


def open_for_task(task: TaskRetriever) -> Retriever:
    """A task's retriever: what its name is bound to here, else the task's corpus.

    Raises:
        InputError: the name is bound to nothing and there is no corpus, or it cannot be read.
    """
    target = target_of(task.spec.name) or (None if task.corpus is None else str(task.corpus))
    return open_retriever(task.spec.name, target, k1=task.k1, b=task.b)


def usual_bytes(task: TaskRetriever) -> float:
    """Mean bytes of a passage as it is shown; half of the most where there is no corpus."""
    if task.corpus is None:
        return task.spec.max_chars / 2
    documents = Corpus.load(task.corpus).documents
    shown = [len(task.spec.shown([document]).encode()) for document in documents]
    return sum(shown) / len(shown)


def identity_among(task: TaskRetriever, known: Collection[str]) -> str:
    """That of the ``known`` retrievers of a pool which answered for a task.

    Raises:
        InputError: none of them did.
    """
    own = [name for name in sorted(known) if name.startswith(f"{task.spec.name}/")]
    if len(own) > 1 and task.corpus is not None:
        corpus = identity(task.spec.name, Corpus.load(task.corpus), k1=task.k1, b=task.b)
        own = [corpus] if corpus in own else own
    if not own:
        raise InputError(f"the pool holds no look-ups of the retriever {task.spec.name!r}")
    return own[0]


def bind(option: str) -> None:
    """Bind as ``NAME=TARGET`` says, for this process: an option is the variable by another name.

    Raises:
        InputError: there is no name or no target.
    """
    name, equals, target = option.partition("=")
    if not (name and equals and target):
        raise InputError(f"--retriever takes NAME=CORPUS.jsonl or NAME=http://…, got {option!r}")
    os.environ[variable_of(name)] = target
