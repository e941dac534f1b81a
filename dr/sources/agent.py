"""The doors of sources on a host where restic runs itself (`mode: agent`): only manifests come here."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from dr.evidence import manifest
from dr.evidence.record import Omission
from dr.plan.source_kinds import FilesSource
from dr.sources import mounts
from dr.sources.agent_hashing import Hashing
from dr.sources.agent_trees import BODY, SentTrees, TreesThere
from dr.sources.attributes import COVERED
from dr.sources.driver import AgentCapture, SourceDriver
from dr.sources.files import RemoteSourceHost, cleaned, excluder_of, excludes_of, look
from dr.sources.holdings import Counting, places_of
from dr.sources.listing import Listing
from dr.sources.mounts import Mounted
from dr.sources.own_errors import own_errors
from dr.sources.remote_look import foreseen_there
from dr.sources.sorted_lines import SortedLines
from dr.tools.agent import PLACE, Agent, Placed

#: What the list is made of, in the scratch space.
_FOUND = ".found"


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
            hashing = Hashing(self._agent.host, placed.cores, reuse)
            shut = frozenset(first.unreadable)
            with (work / BODY).open("wb") as body:
                for entry in counting.passing(hashing.passing(map(manifest.entry_of, listed))):
                    body.write(manifest.line_of(entry._replace(state="unreadable") if entry.path in shut else entry))
            listed.remove()
        # By that host's clock: file times are, and whether the last hashes still count is told by them.
        header = manifest.header_of(source=self.name, kind=self.kind, started=placed.now)
        header |= {COVERED: hashing.told}
        return SentTrees(
            replace(trees, tops=there), work, header, counting=counting, first=first, missing=missing, reuse=reuse
        )

    def omissions(self) -> tuple[Omission, ...]:
        """See `SourceDriver`. Nothing is placed there."""
        with own_errors(self.name):
            return foreseen_there(self.name, self._declared, self._agent.host, self._mounted())

    def _trees(self, placed: Placed) -> TreesThere:
        declared, mounted = self._declared, self._mounted()
        excludes = (*excludes_of(declared, [Path(placed.home, PLACE)]), *mounted.excludes)
        excluded = excluder_of(self.name, excludes)
        return TreesThere(self._agent, cleaned(declared.paths), excluded, excludes, declared.one_filesystem, mounted)

    def _mounted(self) -> Mounted:
        """Return what is mounted there; nothing where its kernel has no such table."""
        table = self._agent.host.run(["cat", mounts.TABLE])
        tops = map(os.fsencode, cleaned(self._declared.paths))
        return mounts.mounted(table.stdout if table.code == 0 else b"", tops)

    def _look(self, trees: TreesThere, first: Listing) -> tuple[list[str], list[str]]:
        there = RemoteSourceHost(
            self._agent.host.name,
            mode=lambda path: first.lstat(path).st_mode,
            target=lambda path: first.links.get(path, b""),
        )
        return look(self.name, trees.tops, trees.excluded, there)
