"""Non-inferiority of one of many searched policies: rarely wrong, and not blind."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import pytest

from tests.search.worlds import judged
from tierwise.schema import Policy, StrategySpec, Variant, uniform
from tierwise.search.selection import (
    LIKELIER_THAN_NOT,
    Candidate,
    Claim,
    StudyEvidence,
    critical_value,
    level_point,
    non_inferior,
    studentised_margin,
)
from tierwise.stats.comparisons import PairedBootstrap

MARGIN = 0.02
Z = NormalDist().inv_cdf(0.975)
STRONG = Variant("strong", "direct", 0.0)


def policy(i: int) -> Policy:
    return uniform(Variant(f"p{i}", "direct", 0.0), StrategySpec.of("single"))


class World(NamedTuple):
    """A strong policy that is always right, and cheaper ones; gaps are minus the share wrong."""

    strong: Candidate
    cheaper: list[Candidate]
    study: StudyEvidence

    @property
    def shown(self) -> list[Candidate]:
        return non_inferior([self.strong, *self.cheaper], Claim(-MARGIN, self.strong), self.study)


def world(study: np.ndarray, select: np.ndarray, usd: np.ndarray) -> World:
    """Of score differences to the strong one, (n_policies, n_items), on either split."""
    policies = [policy(i) for i in range(len(usd))]
    base = uniform(STRONG, StrategySpec.of("single"))
    seen = {p: judged(0.5 + d, u) for p, d, u in zip(policies, study, usd, strict=True)}
    seen[base] = judged(np.full(study.shape[1], 0.5), 1.0)
    fresh = [
        Candidate(p, i, judged(0.5 + d, u))
        for i, (p, d, u) in enumerate(zip(policies, select, usd, strict=True))
    ]
    strong = Candidate(base, -1, judged(np.full(select.shape[1], 0.5), 1.0))
    return World(
        strong, fresh, StudyEvidence({p: e.mean_usd for p, e in seen.items()}, seen.__getitem__)
    )


def alike(
    seed: int, gap: float, *, steps: int, each: int, differ: float, study: int, select: int
) -> World:
    """``steps`` prices with ``each`` policies, all of one true gap; ``differ``: share of items."""
    rng = np.random.default_rng(seed)
    u = rng.random((steps * each, study + select))
    gaps = np.where(u < (differ - gap) / 2, -0.5, np.where(u < differ, 0.5, 0.0))
    usd = np.repeat(0.8 ** np.arange(1, steps + 1), each)
    return world(gaps[:, :study], gaps[:, study:], usd * rng.uniform(0.98, 1.0, len(usd)))


def wrongly(runs: int, gap: float, **of: float) -> float:
    """How often a policy of that gap is shown to be level."""
    # The settings of ``alike`` are of several types, and a table of them has one.
    return float(np.mean([bool(alike(seed, gap, **of).shown) for seed in range(runs)]))  # type: ignore[arg-type]


def by_each_alone(found: World) -> bool:
    """Whether any of many looks level by its own interval, on the study and select together."""
    theirs = found.study.evaluate(found.strong.policy).score
    return any(
        studentised_margin(
            np.append(found.study.evaluate(c.policy).score - theirs, c.on_select.score - 0.5),
            Claim(-MARGIN, found.strong),
        )
        > Z
        for c in found.cheaper
    )


# Differences are of half a point, so that a margin of .02 is one of .04 of the items.
SMALL = {"steps": 8, "each": 4, "differ": 0.2, "study": 120, "select": 80}


def test_of_many_that_are_not_level_hardly_ever_one_is_shown() -> None:
    worlds = [alike(seed, -2 * MARGIN, **SMALL) for seed in range(100)]
    assert np.mean([bool(w.shown) for w in worlds]) <= 0.07
    assert np.mean([by_each_alone(w) for w in worlds]) > 0.25


@pytest.mark.slow
@pytest.mark.parametrize("differ", [0.08, 0.24])
@pytest.mark.parametrize(("steps", "each"), [(1, 1), (12, 1), (12, 4), (12, 20)])
def test_the_error_is_held_however_many_were_searched(steps: int, each: int, differ: float) -> None:
    of = {"steps": steps, "each": each, "differ": differ, "study": 450, "select": 200}
    assert wrongly(300, -2 * MARGIN, **of) <= 0.05


def test_a_bound_of_score_that_none_keeps_looks_kept_in_half_of_the_runs_at_most() -> None:
    """24 policies at just the bound: the cheapest whose mean reaches it is nearly always there."""
    kept, by_mean = [], []
    for seed in range(60):
        right = (np.random.default_rng(seed).random((24, 200)) < 0.7) - 0.5
        of = world(right[:, :120], right[:, 120:], 0.8 ** np.arange(1, 25))
        kept.append(bool(non_inferior(of.cheaper, Claim(0.7), of.study, LIKELIER_THAN_NOT)))
        by_mean.append(any(c.on_select.mean_score >= 0.7 for c in of.cheaper))
    assert np.mean(kept) <= 0.6
    assert np.mean(by_mean) > 0.95


def test_what_is_level_is_shown_of_several_hundred_items() -> None:
    of = {"steps": 6, "each": 2, "differ": 0.02, "study": 240, "select": 320}
    # As above: a table of settings of several types.
    prices = [w.shown[-1].on_select.mean_usd for w in (alike(s, 0.0, **of) for s in range(20))]  # type: ignore[arg-type]
    assert np.median(prices) < 0.8**5


def test_one_rival_is_no_choice_and_many_alike_are_one() -> None:
    rng = np.random.default_rng(0)
    gaps = rng.choice([-0.5, 0.0, 0.5], (1, 400), p=[0.1, 0.8, 0.1])
    claim = Claim(0.0, alike(0, 0.0, **SMALL).strong)
    for fresh in (1, 100, 10_000):
        assert critical_value(gaps, claim, fresh, 0.025) == pytest.approx(Z, abs=0.12)
        assert critical_value(np.repeat(gaps, 50, axis=0), claim, fresh, 0.025) == pytest.approx(
            critical_value(gaps, claim, fresh, 0.025)
        )


@pytest.mark.parametrize("k", [4, 32])
def test_independent_rivals_cost_what_sidak_says(k: int) -> None:
    """All on the study: the quantile of the largest of ``k`` normals. All fresh: of one."""
    gaps = np.random.default_rng(1).choice([-0.5, 0.0, 0.5], (k, 900), p=[0.15, 0.7, 0.15])
    claim = Claim(-0.01, alike(0, 0.0, **SMALL).strong)
    sidak = NormalDist().inv_cdf(0.975 ** (1 / k))
    assert critical_value(gaps, claim, 1, 0.025) == pytest.approx(sidak, abs=0.15)
    assert critical_value(gaps, claim, 1_000_000, 0.025) == pytest.approx(Z, abs=0.1)


def test_policies_that_are_far_below_are_no_rivals() -> None:
    near = np.random.default_rng(2).choice([-0.5, 0.0, 0.5], (3, 400), p=[0.1, 0.8, 0.1])
    far = np.random.default_rng(3).choice([-0.5, 0.0], (60, 400), p=[0.5, 0.5])
    claim = Claim(-MARGIN, alike(0, 0.0, **SMALL).strong)
    both = critical_value(np.concatenate([near, far]), claim, 100, 0.025)
    assert both == critical_value(near, claim, 100, 0.025)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.2])
def test_surety_is_what_the_paired_interval_says(share: float) -> None:
    rng = np.random.default_rng(4)
    gaps = rng.choice([-0.5, 0.0, 0.5], 300, p=[share / 2, 1 - share, share / 2])
    low = PairedBootstrap(300).difference(gaps, np.zeros(300)).low
    sure = float(studentised_margin(gaps, Claim(low, alike(0, 0.0, **SMALL).strong)))
    assert sure == pytest.approx(Z, abs=0.2)


def test_it_ends_at_the_first_that_fails() -> None:
    """The third looks level on the select split, but the second, which was surer, does not."""
    wrong = np.zeros((3, 400))
    wrong[0, :5] = wrong[1, :8] = wrong[2, :11] = -0.5
    select = np.zeros((3, 400))
    select[1, :60] = -0.5
    found = world(wrong, select, np.array([0.7, 0.5, 0.3]))
    assert [c.trial for c in found.shown] == [0]
    assert level_point(found.cheaper, found.strong, found.study, margin=MARGIN).trial == 0


def test_what_saves_next_to_nothing_is_not_tried() -> None:
    study = np.zeros((3, 400))
    study[1, :4] = study[2, :5] = -0.5
    found = world(study, np.zeros((3, 400)), np.array([0.50, 0.48, 0.44]))
    assert [c.trial for c in found.shown] == [0, 2]


def test_where_nothing_can_be_shown_the_other_policy_stays() -> None:
    few = world(np.zeros((2, 20)), np.zeros((2, 20)), np.array([0.5, 0.1]))
    assert level_point(few.cheaper, few.strong, few.study, margin=MARGIN) is few.strong
    lost = world(np.full((1, 400), math.nan), np.zeros((1, 400)), np.array([0.5]))
    assert lost.shown == []
