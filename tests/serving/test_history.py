"""``{role: history}``: where a prompt has the slot, a conversation's earlier messages fill it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.serving.gateways import VOTE, client, gateway
from tests.serving.worlds import policy_file
from tierwise.errors import InputError
from tierwise.llm import Completion, Request
from tierwise.llm.scripted import ScriptedModel
from tierwise.schema import Message
from tierwise.schema.policy_file import PolicyFile
from tierwise.serving import PolicyRuntime

EARLIER = (Message("user", "my dog is 7"), Message("assistant", "noted"))
SLOT = Message("history", "")


class Heard(ScriptedModel):
    """Answers 7, and keeps the messages of every request."""

    def __init__(self) -> None:
        self.messages: list[tuple[Message, ...]] = []
        super().__init__(self._speak)

    def _speak(self, request: Request, seed: int) -> Completion:
        self.messages.append(request.messages)
        return Completion("A: 7", 11, 5)


def with_slot(at: int = 1) -> PolicyFile:
    file = policy_file(VOTE)
    plain = file.prompts["plain"]
    messages = (*plain.messages[:at], SLOT, *plain.messages[at:])
    return replace(file, prompts={"plain": replace(plain, messages=messages)})


def asked(tmp_path: Path, file: PolicyFile, messages: list[object], model=None, **more):
    async def ask():
        gate = gateway(tmp_path, file, model=model)
        async with client(gate) as http:
            body = {"model": "p", "messages": messages, **more}
            return await http.post("/v1/chat/completions", json=body)

    return asyncio.run(ask())


def test_a_file_with_the_slot_comes_back_as_it_was() -> None:
    file = with_slot()
    assert PolicyFile.loads(file.dumps()).prompts == file.prompts
    assert "      - {role: history}\n" in file.dumps() or "      - role: history\n" in file.dumps()
    assert file.takes_history
    assert not policy_file(VOTE).takes_history


def test_earlier_messages_stand_where_the_slot_is(tmp_path: Path) -> None:
    model = Heard()
    messages = [m._asdict() for m in (*EARLIER, Message("user", "how old is it?"))]
    assert asked(tmp_path, with_slot(), messages, model).status_code == 200
    sent = (Message("system", "plain"), *EARLIER, Message("user", "how old is it?"))
    assert set(model.messages) == {sent}
    library = Heard()
    with PolicyRuntime(with_slot(), {"small": library}) as runtime:
        runtime.answer_sync(question="how old is it?", history=EARLIER)
    assert set(library.messages) == {sent}


def test_without_a_history_the_slot_is_empty_as_it_was_in_tuning() -> None:
    heard, plain = Heard(), Heard()
    with PolicyRuntime(with_slot(), {"small": heard}) as runtime:
        runtime.answer_sync(question="q")
    with PolicyRuntime(policy_file(VOTE), {"small": plain}) as runtime:
        runtime.answer_sync(question="q")
    assert heard.messages == plain.messages


def test_with_inputs_by_name_all_messages_are_history(tmp_path: Path) -> None:
    model = Heard()
    earlier = [m._asdict() for m in EARLIER]
    got = asked(tmp_path, with_slot(), earlier, model, inputs={"question": "and now?"})
    assert got.status_code == 200
    assert model.messages[0][1:] == (*EARLIER, Message("user", "and now?"))


@pytest.mark.parametrize(
    ("messages", "at"),
    [
        ([{"role": "tool", "content": "x"}, {"role": "user", "content": "q"}], "messages[0]"),
        (
            [{"role": "user", "content": None}, {"role": "user", "content": "q"}],
            "messages[0].content",
        ),
        ([m._asdict() for m in EARLIER], "messages[1]"),
    ],
)
def test_what_is_no_earlier_message_is_refused_by_its_place(
    tmp_path: Path, messages: list[object], at: str
) -> None:
    got = asked(tmp_path, with_slot(), messages)
    assert got.status_code == 400
    assert got.json()["error"]["param"] == at


def test_a_policy_without_the_slot_refuses_a_history(tmp_path: Path) -> None:
    messages = [m._asdict() for m in (*EARLIER, Message("user", "q"))]
    got = asked(tmp_path, policy_file(VOTE), messages)
    assert got.status_code == 400
    assert "{role: history}" in got.json()["error"]["message"]
    with (
        PolicyRuntime(policy_file(VOTE), {"small": Heard()}) as runtime,
        pytest.raises(InputError, match="no earlier messages"),
    ):
        runtime.answer_sync(question="q", history=EARLIER)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("role: history", "role: history, content: x", "takes no content"),
        ("{role: system, content: plain}", "{role: system}", "needs its content"),
        ("{role: system, content: plain}", "{role: history}", "one {role: history} at most"),
    ],
)
def test_a_wrong_slot_is_a_fault_of_the_file_with_its_line(old: str, new: str, said: str) -> None:
    flow = with_slot().dumps().replace("- role: history", "- {role: history}")
    flow = flow.replace(
        "- role: system\n          content: plain", "- {role: system, content: plain}"
    )
    assert old in flow, flow
    with pytest.raises(InputError) as caught:
        PolicyFile.loads(flow.replace(old, new))
    assert said in str(caught.value)
    assert caught.value.line
