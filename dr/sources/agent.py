"""The doors of sources on a host where restic runs itself (`mode: agent`): only manifests come here."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dr.errors import (
    DamageError,
    DrError,
    InterruptedRunError,
    LockedError,
    NoRepositoryError,
    RefusedError,
    SourceError,
    TargetDownError,
)
from dr.evidence import manifest
from dr.evidence.attributes import digest_of
from dr.evidence.manifest import Entry, spelt
from dr.evidence.record import Omission
from dr.late_dataclass import dataclass
from dr.plan.source_kinds import FilesSource
from dr.sources import attributes, mounts
from dr.sources.attributes import COVERED, Attributes, attributes_there
from dr.sources.driver import MANIFEST, AgentCapture, Kept, RestoredSource, RestoreSlot, Sent, SourceDriver
from dr.sources.files import cleaned, entry_of, excluder_of, excludes_of, look, specials
from dr.sources.foreseen import foreseen_there
from dr.sources.holdings import count, holdings
from dr.sources.last_hashes import LastHashes
from dr.sources.listing import Listing, hash_files, list_trees
from dr.sources.mounts import Mounted
from dr.sources.own_errors import own_errors
from dr.sources.settle import settle
from dr.sources.tables import Beside
from dr.sources.walk import Excluded
from dr.tools import command
from dr.tools.agent import PLACE, Agent, Placed
from dr.tools.restic import Repository

if TYPE_CHECKING:
    pass  # loads paramiko

#: What another target may do better; everything else is the source's own fault, or its host's.
_OF_THE_TARGET = (TargetDownError, RefusedError, LockedError, NoRepositoryError, DamageError)


class AgentFiles(SourceDriver):
    """Trees on the agent's host."""

    kind = "files"

    def __init__(self, name: str, declared: FilesSource, agent: Agent) -> None:
        super().__init__(name)
        self._declared, self._agent = declared, agent

    def capture(self, work: Path, reuse: Path | None) -> AgentCapture:
        """See `SourceDriver`. Every file is read once by us, but for those unchanged since the last manifest."""
        with own_errors(self.name):
            placed = self._agent.placed()
            trees = self._trees(placed)
            first = trees.list()
            there, missing = self._look(trees, first)
            if trees.mounted.waiting:  # listing them may have mounted something
                trees = replace(trees, mounted=self._mounted())
            last, marked = LastHashes(reuse), attributes_there(self._agent.host, list(first.found))
            entries = [
                entry_of(path, first.found[path], last, read_link=first.links.get, attributes=_digests(marked))
                for path in sorted(first.found, key=spelt)
            ]
            todo = [entry.path for entry in entries if entry.kind == "file" and entry.sha256 is None]
            at_once = min(placed.cores, self._agent.host.login.at_once)
            digests = hash_files(self._agent.host, todo, at_once=at_once)
        entries = [e._replace(sha256=digests[e.path]) if e.path in digests else e for e in entries]
        # By that host's clock: file times are, and whether the last hashes still count is told by them.
        header = manifest.header_of(source=self.name, kind=self.kind, started=placed.now)
        header |= {COVERED: marked is not None}
        return _SentTrees(
            replace(trees, tops=there), work / MANIFEST, header, entries, first=first, missing=missing, reuse=reuse
        )

    def omissions(self) -> tuple[Omission, ...]:
        """See `SourceDriver`. Nothing is placed there."""
        with own_errors(self.name):
            return foreseen_there(self.name, self._declared, self._agent.host, self._mounted())

    def _trees(self, placed: Placed) -> _Trees:
        declared, mounted = self._declared, self._mounted()
        excludes = (*excludes_of(declared, [Path(placed.home, PLACE)]), *mounted.excludes)
        excluded = excluder_of(self.name, excludes)
        return _Trees(self._agent, cleaned(declared.paths), excluded, excludes, declared.one_filesystem, mounted)

    def _mounted(self) -> Mounted:
        """Return what is mounted there; nothing where its kernel has no such table."""
        table = self._agent.host.run(["cat", mounts.TABLE])
        tops = map(os.fsencode, cleaned(self._declared.paths))
        return mounts.mounted(table.stdout if table.code == 0 else b"", tops)

    def _look(self, trees: _Trees, first: Listing) -> tuple[list[str], list[str]]:
        return look(
            self.name,
            trees.tops,
            trees.excluded,
            lstat=lambda path: first.lstat(os.fsencode(path)),
            real=lambda path: _led_to(path, first),
        )


@dataclass(frozen=True)
class _Trees:
    agent: Agent
    tops: list[str]
    excluded: Excluded
    excludes: tuple[str, ...]
    one_filesystem: bool
    mounted: Mounted

    def list(self) -> Listing:
        return list_trees(
            self.agent.host, self.tops, excluded=self.excluded, one_filesystem=self.one_filesystem,
            passed_by=[mount.point for mount in self.mounted.pseudo],
        )  # fmt: skip


class _SentTrees(AgentCapture):
    """Trees, listed and hashed; restic stores them there, and then they are listed again."""

    def __init__(
        self,
        trees: _Trees,
        path: Path,
        header: dict[str, Any],
        entries: list[Entry],
        *,
        first: Listing,
        missing: list[str],
        reuse: Path | None,
    ) -> None:
        self.host = trees.agent.host.name
        self._trees, self._path, self._header, self._missing = trees, path, header, missing
        self._reuse, self._elsewhere = reuse, first.elsewhere - {mount.point for mount in trees.mounted.pseudo}
        shut = frozenset(first.unreadable)
        self._entries = [e._replace(state="unreadable") if e.path in shut else e for e in entries]
        self._unreadable = shut

    def send(self, repository: Repository, tags: Mapping[str, str]) -> Sent:
        """See `AgentCapture`."""
        trees, name = self._trees, str(self._header["source"])
        with blame(name):
            stored = trees.agent.backup_tree(
                repository, trees.tops, tags=tags, excludes=trees.excludes, one_filesystem=trees.one_filesystem
            )
            after = trees.list()
        entries, vanished = _judged(self._entries, after)
        held = holdings(
            lambda places: count(self._entries, places), trees.tops, trees.mounted,
            reuse=self._reuse, left_out=self._elsewhere, excluded=trees.excluded,
        )  # fmt: skip
        header = {**self._header, **held.header}
        manifest.write_sorted(self._path, header, entries)
        kept = [Kept(stored.files, stored.dirs, lambda: repository.nodes(stored.snapshot_id))]
        with blame(name):
            settled = settle(self._path, vanished=vanished, lstat=after.lstat, kept=kept, tops=trees.tops)
        left_out = mounts.left_out(self._elsewhere)
        told = bool(self._header[COVERED])
        unseen = () if told else attributes.unseen(self._reuse, "are stored and not compared", self.host)
        odd = specials(
            (top, after.tops[path].st_mode) for top in trees.tops if (path := os.fsencode(top)) in after.tops
        )
        sizes = [entry.size for entry in entries if entry.kind == "file" and entry.state != "unreadable"]
        unreadable = self._unreadable | {entry.path for entry in entries if entry.state == "unreadable"}
        unreadable |= {path for path in map(os.fsencode, (*stored.unreadable, *stored.skipped)) if path in after.found}
        return Sent(
            stored=stored,
            files=len(sizes),
            bytes=sum(sizes),
            settled=settled.without(map(os.fsdecode, unreadable)),
            unreadable=tuple(os.fsdecode(path) for path in sorted(unreadable)),
            missing=tuple(self._missing),
            omissions=(*left_out, *odd, *mounts.not_mounted(trees.mounted.waiting, trees.excluded), *held.gone),
            emptied=bool(held.gone),
            notes=(*held.notes, *unseen),
            reader=self.host,
        )


def _digests(marked: Mapping[bytes, Attributes] | None) -> Callable[[bytes], str | None]:
    known = {path: digest_of(found) for path, found in (marked or {}).items()}
    return known.get


def _led_to(path: str, listing: Listing) -> str:
    """Return where a link leads, by its own words."""
    target = os.fsdecode(listing.links.get(os.fsencode(path), b""))
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))


def _judged(entries: list[Entry], after: Listing) -> tuple[list[Entry], int]:
    """Judge the files that could not be hashed: still there, so unreadable, or gone; return how many went."""
    kept = []
    for entry in entries:
        if entry.kind == "file" and entry.sha256 is None and entry.state == "ok":
            if entry.path not in after.found:
                continue
            entry = entry._replace(state="unreadable")
        kept.append(entry)
    return kept, len(entries) - len(kept)


class Piped(SourceDriver):
    """What a program on the agent's host writes. `inner` are its doors as a stream: they bring it back."""

    def __init__(
        self, inner: SourceDriver, agent: Agent, argv: Sequence[str], *, filename: str, timeout: float
    ) -> None:
        super().__init__(inner.name)
        self.kind = inner.kind
        self._inner, self._agent = inner, agent
        self._argv, self._filename, self._timeout = tuple(argv), filename, timeout

    def capture(self, work: Path, reuse: Path | None) -> AgentCapture:
        """See `SourceDriver`."""
        return _SentOutput(self, work / MANIFEST)

    def send(self, repository: Repository, tags: Mapping[str, str], path: Path) -> Sent:
        """Let the program run, its output go to the repository, and write the manifest to `path`."""
        started = datetime.now(UTC)
        with blame(self.name):
            done = self._agent.backup_command(
                repository, self._argv, filename=self._filename, tags=tags, timeout=self._timeout
            )
        manifest.write_stream(
            path, source=self.name, kind=self.kind, started=started, filename=self._filename,
            size=done.bytes, sha256=done.sha256,
        )  # fmt: skip
        return Sent(stored=done.stored, files=1, bytes=done.bytes)

    def restored(self, room: RestoreSlot) -> RestoredSource:
        """See `SourceDriver`."""
        return self._inner.restored(room)

    def beside(self) -> Beside:
        """See `SourceDriver`."""
        return self._inner.beside()

    @property
    def host(self) -> str:
        """The host in words."""
        return self._agent.host.name


class _SentOutput(AgentCapture):
    def __init__(self, doors: Piped, path: Path) -> None:
        self.host = doors.host
        self._doors, self._path = doors, path

    def send(self, repository: Repository, tags: Mapping[str, str]) -> Sent:
        """See `AgentCapture`."""
        return self._doors.send(repository, tags, self._path)


@contextmanager
def blame(name: str) -> Iterator[None]:
    """Let the target's errors go on as they are; whatever else is raised is the source's."""
    try:
        yield
    except _OF_THE_TARGET:
        raise
    except InterruptedRunError as error:
        command.raise_if_stopping()
        raise SourceError("restic was ended there from outside", name, hint="start the backup again") from error
    except DrError:
        with own_errors(name):
            raise
