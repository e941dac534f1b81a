"""A source whose own host stores it: on one target that it reaches, and from there, in the same run, on the others."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path

from dr.errors import DrError, InterruptedRunError, SourceError
from dr.evidence.record import SourceCapture
from dr.late_dataclass import dataclass
from dr.run.backup import emptiness
from dr.run.backup.catch_up import copy_snapshots
from dr.run.backup.change import Watch
from dr.run.backup.progress import BackupProgress
from dr.run.backup.source_capture import as_found, omitted, source_fact, take_differences, take_notes, weighed
from dr.run.backup.stored_manifest import StoredManifest
from dr.run.workspace.toolbox import Place
from dr.sources.driver import MANIFEST, AgentCapture, Sent, SourceDriver
from dr.tools import command

log = logging.getLogger("dr.backup")


@dataclass
class Landed:
    """What became of it, by target. Nothing in `snapshots`: no target has it."""

    sent: Sent
    giver: str
    snapshots: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, str] = field(default_factory=dict)
    lost: dict[str, DrError] = field(default_factory=dict)


def capture_by_agent(
    away: AgentCapture,
    doors: SourceDriver,
    progress: BackupProgress,
    tags: Mapping[str, str],
    *,
    work: Path,
    parts: StoredManifest,
    watch: Watch,
) -> SourceCapture:
    """Have a source's own host store it, and return what came of it."""
    landed = store_away(away, progress.ready, tags, work=work, parts=parts)
    sent = landed.sent
    for name, error in landed.lost.items():
        progress.lose(name, error)
    for name, snapshot in landed.snapshots.items():
        progress.snapshots.setdefault(name, {})[doors.name] = snapshot
        progress.manifests.setdefault(name, {})[doors.name] = landed.manifests[name]
    stored = {landed.giver: sent.stored} if landed.snapshots else {}
    progress.added[landed.giver] = progress.added.get(landed.giver, 0) + sent.stored.bytes_added
    fact = source_fact(doors, progress, stored, files=sent.files, size=sent.bytes)
    omissions = omitted(sent, sent.unreadable, sent.settled)
    take_notes(progress, doors.name, sent, sent.unreadable)
    take_differences(progress, doors.name, sent.settled)
    fact = as_found(fact, sent.settled, unreadable=len(sent.unreadable), omissions=omissions)
    if landed.snapshots:
        giver = progress.ready[landed.giver].repository
        why = emptiness.of_stored(giver, sent.stored.snapshot_id, work, files=sent.files, size=sent.bytes)
        fact = weighed(fact, why, told=sent.emptied)
    return replace(fact, change=watch.away(work, sent.stored))


def store_away(
    away: AgentCapture, ready: Mapping[str, Place], tags: Mapping[str, str], *, work: Path, parts: StoredManifest
) -> Landed:
    """Let the host store it on the first target that it reaches, its manifest beside it; then copy both.

    Raises `SourceError` when the host could not capture it, or reaches no target.
    """
    giver, sent = _send(away, ready, tags)
    landed = Landed(sent, giver.name)
    partial = any(omission.partial for omission in (*sent.omissions, *sent.settled.omissions))
    whole = "no" if partial or sent.unreadable or sent.missing or sent.settled.unstored else "yes"
    try:
        with parts.laid(work / MANIFEST):
            listed = giver.repository.backup_tree(
                (MANIFEST, *away.sidecars), cwd=work, tags={**tags, "part": "manifest", "whole": whole}
            ).snapshot_id
    except DrError as error:
        _note(landed, giver.name, error)
        return landed
    landed.snapshots[giver.name], landed.manifests[giver.name] = sent.stored.snapshot_id, listed
    for name, place in ready.items():
        if name != giver.name:
            _copy(landed, giver, place, tags, work=work.parent)
    return landed


def _send(away: AgentCapture, ready: Mapping[str, Place], tags: Mapping[str, str]) -> tuple[Place, Sent]:
    error: DrError | None = None
    for name, place in ready.items():
        if not place.target.reached_from_elsewhere:  # a disk of this machine
            continue
        try:
            return place, away.send(place.repository, {**tags, "part": "data"})
        except (SourceError, InterruptedRunError):
            raise
        except DrError as refused:
            error = error or refused
            log.warning("%s: not stored on %s by its host: %s", tags["source"], name, refused)
    if error is None:
        raise SourceError(
            f"no target is ready that {away.host} can reach", tags["source"],
            hint="see why the s3 targets are down, or write `mode: stream`",
        )  # fmt: skip
    raise SourceError(
        f"{away.host} reaches no target: {error.what}", error.where, error.cause, error.hint, error.retryable
    ) from error


def _copy(landed: Landed, giver: Place, taker: Place, tags: Mapping[str, str], *, work: Path) -> None:
    source, ids = tags["source"], [landed.snapshots[giver.name], landed.manifests[giver.name]]
    try:
        snapshots, manifests = copy_snapshots(giver, taker, ids, run_id=tags["run"], work=work)
        if source not in snapshots or source not in manifests:
            raise DrError("the copy is not whole", taker.name, hint="run the backup again")
    except DrError as error:
        _note(landed, taker.name, error)
        return
    landed.snapshots[taker.name], landed.manifests[taker.name] = snapshots[source], manifests[source]


def _note(landed: Landed, name: str, error: DrError) -> None:
    if isinstance(error, InterruptedRunError):
        command.raise_if_stopping()  # else somebody ended restic: the target's trouble, not ours
    landed.lost[name] = error
