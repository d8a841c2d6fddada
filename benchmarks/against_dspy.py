"""JointOptimizer against DSPy's optimizers at the same number of calls, on an embedded tier.

    python benchmarks/against_dspy.py                   # three seeds, about ten CPU-minutes
    python benchmarks/against_dspy.py --seeds 1 --calls 2500

Each seed interleaves 300 examples of the shipped arithmetic task to the optimizers; 400 others are
held out and answered by what each of them came to. All run ``embedded/small`` in the mode `think`,
and may make as many calls (samples) as each other:

    student            the program as it is, at one sample
    bootstrap          dspy.BootstrapFewShotWithRandomSearch
    mipro              dspy.MIPROv2, with the catalogue in place of its proposer
    bootstrap + vote   the better half of the budget's calls for the one, the other half for a
    mipro + vote       vote tuned on its program (JointOptimizer, with no proposals)
    joint              JointOptimizer: prompt, temperature, vote and buckets together

An embedded tier cannot write instructions: all choose from a labelled catalogue of the paraphrases
that it was trained on. So the figures are about demonstrations, paraphrases and votes, and say
nothing about a proposer. What DSPy returns is its best on 100 validation examples; of
JointOptimizer the policy that was selected is taken, at two operating points, whether or not its
gate would export it.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import dspy
from tierwise.dspy import EmbeddedAdapter, JointOptimizer, Proposing, tier_lm
from tierwise.dspy.adapter import STUDENT, adapter_of, signature_answer_spec, signature_template
from tierwise.dspy.examples import read_examples
from tierwise.evaluation import Evaluator, Permutations
from tierwise.llm.models import open_model, resolve_tier
from tierwise.pool import Account, Buyer, SamplePool, Supply
from tierwise.proposals import CandidateRegistry, propose_from_catalogue
from tierwise.proposals.proposers import silenced_dspy
from tierwise.runs import load_task
from tierwise.schema import (
    Policy,
    PromptTemplate,
    StrategySpec,
    TierSpec,
    UsageLimits,
    Variant,
    uniform,
)
from tierwise.search.problem import SearchSize
from tierwise.search.samples import samples_needed
from tierwise.stats.comparisons import PairedBootstrap
from tierwise.stats.intervals import bootstrap_mean

MODEL, MODE, COLD = "embedded/small", "think", 0.3
TRAIN, VALIDATION, HELD_OUT = 200, 100, 400
DEMOS, WORDINGS, SAMPLES = 4, 5, 4
SPACE = """
prompts: {demos: [0]}
temperature: [0.3, 0.8]
variants: [1, 2]
modes: [think]
strategies:
  single: {}
  self_consistency: {samples: {low: 2, high: 7}}
  adaptive_consistency: {threshold: {low: 0.7, high: 0.97}, max_samples: {low: 3, high: 7}}
difficulty: {signals: [none, length, probe_agreement], buckets: [1, 2], probe_samples: 2}
"""
# Little is kept back for a test of its own: what is held out is judged below, for all alike.
EFFORT = SearchSize(study_variants=3, test_items=8, permutations=16)
EXACT = dspy.ChainOfThought("question -> answer")


def exact(example: Any, prediction: Any, trace: object = None) -> bool:
    return bool(example.answer == prediction.answer)


@dataclass(frozen=True)
class Way:
    """What an optimizer came to: a policy with its prompts, and the calls that it took."""

    policy: Policy
    prompts: Mapping[str, PromptTemplate]
    calls: int


@dataclass(frozen=True)
class Judged:
    """(n_items,) each, over the samples' orders."""

    score: np.ndarray
    usd: np.ndarray
    samples: np.ndarray


def interleave(seed: int) -> tuple[list[Any], list[Any]]:
    """The optimizers' examples of a seed, and the held-out ones, which are always the same."""
    items = sorted(load_task("arithmetic").task.items, key=lambda item: item.content_sha256)
    shown = [
        dspy.Example(question=i.inputs["question"], answer=i.target).with_inputs("question")
        for i in items
    ]
    held_out, rest = shown[:HELD_OUT], shown[HELD_OUT:]
    return random.Random(seed).sample(rest, TRAIN + VALIDATION), held_out


class Catalogued(dspy.MIPROv2):  # type: ignore[misc]  # DSPy has no types
    """MIPROv2 whose instructions are the catalogue's paraphrases."""

    def _propose_instructions(
        self, program: Any, *args: Any, **kwargs: Any
    ) -> dict[int, list[str]]:
        registry = CandidateRegistry()
        propose_from_catalogue(registry, n=WORDINGS)
        own = program.predictors()[0].signature.instructions
        return {0: [own, *(c.text for c in registry.candidates)]}


def bootstrap(examples: Sequence[Any], calls: int, seed: int) -> list[tuple[float, Any]]:
    """(score, program) of its candidates, in the order in which they were tried."""
    train = list(examples[:TRAIN])
    random.Random(seed).shuffle(train)  # its own seeds are fixed
    candidates = max(1, calls // (VALIDATION + 10) - 3)  # beside three that are fixed
    optimizer = dspy.BootstrapFewShotWithRandomSearch(
        exact,
        max_bootstrapped_demos=DEMOS,
        max_labeled_demos=DEMOS,
        num_candidate_programs=candidates,
        num_threads=1,
        max_errors=1000,
    )
    best = optimizer.compile(EXACT, trainset=train, valset=list(examples[TRAIN:]))
    tried = sorted(best.candidate_programs, key=lambda c: c["seed"])
    return [(c["score"], c["program"]) for c in tried]


def mipro(examples: Sequence[Any], calls: int, seed: int) -> list[tuple[float, Any]]:
    """(score, program) of its full evaluations, in order."""
    # A trial is 35 calls, and every fifth has a full evaluation.
    trials = max(5, int((calls - 2 * VALIDATION - 150) / (35 + VALIDATION / 5)))
    optimizer = Catalogued(
        exact,
        prompt_model=dspy.settings.lm,
        task_model=dspy.settings.lm,
        auto=None,
        num_candidates=WORDINGS + 1,
        num_threads=1,
        max_bootstrapped_demos=DEMOS,
        max_labeled_demos=DEMOS,
        seed=seed,
        max_errors=1000,
    )
    best = optimizer.compile(
        EXACT, trainset=list(examples[:TRAIN]), valset=list(examples[TRAIN:]), num_trials=trials
    )
    logs = [best.trial_logs[n] for n in sorted(best.trial_logs)]
    return [(t["full_eval_score"], t["full_eval_program"]) for t in logs if "full_eval_score" in t]


def of_dspy(name: str, examples: Sequence[Any], calls: int, seed: int) -> tuple[Way, Any]:
    """Its best program as a policy at one sample, and its best program of half of the
    candidates."""
    lm = tier_lm(MODEL, MODE, temperature=COLD)
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)
    run = {"bootstrap": bootstrap, "mipro": mipro}[name]
    with dspy.context(lm=lm, adapter=EmbeddedAdapter()), silenced_dspy():
        tried = run(examples, calls, seed)
    used = lm.engine.calls
    lm.engine.close()
    best = max(tried, key=lambda pair: pair[0])[1]
    half = max(tried[: max(1, len(tried) // 2)], key=lambda pair: pair[0])[1]
    return one_sample(best, used), half


def one_sample(program: Any, calls: int) -> Way:
    predictor = program.predictors()[0]
    signature = predictor.signature
    demos = [
        {n: str(d[n]) for n in signature.fields if d.get(n) is not None} for d in predictor.demos
    ]
    prompt = signature_template(STUDENT, STUDENT, signature, demos, adapter_of(MODEL))
    policy = uniform(Variant(STUDENT, MODE, COLD), StrategySpec.of("single"))
    return Way(policy, {STUDENT: prompt}, calls)


def joint(
    student: Any, examples: Sequence[Any], calls: int, seed: int, proposing: Proposing
) -> dict[str, Way]:
    """The selected policies at the balanced and at the quality point."""
    with tempfile.TemporaryDirectory() as folder:
        space = Path(folder) / "space.yaml"
        space.write_text(SPACE)
        spec = TierSpec(MODEL, takes_n=False)  # so that a call is a sample, as it is in DSPy
        optimizer = JointOptimizer(
            exact,
            {"small": spec},
            str(space),
            max_calls=calls,
            trials=200,
            seed=seed,
            proposing=proposing,
            out=Path(folder) / "run",
            search_size=EFFORT,
        )
        optimizer.compile(student, trainset=list(examples)).predictors()[0].close()
        assert optimizer.result is not None
        found = optimizer.result.found["small"]
        spent = optimizer.result.summary
        assert spent.proposals is not None
        used = spent.tiers["small"].spending.calls + spent.proposals.calls
        prompts = found.problem.variants.prompts
        return {
            point: Way(found.points[point].policy, prompts, used)
            for point in ("balanced", "quality")
        }


def judge(way: Way, examples: Sequence[Any]) -> Judged:
    """On held-out examples, over as many samples as the policy may take and at least
    ``SAMPLES``."""
    signature = EXACT.predict.signature
    spec = signature_answer_spec(signature, adapter_of(MODEL), None)
    task = read_examples(signature, exact, spec, examples, None, {"test": 1}, least={}).task
    tier = resolve_tier("small", MODEL)
    model = open_model(tier)
    with tempfile.TemporaryDirectory() as folder, SamplePool.open(Path(folder) / "p") as pool:
        supply = Supply(tier, model, way.prompts)
        buyer = Buyer(pool, task, supply, Account("held out", 99, UsageLimits()))
        table = buyer.table(task.splits["test"], samples_needed([way.policy], SAMPLES), "held out")
    model.close()
    got = Evaluator(table, Permutations(16, 0), exact=False).evaluate(way.policy)
    order = np.argsort(table.item_ids)
    return Judged(got.score[order], got.usd[order], got.samples[order])


def one_seed(seed: int, calls: int) -> dict[str, tuple[Way, Judged]]:
    examples, held_out = interleave(seed)
    none = Proposing(grounded=0, reflected=0, demo_sets=(), most_prompts=1, rounds=1)
    ways = {"student": one_sample(EXACT, 0)}
    for name in ("bootstrap", "mipro"):
        ways[name], half = of_dspy(name, examples, calls, seed)
        for point, way in joint(half, examples, calls // 2, seed, none).items():
            total = ways[name].calls // 2 + way.calls
            ways[f"{name} + vote, {point}"] = Way(way.policy, way.prompts, total)
    some = Proposing(grounded=WORDINGS - 1, demo_sets=(DEMOS,), most_prompts=WORDINGS, rounds=1)
    for point, way in joint(EXACT, examples, calls, seed, some).items():
        ways[f"joint, {point}"] = way
    return {name: (way, judge(way, held_out)) for name, way in ways.items()}


def shown(runs: Sequence[Mapping[str, tuple[Way, Judged]]]) -> list[dict[str, Any]]:
    """A row a way: means over seeds, intervals over held-out items, paired with ``joint``."""
    rows = []
    over: dict[str, Judged] = {}
    for name in runs[0]:
        judged = [run[name][1] for run in runs]
        over[name] = Judged(
            *(
                np.mean([getattr(j, field) for j in judged], axis=0)
                for field in ("score", "usd", "samples")
            )
        )
    for name, mean in over.items():
        score = bootstrap_mean(mean.score, bounds=(0.0, 1.0))
        row: dict[str, Any] = {
            "way": name,
            "score": score.mean,
            "score_ci95": [score.low, score.high],
            "score_by_seed": [float(run[name][1].score.mean()) for run in runs],
            "usd_per_1000": 1000 * float(mean.usd.mean()),
            "samples": float(mean.samples.mean()),
            "calls_by_seed": [run[name][0].calls for run in runs],
        }
        for point in ("balanced", "quality"):
            other = over[f"joint, {point}"]
            paired = PairedBootstrap(len(mean.score), 0)
            difference = paired.difference(other.score, mean.score)
            row[f"joint_{point}_less_it"] = [difference.mean, difference.low, difference.high]
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--json", type=Path, help="where to write the rows")
    args = parser.parse_args()
    started = time.process_time()
    runs = []
    for seed in range(1, args.seeds + 1):
        runs.append(one_seed(seed, args.calls))
        print(f"seed {seed}: {time.process_time() - started:.0f} CPU-s", flush=True)
        for name, (way, got) in runs[-1].items():
            print(f"  {name:27} {got.score.mean():.3f}  {way.policy!s}", flush=True)
    rows = shown(runs)
    print(f"\n{MODEL}, {args.calls} calls each, {args.seeds} seeds, {HELD_OUT} held-out items.")
    print("Instructions are from a catalogue: this compares demonstrations, paraphrases and votes,")
    print("and no proposer. Intervals are 95%, over items; dollars are simulated.\n")
    head = ("way", "score", "95%", "by seed", "$/1,000", "samples", "calls")
    print(f"{head[0]:27} {head[1]:6} {head[2]:13} {head[3]:18} {head[4]:8} {head[5]:6} {head[6]}")
    for r in rows:
        low, high = r["score_ci95"]
        seeds = " ".join(f"{s:.3f}" for s in r["score_by_seed"])
        calls = " ".join(map(str, r["calls_by_seed"]))
        print(
            f"{r['way']:27} {r['score']:.3f}  [{low:.3f},{high:.3f}] {seeds:18} "
            f"{r['usd_per_1000']:<8.4f} {r['samples']:<6.2f} {calls}"
        )
    print("\njoint less it, paired by item")
    for r in rows:
        said = [
            f"{p} {d[0]:+.3f} [{d[1]:+.3f}, {d[2]:+.3f}]"
            for p in ("balanced", "quality")
            for d in [r[f"joint_{p}_less_it"]]
        ]
        print(f"{r['way']:27} {'   '.join(said)}")
    print(f"\n{time.process_time() - started:.0f} CPU-s")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
