"""Tune on recorded answers of real models, and say whether what was chosen holds on all of them.

    python benchmarks/recordings.py FOLDER [--only gsm8k …] [--out DIR]

FOLDER holds recordings (``NAME.jsonl.gz`` and ``NAME.items.jsonl.gz``; docs/real_models.md has the
format) of the five sets of questions of Faithful-COT, by tier and prompt at one greedy sample, and of
the game of 24 at a hundred samples. For every tier: the accuracies of ``tierwise compare`` beside
those that are published, whether the prompt that tuning chose is among those that a paired 95%
interval over all items cannot tell from the best, and whether a sample was used that is not in the
file. For the game: the front with and without the verifier. Ends with 1 where a check fails.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tierwise.analysis.prompts import PromptRow, prompt_rows, rank_prompts
from tierwise.evaluation import Evaluator, Permutations
from tierwise.llm.recorded import Recording
from tierwise.runs.artifacts import read_run
from tierwise.runs.tune import TuneResult, tune
from tierwise.schema import load_job
from tierwise.search.tier import TierResult
from tierwise.stats import Interval, paired_differences

SETS = ("gsm8k", "aqua", "date", "sports", "svamp")
PROMPTS = ("standard", "COT", "LtM", "noNL", "NL+SL")
PUBLISHED = {
    ("gsm8k", "code002"): (20, 63, 38, 73, 72),
    ("gsm8k", "gpt-3.5-turbo"): (23, 80, 68, 76, 76),
    ("gsm8k", "gpt4"): (47, 65, 92, 94, 95),
    ("aqua", "gpt4"): (50, 75, 72, 74, 74),
    ("sports", "gpt-3.5-turbo"): (87, 96, 97, 96, 52),
}
"""Accuracy in per cent of PROMPTS, as the recordings' README gives it."""
PRICES = {"gpt-3.5-turbo": (0.5, 1.5), "gpt4": (30.0, 60.0), "gpt-4": (30.0, 60.0)}
"""Dollars per million prompt and completion tokens; the completion models were at 20."""
OLD = (20.0, 20.0)

GAME_SPACE = """
temperature: [0.7]
variants: [1]
modes: [direct, think]
strategies: {single: {}, self_consistency: {samples: {low: 2, high: 100, log: true}}%s}
difficulty: {signals: [none], buckets: [1]}
"""
VERIFIED = ", best_of_n: {samples: {low: 2, high: 100, log: true}, verifier: [game24]}"


@dataclass(frozen=True)
class Source:
    """A recording, and the models in it."""

    name: str
    path: Path
    models: tuple[str, ...]

    @classmethod
    def of(cls, name: str, path: Path) -> Source:
        """Read off the file which models it has."""
        from tierwise.llm.recorded import read_recording

        _, lines = read_recording(path)
        return cls(name, path, tuple(dict.fromkeys(line.model for line in lines)))

    def job(self, folder: Path, *, space: str = "default", verifiers: str = "[]") -> Path:
        """A job of all its tiers, with a task that scores as the recording does."""
        folder.mkdir(parents=True)
        items = self.path.with_name(self.path.name.replace(".jsonl", ".items.jsonl"))
        (folder / "task.yaml").write_text(
            f"name: {self.name}\ninputs: [question]\nitems: {items}\nmetric: recorded\n"
            "splits: {train: 0.0, validation: 0.7, test: 0.3}\n"
            f"verifiers: {verifiers}\n"
        )
        tiers = {}
        for model in self.models:
            prompt, completion = PRICES.get(model, OLD)
            tiers[model] = {
                "model": f"recorded/{model}",
                "recordings": str(self.path),
                "price": {"prompt_usd_per_mtok": prompt, "completion_usd_per_mtok": completion},
            }
        job = {"task": "task.yaml", "space": space, "tiers": tiers, "operating_point": "quality"}
        path = folder / "job.yaml"
        path.write_text(json.dumps(job))
        return path


def run(source: Source, folder: Path, **job: str) -> TuneResult:
    """Tune all tiers of a recording."""
    return tune(load_job(source.job(folder / "job", **job)), folder / "run")


def invented(result: TuneResult, source: Source) -> int:
    """Samples of the run's tables whose cost or score is not that of the recorded sample."""
    wrong = 0
    for name, found in result.found.items():
        recording = Recording.load(source.path, name)
        for table in (found.prompt_table, found.study_table, found.held_out.table):
            for variant, rows in table.variants.items():
                for i, item in enumerate(table.item_ids):
                    for d in np.flatnonzero(~np.isnan(rows.score[i])):
                        sample = recording.sample(variant, item, int(d))
                        wrong += sample is None or sample.score != rows.score[i, d]
    return wrong


class Chosen(NamedTuple):
    """What tuning chose on its own items, held against all items.

    ``prompt`` is the best at one sample; ``policy`` are the prompts of the policy that was found (not
    of the baseline that stays where the gate is not passed), and ``behind`` is how far the best
    prompt is ahead of it over all items.
    """

    prompt: str
    policy: tuple[str, ...]
    behind: Interval

    @classmethod
    def of(cls, found: TierResult) -> Chosen:
        """Of one tier."""
        (recipe,) = found.held_out.ablation_steps["best_prompt_one_sample"].buckets
        policy = found.points[found.chosen].policy
        judged = Evaluator(found.prompt_table, Permutations(16, 0)).evaluate(policy)
        best = rank_prompts(found.prompt_table)[0].one
        (behind,) = paired_differences(best.score, judged.score[None])
        used = sorted({variant.prompt for r in policy.buckets for variant in r.variants})
        return cls(recipe.variants[0].prompt, tuple(used), behind)


def accuracies(rows: Sequence[PromptRow], tier: str) -> dict[str, PromptRow]:
    """Prompt -> its row of ``tierwise compare``."""
    return {row.prompt: row for row in rows if row.tier == tier}


def by_prompt(source: Source, folder: Path) -> list[str]:
    """Tune a set of questions, print what came, and return what does not hold."""
    started_s = time.perf_counter()
    result = run(source, folder)
    rows = [row for tier in read_run(result.run.path).tiers.values() for row in prompt_rows(tier)]
    faults = (
        [f"{source.name}: {n} samples are not the recording's"]
        if (n := invented(result, source))
        else []
    )
    say(
        f"\n{source.name}: {len(source.models)} tiers, {time.perf_counter() - started_s:.0f} s, "
        f"invented samples {n}"
    )
    for model in source.models:
        seen = accuracies(rows, model)
        ties = {prompt for prompt, row in seen.items() if not row.separable}
        got = Chosen.of(result.found[model])
        ok = got.prompt in ties and not got.behind.low > 0
        scores = "/".join(f"{100 * seen[p].score.mean:.1f}" for p in PROMPTS)
        mean, low, high = (-100 * v for v in (got.behind.mean, got.behind.high, got.behind.low))
        say(
            f"  {model:14} {scores:26} best at one sample: {got.prompt:9}"
            f" {'in' if got.prompt in ties else 'NOT in'} {{{', '.join(sorted(ties))}}};"
            f" policy {'+'.join(got.policy)}: {mean:+.1f} [{low:+.1f}, {high:+.1f}]"
        )
        if not ok:
            faults.append(f"{source.name} {model}: {got} is separable from the best of {ties}")
        published = PUBLISHED.get((source.name, model))
        rounded = tuple(round(100 * seen[p].score.mean) for p in PROMPTS)
        if published and rounded != published:
            faults.append(f"{source.name} {model}: {rounded} is not the published {published}")
    return faults


def game24(source: Source, folder: Path) -> list[str]:
    """The game's fronts, with the verifier and without."""
    fronts: dict[str, dict[str, list[float]]] = {}
    for how, strategies in (("with the verifier", VERIFIED), ("without", "")):
        place = folder / how.split()[0]
        place.mkdir(parents=True)
        space = place / "space.yaml"
        space.write_text(GAME_SPACE % strategies)
        result = run(source, place, space=str(space), verifiers="[game24]")
        (found,) = result.found.values()
        front = sorted(found.study_rounds[-1].front(), key=lambda judged: judged.usd)
        fronts[how] = {"io": [], "cot": []}
        for judged in front:
            fronts[how][judged.policy.buckets[0].variants[0].prompt].append(judged.usd)
        say(
            f"\ngame24 {how}: invented samples {invented(result, source)}; the front on "
            f"{found.study_table.n_items} study items:"
        )
        for judged in front:
            (recipe,) = judged.policy.buckets
            say(
                f"  ${judged.usd:.5f} an item  {judged.score:.3f}  {recipe.variants[0].prompt} "
                f"{recipe.strategy}"
            )
    with_verifier, without = fronts.values()
    io, cot = with_verifier["io"], with_verifier["cot"]
    # Where the two curves cross they tie, and the front may take turns: within a fifth of dollars.
    crossing = io and cot and min(io) < min(cot) and max(io) < min(1.2 * min(cot), max(cot))
    return [
        fault
        for fault, holds in (
            ("game24: the front does not go from io to cot", crossing),
            ("game24: io does not lead without the verifier", without["io"] and not without["cot"]),
        )
        if not holds
    ]


def say(text: str) -> None:
    """To stdout, at once."""
    print(text, flush=True)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=(*SETS, "game24"), default=(*SETS, "game24"))
    parser.add_argument("--out", type=Path, help="keep the run directories here")
    asked = parser.parse_args()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as kept:
        out = asked.out or Path(kept)
        for name in asked.only:
            if name == "game24":
                path = asked.folder / "game24_gpt4_100_draws.jsonl.gz"
                faults += game24(Source.of(name, path), out / name)
            else:
                path = asked.folder / f"{name}_prompts_by_tier.jsonl.gz"
                faults += by_prompt(Source.of(name, path), out / name)
    say("\n" + ("\n".join(faults) if faults else "every check holds"))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
