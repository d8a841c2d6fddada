"""Robust search: a prompt is judged by the mean over its wordings, not by its luckiest one.

With ``prompts: {robust: true}`` only the first wording of a prompt can be chosen. The others are
drawn beside it, and a policy's score and cost are the means over the policy as it is and with every
prompt said in its second wording, its third, and so on. What is exported is the first wording; on
the test split it is judged as itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tierwise.evaluation import Evaluation, Evaluator, Orders, SampleTable
from tierwise.recipe import Arm, Policy, Recipe
from tierwise.search.buying import Draws
from tierwise.search.effort import AS_ITSELF
from tierwise.task import Item

Wordings = Mapping[str, tuple[str, ...]]
"""Prompt -> its other wordings."""


class Reworded:
    """Draws with those of the other wordings beside them, but for the stages ``AS_ITSELF``."""

    def __init__(self, draws: Draws, wordings: Wordings) -> None:
        self._draws, self._wordings = draws, wordings
        self.free = draws.free

    def most(self, arm: Arm) -> int:
        """As of the first wording."""
        return self._draws.most(arm)

    def table(self, items: Sequence[Item], depth: Mapping[Arm, int], stage: str) -> SampleTable:
        """See ``Draws``."""
        wanted = dict(depth)
        if stage not in AS_ITSELF:
            for arm, n in depth.items():
                for other in self._wordings.get(arm.prompt, ()):
                    wanted.setdefault(arm._replace(prompt=other), n)
        return self._draws.table(items, wanted, stage)


class RobustEvaluator(Evaluator):
    """Judges a policy by the mean over its wordings, as far as the table has them.

    Buckets are told apart as the first wording is, and their shares are its own.
    """

    def __init__(
        self, table: SampleTable, orders: Orders, wordings: Wordings, *, exact: bool,
        cache_bytes: int,
    ) -> None:  # fmt: skip
        super().__init__(table, orders, exact=exact, cache_bytes=cache_bytes)
        self.wordings = wordings

    def evaluate(self, policy: Policy) -> Evaluation:
        """Means over the wordings of score, dollars, draws and rounds; each (n_items,)."""
        judged = [super().evaluate(policy)]
        judged += [super(RobustEvaluator, self).evaluate(p) for p in self._others(policy)]
        if len(judged) == 1:
            return judged[0]
        means = {
            name: np.mean([getattr(e, name) for e in judged], axis=0)
            for name in ("score", "usd", "draws", "rounds")
        }
        return replace(judged[0], **means)

    def judged_by(self, arm: Arm) -> tuple[Arm, ...]:
        """``arm`` and its other wordings."""
        others = (arm._replace(prompt=other) for other in self.wordings.get(arm.prompt, ()))
        return (arm, *(other for other in others if other in self.table.arms))

    def _others(self, policy: Policy) -> Iterator[Policy]:
        most = max((len(self.wordings.get(arm.prompt, ())) for arm in policy.arms), default=0)
        for k in range(most):
            worded = reworded(policy, self.wordings, k)
            if all(arm in self.table.arms for arm in worded.arms):
                yield worded


def reworded(policy: Policy, wordings: Wordings, k: int) -> Policy:
    """``policy`` with every prompt in its wording ``k`` (0: the second), where it has that many."""

    def arms(of: Sequence[Arm]) -> tuple[Arm, ...]:
        said = ((arm, wordings.get(arm.prompt, ())) for arm in of)
        return tuple(a._replace(prompt=w[k]) if k < len(w) else a for a, w in said)

    probe = policy.difficulty.probe
    return replace(
        policy,
        buckets=tuple(Recipe(arms(r.arms), r.strategy) for r in policy.buckets),
        difficulty=replace(
            policy.difficulty, probe=probe and probe._replace(arms=arms(probe.arms))
        ),
    )
