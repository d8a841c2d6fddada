"""A proposed instruction laid out on one of a task's own prompts: exact messages again."""

from __future__ import annotations

import re
from dataclasses import replace

from tierwise.proposals.candidate import Candidate
from tierwise.schema import Message, PromptTemplate

_PLACEHOLDER = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_OF_CANDIDATE = re.compile(r"\+i-[0-9a-f]{10}")


def instruction_of(prompt: PromptTemplate) -> str:
    """What a prompt tells a model to do: its system text, else its last message without inputs.

    A prompt that is nothing but its inputs tells to answer them.
    """
    first, last = prompt.messages[0], prompt.messages[-1]
    text = first.content if first.role == "system" else last.content
    return _PLACEHOLDER.sub("", text).strip() or f"Answer the {' and the '.join(prompt.fields)}."


def with_instruction(prompt: PromptTemplate, candidate: Candidate) -> PromptTemplate:
    """``prompt`` with another instruction as its system text; all other messages stay.

    A system text that holds an input stays too, below the instruction.
    """
    first, *rest = prompt.messages
    replaced = first.role == "system" and not _PLACEHOLDER.search(first.content)
    kept = rest if replaced else prompt.messages
    new_id = f"{_OF_CANDIDATE.sub('', prompt.id)}+{candidate.id}"
    return replace(
        prompt,
        id=new_id,
        messages=(Message("system", candidate.text), *kept),
        family=new_id,  # it is nobody's other paraphrase
        paraphrases=(),
        origin=candidate.origin,
    )
