"""What a copy of another host's files holds, held against what restic stored of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from dr.evidence import manifest
from dr.evidence.manifest import Entry
from dr.evidence.manifest_changes import ordered
from dr.late_dataclass import dataclass
from dr.sources.driver import MANIFEST, Kept, Settled
from dr.sources.settle import STORED, settled
from dr.sources.stored import counts_agree, reconcile


def settle_copy(
    top: Path, header: Mapping[str, Any], tops: Sequence[str], *, vanished: int, changed: Sequence[bytes],
    kept: Sequence[Kept],
) -> Settled:  # fmt: skip
    """Hold what restic stored against the copy at `top`, in which nothing comes or goes."""
    if not kept or not (vanished or not counts_agree(manifest.read(top / MANIFEST), tops, kept)):
        return Settled(tuple(changed), vanished)
    place, listed = os.fsencode(top), top / MANIFEST
    found = reconcile(
        lambda: ordered(listed), tops, kept,
        lstat=lambda path: os.lstat(place + path), held=header.get("held", {}), aside=listed.with_name(STORED),
    )  # fmt: skip
    return settled(listed, ordered(listed), found, vanished=vanished)


@dataclass
class CopyTally:
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
