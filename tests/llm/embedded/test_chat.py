from __future__ import annotations

import pytest

from tierwise.errors import InputError
from tierwise.llm.embedded import Engine, chat, vocabulary
from tierwise.schema import Message

USER = Message("user", "7 + 5")


def read(tokens):
    return vocabulary.text(tokens)


def test_the_template_writes_system_demonstrations_and_question():
    prompt = chat.encode(
        [
            Message("system", "Follow the examples."),
            Message("user", "2 + 2"),
            Message("assistant", "answer : 4"),
            USER,
        ],
        {},
    )
    assert read(prompt.tokens) == "follow the examples : 2 + 2 answer : 4 ; 7 + 5"


def test_a_question_as_system_text_and_an_empty_one_get_no_colon():
    for text, expected in [("Think?", "think ? 7 + 5"), ("", "7 + 5"), ("Rate :", "rate : 7 + 5")]:
        assert read(chat.encode([Message("system", text), USER], {}).tokens) == expected


@pytest.mark.parametrize(
    ("params", "cue", "budget"),
    [
        ({}, "answer :", None),
        ({"reasoning_effort": "none"}, "answer :", None),
        ({"reasoning_effort": "high"}, "work :", None),
        ({"reasoning_effort": "low"}, "work :", chat.EFFORTS["low"]),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "work :", 5),
        ({"thinking": {"type": "disabled"}}, "answer :", None),
    ],
)
def test_the_cue_and_the_budget_follow_the_reasoning_parameters(params, cue, budget):
    prompt = chat.encode([USER], params)
    assert (read(prompt.cue), prompt.budget_tokens) == (cue, budget)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"top_p": 0.5}, "'top_p'.*known: temperature, max_tokens"),
        ({"reasoning_effort": "hihg"}, "'hihg'.*'high'"),
        ({"temperature": -1}, "temperature must be"),
        ({"temperature": "hot"}, "temperature must be"),
        ({"max_tokens": 2}, "max_tokens must be .* at least 3"),
        ({"thinking": {"budget": 3}}, "budget_tokens"),
        ({"thinking": {"budget_tokens": 3}, "reasoning_effort": "low"}, "not both"),
    ],
)
def test_a_parameter_that_is_unknown_or_out_of_range_is_an_error(params, says):
    with pytest.raises(InputError, match=says):
        chat.encode([USER], params)


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "ends with a user message"),
        ([USER, Message("assistant", "answer : 12")], "ends with a user message"),
        ([Message("tool", "7"), USER], "'tool'"),
        ([Message("user", "7 * 5")], r"the word '\*'"),
        ([Message("user", "7 + 51")], "'51'"),
        ([Message("user", " + ".join(["1"] * 200))], "399 tokens"),
    ],
)
def test_messages_that_cannot_be_read_are_errors(messages, says):
    with pytest.raises(InputError, match=says):
        chat.encode(messages, {})


def test_chance_depends_on_content_alone():
    one = chat.encode([USER], {"temperature": 0.3})
    assert one.key == chat.encode([USER], {"temperature": 0.9}).key
    assert one.key != chat.encode([USER], {"reasoning_effort": "high"}).key


def test_what_a_search_found_goes_on_with_the_model_s_own_text():
    messages = [
        Message("system", "solve this"),
        Message("user", "boss of friend of ann ?"),
        Message("assistant", "work : search : friend of ann"),
        Message("user", "-> bob ;"),
    ]
    prompt = chat.encode(messages, {"reasoning_effort": "high", "stop": [";"]})
    assert read(prompt.tokens) == (
        "solve this : boss of friend of ann ? work : search : friend of ann ; -> bob ;"
    )
    assert prompt.cue == ()
    assert read(prompt.stop) == ";"


def test_a_search_may_be_ended_by_force():
    messages = [
        USER,
        Message("assistant", "work : search : boss of ann"),
        Message("user", "-> none ;\n\nstop answer :"),
    ]
    prompt = chat.encode(messages, {"reasoning_effort": "high"})
    assert read(prompt.tokens).endswith("; -> none ;")
    assert read(prompt.cue) == "stop answer :"


def test_a_stop_of_several_words_is_refused():
    with pytest.raises(InputError, match="single words"):
        chat.encode([USER], {"stop": ["search :"]})


def test_a_stop_ends_the_text_before_it_and_is_billed():
    engine = Engine.load("small")
    long = chat.encode([USER], {"reasoning_effort": "high", "temperature": 0.0})
    cut = chat.encode([USER], {"reasoning_effort": "high", "temperature": 0.0, "stop": [";"]})
    whole, stopped = engine.generate([long, cut], [1, 1])
    head, semicolon, _ = whole.text.partition(" ;")
    assert semicolon
    assert stopped.text == head
    assert stopped.finish_reason == "stop"
    assert stopped.completion_tokens == len(vocabulary.words(head)) + 1
