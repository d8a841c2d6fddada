"""Lays a signature out in the embedded tiers' own format, and reads their answers.

An embedded model knows a few hundred words: the instructions are the system text, the first input
field the user's, and a demonstration ends in ``answer : 12``. It answers ``answer : 12``, or
``work : … answer : 12`` where the mode lets it work, which fills a reasoning field if there is one.
"""

from __future__ import annotations

from typing import Any

from dspy.adapters.utils import format_field_value, parse_value
from dspy.utils.exceptions import AdapterParseError

import dspy
from tierwise.errors import UnsupportedError

PLAIN = "Solve this."
"""What instructions that DSPy made up from the field names are laid out as: the models were trained
on this paraphrase, and do not know the words of those."""

ANSWER = "answer :"
WORK = "work :"


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
                messages.append({"role": "assistant", "content": f"{ANSWER} {demo[last]}"})
        asked = format_field_value(field, inputs[name])
        return [*messages, {"role": "user", "content": asked}]

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        """The output fields in a completion.

        Raises:
            AdapterParseError: there is no answer in it.
        """
        *before, last = signature.output_fields
        work, found, answer = completion.rpartition(ANSWER)
        if not found or not answer.strip():
            raise AdapterParseError(
                adapter_name=type(self).__name__,
                signature=signature,
                lm_response=completion,
                message=f"there is no `{ANSWER}` in it",
            )
        fields = dict.fromkeys(before, work.strip().removeprefix(WORK).removesuffix("stop").strip())
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
    return PLAIN if signature.instructions in known else str(signature.instructions)


def _default(signature: Any, outputs: list[str]) -> str:
    inputs = ", ".join(f"`{name}`" for name in signature.input_fields)
    return f"Given the fields {inputs}, produce the fields {', '.join(f'`{n}`' for n in outputs)}."
