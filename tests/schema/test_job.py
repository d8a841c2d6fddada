"""A job is checked as a whole, survives its own YAML, and yields to the command line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.schema.folders import faults, make_task
from tierwise.errors import InputError
from tierwise.runs import space_of
from tierwise.schema import Budget, Job, Price, TierSpec, default_job, dump_job, load_job, override
from tierwise.schema.job import job_of
from tierwise.schema.yaml_io import parse

JOB = """baseline: plain
task: ./sums
space: quick
seed: 3
tiers:
  small: {model: embedded/small}
  old:
    model: recorded/gpt-3.5-turbo
    recordings: old.jsonl
    price: {prompt_usd_per_mtok: 0.5, completion_usd_per_mtok: 0.0}
  mini:
    model: openai/gpt-4o-mini
    modes:
      direct: {max_tokens: 64}
      think: {reasoning_effort: low, max_tokens: 2048}
    limits: {rpm: 500, concurrency: 32, timeout_s: 60}
    takes_n: false
budget: {usd: 5.00, calls: 20000, seconds: 3600}
trials: 300
operating_point: {min_score: 0.9}
storage: null
engine: local
escalate_to: [old, mini]
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    make_task(tmp_path / "sums")
    (tmp_path / "old.jsonl").write_text("")
    (tmp_path / "job.yaml").write_text(JOB)
    return tmp_path


def test_a_job_loads_with_paths_relative_to_it(folder, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    job = load_job(folder / "job.yaml")
    assert job.task == str(folder / "sums")
    assert job.space == "quick"
    assert job.tiers["old"].recordings == str(folder / "old.jsonl")
    assert job.tiers["old"].price == Price(0.5, 0.0)
    assert job.tiers["mini"].limits == {"rpm": 500.0, "concurrency": 32.0, "timeout_s": 60.0}
    assert job.tiers["mini"].takes_n is False
    assert job.tiers["small"] == TierSpec("embedded/small")
    assert job.budget == Budget(usd=5.0, calls=20000, seconds=3600.0)
    assert job.operating_point == {"min_score": 0.9}
    assert (job.seed, job.trials, job.baseline) == (3, 300, "plain")
    assert [job.escalation_targets(tier) for tier in job.tiers] == [("old", "mini"), ("mini",), ()]


def test_a_job_as_resolved_reads_back_equal(folder):
    job = load_job(folder / "job.yaml")
    (folder / "runs").mkdir()
    (folder / "runs" / "job.yaml").write_text(dump_job(job))
    assert load_job(folder / "runs" / "job.yaml") == job
    assert job_of(parse(dump_job(default_job()))) == default_job()


_NAME = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True) | st.sampled_from(["no", "1e3", "on"])
_POSITIVE = st.floats(1e-6, 1e6)
_COUNT = st.integers(1, 10**6)
_TIER = st.builds(
    TierSpec,
    st.sampled_from(["embedded/small", "openai/gpt-4o-mini", "bedrock/arn:aws:x"]),
    st.none() | st.builds(Price, _POSITIVE, _POSITIVE, st.none() | _POSITIVE, _NAME, st.booleans()),
    st.none() | st.dictionaries(_NAME, st.fixed_dictionaries({"max_tokens": _COUNT}), min_size=1),
    st.none() | st.booleans(),
    st.none() | st.booleans(),
    st.dictionaries(st.sampled_from(["rpm", "tpm", "timeout_s"]), _POSITIVE),
)
_JOB = st.builds(
    Job,
    task=_NAME,
    space=_NAME,
    tiers=st.dictionaries(_NAME, _TIER, min_size=1, max_size=3),
    baseline=st.none() | _NAME,
    seed=st.integers(0, 10**9),
    budget=st.builds(
        Budget, st.none() | _POSITIVE, st.none() | _COUNT, st.none() | _COUNT, st.none() | _POSITIVE
    ),
    trials=_COUNT,
    operating_point=st.sampled_from(["economy", "quality"])
    | st.builds(lambda x: {"usd_per_point": x}, _POSITIVE),
    gate_margin=st.floats(0, 0.5),
)


@given(_JOB, st.booleans())
@settings(max_examples=25, derandomize=True)
def test_any_job_reads_back_equal(job, escalates):
    if escalates and len(job.tiers) > 1:
        job = dataclasses.replace(job, escalate_to=tuple(job.tiers)[1:], operating_point="level")
    assert job_of(parse(dump_job(job))) == job


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("trials", "trails", "job.yaml:19: unknown key 'trails'; did you mean 'trials'"),
        ("usd: 5.00", "usd: 0", "job.yaml:18: budget.usd must be above 0, got 0"),
        ("usd: 5.00", "usd: -1", "job.yaml:18: budget.usd must be above 0, got -1"),
        ("calls: 20000", "calls: 0", "job.yaml:18: budget.calls must be at least 1, got 0"),
        ("usd: 5.00", "dollars: 5", "job.yaml:18: budget: unknown key 'dollars'"),
        ("trials: 300", "trials: 0", "job.yaml:19: trials must be at least 1, got 0"),
        ("seed: 3", "seed: 1e3", "job.yaml:4: YAML 1.1 reads 1e3 as text"),
        ("min_score", "min_scor", "job.yaml:20: unknown operating point 'min_scor'"),
        ("{min_score: 0.9}", "blanced", "job.yaml:20: unknown operating point 'blanced'"),
        (
            "min_score: 0.9",
            "min_score: 90",
            "job.yaml:20: operating_point.min_score must be at most 1",
        ),
        (
            "min_score: 0.9",
            "min_score: high",
            "job.yaml:20: operating_point.min_score must be a number",
        ),
        ("{min_score: 0.9}", "[1]", "job.yaml:20: operating_point must be economy"),
        (
            "engine: local",
            "engine: lokal",
            "job.yaml:22: unknown engine 'lokal'; did you mean 'local'",
        ),
        ("engine: local", "engine: ray", "job.yaml:22: the engine 'ray' is not built"),
        (
            "storage: null",
            "storage: postgresql://host/db",
            "job.yaml:21: a pool shared by machines is not built",
        ),
        (
            "embedded/small}",
            "embedded/small, modle: x}",
            "job.yaml:6: tiers.small: unknown key 'modle'",
        ),
        ("{model: embedded/small}", "{}", "job.yaml:6: 'model' is missing in tiers.small"),
        ("embedded/small", "http://x/v1", "job.yaml:6: tiers.small.model: a model is a LiteLLM"),
        (
            "max_tokens: 64",
            "max_tokns: 64",
            "job.yaml:14: tiers.mini.modes.direct: unknown parameter",
        ),
        ("rpm: 500", "rpm: 0", "job.yaml:16: tiers.mini.limits.rpm must be above 0, got 0"),
        (
            "rpm: 500",
            "rmp: 500",
            "job.yaml:16: tiers.mini.limits: unknown key 'rmp'; did you mean 'rpm'",
        ),
        (
            "[old, mini]",
            "[old, miny]",
            "job.yaml:23: unknown tier of the job (escalate_to) 'miny'; did you mean 'mini'",
        ),
        ("[old, mini]", "[small]", "job.yaml:23: escalate_to: no tier stands before 'small'"),
        ("[old, mini]", "[old, old]", "job.yaml:23: escalate_to names tier 'old' twice"),
        (
            "{min_score: 0.9}\nstorage: null\nengine: local\nescalate_to: [old, mini]",
            "level",
            "job.yaml:20: operating point 'level' is the cheapest policy that is level",
        ),
        ("old.jsonl", "new.jsonl", "job.yaml:9: no such file: "),
        (
            "  small: {",
            "  no: {",
            "job.yaml:6: the key 'no' is not read as text: write it in quotes",
        ),
    ],
)
def test_a_fault_in_a_job(folder, old, new, says):
    assert old in JOB
    (folder / "job.yaml").write_text(JOB.replace(old, new, 1))
    (fault,) = faults(load_job, folder / "job.yaml")
    assert fault.startswith(says)


def test_a_job_without_tiers(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text("task: arithmetic\ntiers: {}\n")
    assert faults(load_job, path) == [
        "job.yaml:2: tiers: a job needs at least one, such as small: {model: embedded/small}"
    ]
    path.write_text("task: arithmetic\n")
    assert faults(load_job, path) == [
        "job.yaml:1: tiers: a job needs at least one, such as small: {model: embedded/small}"
    ]
    with pytest.raises(InputError, match="at least one"):
        Job()


def test_the_default_job_needs_nothing():
    job = default_job()
    assert (job.task, space_of(job), job.trials, job.seed) == ("arithmetic", "default", 300, 0)
    assert [t.model for t in job.tiers.values()] == [
        "embedded/small",
        "embedded/medium",
        "embedded/large",
    ]


def test_the_command_line_overrides(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = override(
        default_job(),
        seed=7,
        trials=None,
        budget_usd=2.5,
        max_calls=9,
        usd_per_point=0.1,
        tiers={"small": "embedded/small", "mini": "openai/gpt-4o-mini"},
        task="./mine",
    )
    assert (job.seed, job.trials) == (7, 300)
    assert job.budget == Budget(usd=2.5, calls=9)
    assert job.operating_point == {"usd_per_point": 0.1}
    assert list(job.tiers) == ["small", "mini"]
    assert override(job, escalate_to=["mini"]).escalate_to == ("mini",)
    with pytest.raises(InputError, match="unknown tier of the job"):
        override(default_job(), escalate_to=["larg"])
    assert job.task == str(tmp_path / "mine")
    assert override(job) == job


def test_a_tier_that_keeps_its_model_keeps_the_rest(folder):
    job = load_job(folder / "job.yaml")
    tiers = {"mini": "openai/gpt-4o-mini", "small": "embedded/medium"}
    again = override(job, tiers=tiers, escalate_to=())
    assert again.tiers == {"mini": job.tiers["mini"], "small": TierSpec("embedded/medium")}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"budget_usd": 0.0}, "budget.usd must be above 0, got 0"),
        ({"trials": 0}, "trials must be at least 1"),
        ({"min_score": 0.9, "operating_point": "economy"}, "give one operating point"),
        ({"operating_point": "economic"}, "did you mean 'economy'"),
        ({"sed": 1}, "unknown option 'sed'; did you mean 'seed'"),
        ({"tiers": {}}, "NAME=MODEL"),
    ],
)
def test_a_fault_on_the_command_line(options, says):
    with pytest.raises(InputError, match=says):
        override(default_job(), **options)


PROPOSALS = """proposals:
  model: {model: openai/gpt-4o, price: {prompt_usd_per_mtok: 2.5, completion_usd_per_mtok: 10}}
  rounds: 3
  demonstrations: 1
  usd: 1.5
"""


def test_a_proposer_is_a_part_of_the_budget_and_survives_the_yaml(folder: Path) -> None:
    (folder / "job.yaml").write_text(JOB + PROPOSALS)
    job = load_job(folder / "job.yaml")
    assert job.proposals is not None
    assert (job.proposals.rounds, job.proposals.instructions) == (3, 6)
    assert job_of(parse(dump_job(job))) == job
    assert (job.proposers_budget.usd, job.tiers_budget.usd) == (1.5, 3.5)
    assert job.proposers_budget.calls + job.tiers_budget.calls == 20000


def test_a_proposer_on_the_command_line_keeps_the_rest_of_the_key(folder: Path) -> None:
    (folder / "job.yaml").write_text(JOB + PROPOSALS)
    job = override(load_job(folder / "job.yaml"), proposer="openai/o3")
    assert job.proposals is not None
    assert job.proposals.model == TierSpec("openai/o3")
    assert job.proposals.rounds == 3
    plain = override(default_job(), proposer="openai/o3")
    assert plain.proposals is not None
    assert plain.proposals.instructions == 6


def test_what_is_wrong_with_proposals_is_said_with_its_line(folder: Path) -> None:
    path = folder / "job.yaml"
    path.write_text(JOB + "proposals: {model: openai/gpt-4o, usd: 7}\n")
    (fault,) = faults(load_job, path)
    line = len(JOB.splitlines()) + 1
    assert fault.startswith(f"job.yaml:{line}: proposals.usd (7) must be below budget.usd (5)")
    path.write_text(JOB + "proposals: {rounds: 0}\n")
    assert faults(load_job, path) == [
        f"job.yaml:{line}: proposals.rounds must be at least 1, got 0"
    ]


def test_a_task_with_a_corpus_is_searched_where_no_space_is_named():
    job = override(default_job(), task="lookup")
    assert space_of(job) == "search"
    assert space_of(override(job, space="quick")) == "quick"
