"""benchmarks/recordings.py on recorded answers of real models, where there are any beside."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from tierwise.report.html import write_report

ROOT = Path(__file__).parents[1]
RECORDINGS = ROOT.parent / "shared" / "recordings"
SETS = ("gsm8k", "aqua", "date", "sports", "svamp")
LOG = logging.getLogger(__name__)
"""What the script prints: ``--log-cli-level=INFO``."""

pytestmark = [
    pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings of real models here"),
    pytest.mark.timeout(1800),
]


def script(out: Path, *names: str) -> str:
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "benchmarks" / "recordings.py",
            RECORDINGS,
            "--only",
            *names,
            "--out",
            out,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    LOG.info("%s", done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every check holds" in done.stdout
    return done.stdout


def test_with_a_verifier_many_samples_of_the_worse_prompt_win_and_without_it_they_do_not(
    tmp_path: Path,
) -> None:
    script(tmp_path, "game24")
    told = {}
    for how in ("with", "without"):
        run = tmp_path / "game24" / how / "run"
        tier = json.loads((run / "summary.json").read_text())["tiers"]["gpt-4"]
        front = [row["policy"].partition("/")[0] for row in tier["front"]]
        told[how] = (tier["gate"], front[0], front[-1], write_report(run).read_text())
    assert told["with"][:3] == ("passed", "io", "cot")
    assert told["without"][:3] == ("not passed", "io", "io")
    assert "Keep the baseline prompt" in told["without"][3].replace("&#x27;", "'").replace(
        "&#39;", "'"
    )
    assert "one sample of io/direct" in told["without"][3]


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_every_tiers_prompt_holds_on_all_items(name: str, tmp_path: Path) -> None:
    script(tmp_path, name)
