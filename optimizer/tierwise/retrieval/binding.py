"""What a retriever's name stands for here: a corpus on this machine, or an address.

A policy names its retriever and never says where it is. The deployment binds the name, by an option
(``--retriever wiki=http://…``) or by the environment (``TIERWISE_RETRIEVER_WIKI``, and the token of
an address in ``TIERWISE_RETRIEVER_WIKI_TOKEN``).
"""

from __future__ import annotations

import os
import re

from tierwise.errors import InputError
from tierwise.retrieval.base import Retriever
from tierwise.retrieval.bm25 import K1, B, Bm25Retriever
from tierwise.retrieval.http import HttpRetriever


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


def bind(option: str) -> None:
    """Bind as ``NAME=TARGET`` says, for this process: an option is the variable by another name.

    Raises:
        InputError: there is no name or no target.
    """
    name, equals, target = option.partition("=")
    if not (name and equals and target):
        raise InputError(f"--retriever takes NAME=CORPUS.jsonl or NAME=http://…, got {option!r}")
    os.environ[variable_of(name)] = target
