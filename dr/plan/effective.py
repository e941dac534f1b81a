"""A plan as it is in force: every value that it has, and where each comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dr.late_dataclass import dataclass
from dr.plan.declarations import Loaded
from dr.plan.document import Document, Key, dump, read
from dr.plan.schema import schema
from dr.plan.site_file import read_site

#: Where a value comes from that nobody wrote.
BUILT_IN = "default"


@dataclass(frozen=True)
class Value:
    """One value as people write it, or a mapping that the next ones are in (`opens`), and where it comes from."""

    key: Key
    value: Any
    origin: str
    opens: bool = False


def effective(loaded: Loaded, config: Path) -> list[Value]:
    """Return the values of a plan in the order of its keys. `loaded` is one that was read from that directory.

    An origin is FILE:LINE of the plan or of `site.yaml`, below the configuration directory, or `default`.
    """
    document = read(loaded.path)
    if isinstance(document, list):  # it was read a moment ago, and is gone
        return []
    whole = schema("plan")
    walk = _Walk(read_site(config).lend(document), config, whole["$defs"])
    found = list(walk.mapping(whole, (), walk.document.data))
    computed = Value(("cadence", "backup"), loaded.plan.backup_cadence, f"{BUILT_IN}, a third of the RPO")
    if any(each.key == computed.key for each in found):
        return found
    at = next(number for number, each in enumerate(found) if each.key == ("cadence",)) + 1
    return [*found[:at], computed, *found[at:]]


@dataclass(frozen=True)
class _Walk:
    document: Document
    config: Path
    definitions: Mapping[str, Any]

    def mapping(self, form: Mapping[str, Any], at: Key, data: Mapping[str, Any]) -> Iterator[Value]:
        known = form.get("properties", {})
        for key in [*known, *(key for key in data if key not in known)]:
            place = (*at, key)
            told: Mapping[str, Any] = known.get(key) or next(iter(form.get("patternProperties", {}).values()), {})
            if key in data:
                yield from self._given(told, place, data[key])
            elif told.get("default") is not None:
                yield from self._absent(told, place)

    def _given(self, told: Mapping[str, Any], at: Key, value: Any) -> Iterator[Value]:
        if not isinstance(value, dict) or not value:
            yield Value(at, value, self._origin(at))
            return
        yield Value(at, None, self._origin(at), opens=True)
        yield from self.mapping(self._opened(told), at, value)

    def _absent(self, told: Mapping[str, Any], at: Key) -> Iterator[Value]:
        opened = self._opened(told)
        if opened.get("properties"):
            inside = list(self.mapping(opened, at, {}))
            if inside:
                yield Value(at, None, BUILT_IN, opens=True)
                yield from inside
        elif told["default"] not in ("", {}, []):
            yield Value(at, told["default"], BUILT_IN)

    def _opened(self, told: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the description of the mapping that a key opens; an empty one where any key may stand in it."""
        for form in (told, *told.get("anyOf", ())):
            if "$ref" in form:
                return self._opened(self.definitions[form["$ref"].rpartition("/")[2]])
            if "properties" in form or "patternProperties" in form:
                return dict(form)
        return {}

    def _origin(self, at: Key) -> str:
        fault = self.document.fault(at, "")
        file = Path(fault.file)
        shown = file.relative_to(self.config) if file.is_relative_to(self.config) else file
        return f"{shown}:{fault.line}"


def nested(values: list[Value]) -> dict[str, Any]:
    """Return values as the mapping that they are of."""
    whole: dict[str, Any] = {}
    for each in values:
        inside = whole
        for part in each.key[:-1]:
            inside = inside[str(part)]
        inside[str(each.key[-1])] = {} if each.opens else each.value
    return whole


def as_yaml(values: list[Value]) -> str:
    """Return values as YAML that is a plan again, each with a comment that says where it comes from."""
    rows = []
    for each in values:
        name = dump(str(each.key[-1]), inline=True)
        value = "" if each.opens else f" {dump(each.value, inline=True)}"
        rows.append((f"{'  ' * (len(each.key) - 1)}{name}:{value}", "" if each.opens else each.origin))
    width = min(max((len(row) for row, _ in rows), default=0), 56)
    return "\n".join(f"{row.ljust(width)}  # {origin}" if origin else row for row, origin in rows)
