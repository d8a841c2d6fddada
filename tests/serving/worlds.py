"""Recorded samples, a model that serves them, and random policies over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tests.evaluation.worlds import random_strategies
from tierwise.difficulty import SIGNALS, parameter_settings, read_reply, signal_of, turn_of
from tierwise.errors import UnsupportedError
from tierwise.evaluation import ABSTAINED, SampleTable, VariantTable
from tierwise.llm import Call, Completion, Result, base_seed, build_request
from tierwise.schema import (
    Difficulty,
    Limits,
    Message,
    Policy,
    PolicyFile,
    Price,
    PriceStep,
    Probe,
    PromptTemplate,
    Recipe,
    StrategySpec,
    TaskRef,
    Tier,
    Variant,
    Weight,
    uniform,
)
from tierwise.tasks import AnswerSpec
from tierwise.tasks.verifiers import game24

ANSWER = AnswerSpec(regex=r"A: (\d+)", normalise="none")
TURNS = {
    "plain": "answer",
    "steps": "answer",
    "totals": "answer",
    "rate": "rating",
    "ask": "control_question",
}
PROMPTS = {
    name: PromptTemplate(
        name, (Message("system", name), Message("user", "{{ question }}")), turn=turn
    )
    for name, turn in TURNS.items()
}
VARIANTS = (
    Variant("plain", "direct", 0.8),
    Variant("steps", "think", 0.8),
    Variant("totals", "think", 0.3),
    Variant("plain", "direct", 0.8, "large"),
)
ASKED = {
    "rating": Variant("rate", "direct", 0.0),
    "control_question": Variant("ask", "direct", 0.0),
}
MODES = {"direct": {"max_tokens": 32}, "think": {"max_tokens": 256, "suffix": "\nThink."}}
SMALL = Tier("small", "test/small", Price(0.5, 1.5, 0.125), MODES, logprobs=True)
STEP = PriceStep(20.0, 45.0, 5.0, prompt_tokens=35)
LONG = Price(10.0, 30.0, reasoning_usd_per_mtok=40.0, above=(STEP,))
LARGE = Tier("large", "test/large", LONG, MODES, takes_n=False, logprobs=True)
SEED = 11


def policy_file(policy: Policy, name: str = "p", small: Tier = SMALL, **more: object) -> PolicyFile:
    return PolicyFile(
        name=name,
        tier=small,
        task=TaskRef("t", 1, "exact_match", ""),
        inputs=("question",),
        prompts=PROMPTS,
        policy=policy,
        answer=ANSWER,
        other_tiers={"large": LARGE},
        **more,
    )


def voting(
    model: str = "openai/tiny",
    *,
    samples: int = 3,
    temperature: float = 0.8,
    name: str = "p",
    **mode: object,
) -> PolicyFile:
    """A vote on one tier of a provider, in a mode of nine tokens."""
    variant = Variant("plain", "direct", temperature)
    return PolicyFile(
        name=name,
        tier=Tier("small", model, Price(1.0, 2.0), {"direct": {"max_tokens": 9, **mode}}),
        task=TaskRef("t", 1, "exact_match", ""),
        inputs=("question",),
        prompts=PROMPTS,
        policy=uniform(variant, StrategySpec.of("self_consistency", samples=samples)),
        answer=ANSWER,
    )


@dataclass
class Recorded:
    """Completions of every variant and item, sample by sample."""

    questions: tuple[str, ...]
    samples: dict[Variant, list[list[Completion]]]

    @classmethod
    def random(cls, seed: int, n_items: int = 4, depth: int = 14) -> Recorded:
        rng = np.random.default_rng(seed)
        # The number is a game of 24 that the answer 24 solves: what the verifier scores.
        questions = tuple(
            f"24 {chr(97 + i)} " + "word " * int(rng.integers(1, 9)) for i in range(n_items)
        )
        samples = {}
        for variant in (*VARIANTS, *ASKED.values()):
            said = {"rate": _rating, "ask": _yes_no}.get(variant.prompt, _answer)
            samples[variant] = [
                [_completion(rng, 20 + 10 * i, said) for _ in range(depth)] for i in range(n_items)
            ]
        return cls(questions, samples)

    def table(self) -> SampleTable:
        parts: tuple[dict[Variant, VariantTable], dict[Variant, VariantTable]] = ({}, {})
        for variant, rows in self.samples.items():
            turn = TURNS[variant.prompt]
            tier = LARGE if variant.tier else SMALL
            parts[turn != "answer"][variant] = VariantTable(
                answers=_grid(rows, _code).astype(np.int16),
                score=_grid(rows, lambda c: 1.0),
                prompt_usd=tier.price.prompt_usd(
                    _grid(rows, lambda c: c.prompt_tokens), _grid(rows, lambda c: c.cached_tokens)
                ),
                completion_usd=tier.price.completion_usd(
                    _grid(rows, lambda c: c.completion_tokens),
                    _grid(rows, lambda c: c.reasoning_tokens),
                    prompt_tokens=_grid(rows, lambda c: c.prompt_tokens),
                ),
                latency_s=_grid(rows, lambda c: c.latency_s),
                scores=self.scores(rows, turn),
                takes_n=tier.takes_n,
            )
        inputs = tuple({"question": q} for q in self.questions)
        return SampleTable(tuple(map(str, range(len(inputs)))), inputs, *parts)

    def scores(self, rows: list[list[Completion]], turn: str) -> dict[str, np.ndarray]:
        if turn != "answer":
            return {turn: _grid(rows, lambda c: read_reply(turn, c.text, c.min_logprob)[turn])}
        verified = [
            [game24({"question": q}, c.text, ANSWER.extract(c.text)) for c in row]
            for q, row in zip(self.questions, rows, strict=True)
        ]
        return {
            "mean_logprob": _grid(rows, lambda c: _known(c.mean_logprob)),
            "min_logprob": _grid(rows, lambda c: _known(c.min_logprob)),
            "game24": np.array(verified),
        }

    def models(self) -> dict[str, RecordedModel]:
        return {tier.name: RecordedModel(self, tier) for tier in (SMALL, LARGE)}


def _grid(rows: list[list[Completion]], value: Callable[[Completion], float]) -> np.ndarray:
    return np.array([[value(completion) for completion in row] for row in rows])


def _code(completion: Completion) -> int:
    return int(ANSWER.extract(completion.text) or ABSTAINED)


def _known(logprob: float | None) -> float:
    return np.nan if logprob is None else logprob


def _answer(rng: np.random.Generator) -> str:
    answer = int(rng.integers(21, 25))
    return "no idea" if answer == 21 else f"Well. A: {answer}"


def _rating(rng: np.random.Generator) -> str:
    return str(rng.choice(["1", "2", "3 of 5", "4", "5", "hard to say"]))


def _yes_no(rng: np.random.Generator) -> str:
    return str(rng.choice(["yes", "no", "No.", "maybe"]))


def _completion(
    rng: np.random.Generator, prompt_tokens: int, said: Callable[[np.random.Generator], str]
) -> Completion:
    text, unknown = said(rng), rng.random() < 0.1
    mean_logprob = float(np.round(-rng.exponential(), 1))
    return Completion(
        text=text,
        prompt_tokens=prompt_tokens,
        completion_tokens=int(rng.integers(1, 90)),
        reasoning_tokens=1,
        cached_tokens=int(rng.integers(0, 2)) * 16,
        mean_logprob=None if unknown else mean_logprob,
        min_logprob=None if unknown else 2 * mean_logprob,
        latency_s=float(np.round(rng.uniform(0.1, 2.0), 3)),
    )


class RecordedModel:
    """A tier that answers with the recorded samples, by request and seed; it takes no time."""

    chunk = 16

    def __init__(self, recorded: Recorded, tier: Tier) -> None:
        self.rows = {}
        self.calls: list[Call] = []
        for variant, rows in recorded.samples.items():
            if (variant.tier or SMALL.name) == tier.name:
                for question, row in zip(recorded.questions, rows, strict=True):
                    inputs = {"question": question}
                    request = build_request(tier, PROMPTS[variant.prompt], variant, inputs)
                    self.rows[request.key] = row

    async def answer(self, call: Call) -> list[Result]:
        self.calls.append(call)
        first = call.seed - base_seed(SEED, call.request)
        assert first == call.first_sample
        row = self.rows[call.request.key]
        if first + call.n > len(row):
            raise UnsupportedError("not recorded")
        return list(row[first : first + call.n])

    def complete(self, chunks: Iterable[Sequence[Call]]) -> Iterator[list[list[Result]]]:
        raise NotImplementedError

    def close(self) -> None:
        pass


_CUTS = {
    "length": (-9.0, -1.0),
    "probe_agreement": (0.1, 0.95),
    "probe_confidence": (-2.0, -0.2),
    "self_rating": (1.2, 4.8),
    "control_question": (0.05, 0.95),
    "verifier_score": (0.05, 0.95),
    "router": (0.2, 0.8),
}
WEIGHTS = (
    (Weight("intercept", -0.4), Weight("words", 1.5, 5.0, 2.0)),
    (
        Weight("words", 1.0, 5.0, 2.0),
        Weight("probe_confidence", -0.9, -1.0, 0.7),
        Weight("probe_agreement", -0.5, 0.7, 0.3),
    ),
)


def random_difficulty(kind: str, number: int, rng: np.random.Generator) -> Difficulty:
    """How to tell, with a probe where one is needed, and every setting of a signal in turn."""
    settings = [s for s in parameter_settings(kind) if s.get("verifier", "game24") == "game24"]
    params = tuple(settings[number % len(settings)].items())
    weights = WEIGHTS[number % len(WEIGHTS)] if kind == "router" else ()
    difficulty = Difficulty(kind, (), None, params, weights)
    if not signal_of(difficulty).probes:
        return difficulty
    some = rng.permutation(len(VARIANTS))[: int(rng.integers(1, 3))]
    asked = ASKED.get(turn_of(kind))
    variants = (asked,) if asked else tuple(VARIANTS[i] for i in some)
    return replace(difficulty, probe=Probe(variants, int(rng.integers(len(variants), 5))))


def random_policy(number: int) -> Policy:
    """Policies 0, 1, 2 … go round all kinds of strategies, signals and bucket counts."""
    rng = np.random.default_rng([7, number])
    kind = sorted(SIGNALS)[number % len(SIGNALS)]
    n_buckets = 1 + number // len(SIGNALS) % 5
    difficulty = random_difficulty(kind, number // len(SIGNALS), rng)
    cuts = sorted(rng.uniform(*_CUTS.get(kind, (-1.0, 1.0)), n_buckets - 1), reverse=True)
    buckets = []
    for b in range(n_buckets):
        variants = tuple(
            VARIANTS[i] for i in rng.permutation(len(VARIANTS))[: int(rng.integers(1, 3))]
        )
        kinds = random_strategies(rng)
        buckets.append(Recipe(variants, kinds[(number // (5 * len(SIGNALS)) + b) % len(kinds)]))
    limits = Limits(
        max_usd_per_request=float(rng.uniform(1e-4, 4e-3)) if rng.random() < 0.3 else None,
        max_samples=int(rng.integers(1, 9)) if rng.random() < 0.3 else None,
        timeout_s=float(rng.uniform(1.0, 6.0)) if rng.random() < 0.4 else 60.0,
        on_error="fail" if rng.random() < 0.2 else "answer_with_what_arrived",
    )
    return Policy(tuple(buckets), replace(difficulty, thresholds=tuple(map(float, cuts))), limits)
