"""Recorded draws, a model that serves them, and random policies over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tierwise.difficulty import SIGNALS
from tierwise.errors import UnsupportedError
from tierwise.evaluation import ABSTAINED, ArmTable, SampleTable
from tierwise.llm import Call, Completion, Result, base_seed, build_request
from tierwise.recipe import (
    Arm,
    Difficulty,
    Limits,
    Message,
    Policy,
    Price,
    Probe,
    PromptTemplate,
    Recipe,
    StrategySpec,
    Tier,
)
from tierwise.recipe.policy_file import PolicyFile, TaskRef
from tierwise.task import AnswerSpec

ANSWER = AnswerSpec(regex=r"A: (\d+)", normalise="none")
PROMPTS = {
    name: PromptTemplate(name, (Message("system", name), Message("user", "{{ question }}")))
    for name in ("plain", "steps", "totals")
}
ARMS = (
    Arm("plain", "direct", 0.8),
    Arm("steps", "think", 0.8),
    Arm("totals", "think", 0.3),
    Arm("plain", "direct", 0.8, "large"),
)
MODES = {"direct": {"max_tokens": 32}, "think": {"max_tokens": 256, "suffix": "\nThink."}}
SMALL = Tier("small", "test/small", Price(0.5, 1.5, 0.125), MODES)
LARGE = Tier("large", "test/large", Price(10.0, 30.0), MODES, takes_n=False)
SEED = 11


def policy_file(policy: Policy, name: str = "p", small: Tier = SMALL, **more: object) -> PolicyFile:
    return PolicyFile(
        name=name, tier=small, task=TaskRef("t", 1, "exact_match", ""), inputs=("question",),
        prompts=PROMPTS, policy=policy, answer=ANSWER, other_tiers={"large": LARGE}, **more,
    )  # fmt: skip


@dataclass
class Recorded:
    """Completions of every arm and item, draw by draw."""

    questions: tuple[str, ...]
    draws: dict[Arm, list[list[Completion]]]

    @classmethod
    def random(cls, seed: int, n_items: int = 4, depth: int = 14) -> Recorded:
        rng = np.random.default_rng(seed)
        questions = tuple(f"{i} " + "word " * int(rng.integers(1, 9)) for i in range(n_items))
        draws = {}
        for arm in ARMS:
            draws[arm] = [
                [_completion(rng, 20 + 10 * i) for _ in range(depth)] for i in range(n_items)
            ]
        return cls(questions, draws)

    def table(self) -> SampleTable:
        arms = {}
        for arm, rows in self.draws.items():
            tier = LARGE if arm.tier else SMALL
            arms[arm] = ArmTable(
                answers=_grid(rows, _code).astype(np.int16),
                score=_grid(rows, lambda c: 1.0),
                prompt_usd=tier.price.prompt_usd(
                    _grid(rows, lambda c: c.prompt_tokens), _grid(rows, lambda c: c.cached_tokens)
                ),
                completion_usd=tier.price.completion_usd(
                    _grid(rows, lambda c: c.completion_tokens)
                ),
                latency_s=_grid(rows, lambda c: c.latency_s),
                scores={"mean_logprob": _grid(rows, _logprob)},
                takes_n=tier.takes_n,
            )
        inputs = tuple({"question": q} for q in self.questions)
        return SampleTable(tuple(map(str, range(len(inputs)))), inputs, arms)

    def models(self) -> dict[str, RecordedModel]:
        return {tier.name: RecordedModel(self, tier) for tier in (SMALL, LARGE)}


def _grid(rows: list[list[Completion]], value: Callable[[Completion], float]) -> np.ndarray:
    return np.array([[value(completion) for completion in row] for row in rows])


def _code(completion: Completion) -> int:
    return int(ANSWER.extract(completion.text) or ABSTAINED)


def _logprob(completion: Completion) -> float:
    return np.nan if completion.mean_logprob is None else completion.mean_logprob


def _completion(rng: np.random.Generator, prompt_tokens: int) -> Completion:
    answer = int(rng.integers(-1, 3))
    return Completion(
        text="no idea" if answer < 0 else f"Well. A: {answer}",
        prompt_tokens=prompt_tokens,
        completion_tokens=int(rng.integers(1, 90)),
        reasoning_tokens=1,
        cached_tokens=int(rng.integers(0, 2)) * 16,
        mean_logprob=None if rng.random() < 0.1 else float(np.round(-rng.exponential(), 1)),
        latency_s=float(np.round(rng.uniform(0.1, 2.0), 3)),
    )


class RecordedModel:
    """A tier that answers with the recorded draws, by request and seed; it takes no time."""

    chunk = 16

    def __init__(self, recorded: Recorded, tier: Tier) -> None:
        self.rows = {}
        self.calls: list[Call] = []
        for arm, rows in recorded.draws.items():
            if (arm.tier or SMALL.name) == tier.name:
                for question, row in zip(recorded.questions, rows, strict=True):
                    inputs = {"question": question}
                    request = build_request(tier, PROMPTS[arm.prompt], arm, inputs)
                    self.rows[request.key] = row

    async def answer(self, call: Call) -> list[Result]:
        self.calls.append(call)
        first = call.seed - base_seed(SEED, call.request)
        assert first == call.first_draw
        row = self.rows[call.request.key]
        if first + call.n > len(row):
            raise UnsupportedError("not recorded")
        return list(row[first : first + call.n])

    def complete(self, chunks: Iterable[Sequence[Call]]) -> Iterator[list[list[Result]]]:
        raise NotImplementedError

    def close(self) -> None:
        pass


def strategies(rng: np.random.Generator) -> list[StrategySpec]:
    n, window = int(rng.integers(1, 10)), int(rng.integers(1, 5))
    return [
        StrategySpec.of("single"),
        StrategySpec.of("self_consistency", draws=n),
        StrategySpec.of("self_consistency", draws=n, window=window),
        StrategySpec.of("adaptive_consistency", threshold=float(rng.uniform(0.6, 0.99)),
                        max_draws=n, window=window),
        StrategySpec.of("early_stopping", window=min(window, n), max_draws=n),
        StrategySpec.of("best_of_n", draws=n),
        StrategySpec.of("weighted_consistency", draws=n),
    ]  # fmt: skip


_CUTS = {"length": (-9.0, -1.0), "probe_agreement": (0.1, 0.95), "probe_confidence": (-2.0, -0.2)}


def random_policy(number: int) -> Policy:
    """Policies 0, 1, 2 … go round all kinds of strategies, signals and bucket counts."""
    rng = np.random.default_rng([7, number])
    signal = sorted(SIGNALS)[number % len(SIGNALS)]
    n_buckets = 1 + number // len(SIGNALS) % 3
    probe = None
    if SIGNALS[signal].probes:
        n_arms = 1 + number // 3 % 2
        chosen = tuple(ARMS[i] for i in rng.permutation(len(ARMS))[:n_arms])
        probe = Probe(chosen, n_arms + int(rng.integers(3)))
    cuts = sorted(rng.uniform(*_CUTS.get(signal, (-1.0, 1.0)), n_buckets - 1), reverse=True)
    buckets = []
    for b in range(n_buckets):
        arms = tuple(ARMS[i] for i in rng.permutation(len(ARMS))[: int(rng.integers(1, 3))])
        kinds = strategies(rng)
        buckets.append(Recipe(arms, kinds[(number // 12 + b) % len(kinds)]))
    limits = Limits(
        max_usd_per_request=float(rng.uniform(1e-4, 4e-3)) if rng.random() < 0.3 else None,
        max_draws=int(rng.integers(1, 9)) if rng.random() < 0.3 else None,
        timeout_s=float(rng.uniform(1.0, 6.0)) if rng.random() < 0.4 else 60.0,
        on_error="fail" if rng.random() < 0.2 else "answer_with_what_arrived",
    )
    return Policy(tuple(buckets), Difficulty(signal, tuple(map(float, cuts)), probe), limits)
