"""May the tier spend? The compute gate's verdict on the first purchase, and what follows from it.

Where the screening leaves doubt, the variants that would race are bought on their items: samples that the
race needs anyway where the gate opens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tierwise.difficulty import SignalFit
from tierwise.evaluation import SampleTable
from tierwise.schema import Variant
from tierwise.search.buying import Halves, Samples
from tierwise.search.compute_gate import Verdict, cheapest_mode, closed, judge
from tierwise.search.n_samples_by_variant import with_nodes
from tierwise.search.problem import TierProblem
from tierwise.search.stages.keep import keep
from tierwise.search.stages.screen import SCREENED_CHAINS, Screened


@dataclass(frozen=True)
class GateDecision:
    """What the stages after the gate may do.

    Attributes:
        question: its space is one cheap sample where the gate is closed; a tier that may hand
            requests on keeps its signals and buckets.
        samples: where they buy; closed, the first purchase is all there is, but for handing on.
        racers: the variants that go on.
        depth: the most samples of a variant.
        routers: what was fitted on the train split.
    """

    problem: TierProblem
    samples: Samples
    racers: tuple[Variant, ...]
    n_samples: int
    verdict: Verdict
    routers: tuple[SignalFit, ...] = ()


def allow(screened: Screened, samples: Samples) -> GateDecision:
    """Keep the variants that race, and decide whether the tier may spend on more than one sample."""
    q, table = screened.problem, screened.table
    racers = keep(q, table, q.variants.candidates, q.search_size.race_variants)
    direct = cheapest_mode(screened.single)
    verdict, bought = _judged(q, samples, table, racers, direct)
    if verdict.open:
        return GateDecision(q, samples, racers, screened.n_samples, verdict)
    cheap = closed(q.space, direct)
    candidates = (a for a in bought.variants if a in q.variants.candidates)
    racers = tuple(a for a in candidates if a.mode in cheap.modes or a == q.variants.baseline)
    if q.above:
        # What does not pay on this tier may pay on a stronger one: a probe can still tell which.
        cheap = replace(cheap, signals=q.space.signals, buckets=q.space.buckets)
        n_samples = min(screened.n_samples, int(cheap.probe_samples.high))
        return GateDecision(replace(q, space=cheap), samples, racers, n_samples, verdict)
    q = replace(q, space=cheap, trials=min(q.trials, 3 * len(racers)))
    return GateDecision(q, samples if samples.free else Halves(bought), racers, 1, verdict)


def _judged(
    q: TierProblem, samples: Samples, screened: SampleTable, racers: Sequence[Variant], direct: str
) -> tuple[Verdict, SampleTable]:
    """The verdict and the table that it was reached on; more is bought only in doubt.

    A closed gate is looked at again on the race's items; one that those leave in doubt, once more
    on the study's. A gate that closes on a gain costs the tier all of it, and an open one needs
    these samples anyway.
    """

    def verdict(table: SampleTable) -> Verdict:
        return judge(table, q.space, direct, logprobs=q.tier.logprobs, permutations=q.permutations)

    n_samples = min(rows.n_samples for rows in screened.variants.values())

    def bought(variants: Sequence[Variant], n_items: int) -> SampleTable:
        wanted = with_nodes(variants, n_samples, q.space, SCREENED_CHAINS)
        return samples.table(q.items("tune")[:n_items], wanted, "compute gate")

    found, table = verdict(screened), screened
    if not found.open and table.n_items < q.search_size.race_items:
        table = bought(racers, q.search_size.race_items)
        found = verdict(table)
    if found.in_doubt and table.n_items < q.search_size.study_items:
        leading = keep(q, table, racers, q.search_size.study_variants)
        table = bought(leading, q.search_size.study_items)
        found = verdict(table)
    return found, table
