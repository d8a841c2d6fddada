"""Inputs that are chats: what is read, and what is refused with its line."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from tests.schema.folders import faults
from tierwise.errors import InputError
from tierwise.llm import build_request
from tierwise.schema import Message, Price, PromptTemplate, Tier, Variant
from tierwise.tasks import Task
from tierwise.tasks.conversation import ChatMessage, chat_text, conversation

SYSTEM = {"role": "system", "content": "You are the desk of Acme."}
USER = {"role": "user", "content": "Where is my parcel?"}
REPLY = {"role": "assistant", "content": "Which one?"}
LAST = {"role": "user", "content": "The second."}
CHAT = [SYSTEM, USER, REPLY, LAST]
CALLS = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"n": 2}'}}
    ],
}
FOUND = {"role": "tool", "tool_call_id": "c1", "content": "It is in Graz."}
PICTURE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}


def test_a_chat_has_a_system_what_was_said_and_a_last_message() -> None:
    found = conversation(chat_text(CHAT))
    assert found.system_text == "You are the desk of Acme."
    assert found.before == (ChatMessage(**USER), ChatMessage(**REPLY))
    assert found.last == ChatMessage(**LAST)
    parts = [{"type": "text", "text": "The "}, {"type": "text", "text": "second."}]
    assert chat_text([*CHAT[:3], {"role": "user", "content": parts}]) == chat_text(CHAT)
    for text in ("", "hello", "[1, 2]", "[", json.dumps([SYSTEM])):
        assert conversation(text) is None


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([PICTURE], r"messages\[0\]\.content\[0\] is a picture: only text is taken"),
        ([{"role": "user", "content": [{"type": "input_audio"}]}], "only text is taken"),
        ([USER, REPLY], "must end with what is to be answered"),
        ([SYSTEM, REPLY], "must end with what is to be answered"),
        ([{"role": "tool", "content": "3"}, USER], "without the tool_call_id of a call before it"),
        ([USER, {**CALLS, "tool_calls": []}, FOUND], "no content that is text"),
        ([USER, CALLS, {**FOUND, "tool_call_id": "other"}], "of a call before it"),
        ([USER, CALLS, {**FOUND, "content": PICTURE["content"]}], "is a picture"),
        ([USER, CALLS, {**FOUND, "tool_call_id": {}}], "of a call before it"),
        ([USER, CALLS], "must end with what is to be answered"),
        ([{"role": "function", "name": "f", "content": "3"}], "write role tool"),
        ([{"role": "bot", "content": "x"}], "has the role 'bot'"),
        ([{"role": "user", "content": None}], "no content that is text"),
        ([], "must be a list of messages"),
        ("hello", "must be a list of messages"),
    ],
)
def test_what_is_no_text_chat_is_refused(messages: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        chat_text(messages)


def test_calls_of_tools_and_what_they_returned_are_sent_as_they_are() -> None:
    chat = [SYSTEM, USER, CALLS, FOUND]
    text = chat_text([{**CALLS, "refusal": None} if m is CALLS else m for m in chat])
    assert json.loads(text) == chat
    assert conversation(text).last_of_user == USER["content"]
    own = Message("messages", "{{ chat }}")
    for messages, sent in (
        ((own,), chat),
        (
            (Message("system", "{{ system }} Be brief."), own),
            [{**SYSTEM, "content": "You are the desk of Acme. Be brief."}, *chat[1:]],
        ),
        (
            (own, Message("user", "{{ last }} Be brief.")),
            [*chat, {"role": "user", "content": "Where is my parcel? Be brief."}],
        ),
    ):
        prompt = PromptTemplate("p", messages)
        assert [m.body for m in prompt.render({"chat": text})] == sent
        tier = Tier("t", "openai/x", Price(1, 2), {"plain": {}, "told": {"suffix": " Think."}})
        ways = {
            mode: build_request(tier, prompt, Variant("p", mode, 0.5), {"chat": text})
            for mode in tier.modes
        }
        assert [m.body for m in ways["plain"].messages] == sent
        told = [m.body for m in ways["told"].messages]
        assert told == [*sent, {"role": "user", "content": " Think."}] or told == [
            *sent[:-1],
            {**sent[-1], "content": f"{sent[-1]['content']} Think."},
        ]
    with_shot = PromptTemplate("p", (own,)).with_demonstrations([({"chat": text}, "In Graz.")])
    assert [m.role for m in with_shot.messages] == ["system", "user", "assistant", "messages"]


def test_json_lines_of_chats(tmp_path) -> None:
    path = tmp_path / "chats.jsonl"
    rows = [{"messages": CHAT, "target": "refund"}, {"messages": [USER], "target": "parcel"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    task = Task.from_jsonl(path, inputs=["messages"])
    assert task.chat == "messages"
    assert task.items[0].inputs["messages"] == chat_text(CHAT)
    path.write_text("\n".join(map(json.dumps, [*rows, {"messages": [PICTURE], "target": "x"}])))
    assert faults(lambda: Task.from_jsonl(path, inputs=["messages"])) == [
        "chats.jsonl:3: messages[0].content[0] is a picture: only text is taken"
    ]


def test_the_answer_of_a_file_for_fine_tuning_is_the_target(tmp_path) -> None:
    path = tmp_path / "tuning.jsonl"
    path.write_text(json.dumps({"messages": [SYSTEM, USER, REPLY]}))
    [item] = Task.from_jsonl(path, inputs=["messages"]).items
    assert item.target == "Which one?"
    assert item.inputs["messages"] == chat_text([SYSTEM, USER])


def test_frames_and_lists_of_rows_hold_chats_beside_other_inputs() -> None:
    rows = [
        {
            "messages": CHAT,
            "order": 17,
            "documents": ["We ship on Monday.", "No returns."],
            "y": "a",
        },
        {"messages": [USER], "order": 18, "documents": ["We ship on Friday.", "None."], "y": "b"},
    ]
    for data in (pd.DataFrame(rows), rows):
        task = Task.from_rows(data, inputs=["messages", "order", "documents"], target="y")
        assert task.chat == "messages"
        assert task.items[0].inputs["order"] == "17"
        assert "We ship on Monday." in task.items[0].inputs["documents"]
    with pytest.raises(InputError, match=r"row 1: messages\[0\] has the role 'bot'"):
        Task.from_rows(
            [rows[0], {**rows[1], "messages": [{"role": "bot", "content": "x"}]}],
            inputs=["messages"],
            target="y",
        )
    assert Task.from_rows([{"q": "x", "target": "y"}], inputs=["q"]).chat is None
