"""The last probe of each target, kept in the state with its time: it is not tried anew all day."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

from dr.errors import DrError
from dr.evidence.posture import Probe
from dr.evidence.seal import build, encode
from dr.tools.state_dir import StateDir

#: A probe older than this is tried again by the next drill.
FRESH = timedelta(days=1)


def last_probe(state: StateDir, target: str, place: tuple[str, ...]) -> Probe | None:
    """Return the last probe of this place; None when there is none that can be read."""
    try:
        kept = json.loads(_path(state, target).read_text("utf-8"))
        return build(Probe, kept["probe"]) if kept["place"] == list(place) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def keep_probe(state: StateDir, target: str, place: tuple[str, ...], probe: Probe) -> None:
    """Keep a probe for the next time. Raises `DrError` when it cannot be written."""
    path = _path(state, target)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.new")
        beside.write_text(json.dumps({"place": list(place), "probe": encode(probe)}), "utf-8")
        beside.replace(path)
    except OSError as error:
        raise DrError(
            "the probe cannot be kept", str(path), error.strerror or "", hint="free some space in the state directory"
        ) from error


def is_fresh(probe: Probe | None, now: datetime) -> bool:
    """Whether a probe needs not be tried again yet."""
    return probe is not None and timedelta(0) <= now - probe.tried < FRESH


def _path(state: StateDir, target: str) -> Path:
    return state.cache / "probes" / f"{target}.json"
