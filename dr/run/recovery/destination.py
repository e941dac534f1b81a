"""The real place of a recovery: a directory that was named, claimed while it is at work, and marked until it is done.

It never writes over existing data unless told. While a recovery runs, `DIR/.dr-recovery.json` says what it is about;
one that was interrupted finds it, and goes on with the same point. When every mandatory check has passed the marker
goes away.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from dr.errors import DrError, LockedError, UsageError
from dr.evidence.record import Point
from dr.late_dataclass import dataclass
from dr.run.recovery.place.restore_host import HERE, MANIFESTS, RestoreHost
from dr.run.recovery.place.sandbox import Disposition, claim, destroy
from dr.run.recovery.place.server_dirs import RECORD, ServerDirs, vacate
from dr.run.recovery.place.space import require_space
from dr.run.recovery.place.tree import walk
from dr.run.recovery.request import RecoveryRequest

MARKER = ".dr-recovery.json"
#: What a freshly made filesystem holds, and what whoever was killed at his first step left there.
_NOTHING = {"lost+found", f"{MARKER}.new"}


@dataclass(frozen=True, kw_only=True)
class Marker:
    """What an unfinished recovery in a directory is about; `at` is the time it travelled to, if it did."""

    system: str
    run_id: str
    drill_id: str
    at: str = ""

    @property
    def moment(self) -> datetime | None:
        """The time it travelled to."""
        return datetime.fromisoformat(self.at) if self.at else None


def refuse_unfit(to: Path, *, system: str, force: bool) -> None:
    """Raise `UsageError` unless `to` can be written, and is new, empty, our unfinished recovery, or `force` is said."""
    refuse_shut(to)
    if not to.exists():
        return
    if not to.is_dir():
        raise UsageError("this is a file, not a directory", str(to), hint="name a new or empty directory")
    marker = read_marker(to)
    if marker and marker.system != system:
        raise UsageError(f"an unfinished recovery of {marker.system} is here", str(to), hint="name another directory")
    if not marker and not force and any(path.name not in _NOTHING for path in to.iterdir()):
        raise UsageError(
            "the directory is not empty",
            str(to),
            hint="name a new or empty directory; or say --force to write over what is there",
        )


def refuse_shut(to: Path) -> None:
    """Raise `UsageError` where a directory cannot be made or written, or lies in a repository: before all is begun."""
    there = next(place for place in (to, *to.parents) if os.path.lexists(place))
    real = Path(os.path.realpath(there))
    if kept := next((place for place in (real, *real.parents) if _is_repository(place)), None):
        raise UsageError("a repository of restic is here", str(kept), hint="name a directory outside of it")
    if there != to and not there.is_dir():
        raise UsageError("this is a file, not a directory", str(there), hint="name a directory elsewhere")
    if there.is_dir() and not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(
            "the directory cannot be written", str(there), hint="correct its rights, or name another directory"
        )


def _is_repository(place: Path) -> bool:
    """Whether restic keeps its objects there: what is written among them is damage to it."""
    try:
        return (place / "config").is_file() and all((place / part).is_dir() for part in ("data", "keys", "snapshots"))
    except OSError:
        return False  # who may not look in there may not write there either


def refuse_small(to: Path, size: int) -> None:
    """Raise `DrError` where files of so many bytes do not fit: known before anything is begun."""
    require_space(to, size, there=written(to))


def read_marker(to: Path) -> Marker | None:
    """Return what the unfinished recovery in a directory is about; None when there is none."""
    try:
        body = json.loads((to / MARKER).read_text("utf-8"))
        marker = Marker(**{key: str(body[key]) for key in ("system", "run_id", "drill_id")}, at=body.get("at") or "")
        return marker if marker.moment or not marker.at else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def written(to: Path) -> int:
    """Return the bytes that an unfinished recovery has already written."""
    if read_marker(to) is None:
        return 0
    return sum(entry.stat(follow_symlinks=False).st_blocks * 512 for _, entry in walk(to))


class Destination:
    """The real place of a recovery; never destroyed. The engine's other site, beside the sandbox."""

    def __init__(self, request: RecoveryRequest, system: str) -> None:
        self._request, self._system = request, system
        self._root = request.into
        self.where = str(request.into)
        self.land: RestoreHost = HERE
        self._owner: int | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other recoveries out of the directory, from now on or from when it is made."""
        try:
            if self._root.is_dir():
                self._claim()
            yield
        finally:
            if self._owner is not None:
                os.close(self._owner)

    def prepare(self, point: Point, size: int) -> Path:
        """Make the directory and mark it as ours; `DrError` when it does not fit."""
        require_space(self._root, size, there=written(self._root))
        at = self._request.at.isoformat() if self._request.at else ""
        marker = Marker(system=self._system, run_id=point.run_id, drill_id=self._request.drill_id, at=at)
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._owner is None:
                self._claim()
            _write_marker(self._root, marker)
        except OSError as error:
            raise DrError(
                "the directory cannot be written",
                str(self._root),
                error.strerror or "",
                hint="correct its rights, or name another directory",
            ) from error
        return self._root.resolve()

    @property
    def servers(self) -> Path:
        """See `RestoreSite`."""
        return ServerDirs(self._root / MANIFESTS / RECORD).home

    def annex(self, kind: str) -> Path:
        """See `Site`."""
        return ServerDirs(self._root / MANIFESTS / RECORD).make(kind)

    def empty(self, names: Sequence[str], *, same: bool) -> bool:
        """See `Site`. What was there before we came stays: then no other point is mixed into it."""
        if self._request.force and not same:
            return False
        self._vacate()
        for name in () if self._request.force else names:
            destroy(self._root / name)
        destroy(self._root / MANIFESTS)
        (self._root / MARKER).unlink(missing_ok=True)
        return True

    def _vacate(self) -> None:
        for place in ServerDirs(self._root / MANIFESTS / RECORD).places():
            vacate(place, [])
            shutil.rmtree(place, ignore_errors=True)

    def finish(self, *, achieved: bool) -> Disposition:
        """Take our marks away when all is well; else leave them for the next attempt."""
        self._vacate()
        if achieved:
            shutil.rmtree(self._root / MANIFESTS, ignore_errors=True)
            (self._root / MARKER).unlink(missing_ok=True)
        return "not used"

    def _claim(self) -> None:
        self._owner = claim(self._root.resolve())
        if self._owner is None:
            raise LockedError(
                "another recovery is at work here", str(self._root), hint="wait until it ends", retryable=True
            )


def _write_marker(root: Path, marker: Marker) -> None:
    """Write the marker whole or not at all, and lastingly: it is what a power cut leaves to go by."""
    beside = root / f"{MARKER}.new"
    with beside.open("w", encoding="utf-8") as file:
        json.dump(asdict(marker), file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(root / MARKER)
