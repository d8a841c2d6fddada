"""What a job's proposals would cost: the proposer as a tier of the plan, a stage a round."""

from __future__ import annotations

from tierwise.pool import Cap
from tierwise.proposals.instructions import SHOWN_FAILURES
from tierwise.search.effort import token_cap
from tierwise.search.planned import StagePlan, TierPlan, amount_of
from tierwise.search.prepared import Prepared
from tierwise.search.rounds.caps import PROPOSER
from tierwise.search.rounds.desk import proposer_of

OWN_BYTES, FEEDBACK_BYTES = 2500, 400
"""Of a proposer's request: what DSPy's and GEPA's own text take, and what is said of a failure."""


def proposers_plan(prepared: Prepared) -> dict[str, TierPlan]:
    """A call an instruction; nothing where the job has no proposer.

    Raises:
        InputError: see ``proposer_of``.
    """
    job = prepared.job
    spec = job.proposals
    if spec is None or spec.model is None:
        return {}
    tier, budget = proposer_of(spec.model), job.proposers_budget
    items = prepared.loaded.task.splits["train"]
    sizes = [sum(len(v.encode()) for v in item.inputs.values()) for item in items]
    shown = OWN_BYTES + SHOWN_FAILURES * (FEEDBACK_BYTES + max(sizes, default=0))
    sends = next(iter(tier.modes.values()), {})
    most = float(token_cap(sends))
    stages = []
    for number in range(1, spec.rounds + 1):
        n = spec.instructions * (1 if number == 1 else len(job.tiers))
        expected = amount_of(1, [1] * n, tier, shown / 3, most / 2)
        worst = amount_of(1, [1] * n, tier, shown, most)
        stages.append(StagePlan(f"round {number}", n, n, n, n, expected, worst))
    cap = Cap(budget.usd, budget.calls, budget.tokens, budget.seconds)
    return {PROPOSER: TierPlan(tier, cap, tuple(stages))}
