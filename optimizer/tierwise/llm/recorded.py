"""Recorded completions: the file format, one model's samples, and a model that answers from them.

A recording is ``NAME.jsonl`` (or ``.jsonl.gz``), one line a completion; its items are lines of the
same file or of ``NAME.items.jsonl``. The bytes of the prompts are not known, so the requests to a
recorded model only name what is asked for: the prompt by its id, the mode, the temperature and the
item by its inputs. A sample that is not in the file is "not recorded", never made up.

A line with a ``path`` is a step of a trajectory: its request names the turns behind it as well.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from tierwise.errors import InputError, unknown_name
from tierwise.llm.base import Call, Completion, Failure, Request, Result
from tierwise.schema import (
    Message,
    Passage,
    Price,
    PromptTemplate,
    Tier,
    Turn,
    TurnTemplate,
    Variant,
)
from tierwise.schema import Path as TurnPath
from tierwise.schema.fields import LongName, Name
from tierwise.schema.files import json_lines
from tierwise.schema.tier import ModelString
from tierwise.schema.turns import ROOT
from tierwise.tasks import Item

RECORDED_PREFIX = "recorded/"
MODE_PARAM = "recorded_mode"

_LARGEST = 1e15
_MARK = "[turn {}]"
_MARKED = re.compile(r"(?s)(?:(.*)\n\n)?\[turn (\w+)\]")
"""How the stand-in of a prompt says which turn it asks for: at the end of the last message."""
_NAMES = {
    "prompt_id": TypeAdapter(LongName),
    "mode": TypeAdapter(Name),
    "model": TypeAdapter(ModelString),
}
"""They become names of tiers, labels and keys of files."""
_NUMBERS = (
    *("score", "prompt_tokens", "completion_tokens", "verifier_score", "mean_logprob"),
    *("confidence", "latency_s", "lookup_s"),
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
        for line, row in json_lines(file):
            try:
                if "item_id" in row:
                    samples.append(_sample_line(row, line))
                if "item_id" in row or "messages" in row:  # a request of the pool that has no name
                    continue
                item = _item(row)
                if items.setdefault(item.id, item).content_sha256 != item.content_sha256:
                    raise InputError(f"another item has the id {item.id!r} too")
            except InputError as error:
                raise InputError(error.message, path=file, line=line) from None
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


def _item(row: Mapping[str, Any]) -> Item:
    inputs = row.get("inputs")
    if "id" not in row or "target" not in row or not isinstance(inputs, dict):
        raise InputError(
            'neither an item ({"id", "inputs": {…}, "target"}) nor a completion ({"item_id", …})'
        )
    fields = {str(name): str(value) for name, value in inputs.items()}
    also = tuple(map(str, row.get("also") or ()))
    return Item(str(row["id"]), fields, str(row["target"]), also)


def _sample_line(row: Mapping[str, Any], line: int) -> SampleLine:
    if "sample" not in row and "draw" in row:  # the key's name in older recordings
        row = {**row, "sample": row["draw"]}
    for name in ("model", "prompt_id", "mode", "temperature", "sample"):
        if name not in row:
            raise InputError(f"a completion needs {name!r}")
    for name in ("temperature", *_NUMBERS):
        value = row.get(name)
        if value is not None and not _is_number(value):
            raise InputError(f"{name} must be a number, got {value!r}")
    index, score = row["sample"], row.get("score")
    if isinstance(index, bool) or not isinstance(index, int) or index < 0:
        raise InputError(f"sample must be 0, 1, 2 …, got {index!r}")
    if score is not None and not 0 <= score <= 1:
        raise InputError(f"score must be in [0, 1], got {score!r}")
    if row.get("text") is None and row.get("error") is None:
        raise InputError("a completion needs 'text', or 'error'")
    for name, type_ in _NAMES.items():
        try:
            type_.validate_python(row[name], strict=True)
        except ValidationError as error:
            why = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise InputError(f"{name}: {why}") from None
    path = _path(row.get("path") or [])
    variant = Variant(row["prompt_id"], row["mode"], float(row["temperature"]), path=path)
    sample = _sample(row, _look_up(row))
    return SampleLine(line, row["model"], str(row["item_id"]), variant, index, sample)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= _LARGEST  # NaN is not


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


class Coverage(NamedTuple):
    """What is recorded of a variant: items with a sample, and the most samples of one of these."""

    items: int
    max_samples: int


@dataclass(frozen=True)
class Recording:
    """One model's recorded samples.

    Attributes:
        samples: variant -> item id -> sample index -> sample.
        nodes: the same of variants with a path: the steps of trajectories.
        look_ups: what each of their queries brought.
    """

    model: str
    items: tuple[Item, ...]
    samples: Mapping[Variant, Mapping[str, Mapping[int, RecordedSample]]]
    nodes: Mapping[Variant, Mapping[str, Mapping[int, RecordedSample]]] = field(
        default_factory=dict
    )
    look_ups: Mapping[str, LookUp] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path | str, model: str) -> Recording:
        """The samples of ``model`` (with or without ``recorded/``) in the file at ``path``.

        Raises:
            InputError: the file is missing or broken (with its line), has no samples, none of the
                model, two of one index, a sample of an item that it lacks, or items that disagree.
        """
        path = Path(path)
        changed = path.stat().st_mtime_ns if path.is_file() else 0
        return cls._read(path, model.removeprefix(RECORDED_PREFIX), changed)

    @classmethod
    @functools.lru_cache(maxsize=8)
    def _read(cls, path: Path, name: str, changed: int) -> Recording:
        """Read once: preparing a job, opening its model and searching all ask for it."""
        items, lines = read_recording(path)
        samples: dict[Variant, dict[str, dict[int, RecordedSample]]] = {}
        for line in lines:
            if line.model != name:
                continue
            if line.item_id not in items:
                raise InputError(f"no item has the id {line.item_id!r}", path=path, line=line.line)
            of_item = samples.setdefault(line.variant, {}).setdefault(line.item_id, {})
            if line.at in of_item:
                twice = (
                    f"sample {line.at} of {line.variant.label} on item {line.item_id!r} "
                    "is there twice"
                )
                raise InputError(twice, path=path, line=line.line)
            of_item[line.at] = line.sample
        _close_gaps(samples)
        if not lines:
            raise InputError("the recording holds no samples", path=path)
        if not samples:
            raise unknown_name("recorded model", name, {line.model for line in lines}, path=path)
        nodes = {variant: samples.pop(variant) for variant in list(samples) if variant.path}
        _check_trajectories(samples, nodes, path)
        return cls(
            RECORDED_PREFIX + name,
            tuple(items.values()),
            samples,
            nodes,
            _look_ups(lines, name, path),
        )

    @functools.cached_property
    def variants(self) -> dict[Variant, Coverage]:
        """Every recorded prompt, mode and temperature, with its samples."""
        return {
            variant: Coverage(len(by_item), max(map(len, by_item.values())))
            for variant, by_item in self.samples.items()
        }

    @functools.cached_property
    def counts(self) -> dict[Variant, dict[str, int]]:
        """Variant -> item id -> its samples 0, 1, 2 … that are there without a gap.

        Of plain answers, and of chains where they begin.
        """
        begun = {node: of for node, of in self.nodes.items() if node.parent is None}
        return {
            variant: {
                item: next(n for n in itertools.count() if n not in of_item)
                for item, of_item in by_item.items()
            }
            for variant, by_item in {**self.samples, **begun}.items()
        }

    @functools.cached_property
    def all_samples(self) -> list[RecordedSample]:
        """Every plain answer."""
        return [d for of in self.samples.values() for by in of.values() for d in by.values()]

    def lacks(self, node: Variant, item_id: str, samples: int) -> bool:
        """Whether one of the first ``samples`` chains of an item goes on to ``node``,
        unrecorded."""
        above, at = [], node.parent
        while at is not None:
            above.append(self.nodes.get(at, {}).get(item_id, {}) if at.turn.name == "query" else {})
            at = at.parent
        there = self.nodes.get(node, {}).get(item_id, {})
        return any(
            index not in there
            and not any(index in of and of[index].look_up is None for of in above)
            for index in range(samples)
        )

    @property
    def modes(self) -> dict[str, dict[str, object]]:
        """A tier's modes for this recording: they name the mode, and send nothing."""
        return {variant.mode: {MODE_PARAM: variant.mode} for variant in self.samples}

    @property
    def has_logprobs(self) -> bool:
        """Every sample that did not fail carries a mean log-probability."""
        return all(d.mean_logprob is not None for d in self.all_samples if d.error is None)

    @property
    def prompts(self) -> tuple[PromptTemplate, ...]:
        """A stand-in for every recorded prompt: it names the prompt and carries the inputs."""
        fields = sorted({name for item in self.items for name in item.inputs})
        inputs = tuple(Message("user", f"{{{{ {name} }}}}") for name in fields)
        modes: dict[str, list[str]] = {}
        for variant in self.samples:
            if variant.mode not in modes.setdefault(variant.prompt, []):
                modes[variant.prompt].append(variant.mode)
        return tuple(
            PromptTemplate(
                prompt,
                (Message("system", prompt), *inputs),
                family="recorded",
                modes=tuple(of),
                origin="recorded",
                turns=self.turns,
            )
            for prompt, of in modes.items()
        )

    @functools.cached_property
    def turns(self) -> Mapping[str, TurnTemplate]:
        """A stand-in for the words of each turn of a trajectory: it names the turn."""
        names = {turn.name for variant in self.nodes for turn in variant.path}
        marks = {name: TurnTemplate(_MARK.format(name)) for name in sorted(names)}
        return {**marks, "passages": TurnTemplate("{{ passages }}")} if marks else {}

    @functools.cached_property
    def _by_names(self) -> Mapping[Variant, Variant]:
        """Variants with a path by the names of its turns, which is what a request says of them."""
        return {variant._replace(path=_named(variant.path)): variant for variant in self.nodes}

    def sample(self, variant: Variant, item_id: str, index: int) -> RecordedSample | None:
        """One sample, or None: not recorded. A path may leave out how many passages a query
        gets."""
        variant = self._by_names.get(variant._replace(path=_named(variant.path)), variant)
        of = self.nodes if variant.path else self.samples
        return of.get(variant, {}).get(item_id, {}).get(index)


def recorded_tier(name: str, recording: Recording, price: Price) -> Tier:
    """The tier of a recording. Each sample is a call: a file does not say which shared one."""
    return Tier(
        name,
        recording.model,
        price,
        modes=recording.modes,
        takes_n=False,
        logprobs=recording.has_logprobs,
    )


def same_items(recordings: Sequence[Recording]) -> tuple[Item, ...]:
    """The items of several recordings, each once; InputError where two disagree on one."""
    merged: dict[str, Item] = {}
    for recording in recordings:
        for item in recording.items:
            known = merged.setdefault(item.id, item)
            if known.content_sha256 != item.content_sha256:
                raise InputError(
                    f"the recordings disagree on item {item.id!r}: {recording.model} has "
                    f"target {item.target!r} and inputs {dict(item.inputs)}, another has "
                    f"{known.target!r} and {dict(known.inputs)}"
                )
    return tuple(merged.values())


class RecordedModel:
    """A recording behind the seam of language models; a call's seed means nothing to it.

    Of items with the same inputs the first in the file answers, since a request does not name one.
    """

    chunk = 256

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        fields = sorted({name for item in recording.items for name in item.inputs})
        self._fields = len(fields)
        self._item_of: dict[tuple[str, ...], str] = {}
        for item in recording.items:
            self._item_of.setdefault(tuple(item.inputs.get(f, "") for f in fields), item.id)

    def complete(self, chunks: Iterable[Sequence[Call]]) -> Iterator[list[list[Result]]]:
        """Answer whole chunks in order."""
        for chunk in chunks:
            yield [self._samples(call) for call in chunk]

    async def answer(self, call: Call) -> list[Result]:
        """Answer one live call."""
        return self._samples(call)

    def close(self) -> None:
        """Nothing to give back."""

    def _samples(self, call: Call) -> list[Result]:
        variant, item_id = self._asked(call.request)
        indices = range(call.first_sample, call.first_sample + call.n)
        return [self._result(variant, item_id, index) for index in indices]

    def _asked(self, request: Request) -> tuple[Variant, str | None]:
        prompt, *inputs = (m.content for m in request.messages[: self._fields + 1])
        later = [m.content for m in request.messages[self._fields + 1 :] if m.role == "user"]
        names = [marked[2] for marked in map(_MARKED.fullmatch, later) if marked]
        begun = _MARKED.fullmatch(inputs[-1]) if inputs else None
        if begun:
            inputs[-1], names = begun[1] or "", [begun[2], *names]
        elif names:
            names = [ROOT.name, *names]
        temperature = request.params["temperature"]
        assert isinstance(temperature, int | float)  # what ``build_request`` puts there
        path = tuple(Turn(name) for name in names)
        variant = Variant(
            prompt, str(request.params.get(MODE_PARAM)), float(temperature), path=path
        )
        return variant, self._item_of.get(tuple(inputs))

    def _result(self, variant: Variant, item_id: str | None, index: int) -> Result:
        sample = None if item_id is None else self.recording.sample(variant, item_id, index)
        if sample is None:
            where = "an unknown item" if item_id is None else f"item {item_id!r}"
            return Failure("not_recorded", f"sample {index} of {variant.label} on {where}")
        return sample.result


def _named(path: TurnPath) -> TurnPath:
    return tuple(Turn(turn.name) for turn in path)


def _close_gaps(samples: Mapping[Variant, dict[str, dict[int, RecordedSample]]]) -> None:
    """Number the samples of an item 0, 1, 2 …: an index that is skipped is no lost sample.

    A plain answer and the chain of the same index keep one number.
    """
    there: dict[tuple[Variant, str], set[int]] = {}
    for variant, by_item in samples.items():
        for item, of_item in by_item.items():
            there.setdefault((variant.root, item), set()).update(of_item)
    for variant, by_item in samples.items():
        for item, of_item in by_item.items():
            number = {at: n for n, at in enumerate(sorted(there[variant.root, item]))}
            by_item[item] = {number[at]: of_item[at] for at in sorted(of_item)}


def _check_trajectories(
    samples: Mapping[Variant, object], nodes: Mapping[Variant, object], path: Path
) -> None:
    """Raise InputError where trajectories lack plain answers, or a query's passages are two."""
    gets: dict[Variant, Variant] = {}
    for variant in nodes:
        if variant.root not in samples:
            raise InputError(
                f"there are trajectories of {variant.root.label} and no plain answers: add what it "
                "says without searching, lines without a path",
                path=path,
            )
        other = gets.setdefault(variant._replace(path=_named(variant.path)), variant)
        if other != variant:
            raise InputError(
                f"{variant.label} and {other.label}: the same variant with two numbers of "
                "passages; give each a prompt_id of its own",
                path=path,
            )


def _look_ups(lines: Iterable[SampleLine], model: str, path: Path) -> dict[str, LookUp]:
    """What each query brought; InputError where it brought two different things."""
    found: dict[str, LookUp] = {}
    for line in lines:
        new = line.sample.look_up
        if new is None or line.model != model:
            continue
        if found.setdefault(new.query, new).passages != new.passages:
            raise InputError(
                f"the query {new.query!r} has brought other passages before",
                path=path,
                line=line.line,
            )
    return found
