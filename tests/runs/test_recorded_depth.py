"""Recordings with gaps: the space fits what is there, and nothing is dropped in silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.runs.recorded_jobs import Lines, sample, tuned, whole
from tierwise.errors import InputError
from tierwise.runs.recorded_depth import RecordedDepth
from tierwise.runs.tune import TuneResult
from tierwise.schema import Variant
from tierwise.search.samples import samples_needed
from tierwise.tasks import Item

A, B, C = (Variant(prompt, "direct", 0.7) for prompt in "abc")
ITEMS = [Item(f"i{i}", {"q": f"{i}?"}, "1") for i in range(40)]
EVERY = {item.id: 5 for item in ITEMS}


def depth(counts: Mapping[Variant, Mapping[str, int]], *required: Variant) -> RecordedDepth:
    return RecordedDepth.of(counts, ITEMS, required)


def fewer(n: int, *places: int) -> dict[str, int]:
    return EVERY | {f"i{place}": n for place in places}


@pytest.mark.parametrize(
    ("counts", "depths", "kept"),
    [
        pytest.param({A: EVERY, B: fewer(1, *range(40))}, {A: 5, B: 1}, 40, id="by variant"),
        pytest.param({A: fewer(1, 7), B: EVERY}, {A: 5, B: 5}, 39, id="one short item"),
        pytest.param({A: fewer(2, *range(20))}, {A: 2}, 40, id="half of the items are short"),
        pytest.param(
            {A: fewer(3, 0, 1, 2), B: fewer(3, 3, 4, 5), C: fewer(1, 6, 7)},
            {A: 3, B: 3, C: 5},
            38,
            id="each variant lacks samples of other items",
        ),
        pytest.param({A: EVERY, B: {"i1": 5}}, {A: 5}, 40, id="a variant of one item"),
        pytest.param({A: EVERY, B: fewer(0, 3)}, {A: 5, B: 5}, 39, id="an item lacks a variant"),
        pytest.param({A: fewer(0, 3), B: fewer(0, 3)}, {A: 5, B: 5}, 39, id="an item lacks all"),
    ],
)
def test_depth_is_a_quantile_of_items_by_variant(counts, depths, kept) -> None:
    found = depth(counts)
    assert (dict(found.depths), len(found.kept)) == (depths, kept)
    assert bool(found.remarks) == (kept < 40 or len(depths) < len(counts))


def test_a_baseline_on_half_of_the_items_stays_with_these() -> None:
    half = {item.id: 2 for item in ITEMS[:20]}
    found = depth({A: EVERY, B: half}, B)
    assert (dict(found.depths), found.kept) == ({A: 5, B: 2}, set(half))
    assert found.remarks[0].startswith("20 items left out (no recorded sample to go by): i20, ")


def drop(lines: Lines, which: Callable[[dict[str, Any]], bool]) -> Lines:
    return [line for line in lines if not which(line)]


def at_0(line: dict[str, Any]) -> bool:
    return line["sample"] > 0


CASES: dict[str, Lines] = {
    "variants of 1 and 4 samples": drop(
        whole("a", "b"), lambda r: r["prompt_id"] == "a" and at_0(r)
    ),
    "an item of one sample": drop(whole("a", "b"), lambda r: r["item_id"] == "i3" and at_0(r)),
    "one mode is greedy": whole("a", "b") + whole("a", "b", samples=1, mode="think"),
    "a temperature lacks items": whole("a", "b") + whole("a", samples=4, items=50, temperature=0.0),
    "a variant lacks most items": whole("a", "b") + whole("c", items=12),
    "an item has no sample": drop(whole("a", "b"), lambda r: r["item_id"] == "i59"),
    "indices are skipped": [{**r, "sample": 3 * r["sample"] + 1} for r in whole("a", "b")],
    "everything is one sample": whole("a", "b", samples=1),
    "one variant, one sample": whole("a", samples=1),
    "depth grows with the item": drop(
        whole("a", "b"), lambda r: r["sample"] > int(r["item_id"][1:]) // 12
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_no_trial_is_pruned_or_proposed_twice_whatever_is_recorded(tmp_path, name: str) -> None:
    result = tuned(tmp_path, CASES[name])
    found = result.found["m"]
    assert found.study_table.complete.all()
    for study_round in found.study_rounds:
        trials = study_round.study.get_trials(deepcopy=False)
        assert {trial.state.name for trial in trials} == {"COMPLETE"}
        assert len(trials) == len(study_round.judged), "each policy is proposed once"
    for policy in (point.policy for point in found.points.values()):
        asked = samples_needed([policy])
        have = {v: rows.n_samples for v, rows in found.study_table.variants.items()}
        assert all(n <= have[variant] for variant, n in asked.items())


def test_what_is_left_out_is_said(tmp_path) -> None:
    lines = drop(CASES["a variant lacks most items"], lambda r: r["item_id"] == "i50")
    said = tuned(tmp_path, lines).summary.tiers["m"].remarks
    assert "1 item left out (no recorded sample to go by): i50" in said
    assert "c/direct/0.7 is left out: it is recorded on 12 of 59 items only" in said


def test_a_recorded_failure_counts_against_its_variant_alone(tmp_path) -> None:
    failed = {"text": None, "score": None, "error": "refused"}
    lines = [
        {**r, **failed} if r["prompt_id"] == "a" and int(r["item_id"][1:]) % 3 == 0 else r
        for r in whole("a", "b", samples=2)
    ]
    lines = [{**r, **failed} if r["item_id"] == "i1" else r for r in lines]
    result = tuned(tmp_path, lines)
    items = (*result.found["m"].study_table.item_ids, *result.found["m"].held_out.table.item_ids)
    assert set(items) == {f"i{i}" for i in range(60)} - {"i1"} - set(_train(result))
    rows = result.found["m"].study_table.of(A)
    silent = [int(i[1:]) % 3 == 0 for i in result.found["m"].study_table.item_ids]
    assert not rows.score[silent].any()
    said = " ".join(result.summary.tiers["m"].remarks)
    assert "1 item failed under every prompt" in said
    assert "20 items failed under some prompts" in said


def _train(result: TuneResult) -> list[str]:
    return [item.id for item in result.found["m"].problem.task.splits["train"]]


def test_a_target_is_sampled_to_its_own_depth(tmp_path) -> None:
    cheap = whole("a", samples=1)
    strong = [
        r | {"model": "strong"} for r in drop(whole("b", samples=4), lambda r: r["item_id"] == "i5")
    ]
    result = tuned(tmp_path, cheap + strong, escalate_to=("strong",))
    table = result.found["m"].study_table
    assert {v.label: rows.n_samples for v, rows in table.variants.items()} == {
        "a/direct/0.7": 1,
        "b/direct/0.7@strong": 4,
    }
    assert "i5" not in table.item_ids


def test_an_index_that_is_there_twice_is_refused_with_its_line(tmp_path) -> None:
    with pytest.raises(InputError, match=r"sample 0 of a/direct/0\.7 on item 'i0' is there twice"):
        tuned(tmp_path, [*whole("a"), sample("i0", "a", 0)])


def test_a_baseline_that_is_not_recorded_is_refused_with_the_near_names(tmp_path) -> None:
    with pytest.raises(InputError, match="baseline: recorded prompt of tier 'm'"):
        tuned(tmp_path, whole("a", "b"), baseline="aa")
