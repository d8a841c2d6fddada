"""Score by rounds of search: a curve a class of items, and where it is flat."""

from __future__ import annotations

from tierwise.report import numbers as n
from tierwise.report._base import Row
from tierwise.report.html.labels import spread
from tierwise.report.html.markup import Markup, el, joined
from tierwise.report.html.page import figure, table, tiers_in_a_row
from tierwise.report.html.svg import Chart, padded
from tierwise.report.reading import DAMAGED, RunFiles, TierFiles
from tierwise.report.search_rounds import search_rows, shown

APART = 3.0
"""Between the intervals of two curves at one place."""


def search_rounds(run: RunFiles) -> Markup | None:
    """A chart a tier that searched; None where none did."""
    figures = []
    for tier in run.tiers.values():
        try:
            rows = shown(search_rows(tier))
        except DAMAGED:
            continue
        if rows:
            figures.append(_figure(tier, rows))
    if not figures:
        return None
    return joined(
        [
            el(
                "p",
                "What each number of rounds of search comes to, of the variant that leads; one chain. "
                "Items are told apart by the length of the question. Chains are nested, so that all of "
                "it was bought once. It is made from the study's samples, so it is not evidence of how "
                "good the policy is.",
            ),
            tiers_in_a_row(figures),
        ]
    )


def _figure(tier: TierFiles, rows: list[Row]) -> Markup:
    numbers = table(
        (
            "items",
            "variant",
            "chains",
            "rounds",
            "score",
            "95% interval",
            "usd",
            "flat",
            "next dollar",
        ),
        [
            (
                row["items"],
                f"{row['variant']} k={row['passages']}",
                row["chains"],
                row["rounds"],
                n.score(row["score"]),
                n.bounds((row["score_low"], row["score_high"])),
                n.usd(row["usd_per_item"]),
                "yes" if row["rounds"] >= row["plateau"] else "",
                row["next_dollar_buys"],
            )
            for row in rows
        ],
        text=2,
    )
    return figure(tier.name, _chart(tier, [row for row in rows if row["chains"] == 1]), numbers)


def _chart(tier: TierFiles, rows: list[Row]) -> Markup:
    names = list(dict.fromkeys(row["items"] for row in rows))
    most = max(row["rounds"] for row in rows)
    flat = {row["items"]: row["plateau"] for row in rows}
    chart = Chart(
        f"{tier.name}: score by rounds of search",
        "; ".join(f"{name}: flat from {flat[name]} rounds" for name in names),
        (-0.2, most + 0.2),
        padded([v for r in rows for v in (r["score_low"], r["score_high"])]),
        "rounds of search",
        "score",
        right=126.0,
    )
    ends = []
    for i, name in enumerate(names):
        mine = [row for row in rows if row["items"] == name]
        tone = f"{tier.tone} dash{i % 3}"
        chart.line([(r["rounds"], r["rising"]) for r in mine], tone, name)
        for r in mine:
            said = f"{name}, {r['rounds']} rounds: {n.score(r['score'])}"
            aside = APART * (i - (len(names) - 1) / 2)
            ends_of = r["score_low"], r["score_high"]
            chart.whisker(r["rounds"], ends_of, f"{tier.tone} faint", aside)
            chart.dot(r["rounds"], r["score"], tier.tone, said, size=3.2)
        ends.append((mine[-1]["rising"], f"{name}, flat from {flat[name]}"))
    at = [chart.at_y(score) for score, _ in ends]
    apart = spread(at, chart.at_y.end, chart.at_y.start - 6)
    for (score, said), own, moved in zip(ends, at, apart, strict=True):
        chart.text(most, score, said, dx=10, dy=4 + moved - own)
    return chart.svg()
