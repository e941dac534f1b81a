"""Bringing a point's sources back below one directory, each at `ROOT/SOURCE`; for drills and recoveries.

`bring_whole` restores everything; `bring_samples` what a file-loss drill needs: the files that the plan's
file checks name, else one file picked by the drill's id. May be called again over what an interrupted call
left: restic completes it.
"""

from __future__ import annotations

import os
import random
import re
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from dr.errors import DrError
from dr.evidence.manifest import Entry
from dr.evidence.record import Copy, Point
from dr.run.checks import Restored, bases_of
from dr.run.compare import chosen, walk
from dr.run.pattern import below, for_restic, literal
from dr.run.sandbox import require_space
from dr.run.toolbox import Place, Toolbox
from dr.tools.restic import Repository

MANIFEST = "dr-manifest"
MANIFESTS = ".manifests"
#: Two restic processes at once keep a network busy without tripling the memory they need.
_AT_ONCE = 2


@dataclass(frozen=True, kw_only=True)
class Shipment:
    """What to bring, from where, to where. `seed` picks the samples."""

    toolbox: Toolbox
    place: Place
    point: Point
    copy: Copy
    root: Path
    seed: str

    @property
    def names(self) -> list[str]:
        """The sources that the point holds."""
        return sorted(self.copy.snapshots)

    def doors_apply(self, name: str) -> bool:
        """Whether the plan still has this source, and of the same kind."""
        declared = self.toolbox.plan.sources.get(name)
        return declared is not None and declared.kind == self.point.kinds.get(name, declared.kind)


def bring_whole(shipment: Shipment) -> dict[str, Restored]:
    """Restore every source of the point, also those the plan no longer names."""
    return _each(shipment, shipment.names, _bring_all_of)


def bring_samples(shipment: Shipment) -> dict[str, Restored]:
    """Restore some files of each tree; of streams only when the point holds nothing else."""
    trees = [name for name in shipment.names if shipment.point.kinds.get(name) != "command"]
    return _each(shipment, trees or shipment.names, _bring_sample_of)


def _each(shipment: Shipment, names: Sequence[str], bring: Callable[[Shipment, str], Restored]) -> dict[str, Restored]:
    (shipment.root / MANIFESTS).mkdir(mode=0o700, exist_ok=True)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        restored = list(pool.map(lambda name: bring(shipment, name), names))
    return dict(zip(names, restored, strict=True))


def _bring_all_of(shipment: Shipment, name: str) -> Restored:
    root = _room(shipment, name)
    amended = _fetch_manifest(shipment, name)
    done = shipment.place.repository.restore(shipment.copy.snapshots[name], root, overwrite="always")
    return _settle(shipment, name, amended, complaints=done.errors)


def _bring_sample_of(shipment: Shipment, name: str) -> Restored:
    root, repository = _room(shipment, name), shipment.place.repository
    snapshot = shipment.copy.snapshots[name]
    amended = _fetch_manifest(shipment, name)
    if amended is None:
        repository.restore(snapshot, root, include=[f"/{MANIFEST}"])
    listed = amended or root / MANIFEST
    if not listed.is_file():
        raise DrError(
            "the point holds no manifest, so no sample can be picked",
            name,
            hint="drill the whole system: --scenario system-loss",
        )
    sample = _sample(shipment, name, listed)
    require_space(root, sum(entry.size for entry in chosen(listed, sample.only)))
    done = repository.restore(snapshot, root, include=sample.include, overwrite="always")
    restored = _settle(shipment, name, amended, complaints=done.errors)
    return replace(restored, only=sample.only, listed=sample.listed)


def _room(shipment: Shipment, name: str) -> Path:
    root = shipment.root / name
    root.mkdir(mode=0o700, exist_ok=True)
    return root


def _fetch_manifest(shipment: Shipment, name: str) -> Path | None:
    """Return the manifest that was stored apart from its data: a stream's, or one amended later."""
    snapshot = shipment.copy.manifests.get(name)
    if snapshot is None:
        return None
    place = shipment.root / MANIFESTS / f".{name}"
    _restore_or_raise(shipment.place.repository, snapshot, place)
    return (place / MANIFEST).replace(shipment.root / MANIFESTS / f"{name}.amended")


def _restore_or_raise(repository: Repository, snapshot: str, place: Path) -> None:
    done = repository.restore(snapshot, place, include=[f"/{MANIFEST}"], overwrite="always")
    if not (place / MANIFEST).is_file():
        raise DrError(
            "the manifest of the point could not be restored",
            repository.where,
            "; ".join(done.errors[:1]),
            hint="use another target or an older point",
        )


def _settle(shipment: Shipment, name: str, amended: Path | None, *, complaints: tuple[str, ...]) -> Restored:
    """Put in order what restic laid down, and count it."""
    root = shipment.root / name
    doors = shipment.toolbox.source(name) if shipment.doors_apply(name) else None
    listed = doors.restore(root) if doors else _put_aside(root)
    sizes = [_content(entry.stat(follow_symlinks=False)) for _, entry in walk(root)]
    return Restored(
        name=name,
        kind=shipment.point.kinds.get(name, "files"),
        root=root,
        doors=doors,
        declared=shipment.toolbox.plan.sources[name] if doors else None,
        manifest=amended or listed,
        files=len(sizes),
        listed=len(sizes),
        bytes=sum(sizes),
        complaints=complaints,
    )


def _content(found: os.stat_result) -> int:
    """The bytes of a file; links and the like have none."""
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _put_aside(root: Path) -> Path | None:
    """Move the manifest out of a source that the plan no longer names."""
    found = root / MANIFEST
    return found.replace(root.parent / MANIFESTS / root.name) if found.is_file() else None


# -- samples -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sample:
    """Which paths of a source to restore: for us, and for restic. `listed` is how many files there are."""

    only: re.Pattern[bytes]
    include: list[str]
    listed: int


def _sample(shipment: Shipment, name: str, listed: Path) -> _Sample:
    """Return what the plan's file checks name; when that is nothing, one file picked by the seed."""
    declared = shipment.toolbox.plan.sources.get(name) if shipment.doors_apply(name) else None
    bases = bases_of(declared)
    named = [c.file.path for c in shipment.toolbox.plan.drill.checks if c.file and c.file.source == name]
    only = re.compile(b"|".join(below(bases, path).pattern for path in named) or b"(?!)", re.DOTALL)
    there = [entry for entry in chosen(listed, None) if entry.kind != "dir"]
    files = [entry for entry in there if entry.kind == "file"]
    paths = {entry.path.lstrip(b"/") for entry in files}
    include = [form for path in named for form in for_restic(bases, path, alone=paths)]
    if not any(only.fullmatch(path) for path in paths):
        path = _picked(files, f"{shipment.seed}/{name}")
        only, include = re.compile(re.escape(path), re.DOTALL), [literal(os.fsdecode(b"/" + path))]
    return _Sample(only, include, len(there))


def _picked(files: Sequence[Entry], seed: str) -> bytes:
    """Pick one file; the same seed picks the same file. Files with content come first."""
    whole = [entry for entry in files if entry.state == "ok"]
    pool = [entry for entry in whole if entry.size] or whole
    if not pool:
        raise DrError(
            "the point holds no file to restore from this source",
            hint="drill the whole system: --scenario system-loss",
        )
    return random.Random(seed).choice(pool).path.lstrip(b"/")  # noqa: S311 - picks, hides nothing
