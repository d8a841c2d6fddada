"""From text to the canonical answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.errors import InputError
from tierwise.tasks import NORMALISERS, AnswerSpec

FORMS = {
    "number": {
        "1,000": "1000",
        "1000.": "1000",
        "1000.0": "1000",
        "1_000": "1000",
        "+7": "7",
        "007": "7",
        "-0": "0",
        "-0.0": "0",
        "0.0": "0",
        "0.50": "0.5",
        ".5": "0.5",
        "$1,234.50": "1234.5",
        "12%": "12",
        "12%.": "12",
        "$ 5.": "5",
        " 3 ": "3",
        "1e3": "1000",
        "1E-3": "0.001",
        "-12": "-12",
        "": None,
        "seven": None,
        "nan": None,
        "Infinity": None,
        "1e999": None,
        "--3": None,
        "3 apples": "3",
        "12 square feet": "12",
        "5 km/h": "5",
        "40km": "40",
        "3 m²": "3",
        "$5": "5",
        "-$5": "-5",
        "$-5": "-5",
        "- $5.50": "-5.5",
        "−7": "-7",
        r"\$1,200": "1200",
        "US$ 30": "30",
        "30 USD": "30",
        "USD 30": "30",
        "€1,5": None,
        "18$": "18",
        "12 percent": "12",
        "12 %": "12",
        r"12\%": "12",
        "$18$": "18",
        "1 000": "1000",
        "1\u202f234\u202f567": "1234567",
        "1,00,000": "100000",
        "10,00": None,
        "1.000,50": None,
        "1,2,3": None,
        "3 million": "3000000",
        "2.5 billion dollars": "2500000000",
        "2 dozen eggs": "2",
        "3 or 4": None,
        "3 to": None,
        "3 and a half": None,
        "5x": None,
        "-$-5": None,
        "3 2": None,
        "12/4": "3",
        "1/3": "1/3",
        "-3 1/2 cups": "-3.5",
        "1/0": None,
        "1/2/2024": None,
        "= 12": "12",
        "**12**": "12",
        "12.50 dollars.": "12.5",
    },
    "integer": {"1,000": "1000", "7.0": "7", "7.": "7", "-0": "0", "7.5": None, "x": None},
    "choice": {
        "b": "B",
        "(C)": "C",
        "d.": "D",
        " a) ": "A",
        "**B**": "B",
        "AB": None,
        "": None,
        "1": None,
        "B. Paris": "B",
        "(B) Paris": "B",
        "b: Paris": "B",
        "**B)** Paris": "B",
        "The answer is (J).": "J",
        "option d": "D",
        "answer: C": "C",
        "A dog": None,
        "Paris": None,
        "B or C": None,
        "é": None,
    },
    "text": {
        "  New\n York. ": "new york",
        '"Paris".': "paris",
        "`x`.": "x",
        "STRASSE": "strasse",
        "Straße": "strasse",
        "Ｐａｒｉｓ": "paris",
        "ﬁsh": "fish",
        "“Paris”": "paris",
        "Cafe\u0301!": "café",
        r"\text{Paris}": "paris",
        r"$\boxed{\text{Paris}}$": "paris",
        "Paris</answer>": "paris",
        "Paris<|im_end|>": "paris",
        "x²": "x²",
        "<b>x</b>": "<b>x</b>",
        "": None,
        " . ": None,
    },
    "option": {
        "(A)": "A",
        "a": "A",
        "(b) the dog": "B",
        "Valid.": "valid",
        "A dog": "a dog",
        "the answer is (C).": "C",
        "] ) }": "] ) }",
    },
    "yes_no": {
        "Yes.": "yes",
        "true": "yes",
        "**No**, since": "no",
        "False": "no",
        "maybe": None,
        "": None,
        "nobody": None,
    },
    "latex": {
        r"\dfrac{3}{6}": "1/2",
        "0.5": "1/2",
        r"\frac12": "1/2",
        "-1/2": "-1/2",
        r"-\frac{1}{2}": "-1/2",
        r"\frac{-1}{2}": "-1/2",
        "$1{,}000$": "1000",
        "1,000": "1000",
        r"\boxed{42}": "42",
        r"x = 5": "5",
        r"90^\circ": "90",
        r"12\text{ cm}": "12",
        r"\text{Evelyn}": "Evelyn",
        r"\left( 3, \frac{\pi}{2} \right)": r"(3,\frac{\pi}{2})",
        r"2\sqrt2": r"2\sqrt{2}",
        r"50\%": "50",
        r"\(7\)": "7",
        "1/0": "1/0",
        "": None,
        "(x+1)^2": "(x+1)^2",
    },
}
"""Rule -> what people and models write -> its canonical form, None where it cannot be read."""


@pytest.mark.parametrize(
    ("rule", "raw"), [(rule, raw) for rule, forms in FORMS.items() for raw in forms]
)
def test_what_is_written_has_a_canonical_form(rule, raw):
    assert NORMALISERS[rule](raw) == FORMS[rule][raw]


def test_none_changes_nothing_and_nothing_is_no_answer():
    assert NORMALISERS["none"](" As It Is. ") == " As It Is. "
    assert NORMALISERS["none"]("") is None


@pytest.mark.parametrize("name", sorted(NORMALISERS))
@given(raw=st.text(max_size=20) | st.text("\"'`*.,_$%-+ aB17\n", max_size=8))
def test_canonical_forms_are_canonical(name, raw):
    once = NORMALISERS[name](raw)
    if once is not None:
        assert NORMALISERS[name](once) == once


@given(st.integers(-(10**12), 10**12))
def test_a_number_is_the_same_however_it_is_written(n):
    forms = (str(n), f"{n:,}", f"{n}.", f"{n}.00", f" {n} ", f"{n:_}")
    assert {NORMALISERS["number"](form) for form in forms} == {str(n)}


def test_the_last_match_or_the_first():
    text = "answer: 3\nno wait, answer: 5"
    assert AnswerSpec(r"answer: (\d+)", "last", "integer").extract(text) == "5"
    assert AnswerSpec(r"answer: (\d+)", "first", "integer").extract(text) == "3"


def test_without_a_group_the_whole_match_is_the_answer():
    assert AnswerSpec(r"-?\d+", "last", "integer").extract("from 3 to -5") == "-5"


def test_without_a_pattern_the_whole_text_is():
    assert AnswerSpec(normalise="text").extract(" Paris. ") == "paris"


def test_what_is_not_found_or_cannot_be_read_is_an_abstention():
    spec = AnswerSpec(r"answer: (\S+)", "last", "integer")
    assert spec.extract("I do not know") is None
    assert spec.extract("answer: seven") is None
    assert AnswerSpec(r"answer:(\d+)?", "last", "integer").extract("answer:") is None


def test_gold_is_read_by_the_same_rule():
    spec = AnswerSpec(normalise="number")
    assert spec.canonical("1,000.") == "1000"
    assert spec.canonical(" a thousand ") == "a thousand"


@pytest.mark.parametrize("pattern", [r"(?<=a)b", r"(a)\1", r"(?=x)", "(", "[a"])
def test_a_pattern_that_is_not_linear_time_is_refused_with_the_reason(pattern):
    with pytest.raises(InputError, match="linear time") as error:
        AnswerSpec(pattern)
    assert repr(pattern) in str(error.value)
    assert "RE2" in str(error.value)


def test_unknown_rules_name_the_near_ones():
    with pytest.raises(InputError, match="did you mean 'integer'"):
        AnswerSpec(normalise="integers")


def test_of_several_patterns_the_first_counts_and_the_next_look_behind_what_it_cannot_read():
    spec = AnswerSpec(["#### ([^\n]+)", r"answer: (\d+)"], "last", "integer")
    assert spec.patterns == ("#### ([^\n]+)", r"answer: (\d+)")
    assert spec.extract("answer: 4\n#### 3") == "3"
    assert spec.extract("#### Step 1: add\nanswer: 4") == "4"
    assert spec.extract("answer: 4\n#### 40 or 42") is None


def test_what_is_thought_is_no_answer():
    spec = AnswerSpec(r"answer: (\d+)", "last", "integer")
    assert spec.extract("<think>answer: 3? no</think>\nanswer: 4") == "4"
    assert spec.extract("<think>answer: 3</think>\nI cannot say") is None


def test_gsm8k_takes_what_follows_the_mark():
    spec = AnswerSpec(r"####\s*([^\n]+)", "last", "number")
    assert spec.extract("She has 16 - 3 = 13.\n#### $1,300 dollars") == "1300"
    assert spec.extract("13 ducks") is None


def test_boxes_with_brackets_inside_are_found_in_linear_time():
    boxed = r"\\boxed\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}"
    spec = AnswerSpec(boxed, "last", "latex")
    assert spec.extract(r"so \boxed{1} or \boxed{\frac{3}{\sqrt{2}}}.") == r"\frac{3}{\sqrt{2}}"
