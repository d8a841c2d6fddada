"""The blocks of docs/local_models.md are jobs that resolve, without a key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tierwise.llm.models import tier_of_spec
from tierwise.schema import load_job

PAGE = (Path(__file__).parents[2] / "docs" / "local_models.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_each_block_is_a_job(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HOSTED_VLLM_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "job.yaml"
    path.write_text(block if "task:" in block else f"task: arithmetic\n{block}")
    job = load_job(path)
    tiers = [tier_of_spec(name, spec) for name, spec in job.tiers.items()]
    assert all(tier.api_base.startswith("http://localhost:") for tier in tiers)


def test_each_server_has_a_block() -> None:
    assert len(BLOCKS) == 5
    assert re.findall(r"^## (.*)", PAGE, re.M) == ["llama.cpp", "Ollama", "vLLM", "LM Studio"]
