"""Bringing a point's sources back, each in a room of its own, `ROOT/SOURCE`; for drills and recoveries.

In three steps: `make_rooms` (what stands beside the data: manifests, recorded facts), `RestoredSource.provision`
by the engine, then `bring_whole` (everything: trees as files, streams into their services) or `bring_samples`
(what a file-loss drill needs: the files that the plan's file checks name, else one picked by the drill's id).
May be called again over what an interrupted call left: restic completes it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from dr.errors import DamageError, DrError, InterruptedRunError
from dr.evidence import manifest
from dr.evidence.manifest import Entry
from dr.evidence.record import Copy, Point
from dr.run.recovery.checks.context import Poured, Restored
from dr.run.recovery.checks.pattern import bases_of, below, for_restic, literal
from dr.run.recovery.compare import chosen
from dr.run.recovery.place.restore_host import HERE, LAID, RestoreHost
from dr.run.workspace.toolbox import Place, Toolbox
from dr.sources import database_inventory as facts
from dr.sources.driver import MANIFEST, RestoredSource, RestoreSlot
from dr.tools import activity
from dr.tools.host import Host

#: Two restic processes at once keep a network busy without tripling the memory they need.
_AT_ONCE = 2
T = TypeVar("T")
log = logging.getLogger("dr.recover")
#: What stands beside a stream for us alone.
_OURS = frozenset({MANIFEST, LAID, facts.FILENAME})


@dataclass(frozen=True, kw_only=True)
class RestoreJob:
    """What to bring, from where, to where: `root` on the `land`. `seed` picks the samples.

    `inside` is the land's host as what is restored sees it: isolated, in a drill; absent: the host itself.
    `as_files` leaves dumps unloaded. A source that cannot be read stops a restore; where what is left is to `salvage`
    it is among the `lost`. `instances` is filled by `make_rooms`: what the restore makes of each source.
    """

    toolbox: Toolbox
    place: Place
    point: Point
    copy: Copy
    root: Path
    seed: str
    annex: Callable[[str], Path]
    land: RestoreHost = HERE
    inside: Host | None = None
    real: bool = False
    replaced: frozenset[str] = frozenset()
    accepted: frozenset[str] = frozenset()
    as_files: bool = False
    token: str = ""
    salvage: bool = False
    instances: dict[str, RestoredSource] = field(default_factory=dict)
    lost: dict[str, DrError] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The sources that the point holds, but for those of which nothing can be brought."""
        return sorted(self.copy.snapshots.keys() - self.lost.keys())

    def doors_apply(self, name: str) -> bool:
        """Whether the plan still has this source, and of the same kind."""
        declared = self.toolbox.plan.sources.get(name)
        return declared is not None and declared.kind == self.point.kinds.get(name, declared.kind)


def make_rooms(shipment: RestoreJob) -> None:
    """Make each source's room, and bring what was stored apart from its data: manifest, facts, accounts."""
    shipment.land.aside(shipment.root).mkdir(mode=0o700, exist_ok=True)
    _each(shipment.names, lambda name: _or_lost(shipment, name, lambda: _make_room(shipment, name)))
    for name in shipment.names:
        shipment.instances[name] = instance_of(shipment, name)


def instance_of(shipment: RestoreJob, name: str) -> RestoredSource:
    """Return what a restore makes of a source; plain files when the plan no longer names it."""
    room = RestoreSlot(
        root=shipment.root / name,
        apart=_apart(shipment, name),
        annex=shipment.annex,
        token=shipment.token or shipment.seed,
        real=shipment.real,
        replace=shipment.replaced,
        accepted=shipment.accepted,
        host=shipment.inside or shipment.land.host,
    )
    if shipment.doors_apply(name):
        instance = shipment.toolbox.source(name).restored(room)
        if not (instance.takes_stream and shipment.as_files):
            return instance
    return RestoredSource(name, shipment.point.kinds.get(name, "files"), room)


def bring_whole(shipment: RestoreJob) -> dict[str, Restored]:
    """Restore every source of the point, also those the plan no longer names."""
    return _bring(shipment, shipment.names, _bring_all_of)


def bring_samples(shipment: RestoreJob) -> dict[str, Restored]:
    """Restore some files of each tree; of streams only when the point holds nothing else."""
    trees = [name for name in shipment.names if name not in shipment.copy.manifests or not _is_stream(shipment, name)]
    return _bring(shipment, trees or shipment.names, _bring_sample_of)


def _bring(
    shipment: RestoreJob, names: Sequence[str], bring: Callable[[RestoreJob, str], Restored]
) -> dict[str, Restored]:
    done = _each(names, lambda name: _or_lost(shipment, name, lambda: bring(shipment, name)))
    return {name: item for name, item in zip(names, done, strict=True) if item is not None}


def _or_lost(shipment: RestoreJob, name: str, act: Callable[[], T]) -> T | None:
    """Do it for one source; where what is left is to be salvaged, note a source of which that is nothing."""
    try:
        with activity.step("", source=name):
            return act()
    except InterruptedRunError:
        raise
    except DrError as error:
        if not shipment.salvage or "disk is full" in error.what:
            raise
        shipment.lost[name] = error
        return None


def _each(names: Sequence[str], act: Callable[[str], T]) -> list[T]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(activity.carried(act), names))


# -- what stands beside the data ---------------------------------------------------------------------


def _apart(shipment: RestoreJob, name: str) -> Path:
    return shipment.land.aside(shipment.root) / name


def _make_room(shipment: RestoreJob, name: str) -> None:
    """Bring what was stored apart from the data: a stream's manifest and facts, or a manifest amended later."""
    shipment.land.make(shipment.root / name)
    apart = _apart(shipment, name)
    apart.mkdir(mode=0o700, exist_ok=True)
    snapshot = shipment.copy.manifests.get(name)
    if snapshot is None:
        return
    done = shipment.place.repository.restore(snapshot, apart, overwrite="always")
    if not (apart / MANIFEST).is_file():
        raise DamageError(
            "the manifest of the point could not be restored",
            shipment.place.repository.where,
            "; ".join(done.errors[:1]),
            hint="use another target or an older point",
        )


def _is_stream(shipment: RestoreJob, name: str) -> bool:
    """Whether a source was captured as one stream: its manifest says so."""
    listed = _apart(shipment, name) / MANIFEST
    return listed.is_file() and manifest.is_stream(listed)


# -- the data ----------------------------------------------------------------------------------------


def _bring_all_of(shipment: RestoreJob, name: str) -> Restored:
    instance = shipment.instances[name]
    if instance.takes_stream:
        return _pour(shipment, name, instance)
    complaints = shipment.land.lay(shipment.place.repository, shipment.copy.snapshots[name], instance.room)
    restored = _settle(shipment, name, complaints=complaints)
    if shipment.as_files and _is_stream(shipment, name):
        return replace(restored, beside=_lay_beside(shipment, name))
    return restored


def _lay_beside(shipment: RestoreJob, name: str) -> frozenset[str]:
    """Lay down beside a dump what was stored with it, such as accounts: who loads it by hand needs that too.

    Returns the names of what was laid down.
    """
    apart, root, laid = _apart(shipment, name), shipment.root / name, set[str]()
    if not root.is_dir():  # on another host
        return frozenset()
    for path in sorted(apart.iterdir()):
        if path.is_file() and path.name not in _OURS and not (root / path.name).exists():
            shutil.copyfile(path, root / path.name)
            (root / path.name).chmod(0o600)
            laid.add(path.name)
            log.warning("%s: stored with the dumps, and needed with them: %s", name, root / path.name)
    return frozenset(laid)


def _pour(shipment: RestoreJob, name: str, instance: RestoredSource) -> Restored:
    """Send a stored stream into its service, hashed by us on its way."""
    listed = _apart(shipment, name) / MANIFEST
    entry = next(manifest.read(listed), None) if listed.is_file() else None
    if entry is None:
        raise DamageError("the point holds no manifest of this stream", name, hint="use another target or older point")
    filename, digest, size = os.fsdecode(entry.path).lstrip("/"), hashlib.sha256(), 0

    def hashed(chunks: Iterator[bytes]) -> Iterator[bytes]:
        nonlocal size
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            yield chunk

    with shipment.place.repository.reading(shipment.copy.snapshots[name], f"/{filename}") as chunks:
        stream = hashed(chunks)
        instance.pour(filename, stream)
        for _ in stream:  # what the service did not read, such as a tar's last blocks, is hashed all the same
            pass
    return Restored(
        name=name,
        kind=instance.kind,
        root=shipment.root / name,
        instance=instance,
        declared=shipment.toolbox.plan.sources[name],
        manifest=listed,
        poured=Poured(filename, size, digest.hexdigest()),
        files=1,
        listed=1,
        bytes=size,
    )


def _bring_sample_of(shipment: RestoreJob, name: str) -> Restored:
    land, repository, room = shipment.land, shipment.place.repository, shipment.instances[name].room
    snapshot, listed = shipment.copy.snapshots[name], _apart(shipment, name) / MANIFEST
    if not listed.is_file():
        listed = land.manifest(repository, snapshot, room)
    if not listed.is_file():
        raise DrError(
            "the point holds no manifest, so no sample can be picked",
            name,
            hint="drill the whole system: --scenario system-loss",
        )
    sample = _sample(shipment, name, listed)
    land.require_space(room.root, sum(entry.size for entry in chosen(listed, sample.only)))
    restored = _settle(shipment, name, complaints=land.lay(repository, snapshot, room, sample.include))
    return replace(restored, only=sample.only, listed=sample.listed)


def _settle(shipment: RestoreJob, name: str, *, complaints: tuple[str, ...]) -> Restored:
    """Put in order what was laid down, and count it."""
    instance, amended = shipment.instances[name], _apart(shipment, name) / MANIFEST
    laid = shipment.land.settle(instance)
    survey = shipment.land.survey(shipment.root / name)
    with survey.reachable():
        sizes = [_content(status) for _, status in survey.files()]
    return Restored(
        name=name,
        kind=shipment.point.kinds.get(name, "files"),
        root=shipment.root / name,
        instance=instance,
        declared=shipment.toolbox.plan.sources[name] if shipment.doors_apply(name) else None,
        manifest=amended if amended.is_file() else laid,
        files=len(sizes),
        listed=len(sizes),
        bytes=sum(sizes),
        complaints=complaints,
    )


def _content(found: os.stat_result) -> int:
    """The bytes of a file; links and the like have none."""
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


# -- samples -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sample:
    """Which paths of a source to restore: for us, and for restic. `listed` is how many files there are."""

    only: re.Pattern[bytes]
    include: list[str]
    listed: int


def _sample(shipment: RestoreJob, name: str, listed: Path) -> _Sample:
    """Return what the plan's file checks name; when that is nothing, one file picked by the seed."""
    declared = shipment.toolbox.plan.sources.get(name) if shipment.doors_apply(name) else None
    bases = bases_of(declared)
    checks = [check.body for check in shipment.toolbox.plan.drill.checks if check.source == name]
    named = [wanted for body in checks if (wanted := body.sampled_path) is not None]
    only = re.compile(b"|".join(below(bases, each).pattern for each in named) or b"(?!)", re.DOTALL)
    there = [entry for entry in chosen(listed, None) if entry.kind != "dir"]
    files = [entry for entry in there if entry.kind == "file"]
    paths = {entry.path.lstrip(b"/") for entry in files}
    include = [form for each in named for form in for_restic(bases, each, alone=paths)]
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
