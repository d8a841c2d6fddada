from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dspy
from tests.dspy.examples import LITTLE, arithmetic, exact
from tierwise.dspy import EmbeddedAdapter, JointOptimizer, Proposing, tier_lm, trace_of, tuned
from tierwise.errors import InputError, UnsupportedError
from tierwise.schema import PolicyFile

EXAMPLES = arithmetic(480)
TIERS = {"small": "embedded/small"}


def optimizer(out: Path, **settings: Any) -> JointOptimizer:
    given = {
        "trials": 20,
        "search_size": LITTLE,
        "proposing": Proposing(most_prompts=5),
        **settings,
    }
    return JointOptimizer(exact, TIERS, "quick", out=out, **given)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, JointOptimizer, Path]]:
    out = tmp_path_factory.mktemp("joint") / "run"
    tuner = optimizer(out)
    program = tuner.compile(dspy.Predict("question -> answer"), trainset=EXAMPLES)
    yield program, tuner, out
    program.close()


def test_a_predictor_is_tuned_end_to_end(run: tuple[Any, JointOptimizer, Path]) -> None:
    program, _, out = run
    assert list(program.signature.fields) == ["question", "answer"]
    prediction = program(question="3 + 4")
    assert prediction.answer == "7"
    answer = trace_of(prediction)
    assert answer is not None
    assert answer.samples >= 1
    policy = program.policies["small"]
    assert PolicyFile.loads(policy.dumps()) == policy
    assert policy.evidence.baseline.score <= policy.expected.score + 0.05
    shown = json.loads((out / "proposals" / "first.json").read_text())
    assert all(p["origin"] and p["messages"] for p in shown["prompts"])
    assert {p["origin"].partition("/")[0] for p in shown["prompts"]} >= {"catalogue"}


def test_the_report_ranks_candidates_at_one_sample_and_in_the_strategy(
    run: tuple[Any, JointOptimizer, Path],
) -> None:
    rows = json.loads((run[2] / "summary.json").read_text())["tiers"]["small"]["ranks"]
    raced = [row for row in rows if row["rank_in_strategy"]]
    assert raced[0]["rank_in_strategy"] == 1
    assert min(row["rank_at_one_sample"] for row in raced) == 1
    assert len(rows) == len(run[1].result.found["small"].screened)


def test_rounds_go_on_with_the_next_paraphrases_of_the_catalogue(
    run: tuple[Any, JointOptimizer, Path],
) -> None:
    first, second = run[1].result.summary.tiers["small"].rounds
    assert any(p.origin.startswith("catalogue/") for p in first.prompts)
    assert second.briefs[0].failures > 0
    assert "in mode" in second.briefs[0].run_as
    tried = {t.origin.partition("/")[0] for t in second.tried}
    assert tried == {"catalogue"}
    before = {p.id for p in first.prompts}
    assert not before & {t.prompt for t in second.tried}


def test_a_program_saves_and_loads_like_any_other(
    run: tuple[Any, JointOptimizer, Path], tmp_path: Path
) -> None:
    program = run[0]
    program.save(tmp_path / "program.json")
    loaded = tuned(dspy.Predict("question -> answer"))
    loaded.load(tmp_path / "program.json")
    assert loaded.policies == program.policies
    for question in ("3 + 4", "9 + 8 - 3", "5 + 5 + 5"):
        assert loaded(question=question).answer == program(question=question).answer
    copied = program.deepcopy()
    assert copied(question="3 + 4").answer == "7"
    copied.close()
    loaded.close()


def test_a_plain_file_is_no_tuned_program(tmp_path: Path) -> None:
    dspy.Predict("question -> answer").save(tmp_path / "plain.json")
    with pytest.raises(InputError, match="not saved by a tuned program"):
        tuned(dspy.Predict("question -> answer")).load(tmp_path / "plain.json")
    with pytest.raises(InputError, match="no policy yet"):
        tuned(dspy.Predict("question -> answer"))(question="1 + 1")


def test_costs_are_counted_alike_from_dspys_cache(run: tuple[Any, JointOptimizer, Path]) -> None:
    program = run[0].deepcopy()
    lm = tier_lm("embedded/small", "think")
    first, again = (trace_of(program(question="9 + 8 + 2", lm=lm)) for _ in range(2))
    assert first is not None
    assert again is not None
    assert (first.usd, first.samples, first.text) == (again.usd, again.samples, again.text)
    assert first.usd > 0
    assert lm.engine.calls == first.samples
    assert len(lm.history) == 2 * first.samples
    assert program.requests - run[0].requests == 2
    used = program.usage - run[0].usage
    assert used.usd == pytest.approx(2 * first.usd)
    assert used.samples == used.calls == 2 * first.samples
    lm.engine.close()


async def test_it_answers_as_a_coroutine(run: tuple[Any, JointOptimizer, Path]) -> None:
    program = run[0].deepcopy()
    assert (await program.acall(question="3 + 4")).answer == "7"
    assert program(question="3 + 4").answer == "7"
    program.close()


def test_the_same_seed_and_pool_give_the_same_study(run: tuple[Any, JointOptimizer, Path]) -> None:
    program, _, out = run
    before = {
        name: (out / name).read_bytes()
        for name in ("summary.json", "trials.csv", "proposals/first.json")
    }
    again = optimizer(out).compile(dspy.Predict("question -> answer"), trainset=EXAMPLES)
    assert again.policies == program.policies
    assert {name: (out / name).read_bytes() for name in before} == before


def test_chain_of_thought_with_a_valset(tmp_path: Path) -> None:
    tuner = optimizer(tmp_path / "run", proposing=Proposing(grounded=2, demo_sets=(2,), rounds=1))
    student = dspy.ChainOfThought("question -> answer")
    program = tuner.compile(student, trainset=EXAMPLES[:220], valset=EXAMPLES[220:])
    assert isinstance(program, dspy.ChainOfThought)
    prediction = program(question="3 + 4")
    assert prediction.answer == "7"
    assert isinstance(prediction.reasoning, str)
    program.save(tmp_path / "program.json")
    loaded = tuned(student)
    loaded.load(tmp_path / "program.json")
    assert loaded(question="3 + 4").answer == "7"
    assert program.policies["small"].prompts
    loaded.predict.close()
    program.predict.close()


def test_too_few_examples_say_which_split_lacks_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="split has"):
        optimizer(tmp_path).compile(dspy.Predict("question -> answer"), trainset=EXAMPLES[:20])


def test_a_metric_that_needs_other_fields_is_told_so(tmp_path: Path) -> None:
    def by_reasoning(example: Any, prediction: Any, trace: object = None) -> bool:
        return len(prediction.reasoning) > 3

    tuner = JointOptimizer(
        by_reasoning,
        TIERS,
        "quick",
        trials=5,
        search_size=LITTLE,
        out=tmp_path / "r",
        proposing=Proposing(demo_sets=()),
    )
    with pytest.raises(InputError, match="a prediction with 'answer' alone"):
        tuner.compile(dspy.ChainOfThought("question -> answer"), trainset=EXAMPLES)


def test_tiers_of_two_layouts_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="layout of their own"):
        JointOptimizer(exact, {"small": "embedded/small", "mini": "openai/gpt-4o-mini"})


def test_evaluate_scores_the_module(run: tuple[Any, JointOptimizer, Path]) -> None:
    program = run[0].deepcopy()
    with dspy.context(adapter=EmbeddedAdapter()):
        judged = dspy.Evaluate(devset=EXAMPLES[:20], metric=exact, num_threads=2)(program)
    single = [exact(e, program(**e.inputs())) for e in EXAMPLES[:20]]
    assert judged.score == pytest.approx(100 * sum(single) / 20)
    program.close()
