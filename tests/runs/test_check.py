"""``check`` tells what a file is by its keys, and finds what the other rooms know to be wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.schema.folders import PROMPTS, TASK, make_task, short
from tests.schema.policies import example
from tierwise.errors import InputError
from tierwise.runs import check, job_notes
from tierwise.runs.check import check_kind
from tierwise.runs.prepare import prepare
from tierwise.schema import StrategySpec, load_job, names_of, shipped

JOB = "task: ./sums\ntiers:\n  small: {model: embedded/small}\n"
SPACE = "temperature: [0.8]\nmodes: [direct]\nstrategies: {single: {}}\n"


def found(path) -> list[str]:
    return [short(fault) for fault in check(path)]


@pytest.fixture
def folder(tmp_path):
    make_task(tmp_path / "sums")
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "space.yaml").write_text(SPACE)
    example().save(tmp_path / "policy.yaml")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sums", "task"),
        ("sums/task.yaml", "task"),
        ("sums/prompts.yaml", "prompts"),
        ("job.yaml", "job"),
        ("space.yaml", "space"),
        ("policy.yaml", "policy"),
    ],
)
def test_the_kind_is_told_by_the_keys(folder, name, kind):
    assert check_kind(folder / name) == kind
    assert check(folder / name) == []


@pytest.mark.parametrize("name", ["job.yaml", "space.yaml", "policy.yaml", "sums/task.yaml"])
def test_a_misspelt_key_is_found_in_every_kind(folder, name):
    path = folder / name
    lines = path.read_text().split("\n")
    number = next(i for i, x in enumerate(lines) if x.startswith(("task:", "modes:", "metric:")))
    lines[number] = lines[number].replace(":", "x:", 1)
    path.write_text("\n".join(lines))
    key = lines[number].split(":")[0]
    assert found(path)[0].startswith(f"{path.name}:{number + 1}: unknown key {key!r}; did you mean")


def test_what_a_job_names_is_checked_too(folder):
    (folder / "job.yaml").write_text(
        "baseline: plane\ntask: ./sums\nspace: ./space.yaml\n"
        "tiers:\n  a:\n    model: openai/x\n    modes: {fast: {max_tokens: 9}}\n"
    )
    assert found(folder / "job.yaml") == [
        "job.yaml:1: unknown prompt 'plane'; did you mean 'plain' or 'plain~1'?",
        "job.yaml:7: tier 'a' has none of the space's modes (direct); it has fast",
    ]
    (folder / "job.yaml").write_text(JOB.replace("./sums", "summs") + "space: defalt\n")
    faults = found(folder / "job.yaml")
    assert faults[0].startswith("job.yaml:4: unknown search space 'defalt'; did you mean 'default'")
    assert faults[1].startswith("job.yaml:1: unknown task 'summs'")


def test_faults_inside_what_a_job_names_point_there(folder):
    make_task(folder / "sums", task=TASK.replace("exact_match", "exact"), prompts=PROMPTS)
    assert found(folder / "job.yaml")[0].startswith("task.yaml:6: unknown metric 'exact'")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "self_consistency",
            "self_consistancy",
            "unknown strategy 'self_consistancy'; did you mean",
        ),
        (
            "{kind: self_consistency, samples: 3}",
            "{kind: self_consistency, smples: 3}",
            "mean 'samples'",
        ),
        (
            "{kind: self_consistency, samples: 3}",
            "{kind: self_consistency, samples: 0}",
            "at least 1",
        ),
        (
            "{kind: self_consistency, samples: 3}",
            "{kind: best_of_n, samples: 3}",
            "log-probabilities",
        ),
        ("threshold: 0.9", "threshold: 9", "adaptive_consistency.threshold must be in"),
        ("signal: probe_agreement", "signal: probe_agrement", "did you mean 'probe_agreement'"),
        (
            "signal: probe_agreement",
            "signal: probe_confidence",
            "which tier 'small' does not offer",
        ),
    ],
)
def test_a_policy_is_built_on_checking(folder, old, new, says):
    path = folder / "policy.yaml"
    text = path.read_text().replace(old, new)
    path.write_text(text)
    (fault,) = found(path)
    assert says in fault
    line = next(i for i, x in enumerate(text.split("\n"), start=1) if new in x)
    assert fault.startswith(f"policy.yaml:{line}: ")


def test_a_signal_that_looks_at_samples_needs_a_probe(folder):
    text = (folder / "policy.yaml").read_text().split("\n")
    (folder / "policy.yaml").write_text("\n".join(x for x in text if "probe: {" not in x))
    assert found(folder / "policy.yaml")[0].endswith("probe_agreement needs a probe")


def test_log_probabilities_that_are_there_are_no_fault(folder):
    file = example()
    first = replace(file.policy.buckets[0], strategy=StrategySpec.of("best_of_n", samples=3))
    policy = replace(file.policy, buckets=(first, file.policy.buckets[1]))
    replace(file, policy=policy, tier=replace(file.tier, logprobs=True)).save(folder / "p.yaml")
    assert check(folder / "p.yaml") == []


def test_a_policy_of_a_newer_schema(folder):
    path = folder / "policy.yaml"
    path.write_text(path.read_text().replace("policy/v1", "policy/v3"))
    (fault,) = found(path)
    assert fault.startswith("policy.yaml:1: this policy was written for tierwise/policy/v3")


@pytest.mark.parametrize("text", ["", "3", "foo: 1\n"])
def test_what_is_none_of_them(tmp_path, text):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert found(path) == ["x.yaml:1: neither a task, prompts, a search space, a job nor a policy"]


def test_no_such_path(tmp_path):
    assert len(check(tmp_path / "none.yaml")) == 1
    assert "no such task" in found(tmp_path)[0]


def test_all_that_is_shipped_is_sound():
    for name in names_of("tasks"):
        faults = check(shipped("tasks") / name)
        if any((shipped("tasks") / name).glob("items.*")):
            assert faults == []
        else:  # a format: the items are the user's
            told = [str(f) for f in faults if "needs math-verify" not in str(f)]
            assert len(told) == 1
            assert "no such file: items." in told[0]
            assert "README.md says where it comes from" in told[0]
    for path in shipped("search_spaces").rglob("*.yaml"):
        assert check(path) == []


JOB_OF_TWO = """task: arithmetic
space: signals
tiers:
  mute: {model: openai/gpt-4o-mini, logprobs: false}
  told: {model: openai/gpt-4o-mini, logprobs: true}
"""


def test_signals_that_a_tier_cannot_be_told_by_are_said_before_a_call(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(JOB_OF_TWO)
    mute, mute_verifier, told_verifier = job_notes(path)
    assert mute == (
        "tier 'mute': openai/gpt-4o-mini gives no log-probabilities, so it is searched without "
        "probe_confidence, best_of_n, weighted_consistency"
    )
    assert "verifier_score has nothing to read" in mute_verifier
    assert told_verifier.startswith("tier 'told'")


def test_a_provider_s_own_table_says_whether_it_gives_log_probabilities(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text("task: arithmetic\ntiers:\n  a: {model: anthropic/claude-haiku-4-5}\n")
    (note,) = job_notes(path)
    assert "no log-probabilities" in note
    path.write_text("task: arithmetic\ntiers:\n  a: {model: embedded/small}\n")
    assert job_notes(path) == []
    assert job_notes(shipped("search_spaces") / "default.yaml") == []


@pytest.mark.parametrize(
    ("tier", "says"),
    [
        ("mistral/mistral-large-latest, takes_n: true", "does not take n"),
        ("openai/no-such-model", "no price is known"),
        ("opnai/gpt-4o", "unknown provider"),
        ("openai/gpt-4o-mini, modes: {direct: {temperature: 1}}", "temperature"),
        ("openai/gpt-4o-mini, modes: {direct: {top_k: 3, max_tokens: 9}}", "top_k"),
        ("embedded/small, headers_env: {X-Team: TEAM}", "called at no address"),
    ],
)
def test_check_finds_what_plan_and_tune_would_refuse(tmp_path, tier: str, says: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(f"task: arithmetic\nspace: quick\ntiers:\n  t: {{model: {tier}}}\n")
    assert says in "\n".join(str(fault) for fault in check(path))
    with pytest.raises(InputError, match=says):
        prepare(load_job(path))
