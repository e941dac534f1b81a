"""Defaults of a site lent to its plans: a plan with what it does not say itself. Pure.

Mappings merge; lists and single values of the plan win. Where a mapping holds one of several (a source is of one kind,
a secret is read from one place), what the plan names puts out what the site names. A fault in what was lent is a
fault of `site.yaml`, where it stands.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from dr.errors import Fault
from dr.plan.document import Document, Key, dump
from dr.plan.plan import Plan
from dr.plan.source_kinds import KINDS
from dr.plan.words import faults_of

#: Of these keys a mapping holds one: in a source, and wherever a secret is read from.
_SECRET = frozenset({"file", "env", "command"})
_OWN = ("system", "title")


def lent_by(site: Document | None) -> Mapping[str, Any]:
    """Return the defaults of a site's document, as they were written; nothing where they are no mapping."""
    found = site.data.get("defaults") if site else None
    return found if isinstance(found, dict) else {}


def stamp(defaults: Mapping[str, Any]) -> str:
    """Return a text that tells these defaults from others; "" for none."""
    if not defaults:
        return ""
    return hashlib.sha256(json.dumps(defaults, sort_keys=True, default=str).encode()).hexdigest()


def with_defaults(plan: Document, site: Document | None) -> Document:
    """Return a plan's document with the defaults that it takes over; the same when it takes none.

    Its text and digest are then of the effective plan: what was in force, whole, and loadable by itself.
    """
    defaults = {key: value for key, value in lent_by(site).items() if key not in _OWN}
    if site is None or not defaults:
        return plan
    lent: dict[Key, tuple[Document, Key]] = {}
    data = _merged(plan.data, defaults, (), lent, site)
    if not lent:
        return plan
    order = {field.alias or name: number for number, (name, field) in enumerate(Plan.model_fields.items())}
    data = dict(sorted(data.items(), key=lambda pair: order.get(pair[0], len(order))))
    text = dump(data)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return replace(plan, data=data, text=text, digest=digest, lent=lent)


def _merged(
    own: Mapping[str, Any], lender: Mapping[str, Any], at: Key, lent: dict[Key, tuple[Document, Key]], site: Document
) -> dict[str, Any]:
    found = dict(own)
    for key, value in lender.items():
        place = (*at, key)
        if key not in own:
            if not _put_out(key, own, at):
                found[key] = value
                _note(value, place, lent, site)
        elif isinstance(own[key], dict) and isinstance(value, dict):
            found[key] = _merged(own[key], value, place, lent, site)
    return found


def _put_out(key: str, own: Mapping[str, Any], at: Key) -> bool:
    """Whether the plan names another of the several that this mapping holds one of."""
    if len(at) == 2 and at[0] == "sources":
        return key in KINDS and not KINDS.keys().isdisjoint(own)
    return bool(at) and at != ("sources",) and key in _SECRET and not _SECRET.isdisjoint(own)


def _note(value: Any, place: Key, lent: dict[Key, tuple[Document, Key]], site: Document) -> None:
    lent[place] = (site, ("defaults", *place))
    inside: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    for key, each in inside:
        _note(each, (*place, key), lent, site)


def faults_of_defaults(site: Document) -> list[Fault]:
    """Return what is wrong with the defaults by themselves: what any plan would be wrong with."""
    defaults = lent_by(site)
    faults = [
        site.fault(("defaults", key), f"the key {key!r} cannot be a default", "write it in each plan")
        for key in _OWN
        if key in defaults
    ]
    data = {key: value for key, value in defaults.items() if key not in _OWN}
    lent: dict[Key, tuple[Document, Key]] = {}
    _note(data, (), lent, site)
    try:
        Plan.model_validate(data, context={"base": str(site.path.parent)})
    except ValidationError as error:
        faults += faults_of(error, replace(site, data=data, places={}, lent=lent), Plan, partial=True)
    return faults
