"""The source `files` on a host that has nothing but sshd: copied here by SFTP, hashed as it comes.

The copy lies in the capture's scratch space, so that must hold all of it. SFTP does not say where a file system
ends: the host's own table of mounts does, read like any file. Its times are whole seconds: a file that is written to
while it is copied is seen by its size or by that second.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dr.errors import SourceError
from dr.evidence import manifest
from dr.evidence.record import Omission
from dr.plan.source_kinds import FilesSource
from dr.sources import attributes, mounts
from dr.sources.driver import MANIFEST, SourceDriver, Tree
from dr.sources.files import excluder_of, specials
from dr.sources.holdings import Counting, holdings, places_of
from dr.sources.own_errors import own_errors
from dr.sources.remote_copy import AT_ONCE, Marking, Trip, as_copied
from dr.sources.remote_look import foreseen_there, look_there, mounted_there
from dr.sources.remote_settle import CopyTally, settle_copy
from dr.sources.sorted_lines import SortedLines

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
            mounted = mounted_there(self.name, self._declared, self._host, session)
            excluded = excluder_of(self.name, (*self._declared.exclude, *mounted.excludes))
            tops, missing = look_there(self.name, self._declared, self._host, session, excluded)
            elsewhere = mounted.elsewhere if self._declared.one_filesystem else frozenset()
            trip = Trip(self.name, session, pool, os.fsencode(top), excluded, elsewhere=elsewhere)
            found = SortedLines(work / _FOUND)
            folders = trip.walk(tops, found)
            if mounted.waiting:  # listing them may have mounted something
                mounted = mounted_there(self.name, self._declared, self._host, session)
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
            tally = CopyTally()
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
            settler=lambda kept: settle_copy(
                top, header, places, vanished=trip.vanished, changed=tally.changed, kept=kept
            ),
        )

    def omissions(self) -> tuple[Omission, ...]:
        """See `SourceDriver`."""
        with self._errors():
            with self._host.files() as session:
                mounted = mounted_there(self.name, self._declared, self._host, session)
            return foreseen_there(self.name, self._declared, self._host, mounted)

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


def _children(top: Path) -> list[bytes]:
    return sorted(name for name in os.listdir(os.fsencode(top)) if name != os.fsencode(MANIFEST))
