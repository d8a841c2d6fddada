"""Prompts around a chat: its messages as they are, with another system or a last word."""

from __future__ import annotations

import pytest

from tests.schema.folders import make_task
from tierwise.errors import InputError
from tierwise.runs import load_space, load_task
from tierwise.schema import Message, PromptTemplate, load_prompts
from tierwise.tasks.conversation import chat_text

CHAT = chat_text(
    [
        {"role": "system", "content": "You are the desk {{ of }} Acme."},
        {"role": "user", "content": "Where is it?"},
        {"role": "assistant", "content": "Which?"},
        {"role": "user", "content": "The second."},
    ]
)
BARE = chat_text([{"role": "user", "content": "Hello"}])
SLOT = Message("messages", "{{ chat }}")
PROMPTS = """
- id: today
  messages:
    - {role: messages, content: "{{ chat }}"}
- id: other_system
  messages:
    - {role: system, content: "Be brief."}
    - {role: messages, content: "{{ chat }}"}
- id: longer_system
  messages:
    - {role: system, content: "{{ system }}\\n\\nBe brief."}
    - {role: messages, content: "{{ chat }}"}
- id: last_word
  messages:
    - {role: messages, content: "{{ chat }}"}
    - {role: user, content: "{{ last }} Answer in a word."}
- id: one_more
  messages:
    - {role: messages, content: "{{ chat }}"}
    - {role: user, content: "Answer in a word."}
"""
SYSTEM, FIRST = (
    Message("system", "You are the desk {{ of }} Acme."),
    Message("user", "Where is it?"),
)
REPLY, LAST = Message("assistant", "Which?"), Message("user", "The second.")


@pytest.fixture
def prompts(tmp_path) -> dict[str, PromptTemplate]:
    path = tmp_path / "prompts.yaml"
    path.write_text(PROMPTS)
    return {prompt.id: prompt for prompt in load_prompts(path)}


def test_what_each_prompt_sends(prompts: dict[str, PromptTemplate]) -> None:
    said = {
        "today": (SYSTEM, FIRST, REPLY, LAST),
        "other_system": (Message("system", "Be brief."), FIRST, REPLY, LAST),
        "longer_system": (Message("system", f"{SYSTEM.content}\n\nBe brief."), FIRST, REPLY, LAST),
        "last_word": (SYSTEM, FIRST, REPLY, Message("user", "The second. Answer in a word.")),
        "one_more": (SYSTEM, FIRST, REPLY, LAST, Message("user", "Answer in a word.")),
    }
    assert {name: p.render({"chat": CHAT}) for name, p in prompts.items()} == said
    assert all(prompt.fields == ("chat",) for prompt in prompts.values())


def test_a_chat_without_a_system_gets_none(prompts: dict[str, PromptTemplate]) -> None:
    assert prompts["today"].render({"chat": BARE}) == (Message("user", "Hello"),)
    longer = prompts["longer_system"].render({"chat": BARE})
    assert longer == (Message("system", "Be brief."), Message("user", "Hello"))


def test_demonstrations_stand_between_the_system_and_the_chat(
    prompts: dict[str, PromptTemplate],
) -> None:
    shown = prompts["today"].with_demonstrations([({"chat": BARE}, "greeting")])
    shots = (Message("user", "Hello"), Message("assistant", "greeting"))
    assert shown.render({"chat": CHAT}) == (SYSTEM, *shots, FIRST, REPLY, LAST)
    assert shown.render({"chat": BARE}) == (*shots, Message("user", "Hello"))
    other = prompts["other_system"].with_demonstrations([({"chat": BARE}, "greeting")])
    assert other.render({"chat": BARE})[0].content == "Be brief."


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ((SLOT, SLOT), "one {role: messages}"),
        ((Message("history", ""), SLOT), "one {role: messages}"),
        ((Message("messages", "the {{ chat }}"),), "names the input"),
        ((Message("messages", ""),), "names the input"),
    ],
)
def test_a_slot_names_one_input(messages: tuple[Message, ...], says: str) -> None:
    with pytest.raises(InputError, match=says):
        PromptTemplate("p", messages)


def test_an_input_that_is_no_chat_is_said() -> None:
    with pytest.raises(InputError, match="'chat', which is no chat"):
        PromptTemplate("p", (SLOT,)).render({"chat": "hello"})


TASK = """name: desk
inputs: [chat, plan]
items: items.jsonl
answer: {normalise: text}
"""
ITEMS = [
    {"inputs": {"chat": [{"role": "user", "content": f"hello {i}"}], "plan": "b"}, "target": "x"}
    for i in range(6)
]


def test_a_task_without_prompts_starts_from_the_chat_as_it_is(tmp_path) -> None:
    loaded = load_task(make_task(tmp_path / "a", task=TASK, items=ITEMS))
    assert [prompt.id for prompt in loaded.prompts] == ["as_it_is"]
    inputs = loaded.task.items[0].inputs
    [message] = loaded.prompts[0].render(inputs)
    assert message.role == "user"
    assert message.content.startswith("hello")


def test_the_library_is_written_around_the_chat(tmp_path) -> None:
    task = TASK + "instruction: Name the desk in one word.\n"
    loaded = load_task(make_task(tmp_path, task=task, items=ITEMS), load_space("default"))
    assert loaded.own[0].id == "as_it_is"
    others = [prompt for prompt in loaded.prompts if prompt.id != "as_it_is"]
    assert len(others) > 5
    inputs = {"chat": CHAT, "plan": "gold"}
    for prompt in others:
        sent = prompt.render(inputs)
        assert sent[0].role == "system"
        assert sent[0].content.startswith("You are the desk {{ of }} Acme.")
        assert sent[-3:-1] == (FIRST, REPLY)
        assert "The second." in sent[-1].content
        assert sum("The second." in m.content for m in sent) == 1
        assert "plan: gold" in sent[-1].content
