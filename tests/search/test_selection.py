"""Which policies are taken: each point by its aim, and complexity only where it is earned."""

from __future__ import annotations

import numpy as np
import pytest

from tests.search.worlds import VARIANTS, judged, table
from tierwise.errors import UnsupportedError
from tierwise.evaluation import Evaluator, Permutations
from tierwise.schema import Difficulty, Policy, Probe, Recipe, StrategySpec, uniform
from tierwise.search.selection import (
    Candidate,
    bounded_point,
    complexity,
    select_points,
    spread_along,
)
from tierwise.search.selection import candidate as as_candidate
from tierwise.search.space import Proposal
from tierwise.search.study import EvaluatedTrial

N = 400
SINGLE = StrategySpec.of("single")


def vote(n: int) -> StrategySpec:
    return StrategySpec.of("self_consistency", samples=n)


def scores(mean: float, seed: int = 0) -> np.ndarray:
    """Items right and wrong, on average ``mean`` exactly; nested for one seed."""
    order = np.random.default_rng(seed).permutation(N)
    return (order < round(mean * N)).astype(float)


def candidate(mean: float, usd: float, strategy=SINGLE, *, buckets: int = 1, seed: int = 0):
    recipe = Recipe((VARIANTS[0],), strategy)
    cuts = tuple(-float(b) for b in range(1, buckets))
    policy = Policy((recipe,) * buckets, Difficulty("length" if cuts else "none", cuts))
    rng = np.random.default_rng(seed + 1)
    dollars = usd * (1 + 0.1 * (rng.random(N) - 0.5))
    return Candidate(policy, 0, judged(scores(mean, seed), dollars))


BASELINE = candidate(0.50, 1.0)


def points(*candidates: Candidate) -> dict[str, Candidate]:
    return select_points([BASELINE, *candidates], BASELINE, "balanced", margin=0.02)


def test_quality_is_the_best_score_whatever_it_costs() -> None:
    best = candidate(0.80, 100.0, vote(9))
    assert points(candidate(0.7, 2.0, vote(3)), best)["quality"] is best


def test_balanced_pays_one_point_for_a_doubling() -> None:
    """From .70 at $2: .75 at $8 is five points for two doublings; .76 at $256 is one for five."""
    fair = candidate(0.75, 8.0, vote(5))
    dear = candidate(0.76, 256.0, vote(9))
    assert points(candidate(0.7, 2.0, vote(3)), fair, dear)["balanced"] is fair


def test_economy_is_the_cheapest_that_is_not_shown_to_be_worse_than_the_baseline() -> None:
    too_bad = candidate(0.30, 0.1, vote(2))
    good = candidate(0.60, 0.5, vote(3))
    assert points(too_bad, good, candidate(0.8, 5.0, vote(4)))["economy"] is good


def test_economy_is_the_baseline_where_few_items_show_nothing() -> None:
    def of(items: int) -> tuple[Candidate, Candidate]:
        today = BASELINE._replace(on_select=judged(scores(0.5)[:items], 1.0))
        same = judged(today.on_select.score, 0.5)
        return today, Candidate(uniform(VARIANTS[1], SINGLE), 1, same)

    for items, chosen in ((8, 0), (N, 1)):
        both = of(items)
        assert select_points(both, both[0], "economy", margin=0.02)["economy"] is both[chosen]


def test_a_vote_that_gains_within_the_noise_does_not_take_the_place_of_one_sample() -> None:
    one = candidate(0.700, 2.0)
    lucky = candidate(0.705, 2.0, vote(3), seed=5)
    clear = candidate(0.85, 2.0, vote(3), seed=5)
    assert points(one, lucky)["quality"] is one
    assert points(one, clear)["quality"] is clear


def test_buckets_must_gain_more_than_one_and_a_half_standard_errors() -> None:
    plain = candidate(0.7, 2.0, vote(3))
    # Ten items of 400 are right in addition: 10 / sqrt(10) errors of the difference, about 3.2.
    assert points(plain, candidate(0.725, 2.0, vote(3), buckets=2))["quality"].policy.buckets[1:]
    # Two items: about 1.4.
    few = candidate(0.705, 2.0, vote(3), buckets=2)
    assert points(plain, few)["quality"] is plain


def test_buckets_that_only_save_dollars_are_taken_at_an_equal_score_where_dollars_count() -> None:
    """Equal: the lower bound of the difference is above -.02, also where a few items are lost.

    Where score is all, dollars prove nothing: what scores a little more and is surely cheaper is
    still the luckiest of many.
    """
    plain = candidate(0.7, 2.0, vote(3))
    same = candidate(0.7025, 1.0, vote(3), buckets=2)
    nearly = candidate(0.695, 0.5, vote(3), buckets=2)
    worse = candidate(0.68, 1.0, vote(3), buckets=2)
    assert points(plain, same)["balanced"] is same
    assert points(plain, nearly)["balanced"] is nearly
    assert points(plain, worse)["balanced"] is plain
    assert points(plain, same)["quality"] is plain
    assert points(plain, nearly)["quality"] is plain
    for bound in ({"max_usd_per_item": 3.0}, {"usd_per_point": 9.0}):
        assert bounded_point([plain, same], bound) is plain


def test_buckets_no_better_than_their_random_assignment_control_are_not_taken() -> None:
    plain = candidate(0.7, 2.0, vote(3))
    lucky = candidate(0.75, 2.0, vote(3), buckets=2)
    control = candidate(0.70, 2.0, vote(3))
    assert points(plain, lucky)["quality"] is lucky
    told = lucky._replace(random_control=control.on_select)
    assert points(plain, told)["quality"] is told
    untold = lucky._replace(random_control=lucky.on_select)
    assert points(plain, untold)["quality"] is plain


def test_in_the_control_every_item_is_answered_by_each_recipe_as_often_as_it_is_used() -> None:
    on = Evaluator(table(), Permutations(4), exact=False)
    one, other = (Recipe(VARIANTS[:1], spec) for spec in (SINGLE, vote(3)))
    cut = float(np.median(on.signal(Difficulty("length"))))
    got = as_candidate(on, Policy((one, other), Difficulty("length", (cut,))), 7)
    assert got.random_control is not None
    share = got.on_select.shares[0]
    each = [on.evaluate(Policy((recipe,))) for recipe in (one, other)]
    for name in ("score", "usd", "samples"):
        mixed = share * getattr(each[0], name) + (1 - share) * getattr(each[1], name)
        np.testing.assert_allclose(getattr(got.random_control, name), mixed)
    assert got.random_control.mean_usd != pytest.approx(got.on_select.mean_usd)
    assert as_candidate(on, Policy((one,))).random_control is None


def test_a_probe_is_paid_for_in_the_control_too() -> None:
    on = Evaluator(table(), Permutations(4), exact=False)
    probe = Difficulty("probe_agreement", (0.75,), Probe(VARIANTS[1:2], 2))
    buckets = tuple(Recipe(VARIANTS[:1], spec) for spec in (SINGLE, vote(3)))
    got = as_candidate(on, Policy(buckets, probe))
    assert got.random_control is not None
    assert got.random_control.samples.mean() == pytest.approx(got.on_select.samples.mean())


def test_what_earns_its_place_is_not_hidden_by_what_ranks_higher_and_does_not() -> None:
    plain = candidate(0.7, 2.0)
    lucky = candidate(0.74, 2.1, vote(3), buckets=2, seed=8)  # other items: an error of .03
    cheap = candidate(0.7, 1.0, vote(3), buckets=2)
    assert points(plain, lucky, cheap)["balanced"] is cheap


def test_complexity_is_told_by_what_a_policy_may_ask_for() -> None:
    assert complexity(uniform(VARIANTS[0], SINGLE)) == "one sample"
    assert complexity(uniform(VARIANTS[0], StrategySpec.of("best_of_n", samples=1))) == "one sample"
    assert complexity(uniform(VARIANTS[0], vote(3))) == "one bucket"
    assert complexity(candidate(0.5, 1.0, buckets=2).policy) == "buckets"


CHEAP, GOOD, DEAR = candidate(0.5, 1.0), candidate(0.7, 2.0, vote(3)), candidate(0.8, 9.0, vote(9))


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        ({"max_usd_per_item": 3.0}, GOOD),
        ({"max_usd_per_item": 100.0}, DEAR),
        ({"min_score": 0.6}, GOOD),
        ({"min_score": 0.75}, DEAR),
        ({"min_score": 0.1}, CHEAP),
        # A point of score is worth: less than the $.05 that GOOD's cost, $.7 that DEAR's do, more.
        ({"usd_per_point": 0.01}, CHEAP),
        ({"usd_per_point": 0.2}, GOOD),
        ({"usd_per_point": 5.0}, DEAR),
    ],
)
def test_a_bound_chooses(bound: dict, expected: Candidate) -> None:
    assert bounded_point([CHEAP, GOOD, DEAR], bound) is expected


@pytest.mark.parametrize(
    ("bound", "says"),
    [
        ({"max_usd_per_item": 0.5}, r"at most \$0\.5 an item; the cheapest costs \$0\.999"),
        ({"min_score": 0.9}, r"scores 0\.9 or more; the best scores 0\.800"),
    ],
)
def test_a_bound_that_nothing_keeps_says_how_near_it_gets(bound: dict, says: str) -> None:
    with pytest.raises(UnsupportedError, match=says):
        bounded_point([CHEAP, GOOD, DEAR], bound)


POLICY = uniform(VARIANTS[0], StrategySpec.of("single"))
PROPOSAL = Proposal(POLICY.difficulty, (), POLICY.buckets)


def trial_of(score: float, usd: float) -> EvaluatedTrial:
    return EvaluatedTrial(PROPOSAL, POLICY, score, usd, 1.0, 1.0, 0)


def test_a_short_front_is_taken_whole() -> None:
    front = [trial_of(0.1 * i, i) for i in range(1, 6)]
    assert spread_along(front, 5) == front


def test_the_ends_are_taken_and_the_dear_end_as_densely_as_it_is_dear() -> None:
    """From .90 to .96 the score hardly moves while dollars double four times: half of the way."""
    steep = [trial_of(s, 1.0 + s) for s in np.linspace(0.3, 0.9, 40)]
    flat = [trial_of(0.905 + 0.0014 * i, 2 * 1.0725**i) for i in range(40)]
    chosen = spread_along([*steep, *flat], 10)
    assert chosen[0] == steep[0]
    assert chosen[-1] == flat[-1]
    assert 3 <= sum(j.score > 0.9 for j in chosen) <= 7


def test_a_front_of_one_score_or_of_no_cost_is_no_trouble() -> None:
    assert len(spread_along([trial_of(0.5, 0.0)] * 9, 4)) >= 1
