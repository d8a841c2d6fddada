"""Every technique of the library: sound, picked by name, sent over HTTP, in a policy that runs.

The mechanics only. Whether a technique helps is a question for a real model.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.loopback import Loopback, Said
from tests.schema.folders import make_task
from tierwise.runs import load_space, load_task
from tierwise.schema import (
    ANSWER,
    Difficulty,
    Policy,
    PolicyFile,
    Price,
    PromptTemplate,
    Recipe,
    StrategySpec,
    TaskRef,
    Tier,
    Variant,
    shipped,
)
from tierwise.schema.prompt import Setting, load_library, load_prompts
from tierwise.schema.yaml_io import read
from tierwise.search.problem import candidate_variants
from tierwise.serving import PolicyRuntime

FILES = sorted((shipped("search_spaces") / "prompts").glob("*.yaml"))
LIBRARY = {p.id: p for path in FILES for p in load_prompts(path) if p.turn == ANSWER}
MODES = {"direct": {"max_tokens": 64}, "think": {"max_tokens": 1024}}
TIER = Tier("any", "openai/any", Price(1.0, 2.0), MODES)
SPACE = """
prompts: {library: [NAME], families: [NAME], paraphrases: 3}
temperature: [0.8]
modes: [direct, think]
strategies: {single: {}}
"""


def picked(folder: Path, name: str) -> tuple[PromptTemplate, ...]:
    """The prompts of a task under a space that names one technique, each paraphrase by itself."""
    (folder / "space.yaml").write_text(SPACE.replace("NAME", name))
    space = load_space(folder / "space.yaml")
    loaded = load_task(make_task(folder / "task"), space)
    variants = candidate_variants(loaded.task, TIER, space, loaded.prompts, loaded.own[0])
    used = {variant.prompt for variant in variants.candidates if variant != variants.baseline}
    return tuple(p for p in variants.prompts.values() if p.id in used)


def test_every_technique_has_its_source_and_four_paraphrases_that_differ() -> None:
    assert len(LIBRARY) >= 20
    for path in FILES:
        for entry in read(path).data:
            assert entry["source"], entry["id"]
    written = load_library(Setting(("question",), "Answer 'A: N'."), None)
    texts = [v.messages for p in written for v in p.variants()]
    assert len(texts) == 4 * len(LIBRARY)
    assert len(set(texts)) == len(texts)
    for prompt in written:
        assert set(prompt.modes) <= set(MODES)
        for variant in prompt.variants():
            assert variant.fields == ("question",)
            assert any("Answer 'A: N'." in m.content for m in variant.messages)


def test_ids_keep_their_text() -> None:
    """A few of the first version, to the letter: a changed text would be a new id."""
    given = {i: LIBRARY[i].messages[-1].content for i in ("lib_baseline", "lib_react", "lib_mock")}
    assert given == {
        "lib_baseline": "{{ instruction }}\n\n{{ input }}",
        "lib_react": (
            "{{ instruction }}\n\n{{ input }}\n\n"
            'Take turns: a line "Thought:" with what to find out next, a line "Action:" with what '
            'you do\nabout it, a line "Observation:" with what came of it. Go on until you can '
            "answer, then answer."
        ),
        "lib_mock": "{{ input }}",
    }


def test_the_readme_names_every_technique() -> None:
    page = (shipped("search_spaces") / "README.md").read_text()
    assert [i for i in LIBRARY if f"`{i}`" not in page] == []


@pytest.mark.parametrize("technique", LIBRARY)
def test_a_technique_is_picked_sent_answered_and_in_a_policy_file(
    technique: str, tmp_path: Path, loopback: Loopback
) -> None:
    loopback.speak = lambda messages, seed, body: Said("I think so. A: 3")
    by_id, by_family = (picked(tmp_path, name) for name in (technique, LIBRARY[technique].family))
    assert [p.id for p in by_id] == [technique, *(f"{technique}~{k}" for k in (1, 2, 3))]
    assert set(by_id) <= set(by_family)
    mode = (by_id[0].modes or ("direct",))[0]
    variants = tuple(Variant(p.id, mode, 0.8) for p in by_id)
    loaded = load_task(tmp_path / "task")
    file = PolicyFile(
        name=technique,
        tier=TIER,
        task=TaskRef("sums", 1, "exact_match", ""),
        inputs=("question",),
        prompts={p.id: p for p in by_id},
        policy=Policy(
            (Recipe(variants, StrategySpec.of("self_consistency", samples=4)),), Difficulty()
        ),
        answer=loaded.task.answer,
    )
    path = file.save(tmp_path / "policy.yaml")
    assert PolicyFile.load(path) == file
    with PolicyRuntime.load(path) as runtime:
        answer = runtime.answer_sync(question="1 + 2")
    assert (answer.answer, answer.samples) == ("3", 4)
    sent = [[(m["role"], m["content"]) for m in body["messages"]] for body in loopback.bodies]
    wanted = [[(m.role, m.content) for m in p.render({"question": "1 + 2"})] for p in by_id]
    assert sorted(sent) == sorted(wanted)
    assert all(a != b for a, b in itertools.combinations(wanted, 2))
    assert all(body["max_tokens"] == MODES[mode]["max_tokens"] for body in loopback.bodies)
