"""Bad input around real models: one clear message, the exit code of its kind, nothing bought."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Cli, Got
from tests.conftest import KEY
from tests.http.test_tune_over_http import write_task
from tests.loopback import Fault, Loopback

pytestmark = pytest.mark.timeout(120)

Change = Callable[[dict[str, Any]], object]


def refused(got: Got, says: str, code: int) -> None:
    errors = [line for line in got.err.splitlines() if line.startswith("error: ")]
    assert got.code == code, got
    assert len(errors) == 1, got.err
    assert re.search(says, errors[0]), errors[0]
    assert "Traceback" not in got.err
    assert KEY not in got.err + got.out
    assert got.out == ""


def job(folder: Path, **tier: Any) -> Path:
    """A job on the loopback server, with ``tier`` in place of its own settings."""
    if not (folder / "sums").exists():
        write_task(folder / "sums")
    spec = {
        "model": "openai/adder",
        "modes": {"direct": {"max_tokens": 30}},
        "price": {"prompt_usd_per_mtok": 1.0, "completion_usd_per_mtok": 2.0},
        **tier,
    }
    told = {
        "task": "sums/task.yaml",
        "space": "sums/space.yaml",
        "trials": 20,
        "tiers": {"small": {k: v for k, v in spec.items() if v is not None}},
    }
    (folder / "job.yaml").write_text(json.dumps(told))
    return folder / "job.yaml"


def tune(cli: Cli, job: Path, *options: object) -> Got:
    return cli("tune", job, "--yes", "--quiet", "--out", job.parent / "run", *options)


def test_no_key(
    cli: Cli, loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    refused(tune(cli, job(tmp_path)), "no key for openai/adder: set OPENAI_API_KEY", 4)
    assert loopback.calls == 0


def test_a_wrong_key(
    cli: Cli, loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-0123456789")
    got = tune(cli, job(tmp_path))
    refused(got, r"openai/adder: auth: .*Incorrect API key", 4)
    assert "sk-wrong" not in got.err, "the server repeats it, and tierwise does not"
    assert "the same command goes on where this stopped" in got.err
    assert loopback.answered == 0


def test_a_model_that_the_provider_does_not_know(
    cli: Cli, loopback: Loopback, tmp_path: Path
) -> None:
    loopback.fault = lambda number: Fault(
        "status",
        404,
        error={"message": "The model 'adder' does not exist", "code": "model_not_found"},
    )
    refused(tune(cli, job(tmp_path)), r"openai/adder: not_found: .*'adder' does not exist", 4)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("gpt-4o-minni", "unknown model 'gpt-4o-minni'; did you mean 'gpt-4o-mini'"),
        ("opnai/gpt-4o-mini", "unknown provider 'opnai'; did you mean 'openai'"),
    ],
)
def test_a_model_that_nobody_knows(
    model: str, says: str, cli: Cli, loopback: Loopback, tmp_path: Path
) -> None:
    refused(tune(cli, job(tmp_path, model=model)), says, 2)
    assert loopback.calls == 0


def test_a_model_without_a_price(cli: Cli, loopback: Loopback, tmp_path: Path) -> None:
    asked = job(tmp_path, price=None)
    got = tune(cli, asked)
    assert got.code == 2
    assert "error: no price is known for 'openai/adder', and nothing is bought without" in got.err
    assert "price: {prompt_usd_per_mtok: …, completion_usd_per_mtok: …}" in got.err
    assert loopback.calls == 0
    assert not (tmp_path / "run").exists()


def test_a_host_that_cannot_be_reached(
    cli: Cli, loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")  # discard: nobody listens
    asked = job(tmp_path, limits={"concurrency": 1})
    refused(
        tune(cli, asked),
        r"openai/adder: connection: .*nobody answers at http://127\.0\.0\.1:9/v1",
        4,
    )
    assert loopback.calls == 0


def recording(folder: Path, name: str, target: str = "4", samples: bool = True) -> Path:
    rows: list[dict[str, Any]] = [
        {"id": f"i{k}", "inputs": {"question": f"{k} plus {k}"}, "target": str(2 * k)}
        for k in range(60)
    ]
    rows[2]["target"] = target
    if samples:
        rows += [
            {
                "item_id": f"i{k}",
                "model": name,
                "prompt_id": prompt,
                "mode": "direct",
                "temperature": 0,
                "sample": 0,
                "text": f"A: {2 * k}",
                "prompt_tokens": 4,
                "completion_tokens": 2,
            }
            for k in range(60)
            for prompt in ("plain", "careful")
        ]
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def recorded(folder: Path, *paths: Path) -> Path:
    """A job of recorded tiers."""
    asked = job(folder)
    told = json.loads(asked.read_text())
    price = told["tiers"]["small"]["price"]
    told["tiers"] = {
        path.stem: {"model": f"recorded/{path.stem}", "recordings": str(path), "price": price}
        for path in paths
    }
    (folder / "sums" / "items.jsonl").write_text(
        "".join(line + "\n" for line in paths[0].read_text().splitlines() if '"id"' in line)
    )
    asked.write_text(json.dumps(told))
    return asked


def test_a_recording_without_samples(cli: Cli, tmp_path: Path) -> None:
    asked = recorded(tmp_path, recording(tmp_path, "old", samples=False))
    refused(tune(cli, asked), r"old\.jsonl: the recording holds no samples", 2)


def test_two_recordings_that_disagree_on_an_item(cli: Cli, tmp_path: Path) -> None:
    paths = recording(tmp_path, "old"), recording(tmp_path, "new", target="5")
    refused(tune(cli, recorded(tmp_path, *paths)), "the recordings disagree on item 'i2'", 2)


def with_csv(folder: Path, content: bytes) -> Path:
    """The task's items as a CSV."""
    asked = job(folder)
    (folder / "sums" / "items.csv").write_bytes(content)
    path = folder / "sums" / "task.yaml"
    path.write_text(
        path.read_text().replace("items.jsonl", "items.csv")
        + "fields: {inputs: {question: bill}, target: total}\n"
    )
    return asked


ROWS = "".join(f"{a} plus {b},{a + b}\n" for a in range(1, 61, 2) for b in range(2, 60, 9))


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("bil,total", r"items\.csv.*'bill'.*'bil'|items\.csv.*bil"),
        ("bill,totals", r"items\.csv.*total"),
    ],
)
def test_a_csv_without_a_column(
    header: str, says: str, cli: Cli, loopback: Loopback, tmp_path: Path
) -> None:
    refused(tune(cli, with_csv(tmp_path, f"{header}\n{ROWS}".encode())), says, 2)
    assert loopback.calls == 0


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_csv_is_read_in_any_of_the_encodings_that_spreadsheets_write(
    encoding: str, cli: Cli, tmp_path: Path
) -> None:
    asked = with_csv(tmp_path, f"bill,total\n{ROWS}".encode(encoding))
    got = cli("check", asked.parent / "sums" / "task.yaml")
    assert (got.code, got.err) == (0, "")


def test_a_task_larger_than_the_budget(cli: Cli, loopback: Loopback, tmp_path: Path) -> None:
    asked = job(tmp_path)
    for options in (("--budget-usd", "0.0001"), ("--max-calls", "40")):
        got = tune(cli, asked, *options)
        refused(got, r"the budget is too small for tier 'small'.*needs about", 3)
    assert loopback.calls == 0
