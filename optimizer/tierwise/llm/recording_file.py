"""The file format of recorded completions: lines of items and lines of samples, maybe gzipped."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tierwise.errors import InputError
from tierwise.llm._base import Completion, Failure, Result
from tierwise.schema import Passage, Turn, Variant
from tierwise.schema import Path as TurnPath
from tierwise.tasks import Item

NUMBERS = (
    "score",
    "prompt_tokens",
    "completion_tokens",
    "verifier_score",
    "mean_logprob",
    "confidence",
    "latency_s",
    "lookup_s",
)


class LookUp(NamedTuple):
    """What a query of a recorded trajectory brought, best first."""

    query: str
    passages: tuple[Passage, ...]
    latency_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RecordedSample:
    """One completion of a recording; ``error`` where the call failed for good.

    ``answered``: the recording says what the answer is, ``answer``, None for an abstention; else it
    is to be read from the text.
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    answered: bool = False
    answer: str | None = None
    score: float | None = None
    verifier_score: float | None = None
    mean_logprob: float | None = None
    confidence: float | None = None
    latency_s: float = 0.0
    tokens_estimated: bool = False
    error: str | None = None
    look_up: LookUp | None = None

    @property
    def result(self) -> Result:
        """The sample as a model's result."""
        if self.error is not None:
            return Failure("recorded_error", self.error, self.latency_s)
        return Completion(
            self.text,
            self.prompt_tokens,
            self.completion_tokens,
            mean_logprob=self.mean_logprob,
            latency_s=self.latency_s,
        )


class SampleLine(NamedTuple):
    """A sample, ``at`` its index, and where it stands."""

    line: int
    model: str
    item_id: str
    variant: Variant
    at: int
    sample: RecordedSample


def read_recording(path: Path) -> tuple[dict[str, Item], list[SampleLine]]:
    """All items by id and all samples, of every model, in the file and its ``.items`` sibling.

    Raises:
        InputError: a file is missing or broken, a line is not what it should be, an id stands for
            two different items, or there are no items.
    """
    if not path.is_file():
        raise InputError("there is no such recording", path=path)
    items: dict[str, Item] = {}
    samples: list[SampleLine] = []
    for file in (path, *items_files(path)):
        for line, row in _rows(file):
            if "item_id" in row:
                samples.append(_sample_line(row, file, line))
                continue
            item = _item(row, file, line)
            if items.setdefault(item.id, item).content_sha256 != item.content_sha256:
                raise InputError(f"another item has the id {item.id!r} too", path=file, line=line)
    if not items:
        stem = _stem(path)
        raise InputError(
            f'no items: add their lines ({{"id", "inputs", "target"}}), or {stem}.items.jsonl',
            path=path,
        )
    return items, samples


def items_files(path: Path) -> list[Path]:
    """The files of items beside ``NAME.jsonl``: ``NAME.items.jsonl`` or ``NAME.items.jsonl.gz``."""
    both = (path.with_name(f"{_stem(path)}.items.jsonl{end}") for end in ("", ".gz"))
    return [file for file in both if file.is_file()][:1]


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".jsonl")


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    line = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for line, text in enumerate(file, start=1):
                if text.strip():
                    row = json.loads(text.decode("utf-8-sig"))
                    if not isinstance(row, dict):
                        raise InputError("a line must be a JSON object", path=path, line=line)
                    yield line, row
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg}", path=path, line=line) from None
    except UnicodeDecodeError:
        raise InputError("not UTF-8", path=path, line=line) from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot be read: {error}", path=path) from None


def _item(row: Mapping[str, Any], path: Path, line: int) -> Item:
    inputs = row.get("inputs")
    if "id" not in row or "target" not in row or not isinstance(inputs, dict):
        raise InputError(
            'neither an item ({"id", "inputs": {…}, "target"}) nor a completion ({"item_id", …})',
            path=path,
            line=line,
        )
    fields = {str(name): str(value) for name, value in inputs.items()}
    return Item(str(row["id"]), fields, str(row["target"]))


def _sample_line(row: Mapping[str, Any], path: Path, line: int) -> SampleLine:
    if "sample" not in row and "draw" in row:  # the key's name in older recordings
        row = {**row, "sample": row["draw"]}
    for name in ("model", "prompt_id", "mode", "temperature", "sample"):
        if name not in row:
            raise InputError(f"a completion needs {name!r}", path=path, line=line)
    for name in ("temperature", *NUMBERS):
        value = row.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise InputError(f"{name} must be a number, got {value!r}", path=path, line=line)
    index = row["sample"]
    if isinstance(index, bool) or not isinstance(index, int) or index < 0:
        raise InputError(f"sample must be 0, 1, 2 …, got {index!r}", path=path, line=line)
    score = row.get("score")
    if score is not None and not 0 <= score <= 1:
        raise InputError(f"score must be in [0, 1], got {score!r}", path=path, line=line)
    if row.get("text") is None and row.get("error") is None:
        raise InputError("a completion needs 'text', or 'error'", path=path, line=line)
    variant = Variant(str(row["prompt_id"]), str(row["mode"]), float(row["temperature"]))
    try:
        variant, found = variant._replace(path=_path(row.get("path") or [])), _look_up(row)
    except InputError as error:
        raise InputError(str(error), path=path, line=line) from None
    sample = _sample(row, found)
    return SampleLine(line, str(row["model"]), str(row["item_id"]), variant, index, sample)


def _path(labels: Any) -> TurnPath:
    """The turns from the root on, as ``["query:2", "answer"]``."""
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InputError(f"path must be a list of turns, got {labels!r}")
    return tuple(Turn.of(label) for label in labels)


def _look_up(row: Mapping[str, Any]) -> LookUp | None:
    if row.get("query") is None:
        return None
    rows = row.get("passages")
    if not isinstance(rows, list) or not all(
        isinstance(each, dict) and "id" in each and isinstance(each.get("text"), str)
        for each in rows
    ):
        raise InputError('a query needs its "passages": [{"id": …, "text": …}], or []')
    passages = tuple(Passage(str(each["id"]), each["text"]) for each in rows)
    return LookUp(str(row["query"]).strip(), passages, float(row.get("lookup_s") or 0.0))


def _sample(row: Mapping[str, Any], look_up: LookUp | None) -> RecordedSample:
    answer, error = row.get("answer"), row.get("error")
    return RecordedSample(
        text=str(row.get("text") or ""),
        prompt_tokens=int(row.get("prompt_tokens") or 0),
        completion_tokens=int(row.get("completion_tokens") or 0),
        answered="answer" in row,
        answer=None if answer is None else str(answer),
        score=row.get("score"),
        verifier_score=row.get("verifier_score"),
        mean_logprob=row.get("mean_logprob"),
        confidence=row.get("confidence"),
        latency_s=float(row.get("latency_s") or 0.0),
        tokens_estimated=bool(row.get("tokens_estimated", False)),
        error=None if error is None else str(error),
        look_up=look_up,
    )
