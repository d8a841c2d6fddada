"""Never handing a request on, always handing it on, and the policies that do so where it pays."""

from __future__ import annotations

from tierwise.schema import Policy
from tierwise.schema.result import EscalationRow
from tierwise.search.figures import held_out, paired
from tierwise.search.gate import compare
from tierwise.search.problem import escalated_share
from tierwise.search.tier import TierResult


def escalation(found: TierResult) -> tuple[EscalationRow, ...]:
    """A row a policy, held out; none where the tier may not escalate.

    Each is compared with the strongest tier's best prompt at one sample, item by item.
    """
    q = found.problem
    if not q.targets:
        return ()
    strong = found.tested[q.targets[-1].one_sample]

    def row(name: str, policy: Policy) -> EscalationRow:
        got = found.tested[policy]
        return EscalationRow(
            **vars(held_out(policy, got)),
            name=name,
            escalated=escalated_share(policy, got.shares),
            against=q.targets[-1].tier.name,
            compared=paired(compare(got, strong, margin=q.margin, seed=q.seed)),
        )

    points = {f"point {name}": candidate.policy for name, candidate in found.points.items()}
    return tuple(row(name, policy) for name, policy in {**found.beside, **points}.items())
