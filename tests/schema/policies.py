"""A policy file with everything in it, to be changed by tests."""

from __future__ import annotations

from tierwise.schema import (
    Difficulty,
    Limits,
    Message,
    Policy,
    PolicyFile,
    Price,
    Probe,
    PromptTemplate,
    Recipe,
    StrategySpec,
    TaskRef,
    Tier,
    Variant,
)
from tierwise.schema.policy_file import ComparedWith, ExpectedFigures, PolicyEvidence, Provenance
from tierwise.tasks import AnswerSpec

WORKED = Variant("worked", "direct", 0.8)
THINK = Variant("worked", "think", 0.8)
TOTALS = Variant("totals", "think", 0.8)


def example(**changes) -> PolicyFile:
    policy = Policy(
        (
            Recipe((WORKED,), StrategySpec.of("self_consistency", samples=3)),
            Recipe(
                (THINK, TOTALS),
                StrategySpec.of("adaptive_consistency", threshold=0.9, max_samples=17),
            ),
        ),
        Difficulty("probe_agreement", (0.75,), Probe((WORKED,), 2)),
        Limits(max_usd_per_request=0.02, max_samples=20),
    )
    tier = Tier(
        "small",
        "openai/gpt-4o-mini",
        Price(0.15, 0.6, as_of="2026-11-01"),
        {"direct": {"max_tokens": 32}, "think": {"reasoning_effort": "low", "max_tokens": 1024}},
    )
    worked = (Message("system", "Work.\nEnd with 'A: N'."), Message("user", "{{ question }}"))
    fields = {
        "name": "arithmetic-small",
        "tier": tier,
        "task": TaskRef("arithmetic", 1, "exact_match", "1e5"),
        "inputs": ("question",),
        "prompts": {
            "worked": PromptTemplate("worked", worked),
            "totals": PromptTemplate("totals", (Message("user", "{{ question }}"),), "rephrase"),
        },
        "policy": policy.with_shares((0.61, 0.39)),
        "answer": AnswerSpec(r"A: (-?\d+)", normalise="integer"),
        "expected": ExpectedFigures(items=300, score=0.91, score_ci95=(0.88, 0.94)),
        "evidence": PolicyEvidence(gate="passed", comparisons=(ComparedWith("baseline"),)),
        "provenance": Provenance("0.1.0", "2026-11-23T12:30:00", seed=0),
    }
    return PolicyFile(**{**fields, **changes})
