"""Items, splits, metrics, and what a task refuses."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.errors import InputError
from tierwise.tasks import METRICS, SPLITS, AnswerSpec, Item, Task, assign_splits

SHARES = {"train": 0.15, "validation": 0.55, "test": 0.30}


def items(n, offset=0):
    return tuple(
        Item(f"q{i}", {"question": f"{i} + 1"}, str(i + 1)) for i in range(offset, offset + n)
    )


def ids(split):
    return {item.id for item in split}


def task(rows, **more):
    return Task("sums", 1, ("question",), rows, AnswerSpec(normalise="integer"), **more)


def test_splits_are_disjoint_and_hold_everything():
    splits = assign_splits(items(500), SHARES)
    assert tuple(splits) == SPLITS
    assert sum(len(s) for s in splits.values()) == 500
    assert set().union(*(ids(s) for s in splits.values())) == ids(items(500))


def test_shares_are_met_roughly_and_an_empty_one_exactly():
    splits = assign_splits(items(2000), SHARES)
    for name, share in SHARES.items():
        assert len(splits[name]) == pytest.approx(2000 * share, rel=0.15)
    halves = assign_splits(items(200), {"validation": 2, "test": 2})
    assert not halves["train"]
    assert len(halves["validation"]) + len(halves["test"]) == 200


@pytest.mark.parametrize("n", [12, 20, 24, 30, 40, 60])
@pytest.mark.parametrize("salt", range(4))
def test_a_small_task_has_no_split_that_says_nothing(n, salt):
    rows = [Item(f"{salt}-{i}", {"question": f"{salt} {i}?"}, "1") for i in range(n)]
    for shares in (SHARES, {"validation": 0.7, "test": 0.3}):
        splits = assign_splits(rows, shares)
        assert min(len(splits["validation"]), len(splits["test"])) >= min(8, n // 3)
        assert sum(map(len, splits.values())) == n
    assert not assign_splits(rows, {"validation": 1.0})["test"]


@given(st.integers(60, 120), st.integers(0, 40))
def test_adding_items_moves_no_other(n, more):
    before, after = assign_splits(items(n), SHARES), assign_splits(items(n + more), SHARES)
    for name in SPLITS:
        assert ids(before[name]) <= ids(after[name])


def test_neither_the_id_nor_the_place_nor_the_order_of_fields_matters():
    rows = [Item(str(i), {"a": str(i), "b": "x"}, "1") for i in range(60)]
    moved = [Item(f"new{r.id}", {"b": "x", "a": r.inputs["a"]}, "1") for r in rows]
    random.Random(0).shuffle(moved)
    before, after = assign_splits(rows, SHARES), assign_splits(moved, SHARES)
    for name in SPLITS:
        assert {f"new{i}" for i in ids(before[name])} == ids(after[name])


def test_items_that_are_the_same_fall_into_the_same_split():
    twice = [*items(50), *(Item(f"again-{r.id}", r.inputs, r.target) for r in items(50))]
    for rows in assign_splits(twice, SHARES).values():
        found = ids(rows)
        assert {f"again-{i}" for i in found if not i.startswith("again-")} <= found


def test_the_split_of_an_item_is_for_ever():
    """A change of the hash would put test items into the study: this must never need an update."""
    split = {
        item.id: name for name, rows in assign_splits(items(8), SHARES).items() for item in rows
    }
    assert split == {
        "q0": "validation",
        "q1": "test",
        "q2": "validation",
        "q3": "train",
        "q4": "train",
        "q5": "test",
        "q6": "validation",
        "q7": "validation",
    }


def test_the_hash_of_all_items_ignores_order_and_ids_and_nothing_else():
    rows = items(5)
    assert task(rows).items_sha256 == task(rows[::-1]).items_sha256
    assert task(rows).items_sha256 != task(rows[:4]).items_sha256
    other = (*rows[:4], Item(rows[4].id, rows[4].inputs, "0"))
    assert task(rows).items_sha256 != task(other).items_sha256


def test_exact_match_compares_canonical_answers():
    score = METRICS["exact_match"](AnswerSpec(normalise="number"))
    item = Item("x", {}, "1,000.")
    assert score("1000", item) == 1
    assert score("100", item) == 0
    assert score(None, item) == 0


def test_a_task_scores_with_its_own_reading():
    spec_task = task(items(1))
    answer = spec_task.answer.extract("1.0")
    assert spec_task.score(answer, spec_task.items[0]) == 1


def test_what_a_task_refuses():
    with pytest.raises(InputError, match="no items"):
        task(())
    with pytest.raises(InputError, match="did you mean 'exact_match'"):
        task(items(1), metric="exact_mach")
    with pytest.raises(InputError, match="did you mean 'validation'"):
        task(items(1), shares={"valdation": 1.0})


@pytest.mark.parametrize("old", ["tune", "select"])
def test_the_splits_of_before_are_called_validation(old):
    with pytest.raises(InputError, match=f"unknown split '{old}': it is called 'validation' now"):
        task(items(1), shares={old: 1.0})


@pytest.mark.parametrize(
    ("metric", "form"),
    [
        ("exact_match", "text"),
        ("set_f1", "labels"),
        ({"numeric": {"relative": 0.1}}, "number"),
        ("json_fields", "json"),
        ({"weighted": {"exact_match": 1, "json_fields": {"weight": 2}}}, "json"),
        (lambda answer, item: 1.0, "text"),
    ],
)
def test_a_metric_says_how_answers_are_read_where_nobody_does(metric, form):
    target = {"a": 1} if form == "json" else "1"
    rows = [{"q": "x", "target": target}]
    assert Task.from_rows(rows, inputs=["q"], metric=metric).answer.normalise == form
    said = AnswerSpec(normalise="json" if form == "json" else "none")
    own = Task.from_rows(rows, inputs=["q"], metric=metric, answer=said)
    assert own.answer == said


def test_a_list_of_labels_is_one_answer_where_the_metric_is_of_sets():
    rows = [{"q": "x", "target": ["a", "b"]}]
    task = Task.from_rows(rows, inputs=["q"], metric="set_f1")
    assert task.score(task.answer.extract("b; a"), task.items[0]) == 1
    assert task.items[0].also == ()
