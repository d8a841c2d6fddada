"""Tierwise from Python: what ``import tierwise as tw`` offers beside the values.

::

    task = tw.task_from_jsonl("mine.jsonl", inputs=["question"], target="answer", metric=my_metric)
    run = tw.tune(task, tiers={"mini": "openai/gpt-4o-mini"}, prompts=["{{ question }}"],
                  budget=tw.Budget(usd=5))
    run.policies["mini"].save("mini.yaml")
    run.frame("trials")                                    # pandas
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tierwise.errors import unknown_name
from tierwise.schema import (
    ANSWER,
    Budget,
    Job,
    LoadedTask,
    Message,
    PolicyFile,
    PromptTemplate,
    TierSpec,
)
from tierwise.tasks import AnswerSpec, Item, Task
from tierwise.tasks.data_files import Fields, load_items

if TYPE_CHECKING:
    import pandas as pd

    from tierwise.runs.tune import TuneResult
    from tierwise.schema.result import Summary
    from tierwise.search import Listener

Metric = Callable[[str, Item], float]
FRAMES = ("trials", "ablation")


def task_from_jsonl(
    path: Path | str,
    *,
    inputs: Sequence[str],
    target: str = "target",
    answer: AnswerSpec | None = None,
    metric: str | Metric = "exact_match",
    name: str | None = None,
) -> Task:
    """A task from a file of flat rows or items (``.jsonl``, ``.csv``, ``.json``, maybe gzipped).

    ``metric`` is a name, or a function (canonical answer, item) -> score in [0, 1]; an abstention
    scores 0 without a call.

    Raises:
        InputError: every fault of the file, with its line.
    """
    path = Path(path)
    items = load_items(path, inputs, Fields(target=target))
    settings: dict[str, Any] = {"metric": metric}
    if not isinstance(metric, str):
        settings = {"metric": getattr(metric, "__name__", "metric"), "scorer": _abstaining(metric)}
    named = name or path.name.split(".")[0]
    return Task(named, 1, tuple(inputs), items, answer or AnswerSpec(), **settings)


@dataclass(frozen=True)
class Run:
    """What ``tune`` came to."""

    result: TuneResult

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.result.run.path

    @property
    def policies(self) -> Mapping[str, PolicyFile]:
        """The policy of each tier."""
        return self.result.policies

    @property
    def summary(self) -> Summary:
        """``summary.json``."""
        return self.result.summary

    def frame(self, name: str) -> pd.DataFrame:
        """``trials`` (every policy that was judged) or ``ablation`` (a row a tier and step)."""
        import pandas as pd

        from tierwise.schema.result import to_data

        if name == "trials":
            return pd.read_csv(self.path / "trials.csv")
        if name == "ablation":
            rows = [
                {"tier": name, "step": step, **to_data(measured)}
                for name, tier in self.summary.tiers.items()
                for step, measured in [*tier.ablation.items(), ("oracle_bound", tier.oracle_bound)]
            ]
            return pd.json_normalize(rows)
        raise unknown_name("frame", name, FRAMES)


def tune(
    task: Task | str | Path,
    *,
    tiers: Mapping[str, str | TierSpec],
    prompts: Sequence[str | PromptTemplate] = (),
    budget: Budget | None = None,
    space: str = "default",
    out: Path | str | None = None,
    listener: Listener = lambda event: None,
    **settings: Any,
) -> Run:
    """Tune prompt and strategy for each tier; see ``tierwise tune`` and ``content.Job``.

    A ``Task`` needs ``prompts``: templates, or texts with ``{{ input }}`` placeholders, the first
    of them today's. ``settings`` are other fields of a job (``seed``, ``trials``, ``baseline`` …).
    A run of a task that lives in Python is resumed by the same call; ``tierwise replay`` needs a
    task that has a name or a path.

    Raises:
        TierwiseError: bad input, a budget too small, or a provider that failed on every tier.
    """
    from tierwise.runs.tune import tune as run_job

    specs = {n: t if isinstance(t, TierSpec) else TierSpec(t) for n, t in tiers.items()}
    named = task.name if isinstance(task, Task) else str(task)
    job = Job(task=named, space=space, tiers=specs, budget=budget or Budget(), **settings)
    folder = Path(out) if out else Path("runs") / Path(named).name
    loaded = _loaded(task, prompts) if isinstance(task, Task) else None
    return Run(run_job(job, folder, listener=listener, loaded=loaded))


def _loaded(task: Task, prompts: Sequence[str | PromptTemplate]) -> LoadedTask:
    templates = tuple(
        p if isinstance(p, PromptTemplate) else PromptTemplate(f"p{i}", (Message("user", p),))
        for i, p in enumerate(prompts)
    )
    given = [replace(t, origin="python") for t in templates]
    own = tuple(t for t in given if t.turn == ANSWER)
    return LoadedTask(task, own, Path(), own, tuple(t for t in given if t.turn != ANSWER))


def _abstaining(metric: Metric) -> Callable[[str | None, Item], float]:
    def score(answer: str | None, item: Item) -> float:
        return 0.0 if answer is None else float(metric(answer, item))

    return score
