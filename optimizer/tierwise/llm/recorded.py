"""Recorded completions: a file's draws, and no others.

A recording is ``NAME.jsonl`` (or ``.jsonl.gz``), one line a completion; its items are lines of the
same file or ``NAME.items.jsonl``. The bytes of the prompts are not known, so the requests to a
recorded model only name what is asked for: the prompt by its id, the mode, the temperature and the
item by its inputs. A draw that is not there is not recorded, and never made up.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tierwise.errors import InputError, unknown_name
from tierwise.llm._base import Call, Failure, Request, Result
from tierwise.llm.recording_file import RecordedDraw, read_recording
from tierwise.recipe import Arm, Message, Price, PromptTemplate, Tier
from tierwise.task import Item

PREFIX = "recorded/"
MODE_PARAM = "recorded_mode"


class Coverage(NamedTuple):
    """What is recorded of an arm: items with a draw, and the fewest and most draws of these."""

    items: int
    min_draws: int
    max_draws: int


@dataclass(frozen=True)
class Recording:
    """One model's recorded draws.

    Attributes:
        draws: arm -> item id -> draw index -> draw.
    """

    model: str
    items: tuple[Item, ...]
    draws: Mapping[Arm, Mapping[str, Mapping[int, RecordedDraw]]]

    @classmethod
    def load(cls, path: Path | str, model: str) -> Recording:
        """The draws of ``model`` (with or without ``recorded/``) in the file at ``path``.

        Raises:
            InputError: the file is missing or broken (with its line), has no draws, none of the
                model, two of one index, a draw of an item that it lacks, or items that disagree.
        """
        path = Path(path)
        changed = path.stat().st_mtime_ns if path.is_file() else 0
        return cls._read(path, model.removeprefix(PREFIX), changed)

    @classmethod
    @functools.lru_cache(maxsize=8)
    def _read(cls, path: Path, name: str, changed: int) -> Recording:
        """Read once: preparing a job, opening its model and searching all ask for it."""
        items, lines = read_recording(path)
        draws: dict[Arm, dict[str, dict[int, RecordedDraw]]] = {}
        for line in lines:
            if line.model != name:
                continue
            if line.item_id not in items:
                raise InputError(f"no item has the id {line.item_id!r}", path=path, line=line.line)
            of_item = draws.setdefault(line.arm, {}).setdefault(line.item_id, {})
            if line.at in of_item:
                twice = (
                    f"draw {line.at} of {line.arm.label} on item {line.item_id!r} is there twice"
                )
                raise InputError(twice, path=path, line=line.line)
            of_item[line.at] = line.draw
        if not lines:
            raise InputError("the recording holds no draws", path=path)
        if not draws:
            raise unknown_name("recorded model", name, {line.model for line in lines}, path=path)
        return cls(PREFIX + name, tuple(items.values()), draws)

    @functools.cached_property
    def arms(self) -> dict[Arm, Coverage]:
        """Every recorded prompt, mode and temperature, with its draws."""
        return {arm: _coverage(by_item) for arm, by_item in self.draws.items()}

    @property
    def modes(self) -> dict[str, dict[str, object]]:
        """A tier's modes for this recording: they name the mode, and send nothing."""
        return {arm.mode: {MODE_PARAM: arm.mode} for arm in self.draws}

    @property
    def has_logprobs(self) -> bool:
        """Every draw that did not fail carries a mean log-probability."""
        draws = (d for of in self.draws.values() for by in of.values() for d in by.values())
        return all(d.mean_logprob is not None for d in draws if d.error is None)

    @property
    def prompts(self) -> tuple[PromptTemplate, ...]:
        """A stand-in for every recorded prompt: it names the prompt and carries the inputs."""
        fields = sorted({name for item in self.items for name in item.inputs})
        inputs = tuple(Message("user", f"{{{{ {name} }}}}") for name in fields)
        modes: dict[str, list[str]] = {}
        for arm in self.draws:
            if arm.mode not in modes.setdefault(arm.prompt, []):
                modes[arm.prompt].append(arm.mode)
        return tuple(
            PromptTemplate(
                prompt, (Message("system", prompt), *inputs),
                family="recorded", modes=tuple(of), origin="recorded",
            )
            for prompt, of in modes.items()
        )  # fmt: skip

    def draw(self, arm: Arm, item_id: str, index: int) -> RecordedDraw | None:
        """One draw, or None: not recorded."""
        return self.draws.get(arm, {}).get(item_id, {}).get(index)


def recorded_tier(name: str, recording: Recording, price: Price) -> Tier:
    """The tier of a recording. Each draw is a call: a file does not say which shared one."""
    return Tier(
        name, recording.model, price,
        modes=recording.modes, takes_n=False, logprobs=recording.has_logprobs,
    )  # fmt: skip


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
        self._item_of: dict[tuple[str, ...], str] = {}
        for item in recording.items:
            self._item_of.setdefault(tuple(item.inputs.get(f, "") for f in fields), item.id)

    def complete(self, chunks: Iterable[Sequence[Call]]) -> Iterator[list[list[Result]]]:
        """Answer whole chunks in order."""
        for chunk in chunks:
            yield [self._draws(call) for call in chunk]

    async def answer(self, call: Call) -> list[Result]:
        """Answer one live call."""
        return self._draws(call)

    def close(self) -> None:
        """Nothing to give back."""

    def _draws(self, call: Call) -> list[Result]:
        arm, item_id = self._asked(call.request)
        indices = range(call.first_draw, call.first_draw + call.n)
        return [self._result(arm, item_id, index) for index in indices]

    def _asked(self, request: Request) -> tuple[Arm, str | None]:
        prompt, *inputs = (m.content for m in request.messages)
        temperature = request.params["temperature"]
        assert isinstance(temperature, int | float)  # what ``build_request`` puts there
        arm = Arm(prompt, str(request.params.get(MODE_PARAM)), float(temperature))
        return arm, self._item_of.get(tuple(inputs))

    def _result(self, arm: Arm, item_id: str | None, index: int) -> Result:
        draw = None if item_id is None else self.recording.draw(arm, item_id, index)
        if draw is None:
            where = "an unknown item" if item_id is None else f"item {item_id!r}"
            return Failure("not_recorded", f"draw {index} of {arm.label} on {where}")
        return draw.result


def _coverage(by_item: Mapping[str, Mapping[int, RecordedDraw]]) -> Coverage:
    counts = [len(draws) for draws in by_item.values()]
    return Coverage(len(counts), min(counts), max(counts))
