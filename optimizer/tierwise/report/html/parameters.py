"""Which parameters moved score and cost: PED-ANOVA over the last generation's trials."""

from __future__ import annotations

from collections.abc import Mapping

from tierwise.report import numbers as n
from tierwise.report.html.markup import Markup, el, joined
from tierwise.report.html.page import figure, table
from tierwise.report.html.svg import picture
from tierwise.report.reading import RunFiles, TierFiles

SHOWN = 10
WIDTH, NAME, ROW = 420, 245, 21
WORDS = {"score": "score", "usd": "dollars"}


def parameters(run: RunFiles) -> Markup:
    """Bars a tier and objective."""
    from tierwise.search.importances import importances

    if not run.run.journal.is_file():
        return el("p", "study.journal is not there.")
    last = {name: tier.summary.studies[-1] for name, tier in run.tiers.items()}
    found = importances(run.run.journal, list(last.values()))
    figures = [
        el(
            "div",
            *(
                _figure(run.tiers[name], objective, shares)
                for objective, shares in found[study].items()
            ),
            class_="pair",
        )
        for name, study in last.items()
        if study in found
    ]
    if not figures:
        return el("p", "Too few trials to say.")
    return joined(
        [
            el(
                "p",
                "Shares of importance by PED-ANOVA: where the best quarter of the trials lies "
                "apart from all trials. The sampler chose these trials, so a parameter that it settled "
                "early looks less important than it is. A name begins with its bucket, of which b0 is "
                "the easiest; ",
                el("code", "share0"),
                " is the part of requests that falls into it, ",
                el("code", "variant0"),
                " its first variant, ",
                el("code", "variants"),
                " how many it has.",
            ),
            *figures,
        ]
    )


def _figure(tier: TierFiles, objective: str, shares: Mapping[str, float]) -> Markup:
    ranked = [(name, share) for name, share in shares.items() if n.known(share)]
    top = ranked[:SHOWN]
    most = max((share for _, share in top), default=1.0) or 1.0
    marks = []
    for i, (name, share) in enumerate(top):
        y, width = i * ROW + 4, max(1.0, share / most * (WIDTH - NAME - 45))
        marks += [
            el("text", name, x=NAME - 6, y=y + 12, text_anchor="end", class_="label"),
            el(
                "rect",
                el("title", f"{name}: {share:.1%}"),
                x=NAME,
                y=y,
                height=14,
                width=round(width, 1),
                class_=f"bar {tier.tone}",
            ),
            el("text", n.share(share), x=round(NAME + width + 5, 1), y=y + 12, class_="label dim"),
        ]
    title = f"{tier.name}: {WORDS[objective]}"
    said = ", ".join(f"{name} {n.share(share)}" for name, share in top[:3])
    return figure(
        title,
        picture(f"Importances for {title}", said, WIDTH, len(top) * ROW + 8, marks),
        table(("parameter", "share"), [(name, f"{share:.1%}") for name, share in ranked]),
    )
