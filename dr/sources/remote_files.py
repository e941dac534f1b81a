"""The source `files` on a host that has nothing but sshd: copied here by SFTP, hashed as it comes.

The copy lies in the capture's scratch space, so that must hold all of it. SFTP does not say where a file system
ends: the host's own table of mounts does, read like any file. Its times are whole seconds: a file that is written to
while it is copied is seen by its size or by that second.
"""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dr.errors import SourceError
from dr.evidence import manifest
from dr.evidence.manifest import Entry, State
from dr.evidence.record import Omission
from dr.late_dataclass import dataclass
from dr.plan.source_kinds import FilesSource
from dr.sources import attributes, mounts
from dr.sources.driver import MANIFEST, Kept, Settled, SourceDriver, Tree, shown
from dr.sources.files import excluder_of, specials
from dr.sources.foreseen import foreseen_there
from dr.sources.holdings import count, holdings
from dr.sources.mounts import Mounted
from dr.sources.own_errors import own_errors
from dr.sources.settle import settled
from dr.sources.stored import Reconciled, counts_agree, reconcile
from dr.sources.walk import Excluded
from dr.tools import command
from dr.tools.sftp import Sftp, Status

if TYPE_CHECKING:
    from dr.tools.ssh import SshHost  # loads paramiko

#: Files and directories asked for at once: on a long line each costs two or three times there and back.
_AT_ONCE = 16
_OUR_RIGHTS = {"file": 0o400, "dir": 0o700}  # what we need on the copy when we are not root
_GONE = (errno.ENOENT, errno.ENOTDIR)
T = TypeVar("T")
A = TypeVar("A")


@dataclass(frozen=True)
class _Found:
    """Something on the host, in the order it must be made here: parents first."""

    path: bytes
    status: Status
    unreadable: bool = False


@dataclass
class _Copied:
    """What became of the files."""

    digests: dict[bytes, tuple[str, int]] = field(default_factory=dict)
    states: dict[bytes, State] = field(default_factory=dict)
    links: dict[bytes, bytes] = field(default_factory=dict)
    vanished: set[bytes] = field(default_factory=set)


class RemoteFiles(SourceDriver):
    """Trees on another host, through its SFTP."""

    kind = "files"

    def __init__(self, name: str, declared: FilesSource, host: SshHost) -> None:
        super().__init__(name)
        self._declared, self._host = declared, host

    def capture(self, work: Path, reuse: Path | None) -> Tree:
        """See `SourceDriver`. Everything is copied each time: no hash is taken from the last manifest."""
        started, top = datetime.now(UTC), work / "tree"
        with self._errors(), self._host.files() as session, ThreadPoolExecutor(_AT_ONCE) as pool:
            top.mkdir(mode=0o700)
            mounted = self._mounted(session)
            excluded = excluder_of(self.name, (*self._declared.exclude, *mounted.excludes))
            tops, missing = self._look(session, excluded)
            elsewhere = mounted.elsewhere if self._declared.one_filesystem else frozenset()
            trip = _Trip(self.name, session, pool, os.fsencode(top), excluded, elsewhere=elsewhere)
            found = trip.walk(tops)
            if mounted.waiting:  # listing them may have mounted something
                mounted = self._mounted(session)
            listed = [Entry(item.path, _kind(item.status) or "other", item.status.size) for item in found]
            copied = trip.copy(found)
            found = [item for item in found if item.path not in copied.vanished]
            trip.dress([*trip.parents(tops), *found], copied)
            marked = self._marked(found)
            lost = trip.mark(found, marked or {})
            entries = [_entry(os.fsencode(top), item, copied) for item in found]
            held = holdings(
                lambda places: count(listed, places), [os.fsdecode(path) for path, _ in tops], mounted,
                reuse=reuse, left_out=elsewhere, excluded=excluded,
            )  # fmt: skip
            header = {**manifest.header_of(source=self.name, kind=self.kind, started=started), **held.header}
            header |= {attributes.COVERED: marked is not None}
            manifest.write_sorted(top / MANIFEST, header, entries)
        unseen = () if marked is not None else attributes.unseen(reuse, "are not captured", self._host.name)
        odd = specials((os.fsdecode(path), status.mode) for path, status in tops)
        told = (
            *mounts.left_out(trip.passed),
            *odd,
            *attributes.lost(lost),
            *mounts.not_mounted(mounted.waiting, excluded),
            *held.gone,
        )
        tree = self._tree(top, header, entries, tops=[path for path, _ in tops], missing=missing, copied=copied)
        return replace(
            tree, omissions=told, emptied=bool(held.gone), notes=(*held.notes, *unseen), reader=self._host.name
        )

    def omissions(self) -> tuple[Omission, ...]:
        """See `SourceDriver`."""
        with self._errors():
            with self._host.files() as session:
                mounted = self._mounted(session)
            return foreseen_there(self.name, self._declared, self._host, mounted)

    def _marked(self, found: list[_Found]) -> dict[bytes, attributes.Attributes] | None:
        """Return which files there have ACLs and extended attributes: SFTP does not know. None when nothing tells."""
        if not attributes.tells(self._host):
            return None
        return attributes.attributes_there(self._host, [item.path for item in found])

    def _mounted(self, session: Sftp) -> Mounted:
        """Return what is mounted there. Raises `SourceError` where nobody can say and the plan must know."""
        try:
            with session.open(os.fsencode(mounts.TABLE)) as opened:
                table = b"".join(opened.blocks(0))
        except OSError:
            table = b""
        if not table and self._declared.one_filesystem:
            raise SourceError(
                f"{self._host.name} does not say what is mounted there ({mounts.TABLE}), as `one_filesystem` needs",
                self.name,
                hint="take `one_filesystem` out of the plan, and exclude what is mounted below",
            )
        return mounts.mounted(table, map(os.fsencode, map(_clean, self._declared.paths)))

    def _tree(
        self,
        top: Path,
        header: Mapping[str, Any],
        entries: list[Entry],
        *,
        tops: list[bytes],
        missing: list[str],
        copied: _Copied,
    ) -> Tree:
        sizes = [entry.size for entry in entries if entry.kind == "file" and entry.state != "unreadable"]
        whole = [path for path in tops if path != b"/"] if b"/" not in tops else _children(top)
        return Tree(
            paths=tuple(os.fsdecode(path.lstrip(b"/")) for path in whole),
            cwd=top,
            started=datetime.fromisoformat(header["started"]),
            files=len(sizes),
            bytes=sum(sizes),
            unreadable=tuple(os.fsdecode(entry.path) for entry in entries if entry.state == "unreadable"),
            missing=tuple(missing),
            settler=lambda kept: _settle(top, header, entries, tops, vanished=len(copied.vanished), kept=kept),
        )

    def _look(self, session: Sftp, excluded: Excluded) -> tuple[list[tuple[bytes, Status]], list[str]]:
        """Split the declared paths into those to capture and those not."""
        there, missing = [], []
        for path in dict.fromkeys(map(_clean, self._declared.paths)):
            try:
                status = session.lstat(os.fsencode(path))
            except OSError:
                missing.append(path)
                continue
            if stat.S_ISLNK(status.mode):
                raise SourceError(
                    f"{shown(path)} on {self._host.name} is a symbolic link, and a backup would hold the link alone",
                    self.name,
                    hint="declare the real path",
                )
            if excluded(os.fsencode(path)):
                missing.append(f"{path} (left out by an exclude)")
                continue
            there.append((os.fsencode(path), status))
        if not there:
            names = ", ".join(map(shown, missing))
            raise SourceError(
                f"no declared path is on {self._host.name}: {names}", self.name, hint="correct the paths or excludes"
            )
        return there, missing

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with own_errors(self.name):
                yield
        except OSError as error:
            raise SourceError(
                "the copy of the host's files cannot be written",
                self.name,
                error.strerror or str(error),
                hint="see the disk of the state directory: all files are copied there first",
            ) from error


def _settle(
    top: Path, header: Mapping[str, Any], entries: list[Entry], tops: Sequence[bytes], *, vanished: int,
    kept: Sequence[Kept],
) -> Settled:  # fmt: skip
    """Hold what restic stored against the copy at `top`, in which nothing comes or goes."""
    found, paths, place = Reconciled(entries), [os.fsdecode(path) for path in tops], os.fsencode(top)
    if kept and (vanished or not counts_agree(entries, paths, kept)):
        held = header.get("held", {})
        found = reconcile(entries, paths, kept, lstat=lambda path: os.lstat(place + path), held=held)
    return settled(top / MANIFEST, header, entries, found, vanished=vanished)


class _Trip:
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
        self.passed: set[bytes] = set()

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

    def walk(self, tops: list[tuple[bytes, Status]]) -> list[_Found]:
        """Return everything at and below the tops once, parents first. Sockets, pipes and devices are left out."""
        found: dict[bytes, _Found] = {}
        waiting: deque[tuple[bytes, Future[list[tuple[bytes, Status]] | None]]] = deque()

        def take(path: bytes, status: Status) -> None:
            if path in found or _kind(status) is None:
                return
            if path in self._elsewhere:
                self.passed.add(path)
                if stat.S_ISDIR(status.mode):
                    found[path] = _Found(path, status)
                return
            found[path] = _Found(path, status)
            if stat.S_ISDIR(status.mode):
                waiting.append((path, self._pool.submit(self._list, path)))

        for path, status in tops:
            take(path, status)
        while waiting:
            command.raise_if_stopping()
            folder, listed = waiting.popleft()
            names = listed.result()
            if names is None:
                found[folder] = _Found(folder, found[folder].status, unreadable=True)
                continue
            for name, status in sorted(names):
                path = _join(folder, name)
                if not self._excluded(path):
                    take(path, status)
        return sorted(found.values(), key=lambda item: item.path)

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

    def copy(self, found: list[_Found]) -> _Copied:
        """Make directories, then files, then links: so that nothing is ever written through a link."""
        copied = _Copied()
        for folder in {posixpath.dirname(item.path) for item in found}:
            os.makedirs(self._here(folder), mode=0o700, exist_ok=True)
        for item in found:
            if stat.S_ISDIR(item.status.mode):
                os.makedirs(self._here(item.path), mode=0o700, exist_ok=True)
                if item.unreadable:
                    copied.states[item.path] = "unreadable"
        files = [item for item in found if stat.S_ISREG(item.status.mode)]
        _each(self._pool, lambda item: self._file(item, copied), files)
        links = [item for item in found if stat.S_ISLNK(item.status.mode)]
        _each(self._pool, lambda item: self._link(item, copied), links)
        return copied

    def _file(self, item: _Found, copied: _Copied) -> None:
        command.raise_if_stopping()
        try:
            opened = self._session.open(item.path)
        except OSError as error:
            _lost(item, error, copied)
            return
        here = os.open(self._here(item.path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        digest, size = hashlib.sha256(), 0
        with opened, os.fdopen(here, "wb", buffering=0) as file:
            content = opened.blocks(item.status.size)
            while (block := _next(content)) is not None:
                if isinstance(block, OSError):
                    file.close()
                    os.unlink(self._here(item.path))
                    _lost(item, block, copied)
                    return
                digest.update(block)
                file.write(block)
                size += len(block)
            after = _now(opened.status)
        copied.digests[item.path] = (digest.hexdigest(), size)
        if size != item.status.size or after is None or after[:2] + after[4:] != item.status[:2] + item.status[4:]:
            copied.states[item.path] = "changed"

    def _link(self, item: _Found, copied: _Copied) -> None:
        try:
            copied.links[item.path] = self._session.readlink(item.path)
        except OSError as error:
            _lost(item, error, copied)
            return
        os.symlink(copied.links[item.path], self._here(item.path))

    def dress(self, found: list[_Found], copied: _Copied) -> None:
        """Give the copy its owners, modes and times, deepest first, since that changes the times above."""
        root = os.geteuid() == 0
        for item in sorted(found, key=lambda item: item.path, reverse=True):
            kind, here = _kind(item.status), self._here(item.path)
            if kind != "dir" and copied.states.get(item.path) == "unreadable":
                continue
            if root:
                os.chown(here, item.status.uid, item.status.gid, follow_symlinks=False)
            if kind != "link":
                own = 0 if root else _OUR_RIGHTS[kind or "file"]
                os.chmod(here, stat.S_IMODE(item.status.mode) | own)
            os.utime(here, (item.status.mtime, item.status.mtime), follow_symlinks=False)

    def mark(self, found: list[_Found], marked: dict[bytes, attributes.Attributes]) -> int:
        """Give the copy its ACLs and extended attributes; return of how many not all could be given."""
        made = [(self._here(item.path), marked[item.path]) for item in found if marked.get(item.path)]
        return sum(os.path.lexists(here) and not attributes.keep_here(here, own) for here, own in made)

    def _here(self, path: bytes) -> bytes:
        return self._top + path


def _each(pool: ThreadPoolExecutor, act: Callable[[A], None], items: list[A]) -> None:
    """Do all of it, some at once; the first error ends what has not begun."""
    waiting = deque[Future[None]]()
    try:
        for item in items:
            waiting.append(pool.submit(act, item))
            if len(waiting) > 4 * _AT_ONCE:
                waiting.popleft().result()
        while waiting:
            waiting.popleft().result()
    finally:
        for future in waiting:
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


def _lost(item: _Found, error: OSError, copied: _Copied) -> None:
    """Note what could not be read: because it went away, or because we may not."""
    if error.errno in _GONE:
        copied.vanished.add(item.path)
    else:
        copied.states[item.path] = "unreadable"


def _kind(status: Status) -> manifest.Kind | None:
    kinds: dict[int, manifest.Kind] = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}
    return kinds.get(stat.S_IFMT(status.mode))


def _entry(top: bytes, item: _Found, copied: _Copied) -> Entry:
    """Return what the manifest says of it: what was copied, with the owner and mode that the copy has."""
    kind, state = _kind(item.status) or "other", copied.states.get(item.path, "ok")
    digest, size = copied.digests.get(item.path, (None, item.status.size if kind == "file" else 0))
    if kind != "dir" and state == "unreadable":
        return Entry(item.path, kind, size, None, item.status.mode, item.status.uid, item.status.gid, state=state)
    here = os.lstat(top + item.path)
    return Entry(
        item.path, kind, size, digest, here.st_mode, here.st_uid, here.st_gid, here.st_mtime_ns,
        link_target=copied.links.get(item.path), state=state, attributes=attributes.digest_here(top + item.path),
    )  # fmt: skip


def _children(top: Path) -> list[bytes]:
    return sorted(name for name in os.listdir(os.fsencode(top)) if name != os.fsencode(MANIFEST))


def _clean(path: str) -> str:
    return posixpath.normpath(path).replace("//", "/")


def _join(folder: bytes, name: bytes) -> bytes:
    return folder.rstrip(b"/") + b"/" + name
