"""What each difficulty signal is worth on a tier, the router's weights, and who thinks where."""

from __future__ import annotations

from tierwise.report import numbers as n
from tierwise.report.html.markup import Child, Markup, el, joined
from tierwise.report.html.page import behind, table
from tierwise.report.reading import RunFiles, TierFiles
from tierwise.report.words import bucket_names
from tierwise.schema.result import ProbeSummary, SignalFitSummary, SignalQuality

SIGNALS = (
    "signal",
    "looks at",
    "AUROC",
    "95% interval",
    "Spearman",
    "$ an item",
    "gain of buckets",
    "95% interval",
    "of the oracle's",
)
ROUTERS = ("router", "looks at", "thinking pays in", "AUROC", "of the length", "ECE")


def signals(run: RunFiles) -> Markup:
    """For each tier its signals, its routers, and the modes of its buckets."""
    return joined(joined([el("h3", tier.name), *_of_tier(tier)]) for tier in run.tiers.values())


def _of_tier(tier: TierFiles) -> list[Markup]:
    told = tier.summary.signals
    if told is None:
        shown = [el("p", "Too few samples of an item to tell what a signal is worth here.")]
    else:
        caption = (
            f"Right or wrong: a sample of {told.success_variant}, {told.items} study "
            "items; utility gained, on items that it was not chosen on"
        )
        rows = [_row(row) for row in told.by_signal]
        shown = [table(SIGNALS, rows, text=2, caption=caption)]
    routers = tier.summary.fitted_signals
    if routers:
        shown.append(
            table(
                ROUTERS,
                [_router(row) for row in routers],
                text=2,
                caption="Learned on the train split, judged on items left out of it",
            )
        )
        shown += [_weights(row) for row in routers]
    return [*shown, *_modes(tier)]


def _row(row: SignalQuality) -> tuple[Child, ...]:
    settings = ", ".join(str(value) for value in row.params.values())
    return (
        row.signal + (f" ({settings})" if settings else ""),
        _looked_at(row.probe),
        n.score(row.auroc),
        n.bounds(row.auroc_ci95),
        n.score(row.spearman),
        n.usd(row.usd_per_item),
        n.points(row.gain),
        n.point_bounds(row.gain_ci95),
        _of_oracle(row.share_of_oracle_gain),
    )


def _of_oracle(share: float | None) -> str:
    """A loss is no share of a gain."""
    return "none" if share is not None and share <= 0 else n.share(share)


def _looked_at(probe: ProbeSummary | None) -> str:
    return "the text" if probe is None else f"{probe.samples} × {' + '.join(probe.variants)}"


def _router(row: SignalFitSummary) -> tuple[Child, ...]:
    return (
        f"{row.direct} or {row.think}",
        row.probe or "the text",
        n.share(row.share_where_thinking_pays),
        n.score(row.auroc),
        n.score(row.auroc_of_length),
        n.score(row.ece),
    )


def _weights(row: SignalFitSummary) -> Markup:
    said = "It says the same of every prompt: it has learned nothing." if row.collapsed else ""
    rows = [(name, f"{weight:+.3g}") for name, weight in row.weights.items()]
    curve = [(n.score(b.predicted), n.score(b.observed), b.items) for b in row.reliability]
    return behind(
        "Weights and reliability of the router that looks at " + (row.probe or "the text"),
        el("p", said) if said else None,
        table(("feature (per standard deviation)", "weight towards thinking"), rows),
        table(("predicted", "came", "items"), curve, text=0),
    )


def _modes(tier: TierFiles) -> list[Markup]:
    """The chosen policy's modes by bucket; a thinking switch that has stuck is said."""
    point = tier.summary.chosen
    shares = [bucket.modes for bucket in point.buckets]
    if len(shares) < 2:
        return []
    modes = sorted({mode for bucket in shares for mode in bucket})
    names = bucket_names(len(shares))
    rows = [
        (name, *(n.share(bucket.get(mode, 0.0)) for mode in modes))
        for name, bucket in zip(names, shares, strict=True)
    ]
    found = [table(("bucket", *modes), rows, caption="Samples of each bucket by mode")]
    if point.stuck_in_mode:
        found.append(
            el(
                "p",
                el("b", "The switch is stuck. "),
                "Every bucket answers in mode "
                f"{point.stuck_in_mode}: {point.signal} decides nothing but how much "
                "is spent on it.",
                class_="missing",
            )
        )
    return found
