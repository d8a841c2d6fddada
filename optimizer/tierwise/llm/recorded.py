"""Recorded completions: a file's draws, and no others.

A recording is ``NAME.jsonl`` (or ``.jsonl.gz``), one line a completion; its items are lines of the
same file or ``NAME.items.jsonl``. The bytes of the prompts are not known, so the requests to a
recorded model only name what is asked for: the prompt by its id, the mode, the temperature and the
item by its inputs. A draw that is not there is not recorded, and never made up.

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
from tierwise.llm.recording_file import DrawLine, LookUp, RecordedDraw, read_recording
from tierwise.recipe import Arm, Message, Price, PromptTemplate, Tier, Turn, TurnTemplate
from tierwise.recipe import Path as TurnPath
from tierwise.recipe.turns import ROOT
from tierwise.task import Item

PREFIX = "recorded/"
MODE_PARAM = "recorded_mode"

_MARK = "[turn {}]"
_MARKED = re.compile(r"(?s)(?:(.*)\n\n)?\[turn (\w+)\]")
"""How the stand-in of a prompt says which turn it asks for: at the end of the last message."""


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
        nodes: the same of arms with a path: the steps of trajectories.
        look_ups: what each of their queries brought.
    """

    model: str
    items: tuple[Item, ...]
    draws: Mapping[Arm, Mapping[str, Mapping[int, RecordedDraw]]]
    nodes: Mapping[Arm, Mapping[str, Mapping[int, RecordedDraw]]] = field(default_factory=dict)
    look_ups: Mapping[str, LookUp] = field(default_factory=dict)

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
        nodes = {arm: draws.pop(arm) for arm in list(draws) if arm.path}
        _check_trajectories(draws, nodes, path)
        return cls(PREFIX + name, tuple(items.values()), draws, nodes, _look_ups(lines, name, path))

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
                family="recorded", modes=tuple(of), origin="recorded", turns=self.turns,
            )
            for prompt, of in modes.items()
        )  # fmt: skip

    @functools.cached_property
    def turns(self) -> Mapping[str, TurnTemplate]:
        """A stand-in for the words of each turn of a trajectory: it names the turn."""
        names = {turn.name for arm in self.nodes for turn in arm.path}
        marks = {name: TurnTemplate(_MARK.format(name)) for name in sorted(names)}
        return {**marks, "passages": TurnTemplate("{{ passages }}")} if marks else {}

    @functools.cached_property
    def _by_names(self) -> Mapping[Arm, Arm]:
        """Arms with a path by the names of its turns, which is what a request says of them."""
        return {arm._replace(path=_named(arm.path)): arm for arm in self.nodes}

    def draw(self, arm: Arm, item_id: str, index: int) -> RecordedDraw | None:
        """One draw, or None: not recorded. A path may leave out how many passages a query gets."""
        arm = self._by_names.get(arm._replace(path=_named(arm.path)), arm)
        of = self.nodes if arm.path else self.draws
        return of.get(arm, {}).get(item_id, {}).get(index)


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
        self._fields = len(fields)
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
        arm = Arm(prompt, str(request.params.get(MODE_PARAM)), float(temperature), path=path)
        return arm, self._item_of.get(tuple(inputs))

    def _result(self, arm: Arm, item_id: str | None, index: int) -> Result:
        draw = None if item_id is None else self.recording.draw(arm, item_id, index)
        if draw is None:
            where = "an unknown item" if item_id is None else f"item {item_id!r}"
            return Failure("not_recorded", f"draw {index} of {arm.label} on {where}")
        return draw.result


def _named(path: TurnPath) -> TurnPath:
    return tuple(Turn(turn.name) for turn in path)


def _check_trajectories(
    draws: Mapping[Arm, object], nodes: Mapping[Arm, object], path: Path
) -> None:
    """Raise InputError where trajectories lack plain answers, or a query's passages are two."""
    gets: dict[Arm, Arm] = {}
    for arm in nodes:
        if arm.root not in draws:
            raise InputError(
                f"there are trajectories of {arm.root.label} and no plain answers: add what it "
                "says without searching, lines without a path",
                path=path,
            )
        other = gets.setdefault(arm._replace(path=_named(arm.path)), arm)
        if other != arm:
            raise InputError(
                f"{arm.label} and {other.label}: the same arm with two numbers of passages; give "
                "each a prompt_id of its own",
                path=path,
            )


def _look_ups(lines: Iterable[DrawLine], model: str, path: Path) -> dict[str, LookUp]:
    """What each query brought; InputError where it brought two different things."""
    found: dict[str, LookUp] = {}
    for line in lines:
        new = line.draw.look_up
        if new is None or line.model != model:
            continue
        if found.setdefault(new.query, new).passages != new.passages:
            raise InputError(
                f"the query {new.query!r} has brought other passages before", path=path,
                line=line.line,
            )  # fmt: skip
    return found


def _coverage(by_item: Mapping[str, Mapping[int, RecordedDraw]]) -> Coverage:
    counts = [len(draws) for draws in by_item.values()]
    return Coverage(len(counts), min(counts), max(counts))
