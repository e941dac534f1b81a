"""What putting files back where they were would do to what lies there now: told before anybody is asked to agree."""

from __future__ import annotations

import os
from collections.abc import Iterable

from dr.errors import UsageError
from dr.evidence.file_version import Found, InPlace
from dr.evidence.manifest import Entry
from dr.evidence.record import Point
from dr.plan.load import Loaded
from dr.run.recovery.checks.pattern import bases_of
from dr.run.recovery.place.live import LivePlace
from dr.run.recovery.put_back import why_not_in_place

#: So many names of each kind are kept for whoever is asked.
_KEPT = 10_000


def in_place(loaded: Loaded, point: Point, found: Iterable[Found]) -> InPlace:
    """Hold the entries of a point against what lies where they were. Files of the same size are hashed.

    Raises `UsageError` where a source of them cannot be put back in place.
    """
    told, places = InPlace(), dict[str, LivePlace]()
    try:
        for entry in found:
            place = places.get(entry.source)
            if place is None:
                place = places[entry.source] = _place_of(loaded, point, entry.source)
                told.sources.add(entry.source)
            if entry.state != "unreadable" and entry.kind != "other":
                _note(told, place, entry)
    finally:
        for place in places.values():
            place.leave()
    return told


def _place_of(loaded: Loaded, point: Point, source: str) -> LivePlace:
    declared = loaded.plan.sources.get(source)
    kind = point.kinds.get(source, "files") if declared and declared.kind == point.kinds.get(source) else "another"
    host = loaded.plan.host_of(source) if declared else None
    if why := why_not_in_place(kind, host.ssh if host else None, source):
        raise UsageError(why.what, loaded.plan.system, hint=why.hint)
    return LivePlace(bases_of(declared))


def _note(told: InPlace, place: LivePlace, entry: Found) -> None:
    judged = place.judge(_entry(entry))
    told.counts[judged.standing] += 1
    if judged.standing == "blocked":
        told.blocked.append((entry, judged.why))
    elif judged.standing != "same":
        told.bytes += entry.size if entry.kind == "file" else 0
        told.owners += os.geteuid() != 0 and entry.uid != os.geteuid()
        names = {"absent": told.absent, "other": told.overwritten, "rights": told.rights}[judged.standing]
        if len(names) < _KEPT:
            names.append(entry)


def _entry(found: Found) -> Entry:
    """Return an entry of the index as one of a manifest."""
    return Entry(
        found.path, found.kind, found.size, found.sha256, found.mode, found.uid, found.gid, found.mtime_ns,  # type: ignore[arg-type]
        link_target=found.link, state=found.state, attributes=found.attributes,  # type: ignore[arg-type]
    )  # fmt: skip
