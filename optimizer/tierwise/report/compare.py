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
from tierwise.runs.artifacts import RunFiles, StageUsage, stage_usage
from tierwise.schema.measured import (
    NONE_FAILED,
    Bounds,
    EscalationRow,
    FailedItems,
    PromptSensitivity,
    Technique,
)
from tierwise.schema.policy_file import ExpectedBucket
from tierwise.schema.result import TierSummary
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


def flat(row: object) -> Row:
    """The fields of a dataclass; of an interval the mean and both ends, of failures the counts."""
    found: Row = {}
    for field in fields(row):  # type: ignore[arg-type]  # a dataclass, which has no type of its own
        name, value = field.name.rstrip("_"), getattr(row, field.name)
        if isinstance(value, Interval):
            found |= {name: value.mean, f"{name}_low": value.low, f"{name}_high": value.high}
        elif isinstance(value, FailedItems):
            # `failed` is `left_out` and `unanswered`; `before_failed` is `before_left_out` …
            found |= {name.replace("failed", part): count for part, count in vars(value).items()}
        elif name.endswith("_ci95"):
            found |= _ends(name.removesuffix("_ci95"), value)
        else:
            found[name] = value
    return found


def _ends(name: str, bounds: Bounds) -> Row:
    return {f"{name}_low": bounds[0], f"{name}_high": bounds[1]}


def _every_row(row: object) -> bool:
    return True


@dataclass(frozen=True)
class TableSection(Generic[S, R]):
    """A table of a comparison of `S`: a run, or two of them.

    Attributes:
        title: the question that it answers.
        rows: typed rows, or why there are none.
        columns: what a terminal shows; a heading that ends in `>` is over numbers.
        in_terminal: whether a terminal shows a row, or leaves it to `--json` and `--csv`.
        data: a row as plain data.
    """

    title: str
    rows: Callable[[S], Iterable[R | NotShown]]
    columns: tuple[tuple[str, Callable[[R], str]], ...]
    in_terminal: Callable[[R], bool] = _every_row
    data: Callable[[R], Row] = flat

    def table(self, source: S) -> list[R | NotShown]:
        """The rows; one note where the section as a whole cannot be shown."""
        try:
            return list(self.rows(source))
        except UnsupportedError as error:
            return [NotShown({}, f"not shown: {error}")]

    def cells(self, row: R) -> list[str]:
        """A row's text, a cell a column."""
        return [cell(row) for _, cell in self.columns]

    def plain(self, row: R | NotShown) -> Row:
        """A row as plain data."""
        return {**row.labels, NOTE: row.note} if isinstance(row, NotShown) else self.data(row)


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


@dataclass(frozen=True)
class OfTier(Generic[R]):
    """A row of a tier's summary; `rank` counts from 1."""

    tier: str
    rank: int
    row: R


def of_summaries(
    part: Callable[[TierSummary], Iterable[R]],
) -> Callable[[RunFiles], Iterable[OfTier[R]]]:
    """The rows of that part of every tier's summary."""
    return lambda run: [
        OfTier(name, i, row)
        for name, tier in run.tiers.items()
        for i, row in enumerate(part(tier.summary), start=1)
    ]


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
    bucket_score_ci95: Bounds
    score: float | None
    usd_per_item: float | None
    failed: FailedItems

    @property
    def first(self) -> bool:
        """Whether it is the policy's easiest bucket, beside which the whole policy is described."""
        return self.bucket in ("all", "easy", "b1")


def recipe_rows(tier: TierFiles) -> list[RecipeRow]:
    """A row a bucket."""
    file = tier.policy_file
    expected, difficulty = file.expected, file.policy.difficulty
    measured = expected.buckets or (ExpectedBucket(),) * len(file.policy.buckets)
    return [
        RecipeRow(
            tier=tier.name,
            model=file.tier.model,
            operating_point=tier.summary.operating_point,
            gate=tier.summary.gate,
            bucket=recipe.name,
            share=file.shares[i] if file.shares else None,
            variants=" + ".join(variant.label for variant in recipe.variants),
            strategy=str(recipe.strategy),
            in_words=n.recipe_in_words(recipe),
            signal=difficulty.signal,
            thresholds=", ".join(f"{cut:g}" for cut in difficulty.thresholds),
            bucket_score=measured[i].score,
            bucket_score_ci95=measured[i].score_ci95,
            score=expected.score,
            usd_per_item=expected.usd_per_item,
            failed=tier.summary.exported.failed,
        )
        for i, recipe in enumerate(file.policy.buckets)
    ]


RECIPES = TableSection[RunFiles, RecipeRow](
    "the policy of each tier, bucket by bucket",
    lambda run: by_tier(run, recipe_rows),
    (
        ("tier", lambda row: row.tier if row.first else ""),
        ("bucket", lambda row: row.bucket),
        ("share>", lambda row: n.share(row.share)),
        ("what is done", lambda row: row.in_words),
        (
            "score>",
            lambda row: n.beside(
                n.score(row.bucket_score), row.failed if row.first else NONE_FAILED
            ),
        ),
        ("$/1,000>", lambda row: n.usd_per(row.usd_per_item) if row.first else ""),
        (
            "told apart by",
            lambda row: f"{row.signal} at {row.thresholds}" if row.first and row.thresholds else "",
        ),
        ("gate", lambda row: row.gate if row.first else ""),
    ),
)

# --- prompts, techniques, sensitivity ----------------------------------------------------------


def _prompt_mark(row: prompts.PromptRow) -> str:
    mark = "●" if row.best else "" if row.separable else "○"
    return mark + ("*" if row.chosen else "")


PROMPTS = TableSection[RunFiles, prompts.PromptRow](
    "every prompt on every tier at one sample (● best, ○ not separable from it, * in the policy)",
    lambda run: by_tier(run, prompts.prompt_rows),
    (
        ("tier", lambda row: row.tier),
        ("prompt", lambda row: f"{row.prompt}/{row.mode}/{row.temperature:g}"),
        ("score>", lambda row: n.beside(n.interval(row.score), row.failed)),
        ("items>", lambda row: f"{row.items:.0f}"),
        ("samples>", lambda row: f"{row.samples:.0f}"),
        ("no answer>", lambda row: f"{row.abstentions} of {row.stored}"),
        ("$/1,000>", lambda row: n.usd_per(row.usd_per_item)),
        ("to best>", lambda row: "" if row.best else f"{-row.behind_best:+.3f}"),
        ("", _prompt_mark),
    ),
    lambda row: row.rank <= MOST_PROMPTS or bool(row.chosen),
)


def _by_paraphrase(technique: Technique) -> str:
    if len(technique.paraphrases) < 2:
        return ""
    return f"{technique.worst_paraphrase:.3f}–{technique.best_paraphrase:.3f}"


TECHNIQUES = TableSection[RunFiles, OfTier[Technique]](
    "does a technique help here? (all paraphrases together, Holm over a tier's table)",
    of_summaries(lambda summary: summary.techniques),
    (
        ("tier", lambda of: of.tier),
        ("technique", lambda of: f"{of.row.prompt}/{of.row.mode}"),
        ("family", lambda of: of.row.family),
        ("against", lambda of: of.row.against),
        (
            "difference>",
            lambda of: n.beside(
                n.interval(n.estimate(of.row.difference, of.row.difference_ci95), "+"),
                of.row.failed,
            ),
        ),
        ("by paraphrase>", lambda of: _by_paraphrase(of.row)),
        ("cost>", lambda of: f"×{of.row.cost_ratio:.2g}"),
        ("", lambda of: of.row.verdict),
    ),
    lambda of: of.rank <= MOST_TECHNIQUES or of.row.verdict != "not shown",
    lambda of: {
        "tier": of.tier,
        **flat(of.row),
        "rank": of.rank,
        "paraphrases": len(of.row.paraphrases),
    },
)


def _paraphrases(row: PromptSensitivity) -> str:
    family = "all prompts" if row.family == prompts.ALL_PROMPTS else row.family
    return f"{family}, {row.mode}/{row.temperature:g}"


def _or_nothing(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _sensitivity_data(of: OfTier[PromptSensitivity]) -> Row:
    found = {"tier": of.tier, **flat(of.row), "prompts": len(of.row.prompts)}
    del found["mean_score"]
    return found


SENSITIVITY = TableSection[RunFiles, OfTier[PromptSensitivity]](
    "how much the score depends on the paraphrase (PSS; 0: not at all)",
    of_summaries(lambda summary: summary.prompt_sensitivity),
    (
        ("tier", lambda of: of.tier),
        ("paraphrases", lambda of: _paraphrases(of.row)),
        ("prompts>", lambda of: f"{len(of.row.prompts)}"),
        ("PSS>", lambda of: n.interval(n.estimate(of.row.pss, of.row.pss_ci95))),
        ("by chance>", lambda of: _or_nothing(of.row.by_chance, ".3f")),
        ("with confidence>", lambda of: _or_nothing(of.row.spearman_with_confidence, "+.2f")),
    ),
    data=_sensitivity_data,
)

SENSITIVITY_TRENDS = TableSection[RunFiles, prompts.SensitivityTrend](
    "is a stronger tier less sensitive to the paraphrase? (rank correlation, within families)",
    lambda run: prompts.sensitivity_trends(
        [tier.summary.prompt_sensitivity for tier in run.tiers.values()], run.seed
    ),
    (
        ("PSS with", lambda row: row.with_),
        ("families>", lambda row: f"{row.families}"),
        ("points>", lambda row: f"{row.points}"),
        ("Spearman>", lambda row: n.interval(row.spearman, "+")),
    ),
)

# --- tiers -------------------------------------------------------------------------------------

GAINS = TableSection[RunFiles, tiers.GainRow](
    "what thinking, votes and buckets add",
    lambda run: by_tier(run, tiers.gain_rows),
    (
        ("tier", lambda row: row.tier),
        ("adds", lambda row: row.adds),
        (
            "gain>",
            lambda row: "nothing: the same policy" if row.same else n.interval(row.gain, "+"),
        ),
        ("at cost>", lambda row: "" if row.same else n.ratio(row.cost_ratio, "")),
        ("evaluated on", lambda row: row.split),
    ),
)


def _offered_tier(offer: tiers.Offer | None) -> str:
    return offer.tier if offer else "not reached"


def _offered_score(offer: tiers.Offer | None) -> str:
    return n.beside(n.score(offer.score.mean), offer.failed) if offer else ""


def _offered_usd(offer: tiers.Offer | None) -> str:
    return n.usd_per(offer.usd) if offer else ""


def _offer_data(prefix: str, offer: tiers.Offer | None) -> Row:
    values: Row = dict.fromkeys(
        ("tier", "policy", "score", "score_low", "score_high", "usd_per_item"), None
    ) | dict.fromkeys(vars(NONE_FAILED), None)
    if offer is not None:
        counts = vars(offer.failed).values()
        told = (offer.tier, offer.policy, *offer.score, offer.usd, *counts)
        values = dict(zip(values, told, strict=True))
    return {prefix + name: value for name, value in values.items()}


FRONTIER = TableSection[RunFiles, tiers.FrontierRow](
    "the cheapest tier for each score (policies: --json)",
    lambda run: tiers.frontier_rows(list(run.tiers.values())),
    (
        ("target>", lambda row: f"{row.target:g}"),
        ("cheapest", lambda row: _offered_tier(row.reached)),
        ("score>", lambda row: _offered_score(row.reached)),
        ("$/1,000>", lambda row: _offered_usd(row.reached)),
        ("with 95% confidence", lambda row: _offered_tier(row.surely)),
        ("score>", lambda row: _offered_score(row.surely)),
        ("$/1,000>", lambda row: _offered_usd(row.surely)),
        ("out of reach of", lambda row: ", ".join(row.not_reached_by)),
    ),
    data=lambda row: {
        "target": row.target,
        **_offer_data("", row.reached),
        **_offer_data("surely_", row.surely),
        "not_reached_by": ", ".join(row.not_reached_by),
    },
)


def _verdict(row: tiers.EqualDollarsRow) -> str:
    return row.verdict + ("" if row.reaches_at_any_budget_tried else ", at any budget tried")


EQUAL_DOLLARS = TableSection[RunFiles, tiers.EqualDollarsRow](
    "a cheaper tier's policy against a single call to a more expensive tier",
    lambda run: tiers.equal_dollars_rows(list(run.tiers.values())),
    (
        ("tier", lambda row: row.tier),
        ("against", lambda row: row.against),
        ("score>", lambda row: n.beside(f"{row.score:.3f}", row.failed)),
        ("$/1,000>", lambda row: n.usd_per(row.usd_per_item)),
        (
            "single call>",
            lambda row: n.beside(f"{row.single_call_score:.3f}", row.single_call_failed),
        ),
        ("$/1,000>", lambda row: n.usd_per(row.single_call_usd)),
        ("lead>", lambda row: n.interval(row.lead, "+")),
        ("verdict", _verdict),
    ),
)

TRANSFER = TableSection[RunFiles, tiers.TransferRow](
    "each tier's policy on the others, against their own",
    lambda run: tiers.transfer_rows(list(run.tiers.values()), run.seed),
    (
        ("policy of", lambda row: row.policy_of),
        ("on", lambda row: row.on),
        ("score>", lambda row: n.beside(n.interval(row.score), row.failed)),
        ("against own>", lambda row: n.interval(row.against_own, "+")),
        ("at cost>", lambda row: n.ratio(row.cost_ratio, "")),
        ("evaluated on", lambda row: row.split),
    ),
)

DIFFICULTY = TableSection[RunFiles, tiers.DifficultyRow](
    "rank correlation of item difficulty between tiers",
    lambda run: tiers.difficulty_rows(list(run.tiers.values()), run.seed),
    (
        ("tier", lambda row: row.tier),
        ("other", lambda row: row.other),
        ("Spearman>", lambda row: n.interval(row.spearman)),
        ("items>", lambda row: f"{row.items:.0f}"),
    ),
)


def _against_strong(row: EscalationRow) -> str:
    against = row.compared
    return n.interval(n.estimate(against.score_difference, against.score_difference_ci95), "+")


def _escalation_data(of: OfTier[EscalationRow]) -> Row:
    row, against = of.row, of.row.compared
    return {
        "tier": of.tier,
        "policy": row.name,
        "against": row.against,
        "score": row.score,
        **_ends("score", row.score_ci95),
        **vars(row.failed),
        "usd_per_item": row.usd_per_item,
        "samples": row.samples_per_item,
        "escalated": row.escalated,
        "difference": against.score_difference,
        **_ends("difference", against.score_difference_ci95),
        "cost_ratio": against.cost_ratio,
        **_ends("cost_ratio", against.cost_ratio_ci95),
    }


ESCALATION = TableSection[RunFiles, OfTier[EscalationRow]](
    "escalation: never, always, where it pays (against the strong tier, validation items)",
    of_summaries(lambda summary: summary.escalation),
    (
        ("tier", lambda of: of.tier),
        ("policy", lambda of: of.row.name),
        (
            "score>",
            lambda of: n.beside(
                n.interval(n.estimate(of.row.score, of.row.score_ci95)), of.row.failed
            ),
        ),
        ("$/1,000>", lambda of: n.usd_per(of.row.usd_per_item)),
        ("samples>", lambda of: f"{of.row.samples_per_item:.2f}"),
        ("escalated>", lambda of: f"{of.row.escalated:.0%}"),
        ("to strong>", lambda of: _against_strong(of.row)),
        ("cost>", lambda of: n.ratio(of.row.compared.cost_ratio, "")),
    ),
    data=_escalation_data,
)

# --- rounds of search, spending ----------------------------------------------------------------

SEARCH = TableSection[RunFiles, search_rounds.SearchRow](
    "what does a round of search buy? (the leading variant with one chain, and all that is on the "
    "front of score and cost; study items)",
    lambda run: by_tier(run, lambda t: search_rounds.search_rows(t.name, t.study_table)),
    (
        ("tier", lambda row: row.tier),
        ("items", lambda row: row.items),
        ("variant", lambda row: f"{row.variant} k={row.passages}"),
        ("rounds>", lambda row: str(row.rounds)),
        ("chains>", lambda row: str(row.chains)),
        ("score>", lambda row: n.beside(n.interval(row.score), row.failed)),
        ("1,000 requests>", lambda row: n.usd_per(row.usd_per_item)),
        ("", lambda row: "flat" if row.rounds == row.plateau else ""),
        ("front", lambda row: "yes" if row.on_front else ""),
        ("next dollar", lambda row: row.next_dollar_buys),
    ),
    lambda row: row.on_front or (row.leads and row.chains == 1),
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
        ("tier", lambda row: row.tier),
        ("stage", lambda row: row.stage),
        ("calls>", lambda row: f"{row.spent.calls:,}"),
        ("tokens>", lambda row: f"{row.spent.tokens:,}"),
        ("dollars>", lambda row: n.usd(row.spent.usd)),
        ("calls planned>", lambda row: f"{row.planned.calls:,}" if row.planned else ""),
        ("dollars planned>", lambda row: n.usd(row.planned.usd if row.planned else None)),
        ("at worst>", lambda row: n.usd(row.worst.usd if row.worst else None)),
    ),
    data=_spending_data,
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
