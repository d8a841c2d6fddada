"""What a run wrote of one tier, as far as it can be read: the input of every comparison."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from tierwise.errors import UnsupportedError
from tierwise.evaluation import SampleTable
from tierwise.schema import PolicyFile
from tierwise.schema.result import TierSummary, TrialRow
from tierwise.search.study import described
from tierwise.search.tier import TierResult
from tierwise.stats.intervals import Floats

T = TypeVar("T")

COMPARISON_RESAMPLES = 2000
"""Of every bootstrap in comparisons of tiers, prompts and runs."""


class NotShown(NamedTuple):
    """In place of a row: what it would be about, and why there are no numbers."""

    labels: Mapping[str, str]
    note: str


class _Meta(NamedTuple):
    """What an array cannot hold."""

    item_ids: tuple[str, ...]
    names: Mapping[str, int]
    policies: tuple[str, ...]


@dataclass(frozen=True)
class TestedPolicies:
    """Every policy that was tested on a tier, item by item: `tested.TIER.npz`.

    Attributes:
        names: what a policy was tested as (`baseline`, a step of the ablation, `point:NAME`) ->
            its row.
        policies: each row's policy in one line.
        on_study: (n_policies,) the score on the study's samples, NaN where these do not support it.
        score, usd, samples: (n_policies, n_items), held out.
    """

    __test__ = False  # no class of tests, though its name says so to pytest

    item_ids: tuple[str, ...]
    names: Mapping[str, int]
    policies: tuple[str, ...]
    on_study: Floats
    score: Floats
    usd: Floats
    samples: Floats

    @classmethod
    def of(cls, found: TierResult) -> TestedPolicies:
        """Everything that a search tested."""
        row = {policy: i for i, policy in enumerate(found.tested)}
        evaluator = found.study_rounds[-1].evaluator
        names = {"baseline": row[found.baseline]}
        names |= {step: row[policy] for step, policy in found.ablation_steps.items()}
        names |= {f"point:{point}": row[c.policy] for point, c in found.points.items()}
        tested = found.tested.values()
        return cls(
            found.test_table.item_ids,
            names,
            tuple(described(policy) for policy in row),
            np.array([evaluator.evaluate(policy).mean_score for policy in row]),
            np.array([e.score for e in tested]),
            np.array([e.usd for e in tested]),
            np.array([e.samples for e in tested]),
        )

    def save(self, path: Path) -> None:
        """Write as compressed `.npz` without pickles."""
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
    def load(cls, path: Path) -> TestedPolicies:
        """Read what `save` wrote.

        Raises:
            ValueError, KeyError, OSError, BadZipFile: the file is cut off or something else.
        """
        if not zipfile.is_zipfile(path):  # numpy leaves a file open that it cannot read
            raise zipfile.BadZipFile(path.name)
        with np.load(path, allow_pickle=False) as data:
            meta = TypeAdapter(_Meta).validate_json(str(data["meta"]))
            arrays = (data[name] for name in ("on_study", "score", "usd", "samples"))
            return cls(*meta, *arrays)

    def row_of(self, policy: str) -> int | None:
        """The row of a policy by its line; None where it was not tested."""
        return self.policies.index(policy) if policy in self.policies else None


@dataclass(frozen=True)
class TierFiles:
    """One tier of a run; what could not be read is None.

    Attributes:
        place: in the job, from 0, the weakest tier first.
        prompts: the samples that all prompts were screened on.
        study: the samples of the last study.
        test: those of the held-out items.
        trials: of the last study.
    """

    name: str
    place: int
    summary: TierSummary
    policy: PolicyFile | None
    prompts: SampleTable | None
    study: SampleTable | None
    test: SampleTable | None
    tested: TestedPolicies | None
    trials: tuple[TrialRow, ...]

    @property
    def simulated(self) -> bool:
        """Whether its dollars are simulated: computed from parameter and token counts."""
        return self.policy is not None and self.policy.tier.price.simulated

    @property
    def tone(self) -> str:
        """The class that colours it in every chart."""
        return f"t{self.place % 6}"

    @property
    def policy_file(self) -> PolicyFile:
        """`policy`; raises UnsupportedError where it is missing, as all that follow."""
        return _needed(self.policy, f"policies/{self.name}.yaml")

    @property
    def prompt_table(self) -> SampleTable:
        """`prompts`, or UnsupportedError."""
        return _needed(self.prompts, f"tables.{self.name}.prompts.npz")

    @property
    def study_table(self) -> SampleTable:
        """`study`, or UnsupportedError."""
        return _needed(self.study, f"tables.{self.name}.npz")

    @property
    def test_table(self) -> SampleTable:
        """`test`, or UnsupportedError."""
        return _needed(self.test, f"tables.{self.name}.test.npz")

    @property
    def tested_policies(self) -> TestedPolicies:
        """`tested`, or UnsupportedError."""
        return _needed(self.tested, f"tested.{self.name}.npz")


def _needed(part: T | None, file: str) -> T:
    if part is None:
        raise UnsupportedError(f"{file} is missing")
    return part


def common_items(
    a: tuple[str, ...], b: tuple[str, ...]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Places of the item ids that both have, in the order of `a`."""
    place = {item: i for i, item in enumerate(b)}
    both = [(i, place[item]) for i, item in enumerate(a) if item in place]
    pairs = np.array(both, dtype=np.intp).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]
