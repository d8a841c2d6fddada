"""Checking plain data against pydantic models, and telling people what is wrong and where."""

from __future__ import annotations

import collections.abc
import difflib
import re
import types
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from tierwise.errors import Faults, InputError, Loc, raise_any, unknown_name
from tierwise.schema.yaml_io import Document

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    """Unknown keys are faults, and a text is not a number."""

    model_config = ConfigDict(extra="forbid", strict=True)


def custom(message: str) -> PydanticCustomError:
    """A fault found by a validator, told as it is."""
    return PydanticCustomError("tierwise", "{message}", {"message": message})


_M = TypeVar("_M", bound=BaseModel)


def validate(model: type[_M], document: Document) -> _M:
    """``document`` as a ``model``.

    Raises:
        InputError: with every fault, each with its line and the near names.
    """
    faults = list(document.traps.values())
    if document.data is None:
        raise document.fault("there is nothing in it")
    if not isinstance(document.data, dict):
        raise document.fault(f"must be a mapping of {', '.join(keys_of(model))}")
    try:
        checked = model.model_validate(document.data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        misspelt = {_meant(model, d["loc"]) for d in details if d["type"] == "extra_forbidden"}
        for detail in details:
            loc = _inside(document.data, detail["loc"])
            said = loc in document.traps or (
                detail["type"] == "missing" and detail["loc"] in misspelt
            )
            if not said:
                faults.append(_fault(model, document, detail, loc))
        raise Faults(sorted(faults, key=lambda f: f.line or 0)) from None
    raise_any(faults)
    return checked


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys that a mapping of this model may have."""
    return [f.alias or name for name, f in model.model_fields.items()]


def _fault(model: type[BaseModel], doc: Document, detail: ErrorDetails, loc: Loc) -> InputError:
    kind, context, got = detail["type"], detail.get("ctx", {}), detail["input"]
    where = _dotted(loc)
    if kind == "extra_forbidden":
        parent = _dotted(loc[:-1])
        error = unknown_name("key", str(loc[-1]), _known(model, loc[:-1]))
        return doc.fault(f"{parent}: {error.message}" if parent else error.message, loc)
    if kind == "missing":
        *around, key = detail["loc"]
        inside = f" in {_dotted(around)}" if around else ""
        return doc.fault(f"{key!r} is missing{inside}", loc)
    if kind == "literal_error":
        names = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        if isinstance(got, str):
            return doc.fault(unknown_name(where, got, names).message, loc)
        return doc.fault(f"{where} must be one of {', '.join(names)}{_shown(got)}", loc)
    if kind == "tierwise":
        return doc.fault(f"{where}: {detail['msg']}", loc)
    if kind in _MUST_BE:
        return doc.fault(f"{where} must be {_MUST_BE[kind]}{_shown(got)}", loc)
    if kind == "too_short":
        return doc.fault(f"{where} must not be empty", loc)
    if kind in _BOUNDS:
        bound = next(iter(context.values()))
        return doc.fault(f"{where} must be {_BOUNDS[kind]} {bound:g}{_shown(got)}", loc)
    message = detail["msg"].removeprefix("Value error, ")
    return doc.fault(f"{where}: {message[:1].lower()}{message[1:]}", loc)


_MUST_BE = {
    "string_type": "text (in quotes if it looks like something else)",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "list_type": "a list",
    "model_attributes_type": "a mapping",
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


def _dotted(loc: Iterable[str | int]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc)
    return text.removeprefix(".")


def _inside(data: Any, loc: Iterable[str | int]) -> Loc:
    """``loc`` without the steps that pydantic adds for the members of a union."""
    found: list[str | int] = []
    for step in loc:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            continue
        found.append(step)
    return tuple(found)


def _known(model: type[BaseModel], loc: Loc) -> list[str]:
    """The keys that the schema knows at ``loc``."""
    here: Any = model
    for step in loc:
        here = _without_none(here)
        if isinstance(here, type) and issubclass(here, BaseModel):
            fields = {f.alias or name: f.annotation for name, f in here.model_fields.items()}
            here = fields.get(str(step))
        elif get_origin(here) in (dict, collections.abc.Mapping):
            here = get_args(here)[1]
        elif get_origin(here) is list:
            here = get_args(here)[0]
    here = _without_none(here)
    return keys_of(here) if isinstance(here, type) and issubclass(here, BaseModel) else []


def _meant(model: type[BaseModel], loc: Loc) -> Loc:
    """Where an unknown key would be if it were spelt as the nearest known one."""
    near = difflib.get_close_matches(str(loc[-1]), _known(model, loc[:-1]), n=1, cutoff=0.5)
    return (*loc[:-1], *near)


def _without_none(annotation: Any) -> Any:
    """The first member that is not None of an optional, and what an ``Annotated`` annotates."""
    while get_origin(annotation) in (Annotated, Union, types.UnionType):
        annotation = next(a for a in get_args(annotation) if a is not type(None))
    return annotation
