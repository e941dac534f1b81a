"""The land a recovery stands on: how data is laid down there and looked at. This machine, or another host.

Manifests, facts and accounts are always kept on this machine: what judges a restore is not what was restored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from dr.errors import DrError
from dr.evidence.manifest_parts import assemble, take
from dr.run.recovery.place import space
from dr.run.recovery.place.programs import ProgramRunner, WorksHere, WorksThere
from dr.run.recovery.place.space import Disk
from dr.run.recovery.place.tree import RestoredTree, TreeHere, TreeThere
from dr.run.workspace.machine import describe_machine
from dr.sources.driver import MANIFEST, RestoredSource, RestoreSlot
from dr.tools import command, retry
from dr.tools.host import Host, ThisHost, script
from dr.tools.restic import Repository

MANIFESTS = ".manifests"
LAID = f"{MANIFEST}.laid"
_TAR = {"LC_ALL": "C"}
_COMPLAINTS = 1_000  # of tar's, so many are kept
#: What GNU's tar calls ACLs and extended attributes; others do not know them.
_KINDS = ("--acls", "--xattrs")
_UNKNOWN = re.compile(rb"(unrecognized|unknown|invalid|illegal) option", re.IGNORECASE)
#: Takes the manifest that came with a tree away again; says whether it did.
_TAKE_AWAY = 'if [ -e "$1" ]; then rm -rf -- "$1" && echo yes; fi;'


class RestoreHost(Protocol):
    """Where data lies. `machine` says of what class it is, `owners` whether it can give files away (root)."""

    @property
    def host(self) -> Host:
        """Where programs run on it."""

    @property
    def works(self) -> ProgramRunner:
        """Where a plan's own programs run on it."""

    @property
    def machine(self) -> str:
        """Its cores, memory and system in words."""

    @property
    def owners(self) -> bool:
        """Whether owners and modes come back there."""

    def aside(self, root: Path) -> Path:
        """Return where what stands beside the data at `root` is kept, on this machine."""

    def make(self, place: Path) -> None:
        """Make a directory, open to its owner alone, unless it is there."""

    def require_space(self, place: Path, size: int) -> None:
        """Raise `DrError` unless `size` bytes fit at `place`."""

    def disk(self, place: Path) -> Disk:
        """Return the disk of a place."""

    def lay(
        self, repository: Repository, snapshot: str, room: RestoreSlot, include: Sequence[str] | Path = ()
    ) -> tuple[str, ...]:
        """Lay a snapshot down in a room, or what restic's patterns `include`, which may be the lines of a file.

        Return what could not be laid whole.
        """

    def manifest(self, repository: Repository, snapshot: str, room: RestoreSlot) -> Path:
        """Bring a tree's manifest alone, before anything else, and return where it is; it may not be there."""

    def settle(self, instance: RestoredSource) -> Path | None:
        """Put in order what was laid down; return the manifest that came with it, if one did."""

    def survey(self, root: Path) -> RestoredTree:
        """Return what lies below `root` now."""


class LocalHost:
    """This machine."""

    host: Host = ThisHost()
    works: ProgramRunner = WorksHere()

    @property
    def machine(self) -> str:
        """See `RestoreHost`."""
        return describe_machine()

    @property
    def owners(self) -> bool:
        """See `RestoreHost`."""
        return os.geteuid() == 0

    def aside(self, root: Path) -> Path:
        """See `RestoreHost`."""
        return root / MANIFESTS

    def make(self, place: Path) -> None:
        """See `RestoreHost`."""
        place.mkdir(mode=0o700, exist_ok=True)

    def require_space(self, place: Path, size: int) -> None:
        """See `RestoreHost`."""
        space.require_space(place, size)

    def disk(self, place: Path) -> Disk:
        """See `RestoreHost`."""
        return space.disk_of(place)

    def lay(
        self, repository: Repository, snapshot: str, room: RestoreSlot, include: Sequence[str] | Path = ()
    ) -> tuple[str, ...]:
        """See `RestoreHost`. Damage stops nothing."""
        return repository.restore(snapshot, room.root, include=include, overwrite="always").errors

    def manifest(self, repository: Repository, snapshot: str, room: RestoreSlot) -> Path:
        """See `RestoreHost`."""
        repository.restore(snapshot, room.root, include=[f"/{MANIFEST}"])
        assemble(room.root / MANIFEST)
        return room.root / MANIFEST

    def settle(self, instance: RestoredSource) -> Path | None:
        """See `RestoreHost`."""
        return instance.settle()

    def survey(self, root: Path) -> RestoredTree:
        """See `RestoreHost`."""
        return TreeHere(root)


HERE = LocalHost()


class RemoteHost:
    """Another host: restic reads here, tar writes there. Of a damaged tree nothing is laid after the damage.

    `kept` is a directory here, for what stands beside the data; `root` the sandbox there. `free` bytes are left.
    """

    def __init__(self, host: Host, *, machine: str, owners: bool, free: int, kept: Path, root: Path) -> None:
        self.host, self.machine, self.owners = host, machine, owners
        self._free, self._kept = free, kept
        self.works: ProgramRunner = WorksThere(host, root / ".dr")

    def aside(self, root: Path) -> Path:
        """See `RestoreHost`."""
        return self._kept / MANIFESTS

    def make(self, place: Path) -> None:
        """See `RestoreHost`."""
        self._sh('umask 077; mkdir -p -- "$1";', str(place), doing="making a directory")

    def require_space(self, place: Path, size: int) -> None:
        """See `RestoreHost`."""
        space.require(size, free=self._free, where=f"{place} on {self.host.name}")

    def disk(self, place: Path) -> Disk:
        """See `RestoreHost`. All of a drill lies on one."""
        return Disk(self.host.name, f"{place} on {self.host.name}", self._free)

    def lay(
        self, repository: Repository, snapshot: str, room: RestoreSlot, include: Sequence[str] | Path = ()
    ) -> tuple[str, ...]:
        """See `RestoreHost`."""
        if include:
            return self._lay_some(repository, snapshot, room, include)
        complaints = self._unpack(lambda: repository.reading(snapshot, "/"), room.root)
        came = self._sh(_TAKE_AWAY, str(room.root / MANIFEST), doing="taking the manifest away")
        if came:
            self.manifest(repository, snapshot, room)
        return complaints

    def manifest(self, repository: Repository, snapshot: str, room: RestoreSlot) -> Path:
        """See `RestoreHost`: from the repository, whatever that host has of it."""
        listed = room.apart / LAID
        with repository.reading(snapshot, f"/{MANIFEST}") as chunks:
            take(chunks, listed)
        return listed

    def settle(self, instance: RestoredSource) -> Path | None:
        """See `RestoreHost`."""
        listed = instance.room.apart / LAID
        return listed if listed.is_file() else None

    def survey(self, root: Path) -> RestoredTree:
        """See `RestoreHost`."""
        return TreeThere(self.host, root, aside=self._kept)

    def _lay_some(
        self, repository: Repository, snapshot: str, room: RestoreSlot, include: Sequence[str] | Path
    ) -> tuple[str, ...]:
        """Lay some files down: restic picks them here, and they go on from here."""
        with TemporaryDirectory(dir=self._kept, prefix=".some-") as folder:
            errors = repository.restore(snapshot, Path(folder), include=include, overwrite="always").errors
            complaints = self._unpack(lambda: packed(folder), room.root)
        return errors + complaints

    def _unpack(self, opened: Callable[[], AbstractContextManager[Iterator[bytes]]], root: Path) -> tuple[str, ...]:
        """Send a tar there and unpack it; return what tar complained of. Its end is sent only when it came whole.

        ACLs and extended attributes come along where tar knows them; those that only root may give, only as root.
        """
        which = "*" if self.owners else "user.*"
        for more in ((*_KINDS, f"--xattrs-include={which}"), ()):
            done = retry.persist(partial(self._unpacked, opened, root, more), what=self.host.name)
            if not (more and done.code and _UNKNOWN.search(done.stderr)):
                break
        if done.code == 0:
            return ()
        lines = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        if done.code not in (1, 2) or not lines:
            raise DrError(f"tar failed on {self.host.name}", str(root), done.last_words, hint="run tar there and see")
        return tuple(lines[:_COMPLAINTS])

    def _unpacked(
        self, opened: Callable[[], AbstractContextManager[Iterator[bytes]]], root: Path, more: Sequence[str]
    ) -> command.Done:
        argv = ["tar", "-x", "-p", "-f", "-", "--numeric-owner", *more]
        with opened() as chunks, self.host.start(argv, env=_TAR, cwd=str(root), feed=True) as unpacking:
            for chunk in chunks:
                command.raise_if_stopping()
                try:
                    unpacking.write(chunk)
                except OSError:
                    break  # it has ended: `finish` says why
            else:
                unpacking.end_input()
            return unpacking.finish()

    def _sh(self, text: str, *arguments: str, doing: str) -> bytes:
        done = self.host.run(script(text, *arguments))
        if done.code != 0:
            raise DrError(f"{doing} failed on {self.host.name}", cause=done.last_words, hint="see its disk")
        return done.stdout


@contextmanager
def packed(folder: str) -> Iterator[Iterator[bytes]]:
    """Give the bytes of a tar of a directory here. Raises `DrError` when it is not whole."""
    argv = ["tar", "-c", *_KINDS, "--xattrs-include=*", "-f", "-", "-C", folder, "."]

    def chunks() -> Iterator[bytes]:
        while block := packing.read():
            yield block
        done = packing.finish()
        if done.code != 0:
            raise DrError("what was restored cannot be packed", folder, done.last_words, hint="run tar by hand")

    with command.Running(argv) as packing:
        yield chunks()
