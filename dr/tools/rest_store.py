"""An object store on restic's REST server.

The server knows repositories: a `config`, and objects named by the SHA-256 of their bytes. Those of a system's
repository are used as they are. What else is kept beside repositories (evidence, escrow, self-copies, all below names
that begin with `_`) has names of its own; each is one such object, whose first line says its name and when it was
written. The newest of a name counts.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from dr.errors import DamageError, DrError, RefusedError
from dr.late_dataclass import dataclass
from dr.tools import line, retry
from dr.tools.digest import sha256_of
from dr.tools.rest import RestService
from dr.tools.store import ObjectStore, Posture, Stored

_TYPES = ("data", "index", "keys", "snapshots", "locks")
#: Bytes of one object that are held in memory on their way; a larger one waits in a file.
_IN_MEMORY = 24 << 20
#: Bytes in which the first line of what has a name of its own fits.
_HEAD = 2048
_THREADS = 16
#: The protocol tells no time of an object.
_UNKNOWN = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class _Named:
    """One object that has a name of its own; `size` is that of its content, behind the first line."""

    id: str
    name: str
    written: datetime
    size: int
    head: int


class _Memory:
    """What is known of objects with names, by folder and id. They never change."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], _Named | None] = {}
        self.made: set[str] = set()
        self.guard = threading.Lock()


class RestStore:
    """Objects below a path of a server. Safe for several threads."""

    def __init__(self, service: RestService, prefix: str = "", memory: _Memory | None = None) -> None:
        self.service, self._prefix = service, prefix.strip("/")
        self._memory = memory or _Memory()

    @property
    def where(self) -> str:
        """See `ObjectStore`."""
        return f"{self.service.where}/{self._prefix}".rstrip("/")

    def child(self, prefix: str) -> RestStore:
        """See `ObjectStore`. Shares the connections."""
        return RestStore(self.service, f"{self._prefix}/{prefix}", self._memory)

    def reachable(self) -> None:
        """See `ObjectStore`."""
        self.service.reachable()

    def preflight(self) -> Posture:
        """See `ObjectStore`."""
        self.reachable()
        return Posture(None, None, "open" if self.service.is_open() else "closed", self.service.clock)

    # -- what has a name of its own, and what bears its hash ----------------------------------------

    def _split(self, name: str) -> tuple[str, str]:
        """Return the first part of a name, a system or a folder of ours, and the rest."""
        top, _, rest = f"{self._prefix}/{name}".strip("/").partition("/")
        return top, rest

    def _path(self, name: str) -> str:
        """Return where the server has an object of a repository."""
        top, rest = self._split(name)
        kind, _, last = rest.partition("/")
        if rest != "config" and (kind not in _TYPES or not last):
            raise DamageError(f"{name} is not the name of an object of a repository", self.where, hint="correct it")
        return f"{top}/{kind}/{last.rpartition('/')[2]}" if last else f"{top}/config"

    def _has_names(self, name: str = "") -> bool:
        return self._split(name)[0].startswith("_")

    # -- reading ------------------------------------------------------------------------------------

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """See `ObjectStore`. Raises `DrError` at the root: a server does not say which repositories it has."""
        top, _ = self._split("")
        if not top:
            raise DrError("a REST server does not list its repositories", self.where, hint="name a system")
        if self._has_names():
            inner = self._split("")[1]
            start = f"{inner}/" if inner else ""
            for found in self._named(top).values():
                if found.name.startswith(start + prefix):
                    yield Stored(found.name[len(start) :], found.size, found.written)
            return
        for kind in _TYPES:
            if f"{kind}/".startswith(prefix) or prefix.startswith(f"{kind}/"):
                for name, size in self.service.listed(f"{top}/{kind}"):
                    whole = f"data/{name[:2]}/{name}" if kind == "data" else f"{kind}/{name}"
                    if whole.startswith(prefix):
                        yield Stored(whole, size, _UNKNOWN)
        config = self._size("config") if "config".startswith(prefix) else None
        if config is not None:
            yield Stored("config", config, _UNKNOWN)

    def _size(self, name: str) -> int | None:
        answer = self.service.ask("HEAD", self._path(name), f"looking for {name}", missing=True)
        return None if answer.status == 404 else answer.size

    def exists(self, name: str) -> bool:
        """See `ObjectStore`."""
        if self._has_names(name):
            top, rest = self._split(name)
            return rest in self._named(top)
        try:
            return self._size(name) is not None
        except DamageError:
            return False

    def get(self, name: str) -> bytes:
        """See `ObjectStore`."""
        if self._has_names(name):
            return self._content(name)
        return self.service.ask("GET", self._path(name), f"reading {name}").body

    def blocks(self, name: str) -> Iterator[bytes]:
        """See `ObjectStore`."""
        if self._has_names(name):
            return iter((self._content(name),))
        return self.service.blocks(self._path(name), f"reading {name}")

    def part(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """See `ObjectStore`."""
        if self._has_names(name):
            return iter((self._content(name)[start:end],))
        return self.service.blocks(self._path(name), f"reading {name}", start=start, end=end)

    def sha256(self, name: str) -> tuple[str, int]:
        """See `ObjectStore`."""
        return retry.persist(lambda: sha256_of(self.blocks(name)), what=self.where)

    # -- changing -----------------------------------------------------------------------------------

    def put(self, name: str, data: bytes) -> None:
        """See `ObjectStore`."""
        if self._has_names(name):
            self._put_named(name, data)
            return
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
            copy.write(data)
            self._post(name, copy, len(data), hashlib.sha256(data).hexdigest())

    def take(self, name: str, source: ObjectStore, *, sha256: str, version: str = "") -> bool:
        """See `ObjectStore`. The server checks again that what reaches it is what its name says."""
        digest, size = hashlib.sha256(), 0
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
            for block in source.blocks(name):
                digest.update(block)
                size += len(block)
                copy.write(block)
            if digest.hexdigest() != sha256:
                return False
            if self._has_names(name):
                copy.seek(0)
                self._put_named(name, copy.read())
            else:
                self._post(name, copy, size, sha256)
        return True

    def _post(self, name: str, copy: tempfile.SpooledTemporaryFile[bytes], size: int, sha256: str) -> None:
        """Send an object. Where another is under that name, it is removed first: a server overwrites none."""
        self._make(self._split(name)[0])
        path, doing = self._path(name), f"writing {name}"
        line.sending(size)
        try:
            self.service.ask("POST", path, doing, body=copy, size=size)
        except RefusedError:
            if not self.exists(name):
                raise
            if self.sha256(name)[0] == sha256:
                return
            self.remove(name)
            self.service.ask("POST", path, doing, body=copy, size=size)

    def remove(self, name: str) -> None:
        """See `ObjectStore`."""
        if not self._has_names(name):
            self.service.ask("DELETE", self._path(name), f"removing {name}", missing=True)
            return
        top, rest = self._split(name)
        self._named(top)
        with self._memory.guard:
            same = [each.id for (at, _), each in self._memory.known.items() if each and (at, each.name) == (top, rest)]
        for each in same:
            self.service.ask("DELETE", f"{top}/data/{each}", f"removing {name}", missing=True)

    def _make(self, top: str) -> None:
        if top not in self._memory.made:
            self.service.make(top)
            self._memory.made.add(top)

    # -- names of our own ---------------------------------------------------------------------------

    def _put_named(self, name: str, data: bytes) -> None:
        top, rest = self._split(name)
        before = self._named(top).get(rest)
        now = datetime.now(UTC)
        written = max(now, before.written + timedelta(microseconds=1)) if before else now
        line = json.dumps({"name": rest, "written": written.isoformat()}).encode() + b"\n"
        whole = line + data
        made = hashlib.sha256(whole).hexdigest()
        self._make(top)
        self.service.ask("POST", f"{top}/data/{made}", f"writing {name}", body=whole, size=len(whole))
        with self._memory.guard:
            self._memory.known[top, made] = _Named(made, rest, written, len(data), len(line))
        if before:
            with suppress(RefusedError):  # where nothing may be deleted, the newest counts all the same
                self.service.ask("DELETE", f"{top}/data/{before.id}", f"removing an older {name}", missing=True)

    def _named(self, top: str) -> dict[str, _Named]:
        """Return what has a name below a folder of ours, by name: the newest of each, as the server lists it now."""
        there = dict(self.service.listed(f"{top}/data"))
        fresh = [each for each in there if (top, each) not in self._memory.known]
        with ThreadPoolExecutor(_THREADS) as pool:
            read = list(pool.map(lambda each: self._head(top, each, there[each]), fresh))
        with self._memory.guard:
            self._memory.known |= {(top, each): found for each, found in zip(fresh, read, strict=True)}
            known = [self._memory.known[top, each] for each in there]
        found: dict[str, _Named] = {}
        for item in sorted((item for item in known if item), key=lambda item: (item.written, item.id)):
            found[item.name] = item
        return found

    def _head(self, top: str, made: str, size: int) -> _Named | None:
        """Read the first line of an object; None for one that is not ours, or is spoilt."""
        doing = f"reading {top}/data/{made}"
        try:
            end = min(size, _HEAD)
            blocks = lambda: b"".join(self.service.blocks(f"{top}/data/{made}", doing, end=end))  # noqa: E731
            first = retry.persist(blocks, what=self.where)
            line, mark, _ = first.partition(b"\n")
            said = json.loads(line)
            return _Named(made, str(said["name"]), _time(said["written"]), size - len(line) - 1, len(line) + len(mark))
        except (ValueError, KeyError, TypeError, DamageError):
            return None

    def _content(self, name: str) -> bytes:
        """Return the content of what has a name; `DamageError` when it is not there, or not what was written."""
        top, rest = self._split(name)
        item = self._named(top).get(rest)
        if item is None:
            raise DamageError(f"reading {name}: it is not there", self.where, hint="run `dr verify` to see all")
        whole = self.service.ask("GET", f"{top}/data/{item.id}", f"reading {name}").body
        if hashlib.sha256(whole).hexdigest() != item.id:
            raise DamageError(f"{name} is not what was written", self.where, hint="see the server's disk")
        return whole[item.head :]


def _time(text: str) -> datetime:
    """Return a moment; `ValueError` for one without a zone, which could not be compared."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment
