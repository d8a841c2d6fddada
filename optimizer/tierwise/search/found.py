"""What a search found on one tier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tierwise.difficulty import SignalFit
from tierwise.evaluation import Evaluation, SampleTable
from tierwise.llm.models import RECORDED, kind_of
from tierwise.schema import Policy, Variant
from tierwise.search.candidates import Candidate
from tierwise.search.compute_gate import Verdict
from tierwise.search.gate import Comparison
from tierwise.search.problem import TierProblem
from tierwise.search.rounds.record import Round
from tierwise.search.study import StudyRound


@dataclass(frozen=True)
class TierResult:
    """What a search found on one tier; evaluations are on the test split.

    Attributes:
        points: operating point -> candidate (the job's own bound is ``chosen``).
        chosen: name of the job's operating point.
        tested: policy -> its evaluation on test.
        comparisons: operating point -> its comparison with the baseline.
        ablation_steps: the ablation's policies by name.
        prompt_table: every variant on the same items, for the comparison of prompts: those of the
            screening, all items of a recording.
        beside: with tiers above, what handing on is compared with, by name (in ``tested``).
        compute_gate: whether the tier was allowed to spend; closed, its one sample was chosen on one
            half of the first purchase and tested on the other.
        rounds: of proposals, where the job has some.
        routers: what was fitted on the train split, where the space names the router.
    """

    problem: TierProblem
    baseline: Policy
    points: Mapping[str, Candidate]
    chosen: str
    tested: Mapping[Policy, Evaluation]
    comparisons: Mapping[str, Comparison]
    ablation_steps: Mapping[str, Policy]
    oracle: np.ndarray
    study_rounds: Sequence[StudyRound]
    candidates: Sequence[Candidate]
    screened: Sequence[tuple[Variant, float, float]]
    prompt_table: SampleTable
    study_table: SampleTable
    test_table: SampleTable
    compute_gate: Verdict
    beside: Mapping[str, Policy]
    rounds: Sequence[Round] = ()
    routers: tuple[SignalFit, ...] = ()

    @property
    def tested_on_test(self) -> bool:
        """Whether the test split was looked at: not where the compute gate bought nothing more."""
        recorded = kind_of(self.problem.tier.model) == RECORDED
        return self.compute_gate.open or recorded or bool(self.problem.above)
