"""What came of a run, and what a job would buy: shown in a terminal and a notebook, as
DataFrames."""

from __future__ import annotations

import contextlib
import functools
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tierwise.errors import InputError, TierwiseError, printable, unknown_name
from tierwise.schema import PolicyFile, PromptTemplate, Variant

if TYPE_CHECKING:
    import pandas as pd

    from tierwise.analysis.tier_files import TierFiles
    from tierwise.runs.artifacts import RunFiles
    from tierwise.schema.result import PlannedTier, Summary, TierSummary

FRAMES = ("trials", "items", "samples", "ablation")

_PYTHON_WORDS = (
    (
        re.compile(r"add to the job, a file.*?model: (\S+)\n.*", re.DOTALL),
        r'give it: tw.Tier("\1", price=tw.Price(…, …)), in dollars per million tokens',
    ),
    (re.compile(r"`tierwise tune[^`]*`( command)?"), "tw.tune(…)"),
    (re.compile(r"--fresh\b"), "fresh=True"),
    (re.compile(r" \(in quotes if it looks like something else\)"), ""),
    (re.compile(r"--budget-usd\b"), "budget="),
    (re.compile(r"--space (\w+)"), r'space="\1"'),
    (re.compile(r"--(out|task|space|trials|seed|baseline)\b"), r"\1="),
)


@contextlib.contextmanager
def in_python() -> Iterator[None]:
    """A context in which errors name arguments of Python in place of the command line's options.

    Lower layers speak to who uses the command line: what they say is said in other words here.
    """
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
        with in_python():
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
            with in_python():
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
            tested = tier.tested
            inputs = dict(zip(tier.test.item_ids, tier.test.inputs, strict=True))
            rows = {"baseline": tested.names["baseline"], "policy": tested.names[tier.exported_as]}
            for i, item in enumerate(tested.item_ids):
                row: dict[str, Any] = {"tier": name, "item": item, **inputs.get(item, {})}
                for what, at in rows.items():
                    row[f"score_{what}"] = float(tested.score[at, i])
                    row[f"usd_{what}"] = float(tested.usd[at, i])
                    row[f"samples_{what}"] = float(tested.samples[at, i])
                    row[f"unanswered_{what}"] = bool(tested.unanswered[at, i])
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
                            "failed": bool(rows.failed is not None and rows.failed[i, j]),
                            "usd": float(rows.prompt_usd[i, j] + rows.completion_usd[i, j]),
                            "latency_s": float(rows.latency_s[i, j]),
                        }

    def _texts(
        self, tier: TierFiles, variant: Variant, n_samples: int
    ) -> dict[tuple[int, int], str]:
        """(place of a held-out item, sample) -> text; empty where the prompt is not known."""
        from tierwise.llm import build_request
        from tierwise.llm.models import tier_of_spec
        from tierwise.pool import SamplePool

        run, job = self._files.run, self._files.job
        known = {prompt.id: prompt for prompt in self.prompts}
        known = {**(tier.policy.prompts if tier.policy else {}), **known}
        name, prompt = variant.tier or tier.name, known.get(variant.prompt)
        spec = job.tiers.get(name) if job else None
        if spec is None or prompt is None or tier.test is None or not run.pool.exists():
            return {}
        owner, address = tier_of_spec(name, spec), run.addresses.get(name, "")
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
        from tierwise.report.text import beside

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
                beside(f"{tier.baseline.score:.3f}", tier.baseline.failed),
                beside(f"{tier.exported.score:.3f}", tier.exported.failed),
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


def compare_runs(*runs: Run | Path | str, sections: Sequence[str] = ()) -> ComparisonTables:
    """The tiers of a run side by side, or what changed from the first run to each of the others.

    Raises:
        InputError: a path is no run, or there is no such section.
    """
    from tierwise.report.between import comparison_tables
    from tierwise.report.compare import frames, plain_rows
    from tierwise.runs.artifacts import read_run

    with in_python():
        if not runs:
            raise InputError("compare takes one run or more")
        files = [read_run(run.path if isinstance(run, Run) else Path(run)) for run in runs]
        return ComparisonTables(frames(plain_rows(comparison_tables(files, sections))))


def _verdict(tier: TierSummary) -> str:
    from tierwise.report.text import beside, point_bounds, points

    before = beside(f"{tier.baseline.score:.3f}", tier.baseline.failed)
    after = beside(f"{tier.exported.score:.3f}", tier.exported.failed)
    found = tier.operating_points[tier.operating_point].against_baseline
    gain = f"{points(found.score_difference)} {point_bounds(found.score_difference_ci95)} points, "
    return (
        f"{before} → {after} ({gain if tier.exports_chosen else ''}{_cost(tier)} of the cost, "
        f"gate {tier.gate})"
    )


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
