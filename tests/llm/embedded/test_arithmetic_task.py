"""The shipped task and the embedded models belong together: what is asked was never trained on."""

from __future__ import annotations

import importlib.util
import json
import zlib
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tierwise.llm.embedded import Engine, encode
from tierwise.schema import Message, substitute
from tierwise.tasks import AnswerSpec

ROOT = Path(__file__).parents[3]
TASK = ROOT / "tasks" / "arithmetic"
SPEC = yaml.safe_load((TASK / "task.yaml").read_text())
ALL_PROMPTS = yaml.safe_load((TASK / "prompts.yaml").read_text())
PROMPTS = {p["id"]: p for p in ALL_PROMPTS if "turn" not in p}
ITEMS = [json.loads(line) for line in (TASK / "items.jsonl").read_text().splitlines()]
EXTRACT = SPEC["answer"]["extract"]
ANSWER = AnswerSpec(EXTRACT["regex"], EXTRACT["take"], SPEC["answer"]["normalise"])
MODES = {
    "direct": {"reasoning_effort": "none", "max_tokens": 40},
    "think": {"reasoning_effort": "high", "max_tokens": 160},
}


def operations(item):
    return len(item["inputs"]["question"].split()) // 2


def messages(prompt, item, system=None):
    return [
        Message("system", prompt["system"] if system is None else system),
        Message("user", substitute(prompt["user"], item["inputs"])),
    ]


def test_every_item_is_held_out_of_training_and_stands_once():
    texts = [i["inputs"]["question"] for i in ITEMS]
    assert len(set(texts)) == len(texts) == 2000
    assert len({i["id"] for i in ITEMS}) == len(ITEMS)
    assert all(zlib.crc32(t.encode()) % 8 == 0 for t in texts)


def test_every_target_is_right_and_the_value_stays_in_range():
    for item in ITEMS:
        pieces = item["inputs"]["question"].split()
        value = int(pieces[0])
        for sign, size in zip(pieces[1::2], pieces[2::2], strict=True):
            value += int(size) if sign == "+" else -int(size)
            assert 0 <= value <= 30
        assert str(value) == item["target"]


def test_items_spread_over_one_to_twelve_operations():
    counts = Counter(map(operations, ITEMS))
    assert sorted(counts) == list(range(1, 13))
    assert min(counts.values()) >= 25


def test_prompts_have_the_baseline_first_and_distinct_families():
    assert next(iter(PROMPTS)) == "plain"
    assert PROMPTS["plain"]["family"] == "baseline"
    assert len({p["family"] for p in PROMPTS.values()}) == len(PROMPTS) == 8
    assert all(len(p["paraphrases"]) >= 3 for p in PROMPTS.values())
    assert SPEC["prompts"] == "prompts.yaml"


def test_every_paraphrase_encodes_for_the_longest_item_and_under_demonstrations():
    longest = max(ITEMS, key=operations)
    for prompt in PROMPTS.values():
        for system in (prompt["system"], *prompt["paraphrases"]):
            for params in MODES.values():
                bare = messages(prompt, longest, system)
                target = {"target": longest["target"]}
                answer = substitute(SPEC["demonstration"]["direct"], target)
                shots = [m for _ in range(4) for m in (bare[1], Message("assistant", answer))]
                encode([bare[0], *shots, bare[1]], params)


def test_every_paraphrase_is_one_that_the_models_were_trained_on():
    place = ROOT / "tools" / "embedded" / "paraphrases.py"
    if not place.exists():
        pytest.skip("the training tools are not part of this installation")
    spec = importlib.util.spec_from_file_location("paraphrases", place)
    paraphrases = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(paraphrases)
    answers = [w for t in paraphrases.TEMPLATES.values() for w in t]
    asked = [*answers, *paraphrases.RATING, *paraphrases.CONTROL_QUESTION]
    trained = {w.replace(" ?", "?") for w in asked}
    for prompt in ALL_PROMPTS:
        for system in (prompt["system"], *prompt["paraphrases"]):
            assert system.casefold().rstrip(".:") in trained


def accuracy(name, prompt_id, mode, shortest, longest, samples=1, temperature=0.8):
    """Over ten items of each length from ``shortest`` to ``longest``."""
    seen, chosen = Counter(), []
    for item in ITEMS:
        n = operations(item)
        seen[n] += 1
        if shortest <= n <= longest and seen[n] <= 10:
            chosen.append(item)
    params = {**MODES[mode], "temperature": temperature}
    pairs = [(i, s) for i in chosen for s in range(samples)]
    prompts = [encode(messages(PROMPTS[prompt_id], i), params) for i, _ in pairs]
    sampled = Engine.load(name).generate(prompts, [s for _, s in pairs])
    right = [
        ANSWER.extract(g.text) == i["target"] for g, (i, _) in zip(sampled, pairs, strict=True)
    ]
    return sum(right) / len(right)


@pytest.mark.parametrize(
    ("name", "easy", "hard"),
    [
        ("small", (0.9, 1.0), (0.1, 0.45)),
        ("medium", (0.9, 1.0), (0.3, 0.7)),
        ("large", (0.9, 1.0), (0.6, 0.95)),
    ],
)
def test_step_by_step_work_is_good_on_easy_items_and_falls_off_on_hard_ones(name, easy, hard):
    for (low, high), (first, last) in ((easy, (1, 4)), (hard, (9, 12))):
        assert low <= accuracy(name, "steps", "think", first, last) <= high


@pytest.mark.parametrize("name", ["small", "medium", "large"])
def test_direct_answers_are_for_short_questions(name):
    assert accuracy(name, "plain", "direct", 1, 2) > 0.65
    assert accuracy(name, "plain", "direct", 9, 12) < 0.3


def test_templates_suit_tiers_differently():
    """A free order is of use on medium and large, not on small, which saw little of it."""
    scores = [accuracy(n, "anyorder", "think", 1, 4) for n in ("small", "medium", "large")]
    assert scores[0] < 0.65
    assert min(scores[1:]) > scores[0] + 0.15


def test_larger_tiers_work_better_on_their_own():
    """Under ``plain``, which leaves the way of work open; what a prompt asks for may suit any."""
    scores = [accuracy(n, "plain", "think", 1, 8, samples=3) for n in ("small", "medium", "large")]
    assert scores == sorted(scores)
    assert scores[2] - scores[0] > 0.1


def test_a_small_budget_of_work_costs_accuracy():
    question = [i for i in ITEMS if operations(i) == 6][:40]

    def score(params):
        prompts = [encode(messages(PROMPTS["steps"], i), params) for i in question]
        sampled = Engine.load("large").generate(prompts, [0] * len(prompts))
        return sum(
            ANSWER.extract(g.text) == i["target"] for g, i in zip(sampled, question, strict=True)
        )

    free = score({"reasoning_effort": "high", "temperature": 0.8})
    assert score({"reasoning_effort": "low", "temperature": 0.8}) < free
