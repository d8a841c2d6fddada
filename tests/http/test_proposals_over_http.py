"""A tune whose prompts are written by a proposer over real litellm and real HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.http.test_tune_over_http import SMALL, job, speak, write_task
from tests.loopback import Fault, Loopback, Said
from tierwise.runs.tune import replay, tune
from tierwise.schema import Budget, Price, ProposalSpec, TierSpec

PROPOSER = TierSpec("openai/proposer", Price(2.0, 8.0), {"direct": {"max_tokens": 200}})
HELPS = "Add step by step, then write A: and the sum."


def with_proposer(
    messages: Sequence[Mapping[str, str]], seed: int, body: Mapping[str, Any]
) -> Said:
    """It has nothing to say at first, and learns from the failures."""
    if body["model"] != "proposer":
        return speak(messages, seed, body)
    if "I provided an assistant" in messages[-1]["content"]:
        return Said(f"Here it is:\n```\n{HELPS}\n```")
    return Said("[[ ## proposed_instruction ## ]]\n%%% 000\n\n[[ ## completed ## ]]")


def test_instructions_are_written_over_http_within_the_budget(
    loopback: Loopback, tmp_path: Path
) -> None:
    folder = write_task(tmp_path / "sums")
    (folder / "prompts.yaml").write_text('- {id: plain, system: "Add.", user: "{{ question }}"}\n')
    text = (folder / "task.yaml").read_text()
    (folder / "task.yaml").write_text(
        text.replace("0.05, validation: 0.6", "0.15, validation: 0.5")
    )
    loopback.speak = with_proposer
    loopback.fault = lambda n: Fault("status", 400) if n == 0 else None
    wanted = job(
        folder, budget=Budget(usd=1.0), proposals=ProposalSpec(PROPOSER, 2, instructions=2)
    )
    result = tune(wanted, tmp_path / "run", search_size=SMALL)

    tier, proposals = result.summary.tiers["small"], result.summary.proposals
    first, second = tier.rounds
    assert "the proposer failed" in first.refused[0].reason
    assert "garbage" in first.refused[1].reason
    assert [t.refused for t in second.tried] == [""]
    assert second.gain.score_difference > 0
    exported = result.policies["small"].prompts.values()
    assert any(HELPS in m.content for prompt in exported for m in prompt.messages)

    assert tier.spending.calls + proposals.calls == loopback.calls
    billed = loopback.prompt_tokens + loopback.completion_tokens
    assert tier.spending.tokens + proposals.tokens == billed
    assert 0 < proposals.usd <= 0.1
    assert proposals.usd + tier.spending.usd <= 1.0

    calls, summary = loopback.calls, (tmp_path / "run" / "summary.json").read_bytes()
    replay(tmp_path / "run", search_size=SMALL)
    assert (tmp_path / "run" / "summary.json").read_bytes() == summary
    assert loopback.calls == calls
