"""Every key of a plan, a target and `kit.yaml` is explained where editors and the reference look for it."""

from __future__ import annotations

import contextlib
import typing
from collections.abc import Iterator
from typing import Annotated, Any

import jsonschema
import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from dr.plan import check, check_kinds, hook, host, kit, plan, secret, site, source, source_kinds, target, target_kind
from dr.plan.schema import LENT, schema
from dr.plan.units import parse_duration, spell_duration

KINDS = ("plan", "target", "kit", "site")
MODELS = {
    name: model
    for module in (check, check_kinds, hook, host, kit, plan, secret, site, source, source_kinds, target, target_kind)
    for name, model in vars(module).items()
    if isinstance(model, type) and issubclass(model, BaseModel)
}
TOP = {"plan": "Plan", "target": "Target", "kit": "KitPlan", "site": "SitePlan"}
#: Of which keys a part must have exactly one, and one to have beside any other key.
_DATABASES = ({"database", "databases", "all"}, {"database": "sis"})
ONE_OF: dict[str, tuple[set[str], dict[str, Any]]] = {
    "Source": (set(source_kinds.KINDS), {"files": {"paths": ["/srv"]}}),
    "PostgresSource": _DATABASES,
    "MysqlSource": _DATABASES,
    "Target": (set(target.KINDS), {"local": {"path": "/mnt"}}),
    "Mail": ({"server"}, {"server": "mail.district.example"}),
    "Recipient": ({"mail", "command", "url"}, {"command": {"run": ["true"]}}),
    "Check": (set(check_kinds.KINDS), {"manifest": {}}),
}


def keys(whole: dict[str, Any], top: str) -> Iterator[tuple[str, str, dict[str, Any], bool]]:
    """Yield part, key, what is said of it, and whether it may be left out, for each key of a schema.

    Not for those that a site lends to plans: they are looked at as keys of plans.
    """
    own = {name: definition for name, definition in whole.get("$defs", {}).items() if not name.startswith(LENT)}
    for part, definition in {top: whole, **own}.items():
        for form in definition.get("anyOf", [definition]):
            for key, told in form.get("properties", {}).items():
                yield part, key, told, key not in form.get("required", [])


def chosen_from(told: dict[str, Any]) -> bool:
    """Whether the values themselves are listed."""
    forms = [form for form in told.get("anyOf", [told]) if form.get("type") != "null"]
    return all("enum" in form or "const" in form or form.get("type") == "boolean" for form in forms)


def says_default(told: dict[str, Any]) -> bool:
    """Whether a reader learns what an absent key means."""
    default = told.get("default")
    plain = default is not None and default != "" and not isinstance(default, dict | list)
    return "default" in told and (plain or "Default: " in told.get("description", ""))


def unexplained(whole: dict[str, Any], top: str) -> list[str]:
    """Return what a reader of the schema is not told."""
    found = []
    for part, key, told, optional in keys(whole, top):
        description = told.get("description", "")
        if len(description) < 10 or not description.endswith((".", ").")):
            found.append(f"{part}.{key}: no description")
        if not told.get("examples") and not chosen_from(told):
            found.append(f"{part}.{key}: no example")
        if optional and not says_default(told):
            found.append(f"{part}.{key}: no default")
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_has_a_description_an_example_and_its_default(kind: str) -> None:
    whole = schema(kind)
    assert unexplained(whole, TOP[kind]) == []
    assert len(list(keys(whole, TOP[kind]))) >= {"plan": 100, "target": 30, "kit": 3, "site": 30}[kind]
    assert all(part.get("description") or part.get("anyOf") for part in (whole, *whole.get("$defs", {}).values()))


@pytest.mark.parametrize("lost", ["description", "examples", "default"])
def test_a_key_that_is_not_explained_is_found(lost: str) -> None:
    whole = schema("plan")
    del whole["$defs"]["SshHost"]["properties"]["at_once"][lost]
    assert len(unexplained(whole, "Plan")) == 1


def test_a_default_that_shows_nothing_and_is_not_told_is_found() -> None:
    whole = schema("plan")
    whole["properties"]["host"]["description"] = "The host that the sources are on."
    assert unexplained(whole, "Plan") == ["Plan.host: no default"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_example_is_taken_by_the_schema_and_by_the_program(kind: str) -> None:
    whole = schema(kind)
    for part, key, told, _ in keys(whole, TOP[kind]):
        for example in told.get("examples", []):
            jsonschema.Draft202012Validator({**told, "$defs": whole.get("$defs", {})}).validate(example)
            MODELS[part].model_validate({**least(whole, TOP[kind], part, key), key: example})


def least(whole: dict[str, Any], top: str, part: str, beside: str) -> dict[str, Any]:
    """Return the least that a part may hold beside a key, each with its example."""
    kinds, one = ONE_OF.get(part, (set(), {}))
    needed = {key: told["examples"][0] for name, key, told, free in keys(whole, top) if name == part and not free}
    with_it = whole.get("dependentRequired", {}).get(beside, []) if part == top else []
    needed |= {key: whole["properties"][key]["examples"][0] for key in with_it}
    return needed if beside in kinds else {**needed, **one}


@pytest.mark.parametrize("text", ["1s", "90s", "15m", "2h", "6h", "1d", "7d", "365d"])
def test_a_duration_is_told_as_it_is_written(text: str) -> None:
    assert spell_duration(parse_duration(text)) == text


def test_defaults_are_told_as_people_write_them() -> None:
    parts = schema("plan")["$defs"]
    assert parts["PostgresSource"]["properties"]["timeout"]["default"] == "6h"
    assert parts["ManifestCheck"]["properties"]["sample"]["default"] == "100%"
    assert parts["SshHost"]["properties"]["keepalive"]["default"] == "15s"
    assert spell_duration(0) == "0s"


def _numbers() -> list[tuple[str, Any]]:
    """Return each key that is a number, and what judges it."""
    found = []
    for kind in MODELS.values():
        for name, field in kind.model_fields.items():
            if {*(typing.get_args(field.annotation) or [field.annotation])} <= {int, float, type(None)}:
                found.append((f"{kind.__name__}.{name}", TypeAdapter(Annotated[field.annotation, *field.metadata])))
    return found


@pytest.mark.parametrize("value", [True, 10**30, float("inf"), "1e400"])
def test_no_number_is_a_yes_or_more_than_a_document_can_hold(value: object) -> None:
    taken = []
    for name, judge in _numbers():
        with contextlib.suppress(ValidationError):
            taken.append((name, judge.validate_python(value)))
    assert len(_numbers()) > 30 and taken == []
