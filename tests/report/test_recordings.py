"""Recorded answers of real models: every cell of their table, the best prompt of a tier, ties."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.estimators import mcnemar_exact
from tierwise.analysis.prompts import rank_prompts
from tierwise.llm.models import resolve_tier
from tierwise.llm.recorded import Recording
from tierwise.runs import load_task
from tierwise.runs.recorded_depth import recorded_depth
from tierwise.runs.recorded_samples import RecordedSamples
from tierwise.schema import Price

FOLDER = Path(__file__).parents[3] / "shared" / "recordings"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the recordings are not here")

TASK = """name: {name}
version: 1
inputs: [question]
items: {items}
answer: {{normalise: none}}
metric: recorded
"""
PROMPTS = ("standard", "COT", "LtM", "noNL", "NL+SL")
README = {
    ("gsm8k", "code002"): (20, 63, 38, 73, 72),
    ("gsm8k", "gpt-3.5-turbo"): (23, 80, 68, 76, 76),
    ("gsm8k", "gpt4"): (47, 65, 92, 94, 95),
    ("aqua", "gpt4"): (50, 75, 72, 74, 74),
    ("sports", "gpt-3.5-turbo"): (87, 96, 97, 96, 52),
}
"""Percent right at one greedy sample, as the folder's README has it."""


def everything(name: str, model: str, folder: Path):
    """All that is recorded of a model, as ``compare`` reads it from a run's directory."""
    path = FOLDER / f"{name}_prompts_by_tier.jsonl.gz"
    items = FOLDER / f"{name}_prompts_by_tier.items.jsonl.gz"
    (folder / "task.yaml").write_text(TASK.format(name=name, items=items))
    task = load_task(str(folder / "task.yaml"), prompts_needed=False).task
    tier = resolve_tier("t", f"recorded/{model}", price=Price(1, 1), recordings=str(path))
    recording = Recording.load(path, f"recorded/{model}")
    depth = recorded_depth(recording, task, None, {})
    return RecordedSamples(recording, task, tier, depth).everything()


@pytest.mark.parametrize(("name", "model"), README)
def test_every_cell_of_the_readme_is_reproduced_within_rounding(name, model, tmp_path):
    found = {r.one.variant.prompt: r for r in rank_prompts(everything(name, model, tmp_path))}
    for prompt, percent in zip(PROMPTS, README[name, model], strict=True):
        assert abs(100 * found[prompt].score.mean - percent) <= 0.5 + 1e-9
        assert found[prompt].score.low < percent / 100 < found[prompt].score.high
        assert (
            found[prompt].one.samples == 1
        )  # one greedy sample is one sample: no vote is invented


@pytest.mark.parametrize("name", ["aqua", "date", "gsm8k", "sports", "svamp"])
def test_the_best_prompt_is_named_and_ties_agree_with_the_exact_test(name, tmp_path):
    model = "gpt-3.5-turbo"
    table = everything(name, model, tmp_path)
    rows = rank_prompts(table)
    assert [r.best for r in rows] == [True] + [False] * (len(rows) - 1)
    assert rows[0].score.mean == max(r.score.mean for r in rows)
    best = rows[0].one.score
    for r in rows[1:]:
        both = ~(np.isnan(best) | np.isnan(r.one.score))
        ours, theirs = best[both] == 1, r.one.score[both] == 1
        p = mcnemar_exact(int((ours & ~theirs).sum()), int((theirs & ~ours).sum()))
        if p < 0.02:
            assert r.separable
        if p > 0.1:
            assert not r.separable
