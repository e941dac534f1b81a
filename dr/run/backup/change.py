"""How one source changed since its last capture, measured while it is captured: counts, and a sample of content.

Counts come from the two manifests, bytes from restic. Content is looked at where it passes through this machine: up to
200 files, three blocks of 4 KiB at most of each; of a dump up to 96 blocks of 16 KiB while it streams.
Nothing here fails a backup: what cannot be measured is said to be so.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from dr.errors import DamageError
from dr.evidence.change import Change
from dr.evidence.content import HEAD, extension, is_type, look, threatens
from dr.evidence.hollow import LARGEST
from dr.evidence.manifest_changes import Listed, difference
from dr.late_dataclass import dataclass
from dr.run.backup.baseline import rows_kept
from dr.run.backup.sampled_blocks import Blocks
from dr.sources import database_inventory as facts
from dr.sources.driver import MANIFEST, Tree
from dr.tools.digest import open_file
from dr.tools.restic_events import Stored

#: Files looked at: of those that were there before, and of new ones.
SAMPLE, SAMPLE_NEW = 150, 50
_NOTE = range(64, 64 << 10)  # the sizes of a ransom note
_NOTE_ENDINGS = frozenset({"", "txt", "html", "htm", "hta", "md", "rtf", "url"})
_STRANGE = ("encrypted", "broken")
_AWAY = "its host stores it by itself: content does not pass through this machine"


@dataclass
class Watch:
    """One capture of one source. `previous` is its last manifest; `names` gathers which files look strange."""

    source: str
    previous: Path | None
    seed: str
    names: list[tuple[str, str, bytes]] = field(default_factory=list)
    begin: bytes = b""  # of a stream that passed
    _blocks: Blocks = field(default_factory=Blocks)

    def passing(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Let a stream pass, and keep its beginning and some of its blocks."""
        for chunk in chunks:
            self._blocks.feed(chunk)
            if len(self.begin) <= LARGEST:
                self.begin += chunk[: LARGEST + 1 - len(self.begin)]
            yield chunk

    def stream(self, work: Path, stored: Mapping[str, Stored]) -> Change:
        """Return how a dump differs, once it has passed."""
        change = self._counted(work / MANIFEST, stored)
        return replace(change, **self._blocks.measured(), **self._rows(work))

    def tree(self, tree: Tree, stored: Mapping[str, Stored]) -> Change:
        """Return how a tree differs, by its settled manifest and the files as they are now."""
        if len(tree.paths) == 1 and tree.files == 1 and not tree.paths[0].startswith("/"):
            file = tree.cwd / tree.paths[0]
            if file.is_file():
                return self._database(tree, file, stored)
        root = b"" if all(path.startswith("/") for path in tree.paths) else os.fsencode(tree.cwd)
        found = self._found(tree.cwd / tree.manifest_name)
        change = self._counted(tree.cwd / tree.manifest_name, stored, found)
        return self._sampled(change, found, root) if found else change

    def away(self, work: Path, stored: Stored) -> Change:
        """Return how a source differs that its own host stored: counts and bytes alone."""
        return replace(self._counted(work / MANIFEST, {"": stored}), unsampled=_AWAY)

    # -- the parts -----------------------------------------------------------------------------------

    def _database(self, tree: Tree, file: Path, stored: Mapping[str, Stored]) -> Change:
        change = self._counted(tree.cwd / tree.manifest_name, stored)
        with suppress(OSError):
            self._blocks.read(file)
            return replace(change, **self._blocks.measured())
        return replace(change, unsampled="it could not be read again")

    def _found(self, listed: Path) -> Found | None:
        if self.previous is None:
            return None
        try:
            return Found.between(self.previous, listed)
        except DamageError:
            return None

    def _counted(self, listed: Path, stored: Mapping[str, Stored], found: Found | None = None) -> Change:
        found = found or self._found(listed)
        first = next(iter(stored.values()), None)
        added: dict[str, Any] = {
            "processed": first.bytes if first else 0,
            "raw_added": first.raw_added if first else 0,
            "packed_added": first.bytes_added if first else 0,
        }
        size = first.bytes if first else 0
        if found is None:
            return Change(files=first.files if first else 0, size=size, unsampled="nothing to compare with", **added)
        ending, most = found.extension()
        return Change(
            files=found.files, before=found.before, added=len(found.added), changed=len(found.changed),
            removed=len(found.removed), moved=found.moved, renamed=len(found.renamed),
            extension=f".{ending}" if most and not is_type(ending) else "", size=size, **added,
        )  # fmt: skip

    def _sampled(self, change: Change, found: Found, root: bytes) -> Change:
        chosen = random.Random(f"{self.seed}:{self.source}")  # noqa: S311 - which files, not a secret
        looks = self._looks(found.changed, SAMPLE, chosen, root)
        new = self._looks([(entry, entry.path) for entry in found.added], SAMPLE_NEW, chosen, root)
        note, places = found.note()
        return replace(
            change,
            sampled=sum(looks.values()), strange=sum(looks[how] for how in _STRANGE),
            sampled_new=sum(new.values()), strange_new=sum(new[how] for how in _STRANGE),
            encrypted=looks["encrypted"] + new["encrypted"],
            notes=places, threatening=note is not None and threatens(_head(root + note.path, 2 * HEAD)),
        )  # fmt: skip

    def _looks(
        self, files: Sequence[tuple[Listed, bytes]], most: int, chosen: random.Random, root: bytes
    ) -> Counter[str]:
        """Return how many of a sample look how. What is too small to tell, or gone, is not counted."""
        found: Counter[str] = Counter()
        for entry, named in chosen.sample(files, most) if len(files) > most else files:
            with suppress(OSError):
                how = _look(root + entry.path, named)
                if how == "small":
                    continue
                found[how] += 1
                if how in _STRANGE:
                    self.names.append((self.source, f"looks {how}", entry.path))
        return found

    def _rows(self, work: Path) -> dict[str, Any]:
        """Return what the facts of a database say of its rows, beside those of its last capture."""
        now = facts.read(work / facts.FILENAME)
        before = facts.read(rows_kept(self.previous)) if self.previous else None
        if now is None or before is None:
            return {}
        emptied = sum(rows for table, rows in before.rows.items() if now.rows.get(table) == 0)
        return {"rows": sum(now.rows.values()), "rows_before": sum(before.rows.values()), "emptied_rows": emptied}


def _look(path: bytes, named: bytes) -> str:
    descriptor = open_file(path)
    try:
        size = os.fstat(descriptor).st_size
        head = os.pread(descriptor, HEAD, 0)
        middle = os.pread(descriptor, HEAD, size // 2) if size > 4 * HEAD else b""
    finally:
        os.close(descriptor)
    return look(named, head, middle)


def _head(path: bytes, size: int) -> bytes:
    with suppress(OSError):
        descriptor = open_file(path)
        try:
            return os.pread(descriptor, size, 0)
        finally:
            os.close(descriptor)
    return b""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Two manifests compared, files only. `changed` are the entries as they are now, with the names they had before."""

    files: int
    before: int
    added: list[Listed]
    changed: list[tuple[Listed, bytes]]
    removed: list[Listed]
    renamed: list[Listed]  # those of the changed that have a new name
    moved: int

    @classmethod
    def between(cls, old: Path, new: Path) -> Found:
        """Compare. Raises `DamageError` when a manifest cannot be understood."""
        raw = difference(old, new)
        gone = {file.path: file for file in raw.gone}
        come = {file.path: file for file in raw.come}
        both = gone.keys() & come.keys()
        changed = [(come[path], path) for path in sorted(both) if _differs(gone[path], come[path])]
        removed = [file for path, file in gone.items() if path not in both]
        added = [file for path, file in come.items() if path not in both]
        added, removed, moved = _without_moved(added, removed)
        added, removed, renamed = _without_renamed(added, removed)
        return cls(
            files=raw.same + len(come), before=raw.same + len(gone), added=added,
            changed=changed + renamed, removed=removed, renamed=[entry for entry, _ in renamed], moved=moved,
        )  # fmt: skip

    def extension(self) -> tuple[str, int]:
        """Return the extension that most of the renamed took on, and how many; none when they differ."""
        counted = Counter(extension(entry.path) for entry in self.renamed)
        ending, most = next(iter(counted.most_common(1)), ("", 0))
        return (ending, most) if ending and most >= 0.8 * len(self.renamed) else ("", 0)

    def note(self) -> tuple[Listed | None, int]:
        """Return the new text of one name and content that lies in the most directories, and in how many."""
        places: Counter[tuple[bytes, str]] = Counter()
        one: dict[tuple[bytes, str], Listed] = {}
        for entry in self.added:
            if entry.sha256 and entry.size in _NOTE and extension(entry.path) in _NOTE_ENDINGS:
                key = (entry.path.rpartition(b"/")[2], entry.sha256)
                places[key] += 1
                one[key] = entry
        key, count = next(iter(places.most_common(1)), ((b"", ""), 0))
        return one.get(key), count


def _differs(old: Listed, new: Listed) -> bool:
    return old.sha256 is not None and new.sha256 is not None and old.sha256 != new.sha256


def _without_moved(added: list[Listed], removed: list[Listed]) -> tuple[list[Listed], list[Listed], int]:
    """Leave out what only lies elsewhere now: its content went from one name to another."""
    went: Counter[str | None] = Counter(entry.sha256 for entry in removed if entry.sha256)
    came: Counter[str | None] = Counter(entry.sha256 for entry in added if entry.sha256)
    moved = went & came
    return _less(added, moved), _less(removed, moved), moved.total()


def _less(entries: list[Listed], moved: Counter[str | None]) -> list[Listed]:
    left, kept = Counter(moved), []
    for entry in entries:
        if left[entry.sha256] > 0:
            left[entry.sha256] -= 1
        else:
            kept.append(entry)
    return kept


def _without_renamed(
    added: list[Listed], removed: list[Listed]
) -> tuple[list[Listed], list[Listed], list[tuple[Listed, bytes]]]:
    """Pair what came as `a.docx.locked` or `a.locked` with the `a.docx` that went."""
    whole = {entry.path: entry for entry in removed}
    stems = {_stem(entry.path): entry for entry in removed}
    kept, renamed, taken = [], [], set()
    for entry in added:
        stem = _stem(entry.path)
        old = whole.get(stem) or stems.get(stem) if stem != entry.path else None
        if old is None or old.path in taken:
            kept.append(entry)
        else:
            taken.add(old.path)
            renamed.append((entry, old.path))
    return kept, [entry for entry in removed if entry.path not in taken], renamed


def _stem(path: bytes) -> bytes:
    folder, slash, name = path.rpartition(b"/")
    stem = name.rpartition(b".")[0]
    return folder + slash + stem if stem else path
