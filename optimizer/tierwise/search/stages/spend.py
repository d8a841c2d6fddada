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
    """The verdict and the table that it was reached on; more is bought only in doubt.

    A closed gate is looked at again on the race's items; one that those leave in doubt, once more
    on the study's. A gate that closes on a gain costs the tier all of it, and an open one needs
    these draws anyway.
    """

    def verdict(table: SampleTable) -> Verdict:
        return judge(table, q.space, direct, logprobs=q.tier.logprobs, orders=q.orders)

    depth = min(rows.depth for rows in screened.arms.values())

    def bought(arms: Sequence[Arm], n_items: int) -> SampleTable:
        wanted = with_nodes(arms, depth, q.space, SCREENED_CHAINS)
        return draws.table(q.items("tune")[:n_items], wanted, "compute gate")

    found, table = verdict(screened), screened
    if not found.open and table.n_items < q.effort.race_items:
        table = bought(racers, q.effort.race_items)
        found = verdict(table)
    if found.in_doubt and table.n_items < q.effort.study_items:
        leading = keep(q, table, racers, q.effort.study_arms)
        table = bought(leading, q.effort.study_items)
        found = verdict(table)
    return found, table
