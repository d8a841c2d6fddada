"""Whether a policy's limits could end an episode early on these samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tierwise.evaluation.table import SampleTable
from tierwise.schema import Policy
from tierwise.strategies import Strategy


def may_bind(policy: Policy, strategies: Sequence[Strategy], table: SampleTable) -> bool:
    """False where no limit can be reached, so that the vectorised path may leave them out."""
    limits, probe = policy.limits, policy.difficulty.probe
    most = max(s.max_samples for s in strategies) + (probe.samples if probe else 0)
    if limits.max_samples is not None and limits.max_samples < most:
        return True
    # Every round has at least one sample. The slowest of all first: mostly that settles it.
    slow = limits.timeout_s is not None and limits.timeout_s <= table.slowest_s * most
    if not slow and limits.max_usd_per_request is None:
        return False
    used = set(policy.variants)
    variants = [rows for variant, rows in table.everything.items() if variant.root in used]
    if limits.max_usd_per_request is not None:
        dearest = max(float(np.nanmax(a.prompt_usd + a.completion_usd)) for a in variants)
        if limits.max_usd_per_request <= dearest * most:
            return True
    if limits.timeout_s is None:
        return False
    return limits.timeout_s <= max(a.slowest_s for a in variants) * most
