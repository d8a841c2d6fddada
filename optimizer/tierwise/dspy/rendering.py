"""Candidates as prompts: laid out once by the adapter, with placeholders, into exact messages.

What a policy file holds are these bytes; at run time only the inputs are filled in, by literal
substitution, so nothing of DSPy is needed to serve them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dspy.adapters.types.base_type import Type

import dspy
from tierwise.dspy.embedded_adapter import EmbeddedAdapter
from tierwise.dspy.examples import answer_field, inputs_of
from tierwise.errors import UnsupportedError
from tierwise.llm.models import EMBEDDED, kind_of
from tierwise.proposals import Demonstration, PromptCandidate
from tierwise.schema import Message, PromptTemplate
from tierwise.tasks import AnswerSpec

STUDENT = "student"
_OWN_TYPES = (dspy.History, Type)


def adapter_of(model: str) -> Any:
    """The adapter that lays signatures out for a model: the embedded tiers have one of their own.

    Raises:
        UnsupportedError: DSPy is configured with another adapter than ``ChatAdapter``.
    """
    if kind_of(model) == EMBEDDED:
        return EmbeddedAdapter()
    configured = dspy.settings.adapter
    if configured is not None and type(configured) not in (dspy.ChatAdapter, EmbeddedAdapter):
        raise UnsupportedError(
            f"prompts are laid out by ChatAdapter; {type(configured).__name__} is configured, and "
            "its answers could not be read by a policy file"
        )
    return dspy.ChatAdapter(use_json_adapter_fallback=False)


def answer_spec(signature: Any, adapter: Any, normalise: str | None) -> AnswerSpec:
    """How votes read the last output field, in the adapter's layout.

    ``normalise`` None: whole numbers for ``int`` fields, else the text as it is.
    """
    name, annotation = answer_field(signature)
    rule = normalise or ("integer" if annotation is int else "none")
    if isinstance(adapter, EmbeddedAdapter):
        return AnswerSpec(r"answer\s*:\s*([^\n]*[^\s])", "last", rule)
    head = rf"(?:^|\n)[ \t]*\[\[ ## {re.escape(name)} ## \]\]\s*"
    return AnswerSpec(rf"(?s){head}(.*?)\s*(?:\n[ \t]*\[\[ ## |\z)", "first", rule)


def template(
    prompt_id: str, origin: str, signature: Any, demos: Sequence[Demonstration], adapter: Any
) -> PromptTemplate:
    """The exact messages of a signature and its demonstrations.

    Raises:
        UnsupportedError: a field of DSPy's own types (history, images, tools).
    """
    for name, info in signature.fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, _OWN_TYPES):
            raise UnsupportedError(
                f"field {name!r} is a {info.annotation.__name__}, which a policy file cannot fill "
                "in literally: use text fields"
            )
    placeholders = {name: f"{{{{ {name} }}}}" for name in signature.input_fields}
    laid_out = adapter.format(signature, [dict(d) for d in demos], placeholders)
    return PromptTemplate(prompt_id, _messages(laid_out), "dspy", origin=origin)


def check_rendering(
    prompt: PromptTemplate, signature: Any, demos: Any, adapter: Any, examples: Any
) -> None:
    """Raise UnsupportedError where filling in differs from what DSPy would send for an example."""
    for example in examples:
        given = {name: example[name] for name in signature.input_fields}
        direct = _messages(adapter.format(signature, [dict(d) for d in demos], given))
        if prompt.render(inputs_of(signature, example)) != direct:
            raise UnsupportedError(
                "an input of this signature is laid out in a way that a policy file cannot fill in "
                "literally: use text fields"
            )


def prompts_of(
    signature: Any,
    own_demos: Sequence[Demonstration],
    instructions: Sequence[PromptCandidate],
    demo_sets: Sequence[PromptCandidate],
    adapter: Any,
    most: int,
) -> list[PromptTemplate]:
    """The student's prompt as it is, then candidates alone, then instructions with demonstrations.

    At most ``most``, duplicates in exact bytes merged.
    """
    student = PromptCandidate(STUDENT, STUDENT, str(signature.instructions))
    pairs: list[tuple[PromptCandidate, PromptCandidate | None]] = [(i, None) for i in instructions]
    pairs += [(student, demos) for demos in demo_sets]
    pairs += [(i, demos) for demos in demo_sets for i in instructions]
    prompts = [template(STUDENT, STUDENT, signature, own_demos, adapter)]
    for paraphrase, demos in pairs:
        changed = signature.with_instructions(paraphrase.instructions or "")
        prompt_id = paraphrase.id if demos is None else f"{paraphrase.id}+{demos.id}"
        origin = paraphrase.origin if demos is None else f"{paraphrase.origin} + {demos.origin}"
        shown = template(
            prompt_id, origin, changed, own_demos if demos is None else demos.demos, adapter
        )
        if all(shown.messages != known.messages for known in prompts) and len(prompts) < most:
            prompts.append(shown)
    return prompts


def _messages(laid_out: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    if not all(isinstance(message["content"], str) for message in laid_out):
        raise UnsupportedError("a policy file holds text messages; this signature has other parts")
    return tuple(Message(str(m["role"]), str(m["content"])) for m in laid_out)
