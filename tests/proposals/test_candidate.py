from __future__ import annotations

import pytest

from tierwise.proposals import CandidateRegistry, SeenExamples, normalised, propose_from_catalogue

KNOWN = SeenExamples(["12 + 7 + 3", "who wrote Dune"], ["22", "Frank Herbert", *["positive"] * 98])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("%%% 000 ### 111 !!!", "garbage"),
        ("x" * 5000, "too long"),
        ("Answer {{ question }} now", "{{ … }}"),
        ("As in: 12 + 7 + 3, add up.", "leak: it repeats the input"),
        ("Remember that frank herbert is right.", "leak: it holds the answer"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(text: str, reason: str) -> None:
    registry = CandidateRegistry(KNOWN)
    assert registry.admit("grounded/0", text) is None
    assert not registry.candidates
    assert reason in registry.refused[0].reason


def test_the_label_of_a_class_is_no_leak() -> None:
    assert CandidateRegistry(KNOWN).admit("grounded/0", "Say positive or negative.") is not None


def test_the_same_text_in_other_dress_is_merged_and_the_first_bytes_are_kept() -> None:
    registry = CandidateRegistry()
    first = registry.admit("grounded/0", "Add the numbers, one by one.")
    assert registry.admit("reflection/0", '  "add the NUMBERS one by one"  ') is None
    assert registry.candidates == [first]
    assert first is not None
    assert first.text == "Add the numbers, one by one."
    assert registry.refused[0].reason == f"the same as {first.id}"


def test_an_id_is_that_of_the_bytes() -> None:
    one, other = (
        CandidateRegistry().admit("a", "Add them up."),
        CandidateRegistry().admit("b", "Add them up."),
    )
    assert one is not None
    assert other is not None
    assert one.id == other.id
    assert one.origin != other.origin


def test_numbers_and_signs_make_a_difference() -> None:
    assert normalised("Use 2 steps") != normalised("Use 3 steps")


def test_demonstrations_are_refused_where_empty_and_merged_where_equal() -> None:
    registry = CandidateRegistry()
    assert registry.admit_demos("bootstrap/0", []) is None
    kept = registry.admit_demos("bootstrap/1", [{"question": "1 + 2", "answer": "3"}])
    assert kept is not None
    assert registry.admit_demos("bootstrap/2", [{"question": "1 + 2", "answer": "3"}]) is None
    assert [c.id for c in registry.of_kind(demos=True)] == [kept.id]


def test_the_catalogue_is_labelled_and_starts_with_one_paraphrase_of_each_family() -> None:
    registry = CandidateRegistry()
    propose_from_catalogue(registry, n=8)
    assert len(registry.candidates) == 8
    assert {c.origin.partition("/")[0] for c in registry.candidates} == {"catalogue"}
    assert not any("~" in c.origin for c in registry.candidates)
