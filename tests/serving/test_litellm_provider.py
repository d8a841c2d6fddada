"""The custom provider inside LiteLLM, without a proxy around it and with a router behind it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loopback import Loopback, Said
from tests.serving.worlds import voting
from tierwise.errors import InputError
from tierwise.llm.litellm import litellm_library
from tierwise.serving import PolicyRuntime

pytestmark = [
    pytest.mark.timeout(120),
    # LiteLLM's own schemas of stream chunks warn once, when pydantic builds them.
    pytest.mark.filterwarnings("ignore:Item .* using the `ReadOnly` qualifier:UserWarning"),
]
EXAMPLE = Path(__file__).parents[2] / "examples" / "serving" / "arithmetic-small.yaml"
QUESTION = "13 + 2 - 5 + 18 - 7"
USER = [{"role": "user", "content": QUESTION}]


@pytest.fixture(scope="module")
def litellm():
    return litellm_library()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(EXAMPLE, tmp_path / "small.yaml")
    return tmp_path


@pytest.fixture
def provider(litellm, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    from litellm.utils import custom_llm_setup

    from tierwise.serving.litellm_provider import PolicyProvider

    provider = PolicyProvider.beside(str(folder / "handler.py"), "small.yaml")
    entry = {"provider": "policy", "custom_handler": provider}
    monkeypatch.setattr(litellm, "custom_provider_map", [entry])
    custom_llm_setup()
    return provider


async def test_the_answer_is_the_librarys_with_its_usage_and_cost(litellm, provider) -> None:
    with PolicyRuntime.load(EXAMPLE) as runtime:
        for seed in range(4):
            own = await runtime.answer(question=QUESTION, seed=seed)
            got = await litellm.acompletion("policy/arithmetic-small", messages=USER, seed=seed)
            assert got.choices[0].message.content == own.text
            assert got.usage.prompt_tokens == own.prompt_tokens
            assert got.usage.completion_tokens == own.completion_tokens
            assert got._hidden_params["response_cost"] == own.usd
            assert got.tierwise["bucket"] == own.bucket


async def test_a_stream_ends_with_usage_and_what_the_policy_did(litellm, provider) -> None:
    stream = await litellm.acompletion(
        "policy/arithmetic-small",
        messages=USER,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    whole = await litellm.acompletion("policy/arithmetic-small", messages=USER)
    assert text == whole.choices[0].message.content
    assert [u.total_tokens for c in chunks if (u := getattr(c, "usage", None))] == [
        whole.usage.total_tokens
    ]
    told = [c.choices[0].delta.provider_specific_fields for c in chunks if c.choices]
    assert any(t and t["tierwise"]["usd"] == whole.tierwise["usd"] for t in told)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"n": 2}, "'n' is not taken"),
        ({"messages": [{"role": "system", "content": "x"}, *USER]}, "system"),
        ({"messages": [{"role": "user", "content": "zebra"}]}, "zebra"),
        ({"policy_file": "/etc/hostname"}, "unknown parameter 'policy_file'"),
    ],
)
async def test_what_cannot_be_honoured_is_a_bad_request(litellm, provider, more, says) -> None:
    with pytest.raises(litellm.BadRequestError, match=says):
        await litellm.acompletion(**{"model": "policy/arithmetic-small", "messages": USER, **more})


async def test_a_changed_file_is_read_again_and_a_bad_one_is_not(
    litellm, provider, folder: Path
) -> None:
    async def version() -> str:
        got = await litellm.acompletion("policy/arithmetic-small", messages=USER)
        return got.tierwise["version"]

    first, path = await version(), folder / "small.yaml"
    text = path.read_text()
    path.write_text(text.replace("threshold: 0.9", "threshold: 0.8"))
    second = await version()
    assert second != first
    path.write_text("schema: nothing")
    assert await version() == second
    path.unlink()
    assert await version() == second


def test_two_policies_of_one_name_are_refused(litellm, folder: Path) -> None:
    from tierwise.serving.litellm_provider import PolicyProvider

    shutil.copy(EXAMPLE, folder / "other.yaml")
    with pytest.raises(InputError, match=r"other\.yaml"):
        PolicyProvider([folder / "small.yaml", folder / "other.yaml"])


async def test_calls_go_through_the_proxys_deployments(
    litellm, loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tierwise.serving import litellm_provider

    loopback.speak = lambda messages, seed, body: Said(f"A: {seed % 3}")
    file = voting()
    params = {"model": "openai/behind", "api_base": loopback.url, "api_key": loopback.key}
    router = litellm.Router([{"model_name": "team-tiny", "litellm_params": params}], num_retries=0)
    monkeypatch.setattr(litellm_provider, "_in_proxy", lambda: True)
    monkeypatch.setattr(litellm_provider, "_router", lambda: router)
    provider = litellm_provider.PolicyProvider(
        [file.save(tmp_path / "p.yaml")], deployments={"small": "team-tiny"}
    )
    runtime = provider.registry.find("p").runtime
    answer = await runtime.answer(question="q")
    [body] = loopback.bodies
    assert (body["model"], body["n"], body["max_tokens"]) == ("behind", 3, 9)
    assert answer.answer in {"0", "1", "2"}
    assert answer.usd == pytest.approx(1e-6 * loopback.prompt_tokens + 2e-6 * 6)
    loopback.key = "another"
    assert (await runtime.answer(question="q")).error.startswith("auth")
