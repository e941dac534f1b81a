"""When a repository was attacked, read from the versions that its bucket keeps. Needs no passphrase.

Objects of a repository are written once and never changed. So what tells of an attack is an object that is no longer
what it was first: deleted, or overwritten by other bytes. What is ordinary is left out: locks come and go; `prune`
deletes data and indexes while it holds a lock; retention deletes snapshots, but never the newest; a key goes when
another was there before. What was put back since counts no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

from dr.late_dataclass import dataclass
from dr.tools.store import Version
from dr.tools.view import GRAIN, by_name

PARTS = ("config", "keys", "snapshots", "index", "data")
#: Changes no further apart than this are one act.
_ONE_ACT = timedelta(minutes=5)
#: A snapshot that outlived another's deletion by this was left on purpose.
_OUTLIVES = timedelta(minutes=10)


@dataclass(frozen=True, order=True)
class ObjectChange:
    """One object that is no longer what it was first: since when, and what became of it."""

    at: datetime
    name: str
    what: Literal["deleted", "overwritten"]
    first: Version = field(compare=False)
    became: Version = field(compare=False)

    @property
    def part(self) -> str:
        """The part of the repository that it belongs to."""
        return part_of(self.name)


@dataclass(frozen=True, kw_only=True)
class History:
    """What the versions of one repository tell. Times are the service's own.

    `onset` is when the first object was harmed that an ordinary run leaves alone; `before` the last moment at which
    all was as it should be: the time to travel to. `harm` counts what happened since, by what and part.
    """

    objects: int
    versions: int
    onset: datetime | None = None
    before: datetime | None = None
    last: datetime | None = None
    harm: Mapping[str, int] = field(default_factory=dict)
    added: int = 0  # objects that were first written since
    ordinary: int = 0  # objects deleted in the ordinary way


def part_of(name: str) -> str:
    """Return the part of a repository that a name belongs to; nothing for none."""
    head = name.partition("/")[0]
    return head if head in PARTS and (head == name) == (head == "config") else ""


def read_history(
    versions: Iterable[Version],
    *,
    live: Collection[str] = (),
    harmless: Callable[[ObjectChange], bool] = lambda change: False,
) -> History:
    """Tell when an attack began, if one did.

    `live` are the snapshots of which the record says that they should be there. `harmless` is asked of the
    first changes, one by one, whether the object was junk from the first, or was only stored anew with the same bytes
    (some services then tell another checksum).
    """
    listed = by_name(versions)
    changes = sorted(change for name, of_name in listed.items() if (change := _change(name, of_name)))
    harmful = _harmful(listed, changes, live)
    while harmful and harmless(harmful[0]):
        changes.remove(harmful.pop(0))
    known = [versions for name, versions in listed.items() if part_of(name)]
    objects, count = len(known), sum(map(len, known))
    if not harmful:
        return History(objects=objects, versions=count, ordinary=len(changes))
    onset = _begin(harmful[0].at, changes)
    since = [change for change in changes if change.at >= onset]
    return History(
        objects=objects,
        versions=count,
        onset=onset,
        before=onset - 2 * GRAIN,  # a view is wider than its span by the grain
        last=since[-1].at,
        harm=dict(Counter(f"{change.part} {change.what}" for change in since)),
        added=sum(of_name[0].modified >= onset for name, of_name in listed.items() if not name.startswith("locks/")),
        ordinary=len(changes) - len(since),
    )


def _change(name: str, listed: list[Version]) -> ObjectChange | None:
    """Return what became of an object since it was last as at first; None when it is so still."""
    first = next((version for version in listed if not version.marker), None)
    if first is None or not part_of(name):
        return None
    became = None
    for version in listed[listed.index(first) :]:
        if not version.marker and (version.etag, version.size) == (first.etag, first.size):
            became = None
        else:
            became = became or version
    if became is None:
        return None
    return ObjectChange(became.modified, name, "deleted" if became.marker else "overwritten", first, became)


def _begin(onset: datetime, changes: list[ObjectChange]) -> datetime:
    """Go back from the first certain harm to where the act that it belongs to began."""
    for change in reversed(changes):
        if onset - _ONE_ACT <= change.at < onset:
            onset = change.at
    return onset


# -- what is ordinary --------------------------------------------------------------------------------


def _harmful(
    listed: Mapping[str, list[Version]], changes: list[ObjectChange], live: Collection[str]
) -> list[ObjectChange]:
    """Return the changes that no ordinary run makes, the earliest first."""
    when = {change.name: change.at for change in changes}
    born = {name: versions[0].modified for name, versions in listed.items() if part_of(name)}
    held = [span for name, versions in listed.items() if name.startswith("locks/") for span in _spans(versions)]
    found = []
    for change in changes:
        if change.what == "overwritten" or change.part == "config":
            found.append(change)
        elif change.part == "keys":
            found += [] if _survivor(change, born, when, timedelta()) else [change]
        elif change.part == "snapshots":
            newest = _survivor(change, born, when, _OUTLIVES)
            kept = newest is not None and newest >= born[change.name]
            found += [] if kept and change.name.rpartition("/")[2] not in live else [change]
        elif not any(start - GRAIN <= change.at <= end + GRAIN for start, end in held):
            found.append(change)
    return found


def _survivor(
    change: ObjectChange, born: Mapping[str, datetime], when: Mapping[str, datetime], longer: timedelta
) -> datetime | None:
    """Return when the newest object of the same part was written that was there before a change and outlived it."""
    return max(
        (
            at
            for name, at in born.items()
            if part_of(name) == change.part and name != change.name and at <= change.at
            and (name not in when or when[name] > change.at + longer)
        ),
        default=None,
    )  # fmt: skip


def _spans(listed: list[Version]) -> list[tuple[datetime, datetime]]:
    """Return from when to when a lock was held. One that is there still was left by a killed run, and holds nothing."""
    return [(version.modified, after.modified) for version, after in pairwise(listed) if not version.marker]
