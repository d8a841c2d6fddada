"""Votes field by field, live and over HTTP, give exactly what the offline evaluation said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.serving.test_parity import random_policy, said_of, seen_of
from tests.serving.worlds import SEED, VARIANTS, Recorded, policy_file
from tierwise.evaluation import ABSTAINED, ElectedScores, SampleTable, replay_columns
from tierwise.schema import Policy, Recipe, StrategySpec
from tierwise.schema.policy_file import PolicyFile
from tierwise.serving import PolicyRuntime
from tierwise.strategies import Stage
from tierwise.tasks import AnswerSpec
from tierwise.tasks.code_tests import ALLOWED

ORDER = AnswerSpec(
    normalise="json",
    schema={
        "type": "object",
        "properties": {
            "item": {"enum": ["tea", "milk"]},
            "amount": {"type": "integer", "minimum": 1},
            "to": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
            "note": {"type": "string"},
        },
        "required": ["item", "amount", "to"],
        "additionalProperties": False,
    },
)


def said(rng: np.random.Generator) -> str:
    """An order as a model writes it down: in a fence or bare, sometimes malformed."""
    order = {
        "amount": int(rng.integers(0, 4)),  # 0 is no amount: the order is malformed
        "item": str(rng.choice(["tea", "milk"])),
        "to": {"city": str(rng.choice(["Oslo", "Rome"]))},
    }
    if rng.random() < 0.5:
        order["note"] = str(rng.choice(["soon", "soon ", "later"]))
    text = json.dumps(order, indent=int(rng.integers(0, 3)) or None)
    return [text, f"Here: ```json\n{text}\n```", text[:-2]][int(rng.choice(3, p=[0.5, 0.4, 0.1]))]


def code(rng: np.random.Generator) -> str:
    """A function of a number, written in two ways; a third crashes, a fourth is none."""
    bodies = "n + n", "2 * n", "n * n", "sorted({n, 2})", "n / 0", "print(n) or -n"
    text = f"def f(n):\n    return {rng.choice(bodies)}"
    return [text, f"Here:\n```python\n{text}\n```", "I cannot."][
        int(rng.choice(3, p=[0.5, 0.4, 0.1]))
    ]


class Orders(Recorded):
    """The recorded samples with an order for each answer of the task."""

    spec, says = ORDER, staticmethod(said)

    @classmethod
    def of(cls, seed: int) -> Orders:
        plain, rng = Recorded.random(seed), np.random.default_rng([seed, 2])
        samples = {
            variant: [[replace(c, text=cls.says(rng)) for c in row] for row in rows]
            if variant in VARIANTS
            else rows
            for variant, rows in plain.samples.items()
        }
        return cls(plain.questions, samples)

    def table(self) -> SampleTable:
        table = super().table()
        objects = tuple(ElectedScores(_share_of_oslo) for _ in self.questions)
        specs = [self.spec.of({"question": question}) for question in self.questions]
        codes: list[dict[str, int]] = [{} for _ in self.questions]
        variants = {}
        for variant, rows in table.variants.items():
            answers = np.full(rows.answers.shape, ABSTAINED, dtype=np.int16)
            fields = np.full((*answers.shape, len(self.spec.ballots)), ABSTAINED, dtype=np.int16)
            for i, d in np.ndindex(answers.shape):
                answer = specs[i].extract(self.samples[variant][i][d].text)
                if answer is not None:
                    answers[i, d] = codes[i].setdefault(answer, len(codes[i]))
                    fields[i, d] = objects[i].encode(specs[i].values(answer))
            variants[variant] = replace(rows, answers=answers, fields=fields)
        return replace(table, variants=variants, objects=objects)


class Programs(Orders):
    """The same with code, told apart by what it does on the number in the question."""

    spec = AnswerSpec(normalise="code", calls=("f({{ question }})", "f(0)"))
    says = staticmethod(code)

    @classmethod
    def of(cls, seed: int) -> Programs:
        made = super().of(seed)
        return cls(tuple(str(2 + i) for i in range(len(made.questions))), made.samples)


def _share_of_oslo(values: Sequence[str]) -> list[float]:
    return [float("Oslo" in "".join(values))]


def expected(policy: Policy, table: SampleTable, orders: Orders, item: int) -> dict:
    """What was said offline, with the answers for their codes."""
    went = replay_columns(policy, table, item)
    out, columns = went.outcome, went.columns
    spec = orders.spec.of({"question": orders.questions[item]})
    told = said_of(out, order_file(policy))
    texts = [orders.samples[v][item][c].text for v, c in zip(out.variants, columns, strict=True)]
    answers = [
        spec.extract(text) if variant in VARIANTS and sampled.sample.answer is not None else None
        for variant, sampled, text in zip(out.variants, out.samples, texts, strict=True)
    ]
    told["samples"] = [
        (label, answer, s) for (label, _, s), answer in zip(told["samples"], answers, strict=True)
    ]
    if out.fields:
        values = [spec.values(answers[i])[f] for f, i in enumerate(out.fields)]
        told["answer"] = spec.elected(values)
    elif out.index is not None:
        told["answer"] = answers[out.index]
    return told


def order_file(policy: Policy, name: str = "p", spec: AnswerSpec = ORDER) -> PolicyFile:
    return replace(policy_file(policy, name), answer=spec)


@pytest.mark.parametrize("number", range(0, 320, 3))
@pytest.mark.parametrize("world", [Orders, Programs])
async def test_same_answer_same_samples_same_rounds_same_cost(
    number: int, world: type[Orders], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ALLOWED, "1")
    policy, orders = random_policy(number), world.of(number % 3)
    table = orders.table()
    runtime = PolicyRuntime(order_file(policy, spec=world.spec), orders.models(), seed=SEED)
    for item, question in enumerate(orders.questions):
        got = await runtime.answer(question=question)
        assert seen_of(got) == expected(policy, table, orders, item)


@pytest.mark.parametrize("number", range(20))
async def test_a_cascade_goes_on_until_every_field_is_sure(number: int) -> None:
    orders = Orders.of(number % 3)
    stages = (Stage((0,), 2, 1.0), Stage((0, 1), 3, [0.5, 0.9][number % 2]), Stage((1,), 2))
    spec = StrategySpec.of("cascade", stages=stages, weights=(0.6, 1.4))
    policy = Policy((Recipe(VARIANTS[:2], spec),))
    runtime = PolicyRuntime(order_file(policy), orders.models(), seed=SEED)
    for item, question in enumerate(orders.questions):
        got = await runtime.answer(question=question)
        assert seen_of(got) == expected(policy, orders.table(), orders, item)


def test_votes_put_objects_together_that_no_sample_is_and_the_gateway_gives_them_back(
    tmp_path: Path,
) -> None:
    from tests.serving.gateways import local_gateway, openai_client

    votes = Policy((Recipe(VARIANTS[:1], StrategySpec.of("self_consistency", samples=5)),))
    path = order_file(votes, "orders").save(tmp_path / "orders.yaml")
    assert PolicyFile.load(path) == order_file(votes, "orders")
    elected = 0
    for seed in range(6):
        orders = Orders.of(seed)
        table = orders.table()

        def opened(file: PolicyFile, orders: Orders = orders) -> PolicyRuntime:
            return PolicyRuntime(file, orders.models(), seed=SEED)

        with openai_client(local_gateway([path], opened)) as client:
            for item, question in enumerate(orders.questions):
                told = expected(votes, table, orders, item)
                message = {"role": "user", "content": question}
                reply = client.chat.completions.create(model="orders", messages=[message])
                assert reply.model_extra["tierwise"]["answer"] == told["answer"]
                if replay_columns(votes, table, item).outcome.fields:
                    elected += 1
                    # The text is the object itself: no sample's text says it.
                    assert reply.choices[0].message.content == told["answer"]
                    assert json.loads(told["answer"])["to"]["city"] in ("Oslo", "Rome")
    assert elected >= 3
