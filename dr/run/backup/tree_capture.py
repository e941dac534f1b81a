"""The capture of a tree: read by each target's restic side by side, then held against what was seen before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dr.errors import DrError
from dr.evidence.record import SourceCapture
from dr.run.backup import emptiness
from dr.run.backup.change import Watch
from dr.run.backup.progress import BackupProgress, gather
from dr.run.backup.source_capture import as_found, omitted, source_fact, take_differences, take_notes, weighed
from dr.run.backup.stored_manifest import Beside, StoredManifest
from dr.run.workspace.each_target import everywhere
from dr.run.workspace.toolbox import Place
from dr.sources.driver import Kept, Settled, SourceDriver, Tree
from dr.tools import activity
from dr.tools.restic_events import Expected, Stored


def store_tree(
    tree: Tree,
    doors: SourceDriver,
    progress: BackupProgress,
    tags: Mapping[str, str],
    *,
    parts: StoredManifest,
    watch: Watch,
) -> SourceCapture:
    """Store a tree and its manifest on every target that is ready; return what came of it."""

    def store(place: Place, beside: Beside) -> Stored:
        # restic finds the parent by host and paths, hence a scratch directory of constant name.
        with activity.step("store", target=place.name):
            return place.repository.backup_tree(
                (*tree.paths, tree.manifest_name),
                cwd=tree.cwd,
                tags={**tags, "part": "data", "beside": str(beside.bytes)},
                excludes=tree.excludes,
                one_filesystem=tree.one_filesystem,
                expected=Expected(tree.files + beside.files, tree.bytes + beside.bytes),
            )

    with parts.laid(tree.cwd / tree.manifest_name) as beside:
        stored = gather(progress, everywhere(progress.ready, lambda place: store(place, beside)), doors.name)
    settled = tree.settle(_kept(progress, stored, beside))
    unreadable = _unreadable(tree, stored)
    settled = settled.without(unreadable)
    omissions = omitted(tree, unreadable, settled)
    take_notes(progress, doors.name, tree, unreadable)
    take_differences(progress, doors.name, settled)
    whole = not any(omission.partial for omission in omissions)
    if settled.amended or (stored and not whole):  # the repository alone must tell that the point is not whole
        with parts.laid(tree.cwd / tree.manifest_name):
            _amend(tree, progress, stored, tags=tags, whole=whole)
    files, size = _held(tree, settled, stored, beside)
    fact = source_fact(doors, progress, stored, files=files, size=size)
    fact = as_found(fact, settled, unreadable=len(unreadable), omissions=omissions)
    fact = weighed(fact, emptiness.of_tree(tree), told=tree.emptied or bool(settled.omissions))
    return replace(fact, change=watch.tree(tree, stored))


def _held(tree: Tree, settled: Settled, stored: Mapping[str, Stored], beside: Beside) -> tuple[int, int]:
    """Return how many files and bytes were stored: as listed, unless some came or went before restic read them."""
    first = next(iter(stored.values()), None)
    if first is None or not (settled.appeared or settled.vanished):
        return tree.files, tree.bytes
    return first.files - beside.files, first.bytes - beside.bytes


def _kept(progress: BackupProgress, stored: Mapping[str, Stored], beside: Beside) -> list[Kept]:
    """Return what the snapshots hold, beside our manifest. A target that cannot list its own is used no more."""

    def of(name: str, result: Stored) -> Kept:
        return Kept(
            result.files - beside.files,
            result.dirs - beside.dirs,
            lambda: progress.ready[name].repository.nodes(result.snapshot_id),
            lost=lambda error: progress.lose(name, error),
            beside=True,
        )

    return [of(name, result) for name, result in stored.items()]


def _unreadable(tree: Tree, stored: Mapping[str, Stored]) -> frozenset[str]:
    """What is there and could not be read, by us or by restic. What went away meanwhile is not damage."""
    seen = {name for result in stored.values() for name in (*result.unreadable, *result.skipped)}
    return frozenset({*tree.unreadable, *(name for name in seen if _still_there(name))})


def _still_there(name: str) -> bool:
    try:
        Path(name).lstat()
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    return True


def _amend(
    tree: Tree,
    progress: BackupProgress,
    stored: Mapping[str, Stored],
    *,
    tags: Mapping[str, str],
    whole: bool,
) -> None:
    """Store the manifest as it is after the capture, beside the data it is about."""

    def store(place: Place) -> Stored:
        more = {"part": "amend", "whole": "yes" if whole else "no"}
        return place.repository.backup_tree((tree.manifest_name,), cwd=tree.cwd, tags={**tags, **more})

    places = {name: place for name, place in progress.ready.items() if name in stored}
    for name, result in everywhere(places, store).items():
        if isinstance(result, DrError):
            progress.lose(name, result)
        else:
            progress.manifests.setdefault(name, {})[tags["source"]] = result.snapshot_id
