"""What restic stored, held against what we listed: a manifest must say what is in its snapshots, and no more.

The counts of restic's summary come first. Where they differ, or where something came or went meanwhile, the
snapshot itself is listed, into files, and read beside the manifest: what is held is what differs.
"""

from __future__ import annotations

import heapq
import json
import os
import posixpath
import re
import stat
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from dr.errors import DrError
from dr.evidence.manifest import Entry, Kind, entry_of, file_of, key_of, line_of, spelt
from dr.evidence.manifest_changes import by_path
from dr.evidence.record import Omission
from dr.late_dataclass import dataclass
from dr.sources.driver import MANIFEST, Kept, shown
from dr.sources.holdings import Counting
from dr.sources.last_hashes import Unchanged
from dr.sources.sorted_lines import SortedTexts

_KINDS: Mapping[str, Kind] = {"file": "file", "dir": "dir", "symlink": "link"}
#: What Go writes for a byte that is no UTF-8, one for each; surrogates stand for them here.
_NO_TEXT = re.compile("[\udc80-\udcff]")
_REPLACED = "\ufffd"
_OURS = f"/{MANIFEST}"


@dataclass(frozen=True)
class Reconciled:
    """What the snapshots have otherwise than was listed, as lines of a manifest.

    `instead` are the lines that change, by what names their path, empty for one that is in no snapshot; `more` those
    of what was stored and not listed. `gone` were listed and went away before restic came to them; `unstored` are at
    the source, as they were listed, and not in every snapshot. `changed` are the listed paths of no one content.
    `omissions`: places of which nothing is left.
    """

    instead: Mapping[bytes, bytes]
    more: tuple[bytes, ...]
    gone: int = 0
    changed: tuple[bytes, ...] = ()
    unstored: tuple[bytes, ...] = ()
    omissions: tuple[Omission, ...] = ()

    @property
    def alters(self) -> bool:
        """Whether any line is another one."""
        return bool(self.instead or self.more)

    def amended(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the lines as the snapshots have them, in order."""
        listed = (line for old in lines if (line := self.instead.get(key_of(old), old)))
        return heapq.merge(listed, self.more)


@dataclass
class _Differences:
    """By key: `lacking` are in not every snapshot, `nowhere` in none; `unsure` differ, or cannot be told apart."""

    lacking: dict[bytes, Entry] = field(default_factory=dict)
    nowhere: set[bytes] = field(default_factory=set)
    unsure: dict[bytes, Entry] = field(default_factory=dict)
    more: dict[bytes, Entry] = field(default_factory=dict)


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
    lines: Callable[[], Iterable[bytes]],
    tops: Sequence[str],
    kept: Sequence[Kept],
    *,
    lstat: Callable[[bytes], os.stat_result],
    held: Mapping[str, Sequence[int]],
    aside: Path,
) -> Reconciled:
    """List the snapshots, and return what they have otherwise than the manifest's `lines`, which come in order.

    `held` is how many files each path of the plan held when it was listed; `lstat` looks at the source as it is now.
    What is listed lies in files beside `aside` meanwhile. Raises what a listing raises.
    """
    found = _differences(lines, tops, kept, aside)
    instead: dict[bytes, bytes] = {}
    unstored: list[bytes] = []
    gone = 0
    for key in sorted({**found.unsure, **found.lacking}):
        was = entry = found.lacking.get(key) or found.unsure[key]
        if key in found.unsure and entry.state == "ok":
            entry = entry._replace(state="changed")
        if key in found.lacking:
            now = _now(entry, lstat)
            if now == "same":
                unstored.append(entry.path)
                entry = entry._replace(state="unreadable")
            else:
                gone += now == "other" or entry.state == "ok"  # else it is counted already
                entry = entry._replace(state="changed")
        if entry.state == "changed" and key in found.nowhere:
            instead[key] = b""
        elif entry != was:
            instead[key] = line_of(entry)
    changed, stored = _Changed(instead), _StillStored(found.lacking, tops, held)
    for line in lines():
        key = key_of(line)
        changed.look(key, line)
        stored.look(key, line)
    more = tuple(line_of(entry) for _, entry in sorted(found.more.items()))
    omissions = stored.omissions(frozenset(unstored))
    return Reconciled(instead, more, gone, tuple(changed.paths), tuple(unstored), omissions)


class _Changed:
    """Notes the paths of no one content."""

    def __init__(self, instead: Mapping[bytes, bytes]) -> None:
        self.paths: list[bytes] = []
        self._instead = instead

    def look(self, key: bytes, line: bytes) -> None:
        """Look at one line as it was."""
        if b'"changed"' in (now := self._instead.get(key, line)) and (entry := entry_of(now)).state == "changed":
            self.paths.append(entry.path)


class _StillStored:
    """Counts what is in every snapshot, of the paths of the plan and the file systems below."""

    def __init__(self, lacking: Container[bytes], tops: Sequence[str], held: Mapping[str, Sequence[int]]) -> None:
        self._lacking, self._held = lacking, held
        self._away = {f"[{spelt(os.fsencode(top))}".encode("ascii"): top for top in tops if top != "/"}
        self._counting = Counting([os.fsencode(path) for path in held])

    def look(self, key: bytes, line: bytes) -> None:
        """Look at one line."""
        if key in self._lacking:
            return
        self._away.pop(key, None)
        if path := file_of(line):
            self._counting.count(Unchanged(path, 0, line))

    def omissions(self, unstored: Iterable[bytes]) -> tuple[Omission, ...]:
        """Say of which of them nothing was left when restic came to them, but for what is `unstored`."""
        now = self._counting.of([os.fsencode(path) for path in self._held], lambda: ())
        emptied = [path for path, (files, *_) in self._held.items() if files and not now[path][0]]
        left = [os.fsdecode(path) for path in unstored]
        names = dict.fromkeys((*self._away.values(), *emptied))
        return tuple(_went(name, self._held) for name in names if not any(_within(one, [name]) for one in left))


def _went(path: str, held: Mapping[str, Sequence[int]]) -> Omission:
    what = f"{shown(path)} went away while it was captured: {_lost(held.get(path, (0,))[0])}"
    return Omission(what=what, hint="see that its disk stays mounted, then run the backup again", names=(shown(path),))


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


def _differences(
    lines: Callable[[], Iterable[bytes]], tops: Sequence[str], kept: Sequence[Kept], aside: Path
) -> _Differences:
    found, parts = _Differences(), []
    for one in kept:
        nodes = SortedTexts(aside)
        try:
            try:
                nodes.fill(map(_line_of_node, _of_the_source(one)))
            except DrError as error:
                if one.lost is None:
                    raise
                one.lost(error)
                continue
            parts.append(_lacking(lines(), nodes, tops, found))
        finally:
            nodes.remove()
    for part in parts:
        found.lacking |= part
    found.nowhere = set(found.lacking).intersection(*parts)
    return found


def _of_the_source(one: Kept) -> Iterable[Mapping[str, Any]]:
    """Leave out the manifest, which lies in the root of a snapshot: below the path `/` as well."""
    if not one.beside:
        return one.nodes()
    return (node for node in one.nodes() if node["path"] != _OURS and not node["path"].startswith(f"{_OURS}/"))


def _line_of_node(node: Mapping[str, Any]) -> bytes:
    """Return how the line of an entry begins that is as a snapshot has it: only files have a size that counts."""
    kind = _KINDS.get(node["type"], "other")
    size = f"{int(node.get('size', 0))}," if kind == "file" else ""
    return f'[{spelt(os.fsencode(node["path"]))}, "{kind}", {size}\n'.encode("ascii")


def _entry_of_node(line: bytes) -> Entry:
    path, kind, *size = json.loads(line.rstrip(b", \n") + b"]")
    return Entry(os.fsencode(path), kind, size[0] if size else 0, state="changed")


def _lacking(
    lines: Iterable[bytes], nodes: Iterable[bytes], tops: Sequence[str], found: _Differences
) -> dict[bytes, Entry]:
    """Return what one snapshot lacks; note what it has more, and what cannot be told."""
    lacking: dict[bytes, Entry] = {}
    odd, odd_there = list[Entry](), list[Entry]()
    for line, node in by_path(_plain(lines, odd, entry_of), _plain(nodes, odd_there, _entry_of_node)):
        if not node:
            entry = entry_of(line)
            if _is_stored(entry) and entry.state != "unreadable":
                lacking[key_of(line)] = entry
        elif line:
            if not line.startswith(node[:-1]):
                found.unsure[key_of(line)] = entry_of(line)
        elif _within((entry := _entry_of_node(node)).path.decode("utf-8"), tops):
            found.more[key_of(node)] = entry
    _odd_lacking([entry for entry in odd if _is_stored(entry)], odd_there, tops, found, lacking)
    return lacking


def _is_stored(entry: Entry) -> bool:
    """Whether restic stores anything of it."""
    return entry.path != b"/" and not stat.S_ISSOCK(entry.mode)


def _plain(lines: Iterable[bytes], odd: list[Entry], read: Callable[[bytes], Entry]) -> Iterator[bytes]:
    """Yield the lines of those paths that restic says as they are. Another may look like a third to it: it is `odd`."""
    for line in lines:
        key = key_of(line)
        if b"\\udc" in key or b"\\ufffd" in key:
            odd.append(read(line))
        else:
            yield line


def _odd_lacking(
    odd: Iterable[Entry], nodes: Iterable[Entry], tops: Sequence[str], found: _Differences, lacking: dict[bytes, Entry]
) -> None:
    """Hold entries whose names restic may say otherwise, several of them alike, against a snapshot's nodes."""
    listed: dict[str, list[Entry]] = {}
    for entry in odd:
        listed.setdefault(_as_restic_says(entry.path), []).append(entry)
    seen: Counter[str] = Counter()
    for node in nodes:
        seen[path := os.fsdecode(node.path)] += 1
        known = listed.get(path)
        if known is None:
            if _REPLACED not in path and _within(path, tops):
                found.more[_key(node)] = node
        elif len(known) == 1 and (known[0].kind != node.kind or (node.kind == "file" and known[0].size != node.size)):
            found.unsure[_key(known[0])] = known[0]
    for path, known in listed.items():
        if seen[path] < len(known):
            into = lacking if len(known) == 1 or not seen[path] else found.unsure
            into.update((_key(entry), entry) for entry in known if entry.state != "unreadable")


def _key(entry: Entry) -> bytes:
    return f"[{spelt(entry.path)}".encode("ascii")


def _as_restic_says(path: bytes) -> str:
    return _NO_TEXT.sub(_REPLACED, path.decode("utf-8", "surrogateescape"))


def _within(path: str, tops: Iterable[str]) -> bool:
    return any(path == top or path.startswith(top.rstrip("/") + "/") for top in tops)


def _lost(files: int) -> str:
    return f"none of its {files:,} file(s) is in the point" if files else "it is not in the point"


def unstored_omission(count: int) -> Omission:
    """Say that so many are at the source and not in the point; their names are no evidence."""
    return Omission(
        what=f"{count:,} file(s) or directories are at the source and not in the point: restic did not meet them",
        hint="run `dr backup` again; if they are not stored then either, see the list of their names, and whether "
        "their directory was moved or mounted elsewhere meanwhile",
    )
