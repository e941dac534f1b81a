"""What the capture of one source came to, as its record: what it did not take, what it holds, what came and went.

What went wrong with one target never hides behind what went well on another."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from dr.evidence.record import Omission, SourceCapture, worst_outcome
from dr.run.backup import emptiness
from dr.run.backup.progress import BackupProgress
from dr.run.backup.unread import omission_of
from dr.run.workspace.toolbox import Toolbox
from dr.sources.driver import Sent, Settled, SourceDriver, Tree
from dr.sources.files import not_there
from dr.sources.stored import unstored_omission
from dr.tools.restic_events import Stored

#: How the error of a source begins that no target took.
NO_TARGET = "no target could store it"


def take_notes(progress: BackupProgress, source: str, captured: Tree | Sent, unreadable: Collection[str]) -> None:
    """Note what a capture says beside its omissions, and the names of what could not be read."""
    progress.unread[source] = tuple(sorted(unreadable))
    progress.notes += [f"{source}: {note}" for note in captured.notes]
    if captured.emptied:
        progress.emptied.add(source)


def take_differences(progress: BackupProgress, source: str, settled: Settled) -> None:
    """Note what came and went while restic read, and the names of what it did not store."""
    progress.unstored[source] = settled.unstored
    if settled.omissions:
        progress.emptied.add(source)
    if settled.appeared or settled.vanished:
        told = f"{settled.vanished:,} went away and {settled.appeared:,} came while it was captured"
        progress.notes.append(f"{source}: of its files and directories {told}")


def weighed(fact: SourceCapture, why: str, *, told: bool = False) -> SourceCapture:
    """Return the fact with why it holds nothing, where it does; `told`: what was there and is gone is said already."""
    if not why or fact.outcome == "failed":
        return fact
    more = () if told else (emptiness.omission_of(why),)
    return replace(with_omissions(fact, (*fact.omissions, *more)), hollow=why)


def omitted(tree: Tree | Sent, unreadable: Collection[str], settled: Settled) -> tuple[Omission, ...]:
    """Return what the capture of a tree did not take."""
    found = [*tree.omissions, *not_there(tree.missing), *settled.omissions]
    if unreadable:
        found.append(omission_of(len(unreadable), tree.reader))
    if settled.unstored:
        found.append(unstored_omission(len(settled.unstored)))
    return tuple(found)


def as_found(
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


def source_fact(
    doors: SourceDriver, progress: BackupProgress, stored: Mapping[str, Stored], *, files: int, size: int
) -> SourceCapture:
    """Return the record of a source that these targets stored; failed where none did."""
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
