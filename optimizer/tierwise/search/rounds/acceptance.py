"""Is a candidate worth a study? Judged in its place, under the strategy that would run it.

A candidate takes the place of the prompt that it was written for, in the bucket that it was written
for; everything else of the policy stays. Both policies are judged on the same items and sample
orders, so that the best instruction at one sample and the best under the votes are not mistaken for
each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tierwise.errors import ProviderError
from tierwise.pool import Buyer
from tierwise.schema import Policy, PromptTemplate, Recipe, Variant
from tierwise.schema.result import TriedCandidate, bounds, number
from tierwise.search.problem import TierProblem
from tierwise.search.rounds.caps import STAGE
from tierwise.search.samples import samples_needed
from tierwise.search.space import in_order
from tierwise.stats.comparisons import PairedBootstrap
from tierwise.stats.intervals import Interval


@dataclass(frozen=True)
class Tried:
    """A candidate in the place of another prompt.

    Attributes:
        variants: it as a variant, a mode and temperature of the prompt in whose place it is.
        difference: of the score, candidate less the prompt, paired by item; None: not judged.
        reason: why it is refused; empty: it is not.
    """

    prompt: PromptTemplate
    instead_of: str
    variants: tuple[Variant, ...]
    difference: Interval | None
    items: int
    reason: str = ""

    def summary(self) -> TriedCandidate:
        """A row of a run's summary."""
        d = self.difference
        return TriedCandidate(
            prompt=self.prompt.id,
            origin=self.prompt.origin,
            instead_of=self.instead_of,
            items=self.items,
            score_difference=None if d is None else number(d.mean),
            score_difference_ci95=None if d is None else bounds(d),
            refused=self.reason,
        )


def tried(
    q: TierProblem,
    buyer: Buyer,
    policy: Policy,
    prompt: PromptTemplate,
    instead_of: str,
    bucket: int,
) -> Tried:
    """Try ``prompt`` in the place of ``instead_of`` in one bucket, on the screening items.

    It is refused where it is surely worse there, or where its calls fail.
    """
    buyer.prompts[prompt.id] = prompt
    changed, variants = in_place(policy, bucket, {instead_of: prompt.id})
    n_samples = samples_needed([policy, changed])
    items = q.items("tune")[: q.search_size.screen_items]
    try:
        table = buyer.table(items, n_samples, STAGE)
    except ProviderError as error:
        return Tried(prompt, instead_of, variants, None, 0, f"its calls failed: {error}")
    if why := buyer.why_failed((v for v in variants if not v.path), items):
        return Tried(prompt, instead_of, variants, None, 0, f"its calls failed: {why}")
    judge = q.evaluator(table, exact=False)
    new, old = judge.evaluate(changed), judge.evaluate(policy)
    difference = PairedBootstrap(table.n_items, q.seed).difference(new.score, old.score)
    reason = ""
    if difference.high < 0:
        reason = (
            f"surely worse than {instead_of} in its place: {difference.mean:+.3f} "
            f"[{difference.low:+.3f}, {difference.high:+.3f}] on {table.n_items} items"
        )
    return Tried(prompt, instead_of, variants, difference, table.n_items, reason)


def in_place(
    policy: Policy, bucket: int, renamed: Mapping[str, str]
) -> tuple[Policy, tuple[Variant, ...]]:
    """``policy`` with prompts of one bucket's variants exchanged, and the variants that are new."""
    recipe = policy.buckets[bucket]
    variants, strategy = recipe.variants, recipe.strategy
    new = [replace_prompt(variant, renamed) for variant in variants]
    buckets = list(policy.buckets)
    buckets[bucket] = Recipe(in_order(new), strategy)
    changed = replace(policy, buckets=tuple(buckets))
    return changed, tuple(a for a, old in zip(new, variants, strict=True) if a != old)


def replace_prompt(variant: Variant, renamed: Mapping[str, str]) -> Variant:
    """The variant with another prompt, where its own is among ``renamed``."""
    return variant._replace(prompt=renamed.get(variant.prompt, variant.prompt))
