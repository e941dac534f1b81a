"""Files of a host copied here by SFTP, hashed as they come; nothing of a million of them is held but directories.

What is found, and what became of it, goes through sorted lines on disk.
"""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from dr.errors import SourceError
from dr.evidence import manifest
from dr.evidence.manifest import Entry, State
from dr.late_dataclass import dataclass
from dr.sources import attributes
from dr.sources.driver import shown
from dr.sources.sorted_lines import SortedLines
from dr.sources.walk import Excluded
from dr.tools import command
from dr.tools.sftp import Sftp, Status

if TYPE_CHECKING:
    from dr.tools.ssh import SshHost  # loads paramiko

#: Files and directories asked for at once: on a long line each costs two or three times there and back.
AT_ONCE = 16
#: So many are asked for their attributes at a time.
_BATCH = 10_000
_OUR_RIGHTS = {"file": 0o400, "dir": 0o700}  # what we need on the copy when we are not root
_GONE = (errno.ENOENT, errno.ENOTDIR)
T = TypeVar("T")
A = TypeVar("A")


@dataclass(frozen=True)
class _Found:
    """Something on the host."""

    path: bytes
    status: Status
    unreadable: bool = False


@dataclass
class _Copied:
    """What became of one file or link: its hash and size (bytes), where a link leads, what could not be done."""

    digest: str | None = None
    size: int = 0
    link: bytes | None = None
    state: State = "ok"
    vanished: bool = False


class Marking:
    """Gives a copy the ACLs and extended attributes of files on a host: SFTP does not know them.

    `told`: whether that host's programs tell of them; `lost`: of how many not all could be given.
    """

    def __init__(self, host: SshHost, top: bytes) -> None:
        self._host, self._top, self.lost = host, top, 0
        self.told = attributes.tells(host)

    def mark(self, paths: list[bytes]) -> None:
        """Give them to what was copied of some paths."""
        for start in range(0, len(paths) if self.told else 0, _BATCH):
            marked = attributes.attributes_there(self._host, paths[start : start + _BATCH])
            self.told = self.told and marked is not None
            made = [(self._top + path, own) for path, own in (marked or {}).items()]
            self.lost += sum(os.path.lexists(here) and not attributes.keep_here(here, own) for here, own in made)


class Trip:
    """One capture under way. `top` is where the copy lies: what is at `/a` there is at `TOP/a` here.

    Where another file system begins is `elsewhere`, and what of it was come upon in `passed`.
    """

    def __init__(
        self,
        name: str,
        session: Sftp,
        pool: ThreadPoolExecutor,
        top: bytes,
        excluded: Excluded,
        *,
        elsewhere: frozenset[bytes] = frozenset(),
    ) -> None:
        self._name, self._session, self._pool = name, session, pool
        self._top, self._excluded = top, excluded
        self._elsewhere = elsewhere
        self._root = os.geteuid() == 0
        self.passed: set[bytes] = set()
        self.vanished = 0

    def parents(self, tops: Iterable[tuple[bytes, Status]]) -> list[_Found]:
        """Return the directories above the declared paths, as far as the host lets us look at them."""
        above: dict[bytes, _Found] = {}
        for path, _ in tops:
            while (path := posixpath.dirname(path)) not in above and path != b"/":
                try:
                    above[path] = _Found(path, self._session.stat(path))
                except OSError:
                    continue
        return list(above.values())

    # -- what is there -------------------------------------------------------------------------------------

    def walk(self, tops: list[tuple[bytes, Status]], into: SortedLines) -> list[_Found]:
        """Put everything at and below the tops `into` lines, once; return the directories, parents first.

        Sockets, pipes and devices are left out.
        """
        folders: dict[bytes, _Found] = {}
        apart = {path for path, _ in tops}
        waiting: deque[bytes] = deque()

        def take(path: bytes, status: Status) -> None:
            kind = _kind(status)
            if kind is None or path in folders:
                return
            if path in self._elsewhere:
                self.passed.add(path)
                if kind != "dir":
                    return
            if kind == "dir":
                folders[path] = _Found(path, status)
                if path not in self._elsewhere:
                    waiting.append(path)
            into.add(path, _stat(status), kind, None)

        for path, status in tops:
            take(path, status)
        for folder, names in self._listed(waiting):
            if names is None:
                folders[folder] = _Found(folder, folders[folder].status, unreadable=True)
                continue
            for name, status in sorted(names):
                path = _join(folder, name)
                if path not in apart and not self._excluded(path):
                    take(path, status)
        return sorted(folders.values(), key=lambda item: item.path)

    def _listed(self, waiting: deque[bytes]) -> Iterator[tuple[bytes, list[tuple[bytes, Status]] | None]]:
        """Yield what the directories hold that wait, and come to wait meanwhile; some are listed at once."""
        begun: deque[tuple[bytes, Future[list[tuple[bytes, Status]] | None]]] = deque()
        while waiting or begun:
            command.raise_if_stopping()
            while waiting and len(begun) < 2 * AT_ONCE:
                folder = waiting.popleft()
                begun.append((folder, self._pool.submit(self._list, folder)))
            folder, listed = begun.popleft()
            yield folder, listed.result()

    def _list(self, folder: bytes) -> list[tuple[bytes, Status]] | None:
        """Return what a directory holds; None when it cannot be listed. Names that no file can have are refused."""
        try:
            names = self._session.listdir(folder)
        except OSError as error:
            return [] if error.errno in _GONE else None
        if any(not name or b"/" in name or b"\0" in name for name, _ in names) or len({n for n, _ in names}) < len(
            names
        ):
            raise SourceError(
                f"the host gives names in {shown(folder)} that no directory can hold",
                self._name,
                hint="do not trust that host: its file server may be after this machine; nothing was stored",
            )
        return names

    # -- copying -------------------------------------------------------------------------------------------

    def make(self, folders: list[_Found], found: Iterable[Entry]) -> None:
        """Make the directories of all that was found, before anything else: nothing is ever written through a link."""
        before = None
        for item in found:
            if (folder := posixpath.dirname(item.path)) != before:
                os.makedirs(self._here(folder), mode=0o700, exist_ok=True)
            before = folder
        for each in folders:
            os.makedirs(self._here(each.path), mode=0o700, exist_ok=True)

    def copy(self, folders: list[_Found], found: Iterable[bytes], marking: Marking, *, into: SortedLines) -> None:
        """Copy files, then links, each with owner, mode, time and attributes; put `into` lines what became of it."""
        for kind, act in (("file", self._file), ("link", self._link)):
            items = (_found(entry) for entry in map(manifest.entry_of, found) if entry.kind == kind)
            done = _each(self._pool, act, items)
            while batch := list(islice(done, _BATCH)):
                for item, copied in batch:
                    self._note(item, copied, into)
                marking.mark([item.path for item, copied in batch if not copied.vanished])
        for item in folders:
            self._note(item, _Copied(state="unreadable" if item.unreadable else "ok"), into)

    def _note(self, item: _Found, copied: _Copied, into: SortedLines) -> None:
        if copied.vanished:
            self.vanished += 1
        else:
            into.put(_entry(item, copied))

    def _file(self, item: _Found) -> _Copied:
        command.raise_if_stopping()
        try:
            opened = self._session.open(item.path)
        except OSError as error:
            return _lost(error, item)
        here = os.open(self._here(item.path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        digest, size = hashlib.sha256(), 0
        with opened, os.fdopen(here, "wb", buffering=0) as file:
            content = opened.blocks(item.status.size)
            while (block := _next(content)) is not None:
                if isinstance(block, OSError):
                    file.close()
                    os.unlink(self._here(item.path))
                    return _lost(block, item)
                digest.update(block)
                file.write(block)
                size += len(block)
            after = _now(opened.status)
        self._dress(item)
        same = size == item.status.size and after and after[:2] + after[4:] == item.status[:2] + item.status[4:]
        return _Copied(digest.hexdigest(), size, state="ok" if same else "changed")

    def _link(self, item: _Found) -> _Copied:
        try:
            link = self._session.readlink(item.path)
        except OSError as error:
            return _lost(error, item)
        os.symlink(link, self._here(item.path))
        self._dress(item)
        return _Copied(link=link)

    def dress(self, folders: list[_Found]) -> None:
        """Give directories their owners, modes and times, deepest first, since that changes the times above."""
        for item in sorted(folders, key=lambda item: item.path, reverse=True):
            self._dress(item)

    def _dress(self, item: _Found) -> None:
        kind, here = _kind(item.status), self._here(item.path)
        if self._root:
            os.chown(here, item.status.uid, item.status.gid, follow_symlinks=False)
        if kind != "link":
            own = 0 if self._root else _OUR_RIGHTS[kind or "file"]
            os.chmod(here, stat.S_IMODE(item.status.mode) | own)
        os.utime(here, (item.status.mtime, item.status.mtime), follow_symlinks=False)

    def _here(self, path: bytes) -> bytes:
        return self._top + path


def _each(pool: ThreadPoolExecutor, act: Callable[[A], T], items: Iterable[A]) -> Iterator[tuple[A, T]]:
    """Do all of it, some at once, and yield what became of each, in order; the first error ends what has not begun."""
    waiting = deque[tuple[A, Future[T]]]()
    try:
        for item in items:
            waiting.append((item, pool.submit(act, item)))
            if len(waiting) > 4 * AT_ONCE:
                first, done = waiting.popleft()
                yield first, done.result()
        while waiting:
            first, done = waiting.popleft()
            yield first, done.result()
    finally:
        for _, future in waiting:
            future.cancel()


def _next(blocks: Iterator[bytes]) -> bytes | OSError | None:
    """Return the next block, what the host says instead, or None at the end: apart from what our own disk says."""
    try:
        return next(blocks, None)
    except OSError as error:
        return error


def _now(status: Callable[[], Status]) -> Status | None:
    try:
        return status()
    except OSError:
        return None


def _lost(error: OSError, item: _Found) -> _Copied:
    """Return what could not be read: because it went away, or because we may not."""
    if error.errno in _GONE:
        return _Copied(vanished=True)
    return _Copied(size=item.status.size if stat.S_ISREG(item.status.mode) else 0, state="unreadable")


def _kind(status: Status) -> manifest.Kind | None:
    kinds: dict[int, manifest.Kind] = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}
    return kinds.get(stat.S_IFMT(status.mode))


def _stat(status: Status) -> os.stat_result:
    numbers = (status.mode, 0, 0, 1, status.uid, status.gid, status.size, 0, 0, 0)
    return os.stat_result(numbers, {"st_mtime_ns": status.mtime * 10**9, "st_ctime_ns": 0})


def _found(entry: Entry) -> _Found:
    """Return what was found, of its line."""
    return _Found(entry.path, Status(entry.mode, entry.size, entry.uid, entry.gid, entry.mtime_ns // 10**9))


def _entry(item: _Found, copied: _Copied) -> Entry:
    """Return what the manifest says of it, but for what the copy has yet to get."""
    kind, status = _kind(item.status) or "other", item.status
    return Entry(
        item.path, kind, copied.size, copied.digest, status.mode, status.uid, status.gid, link_target=copied.link,
        state=copied.state,
    )  # fmt: skip


def as_copied(top: bytes, entry: Entry) -> Entry:
    """Return an entry with the owner, mode, time and attributes that the copy has."""
    if entry.kind != "dir" and entry.state == "unreadable":
        return entry
    here = os.lstat(top + entry.path)
    return entry._replace(
        mode=here.st_mode, uid=here.st_uid, gid=here.st_gid, mtime_ns=here.st_mtime_ns,
        attributes=attributes.digest_here(top + entry.path),
    )  # fmt: skip


def _join(folder: bytes, name: bytes) -> bytes:
    return folder.rstrip(b"/") + b"/" + name
