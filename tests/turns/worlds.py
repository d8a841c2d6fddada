"""A world of turns: a scripted model that answers, criticises and revises by chance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tierwise.llm import Completion, Failure, Request, Result
from tierwise.llm.scripted import Script, ScriptedModel, failing, hash_uniform
from tierwise.pool import Account, Buyer, Library, SamplePool, Supply
from tierwise.schema import (
    Message,
    Policy,
    PolicyFile,
    Price,
    PromptTemplate,
    TaskRef,
    Tier,
    TurnTemplate,
    UsageLimits,
    Variant,
)
from tierwise.tasks import AnswerSpec, Item, Task

SEED = 5
INPUTS = ("question", "notes")
ITEMS = tuple(
    Item(f"i{k}", {"question": f"{k} + {k}", "notes": f"One.\n\nTwo of {k}."}, str(2 * k))
    for k in range(10)
)
TASK = Task("sums", 1, INPUTS, ITEMS, answer=AnswerSpec(regex=r"A: (\d+)", normalise="integer"))
TURNS = {
    "critique": TurnTemplate("What is wrong with {{ parent }}?", {"max_tokens": 7}),
    "refine": TurnTemplate("Again: {{ question }} {{ notes }}"),
}
PROMPTS = {
    name: PromptTemplate(
        name, (Message("system", name), Message("user", "{{ question }}\n{{ notes }}")), turns=TURNS
    )
    for name in ("plain", "steps")
}
VARIANTS = (Variant("plain", "direct", 0.8), Variant("steps", "direct", 0.8))
MODES = {"direct": {"max_tokens": 20, "suffix": " !"}}
TIER = Tier("small", "scripted/small", Price(2.0, 8.0, 0.5), MODES)


def script(request: Request, seed: int) -> Result:
    asked = request.messages[-1].content
    number = int(asked.split(" + ")[0].split()[-1]) if " + " in asked else 0
    u = hash_uniform(request, seed)
    text = f"A: {2 * number + (u > 0.6)}" if u < 0.9 else "well"
    if "wrong with" in asked:
        text = f"A: {u} is wrong"
    tokens = sum(len(m.content.split()) for m in request.messages)
    return Completion(
        text,
        tokens,
        len(text.split()),
        cached_tokens=tokens // 3,
        mean_logprob=-u,
        latency_s=round(u, 3),
    )


def later_turns_fail(of: Script, share: float = 0.15) -> Script:
    """``of``, but what follows another sample may fail for good."""

    def said(request: Request, seed: int) -> Result:
        if len(request.messages) > 2 and hash_uniform(request, seed, "fails") < share:
            return Failure("context_window", "too long")
        return of(request, seed)

    return said


def model(share_failing: float = 0.0) -> ScriptedModel:
    return ScriptedModel(failing(script, share_failing))


def buyer(
    pool: SamplePool,
    of: ScriptedModel | None,
    *,
    tier: Tier = TIER,
    cap: UsageLimits | None = None,
    library: Library | None = None,
    run: str = "run",
) -> Buyer:
    supply, account = Supply(tier, of, PROMPTS), Account(run, SEED, cap or UsageLimits())
    return Buyer(pool, TASK, supply, account, library=library)


def policy_file(policy: Policy, tier: Tier = TIER, **more: object) -> PolicyFile:
    return PolicyFile(
        name="p",
        tier=tier,
        task=TaskRef("sums", 1, "exact_match", ""),
        inputs=INPUTS,
        prompts=PROMPTS,
        policy=policy,
        answer=TASK.answer,
        **more,
    )


def opened(path: Path) -> SamplePool:
    return SamplePool.open(path / "pool.sqlite")


def one_call_a_sample() -> Tier:
    return replace(TIER, takes_n=False)
