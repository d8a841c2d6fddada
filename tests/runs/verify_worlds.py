"""A policy of two buckets over a scripted model, whose score on each is known."""

from __future__ import annotations

from tierwise.llm import Request
from tierwise.llm.scripted import ScriptedModel, answering, failing
from tierwise.schema import (
    Difficulty,
    Message,
    Policy,
    PolicyFile,
    Price,
    PromptTemplate,
    Recipe,
    StrategySpec,
    TaskRef,
    Tier,
    Variant,
)
from tierwise.schema.policy_file import ExpectedBucket, ExpectedFigures
from tierwise.serving import PolicyRuntime
from tierwise.tasks import AnswerSpec, Item, Task

VARIANT = Variant("plain", "direct", 0.5)
N_ITEMS = 40
ITEMS = tuple(
    Item(str(i), {"question": " ".join(["word"] * (2 if i % 2 else 9)) + f" {i}"}, "yes")
    for i in range(N_ITEMS)
)
TASK = Task("made", 1, ("question",), ITEMS, AnswerSpec(normalise="none"), shares={"test": 1.0})
USD = 1e-6 * (6.5 + 1)
"""A request: 3 or 10 words in at $1 for a million, one out."""


def policy_file(score: float = 0.8, **more: object) -> PolicyFile:
    """Easy (short) and hard (long) items in equal parts, each answered with one sample."""
    single = Recipe((VARIANT,), StrategySpec.of("single"))
    bucket = ExpectedBucket(200, score, (score - 0.04, score + 0.04))
    expected = ExpectedFigures(
        items=400,
        score=score,
        usd_per_item=USD,
        usd_per_item_ci95=(0.9 * USD, 1.1 * USD),
        buckets=(bucket, bucket),
    )
    fields = {
        "name": "made-small",
        "tier": Tier("small", "test/small", Price(1.0, 1.0), {"direct": {"max_tokens": 8}}),
        "task": TaskRef("made", 1, "exact_match", TASK.items_sha256),
        "inputs": ("question",),
        "prompts": {"plain": PromptTemplate("plain", (Message("user", "{{ question }}"),))},
        "policy": Policy((single, single), Difficulty("length", (-5.0,))).with_shares((0.5, 0.5)),
        "answer": AnswerSpec(normalise="none"),
        "expected": expected,
    }
    return PolicyFile(**{**fields, **more})


def runtime(
    easy: float, hard: float, *, file: PolicyFile | None = None, fail: float = 0.0, seed: int = 0
) -> PolicyRuntime:
    """Right on easy and hard items with these probabilities."""

    def chances(request: Request) -> dict[str, float]:
        right = hard if len(request.messages[0].content.split()) > 5 else easy
        return {"yes": right, "no": 1 - right}

    script = answering(chances)
    if fail:
        script = failing(script, fail)
    return PolicyRuntime(file or policy_file(), ScriptedModel(script), seed=seed)
