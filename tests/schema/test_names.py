"""A name from a file may name a file: letters, digits, '.', '_' and '-', and none is a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.schema.folders import PROMPTS, TASK, faults, make_task
from tests.schema.policies import example
from tierwise.errors import InputError
from tierwise.runs import load_space, load_task
from tierwise.schema import Job, PolicyFile, TierSpec, load_job

JOB = "tiers:\n  small: {model: openai/x, modes: {direct: {max_tokens: 9}}}\n"
SPACE = "temperature: [0.8]\nmodes: [direct]\nstrategies: {single: {}}\n"
BAD = ["a/b", ".hidden", "..", "a b", "-x", "x" * 300, "a\\b", "a:b"]


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_is_none_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    quoted = f"'{name}'"
    job, space = tmp_path / "job.yaml", tmp_path / "s.yaml"
    job.write_text(JOB.replace("small", quoted))
    assert faults(load_job, job)[0].startswith(f"job.yaml:2: tiers: {name[:40]!r} is no name: ")
    job.write_text(JOB.replace("direct", quoted))
    assert faults(load_job, job)[0].startswith("job.yaml:2: tiers.small.modes: ")
    space.write_text(SPACE.replace("direct", quoted))
    assert faults(load_space, space)[0].startswith("s.yaml:2: modes[0]: ")
    task = make_task(tmp_path / "t", task=TASK.replace("name: sums", f"name: {quoted}"))
    assert faults(load_task, task)[0].startswith("task.yaml:1: name: ")
    prompts = make_task(tmp_path / "p", prompts=PROMPTS.replace("id: plain", f"id: {quoted}"))
    assert faults(load_task, prompts)[0].startswith("prompts.yaml:1: prompts[0].id: ")
    text = example().dumps()
    for old in ("name: arithmetic-small", "tier: small"):
        with pytest.raises(InputError, match="is no name: letters, digits"):
            PolicyFile.loads(text.replace(old, f"{old.split(':')[0]}: {quoted}"))


def test_a_tier_made_in_python_is_checked_alike() -> None:
    with pytest.raises(InputError, match="tier 'a/b' is no name"):
        Job(tiers={"a/b": TierSpec("embedded/small")})


def test_names_put_together_are_names() -> None:
    text = example().dumps().replace("worked", "worked~1+i-0a1b2c+4")
    assert "worked~1+i-0a1b2c+4" in PolicyFile.loads(text).prompts
