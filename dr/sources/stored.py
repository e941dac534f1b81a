"""What restic stored, held against what we listed: a manifest must say what is in its snapshots, and no more.

The counts of restic's summary come first. Where they differ, or where something came or went meanwhile, the
snapshot itself is listed.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, Literal

from dr.evidence.manifest import Entry, Kind
from dr.evidence.record import Omission
from dr.late_dataclass import dataclass
from dr.sources.driver import MANIFEST, Kept, shown
from dr.sources.holdings import count

_KINDS: Mapping[str, Kind] = {"file": "file", "dir": "dir", "symlink": "link"}
#: What Go writes for a byte that is no UTF-8, one for each; surrogates stand for them here.
_NO_TEXT = re.compile("[\udc80-\udcff]")
_REPLACED = "\ufffd"
_OURS = f"/{MANIFEST}"


@dataclass(frozen=True)
class Reconciled:
    """The entries as the snapshots have them; those that were not listed come last.

    `gone` were listed and went away before restic came to them, `came` were stored and not listed; `unstored` are at
    the source, as they were listed, and not in every snapshot. `omissions`: places of which nothing is left.
    """

    entries: list[Entry]
    gone: int = 0
    came: int = 0
    unstored: tuple[bytes, ...] = ()
    omissions: tuple[Omission, ...] = ()


@dataclass
class _Differences:
    """`lacking` paths are in not every snapshot, `nowhere` in none; `unsure` cannot be told apart, or differ."""

    lacking: set[bytes] = field(default_factory=set)
    nowhere: set[bytes] = field(default_factory=set)
    unsure: set[bytes] = field(default_factory=set)
    more: dict[str, Entry] = field(default_factory=dict)


class Counts:
    """Counts files and directories as restic does, of the entries of some declared paths."""

    def __init__(self, tops: Iterable[str]) -> None:
        #: What lies above them is a directory of the snapshot, and mostly none of the entries.
        self._above = {os.fsencode(above) for top in tops for above in _above(top)}
        self._files = self._dirs = 0

    def add(self, entry: Entry) -> None:
        """Count one entry."""
        if entry.kind == "dir":
            self._above.discard(entry.path)
        if entry.state != "unreadable" and entry.path != b"/":
            self._files += entry.kind == "file"
            self._dirs += entry.kind == "dir"

    def add_files(self, count: int) -> None:
        """Count so many files that can be read."""
        self._files += count

    def agree(self, kept: Iterable[Kept]) -> bool:
        """Whether restic counted as many, in every snapshot."""
        dirs = self._dirs + len(self._above)
        return all((one.files, one.dirs) == (self._files, dirs) for one in kept)


def counts_agree(entries: Iterable[Entry], tops: Iterable[str], kept: Iterable[Kept]) -> bool:
    """Whether restic counted as many files and directories as are listed, in every snapshot."""
    counts = Counts(tops)
    for entry in entries:
        counts.add(entry)
    return counts.agree(kept)


def _above(top: str) -> Iterable[str]:
    while (top := posixpath.dirname(top)) not in ("/", ""):
        yield top


def reconcile(
    entries: list[Entry],
    tops: Sequence[str],
    kept: Sequence[Kept],
    *,
    lstat: Callable[[bytes], os.stat_result],
    held: Mapping[str, Sequence[int]],
) -> Reconciled:
    """List the snapshots, and return the entries as they have them.

    `held` is how many files each path of the plan held when it was listed; `lstat` looks at the source as it is now.
    Raises what a listing raises.
    """
    found = _differences(entries, tops, kept)
    result: list[Entry] = []
    unstored: list[bytes] = []
    gone = 0
    for entry in entries:
        if entry.path in found.unsure and entry.state == "ok":
            entry = entry._replace(state="changed")
        if entry.path in found.lacking:
            now = _now(entry, lstat)
            if now == "same":
                unstored.append(entry.path)
                entry = entry._replace(state="unreadable")
            else:
                gone += now == "other" or entry.state == "ok"  # else it is counted already
                if entry.path in found.nowhere:
                    continue
                entry = entry._replace(state="changed")
        result.append(entry)
    stored = [entry for entry in result if entry.path not in found.lacking]
    omissions = _left_of(tops, held, stored, frozenset(unstored))
    return Reconciled([*result, *found.more.values()], gone, len(found.more), tuple(unstored), omissions)


def _now(entry: Entry, lstat: Callable[[bytes], os.stat_result]) -> Literal["same", "other", "gone"]:
    """Return what is there now: the same as was listed, or another thing. What is out of reach is not gone."""
    try:
        now = lstat(entry.path)
    except (FileNotFoundError, NotADirectoryError):
        return "gone"
    except OSError:
        return "same"
    if stat.S_IFMT(now.st_mode) != stat.S_IFMT(entry.mode) or (entry.inode and entry.inode != now.st_ino):
        return "other"
    if entry.kind == "file" and (entry.size, entry.mtime_ns) != (now.st_size, now.st_mtime_ns):
        return "other"
    return "same"


def _differences(entries: Sequence[Entry], tops: Sequence[str], kept: Sequence[Kept]) -> _Differences:
    listed: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.path != b"/" and not stat.S_ISSOCK(entry.mode):  # of neither does restic store anything
            listed.setdefault(_as_restic_says(entry.path), []).append(entry)
    found = _Differences()
    listings = [_of_the_source(one, nodes) for one in kept if (nodes := one.nodes()) is not None]
    parts = [_lacking(listed, tops, nodes, found) for nodes in listings]
    found.lacking = set[bytes]().union(*parts)
    found.nowhere = found.lacking.intersection(*parts)
    return found


def _of_the_source(one: Kept, nodes: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """Leave out the manifest, which lies in the root of a snapshot: below the path `/` as well."""
    if not one.beside:
        return nodes
    return (node for node in nodes if node["path"] != _OURS and not node["path"].startswith(f"{_OURS}/"))


def _lacking(
    listed: Mapping[str, list[Entry]], tops: Sequence[str], nodes: Iterable[Mapping[str, Any]], found: _Differences
) -> set[bytes]:
    """Return what one snapshot lacks; note what it has more, and what cannot be told."""
    seen: Counter[str] = Counter()
    for node in nodes:
        path, kind = node["path"], _KINDS.get(node["type"], "other")
        seen[path] += 1
        known = listed.get(path)
        if known is None:
            if _REPLACED not in path and _within(path, tops):
                found.more[path] = Entry(os.fsencode(path), kind, int(node.get("size", 0)), state="changed")
        elif len(known) == 1 and (known[0].kind != kind or (kind == "file" and known[0].size != node.get("size", 0))):
            found.unsure.add(known[0].path)
    lacking: set[bytes] = set()
    for path, known in listed.items():
        if seen[path] < len(known):  # several names may look alike to restic
            (lacking if len(known) == 1 or not seen[path] else found.unsure).update(
                entry.path for entry in known if entry.state != "unreadable"
            )
    return lacking


def _as_restic_says(path: bytes) -> str:
    return _NO_TEXT.sub(_REPLACED, path.decode("utf-8", "surrogateescape"))


def _within(path: str, tops: Iterable[str]) -> bool:
    return any(path == top or path.startswith(top.rstrip("/") + "/") for top in tops)


def _left_of(
    tops: Sequence[str], held: Mapping[str, Sequence[int]], stored: Sequence[Entry], unstored: frozenset[bytes]
) -> tuple[Omission, ...]:
    """Say of which declared paths, and file systems below, nothing was left when restic came to them."""
    now, there = count(stored, [os.fsencode(path) for path in held]), {entry.path for entry in stored} | unstored
    emptied = [path for path, (files, *_) in held.items() if files and not now[path][0]]
    went = [top for top in tops if top != "/" and os.fsencode(top) not in there]
    left = {os.fsdecode(path) for path in unstored}
    names = [path for path in dict.fromkeys((*went, *emptied)) if not any(_within(one, [path]) for one in left)]
    hint = "see that its disk stays mounted, then run the backup again"
    return tuple(
        Omission(
            what=f"{shown(path)} went away while it was captured: {_lost(held.get(path, (0,))[0])}",
            hint=hint,
            names=(shown(path),),
        )
        for path in names
    )


def _lost(files: int) -> str:
    return f"none of its {files:,} file(s) is in the point" if files else "it is not in the point"


def unstored_omission(count: int) -> Omission:
    """Say that so many are at the source and not in the point; their names are no evidence."""
    return Omission(
        what=f"{count:,} file(s) or directories are at the source and not in the point: restic did not meet them",
        hint="run `dr backup` again; if they are not stored then either, see the list of their names, and whether "
        "their directory was moved or mounted elsewhere meanwhile",
    )
