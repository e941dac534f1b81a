"""The source `files`: directory trees and single files, hashed by us before restic walks them."""

from __future__ import annotations

import os
import posixpath
import pwd
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import field
from datetime import UTC, datetime
from pathlib import Path

from dr.errors import SourceError
from dr.evidence import manifest
from dr.evidence.manifest import Entry, Kind
from dr.evidence.record import Omission
from dr.late_dataclass import dataclass
from dr.plan.source_kinds import FilesSource
from dr.sources import mounts
from dr.sources.attributes import COVERED, digest_here
from dr.sources.driver import MANIFEST, SourceDriver, Tree, shown
from dr.sources.hashing import hashed
from dr.sources.holdings import Counting, holdings, places_of
from dr.sources.last_hashes import LastHashes, Unchanged
from dr.sources.settle import settle
from dr.sources.walk import Excluded, Found, excluder, literally, walk

_BODY = ".listed"


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
            aside=work,
        )
        last, counting = LastHashes(reuse), Counting(places_of(there, mounted, reuse))
        listed = counting.passing(_entries(found, last, unreadable))
        tally, body = _Tally(frozenset(map(os.fsencode, there))), work / _BODY
        with body.open("wb") as file:
            file.writelines(map(_line, tally.passing(hashed(listed))))
        unreadable |= tally.unreadable
        if mounted.waiting:  # walking them may have mounted something
            mounted = mounts.here(mounted.tops)
        elsewhere -= {mount.point for mount in mounted.pseudo}
        held = holdings(
            lambda places: counting.of(places, lambda: _read(body)), there, mounted,
            reuse=reuse, left_out=elsewhere, excluded=excluded,
        )  # fmt: skip
        header = {**manifest.header_of(source=self.name, kind=self.kind, started=started), COVERED: True, **held.header}
        with body.open("rb") as file:
            manifest.write_lines(work / MANIFEST, {**header, manifest.SORTED: True}, file)
        body.unlink()
        odd = specials((path, tally.odd.get(os.fsencode(path), 0)) for path in there)
        told = (*mounts.left_out(elsewhere), *mounts.not_mounted(mounted.waiting, excluded), *odd, *held.gone)
        return Tree(
            paths=tuple(there),
            cwd=work,
            started=started,
            files=tally.files,
            bytes=tally.size,
            excludes=excludes,
            one_filesystem=self._declared.one_filesystem,
            unreadable=tuple(os.fsdecode(path) for path in sorted(unreadable)),
            missing=tuple(missing),
            omissions=told,
            emptied=bool(held.gone),
            notes=held.notes,
            reader=_whoami(),
            settler=lambda kept: settle(
                work / MANIFEST, vanished=tally.vanished, attributes=digest_here, kept=kept, tops=there
            ),
        )

    def omissions(self) -> tuple[Omission, ...]:
        """See `SourceDriver`: the declared paths and what is mounted below, without walking them."""
        mounted = mounts.here(map(os.fsencode, cleaned(self._declared.paths)))
        return foreseen(self.name, self._declared, mounted, self._excludes)


class SourceHost:
    """Where declared paths are looked at: this host, or another one, which has a name."""

    name = ""

    def mode(self, path: str) -> int:
        """Return the type and the rights of what is at `path`, of a link those of itself. Raises `OSError`."""
        return os.lstat(path).st_mode

    def led_to(self, path: str) -> str:
        """Return the path that a link leads to."""
        return os.path.realpath(path)


class RemoteSourceHost(SourceHost):
    """Another host, by its own words: what it says of a path, and of the target of a link."""

    def __init__(self, name: str, mode: Callable[[bytes], int], target: Callable[[bytes], bytes]) -> None:
        self.name, self._mode, self._target = name, mode, target

    def mode(self, path: str) -> int:
        """See `SourceHost`."""
        return self._mode(os.fsencode(path))

    def led_to(self, path: str) -> str:
        """See `SourceHost`: one step."""
        target = os.fsdecode(self._target(os.fsencode(path)))
        return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))


def foreseen(
    name: str,
    declared: FilesSource,
    mounted: mounts.Mounted,
    excludes: Sequence[str],
    *,
    host: SourceHost | None = None,
) -> tuple[Omission, ...]:
    """Return what a capture made now would not take, by its declared paths and what is mounted below.

    Nothing is walked. Raises `SourceError` when there is nothing to capture.
    """
    host = host or SourceHost()
    excluded = excluder_of(name, (*excludes, *mounted.excludes))
    there, missing = look(name, declared.paths, excluded, host)
    elsewhere = mounted.elsewhere if declared.one_filesystem else ()
    left_out = mounts.left_out(point for point in elsewhere if not excluded(point))
    odd = specials((path, host.mode(path)) for path in there)
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
    name: str, paths: Sequence[str], excluded: Excluded, host: SourceHost | None = None
) -> tuple[list[str], list[str]]:
    """Split the declared paths into those to capture and those not. restic would skip the latter silently.

    Raises:
        SourceError: a path is a symbolic link, or none is to be captured.
    """
    host = host or SourceHost()
    where = f"on {host.name}" if host.name else "there"
    there, missing = [], []
    for path in cleaned(paths):
        try:
            mode = host.mode(path)
        except (OSError, ValueError):
            missing.append(path)
            continue
        if stat.S_ISLNK(mode):
            named = f"{shown(path)} {where}" if host.name else shown(path)
            raise SourceError(
                f"{named} is a symbolic link, and a backup would hold the link alone",
                name,
                hint=f"declare the real path: {shown(host.led_to(path))}",
            )
        if excluded(os.fsencode(path)):
            missing.append(f"{path} (left out by an exclude)")
            continue
        there.append(path)
    if not there:
        names = ", ".join(map(shown, missing))
        raise SourceError(
            f"no declared path is {where}: {names}",
            name,
            hint="mount the disk, or correct the paths or excludes",
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


def _entries(found: Iterable[Found], last: LastHashes, unreadable: Collection[bytes]) -> Iterator[Entry | Unchanged]:
    """Yield what is there, with the hashes that are known; what cannot be listed is `unreadable` before it comes."""
    for path, status in found:
        if stat.S_ISREG(status.st_mode) and (same := last.unchanged(path, status)):
            yield same
            continue
        entry = entry_of(path, status, last, read_link=_read_link, attributes=digest_here, when_read=True)
        yield entry._replace(state="unreadable") if path in unreadable else entry


def entry_of(
    path: bytes,
    status: os.stat_result,
    last: LastHashes,
    *,
    read_link: Callable[[bytes], bytes | None],
    attributes: Callable[[bytes], str | None],
    when_read: bool = False,
) -> Entry:
    """Return what is at `path`, with its hash when that is known already. Each path comes after the one before.

    With `when_read` the attributes of a file whose hash is not known are not asked for: whoever reads it does.
    """
    kind: Kind = "other"
    size, digest, target = 0, None, None
    before = None
    if stat.S_ISREG(status.st_mode):
        kind, size = "file", status.st_size
        before = last.of(path)
        if before and not _untouched(before, status):
            before = None
        digest = before.sha256 if before else None
    elif stat.S_ISDIR(status.st_mode):
        kind = "dir"
    elif stat.S_ISLNK(status.st_mode):
        kind, target = "link", read_link(path)
    return Entry(
        path, kind, size, digest, status.st_mode,
        status.st_uid, status.st_gid, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev, target,
        attributes=before.attributes if before and last.covered
        else None if when_read and kind == "file" and not before
        else attributes(path),
    )  # fmt: skip


def _untouched(before: Entry, now: os.stat_result) -> bool:
    """Whether a file has the content, and the attributes, that were captured: while these are equal it has."""
    stamp = (before.size, before.mtime_ns, before.ctime_ns, before.inode, before.device)
    return stamp == (now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino, now.st_dev)


def _read_link(path: bytes) -> bytes | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


@dataclass
class _Tally:
    """What is counted of the entries of one capture: `odd` are those of the declared paths `tops` that are no trees."""

    tops: frozenset[bytes]
    files: int = 0
    size: int = 0
    vanished: int = 0
    unreadable: set[bytes] = field(default_factory=set)
    odd: dict[bytes, int] = field(default_factory=dict)

    def passing(self, entries: Iterable[Entry | Unchanged | None]) -> Iterator[Entry | Unchanged]:
        """Let what is there pass; what vanished is None."""
        for entry in entries:
            if entry is None:
                self.vanished += 1
                continue
            if isinstance(entry, Unchanged):
                self.files += 1
                self.size += entry.size
            elif entry.state == "unreadable":
                self.unreadable.add(entry.path)
            elif entry.kind == "file":
                self.files += 1
                self.size += entry.size
            elif entry.kind == "other" and entry.path in self.tops:
                self.odd[entry.path] = entry.mode
            yield entry


def _read(body: Path) -> Iterator[Entry]:
    with body.open("rb") as file:
        yield from map(manifest.entry_of, file)


def _line(entry: Entry | Unchanged) -> bytes:
    return entry.line if isinstance(entry, Unchanged) else manifest.line_of(entry)
