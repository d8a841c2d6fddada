"""The tables of `tierwise compare RUN_DIR`: tiers side by side, a `TableSection` each.

A section takes typed rows from `analysis` and says how a terminal shows them; `--json` and `--csv`
have every field, an interval `x` as `x`, `x_low` and `x_high`. A row that the stored samples do not
support has `note` in place of numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tierwise.analysis import prompts, search_rounds, tiers
from tierwise.analysis.tier_files import NotShown, TierFiles
from tierwise.errors import InputError, UnsupportedError
from tierwise.report import text as n
from tierwise.report.text import bucket_names, recipe_in_words
from tierwise.runs.artifacts import RunFiles, StageUsage, stage_usage
from tierwise.schema.result import (
    NONE_FAILED,
    EscalationRow,
    ExpectedBucket,
    ExpectedFigures,
    FailedItems,
    PromptSensitivity,
    Technique,
)
from tierwise.stats import Interval

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
"""A row as plain data: what `--json` and `--csv` hold."""

NOTE = "note"
"""Key of a row that says, in place of numbers, why there are none."""

MOST_PROMPTS = 8
"""Prompts of a tier in a terminal, beside those of its policy; `--csv` has all."""
MOST_TECHNIQUES = 12
"""Techniques of a tier in a terminal, beside those with a verdict."""

S = TypeVar("S")
R = TypeVar("R")


@dataclass(frozen=True)
class TableSection(Generic[S, R]):
    """A table of a comparison of `S`: a run, or two of them.

    Attributes:
        title: the question that it answers.
        rows: typed rows, or why there are none.
        columns: what a terminal shows; a name that ends in `>` holds numbers.
        cells: a row's text, a cell a column; None leaves the row to `--json` and `--csv`.
        data: a row as plain data.
    """

    title: str
    rows: Callable[[S], Iterable[R | NotShown]]
    columns: tuple[str, ...]
    cells: Callable[[R], tuple[str, ...] | None]
    data: Callable[[R], Row]

    def table(self, source: S) -> list[R | NotShown]:
        """The rows; one note where the section as a whole cannot be shown."""
        try:
            return list(self.rows(source))
        except UnsupportedError as error:
            return [NotShown({}, f"not shown: {error}")]

    def plain(self, row: R | NotShown) -> Row:
        """A row as plain data."""
        return {**row.labels, NOTE: row.note} if isinstance(row, NotShown) else self.data(row)


def flat(row: object) -> Row:
    """The fields of a dataclass; an interval as its mean and both ends."""
    found: Row = {}
    for field in fields(row):  # type: ignore[arg-type]  # a dataclass, which has no type of its own
        name, value = field.name.rstrip("_"), getattr(row, field.name)
        if isinstance(value, Interval):
            found |= {name: value.mean, f"{name}_low": value.low, f"{name}_high": value.high}
        elif isinstance(value, FailedItems):
            found |= _failed(name, value)
        else:
            found[name] = value
    return found


def _failed(name: str, value: FailedItems) -> Row:
    """`failed` as `left_out` and `unanswered`; `before_failed` as `before_left_out` …"""
    return {name.replace("failed", part): count for part, count in vars(value).items()}


def by_tier(
    run: RunFiles, rows: Callable[[TierFiles], Iterable[R | NotShown]]
) -> list[R | NotShown]:
    """The rows of every tier; of one whose files do not have what it takes, a note."""
    found: list[R | NotShown] = []
    for tier in run.tiers.values():
        try:
            found += rows(tier)
        except (UnsupportedError, InputError) as error:
            found.append(NotShown({"tier": tier.name}, f"not shown: {error}"))
    return found


# --- recipes -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RecipeRow:
    """A bucket of the exported policy, easiest first; None for what its file does not say."""

    tier: str
    model: str
    operating_point: str
    gate: str
    bucket: str
    share: float | None
    variants: str
    strategy: str
    in_words: str
    signal: str
    thresholds: str
    bucket_score: float | None
    bucket_score_low: float | None
    bucket_score_high: float | None
    score: float | None
    usd_per_item: float | None
    failed: FailedItems


def recipe_rows(tier: TierFiles) -> list[RecipeRow]:
    """A row a bucket."""
    file = tier.policy_file
    expected, difficulty = ExpectedFigures.of(file), file.policy.difficulty
    measured = expected.buckets or (ExpectedBucket(),) * len(file.policy.buckets)
    names = bucket_names(len(file.policy.buckets))
    rows = []
    for i, recipe in enumerate(file.policy.buckets):
        low, high = measured[i].score_ci95
        rows.append(
            RecipeRow(
                tier=tier.name,
                model=file.tier.model,
                operating_point=tier.summary.operating_point,
                gate=tier.summary.gate,
                bucket=names[i],
                share=file.shares[i] if file.shares else None,
                variants=" + ".join(variant.label for variant in recipe.variants),
                strategy=str(recipe.strategy),
                in_words=recipe_in_words(recipe),
                signal=difficulty.signal,
                thresholds=", ".join(f"{cut:g}" for cut in difficulty.thresholds),
                bucket_score=measured[i].score,
                bucket_score_low=low,
                bucket_score_high=high,
                score=expected.score,
                usd_per_item=expected.usd_per_item,
                failed=tier.summary.exported.failed,
            )
        )
    return rows


def _recipe_cells(row: RecipeRow) -> tuple[str, ...]:
    first = row.bucket in ("all", "easy", "b1")
    return (
        row.tier if first else "",
        row.bucket,
        n.share(row.share),
        row.in_words,
        n.beside(n.score(row.bucket_score), row.failed if first else NONE_FAILED),
        n.usd_per(row.usd_per_item) if first else "",
        f"{row.signal} at {row.thresholds}" if first and row.thresholds else "",
        row.gate if first else "",
    )


RECIPES = TableSection[RunFiles, RecipeRow](
    "the policy of each tier, bucket by bucket",
    lambda run: by_tier(run, recipe_rows),
    ("tier", "bucket", "share>", "what is done", "score>", "$/1,000>", "told apart by", "gate"),
    _recipe_cells,
    flat,
)

# --- prompts, techniques, sensitivity ----------------------------------------------------------


def _prompt_cells(row: prompts.PromptRow) -> tuple[str, ...] | None:
    if row.rank > MOST_PROMPTS and not row.chosen:
        return None
    mark = "●" if row.best else "" if row.separable else "○"
    return (
        row.tier,
        f"{row.prompt}/{row.mode}/{row.temperature:g}",
        n.beside(n.interval(row.score), row.failed),
        f"{row.items:.0f}",
        f"{row.samples:.0f}",
        f"{row.abstentions} of {row.stored}",
        n.usd_per(row.usd_per_item),
        "" if row.best else f"{-row.behind_best:+.3f}",
        mark + ("*" if row.chosen else ""),
    )


PROMPTS = TableSection[RunFiles, prompts.PromptRow](
    "every prompt on every tier at one sample (● best, ○ not separable from it, * in the policy)",
    lambda run: by_tier(run, prompts.prompt_rows),
    ("tier", "prompt", "score>", "items>", "samples>", "no answer>", "$/1,000>", "to best>", ""),
    _prompt_cells,
    flat,
)


@dataclass(frozen=True)
class TierTechnique:
    """A technique on a tier; the largest gain has rank 1."""

    tier: str
    rank: int
    technique: Technique


def _techniques(tier: TierFiles) -> list[TierTechnique]:
    return [TierTechnique(tier.name, i, t) for i, t in enumerate(tier.summary.techniques, start=1)]


def _technique_cells(row: TierTechnique) -> tuple[str, ...] | None:
    t = row.technique
    if row.rank > MOST_TECHNIQUES and t.verdict == "not shown":
        return None
    spread = f"{t.worst_paraphrase:.3f}–{t.best_paraphrase:.3f}"
    return (
        row.tier,
        f"{t.prompt}/{t.mode}",
        t.family,
        t.against,
        n.beside(n.interval(n.estimate(t.difference, t.difference_ci95), "+"), t.failed),
        spread if len(t.paraphrases) > 1 else "",
        f"×{t.cost_ratio:.2g}",
        t.verdict,
    )


def _technique_data(row: TierTechnique) -> Row:
    found = {"tier": row.tier, **_with_ends(vars(row.technique)), "rank": row.rank}
    return {**found, "paraphrases": len(row.technique.paraphrases)}


TECHNIQUES = TableSection[RunFiles, TierTechnique](
    "does a technique help here? (all paraphrases together, Holm over a tier's table)",
    lambda run: by_tier(run, _techniques),
    ("tier", "technique", "family", "against", "difference>", "by paraphrase>", "cost>", ""),
    _technique_cells,
    _technique_data,
)


def _with_ends(row: Mapping[str, Any]) -> Row:
    """`x_ci95` as `x_low` and `x_high`."""
    found: Row = {}
    for name, value in row.items():
        if name.endswith("_ci95"):
            stem = name.removesuffix("_ci95")
            found |= {f"{stem}_low": value[0], f"{stem}_high": value[1]}
        elif isinstance(value, FailedItems):
            found |= _failed(name, value)
        else:
            found[name] = value
    return found


@dataclass(frozen=True)
class TierSensitivity:
    """A family of paraphrases on a tier."""

    tier: str
    found: PromptSensitivity


def _sensitivities(tier: TierFiles) -> list[TierSensitivity]:
    return [TierSensitivity(tier.name, row) for row in tier.summary.prompt_sensitivity]


def _sensitivity_cells(row: TierSensitivity) -> tuple[str, ...]:
    s = row.found
    family = "all prompts" if s.family == prompts.ALL_PROMPTS else s.family
    confidence = s.spearman_with_confidence
    return (
        row.tier,
        f"{family}, {s.mode}/{s.temperature:g}",
        f"{len(s.prompts)}",
        n.interval(n.estimate(s.pss, s.pss_ci95)),
        "" if s.by_chance is None else f"{s.by_chance:.3f}",
        "" if confidence is None else f"{confidence:+.2f}",
    )


def _sensitivity_data(row: TierSensitivity) -> Row:
    found = {"tier": row.tier, **_with_ends(vars(row.found)), "prompts": len(row.found.prompts)}
    del found["mean_score"]
    return found


SENSITIVITY = TableSection[RunFiles, TierSensitivity](
    "how much the score depends on the paraphrase (PSS; 0: not at all)",
    lambda run: by_tier(run, _sensitivities),
    ("tier", "paraphrases", "prompts>", "PSS>", "by chance>", "with confidence>"),
    _sensitivity_cells,
    _sensitivity_data,
)

SENSITIVITY_TRENDS = TableSection[RunFiles, prompts.SensitivityTrend](
    "is a stronger tier less sensitive to the paraphrase? (rank correlation, within families)",
    lambda run: prompts.sensitivity_trends(
        [tier.summary.prompt_sensitivity for tier in run.tiers.values()], run.seed
    ),
    ("PSS with", "families>", "points>", "Spearman>"),
    lambda row: (row.with_, f"{row.families}", f"{row.points}", n.interval(row.spearman, "+")),
    flat,
)

# --- tiers -------------------------------------------------------------------------------------


def _gain_cells(row: tiers.GainRow) -> tuple[str, ...]:
    if row.same:
        return row.tier, row.adds, "nothing: the same policy", "", row.split
    return row.tier, row.adds, n.interval(row.gain, "+"), n.ratio(row.cost_ratio, ""), row.split


GAINS = TableSection[RunFiles, tiers.GainRow](
    "what thinking, votes and buckets add",
    lambda run: by_tier(run, tiers.gain_rows),
    ("tier", "adds", "gain>", "at cost>", "evaluated on"),
    _gain_cells,
    flat,
)


def _frontier_cells(row: tiers.FrontierRow) -> tuple[str, ...]:
    def cheapest(offer: tiers.Offer | None) -> tuple[str, str, str]:
        if offer is None:
            return "not reached", "", ""
        score = n.beside(n.score(offer.score.mean), offer.failed)
        return offer.tier, score, n.usd_per(offer.usd)

    out = ", ".join(row.not_reached_by)
    return f"{row.target:g}", *cheapest(row.reached), *cheapest(row.surely), out


def _frontier_data(row: tiers.FrontierRow) -> Row:
    def said(prefix: str, offer: tiers.Offer | None) -> Row:
        names = (
            *("tier", "policy", "score", "score_low", "score_high", "usd_per_item"),
            *("left_out", "unanswered"),
        )
        found: Row = dict.fromkeys(prefix + name for name in names)
        if offer is not None:
            counts = vars(offer.failed).values()
            values = (offer.tier, offer.policy, *offer.score, offer.usd, *counts)
            found = dict(zip(found, values, strict=True))
        return found

    out = ", ".join(row.not_reached_by)
    both = said("", row.reached) | said("surely_", row.surely)
    return {"target": row.target, **both, "not_reached_by": out}


FRONTIER = TableSection[RunFiles, tiers.FrontierRow](
    "the cheapest tier for each score (policies: --json)",
    lambda run: tiers.frontier_rows(list(run.tiers.values())),
    (
        "target>",
        "cheapest",
        "score>",
        "$/1,000>",
        "with 95% confidence",
        "score>",
        "$/1,000>",
        "out of reach of",
    ),
    _frontier_cells,
    _frontier_data,
)


def _equal_dollars_cells(row: tiers.EqualDollarsRow) -> tuple[str, ...]:
    reaches = "" if row.reaches_at_any_budget_tried else ", at any budget tried"
    return (
        row.tier,
        row.against,
        n.beside(f"{row.score:.3f}", row.failed),
        n.usd_per(row.usd_per_item),
        n.beside(f"{row.single_call_score:.3f}", row.single_call_failed),
        n.usd_per(row.single_call_usd),
        n.interval(row.lead, "+"),
        row.verdict + reaches,
    )


EQUAL_DOLLARS = TableSection[RunFiles, tiers.EqualDollarsRow](
    "a cheaper tier's policy against a single call to a more expensive tier",
    lambda run: tiers.equal_dollars_rows(list(run.tiers.values())),
    ("tier", "against", "score>", "$/1,000>", "single call>", "$/1,000>", "lead>", "verdict"),
    _equal_dollars_cells,
    flat,
)

TRANSFER = TableSection[RunFiles, tiers.TransferRow](
    "each tier's policy on the others, against their own",
    lambda run: tiers.transfer_rows(list(run.tiers.values()), run.seed),
    ("policy of", "on", "score>", "against own>", "at cost>", "evaluated on"),
    lambda row: (
        row.policy_of,
        row.on,
        n.beside(n.interval(row.score), row.failed),
        n.interval(row.against_own, "+"),
        n.ratio(row.cost_ratio, ""),
        row.split,
    ),
    flat,
)

DIFFICULTY = TableSection[RunFiles, tiers.DifficultyRow](
    "rank correlation of item difficulty between tiers",
    lambda run: tiers.difficulty_rows(list(run.tiers.values()), run.seed),
    ("tier", "other", "Spearman>", "items>"),
    lambda row: (row.tier, row.other, n.interval(row.spearman), f"{row.items:.0f}"),
    flat,
)


@dataclass(frozen=True)
class TierEscalation:
    """A policy of a tier that may escalate."""

    tier: str
    found: EscalationRow


def _escalations(tier: TierFiles) -> list[TierEscalation]:
    return [TierEscalation(tier.name, row) for row in tier.summary.escalation]


def _escalation_cells(row: TierEscalation) -> tuple[str, ...]:
    e, against = row.found, row.found.compared
    return (
        row.tier,
        e.name,
        n.beside(n.interval(n.estimate(e.score, e.score_ci95)), e.failed),
        n.usd_per(e.usd_per_item),
        f"{e.samples_per_item:.2f}",
        f"{e.escalated:.0%}",
        n.interval(n.estimate(against.score_difference, against.score_difference_ci95), "+"),
        n.ratio(against.cost_ratio, ""),
    )


def _escalation_data(row: TierEscalation) -> Row:
    e, against = row.found, row.found.compared
    return {
        "tier": row.tier,
        "policy": e.name,
        "against": e.against,
        **_with_ends({"score": e.score, "score_ci95": e.score_ci95, "failed": e.failed}),
        "usd_per_item": e.usd_per_item,
        "samples": e.samples_per_item,
        "escalated": e.escalated,
        "difference": against.score_difference,
        **_with_ends({"difference_ci95": against.score_difference_ci95}),
        "cost_ratio": against.cost_ratio,
        **_with_ends({"cost_ratio_ci95": against.cost_ratio_ci95}),
    }


ESCALATION = TableSection[RunFiles, TierEscalation](
    "escalation: never, always, where it pays (against the strong tier, validation items)",
    lambda run: by_tier(run, _escalations),
    ("tier", "policy", "score>", "$/1,000>", "samples>", "escalated>", "to strong>", "cost>"),
    _escalation_cells,
    _escalation_data,
)

# --- rounds of search, spending ----------------------------------------------------------------


def _search_cells(row: search_rounds.SearchRow) -> tuple[str, ...] | None:
    if not row.leads or row.chains > 1:
        return None
    return (
        row.tier,
        row.items,
        f"{row.variant} k={row.passages}",
        str(row.rounds),
        n.beside(n.interval(row.score), row.failed),
        n.usd_per(row.usd_per_item),
        "flat" if row.rounds == row.plateau else "",
        row.next_dollar_buys,
    )


SEARCH = TableSection[RunFiles, search_rounds.SearchRow](
    "what does a round of search buy? (one chain of the leading variant; study items)",
    lambda run: by_tier(run, lambda t: search_rounds.search_rows(t.name, t.study_table)),
    ("tier", "items", "variant", "rounds>", "score>", "1,000 requests>", "", "next dollar"),
    _search_cells,
    flat,
)


def _spending_cells(row: StageUsage) -> tuple[str, ...]:
    return (
        row.tier,
        row.stage,
        f"{row.spent.calls:,}",
        f"{row.spent.tokens:,}",
        n.usd(row.spent.usd),
        f"{row.planned.calls:,}" if row.planned else "",
        n.usd(row.planned.usd if row.planned else None),
        n.usd(row.worst.usd if row.worst else None),
    )


def _spending_data(row: StageUsage) -> Row:
    found: Row = {"tier": row.tier, "stage": row.stage}
    for prefix, totals in (("", row.spent), ("planned_", row.planned), ("worst_", row.worst)):
        for name in ("calls", "tokens", "usd"):
            found[prefix + name] = getattr(totals, name) if totals else None
    return found


SPENDING = TableSection[RunFiles, StageUsage](
    "what the run spent, beside what was planned",
    stage_usage,
    (
        "tier",
        "stage",
        "calls>",
        "tokens>",
        "dollars>",
        "calls planned>",
        "dollars planned>",
        "at worst>",
    ),
    _spending_cells,
    _spending_data,
)

SECTIONS: dict[str, TableSection[RunFiles, Any]] = {
    "recipes": RECIPES,
    "prompts": PROMPTS,
    "gains": GAINS,
    "frontier": FRONTIER,
    "equal_dollars": EQUAL_DOLLARS,
    "transfer": TRANSFER,
    "difficulty": DIFFICULTY,
    "sensitivity": SENSITIVITY,
    "sensitivity_by_tier": SENSITIVITY_TRENDS,
    "techniques": TECHNIQUES,
    "escalation": ESCALATION,
    "search": SEARCH,
    "spending": SPENDING,
}
"""By the name of `--section`."""


@dataclass(frozen=True)
class Table:
    """A section with its rows; `labels` are columns in front of each row's own."""

    name: str
    section: TableSection[Any, Any]
    rows: Sequence[Any]
    labels: Mapping[str, str]

    def plain(self) -> list[Row]:
        """The rows as plain data."""
        return [{**self.labels, **self.section.plain(row)} for row in self.rows]


def plain_rows(tables: Iterable[Table]) -> dict[str, list[Row]]:
    """The rows of each section as plain data; those of several tables of one name together."""
    found: dict[str, list[Row]] = {}
    for table in tables:
        found.setdefault(table.name, []).extend(table.plain())
    return found


def frames(rows: Mapping[str, Sequence[Row]]) -> dict[str, pd.DataFrame]:
    """The same as data frames; a row that cannot be shown says why in `note`."""
    import pandas as pd

    return {name: pd.DataFrame(list(found)) for name, found in rows.items()}
