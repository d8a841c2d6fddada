"""Recorded completions: a file's samples, and no others.

A recording is ``NAME.jsonl`` (or ``.jsonl.gz``), one line a completion; its items are lines of the
same file or ``NAME.items.jsonl``. The bytes of the prompts are not known, so the requests to a
recorded model only name what is asked for: the prompt by its id, the mode, the temperature and the
item by its inputs. A sample that is not there is not recorded, and never made up.

A line with a ``path`` is a step of a trajectory: its request names the turns behind it as well.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tierwise.errors import InputError, unknown_name
from tierwise.llm._base import Call, Failure, Request, Result
from tierwise.llm.recording_file import LookUp, RecordedSample, SampleLine, read_recording
from tierwise.schema import Message, Price, PromptTemplate, Tier, Turn, TurnTemplate, Variant
from tierwise.schema import Path as TurnPath
from tierwise.schema.turns import ROOT
from tierwise.tasks import Item

PREFIX = "recorded/"
MODE_PARAM = "recorded_mode"

_MARK = "[turn {}]"
_MARKED = re.compile(r"(?s)(?:(.*)\n\n)?\[turn (\w+)\]")
"""How the stand-in of a prompt says which turn it asks for: at the end of the last message."""


class Coverage(NamedTuple):
    """What is recorded of a variant: items with a sample, and the fewest and most samples of these."""

    items: int
    min_samples: int
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
        return cls._read(path, model.removeprefix(PREFIX), changed)

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
                twice = f"sample {line.at} of {line.variant.label} on item {line.item_id!r} is there twice"
                raise InputError(twice, path=path, line=line.line)
            of_item[line.at] = line.sample
        if not lines:
            raise InputError("the recording holds no samples", path=path)
        if not samples:
            raise unknown_name("recorded model", name, {line.model for line in lines}, path=path)
        nodes = {variant: samples.pop(variant) for variant in list(samples) if variant.path}
        _check_trajectories(samples, nodes, path)
        return cls(
            PREFIX + name, tuple(items.values()), samples, nodes, _look_ups(lines, name, path)
        )

    @functools.cached_property
    def variants(self) -> dict[Variant, Coverage]:
        """Every recorded prompt, mode and temperature, with its samples."""
        return {variant: _coverage(by_item) for variant, by_item in self.samples.items()}

    @property
    def modes(self) -> dict[str, dict[str, object]]:
        """A tier's modes for this recording: they name the mode, and send nothing."""
        return {variant.mode: {MODE_PARAM: variant.mode} for variant in self.samples}

    @property
    def has_logprobs(self) -> bool:
        """Every sample that did not fail carries a mean log-probability."""
        samples = (d for of in self.samples.values() for by in of.values() for d in by.values())
        return all(d.mean_logprob is not None for d in samples if d.error is None)

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
        """One sample, or None: not recorded. A path may leave out how many passages a query gets."""
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
                f"{variant.label} and {other.label}: the same variant with two numbers of passages; give "
                "each a prompt_id of its own",
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


def _coverage(by_item: Mapping[str, Mapping[int, RecordedSample]]) -> Coverage:
    counts = [len(samples) for samples in by_item.values()]
    return Coverage(len(counts), min(counts), max(counts))
