"""Sections on what came out: the recommendation, costs, operating points, targets.

What the builders of all sections share comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

from tierwise.analysis.policies import paired_gain, point_steps, points_by_cost
from tierwise.analysis.tier_files import NotShown, TierFiles
from tierwise.analysis.tiers import FrontierRow, frontier_rows
from tierwise.errors import UnsupportedError
from tierwise.report import text as n
from tierwise.report.charts import Chart, Mark, Series, XYChart
from tierwise.report.text import recipe_in_words
from tierwise.runs.artifacts import RunFiles
from tierwise.schema.measured import Measured
from tierwise.schema.policy_file import ExpectedBucket, PolicyFile
from tierwise.stats.intervals import SMALL_SAMPLE

T = TypeVar("T")

_MANY_LOOKS = 5
"""Looks at the test split; with more, it has become a part of the search."""

# What sections share


class Built(NamedTuple):
    """What a section's template reads, by name, and what is missing of it, in sentences."""

    context: Mapping[str, Any] | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A chart, and the rows of the table behind it."""

    title: str
    chart: Chart
    rows: tuple[Any, ...]


def each_tier(
    run: RunFiles, build: Callable[[TierFiles], T | None]
) -> tuple[tuple[T, ...], tuple[str, ...]]:
    """What ``build`` makes of each tier (None is left out), and a note where a file is missing."""
    found, notes = [], []
    for tier in run.tiers.values():
        try:
            made = build(tier)
        except UnsupportedError as error:
            notes.append(f"{tier.name} is not shown: {error}.")
            continue
        if made is not None:
            found.append(made)
    return tuple(found), tuple(notes)


def sorted_by(policy: PolicyFile) -> str:
    """How a request finds its bucket: ``length, cut at -12 (higher is easier)``."""
    difficulty = policy.policy.difficulty
    cuts = ", ".join(f"{cut:.3g}" for cut in difficulty.thresholds)
    of = f" of {difficulty.probe}" if difficulty.probe else ""
    return f"{difficulty.signal}{of}, cut at {cuts} (higher is easier)"


# Recommendation

Recommended = Literal["better", "cheaper", "advised", "kept", "unchanged"]


class BucketLine(NamedTuple):
    """What is done with the requests of a bucket."""

    name: str
    share: float | None
    recipe: str
    expected: ExpectedBucket | None


@dataclass(frozen=True)
class Card:
    """The recommendation for a tier.

    ``outcome``: the chosen policy is better than the baseline, or as good and cheaper; the
    baseline is kept though another policy was chosen, or no other was chosen (unchanged).
    """

    tier: TierFiles
    outcome: Recommended
    buckets: tuple[BucketLine, ...]
    sorted_by: str
    remarks: tuple[str, ...]


def recommendation_section(run: RunFiles) -> Built:
    """What to deploy on each tier: what is gained, at what cost, how sure."""
    if not run.tiers and not run.failed:
        return Built(None)
    notes = tuple(
        f"What the policy of {name} does is not shown: policies/{name}.yaml is missing or damaged."
        for name, tier in run.tiers.items()
        if tier.policy is None
    )
    cards = tuple(_card(tier) for tier in run.tiers.values())
    return Built({"cards": cards, "failed": tuple(run.failed.items())}, notes)


def _card(tier: TierFiles) -> Card:
    s, policy = tier.summary, tier.policy
    low = s.chosen.against_baseline.score_difference_ci95[0]
    outcome: Recommended
    if s.passed:
        outcome = "better" if low is not None and low > 0 else "cheaper"
    elif s.chosen.policy == s.baseline.policy:
        outcome = "unchanged"
    else:
        outcome = "advised" if s.exports_chosen else "kept"
    buckets = _bucket_lines(policy) if policy else ()
    told_by = sorted_by(policy) if policy else ""
    return Card(tier, outcome, buckets, told_by, tuple(_remarks(tier)))


def _bucket_lines(policy: PolicyFile) -> tuple[BucketLine, ...]:
    recipes = policy.policy.buckets
    shares = policy.shares or (None,) * len(recipes)
    expected = policy.expected.buckets
    return tuple(
        BucketLine(recipe.name, shares[i], recipe_in_words(recipe), *expected[i : i + 1] or (None,))
        for i, recipe in enumerate(recipes)
    )


def _remarks(tier: TierFiles) -> Iterator[str]:
    items = tier.summary.items.test
    if items < SMALL_SAMPLE:
        yield f"A small sample: {items} held-out items, so all intervals are wide."
    if tier.policy is None:
        return
    looks = tier.policy.evidence.looks_at_test or 0
    if looks > _MANY_LOOKS:
        yield (
            f"The test split was looked at {looks} times, so it has become a part of the search: "
            "new items would say more."
        )
    if not tier.policy.deployable:
        yield "Tuned on recorded answers: this policy can be replayed, not served."


# Score against cost


_SPOT_KINDS = {
    "not worth it": ("costs more than the policy, not proven better", "cross", 4.0),
    "single": ("the best single call", "diamond", 5.5),
    "baseline": ("the baseline prompt, one sample", "ring", 5.5),
    "policy": ("the exported policy", "star", 7.0),
}
"""Kind of a spot -> words, shape and size of its mark; drawn in this order."""


@dataclass(frozen=True)
class Spot:
    """Something that was measured on a tier's items."""

    tier: str
    tone: str
    kind: str
    measured: Measured

    @property
    def what(self) -> str:
        """Its kind in words."""
        return _SPOT_KINDS[self.kind][0]


def cost_section(run: RunFiles) -> Built:
    """From the baseline prompt to the exported policy of each tier, in score and dollars."""
    spots = tuple(spot for tier in run.tiers.values() for spot in _spots(tier))
    tones = tuple(("circle", tier.tone, name) for name, tier in run.tiers.items())
    signs = tuple((shape, "ink", what) for what, shape, _ in reversed(_SPOT_KINDS.values()))
    simulated = any(tier.simulated for tier in run.tiers.values())
    figure = Figure("Score against cost of 1,000 requests", _cost_chart(spots), spots)
    return Built({"figure": figure, "legend": tones + signs, "simulated": simulated})


def _spots(tier: TierFiles) -> Iterator[Spot]:
    s = tier.summary
    yield Spot(tier.name, tier.tone, "baseline", s.baseline)
    known = {s.baseline.policy}
    if s.exports_chosen:
        yield Spot(tier.name, tier.tone, "policy", s.chosen)
        known.add(s.chosen.policy)
    single = s.ablation.get("best_prompt_one_sample")
    if single is not None and single.policy not in known:
        yield Spot(tier.name, tier.tone, "single", single)
        known.add(single.policy)
    for other in (*s.operating_points.values(), *s.ablation.values()):
        if other.policy in known or other.usd_per_item <= s.exported.usd_per_item:
            continue
        gain = paired_gain(tier.validated, other.policy, s.exported.policy)
        if gain is not None and gain.low <= 0:
            yield Spot(tier.name, tier.tone, "not worth it", other)
            known.add(other.policy)


def _cost_chart(spots: tuple[Spot, ...]) -> XYChart:
    moves = [
        Series(
            f"{here.tier}: from the baseline prompt to the policy",
            here.tone,
            tuple(
                Mark(n.PER * s.measured.usd_per_item, s.measured.score, shape="")
                for s in (here, there)
            ),
            "move",
        )
        for here in spots
        for there in spots
        if here.tier == there.tier and here.kind == "baseline" and there.kind == "policy"
    ]
    marks = [
        Series("", s.tone, (_mark(s),)) for kind in _SPOT_KINDS for s in spots if s.kind == kind
    ]
    return XYChart(
        "Score against cost",
        "; ".join(
            f"{s.tier}, {s.what}: {n.score(got.score)} at {n.usd_per(got.usd_per_item)}"
            for s in spots
            if s.kind in ("baseline", "policy") and (got := s.measured)
        ),
        (*moves, *marks),
        "dollars for 1,000 requests (logarithmic)",
        log_x=True,
        height=380,
    )


def _mark(spot: Spot) -> Mark:
    got, (what, shape, size) = spot.measured, _SPOT_KINDS[spot.kind]
    label = {"baseline": f"{spot.tier} today", "policy": spot.tier}.get(spot.kind, "")
    note = f"{spot.tier}, {what}: {held_out_in_words(got)}"
    interval = got.score_ci95 if label else None
    return Mark(n.PER * got.usd_per_item, got.score, note, shape, size, interval, label)


def held_out_in_words(got: Measured) -> str:
    """``score 0.940 [0.921, 0.955] at $0.0110 for 1,000 requests. POLICY``."""
    return (
        f"score {n.score(got.score)} {n.bounds(got.score_ci95)} at {n.usd_per(got.usd_per_item)} "
        f"for 1,000 requests. {got.policy}"
    )


# Operating points


def points_section(run: RunFiles) -> Built:
    """Operating points by cost, and what the next dollar buys on the way from one to the next."""
    tiers = tuple((tier, points_by_cost(tier)) for tier in run.tiers.values())
    steps = tuple(step for tier in run.tiers.values() for step in point_steps(tier))
    return Built({"tiers": tiers, "steps": steps})


# Cheapest policy for a target score


def cheapest_section(run: RunFiles) -> Built:
    """The cheapest tier and policy for each score that one may want."""
    rows = frontier_rows(list(run.tiers.values()))
    targets = tuple(row for row in rows if isinstance(row, FrontierRow))
    notes = tuple(
        f"{row.labels['tier']} is {row.note}." for row in rows if isinstance(row, NotShown)
    )
    return Built({"targets": targets} if targets else None, notes)
