"""YAML in and out: safe, with a line number for every key, and every fault at once.

Only plain data is read: no tags, no aliases, no duplicate keys. What YAML 1.1 and 1.2 read
differently (``no``, ``1e3``, ``12:30:00``, ``010``) is a fault that says what to write instead.
``read_as`` makes a value of a class of this package from a document and gives each fault that
pydantic or the class finds its line; ``plain`` and ``dump`` are the way back.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from tierwise.errors import RENAMED, InputError, Loc, faults_of, raise_any, unknown_name

_DEPTH = 40
_NODES = 100_000
_CHARACTERS = 4_000_000
"""Most of a file: a policy with many demonstrations has a tenth of it."""
_LARGEST_BYTES = 4 * _CHARACTERS
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

    @property
    def folder(self) -> Path:
        """Where the files beside it are."""
        return Path(str(self.path)).parent if self.path else Path()

    def line(self, loc: Loc) -> int:
        """Line of the value at ``loc``, or of the nearest thing around it."""
        while loc and loc not in self.lines:
            loc = loc[:-1]
        return self.lines.get(loc, 1)

    def fault(self, message: str, loc: Loc = ()) -> InputError:
        """An error that points at ``loc``."""
        return InputError(message, path=self.path, line=self.line(loc))

    def inside(self, loc: Iterable[str | int]) -> Loc:
        """``loc`` without its steps that are not in the data, such as the members of a union."""
        return _steps(self.data, loc)

    def under(self, name: str) -> Document:
        """The whole of it as the value of ``name``; its lines are found by their own places too."""
        lines = {**self.lines, **{(name, *loc): line for loc, line in self.lines.items()}}
        traps = {(name, *loc): fault for loc, fault in self.traps.items()}
        return Document({name: self.data}, self.path, lines, traps)

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
    """A file's text, or an InputError that says why not: unreadable, not UTF-8, or too large."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
        if len(content) > _LARGEST_BYTES:
            raise InputError(f"is larger than {_LARGEST_BYTES:,} bytes", path=path)
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise InputError("is not text in UTF-8", path=path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from None


def parse(text: str, path: Path | str | None = None) -> Document:
    """The document in ``text``; ``path`` is for messages.

    Raises:
        InputError: not YAML, with tags or aliases, or too large.
    """
    if len(text) > _CHARACTERS:
        raise InputError(f"is larger than {_CHARACTERS:,} characters", path=path)
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
    depth = nodes = 0

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
        if self.nodes >= _NODES:
            self._refuse(f"more than {_NODES:,} values", event)
        self.nodes += 1
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


_T = TypeVar("_T")


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def adapter(form: Any) -> TypeAdapter[Any]:
    """The pydantic adapter of a class, built once."""
    if form not in _ADAPTERS:
        _ADAPTERS[form] = TypeAdapter(form)
    return _ADAPTERS[form]


def read_as(
    form: type[_T],
    document: Document,
    data: Any = None,
    place: Callable[[Loc], Loc] = lambda loc: loc,
) -> _T:
    """The ``form`` that a document describes.

    Args:
        data: what to read instead of the document's data, where a file's keys are not quite those
            of the class; ``place`` says where in the document a place in ``data`` is.

    Raises:
        InputError: every fault, each with its line and the near names.
    """
    traps = list(document.traps.values())
    if document.data is None:
        raise document.fault("there is nothing in it")
    data = document.data if data is None else data
    try:
        made: _T = adapter(form).validate_json(json.dumps(data))
    except ValidationError as error:
        found = _Faulty(form, document, data, place).found(error)
        raise_any(sorted([*traps, *found], key=lambda fault: fault.line or 0))
        raise  # not reached: pydantic names at least one fault
    raise_any(traps)
    return made


def plain(value: Any, form: Any = None) -> Any:
    """``value`` as plain data with a file's keys; ``form``: its type, if not its class."""
    return adapter(form or type(value)).dump_python(value, mode="json", by_alias=True)


def keys_of(form: Any, loc: Loc = ()) -> list[str]:
    """The keys that a mapping at ``loc`` of a ``form`` may have; [] where they are free.

    At the top those of the file, where a class has ``FILE_KEYS`` because they differ.
    """
    if not loc and hasattr(form, "FILE_KEYS"):
        return list(form.FILE_KEYS)
    schema = adapter(form).json_schema()
    here: list[Mapping[str, Any]] = [schema]
    for step in loc:
        here = [inner for each in _alternatives(here, schema) for inner in _inner(each, step)]
    return list(
        dict.fromkeys(k for h in _alternatives(here, schema) for k in h.get("properties", ()))
    )


def _alternatives(
    here: Iterable[Mapping[str, Any]], schema: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """What the JSON Schemas in ``here`` refer to or choose between."""
    for each in here:
        choices = [*each.get("anyOf", ()), *each.get("oneOf", ())]
        if "$ref" in each:
            choices.append(schema["$defs"][each["$ref"].rpartition("/")[2]])
        yield from _alternatives(choices, schema) if choices else [each]


def _inner(here: Mapping[str, Any], step: str | int) -> list[Mapping[str, Any]]:
    if isinstance(step, int):
        found = [here.get("items")]
    elif step in here.get("properties", {}):
        found = [here["properties"][step]]
    else:  # a mapping with free keys, or with keys that are names
        found = [*here.get("patternProperties", {}).values(), here.get("additionalProperties")]
    return [inner for inner in found if isinstance(inner, Mapping)]


@dataclass(frozen=True)
class _Faulty:
    """What pydantic found wrong in ``data``, told with the places of ``document``."""

    form: Any
    document: Document
    data: Any
    place: Callable[[Loc], Loc]

    def found(self, error: ValidationError) -> list[InputError]:
        """A fault for each of pydantic's; alternatives that fail alike are one."""
        details = [(self._inside(d), d) for d in error.errors(include_url=False)]
        misspelt = {self._meant(loc) for loc, d in details if d["type"] in _UNKNOWN}
        faults: list[InputError] = []
        types: dict[Loc, list[ErrorDetails]] = {}
        for loc, detail in details:
            kind, inner = detail["type"], detail.get("ctx", {}).get("error")
            if kind == "missing" and loc in misspelt:
                continue
            if isinstance(inner, InputError):
                if self.document.traps:  # what was trapped may be what is found missing
                    continue
                for each in faults_of(inner):
                    at = self.place((*loc, *each.loc))
                    faults.append(self.document.placed(each, self.document.inside(at)))
            elif kind in _MUST_BE:
                types.setdefault(loc, []).append(detail)
            elif self.place(loc) not in self.document.traps:
                faults.append(self._fault(loc, detail))
        for loc, alike in types.items():
            got_further = any(loc == far[: len(loc)] != far for far, _ in details)
            if not got_further and self.place(loc) not in self.document.traps:
                must_be = ", or ".join(dict.fromkeys(_MUST_BE[d["type"]] for d in alike))
                got = _shown(alike[0]["input"])
                faults.append(self._at(loc, f"{self._where(loc) or 'it'} must be {must_be}{got}"))
        return faults

    def _fault(self, loc: Loc, detail: ErrorDetails) -> InputError:
        kind, context, got = detail["type"], detail.get("ctx", {}), detail["input"]
        where = self._where(loc[:-1] if detail["loc"][-1:] == ("[key]",) else loc)
        if kind in _UNKNOWN:
            parent = self._where(loc[:-1])
            said = unknown_name("key", str(loc[-1]), keys_of(self.form, loc[:-1])).message
            return self._at(loc, f"{parent}: {said}" if parent else said)
        if kind == "missing":
            parent = self._where(loc[:-1])
            return self._at(loc, f"{loc[-1]!r} is missing" + (f" in {parent}" if parent else ""))
        if kind == "literal_error":
            names = re.findall(r"'([^']*)'", str(context.get("expected", "")))
            if isinstance(got, str):
                return self._at(loc, unknown_name(where, got, names).message)
            return self._at(loc, f"{where} must be one of {', '.join(names)}{_shown(got)}")
        if kind == "too_short":
            return self._at(loc, f"{where} must not be empty")
        if kind in _BOUNDS:
            bound = next(iter(context.values()))
            return self._at(loc, f"{where} must be {_BOUNDS[kind]} {bound:g}{_shown(got)}")
        message = detail["msg"].removeprefix("Value error, ")
        return self._at(loc, f"{where}: {message[:1].lower()}{message[1:]}")

    def _inside(self, detail: ErrorDetails) -> Loc:
        """Where it is, without the steps that pydantic adds for the members of a union."""
        *around, last = detail["loc"] or ("",)
        if detail["type"] == "missing":
            return (*_steps(self.data, around), last)
        return _steps(self.data, detail["loc"])

    def _meant(self, loc: Loc) -> Loc:
        """Where an unknown key would be if it were spelt as the nearest known one."""
        known, given = keys_of(self.form, loc[:-1]), str(loc[-1])
        if RENAMED.get(given) in known:
            return (*loc[:-1], RENAMED[given])
        return (*loc[:-1], *difflib.get_close_matches(given, known, n=1, cutoff=0.5))

    def _at(self, loc: Loc, message: str) -> InputError:
        return self.document.fault(message, self.place(loc))

    def _where(self, loc: Loc) -> str:
        steps = (f"[{s}]" if isinstance(s, int) else f".{s}" for s in self.place(loc))
        return "".join(steps).removeprefix(".")


_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_MUST_BE = {
    "string_type": "text (in quotes if it looks like something else)",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "scalar_type": "a number, a text, true or false",
    "dict_type": "a mapping",
    "dataclass_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "string_too_short": "a text that is not empty",
}
_BOUNDS = {
    "greater_than": "above",
    "greater_than_equal": "at least",
    "less_than": "below",
    "less_than_equal": "at most",
}


def _shown(value: Any) -> str:
    match value:
        case None:
            return ", got nothing"
        case bool():
            return f", got {str(value).lower()}"
        case dict():
            return ", got a mapping"
        case list():
            return ", got a list"
        case str() if len(value) > 16:  # may be a secret in the wrong place
            return ", got a text"
        case _:
            return f", got {value!r}"


def _steps(data: Any, loc: Iterable[str | int]) -> Loc:
    """The steps of ``loc`` that there are in ``data``."""
    found: list[str | int] = []
    for step in loc:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            continue
        found.append(step)
    return tuple(found)


ONE_LINE = frozenset({"price", "variants", "strategy", "params", "sends", "operating_point"})
"""Keys whose value is written on one line though it holds mappings."""
EACH_ON_ONE_LINE = frozenset({"modes", "weights"})
"""Keys of mappings with one line for each of their values."""


class _Flow(dict[str, Any]):
    """A mapping to be written on one line."""


class _FlowList(list[Any]):
    """A list to be written on one line."""


class _Block(dict[str, Any]):
    """A mapping to be written as a block, however short."""


def _on_lines(value: Any, key: str = "") -> Any:
    """``value`` with those of its parts marked that are written on one line."""
    if isinstance(value, Mapping):
        if key in ONE_LINE and "stages" not in value:
            return _Flow(value)
        if key in EACH_ON_ONE_LINE:
            return {k: _Flow(v) if isinstance(v, Mapping) else v for k, v in value.items()}
        return {k: _on_lines(v, k) for k, v in value.items()}
    if isinstance(value, list):
        if key == "stages":
            return [_Flow(v) if isinstance(v, Mapping) else v for v in value]
        return _FlowList(value) if key in ONE_LINE else [_on_lines(v) for v in value]
    return value


class _Dumper(yaml.SafeDumper):
    """Small maps and lists on one line, long texts as blocks, keys in the order given."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _one_line(data: Any) -> bool:
    if isinstance(data, _Flow | _FlowList | _Block):
        return not isinstance(data, _Block)
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


for _mapping in (dict, _Flow, _Block):
    _Dumper.add_representer(_mapping, _represent_map)
for _list in (list, _FlowList):
    _Dumper.add_representer(_list, _represent_list)
_Dumper.add_representer(str, _represent_text)


def dump(data: Mapping[str, Any]) -> str:
    """``data`` as YAML that ``parse`` reads back equal; the same bytes for the same data.

    The top level is always a block; below it a map or list without others inside goes on one line
    where it is short, and what stands under a key of ``ONE_LINE`` always does.
    """
    return yaml.dump(
        _Block(_on_lines(data)), Dumper=_Dumper, allow_unicode=True, width=math.inf, sort_keys=False
    )
