"""The verb repair: a damaged repository put right, as far as anything is left to put it right with.

In this order. Objects that are lost or spoilt are brought back from wherever the same object is whole: another copy of
the same repository, or a version below in a bucket that keeps them; the SHA-256 that is its name says whether it is.
Packs that stay spoilt are salvaged (`restic repair packs`), and the index is made anew of what the packs themselves say
they hold (`restic repair index`): after that no backup builds on what is not there. Snapshots are changed only where
a person names their points: restic then leaves shorter files without a mark, so that they are named here, by the
manifest.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from datetime import UTC, datetime
from pathlib import Path

from dr.errors import DamageError, DrError, InterruptedRunError, RefusedError, TargetDownError
from dr.evidence import manifest
from dr.evidence.manifest_parts import take
from dr.evidence.record import Damage, Point
from dr.late_dataclass import dataclass
from dr.plan.units import counted
from dr.run.points.discover import points_in
from dr.run.points.presence import ExchangedError, begin_again, refuse_exchanged
from dr.run.timetravel.point_in_time import versions_of
from dr.run.verification.findings import NO_KEY, PUT_KEYS_BACK
from dr.run.workspace.toolbox import Place, Toolbox
from dr.sources.driver import MANIFEST
from dr.tools.restic_events import Checked
from dr.tools.store import ObjectStore, ids
from dr.tools.view import View, ViewStore

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Keys and `config` first, snapshots last: what is there is valid at every instant.
_ORDER = ("config", "keys/", "data/", "index/", "snapshots/")


@dataclass
class Mended:
    """What one repair did, in words, and what it could not. `names`: (source, problem, path) of files that are lost."""

    done: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    names: list[tuple[str, str, bytes]] = field(default_factory=list)


def repair(
    toolbox: Toolbox, place: Place, damage: Sequence[Damage], *, config_hash: str, dry_run: bool, mended: Mended
) -> None:
    """Put a repository right whose damage was found before; `mended` is filled on the way. May be called again."""
    bad = sorted((item.object for item in damage if item.problem != "unreferenced"), key=_order)
    if bad:
        bad = _bring_back(toolbox, place, bad, config_hash=config_hash, dry_run=dry_run, mended=mended)
        _require_what_opens_it(place, bad)
    if dry_run:
        _foresee(place, bad, mended)
        return
    spoilt = [item.object for item in damage if item.object in bad and item.problem != "missing"]
    packs = [name.rpartition("/")[2] for name in spoilt if name.startswith("data/")]
    if packs:
        _asked(lambda: _salvage(place, packs), f"{counted(len(packs), 'damaged pack')} salvaged", mended)
    checked = place.repository.check()
    if not packs and (names_nothing(checked) or any(name.startswith(("index/", "data/")) for name in bad)):
        _asked(place.repository.repair_index, "the index made again of what the packs hold", mended)
        checked = place.repository.check()
    if checked.index_broken:
        mended.left.append(
            "an index file that is damaged could not be removed: it takes keys that may delete "
            + ", ".join(f"index/{name}" for name in checked.unread)
        )


def require_what_it_was(place: Place) -> None:
    """Raise `ExchangedError` where another repository is in the place of the one on record, or none of it is left.

    One that lost its `config`, and no more, is put right; so is one of which a bucket keeps the versions below.
    """
    try:
        refuse_exchanged(place)
    except ExchangedError:
        if place.store.exists("config") or not (_has_snapshots(place.store) or _has_versions(place)):
            raise


def _has_snapshots(store: ObjectStore) -> bool:
    return bool(ids(store, "snapshots/"))


def _has_versions(place: Place) -> bool:
    try:
        versions = versions_of(place)
        return versions is not None and any(version.name == "config" for version in versions.versions())
    except RefusedError:
        return False  # these keys may not list versions


def names_nothing(checked: Checked) -> bool:
    """Whether the index does not name what snapshots need, or names what is not there."""
    return bool(checked.index_broken or checked.blobs or checked.trees or checked.missing or checked.truncated)


def _order(name: str) -> int:
    return next(number for number, part in enumerate(_ORDER) if name.startswith(part))


def _asked(act: Callable[[], None], said: str, mended: Mended) -> None:
    """Do it; what these keys may not do is said, and a check shows what came of it."""
    try:
        act()
    except (InterruptedRunError, TargetDownError):
        raise
    except DrError as error:
        refused = isinstance(error, RefusedError)
        what = "these keys may not delete: what is of no use stays" if refused else str(error)
        mended.left.append(f"{said}, but not to the end ({what})")
    else:
        mended.done.append(said)


def _salvage(place: Place, packs: Sequence[str]) -> None:
    """Salvage what is left of spoilt packs. restic leaves a copy of each in the directory that it works in."""
    with tempfile.TemporaryDirectory(prefix="dr-packs-") as folder:
        place.repository.repair_packs(packs, cwd=Path(folder))


def _foresee(place: Place, bad: Sequence[str], mended: Mended) -> None:
    """Say what would be done beyond bringing objects back."""
    packs = [name for name in bad if name.startswith("data/")]
    if packs:
        mended.done.append(f"would salvage what is left of {counted(len(packs), 'pack')} (restic repair packs)")
    try:
        broken = names_nothing(place.repository.check())
    except (InterruptedRunError, RefusedError, TargetDownError):
        raise
    except DrError:
        broken = False  # it cannot be opened as it is
    if broken or any(name.startswith("index/") for name in bad):
        mended.done.append("would make the index again of what the packs hold (restic repair index)")


# -- what another copy has -----------------------------------------------------------------------------


def _require_what_opens_it(place: Place, gone: Sequence[str]) -> None:
    """Raise `DamageError` where what opens the repository is nowhere: restic sees none, or blames the passphrase."""
    if "config" in gone and not place.store.exists("config"):
        raise DamageError(
            "its `config` is gone, without which restic opens nothing", place.repository.where,
            hint="put `config` back from another copy of this repository; until then recover from another target; "
            f"only if it is really lost: {begin_again(place.system, place.name)}",
        )  # fmt: skip
    if any(name.startswith("keys") for name in gone) and not ids(place.store, "keys/"):
        raise DamageError(NO_KEY, place.repository.where, hint=PUT_KEYS_BACK)


def _bring_back(
    toolbox: Toolbox, place: Place, bad: list[str], *, config_hash: str, dry_run: bool, mended: Mended
) -> list[str]:
    """Bring back what is whole elsewhere; return what is nowhere."""
    for where, store in _elsewhere(toolbox, place, config_hash=config_hash, bad=bad):
        found = [name for name in bad if _is_whole(store, name, config_hash)]
        back = found if dry_run else [name for name in found if _take(place.store, name, store)]
        if back:
            verb = "would bring" if dry_run else "brought"
            mended.done.append(f"{verb} back {counted(len(back), 'object')} from {where}, each by its SHA-256")
        bad = [name for name in bad if name not in back]
        if not bad:
            break
    return bad


def _elsewhere(
    toolbox: Toolbox, place: Place, *, config_hash: str, bad: Sequence[str]
) -> Iterator[tuple[str, ObjectStore]]:
    """Yield the places that hold the same objects: versions below, and the other copies of the repository."""
    try:
        if versions := versions_of(place):
            view = View.of(versions.versions(), _EPOCH, datetime.now(UTC))
            yield f"the versions below on {place.name}", ViewStore(versions, view)
    except RefusedError:
        pass  # these keys may not list versions
    for other in toolbox.everywhere:
        if other.name == place.name:
            continue
        try:
            other.store.reachable()
            same = other.store.exists("config") and _same(place, other, config_hash=config_hash, lost="config" in bad)
        except InterruptedRunError:
            raise
        except DrError:
            continue
        if same:
            yield other.name, other.store


def _same(place: Place, other: Place, *, config_hash: str, lost: bool) -> bool:
    """Whether another place holds a copy of the same repository."""
    if lost:
        return bool(config_hash) and other.store.sha256("config")[0] == config_hash
    return other.store.get("config") == place.store.get("config")


def _is_whole(store: ObjectStore, name: str, config_hash: str) -> bool:
    promised = config_hash if name == "config" else name.rpartition("/")[2]
    try:
        return bool(promised) and store.sha256(name)[0] == promised
    except DamageError:
        return False


def _take(to: ObjectStore, name: str, source: ObjectStore) -> bool:
    digest = source.sha256(name)[0]
    return to.take(name, source, sha256=digest)


# -- snapshots, when a person names them -----------------------------------------------------------------


def repair_snapshots(place: Place, points: Sequence[Point], mended: Mended) -> None:
    """Leave out of the snapshots of these points what is lost, and say what became shorter or is gone.

    The points are incomplete from then on, also for who reads the repository alone: their tags say so.
    """
    for point in points:
        ids = [each for copy in point.copies if copy.target == place.name for each in copy.snapshots.values()]
        place.repository.repair_snapshots(ids)
        now = {p.run_id: p for p in points_in(place, point.system)}.get(point.run_id)
        if now is None:
            mended.left.append(f"nothing of the point {point.run_id} was left: its snapshots are gone")
            continue
        lost = _mark(place, point, now, mended)
        after = next(p for p in points_in(place, point.system) if p.run_id == point.run_id)
        mended.points.append(after)
        mended.done.append(f"{counted(lost, 'file')} of the point {point.run_id} shorter than captured, or gone")


def _mark(place: Place, before: Point, now: Point, mended: Mended) -> int:
    """Mark what was changed, and return how many files of it are not as they were captured."""
    was = next(copy for copy in before.copies if copy.target == place.name)
    is_now, lost = now.copies[0], 0
    for source, snapshot in is_now.snapshots.items():
        if was.snapshots.get(source) == snapshot:
            continue
        shorter = list(_shorter(place, is_now.manifests.get(source) or snapshot, snapshot))
        mended.names += [(source, "shorter than captured, or gone", path) for path in shorter]
        lost += len(shorter)
        place.repository.mark(snapshot, whole="no")
    for source in was.snapshots.keys() - is_now.snapshots.keys():
        mended.left.append(f"{source} of the point {before.run_id}: its snapshot is gone")
    return lost


def _shorter(place: Place, listed: str, snapshot: str) -> Iterator[bytes]:
    """Yield the files of a manifest that a snapshot does not hold with their size."""
    sizes = {os.fsencode(node["path"]): int(node.get("size", 0)) for node in place.repository.ls(snapshot)}
    with tempfile.TemporaryDirectory(prefix="dr-manifest-") as folder:
        path = Path(folder) / MANIFEST
        try:
            with place.repository.reading(listed, f"/{MANIFEST}") as chunks:
                take(chunks, path)
            files = (entry for entry in manifest.read(path) if entry.kind == "file" and entry.state == "ok")
            shorter = [each.path for each in files if sizes.get(b"/" + each.path.lstrip(b"/")) != each.size]
        except (DamageError, DrError):
            yield b"(the manifest itself is lost: nobody can say which)"
            return
    yield from shorter
