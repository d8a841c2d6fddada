"""How long calls are, before the first: measured on rendered prompts; and what judging costs.

How long answers are is not known: the expectation takes a sixth of each mode's token cap and a
token for three bytes of prompt; the worst case takes all of it, and a token a byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tierwise.llm import Call, build_request, cap_of, judge_request
from tierwise.llm.models import address_of
from tierwise.pool.calls import most_tokens, worst_case
from tierwise.retrieval import usual_bytes
from tierwise.runs.prepare import Prepared
from tierwise.schema import Message, Tier, Usage, Variant
from tierwise.schema.space import SearchSpace
from tierwise.search.budget import BYTES_A_TOKEN, PART_OF_CAP
from tierwise.search.problem import SampleCost, Variants, token_cap
from tierwise.search.samples import SampleCounts, with_nodes
from tierwise.tasks import Item

MEASURED_ITEMS = 40
"""Items whose prompts are rendered, of the split that is screened."""

GO_ON = 0.3
"""Part of the turns of chains bought to their end that is expected, since most end before. Runs
on ``lookup``, to six rounds of one to four facts, bought .24 to .31, and .16 to .27 on test."""

MEASURED_ANSWERS = 20
"""Items of which the judge's prompt is rendered."""


class CallLengths(NamedTuple):
    """Tokens of a call's prompt, and of a sample's completion; ``most``: none has more."""

    prompt: float
    completion: float
    most: bool = False

    def usage(self, tier: Tier, calls: int, samples: int) -> Usage:
        """Of so many calls for so many samples."""
        prompt, completion = calls * self.prompt, samples * self.completion
        price = tier.price.at_most(self.prompt) if self.most else tier.price
        usd = calls * price.prompt_usd(self.prompt)
        usd += samples * price.completion_usd(self.completion, prompt_tokens=self.prompt)
        return Usage(calls, samples, prompt, completion, usd=usd)


class LengthBounds(NamedTuple):
    """On average, and at worst over all variants."""

    usual: CallLengths
    worst: CallLengths

    @classmethod
    def of(cls, tier: Tier, calls: Sequence[Sequence[Call]], *, bounded: bool) -> LengthBounds:
        """Measured on rendered requests."""
        each = [call for of_variant in calls for call in of_variant]
        sizes = [call.request.prompt_bytes for call in each]
        one = [worst_case([call], tier, bounded=bounded).tokens for call in each]
        two = [worst_case([call._replace(n=2)], tier, bounded=bounded).tokens for call in each]
        most = [b - a for a, b in zip(one, two, strict=True)]
        usual = CallLengths(
            sum(sizes) / len(sizes) / BYTES_A_TOKEN, sum(most) / len(most) * PART_OF_CAP
        )
        prompts = (a - completion for a, completion in zip(one, most, strict=True))
        return cls(usual, CallLengths(max(prompts), max(most), most=True))


def calls_for_one(
    prepared: Prepared, tier: Tier, variants: Variants, among: Sequence[Variant]
) -> list[list[Call]]:
    """For each variant the calls for one sample of some items."""
    items = prepared.loaded.task.splits["validation"][:MEASURED_ITEMS]
    address = address_of(tier)

    def call(variant: Variant, inputs: Mapping[str, str]) -> Call:
        prompt = variants.prompts[variant.prompt]
        return Call(build_request(tier, prompt, variant, inputs, address), 0, 1, 0)

    return [[call(variant, item.inputs) for item in items] for variant in among]


class TurnLengths(NamedTuple):
    """Turns beside plain answers: those of a variant's chains on an item, bought to their end.

    Attributes:
        queries: the part of them that asks a query, each of which is a look-up.
        usd_per_lookup: dollars.
        above: how many turns lie above one on average, ``most_above`` at most.
        passages: how many passages lie above one on average, ``most_passages`` at most.
        passage_bytes: of a passage on average, ``most_bytes`` at most.
    """

    queries: float = 0.0
    usd_per_lookup: float = 0.0
    above: float = 0.0
    most_above: int = 0
    passages: float = 0.0
    most_passages: int = 0
    passage_bytes: float = 0.0
    most_bytes: float = 0.0

    @classmethod
    def of(cls, prepared: Prepared, space: SearchSpace, counts: SampleCounts) -> TurnLengths:
        """Those that ``space`` may ask for beside plain answers."""
        wanted = with_nodes((Variant("", "", 0.0),), counts.n_samples, space)
        turns = {variant: n for variant, n in wanted.items() if variant.path}
        if not counts.nodes or not turns:
            return cls()
        total = sum(turns.values())
        had = {variant: sum(turn.passages for turn in variant.path[:-1]) for variant in turns}
        found = prepared.loaded.retriever
        return cls(
            sum(n for variant, n in turns.items() if variant.turn.name == "query") / total,
            0.0 if found is None else found.spec.usd_per_call,
            sum(n * (len(variant.path) - 1) for variant, n in turns.items()) / total,
            max(len(variant.path) - 1 for variant in turns),
            sum(n * had[variant] for variant, n in turns.items()) / total,
            max(had.values()),
            0.0 if found is None else usual_bytes(found),
            0.0 if found is None else float(found.spec.max_chars),
        )

    def usage(self, nodes: int, tier: Tier, lengths: LengthBounds) -> tuple[int, Usage, Usage]:
        """Look-ups at most, what ``nodes`` turns are expected to use, and at worst.

        A turn's prompt holds besides what the turns above it said and what they brought.
        """

        def usage(part: float, of: CallLengths, said: float, brought: float) -> Usage:
            calls = round(nodes * part)
            longer = of._replace(prompt=of.prompt + said * of.completion + brought)
            lookups = Usage(usd=calls * self.queries * self.usd_per_lookup)
            return longer.usage(tier, calls, calls) + lookups

        brought = self.passages * self.passage_bytes / BYTES_A_TOKEN
        usual = usage(GO_ON, lengths.usual, self.above, brought)
        most = self.most_passages * self.most_bytes
        worst = usage(1.0, lengths.worst, self.most_above, most)
        return round(nodes * self.queries), usual, worst


# --- what judging costs, before the first judgement ----------------------------------------------


def longest_answer(tier: Tier) -> float:
    """Tokens of an answer that fills its mode's cap."""
    return float(max((token_cap(mode) for mode in tier.modes.values()), default=0))


class JudgingUsage(NamedTuple):
    """What a judgement is expected to use, and at worst; nothing where there is no judge.

    ``checks``: judgements beside those of the answers, by which the judge itself is measured.
    """

    expected: Usage = Usage()
    worst: Usage = Usage()
    checks: int = 0

    @property
    def check(self) -> Usage:
        """What measuring the judge is expected to use."""
        return self.expected * self.checks


def judging_usage(
    prepared: Prepared, answer: SampleCost, longest_tokens: float = 0.0
) -> JudgingUsage:
    """Of one answer, which has as many tokens as a sample is expected to use.

    ``longest_tokens``: of an answer at worst. At worst every one of the judge's attempts is needed.
    """
    judge, tier = prepared.loaded.judge, prepared.judge_tier
    if judge is None or tier is None:
        return JudgingUsage()
    spec = judge.spec
    asked = [judge.messages(item, "") for item in _some_items(prepared)]
    expected, worst = _of_a_call(tier, asked, answer.tokens, longest_tokens)
    again = spec.repeats + 1 + spec.reference  # repeats after the first, padded, drift, swapped
    return JudgingUsage(expected, worst * spec.attempts, len(judge.labels) + spec.checked * again)


def verifying_usage(
    prepared: Prepared, answer: SampleCost, longest_tokens: float = 0.0
) -> JudgingUsage:
    """The same of a judgement below a sample; nothing where the space asks for none."""
    verifier, tier = prepared.verifier, prepared.verifier_tier
    if verifier is None or tier is None:
        return JudgingUsage()
    asked = [verifier.messages(item.inputs, "") for item in _some_items(prepared)]
    return JudgingUsage(*_of_a_call(tier, asked, answer.tokens, longest_tokens))


def _some_items(prepared: Prepared) -> Sequence[Item]:
    return prepared.loaded.task.splits["validation"][:MEASURED_ANSWERS]


def _of_a_call(
    tier: Tier, asked: Sequence[tuple[Message, ...]], answer: float, longest: float
) -> tuple[Usage, Usage]:
    """Expected, and at worst: the reply fills the cap, and a token of the prompt is a byte."""
    request = judge_request(tier, asked[0])
    sizes = [sum(len(m.content.encode()) for m in messages) for messages in asked]

    def usage(prompt: float, completion: float) -> Usage:
        usd = tier.price.prompt_usd(prompt)
        usd += tier.price.completion_usd(completion, prompt_tokens=prompt)
        return Usage(1, 0, prompt, completion, usd=usd)

    most = most_tokens(request.params, tier.name, bounded=False)
    usual = usage(sum(sizes) / len(sizes) / BYTES_A_TOKEN + answer, cap_of(request) * PART_OF_CAP)
    return usual, usage(max(sizes) + longest * BYTES_A_TOKEN, most)
