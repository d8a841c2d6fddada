import json

import pytest

from tierwise.cli import main
from tierwise.llm.models import resolve_tier
from tierwise.runs import load_task
from tierwise.schema import (
    Message,
    PolicyFile,
    PromptTemplate,
    StrategySpec,
    TaskRef,
    Variant,
    uniform,
)
from tierwise.schema.policy_file import ExpectedFigures, Provenance


@pytest.fixture
def policy(tmp_path):
    """The embedded small tier at one direct sample, said to have scored what the test asks."""
    task = load_task("arithmetic").task

    def saved(score: float, **more) -> str:
        file = PolicyFile(
            name="p",
            tier=resolve_tier("small", "embedded/small"),
            task=TaskRef(task.name, task.version, task.metric, task.items_sha256),
            inputs=task.inputs,
            prompts={"plain": PromptTemplate("plain", (Message("user", "{{ question }}"),))},
            policy=uniform(Variant("plain", "direct", 0.3), StrategySpec.of("single")),
            answer=task.answer,
            expected=ExpectedFigures(score=score),
            **more,
        )
        return str(file.save(tmp_path / "p.yaml"))

    return saved


def _run(capsys, *args):
    with pytest.raises(SystemExit) as end:
        main(["verify", *args])
    return end.value.code, capsys.readouterr()


@pytest.mark.parametrize(
    ("score", "options", "verdict", "code"),
    [
        (0.35, ["--margin", "0.3"], "holds", 0),
        (0.99, ["--margin", "0.1"], "dropped", 1),
        (0.75, ["--margin", "0.001", "--items", "40"], "not decided", 3),
    ],
)
def test_the_exit_code_says_whether_it_holds(capsys, policy, score, options, verdict, code):
    found, said = _run(capsys, policy(score), *options, "--seed", "4", "--json")
    assert found == code
    data = json.loads(said.out)
    assert data["verdict"] == verdict
    assert data["seed"] == 4
    assert data["changed"] == []


def test_it_says_what_changed(capsys, policy):
    path = policy(0.35, provenance=Provenance("0.0.0-old"))
    code, said = _run(capsys, path, "--margin", "0.3", "--seed", "4")
    assert code == 0
    assert "tuned by 0.0.0-old" in said.err
    assert "holds" in said.out


def test_what_cannot_be_served_cannot_be_verified(capsys, policy):
    code, said = _run(capsys, policy(0.35, deployable=False))
    assert code == 2
    assert "deployable: false" in said.err
