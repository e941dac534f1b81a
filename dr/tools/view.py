"""A view: the objects of a place as they were over a span of time, chosen from a listing of all their versions.

Objects of a repository are written once, and all but `config` are named by the SHA-256 of their bytes: of several
versions the oldest is the original, and the right one is known by its hash. So a view is generous, and asks no
exact time of anybody: an object is in it if it was there at any moment of the span, since services tell times to
the second and clocks differ; and bytes that were deleted before the span are still given to who asks by name.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from datetime import datetime, timedelta
from typing import Protocol

from dr.errors import DamageError, DrError
from dr.late_dataclass import dataclass
from dr.tools.store import ObjectStore, Posture, Stored, Version

#: Services tell when a version was written to the second.
GRAIN = timedelta(seconds=1)
_BY_HASH = re.compile(r"(?:.*/)?(?:data/[0-9a-f]{2}|index|snapshots|keys)/(?P<hash>[0-9a-f]{64})")
#: Bytes of whole objects kept while their parts are asked for.
_KEPT = 256 << 20
_THREADS = 16


class Versioned(Protocol):
    """An object store that keeps what was overwritten and deleted. All methods raise `dr.errors` classes only."""

    @property
    def where(self) -> str:
        """The place in words."""

    def reachable(self) -> None:
        """See `ObjectStore`."""

    def preflight(self) -> Posture:
        """See `ObjectStore`."""

    def versions(self, prefix: str = "") -> Iterator[Version]:
        """Yield every version below the prefix: name by name, of each name the newest first."""

    def read(self, version: Version, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of a version, from `start` up to but not including `end`."""


def hash_in(name: str) -> str:
    """Return the SHA-256 that an object's name promises of its bytes; nothing for a name that promises none."""
    found = _BY_HASH.fullmatch(name)
    return found["hash"] if found else ""


def by_name(versions: Iterable[Version]) -> dict[str, list[Version]]:
    """Return the versions of each name, oldest first; of one second, as they were listed, what is on top last."""
    found: dict[str, list[Version]] = {}
    for version in versions:
        found.setdefault(version.name, []).append(version)
    for listed in found.values():
        listed.reverse()
        listed.sort(key=lambda version: (version.modified, version.latest))
    return found


@dataclass(frozen=True)
class View:
    """What was there between two moments: of each name the versions that may be given, the best first."""

    since: datetime
    until: datetime
    objects: Mapping[str, tuple[Version, ...]]
    gone: dict[str, tuple[Version, ...]] = field(default_factory=dict)  # deleted before, or written later

    @classmethod
    def of(cls, versions: Iterable[Version], since: datetime, until: datetime | None = None) -> View:
        """Choose from all versions; the span is widened by the grain of the times on both sides."""
        first, last = since - GRAIN, (until or since) + GRAIN
        objects, gone = {}, {}
        for name, listed in by_name(versions).items():
            data = tuple(version for version in listed if not version.marker)
            there = [version for version in _between(listed, first, last) if not version.marker]
            if there:
                objects[name] = data if hash_in(name) else (there[0],)
            elif data and hash_in(name):
                gone[name] = data
        return cls(since, until or since, objects, gone)

    def of_name(self, name: str) -> tuple[Version, ...]:
        """Return the versions that may be given for a name, the best first."""
        return self.objects.get(name) or self.gone.get(name, ())


def _between(listed: list[Version], first: datetime, last: datetime) -> Iterator[Version]:
    """Yield what was on top at any moment of a span, oldest first."""
    for number, version in enumerate(listed):
        until = listed[number + 1].modified if number + 1 < len(listed) else None
        if version.modified <= last and (until is None or until >= first):
            yield version


_ELSEWHERE = "write to the target itself"


class ViewStore:
    """An object store that shows a view and takes nothing. Safe for several threads.

    `refused` names what was asked for and could not be given, with the reason; `junk` what was left out of a listing.
    """

    def __init__(self, versioned: Versioned, view: View, prefix: str = "") -> None:
        self._versioned, self.view, self._prefix = versioned, view, prefix
        self.refused: dict[str, str] = {}
        self.junk: set[str] = set()
        self._whole: OrderedDict[str, bytes] = OrderedDict()
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    @property
    def where(self) -> str:
        """See `ObjectStore`."""
        return f"{self._versioned.where} as of {self.view.since:%Y-%m-%d %H:%M:%S} UTC"

    def reachable(self) -> None:
        """See `ObjectStore`."""
        self._versioned.reachable()

    def preflight(self) -> Posture:
        """See `ObjectStore`."""
        return self._versioned.preflight()

    def child(self, prefix: str) -> ViewStore:
        """See `ObjectStore`."""
        return ViewStore(self._versioned, self.view, f"{self._prefix}{prefix}/")

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """See `ObjectStore`."""
        start = self._prefix + prefix
        for name, versions in self.view.objects.items():
            if name.startswith(start):
                yield Stored(name[len(self._prefix) :], versions[0].size, versions[0].modified)

    def sound(self, prefix: str) -> Sequence[Stored]:
        """Return the small objects below a prefix that have the bytes their names promise; the others are `junk`.

        One junk index among them would stop restic. Their bytes are kept for who asks for them next.
        """
        with ThreadPoolExecutor(_THREADS) as pool:
            return [item for item in pool.map(self._sound, self.list(prefix)) if item]

    def _sound(self, item: Stored) -> Stored | None:
        try:
            return Stored(item.name, len(self.get(item.name, keep=True)), item.modified)
        except DamageError:
            self.junk.add(self._prefix + item.name)
            self.refused.pop(self._prefix + item.name, None)
            return None

    def exists(self, name: str) -> bool:
        """See `ObjectStore`."""
        return self._prefix + name in self.view.objects

    def size(self, name: str) -> int | None:
        """Return the size of what would be given; None when there is nothing to give."""
        versions = self.view.of_name(self._prefix + name)
        if not versions:
            self.refused.setdefault(self._prefix + name, "no version of it is left")
            return None
        return versions[0].size if len(versions) == 1 else len(self.get(name))

    def get(self, name: str, *, keep: bool = False) -> bytes:
        """See `ObjectStore`. Of several versions the one whose bytes are what the name promises; else `DamageError`."""
        name = self._prefix + name
        with self._reading(name):
            return self._kept(name) or self._read(name, keep=keep)

    def _read(self, name: str, *, keep: bool) -> bytes:
        promised, versions = hash_in(name), self.view.of_name(name)
        for version in versions:
            data = b"".join(self._versioned.read(version))
            if not promised or hashlib.sha256(data).hexdigest() == promised:
                if keep or len(versions) > 1:
                    self._keep(name, data)
                return data
        reason = "no version of it has the bytes that its name promises" if versions else "no version of it is left"
        self.refused[name] = reason
        raise DamageError(f"{name} is lost: {reason}", self.where, hint="use another target, or another time")

    def part(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """Yield some of an object's bytes. What has one version alone is not read whole for it."""
        versions = self.view.of_name(self._prefix + name)
        if len(versions) == 1:
            return self._versioned.read(versions[0], start, end)
        return iter([self.get(name)[start:end]])

    def sha256(self, name: str) -> tuple[str, int]:
        """See `ObjectStore`."""
        data = self.get(name)
        return hashlib.sha256(data).hexdigest(), len(data)

    def blocks(self, name: str) -> Iterator[bytes]:
        """See `ObjectStore`."""
        versions = self.view.of_name(self._prefix + name)
        return self._versioned.read(versions[0]) if len(versions) == 1 else iter([self.get(name)])

    def put(self, name: str, data: bytes) -> None:
        """Refuse: the past is not written to."""
        raise DrError(f"{name} cannot be written ({len(data)} bytes)", self.where, hint=_ELSEWHERE)

    def take(self, name: str, source: ObjectStore, *, sha256: str, version: str = "") -> bool:
        """Refuse: the past is not written to."""
        raise DrError(f"{name} cannot be written ({sha256[:12]} of {source.where})", self.where, hint=_ELSEWHERE)

    def remove(self, name: str) -> None:
        """Refuse: the past is not written to."""
        raise DrError(f"{name} cannot be removed", self.where, hint=_ELSEWHERE)

    def _reading(self, name: str) -> threading.Lock:
        """Return the lock under which an object is read: who asks for parts of it at once reads it once."""
        with self._guard:
            return self._locks.setdefault(name, threading.Lock())

    def _kept(self, name: str) -> bytes | None:
        with self._guard:
            if name in self._whole:
                self._whole.move_to_end(name)
            return self._whole.get(name)

    def _keep(self, name: str, data: bytes) -> None:
        """Keep a whole object for the parts of it that will be asked for next, and let the oldest go."""
        with self._guard:
            self._whole[name] = data
            while len(self._whole) > 1 and sum(map(len, self._whole.values())) > _KEPT:
                self._whole.popitem(last=False)


def shows(store: ObjectStore) -> ViewStore | None:
    """Return the store when it shows a view; None for a place as it is now."""
    return store if isinstance(store, ViewStore) else None
