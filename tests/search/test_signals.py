"""What signals ask beside the answers: bought once an item, the best paraphrase kept, no answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.evaluation.worlds import VARIANTS, random_table
from tierwise.evaluation import ABSTAINED, VariantTable
from tierwise.schema import Difficulty, Message, Price, Probe, PromptTemplate, Tier, Variant
from tierwise.schema.space import DifficultyChoice, SearchSpace
from tierwise.search.problem import (
    ASK_MODE,
    asked_of,
    asking_variants,
    best_way_to_ask,
    watched,
    with_mode_to_ask,
)
from tierwise.search.samples import samples_needed

SPACE = SearchSpace(
    "s", modes=("direct", "think"), difficulty=DifficultyChoice(("none", "length", "self_rating"))
)
RATE = PromptTemplate(
    "rate",
    (Message("system", "Rate."), Message("user", "{{ question }}")),
    turn="rating",
    paraphrases=((Message("system", "Grade."), Message("user", "{{ question }}")),),
)
TIER = Tier(
    "t",
    "m",
    Price(1, 1),
    {
        "think": {"max_tokens": 900, "reasoning_effort": "high"},
        "direct": {"max_tokens": 300, "suffix": " Now."},
        "long": {"max_tokens": 5},
    },
)


def test_a_tier_gets_a_mode_to_ask_in_only_where_a_signal_asks() -> None:
    assert with_mode_to_ask(TIER, SPACE).modes[ASK_MODE] == {"max_tokens": 16}
    assert with_mode_to_ask(TIER, SPACE.with_difficulty(signals=("none", "length"))) is TIER


def test_a_model_that_reasons_keeps_the_room_that_it_needs() -> None:
    thinking = replace(SPACE, modes=("think",))
    assert with_mode_to_ask(TIER, thinking).modes[ASK_MODE] == TIER.modes["think"]


def test_every_paraphrase_is_an_variant_at_temperature_0() -> None:
    prompts, variants = asking_variants([RATE], SPACE.signals)
    assert list(prompts) == ["rate", "rate~1"]
    assert variants == {
        "self_rating": (Variant("rate", ASK_MODE, 0.0), Variant("rate~1", ASK_MODE, 0.0))
    }


def replies(values: np.ndarray) -> VariantTable:
    shape = (len(values), 1)
    ones = np.ones(shape)
    return VariantTable(
        np.full(shape, ABSTAINED, dtype=np.int16),
        0 * ones,
        ones,
        ones,
        ones,
        {"rating": values[:, None].astype(float)},
    )


def test_the_paraphrase_that_orders_the_items_best_is_kept() -> None:
    table = random_table(0, n_items=40)
    success = np.mean([rows.score.mean(axis=1) for rows in table.variants.values()], axis=0)
    _, variants = asking_variants([RATE], SPACE.signals)
    first, second = variants["self_rating"]
    better = np.round(1 + 4 * success)
    asked = {first: replies(np.roll(better, 7)), second: replies(better)}
    kept = best_way_to_ask(replace(table, nodes=asked), variants)
    assert kept == {"self_rating": (Difficulty("self_rating", (), Probe((second,), 1)),)}
    assert asked_of(kept) == {second: 1}
    assert watched(kept) == ()


def test_one_that_says_the_same_of_all_tells_nothing() -> None:
    table = random_table(0, n_items=40)
    _, variants = asking_variants([RATE], SPACE.signals)
    alike = dict.fromkeys(variants["self_rating"], replies(np.full(40, 4.0)))
    assert best_way_to_ask(replace(table, nodes=alike), variants) == {}


def test_a_fitted_signal_s_probe_stays_in_the_race() -> None:
    routers = {"router": (Difficulty("router", (), Probe((VARIANTS[1],), 2)), Difficulty("router"))}
    assert watched(routers) == (VARIANTS[1],)
    assert asked_of(routers) == {}


def test_held_out_items_are_asked_no_more_often_than_the_policy_does() -> None:
    from tests.evaluation.worlds import ASKED, random_policy

    rng = np.random.default_rng(0)
    policy = random_policy(rng, "self_rating")
    n_samples = samples_needed([policy], 9)
    assert n_samples[ASKED["rating"]] == policy.difficulty.probe.samples
    assert all(n >= 9 for variant, n in n_samples.items() if variant in VARIANTS)
