"""Plans: the same counts as the search, worst cases that bound, and what must be confirmed."""

from __future__ import annotations

import json

import click
import pytest

from tierwise.cli import _plan, main
from tierwise.errors import InputError
from tierwise.runs import plan as planning
from tierwise.runs.prepare import prepare
from tierwise.schema import Budget, Job, Price, TierSpec, default_job, override
from tierwise.search.problem import SearchSize

PAID = TierSpec(
    "openai/gpt-4o-mini", Price(0.15, 0.6), {"direct": {"max_tokens": 40}}, takes_n=True
)
NO_N = TierSpec(
    "openai/gpt-4o-mini", Price(0.15, 0.6), {"direct": {"max_tokens": 40}}, takes_n=False
)


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")


def plan_of(budget=None, **tiers):
    job = Job(space="quick", tiers=tiers, budget=budget or Budget())
    return planning.plan(prepare(job))


def test_new_samples_are_counted_once():
    tier = plan_of(a=PAID).tiers["a"]
    by = {stage.stage: stage for stage in tier.stages}
    search_size = SearchSize()
    variants = by["screen"].variants
    assert by["screen"].samples == variants * search_size.screen_items * search_size.screen_samples
    nested = search_size.screen_items * search_size.screen_samples
    raced = by["race"].variants
    assert by["race"].samples == raced * (
        search_size.race_items * search_size.race_samples - nested
    )


def test_without_n_every_sample_is_a_call():
    one, many = plan_of(a=PAID).tiers["a"], plan_of(a=NO_N).tiers["a"]
    assert sum(s.samples for s in one.stages) == sum(s.samples for s in many.stages)
    for stage in many.stages:
        assert stage.worst.calls == stage.samples
    assert one.worst.calls < many.worst.calls
    assert one.worst.usd < many.worst.usd


def test_the_worst_case_is_no_less_than_the_expected():
    for stage in plan_of(a=PAID).tiers["a"].stages:
        worst, expected = stage.worst.totals(), stage.expected.totals()
        assert all(worst[name] >= expected[name] > 0 for name in worst)


def test_a_worst_case_is_priced_by_bytes_and_the_cap():
    tier = plan_of(a=PAID).tiers["a"]
    screen = tier.stages[0]
    most = screen.samples * 40
    prompts = screen.worst.tokens - most
    assert screen.worst.usd == pytest.approx(prompts * 0.15e-6 + most * 0.6e-6)
    task = prepare(Job(space="quick", tiers={"a": PAID})).loaded.task
    shortest = min(len(i.inputs["question"]) for i in task.splits["validation"])
    assert prompts / screen.worst.calls > shortest


def test_a_budget_cuts_and_bounds():
    free = plan_of(a=PAID)
    usd = free.tiers["a"].expected.usd / 2
    tier = plan_of(Budget(usd=usd), a=PAID).tiers["a"]
    assert tier.worst.usd <= usd
    assert any(s.items < s.uncut_items for s in tier.stages)
    assert any(
        "the budget cuts items" in line for line in _plan.remarks(planning.Plan({"a": tier}))
    )


def test_a_budget_that_is_too_small_is_said_and_exits_with_3(capsys):
    tier = plan_of(Budget(usd=1e-6), a=PAID).tiers["a"]
    assert "too small for tier 'a'" in tier.fault
    with pytest.raises(SystemExit) as ended:
        main(["plan", "--space", "quick", "--tier", "a=embedded/small", "--max-calls", "30"])
    assert ended.value.code == 3
    assert "the budget is too small" in capsys.readouterr().out.replace("\n", " ")


def test_only_money_is_asked_about():
    simulated = planning.plan(prepare(override(default_job(), space="quick")))
    assert simulated.paid == ()
    _plan.confirm(simulated, yes=False, quiet=True)
    free = TierSpec("openai/gpt-4o-mini", Price(0.0, 0.0), PAID.modes)
    assert plan_of(a=free).paid == ()
    assert plan_of(a=PAID, b=free).paid == ("a",)


def test_without_a_terminal_yes_is_needed(monkeypatch, capsys):
    paid = plan_of(a=PAID)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(InputError, match="add --yes"):
        _plan.confirm(paid, yes=False, quiet=False)
    assert "screen" in capsys.readouterr().err
    _plan.confirm(paid, yes=True, quiet=True)


def test_no_is_no(monkeypatch):
    paid = plan_of(a=PAID)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(click, "confirm", _refuse)
    with pytest.raises(click.Abort):
        _plan.confirm(paid, yes=False, quiet=True)


def _refuse(question, *, abort, err):
    assert "Spend about $" in question
    raise click.Abort


def test_tune_asks_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    out = tmp_path / "run"
    with pytest.raises(SystemExit) as ended:
        main(["tune", "--space", "quick", "--tier", "a=openai/gpt-4o-mini", "--out", str(out)])
    assert ended.value.code == 2
    assert "add --yes" in capsys.readouterr().err
    assert not out.exists()


def test_the_plan_as_json_and_csv(capsys):
    args = ["plan", "--space", "quick", "--tier", "a=embedded/small", "--dry"]
    main([*args, "--json"])
    got = json.loads(capsys.readouterr().out)
    assert [row["stage"] for row in got["stages"]] == ["screen", "race", "study", "test", "total"]
    assert got["paid"] == []
    main([*args, "--csv"])
    assert capsys.readouterr().out.startswith(
        "tier,stage,variants,items,samples,lookups,calls,tokens,usd"
    )


def test_what_signals_ask_and_the_router_learns_from_is_in_the_plan(tmp_path):
    space = tmp_path / "space.yaml"
    space.write_text(
        "temperature: [0.8]\nmodes: [direct, think]\nstrategies: {single: {}}\n"
        "difficulty: {signals: [none, self_rating, router], buckets: [1, 2], probe_samples: 2}\n"
    )
    tier = TierSpec("embedded/small")
    planned = planning.plan(prepare(Job(space=str(space), tiers={"a": tier}))).tiers["a"]
    by = {stage.stage: stage for stage in planned.stages}
    search_size = SearchSize()
    assert by["fit"].samples == 2 * by["fit"].items * search_size.fit_samples
    paraphrases, later = 4, search_size.study_items - search_size.screen_items
    held_out = by["test"].items
    assert by["ask"].samples == paraphrases * search_size.screen_items + later + held_out
    without = plan_of(a=tier).tiers["a"]
    assert {"ask", "fit"}.isdisjoint(s.stage for s in without.stages)
