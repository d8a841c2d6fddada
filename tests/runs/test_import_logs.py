"""Logs of inspect_ai, lm-eval, promptfoo and LiteLLM become a recording that is tuned on for
nothing."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Cli
from tierwise.errors import InputError
from tierwise.llm.recorded import Recording
from tierwise.runs.imports.logs import LogOptions, import_logs
from tierwise.runs.inputs import load_task
from tierwise.schema import load_job

LOGS = Path(__file__).with_name("logs")
STAMP = "2026-11-30T20-00-11.057133"


def rows(folder: Path) -> list[dict[str, Any]]:
    text = gzip.decompress((folder / "recording.jsonl.gz").read_bytes()).decode()
    return [json.loads(line) for line in text.splitlines()]


def test_an_inspect_log_is_tuned_without_a_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Cli(capsys)
    logs = [str(LOGS / f"inspect_{name}.eval") for name in ("plain", "terse")]
    made = tmp_path / "sums"
    result = run("pool", "import", "--from", "inspect", *logs, "--out", str(made))
    assert result.code == 0, result.err
    assert "smollm2-135m-instruct terse/default/0.7: 30" in result.out
    recorded = Recording.load(made / "recording.jsonl.gz", "smollm2-135m-instruct")
    # q4 and q9 ask the same sum, so six epochs of it are six samples of one item.
    assert {coverage.max_samples for coverage in recorded.variants.values()} == {6}
    assert all(row["prompt_tokens"] > 20 and row["completion_tokens"] for row in rows(made))
    tuned = run("tune", str(made / "job.yaml"), "--yes", "--quiet", "--out", str(tmp_path / "run"))
    assert tuned.code == 0, tuned.err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert {tier["spending"]["calls"] for tier in summary["tiers"].values()} == {0}
    assert (tmp_path / "run" / "report.html").is_file()


def test_equal_repeats_of_a_fixed_seed_are_one_sample(tmp_path: Path) -> None:
    logs = [LOGS / f"samples_sums_{name}_{STAMP}.jsonl" for name in ("plain", "terse")]
    made = import_logs("lm-eval", logs, tmp_path / "sums")
    assert sum("equal to the letter" in note for note in made.notes) == 2
    assert set(made.samples.values()) == {8}
    task = load_task(tmp_path / "sums", prompts_needed=False).task
    assert task.metric == "exact_match"
    assert task.answer is not None
    assert task.answer.extract("7 plus 5 is 22.") == "22"  # by the pattern of lm-eval's own filter
    assert load_job(made.job).tiers["smollm2-135m-instruct"].recordings


def test_a_promptfoo_repeat_is_a_sample_and_its_score_stands(tmp_path: Path) -> None:
    made = import_logs("promptfoo", [LOGS / "promptfoo.json"], tmp_path / "sums")
    written = rows(tmp_path / "sums")
    logged = json.loads((LOGS / "promptfoo.json").read_text())["results"]["results"]
    assert len(written) == len(logged) == sum(made.samples.values())
    assert sum(row["score"] for row in written) == sum(row["score"] for row in logged)
    assert {row["temperature"] for row in written} == {0.7}
    assert sum(row["prompt_tokens"] for row in written) == sum(
        row["response"]["tokenUsage"]["prompt"] for row in logged
    )


def test_calls_that_litellm_logged_are_found_by_an_items_inputs(tmp_path: Path) -> None:
    sums = dict(re.findall(r"(What is \d plus \d\?)()", (LOGS / "litellm.jsonl").read_text()))
    items = tmp_path / "items.csv"
    items.write_text("question,answer\n" + "".join(f"{sum_},5\n" for sum_ in sums))
    options = LogOptions(items=items, inputs=("question",), target="answer")
    made = import_logs("litellm", [LOGS / "litellm.jsonl"], tmp_path / "sums", options)
    assert made.items == len(sums)
    assert list(made.samples.values()) == [10, 10]
    assert any("Question: {{ question }}" in note for note in made.notes)
    with pytest.raises(InputError, match="no right answers: give your items by --items"):
        import_logs("litellm", [LOGS / "litellm.jsonl"], tmp_path / "none")


def test_what_a_cache_answered_is_left_out_and_said(tmp_path: Path) -> None:
    data = json.loads((LOGS / "promptfoo.json").read_text())
    for row in data["results"]["results"][:4]:
        row["response"]["cached"] = True
    log = tmp_path / "log.json"
    log.write_text(json.dumps(data))
    made = import_logs("promptfoo", [log], tmp_path / "sums")
    assert made.notes[0] == "4 answers came from a cache: left out as copies"


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        ("promptfoo", b"{", "not JSON"),
        ("promptfoo", b'[{"vars": {}}]', "provider.id: "),
        ("inspect", b"PK\x03\x04 not a zip", "no inspect log"),
        ("lm-eval", b'{"doc_id": 1}\n', "doc: "),
        ("lm-eval", b"\xff\xfe", "not UTF-8"),
        ("harness", b"{}", "known: inspect, litellm, lm-eval, promptfoo"),
        ("promptfoo", b"[]", "no completions"),
    ],
)
def test_a_log_that_is_none_is_refused_with_its_fault(
    tmp_path: Path, kind: str, content: bytes, said: str
) -> None:
    log = tmp_path / ("log.eval" if kind == "inspect" else "log.json")
    if kind == "lm-eval":
        log = tmp_path / "samples.jsonl"
    log.write_bytes(content)
    with pytest.raises(InputError, match=said):
        import_logs(kind, [log], tmp_path / "made")
    assert not (tmp_path / "made").exists()
