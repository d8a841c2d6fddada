"""The game of 24 as a verifier: it sees the numbers and the expression, and no target."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tierwise.tasks import VERIFIERS, verified

NUMBERS = {"question": "4 5 6 10"}
RECORDING = Path(__file__).parents[3] / "shared/recordings/game24_gpt4_100_draws.jsonl.gz"


def lines(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def says(answer, numbers=NUMBERS, text=""):
    return VERIFIERS["game24"](numbers, text, answer)


@pytest.mark.parametrize(
    "answer",
    [
        "(10 - 4) * 5 - 6",
        "(10-4)*5-6 = 24",
        "(10 − 4) × 5 − 6",
        "[10 - 4] * 5 - 6 = 24.",
        "Answer: (10 - 4) * 5 - 6 = 24",
        "-(6 - (10 - 4) * 5)",
    ],
)
def test_what_solves_it(answer):
    assert says(answer) == 1


def test_fractions_are_exact():
    assert says("8 / (3 - 8 / 3)", {"question": "3 3 8 8"}) == 1


@pytest.mark.parametrize(
    "answer",
    [
        "4 * 6",
        "4 + 5 + 6 + 10",
        "4 * 5 + 10 - 6 = 25",
        "(10 - 4) * 5 - 6 = 25",
        "24",
        "",
        "10 / (5 - 5)",
        "45 - 6 - 10",
        "4 ** 5",
        "10 // 4 * 6 * 5",
        "(" * 90 + "4" + ")" * 90,
        "__import__('os').getcwd()",
        "4 if 5 else 6 or 10",
        "10(4)5 6",
        "012 + 4",
        "1.0 + 4",
        "(10 - 4) * 5 - 6" + " " * 200 + "+ 0",
    ],
)
def test_what_does_not(answer):
    assert says(answer) == 0


def test_without_an_answer_the_last_equation_of_the_text_counts():
    assert says(None, text="10 - 4 = 6\n(10 - 4) * 5 - 6 = 24\nDone.") == 1
    assert says(None, text="no idea") == 0


def test_only_named_verifiers_are_asked():
    assert verified(("game24", "mean_logprob"), NUMBERS, "", "4") == {"game24": 0.0}
    assert verified((), NUMBERS, "", "4") == {}


@pytest.mark.skipif(not RECORDING.exists(), reason="needs the recordings")
def test_it_agrees_with_the_scores_of_real_answers():
    items = RECORDING.with_name("game24_gpt4_100_draws.items.jsonl.gz")
    inputs = {row["id"]: row["inputs"] for row in lines(items)}
    rows = lines(RECORDING)[::7]
    agree = sum(says(r["answer"], inputs[r["item_id"]], r["text"]) == r["score"] for r in rows)
    assert agree / len(rows) > 0.99
