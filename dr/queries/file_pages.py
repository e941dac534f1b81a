"""The files of points as somebody walks through them: folder by folder, a page at a time, and one name through time."""

from __future__ import annotations

from dr.evidence.file_version import Found, Version
from dr.evidence.record import Point
from dr.queries.files import Files

#: So many entries of a folder at once: one may hold a million.
PAGE = 1000


class FilePages(Files):
    """`Files`, for a person who looks around. Each question costs what it shows, not what the folder holds."""

    def tops(self, point: Point, source: str) -> list[Found]:
        """Return what a source holds at the top: the files and folders that the plan declares."""
        seq = self._seq(point, source)
        folders = self._index.top_folders(seq, source) or [b"/"]
        return [entry for folder in folders for entry in self._index.entries(seq, source, folder, most=PAGE)]

    def page(self, point: Point, source: str, folder: bytes, after: bytes | None = None) -> list[Found]:
        """Return what lies directly in a folder, by name, behind the name `after`: `PAGE`, and one if there is more."""
        entries = self._index.entries(self._seq(point, source), source, folder, after=after, most=PAGE + 1)
        return [entry for entry in entries if entry.path != folder]

    def entry(self, point: Point, source: str, path: bytes) -> Found | None:
        """Return one entry of a point; None where it has none of that name."""
        return self._index.at_path(self._seq(point, source), source, path)

    def history(self, source: str, path: bytes) -> list[Version]:
        """Return every version of one name, the newest first."""
        return self._versions_of(self._index.history(source, path))
