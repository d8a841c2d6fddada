"""Never handing a request on, always handing it on, and the policies that do so where it pays."""

from __future__ import annotations

from typing import Any

from tierwise.schema import Policy
from tierwise.search.above import handed_on
from tierwise.search.figures import compared, measured
from tierwise.search.found import TierResult
from tierwise.search.gate import compare
from tierwise.search.study import described


def escalation(found: TierResult) -> list[dict[str, Any]] | None:
    """A row a policy, held out; None where the tier may not hand requests on.

    Each is compared with the strongest tier's best prompt at one sample, item by item.
    """
    q = found.problem
    if not q.above:
        return None
    strong = found.tested[q.above[-1].one_sample]

    def row(name: str, policy: Policy) -> dict[str, Any]:
        got = found.tested[policy]
        against = compare(got, strong, margin=q.margin, seed=q.seed)
        return {
            "name": name,
            "policy": described(policy),
            **measured(got),
            "handed_on": handed_on(policy, got.shares),
            "against": q.above[-1].tier.name,
            **compared(against),
        }

    points = {f"point {name}": candidate.policy for name, candidate in found.points.items()}
    return [row(name, policy) for name, policy in {**found.beside, **points}.items()]
