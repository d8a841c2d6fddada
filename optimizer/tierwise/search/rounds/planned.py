"""What a job's proposals would cost: a tier of the plan for each of the proposer's books.

The pool's book of the first round is ``proposer``, that of a tier's later ones ``proposer/TIER``,
each with a cap of its own: so a plan has these too, and can be held against what was bought.
"""

from __future__ import annotations

from tierwise.proposals.proposers import SHOWN_FAILURES
from tierwise.search.budget import BYTES_A_TOKEN, PART_OF_CAP
from tierwise.search.planned import StagePlan, TierPlan, expected_usage
from tierwise.search.prepared import Prepared
from tierwise.search.rounds.caps import PROPOSER, book_of, first_cap, tier_cap
from tierwise.search.rounds.desk import proposer_of
from tierwise.search.variants import token_cap

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
    tier = proposer_of(spec.model)
    items = prepared.loaded.task.splits["train"]
    sizes = [sum(len(v.encode()) for v in item.inputs.values()) for item in items]
    shown = OWN_BYTES + SHOWN_FAILURES * (FEEDBACK_BYTES + max(sizes, default=0))
    sends = next(iter(tier.modes.values()), {})
    most, n = float(token_cap(sends)), spec.instructions
    expected = expected_usage(tier, n, n, shown / BYTES_A_TOKEN, most * PART_OF_CAP)
    worst = expected_usage(tier, n, n, shown, most)
    first, *later = (
        StagePlan(f"round {number}", n, n, n, n, expected, worst)
        for number in range(1, spec.rounds + 1)
    )
    books = {PROPOSER: TierPlan(tier, first_cap(job), (first,))}
    if later:
        own = TierPlan(tier, tier_cap(job), tuple(later))
        books |= {book_of(name): own for name in job.tiers}
    return books
