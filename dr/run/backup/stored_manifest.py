"""How the manifest of one source is stored: whole while it is small, else in parts (`dr.evidence.manifest_parts`).

The parts of the last run are kept beside its manifest. They are taken up, get one delta more, and lie in the place of
the manifest while restic reads: moved there as a folder, so that to restic they are the files of last time. They are
kept again with the manifest. A run that is killed, or keeps no manifest, takes them along: the next begins with a new
base, as it does on a new machine, or after a release that knew no parts.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dr.errors import DamageError
from dr.evidence import manifest
from dr.evidence.manifest_parts import BASE, changes, delta, make_a_whole, read_head, write_head
from dr.late_dataclass import dataclass

#: A manifest of so many bytes is stored as one file: to a repository it is one block anyway.
LEAST = 256 << 10
#: So many deltas, and together so much of the base, before a new base is begun.
MOST, SHARE = 128, 0.5
#: No source can have these names.
_PARTS, _WHOLE = ".parts", ".whole"


@dataclass(frozen=True)
class Beside:
    """What of a snapshot is ours: files, the directories that hold them, and bytes."""

    files: int
    dirs: int
    bytes: int


class StoredManifest:
    """Lays the manifest of one source as it is stored. `reuse` is where the last one is kept, `work` scratch space."""

    def __init__(self, name: str, *, reuse: Path, work: Path) -> None:
        self._kept, self._last = _kept_at(reuse, name), reuse / name
        self._made, self._whole = work / _PARTS, work / _WHOLE
        #: What the delta of this run is held against, and its number; None where there is nothing to go on from.
        self._before: Path | None = None
        self._number = 0

    @contextmanager
    def laid(self, listed: Path) -> Iterator[Beside]:
        """Lay the manifest at `listed` as it is stored, then the whole again. Called again where it was amended."""
        if listed.stat().st_size < LEAST or not manifest.is_sorted(listed):
            yield Beside(1, 0, listed.stat().st_size)
            return
        self._extend(listed)
        listed.replace(self._whole)
        self._made.replace(listed)
        try:
            sizes = [path.stat().st_size for path in listed.iterdir()]
            yield Beside(len(sizes), 1, sum(sizes))
        finally:
            listed.replace(self._made)
            self._whole.replace(listed)

    def _extend(self, whole: Path) -> None:
        """Make the parts those of `whole`: by one delta more than the last run had, or a base."""
        if not self._made.exists():
            self._take_up()
        if self._before is None or not self._added(self._before, whole):
            self._begin(whole)

    def _take_up(self) -> None:
        """Go on from the parts of the last run, where they are those of its manifest."""
        try:
            deltas, *ends = read_head(self._kept)
            if deltas >= MOST or tuple(ends) != manifest.ends(self._last):
                return
        except DamageError:
            return
        shutil.move(self._kept, self._made)
        self._before, self._number = self._last, deltas + 1

    def _added(self, before: Path, whole: Path) -> bool:
        """Write the delta; return whether the parts are not too many bytes, and make a whole."""
        with (self._made / delta(self._number)).open("wb") as file:
            file.writelines(changes(before, whole))
        write_head(self._made, self._number, whole)
        sizes = [(self._made / delta(number)).stat().st_size for number in range(1, self._number + 1)]
        return sum(sizes) <= SHARE * (self._made / BASE).stat().st_size and make_a_whole(self._made)

    def _begin(self, whole: Path) -> None:
        shutil.rmtree(self._made, ignore_errors=True)
        self._made.mkdir(mode=0o700)
        shutil.copyfile(whole, self._made / BASE)
        write_head(self._made, 0, whole)
        self._before, self._number = self._made / BASE, 1  # where it is amended in this run


def keep_parts(name: str, *, reuse: Path, work: Path) -> None:
    """Keep the parts of a run whose manifest is kept; of one that was stored whole none are left."""
    kept = _kept_at(reuse, name)
    shutil.rmtree(kept, ignore_errors=True)
    if (work / _PARTS).is_dir():
        kept.parent.mkdir(mode=0o700, exist_ok=True)
        shutil.move(work / _PARTS, kept)


def _kept_at(reuse: Path, name: str) -> Path:
    return reuse / _PARTS / name
