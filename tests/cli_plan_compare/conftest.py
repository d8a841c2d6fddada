"""One finished run for all tests of reporting."""

from __future__ import annotations

import pytest

from tests.report.runs import make_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """(run directory, accuracies)."""
    return make_run(tmp_path_factory.mktemp("made"))
