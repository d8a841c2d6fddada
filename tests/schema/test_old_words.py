"""A word of the first files is an error that says what it is called now."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.schema.folders import PROMPTS, TASK, faults, make_task
from tests.schema.policies import example
from tierwise.errors import InputError
from tierwise.runs import load_space, load_task
from tierwise.schema import PolicyFile, load_job

SPACE = """temperature: [0.8]
modes: [direct]
variants: [1, 2]
strategies:
  self_consistency: {samples: 3}
difficulty: {probe_samples: 2}
prompts: {paraphrases: 1}
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("arms", "variants"),
        ("draws", "samples"),
        ("probe_draws", "probe_samples"),
        ("wordings", "paraphrases"),
    ],
)
def test_in_a_space(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(SPACE.replace(f"{new}:", f"{old}:", 1))
    (fault,) = faults(load_space, path)
    assert fault.startswith("s.yaml:")
    assert fault.endswith(f"{old!r}: it is called {new!r} now")


@pytest.mark.parametrize("key", ["constraints: {max_pss: 0.3}", "prompts: {robust: true}"])
def test_what_is_gone_from_a_space_is_told_apart_from_a_slip(tmp_path: Path, key: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(SPACE.replace("prompts: {paraphrases: 1}", key))
    (fault,) = faults(load_space, path)
    assert "did you mean" not in fault
    assert "paraphrases" in fault or "prompt sensitivity" in fault


@pytest.mark.parametrize(
    ("old", "new"),
    [("arms: [{", "variants"), ("draws: 2", "samples"), ("max_draws: 20", "max_samples")],
)
def test_in_a_policy(old: str, new: str) -> None:
    word, _, rest = old.partition(":")
    text = example().dumps().replace(f"{new}:{rest}", old, 1)
    with pytest.raises(InputError) as caught:
        PolicyFile.loads(text, "p.yaml")
    assert caught.value.message.endswith(f"unknown key '{word}': it is called '{new}' now")
    assert "\n" not in caught.value.message


def test_in_a_job_and_in_prompts(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    price = "{prompt_usd_per_mtok: 1, completion_usd_per_mtok: 1, nominal: true}"
    job.write_text(f"tiers: {{a: {{model: embedded/small, price: {price}}}}}\n")
    assert faults(load_job, job) == [
        "job.yaml:1: tiers.a.price: unknown key 'nominal': it is called 'simulated' now"
    ]
    prompts = PROMPTS.replace("paraphrases:", "wordings:")
    (fault,) = faults(load_task, make_task(tmp_path / "t", task=TASK, prompts=prompts))
    assert fault.endswith("unknown key 'wordings': it is called 'paraphrases' now")
