"""Looking again once restic has ended: the manifest says what may have changed meanwhile, and what the snapshots hold.

The manifest is read beside, entry by entry. Only where something came or went, or restic counted otherwise than we,
the snapshots themselves are listed, and held against all of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import field
from pathlib import Path

from dr.evidence import manifest
from dr.evidence.manifest import Entry
from dr.late_dataclass import dataclass
from dr.sources.driver import Kept, Settled
from dr.sources.stored import Counts, Reconciled, reconcile

#: What begins the names of files in which a snapshot's listing lies, beside the manifest.
STORED = ".stored"
Attributes = Callable[[bytes], str | None]
Lstat = Callable[[bytes], os.stat_result]


def settle(
    path: Path,
    *,
    vanished: int = 0,
    lstat: Lstat = os.lstat,
    attributes: Attributes | None = None,
    kept: Sequence[Kept] = (),
    tops: Sequence[str] = (),
) -> Settled:
    """Look again at every entry after restic has ended; the manifest says which differ, rewritten if need be.

    restic may have stored them as they were, as they are, or not at all: no one content can be claimed. Where
    something came or went, or restic counted otherwise than we, the snapshots `kept` of the paths `tops` are listed.
    `vanished` files were gone before they could be hashed. Raises what listing a snapshot raises.
    """
    seen, counts = _Again(lstat, attributes, stirred=vanished > 0), Counts(tops)
    for line in manifest.lines(path):
        if seen.is_untouched(line):
            counts.add_files(1)
        else:
            entry = manifest.entry_of(line)
            counts.add(entry)
            seen.look(entry)
    if kept and (seen.stirred or seen.gone or not counts.agree(kept)):
        found = reconcile(
            lambda: seen.marked(path), tops, kept,
            lstat=lstat, held=manifest.header(path).get("held", {}), aside=path.with_name(STORED),
        )  # fmt: skip
        return settled(path, seen.marked(path), found, vanished=vanished + seen.gone, altered=bool(seen.fresh))
    if seen.fresh:
        write_again(path, seen.marked(path))
    return Settled(tuple(seen.changed), vanished + seen.gone, amended=bool(seen.fresh))


@dataclass
class _Again:
    """What a second look shows. `fresh` are not as they were, `changed` those and what had changed before."""

    lstat: Lstat
    attributes: Attributes | None
    stirred: bool
    gone: int = 0
    fresh: set[bytes] = field(default_factory=set)
    changed: list[bytes] = field(default_factory=list)

    def is_untouched(self, line: bytes) -> bool:
        """Whether a line is that of a file that is now as it says. Nothing is decoded: so it is with most."""
        path = manifest.file_of(line)
        try:
            return path is not None and manifest.tells_of(line, self.lstat(path))
        except OSError:
            return False

    def look(self, entry: Entry) -> None:
        """Look at one entry as it is now."""
        if entry.state == "ok":
            if self._is_same(entry):
                return
            self.fresh.add(entry.path)
        elif entry.state != "changed":
            return
        self.changed.append(entry.path)

    def _is_same(self, entry: Entry) -> bool:
        try:
            now = self.lstat(entry.path)
        except (FileNotFoundError, NotADirectoryError):
            self.gone += 1
            return False
        except OSError:
            return False  # out of reach now: nothing can be claimed either
        if entry.kind == "dir" and entry.ctime_ns != now.st_ctime_ns:
            self.stirred = True
            if self.attributes is not None and self.attributes(entry.path) != entry.attributes:
                return False  # its times alone do not tell
        return not differs(entry, now)

    def marked(self, path: Path) -> Iterator[bytes]:
        """Yield the lines with what was seen."""
        fresh = {f"[{manifest.spelt(one)}".encode("ascii") for one in self.fresh}
        for line in manifest.lines(path):
            if fresh and manifest.key_of(line) in fresh:
                line = manifest.line_of(manifest.entry_of(line)._replace(state="changed"))
            yield line


def differs(entry: Entry, now: os.stat_result) -> bool:
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


def settled(
    path: Path, lines: Iterable[bytes], found: Reconciled, *, vanished: int = 0, altered: bool = False
) -> Settled:
    """Write a manifest of `lines` again as it was `found`, where it is not as it was; return how the tree stood."""
    amended = altered or found.alters
    if amended:
        write_again(path, found.amended(lines))
    return Settled(
        found.changed,
        vanished + found.gone,
        amended=amended,
        appeared=len(found.more),
        unstored=found.unstored,
        omissions=found.omissions,
    )


def write_again(path: Path, lines: Iterable[bytes]) -> None:
    """Write a manifest with other lines, which are in order, below the header that it has."""
    header = {key: value for key, value in manifest.header(path).items() if key not in ("schema", "ends")}
    manifest.write_lines(path, {**header, manifest.SORTED: True}, lines)
