"""A job with a corpus, from its files to policies that search, replayed and served."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from tests.retrieval.server import serving
from tests.search import scripted_job
from tests.turns import search_job
from tierwise.errors import InputError
from tierwise.llm.scripted import ScriptedModel, answering
from tierwise.retrieval.bm25 import Bm25Retriever
from tierwise.runs.prepare import prepare
from tierwise.runs.tune import replay, tune
from tierwise.schema import load_job
from tierwise.schema.policy_file import PolicyFile
from tierwise.serving import PolicyRuntime

OPENING = importlib.import_module("tierwise.runs.tiers")


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("searching")
    with pytest.MonkeyPatch.context() as patch:
        scripted_job.install(patch, says=search_job.says)
        job = load_job(search_job.make_job(folder))
        tune(job, folder / "out", search_size=scripted_job.TINY)
    return folder


def policy(folder: Path) -> PolicyFile:
    return PolicyFile.load(folder / "out" / "policies" / "weak.yaml")


def model() -> ScriptedModel:
    return ScriptedModel(answering(search_job.says))


def test_the_gate_opens_for_search_alone_and_the_policy_searches(ran) -> None:
    summary = json.loads((ran / "out" / "summary.json").read_text())["tiers"]["weak"]
    gate = summary["compute_gate"]
    assert "open" in json.dumps(gate)
    file = policy(ran)
    assert file.expected.score > 0.7
    kinds = {bucket.strategy.kind for bucket in file.policy.buckets}
    assert "retrieval" in kinds
    assert file.retriever.name == "facts"
    assert set(file.prompts["plain"].turns) == {"query", "passages", "answer"}


def test_a_replay_needs_no_retriever_and_gives_the_same_bytes(ran, monkeypatch) -> None:
    scripted_job.install(monkeypatch, says=search_job.says)
    monkeypatch.setattr(Bm25Retriever, "find", None)
    path = ran / "out" / "policies" / "weak.yaml"
    before = path.read_bytes()
    replay(ran / "out", search_size=scripted_job.TINY)
    assert path.read_bytes() == before


async def test_the_same_policy_file_works_over_a_corpus_and_over_an_address(
    ran, monkeypatch
) -> None:
    corpus = ran / "task" / "corpus.jsonl"
    lines = (ran / "task" / "items.jsonl").read_text().splitlines()[:12]
    questions = [json.loads(line)["inputs"] for line in lines]
    monkeypatch.setenv("TIERWISE_RETRIEVER_FACTS", str(corpus))
    with PolicyRuntime(policy(ran), model()) as here:
        answers = [await here.answer(q) for q in questions]
    with serving(Bm25Retriever.open("facts", corpus)) as server:
        monkeypatch.setenv("TIERWISE_RETRIEVER_FACTS", server.address)
        with PolicyRuntime(policy(ran), model()) as there:
            again = [await there.answer(q) for q in questions]
        assert server.asked
    assert [(a.answer, a.samples, a.usd) for a in again] == [
        (a.answer, a.samples, a.usd) for a in answers
    ]


def test_a_task_without_a_corpus_is_tuned_without_search(tmp_path) -> None:
    job = search_job.make_job(tmp_path)
    task = tmp_path / "task" / "task.yaml"
    kept = [
        line for line in task.read_text().splitlines() if not line.startswith(("corpus", "retr"))
    ]
    task.write_text("\n".join(kept) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        scripted_job.install(patch)
        assert "retrieval" not in prepare(load_job(job)).space.strategies


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("corpus: corpus.jsonl", "corpus: corps.jsonl", r"task.yaml:9: no such file: corps.jsonl"),
        ("name: facts", "name: facts, kind: bm52", r"bm52.*bm25"),
        ("name: facts", "nam: facts", r"task.yaml:10: .*'nam'"),
        ("corpus: corpus.jsonl\n", "", r"kind: bm25 needs a corpus"),
        ("search: (\\w+", "search: (?=\\w+", r"task.yaml:10: .*linear"),
        ("name: facts", "name: facts, kind: http", r"a corpus is for kind: bm25"),
    ],
)
def test_a_fault_of_the_retriever_is_named_with_its_line(tmp_path, old, new, says) -> None:
    from tierwise.runs import load_task

    search_job.make_job(tmp_path)
    task = tmp_path / "task" / "task.yaml"
    assert old in task.read_text()
    task.write_text(task.read_text().replace(old, new))
    with pytest.raises(InputError, match=says):
        load_task(task)


def test_a_corpus_with_a_broken_line_is_named_with_it(tmp_path) -> None:
    from tierwise.runs import load_task

    search_job.make_job(tmp_path)
    with (tmp_path / "task" / "corpus.jsonl").open("a") as corpus:
        corpus.write('{"id": "x"}\n')
    with pytest.raises(InputError, match=r"corpus.jsonl:91: a document is"):
        load_task(tmp_path / "task")
