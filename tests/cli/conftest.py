"""The command line, and a job whose models are scripted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.running import Cli, install_small
from tests.search.scripted_job import make_job
from tierwise.llm.scripted import ScriptedModel


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    return make_job(tmp_path / "job")


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[ScriptedModel]:
    """Whatever a run opens from here on."""
    return install_small(monkeypatch)
