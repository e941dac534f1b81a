"""The source `files`: directory trees and single files, hashed by us before restic walks them."""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dr.errors import DamageError, SourceError
from dr.evidence import manifest
from dr.evidence.manifest import Entry, Kind
from dr.evidence.record import Omission
from dr.plan.source_kinds import FilesSource
from dr.sources import mounts
from dr.sources.attributes import COVERED, digest_here
from dr.sources.driver import MANIFEST, Kept, Settled, SourceDriver, Tree, shown
from dr.sources.holdings import holdings
from dr.sources.stored import Reconciled, counts_agree, reconcile
from dr.sources.walk import Excluded, excluder, literally, walk
from dr.tools import command
from dr.tools.digest import NotAFileError, in_threads, open_file, sha256_open

#: A file touched so shortly before its hash was taken may have changed within one tick of its clock.
_RACY_NS = 2_000_000_000
_Stamp = tuple[int, int, int, int, int]  # size, mtime, ctime, inode, device: while equal, so is the content
_Known = Mapping[bytes, tuple[_Stamp, str, str | None]]  # stamp, hash, and the digest of its attributes
#: Not in a manifest of an older release.
_UNREAD = "?"


class Files(SourceDriver):
    """Trees on this host."""

    kind = "files"

    def __init__(self, name: str, declared: FilesSource, *, scratch: Sequence[Path] = ()) -> None:
        super().__init__(name)
        self._declared = declared
        self._excludes = excludes_of(declared, scratch)

    def capture(self, work: Path, reuse: Path | None) -> Tree:
        """See `SourceDriver`. Reads every file once, but for those unchanged since the last manifest."""
        started = datetime.now(UTC)
        mounted = mounts.here(map(os.fsencode, cleaned(self._declared.paths)))
        excludes = (*self._excludes, *mounted.excludes)
        excluded = excluder_of(self.name, excludes)
        there, missing = look(self.name, self._declared.paths, excluded)
        unreadable: set[bytes] = set()
        elsewhere: set[bytes] = set()
        found = walk(
            [os.fsencode(path) for path in there],
            excluded=excluded,
            one_filesystem=self._declared.one_filesystem,
            unreadable=unreadable.add,
            elsewhere=elsewhere.add,
        )
        known = last_known(reuse)
        listed = [_entry(path, status, known) for path, status in found]
        entries, vanished = _hashed(listed, unreadable)
        unreadable |= {entry.path for entry in entries if entry.state == "unreadable"}
        if mounted.waiting:  # walking them may have mounted something
            mounted = mounts.here(mounted.tops)
        elsewhere -= {mount.point for mount in mounted.pseudo}
        held = holdings(listed, there, mounted, reuse=reuse, left_out=elsewhere, excluded=excluded)
        header = {**manifest.header_of(source=self.name, kind=self.kind, started=started), COVERED: True, **held.header}
        manifest.write(work / MANIFEST, header, entries)
        declared = {entry.path: entry.mode for entry in entries if entry.kind == "other"}
        odd = specials((path, declared.get(os.fsencode(path), 0)) for path in there)
        told = (*mounts.left_out(elsewhere), *mounts.not_mounted(mounted.waiting, excluded), *odd, *held.gone)
        sizes = [entry.size for entry in entries if entry.kind == "file" and entry.state != "unreadable"]
        return Tree(
            paths=tuple(there),
            cwd=work,
            started=started,
            files=len(sizes),
            bytes=sum(sizes),
            excludes=excludes,
            one_filesystem=self._declared.one_filesystem,
            unreadable=tuple(os.fsdecode(path) for path in sorted(unreadable)),
            missing=tuple(missing),
            omissions=told,
            emptied=bool(held.gone),
            notes=held.notes,
            reader=_whoami(),
            settler=lambda kept: settle(
                work / MANIFEST, header, entries, vanished=vanished, attributes=digest_here, kept=kept, tops=there
            ),
        )

    def omissions(self) -> tuple[Omission, ...]:
        """See `SourceDriver`: the declared paths and what is mounted below, without walking them."""
        mounted = mounts.here(map(os.fsencode, cleaned(self._declared.paths)))
        return foreseen(self.name, self._declared, mounted, self._excludes)


def foreseen(
    name: str,
    declared: FilesSource,
    mounted: mounts.Mounted,
    excludes: Sequence[str],
    *,
    lstat: Callable[[str], os.stat_result] = os.lstat,
    real: Callable[[str], str] = os.path.realpath,
) -> tuple[Omission, ...]:
    """Return what a capture made now would not take, by its declared paths and what is mounted below.

    Nothing is walked. Raises `SourceError` when there is nothing to capture.
    """
    excluded = excluder_of(name, (*excludes, *mounted.excludes))
    there, missing = look(name, declared.paths, excluded, lstat=lstat, real=real)
    elsewhere = mounted.elsewhere if declared.one_filesystem else ()
    left_out = mounts.left_out(point for point in elsewhere if not excluded(point))
    odd = specials((path, lstat(path).st_mode) for path in there)
    return (*not_there(missing), *left_out, *odd, *mounts.not_mounted(mounted.waiting, excluded))


def not_there(missing: Sequence[str]) -> tuple[Omission, ...]:
    """Say which declared paths are not there, or are left out by the plan's own excludes."""
    if not missing:
        return ()
    what = f"{len(missing)} declared path(s) are not there: {', '.join(missing)}"
    return (Omission(what=what, hint="mount its disk, or correct `paths` in the plan", names=tuple(missing)),)


def _whoami() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"


def excludes_of(declared: FilesSource, scratch: Sequence[Path]) -> tuple[str, ...]:
    """Return a plan's excludes, and those of this program's own places: no one's data. restic leaves out its cache."""
    within = [path for path in scratch if any(_holds(_clean(top), path) for top in declared.paths)]
    return (*declared.exclude, *(literally(str(path)) for path in within))


def excluder_of(name: str, patterns: Sequence[str]) -> Excluded:
    """Return whether a path is excluded; `SourceError` for a pattern that is none."""
    try:
        return excluder(patterns)
    except ValueError as error:
        raise SourceError(
            f"the exclude {str(error)!r} is not a pattern: a bracket or a backslash is left open",
            name,
            hint="close it, or write a backslash before a bracket that is meant as such",
        ) from error


def look(
    name: str,
    paths: Sequence[str],
    excluded: Excluded,
    *,
    lstat: Callable[[str], os.stat_result] = os.lstat,
    real: Callable[[str], str] = os.path.realpath,
) -> tuple[list[str], list[str]]:
    """Split the declared paths into those to capture and those not. restic would skip the latter silently."""
    there, missing = [], []
    for path in cleaned(paths):
        try:
            status = lstat(path)
        except (OSError, ValueError):
            missing.append(path)
            continue
        if stat.S_ISLNK(status.st_mode):
            raise SourceError(
                f"{shown(path)} is a symbolic link, and a backup would hold the link alone",
                name,
                hint=f"declare the real path: {shown(real(path))}",
            )
        if excluded(os.fsencode(path)):
            missing.append(f"{path} (left out by an exclude)")
            continue
        there.append(path)
    if not there:
        names = ", ".join(map(shown, missing))
        raise SourceError(
            f"no declared path is there: {names}", name, hint="mount the disk, or correct the paths or excludes"
        )
    return there, missing


_SPECIAL = {
    stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}  # fmt: skip


def specials(found: Iterable[tuple[str, int]]) -> tuple[Omission, ...]:
    """Say which declared paths, each with its mode, are nothing whose content is stored."""
    named = [(shown(path), _SPECIAL.get(stat.S_IFMT(mode)), stat.S_ISBLK(mode)) for path, mode in found]
    return tuple(
        Omission(
            what=f"{path} is {kind}: nothing of what it gives is stored",
            hint="declare directories or files; what a device or a pipe gives is stored by a source of kind `command`",
            names=(path,),
            partial=device,  # a disk holds data that somebody expects to be stored
        )
        for path, kind, device in named
        if kind
    )


def cleaned(paths: Sequence[str]) -> list[str]:
    """Return paths as restic has them, each once."""
    return list(dict.fromkeys(map(_clean, paths)))


def _holds(top: str, path: Path) -> bool:
    return path.is_relative_to(top) or Path(top).is_relative_to(path)


def _clean(path: str) -> str:
    return os.path.normpath(path).replace("//", "/")


def _entry(path: bytes, status: os.stat_result, known: _Known) -> Entry:
    return entry_of(path, status, known, read_link=_read_link, attributes=digest_here)


def entry_of(
    path: bytes,
    status: os.stat_result,
    known: _Known,
    *,
    read_link: Callable[[bytes], bytes | None],
    attributes: Callable[[bytes], str | None],
) -> Entry:
    """Return what is at `path`, with its hash when that is known already."""
    kind: Kind = "other"
    size, digest, target = 0, None, None
    marked: str | None = _UNREAD
    if stat.S_ISREG(status.st_mode):
        kind, size = "file", status.st_size
        before = known.get(path)
        if before and before[0] == (size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev):
            digest, marked = before[1:]
    elif stat.S_ISDIR(status.st_mode):
        kind = "dir"
    elif stat.S_ISLNK(status.st_mode):
        kind, target = "link", read_link(path)
    return Entry(
        path, kind, size, digest, status.st_mode,
        status.st_uid, status.st_gid, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev, target,
        attributes=attributes(path) if marked == _UNREAD else marked,
    )  # fmt: skip


def _read_link(path: bytes) -> bytes | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def last_known(reuse: Path | None) -> _Known:
    """Return the hashes of the last manifest that still count; none when it cannot be read."""
    if reuse is None:
        return {}
    try:
        header = manifest.header(reuse)
        started, covered = datetime.fromisoformat(header["started"]), bool(header.get(COVERED))
        settled = int(started.timestamp() * 1e9) - _RACY_NS
        return {
            e.path: (
                (e.size, e.mtime_ns, e.ctime_ns, e.inode, e.device),
                e.sha256,
                e.attributes if covered else _UNREAD,
            )
            for e in manifest.read(reuse)
            if e.sha256 and e.state == "ok" and max(e.mtime_ns, e.ctime_ns) < settled
        }
    except (DamageError, KeyError, TypeError, ValueError):
        return {}  # costs a full read, nothing else


def _hashed(entries: list[Entry], unlisted: set[bytes]) -> tuple[list[Entry], int]:
    """Hash the files whose hash is not known; return what is there, and how many files vanished."""
    todo = [i for i, entry in enumerate(entries) if entry.kind == "file" and entry.sha256 is None]
    result: list[Entry | None] = list(entries)
    for i, hashed in zip(todo, in_threads(_hash, [entries[i] for i in todo]), strict=True):
        result[i] = hashed
    kept = [entry for entry in result if entry is not None]
    if unlisted:
        kept = [entry._replace(state="unreadable") if entry.path in unlisted else entry for entry in kept]
    return kept, len(entries) - len(kept)


def _hash(entry: Entry) -> Entry | None:
    """Read one file; None when it vanished. One that is not the same before and after is `changed`, never wrong."""
    if command.stopping():
        command.raise_if_stopping()
    try:
        descriptor = open_file(entry.path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except NotAFileError:
        return entry._replace(state="changed")
    except OSError as error:
        became_a_link = error.errno == errno.ELOOP
        return entry._replace(state="changed" if became_a_link else "unreadable")
    try:
        digest, size = sha256_open(descriptor)
        after = os.fstat(descriptor)
    except NotAFileError:
        return entry._replace(state="changed")
    except OSError:
        return entry._replace(state="unreadable")
    finally:
        os.close(descriptor)
    if size != entry.size or _differs(entry, after):
        return entry._replace(size=size, sha256=digest, state="changed")
    return entry._replace(sha256=digest)


def _differs(entry: Entry, now: os.stat_result) -> bool:
    """Whether what is there now is another thing, or has other content, owner or mode."""
    if entry.mode != now.st_mode or entry.uid != now.st_uid or entry.gid != now.st_gid:
        return True
    if entry.kind == "dir":  # its times follow what comes and goes in it
        return False
    if entry.inode != now.st_ino:
        return True
    if entry.kind == "other":
        return False
    size = now.st_size if entry.kind == "file" else entry.size
    return (entry.size, entry.mtime_ns, entry.ctime_ns) != (size, now.st_mtime_ns, now.st_ctime_ns)


def _marked_anew(entry: Entry, now: os.stat_result, attributes: Callable[[bytes], str | None] | None) -> bool:
    """Whether a directory has other attributes: its times alone do not tell."""
    if attributes is None or entry.kind != "dir" or entry.ctime_ns == now.st_ctime_ns:
        return False
    return attributes(entry.path) != entry.attributes


def settle(
    path: Path,
    header: Mapping[str, Any],
    entries: list[Entry],
    *,
    vanished: int = 0,
    lstat: Callable[[bytes], os.stat_result] = os.lstat,
    attributes: Callable[[bytes], str | None] | None = None,
    kept: Sequence[Kept] = (),
    tops: Sequence[str] = (),
) -> Settled:
    """Look again at every entry after restic has ended; the manifest says which differ, rewritten if need be.

    restic may have stored them as they were, as they are, or not at all: no one content can be claimed. Where
    something came or went, or restic counted otherwise than we, the snapshots `kept` of the paths `tops` are listed.
    `vanished` files were gone before they could be hashed. Raises what listing a snapshot raises.
    """
    fresh: dict[int, Entry] = {}
    gone, stirred = 0, vanished > 0
    for i, entry in enumerate(entries):
        if entry.state != "ok":
            continue
        try:
            now = lstat(entry.path)
            stirred = stirred or (entry.kind == "dir" and entry.ctime_ns != now.st_ctime_ns)
            if not _differs(entry, now) and not _marked_anew(entry, now, attributes):
                continue
        except (FileNotFoundError, NotADirectoryError):
            gone += 1
        except OSError:
            pass  # out of reach now: nothing can be claimed either
        fresh[i] = entry._replace(state="changed")
    after = [fresh.get(i, entry) for i, entry in enumerate(entries)] if fresh else entries
    if kept and (stirred or gone or not counts_agree(after, tops, kept)):
        found = reconcile(after, tops, kept, lstat=lstat, held=header.get("held", {}))
    else:
        found = Reconciled(after)
    return settled(path, header, entries, found, vanished=vanished + gone)


def settled(
    path: Path, header: Mapping[str, Any], before: list[Entry], found: Reconciled, *, vanished: int = 0
) -> Settled:
    """Write the manifest again where the entries are not those from `before`; return how the tree stood."""
    after = found.entries
    amended = after is not before and after != before
    if amended:
        manifest.write(path, header, after)
    listed = after[: len(after) - found.came]
    return Settled(
        tuple(e.path for e in listed if e.state == "changed"),
        vanished + found.gone,
        amended=amended,
        appeared=found.came,
        unstored=found.unstored,
        omissions=found.omissions,
    )
