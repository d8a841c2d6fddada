"""One finished run for all tests of the report."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.report.runs import make_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("reported"))[0]


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(finished, tmp_path / "run"))
