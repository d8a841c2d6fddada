"""What was measured of policies, signals and prompts: the rows that `summary.json` is made of.

Common to all of them:

- A number that the stored samples do not support is None (JSON has no NaN).
- A name that ends in `_ci95` is both ends of a 95% interval, resampled by item.
- `usd_per_item` is in dollars for one request at the tier's prices, prompt and samples together.
- A policy is named by one line that says its buckets; a variant by `prompt/mode/temperature`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tierwise.schema.fields import Strict
from tierwise.schema.policy import Param

if TYPE_CHECKING:
    from tierwise.stats.intervals import Interval

Bounds = tuple[float | None, float | None]
"""Both ends of an interval; None where the items are too few for one."""

GateName = Literal["passed", "not passed", "not tested"]
"""Not tested: no held-out samples of it were bought; mostly of a point beside the job's own."""

Split = Literal["validation", "test"]


# --- what was measured -------------------------------------------------------------------------


@dataclass(frozen=True)
class FailedItems(Strict):
    """Items with samples that failed for good at the provider: they stand beside a score.

    Attributes:
        left_out: items that failed under every variant: they left their split for all, and are not
            among the items of the score.
        unanswered: items of the score of which a sample failed that may be asked for: it is an
            abstention of score 0.
    """

    left_out: int = 0
    unanswered: int = 0


NONE_FAILED = FailedItems()


@dataclass(frozen=True)
class Measured(Strict):
    """A policy on the items of a split; those of `test` are held out.

    `samples_per_item` are completions; `rounds_per_item` are the times that a request waits for
    some of them.
    """

    split: Split
    policy: str
    items: int
    score: float
    score_ci95: Bounds
    usd_per_item: float
    usd_per_item_ci95: Bounds
    samples_per_item: float
    rounds_per_item: float
    failed: FailedItems = field(default=NONE_FAILED, kw_only=True)


@dataclass(frozen=True)
class Paired(Strict):
    """A policy against another, paired by item.

    Attributes:
        score_difference: mean score of the policy less that of the other.
        cost_ratio: its dollars over those of the other.
        p: of the gate, before Holm's correction: neither better, nor as good and cheaper.
    """

    score_difference: float | None
    score_difference_ci95: Bounds
    cost_ratio: float | None
    cost_ratio_ci95: Bounds
    p: float


@dataclass(frozen=True)
class BucketSummary(Strict):
    """A bucket of an operating point, easiest first; `share` is its part of the requests.

    `modes`: mode -> share of the bucket's samples; empty where no request came.
    """

    share: float
    variants: tuple[str, ...]
    strategy: str
    modes: Mapping[str, float]


@dataclass(frozen=True)
class CrossFittedScore(Strict):
    """What choosing a policy is worth on validation items that the choice did not see.

    Each item is judged under the policy that was chosen without it, so that nothing is added by
    having searched; `score_difference` is against the baseline on the same items.
    """

    items: int
    score: float
    score_ci95: Bounds
    usd_per_item: float
    score_difference: float
    score_difference_ci95: Bounds
    failed: FailedItems = NONE_FAILED


@dataclass(frozen=True)
class PointSummary(Measured):
    """A policy that selection picked for a balance of score and cost.

    Held-out samples are bought of the job's own point. Another one is measured on validation items
    (cross-fitted), unless its policy is one that was tested, or samples are free.

    Attributes:
        gate: whether it was shown to be better than the baseline, or as good and cheaper.
        against_baseline: on the split that it was measured on.
        trial: of the study; -1 for the baseline itself.
        signal: the difficulty signal that tells buckets apart, cut at `thresholds`.
        stuck_in_mode: the one mode of all buckets, where the signal is there to choose between
            modes; None where it does.
        validation: the estimate that it was chosen by, with the bias of having searched removed.
        pooled_difference: of scores against the baseline, on test and validation items together:
            what the gate goes by; None where it was not tested.
    """

    gate: GateName
    trial: int
    buckets: tuple[BucketSummary, ...]
    signal: str
    thresholds: tuple[float, ...]
    stuck_in_mode: str | None
    validation: CrossFittedScore
    against_baseline: Paired
    pooled_difference: float | None
    pooled_difference_ci95: Bounds

    @property
    def passed(self) -> bool:
        """Whether the gate was passed."""
        return self.gate == "passed"


@dataclass(frozen=True)
class AblationStep(Measured):
    """The best policy that one more component allows, at no more dollars than the full policy.

    Of the study's validation items: held-out samples are not bought for it.
    """

    full_policy_against_it: Paired


@dataclass(frozen=True)
class OracleBound(Strict):
    """The score of whoever knew the best recipe of each validation item; None with one sample."""

    items: int
    score: float | None
    score_ci95: Bounds
    failed: FailedItems = NONE_FAILED


@dataclass(frozen=True)
class EscalationRow(Measured):
    """A policy of a tier that may escalate, against the strongest tier's best single sample.

    Held out where samples are free, else on validation items, where both have samples.

    `escalated` is the share of requests in buckets with variants of another tier.
    """

    name: str
    escalated: float
    against: str
    compared: Paired


# --- what the samples of a study say -----------------------------------------------------------


@dataclass(frozen=True)
class ComputeGateEvidence(Strict):
    """What says whether more than one sample can pay, on the first purchase.

    Attributes:
        decided: the items were enough to tell; else the gate stays open.
        items, samples: that it was measured on (samples: the most of a variant).
        net_gain: utility of the best strategy less that of the best single sample, cross-fitted,
            in score, its cost taken off; None where there is one sample.
        best, best_single: those policies.
    """

    decided: bool
    items: int
    samples: int
    net_gain: float | None
    net_gain_ci95: Bounds
    best: str
    best_single: str


@dataclass(frozen=True)
class ComputeGate(ComputeGateEvidence):
    """Open: the tier may spend; closed: one sample is all that it spends itself."""

    verdict: Literal["open", "closed"]


@dataclass(frozen=True)
class ScreenedVariant(Strict):
    """A variant at one sample on the items of the screening."""

    variant: str
    score: float
    usd_per_item: float
    failed: FailedItems = NONE_FAILED


@dataclass(frozen=True)
class FrontPoint(Strict):
    """A trial of the last study that no other beats in both score and dollars, on study items."""

    policy: str
    trial: int
    score: float
    usd_per_item: float
    failed: FailedItems = NONE_FAILED


@dataclass(frozen=True)
class ProbeSummary(Strict):
    """The samples that a signal looks at, interleaved over the variants."""

    variants: tuple[str, ...]
    samples: int


@dataclass(frozen=True)
class SignalQuality(Strict):
    """What a difficulty signal is worth on a tier.

    Attributes:
        auroc, spearman: how well it orders items by the success of a sample it did not see.
        gain: utility that buckets by it gain over one recipe for all, the probe paid for;
            `gain_if_free` is without the probe's cost, `oracle_gain` that of buckets by the truth.
    """

    signal: str
    params: Mapping[str, Param]
    probe: ProbeSummary | None
    auroc: float | None
    auroc_ci95: Bounds
    spearman: float | None
    usd_per_item: float
    gain: float | None
    gain_ci95: Bounds
    gain_if_free: float | None
    gain_if_free_ci95: Bounds
    oracle_gain: float | None
    oracle_gain_ci95: Bounds
    share_of_oracle_gain: float | None


@dataclass(frozen=True)
class SignalTable(Strict):
    """All signals of a space on a tier's study items.

    Attributes:
        success_variant: whose samples are what the signals predict.
        score_for_the_median_dollars: prices of utility, over which gains are averaged.
    """

    success_variant: str
    items: int
    score_for_the_median_dollars: tuple[float, ...]
    by_signal: tuple[SignalQuality, ...]


@dataclass(frozen=True)
class ReliabilityPoint(Strict):
    """Items with about the same prediction: its mean, and the share in which it came true."""

    predicted: float
    observed: float
    items: int


@dataclass(frozen=True)
class SignalFitSummary(Strict):
    """A fitted signal: a model that predicts where thinking pays, evaluated on items left out.

    Attributes:
        direct, think: the variants that were compared.
        thinking_pays_from: score by which thinking must lead in a pair of samples.
        share_where_thinking_pays: of the pairs; `share_predicted_above_that` of the items.
        collapsed: it says the same of every item.
        auroc_of_length: that of the number of words alone.
        log_loss_of_the_share: that of predicting the share for every item.
        weights: feature -> weight a standard deviation, the largest first.
    """

    probe: str | None
    direct: str
    think: str
    items: int
    thinking_pays_from: float
    share_where_thinking_pays: float
    share_predicted_above_that: float
    collapsed: bool
    auroc: float | None
    auroc_of_length: float | None
    ece: float | None
    log_loss: float | None
    log_loss_of_the_share: float | None
    reliability: tuple[ReliabilityPoint, ...]
    weights: Mapping[str, float]


@dataclass(frozen=True)
class Technique(Strict):
    """A prompt in a mode, all its paraphrases together, against the baseline prompt.

    Attributes:
        prompt: id of the first paraphrase; `paraphrases` are those that take part.
        against: label of what it is compared with.
        items: on which both have samples.
        score, against_score: at one sample, the mean over paraphrases and temperatures.
        difference: of the two, paired by item.
        worst_paraphrase, best_paraphrase: their scores, on the same items.
        cost_ratio: dollars of a sample, its prompt included, over those of the other.
        p: two-sided, as it stands; `adjusted_p`: by Holm over the tier's table.
        verdict: what the whole table lets one say, wrong anywhere in it in 5% of tables.
    """

    prompt: str
    family: str
    mode: str
    paraphrases: tuple[str, ...]
    against: str
    items: int
    score: float
    against_score: float
    difference: float
    difference_ci95: Bounds
    worst_paraphrase: float
    best_paraphrase: float
    cost_ratio: float
    p: float
    adjusted_p: float
    verdict: Literal["helps", "hurts", "not shown"]
    failed: FailedItems = NONE_FAILED


@dataclass(frozen=True)
class PromptSensitivity(Strict):
    """PSS of a family of paraphrases (`*`: all prompts) in a mode at a temperature (ProSA).

    Attributes:
        pss: mean over items of |difference| over all pairs of prompts, one sample each.
        by_chance: the same between two samples of one prompt; None with one sample.
        spearman_with_confidence: of an item's sensitivity with its mean log-probability.
    """

    family: str
    mode: str
    temperature: float
    prompts: tuple[str, ...]
    pss: float | None
    pss_ci95: Bounds
    by_chance: float | None
    spearman_with_confidence: float | None
    mean_score: float
    failed: FailedItems = NONE_FAILED


@dataclass(frozen=True)
class RankRow(Strict):
    """A variant's rank at one sample beside its rank in the strategy of the chosen policy.

    A variant that was dropped before the last study has no rank, and its score of the screening.
    """

    variant: str
    origin: str
    strategy: str
    items: int
    score_at_one_sample: float
    rank_at_one_sample: int | None
    score_in_strategy: float | None
    rank_in_strategy: int | None
    failed: FailedItems = NONE_FAILED


def interval_ends(interval: Interval) -> Bounds:
    """Both ends of an interval."""
    return number(interval.low), number(interval.high)


def number(value: float) -> float | None:
    """None for what the samples do not support."""
    return float(value) if math.isfinite(value) else None
