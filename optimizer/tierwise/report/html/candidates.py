"""Each candidate's rank at one sample against its rank in the strategy that runs it; the rounds."""

from __future__ import annotations

from collections.abc import Sequence

from tierwise.report import numbers as n
from tierwise.report.html.markup import Markup, el, joined
from tierwise.report.html.page import behind, table
from tierwise.report.reading import RunFiles, TierFiles
from tierwise.schema.result import ProposalRound, RankRow, RefusedProposal


def candidates(run: RunFiles) -> Markup:
    """A table a tier, and what each round of proposals came to."""
    shown = [tier for tier in run.tiers.values() if tier.summary.ranks]
    if not shown:
        return el("p", "The run did not write down how its candidates ranked.")
    return joined(
        [
            el(
                "p",
                "The best prompt at one sample is often not the best under a vote. Both scores are "
                "on the same items and samples of the study; the strategy is that of the chosen policy's "
                "hardest bucket.",
            ),
            *(_tier(tier) for tier in shown),
        ]
    )


def _tier(tier: TierFiles) -> Markup:
    rows = tier.summary.ranks
    raced = [row for row in rows if row.rank_in_strategy is not None]
    moved = sum(row.rank_at_one_sample != row.rank_in_strategy for row in raced)
    said = f"{tier.name}: {raced[0].strategy}, " if raced else f"{tier.name}: "
    caption = f"{said}{moved} of {len(raced)} candidates rank otherwise than at one sample"
    columns = ("candidate", "from", "at one sample", "rank", "in the strategy", "rank", "items")
    ranks = table(
        columns,
        [
            (
                row.variant,
                row.origin,
                n.score(row.score_at_one_sample),
                row.rank_at_one_sample or n.NOTHING,
                n.score(row.score_in_strategy),
                row.rank_in_strategy or n.NOTHING,
                row.items,
            )
            for row in raced
        ],
        text=2,
        caption=caption,
    )
    rounds = tier.summary.rounds
    return joined([ranks, _out(rows), _rounds(tier.name, rounds) if rounds else None])


def _out(rows: Sequence[RankRow]) -> Markup | None:
    """What was dropped before the study, with its score of the screening."""
    out = [
        (row.variant, row.origin, n.score(row.score_at_one_sample), row.items)
        for row in rows
        if row.rank_in_strategy is None
    ]
    if not out:
        return None
    shown = table(("candidate", "from", "at one sample", "items"), out, text=2)
    return behind(f"{len(out)} more, out of the race before", shown)


def _rounds(name: str, rounds: Sequence[ProposalRound]) -> Markup:
    columns = (
        "round",
        "why no further",
        "proposed",
        "refused",
        "gain, points",
        "95% interval",
        "at cost",
        "items",
    )
    rows, refused = [], []
    for made in rounds:
        gain = made.gain
        out = [
            *made.refused,
            *(RefusedProposal(t.origin, t.refused) for t in made.tried if t.refused),
        ]
        rows.append(
            (
                str(made.round),
                made.ended or n.NOTHING,
                len(made.prompts),
                len(out),
                n.points(gain.score_difference if gain else None),
                n.point_bounds(gain.score_difference_ci95 if gain else None),
                n.ratio(gain.cost_ratio if gain else None),
                gain.items if gain else n.NOTHING,
            )
        )
        refused += [(str(made.round), row.origin, row.reason) for row in out]
    shown = table(columns, rows, text=2, caption=f"{name}: rounds of proposals")
    if not refused:
        return shown
    why = table(("round", "proposal", "reason"), refused, text=3)
    return joined([shown, behind("What was refused, and why", why)])
