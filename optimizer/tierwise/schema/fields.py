"""Types of fields that several formats share, and how a class differs from its file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, get_type_hints

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from tierwise.errors import InputError

STRICT = ConfigDict(extra="forbid", strict=True)


class Strict:
    """Base of what is read from files: unknown keys are faults, and a text is not a number."""

    __slots__ = ()
    __pydantic_config__: ClassVar[ConfigDict] = STRICT


_NUMBER = PlainSerializer(float)
Number = Annotated[float, _NUMBER]
Positive = Annotated[float, Field(gt=0), _NUMBER]
NotNegative = Annotated[float, Field(ge=0), _NUMBER]
Share = Annotated[float, Field(ge=0, le=1), _NUMBER]
Count = Annotated[int, Field(ge=1)]
FromZero = Annotated[int, Field(ge=0)]
Text = Annotated[str, StringConstraints(min_length=1)]

IF_SET = Field(exclude_if=lambda value: value is None)
"""Not written where it is None."""
IF_ANY = Field(exclude_if=lambda value: not value)
"""Not written where it is empty, 0 or false."""

NAME = r"\w[\w.\-]{0,99}"
MOST_NAME_BYTES = 200
_ID = r"\w[\w.+~\-]{0,254}"


_NAME_RULE = (
    "letters, digits, '.', '_' and '-', at most 100 of them (200 bytes), "
    "the first neither '.' nor '-'"
)


def check_name(what: str, name: str) -> str:
    """``name``, if it may name a tier, a mode or a task, and with that a file.

    Raises:
        InputError: it may not; says what a name is made of.
    """
    try:
        return _name(name)
    except ValueError as error:
        raise InputError(f"{what} {error}") from None


def _name(name: str) -> str:
    # A file's name has at most 255 bytes; ours put something before and behind a tier's.
    if not re.fullmatch(NAME, name) or len(name.encode()) > MOST_NAME_BYTES:
        raise ValueError(f"{name[:40]!r} is no name: {_NAME_RULE}")
    return name


def _long_name(name: str) -> str:
    if not re.fullmatch(_ID, name):
        raise ValueError(
            f"{name[:40]!r} is no name: letters, digits, '.', '_', '-', '+' and '~', at most 255 "
            "of them, the first none of '.', '-', '+' and '~'"
        )
    return name


Name = Annotated[
    str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME}$"})
]
"""Of a tier, a mode or a task."""
LongName = Annotated[
    str, AfterValidator(_long_name), WithJsonSchema({"type": "string", "pattern": f"^{_ID}$"})
]
"""Of a prompt or a policy: names put together (``worked~1+4``, ``TASK-TIER``)."""


def _scalar(value: Any) -> Any:
    if isinstance(value, dict | list):
        raise PydanticCustomError("scalar_type", "")
    return value


Scalar = Annotated[
    Any, AfterValidator(_scalar), WithJsonSchema({"type": ["number", "string", "boolean", "null"]})
]


@dataclass(frozen=True, slots=True)
class Mapped:
    """Metadata of a field whose value has another shape in the file.

    Attributes:
        file: the type that is read and that the JSON schema shows.
        read: from a value of it to the field's; what it raises is a fault of the field.
        write: from the field's value to plain data.
    """

    file: Any
    read: Callable[[Any], Any] = lambda value: value
    write: Callable[[Any], Any] = lambda value: value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            self.read,
            handler.generate_schema(self.file),
            serialization=core_schema.plain_serializer_function_ser_schema(self.write),
        )


def as_mapping(
    cls: Any, handler: GetCoreSchemaHandler, not_in_file: Sequence[str] = ()
) -> CoreSchema:
    """The pydantic schema of a NamedTuple that is a mapping of its fields in a file.

    Fields of ``not_in_file`` have their default there, or are empty. What is None by default and
    in value is not written.
    """
    hints = get_type_hints(cls, include_extras=True)
    defaults: Mapping[str, Any] = cls._field_defaults
    names = [name for name in cls._fields if name not in not_in_file]
    empty = {name: "" for name in not_in_file if name not in defaults}
    fields = {
        name: core_schema.typed_dict_field(
            handler.generate_schema(hints[name]), required=name not in defaults
        )
        for name in names
    }

    def write(value: Any, inner: Callable[[Any], Any]) -> dict[str, Any]:
        given = {name: getattr(value, name) for name in names}
        left_out = {n for n in names if given[n] is None and defaults.get(n, n) is None}
        written: dict[str, Any] = inner({n: v for n, v in given.items() if n not in left_out})
        return written

    mapping = core_schema.typed_dict_schema(
        fields, cls_name=cls.__name__, extra_behavior="forbid", strict=True
    )
    return core_schema.no_info_after_validator_function(
        lambda given: cls(**empty, **given),
        mapping,
        serialization=core_schema.wrap_serializer_function_ser_schema(write, schema=mapping),
    )
