"""From what pydantic finds to plain words: what is wrong at a key, and the nearest key there is."""

from __future__ import annotations

import difflib
import json
import re
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dr.errors import Fault
from dr.plan.base import Declaration
from dr.plan.document import Document

MISSING = "the key {} is missing"
_TYPES = {
    "string_type": "must be text; put it in quotes", "int_type": "must be a whole number",
    "int_parsing": "must be a whole number", "int_from_float": "must be a whole number",
    "bool_type": "must be true or false", "bool_parsing": "must be true or false",
    "float_type": "must be a number", "float_parsing": "must be a number",
    "model_type": "must hold keys and values", "model_attributes_type": "must hold keys and values",
    "dict_type": "must hold keys and values", "tuple_type": "must be a list", "list_type": "must be a list",
    "path_type": "must be a path", "none_required": "must be empty",
}  # fmt: skip


def faults_of(
    error: ValidationError, document: Document, model: type[BaseModel], *, partial: bool = False
) -> list[Fault]:
    """Return the faults of a document, each at its key; of a `partial` one not what it may leave to another."""
    found: dict[tuple[tuple[str | int, ...], str], Fault] = {}
    details = error.errors(include_url=False, include_input=True)
    if partial:
        details = [detail for detail in details if not _left_open(detail)]
    keys = [key_of(detail["loc"]) for detail in details]
    for detail, key in zip(details, keys, strict=True):
        if detail["type"] == "too_short" and any(key == other[: len(key)] != other for other in keys):
            continue  # it is short of what is faulty itself: that is said
        what, hint = _say(detail, key, model)
        found.setdefault((key, what), document.fault(key, what, hint))
    return list(found.values())


def _left_open(detail: ErrorDetails) -> bool:
    """Whether it may be that only something is missing yet."""
    return detail["type"] == "missing" or (detail["type"] == "value_error" and isinstance(detail["input"], dict))


def key_of(loc: Sequence[str | int]) -> tuple[str | int, ...]:
    """Return the key in the document: without what pydantic adds for unions and for the keys of mappings."""
    names = {"str", "int", "float", "bool", "[key]"}
    return tuple(part for i, part in enumerate(loc) if not (i and part in names) and "function-" not in str(part))


def _say(detail: ErrorDetails, key: tuple[str | int, ...], model: type[BaseModel]) -> tuple[str, str]:
    kind, name = detail["type"], _name(key)
    context = detail.get("ctx", {})
    if kind == "extra_forbidden":
        known = sorted(_known(model, key[:-1]))
        near = difflib.get_close_matches(name, known, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys here: {', '.join(known)}"
        return f"unknown key {name!r}", hint
    if kind == "literal_error" and detail["loc"][-1] == "[key]":
        known = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        near = difflib.get_close_matches(name, known, 1, 0.5)
        return f"unknown key {name!r}", f"did you mean {near[0]!r}?" if near else f"known keys here: {', '.join(known)}"
    if kind == "missing":
        return MISSING.format(repr(name)), f"add `{name}:` here"
    if kind == "value_error":
        said = str(context.get("error", detail["msg"]))
        return f"{name!r}: {said}" if key else said, "`dr schema` describes every key"
    if kind == "string_pattern_mismatch":
        return _pattern(name, detail, str(context.get("pattern", "")))
    if kind == "literal_error":
        return f"{name!r} cannot be {detail['input']!r} in this release", f"write {context.get('expected', '')}"
    if kind in ("too_short", "string_too_short"):
        return f"{name!r} is empty or too short", f"it needs at least {context.get('min_length', 1)}"
    if kind.startswith(("greater_than", "less_than")):
        bound = next((f"{sign} {context[key]}" for key, sign in _BOUNDS.items() if key in context), "in range")
        return f"{name!r} must be {bound}", "correct the number"
    if kind == "string_type" and isinstance(detail["input"], bool):
        return f"{name!r} must be text, and YAML reads on, off, yes and no as true or false", "put it in quotes"
    if kind in ("tuple_type", "list_type") and isinstance(detail["input"], str | int | float):
        one = json.dumps(detail["input"], ensure_ascii=False)
        return f"{name!r} must be a list", f"write {name}: [{one}]"
    return f"{name!r} {_TYPES.get(kind, 'has a value that cannot be used here')}", "correct the value"


def _name(key: Sequence[str | int]) -> str:
    """Return what a person calls the value at a key: an item of a list by its number, from 1."""
    if key and isinstance(key[-1], int):
        return f"{_name(key[:-1])}, item {key[-1] + 1}"
    return str(key[-1]) if key else "it"


_BOUNDS = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}


#: Patterns of addresses, and how one is written.
_ADDRESSES = {"^https?://": "begin it with http:// or https://", r"^\S+:\d+$": "write HOST:PORT"}


def _pattern(name: str, detail: ErrorDetails, pattern: str) -> tuple[str, str]:
    value = str(detail["input"])[:80]
    if pattern == "^/":
        home = "write it in full: whose home `~` is depends on who runs dr" if str(value).startswith("~") else ""
        return f"the path {value!r} is not absolute", home or "begin it with /"
    if pattern in _ADDRESSES:
        return f"{name!r}: {value!r} is not an address", _ADDRESSES[pattern]
    return f"{name!r}: {value!r} is not a name", "use small letters, digits, - and _, at most 63"


def _known(model: type[BaseModel], at: Iterable[str | int]) -> set[str]:
    kind: Any = model
    for part in at:
        kind = _step(kind, part)
    if not (isinstance(kind, type) and issubclass(kind, Declaration)):
        return set()
    return {field.alias or name for name, field in kind.declared_fields().items()}


def _step(kind: Any, part: str | int) -> Any:
    if isinstance(kind, type) and issubclass(kind, Declaration):
        for name, field in kind.declared_fields().items():
            if part in (name, field.alias):
                return _bare(field.annotation)
        return None
    arguments = typing.get_args(kind)
    return _bare(arguments[-1 if isinstance(part, str) else 0]) if arguments else None


def _bare(kind: Any) -> Any:
    """Take away `Annotated` and `| None`."""
    while True:
        if typing.get_origin(kind) is typing.Annotated:
            kind = typing.get_args(kind)[0]
        elif typing.get_origin(kind) in (typing.Union, types.UnionType):
            kind = next(x for x in typing.get_args(kind) if x is not type(None))
        else:
            return kind
