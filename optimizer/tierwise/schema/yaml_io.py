"""YAML in and out: safe, with a line number for every key, and every fault at once.

Only plain data is read: no tags, no aliases, no duplicate keys. What YAML 1.1 and 1.2 read
differently (``no``, ``1e3``, ``12:30:00``, ``010``) is a fault that says what to write instead.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tierwise.errors import InputError, Loc

_DEPTH = 40
_CORE = "tag:yaml.org,2002:"
_ONLY_IN_YAML_1_2 = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+|0o[0-7]+")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")
_ODD_BREAKS = re.compile("[\r\x85\u2028\u2029]")
_HALF_PAIR = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Document:
    """Plain data with the line of each of its values, and what was wrong already on reading."""

    data: Any
    path: Path | str | None
    lines: Mapping[Loc, int] = field(default_factory=dict)
    traps: Mapping[Loc, InputError] = field(default_factory=dict)

    def line(self, loc: Loc) -> int:
        """Line of the value at ``loc``, or of the nearest thing around it."""
        while loc and loc not in self.lines:
            loc = loc[:-1]
        return self.lines.get(loc, 1)

    def fault(self, message: str, loc: Loc = ()) -> InputError:
        """An error that points at ``loc``."""
        return InputError(message, path=self.path, line=self.line(loc))

    def placed(self, error: InputError, loc: Loc) -> InputError:
        """``error``, which knew no place, at ``loc``."""
        return error if error.path is not None else self.fault(error.message, loc)


def read(path: Path | str) -> Document:
    """The document in a file.

    Raises:
        InputError: no such file, not UTF-8, or not YAML.
    """
    return parse(read_text(path), path)


def read_text(path: Path | str) -> str:
    """A file's text, or an InputError that says why not."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("is not text in UTF-8", path=path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from None


def parse(text: str, path: Path | str | None = None) -> Document:
    """The document in ``text``; ``path`` is for messages.

    Raises:
        InputError: not YAML, or with tags or aliases.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        raise InputError(
            f"not YAML: {error.problem or error.context}", path=path, line=line
        ) from None
    except yaml.YAMLError as error:
        raise InputError(f"not YAML: {str(error).splitlines()[0]}", path=path) from None
    reading = _Reading(loader, path)
    data = None if node is None else reading.plain(node, ())
    return Document(data, path, reading.lines, reading.traps)


class _Loader(yaml.SafeLoader):
    """A safe loader without dates, tags, aliases and bottomless nesting."""

    yaml_implicit_resolvers = {  # noqa: RUF012  PyYAML's own way to set resolvers
        first: [(tag, pattern) for tag, pattern in rules if tag != _CORE + "timestamp"]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]  # a gap in the stubs
        if isinstance(event, yaml.AliasEvent):
            self._refuse("aliases (*name) are not read: write the value out", event)
        tag: str | None = getattr(event, "tag", None)
        if tag is not None:
            self._refuse(f"tags ({tag}) are not read: plain data only", event)
        if isinstance(event, yaml.ScalarEvent) and _HALF_PAIR.search(event.value):
            self._refuse("half of a surrogate pair is no character", event)
        if self.depth >= _DEPTH:
            self._refuse(f"nested more than {_DEPTH} deep", event)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _refuse(self, problem: str, event: yaml.Event) -> None:
        mark: Any = event.start_mark  # the stubs have two kinds of marks
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


class _Reading:
    """From nodes to plain data, noting lines and traps on the way."""

    def __init__(self, loader: _Loader, path: Path | str | None) -> None:
        self.loader, self.path = loader, path
        self.lines: dict[Loc, int] = {}
        self.traps: dict[Loc, InputError] = {}

    def plain(self, node: yaml.Node, loc: Loc) -> Any:
        self.lines.setdefault(loc, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, loc)
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(child, (*loc, i)) for i, child in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)  # there is no fourth kind
        return self._scalar(node, loc)

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            here = (*loc, str(key))
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != _CORE + "str":
                self._trap(here, line, f"the key {key!r} is not read as text: write it in quotes")
            elif key in data:
                self._trap(here, line, f"the key {key!r} is here twice (line {self.lines[here]})")
            else:
                self.lines[here] = line
                data[key] = self.plain(value_node, here)
        return data

    def _scalar(self, node: yaml.ScalarNode, loc: Loc) -> Any:
        raw, kind = node.value, node.tag.removeprefix(_CORE)
        line = node.start_mark.line + 1
        if node.style is None and (instead := _misread(raw, kind)):
            self._trap(loc, line, instead)
            return raw
        if kind in ("str", "value", "merge"):
            return raw
        try:
            value = self.loader.construct_object(node)
            if isinstance(value, int):
                float(value)
        except (ValueError, OverflowError):  # an integer of hundreds of digits
            self._trap(loc, line, "the number is too large")
            return 0
        if isinstance(value, float) and not math.isfinite(value):
            self._trap(loc, line, f"{raw} is not a finite number")
        return value

    def _trap(self, loc: Loc, line: int, message: str) -> None:
        self.traps[loc] = InputError(message, path=self.path, line=line)


def _misread(raw: str, kind: str) -> str | None:
    """What to write instead of a scalar that YAML versions read differently."""
    quotes = f"if it is text, write it in quotes: '{raw}'"
    if kind == "bool" and raw.lower() not in ("true", "false"):
        truth = "true" if raw.lower() in ("yes", "on") else "false"
        return f"YAML reads {raw} as {truth}; {quotes}, else write {truth}"
    if kind in ("int", "float") and ":" in raw:
        return f"YAML reads {raw} as a number in base 60; {quotes}"
    if kind == "int" and _LEADING_ZERO.fullmatch(raw):
        return f"YAML reads {raw} as an octal number; {quotes}"
    if kind == "str" and _ONLY_IN_YAML_1_2.fullmatch(raw):
        return f"YAML 1.1 reads {raw} as text, 1.2 as a number; {quotes}, else write it out"
    return None


class Flow(dict[str, Any]):
    """A mapping to be written on one line though it holds others."""


class FlowList(list[Any]):
    """A list to be written on one line though it holds mappings."""


class _Dumper(yaml.SafeDumper):
    """Small maps and lists on one line, long texts as blocks, keys in the order given."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _one_line(data: Any) -> bool:
    if isinstance(data, Flow | FlowList):
        return True
    values = list(data.values() if isinstance(data, Mapping) else data)
    if any(isinstance(v, Mapping | list) and v for v in values):
        return False
    return not any(isinstance(v, str) and "\n" in v for v in values) and len(str(data)) <= 90


def _represent_map(dumper: _Dumper, data: Mapping[str, Any]) -> yaml.Node:
    pairs = data.items()  # items, since SafeDumper sorts what is a mapping
    return dumper.represent_mapping(_CORE + "map", pairs, flow_style=_one_line(data))


def _represent_list(dumper: _Dumper, data: Sequence[Any]) -> yaml.Node:
    return dumper.represent_sequence(_CORE + "seq", data, flow_style=_one_line(data))


def _represent_text(dumper: _Dumper, text: str) -> yaml.Node:
    style = None
    if "\n" in text or _ODD_BREAKS.search(text):
        tidy = text.strip() and text.strip() == text.removesuffix("\n")
        style = "|" if tidy and not _ODD_BREAKS.search(text) else '"'
    elif _ONLY_IN_YAML_1_2.fullmatch(text) or text.isdigit():
        style = '"'
    return dumper.represent_scalar(_CORE + "str", text, style=style)


_Dumper.add_representer(dict, _represent_map)
_Dumper.add_representer(Flow, _represent_map)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(FlowList, _represent_list)
_Dumper.add_representer(str, _represent_text)


class _Outer(_Dumper):
    """The dumper of one top-level key, which is always a block."""

    def represent(self, data: Mapping[str, Any]) -> None:
        pairs = data.items()
        self.serialize(self.represent_mapping(_CORE + "map", pairs, flow_style=False))


def dump(data: Mapping[str, Any]) -> str:
    """``data`` as YAML that ``parse`` reads back equal; the same bytes for the same data.

    The top level is always a block; below it a map or list without others inside goes on one line
    where it is short, and ``Flow`` and ``FlowList`` always do.
    """
    parts = []
    for key, value in data.items():
        parts.append(
            yaml.dump(
                {key: value}, Dumper=_Outer, allow_unicode=True, width=math.inf, sort_keys=False
            )
        )
    return "".join(parts)
