"""A policy, its parameters, and the policy again; a space loses what nobody can score."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from tests.search.worlds import DIMS, EVERY, VARIANTS, table
from tierwise.difficulty import signal_of
from tierwise.evaluation import Evaluator, Permutations
from tierwise.runs import check, load_space
from tierwise.runs.recorded_depth import scores_of
from tierwise.schema import Difficulty, Price, Probe, Recipe, StrategySpec, Tier
from tierwise.schema.result import Proposal
from tierwise.search.space import Dimensions, offered, parameters_of, policy_of, thresholds
from tierwise.tasks import Item, Task


class Sampled:
    """Answers a walk over the space with whatever hypothesis thinks of."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data

    def suggest_categorical(self, name, choices):
        return self.data.draw(st.sampled_from(choices), label=name)

    def suggest_int(self, name, low, high, *, log=False):
        return self.data.draw(st.integers(low, high), label=name)

    def suggest_float(self, name, low, high, *, log=False):
        return self.data.draw(st.floats(low, high), label=name)


@pytest.mark.parametrize("dims", [DIMS, EVERY], ids=["some signals", "every signal"])
@given(st.data())
def test_a_proposal_is_what_its_parameters_propose(dims: Dimensions, data: st.DataObject) -> None:
    proposal = dims.propose(Sampled(data))
    params = parameters_of(proposal, dims)
    assert params is not None
    again = dims.propose(FixedTrial(params))
    assert again.shares == pytest.approx(proposal.shares)
    assert (again.difficulty, again.buckets) == (proposal.difficulty, proposal.buckets)
    assert parameters_of(again, dims) == pytest.approx(params)


@given(st.data())
def test_a_bucket_has_the_parameters_of_its_strategy_alone(data: st.DataObject) -> None:
    proposal = DIMS.propose(Sampled(data))
    params = parameters_of(proposal, DIMS)
    for b, recipe in enumerate(proposal.buckets):
        variants, strategy = recipe.variants, recipe.strategy
        mine = {name for name in params if name.startswith(f"b{b}.")}
        assert mine == {
            f"b{b}.variants",
            f"b{b}.strategy",
            *(f"b{b}.variant{i}" for i in range(len(variants))),
            *(f"b{b}.{strategy.kind}.{name}" for name in DIMS.space.strategies[strategy.kind]),
        }
    assert not any(name.startswith(f"b{len(proposal.buckets)}.") for name in params)


def test_every_signal_setting_and_number_of_buckets_can_be_proposed() -> None:
    settings = {kind: len(EVERY.ways(kind)) for kind in EVERY.signals}
    assert settings == {
        "length": 1,
        "probe_agreement": 1,
        "probe_confidence": 2,
        "verifier_score": 1,
        "self_rating": 1,
        "control_question": 1,
        "router": 2,
    }
    evaluator = Evaluator(table(3, n_items=60), Permutations(2))
    recipe = Recipe((VARIANTS[0],), StrategySpec.of("single"))
    for kind in EVERY.signals:
        for way in EVERY.ways(kind):
            needs = signal_of(way).probes and way.probe is None
            told = replace(way, probe=Probe(VARIANTS[:1], 4)) if needs else way
            five = Proposal(told, (0.2, 0.4, 0.6, 0.8), (recipe,) * 5)
            assert parameters_of(five, EVERY) is not None
            if (policy := policy_of(five, evaluator)) is not None:
                assert len(policy.difficulty.thresholds) == 4
                assert evaluator.evaluate(policy).shares == pytest.approx((0.2,) * 5, abs=0.15)
    assert policy_of(Proposal(EVERY.ways("router")[1], (0.5,), (recipe,) * 2), evaluator)


def test_what_a_tier_cannot_be_told_by_is_not_proposed() -> None:
    bare = replace(EVERY, scores=frozenset(), ready_signals={})
    assert bare.signals == ("length", "probe_agreement")


def test_a_portfolio_is_a_set() -> None:
    two = {"buckets": 1, "b0.variants": 2, "b0.strategy": "single"}
    one_way = FixedTrial(
        {**two, "b0.variant0": VARIANTS[0].label, "b0.variant1": VARIANTS[1].label}
    )
    other_way = FixedTrial(
        {**two, "b0.variant0": VARIANTS[1].label, "b0.variant1": VARIANTS[0].label}
    )
    twice = FixedTrial({**two, "b0.variant0": VARIANTS[1].label, "b0.variant1": VARIANTS[1].label})
    assert DIMS.propose(one_way) == DIMS.propose(other_way)
    assert DIMS.propose(twice).buckets[0].variants == (VARIANTS[1],)


def test_a_window_is_never_more_than_the_samples() -> None:
    trial = FixedTrial(
        {
            "buckets": 1,
            "b0.variants": 1,
            "b0.variant0": VARIANTS[0].label,
            "b0.strategy": "early_stopping",
            "b0.early_stopping.window": 5,
            "b0.early_stopping.max_samples": 3,
        }
    )
    assert dict(DIMS.propose(trial).buckets[0].strategy.params) == {"window": 5, "max_samples": 5}


def test_what_the_space_does_not_hold_has_no_parameters() -> None:
    def single(variant) -> Proposal:
        return Proposal(Difficulty(), (), (Recipe((variant,), StrategySpec.of("single")),))

    assert parameters_of(single(VARIANTS[0]), DIMS) is not None
    assert parameters_of(single(VARIANTS[0]._replace(temperature=0.1)), DIMS) is None
    weighted = Recipe((VARIANTS[0],), StrategySpec.of("weighted_consistency", samples=3))
    assert parameters_of(Proposal(Difficulty(), (), (weighted,)), DIMS) is None


def test_without_logprobs_nothing_that_needs_them_is_proposed() -> None:
    without = Dimensions(DIMS.space, DIMS.depths, logprobs=False)
    assert "best_of_n" in DIMS.kinds
    assert "best_of_n" not in without.kinds


values = st.lists(st.integers(-6, 6).map(lambda v: v / 4), min_size=2, max_size=40)
shares = st.lists(st.floats(0.05, 0.95), min_size=1, max_size=2, unique=True).map(sorted)


@settings(max_examples=200)
@given(values, shares)
def test_cuts_lie_in_the_gaps_that_leave_nearest_to_the_shares(values, shares) -> None:
    observed = np.array(values)
    levels = sorted(set(values))
    gaps = [(a + b) / 2 for a, b in itertools.pairwise(levels)]
    cuts = thresholds(observed, shares)
    if not gaps:
        assert cuts is None
        return

    def miss(cut: float, share: float) -> float:
        return abs(np.mean(observed >= cut) - share)

    nearest = [min(miss(gap, share) for gap in gaps) for share in shares]
    if cuts is None:
        # Both shares are nearest to one gap.
        assert any(
            all(miss(g, s) == pytest.approx(n) for s, n in zip(shares, nearest, strict=True))
            for g in gaps
        )
        return
    assert list(cuts) == sorted(set(cuts), reverse=True)
    for cut, share, best in zip(cuts, shares, nearest, strict=True):
        assert cut in gaps
        assert miss(cut, share) == pytest.approx(best)
    sizes = np.bincount(np.searchsorted(sorted(cuts), observed, side="right"))
    assert len(sizes) == len(cuts) + 1
    assert (sizes > 0).all(), "no bucket is empty"


def test_an_unknown_value_moves_no_cut() -> None:
    known = np.array([1.0, 2.0, 3.0, 4.0])
    assert thresholds(np.append(known, [-np.inf, np.nan]), [0.5]) == thresholds(known, [0.5])


def test_a_policy_with_an_empty_bucket_is_none() -> None:
    evaluator = Evaluator(table(), Permutations(4))
    recipe = Recipe((VARIANTS[0],), StrategySpec.of("single"))
    two_samples = Probe(VARIANTS[:1], 2)  # agreement is .5 or 1: one gap
    assert policy_of(
        Proposal(Difficulty("probe_agreement", (), two_samples), (0.5,), (recipe,) * 2), evaluator
    )
    three = Proposal(Difficulty("probe_agreement", (), two_samples), (0.3, 0.6), (recipe,) * 3)
    assert policy_of(three, evaluator) is None


def test_cuts_of_a_policy_are_those_of_its_signal() -> None:
    evaluator = Evaluator(table(), Permutations(4))
    recipe = Recipe((VARIANTS[0],), StrategySpec.of("single"))
    policy = policy_of(Proposal(Difficulty("length"), (0.4,), (recipe,) * 2), evaluator)
    expected = thresholds(evaluator.signal(Difficulty("length")), [0.4])
    assert policy.difficulty == Difficulty("length", expected)


# What a tier and its task cannot score is left out

ITEM = Item("i", {"question": "1 2 3 4"}, "24")


@pytest.mark.parametrize(
    ("logprobs", "verifiers", "scores"),
    [
        (False, (), set()),
        (True, (), {"mean_logprob", "min_logprob"}),
        (False, ("game24",), {"game24"}),
    ],
)
def test_scores_come_from_the_tier_and_the_task(logprobs, verifiers, scores):
    task = Task("t", 1, ("question",), (ITEM,), verifiers=verifiers)
    tier = Tier("t", "test/t", Price(1, 1), logprobs=logprobs)
    assert scores_of(task, tier) == scores


def test_only_what_can_be_ranked_by_stays():
    space = load_space("default")
    without = offered(space, set())
    assert set(space.strategies) - set(without.strategies) == {"best_of_n", "weighted_consistency"}
    kept = offered(space, {"mean_logprob"})
    assert kept.strategies == {kind: dict(d) for kind, d in space.strategies.items()}


def test_an_unknown_score_in_a_space_names_the_near_ones(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "temperature: [0.7]\nmodes: [direct]\n"
        "strategies:\n  best_of_n: {samples: 3, verifier: [gaem24]}\n"
    )
    (fault,) = check(path)
    assert "did you mean 'game24'" in str(fault)
    assert fault.line == 4
