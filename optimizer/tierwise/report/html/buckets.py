"""The bucket table: who goes where, what is done there, and by which prompt."""

from __future__ import annotations

from tierwise.report import numbers as n
from tierwise.report.html.markup import Child, Markup, el, joined
from tierwise.report.html.page import behind, table
from tierwise.report.html.verdict import told_apart
from tierwise.report.reading import RunFiles
from tierwise.report.words import bucket_names, recipe_in_words


def buckets(run: RunFiles) -> Markup:
    """A row a bucket, and the exact messages behind it."""
    rows: list[tuple[Child, ...]] = []
    prompts = []
    for tier in run.tiers.values():
        file = tier.policy
        if file is None:
            continue
        names = bucket_names(len(file.policy.buckets))
        measured = file.expected.get("buckets") or [{}] * len(names)
        for i, (name, recipe) in enumerate(zip(names, file.policy.buckets, strict=True)):
            rows.append(
                (
                    tier.name if i == 0 else "",
                    name,
                    recipe_in_words(recipe),
                    told_apart(file) if i == 0 and len(names) > 1 else "",
                    n.share(file.shares[i] if file.shares else None),
                    n.score(measured[i].get("score")),
                    n.bounds(measured[i].get("score_ci95")),
                )
            )
        texts = [
            joined(
                [
                    el("h4", prompt.id),
                    *(
                        joined([el("b", message.role), el("pre", message.content)])
                        for message in prompt.messages
                    ),
                ]
            )
            for prompt in file.prompts.values()
        ]
        prompts.append(behind(f"The exact messages of {tier.name}", *texts))
    columns = (
        "tier",
        "bucket",
        "what is done",
        "told apart by",
        "requests",
        "score",
        "95% interval",
    )
    return joined(
        [table(columns, rows, text=4, caption="What is done with which requests"), *prompts]
    )
