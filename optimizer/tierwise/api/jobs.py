"""``tune`` and ``plan``: data and prompts in memory become a task and a job of the common kind."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tierwise.api.results import JobPlan, Run, in_python
from tierwise.errors import InputError, printable, unknown_name
from tierwise.schema import (
    ANSWER,
    Budget,
    Job,
    Judge,
    JudgeSpec,
    LoadedTask,
    Message,
    PromptTemplate,
    Setting,
    TierSpec,
    find_task,
)
from tierwise.schema.fields import check_name
from tierwise.schema.yaml_io import Document, read_as
from tierwise.tasks import JUDGED, AnswerSpec, Item, Task, form_for, parts_of, unscored

if TYPE_CHECKING:
    from tierwise.search import Event, Listener

PromptLike = str | PromptTemplate | Sequence[Mapping[str, str]]
"""A text with ``{{ input }}`` placeholders, or chat messages, or a template."""

MetricLike = str | Mapping[str, Any] | JudgeSpec | Callable[[str, Item], Any]
"""A name, ``{name: parameters}``, a judge, or a function (answer, item) -> score."""

DATA_FILES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".tab", ".gz", ".parquet", ".xlsx")
LONGEST_PATH = 4096
_ARGUMENTS = (
    *("prompts", "inputs", "target", "metric", "answer"),
    *("name", "out", "fresh", "progress", "listener"),
)


def tune(
    data: Any,
    *,
    tiers: str | Mapping[str, str | TierSpec],
    prompts: Sequence[PromptLike] | Mapping[str, PromptLike] = (),
    inputs: Sequence[str] | None = None,
    target: str | None = "target",
    metric: MetricLike = "exact_match",
    answer: AnswerSpec | None = None,
    budget: Budget | float | None = None,
    space: str = "default",
    name: str | None = None,
    out: Path | str | None = None,
    fresh: bool = False,
    progress: bool = True,
    listener: Listener | None = None,
    **settings: Any,
) -> Run:
    """Tune prompt and inference strategy for each tier, and return the finished run.

    Args:
        data: a DataFrame, a list of dicts, a ``datasets.Dataset``, DSPy examples, a file of such
            rows, a ``tw.Task``, or the name or path of a task (``task.yaml``).
        tiers: name -> model string or ``tw.Tier``; a model string alone is one tier.
        prompts: the first is the prompt in use today, which every gain is measured against.
        inputs: columns that prompts may use; left out, those that the prompts use.
        target: the column with the right answer; None where a judge needs none.
        metric: a name, ``{name: parameters}``, a ``tw.Judge``, or a function (answer, item) ->
            score from 0 to 1; ``{"weighted": {…}}`` takes a judge as a part.
        answer: how answers are read from a completion; left out, the whole text.
        budget: a ``tw.Budget``, or dollars.
        space: a search space's name or path.
        name: of the task, in policies and folders.
        out: the run's folder, ``runs/NAME-HASH`` if left out; the same call goes on with it.
        fresh: begin anew beside a run that is in that folder.
        progress: one line on stderr that says how far it is.
        listener: called with each event of the search.
        settings: other fields of a job: ``trials``, ``seed``, ``operating_point`` …

    Raises:
        TierwiseError: bad input, a budget too small, or a provider that failed on every tier.
    """
    from tierwise.runs.tune import tune as run_job

    with in_python():
        loaded = _loaded(data, prompts, _Reading(inputs, target, metric, answer, name))
        job = _job(data, loaded, tiers, budget, space, settings)
        folder = Path(out) if out else Path("runs") / Path(job.task).name
        heard = ProgressLine(sys.stderr) if progress else None
        try:
            listeners = _to_both(heard, listener)
            found = run_job(job, folder, listener=listeners, fresh=fresh, loaded=loaded)
        finally:
            if heard is not None:
                heard.end()
        return Run(found.run.path, loaded.prompts if loaded else ())


def plan(
    data: Any,
    *,
    tiers: str | Mapping[str, str | TierSpec],
    prompts: Sequence[PromptLike] | Mapping[str, PromptLike] = (),
    inputs: Sequence[str] | None = None,
    target: str | None = "target",
    metric: MetricLike = "exact_match",
    answer: AnswerSpec | None = None,
    budget: Budget | float | None = None,
    space: str = "default",
    name: str | None = None,
    **settings: Any,
) -> JobPlan:
    """What ``tune`` with the same arguments would buy and cost, without a single call.

    Raises:
        TierwiseError: bad input.
    """
    from tierwise.runs.plan import plan as planned
    from tierwise.runs.plan import plan_file
    from tierwise.runs.prepare import prepare

    with in_python():
        loaded = _loaded(data, prompts, _Reading(inputs, target, metric, answer, name))
        job = _job(data, loaded, tiers, budget, space, settings)
        return JobPlan(plan_file(planned(prepare(job, loaded))).tiers)


class ProgressLine:
    """One line that says how far a run is: it is rewritten on a terminal and in a notebook.

    Elsewhere, as in the log of a script, each stage of a tier gets a line of its own.
    """

    EVERY_S = 0.2

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._rewrites = out.isatty() or "ipykernel" in sys.modules
        self._tiers: dict[str, str] = {}
        self._usd: dict[str, float] = {}
        self._shown_s, self._width = 0.0, 0

    def hear(self, event: Event) -> None:
        """Take an event of the search; it may come from any tier's thread."""
        from tierwise.search import Bought, Finished, Started

        if isinstance(event, Bought):
            done, planned = event.progress.samples_done, event.progress.samples_planned
            waiting = f" ({event.progress.waiting})" if event.progress.waiting else ""
            self._tiers[event.tier] = f"{event.stage} {done:,}/{planned:,}{waiting}"
            self._usd[event.tier] = event.usd
            if not self._rewrites or time.monotonic() - self._shown_s < self.EVERY_S:
                return
        elif isinstance(event, Started):
            self._tiers[event.tier] = event.stage
        elif isinstance(event, Finished):
            self._tiers[event.tier] = "done" if event.ok else f"failed: {event.message}"
        else:
            return
        self._show()

    def end(self) -> None:
        """End the line."""
        if self._width:
            self._out.write("\n")
            self._out.flush()

    def _show(self) -> None:
        tiers = "  ".join(f"{name}: {state}" for name, state in list(self._tiers.items()))
        line = printable(f"tierwise  {tiers}  ${sum(self._usd.values()):.4f}", one_line=True)
        if self._rewrites:
            self._out.write("\r" + line[:160].ljust(self._width))
            self._width = min(len(line), 160)
        else:
            self._out.write(line + "\n")
        self._out.flush()
        self._shown_s = time.monotonic()


@dataclass(frozen=True)
class _Reading:
    """How rows become a task."""

    inputs: Sequence[str] | None
    target: str | None
    metric: MetricLike
    answer: AnswerSpec | None
    name: str | None

    def __post_init__(self) -> None:
        if isinstance(self.inputs, str):
            object.__setattr__(self, "inputs", [self.inputs])
        if isinstance(self.metric, JudgeSpec):
            object.__setattr__(self, "metric", {JUDGED: self.metric})
        if not isinstance(self.metric, str | Mapping) and not callable(self.metric):
            raise InputError(
                "metric= is a name, {name: parameters}, a tw.Judge or a function (answer, item) -> "
                f"score, got a {type(self.metric).__name__}"
            )
        if self.answer is not None and not isinstance(self.answer, AnswerSpec):
            raise InputError(
                f"answer= is a tw.AnswerSpec, such as tw.AnswerSpec(regex=…), got {self.answer!r}"
            )
        if self.answer is None and not callable(self.metric):
            object.__setattr__(self, "answer", form_for(self.metric))
        if not isinstance(self.target, str | None):
            raise InputError(f"target= is the name of a column, got {self.target!r}")
        if self.name is not None:
            check_name("name=", str(self.name))

    @functools.cached_property
    def judge(self) -> JudgeSpec | None:
        """The judge that is the metric, or one of its parts."""
        metric: Any = self.metric if isinstance(self.metric, Mapping) else {}
        parts = metric.get("weighted")
        among = parts if isinstance(parts, Mapping) else metric
        spec = among.get(JUDGED)
        if isinstance(spec, Mapping):
            return read_as(JudgeSpec, Document(dict(spec), None))
        return spec if isinstance(spec, JudgeSpec) else None

    @property
    def _metric(self) -> Any:
        """The metric as a task takes it, without its judge."""
        if self.judge is None or not isinstance(self.metric, Mapping):
            return self.metric
        if JUDGED in self.metric:
            return unscored
        weight = {"weight": self.judge.weight}
        return {"weighted": {**self.metric["weighted"], JUDGED: weight}}

    def task(self, data: Any, templates: Sequence[PromptTemplate]) -> Task:
        """The task of the rows of ``data``."""
        if isinstance(data, Task):
            return data
        used = dict.fromkeys(field for template in templates for field in template.fields)
        inputs = tuple(used) if self.inputs is None else tuple(self.inputs)
        shared: dict[str, Any] = {
            "inputs": inputs,
            "target": self.target,
            "metric": self._metric,
            "answer": self.answer,
        }
        if isinstance(data, str | Path):
            from tierwise.tasks.data_files import columns_of

            shared["target"] = self._check(inputs, columns_of(Path(data)))
            return Task.from_file(data, name=self.name, **shared)
        from tierwise.tasks.rows import columns_in

        shared["target"] = self._check(inputs, columns_in(data))
        return Task.from_rows(data, name=self.name or "task", **shared)

    def _check(self, inputs: Sequence[str], columns: Sequence[str]) -> str | None:
        """The column of the right answers, if there is one; raises where a column is missing."""
        if columns and not inputs:
            raise InputError(
                "no inputs: a prompt uses a column as {{ column }}, and inputs=[…] names more; the "
                f"columns are {', '.join(columns)}"
            )
        if not columns:
            raise InputError("there are no rows in the data")
        alone = self.judge is not None and self.judge.needs_no_target(self.metric)
        if alone and self.target == "target" and self.target not in columns:
            return None
        if "inputs" in columns:  # rows of items, with their inputs by name
            return self.target
        for name in inputs:
            if name not in columns:
                raise unknown_name("column", name, columns)
        if self.target is not None and self.target not in columns:
            hint = "; a judge that needs no right answer has reference=False" if self.judge else ""
            raise InputError(
                f'target="{self.target}" is no column of the data: '
                + unknown_name("column", self.target, columns).message
                + hint
            )
        return self.target


def _loaded(
    data: Any, prompts: Sequence[PromptLike] | Mapping[str, PromptLike], reading: _Reading
) -> LoadedTask | None:
    """The task and its prompts; None where ``data`` names a task with a file of its own."""
    templates = _templates(prompts)
    if isinstance(data, str | Path) and not str(data).endswith(DATA_FILES):
        if len(str(data)) > LONGEST_PATH:
            raise InputError(f"{str(data)[:40]!r}… is neither a task nor a path: too long")
        find_task(data)  # whatever is wrong with the name is said first
        if templates:
            raise InputError(
                f"the task {str(data)!r} has its own prompts; prompts= is for data without a task "
                "file"
            )
        return None
    if not templates and reading.inputs and (task := reading.task(data, ())).chat:
        as_it_is = Setting(task.inputs, chat=task.chat).as_it_is
        templates = [] if as_it_is is None else [as_it_is]
    if not templates:
        example = " ".join(f"{{{{ {name} }}}}" for name in reading.inputs or ("question",))
        raise InputError(
            "prompts= is missing: give at least the one in use today, such as "
            f'prompts=["{example}"]'
        )
    task = reading.task(data, templates)
    for template in templates:
        _check_placeholders(template, task.inputs)
    own = tuple(t for t in templates if t.turn == ANSWER)
    asking = tuple(t for t in templates if t.turn != ANSWER)
    judge = None
    if reading.judge is not None and not isinstance(data, Task):
        if task.scorer is not None and parts_of(task.scorer) == ():
            task = replace(task, metric=JUDGED, scorer=unscored)
        judge = Judge.of(reading.judge, task.items, task.answer)
    return LoadedTask(task, own, Path(), own, asking, judge=judge)


def _templates(prompts: Sequence[PromptLike] | Mapping[str, PromptLike]) -> list[PromptTemplate]:
    if isinstance(prompts, str | PromptTemplate):
        prompts = [prompts]
    if not isinstance(prompts, Sequence | Mapping):
        raise InputError(f"prompts= is a list or a dict of prompts, got a {type(prompts).__name__}")
    named: Sequence[tuple[str, PromptLike]] = (
        list(prompts.items())
        if isinstance(prompts, Mapping)
        else [(f"p{i}", prompt) for i, prompt in enumerate(prompts)]
    )
    return [_template(name, prompt) for name, prompt in named]


def _template(name: str, prompt: PromptLike) -> PromptTemplate:
    if isinstance(prompt, PromptTemplate):
        return replace(prompt, origin="python")
    if isinstance(prompt, str):
        return PromptTemplate(name, (Message("user", prompt),), origin="python")
    if not isinstance(prompt, Sequence):
        raise InputError(f"prompt {name!r} is a text or chat messages, got {prompt!r}")
    messages = []
    for i, message in enumerate(prompt):
        role, content = (
            (message.get("role"), message.get("content"))
            if isinstance(message, Mapping)
            else (None, None)
        )
        if not isinstance(role, str) or not isinstance(content, str):
            raise InputError(
                f"message {i} of prompt {name!r} must be "
                '{"role": "system" or "user" or "assistant", "content": text}'
            )
        messages.append(Message(role, content))
    return PromptTemplate(name, tuple(messages), origin="python")


def _check_placeholders(template: PromptTemplate, inputs: Sequence[str]) -> None:
    for field in template.fields:
        if field not in inputs:
            raise unknown_name(f"input in prompt {template.id!r}", field, inputs)
    if not template.fields:
        text = "\n".join(message.content for message in template.messages)
        braced = [name for name in inputs if re.search(rf"\{{\s*{re.escape(name)}\s*\}}", text)]
        hint = f": write {{{{ {braced[0]} }}}}, with two braces" if braced else ""
        raise InputError(f"prompt {template.id!r} uses no input{hint}")


def _job(
    data: Any,
    loaded: LoadedTask | None,
    tiers: str | Mapping[str, str | TierSpec],
    budget: Budget | float | None,
    space: str,
    settings: Mapping[str, Any],
) -> Job:
    """The job, checked as its file would be."""
    known = {field.name for field in fields(Job)} - {"task", "space", "tiers", "budget"}
    for name in settings:
        if name not in known:
            raise unknown_name("argument", name, sorted({*known, *_ARGUMENTS}))
    if isinstance(tiers, str):
        tiers = {re.sub(r"[^A-Za-z0-9_.-]", "-", tiers.rpartition("/")[2]): tiers}
    if not isinstance(tiers, Mapping) or not tiers:
        fault = "is missing" if tiers is None or tiers == {} else "must map names to models"
        raise InputError(f'tiers= {fault}: such as tiers={{"mini": "openai/gpt-4o-mini"}}')
    specs = {name: t if isinstance(t, TierSpec) else {"model": t} for name, t in tiers.items()}
    if isinstance(budget, bool | str):
        raise InputError(f"budget= is a number of dollars or a tw.Budget, got {budget!r}")
    caps = budget if budget is None or isinstance(budget, Budget) else {"usd": budget}
    named = str(data) if loaded is None else f"{loaded.task.name}-{_fingerprint(loaded)}"
    given = {"task": named, "space": space, "tiers": specs, "budget": caps, **settings}
    return read_as(
        Job, Document({n: _written(n, v) for n, v in given.items() if v is not None}, None)
    )


def _written(argument: str, value: Any) -> Any:
    """An argument's value as a job's file has it."""
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
        return {name: _written(argument, v) for name, v in value.items() if v not in (None, {}, "")}
    if isinstance(value, Mapping):
        return {str(name): _written(argument, inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_written(argument, inner) for inner in value]
    if value is None or isinstance(value, str | int | float):
        return value
    if hasattr(value, "item"):  # a number of numpy
        return value.item()
    raise InputError(f"{argument}= cannot be a {type(value).__name__}")


def _fingerprint(loaded: LoadedTask) -> str:
    """What a run of a task in Python depends on beside its job: other data is another run."""
    task, source = loaded.task, ""
    if task.scorer is not None:
        with contextlib.suppress(OSError, TypeError):  # no source: its name has to do
            source = inspect.getsource(inspect.unwrap(task.scorer))
    content = [
        task.items_sha256,
        task.metric,
        source,
        repr(task.answer),
        [[p.id, [list(m) for m in p.messages]] for p in (*loaded.own, *loaded.asking)],
        *([] if loaded.judge is None else [repr(loaded.judge)]),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]


def _to_both(line: ProgressLine | None, listener: Listener | None) -> Listener:
    def heard(event: Event) -> None:
        if line is not None:
            line.hear(event)
        if listener is not None:
            listener(event)

    return heard
