"""The source `files`: directory trees and single files, hashed by us before restic walks them."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from dr.errors import DamageError, SourceError
from dr.evidence import manifest
from dr.evidence.manifest import Entry, Kind
from dr.plan.source import FilesSource
from dr.sources.door import MANIFEST, Doors, Settled, Tree, shown
from dr.sources.walk import excluder, walk
from dr.tools import command
from dr.tools.digest import in_threads, sha256_open

#: A file modified so shortly before its hash was taken may have changed within one tick of its clock.
_RACY_NS = 2_000_000_000
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_Known = Mapping[bytes, Entry]


class Files(Doors):
    """Trees on this host."""

    kind = "files"

    def __init__(self, name: str, declared: FilesSource) -> None:
        super().__init__(name)
        self._declared = declared

    def capture(self, work: Path, reuse: Path | None) -> Tree:
        """See `Doors`. Reads every file once, but for those unchanged since the last manifest."""
        started = datetime.now(UTC)
        there, missing = self._look()
        unreadable: set[bytes] = set()
        found = walk(
            [os.fsencode(path) for path in there],
            excluded=excluder(self._declared.exclude),
            one_filesystem=self._declared.one_filesystem,
            unreadable=unreadable.add,
        )
        known, since = _last(reuse)
        entries = _hashed([_entry(path, status) for path, status in found if status], known, since)
        kept = [entry for entry in entries if entry is not None]
        unreadable |= {entry.path for entry in kept if entry.state == "unreadable"}
        header = manifest.header_of(source=self.name, kind=self.kind, started=started)
        manifest.write(work / MANIFEST, header, kept)
        files = [entry for entry in kept if entry.kind == "file" and entry.state != "unreadable"]
        return Tree(
            paths=tuple(there),
            cwd=work,
            started=started,
            files=len(files),
            bytes=sum(e.size for e in files),
            excludes=self._declared.exclude,
            one_filesystem=self._declared.one_filesystem,
            unreadable=tuple(os.fsdecode(path) for path in sorted(unreadable)),
            missing=tuple(missing),
            settler=lambda: settle(work / MANIFEST, header, kept),
        )

    def _look(self) -> tuple[list[str], list[str]]:
        """Split the declared paths into those there and those not. restic would skip the latter silently."""
        there, missing = [], []
        for path in map(_clean, self._declared.paths):
            try:
                status = Path(path).lstat()
            except (OSError, ValueError):
                missing.append(path)
                continue
            if stat.S_ISLNK(status.st_mode):
                raise SourceError(
                    f"{shown(path)} is a symbolic link, and a backup would hold the link alone",
                    self.name,
                    hint=f"declare the real path: {shown(os.path.realpath(path))}",
                )
            there.append(path)
        if not there:
            names = ", ".join(map(shown, missing))
            raise SourceError(
                f"no declared path is there: {names}", self.name, hint="mount the disk, or correct the paths"
            )
        return there, missing


def _clean(path: str) -> str:
    return os.path.normpath(path).replace("//", "/")


def _entry(path: bytes, status: os.stat_result) -> Entry:
    kind: Kind = "other"
    target = None
    if stat.S_ISREG(status.st_mode):
        kind = "file"
    elif stat.S_ISDIR(status.st_mode):
        kind = "dir"
    elif stat.S_ISLNK(status.st_mode):
        kind, target = "link", _read_link(path)
    return Entry(
        path, kind, status.st_size if kind == "file" else 0, None, status.st_mode,
        status.st_uid, status.st_gid, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev, target,
    )  # fmt: skip


def _read_link(path: bytes) -> bytes | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _last(reuse: Path | None) -> tuple[_Known, int]:
    """Return the last manifest's entries and when it was begun (ns); nothing when it cannot be read."""
    if reuse is None:
        return {}, 0
    try:
        started = datetime.fromisoformat(manifest.header(reuse)["started"])
        return {entry.path: entry for entry in manifest.read(reuse)}, int(started.timestamp() * 1e9)
    except (DamageError, KeyError, ValueError):
        return {}, 0  # costs a full read, nothing else


def _hashed(entries: list[Entry], known: _Known, since: int) -> list[Entry | None]:
    """Fill in the hashes of the files; None for one that vanished."""
    todo: list[int] = []
    result: list[Entry | None] = list(entries)
    for i, entry in enumerate(entries):
        if entry.kind != "file":
            continue
        before = known.get(entry.path)
        if before and _same(before, entry) and entry.mtime_ns < since - _RACY_NS:
            result[i] = replace(entry, sha256=before.sha256)
        else:
            todo.append(i)
    for i, hashed in zip(todo, in_threads(_hash, [entries[i] for i in todo]), strict=True):
        result[i] = hashed
    return result


def _same(before: Entry, now: Entry) -> bool:
    if before.state != "ok" or before.sha256 is None:
        return False
    return (before.size, before.mtime_ns, before.ctime_ns, before.inode, before.device) == (
        now.size, now.mtime_ns, now.ctime_ns, now.inode, now.device
    )  # fmt: skip


def _hash(entry: Entry) -> Entry | None:
    """Read one file. A file that is not the same before and after is `changed`, never wrong."""
    if command.stopping():
        command.raise_if_stopping()
    try:
        descriptor = os.open(entry.path, _FLAGS)
    except FileNotFoundError:
        return None
    except OSError:
        return replace(entry, state="unreadable")
    try:
        digest, size = sha256_open(descriptor)
        after = os.fstat(descriptor)
    except OSError:
        return replace(entry, state="unreadable")
    finally:
        os.close(descriptor)
    if size != entry.size or after.st_mtime_ns != entry.mtime_ns or after.st_size != size:
        return replace(entry, size=size, sha256=digest, state="changed")
    return replace(entry, sha256=digest)


@dataclass
class _Tally:
    changed: list[bytes]
    vanished: int = 0


def settle(path: Path, header: Mapping[str, object], entries: list[Entry]) -> Settled:
    """Look again at every file; those that differ become `changed` in the manifest, rewritten if need be."""
    tally = _Tally([])
    after = [_again(entry, tally) if entry.kind == "file" else entry for entry in entries]
    if tally.changed:
        manifest.write(path, header, after)
    already = [e.path for e in entries if e.state == "changed"]
    return Settled(tuple({*tally.changed, *already}), tally.vanished, amended=bool(tally.changed))


def _again(entry: Entry, tally: _Tally) -> Entry:
    if entry.state != "ok":
        return entry
    try:
        now = os.lstat(entry.path)
    except OSError:
        tally.vanished += 1
    else:
        if (now.st_size, now.st_mtime_ns, now.st_ino) == (entry.size, entry.mtime_ns, entry.inode):
            return entry
    tally.changed.append(entry.path)
    return replace(entry, state="changed")
