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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dr.errors import DamageError, DrError, RefusedError
from dr.tools import line, retry
from dr.tools.digest import sha256_of
from dr.tools.rest import RestService
from dr.tools.rest_names import Named, RestNames
from dr.tools.store import ObjectStore, Posture, Stored

_TYPES = ("data", "index", "keys", "snapshots", "locks")
#: Bytes of one object that are held in memory on their way; a larger one waits in a file.
_IN_MEMORY = 24 << 20
#: Bytes in which the first line of what has a name of its own fits.
_HEAD = 2048
_THREADS = 16
#: Seconds for which a list is recent enough to write something beside it: it is asked for what is overwritten alone.
_RECENT = 10.0
#: The protocol tells no time of an object.
_UNKNOWN = datetime.fromtimestamp(0, UTC)


class RestStore:
    """Objects below a path of a server. Safe for several threads."""

    def __init__(
        self, service: RestService, prefix: str = "", names: RestNames | None = None, *, kept: Path | None = None
    ) -> None:
        """Take a server and a path on it; what is read of names is `kept` in a file, where one is given."""
        self.service, self._prefix = service, prefix.strip("/")
        self._names = names or RestNames(kept)

    @property
    def where(self) -> str:
        """See `ObjectStore`."""
        return f"{self.service.where}/{self._prefix}".rstrip("/")

    def child(self, prefix: str) -> RestStore:
        """See `ObjectStore`. Shares the connections."""
        return RestStore(self.service, f"{self._prefix}/{prefix}", self._names)

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
            self._relist(top)
            for found in self._names.below(top, start + prefix):
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
            self._relist(top)
            return self._names.newest(top, rest) is not None
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
        self._relist(top)
        for each in self._names.ids(top, rest):
            self.service.ask("DELETE", f"{top}/data/{each}", f"removing {name}", missing=True)
            self._names.drop(top, each)

    def _make(self, top: str) -> None:
        if top not in self._names.made:
            self.service.make(top)
            self._names.made.add(top)

    # -- names of our own ---------------------------------------------------------------------------

    def _put_named(self, name: str, data: bytes) -> None:
        top, rest = self._split(name)
        if self._names.age(top) > _RECENT:
            self._relist(top)
        before = self._names.newest(top, rest)
        now = datetime.now(UTC)
        written = max(now, before.written + timedelta(microseconds=1)) if before else now
        first = json.dumps({"name": rest, "written": written.isoformat()}).encode() + b"\n"
        whole = first + data
        made = hashlib.sha256(whole).hexdigest()
        self._make(top)
        self.service.ask("POST", f"{top}/data/{made}", f"writing {name}", body=whole, size=len(whole))
        self._names.add(top, Named(made, rest, written, len(data), len(first)))
        if before:
            with suppress(RefusedError):  # where nothing may be deleted, the newest counts all the same
                self.service.ask("DELETE", f"{top}/data/{before.id}", f"removing an older {name}", missing=True)
                self._names.drop(top, before.id)

    def _relist(self, top: str) -> None:
        """Ask the server what lies in a folder of ours, and read the first line of what is new."""
        with ThreadPoolExecutor(_THREADS) as pool:
            self._names.relist(
                top,
                self.service.listed(f"{top}/data"),
                lambda fresh: list(pool.map(lambda item: self._head(top, *item), fresh)),
            )

    def _head(self, top: str, made: str, size: int) -> Named | None:
        """Read the first line of an object; None for one that is not ours, or is spoilt."""
        doing = f"reading {top}/data/{made}"
        end = min(size, _HEAD)
        blocks = lambda: b"".join(self.service.blocks(f"{top}/data/{made}", doing, end=end))  # noqa: E731
        try:
            return _named(retry.persist(blocks, what=self.where), made, size)
        except DamageError:
            return None

    def _content(self, name: str) -> bytes:
        """Return the content of what has a name; `DamageError` when it is not there, or not what was written."""
        top, rest = self._split(name)
        item = self._names.given(top, rest)
        if item:
            with suppress(DamageError):  # since it was listed, another may have been written in its place
                return self._content_of(top, item, name)
        self._relist(top)
        item = self._names.newest(top, rest)
        if item is None:
            raise DamageError(f"reading {name}: it is not there", self.where, hint="run `dr verify` to see all")
        return self._content_of(top, item, name)

    def _content_of(self, top: str, item: Named, name: str) -> bytes:
        whole = self.service.ask("GET", f"{top}/data/{item.id}", f"reading {name}").body
        if hashlib.sha256(whole).hexdigest() != item.id or _named(whole, item.id, len(whole)) != item:
            raise DamageError(f"{name} is not what was written", self.where, hint="see the server's disk")
        return whole[item.head :]


def _named(text: bytes, made: str, size: int) -> Named | None:
    """Return what the first line of an object of `size` bytes says; None of one that is not ours."""
    first = text.partition(b"\n")[0]
    try:
        said = json.loads(first)
        head = len(first) + 1
        return Named(made, str(said["name"]), _time(said["written"]), size - head, head)
    except (ValueError, KeyError, TypeError):
        return None


def _time(text: str) -> datetime:
    """Return a moment; `ValueError` for one without a zone, which could not be compared."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment
