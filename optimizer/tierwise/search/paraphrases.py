"""Robust search: a prompt is judged by the mean over its paraphrases, not by its luckiest one.

With ``prompts: {robust: true}`` only the first paraphrase of a prompt can be chosen. The others are
sampled beside it, and a policy's score and cost are the means over the policy as it is and with every
prompt said in its second paraphrase, its third, and so on. What is exported is the first paraphrase; on
the test split it is judged as itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tierwise.evaluation import Evaluation, Evaluator, Permutations, SampleTable
from tierwise.schema import Policy, Recipe, Variant
from tierwise.search.buying import Samples
from tierwise.search.search_size import AS_ITSELF
from tierwise.tasks import Item

Paraphrases = Mapping[str, tuple[str, ...]]
"""Prompt -> its other paraphrases."""


class Reworded:
    """Samples with those of the other paraphrases beside them, but for the stages ``AS_ITSELF``."""

    def __init__(self, samples: Samples, paraphrases: Paraphrases) -> None:
        self._samples, self._paraphrases = samples, paraphrases
        self.free = samples.free

    def most(self, variant: Variant) -> int:
        """As of the first paraphrase."""
        return self._samples.most(variant)

    def table(
        self, items: Sequence[Item], n_samples: Mapping[Variant, int], stage: str
    ) -> SampleTable:
        """See ``Samples``."""
        wanted = dict(n_samples)
        if stage not in AS_ITSELF:
            for variant, n in n_samples.items():
                for other in self._paraphrases.get(variant.prompt, ()):
                    wanted.setdefault(variant._replace(prompt=other), n)
        return self._samples.table(items, wanted, stage)


class RobustEvaluator(Evaluator):
    """Judges a policy by the mean over its paraphrases, as far as the table has them.

    Buckets are told apart as the first paraphrase is, and their shares are its own.
    """

    def __init__(
        self,
        table: SampleTable,
        permutations: Permutations,
        paraphrases: Paraphrases,
        *,
        exact: bool,
        cache_bytes: int,
    ) -> None:
        super().__init__(table, permutations, exact=exact, cache_bytes=cache_bytes)
        self.paraphrases = paraphrases

    def evaluate(self, policy: Policy) -> Evaluation:
        """Means over the paraphrases of score, dollars, samples and rounds; each (n_items,)."""
        judged = [super().evaluate(policy)]
        judged += [super(RobustEvaluator, self).evaluate(p) for p in self._others(policy)]
        if len(judged) == 1:
            return judged[0]
        means = {
            name: np.mean([getattr(e, name) for e in judged], axis=0)
            for name in ("score", "usd", "samples", "rounds")
        }
        return replace(judged[0], **means)

    def judged_by(self, variant: Variant) -> tuple[Variant, ...]:
        """``variant`` and its other paraphrases."""
        others = (
            variant._replace(prompt=other) for other in self.paraphrases.get(variant.prompt, ())
        )
        return (variant, *(other for other in others if other in self.table.variants))

    def _others(self, policy: Policy) -> Iterator[Policy]:
        most = max(
            (len(self.paraphrases.get(variant.prompt, ())) for variant in policy.variants),
            default=0,
        )
        for k in range(most):
            worded = reworded(policy, self.paraphrases, k)
            if all(variant in self.table.variants for variant in worded.variants):
                yield worded


def reworded(policy: Policy, paraphrases: Paraphrases, k: int) -> Policy:
    """``policy`` with every prompt in its paraphrase ``k`` (0: the second), where it has that many."""

    def variants(of: Sequence[Variant]) -> tuple[Variant, ...]:
        said = ((variant, paraphrases.get(variant.prompt, ())) for variant in of)
        return tuple(a._replace(prompt=w[k]) if k < len(w) else a for a, w in said)

    probe = policy.difficulty.probe
    return replace(
        policy,
        buckets=tuple(Recipe(variants(r.variants), r.strategy) for r in policy.buckets),
        difficulty=replace(
            policy.difficulty, probe=probe and probe._replace(variants=variants(probe.variants))
        ),
    )
