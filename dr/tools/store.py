"""An object store: named bytes in a place, whether a bucket or a directory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Literal, Protocol

from dr.late_dataclass import dataclass
from dr.tools.digest import in_threads

_ID = re.compile(r"(?:.*/)?[0-9a-f]{64}", re.DOTALL)
Access = Literal["open", "closed", "unknown"]


@dataclass(frozen=True)
class Stored:
    """One object: its name below the store's root, its size in bytes, and when it was written.

    `version`: what the place calls these bytes (an ETag); "" where it tells none with its listing.
    """

    name: str
    size: int
    modified: datetime
    version: str = ""


@dataclass(frozen=True)
class Version:
    """One version of an object, or the mark that it was deleted (`marker`)."""

    name: str
    id: str
    size: int
    modified: datetime
    marker: bool = False
    latest: bool = False
    etag: str = ""


@dataclass(frozen=True)
class Posture:
    """How a place is kept. None where the service does not say."""

    versioning: bool | None
    object_lock: str | None  # "compliance 30 days", "on, without a default", or None when off or not said
    public_access: Access
    clock: datetime | None = None  # the time there when it answered

    def in_words(self) -> str:
        """Return the posture in one line."""
        versioning = {True: "on", False: "off", None: "not said"}[self.versioning]
        return f"versioning {versioning}, object lock {self.object_lock or 'off'}, public access {self.public_access}"


class ObjectStore(Protocol):
    """What a target must be able to do. All methods raise `dr.errors` classes and nothing else."""

    @property
    def where(self) -> str:
        """The place in words, without secrets."""

    def reachable(self) -> None:
        """Return at once when the place answers; `TargetDownError` within seconds when not."""

    def preflight(self) -> Posture:
        """Look at bucket, access and posture; raises as `reachable`, or `RefusedError`."""

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Yield the objects below the root (and prefix); none when the root does not exist."""

    def sha256(self, name: str) -> tuple[str, int]:
        """Return the SHA-256 (hex) and size of an object's bytes, streamed."""

    def get(self, name: str) -> bytes:
        """Return an object's bytes."""

    def blocks(self, name: str) -> Iterator[bytes]:
        """Yield an object's bytes, a piece at a time."""

    def part(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """Yield an object's bytes from `start` up to but not including `end`."""

    def put(self, name: str, data: bytes) -> None:
        """Write an object: whole or not at all."""

    def take(self, name: str, source: ObjectStore, *, sha256: str, version: str = "") -> bool:
        """Copy an object from another store, streamed, or by the service itself where both are on one.

        Only bytes whose SHA-256 (hex) is as given come to stand under the name: False when the source's are not,
        with nothing left there. Whole or not at all, also when this process is killed. `version` is what the source
        listed (`Stored.version`) when its bytes were last read and had that hash: while it is the same, a service that
        copies by itself need not be asked for them first.
        """

    def remove(self, name: str) -> None:
        """Take an object away; no error when it is not there, `RefusedError` where that is not permitted."""

    def exists(self, name: str) -> bool:
        """Whether an object of that name is there."""

    def child(self, prefix: str) -> ObjectStore:
        """Return the store rooted at a place below this one."""


def is_object(name: str) -> bool:
    """Whether restic reads what has this name: `config`, or an id, in whichever folder.

    It passes over all else: what a restic that was killed left of an object (`ID-tmp-…`), and what others put there,
    such as a file browser or a NAS.
    """
    return name == "config" or bool(_ID.fullmatch(name))


def ids(store: ObjectStore, folder: str) -> set[str]:
    """Return the ids of the objects in a folder (`keys/`), by one listing: no passphrase is needed."""
    return {item.name.rpartition("/")[2] for item in store.list(folder) if is_object(item.name)}


def contents(store: ObjectStore) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each object of a store, several read at a time: of small ones."""
    return in_threads(lambda item: (item.name, store.get(item.name)), store.list())
