"""The doors of sources on a host where restic runs itself (`mode: agent`): only manifests come here."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dr.evidence import manifest
from dr.evidence.attributes import digest_of
from dr.evidence.manifest import Entry, spelt
from dr.evidence.record import Omission
from dr.late_dataclass import dataclass
from dr.plan.source_kinds import FilesSource
from dr.sources import attributes, mounts
from dr.sources.attributes import COVERED, Attributes, attributes_there
from dr.sources.blame import blame
from dr.sources.driver import MANIFEST, AgentCapture, Kept, Sent, SourceDriver
from dr.sources.files import cleaned, entry_of, excluder_of, excludes_of, look, specials
from dr.sources.foreseen import foreseen_there
from dr.sources.holdings import Counting, holdings, places_of
from dr.sources.last_hashes import LastHashes
from dr.sources.listing import Listing, hash_files, list_trees
from dr.sources.mounts import Mounted
from dr.sources.own_errors import own_errors
from dr.sources.settle import settle
from dr.sources.sorted_lines import OrderedStatus, SortedLines, status_of
from dr.sources.walk import Excluded
from dr.tools.agent import PLACE, Agent, Placed
from dr.tools.restic import Repository

if TYPE_CHECKING:
    from dr.tools.ssh import SshHost  # loads paramiko

#: What was listed and hashed, and what lists are made of, in the scratch space.
_BODY, _FOUND, _FOUND_AFTER = ".listed", ".found", ".found-after"
#: So many files are hashed, and asked for their attributes, at a time.
_BATCH = 10_000


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
            trees, listed = self._trees(placed), SortedLines(work / _FOUND)
            first = trees.list(listed)
            there, missing = self._look(trees, first)
            if trees.mounted.waiting:  # listing them may have mounted something
                trees = replace(trees, mounted=self._mounted())
            counting = Counting(places_of(there, trees.mounted, reuse))
            hashing = _Hashing(self._agent.host, placed.cores, LastHashes(reuse))
            shut = frozenset(first.unreadable)
            with (work / _BODY).open("wb") as body:
                for entry in counting.passing(hashing.passing(map(manifest.entry_of, listed))):
                    body.write(manifest.line_of(entry._replace(state="unreadable") if entry.path in shut else entry))
            listed.remove()
        # By that host's clock: file times are, and whether the last hashes still count is told by them.
        header = manifest.header_of(source=self.name, kind=self.kind, started=placed.now)
        header |= {COVERED: hashing.told}
        return _SentTrees(
            replace(trees, tops=there), work, header, counting=counting, first=first, missing=missing, reuse=reuse
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

    def list(self, into: SortedLines) -> Listing:
        return list_trees(
            self.agent.host, self.tops, excluded=self.excluded, one_filesystem=self.one_filesystem,
            passed_by=[mount.point for mount in self.mounted.pseudo], into=into,
        )  # fmt: skip


class _Hashing:
    """Hashes files there, so many at a time, but for those whose hash is known; and asks for their attributes.

    `told`: whether that host's programs told of attributes.
    """

    def __init__(self, host: SshHost, cores: int, last: LastHashes) -> None:
        self._host, self._last, self.told = host, last, True
        self._at_once = min(cores, host.login.at_once)

    def passing(self, found: Iterator[Entry]) -> Iterator[Entry]:
        """Yield what was found, in its order, with what is known of it now."""
        while batch := list(islice(found, _BATCH)):
            entries = self._known(batch)
            todo = [entry.path for entry in entries if entry.kind == "file" and entry.sha256 is None]
            digests = hash_files(self._host, todo, at_once=self._at_once)
            for entry in entries:
                yield entry._replace(sha256=digests[entry.path]) if entry.path in digests else entry

    def _known(self, batch: list[Entry]) -> list[Entry]:
        marked = attributes_there(self._host, [entry.path for entry in batch]) if self.told else None
        self.told = marked is not None
        digests = _digests(marked)
        links = {each.path: each.link_target for each in batch}
        return [
            entry_of(each.path, status_of(each), self._last, read_link=links.get, attributes=digests) for each in batch
        ]


class _SentTrees(AgentCapture):
    """Trees, listed and hashed; restic stores them there, and then they are listed again."""

    def __init__(
        self,
        trees: _Trees,
        work: Path,
        header: dict[str, Any],
        *,
        counting: Counting,
        first: Listing,
        missing: list[str],
        reuse: Path | None,
    ) -> None:
        self.host = trees.agent.host.name
        self._trees, self._work, self._header, self._missing = trees, work, header, missing
        self._reuse, self._elsewhere = reuse, first.elsewhere - {mount.point for mount in trees.mounted.pseudo}
        self._counting, self._unreadable = counting, frozenset(first.unreadable)

    def send(self, repository: Repository, tags: Mapping[str, str]) -> Sent:
        """See `AgentCapture`."""
        trees, name, path = self._trees, str(self._header["source"]), self._work / MANIFEST
        found = SortedLines(self._work / _FOUND_AFTER)
        with blame(name):
            stored = trees.agent.backup_tree(
                repository, trees.tops, tags=tags, excludes=trees.excludes, one_filesystem=trees.one_filesystem
            )
            after = trees.list(found)
        held = holdings(
            lambda places: self._counting.of(places, self._entries), trees.tops, trees.mounted,
            reuse=self._reuse, left_out=self._elsewhere, excluded=trees.excluded,
        )  # fmt: skip
        tally = _Tally()
        judged = tally.passing(self._entries(), OrderedStatus(found))
        manifest.write_lines(
            path, {**self._header, **held.header, manifest.SORTED: True}, map(manifest.line_of, judged)
        )
        kept = [Kept(stored.files, stored.dirs, lambda: repository.nodes(stored.snapshot_id))]
        with blame(name):
            lstat = OrderedStatus(found).lstat
            settled = settle(path, vanished=tally.vanished, lstat=lstat, kept=kept, tops=trees.tops)
        left_out = mounts.left_out(self._elsewhere)
        told = bool(self._header[COVERED])
        unseen = () if told else attributes.unseen(self._reuse, "are stored and not compared", self.host)
        odd = specials(
            (top, after.tops[place].st_mode) for top in trees.tops if (place := os.fsencode(top)) in after.tops
        )
        unreadable = self._unreadable | tally.unreadable
        unreadable |= set(_there(map(os.fsencode, (*stored.unreadable, *stored.skipped)), found))
        found.remove()
        return Sent(
            stored=stored,
            files=tally.files,
            bytes=tally.size,
            settled=settled.without(map(os.fsdecode, unreadable)),
            unreadable=tuple(os.fsdecode(path) for path in sorted(unreadable)),
            missing=tuple(self._missing),
            omissions=(*left_out, *odd, *mounts.not_mounted(trees.mounted.waiting, trees.excluded), *held.gone),
            emptied=bool(held.gone),
            notes=(*held.notes, *unseen),
            reader=self.host,
        )

    def _entries(self) -> Iterator[Entry]:
        with (self._work / _BODY).open("rb") as body:
            yield from map(manifest.entry_of, body)


@dataclass
class _Tally:
    """Judges the files that could not be hashed, and counts: still there, so unreadable, or gone (`vanished`)."""

    files: int = 0
    size: int = 0
    vanished: int = 0
    unreadable: set[bytes] = field(default_factory=set)

    def passing(self, entries: Iterable[Entry], after: OrderedStatus) -> Iterator[Entry]:
        """Yield what is still there."""
        for entry in entries:
            if entry.kind == "file" and entry.sha256 is None and entry.state == "ok":
                if not after.holds(entry.path):
                    self.vanished += 1
                    continue
                entry = entry._replace(state="unreadable")
            if entry.state == "unreadable":
                self.unreadable.add(entry.path)
            elif entry.kind == "file":
                self.files, self.size = self.files + 1, self.size + entry.size
            yield entry


def _there(paths: Iterable[bytes], found: SortedLines) -> Iterator[bytes]:
    """Yield those of some paths at which something was found."""
    after = OrderedStatus(found)
    return filter(after.holds, sorted(paths, key=spelt))


def _digests(marked: Mapping[bytes, Attributes] | None) -> Callable[[bytes], str | None]:
    known = {path: digest_of(found) for path, found in (marked or {}).items()}
    return known.get


def _led_to(path: str, listing: Listing) -> str:
    """Return where a link leads, by its own words."""
    target = os.fsdecode(listing.links.get(os.fsencode(path), b""))
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
