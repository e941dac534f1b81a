"""What a backup is asked for, and what it gathers on its way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from pathlib import Path

from dr.errors import DrError
from dr.evidence.change import Past
from dr.evidence.look import LeftBehind, Look, Stranger
from dr.evidence.record import HookRun, Point, SourceCapture
from dr.late_dataclass import dataclass
from dr.run.points.left_behind import OwnRuns
from dr.run.workspace.toolbox import Place
from dr.tools.restic_events import Stored

log = logging.getLogger("dr.backup")


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
    locks_left: set[str] = field(default_factory=set)  # targets on which restic's own lock stays
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


def gather(progress: BackupProgress, results: Mapping[str, Stored | DrError], source: str) -> dict[str, Stored]:
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
