"""Prompts beside each other on one tier: at one sample, by technique, by paraphrase, by strategy.

- `rank_prompts`: every variant at one sample, and which are not separable from the best.
- `techniques`: does a prompt help on this tier? After Kusano et al. (arXiv 2507.13525), who find
  that what helps cheap models often lowers strong ones. A prompt is the mean over its paraphrases,
  compared with the baseline prompt in the same mode and at the same temperatures, on the same items
  and samples; the baseline prompt in another mode is compared with the baseline, so that the gain
  of the mode and that of the words are two rows. Holm corrects the p-values of one table together.
- `sensitivities`: PSS, how much a score depends on the paraphrase (ProSA, arXiv 2410.12405). Per
  item S is the mean of |Y_i - Y_j| over all pairs of prompts, PSS its mean over items. For right
  and wrong alone, with k of m prompts right, S = 2k(m-k) / (m(m-1)). Y is one sample: with many
  samples of each prompt S is its expectation, and the difference of two samples of the *same*
  prompt is reported beside it, since a sampled answer varies without any change of paraphrase.
- `prompt_ranks`: rank at one sample beside the rank in the strategy that will run it.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.analysis.tier_files import COMPARISON_RESAMPLES, NotShown, TierFiles
from tierwise.evaluation import ABSTAINED, Evaluator, SampleTable, VariantTable
from tierwise.schema import StrategySpec, Variant, uniform
from tierwise.schema.measured import (
    NONE_FAILED,
    FailedItems,
    PromptSensitivity,
    RankRow,
    Technique,
    interval_ends,
    number,
)
from tierwise.search.tier import TierResult
from tierwise.stats import (
    Interval,
    PairedBootstrap,
    bootstrap_mean,
    bootstrap_means,
    holm,
    paired_differences,
    spearman,
)
from tierwise.stats.intervals import Floats

ALPHA = 0.05
_PARAPHRASE = re.compile(r"~\d+")

ALL_PROMPTS = "*"
"""The family of all prompts in a table of sensitivities."""
FEWEST_FAMILIES = 3
"""Families of paraphrases; with fewer a correlation within them says nothing."""
TREND_RESAMPLES = 500


# --- every prompt at one sample ----------------------------------------------------------------


class OneSample(NamedTuple):
    """A variant at one sample: (n_items,) means over its samples, NaN for an item without any.

    ``abstentions`` of its ``stored`` samples gave no answer: cut, failed, or not read.
    """

    variant: Variant
    score: Floats
    usd: Floats
    samples: int
    abstentions: int
    stored: int


class RankedPrompt(NamedTuple):
    """A variant among all of its tier; `lead` is the best one's, on the items that both have."""

    one: OneSample
    score: Interval
    lead: Interval
    best: bool

    @property
    def separable(self) -> bool:
        """Whether the best variant's lead is above 0 with its whole 95% interval."""
        return not self.best and self.lead.low > 0

    @property
    def items(self) -> int:
        """Items that have a sample."""
        return int((~np.isnan(self.one.score)).sum())

    @property
    def usd(self) -> float:
        """Dollars an item."""
        return float(np.nanmean(self.one.usd))


@dataclass(frozen=True)
class PromptRow:
    """A variant at one sample; `chosen`: it is in the exported policy (None: not known).

    `abstentions` of its `stored` samples gave no answer.
    """

    tier: str
    prompt: str
    mode: str
    temperature: float
    items: int
    samples: int
    score: Interval
    abstentions: int
    stored: int
    usd_per_item: float
    behind_best: float
    separable: bool
    best: bool
    chosen: bool | None
    rank: int
    failed: FailedItems = NONE_FAILED


def one_sample(variant: Variant, table: VariantTable) -> OneSample:
    """What a single sample scores and costs, on average over the stored ones."""
    known = ~np.isnan(table.score)
    count = known.sum(axis=1)
    usd_of = table.prompt_usd + table.completion_usd
    means = [
        np.where(count > 0, np.where(known, values, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)
        for values in (table.score, usd_of)
    ]
    unread = int((known & (table.answers == ABSTAINED)).sum())
    most = int(count.max(initial=0))
    return OneSample(variant, means[0], means[1], most, unread, int(count.sum()))


def one_samples(prompts: SampleTable) -> list[OneSample]:
    """All variants of a table that have a sample, the best first."""
    found = [one_sample(variant, table) for variant, table in prompts.variants.items()]
    found = [one for one in found if not np.isnan(one.score).all()]
    return sorted(found, key=lambda one: -float(np.nanmean(one.score)))


def rank_prompts(prompts: SampleTable) -> list[RankedPrompt]:
    """The same with 95% intervals, of each variant and of the best one's lead over it."""
    ones = one_samples(prompts)
    if not ones:
        return []
    scores = np.array([one.score for one in ones])
    means = bootstrap_means(scores, resamples=COMPARISON_RESAMPLES)
    leads = paired_differences(scores[0], scores, resamples=COMPARISON_RESAMPLES)
    return [
        RankedPrompt(one, mean, lead, i == 0)
        for i, (one, mean, lead) in enumerate(zip(ones, means, leads, strict=True))
    ]


def prompt_rows(tier: TierFiles) -> list[PromptRow]:
    """A row a variant, the best first."""
    used = tier.policy.policy.variants if tier.policy else None
    return [
        PromptRow(
            tier=tier.name,
            prompt=r.one.variant.prompt,
            mode=r.one.variant.mode,
            temperature=r.one.variant.temperature,
            items=r.items,
            samples=r.one.samples,
            score=r.score,
            abstentions=r.one.abstentions,
            stored=r.one.stored,
            usd_per_item=r.usd,
            behind_best=0.0 if r.best else r.lead.mean,
            separable=r.separable,
            best=r.best,
            chosen=None if used is None else r.one.variant in used,
            rank=i + 1,
            failed=tier.prompt_table.failed_items([r.one.variant]),
        )
        for i, r in enumerate(rank_prompts(tier.prompt_table))
    ]


# --- techniques --------------------------------------------------------------------------------


def first_paraphrase(prompt: str) -> str:
    """The prompt that `prompt` is a paraphrase of; `steps~2+2.think` is one of `steps+2.think`."""
    return _PARAPHRASE.sub("", prompt)


def techniques(
    table: SampleTable, baseline: Variant, families: Mapping[str, str] | None = None
) -> list[Technique]:
    """Every prompt and mode of `table` but the baseline, the largest gain first.

    Args:
        table: samples of every variant; items without a sample of both sides are left out.
        baseline: the baseline prompt in its mode, one of the table's variants.
        families: prompt -> family; left out: the prompt itself.
    """
    groups: dict[tuple[str, str], list[Variant]] = defaultdict(list)
    for variant in table.variants:
        groups[first_paraphrase(variant.prompt), variant.mode].append(variant)
    own = first_paraphrase(baseline.prompt), baseline.mode
    found, paired = [], functools.cache(PairedBootstrap)
    for (prompt, mode), variants in groups.items():
        others = _other(table, prompt, mode, variants, baseline)
        if (prompt, mode) != own and (compared := _compared(table, variants, others, paired)):
            family = (families or {}).get(variants[0].prompt, prompt)
            found.append(replace(compared, family=family))
    adjusted = holm([one.p for one in found]).adjusted
    corrected = [_with_verdict(t, float(p)) for t, p in zip(found, adjusted, strict=True)]
    return sorted(corrected, key=lambda t: (-t.difference, t.prompt, t.mode))


def _with_verdict(technique: Technique, adjusted_p: float) -> Technique:
    if adjusted_p > ALPHA:
        return replace(technique, adjusted_p=adjusted_p)
    verdict: Literal["helps", "hurts"] = "helps" if technique.difference > 0 else "hurts"
    return replace(technique, adjusted_p=adjusted_p, verdict=verdict)


def _other(
    table: SampleTable, prompt: str, mode: str, variants: Sequence[Variant], baseline: Variant
) -> list[Variant]:
    """What a prompt in a mode is compared with."""
    if prompt == first_paraphrase(baseline.prompt):
        return [baseline]
    temperatures = {variant.temperature for variant in variants}
    same = [
        variant
        for variant in table.variants
        if (variant.prompt, variant.mode) == (baseline.prompt, mode)
        and variant.temperature in temperatures
    ]
    return same or [baseline]


def _compared(
    table: SampleTable,
    variants: Sequence[Variant],
    others: Sequence[Variant],
    paired_over: Callable[[int], PairedBootstrap],
) -> Technique | None:
    """The comparison, without a correction; None with fewer than two items."""
    samples = min(table.variants[variant].n_samples for variant in (*variants, *others))
    mine, theirs = (
        np.array([table.variants[a].score[:, :samples].mean(axis=1) for a in group])
        for group in (variants, others)
    )
    known = ~np.isnan(np.vstack([mine, theirs])).any(axis=0)
    n = int(known.sum())
    if n < 2:
        return None
    ours, against = mine[:, known].mean(axis=0), theirs[:, known].mean(axis=0)
    paraphrases = tuple(dict.fromkeys(variant.prompt for variant in variants))
    by_paraphrase = [
        float(mine[[variant.prompt == paraphrase for variant in variants]][:, known].mean())
        for paraphrase in paraphrases
    ]
    paired = paired_over(n)
    difference = paired.difference(ours, against)
    p = min(1.0, 2 * min(paired.p_value(ours, against), paired.p_value(against, ours)))
    return Technique(
        prompt=first_paraphrase(variants[0].prompt),
        family="",
        mode=variants[0].mode,
        paraphrases=paraphrases,
        against=" + ".join(variant.label for variant in others),
        items=n,
        score=float(ours.mean()),
        against_score=float(against.mean()),
        difference=difference.mean,
        difference_ci95=interval_ends(difference),
        worst_paraphrase=min(by_paraphrase),
        best_paraphrase=max(by_paraphrase),
        cost_ratio=_sample_usd(table, variants, known)
        / max(_sample_usd(table, others, known), 1e-30),
        p=p,
        adjusted_p=p,
        verdict="not shown",
        failed=table.failed_items(variants),
    )


def _sample_usd(
    table: SampleTable, variants: Sequence[Variant], known: npt.NDArray[np.bool_]
) -> float:
    """Dollars of one sample in a call of its own."""
    rows = [table.variants[variant] for variant in variants]
    return float(np.mean([(r.prompt_usd[:, 0] + r.completion_usd[:, 0])[known] for r in rows]))


# --- sensitivity to the paraphrase -------------------------------------------------------------


def item_sensitivity(variants: Sequence[Floats]) -> Floats:
    """(n_items,): S of each item; ``variants`` are (n_items, n_samples) scores in [0, 1].

    A graded score is taken at its samples: the mean of |a - b| over all pairs of samples of two
    variants.
    """
    pairs = [
        np.abs(a[:, :, None] - b[:, None, :]).mean(axis=(1, 2))
        for i, a in enumerate(variants)
        for b in variants[:i]
    ]
    return np.asarray(np.mean(pairs, axis=0), dtype=np.float64)


def by_chance(samples: Floats) -> Floats:
    """(n_items,): the mean of |a - b| over pairs of samples of one prompt; NaN with one sample."""
    n = samples.shape[1]
    if n < 2:
        return np.full(len(samples), np.nan)
    apart = np.abs(samples[:, :, None] - samples[:, None, :]).sum(axis=(1, 2))
    return np.asarray(apart / (n * (n - 1)), dtype=np.float64)


def sensitivities(
    table: SampleTable, families: Mapping[str, str] | None = None
) -> list[PromptSensitivity]:
    """PSS for each mode and temperature: over all prompts (``*``), and within each family.

    ``families``: prompt id -> family; paraphrases share one. Groups of one prompt are left out.
    """
    groups: dict[tuple[str, str, float], list[Variant]] = defaultdict(list)
    for variant in table.variants:
        for family in ("*", (families or {}).get(variant.prompt, "*")):
            group = groups[family, variant.mode, variant.temperature]
            group += [variant] if variant not in group else []
    return [
        _sensitivity(table, *key, variants) for key, variants in groups.items() if len(variants) > 1
    ]


def _sensitivity(
    table: SampleTable, family: str, mode: str, temperature: float, variants: Sequence[Variant]
) -> PromptSensitivity:
    scores = [table.variants[variant].score for variant in variants]
    each = item_sensitivity(scores)
    confidence = [
        table.variants[a].scores["mean_logprob"]
        for a in variants
        if "mean_logprob" in table.variants[a].scores
    ]
    related = (
        spearman(each, np.mean([np.nanmean(c, axis=1) for c in confidence], axis=0))
        if confidence and all(np.isfinite(c).any(axis=1).all() for c in confidence)
        else float("nan")
    )
    pss = bootstrap_mean(each, bounds=(0.0, 1.0))
    return PromptSensitivity(
        family=family,
        mode=mode,
        temperature=temperature,
        prompts=tuple(variant.prompt for variant in variants),
        pss=number(pss.mean),
        pss_ci95=interval_ends(pss),
        by_chance=number(float(np.mean([by_chance(s) for s in scores]))),
        spearman_with_confidence=number(related),
        mean_score=float(np.mean([s.mean() for s in scores])),
        failed=table.failed_items(variants),
    )


@dataclass(frozen=True)
class SensitivityTrend:
    """Rank correlation of PSS with the tier's place in the job, or with the score."""

    with_: str
    families: int
    points: int
    spearman: Interval


class _Point(NamedTuple):
    """A family of paraphrases on a tier: the tier's place in the job, its PSS and score."""

    place: int
    pss: float
    score: float


def sensitivity_trends(
    tiers: Sequence[Sequence[PromptSensitivity]], seed: int
) -> list[SensitivityTrend | NotShown]:
    """Spearman of PSS with the tier's place and with the score (ProSA: larger models hold firmer).

    `tiers` are in the job's order. Within families: of each family, mode and temperature that
    several tiers have, the mean over the tiers is taken away first. Intervals resample families.
    """
    families: dict[tuple[str, str, float], list[_Point]] = defaultdict(list)
    for place, rows in enumerate(tiers):
        for row in rows:
            if row.pss is not None and row.family != ALL_PROMPTS:
                key = row.family, row.mode, row.temperature
                families[key].append(_Point(place, row.pss, row.mean_score))
    shared = [np.array(points) for points in families.values() if len(points) > 1]
    if len(shared) < FEWEST_FAMILIES:
        note = "not supported: fewer than three families of paraphrases that tiers share"
        return [NotShown({}, note)]
    centred = [points - points.mean(axis=0) for points in shared]
    rng = np.random.default_rng(seed)
    picks = rng.integers(len(centred), size=(TREND_RESAMPLES, len(centred)))
    rows_: list[SensitivityTrend | NotShown] = []
    for name, column in (("place of the tier", 0), ("score", 2)):
        whole = np.concatenate(centred)
        again = [np.concatenate([centred[i] for i in pick]) for pick in picks]
        values = [spearman(points[:, column], points[:, 1]) for points in again]
        low, high = np.nanquantile(values, [0.025, 0.975])
        found = Interval(spearman(whole[:, column], whole[:, 1]), float(low), float(high))
        rows_.append(SensitivityTrend(name, len(shared), len(whole), found))
    return rows_


# --- rank at one sample, rank in the strategy --------------------------------------------------


def prompt_ranks(found: TierResult) -> tuple[RankRow, ...]:
    """A row a variant of the last study, best in the chosen strategy first.

    Both scores are means over the same items and permutations of the study. The strategy is that
    of the chosen policy's hardest bucket. Variants that were dropped before the study come last,
    with their score at one sample in the screening and no rank.
    """
    strategy = found.points[found.chosen].policy.buckets[-1].strategy
    table, q = found.study_table, found.problem
    variants = tuple(table.variants)
    evaluator = q.evaluator(table)
    single = _scores(evaluator, variants, StrategySpec.of("single"))
    chosen = _scores(evaluator, variants, strategy)

    def origin(variant: Variant) -> str:
        return q.prompts[variant.prompt].origin

    raced = [
        RankRow(
            variant=variant.label,
            origin=origin(variant),
            strategy=str(strategy),
            items=table.n_items,
            score_at_one_sample=float(single[i]),
            rank_at_one_sample=_rank(single, i),
            score_in_strategy=number(chosen[i]),
            rank_in_strategy=_rank(chosen, i),
            failed=table.failed_items([variant]),
        )
        for i, variant in enumerate(variants)
    ]
    raced.sort(key=lambda row: row.rank_in_strategy or len(raced) + 1)
    dropped = [
        RankRow(
            variant=variant.label,
            origin=origin(variant),
            strategy="out of the race",
            items=q.search_size.screen_items,
            score_at_one_sample=score,
            rank_at_one_sample=None,
            score_in_strategy=None,
            rank_in_strategy=None,
            failed=found.prompt_table.failed_items([variant]),
        )
        for variant, score, _ in found.screened
        if variant not in table.variants
    ]
    return (*raced, *dropped)


def _scores(evaluator: Evaluator, variants: Sequence[Variant], strategy: StrategySpec) -> Floats:
    return np.array([evaluator.evaluate(uniform(v, strategy)).mean_score for v in variants])


def _rank(scores: Floats, i: int) -> int | None:
    return None if np.isnan(scores[i]) else 1 + int((scores > scores[i]).sum())
