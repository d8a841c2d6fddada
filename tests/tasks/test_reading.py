"""Numbers with units, options, yes or no, and LaTeX: from what people write to one form."""

from __future__ import annotations

import pytest

from tierwise.tasks import NORMALISERS, AnswerSpec


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("3 apples", "3"),
        ("12 square feet", "12"),
        ("5 km/h", "5"),
        ("40km", "40"),
        ("3 m²", "3"),
        ("$5", "5"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("- $5.50", "-5.5"),
        ("−7", "-7"),
        (r"\$1,200", "1200"),
        ("US$ 30", "30"),
        ("30 USD", "30"),
        ("USD 30", "30"),
        ("€1,5", None),
        ("18$", "18"),
        ("12 percent", "12"),
        ("12 %", "12"),
        (r"12\%", "12"),
        ("$18$", "18"),
        ("1 000", "1000"),
        ("1\u202f234\u202f567", "1234567"),
        ("1,00,000", "100000"),
        ("10,00", None),
        ("1.000,50", None),
        ("1,2,3", None),
        ("3 million", "3000000"),
        ("2.5 billion dollars", "2500000000"),
        ("2 dozen eggs", "2"),
        ("3 or 4", None),
        ("3 to", None),
        ("3 and a half", None),
        ("5x", None),
        ("-$-5", None),
        ("3 2", None),
        ("12/4", "3"),
        ("1/3", "1/3"),
        ("-3 1/2 cups", "-3.5"),
        ("1/0", None),
        ("1/2/2024", None),
        ("= 12", "12"),
        ("**12**", "12"),
        ("12.50 dollars.", "12.5"),
    ],
)
def test_quantities(raw, canonical):
    assert NORMALISERS["number"](raw) == canonical


def test_gsm8k_takes_what_follows_the_mark():
    spec = AnswerSpec(r"####\s*([^\n]+)", "last", "number")
    assert spec.extract("She has 16 - 3 = 13.\n#### $1,300 dollars") == "1300"
    assert spec.extract("13 ducks") is None


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("B. Paris", "B"),
        ("(B) Paris", "B"),
        ("b: Paris", "B"),
        ("**B)** Paris", "B"),
        ("The answer is (J).", "J"),
        ("option d", "D"),
        ("answer: C", "C"),
        ("A dog", None),
        ("Paris", None),
        ("B or C", None),
        ("é", None),
    ],
)
def test_choices_with_their_text(raw, canonical):
    assert NORMALISERS["choice"](raw) == canonical


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("(A)", "A"),
        ("a", "A"),
        ("(b) the dog", "B"),
        ("Valid.", "valid"),
        ("A dog", "a dog"),
        ("the answer is (C).", "C"),
        ("] ) }", "] ) }"),
    ],
)
def test_options_or_text(raw, canonical):
    assert NORMALISERS["option"](raw) == canonical


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("Yes.", "yes"),
        ("true", "yes"),
        ("**No**, since", "no"),
        ("False", "no"),
        ("maybe", None),
        ("", None),
        ("nobody", None),
    ],
)
def test_yes_or_no(raw, canonical):
    assert NORMALISERS["yes_no"](raw) == canonical


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        (r"\dfrac{3}{6}", "1/2"),
        ("0.5", "1/2"),
        (r"\frac12", "1/2"),
        ("-1/2", "-1/2"),
        (r"-\frac{1}{2}", "-1/2"),
        (r"\frac{-1}{2}", "-1/2"),
        ("$1{,}000$", "1000"),
        ("1,000", "1000"),
        (r"\boxed{42}", "42"),
        (r"x = 5", "5"),
        (r"90^\circ", "90"),
        (r"12\text{ cm}", "12"),
        (r"\text{Evelyn}", "Evelyn"),
        (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\frac{\pi}{2})"),
        (r"2\sqrt2", r"2\sqrt{2}"),
        (r"50\%", "50"),
        (r"\(7\)", "7"),
        ("1/0", None),
        ("", None),
        ("(x+1)^2", "(x+1)^2"),
    ],
)
def test_latex(raw, canonical):
    found = NORMALISERS["latex"](raw)
    assert found == canonical if canonical is not None else found in (None, raw or None)


def test_boxes_with_brackets_inside_are_found_in_linear_time():
    boxed = r"\\boxed\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}"
    spec = AnswerSpec(boxed, "last", "latex")
    assert spec.extract(r"so \boxed{1} or \boxed{\frac{3}{\sqrt{2}}}.") == r"\frac{3}{\sqrt{2}}"
