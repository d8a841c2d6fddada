"""Tierwise from Python: what ``import tierwise as tw`` offers beside the values.

::

    run = tw.tune(df, inputs=["question"], target="answer", prompts=["{{ question }}"],
                  tiers={"mini": "openai/gpt-4o-mini"}, budget=tw.Budget(usd=5))
    run                                                    # three lines, in a notebook a table
    run.policies["mini"].save("mini.yaml")
    run.frame("trials")                                    # pandas

What the messages of lower layers say about options of the command line is said here in Python's
words (``_in_python``).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import html
import inspect
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tierwise.errors import InputError, TierwiseError, printable, unknown_name
from tierwise.schema import (
    ANSWER,
    Budget,
    Job,
    LoadedTask,
    Message,
    PolicyFile,
    PromptTemplate,
    TierSpec,
    Variant,
    find_task,
)
from tierwise.tasks import AnswerSpec, Item, Task

if TYPE_CHECKING:
    import pandas as pd

    from tierwise.analysis.tier_files import TierFiles
    from tierwise.runs.artifacts import RunFiles
    from tierwise.schema.result import PlannedTier, Summary, TierSummary
    from tierwise.search import Event, Listener

PromptLike = str | PromptTemplate | Sequence[Mapping[str, str]]
"""A text with ``{{ input }}`` placeholders, or chat messages, or a template."""

DATA_FILES = (".jsonl", ".csv", ".json", ".gz", ".tsv", ".parquet", ".xlsx")
LONGEST_PATH = 4096
FRAMES = ("trials", "items", "samples", "ablation")


def tune(
    data: Any,
    *,
    tiers: str | Mapping[str, str | TierSpec],
    prompts: Sequence[PromptLike] | Mapping[str, PromptLike] = (),
    inputs: Sequence[str] | None = None,
    target: str = "target",
    metric: str | Callable[[str, Item], Any] = "exact_match",
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
        target: the column with the right answer.
        metric: a name, or a function (answer, item) -> score from 0 to 1.
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

    with _in_python():
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
    target: str = "target",
    metric: str | Callable[[str, Item], Any] = "exact_match",
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
    from tierwise.runs.tune import prepare
    from tierwise.search.plan import plan as planned
    from tierwise.search.planned import as_data

    with _in_python():
        loaded = _loaded(data, prompts, _Reading(inputs, target, metric, answer, name))
        job = _job(data, loaded, tiers, budget, space, settings)
        return JobPlan(as_data(planned(prepare(job, loaded))).tiers)


def compare_runs(*runs: Run | Path | str, sections: Sequence[str] = ()) -> ComparisonTables:
    """The tiers of a run side by side, or what changed from the first run to each of the others.

    Raises:
        InputError: a path is no run, or there is no such section.
    """
    from tierwise.report.between import comparison_tables
    from tierwise.report.compare import frames, plain_rows
    from tierwise.runs.artifacts import read_run

    with _in_python():
        if not runs:
            raise InputError("compare takes one run or more")
        files = [read_run(run.path if isinstance(run, Run) else Path(run)) for run in runs]
        return ComparisonTables(frames(plain_rows(comparison_tables(files, sections))))


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run, read from its folder.

    ``prompts`` are those of a task that lives in Python, whose texts its folder does not have.

    Raises:
        InputError: it is no run directory, or the run did not finish.
    """

    path: Path
    prompts: Sequence[PromptTemplate] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        with _in_python():
            if self._files.summary is None:
                raise InputError(
                    " ".join(self._files.missing) or "there is no summary", path=self.path
                )

    @functools.cached_property
    def _files(self) -> RunFiles:
        from tierwise.runs.artifacts import read_run

        return read_run(self.path)

    @property
    def summary(self) -> Summary:
        """``summary.json``."""
        assert self._files.summary is not None  # by ``__post_init__``
        return self._files.summary

    @property
    def policies(self) -> Mapping[str, PolicyFile]:
        """The policy of each tier; a tier that failed has none (``summary.failed`` says why)."""
        return {n: tier.policy for n, tier in self._files.tiers.items() if tier.policy is not None}

    def report(self) -> Path:
        """Write ``report.html`` in the run's folder, one self-contained page."""
        from tierwise.report.html import write_report

        return write_report(self.path)

    def frame(self, name: str) -> pd.DataFrame:
        """A table of the run.

        ``trials``: every policy that was evaluated. ``items``: each held-out item's score, dollars
        and samples under the baseline and under the exported policy. ``samples``: the stored
        samples of held-out items, with score and, where the prompt is known, text. ``ablation``: a
        row a tier and step.
        """
        import pandas as pd

        if name not in FRAMES:
            with _in_python():
                raise unknown_name("frame", name, FRAMES)
        if name == "trials":
            return pd.read_csv(self.path / "trials.csv")
        if name == "ablation":
            return pd.json_normalize(list(self._ablation()))
        return pd.DataFrame(list(self._items() if name == "items" else self._samples()))

    def _ablation(self) -> Iterator[dict[str, Any]]:
        from tierwise.schema.result import to_data

        for name, tier in self.summary.tiers.items():
            for step, found in [*tier.ablation.items(), ("oracle_bound", tier.oracle_bound)]:
                yield {"tier": name, "step": step, **to_data(found)}

    def _items(self) -> Iterator[dict[str, Any]]:
        for name, tier in self._files.tiers.items():
            if tier.tested is None or tier.test is None:
                continue
            tested, inputs = (
                tier.tested,
                dict(zip(tier.test.item_ids, tier.test.inputs, strict=True)),
            )
            chosen = f"point:{tier.summary.operating_point}" if tier.summary.passed else "baseline"
            rows = {"baseline": tested.names["baseline"], "policy": tested.names[chosen]}
            for i, item in enumerate(tested.item_ids):
                row: dict[str, Any] = {"tier": name, "item": item, **inputs.get(item, {})}
                for what, at in rows.items():
                    row[f"score_{what}"] = float(tested.score[at, i])
                    row[f"usd_{what}"] = float(tested.usd[at, i])
                    row[f"samples_{what}"] = float(tested.samples[at, i])
                yield row

    def _samples(self) -> Iterator[dict[str, Any]]:
        for name, tier in self._files.tiers.items():
            if tier.test is None:
                continue
            for variant, rows in tier.test.variants.items():
                texts = self._texts(tier, variant, rows.n_samples)
                for i, item in enumerate(tier.test.item_ids):
                    for j in range(rows.n_samples):
                        score = float(rows.score[i, j])
                        if score != score:  # NaN: there is no such sample
                            continue
                        yield {
                            "tier": name,
                            "item": item,
                            "prompt": variant.prompt,
                            "mode": variant.mode,
                            "temperature": variant.temperature,
                            "model_of_tier": variant.tier or name,
                            "sample": j,
                            "text": texts.get((i, j)),
                            "score": score,
                            "abstained": bool(rows.answers[i, j] < 0),
                            "usd": float(rows.prompt_usd[i, j] + rows.completion_usd[i, j]),
                            "latency_s": float(rows.latency_s[i, j]),
                        }

    def _texts(
        self, tier: TierFiles, variant: Variant, n_samples: int
    ) -> dict[tuple[int, int], str]:
        """(place of a held-out item, sample) -> text; empty where the prompt is not known."""
        from tierwise.llm import build_request
        from tierwise.pool import SamplePool

        file, run = tier.policy, self._files.run
        known = {prompt.id: prompt for prompt in self.prompts}
        if file is None or tier.test is None or not run.pool.exists():
            return {}
        prompt = known.get(variant.prompt) or file.prompts.get(variant.prompt)
        if prompt is None:
            return {}
        owner = file.tier_of(variant)
        address = run.addresses.get(owner.name, "")
        keys = [
            build_request(owner, prompt, variant, inputs, address).key
            for inputs in tier.test.inputs
        ]
        with SamplePool.open(run.pool, read_only=True) as pool:
            return {(at, j): text for at, j, text, *_ in pool.samples(keys, 0, n_samples)}

    def __repr__(self) -> str:
        summary = self.summary
        tiers = "; ".join(f"{name}: {_verdict(tier)}" for name, tier in summary.tiers.items())
        failed = "".join(f"; {name}: failed, {why}" for name, why in summary.failed.items())
        items = max((tier.items.test for tier in summary.tiers.values()), default=0)
        spent = sum(tier.spending.usd for tier in summary.tiers.values())
        return printable(
            f"Run of {summary.task.name!r} in {self.path}: {items} held-out items, "
            f"${spent:.4g} spent\n{tiers}{failed}\n"
            f"policies: {', '.join(self.policies) or 'none'}; frames: {', '.join(FRAMES)}"
        )

    def _repr_html_(self) -> str:
        headings = (
            "tier",
            "model",
            "baseline",
            "policy",
            "95% interval",
            "cost",
            "samples",
            "gate",
        )
        rows = [
            (
                name,
                tier.model,
                f"{tier.baseline.score:.3f}",
                f"{tier.exported.score:.3f}",
                _interval(tier.exported.score_ci95),
                _cost(tier),
                f"{tier.exported.samples_per_item:.2f}",
                tier.gate,
            )
            for name, tier in self.summary.tiers.items()
        ]
        failed = [(name, why) for name, why in self.summary.failed.items()]
        return _html_table(headings, [*rows, *failed])


@dataclass(frozen=True, repr=False)
class JobPlan:
    """What a job would buy, by tier and stage; dollars and calls as expected and at worst."""

    tiers: Mapping[str, PlannedTier]

    def frame(self) -> pd.DataFrame:
        """A row a tier and stage."""
        import pandas as pd

        return pd.DataFrame(
            {
                "tier": name,
                "stage": stage,
                "variants": of.variants,
                "items": of.items,
                "samples": of.samples,
                "calls_expected": of.expected.calls,
                "calls_worst": of.worst.calls,
                "usd_expected": of.expected.usd,
                "usd_worst": of.worst.usd,
            }
            for name, tier in self.tiers.items()
            for stage, of in tier.stages.items()
        )

    def __repr__(self) -> str:
        lines = [
            f"{name}: {tier.expected.calls:,} calls and ${tier.expected.usd:.4g} expected, at most "
            f"{tier.worst.calls:,} and ${tier.worst.usd:.4g}"
            + (f"; {tier.fault}" if tier.fault else "")
            for name, tier in self.tiers.items()
        ]
        return printable("\n".join(lines))

    def _repr_html_(self) -> str:
        headings = ("tier", "calls", "at most", "$", "at most $", "")
        return _html_table(
            headings,
            [
                (
                    name,
                    f"{tier.expected.calls:,}",
                    f"{tier.worst.calls:,}",
                    f"{tier.expected.usd:.4g}",
                    f"{tier.worst.usd:.4g}",
                    tier.fault,
                )
                for name, tier in self.tiers.items()
            ],
        )


class ComparisonTables(Mapping[str, "pd.DataFrame"]):
    """Tables of a comparison by section."""

    def __init__(self, frames: Mapping[str, pd.DataFrame]) -> None:
        self._frames = dict(frames)

    def __getitem__(self, section: str) -> pd.DataFrame:
        if section not in self._frames:
            raise KeyError(unknown_name("section", section, self._frames).message)
        return self._frames[section]

    def __iter__(self) -> Iterator[str]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {len(frame)} rows" for name, frame in self._frames.items())

    def _repr_html_(self) -> str:
        return "".join(
            f"<h4>{html.escape(name)}</h4>{frame.to_html(index=False, max_rows=12)}"
            for name, frame in self._frames.items()
        )


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
            self._tiers[event.tier] = f"{event.stage} {done:,}/{planned:,}"
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
    target: str
    metric: str | Callable[[str, Item], Any]
    answer: AnswerSpec | None
    name: str | None

    def task(self, data: Any, templates: Sequence[PromptTemplate]) -> Task:
        """The task of the rows of ``data``."""
        if isinstance(data, Task):
            return data
        used = dict.fromkeys(field for template in templates for field in template.fields)
        inputs = tuple(used) if self.inputs is None else tuple(self.inputs)
        shared: dict[str, Any] = {
            "inputs": inputs,
            "target": self.target,
            "metric": self.metric,
            "answer": self.answer,
        }
        if isinstance(data, str | Path):
            from tierwise.tasks.data_files import columns_of

            self._check(inputs, columns_of(Path(data)))
            return Task.from_file(data, name=self.name, **shared)
        from tierwise.tasks.rows import columns_in

        self._check(inputs, columns_in(data))
        return Task.from_rows(data, name=self.name or "task", **shared)

    def _check(self, inputs: Sequence[str], columns: Sequence[str]) -> None:
        if columns and not inputs:
            raise InputError(
                "no inputs: a prompt uses a column as {{ column }}, and inputs=[…] names more; the "
                f"columns are {', '.join(columns)}"
            )
        if not columns:
            raise InputError("there are no rows in the data")
        if "inputs" in columns:  # rows of items, with their inputs by name
            return
        for name in inputs:
            if name not in columns:
                raise unknown_name("column", name, columns)
        if self.target not in columns:
            raise InputError(
                f'target="{self.target}" is no column of the data: '
                + unknown_name("column", self.target, columns).message
            )


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
    return LoadedTask(task, own, Path(), own, asking)


def _templates(prompts: Sequence[PromptLike] | Mapping[str, PromptLike]) -> list[PromptTemplate]:
    if isinstance(prompts, str | PromptTemplate):
        prompts = [prompts]
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
    known = {field.name for field in fields(Job)} - {"task", "space", "tiers", "budget"}
    for name in settings:
        if name not in known:
            raise unknown_name("argument", name, sorted({*known, *_ARGUMENTS}))
    if isinstance(tiers, str):
        tiers = {re.sub(r"[^A-Za-z0-9_.-]", "-", tiers.rpartition("/")[2]): tiers}
    if not tiers:
        raise InputError('tiers= is missing: such as tiers={"mini": "openai/gpt-4o-mini"}')
    specs = {n: t if isinstance(t, TierSpec) else TierSpec(t) for n, t in tiers.items()}
    if budget is not None and not isinstance(budget, Budget):
        budget = Budget(usd=float(budget))
    named = str(data) if loaded is None else f"{loaded.task.name}-{_fingerprint(loaded)}"
    return Job(task=named, space=space, tiers=specs, budget=budget or Budget(), **settings)


_ARGUMENTS = (
    "prompts",
    "inputs",
    "target",
    "metric",
    "answer",
    "name",
    "out",
    "progress",
    "listener",
)


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
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]


def _to_both(line: ProgressLine | None, listener: Listener | None) -> Listener:
    def heard(event: Event) -> None:
        if line is not None:
            line.hear(event)
        if listener is not None:
            listener(event)

    return heard


_PYTHON_WORDS = (
    (re.compile(r"`tierwise tune[^`]*`( command)?"), "tw.tune(…)"),
    (re.compile(r"--fresh\b"), "fresh=True"),
    (re.compile(r"--budget-usd\b"), "budget="),
    (re.compile(r"--space (\w+)"), r'space="\1"'),
    (re.compile(r"--(out|task|space|trials|seed|baseline)\b"), r"\1="),
)


@contextlib.contextmanager
def _in_python() -> Iterator[None]:
    """A context in which errors name arguments of Python in place of the command line's options."""
    try:
        yield
    except TierwiseError as error:
        said = str(error)
        for pattern, words in _PYTHON_WORDS:
            said = pattern.sub(words, said)
        error.args = (said,)
        raise
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}") from error


def _verdict(tier: TierSummary) -> str:
    before, after = tier.baseline.score, tier.exported.score
    return f"{before:.3f} → {after:.3f} at {_cost(tier)} of the cost (gate {tier.gate})"


def _cost(tier: TierSummary) -> str:
    if not tier.baseline.usd_per_item:
        return f"${tier.exported.usd_per_item:.3g}"
    return f"×{tier.exported.usd_per_item / tier.baseline.usd_per_item:.2f}"


def _interval(bounds: Sequence[float | None]) -> str:
    return "[" + ", ".join("?" if b is None else f"{b:.3f}" for b in bounds) + "]"


def _html_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    def cells(tag: str, values: Sequence[object]) -> str:
        return "".join(f"<{tag}>{html.escape(printable(str(value)))}</{tag}>" for value in values)

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells('th', headings)}</tr></thead><tbody>{body}</tbody></table>"
