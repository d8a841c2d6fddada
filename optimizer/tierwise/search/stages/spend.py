"""May the tier spend? The compute gate's verdict on the first purchase, and what follows from it.

Where the screening leaves doubt, the arms that would race are bought on their items: draws that the
race needs anyway where the gate opens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tierwise.evaluation import SampleTable
from tierwise.recipe import Arm
from tierwise.search.buying import Draws, Halves
from tierwise.search.compute_gate import Verdict, cheapest_mode, closed, judge
from tierwise.search.depths import with_nodes
from tierwise.search.question import Question
from tierwise.search.router import RouterFit
from tierwise.search.stages.keep import keep
from tierwise.search.stages.screen import SCREENED_CHAINS, Screened


@dataclass(frozen=True)
class Allowed:
    """What the stages after the gate may do.

    Attributes:
        question: its space is one cheap draw where the gate is closed; a tier that may hand
            requests on keeps its signals and buckets.
        draws: where they buy; closed, the first purchase is all there is, but for handing on.
        racers: the arms that go on.
        depth: the most draws of an arm.
        routers: what was fitted on the train split.
    """

    question: Question
    draws: Draws
    racers: tuple[Arm, ...]
    depth: int
    verdict: Verdict
    routers: tuple[RouterFit, ...] = ()


def allow(screened: Screened, draws: Draws) -> Allowed:
    """Keep the arms that race, and decide whether the tier may spend on more than one draw."""
    q, table = screened.question, screened.table
    racers = keep(q, table, q.arms.candidates, q.effort.race_arms)
    direct = cheapest_mode(screened.single)
    verdict, bought = _judged(q, draws, table, racers, direct)
    if verdict.open:
        return Allowed(q, draws, racers, screened.depth, verdict)
    cheap = closed(q.space, direct)
    candidates = (a for a in bought.arms if a in q.arms.candidates)
    racers = tuple(a for a in candidates if a.mode in cheap.modes or a == q.arms.baseline)
    if q.above:
        # What does not pay on this tier may pay on a stronger one: a probe can still tell which.
        cheap = replace(cheap, signals=q.space.signals, buckets=q.space.buckets)
        depth = min(screened.depth, int(cheap.probe_draws.high))
        return Allowed(replace(q, space=cheap), draws, racers, depth, verdict)
    q = replace(q, space=cheap, trials=min(q.trials, 3 * len(racers)))
    return Allowed(q, draws if draws.free else Halves(bought), racers, 1, verdict)


def _judged(
    q: Question, draws: Draws, screened: SampleTable, racers: Sequence[Arm], direct: str
) -> tuple[Verdict, SampleTable]:
    """The verdict and the table that it was reached on; more is bought only in doubt."""

    def verdict(table: SampleTable) -> Verdict:
        return judge(table, q.space, direct, logprobs=q.tier.logprobs, orders=q.orders)

    first = verdict(screened)
    if first.open or screened.n_items >= q.effort.race_items:
        return first, screened
    depth = min(rows.depth for rows in screened.arms.values())
    wanted = with_nodes(racers, depth, q.space, SCREENED_CHAINS)
    more = draws.table(q.items("tune")[: q.effort.race_items], wanted, "compute gate")
    return verdict(more), more
