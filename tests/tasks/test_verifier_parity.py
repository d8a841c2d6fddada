"""A verifier's scores are the same in stored tables and in serving, and so is what they choose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pytest

from tierwise.evaluation import Evaluator, replay_item
from tierwise.llm import Call, Completion, Result, build_request
from tierwise.pool import Account, Need, SamplePool, fill, load
from tierwise.schema import (
    Message,
    PolicyFile,
    Price,
    PromptTemplate,
    StrategySpec,
    TaskRef,
    Tier,
    Variant,
    uniform,
)
from tierwise.serving.runtime import PolicyRuntime
from tierwise.tasks import AnswerSpec, Item, Task

ANSWER = AnswerSpec(r"Answer: ([^\n]+)", "last", "none")
PROMPT = PromptTemplate("io", (Message("user", "{{ question }}"),))
VARIANT = Variant("io", "direct", 0.7)
TIER = Tier("t", "test/t", Price(1.0, 2.0), {"direct": {"max_tokens": 64}})
GAMES = {"4 5 6 10": "(10 - 4) * 5 - 6", "3 3 8 8": "8 / (3 - 8 / 3)", "1 1 1 1": "1 + 1"}
SAMPLES = 6


class Guessing:
    """Says the solution in a third of its samples, else something else, else no answer."""

    chunk = 8

    async def answer(self, call: Call) -> list[Result]:
        return [self._one(call, call.seed + i) for i in range(call.n)]

    def complete(self, chunks: Iterable[Sequence[Call]]) -> Iterator[list[list[Result]]]:
        for chunk in chunks:
            yield [[self._one(c, c.seed + i) for i in range(c.n)] for c in chunk]

    def close(self) -> None:
        pass

    def _one(self, call: Call, seed: int) -> Completion:
        kind = int(np.random.default_rng(seed).integers(3))
        solution = GAMES[call.request.messages[-1].content]
        text = ("No idea.", f"Answer: {solution} + 0", f"Answer: {solution} = 24")[kind]
        return Completion(text, 10, 5 + kind)


@pytest.fixture
def table(tmp_path):
    items = [Item(q, {"question": q}, "24") for q in GAMES]
    task = Task("g", 1, ("question",), tuple(items), ANSWER, verifiers=("game24",))
    requests = [build_request(TIER, PROMPT, VARIANT, item.inputs) for item in items]
    with SamplePool.open(tmp_path / "pool.sqlite") as pool:
        fill(pool, Guessing(), TIER, [Need(r, SAMPLES) for r in requests], Account("", 3))
        return load(pool, task, TIER, items, {VARIANT: requests}, {VARIANT: SAMPLES})


def policy(samples):
    return uniform(VARIANT, StrategySpec.of("best_of_n", samples=samples, verifier="game24"))


@pytest.mark.parametrize("samples", [1, 3, SAMPLES])
def test_best_of_n_by_game24_serves_what_was_evaluated(table, samples):
    file = PolicyFile(
        name="g",
        tier=TIER,
        task=TaskRef("g", 1, "exact_match", ""),
        inputs=("question",),
        prompts={"io": PROMPT},
        policy=policy(samples),
        answer=ANSWER,
    )
    runtime = PolicyRuntime(PolicyFile.loads(file.dumps()), Guessing(), seed=3)
    for i, question in enumerate(GAMES):
        stored = replay_item(policy(samples), table, i)
        served = runtime.answer_sync(question=question)
        assert (served.chosen, served.usd) == (stored.index, stored.usd)
        assert served.samples == samples


def test_the_table_knows_which_samples_solve_the_game(table):
    scores = table.variants[VARIANT].scores["game24"]
    assert set(np.unique(scores[:2])) == {0.0, 1.0}
    assert not scores[2].any()  # what it says is no solution


def test_search_ranks_by_it(table):
    one, best = (Evaluator(table).evaluate(policy(n)) for n in (1, SAMPLES))
    assert best.samples.tolist() == [SAMPLES] * len(GAMES)
    assert one.samples.tolist() == [1] * len(GAMES)
