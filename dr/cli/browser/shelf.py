"""What the browser shows and does, without a screen: points, pages of folders, versions, and the recovery of what is
ticked. It is asked by threads beside the one that draws, one at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dr.errors import UsageError
from dr.evidence.file_version import Found, Version
from dr.evidence.record import Drill, Point
from dr.queries.file_pages import FilePages
from dr.run.recovery.request import RecoveryRequest
from dr.run.recovery.selected import exactly

if TYPE_CHECKING:
    from dr.operations.lifecycle import Finished

#: So many of the files that are found are shown.
MOST_FOUND = 500
Key = tuple[str, bytes]
Recover = Callable[[RecoveryRequest], "Finished[Drill]"]


@dataclass(frozen=True)
class Chosen:
    """What is to be brought back of a point: the patterns, the source where it is one, and all entries that match."""

    point: Point
    paths: tuple[str, ...]
    source: str | None
    entries: tuple[Found, ...]


class Shelf:
    """The points of one system. `recover` carries out what `dr recover` does for the same request."""

    def __init__(self, system: str, title: str, files: FilePages, recover: Recover) -> None:
        self.system, self.title = system, title
        self._files, self._recover = files, recover
        self._guard = threading.Lock()

    def points(self) -> list[Point]:
        """Return the points, the newest first, once their files are known. May take a while."""
        with self._guard:
            self._files.bring_up_to_date()
            return self._files.by_time()[::-1]

    def tops(self, point: Point, source: str) -> list[Found]:
        """Return what a source holds at the top."""
        with self._guard:
            return self._files.tops(point, source)

    def page(self, point: Point, source: str, folder: bytes, after: bytes | None) -> list[Found]:
        """Return a page of a folder, as `FilePages.page` does."""
        with self._guard:
            return self._files.page(point, source, folder, after)

    def entry(self, point: Point, source: str, path: bytes) -> Found | None:
        """Return one entry of a point."""
        if source not in point.kinds:
            return None
        with self._guard:
            return self._files.entry(point, source, path)

    def history(self, source: str, path: bytes) -> list[Version]:
        """Return the versions of a name, the newest first."""
        with self._guard:
            return self._files.history(source, path)

    def find(self, text: str) -> tuple[list[Version], list[str]]:
        """Return the newest version of each name that holds a text, or matches a pattern; else names like it."""
        pattern = text if any(sign in text for sign in "*?[") else f"*{text}*"
        with self._guard:
            versions = self._files.versions(pattern, any_case=True)
            newest: dict[Key, Version] = {}
            for version in versions:
                newest.setdefault((version.entry.source, version.entry.path), version)
            return list(newest.values())[: MOST_FOUND + 1], [] if newest else self._files.nearest(text)

    def choose(self, point: Point, ticked: Collection[Key]) -> Chosen:
        """Return what a recovery of these paths brings back. Raises `UsageError` where that would be more."""
        sources = {source for source, _ in ticked}
        source = next(iter(sources)) if len(sources) == 1 else None
        paths = tuple(dict.fromkeys(exactly(path) for _, path in sorted(ticked)))
        with self._guard:
            entries = tuple(self._files.selected(point, paths, source))
        strange = {entry.source for entry in entries if not is_below((entry.source, entry.path), ticked)} - sources
        if strange:
            hint = "bring back what is ticked one source at a time"
            raise UsageError(f"what is ticked is in {', '.join(sorted(strange))} too", self.system, hint=hint)
        return Chosen(point, paths, source, entries)

    def recover(self, chosen: Chosen, to: Path, because: str) -> Finished[Drill]:
        """Bring it back, as typed: `dr recover --path … --point … --to …`. Raises as that does."""
        return self._recover(
            RecoveryRequest(to=to, point=chosen.point.run_id, paths=chosen.paths, source=chosen.source, because=because)
        )


def is_below(key: Key, ticked: Collection[Key]) -> bool:
    """Whether an entry, or a folder above it, is among those ticked."""
    source, path = key
    while True:
        if (source, path) in ticked:
            return True
        above = path.rpartition(b"/")[0]
        if not above or above == path:
            return (source, b"/") in ticked
        path = above
