"""What every JSON document has around what its command tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dr.tools.activity import Activity

SCHEMA = 1

#: What the document of a command always has: empty where nothing was begun, also after an option that is refused.
LISTS = {
    "backup": ("runs",),
    "verify": ("proofs",),
    "drill": ("drills",),
    "recover": ("drills",),
    "points": ("points",),
    "status": ("systems",),
    "replicate": ("replications",),
    "expire": ("expirations",),
    "repair": ("repairs",),
    "ls": ("entries",),
    "find": ("matches",),
    "diff": ("changes", "summary"),
    "forecast": ("forecasts",),
    "hold": ("holds",),
    "kit": ("kits",),
    "notify": ("notices",),
}


def said(what: str, where: str, hint: str) -> dict[str, str]:
    """One of `errors` or `warnings`."""
    return {"what": what, "where": where, "hint": hint}


def whole(
    command: str, told: Mapping[str, Any], *, warnings: Sequence[Mapping[str, str]], errors: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    """The whole document of a command."""
    empty: dict[str, Any] = {name: [] for name in LISTS.get(command, ())}
    return {"schema": SCHEMA, "command": command, "warnings": list(warnings), **empty, **told, "errors": list(errors)}


def event_document(at: str, name: str, keys: Mapping[str, object]) -> dict[str, object]:
    """One line of `--events`."""
    return {"schema": SCHEMA, "at": at, "event": name, **keys}


def activity_keys(told: Activity) -> dict[str, object]:
    """Return the keys of an event; those that say nothing are left out."""
    amount = told.amount
    keys: dict[str, object] = {
        "verb": told.verb,
        "system": told.system,
        "run_id": told.run_id,
        "step": told.step or None,
        "source": told.source or None,
        "target": told.target or None,
        "bytes": amount.bytes,
        "total_bytes": amount.total_bytes,
        "files": amount.files,
        "total_files": amount.total_files,
        "outcome": told.outcome or None,
        "exit_code": told.exit_code,
        "seconds": told.seconds,
    }
    return {name: value for name, value in keys.items() if value is not None}
