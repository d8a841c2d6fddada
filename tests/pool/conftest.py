"""A small world: six items, two prompts, a tier that bills by the token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tierwise.llm import Request, build_request
from tierwise.pool import SamplePool
from tierwise.schema import Message, Price, PromptTemplate, Tier, Variant
from tierwise.tasks import AnswerSpec, Item, Task


class World:
    tier = Tier("small", "scripted/small", Price(2.0, 8.0), modes={"direct": {"max_tokens": 10}})
    items = tuple(Item(f"i{k}", {"question": f"{k} + {k}"}, str(2 * k)) for k in range(6))
    task = Task(
        "sums",
        1,
        ("question",),
        items,
        answer=AnswerSpec(regex=r"A: (-?[\d,.]+)", normalise="number"),
    )
    prompts = (
        PromptTemplate("plain", (Message("user", "{{ question }}"),)),
        PromptTemplate("steps", (Message("system", "Slowly."), Message("user", "{{ question }}"))),
    )
    variants = tuple(Variant(p.id, "direct", 0.5) for p in prompts)

    def requests(self, prompt: int = 0, tier: Tier | None = None) -> list[Request]:
        return [
            build_request(tier or self.tier, self.prompts[prompt], self.variants[prompt], i.inputs)
            for i in self.items
        ]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[SamplePool]:
    with SamplePool.open(tmp_path / "pool.sqlite") as opened:
        yield opened
