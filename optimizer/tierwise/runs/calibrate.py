"""A few calls before a plan: how long answers are, and how fast they come.

They are the first that the screening would make, of the same items and samples, bought into the
run's own pool: `tierwise tune` finds them there, so nothing of them is wasted.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from tierwise.llm.models import LITELLM, kind_of, open_model
from tierwise.pool import Account, Buyer, Need, SamplePool, Supply, fill, missing_calls
from tierwise.pool.run_dir import RunDir
from tierwise.runs.plan import Plan, plan
from tierwise.runs.prepare import Prepared, addresses_of, share_of
from tierwise.schema.result import Headroom
from tierwise.search.problem import SearchSize, in_random_order, with_mode_to_ask
from tierwise.search.stages import by_turns
from tierwise.search.survivors import headroom

ITEMS = 20
"""Of the screening's items, at most; every variant is asked for its first samples of each. As many
say whether prompts differ beyond noise at all (arXiv 2604.08801)."""

CONCURRENCY = 16.0


@dataclass(frozen=True)
class Pace:
    """How fast a tier answers: seconds a call, many at once, and how many showed it.

    ``headroom``: how far the prompts differ on the items that were asked.
    """

    seconds_a_call: float
    calls: int
    headroom: Headroom


def calibrate(
    prepared: Prepared, run: RunDir, names: Collection[str], search_size: SearchSize | None = None
) -> dict[str, Pace]:
    """Buy the first calls of the screening on the tiers ``names``; those that are there, are.

    Raises:
        ProviderError: the provider failed for good.
        InputError: a tier that cannot be opened.
    """
    with SamplePool.open(run.pool) as pool:
        return {
            name: _tier(prepared, name, pool, run, search_size or SearchSize()) for name in names
        }


def _tier(
    prepared: Prepared, name: str, pool: SamplePool, run: RunDir, search_size: SearchSize
) -> Pace:
    job, task, baseline = prepared.job, prepared.loaded.task, prepared.baseline
    assert baseline is not None  # a recorded tier has nothing to calibrate
    tier = with_mode_to_ask(prepared.tiers[name], prepared.space)
    variants = prepared.variants(tier, baseline, prepared.loaded.prompts)
    cap = share_of(job, tier, prepared.tiers)
    with closing(open_model(tier)) as model:
        supply = Supply(tier, model, variants.prompts, addresses_of(prepared).get(name, ""))
        buyer = Buyer(
            pool, task, supply, Account(run.run, job.seed, cap, max_outage_s=job.max_outage_s)
        )
        screen = plan(prepared, search_size).tiers[name].stages[0]
        items = in_random_order(task.splits["validation"], job.seed)[: min(ITEMS, screen.items)]
        # Where samples share a call, it is the screening's own call, its prompt billed once.
        samples = screen.samples // (screen.variants * screen.items) if tier.takes_n else 1
        samples = max(1, min(samples, search_size.screen_samples))
        asked = by_turns(variants.candidates, variants.baseline)[: screen.variants]
        needs = [Need(buyer.request(variant, item), samples) for item in items for variant in asked]
        calls = len(missing_calls(pool, needs, tier.takes_n, seed=job.seed))
        seen = [(time.perf_counter(), 0)]
        fill(
            pool,
            model,
            tier,
            needs,
            Account(run.run, job.seed, cap, max_outage_s=job.max_outage_s),
            stage="screen",
            progress=lambda done: seen.append((time.perf_counter(), done.calls)),
        )
        differ = headroom(buyer.table(items, dict.fromkeys(asked, samples), "screen"))
        if kind_of(tier.model) != LITELLM:  # computed here: what it took is what it takes
            return Pace(_seconds_a_call(seen), calls, differ)
        latency_s = pool.mean_latency_s([need.request.key for need in needs])
        return Pace(latency_s / tier.limits.get("concurrency", CONCURRENCY), calls, differ)


def _seconds_a_call(seen: Sequence[tuple[float, int]]) -> float:
    """From the first chunk on, where there are more: before it, a model is loaded."""
    first, last = seen[1] if len(seen) > 2 else seen[0], seen[-1]
    calls = last[1] - first[1]
    return (last[0] - first[0]) / calls if calls else 0.0


def timed(found: Plan, paces: dict[str, Pace]) -> Plan:
    """The plan with what was learned of its tiers' pace."""
    tiers = {
        name: replace(tier, seconds_a_call=paces[name].seconds_a_call) if name in paces else tier
        for name, tier in found.tiers.items()
    }
    return replace(found, tiers=tiers)
