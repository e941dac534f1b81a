"""Whether a fact is of the types that it declares.

`dr.evidence.seal.build` takes what it is given: who reads our own record need not ask. What lay on a target may have
been written by anybody, and its digest is right then too: what is not of its types belongs into no catalog.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from typing import Any

#: What SQLite holds as an integer.
_WHOLE = 1 << 63
#: Years that stay within what a time can say, in whatever zone it is.
_YEARS = range(2, 9999)


def conforms(value: Any, kind: Any) -> bool:
    """Whether a value is of a type, to its last part. A word that is not among those declared is of a later release."""
    if dataclasses.is_dataclass(kind):
        return type(value) is kind and all(
            conforms(getattr(value, name), each) for name, each in _hints(type(value)).items()
        )
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(conforms(value, each) for each in parts)
    if origin is tuple:
        return isinstance(value, tuple) and all(conforms(each, parts[0]) for each in value)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and all(
            isinstance(key, str) and conforms(each, parts[1]) for key, each in value.items()
        )
    if origin is typing.Literal:
        return isinstance(value, str)
    return kind is Any or _is_plain(value, kind)


def _is_plain(value: Any, kind: Any) -> bool:
    if kind is datetime:
        return isinstance(value, datetime) and value.tzinfo is not None and value.year in _YEARS
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return type(value) in (int, float) and value == int(value) and abs(value) < _WHOLE
    return type(value) is kind


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    """Return the types of a dataclass's own fields."""
    known = typing.get_type_hints(kind)
    return {field.name: known[field.name] for field in dataclasses.fields(kind)}
