"""What every metric and every form of answers must keep to, as classes of tests."""

# ruff: noqa: D102  (a test's name says what it checks)

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from typing import ClassVar

from tierwise.tasks import Item

STRANGE = (
    "",
    " ",
    "42",
    "-1/2",
    "yes",
    "ünï ½ 油",
    "{",
    "[1, 2",
    '{"a": 1}',
    "nan",
    "\\frac{1}{0}",
    "a, b; c",
    "**(A)**",
    "x" * 5000,
    "9" * 400,
    "\x00",
)


class MetricConformance:
    """Subclass it as ``TestYourMetric``.

    Attributes:
        metric: the metric: ``metric = staticmethod(made)``, or a method.
        right: items, each with a canonical answer that must score 1.
    """

    right: ClassVar[Sequence[tuple[str, Item]]] = ()

    def metric(self, answer: str | None, item: Item) -> float:
        """What is checked."""
        raise NotImplementedError

    def test_has_items_to_check(self) -> None:
        assert self.right, "set `right` to items with an answer that is right"

    def test_what_is_right_scores_one(self) -> None:
        for answer, item in self.right:
            assert self.metric(answer, item) == 1

    def test_an_abstention_scores_nothing(self) -> None:
        for _, item in self.right:
            assert self.metric(None, item) == 0

    def test_any_answer_has_a_score_from_0_to_1(self) -> None:
        for answer in (*STRANGE, *(answer for answer, _ in self.right)):
            for _, item in self.right:
                assert 0 <= self.metric(answer, item) <= 1

    def test_any_right_answer_counts(self) -> None:
        for answer, item in self.right:
            more = Item(item.id, item.inputs, "something else", item.targets)
            assert self.metric(answer, more) == 1

    def test_is_a_function_of_answer_and_item(self) -> None:
        for answer, item in self.right:
            before = copy.deepcopy(item)
            assert self.metric(answer, item) == self.metric(answer, copy.deepcopy(item))
            assert item == before


class AnswerFormConformance:
    """Subclass it as ``TestYourForm``.

    Attributes:
        read: the form, text -> canonical form or None: ``read = staticmethod(form)``, or a method.
        votes: what a canonical form votes for, itself unless a form says otherwise.
        alike: groups of texts that say the same answer: each group is one vote.
    """

    alike: ClassVar[Sequence[Sequence[str]]] = ()

    def read(self, text: str) -> str | None:
        """What is checked."""
        raise NotImplementedError

    def votes(self, answer: str | None) -> Hashable:
        """``answer``."""
        return answer

    def test_has_answers_to_check(self) -> None:
        assert self.alike, "set `alike` to groups of texts that say the same"

    def test_answers_that_are_alike_are_one_vote_and_others_are_not(self) -> None:
        read = [[self.read(text) for text in group] for group in self.alike]
        assert all(None not in group for group in read), read
        forms = [{self.votes(answer) for answer in group} for group in read]
        assert all(len(form) == 1 for form in forms), forms
        assert len(set().union(*forms)) == len(forms)

    def test_a_canonical_form_is_its_own(self) -> None:
        for text in (*STRANGE, *(text for group in self.alike for text in group)):
            once = self.read(text)
            assert once is None or self.read(once) == once

    def test_nothing_is_no_answer(self) -> None:
        assert self.read("") is None

    def test_any_text_is_read_or_is_an_abstention(self) -> None:
        for text in STRANGE:
            assert self.read(text) == self.read(text)
