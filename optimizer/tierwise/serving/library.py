"""The retriever of a served policy: given, bound by name, or that of the task at hand."""

from __future__ import annotations

from tierwise.errors import InputError
from tierwise.retrieval import Retriever, open_for_task, open_retriever, target_of
from tierwise.schema import retriever_of
from tierwise.schema.policy_file import PolicyFile
from tierwise.serving.live import Library
from tierwise.strategies import Strategy, asks


def library_of(
    file: PolicyFile, strategies: tuple[Strategy, ...], retriever: Retriever | None = None
) -> Library | None:
    """What answers the policy's queries; None where it has none.

    Raises:
        InputError: it asks queries and names no retriever, or its name is bound to nothing.
    """
    if not any(asks(strategy, "query") for strategy in strategies):
        return None
    spec = file.retriever
    if spec is None:
        raise InputError(f"policy {file.name!r} asks queries and names no retriever")
    if retriever is None:
        retriever = _of_task(file) or open_retriever(spec.name, target_of(spec.name))
    return Library(spec, retriever)


def _of_task(file: PolicyFile) -> Retriever | None:
    """The retriever of the policy's task, if that is here and brings it, and nothing is bound."""
    assert file.retriever is not None
    if target_of(file.retriever.name) is not None:
        return None
    try:
        found = retriever_of(file.task.name)
    except InputError:
        return None
    if found is None or found.corpus is None or found.spec.name != file.retriever.name:
        return None
    return open_for_task(found)
