"""A small run made by hand: two tiers, one whose new policy passed the gate and one that keeps its
baseline. Every number of the golden sections can be traced to this file.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tierwise.analysis.tier_files import JudgedPolicies, TierFiles
from tierwise.evaluation import SampleTable, VariantTable
from tierwise.pool.run_dir import RunDir
from tierwise.runs.artifacts import RunFiles
from tierwise.schema import (
    Difficulty,
    Message,
    Policy,
    PolicyFile,
    Price,
    PromptTemplate,
    Recipe,
    StrategySpec,
    TaskRef,
    Tier,
    Variant,
)
from tierwise.schema import measured as m
from tierwise.schema import result as r
from tierwise.schema.policy_file import ExpectedBucket, ExpectedFigures, PolicyEvidence, Provenance

PLAIN, STEPS = Variant("plain", "direct", 0.5), Variant("steps", "think", 0.5)
BASELINE = "plain/direct/0.5: single()"
POLICY = "length at -3: plain/direct/0.5: single() | steps/think/0.5: self_consistency(samples=3)"
STEP = "steps/think/0.5: single()"
N_ITEMS, N_SAMPLES = 12, 4
TASK = TaskRef("sums", 1, "exact_match", "a5" * 32)


def held_out(
    policy: str, score: float, usd: float, samples: float = 1.0, split: m.Split = "test"
) -> m.Measured:
    return m.Measured(
        split,
        policy,
        120,
        score,
        (score - 0.05, score + 0.04),
        usd,
        (usd * 0.9, usd * 1.1),
        samples,
        1.0,
    )


def paired(gain: float, ratio: float, p: float = 0.0004) -> m.Paired:
    return m.Paired(gain, (gain - 0.03, gain + 0.03), ratio, (ratio * 0.9, ratio * 1.1), p)


def point(got: m.Measured, against: m.Paired, *, passed: bool, trial: int = 7) -> m.PointSummary:
    buckets = (
        m.BucketSummary(0.5, ("plain/direct/0.5",), "single()", {"direct": 1.0}),
        m.BucketSummary(0.5, ("steps/think/0.5",), "self_consistency(samples=3)", {"think": 1.0}),
    )
    single = got.policy != POLICY
    return m.PointSummary(
        **vars(got),
        gate="passed" if passed else "not passed",
        trial=trial,
        buckets=buckets[:1] if single else buckets,
        signal="none" if single else "length",
        thresholds=() if single else (-3.0,),
        stuck_in_mode=None,
        validation=m.CrossFittedScore(
            400, got.score, got.score_ci95, got.usd_per_item, 0.1, (0.05, 0.15)
        ),
        against_baseline=against,
        pooled_difference=against.score_difference,
        pooled_difference_ci95=against.score_difference_ci95,
    )


def tier_summary(model: str, *, passed: bool) -> r.TierSummary:
    base = held_out(BASELINE, 0.70, 2e-6)
    best = held_out(POLICY, 0.85, 9e-6, 2.0) if passed else held_out(STEP, 0.71, 6e-6)
    gain = best.score - base.score
    against = paired(gain, best.usd_per_item / 2e-6, 0.0004 if passed else 0.21)
    chosen = point(best, against, passed=passed)
    stay = point(base, paired(0.0, 1.0, 1.0), passed=False, trial=-1)
    steps = {
        "baseline_prompt_one_sample": base,
        "best_prompt_one_sample": held_out(STEP, 0.80, 6e-6),
        "full_policy": best,
    }
    return r.TierSummary(
        model=model,
        spending=r.UsageTotals(0.25, 1234, 56789),
        possibly_billed=r.UsageTotals(0.002, 3, 400) if passed else None,
        operating_point="balanced",
        gate=chosen.gate,
        compute_gate=m.ComputeGate(
            True, 40, 4, 0.02, (0.01, 0.03), "plain/think: a vote", "plain/think: single()", "open"
        ),
        items=r.ItemCounts(40, 120 if passed else 80),
        baseline=base,
        operating_points={"economy": stay, "balanced": chosen},
        ablation={
            name: m.AblationStep(
                **vars(replace(step, split="validation")),
                full_policy_against_it=paired(
                    best.score - step.score, best.usd_per_item / step.usd_per_item
                ),
            )
            for name, step in steps.items()
        },
        oracle_bound=m.OracleBound(120, 0.93, (0.90, 0.95))
        if passed
        else m.OracleBound(120, None, (None, None)),
        front=(m.FrontPoint(BASELINE, 0, 0.72, 2e-6), m.FrontPoint(POLICY, 7, 0.88, 9e-6)),
        signals=signals() if passed else None,
        fitted_signals=(router(),) if passed else (),
        techniques=(technique("steps", 0.1, "helps"), technique("bridge", -0.2, "hurts")),
        prompt_sensitivity=(),
        escalation=(escalation_row(),) if passed else (),
        ranks=(
            m.RankRow(
                "steps/think/0.5", "task", "self_consistency(samples=3)", 40, 0.79, 2, 0.86, 1
            ),
            m.RankRow(
                "plain/direct/0.5", "task", "self_consistency(samples=3)", 40, 0.81, 1, 0.82, 2
            ),
            m.RankRow("bridge/think/0.5", "library", "out of the race", 20, 0.4, None, None, None),
        ),
        rounds=(proposal_round(),) if passed else (),
        screened=(m.ScreenedVariant("plain/direct/0.5", 0.71, 2e-6),),
        studies=("sums/g1",),
        headroom=r.Headroom(40, 6, 0.03, 0.01, 0.2, 0.3, True, "Prompts differ by about 3 points."),
        end=r.SearchEnd("no_expected_gain", 0.0004, "Further samples would gain .04 points."),
        judge=judge() if passed else replace(judge(), **UNRELIABLE),
        metric_parts={
            "numeric(relative=0.01)": r.MetricPartSummary(weight=3.0, baseline=0.5, chosen=0.75),
            "f1": r.MetricPartSummary(weight=1.0, baseline=0.25, chosen=None),
        },
    )


def judge() -> r.JudgeSummary:
    return r.JudgeSummary(
        model="openai/judge",
        rubric_sha256="ab" * 32,
        scale="a number from 1 (the worst) to 5 (the best)",
        reference=True,
        judged_answers=1500,
        unanswered=3,
        replies=1700,
        lost_replies=40,
        spending=r.UsageTotals(0.12, 1700, 300000),
        labelled=40,
        agreement=0.71,
        agreement_ci95=(0.55, 0.82),
        checked=32,
        noise=0.08,
        reliability=0.9,
        reliability_ci95=(0.84, 0.95),
        position=r.JudgeShift(32, 0.01, (-0.01, 0.03), False),
        length=r.JudgeShift(32, 0.02, (0.0, 0.04), False),
        drift=None,
    )


UNRELIABLE = {
    "labelled": 3,
    "agreement": None,
    "agreement_ci95": (None, None),
    "length": r.JudgeShift(32, 0.2, (0.1, 0.3), True),
    "faults": ("an answer made longer by nothing new gains +0.20 [0.10, 0.30]",),
}


def signals() -> m.SignalTable:
    row = m.SignalQuality(
        signal="probe_confidence",
        params={"of": "mean"},
        probe=m.ProbeSummary(("plain/direct/0.5",), 1),
        auroc=0.81,
        auroc_ci95=(0.74, 0.88),
        spearman=0.4,
        usd_per_item=2e-6,
        gain=0.011,
        gain_ci95=(0.002, 0.02),
        gain_if_free=0.02,
        gain_if_free_ci95=(0.01, 0.03),
        oracle_gain=0.05,
        oracle_gain_ci95=(0.04, 0.06),
        share_of_oracle_gain=0.22,
    )
    lost = replace(
        row, signal="length", params={}, probe=None, gain=-0.01, share_of_oracle_gain=-0.2
    )
    return m.SignalTable("steps/think/0.5", 40, (0.01, 0.03), (row, lost))


def router() -> m.SignalFitSummary:
    return m.SignalFitSummary(
        probe=None,
        direct="plain/direct/0.5",
        think="steps/think/0.5",
        items=90,
        thinking_pays_from=0.1,
        share_where_thinking_pays=0.4,
        share_predicted_above_that=0.5,
        collapsed=True,
        auroc=0.81,
        auroc_of_length=0.7,
        ece=0.05,
        log_loss=0.6,
        log_loss_of_the_share=0.7,
        reliability=(m.ReliabilityPoint(0.2, 0.1, 45),),
        weights={"words": 1.2345, "intercept": -0.4},
    )


def technique(prompt: str, gain: float, verdict: str) -> m.Technique:
    return m.Technique(
        prompt, "step_by_step", "think", (prompt, f"{prompt}2"), "plain/think/0.5", 40, 0.7 + gain,
        0.7, gain, (gain - 0.05, gain + 0.05), 0.6 + gain, 0.8 + gain, 1.5, 0.001, 0.004, verdict,
    )  # fmt: skip  # numbers


def escalation_row() -> m.EscalationRow:
    return m.EscalationRow(
        **vars(held_out("steps/think/0.5 | …@large: single()", 0.88, 2e-5)),
        name="where it pays",
        escalated=0.25,
        against="steps/think/0.5@large",
        compared=paired(-0.01, 0.45),
    )


def proposal_round() -> r.ProposalRound:
    return r.ProposalRound(
        round=1,
        prompts=(r.ProposedPrompt("p1", "mutation of plain"),),
        refused=(r.RefusedProposal("bootstrap", "it says the target"),),
        briefs=(),
        tried=(
            r.TriedCandidate("p2", "reflection on plain", "plain", 20, -0.1, (-0.2, 0.0), "worse"),
        ),
        before=BASELINE,
        after=POLICY,
        gain=r.RoundGain(60, 0.04, (0.01, 0.07), 1.2, (1.1, 1.3)),
        ended="no proposal passed",
    )


def policy_file(name: str, model: str, *, passed: bool) -> PolicyFile:
    vote = StrategySpec.of("self_consistency", samples=3)
    easy = Recipe((PLAIN,), StrategySpec.of("single"))
    policy = Policy((easy, Recipe((STEPS,), vote)), Difficulty("length", (-3.0,)))
    user = Message("user", "{{ question }}")
    buckets = (ExpectedBucket(60, 0.95, (0.9, 0.98)), ExpectedBucket(60, 0.75, (0.65, 0.83)))
    modes = {"direct": {"max_tokens": 32}, "think": {"max_tokens": 256}}
    return PolicyFile(
        name=f"sums-{name}",
        tier=Tier(name, model, Price(0.1, 0.4, as_of="2026-11-01", simulated=passed), modes),
        task=TASK,
        inputs=("question",),
        prompts={
            "plain": PromptTemplate("plain", (user,)),
            "steps": PromptTemplate("steps", (Message("system", "Work step by step."), user)),
        },
        policy=(policy.with_shares((0.5, 0.5)) if passed else Policy((easy,)).with_shares((1.0,))),
        expected=ExpectedFigures(buckets=buckets if passed else buckets[:1]),
        evidence=PolicyEvidence(looks_at_test=1 if passed else 9),
        provenance=Provenance("0.1.0", pool_sha256="b6" * 32, prices_as_of="2026-11-01"),
        deployable=passed,
    )


def table(shift: int = 0) -> SampleTable:
    """Items of one to six words; ``plain`` gets the short ones right, ``steps`` nearly all."""
    words = np.arange(N_ITEMS) % 6 + 1
    at = np.arange(N_ITEMS)[:, None] + np.arange(N_SAMPLES)[None, :] + shift
    right = {PLAIN: (words[:, None] <= 3) | (at % 5 == 0), STEPS: at % 6 != 0}
    variants = {
        variant: VariantTable(
            answers=np.where(ok, 0, 1).astype(np.int16),
            score=ok.astype(float),
            prompt_usd=np.full(ok.shape, 1e-6),
            completion_usd=np.full(ok.shape, (1 + (variant == STEPS)) * 1e-6),
            latency_s=np.full(ok.shape, 0.5),
        )
        for variant, ok in right.items()
    }
    inputs = tuple({"question": " ".join(["one"] * n)} for n in words)
    return SampleTable(tuple(f"i{i}" for i in range(N_ITEMS)), inputs, variants)


def tested(name: str) -> JudgedPolicies:
    rng = np.random.default_rng(len(name))
    policies = (BASELINE, POLICY, STEP)
    scores = (rng.random((3, 120)) < np.array([[0.70], [0.85], [0.80]])).astype(float)
    usd = np.repeat([[2e-6], [9e-6], [6e-6]], 120, axis=1)
    ids = tuple(f"t{i}" for i in range(120))
    none = np.zeros((3, 120), np.bool_)
    return JudgedPolicies(ids, {"baseline": 0}, policies, 0, scores, usd, np.ones((3, 120)), none)


def tier_files(name: str, place: int, *, passed: bool) -> TierFiles:
    model = f"openai/{name}"
    trials = tuple(
        r.TrialRow("sums/g1", i, 0.6 + 0.04 * i, (2 + i) * 1e-6, 1.0, 1.0, 1, "none", BASELINE)
        for i in range(8)
    )
    return TierFiles(
        name,
        place,
        tier_summary(model, passed=passed),
        policy_file(name, model, passed=passed),
        table(),
        table(1),
        table(2),
        tested(name),
        tested(name),
        trials,
    )


def planned() -> r.PlannedTier:
    expected, worst = r.UsageTotals(0.3, 1300, 60000.0), r.UsageTotals(1.8, 1300, 360000.0)
    stage = r.PlannedStage(2, 40, 160, 0, expected, worst)
    return r.PlannedTier("", {"screen": stage}, expected, worst)


def run(folder: Path) -> RunFiles:
    """The run, read; its folder holds only a job and targets."""
    (folder / "job.yaml").write_text("task: sums\n")
    (folder / "test_items.jsonl").write_text(
        "".join(f'{{"id": "i{i}", "inputs": {{}}, "target": "{i}"}}\n' for i in range(N_ITEMS))
    )
    tiers = {
        "small": tier_files("small", 0, passed=True),
        "large": tier_files("large", 1, passed=False),
    }
    summary = r.Summary(
        "tierwise/summary/v1",
        TASK,
        "default",
        "2026-11-30T12:00:00+00:00",
        0,
        None,
        {name: tier.summary for name, tier in tiers.items()},
        {"broken": "the provider refused the key"},
    )
    opened = RunDir(folder, "abc123", "2026-11-30T12:00:00+00:00")
    plan = {"small": planned()}
    return RunFiles(opened, None, plan, summary, tiers, summary.failed, ())
