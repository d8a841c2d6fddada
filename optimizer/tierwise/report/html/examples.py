"""A dozen held-out items a bucket, with the samples behind each answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tierwise.episode import strategies_of
from tierwise.errors import InputError, UnsupportedError
from tierwise.evaluation import Replayed, SampleTable, replay_columns
from tierwise.evaluation.table import ABSTAINED
from tierwise.llm import build_request
from tierwise.pool import SamplePool
from tierwise.report import numbers as n
from tierwise.report.html.markup import Child, Markup, el, joined
from tierwise.report.html.page import behind
from tierwise.report.purchases import addresses
from tierwise.report.reading import RunFiles, TierFiles
from tierwise.report.words import bucket_names
from tierwise.schema import Variant
from tierwise.schema.policy_file import PolicyFile
from tierwise.tasks import AnswerSpec

A_BUCKET = 12
WRONG = 6
LONGEST = 600
"""Characters of a text that are shown."""

RIGHT = 0.5
"""From this score on an answer counts as right here."""


class Example(NamedTuple):
    """What the policy did with an item, in the order in which its samples were bought."""

    item: int
    went: Replayed
    score: float


def examples(run: RunFiles) -> Markup:
    """Items by tier and bucket: first some that went wrong, then some that went right."""
    targets = _targets(run)
    pool = None
    if run.run.pool.is_file():
        try:
            pool = SamplePool.open(run.run.pool, read_only=True)
        except InputError:
            pool = None
    try:
        parts = [
            _tier(tier, tier.policy, tier.test, targets, pool)
            for tier in run.tiers.values()
            if tier.policy is not None and tier.test is not None
        ]
    finally:
        if pool is not None:
            pool.close()
    if not parts:
        return el("p", "No held-out samples were found.")
    return joined(
        [
            el(
                "p",
                "What the exported policy did with held-out items, sample by sample, in the order in "
                "which the samples were bought. Texts are the models' own.",
            ),
            *parts,
        ]
    )


def _tier(
    tier: TierFiles,
    policy: PolicyFile,
    test: SampleTable,
    targets: Mapping[str, str],
    pool: SamplePool | None,
) -> Markup:
    names = bucket_names(len(policy.policy.buckets))
    strategies = strategies_of(policy.policy)
    found: list[list[Example]] = [[] for _ in names]
    for item in range(test.n_items):
        try:
            went = replay_columns(policy.policy, test, item, strategies=strategies)
        except UnsupportedError:
            continue
        found[went.outcome.bucket].append(Example(item, went, went.score(test, item)))
    blocks: list[Child] = []
    for name, of_bucket in zip(names, found, strict=True):
        wrong = [e for e in of_bucket if e.score < RIGHT]
        right = [e for e in of_bucket if e.score >= RIGHT]
        shown = wrong[:WRONG] + right[: A_BUCKET - min(WRONG, len(wrong))]
        said = (
            f"{tier.name}, {name}: {len(wrong)} wrong and {len(right)} right of {len(of_bucket)} "
            "items"
        )
        texts = _texts(pool, policy, test, shown)
        inside = [_example(e, test, targets, texts, policy.answer) for e in shown]
        blocks.append(behind(said, *(inside or [el("p", "No item fell into this bucket.")])))
    return joined([el("h3", tier.name), *blocks])


def _example(
    example: Example,
    test: SampleTable,
    targets: Mapping[str, str],
    texts: Mapping[tuple[int, Variant, int], str],
    spec: AnswerSpec,
) -> Markup:
    outcome, item = example.went.outcome, example.item
    target = targets.get(test.item_ids[item])
    verdict = "right" if example.score >= RIGHT else "wrong"
    inputs = [
        el("p", el("b", f"{name}: "), _cut(text), class_="said")
        for name, text in test.inputs[item].items()
    ]
    rows = []
    for i, (variant, position) in enumerate(
        zip(outcome.variants, example.went.columns, strict=True)
    ):
        table = test.of(variant)
        code = int(table.answers[item, position])
        scored = float(table.score[item, position])
        text = texts.get((item, variant, position))
        answer = None if text is None else spec.extract(text)
        said = f"answer {answer}" if answer is not None else f"answer no. {code + 1} of this item"
        read_as = "no answer" if code == ABSTAINED else said
        read_as = f" · {read_as} · scores {scored:g}"
        rows.append(
            el(
                "li",
                el("b", "→ " if i == outcome.index else "", variant.label),
                " · asked before the answer"
                if variant in test.nodes and not variant.path
                else read_as,
                el("pre", _cut(text)) if text is not None else None,
            )
        )
    facts = (
        f"{_counted(len(outcome.variants), 'sample')} in {_counted(len(outcome.rounds), 'round')}, "
        f"{n.usd(outcome.usd)}"
    )
    wanted = el("p", el("b", "gold: "), _cut(target), class_="said") if target is not None else None
    return el(
        "article",
        el("p", el("b", verdict, class_=verdict), f" · {facts}"),
        *inputs,
        wanted,
        el("ol", *rows),
        class_="example",
    )


def _texts(
    pool: SamplePool | None, policy: PolicyFile, test: SampleTable, shown: Sequence[Example]
) -> dict[tuple[int, Variant, int], str]:
    """The stored text of each sample that is shown; recorded answers are not in the pool."""
    if pool is None or not shown:
        return {}
    found: dict[tuple[int, Variant, int], str] = {}
    for variant in policy.policy.variants:
        items = [e.item for e in shown]
        tier = policy.tier_of(variant)
        for address in addresses(pool.path, tier.model):
            keys = [
                build_request(
                    tier, policy.prompts[variant.prompt], variant, test.inputs[item], address
                ).key
                for item in items
            ]
            rows = pool.samples(keys, 0, test.of(variant).n_samples)
            for place, sample, text, *_ in rows:
                found[items[place], variant, sample] = text
            if rows:
                break
    return found


def _targets(run: RunFiles) -> dict[str, str]:
    """Gold answers of the test items by id, where the run wrote them."""
    path = run.run.path / "test_items.jsonl"
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    items = [json.loads(line) for line in lines if line]
    return {str(item["id"]): str(item["target"]) for item in items}


def _counted(count: int, name: str) -> str:
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text):,} characters)"
