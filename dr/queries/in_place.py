"""What putting files back where they were would do to what lies there now: told before anybody is asked to agree."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import groupby

from dr.errors import UsageError
from dr.evidence.file_version import Found, InPlace
from dr.evidence.manifest import Entry
from dr.evidence.record import Point
from dr.plan.declarations import Loaded
from dr.run.recovery.checks.pattern import bases_of
from dr.run.recovery.place.live import Judged
from dr.run.recovery.place.live_places import LiveFiles, place_of
from dr.run.recovery.put_back import why_not_in_place

#: So many names of each kind are kept for whoever is asked.
_KEPT = 10_000


def in_place(loaded: Loaded, point: Point, found: Iterable[Found]) -> InPlace:
    """Hold the entries of a point against what lies where they were. Files of the same size are hashed.

    Raises `UsageError` where a source of them cannot be put back in place, `DrError` where its host does not answer.
    """
    told = InPlace()
    for source, entries in groupby(found, key=lambda entry: entry.source):
        told.sources.add(source)
        with _place_of(loaded, point, source) as place:
            asked = deque[Found]()
            for _, judged in place.judged(_entries(entries, asked)):
                _note(told, asked.popleft(), judged, uid=place.uid)
    return told


def _place_of(loaded: Loaded, point: Point, source: str) -> LiveFiles:
    if why := why_not_in_place(loaded.plan, point, source):
        raise UsageError(why.what, loaded.plan.system, hint=why.hint)
    return place_of(bases_of(loaded.plan.sources.get(source)), loaded.plan.host_of(source))


def _note(told: InPlace, entry: Found, judged: Judged, *, uid: int) -> None:
    told.counts[judged.standing] += 1
    if judged.standing == "blocked":
        told.blocked.append((entry, judged.why))
    elif judged.standing != "same":
        told.bytes += entry.size if entry.kind == "file" else 0
        told.owners += uid not in (0, entry.uid)
        names = {"absent": told.absent, "other": told.overwritten, "rights": told.rights}[judged.standing]
        if len(names) < _KEPT:
            names.append(entry)


def _entries(found: Iterable[Found], asked: deque[Found]) -> Iterator[Entry]:
    """Yield entries of the index that can be put back as those of a manifest, and note which were taken."""
    for each in found:
        if each.state != "unreadable" and each.kind != "other":
            asked.append(each)
            yield Entry(
                each.path, each.kind, each.size, each.sha256, each.mode, each.uid, each.gid, each.mtime_ns,  # type: ignore[arg-type]
                link_target=each.link, state=each.state, attributes=each.attributes,  # type: ignore[arg-type]
            )  # fmt: skip
