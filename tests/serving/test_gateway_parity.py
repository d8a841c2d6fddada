"""The gateway on a socket gives what the offline evaluation said, plain and streamed."""

from __future__ import annotations

from pathlib import Path

from openai import APIError, OpenAI

from tests.serving.gateways import local_gateway, openai_client
from tests.serving.worlds import ANSWER, SEED, Recorded, policy_file, random_policy
from tierwise.evaluation import replay_item
from tierwise.schema.policy_file import PolicyFile
from tierwise.serving import PolicyRuntime

NUMBERS = range(0, 280, 9)


def test_same_answer_samples_and_cost_over_http(tmp_path: Path) -> None:
    recorded = Recorded.random(3, n_items=2)
    table = recorded.table()
    policies = {f"p{n}": random_policy(n) for n in NUMBERS}
    policies = {n: p for n, p in policies.items() if any(a.tier is None for a in p.variants)}
    paths = [
        policy_file(policy, name).save(tmp_path / f"{name}.yaml")
        for name, policy in policies.items()
    ]

    def opened(file: PolicyFile) -> PolicyRuntime:
        return PolicyRuntime(file, recorded.models(), seed=SEED)

    ends = set()
    with openai_client(local_gateway(paths, opened)) as client:
        for name, policy in policies.items():
            names = [bucket.name for bucket in policy_file(policy).policy.buckets]
            for item, question in enumerate(recorded.questions):
                said = replay_item(policy, table, item)
                chosen = None if said.index is None else said.samples[said.index].sample
                expected = {
                    "answer": chosen and chosen.answer,
                    "bucket": names[said.bucket],
                    "samples": len(said.samples),
                    "rounds": len(said.rounds),
                    "usd": said.usd,
                    "ended": said.ended,
                }
                for ask in (plain, streamed):
                    told = ask(client, name, question)
                    assert {key: told[key] for key in expected} == expected, (name, item)
                ends.add(said.ended)
    assert {"answered", "failed"} < ends


def test_one_question_and_seed_get_one_answer_of_library_and_gateway() -> None:
    example = Path(__file__).parents[2] / "examples" / "serving" / "arithmetic-small.yaml"
    with openai_client(local_gateway([example])) as client, PolicyRuntime.load(example) as runtime:
        for seed, question in enumerate(["6 + 3", "13 + 2 - 5 + 18 - 7", "8 - 5 + 4"]):
            own = runtime.answer_sync(question=question, seed=seed)
            asked = {
                "model": "tier/small",
                "seed": seed,
                "messages": [{"role": "user", "content": question}],
            }
            whole = client.chat.completions.create(**asked)
            assert whole.choices[0].message.content == own.text
            assert whole.usage.prompt_tokens == own.prompt_tokens
            assert whole.usage.completion_tokens == own.completion_tokens
            parts = client.chat.completions.create(**asked, stream=True)
            text = "".join(c.delta.content or "" for part in parts for c in part.choices)
            assert text == own.text


def plain(client: OpenAI, model: str, question: str) -> dict:
    try:
        reply = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": question}]
        )
    except APIError as error:
        return error.response.json()["tierwise"]
    told = reply.model_extra["tierwise"]
    assert said_in(reply.choices[0].message.content) == told["answer"]
    return told


def streamed(client: OpenAI, model: str, question: str) -> dict:
    text, told = "", None
    messages = [{"role": "user", "content": question}]
    try:
        for chunk in client.chat.completions.create(model=model, messages=messages, stream=True):
            told = (chunk.model_extra or {}).get("tierwise", told)
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
    except APIError:  # as an event: the client keeps only its message
        return plain(client, model, question)
    assert said_in(text) == told["answer"]
    return told


def said_in(text: str) -> str | None:
    return ANSWER.extract(text)
