"""One finished run for all tests of comparisons and of the page."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.report.runs import make_run


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> tuple[Path, dict[tuple[str, str], float]]:
    return make_run(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="session")
def finished(made) -> Path:
    """The run's directory."""
    return made[0]


@pytest.fixture(scope="session")
def accuracies(made) -> dict[tuple[str, str], float]:
    """(tier, prompt) -> the share of right samples over all that is recorded."""
    return made[1]


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))
