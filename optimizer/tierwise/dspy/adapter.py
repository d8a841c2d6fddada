"""From a DSPy signature to the exact messages that a policy file holds, and from texts to answers.

Prompts are laid out once by an adapter, with placeholders for the inputs. At run time the inputs
are filled in by literal substitution, so nothing of DSPy is needed to serve them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dspy.adapters.types.base_type import Type
from dspy.adapters.utils import format_field_value, parse_value
from dspy.utils.exceptions import AdapterParseError

import dspy
from tierwise.dspy.examples import answer_field, inputs_of
from tierwise.errors import UnsupportedError
from tierwise.llm.models import EMBEDDED, kind_of
from tierwise.proposals import Demonstration, PromptCandidate
from tierwise.schema import Message, PromptTemplate
from tierwise.schema.prompt import literal
from tierwise.tasks import AnswerSpec

STUDENT = "student"
_OWN_TYPES = (dspy.History, Type)
_ANSWER, _WORK = "answer :", "work :"

PLAIN_INSTRUCTION = "Solve this."
"""What instructions that DSPy made up from the field names are laid out as: the models were trained
on this paraphrase, and do not know the words of those."""


class EmbeddedAdapter(dspy.Adapter):  # type: ignore[misc]  # DSPy has no types
    """The adapter for ``embedded/NAME`` tiers: one input field, one answer, maybe a reasoning."""

    def format(
        self, signature: Any, demos: list[dict[str, Any]], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """The messages; demonstrations without an answer are left out."""
        name, field = _only_input(signature)
        last = next(reversed(signature.output_fields))
        messages = [{"role": "system", "content": _paraphrase(signature)}]
        for demo in demos:
            if demo.get(name) is not None and demo.get(last) is not None:
                asked = format_field_value(field, demo[name])
                messages.append({"role": "user", "content": asked})
                messages.append({"role": "assistant", "content": f"{_ANSWER} {demo[last]}"})
        asked = format_field_value(field, inputs[name])
        return [*messages, {"role": "user", "content": asked}]

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        """The output fields in a completion.

        Raises:
            AdapterParseError: there is no answer in it.
        """
        *before, last = signature.output_fields
        work, found, answer = completion.rpartition(_ANSWER)
        if not found or not answer.strip():
            raise AdapterParseError(
                adapter_name=type(self).__name__,
                signature=signature,
                lm_response=completion,
                message=f"there is no `{_ANSWER}` in it",
            )
        fields = dict.fromkeys(
            before, work.strip().removeprefix(_WORK).removesuffix("stop").strip()
        )
        value = parse_value(answer.strip(), signature.output_fields[last].annotation)
        return {**fields, last: value}


def _only_input(signature: Any) -> tuple[str, Any]:
    if len(signature.input_fields) != 1 or len(signature.output_fields) > 2:
        raise UnsupportedError(
            "an embedded tier reads one input field, and writes one answer after at most one field "
            f"of reasoning; the signature is {signature.signature!r}"
        )
    ((name, field),) = signature.input_fields.items()
    return name, field


def _paraphrase(signature: Any) -> str:
    made_up = dspy.Signature(signature.signature).instructions
    without_reasoning = _default(signature, [*signature.output_fields][-1:])
    known = (made_up, without_reasoning, "")
    return PLAIN_INSTRUCTION if signature.instructions in known else str(signature.instructions)


def _default(signature: Any, outputs: list[str]) -> str:
    inputs = ", ".join(f"`{name}`" for name in signature.input_fields)
    return f"Given the fields {inputs}, produce the fields {', '.join(f'`{n}`' for n in outputs)}."


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


def signature_answer_spec(signature: Any, adapter: Any, normalise: str | None) -> AnswerSpec:
    """How votes read the last output field, in the adapter's layout.

    ``normalise`` None: whole numbers for ``int`` fields, else the text as it is.
    """
    name, annotation = answer_field(signature)
    rule = normalise or ("integer" if annotation is int else "none")
    if isinstance(adapter, EmbeddedAdapter):
        return AnswerSpec(r"answer\s*:\s*([^\n]*[^\s])", "last", rule)
    head = rf"(?:^|\n)[ \t]*\[\[ ## {re.escape(name)} ## \]\]\s*"
    return AnswerSpec(rf"(?s){head}(.*?)\s*(?:\n[ \t]*\[\[ ## |\z)", "first", rule)


def signature_template(
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
    shown = [
        {k: literal(v) if isinstance(v, str) else v for k, v in dict(d).items()} for d in demos
    ]
    laid_out = adapter.format(signature, shown, placeholders)
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
    prompts = [signature_template(STUDENT, STUDENT, signature, own_demos, adapter)]
    for paraphrase, demos in pairs:
        changed = signature.with_instructions(paraphrase.instructions or "")
        prompt_id = paraphrase.id if demos is None else f"{paraphrase.id}+{demos.id}"
        origin = paraphrase.origin if demos is None else f"{paraphrase.origin} + {demos.origin}"
        shown = signature_template(
            prompt_id, origin, changed, own_demos if demos is None else demos.demos, adapter
        )
        if all(shown.messages != known.messages for known in prompts) and len(prompts) < most:
            prompts.append(shown)
    return prompts


def _messages(laid_out: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    if not all(isinstance(message["content"], str) for message in laid_out):
        raise UnsupportedError("a policy file holds text messages; this signature has other parts")
    return tuple(Message(str(m["role"]), str(m["content"])) for m in laid_out)
