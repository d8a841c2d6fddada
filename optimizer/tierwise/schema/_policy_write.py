"""From a policy file's value to its YAML: keys in one order, short maps on one line."""

from __future__ import annotations

from typing import Any

from tierwise.schema.policy import Difficulty, Limits, Variant
from tierwise.schema.policy_file import SCHEMA, PolicyFile
from tierwise.schema.prompt import ANSWER, HISTORY, PromptTemplate
from tierwise.schema.tier import Price, Tier
from tierwise.schema.turns import RetrieverSpec
from tierwise.schema.yaml_io import Flow, FlowList, dump


def write(file: PolicyFile) -> str:
    """A policy file's text."""
    head: dict[str, Any] = {"schema": SCHEMA, "name": file.name}
    if not file.deployable:
        head["deployable"] = False
    if file.notes:
        head["notes"] = list(file.notes)
    tier = _tier(file.tier)
    modes = tier.pop("modes")
    body: dict[str, Any] = {
        "tier": file.tier.name,
        **tier,
        "task": file.task._asdict(),
        "inputs": list(file.inputs),
        "prompts": {name: _prompt(prompt) for name, prompt in file.prompts.items()},
        "modes": modes,
    }
    if file.other_tiers:
        body["other_tiers"] = {name: _tier(other) for name, other in file.other_tiers.items()}
    if file.retriever is not None:
        body["retriever"] = _retriever(file.retriever)
    body |= {
        "difficulty": _difficulty(file.policy.difficulty),
        "buckets": _buckets(file),
        "answer": _answer(file),
        "limits": _limits(file.policy.limits),
        "expected": file.expected,
        "evidence": file.evidence,
        "provenance": file.provenance,
    }
    return dump({**head, **body})


def shown_price(price: Price) -> dict[str, Any]:
    """A price without what it leaves open."""
    shown: dict[str, Any] = {
        "prompt_usd_per_mtok": float(price.prompt_usd_per_mtok),
        "completion_usd_per_mtok": float(price.completion_usd_per_mtok),
    }
    if price.cached_usd_per_mtok is not None:
        shown["cached_usd_per_mtok"] = float(price.cached_usd_per_mtok)
    if price.as_of:
        shown["as_of"] = price.as_of
    if price.simulated:
        shown["simulated"] = True
    return Flow(shown)


def _tier(tier: Tier) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "model": tier.model,
        "price": shown_price(tier.price),
        "takes_n": tier.takes_n,
        "logprobs": tier.logprobs,
    }
    if tier.limits:
        shown["rate_limits"] = {name: float(limit) for name, limit in tier.limits.items()}
    shown["modes"] = {name: Flow(sent) for name, sent in tier.modes.items()}
    return shown


def _prompt(prompt: PromptTemplate) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if prompt.family != "baseline":
        shown["family"] = prompt.family
    if prompt.turn != ANSWER:
        shown["turn"] = prompt.turn
    if prompt.origin != "library":
        shown["origin"] = prompt.origin
    shown["messages"] = [
        {"role": HISTORY} if m.role == HISTORY else m._asdict() for m in prompt.messages
    ]
    if prompt.turns:
        shown["turns"] = {
            name: {"text": turn.text, "sends": Flow(turn.sends)} if turn.sends else turn.text
            for name, turn in prompt.turns.items()
        }
    return shown


def _retriever(spec: RetrieverSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "query": {"regex": spec.query.regex, "take": spec.query.take},
        "join": spec.join,
        "none": spec.none,
        "max_chars": spec.max_chars,
        "usd_per_call": float(spec.usd_per_call),
    }


def _variant(variant: Variant) -> dict[str, Any]:
    where = {} if variant.tier is None else {"tier": variant.tier}
    return {
        "prompt": variant.prompt,
        "mode": variant.mode,
        "temperature": float(variant.temperature),
        **where,
    }


def _difficulty(difficulty: Difficulty) -> dict[str, Any]:
    shown: dict[str, Any] = {"signal": difficulty.signal}
    if difficulty.params:
        shown["params"] = Flow(dict(difficulty.params))
    if difficulty.probe:
        variants, samples = (
            [_variant(variant) for variant in difficulty.probe.variants],
            difficulty.probe.samples,
        )
        one = len(variants) == 1
        shown["probe"] = {
            **(variants[0] if one else {"variants": FlowList(variants)}),
            "samples": samples,
        }
    if difficulty.weights:
        shown["weights"] = {
            name: Flow({"weight": float(weight), "mean": float(mean), "scale": float(scale)})
            for name, weight, mean, scale in difficulty.weights
        }
    return {**shown, "thresholds": [float(cut) for cut in difficulty.thresholds]}


_BUCKET_NAMES = {1: ("all",), 2: ("easy", "hard"), 3: ("easy", "medium", "hard")}


def _buckets(file: PolicyFile) -> list[dict[str, Any]]:
    recipes = file.policy.buckets
    names = _BUCKET_NAMES.get(len(recipes), [f"b{i}" for i in range(1, len(recipes) + 1)])
    shown = []
    for i, recipe in enumerate(recipes):
        bucket: dict[str, Any] = {"name": names[i]}
        if file.shares:
            bucket["share"] = file.shares[i]
        variants = FlowList([_variant(variant) for variant in recipe.variants])
        strategy = {"kind": recipe.strategy.kind, **dict(recipe.strategy.params)}
        shown.append({**bucket, "variants": variants, "strategy": Flow(strategy)})
    return shown


def _answer(file: PolicyFile) -> dict[str, Any]:
    answer = file.answer
    extract = {} if answer.regex is None else {"regex": answer.regex}
    shown = {**extract, "take": answer.take}
    digits = {} if answer.digits is None else {"digits": answer.digits}
    named = {"normalise": answer.normalise, **digits, "return": answer.returns}
    return {"extract": shown, **named}


def _limits(limits: Limits) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if limits.max_usd_per_request is not None:
        shown["max_usd_per_request"] = float(limits.max_usd_per_request)
    if limits.max_samples is not None:
        shown["max_samples"] = limits.max_samples
    timeout_s = None if limits.timeout_s is None else float(limits.timeout_s)
    return {**shown, "timeout_s": timeout_s, "on_error": limits.on_error}
