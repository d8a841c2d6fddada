"""Recordings as tables; those of real models only where they are beside the checkout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tierwise.errors import UnsupportedError
from tierwise.llm.models import resolve_tier
from tierwise.llm.recorded import Coverage, Recording, recorded_tier
from tierwise.runs.recorded_samples import recorded_table
from tierwise.schema import Price, Variant
from tierwise.tasks import METRICS, AnswerSpec

DATA = Path(__file__).parents[1] / "data" / "synthetic.jsonl"
REAL = Path(__file__).parents[3] / "shared" / "recordings"
PRICE = Price(1.0, 2.0)
SHORT, STEPS = Variant("short", "direct", 0.0), Variant("steps", "think", 0.7)
NUMBER = AnswerSpec(regex=r"A: (.+)", normalise="number")

real = pytest.mark.skipif(not REAL.is_dir(), reason="no recordings of real models here")


@pytest.fixture(scope="module")
def alpha() -> Recording:
    return Recording.load(DATA, "alpha")


def test_columns_are_recorded_samples_and_holes_are_nan(alpha: Recording) -> None:
    table = recorded_table(alpha, recorded_tier("t", alpha, PRICE), alpha.items, NUMBER)
    steps = table.variants[STEPS]
    assert (steps.n_samples, table.variants[SHORT].n_samples) == (5, 1)
    missing = np.argwhere(np.isnan(steps.score)).tolist()
    assert missing == [[2, 4], [5, 4]]  # failed; not recorded (its index 3 was skipped)
    for column in (steps.prompt_usd, steps.completion_usd, steps.latency_s):
        assert np.argwhere(np.isnan(column)).tolist() == missing
    assert np.flatnonzero(~steps.complete).tolist() == [2, 5]
    there = ~np.isnan(steps.score)
    assert steps.prompt_usd[there].tolist() == [PRICE.prompt_usd(30)] * 28
    assert (
        table.variants[SHORT].completion_usd.ravel().tolist()
        == [PRICE.completion_usd(2, prompt_tokens=0)] * 6
    )
    assert not steps.takes_n


def test_answers_are_canonical_and_coded_over_all_variants(alpha: Recording) -> None:
    table = recorded_table(alpha, recorded_tier("t", alpha, PRICE), alpha.items, NUMBER)
    short, steps = table.variants[SHORT].answers, table.variants[STEPS].answers
    assert steps[4].tolist() == [0, -1, 0, 0, 0]  # 1,000 is 1000; [invalid] is an abstention
    assert (short[1].tolist(), steps[1].tolist()) == ([0], [0, 1, 1, 1, 1])  # 8, then 8 and four 7
    assert table.variants[STEPS].score[4, 1] == 0


def test_a_metric_of_the_task_scores_what_was_recorded(alpha: Recording) -> None:
    tier = recorded_tier("t", alpha, PRICE)
    own = recorded_table(alpha, tier, alpha.items, NUMBER)
    matched = recorded_table(
        alpha, tier, alpha.items, NUMBER, metric=METRICS["exact_match"](NUMBER)
    )
    for variant in own.variants:
        np.testing.assert_array_equal(own.variants[variant].score, matched.variants[variant].score)


def test_verifiers_are_there_where_the_recording_has_them(alpha: Recording) -> None:
    table = recorded_table(alpha, recorded_tier("t", alpha, PRICE), alpha.items, NUMBER)
    assert dict(table.variants[SHORT].scores) == {}
    assert set(table.variants[STEPS].scores) == {"verifier_score", "mean_logprob"}
    assert table.variants[STEPS].scores["mean_logprob"][0].tolist() == [-0.1] * 5


def test_some_items_some_variants_and_what_is_not_recorded(alpha: Recording) -> None:
    tier = recorded_tier("t", alpha, PRICE)
    some = recorded_table(alpha, tier, alpha.items[3:5], NUMBER, variants=[SHORT])
    assert some.item_ids == ("3", "4")
    assert list(some.variants) == [SHORT]
    with pytest.raises(UnsupportedError, match="steps/think/0 is not recorded"):
        recorded_table(alpha, tier, alpha.items, NUMBER, variants=[Variant("steps", "think", 0.0)])


EXPECTED = {  # the README's accuracies in percent: standard, COT, LtM, noNL, NL+SL
    ("gsm8k", "code002"): (20, 63, 38, 73, 72),
    ("gsm8k", "gpt-3.5-turbo"): (23, 80, 68, 76, 76),
    ("gsm8k", "gpt4"): (47, 65, 92, 94, 95),
    ("aqua", "gpt4"): (50, 75, 72, 74, 74),
    ("sports", "gpt-3.5-turbo"): (87, 96, 97, 96, 52),
}
SIZES = {
    "aqua_prompts_by_tier": (254, 6),
    "date_prompts_by_tier": (359, 6),
    "gsm8k_prompts_by_tier": (1319, 3),
    "sports_prompts_by_tier": (977, 6),
    "svamp_prompts_by_tier": (1000, 6),
}


@real
@pytest.mark.parametrize(("task", "model"), EXPECTED)
def test_real_accuracies_are_those_of_the_readme(task: str, model: str) -> None:
    path = REAL / f"{task}_prompts_by_tier.jsonl.gz"
    recording = Recording.load(path, model)
    tier = resolve_tier("t", f"recorded/{model}", price=PRICE, recordings=path)
    table = recorded_table(recording, tier, recording.items, AnswerSpec())
    got = {variant.prompt: 100 * float(t.score.mean()) for variant, t in table.variants.items()}
    prompts = ("standard", "COT", "LtM", "noNL", "NL+SL")
    assert [round(got[p]) for p in prompts] == list(EXPECTED[task, model])


@real
@pytest.mark.parametrize("name", SIZES)
def test_real_recordings_hold_what_the_readme_says(name: str) -> None:
    from tierwise.llm.recorded import read_recording

    items, lines = read_recording(REAL / f"{name}.jsonl.gz")
    models = {line.model for line in lines}
    assert (len(items), len(models)) == SIZES[name]
    recording = Recording.load(REAL / f"{name}.jsonl.gz", "gpt4")
    assert set(recording.variants.values()) == {Coverage(len(items), 1)}
    assert len(recording.variants) >= 5


@real
def test_real_samples_of_game24_are_a_hundred_deep() -> None:
    recording = Recording.load(REAL / "game24_gpt4_100_draws.jsonl.gz", "gpt-4")
    tier = recorded_tier("t", recording, PRICE)
    table = recorded_table(recording, tier, recording.items, AnswerSpec(normalise="none"))
    one = {variant.prompt: 100 * float(t.score.mean()) for variant, t in table.variants.items()}
    best = {
        variant.prompt: 100 * float(t.score.max(axis=1).mean())
        for variant, t in table.variants.items()
    }
    assert {p: round(v, 1) for p, v in one.items()} == {"io": 7.3, "cot": 4.0}
    assert {p: round(v) for p, v in best.items()} == {"io": 33, "cot": 49}


@real
def test_real_samples_of_cruxeval_are_ten_deep() -> None:
    recording = Recording.load(REAL / "cruxeval_codellama7b_10_draws.jsonl.gz", "codellama-7b")
    assert list(recording.variants.values()) == [Coverage(800, 10)]
