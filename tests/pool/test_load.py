from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tierwise.errors import InputError
from tierwise.llm import Call, Completion, Failure
from tierwise.pool import Book, TableOptions, load
from tierwise.pool.store import Answered, Settlement
from tierwise.schema import Price, PriceStep, Usage

NAN = float("nan")
FREE, BOOK = Usage(), Book("r", "small")


def store(pool, request, *results, first=0):
    reservation = pool.reserve(BOOK, FREE)
    call = Call(request, first, len(results), 0)
    pool.exchange(BOOK, [Settlement(reservation, [Answered(call, results)], FREE)])


def says(text, prompt=10, completion=5, **more):
    return Completion(text, prompt, completion, latency_s=0.5, **more)


def same(array, rows):
    np.testing.assert_array_equal(array, np.array(rows))


@pytest.fixture
def tables(world, pool):
    """Items 0 (target 0), 1 (target 2) and 2 (target 4), two variants."""
    plain, steps = world.requests(0), world.requests(1)
    store(pool, plain[0], says("A: 7"), says("no idea"), says("A: 0.", cached_tokens=4))
    store(pool, plain[1], says("A: 2", mean_logprob=-0.5, min_logprob=-2.0), Failure("E", "m"))
    store(pool, steps[0], says("A: 0", 20, 9), says("A: 3"))
    store(pool, steps[1], says("A: 5"), says("A: 2.0"))
    tier = replace(world.tier, price=Price(2.0, 8.0, 1.0))

    def read(**how):
        items = world.items[:3]
        requests = {variant: world.requests(k)[:3] for k, variant in enumerate(world.variants)}
        n_samples = {world.variants[0]: 3, world.variants[1]: 2}
        return load(pool, world.task, tier, items, requests, n_samples, TableOptions(**how))

    return read


def test_load_gives_the_hand_made_table(tables, world):
    table = tables()
    plain, steps = (table.variants[a] for a in world.variants)
    assert table.item_ids == ("i0", "i1", "i2")
    assert table.inputs[1] == {"question": "1 + 1"}
    same(plain.answers, [[0, -1, 1], [0, -1, -1], [-1, -1, -1]])
    same(plain.score, [[0, 0, 1], [1, NAN, NAN], [NAN, NAN, NAN]])
    same(steps.answers, [[1, 2], [1, 0], [-1, -1]])
    same(steps.score, [[1, 0], [0, 1], [NAN, NAN]])
    assert plain.answers.dtype == np.int16
    np.testing.assert_allclose(plain.prompt_usd[0] * 1e6, [20, 20, 16])
    np.testing.assert_allclose(steps.completion_usd[0] * 1e6, [72, 40])
    same(plain.latency_s, [[0.5, 0.5, 0.5], [0.5, NAN, NAN], [NAN, NAN, NAN]])
    same(plain.scores["mean_logprob"], [[NAN] * 3, [-0.5, NAN, NAN], [NAN] * 3])
    same(plain.scores["min_logprob"], [[NAN] * 3, [-2.0, NAN, NAN], [NAN] * 3])
    assert steps.scores == {}
    same(plain.complete, [True, False, False])
    assert plain.takes_n


def test_an_abstention_is_there_and_a_sample_that_is_not_there_is_not(tables, world):
    plain = tables().variants[world.variants[0]]
    assert plain.answers[0, 1] == plain.answers[1, 1] == -1
    assert plain.score[0, 1] == 0.0
    assert np.isnan(plain.score[1, 1])
    assert plain.prompt_usd[0, 1] > 0
    assert np.isnan(plain.prompt_usd[1, 1])


def test_dollars_are_to_the_bit_those_of_the_runtime(pool, world):
    price = Price(
        0.1,
        0.7,
        0.013,
        reasoning_usd_per_mtok=0.9,
        above=(PriceStep(0.3, 1.1, prompt_tokens=9000),),
    )
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 10_000, (200, 3))
    request = world.requests()[0]
    store(
        pool,
        request,
        *(
            says("A: 1", int(p + c), int(o), cached_tokens=int(c), reasoning_tokens=int(o) // 2)
            for p, o, c in tokens
        ),
    )
    variant = world.variants[0]
    tier = replace(world.tier, price=price)
    table = load(
        pool, world.task, tier, world.items[:1], {variant: [request]}, {variant: 200}
    ).variants[variant]
    assert table.prompt_usd[0].tolist() == [
        price.prompt_usd(int(p + c), int(c)) for p, _, c in tokens
    ]
    assert table.completion_usd[0].tolist() == [
        price.completion_usd(int(o), int(o) // 2, prompt_tokens=int(p + c)) for p, o, c in tokens
    ]


def test_an_variant_on_another_tier_has_that_tiers_prices(pool, world):
    strong = replace(
        world.tier,
        name="large",
        model="scripted/large",
        price=Price(20.0, 80.0),
        takes_n=False,
        logprobs=True,
    )
    own, other = world.variants[0], world.variants[0]._replace(tier="large")
    requests = {own: world.requests()[:1], other: world.requests(0, strong)[:1]}
    for asked in requests.values():
        store(pool, asked[0], says("A: 0"))
    n_samples = {own: 1, other: 1}
    table = load(
        pool,
        world.task,
        world.tier,
        world.items[:1],
        requests,
        n_samples,
        TableOptions({"large": strong}),
    )
    assert table.variants[other].prompt_usd[0, 0] == pytest.approx(
        10 * table.variants[own].prompt_usd[0, 0]
    )
    assert not table.variants[other].takes_n
    assert set(table.variants[other].scores) == {"mean_logprob", "min_logprob"}
    with pytest.raises(InputError, match="unknown tier 'large'"):
        load(pool, world.task, world.tier, world.items[:1], requests, n_samples)


def test_an_variant_that_nobody_bought_is_a_table_of_nothing(pool, world):
    variant = world.variants[0]
    table = load(
        pool, world.task, world.tier, world.items, {variant: world.requests()}, {variant: 4}
    )
    assert table.variants[variant].score.shape == (6, 4)
    assert not table.variants[variant].complete.any()
    assert table.variants[variant].scores == {}


def test_two_items_with_the_same_request_both_have_its_samples(pool, world):
    variant, request = world.variants[0], world.requests()[1]
    store(pool, request, says("A: 2"))
    twin = replace(world.items[1], id="twin", target="3")
    table = load(
        pool,
        world.task,
        world.tier,
        [world.items[1], twin],
        {variant: [request, request]},
        {variant: 1},
    )
    same(table.variants[variant].score, [[1], [0]])


class Judged:
    """Scores by answer; None: unjudged, and what it does not know was not asked for."""

    def __init__(self, scores):
        self.scores = scores

    def score(self, answer, item):
        if answer is None:
            return 0.0
        found = self.scores.get(answer)
        return NAN if found is None else found

    def unjudged(self, answer, item):
        return answer in self.scores and self.scores[answer] is None


def test_an_answer_without_a_judgement_counts_at_the_mean_of_the_items_others(tables, world):
    first, second = world.variants
    judged = tables(scorer=Judged({"7": 1.0, "0": None, "2": 0.25, "3": 0.5, "5": None}))
    same(judged.variants[first].score, [[1, 0, 1], [0.25, NAN, NAN], [NAN, NAN, NAN]])
    # Where the variant has no other answer to the item, those of all variants.
    same(judged.variants[second].score, [[0.5, 0.5], [0.25, 0.25], [NAN, NAN]])
    same(judged.variants[first].answers, tables().variants[first].answers)


def test_an_answer_that_nobody_was_asked_about_has_no_score(tables, world):
    judged = tables(scorer=Judged({"7": 1.0}))
    same(judged.variants[world.variants[0]].score, [[1, 0, NAN], [NAN] * 3, [NAN] * 3])
