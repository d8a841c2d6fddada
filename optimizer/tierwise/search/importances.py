"""Which parameters moved the trials of a study: PED-ANOVA, read from a run's journal.

Watanabe, Bansal and Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in
Arbitrary Subspaces" (IJCAI 2023, arXiv 2304.10255). Unlike fANOVA it keeps conditional parameters.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tierwise.errors import InputError

OBJECTIVES = ("score", "usd")
FEWEST_TRIALS = 20
"""With fewer trials (of the study, or that have the parameter) an importance is noise."""

BEST = 0.25
"""The part of the trials that counts as good."""


def importances(journal: Path, studies: Sequence[str]) -> dict[str, dict[str, Mapping[str, float]]]:
    """Study -> objective -> parameter -> share of importance, the largest first.

    A study that is not in the journal, or has fewer than ``FEWEST_TRIALS`` trials, is left out.

    Raises:
        InputError: the journal is damaged.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = JournalStorage(JournalFileBackend(str(journal)))
        known = {summary.study_name for summary in storage.get_all_studies()}
    except Exception as error:  # noqa: BLE001  Optuna replays a damaged log until something breaks
        fault = f"is no whole journal of studies ({type(error).__name__})"
        raise InputError(fault, path=journal) from None
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
