"""Answers of the shipped tasks, in the forms that models write them: all that is plain is read.

The forms are from bug reports of evaluation harnesses (lm-evaluation-harness 1159, 1204, 3116,
3214, 3775, 4188; simple-evals 33, 34; evalscope 903; sglang 29933; openbench 97; lighteval 688;
THUDM/slime 2150) and from what providers' models are told to write.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tierwise.tasks import AnswerSpec

TASKS = Path(__file__).parents[2] / "tasks"

FORMS: dict[str, list[tuple[str | None, list[str]]]] = {
    "arithmetic": [
        (
            "42",
            [
                "answer : 42",
                "Answer: 42",
                "**Answer:** 42",
                "**Answer**: 42.",
                "Answer: **42**",
                "answer: $42$",
                r"Answer: \(42\)",
                r"Answer: $\boxed{42}$",
                "Answer：４２",
                "Answer: `42`",
                "Answer: 41\nNo. Answer: 42",
            ],
        ),
        ("-1234", ["answer : -1234", "Answer: -1,234", "**Answer:** −1234"]),
        (None, ["42", "answer : none"]),
    ],
    "gsm8k": [
        (
            "1234",
            [
                "#### 1,234.00",
                "#### $1,234",
                "#### 1'234",
                "#### 1 234",
                "#### US$1,234",
                "Answer: 1,234 dollars",
                "#### １２３４",
                "#### １，２３４",
                "#### ١٬٢٣٤",
                "The answer is 1.234 × 10^3.",
                "#### 1.234e3",
                r"#### \$1{,}234",
            ],
        ),
        (
            "42",
            [
                "####42.",
                "#### 42 jars",
                "**#### 42**",
                "So the answer is **42**.",
                "The answer is: 42",
                r"The final answer is \boxed{42}.",
                r"#### \boxed{42}",
                r"Answer: \(42\)",
                "The answer is $42$.",
                "The answer is 42, since 6 times 7 is 42.",
                "#### 42 (6 * 7 = 42)",
                "#### 6 * 7 = 42",
                r"#### 42\text{ jars}",
                "#### 42</answer>",
                "#### 42<|im_end|>",
                "**Answer:** 42",
                "**Final Answer**\n\n42",
                "Answer：４２",
                "#### ٤٢",
                "#### ४२",
                "42",
                "**42**",
                r"Thus $\boxed{42}$.",
                r"\fbox{42}",
                "A: the answer to the question is 42 jars.",
                "#### 42.0",
                "#### +42",
                "##### 42",
                "#### $42",
                "#### 42%",
                "#### 42 km/h",
                "#### **42 jars**",
                "The answer is approximately 42.",
                "#### x = 42",
                "#### 42\n\nThe answer is 42 since 6*7=42.",
                "The correct answer is:\n\n42",
                "#### 42 — six times seven",
                "Answer: 42; that is all",
                "#### 42 because 6 x 7",
                "#### 42, not 40",
                "Answer: `42`",
                "#### 42 jars.\n",
                "#### 42 jars in total",
                "#### 42 jars of plum jam in total",
                "####42####",
                "#### The answer is 42.",
                "#### The total number of jars is 42.",
                "Final answer -> 42",
                "The answer is that she has 42 jars",
                "### Answer\n\n42 jars",
            ],
        ),
        (
            "-3",
            [
                "#### -3",
                "#### −3",
                "#### –3",
                "The answer is -3 degrees",
                "#### minus 3",
                "Answer: -$3",
                "#### -3°C",
                "####  -３",
            ],
        ),
        ("0.5", ["#### 0.5", "#### .5", "#### 0.50", "Answer: 0.5 hours"]),
        (
            None,
            [
                "#### 1.234,50 €",
                "#### 40 or 42",
                "#### 40-42",
                "I cannot say.",
                "#### forty-two",
                "#### 40, or 42",
                "The answer is between 40 and 42",
                "#### 6 * 7",
                "6 times 7",
                "Answer: 12/4 7",
            ],
        ),
    ],
    "mmlu_pro": [
        (
            "C",
            [
                "Answer: C",
                "**Answer: C**",
                "**Answer:** C",
                "**Answer**: C",
                "Answer: **C**",
                "Answer: `C`",
                "### Answer: (C)",
                r"Answer: $\boxed{C}$",
                "The correct answer is option C.",
                "The answer is **(C) gallium**.",
                "Answer: [C]",
                "Answer: C. A common wrong answer is B.",
                "The answer is C because I compared the melting points.",
                "Answer: C (I also thought that the answer is D at first)",
                "Answer：C",
                "The answer is: **C**",
                "Answer: C\n\nSome people think that the answer is B.",
                "Answer: C) gallium",
                "Answer: C. gallium",
                "Answer: C gallium",
                "answer: c",
                "Final answer: C",
                "So the final answer: C",
                r"\boxed{C}",
                r"$\boxed{\text{C}}$",
                "C",
                "(C)",
                "**C**",
                "C. gallium",
                "C) gallium",
                "Answer: Ｃ",
                r"Answer: \textbf{C}",
                "> **Answer: C**",
                "- Answer: C",
                "Answer: option C",
                'Answer: "C"',
                "Answer: C</answer>",
                "Answer: C<|eot_id|>",
                "**Answer**\n\n: C",
                "The best answer is C.",
                "The answer is therefore C.",
                "Answer:\nC",
                "Answer:\n\n**C. gallium**",
                r"The final answer is $\boxed{\textbf{(C)}}$.",
                "Answer: B\nWait, that is wrong.\nAnswer: C",
                "Answer: Ⓒ",
                "Answer:C",
                "The correct option is C. The answer is C.",
                "Answer is C",
                "ANSWER: C",
                "Answer: C (A is wrong)",
                "Answer: (C)\n(A) is wrong",
                "Ａｎｓｗｅｒ：Ｃ",
                "So the answer is (c), none of these.",
                "The closest answer is (c) 36.",
                "The answer is (c), I and III only.",
                "Looking at the answer choices: A is wrong. The answer is C.",
                "The answer is C, not A.",
            ],
        ),
        ("A", ["Answer: A iron", "Answer: A", "The answer is A.", "Answer: (A) a metal"]),
        (
            None,
            [
                "Answer: B or C",
                "Answer: both B and C",
                "I am not sure.",
                "The answer is a common one.",
                "Answer: none of these",
                "The answer choices: A is wrong, and so is B.",
                "Answer: K",
                "gallium",
                "Answer: (A) or (B)",
                "Answer: C, D",
                "Answer: C/D",
                "Answer: C & D",
            ],
        ),
    ],
    "strategyqa": [
        (
            "no",
            [
                "Answer: no",
                "**Answer:** no",
                "**Answer**: No.",
                "Answer: `no`",
                'Answer: "no"',
                "Answer: **No**, it would float.",
                "The answer is no.",
                "the answer is: **No**",
                "No",
                "No, since pears float.",
                "Answer: No\n\nA yes would need more. The answer is yes only there.",
                "Answer：No",
                r"Answer: \text{No}",
                r"Answer: $\boxed{\text{no}}$",
                "Final answer: False",
                "Answer: NO",
                "Answer: ｎｏ",
                "Answer: (no)",
                "### Answer\n: no",
                "So the answer: no",
            ],
        ),
        (
            None,
            [
                "Answer: maybe",
                "Answer: not clear",
                "Nobody knows.",
                "It depends.",
                "Answer: unknown",
            ],
        ),
    ],
    "math": [
        (
            "7",
            [
                r"So it is $\boxed 7$.",
                r"\fbox{7}",
                r"\boxed{\boxed{7}}",
                r"\[ \boxed{\dfrac{14}{2}} \]",
                r"\boxed{7\text{ jars}}",
                r"$\boxed{7}$, as asked",
                r"\boxed{x = 7}",
                r"\boxed{ 7 }",
                "Final Answer: The final answer is $7$. I hope it is correct.",
                "**Answer:** 7",
                r"The answer is \(7\).",
                r"$\boxed{7.0}$",
                r"\boxed{７}",
                r"\boxed{7^\circ}",
                r"\boxed{7\%}",
                r"\boxed{\$7}",
                r"\boxed{7 \text{ cm}^2}",
                r"\boxed{7 cm}",
                r"\boxed{\text{7}}",
                r"\boxed{\mathbf{7}}",
                r"\framebox{7}",
                r"**Final Answer**\n\\boxed{7}",
                r"\boxed{+7}",
                "The answer is: **7**",
                r"\boxed{7}</answer>",
                "Answer: $7$",
                r"\boxed{7.}",
            ],
        ),
        (
            "1/2",
            [
                r"\boxed{\frac12}",
                r"\boxed{\frac{1}{2}}",
                r"\boxed{0.5}",
                r"\boxed{1/2}",
                r"\boxed{\tfrac 1 2}",
                r"\boxed{½}",
                r"\boxed{\cfrac{1}{2}}",
                r"\boxed{.5}",
                r"The final answer is $\frac{1}{2}$.",
                r"\boxed{\dfrac{2}{4}}",
            ],
        ),
        (
            "-3/2",
            [
                r"\boxed{-\frac32}",
                r"\boxed{−1.5}",
                r"\boxed{-\frac{3}{2}}",
                r"\boxed{\frac{-3}{2}}",
                r"\boxed{-1\frac12}",
                r"\boxed{- 1.5}",
            ],
        ),
        (
            "1234",
            [
                r"\boxed{1{,}234}",
                r"\boxed{1,234}",
                r"\boxed{1\,234}",
                r"\boxed{1\!\,234}",
                r"\boxed{1 234}",
                r"\boxed{1234}",
            ],
        ),
        (r"\{1,2\}", [r"\boxed{\{1,2\}}", r"\boxed{\left\{1, 2\right\}}", r"\boxed{\{1,\ 2\}}"]),
        ("C", [r"\boxed{\text{(C)}}", r"\boxed{C}", r"\boxed{\textbf{(C)}}", r"\boxed{(C)}"]),
        (r"2\sqrt{2}", [r"\boxed{2\sqrt2}", r"\boxed{2\sqrt{2}}", r"\boxed{2√2}"]),
        (
            r"(\frac{1}{2},\sqrt{\frac{1}{\sqrt{2}}})",
            [r"$\boxed{\left(\frac{1}{2},\sqrt{\frac{1}{\sqrt{2}}}\right)}$"],
        ),
        (None, ["I do not know."]),
    ],
    "bbh": [
        (
            "A",
            [
                "So the answer is (A).",
                "Answer: (A)",
                "**Answer:** (A)",
                "the answer is: **(A) the dog**.",
                "Answer: A",
                "Answer: (A), since b",
                "Answer: (A)\nNot (B): the answer is not (B).",
                r"Answer: $\boxed{(A)}$",
                "Option (A)",
                "(A)",
                "Answer: A) the dog",
                "Answer: A. the dog",
                "Answer：（A）",
                "Answer: [A]",
                r"Answer: \text{(A)}",
                "Answer: **A**",
                "Answer: (A) 05/01/2021",
                "Final Answer: Which one is it?\nIt is the dog. So the answer is (A).",
            ],
        ),
        (
            "valid",
            [
                "Answer: valid",
                "the answer is valid.",
                "**Answer:** Valid",
                'Answer: "valid"',
                "valid",
                "Answer: **valid**.",
                r"Answer: \boxed{\text{valid}}",
                "Answer: `valid`",
                "Answer：valid",
            ],
        ),
        (
            "-25",
            [
                "Answer: -25",
                "So the answer is -25.",
                "Answer: −25",
                "**Answer: -25**",
                r"Answer: \(-25\)",
            ],
        ),
        ("] ) }", ["Answer: ] ) }", "So the answer is ] ) }."]),
        ("true", ["Answer: True", "So the answer is True.", "True"]),
    ],
}
"""Task -> what is right, and the texts that say it; None: a text that says no one answer."""


def answer_of(task: str) -> AnswerSpec:
    answer = yaml.safe_load((TASKS / task / "task.yaml").read_text())["answer"]
    return AnswerSpec(answer["extract"]["regex"], answer["extract"]["take"], answer["normalise"])


@pytest.mark.parametrize(
    ("task", "right", "text"),
    [
        (task, right, text)
        for task, rows in FORMS.items()
        for right, texts in rows
        for text in texts
    ],
)
def test_an_answer_is_read_in_every_form(task: str, right: str | None, text: str) -> None:
    assert answer_of(task).extract(text) == right


@pytest.mark.parametrize(
    ("task", "right", "text"),
    [
        (task, right, text)
        for task, rows in FORMS.items()
        for right, texts in rows
        for text in texts
        if right is not None and task != "bbh" and ("nswer" in text or "####" in text)
    ],
)
def test_reasoning_before_it_changes_nothing(task: str, right: str, text: str) -> None:
    reasoning = "Some options are A and B, 3 or 17.\nIs it yes or no? The sum is 5 + 6 = 11.\n\n"
    assert answer_of(task).extract(reasoning + text) == right


@pytest.mark.parametrize("task", sorted(FORMS))
def test_long_texts_are_read_in_linear_time(task: str) -> None:
    """A megabyte of what begins like an answer: backtracking would take for ever."""
    assert answer_of(task).extract("answer \\boxed{ " * 60_000) is None
