"""Prompts x modes x temperatures that a tier has."""

from __future__ import annotations

import dataclasses

import pytest

from tierwise.errors import InputError
from tierwise.schema import Message, Price, PromptTemplate, Tier, Variant
from tierwise.schema.space import SearchSpace
from tierwise.search.problem import candidate_variants
from tierwise.tasks import Item, Task

USER = Message("user", "{{ question }}")
PLAIN = PromptTemplate(
    "plain",
    (Message("system", "Add."), USER),
    paraphrases=tuple((Message("system", text), USER) for text in ("Sum.", "Total.")),
)
STEPS = PromptTemplate("steps", (USER,), modes=("think",))
TIER = Tier("t", "m", Price(1, 1), {"direct": {"max_tokens": 8}, "think": {"max_tokens": 64}})
SPACE = SearchSpace("s", temperatures=(0.3, 0.8), modes=("direct", "think"))
ITEMS = tuple(Item(f"i{k}", {"question": f"{k} + 1"}, str(k + 1)) for k in range(60))
TASK = Task("sums", 1, ("question",), ITEMS, demonstration={"direct": "A: {{ target }}"})


def variants(space: SearchSpace = SPACE, tier: Tier = TIER, baseline: PromptTemplate = PLAIN):
    return candidate_variants(TASK, tier, space, [PLAIN, STEPS], baseline)


def test_every_prompt_in_its_modes_at_every_temperature() -> None:
    assert set(variants().candidates) == {
        Variant(prompt, mode, t)
        for prompt, mode in [("plain", "direct"), ("plain", "think"), ("steps", "think")]
        for t in (0.3, 0.8)
    }
    assert variants().candidates == variants().candidates
    assert variants().candidates[0] == variants().baseline == Variant("plain", "direct", 0.3)


def test_modes_that_the_tier_lacks_are_left_out() -> None:
    direct = dataclasses.replace(TIER, modes={"direct": {}})
    assert {a.mode for a in variants(tier=direct).candidates} == {"direct"}
    with pytest.raises(InputError, match="none is in both"):
        variants(tier=dataclasses.replace(TIER, modes={"loud": {}}))


def test_paraphrases_and_demonstrations_are_prompts_of_their_own() -> None:
    found = variants(SPACE.with_prompts(paraphrases=1, demos=(0, 2)))
    names = {a.prompt for a in found.candidates}
    assert names == {"plain", "plain~1", "steps", "plain+2.direct", "plain~1+2.direct"}
    assert found.prompts["plain~1"].messages == (Message("system", "Sum."), USER)
    shown = found.prompts["plain+2.direct"].messages
    assert len(shown) == 6
    train = {item.inputs["question"]: f"A: {item.target}" for item in TASK.splits["train"]}
    for asked, answered in zip(shown[1:5:2], shown[2:5:2], strict=True):
        assert train[asked.content] == answered.content, "of the train split alone"


def test_the_baseline_takes_part_though_the_space_has_it_not() -> None:
    today = PromptTemplate("today", (USER,))
    found = variants(baseline=today)
    assert found.baseline == Variant("today", "direct", 0.3)
    assert found.baseline in found.candidates
    assert "today" in found.prompts
