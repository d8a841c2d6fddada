"""A study round: trials of policies judged on one table, asked and told in memory.

Evaluation takes less time than Optuna's storages do; so a study lives in memory, and its journal is
written once, when its round is closed.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tierwise.errors import InputError
from tierwise.evaluation import Evaluation, Evaluator
from tierwise.schema import Difficulty, Policy, Recipe
from tierwise.schema.result import Proposal
from tierwise.search.allocation import allocate_on, cascades
from tierwise.search.sampler import PartwiseSampler, Walk
from tierwise.search.space import SINGLE, Dimensions, parameters_of
from tierwise.stats.pareto import Indices, pareto_front

POLICY = "policy"
"""The attribute of a trial that describes its policy."""

WARM_STARTS = 24
"""Allocations that a study begins with."""

OBJECTIVES = ("score", "usd")
FEWEST_TRIALS = 20
"""With fewer trials (of the study, or that have the parameter) an importance is noise."""

BEST = 0.25
"""The part of the trials that counts as good."""


class EvaluatedTrial(NamedTuple):
    """A trial that came to an end."""

    proposal: Proposal
    policy: Policy
    score: float
    usd: float
    samples: float
    rounds: float
    trial: int


@dataclass
class StudyRound:
    """A study over one table.

    Attributes:
        name: of the Optuna study, ``TASK/TIER/gN``.
        judged: distinct policies by proposal, in order of trial.
        listed: simple policies that are there whatever was proposed: the same for every seed.
        out_of_fold: for each fold of the items, in the order of their ids, allocations by the
            other items.
    """

    name: str
    evaluator: Evaluator
    dimensions: Dimensions
    seed: int
    number: int

    def __post_init__(self) -> None:
        self.judged: dict[Policy, EvaluatedTrial] = {}
        self.listed: tuple[Policy, ...] = ()
        self.out_of_fold: tuple[tuple[Proposal, ...], ...] = ()
        self._tried: set[Policy] = set()
        """Policies that wait to be judged, or could not be."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(
            study_name=self.name,
            directions=["maximize", "minimize"],
            sampler=PartwiseSampler(self.seed, self.number, is_new=self.is_new),
        )

    def is_new(self, walk: Walk, told: Sequence[FrozenTrial]) -> bool:
        """Whether a walk over the space comes to a policy that can be judged, and was not yet."""
        policy = self.dimensions.policy_of(self.dimensions.propose(walk), self.evaluator)
        known = {trial.user_attrs.get(POLICY) for trial in told}
        return policy is not None and str(policy) not in known and self._worth_a_trial(policy)

    def _worth_a_trial(self, policy: Policy) -> bool:
        known = policy in self._tried or policy in self.judged
        return not known and self.dimensions.supports(policy)

    def enqueue(self, proposals: Sequence[Proposal]) -> None:
        """Have these judged first; what the space and its samples do not hold is left out."""
        for proposal in proposals:
            params = parameters_of(proposal, self.dimensions)
            if params is None:
                continue
            walked = self.dimensions.propose(Walk(given(params)))
            policy = self.dimensions.policy_of(walked, self.evaluator)
            if policy is None or not self._worth_a_trial(policy):
                continue
            self._tried.add(policy)
            self.study.enqueue_trial(params)

    def search(
        self,
        trials: int,
        known: Sequence[Proposal],
        without: Sequence[Indices],
        best: Callable[[EvaluatedTrial], None],
    ) -> None:
        """Judge what was ``known`` before, then warm starts, then ``trials`` that are asked for.

        Args:
            without: of a study that is selected from: the items but for each fold, on which
                allocations are proposed as well.
            best: told of each trial of the highest score so far.
        """
        self.judge_again(known)
        warm = [
            Proposal(Difficulty(), (), (Recipe((v,), SINGLE),)) for v in self.dimensions.variants
        ]
        parts = [np.arange(self.evaluator.table.n_items), *without]
        allocated, *others = allocate_on(self.evaluator, self.dimensions, parts)
        self.listed = allocated.simple
        self.out_of_fold = tuple(tuple(one.by_bucket_counts(WARM_STARTS)) for one in others)
        self.enqueue([*warm, *allocated.spread(WARM_STARTS)])
        self.run(trials, best)
        if without:
            self.try_alone()

    def judge_again(self, proposals: Sequence[Proposal]) -> None:
        """Judge an earlier round's policies on this table, as trials of this study."""
        self.enqueue(proposals)
        waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        self.run(len(waiting))

    def try_alone(self) -> None:
        """Judge every recipe of the front's buckets as a policy of its own.

        A study comes upon good recipes in buckets and may not have tried them without: buckets
        would then be chosen for a recipe that needs none.
        """
        recipes = dict.fromkeys(r for j in self.front() for r in j.policy.buckets)
        alone = [Proposal(Difficulty(), (), (recipe,)) for recipe in recipes]
        self.judge_again([p for p in alone if Policy(p.buckets) not in self.judged])

    def run(self, trials: int, best: Callable[[EvaluatedTrial], None] | None = None) -> None:
        """Ask, judge and tell ``trials`` trials; fewer where the space has no other policy."""
        for _ in range(trials):
            if not self._another():
                return
            trial = self.study.ask()
            proposal = self.dimensions.propose(trial)
            policy = self.dimensions.policy_of(proposal, self.evaluator)
            judged = None if policy is None else self._judge(proposal, policy, trial.number)
            if judged is None or judged.score != judged.score:
                # Scores that the policy goes by are missing: no value to tell.
                if policy is not None:
                    self._tried.add(policy)
                self.study.tell(trial, state=TrialState.PRUNED)
                continue
            for name, excess in self._excess(judged.usd, judged.rounds).items():
                trial.set_constraint(name, excess)
            trial.set_user_attr(POLICY, str(judged.policy))
            self.study.tell(trial, [judged.score, judged.usd])
            if best and all(judged.score >= other.score for other in self.judged.values()):
                best(judged)

    def _another(self) -> bool:
        """Whether a policy waits, or the sampler comes to a new one."""
        if self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            return True
        sampler = self.study.sampler
        return not isinstance(sampler, PartwiseSampler) or sampler.draft(self.study)

    def feasible(self) -> list[EvaluatedTrial]:
        """Policies within the constraints; all where none is."""
        among = list(self.judged.values())
        return [j for j in among if self._within(j.usd, j.rounds)] or among

    def selectable(self) -> dict[Policy, int]:
        """What may be chosen: policy -> trial; -1 of simple ones of a grid and cascades that keep
        to the constraints, which are the same for every seed."""
        found = {judged.policy: judged.trial for judged in self.feasible()}
        for policy in (*self.listed, *cascades(self.evaluator, self.dimensions)):
            if self.allows(self.evaluator.evaluate(policy)):
                found.setdefault(policy, -1)
        return found

    def front(self) -> list[EvaluatedTrial]:
        """Feasible policies that no other dominates, cheapest first."""
        among = self.feasible()
        return [among[i] for i in pareto_front([j.score for j in among], [j.usd for j in among])]

    def _judge(self, proposal: Proposal, policy: Policy, trial: int) -> EvaluatedTrial:
        if policy in self.judged:
            return self.judged[policy]
        got = self.evaluator.evaluate(policy)
        judged = EvaluatedTrial(proposal, policy, *means(got), trial)
        if judged.score == judged.score:
            self.judged[policy] = judged
        return judged

    def allows(self, evaluation: Evaluation) -> bool:
        """Whether a policy keeps to the space's constraints."""
        _, usd, _, rounds = means(evaluation)
        return self._within(usd, rounds)

    def _within(self, usd: float, rounds: float) -> bool:
        return all(excess <= 0 for excess in self._excess(usd, rounds).values())

    def _excess(self, usd: float, rounds: float) -> dict[str, float]:
        """Constraint of the space -> by how much it is exceeded."""
        bounds = self.dimensions.space.constraints
        excess = {}
        if bounds.max_usd_per_item is not None:
            excess["max_usd_per_item"] = usd - bounds.max_usd_per_item
        if bounds.max_rounds is not None:
            excess["max_rounds"] = rounds - bounds.max_rounds
        return excess


def given(params: Mapping[str, Any]) -> Callable[[str, object], Any]:
    """A walk's answers from a trial's parameters."""
    return lambda name, _: params[name]


def means(evaluation: Evaluation) -> tuple[float, float, float, float]:
    """Score, dollars, samples and rounds an item."""
    return (
        evaluation.mean_score,
        evaluation.mean_usd,
        float(evaluation.samples.mean()),
        float(evaluation.rounds.mean()),
    )


# The journal of a run's studies, which optuna-dashboard opens


class _Buffered(BaseJournalBackend):
    """A journal in memory; Optuna's own file journal syncs the disk for every trial."""

    def __init__(self, logs: list[dict[str, Any]]) -> None:
        self.logs = logs

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.logs += logs


def journal_of(study_rounds: Sequence[StudyRound]) -> str:
    """The text of a journal that holds the studies."""
    backend = _Buffered([])
    # One storage for all: a journal's entries name studies and trials by their place in it.
    storage = JournalStorage(backend)
    for study_round in study_rounds:
        optuna.copy_study(
            from_study_name=study_round.name,
            from_storage=study_round.study._storage,
            to_storage=storage,
            to_study_name=study_round.name,
        )
    return "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in backend.logs)


def importances(
    journal: bytes, studies: Sequence[str], path: Path | None = None
) -> dict[str, dict[str, Mapping[str, float]]]:
    """Study -> objective -> parameter -> share of what moved its trials, the largest first.

    By PED-ANOVA (Watanabe, Bansal and Hutter, IJCAI 2023, arXiv 2304.10255), which unlike fANOVA
    keeps conditional parameters. A study that is not in the journal, or has fewer than
    ``FEWEST_TRIALS`` trials, is left out.

    Args:
        journal: bytes of a run's journal.
        studies: their names.
        path: of the journal, for an error's message.

    Raises:
        InputError: the journal is damaged.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        logs = [json.loads(line) for line in journal.decode().splitlines() if line.strip()]
        storage = JournalStorage(_Buffered(logs))
        known = {summary.study_name for summary in storage.get_all_studies()}
    except Exception as error:  # noqa: BLE001  Optuna replays a damaged log until something breaks
        fault = f"is no whole journal of studies ({type(error).__name__})"
        raise InputError(fault, path=path) from None
    found: dict[str, dict[str, Mapping[str, float]]] = {}
    for name in studies:
        if name not in known:
            continue
        study = optuna.load_study(study_name=name, storage=storage)
        if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < FEWEST_TRIALS:
            continue
        found[name] = {what: _importances(study, i) for i, what in enumerate(OBJECTIVES)}
    return found


def _importances(study: optuna.Study, objective: int) -> dict[str, float]:
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    asked = Counter(name for trial in trials for name in trial.params)
    # PED-ANOVA looks at what the trials with the lowest targets have in common.
    sign = -1.0 if study.directions[objective] == StudyDirection.MAXIMIZE else 1.0

    def target(trial: FrozenTrial) -> float:
        return sign * float(trial.values[objective])

    with warnings.catch_warnings():
        # It is experimental, says so of the sign too, and names each parameter of few trials:
        # these are left out below.
        warnings.filterwarnings("ignore", module="optuna")
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BEST)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator, target=target)
    ranked = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))  # Optuna's ties are random
    return {name: share for name, share in ranked if asked[name] >= FEWEST_TRIALS}
