"""Everything that a run writes beside its policies: `summary.json`, `plan.json`, `studied.json` …

The classes are the in-memory type and the file format at once: `to_json` writes them and
`from_json` reads them back, both by pydantic's `TypeAdapter`. The rows of a summary are those of
`schema.measured`, which says what is common to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import ValidationError

from tierwise.errors import InputError
from tierwise.schema.fields import Strict
from tierwise.schema.job import GateMode
from tierwise.schema.measured import (
    AblationStep,
    Bounds,
    ComputeGate,
    EscalationRow,
    FrontPoint,
    GateName,
    Measured,
    OracleBound,
    PointSummary,
    PromptSensitivity,
    RankRow,
    ScreenedVariant,
    SignalFitSummary,
    SignalTable,
    Technique,
)
from tierwise.schema.policy import Difficulty, Recipe
from tierwise.schema.task_file import TaskRef
from tierwise.schema.usage import Usage
from tierwise.schema.yaml_io import adapter

SUMMARY_SCHEMA: Final = "tierwise/summary/v1"
PLAN_SCHEMA: Final = "tierwise/plan/v1"

T = TypeVar("T")


# --- proposals ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class ProposedPrompt(Strict):
    """A prompt that took part in a round, and who wrote it."""

    id: str
    origin: str


@dataclass(frozen=True)
class RefusedProposal(Strict):
    """What a proposer wrote that led to no prompt, and why."""

    origin: str
    reason: str


@dataclass(frozen=True)
class BriefSummary(Strict):
    """What the proposer was asked to mend: failures of a prompt in a bucket."""

    bucket: int
    prompt: str
    run_as: str
    failures: int


@dataclass(frozen=True)
class TriedCandidate(Strict):
    """A candidate in the place of the prompt that it was written for; `refused` says why, if so."""

    prompt: str
    origin: str
    instead_of: str
    items: int
    score_difference: float | None
    score_difference_ci95: Bounds | None
    refused: str


@dataclass(frozen=True)
class RoundGain(Strict):
    """The policy after a round against the one before it, on items that no study saw."""

    items: int
    score_difference: float | None
    score_difference_ci95: Bounds
    cost_ratio: float | None
    cost_ratio_ci95: Bounds


@dataclass(frozen=True)
class ProposalRound(Strict):
    """One round of proposals on a tier, from 1; `ended` says why no further one was made."""

    round: int
    prompts: tuple[ProposedPrompt, ...]
    refused: tuple[RefusedProposal, ...]
    briefs: tuple[BriefSummary, ...]
    tried: tuple[TriedCandidate, ...]
    before: str | None
    after: str | None
    gain: RoundGain | None
    ended: str


# --- money -------------------------------------------------------------------------------------


EndReason = Literal[
    "no_affordable_call",
    "recording_exhausted",
    "no_expected_gain",
    "deadline",
    "provider_ended",
    "search_complete",
]


@dataclass(frozen=True)
class SearchEnd(Strict):
    """Why a tier's search bought no more.

    Attributes:
        reason: no_affordable_call: what is left of the budget buys none that would be used (money
            for the held-out test counts as used); recording_exhausted: all that is recorded was
            looked at; no_expected_gain: further samples would add less than `EXPECTED_GAIN` of
            score; deadline: the job's seconds; provider_ended: it failed for good, or was out for
            too long; search_complete: all items and samples of the search's size are there.
        expected_gain: of score, that knowing all policies exactly would add to the choice; None
            where it was not estimated.
        said: the same as a sentence.
    """

    reason: EndReason
    expected_gain: float | None
    said: str


@dataclass(frozen=True)
class Headroom(Strict):
    """How far prompts differ beyond noise, on the items of the screening, at one sample.

    Attributes:
        prompts: texts in a mode; modes are compared each with its own.
        between_prompts: standard deviation of their true scores; `between_prompts_error` its
            standard error; None with too few prompts or items.
        between_items: standard deviation of items' difficulty.
        within: that of the samples of an item; None with one sample an item.
        more_budget_helps: prompts differ, or may, by more than is known of each.
        said: the same as a sentence.
    """

    items: int
    prompts: int
    between_prompts: float | None
    between_prompts_error: float | None
    between_items: float | None
    within: float | None
    more_budget_helps: bool | None
    said: str


@dataclass(frozen=True)
class UsageTotals(Strict):
    """Dollars at the tier's prices, calls, and tokens of prompts and completions together.

    Tokens that are expected may have fractions.
    """

    usd: float
    calls: int
    tokens: int | float

    @classmethod
    def of(cls, usage: Usage) -> UsageTotals:
        """What limits bound of a usage."""
        return cls(**usage.totals())


@dataclass(frozen=True)
class ProposerUsage(UsageTotals):
    """What all proposals of a run cost; `model` is None where none was asked."""

    model: str | None


# --- the judge ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class JudgeShift(Strict):
    """How a judge's scores of the same answers move when what should not matter is changed.

    `sure`: it is no chance, at a level of 5% over position, length and drift together.
    """

    answers: int
    mean: float
    mean_ci95: Bounds
    sure: bool


@dataclass(frozen=True)
class JudgeSummary(Strict):
    """A judge as the metric of a tier's answers, and how good it is; scores are in [0, 1].

    Attributes:
        rubric_sha256: of all that it is told beside the texts.
        reference: whether it was shown the item's target.
        judged_answers: distinct answers; `unanswered` of them have no judgement that can be read.
        replies: calls to it; `lost_replies` failed or gave no score.
        labelled: answers that people have scored too.
        agreement: quadratically weighted kappa with these; None: not measured.
        checked: answers that were judged several times.
        noise: standard deviation of repeated judgements of an answer.
        reliability: the part of the variance that is between answers, ICC(1).
        position: the reference after the answer, less before it. None: not measured.
        length: an answer made longer by nothing new, less as it is.
        drift: at the end of the run, less at its beginning.
        faults: why its scores may not decide; empty where they may.
    """

    model: str
    rubric_sha256: str
    scale: str
    reference: bool
    judged_answers: int
    unanswered: int
    replies: int
    lost_replies: int
    spending: UsageTotals
    labelled: int
    agreement: float | None
    agreement_ci95: Bounds
    checked: int
    noise: float | None
    reliability: float | None
    reliability_ci95: Bounds
    position: JudgeShift | None
    length: JudgeShift | None
    drift: JudgeShift | None
    faults: tuple[str, ...] = ()


# --- summary.json ------------------------------------------------------------------------------


@dataclass(frozen=True)
class ItemCounts(Strict):
    """Items of the last study, which policies are chosen on, and of the held-out test."""

    validation: int
    test: int


@dataclass(frozen=True)
class MetricPartSummary(Strict):
    """A part of a weighted metric on the test items, under the baseline and the job's point."""

    weight: float
    baseline: float | None
    chosen: float | None


@dataclass(frozen=True)
class TierSummary(Strict):
    """What a run found on one tier.

    Attributes:
        spending: of calls that were answered.
        possibly_billed: the most that calls without an answer may cost beside it; None: no such.
        operating_point: name of the job's point; it is exported where its gate was passed, or
            under ``gate_mode: advise``.
        ablation: the steps from the baseline prompt at one sample to the full policy, in order.
        front: of the last study, on its own items.
        signals: None where there are too few samples to tell.
        techniques, prompt_sensitivity: of the items that all prompts were screened on.
        escalation: empty where the tier may not escalate.
        ranks: best in the chosen strategy first.
        rounds: of proposals.
        screened: every variant of the first purchase.
        studies: names of the Optuna studies, the last one last.
        headroom: how far prompts differ, by the screening.
        end: why the search bought no more.
        remarks: what the samples show beside their scores: cut by a cap, refused, estimated tokens.
        judge: who scored the answers, where the task's metric is a judge.
        metric_parts: those of a weighted metric, by name.
    """

    model: str
    spending: UsageTotals
    possibly_billed: UsageTotals | None
    operating_point: str
    gate: GateName
    compute_gate: ComputeGate
    items: ItemCounts
    baseline: Measured
    operating_points: Mapping[str, PointSummary]
    ablation: Mapping[str, AblationStep]
    oracle_bound: OracleBound
    front: tuple[FrontPoint, ...]
    signals: SignalTable | None
    fitted_signals: tuple[SignalFitSummary, ...]
    techniques: tuple[Technique, ...]
    prompt_sensitivity: tuple[PromptSensitivity, ...]
    escalation: tuple[EscalationRow, ...]
    ranks: tuple[RankRow, ...]
    rounds: tuple[ProposalRound, ...]
    screened: tuple[ScreenedVariant, ...]
    studies: tuple[str, ...]
    headroom: Headroom
    end: SearchEnd
    remarks: tuple[str, ...] = ()
    judge: JudgeSummary | None = None
    gate_mode: GateMode = "require"
    metric_parts: Mapping[str, MetricPartSummary] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.operating_point not in self.operating_points:
            raise ValueError(f"operating_point {self.operating_point!r} is not among the points")

    @property
    def passed(self) -> bool:
        """Whether the gate was passed."""
        return self.gate == "passed"

    @property
    def provider_ended(self) -> bool:
        """Whether its provider failed for good while it was searched."""
        return self.end.reason == "provider_ended"

    @property
    def exports_chosen(self) -> bool:
        """Whether the job's operating point is exported; else the baseline is.

        What a judge that is not to be trusted has chosen is not.
        """
        distrusted = self.judge is not None and bool(self.judge.faults)
        return self.passed or (self.gate_mode == "advise" and not distrusted)

    @property
    def chosen(self) -> PointSummary:
        """The job's operating point."""
        return self.operating_points[self.operating_point]

    @property
    def exported(self) -> Measured:
        """The exported policy."""
        return self.chosen if self.exports_chosen else self.baseline


@dataclass(frozen=True)
class Summary(Strict):
    """`summary.json`: what a run came to; it is written last, so it says that a run is finished.

    Attributes:
        created: when the run began, ISO 8601.
        proposals: None where the job asks for none.
        failed: tier -> why it ended with an error; the other tiers are in `tiers`.
    """

    schema: Literal["tierwise/summary/v1"]
    task: TaskRef
    space: str
    created: str
    seed: int
    proposals: ProposerUsage | None
    tiers: Mapping[str, TierSummary]
    failed: Mapping[str, str]


# --- plan.json ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlannedStage(Strict):
    """What a stage buys that earlier ones did not; `lookups` are queries of a retriever."""

    variants: int
    items: int
    samples: int
    lookups: int
    expected: UsageTotals
    worst: UsageTotals


@dataclass(frozen=True)
class PlannedTier(Strict):
    """A tier's stages in order; `fault` says why its budget is too small, empty where it is not.

    `expected` and `worst` are over all stages, within the tier's share of the budget.
    """

    fault: str
    stages: Mapping[str, PlannedStage]
    expected: UsageTotals
    worst: UsageTotals


@dataclass(frozen=True)
class RunPlan(Strict):
    """`plan.json`: what was planned before the first purchase, by tier."""

    schema: Literal["tierwise/plan/v1"]
    tiers: Mapping[str, PlannedTier]


# --- studied.json ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Proposal(Strict):
    """A policy before its thresholds are known: shares of the requests in place of values.

    So it fits any table, and is what a study proposes and a folder keeps of an earlier front.
    """

    difficulty: Difficulty
    shares: tuple[float, ...]
    buckets: tuple[Recipe, ...]


@dataclass(frozen=True)
class StudyState(Strict):
    """How many study rounds there were, and the front of the last of them."""

    study_rounds: int
    front: tuple[Proposal, ...]


@dataclass(frozen=True)
class StudiedTier(StudyState):
    """What a folder keeps of a tier that was searched, for a later run with other prompts.

    Attributes:
        prompts: id -> hash of the messages.
        before: what this search itself began from, so that a replay begins from the same.
    """

    prompts: Mapping[str, str]
    before: StudyState


@dataclass(frozen=True)
class Studied(Strict):
    """`studied.json`, by tier."""

    tiers: Mapping[str, StudiedTier]


@dataclass(frozen=True)
class CutPurchase(Strict):
    """A purchase of a search that a limit cut short: what of it was there when the search went on.

    A replay cannot see that in the pool, to which more may have come since.

    Attributes:
        number: of the purchase, in the order in which the search made them.
        short: the limit: usd, calls, tokens, seconds or provider.
        said: what a provider that ended failed with.
        counts: item -> samples of each variant and node that were there, in the table's order.
    """

    number: int
    short: str
    said: str
    counts: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class RunMark(Strict):
    """`run.json`: names a run in the pool, says when it began, and where tiers' calls were sent."""

    run: str
    created: str
    addresses: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CutShort(Strict):
    """`cut_short.json`: the purchases of each tier's search that were cut short."""

    tiers: Mapping[str, tuple[CutPurchase, ...]]


# --- trials.csv --------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrialRow(Strict):
    """A line of `trials.csv`: a distinct policy that a study evaluated, on the study's items.

    `left_out` and `unanswered` are those of `FailedItems`.
    """

    study: str
    trial: int
    score: float
    usd_per_item: float
    samples_per_item: float
    rounds_per_item: float
    buckets: int
    signal: str
    policy: str
    left_out: int = 0
    unanswered: int = 0


# --- reading and writing -----------------------------------------------------------------------


def to_json(value: object) -> str:
    """The text of a file that holds `value`, an instance of a class of this module or like it."""
    return adapter(type(value)).dump_json(value, indent=2).decode() + "\n"


def to_data(value: object) -> dict[str, Any]:
    """`value` as JSON would have it: dicts, lists, strings and numbers."""
    found: dict[str, Any] = adapter(type(value)).dump_python(value, mode="json")
    return found


def from_json(path: Path, kind: type[T]) -> T:
    """What `to_json` wrote to `path`.

    Raises:
        InputError: the file is cut off, of another version, or something else; it says where.
        FileNotFoundError: there is no such file.
    """
    try:
        found: T = adapter(kind).validate_json(path.read_bytes())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from None
    except ValidationError as error:
        raise InputError(_said(error), path=path) from None
    return found


def _said(error: ValidationError) -> str:
    """One sentence: another version first, else the first fault and its place."""
    faults = error.errors(include_url=False)
    for fault in faults:
        if fault["loc"] == ("schema",):
            return f"is of schema {fault['input']!r}, this version reads {fault['ctx']['expected']}"
    first = faults[0]
    if first["type"] == "json_invalid":
        return f"is no whole JSON: {first['ctx']['error']}"
    where = ".".join(map(str, first["loc"])) or "the whole"
    known = {"missing": "is missing", "unexpected_keyword_argument": "is no known key"}
    message = known.get(first["type"], f"{first['msg'][:1].lower()}{first['msg'][1:]}")
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"cannot be read: {where}: {message}{more}"
