"""JSON Schemas of plans, of targets, of `kit.yaml` and of `site.yaml`, so that editors complete and check."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from dr.plan import target
from dr.plan.base import Declaration
from dr.plan.check_kinds import KINDS
from dr.plan.kit import KitPlan
from dr.plan.plan import Drill, Plan
from dr.plan.site import SitePlan
from dr.plan.units import spell_bytes, spell_duration

_DECLARED: dict[str, Callable[[], type[Declaration]]] = {
    "plan": lambda: Plan,
    "target": lambda: target.target_model(),
    "kit": lambda: KitPlan,
    "site": lambda: SitePlan,
}
_DURATION = {
    "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\s*(\d+\s*[wdhmsWDHMS]?\s*)+$"}]
}
_SHARE = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%\s*$"}]}
_SIZE = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*([kKmMgGtT]i?|)[bB]?(/s)?\s*$"},
    ]
}
_SIZES = {"upload", "download", "memory", "restore_memory", "max_repack", "budget", "capacity", "free_egress"}
#: Keys that are a size elsewhere, and money in a target.
_MONEY = {"budget"}
_DURATIONS = {"rto", "rpo", "mtd", "timeout", "connect_timeout", "keepalive", "within", "forget_after", "whole_within"}
_ARGUMENTS = {"type": "array", "items": {"type": "string"}, "minItems": 1}


class _AsDeclared(GenerateJsonSchema):
    """Keeps keys in the order in which they are declared: examples are to be read."""

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value


#: How the parts of plans are called in the schema of `site.yaml`, whose defaults may leave out any key of them.
LENT = "Lent"


def schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a plan, a target, `kit.yaml` or `site.yaml`, as people write them."""
    found = _DECLARED[kind]().model_json_schema(by_alias=True, schema_generator=_AsDeclared)
    sizes = _SIZES - _MONEY if kind == "target" else _SIZES
    if kind == "target":
        found["properties"] = _kinds_first(found["properties"])
        found["dependentRequired"] = {"budget": ["prices"]}
    for definition in (found, *found.get("$defs", {}).values()):
        for name, described in definition.get("properties", {}).items():
            if name in _DURATIONS:
                definition["properties"][name] = _written(described, _DURATION, spell_duration)
            elif name in sizes or (name == "sample" and definition.get("title") == Drill.__name__):
                definition["properties"][name] = _written(described, _SIZE, spell_bytes)
            elif name == "sample":
                definition["properties"][name] = _written(described, _SHARE, lambda share: f"{share:.0%}")
    for name, short in _short().items():
        if name in found.get("$defs", {}):
            found["$defs"][name] = {"anyOf": [short, found["$defs"][name]]}
    if kind == "site":
        _lend(found)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _short() -> dict[str, Any]:
    """What may also be written short: a check for its defaults, a hook as its arguments alone."""
    bare = [kind for kind, body in KINDS.items() if body.bare]
    return {"Check": {"const": bare[0]} if len(bare) == 1 else {"enum": bare}, "Hook": _ARGUMENTS}


def _lend(site: dict[str, Any]) -> None:
    """Describe the defaults of a site: the keys of plans, of which none is required."""
    plan = json.loads(json.dumps(schema("plan")).replace('"#/$defs/', f'"#/$defs/{LENT}'))
    parts = {f"{LENT}{name}": part for name, part in plan.pop("$defs").items()}
    for part in (plan, *parts.values()):
        for form in part.get("anyOf", [part]):
            form.pop("required", None)
    lent = {key: told for key, told in plan["properties"].items() if key not in ("system", "title")}
    site["properties"]["defaults"] |= {"properties": lent, "additionalProperties": False}
    site["$defs"] |= parts


def _kinds_first(keys: dict[str, Any]) -> dict[str, Any]:
    """Return the keys with those of the kinds of target behind the first: they are what a reader looks for."""
    first, *rest = keys
    return {key: keys[key] for key in (first, *(key for key in target.KINDS if key in rest), *rest)}


def _written(described: dict[str, Any], form: dict[str, Any], spell: Callable[[Any], str]) -> dict[str, Any]:
    """Return the description of a number that people write as text: what it says stays, its form is theirs."""
    kept: dict[str, Any] = {name: described[name] for name in ("title", "description", "examples") if name in described}
    default = described.get("default")
    stated = {"default": default if default is None else spell(default)} if "default" in described else {}
    return {**form, **kept, **stated}
