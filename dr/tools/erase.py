"""Erasing objects for good: every version there is, and asking first until when a lock forbids it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from dr.errors import DamageError, RefusedError
from dr.late_dataclass import dataclass
from dr.tools.s3 import S3Store
from dr.tools.s3_client import CONNECTIONS
from dr.tools.s3_versions import Protection, S3Versions
from dr.tools.secrets import shred
from dr.tools.store import ObjectStore


@dataclass(frozen=True)
class Trace:
    """One version of an object, or a marker that hides older ones. `version` is empty in a directory."""

    name: str
    version: str = ""
    marker: bool = False


class Eraser(Protocol):
    """What can be erased for good below a place."""

    def traces(self, prefix: str) -> list[Trace]:
        """Return every version of every object below a prefix; none when there is nothing."""

    def protections(self, traces: Sequence[Trace]) -> list[Protection]:
        """Return what protects them, locks that ran out too. Raises when any of them cannot be asked."""

    def erase(self, trace: Trace) -> None:
        """Remove one for good. `RefusedError` when a lock or a missing right forbids it. May be called twice."""


class StoreEraser:
    """Any store of plain objects: what is removed is gone, as far as its service says."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def traces(self, prefix: str) -> list[Trace]:
        """See `Eraser`."""
        if prefix and not prefix.endswith("/"):
            return [Trace(prefix)] if self._store.exists(prefix) else []
        return [Trace(item.name) for item in self._store.list(prefix)]

    def protections(self, traces: Sequence[Trace]) -> list[Protection]:
        """See `Eraser`."""
        return []

    def erase(self, trace: Trace) -> None:
        """See `Eraser`."""
        self._store.remove(trace.name)


class DiskEraser:
    """A directory: a file is overwritten before it is removed, and there are no locks."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def traces(self, prefix: str) -> list[Trace]:
        """See `Eraser`. What a killed writer left beside is a trace too."""
        top = self._root / prefix
        if top.is_file():
            return [Trace(prefix)]
        found = (Path(folder, name) for folder, _, names in os.walk(top) for name in names)
        return [Trace(path.relative_to(self._root).as_posix()) for path in sorted(found)]

    def protections(self, traces: Sequence[Trace]) -> list[Protection]:
        """See `Eraser`."""
        return []

    def erase(self, trace: Trace) -> None:
        """See `Eraser`."""
        path = self._root / trace.name
        try:
            path.chmod(0o600)  # restic makes what it stores read-only
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                raise RefusedError(
                    "a file may not be removed", str(path), error.strerror or "", hint="see its rights"
                ) from error
        shred(path)


class S3Eraser:
    """A bucket, with its versions and locks where it has them."""

    def __init__(self, store: S3Store) -> None:
        self._versions = S3Versions.of(store)

    def traces(self, prefix: str) -> list[Trace]:
        """See `Eraser`."""
        return [Trace(version.name, version.id, version.marker) for version in self._versions.versions(prefix)]

    def protections(self, traces: Sequence[Trace]) -> list[Protection]:
        """See `Eraser`. A few questions for each version, many at once."""
        real = [trace for trace in traces if not trace.marker]
        with ThreadPoolExecutor(CONNECTIONS // 2) as pool:
            return list(filter(None, pool.map(self._protection_of, real)))

    def _protection_of(self, trace: Trace) -> Protection:
        try:
            return self._versions.protection_of(trace.name, trace.version)
        except DamageError:
            return Protection()  # gone meanwhile

    def erase(self, trace: Trace) -> None:
        """See `Eraser`."""
        self._versions.delete_version(trace.name, trace.version)
