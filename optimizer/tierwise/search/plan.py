"""What a job would buy and cost, tier by tier and stage by stage, before a single call.

The counts are those of ``search_size``, as the search takes them. A stage is counted with what earlier
stages did not buy: the items of screen, race and study are nested. Prompts are rendered and
measured in bytes; how long answers are nobody knows before the first, so the expectation takes a
sixth of each mode's token cap, a token for three bytes of prompt, and a part of the samples that
finalists might ask for (``FINALISTS_SAMPLES``); the worst case takes all of them, and a token a byte,
as a reservation does. A budget's cap bounds both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from tierwise.errors import BudgetError
from tierwise.llm import Call, build_request
from tierwise.llm.models import RECORDED, address_of, kind_of
from tierwise.pool.calls import worst_case
from tierwise.schema import Tier, Variant
from tierwise.search.beside import Beside, beside_of, with_beside
from tierwise.search.budget import (
    BYTES_A_TOKEN,
    PART_OF_CAP,
    affordable,
    assumed_cost,
    enough_usd,
    stage_table,
)
from tierwise.search.planned import Plan, StagePlan, TierPlan, expected_usage
from tierwise.search.prepared import Prepared
from tierwise.search.problem import SearchSize
from tierwise.search.recorded import scores_of
from tierwise.search.rounds.planned import proposers_plan
from tierwise.search.samples import SCREENED_CHAINS, SampleCounts, most_samples
from tierwise.search.shares import share_of
from tierwise.search.space import offered
from tierwise.search.tier import MOST_VARIANTS
from tierwise.search.variants import Variants, with_mode_to_ask

MEASURED_ITEMS = 40
"""Items whose prompts are rendered, of the split that is screened."""

FINALISTS_SAMPLES = {"rounds": 0.55, "select": 0.55, "test": 0.35}
"""Part of the most samples that policies on held-out items are expected to ask for: runs on embedded
tiers bought .41 to .61 of them on select, for two dozen finalists, and .19 to .49 on test."""


def plan(prepared: Prepared, search_size: SearchSize | None = None) -> Plan:
    """What ``search.tune`` would buy for a job that begins with an empty pool.

    Raises:
        InputError: no prompt fits a mode that a tier and the space share; a cap on dollars or
            tokens, and a mode that sends no token cap.
    """
    tiers = {
        name: _tier_plan(prepared, tier, search_size or SearchSize())
        for name, tier in prepared.tiers.items()
    }
    return Plan(tiers | proposers_plan(prepared))


def _tier_plan(prepared: Prepared, tier: Tier, search_size: SearchSize) -> TierPlan:
    cap = share_of(prepared.job, tier, prepared.tiers)
    if prepared.baseline is None or kind_of(tier.model) == RECORDED:
        return TierPlan(tier, cap, ())
    task = prepared.loaded.task
    tier = with_mode_to_ask(tier, prepared.space)
    spec, prompts = prepared.job.proposals, prepared.loaded.prompts
    if spec is not None:  # as many as may be proposed, of the length of today's
        search_size = replace(search_size, rounds=spec.rounds - 1, proposed=spec.instructions)
        prompts += tuple(
            replace(prepared.baseline, id=f"{prepared.baseline.id}+proposed-{i}", paraphrases=())
            for i in range(spec.instructions + spec.demonstrations)
        )
    variants = prepared.variants(tier, prepared.baseline, prompts)
    space = offered(prepared.space, scores_of(task, tier))
    n_samples = most_samples(space)
    beside = beside_of(prepared, space, n_samples, SCREENED_CHAINS)
    calls = _calls(prepared, tier, variants, variants.candidates)
    first = [of_variant[0].request for of_variant in calls]
    size = sum(len(m.content.encode()) for r in first for m in r.messages) / len(first)
    within = search_size.within(task, prepared.space.signals)
    counts = SampleCounts.of(space, len(first), n_samples)
    fault, cut, enough = "", within, 0.0
    try:
        assumed = assumed_cost(tier, variants.candidates, size)
        cut = affordable(within, counts, assumed, cap, tier=tier.name)
        enough = enough_usd(cut, counts, assumed)
    except BudgetError as error:
        fault = str(error)
    lengths = _Lengths.of(tier, calls, bounded=cap.usd is not None or cap.tokens is not None)
    splits = {name: len(items) for name, items in task.splits.items()}
    stages = _stages(cut, within, counts, tier, lengths, beside)
    for other in prepared.job.above(tier.name):
        stages = tuple(
            _handing_on(stage, prepared, prepared.tiers[other], n_samples) for stage in stages
        )
    if variants.asking:
        asked = _calls(prepared, tier, variants, [a for of in variants.asking.values() for a in of])
        lengths = _Lengths.of(tier, asked, bounded=False)
        stages = (*stages, _asked(cut, search_size, variants, splits, tier, lengths))
    return TierPlan(tier, cap, stages, fault, enough_usd=enough)


def _handing_on(stage: StagePlan, prepared: Prepared, above: Tier, n_samples: int) -> StagePlan:
    """With the samples of a tier above that finalists may ask for on held-out items.

    Those of the study are bought by the tier above, which is searched first; so are those of its
    own finalists, which as many are expected of. At worst it is none of them.
    """
    if stage.stage not in ("select", "test") or prepared.baseline is None:
        return stage
    variants = prepared.variants(above, prepared.baseline, prepared.loaded.prompts)
    lengths = _Lengths.of(
        above, _calls(prepared, above, variants, variants.candidates), bounded=False
    )
    n = min(MOST_VARIANTS, len(variants.candidates))
    pairs, samples = n * stage.items, n * stage.items * n_samples
    calls = pairs if above.takes_n else samples
    worst = expected_usage(above, calls, samples, lengths.worst_prompt, lengths.worst_completion)
    return stage.at_worst_beside(n, samples, worst)


def _asked(
    cut: SearchSize,
    full: SearchSize,
    variants: Variants,
    splits: Mapping[str, int],
    tier: Tier,
    lengths: _Lengths,
) -> StagePlan:
    """What signals ask beside the answers: each paraphrase in the screening, then one a signal."""
    held_out = min(cut.select_items, splits["select"]) + min(cut.test_items, splits["test"])
    later = min(cut.study_items, splits["tune"]) - min(cut.screen_items, splits["tune"]) + held_out
    paraphrases = sum(len(of) for of in variants.asking.values())
    samples = paraphrases * min(cut.screen_items, splits["tune"]) + len(variants.asking) * max(
        later, 0
    )
    return StagePlan(
        "ask",
        paraphrases,
        cut.study_items,
        full.study_items,
        samples,
        expected_usage(tier, samples, samples, lengths.prompt, lengths.completion),
        expected_usage(tier, samples, samples, lengths.worst_prompt, lengths.worst_completion),
    )


def _calls(
    prepared: Prepared, tier: Tier, variants: Variants, among: Sequence[Variant]
) -> list[list[Call]]:
    """For each variant the calls for one sample of some items."""
    items = prepared.loaded.task.splits["tune"][:MEASURED_ITEMS]
    address = address_of(tier)
    return [
        [
            Call(
                build_request(tier, variants.prompts[variant.prompt], variant, i.inputs, address),
                0,
                1,
                0,
            )
            for i in items
        ]
        for variant in among
    ]


class _Lengths(NamedTuple):
    """Tokens of a call's prompt and of a sample: on average, and at worst over all variants."""

    prompt: float
    completion: float
    worst_prompt: float
    worst_completion: float

    @classmethod
    def of(cls, tier: Tier, calls: Sequence[Sequence[Call]], *, bounded: bool) -> _Lengths:
        """Measured on rendered requests."""
        sizes = [
            sum(len(m.content.encode()) for m in call.request.messages)
            for of_variant in calls
            for call in of_variant
        ]
        worst, most = [], []
        for of_variant in calls:
            for call in of_variant:
                one = worst_case([call], tier, bounded=bounded).tokens
                two = worst_case([call._replace(n=2)], tier, bounded=bounded).tokens
                most.append(two - one)
                worst.append(one - most[-1])
        return cls(
            sum(sizes) / len(sizes) / BYTES_A_TOKEN,
            sum(most) / len(most) * PART_OF_CAP,
            max(worst),
            max(most),
        )


def _stages(
    cut: SearchSize,
    full: SearchSize,
    counts: SampleCounts,
    tier: Tier,
    lengths: _Lengths,
    beside: Beside,
) -> tuple[StagePlan, ...]:
    uncut = {row.stage: row.items for row in stage_table(full, counts)}
    stages = []
    for row in stage_table(cut, counts):
        usual = row.samples
        if row.stage in FINALISTS_SAMPLES:
            each = row.samples / row.requests
            usual = row.requests * max(1, round(each * FINALISTS_SAMPLES[row.stage]))
        expected, worst = (
            (row.requests if tier.takes_n else samples, samples) for samples in (usual, row.samples)
        )
        planned = StagePlan(
            row.stage,
            row.variants,
            row.items,
            uncut[row.stage],
            row.samples,
            expected_usage(tier, *expected, lengths.prompt, lengths.completion),
            expected_usage(tier, *worst, lengths.worst_prompt, lengths.worst_completion),
        )
        stages.append(
            with_beside(
                planned,
                beside,
                row.nodes,
                tier,
                (lengths.prompt, lengths.completion),
                (lengths.worst_prompt, lengths.worst_completion),
            )
        )
    return tuple(stages)
