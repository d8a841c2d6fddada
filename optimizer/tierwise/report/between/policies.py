"""What was tested in two runs on held-out items: today's prompt, best prompt, points, policy."""

from __future__ import annotations

from tierwise.evaluation import Evaluation, SampleTable
from tierwise.report import numbers as n
from tierwise.report._base import Row, Section, needed
from tierwise.report.between._two import SAMPLES, Side, Two, changed, difference, identities
from tierwise.report.reading import TierFiles
from tierwise.report.transfer import judged, unlimited
from tierwise.schema.policy_file import PolicyFile
from tierwise.search.tested import Tested

NAMES = {
    "baseline": "today's prompt",
    "best_prompt_one_sample": "best prompt, one sample",
    "point:economy": "economy",
    "point:balanced": "balanced",
    "point:quality": "quality",
}


def policy_rows(two: Two) -> list[Row]:
    """For each tier a row for the exported policy, and one for what else both runs tested.

    The exported policies are judged on the same items and the same samples where one of the runs has
    the samples of both (of the same model, with the same messages); the rest as each run judged it,
    paired by item.
    """
    return two.by_tier(lambda old, new: _tier(two, old, new))


def _tier(two: Two, old: TierFiles, new: TierFiles) -> list[Row]:
    rows = [_exported(two, old, new)]
    tested = [needed(tier.tested, f"tested.{tier.name}.npz") for tier in (old, new)]
    for name, said in NAMES.items():
        if all(name in t.names for t in tested):
            before, after = (
                _side(t, t.names[name], tier) for t, tier in zip(tested, (old, new), strict=True)
            )
            was, now = (t.policies[t.names[name]] for t in tested)
            rows.append(_row(said, was, now) | difference(before, after))
    return rows


def _exported(two: Two, old: TierFiles, new: TierFiles) -> Row:
    was, now = (needed(tier.policy, f"policies/{tier.name}.yaml") for tier in (old, new))
    said = _row("exported policy", old.summary.exported.policy, new.summary.exported.policy)
    said["same_policy"] = unlimited(was.policy) == unlimited(now.policy)
    for tier, run in ((new, two.after), (old, two.before)):
        both = _on_one_table(tier.test, was, now, seed=run.seed)
        if both is not None:
            return said | difference(*both, how=SAMPLES)
    before, after = (
        _side(tested, _row_of(tested, tier), tier)
        for tier in (old, new)
        for tested in [needed(tier.tested, f"tested.{tier.name}.npz")]
    )
    return said | difference(before, after)


def _row_of(tested: Tested, tier: TierFiles) -> int:
    return tested.names[
        f"point:{tier.summary.operating_point}" if tier.summary.passed else "baseline"
    ]


def _side(tested: Tested, row: int, tier: TierFiles) -> Side:
    ids = identities(tested.item_ids, tier.test)
    return Side(ids, tested.score[row], tested.usd[row])


def _on_one_table(
    table: SampleTable | None, old: PolicyFile, new: PolicyFile, *, seed: int
) -> tuple[Side, Side] | None:
    """Both policies on one run's held-out samples, where these are samples of both."""
    if table is None or not _same_requests(old, new):
        return None
    if any(
        variant not in table.variants for file in (old, new) for variant in file.policy.variants
    ):
        return None
    sides = []
    for file in (old, new):
        got: Evaluation | None = judged(unlimited(file.policy), table, seed)
        if got is None:
            return None
        sides.append(Side(table.item_ids, got.score, got.usd))
    return sides[0], sides[1]


def _same_requests(old: PolicyFile, new: PolicyFile) -> bool:
    """Whether a variant of either sends the same to the same model, as far as the files say."""
    shared = set(old.prompts) & set(new.prompts)
    used = {variant.prompt for file in (old, new) for variant in file.policy.variants}
    return (
        old.tier.model == new.tier.model
        and old.provenance.get("weights_sha256") == new.provenance.get("weights_sha256")
        and old.tier.modes == new.tier.modes
        and used <= shared
        and all(old.prompts[p].messages == new.prompts[p].messages for p in used)
    )


def _row(what: str, before: str, after: str) -> Row:
    return {"what": what, "before": before, "after": after, "same_policy": before == after}


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row["tier"],
        row["what"],
        n.score(row["before_score"]),
        n.score(row["after_score"]),
        changed(row),
        n.ratio(row["cost_ratio"]),
        row["shown"],
        "same" if row["same_policy"] else "another",
        f"{row['items']}",
        row["how"],
    )


SECTION = Section(
    "what was tested on held-out items, after less before",
    policy_rows,
    (
        "tier",
        "what",
        "before>",
        "after>",
        "change>",
        "at cost>",
        "shown",
        "policy",
        "items>",
        "compared on",
    ),
    _cells,
)
