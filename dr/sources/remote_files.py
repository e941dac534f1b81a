"""The source `files` on a host that has nothing but sshd: copied here by SFTP, hashed as it comes.

The copy lies in the capture's scratch space, so that must hold all of it. SFTP does not say where a file system
ends: the host's own table of mounts does, read like any file. Its times are whole seconds: a file that is written to
while it is copied is seen by its size or by that second.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dr.errors import SourceError
from dr.evidence import manifest
from dr.evidence.manifest import Entry
from dr.evidence.record import Omission
from dr.late_dataclass import dataclass
from dr.plan.source_kinds import FilesSource
from dr.sources import attributes, mounts
from dr.sources.driver import MANIFEST, Kept, Settled, SourceDriver, Tree, shown
from dr.sources.files import excluder_of, specials
from dr.sources.foreseen import foreseen_there
from dr.sources.holdings import Counting, holdings, places_of
from dr.sources.mounts import Mounted
from dr.sources.own_errors import own_errors
from dr.sources.remote_copy import AT_ONCE, Marking, Trip, as_copied
from dr.sources.settle import settled
from dr.sources.sorted_lines import SortedLines
from dr.sources.stored import counts_agree, reconcile
from dr.sources.walk import Excluded
from dr.tools.sftp import Sftp, Status

if TYPE_CHECKING:
    from dr.tools.ssh import SshHost  # loads paramiko

#: What was found and what became of it, in the scratch space.
_FOUND, _COPIED = ".found", ".copied"


class RemoteFiles(SourceDriver):
    """Trees on another host, through its SFTP."""

    kind = "files"

    def __init__(self, name: str, declared: FilesSource, host: SshHost) -> None:
        super().__init__(name)
        self._declared, self._host = declared, host

    def capture(self, work: Path, reuse: Path | None) -> Tree:
        """See `SourceDriver`. Everything is copied each time: no hash is taken from the last manifest."""
        started, top = datetime.now(UTC), work / "tree"
        with self._errors(), self._host.files() as session, ThreadPoolExecutor(AT_ONCE) as pool:
            top.mkdir(mode=0o700)
            mounted = self._mounted(session)
            excluded = excluder_of(self.name, (*self._declared.exclude, *mounted.excludes))
            tops, missing = self._look(session, excluded)
            elsewhere = mounted.elsewhere if self._declared.one_filesystem else frozenset()
            trip = Trip(self.name, session, pool, os.fsencode(top), excluded, elsewhere=elsewhere)
            found = SortedLines(work / _FOUND)
            folders = trip.walk(tops, found)
            if mounted.waiting:  # listing them may have mounted something
                mounted = self._mounted(session)
            places = [os.fsdecode(path) for path, _ in tops]
            counting = Counting(places_of(places, mounted, reuse))
            trip.make(folders, counting.passing(map(manifest.entry_of, found)))
            marking = Marking(self._host, os.fsencode(top))
            copied = SortedLines(work / _COPIED)
            trip.copy(folders, found, marking, into=copied)
            trip.dress([*trip.parents(tops), *folders])
            marking.mark([item.path for item in folders])
            held = holdings(
                lambda places: counting.of(places, lambda: map(manifest.entry_of, found)), places, mounted,
                reuse=reuse, left_out=elsewhere, excluded=excluded,
            )  # fmt: skip
            header = {**manifest.header_of(source=self.name, kind=self.kind, started=started), **held.header}
            header |= {attributes.COVERED: marking.told, manifest.SORTED: True}
            tally = _Tally()
            entries = tally.passing(as_copied(os.fsencode(top), each) for each in map(manifest.entry_of, copied))
            manifest.write_lines(top / MANIFEST, header, map(manifest.line_of, entries))
            found.remove()
            copied.remove()
        unseen = () if marking.told else attributes.unseen(reuse, "are not captured", self._host.name)
        odd = specials((os.fsdecode(path), status.mode) for path, status in tops)
        told = (
            *mounts.left_out(trip.passed),
            *odd,
            *attributes.lost(marking.lost),
            *mounts.not_mounted(mounted.waiting, excluded),
            *held.gone,
        )
        whole = [path for path, _ in tops]
        whole = _children(top) if b"/" in whole else whole
        return Tree(
            paths=tuple(os.fsdecode(path.lstrip(b"/")) for path in whole),
            cwd=top,
            started=started,
            files=tally.files,
            bytes=tally.size,
            unreadable=tuple(map(os.fsdecode, sorted(tally.unreadable))),
            missing=tuple(missing),
            omissions=told,
            emptied=bool(held.gone),
            notes=(*held.notes, *unseen),
            reader=self._host.name,
            settler=lambda kept: _settle(top, header, places, vanished=trip.vanished, changed=tally.changed, kept=kept),
        )

    def omissions(self) -> tuple[Omission, ...]:
        """See `SourceDriver`."""
        with self._errors():
            with self._host.files() as session:
                mounted = self._mounted(session)
            return foreseen_there(self.name, self._declared, self._host, mounted)

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
    top: Path, header: Mapping[str, Any], tops: Sequence[str], *, vanished: int, changed: Sequence[bytes],
    kept: Sequence[Kept],
) -> Settled:  # fmt: skip
    """Hold what restic stored against the copy at `top`, in which nothing comes or goes."""
    if not kept or not (vanished or not counts_agree(manifest.read(top / MANIFEST), tops, kept)):
        return Settled(tuple(changed), vanished)
    place, entries = os.fsencode(top), list(manifest.read(top / MANIFEST))
    held = header.get("held", {})
    found = reconcile(entries, tops, kept, lstat=lambda path: os.lstat(place + path), held=held)
    return settled(top / MANIFEST, header, entries, found, vanished=vanished)


@dataclass
class _Tally:
    """What is counted of the entries of one capture."""

    files: int = 0
    size: int = 0
    unreadable: list[bytes] = field(default_factory=list)
    changed: list[bytes] = field(default_factory=list)

    def passing(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Let entries pass."""
        for entry in entries:
            if entry.state == "unreadable":
                self.unreadable.append(entry.path)
            elif entry.kind == "file":
                self.files, self.size = self.files + 1, self.size + entry.size
            if entry.state == "changed":
                self.changed.append(entry.path)
            yield entry


def _children(top: Path) -> list[bytes]:
    return sorted(name for name in os.listdir(os.fsencode(top)) if name != os.fsencode(MANIFEST))


def _clean(path: str) -> str:
    return posixpath.normpath(path).replace("//", "/")
