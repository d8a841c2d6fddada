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
from tierwise.evaluation import Evaluation, SampleTable
from tierwise.schema import Policy, PolicyFile
from tierwise.schema.measured import FailedItems
from tierwise.schema.result import TierSummary, TrialRow
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
    left_out: int


@dataclass(frozen=True)
class JudgedPolicies:
    """Policies on a split, item by item: `tested.TIER.npz`, and `validated.TIER.npz`.

    Tested are the baseline and the chosen policy (every point's where samples are free); the
    ablation's policies and all points are on validation items.

    Attributes:
        names: what a policy was judged as (`baseline`, a step of the ablation, `point:NAME`) ->
            its row.
        policies: each row's policy in one line.
        left_out: items of the split that failed under every variant.
        score, usd, samples, unanswered: (n_policies, n_items).
    """

    item_ids: tuple[str, ...]
    names: Mapping[str, int]
    policies: tuple[str, ...]
    left_out: int
    score: Floats
    usd: Floats
    samples: Floats
    unanswered: npt.NDArray[np.bool_]

    @classmethod
    def on_test(cls, found: TierResult) -> JudgedPolicies:
        """Everything that a search tested."""
        held_out = found.held_out
        return cls._of(found, held_out.table, held_out.evaluations, {})

    @classmethod
    def on_validation(cls, found: TierResult) -> JudgedPolicies:
        """The same on validation items, with the ablation's policies and all points."""
        held_out, table = found.held_out, found.study_table
        place = {item: i for i, item in enumerate(table.item_ids)}
        table = table.rows(np.array([place[item] for item in held_out.validation_items]))
        return cls._of(found, table, held_out.validated, held_out.ablation_steps)

    @classmethod
    def _of(
        cls,
        found: TierResult,
        table: SampleTable,
        judged: Mapping[Policy, Evaluation],
        steps: Mapping[str, Policy],
    ) -> JudgedPolicies:
        row = {policy: i for i, policy in enumerate(judged)}
        names = {"baseline": row[found.baseline], **{step: row[p] for step, p in steps.items()}}
        points = {f"point:{name}": choice.policy for name, choice in found.points.items()}
        names |= {name: row[policy] for name, policy in points.items() if policy in row}
        return cls(
            table.item_ids,
            names,
            tuple(str(policy) for policy in row),
            len(table.left_out),
            np.array([e.score for e in judged.values()]),
            np.array([e.usd for e in judged.values()]),
            np.array([e.samples for e in judged.values()]),
            np.array([table.unanswered(policy.variants) for policy in judged]),
        )

    def save(self, path: Path) -> None:
        """Write as compressed `.npz` without pickles."""
        meta = _Meta(self.item_ids, self.names, self.policies, self.left_out)
        np.savez_compressed(
            path,
            meta=np.array(json.dumps(meta._asdict())),
            score=self.score,
            usd=self.usd,
            samples=self.samples,
            unanswered=self.unanswered,
        )

    @classmethod
    def load(cls, path: Path) -> JudgedPolicies:
        """Read what `save` wrote.

        Raises:
            ValueError, KeyError, OSError, BadZipFile: the file is cut off or something else.
        """
        if not zipfile.is_zipfile(path):  # numpy leaves a file open that it cannot read
            raise zipfile.BadZipFile(path.name)
        with np.load(path, allow_pickle=False) as data:
            meta = TypeAdapter(_Meta).validate_json(str(data["meta"]))
            arrays = (data[name] for name in ("score", "usd", "samples", "unanswered"))
            return cls(*meta, *arrays)

    def failed(self, row: int) -> FailedItems:
        """What stands beside the scores of a row."""
        return FailedItems(self.left_out, int(self.unanswered[row].sum()))


@dataclass(frozen=True)
class TierFiles:
    """One tier of a run; what could not be read is None.

    Attributes:
        place: in the job, from 0, the weakest tier first.
        prompts: the samples that all prompts were screened on.
        study: the samples of the last study.
        test: those of the held-out items.
        validated: policies on validation items.
        trials: of the last study.
    """

    name: str
    place: int
    summary: TierSummary
    policy: PolicyFile | None
    prompts: SampleTable | None
    study: SampleTable | None
    test: SampleTable | None
    tested: JudgedPolicies | None
    validated: JudgedPolicies | None
    trials: tuple[TrialRow, ...]

    @property
    def simulated(self) -> bool:
        """Whether its dollars are simulated: computed from parameter and token counts."""
        return self.policy is not None and self.policy.tier.price.simulated

    @property
    def exported_as(self) -> str:
        """What the exported policy was judged as: a name of `JudgedPolicies`."""
        chosen = f"point:{self.summary.operating_point}"
        return chosen if self.summary.exports_chosen else "baseline"

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
    def tested_policies(self) -> JudgedPolicies:
        """`tested`, or UnsupportedError."""
        return _needed(self.tested, f"tested.{self.name}.npz")

    @property
    def validated_policies(self) -> JudgedPolicies:
        """`validated`, or UnsupportedError."""
        return _needed(self.validated, f"validated.{self.name}.npz")


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
