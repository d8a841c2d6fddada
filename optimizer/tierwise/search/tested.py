"""What was tested on held-out items, item by item: paired comparisons need no samples again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tierwise.search.study import described
from tierwise.search.tier import TierResult

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tested:
    """Policies of one tier on its test items.

    Attributes:
        names: what a policy was tested as (``baseline``, a ablation_step of the ablation, ``point:NAME``) ->
            its row.
        policies: each row's policy in one line.
        on_study: (n_policies,) the score on the study's samples, NaN where they do not support it.
        score, usd, samples: (n_policies, n_items).
    """

    item_ids: tuple[str, ...]
    names: Mapping[str, int]
    policies: tuple[str, ...]
    on_study: Floats
    score: Floats
    usd: Floats
    samples: Floats

    @classmethod
    def of(cls, found: TierResult) -> Tested:
        """Everything that a search tested."""
        row = {policy: i for i, policy in enumerate(found.tested)}
        evaluator = found.study_rounds[-1].evaluator
        names = {"baseline": row[found.baseline]}
        names |= {
            ablation_step: row[policy] for ablation_step, policy in found.ablation_steps.items()
        }
        names |= {f"point:{point}": row[c.policy] for point, c in found.points.items()}
        judged = found.tested.values()
        return cls(
            found.test_table.item_ids,
            names,
            tuple(described(policy) for policy in row),
            np.array([evaluator.evaluate(policy).mean_score for policy in row]),
            np.array([e.score for e in judged]),
            np.array([e.usd for e in judged]),
            np.array([e.samples for e in judged]),
        )

    def save(self, path: Path) -> None:
        """Write as compressed ``.npz`` without pickles."""
        meta = {"item_ids": self.item_ids, "names": self.names, "policies": self.policies}
        np.savez_compressed(
            path,
            meta=np.array(json.dumps(meta)),
            on_study=self.on_study,
            score=self.score,
            usd=self.usd,
            samples=self.samples,
        )

    @classmethod
    def load(cls, path: Path) -> Tested:
        """Read what ``save`` wrote."""
        with np.load(path, allow_pickle=False) as data:
            meta = json.loads(str(data["meta"]))
            return cls(
                tuple(meta["item_ids"]),
                meta["names"],
                tuple(meta["policies"]),
                *(data[name] for name in ("on_study", "score", "usd", "samples")),
            )
