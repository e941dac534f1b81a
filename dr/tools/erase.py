"""Erasing objects for good: every version there is, and asking first until when a lock forbids it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from dr.errors import DamageError, DrError, RefusedError, TargetDownError
from dr.tools.disk import DiskStore
from dr.tools.s3 import CONNECTIONS, S3Store
from dr.tools.secrets import shred
from dr.tools.store import ObjectStore

#: What a service answers to a question about a lock where the bucket has none.
_NO_LOCK = {"ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration", "InvalidRequest", "NotImplemented"}


@dataclass(frozen=True)
class Trace:
    """One version of an object, or a marker that hides older ones. `version` is empty where there are none."""

    name: str
    version: str = ""
    marker: bool = False


@dataclass(frozen=True)
class Lock:
    """Until when a version may not be removed; None when a legal hold has no end."""

    name: str
    mode: str  # compliance, governance, legal hold
    until: datetime | None


class Eraser(Protocol):
    """What can be erased for good below a place."""

    def traces(self, prefix: str) -> list[Trace]:
        """Return every version of every object below a prefix; none when there is nothing."""

    def locks(self, traces: Sequence[Trace]) -> list[Lock]:
        """Return the locks on them, run out ones too; `RefusedError` when the service may not say."""

    def erase(self, trace: Trace) -> None:
        """Remove one for good. `RefusedError` when a lock or a missing right forbids it. May be called twice."""


def eraser_of(store: ObjectStore) -> Eraser:
    """Return the eraser of a place."""
    if isinstance(store, S3Store):
        return S3Eraser(store)
    if isinstance(store, DiskStore):
        return DiskEraser(store.root)
    raise DrError("nothing can be erased in this kind of store", store.where, hint="erase it by hand")


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

    def locks(self, traces: Sequence[Trace]) -> list[Lock]:
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


class S3Eraser(S3Store):
    """A bucket, with its versions and locks where it has them. Shares the connections of the store it is made of."""

    def __init__(self, store: S3Store) -> None:
        self.__dict__.update(store.__dict__)

    def traces(self, prefix: str) -> list[Trace]:
        """See `Eraser`."""
        return list(self._versions(prefix))

    def _versions(self, prefix: str) -> Iterator[Trace]:
        with self._errors("listing versions"):
            pages = self._client.get_paginator("list_object_versions").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                yield from (self._trace(item) for item in page.get("Versions", ()))
                yield from (self._trace(item, marker=True) for item in page.get("DeleteMarkers", ()))

    def _trace(self, item: Any, *, marker: bool = False) -> Trace:
        return Trace(item["Key"][len(self._prefix) :], item.get("VersionId", ""), marker)

    def locks(self, traces: Sequence[Trace]) -> list[Lock]:
        """See `Eraser`. One question for each version, many at once."""
        real = [trace for trace in traces if not trace.marker]
        with ThreadPoolExecutor(CONNECTIONS // 2) as pool:
            return [lock for found in pool.map(self._locks_of, real) for lock in found]

    def _locks_of(self, trace: Trace) -> list[Lock]:
        try:
            with self._errors(f"looking at {trace.name}"):
                head = self._client.head_object(
                    Bucket=self._bucket, Key=self._prefix + trace.name, **self._which(trace)
                )
        except DamageError:
            return []  # gone meanwhile
        found = [Lock(trace.name, "legal hold", None)] if head.get("ObjectLockLegalHoldStatus") == "ON" else []
        if until := head.get("ObjectLockRetainUntilDate"):
            return [*found, Lock(trace.name, str(head.get("ObjectLockMode", "")).lower(), until)]
        return [*found, *self._retention_of(trace)]

    def _retention_of(self, trace: Trace) -> list[Lock]:
        """Ask once more: to some key pairs the head keeps silent about locks."""
        try:
            with self._errors(f"asking for the lock of {trace.name}"):
                answer = self._client.get_object_retention(
                    Bucket=self._bucket, Key=self._prefix + trace.name, **self._which(trace)
                )
        except DamageError:
            return []
        except TargetDownError as error:
            if error.cause in _NO_LOCK:
                return []
            raise
        retention = answer.get("Retention", {})
        if "RetainUntilDate" not in retention:
            return []
        return [Lock(trace.name, str(retention.get("Mode", "")).lower(), retention["RetainUntilDate"])]

    def erase(self, trace: Trace) -> None:
        """See `Eraser`."""
        with self._errors(f"erasing {trace.name}"):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + trace.name, **self._which(trace))

    def _which(self, trace: Trace) -> dict[str, Any]:
        return {"VersionId": trace.version} if trace.version else {}
