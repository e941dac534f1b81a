"""What `dr keys` tells: its documents, and its table."""

from __future__ import annotations

from collections.abc import Sequence

from dr.tools.restic_keys import Key


def key_document(key: Key, *, system: str, target: str, kind: str) -> dict[str, object]:
    """One of the `keys` of `dr keys list`."""
    return {
        "system": system,
        "target": target,
        "id": key.id,
        "kind": kind,
        "user": key.user,
        "host": key.host,
        "created": key.created.isoformat(),
    }


def key_row(key: Key, *, system: str, target: str, kind: str) -> dict[str, str]:
    """The same as a row, under its heads."""
    return {
        "system": system,
        "target": target,
        "key": key.id[:8],
        "what": kind,
        "made": f"{key.created:%Y-%m-%d %H:%M}",
        "label": f"{key.user}@{key.host}",
    }


def condemned_document(target: str, *, keys: int, versions: int, points: Sequence[str]) -> dict[str, object]:
    """What would be destroyed on one target: keys, their versions, and the points that die with them, by run id."""
    return {"target": target, "keys": keys, "key_versions": versions, "points": list(points)}
