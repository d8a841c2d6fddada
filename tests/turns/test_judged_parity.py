"""A judge's judgements and the model's choices are replayed and served alike, cost and all."""

from __future__ import annotations

import numpy as np
import pytest

from tests.turns import worlds
from tests.turns.parity import assert_evaluated_as_replayed, assert_served_as_replayed
from tierwise.errors import InputError
from tierwise.evaluation import Evaluator, Permutations, SampleTable, replay_item
from tierwise.llm import Completion, Request, Result
from tierwise.llm.scripted import ScriptedModel, hash_uniform
from tierwise.pool import Account, Buyer, Supply
from tierwise.schema import (
    Difficulty,
    JudgeVerifier,
    Limits,
    Policy,
    Price,
    Probe,
    Recipe,
    StrategySpec,
    Turn,
    UsageLimits,
    uniform,
)
from tierwise.schema.policy_file import PolicyFile
from tierwise.search.samples import samples_needed
from tierwise.serving import PolicyRuntime

PLAIN, STEPS = worlds.VARIANTS
VERIFIER = JudgeVerifier(
    "scripted/judge", "Is it right?", Price(20.0, 40.0), (1, 5), {"max_tokens": 9}
)
JUDGED = StrategySpec.of("judged_best_of_n", samples=4)
SELECTED = StrategySpec.of("universal_self_consistency", samples=2)
POLICIES = {
    "judged": uniform(PLAIN, JUDGED),
    "judged over two prompts": Policy((Recipe((PLAIN, STEPS), JUDGED),)),
    "judged after a probe": Policy(
        (Recipe((PLAIN,), StrategySpec.of("single")), Recipe((PLAIN, STEPS), JUDGED)),
        Difficulty("probe_agreement", (0.9,), Probe((PLAIN,), 2)),
    ),
    "judged within a limit": Policy(
        (Recipe((PLAIN,), JUDGED),), limits=Limits(max_usd_per_request=4e-4)
    ),
    "selected": uniform(PLAIN, SELECTED),
}
SELECT = worlds.TurnTemplate("Which of these?\n{{ answers }}", {"max_tokens": 5})


def says(request: Request, seed: int) -> Result:
    """Judges by chance, one in ten replies without a score; selects by chance; else the world's."""
    u, asked = hash_uniform(request, seed, "judge"), request.messages[-1].content
    if "<answer>" in asked:
        text = "hm" if u < 0.1 else f"Score: {1 + int(5 * u)}"
    elif "Which of these?" in asked:
        text = "none" if u < 0.1 else f"Number {1 + int(2 * u)}"
    else:
        return worlds.script(request, seed)
    words = sum(len(m.content.split()) for m in request.messages)
    return Completion(text, words, len(text.split()), latency_s=round(u, 3))


def model() -> ScriptedModel:
    return ScriptedModel(says)


def prompts():
    return {
        name: worlds.replace(prompt, turns={**prompt.turns, "select": SELECT})
        for name, prompt in worlds.PROMPTS.items()
    }


def buyer(pool, of: ScriptedModel | None, tier=worlds.TIER) -> Buyer:
    return Buyer(
        pool,
        worlds.TASK,
        Supply(tier, of, prompts()),
        Account("run", worlds.SEED, UsageLimits()),
        verifier=Supply(VERIFIER.tier, of, {}, "", VERIFIER),
    )


def bought(tmp_path, policy: Policy, tier=worlds.TIER) -> SampleTable:
    with worlds.opened(tmp_path) as pool:
        return buyer(pool, model(), tier).table(worlds.ITEMS, samples_needed([policy], 4), "test")


def policy_file(policy: Policy, tier=worlds.TIER) -> PolicyFile:
    file = worlds.policy_file(policy, tier, judge=VERIFIER)
    return worlds.replace(file, prompts=prompts())


@pytest.mark.parametrize("takes_n", [True, False])
@pytest.mark.parametrize("name", POLICIES)
async def test_the_runtime_does_what_the_evaluation_said(tmp_path, name, takes_n) -> None:
    policy = POLICIES[name]
    tier = worlds.TIER if takes_n else worlds.one_call_a_sample()
    table = bought(tmp_path, policy, tier)
    models = {"small": model(), "judge": model()}
    runtime = PolicyRuntime(policy_file(policy, tier), models, seed=worlds.SEED)
    await assert_served_as_replayed(runtime, policy, table, worlds.ITEMS)


@pytest.mark.parametrize("name", ["judged over two prompts", "judged after a probe"])
def test_the_evaluator_says_what_replay_says(tmp_path, name) -> None:
    assert_evaluated_as_replayed(POLICIES[name], bought(tmp_path, POLICIES[name]))


def test_judgements_cost_what_their_own_model_does(tmp_path) -> None:
    table = bought(tmp_path, POLICIES["judged"])
    node = table.nodes[PLAIN.below(Turn("judge"))]
    replies = node.completion_usd / (VERIFIER.price.completion_usd_per_mtok * 1e-6)
    assert set(np.unique(replies.round(6))) <= {1.0, 2.0}, "tokens of a reply"
    went = replay_item(POLICIES["judged"], table, 0)
    judged = [s for s, v in zip(went.samples, went.variants, strict=True) if v.path]
    assert went.usd > sum(s.bill.prompt_usd for s in judged) > 0


def test_a_choice_is_judged_on_the_blocks_that_were_bought(tmp_path) -> None:
    """Four samples are two blocks: each order of the permutations is one of them."""
    policy = POLICIES["selected"]
    table = bought(tmp_path, policy)
    got = Evaluator(table, Permutations(4, 1)).evaluate(policy)
    node, rows = table.nodes[PLAIN.below(Turn("select", 2))], table.variants[PLAIN]
    assert node.ended[:, [0, 2]].all()
    assert not np.isnan(node.scores["select"][:, [1, 3]]).all()
    for i in range(table.n_items):
        scores = []
        for last in (1, 3):
            number, block = node.scores["select"][i, last], slice(last - 1, last + 1)
            answers = rows.answers[i, block]
            pick = 0 if np.isnan(number) else int(number) - 1
            if answers[pick] < 0:
                pick = int(answers[0] < 0 <= answers[1])
            scores.append(rows.score[i, block][pick])
        assert got.score[i] == pytest.approx(np.mean(scores))


def test_a_choice_after_a_probe_or_in_buckets_is_not_supported(tmp_path) -> None:
    table = bought(tmp_path, POLICIES["selected"])
    probed = Policy(
        (Recipe((PLAIN,), SELECTED), Recipe((PLAIN,), SELECTED)),
        Difficulty("probe_agreement", (0.9,), Probe((PLAIN,), 2)),
    )
    assert np.isnan(Evaluator(table, Permutations(4, 1)).evaluate(probed).score).all()


def test_the_policy_file_holds_the_judge_and_no_address(tmp_path) -> None:
    file = policy_file(POLICIES["judged"])
    text = file.dumps()
    assert PolicyFile.loads(text) == file
    assert "rubric: Is it right?" in text
    assert "http" not in text


def test_a_policy_that_asks_a_judge_and_names_none_is_refused() -> None:
    with pytest.raises(InputError, match="names none under judge"):
        PolicyRuntime(worlds.policy_file(POLICIES["judged"]), {"small": model(), "judge": model()})
