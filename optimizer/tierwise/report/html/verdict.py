"""The verdict in plain words: which recipe for which tier, how sure, at what cost."""

from __future__ import annotations

from tierwise.report import numbers as n
from tierwise.report.html.markup import Markup, el, joined
from tierwise.report.html.page import paragraphs
from tierwise.report.reading import RunFiles, TierFiles
from tierwise.report.words import bucket_names, recipe_in_words
from tierwise.schema.policy_file import PolicyFile
from tierwise.schema.result import OperatingPoint, TierSummary
from tierwise.stats.intervals import SMALL_SAMPLE

MANY_LOOKS = 5
"""Looks at the test split; with more, it has become a part of the search."""


def verdict(run: RunFiles) -> Markup:
    """A card a tier."""
    cards = [_card(tier) for tier in run.tiers.values()]
    cards += [
        el(
            "div",
            el("h3", name),
            el("p", f"This tier ended with an error: {error}"),
            class_="card failed",
        )
        for name, error in run.failed.items()
    ]
    return joined(cards)


def _card(tier: TierFiles) -> Markup:
    s = tier.summary
    point = s.chosen
    state = "passed" if tier.summary.passed else "not passed"
    head = el(
        "h3",
        el("span", "", class_=f"swatch {tier.tone}"),
        f"{tier.name} ",
        el("small", f"{s.model} · gate {state}"),
    )
    words = _shown(tier, point) if tier.summary.passed else _kept(tier, point)
    recipe = recipe_list(tier.policy) if tier.policy else None
    remarks = _remarks(tier, s)
    return el("div", head, el("p", words), recipe, paragraphs(*remarks), class_="card")


def _shown(tier: TierFiles, point: OperatingPoint) -> str:
    base, against = tier.summary.baseline, point.against_baseline
    low = against.score_difference_ci95[0]
    difference = (
        f"{n.points(against.score_difference)} points "
        f"{n.point_bounds(against.score_difference_ci95)}"
    )
    cost = (
        f"{n.usd_per(point.usd_per_item)} for 1,000 requests instead of "
        f"{n.usd_per(base.usd_per_item)} ({n.ratio(against.cost_ratio)} "
        f"{n.bounds(against.cost_ratio_ci95, 2)})"
    )
    if low is not None and low > 0:
        return (
            f"Change the prompt and the way it is run. On {point.items} held-out items the "
            f"policy below scores {n.score(point.score)} {n.bounds(point.score_ci95)}, where "
            f"today's prompt scores {n.score(base.score)}: {difference}. It costs {cost}, with "
            f"{_samples(point.samples_per_item)} a request."
        )
    return (
        f"Change it for the cost. The policy below is as good as today's prompt ({difference}, on "
        f"{point.items} held-out items) and costs {cost}."
    )


def _samples(mean: float) -> str:
    said = f"{mean:.1f}"
    return "one sample" if said == "1.0" else f"{said} samples"


def _kept(tier: TierFiles, point: OperatingPoint) -> str:
    base, against = tier.summary.baseline, point.against_baseline
    found = (
        f"The best policy that was found ({n.points(against.score_difference)} points "
        f"{n.point_bounds(against.score_difference_ci95)}, {n.ratio(against.cost_ratio)} the "
        "cost) was not shown to be better, or as good and cheaper, so it is not exported."
    )
    if point.policy == base.policy:
        found = "Nothing that was tried did better on the items by which policies are chosen."
    return (
        f"Keep today's prompt. It scores {n.score(base.score)} {n.bounds(base.score_ci95)} "
        f"on {base.items} held-out items, at {n.usd_per(base.usd_per_item)} for 1,000 "
        f"requests. {found}"
    )


def _remarks(tier: TierFiles, summary: TierSummary) -> list[str]:
    said = []
    if summary.items.test < SMALL_SAMPLE:
        said.append(
            f"A small sample: {summary.items.test} held-out items, so all intervals are wide."
        )
    looks = tier.policy.evidence.get("looks_at_test") if tier.policy else None
    if isinstance(looks, int) and looks > MANY_LOOKS:
        said.append(
            f"The test split was looked at {looks} times: by now it is known, and new items would "
            "say more."
        )
    if tier.policy is not None and not tier.policy.deployable:
        said.append("Tuned on recorded answers: this policy can be replayed, not served.")
    return said


def recipe_list(policy: PolicyFile) -> Markup:
    """The recipe of each bucket in words."""
    buckets, names = policy.policy.buckets, bucket_names(len(policy.policy.buckets))
    if len(buckets) == 1:
        return el("p", el("b", "Every request: "), f"{recipe_in_words(buckets[0])}.")
    shares = policy.shares or (None,) * len(buckets)
    rows = [
        el("li", el("b", f"{name} ({n.share(part)} of requests): "), f"{recipe_in_words(recipe)}.")
        for name, part, recipe in zip(names, shares, buckets, strict=True)
    ]
    return joined([el("ul", *rows), el("p", f"Told apart by {told_apart(policy)}.")])


def told_apart(policy: PolicyFile) -> str:
    """How a request finds its bucket."""
    difficulty = policy.policy.difficulty
    cuts = ", ".join(f"{cut:.3g}" for cut in difficulty.thresholds)
    probe = difficulty.probe
    by = f" of {probe}" if probe else ""
    return f"{difficulty.signal}{by}, cut at {cuts} (higher is easier)"
