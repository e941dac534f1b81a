"""Capturing one source: once, and stored on every target that is ready.

A capture that lost its connection is begun again from the start; whatever else fails leaves no snapshot.
What went wrong with one target never hides behind what went well on another.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dr.errors import DrError, SourceError
from dr.evidence import manifest
from dr.evidence.change import Past
from dr.evidence.look import LeftBehind, Look, Stranger
from dr.evidence.record import HookRun, Omission, Point, SourceCapture, worst_outcome
from dr.late_dataclass import dataclass
from dr.run.backup import emptiness
from dr.run.backup.agent_capture import store_away
from dr.run.backup.baseline import baseline, keep, keep_baseline, rows_kept
from dr.run.backup.change import Watch
from dr.run.backup.fanout import hold_size, pour
from dr.run.backup.stored_manifest import Beside, StoredManifest, keep_parts
from dr.run.backup.unread import omission_of
from dr.run.points.left_behind import OwnRuns
from dr.run.workspace.each_target import everywhere
from dr.run.workspace.toolbox import Place, Toolbox
from dr.sources import database_inventory as facts
from dr.sources.driver import MANIFEST, AgentCapture, Kept, Sent, Settled, SourceDriver, Stream, Tree
from dr.sources.files import not_there
from dr.sources.stored import unstored_omission
from dr.tools import activity, retry
from dr.tools.restic_events import Stored

log = logging.getLogger("dr.backup")
#: How often a capture is begun whose connection is lost again and again.
TRIES = 3

#: How the error of a source begins that no target took.
NO_TARGET = "no target could store it"


@dataclass(frozen=True, kw_only=True)
class BackupRequest:
    """What the caller knows before the run.

    `reuse` is the directory of last manifests. `missed` tells of the targets that were looked at, by name, which
    complete points each lacks. `points` are those on record, of which `spent` are of no use to the plan's retention.
    `history` maps source to its earlier, ordinary changes.
    """

    run_id: str
    clock: Callable[[], datetime]
    reuse: Path
    missed: Callable[[Sequence[Look]], Mapping[str, tuple[Point, ...]]] = lambda looks: {}
    points: tuple[Point, ...] = ()
    spent: frozenset[str] = frozenset()
    #: Who stores in these places, as far as it is known here.
    own_runs: OwnRuns = field(default_factory=OwnRuns)
    history: Mapping[str, tuple[Past, ...]] = field(default_factory=dict)
    #: Target -> the ids of the snapshots that points on record have there.
    held: Mapping[str, frozenset[str]] = field(default_factory=dict)
    #: The ids of keys whose removal is on record.
    dropped_keys: frozenset[str] = frozenset()
    #: By target, what the last proof saw there that is still needed, in the order of names: each with its size (bytes).
    proven: Callable[[str], Iterable[tuple[str, int]]] = lambda target: ()


@dataclass
class BackupProgress:
    """What a run gathers on its way."""

    ready: dict[str, Place] = field(default_factory=dict)
    lost: dict[str, DrError] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)  # targets whose repository was made in this run
    renewed: list[str] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    met: dict[str, tuple[Stranger, ...]] = field(default_factory=dict)  # by target, what nobody had read before
    left: list[LeftBehind] = field(default_factory=list)
    captures: list[SourceCapture] = field(default_factory=list)
    snapshots: dict[str, dict[str, str]] = field(default_factory=dict)
    manifests: dict[str, dict[str, str]] = field(default_factory=dict)
    added: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    healed: list[str] = field(default_factory=list)  # what an earlier process left on a target, and was put right
    codes: list[int] = field(default_factory=list)  # the exit codes that failed sources deserve
    hooks: list[HookRun] = field(default_factory=list)
    strange: list[tuple[str, str, bytes]] = field(default_factory=list)  # source, how it looks, file
    suspect: str | None = None
    emptied: set[str] = field(default_factory=set)  # sources of which something is gone altogether
    unread: dict[str, tuple[str, ...]] = field(default_factory=dict)  # source -> the names of what could not be read
    unstored: dict[str, tuple[bytes, ...]] = field(default_factory=dict)  # the same of what is not in the point

    def lose(self, name: str, error: DrError) -> None:
        """Use a target no more in this run."""
        if place := self.ready.pop(name, None):
            place.seen_down(error)
        self.lost[name] = error
        log.info("target %s: %s", name, error)  # as the two below: told with the result, and then once


def capture_one(
    toolbox: Toolbox, request: BackupRequest, progress: BackupProgress, name: str, *, work: Path, when: datetime
) -> SourceCapture:
    """Capture one source and return what became of it; its failure is a fact, not an error."""
    doors, began = toolbox.source(name), time.monotonic()
    tags = {
        "system": toolbox.plan.system,
        "run": request.run_id,
        "source": name,
        "kind": doors.kind,
        "sources": str(len(toolbox.plan.sources)),
        "consistency": when.strftime("%Y%m%dT%H%M%S.%fZ"),
        **request.own_runs.marks,
    }
    what = f"{toolbox.plan.system}: source {name}"

    def once() -> SourceCapture:
        shutil.rmtree(work / name, ignore_errors=True)
        (work / name).mkdir(parents=True)
        return _capture(doors, request, progress, tags, work / name)

    try:
        with activity.step("capture", source=name):
            fact = retry.persist(once, what=what, tries=TRIES, first_wait=2.0)
    except SourceError as error:
        told = str(error).removeprefix(f"{name}: ")
        log.info("%s: %s", what, told)
        progress.codes.append(error.exit_code)
        fact = SourceCapture(source=name, kind=doors.kind, outcome="failed", error=told, error_hint=error.hint)
    _remember(request, progress, work / name, fact)
    return replace(fact, seconds=round(time.monotonic() - began, 3))


def _capture(
    doors: SourceDriver, request: BackupRequest, progress: BackupProgress, tags: Mapping[str, str], work: Path
) -> SourceCapture:
    reuse = _reusable(request, doors.name)
    captured = doors.capture(work, reuse)
    watch = Watch(doors.name, baseline(request.reuse, doors.name), request.run_id, progress.strange)
    parts = StoredManifest(doors.name, reuse=request.reuse, work=work)
    if isinstance(captured, Stream):
        return _store_stream(captured, doors, progress, {**tags, "form": "stream"}, work=work, watch=watch)
    if isinstance(captured, AgentCapture):
        return _store_away(captured, doors, progress, {**tags, "form": "agent"}, work=work, parts=parts, watch=watch)
    fact = _store_tree(captured, doors, progress, tags, parts=parts, watch=watch)
    if captured.cwd != work:
        (captured.cwd / captured.manifest_name).replace(work / MANIFEST)
    return fact


def _reusable(request: BackupRequest, name: str) -> Path | None:
    path = request.reuse / name
    return path if path.is_file() else None


def _remember(request: BackupRequest, progress: BackupProgress, work: Path, fact: SourceCapture) -> None:
    """Keep the manifest for the next run, which then hashes only what changed.

    That of a tree of which something is gone altogether is not kept: it is said again until that is back.
    """
    made, name = work / MANIFEST, fact.source
    if fact.outcome in ("ok", "degraded") and name not in progress.emptied and made.is_file():
        request.reuse.mkdir(parents=True, exist_ok=True)
        keep_baseline(request.reuse, name)
        keep_parts(name, reuse=request.reuse, work=work)
        keep(made, request.reuse / name)
        if (counted := work / facts.FILENAME).is_file():
            keep(counted, rows_kept(request.reuse / name))


def _take_notes(progress: BackupProgress, source: str, captured: Tree | Sent, unreadable: Collection[str]) -> None:
    """Note what a capture says beside its omissions, and the names of what could not be read."""
    progress.unread[source] = tuple(sorted(unreadable))
    progress.notes += [f"{source}: {note}" for note in captured.notes]
    if captured.emptied:
        progress.emptied.add(source)


def _take_differences(progress: BackupProgress, source: str, settled: Settled) -> None:
    """Note what came and went while restic read, and the names of what it did not store."""
    progress.unstored[source] = settled.unstored
    if settled.omissions:
        progress.emptied.add(source)
    if settled.appeared or settled.vanished:
        told = f"{settled.vanished:,} went away and {settled.appeared:,} came while it was captured"
        progress.notes.append(f"{source}: of its files and directories {told}")


def _store_tree(
    tree: Tree,
    doors: SourceDriver,
    progress: BackupProgress,
    tags: Mapping[str, str],
    *,
    parts: StoredManifest,
    watch: Watch,
) -> SourceCapture:
    def store(place: Place, beside: Beside) -> Stored:
        # restic finds the parent by host and paths, hence a scratch directory of constant name.
        with activity.step("store", target=place.name):
            return place.repository.backup_tree(
                (*tree.paths, tree.manifest_name),
                cwd=tree.cwd,
                tags={**tags, "part": "data", "beside": str(beside.bytes)},
                excludes=tree.excludes,
                one_filesystem=tree.one_filesystem,
            )

    with parts.laid(tree.cwd / tree.manifest_name) as beside:
        stored = _gather(progress, everywhere(progress.ready, lambda place: store(place, beside)), doors.name)
    settled = tree.settle(_kept(progress, stored, beside))
    unreadable = _unreadable(tree, stored)
    settled = settled.without(unreadable)
    omissions = _omitted(tree, unreadable, settled)
    _take_notes(progress, doors.name, tree, unreadable)
    _take_differences(progress, doors.name, settled)
    whole = not any(omission.partial for omission in omissions)
    if settled.amended or (stored and not whole):  # the repository alone must tell that the point is not whole
        with parts.laid(tree.cwd / tree.manifest_name):
            _amend(tree, progress, stored, tags=tags, whole=whole)
    files, size = _held(tree, settled, stored, beside)
    fact = _source_fact(doors, progress, stored, files=files, size=size)
    fact = _as_found(fact, settled, unreadable=len(unreadable), omissions=omissions)
    fact = _weighed(fact, emptiness.of_tree(tree), told=tree.emptied or bool(settled.omissions))
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
        def nodes() -> Iterable[Mapping[str, Any]] | None:
            try:
                return progress.ready[name].repository.nodes(result.snapshot_id)
            except DrError as error:
                progress.lose(name, error)
                return None

        return Kept(result.files - beside.files, result.dirs - beside.dirs, nodes, beside=True)

    return [of(name, result) for name, result in stored.items()]


def _weighed(fact: SourceCapture, why: str, *, told: bool = False) -> SourceCapture:
    """Return the fact with why it holds nothing, where it does; `told`: what was there and is gone is said already."""
    if not why or fact.outcome == "failed":
        return fact
    more = () if told else (emptiness.omission_of(why),)
    return replace(with_omissions(fact, (*fact.omissions, *more)), hollow=why)


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


def _omitted(tree: Tree | Sent, unreadable: Collection[str], settled: Settled) -> tuple[Omission, ...]:
    """Return what the capture of a tree did not take."""
    found = [*tree.omissions, *not_there(tree.missing), *settled.omissions]
    if unreadable:
        found.append(omission_of(len(unreadable), tree.reader))
    if settled.unstored:
        found.append(unstored_omission(len(settled.unstored)))
    return tuple(found)


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


def _store_stream(
    stream: Stream, doors: SourceDriver, progress: BackupProgress, tags: Mapping[str, str], *, work: Path, watch: Watch
) -> SourceCapture:
    backups = {
        name: place.repository.backup_stream(stream.filename, tags={**tags, "part": "data"}, work=work)
        for name, place in progress.ready.items()
    }
    try:
        digest, size, results = pour(watch.passing(stream.chunks()), backups)
    finally:
        stream.close()
    stored = _gather(progress, results, doors.name)
    manifest.write_stream(
        work / MANIFEST,
        source=doors.name,
        kind=doors.kind,
        started=stream.started,
        filename=stream.filename,
        size=size,
        sha256=digest,
    )

    whole = "no" if any(omission.partial for omission in stream.omissions) else "yes"

    def store(place: Place) -> Stored:
        hold_size(place.repository, stored[place.name].snapshot_id, size)
        beside = (MANIFEST, *stream.sidecars)
        return place.repository.backup_tree(beside, cwd=work, tags={**tags, "part": "manifest", "whole": whole})

    places = {name: place for name, place in progress.ready.items() if name in stored}
    for name, result in everywhere(places, store).items():
        if isinstance(result, DrError):
            stored.pop(name, None)
            progress.snapshots[name].pop(doors.name, None)
            progress.lose(name, result)
        else:
            progress.manifests.setdefault(name, {})[doors.name] = result.snapshot_id
    fact = _source_fact(doors, progress, stored, files=1, size=size)
    fact = _weighed(with_omissions(fact, stream.omissions), emptiness.of_stream(watch.begin, size, work))
    return replace(fact, change=watch.stream(work, stored))


def _store_away(
    away: AgentCapture,
    doors: SourceDriver,
    progress: BackupProgress,
    tags: Mapping[str, str],
    *,
    work: Path,
    parts: StoredManifest,
    watch: Watch,
) -> SourceCapture:
    landed = store_away(away, progress.ready, tags, work=work, parts=parts)
    sent = landed.sent
    for name, error in landed.lost.items():
        progress.lose(name, error)
    for name, snapshot in landed.snapshots.items():
        progress.snapshots.setdefault(name, {})[doors.name] = snapshot
        progress.manifests.setdefault(name, {})[doors.name] = landed.manifests[name]
    stored = {landed.giver: sent.stored} if landed.snapshots else {}
    progress.added[landed.giver] = progress.added.get(landed.giver, 0) + sent.stored.bytes_added
    fact = _source_fact(doors, progress, stored, files=sent.files, size=sent.bytes)
    omissions = _omitted(sent, sent.unreadable, sent.settled)
    _take_notes(progress, doors.name, sent, sent.unreadable)
    _take_differences(progress, doors.name, sent.settled)
    fact = _as_found(fact, sent.settled, unreadable=len(sent.unreadable), omissions=omissions)
    if landed.snapshots:
        giver = progress.ready[landed.giver].repository
        why = emptiness.of_stored(giver, sent.stored.snapshot_id, work, files=sent.files, size=sent.bytes)
        fact = _weighed(fact, why, told=sent.emptied)
    return replace(fact, change=watch.away(work, sent.stored))


def _as_found(
    fact: SourceCapture, settled: Settled, *, unreadable: int, omissions: tuple[Omission, ...]
) -> SourceCapture:
    """Return the fact with what was seen when the source was looked at again."""
    looked = replace(
        fact,
        changed=len(settled.changed),
        vanished=settled.vanished,
        appeared=settled.appeared,
        unreadable=unreadable,
        unstored=len(settled.unstored),
    )
    return with_omissions(looked, omissions)


def with_omissions(fact: SourceCapture, omissions: tuple[Omission, ...]) -> SourceCapture:
    """Return the fact with what was not taken: degraded by it, and where data is missing that is its error."""
    if not omissions:
        return fact
    missing = "; ".join(omission.what for omission in omissions if omission.partial)
    outcome = worst_outcome([fact.outcome, "degraded"])
    return replace(fact, outcome=outcome, omissions=omissions, error=fact.error or missing or None)


def _gather(progress: BackupProgress, results: Mapping[str, Stored | DrError], source: str) -> dict[str, Stored]:
    """Note what reached which target; a target that failed is not used again in this run."""
    stored: dict[str, Stored] = {}
    for name, result in results.items():
        if isinstance(result, DrError):
            progress.lose(name, result)
            continue
        stored[name] = result
        progress.snapshots.setdefault(name, {})[source] = result.snapshot_id
        progress.added[name] = progress.added.get(name, 0) + result.bytes_added
    return stored


def _source_fact(
    doors: SourceDriver, progress: BackupProgress, stored: Mapping[str, Stored], *, files: int, size: int
) -> SourceCapture:
    first = next(iter(stored.values()), None)
    return SourceCapture(
        source=doors.name,
        kind=doors.kind,
        outcome="ok" if first else "failed",
        snapshot_id=first.snapshot_id if first else None,
        files=files,
        bytes=size,
        bytes_added=first.bytes_added if first else 0,
        error=None if first else _no_target(progress),
    )


def _no_target(progress: BackupProgress) -> str:
    reasons = "; ".join(f"{name}: {error.what}" for name, error in progress.lost.items())
    return f"{NO_TARGET} ({reasons})"


def skipped(toolbox: Toolbox, name: str, why: str) -> SourceCapture:
    """What becomes of a source that is not even tried."""
    kind = toolbox.plan.sources[name].kind
    return SourceCapture(source=name, kind=kind, outcome="skipped", error=why)
