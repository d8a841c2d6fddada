"""Where the money went, and what was planned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tierwise.report import numbers as n
from tierwise.report.html.markup import Child, Markup, el, joined
from tierwise.report.html.page import figure, table
from tierwise.report.html.svg import key, legend, picture
from tierwise.report.purchases import bought
from tierwise.report.reading import RunFiles

BAR = 26
WIDTH = 520
ROOM = 100
SAID = 60


def money(run: RunFiles) -> Markup:
    """A bar a tier, what was planned beside what was bought, and the pool by what was sent."""
    parts: list[Child] = []
    spent = {name: tier.summary for name, tier in run.tiers.items()}
    if spent:
        total = sum(s.spending.usd for s in spent.values())
        simulated = all(tier.simulated for tier in run.tiers.values())
        parts.append(
            el(
                "p",
                f"The run bought {sum(s.spending.calls for s in spent.values()):,} "
                f"calls for {n.usd(total)}"
                + (" (simulated: parameters × tokens, nobody's bill)." if simulated else ".")
                + " Recorded answers cost nothing.",
            )
        )
        lost = [s.possibly_billed for s in spent.values() if s.possibly_billed]
        if lost:
            calls, tokens = sum(p.calls for p in lost), sum(p.tokens for p in lost)
            usd = sum(p.usd for p in lost)
            parts.append(
                el(
                    "p",
                    f"Possibly billed beside: {calls:,} calls that brought no answer "
                    f"(time-outs, cuts, errors), at most {tokens:,} tokens and "
                    f"{n.usd(usd)}. Limits of a budget count them.",
                )
            )
        planned = {name: plan.expected.usd for name, plan in run.plan.items()}
        rows = []
        for name, s in spent.items():
            rows.append(
                (
                    name,
                    f"{s.spending.calls:,}",
                    f"{s.spending.tokens:,}",
                    n.usd(s.spending.usd),
                    n.usd(planned.get(name)),
                    n.usd(run.plan[name].worst.usd if name in run.plan else None),
                )
            )
        parts.append(
            figure(
                "Dollars of tuning, by tier",
                _bars(run, planned),
                table(("tier", "calls", "tokens", "spent", "planned", "planned at worst"), rows),
                legend(key("circle", "ink", "spent"), key("upright", "plan", "planned, expected")),
            )
        )
    rows_of_pool = bought(run.run.pool)
    if rows_of_pool:
        parts.append(el("p", "What was sent, and the tokens that came back:"))
        parts.append(
            table(
                ("model", "sent with", "requests", "samples", "prompt tokens", "completion tokens"),
                [
                    (
                        b.model,
                        _params(b.params),
                        f"{b.requests:,}",
                        f"{b.samples:,}",
                        f"{b.prompt_tokens:,}",
                        f"{b.completion_tokens:,}",
                    )
                    for b in rows_of_pool
                ],
                text=2,
                caption="Samples in the pool, by what was sent",
            )
        )
        parts.append(
            el(
                "p",
                "Prompt tokens are those of each sample; samples that shared a call were "
                "billed one prompt.",
                class_="dim",
            )
        )
    return joined(parts) if parts else el("p", "Nothing was bought.")


def _bars(run: RunFiles, planned: Mapping[str, float]) -> Markup:
    spent = {name: tier.summary.spending.usd for name, tier in run.tiers.items()}
    most = max([*spent.values(), *planned.values(), 1e-12])
    scale = (WIDTH - ROOM - 70) / most
    marks = []
    for i, (name, usd) in enumerate(spent.items()):
        y, tone = i * BAR + 6, run.tiers[name].tone
        marks.append(el("text", name[:20], x=ROOM - 8, y=y + 13, text_anchor="end", class_="label"))
        marks.append(
            el(
                "rect",
                el("title", f"{name}: {n.usd(usd)}"),
                x=ROOM,
                y=y,
                height=16,
                width=round(max(1.0, usd * scale), 1),
                class_=f"bar {tone}",
            )
        )
        at = ROOM + max(1.0, usd * scale) + 6
        if name in planned:
            x = round(ROOM + planned[name] * scale, 1)
            said = el("title", f"{name}: planned {n.usd(planned[name])}")
            marks.append(el("line", said, x1=x, x2=x, y1=y - 3, y2=y + 19, class_="plan"))
            if x < at + SAID:  # the mark would run through the number
                at = max(at, x + 6)
        marks.append(el("text", n.usd(usd), x=round(at, 1), y=y + 13, class_="label dim"))
    about = ", ".join(f"{name} {n.usd(usd)}" for name, usd in spent.items())
    return picture("Dollars of tuning, by tier", about, WIDTH, len(spent) * BAR + 10, marks)


def _params(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(params.items()))
