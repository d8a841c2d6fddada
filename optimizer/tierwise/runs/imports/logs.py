"""Logs of other evaluation tools as a recording with its task and job: `pool import --from`.

Read are inspect_ai's logs (whose epochs are samples), lm-eval's ``samples_*.jsonl``, promptfoo's
results (whose repeats are samples) and LiteLLM's logs of calls. What a log does not hold is said
and never made up: scores of single samples, right answers, temperatures, tokens.
"""

from __future__ import annotations

import gzip
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tierwise.errors import InputError, unknown_name
from tierwise.runs.imports.form import LoggedSample, LogOptions, ReadLog, or_default
from tierwise.runs.imports.inspect_log import read_inspect
from tierwise.runs.imports.litellm_calls import read_litellm
from tierwise.runs.imports.lm_eval import read_lm_eval
from tierwise.runs.imports.promptfoo import read_promptfoo
from tierwise.schema import Price
from tierwise.schema.files import write_whole, writing
from tierwise.schema.yaml_io import dump
from tierwise.tasks import AnswerSpec

__all__ = ["Imported", "LogOptions", "import_logs"]

PROVIDER_TEMPERATURE = 1.0
"""What providers sample at where a request names no temperature."""

_WORDY = 8
"""Characters of a text, on average, above which equal samples are hardly chance."""


class Imported(NamedTuple):
    """What was written: the job's file, items, samples by variant's label, and notes."""

    job: Path
    items: int
    samples: Mapping[str, int]
    notes: tuple[str, ...]


def import_logs(
    kind: str, files: Sequence[Path], folder: Path, options: LogOptions | None = None
) -> Imported:
    """Write ``folder`` with a recording of the logs, its task and a job that tunes on it.

    Raises:
        InputError: an unknown kind, the folder exists, or a log that cannot be read or used, with
            the reason.
    """
    reader = READERS.get(kind)
    if reader is None:
        raise unknown_name("kind of log", kind, READERS)
    if folder.exists():
        raise InputError(f"{folder} exists; choose another folder, nothing is overwritten")
    log = reader(files, options or LogOptions())
    if not log.samples:
        raise InputError("there are no completions in it", path=files[0])
    return _write(log, folder)


def _write(log: ReadLog, folder: Path) -> Imported:
    notes = list(log.notes)
    samples = _without_copies(log.samples, notes)
    models = _named({sample.model for sample in samples}, short=True)
    prompts = _named({sample.prompt for sample in samples})
    if any(sample.temperature is None for sample in samples):
        notes.append(f"no temperature is logged: {PROVIDER_TEMPERATURE:g}, the providers' default")
    if any(sample.prompt_tokens is None for sample in samples):
        notes.append("no token counts are logged: four characters are taken for a token")
    scored = all(sample.score is not None for sample in samples if sample.error is None)
    items: dict[tuple[tuple[tuple[str, str], ...], str], str] = {}
    index: Counter[tuple[object, ...]] = Counter()
    rows: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    for sample in samples:
        content = (tuple(sorted(sample.inputs.items())), sample.target)
        if content not in items:
            taken = set(items.values())
            items[content] = sample.id if sample.id not in taken else f"{sample.id}-{len(items)}"
        model, prompt, mode = models[sample.model], prompts[sample.prompt], _name(sample.mode)
        temperature = or_default(sample.temperature, PROVIDER_TEMPERATURE)
        variant = {"model": model, "prompt_id": prompt, "mode": mode, "temperature": temperature}
        key = (items[content], *variant.values())
        rows.append(_row(items[content], variant, index[key], sample, scored=scored))
        index[key] += 1
        counts[f"{model} {prompt}/{mode}/{temperature:g}"] += 1
    fields = sorted({name for inputs, _ in items for name, _ in inputs})
    task = {
        "name": _name(folder.name),
        "version": 1,
        "inputs": fields,
        "items": "recording.items.jsonl",
        **({"metric": "recorded"} if scored else _exact(log.answer)),
    }
    job = {"task": "task.yaml", "tiers": dict(_tiers(models, notes))}
    folder.mkdir(parents=True)
    _write_lines(folder / "recording.jsonl.gz", rows)
    lines = (
        {"id": item, "inputs": dict(inputs), "target": target}
        for (inputs, target), item in items.items()
    )
    _write_lines(folder / "recording.items.jsonl", lines)
    write_whole(folder / "task.yaml", dump(task))
    write_whole(folder / "job.yaml", dump(job))
    if not scored:
        notes.append(
            "no scores of single samples are logged: task.yaml reads answers and scores them by "
            "exact match; put its pattern right where it is not yours"
        )
    return Imported(folder / "job.yaml", len(items), counts, tuple(notes))


def _row(
    item: str, variant: Mapping[str, Any], index: int, sample: LoggedSample, *, scored: bool
) -> dict[str, Any]:
    estimated = sample.prompt_tokens is None or sample.completion_tokens is None
    asked = "".join(sample.inputs.values())
    row = {
        "item_id": item,
        **variant,
        "sample": index,
        "text": sample.text,
        "answer": sample.answer if scored else None,
        "score": sample.score if scored else None,
        "prompt_tokens": or_default(sample.prompt_tokens, math.ceil(len(asked) / 4)),
        "completion_tokens": or_default(sample.completion_tokens, math.ceil(len(sample.text) / 4)),
        "tokens_estimated": estimated or None,
        "mean_logprob": sample.mean_logprob,
        "latency_s": sample.latency_s,
        "error": sample.error,
    }
    return {name: value for name, value in row.items() if value is not None}


def _without_copies(samples: list[LoggedSample], notes: list[str]) -> list[LoggedSample]:
    """The samples that were really sampled: cached answers are copies, and so are those of a fixed
    seed.

    A variant's samples are of a fixed seed where it has several on at least five items and they
    agree to the letter on each, at a temperature above 0, and are no labels or numbers, which may
    agree by chance: then the first of an item stands.
    """
    kept = [sample for sample in samples if not sample.cached]
    if len(kept) < len(samples):
        notes.append(f"{len(samples) - len(kept):,} answers came from a cache: left out as copies")
    texts: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for sample in kept:
        if sample.error is None and sample.temperature != 0:
            by_item = texts.setdefault((sample.model, sample.prompt, sample.mode), {})
            by_item.setdefault(_content(sample), []).append(sample.text)
    fixed = set()
    for variant, by_item in texts.items():
        several = [each for each in by_item.values() if len(each) > 1]
        long = sum(len(each[0]) for each in several) >= _WORDY * len(several)
        if len(several) >= 5 and long and all(len(set(each)) == 1 for each in several):
            fixed.add(variant)
            notes.append(
                f"all samples of an item of {variant[1]} are equal to the letter, as with a fixed "
                "seed: one of each is kept, since copies say nothing about votes"
            )
    seen: set[tuple[str, ...]] = set()
    result = []
    for sample in kept:
        variant = (sample.model, sample.prompt, sample.mode)
        if variant in fixed:
            if (*variant, _content(sample)) in seen:
                continue
            seen.add((*variant, _content(sample)))
        result.append(sample)
    return result


def _content(sample: LoggedSample) -> str:
    return json.dumps([sorted(sample.inputs.items()), sample.target])


def _tiers(models: Mapping[str, str], notes: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for model, name in sorted(models.items(), key=lambda pair: pair[1]):
        price = _price(model)
        if price is None:
            notes.append(f"no price of {model} is known: 0 in job.yaml, put yours there")
            price = Price(0.0, 0.0)
        yield (
            name,
            {
                "model": f"recorded/{name}",
                "recordings": "recording.jsonl.gz",
                "price": {
                    "prompt_usd_per_mtok": price.prompt_usd_per_mtok,
                    "completion_usd_per_mtok": price.completion_usd_per_mtok,
                },
            },
        )


def _price(model: str) -> Price | None:
    """The price in LiteLLM's table of the name as it is, or of what stands behind its providers."""
    from tierwise.llm.litellm import litellm_price

    parts = model.replace(":", "/").split("/")
    for name in (model, "/".join([parts[0], parts[-1]]), parts[-1]):
        try:
            price = litellm_price(name)
        except InputError:
            continue
        if price is not None:
            return price
    return None


def _exact(answer: AnswerSpec) -> dict[str, Any]:
    rule: dict[str, Any] = {"normalise": answer.normalise}
    if answer.regex is not None:
        rule["extract"] = {"regex": answer.regex, "take": answer.take}
    return {"answer": rule, "metric": "exact_match"}


def _named(labels: Iterable[str], *, short: bool = False) -> dict[str, str]:
    """A name for each label, of the letters that names may have; no two alike."""
    names: dict[str, str] = {}
    for label in sorted(labels):
        name = _name(label.rsplit("/", 1)[-1].rsplit(":", 1)[-1] if short else label)
        taken = set(names.values())
        names[label] = next(
            each
            for each in (name, *(f"{name}-{n}" for n in range(2, len(taken) + 3)))
            if each not in taken
        )
    return names


def _name(label: str) -> str:
    plain = re.sub(r"[^\w.\-]+", "_", label).lstrip(".-").rstrip("_.-")
    return plain[:60] or "prompt"


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    data = text.encode("utf-8", "backslashreplace")
    with writing(path) as new:
        new.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


READERS: dict[str, Callable[[Sequence[Path], LogOptions], ReadLog]] = {
    "inspect": read_inspect,
    "lm-eval": read_lm_eval,
    "promptfoo": read_promptfoo,
    "litellm": read_litellm,
}
