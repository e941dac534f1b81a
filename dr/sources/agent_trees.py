"""Trees on an agent's host: listed and hashed, stored there by restic, and listed again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from dr.evidence import manifest
from dr.evidence.manifest import Entry, spelt
from dr.late_dataclass import dataclass
from dr.sources import attributes, mounts
from dr.sources.attributes import COVERED
from dr.sources.driver import MANIFEST, AgentCapture, Kept, Sent
from dr.sources.files import specials
from dr.sources.holdings import Counting, holdings
from dr.sources.listing import Listing, list_trees
from dr.sources.mounts import Mounted
from dr.sources.own_errors import blame
from dr.sources.settle import settle
from dr.sources.sorted_lines import OrderedStatus, SortedLines
from dr.sources.walk import Excluded
from dr.tools.agent import Agent
from dr.tools.restic import Repository

#: What was listed and hashed, and what the list after the capture is made of, in the scratch space.
BODY, _FOUND_AFTER = ".listed", ".found-after"


@dataclass(frozen=True)
class TreesThere:
    """Trees to be captured, and what is passed by in them."""

    agent: Agent
    tops: list[str]
    excluded: Excluded
    excludes: tuple[str, ...]
    one_filesystem: bool
    mounted: Mounted

    def list(self, into: SortedLines) -> Listing:
        """List them into `into`. Raises `DrError` where the host cannot be asked."""
        return list_trees(
            self.agent.host, self.tops, excluded=self.excluded, one_filesystem=self.one_filesystem,
            passed_by=[mount.point for mount in self.mounted.pseudo], into=into,
        )  # fmt: skip


class SentTrees(AgentCapture):
    """Trees, listed and hashed; restic stores them there, and then they are listed again."""

    def __init__(
        self,
        trees: TreesThere,
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
        with (self._work / BODY).open("rb") as body:
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
