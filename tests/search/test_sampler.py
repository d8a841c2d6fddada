"""What a trial is asked depends on seed, generation, number and the trials before: nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.search.worlds import DIMS, VARIANTS, coins, table
from tierwise.evaluation import Evaluator, Permutations
from tierwise.schema.space import Constraints
from tierwise.search.sampler import PartwiseSampler
from tierwise.search.space import policy_of
from tierwise.search.study import StudyRound, journal_of

TRIALS = 60


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return Evaluator(table(3), Permutations(4))


def study_round(evaluator: Evaluator, seed: int = 0, number: int = 1) -> StudyRound:
    return StudyRound("t/s/g", evaluator, DIMS, seed, number)


def asked(study: optuna.Study) -> list[dict]:
    return [t.params for t in study.get_trials(deepcopy=False)]


def test_the_same_seed_and_generation_ask_the_same(evaluator: Evaluator) -> None:
    runs = {}
    for seed, number in [(0, 1), (0, 1), (1, 1), (0, 2)]:
        g = study_round(evaluator, seed, number)
        g.run(TRIALS)
        if (seed, number) in runs:
            assert asked(g.study) == runs[seed, number]
        runs[seed, number] = asked(g.study)
    assert runs[0, 1] != runs[1, 1]
    assert runs[0, 1] != runs[0, 2]


def test_a_study_that_was_interrupted_goes_on_as_it_would_have(evaluator: Evaluator) -> None:
    whole = study_round(evaluator)
    whole.run(TRIALS)
    resumed = study_round(evaluator)
    resumed.study.add_trials(whole.study.get_trials()[: TRIALS // 2])
    resumed.run(TRIALS - TRIALS // 2)
    assert asked(resumed.study) == asked(whole.study)


def test_every_value_is_of_its_distribution_and_none_is_left_over(evaluator: Evaluator) -> None:
    g = study_round(evaluator)
    g.run(TRIALS)
    for trial in g.study.get_trials():
        assert trial.params.keys() == trial.distributions.keys()
        for name, distribution in trial.distributions.items():
            assert distribution._contains(distribution.to_internal_repr(trial.params[name]))
        fixed = DIMS.propose(optuna.trial.FixedTrial(trial.params))
        assert all(recipe.strategy.kind in DIMS.kinds for recipe in fixed.buckets)


def test_it_beats_random_trials_where_parts_are_good_together() -> None:
    """Short items are sure with one cheap sample, long ones need the dear variant."""
    n = 40
    short = np.arange(n) < n // 2
    p = {
        VARIANTS[0]: np.where(short, 1.0, 0.1),
        VARIANTS[1]: np.where(short, 0.9, 0.8),
        VARIANTS[2]: np.full(n, 0.4),
    }
    usd = dict(zip(VARIANTS, (1.0, 6.0, 4.0), strict=True))
    known = Evaluator(coins(p, usd, 9), Permutations(4))
    gains = []
    for seed in range(3):
        ours, random = study_round(known, seed), study_round(known, seed)
        random.study = optuna.create_study(
            directions=["maximize", "minimize"], sampler=optuna.samplers.RandomSampler(seed)
        )
        best = []
        for g in (ours, random):
            g.run(2 * TRIALS)
            best.append(max(j.score - 0.02 * j.usd for j in g.judged.values()))
        gains.append(best[0] - best[1])
    assert np.mean(gains) > 0.02
    assert sum(gain > 0 for gain in gains) >= 2


def test_difficulty_is_told_another_way_over_good_cuts_and_recipes(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a probe is mostly of the variant that the easiest bucket samples from."""
    g = study_round(evaluator)
    g.run(TRIALS)
    monkeypatch.setattr("tierwise.search.sampler.EXPLORE", 1.0)
    two = next(t for t in g.study.get_trials() if t.params["buckets"] == 2 and t.values)
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=PartwiseSampler(0, startup=1)
    )
    study.add_trial(two)
    told, shared, probes = set(), 0, 0
    for _ in range(100):
        trial = study.ask()
        DIMS.propose(trial)
        for name in two.params.keys() | trial.params.keys():
            if not name.startswith(("signal", "way.", "probe.")):
                assert trial.params[name] == two.params[name], name
        told.add(trial.params["signal"])
        if trial.params.get("probe.variants") == 1:
            probes += 1
            shared += trial.params["probe.variant0"] == two.params["b0.variant0"]
    assert told == {"length", "probe_agreement"}
    assert probes > 10
    assert shared / probes > 0.5, "by chance one of three"


def test_enqueued_and_restated_policies_are_judged_first(evaluator: Evaluator) -> None:
    first = study_round(evaluator)
    first.run(20)
    policies = list(first.judged)
    other = Evaluator(table(4), Permutations(4))
    second = study_round(other, number=2)
    second.judge_again([j.proposal for j in first.judged.values()])
    expected = [policy_of(j.proposal, other) for j in first.judged.values()]
    assert list(second.judged) == list(dict.fromkeys(p for p in expected if p))
    assert len(policies) > 10
    for judged in second.judged.values():
        assert judged.score == other.evaluate(judged.policy).mean_score, "on the new table"


def test_no_trial_is_spent_on_a_policy_that_is_known(evaluator: Evaluator) -> None:
    g = study_round(evaluator)
    g.run(TRIALS)
    told = [t.user_attrs["policy"] for t in g.study.get_trials() if "policy" in t.user_attrs]
    assert len(told) - len(set(told)) <= TRIALS // 20


def test_recipes_of_good_buckets_are_tried_alone(evaluator: Evaluator) -> None:
    g = study_round(evaluator)
    g.run(TRIALS)
    inside = {r for j in g.front() for r in j.policy.buckets if len(j.policy.buckets) > 1}
    assert inside
    g.try_alone()
    assert inside <= {j.policy.buckets[0] for j in g.judged.values() if len(j.policy.buckets) == 1}


def test_what_the_table_cannot_support_is_pruned_not_scored() -> None:
    shallow = Evaluator(table(3, n_samples=4), Permutations(4))
    g = study_round(shallow)
    g.run(40)
    states = {t.state.name for t in g.study.get_trials()}
    assert states == {"COMPLETE", "PRUNED"}
    assert all(j.score == j.score for j in g.judged.values())


def test_a_front_keeps_to_the_bounds_of_the_space(evaluator: Evaluator) -> None:
    g = study_round(evaluator)
    g.run(TRIALS)
    bound = sorted(j.usd for j in g.judged.values())[len(g.judged) // 3]
    space = dataclasses.replace(DIMS.space, constraints=Constraints(max_usd_per_item=bound))
    g.dimensions = dataclasses.replace(DIMS, space=space)
    front = g.front()
    assert front
    assert all(j.usd <= bound for j in front)
    assert not any(
        o.score >= j.score and o.usd <= j.usd and (o.score, o.usd) != (j.score, j.usd)
        for j in front
        for o in g.judged.values()
        if o.usd <= bound
    )


def test_optuna_opens_the_journal_of_all_generations(evaluator: Evaluator, tmp_path) -> None:
    study_rounds = [StudyRound(f"t/s/g{n}", evaluator, DIMS, 0, n) for n in (1, 2)]
    for g in study_rounds:
        g.run(20)
    (tmp_path / "study.journal").write_text(journal_of(study_rounds))
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    for g in study_rounds:
        loaded = optuna.load_study(study_name=g.name, storage=storage)
        assert [t.params for t in loaded.trials] == asked(g.study)
        assert [t.values for t in loaded.trials] == [t.values for t in g.study.trials]
