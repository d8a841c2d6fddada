from __future__ import annotations

import pytest

from tierwise.errors import InputError
from tierwise.llm.embedded import vocabulary


def test_every_word_has_one_id_and_text_gives_the_words_back():
    assert len(set(vocabulary.WORDS)) == len(vocabulary.WORDS) <= 176
    known = vocabulary.WORDS[2:]
    assert vocabulary.text(vocabulary.ids(known)) == " ".join(known)


def test_numbers_are_one_token_each_and_signs_need_no_spaces():
    assert vocabulary.words("Solve: 12+30-4 -> 7?") == [
        "solve",
        ":",
        "12",
        "+",
        "30",
        "-",
        "4",
        "->",
        "7",
        "?",
    ]
    assert len(vocabulary.ids(map(str, range(31)))) == 31


def test_an_unknown_word_is_named_with_its_neighbours():
    with pytest.raises(InputError, match=r"'totale'.*'totals?'"):
        vocabulary.ids(["keep", "totale"])


def test_a_number_out_of_range_is_named():
    with pytest.raises(InputError, match=r"0 to 30; '31'"):
        vocabulary.ids(["31"])


def test_the_marks_of_padding_and_end_cannot_be_written():
    for mark in (vocabulary.PAD, vocabulary.END):
        with pytest.raises(InputError):
            vocabulary.ids([mark])
