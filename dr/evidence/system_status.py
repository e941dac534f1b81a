"""A standing: all that the board needs to know of one system, summed up by the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from dr.evidence.record import Outcome
from dr.late_dataclass import dataclass


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """The last finished run of a verb. `suspect`: what in a backup is out of the ordinary.

    `of_nothing`: all that it captured, or brought back, holds nothing. `seconds`: how long it took. `files`, `bytes`,
    `bytes_added`: what a backup captured.
    """

    outcome: Outcome
    started: datetime
    ref: str
    error: str | None = None
    suspect: str | None = None
    of_nothing: bool = False
    seconds: float | None = None
    files: int | None = None
    bytes: int | None = None
    bytes_added: int | None = None


@dataclass(frozen=True, kw_only=True)
class LastDrill(LastRun):
    """The last drill, with its figures in seconds. `partial`: it brought back samples, not the whole system."""

    partial: bool = False
    rta_seconds: float | None = None
    rpa_seconds: float | None = None
    rto_target_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """When a verb was last begun; last begun and not interrupted; last begun and worked."""

    begun: datetime | None = None
    settled: datetime | None = None
    worked: datetime | None = None

    def or_later(self, other: Attempts) -> Attempts:
        """Return the later of each of two."""
        return Attempts(
            begun=_later(self.begun, other.begun),
            settled=_later(self.settled, other.settled),
            worked=_later(self.worked, other.worked),
        )


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(one, other) if one and other else one or other


@dataclass(frozen=True, kw_only=True)
class PlaceState:
    """How a system's copies stand on one target, as recorded.

    `newest` is the consistency time of the newest whole, undamaged point there, `points` their number, `damaged` that
    of the damaged. `seen`: when the place last worked; `replicated`, `worked`: start of the last replication there,
    and of the last that worked; `problem`: why the last was not ok; `proof`: the outcome of the last verification
    there; `object_lock`: as last seen. `oldest_read`: all stored there was read since then, as the last run knew that
    looked at the bytes; None while some never was; `whole_within_seconds`: the bound on it then; `unread_objects`,
    `stored_bytes`: what was never read, and all that was there. None where no run told.
    """

    target: str
    points: int = 0
    damaged: int = 0
    newest: datetime | None = None
    proof_level: int = 0
    seen: datetime | None = None
    replicated: datetime | None = None
    replication: Outcome | None = None
    problem: str | None = None
    worked: datetime | None = None
    proven: datetime | None = None
    proof: Outcome | None = None
    object_lock: str = ""
    oldest_read: datetime | None = None
    whole_within_seconds: int | None = None
    unread_objects: int | None = None
    stored_bytes: int | None = None


@dataclass(frozen=True)
class LostThere:
    """Whole points that a target does not list any more: how many, and when the last of them was seen there."""

    target: str
    points: int
    seen: datetime | None


@dataclass(frozen=True)
class KeysDestroyed:
    """When the keys of a system were destroyed, and by which record."""

    at: datetime
    run_id: str


@dataclass(frozen=True, kw_only=True)
class SystemStatus:
    """One system.

    `exposure_seconds`: the largest gap from one complete point's consistency time to the finish of the next
    (to now, for the last) over the period asked for; None where nothing is known of the system. `ahead`: records bear a
    later time than now, so that a clock was wrong then or is wrong now. `known_since`: when a backup was first tried,
    or the plan was first seen where that was before; the time until the first complete point is exposure too.
    `destroyed`: of a system without a point that can be used, that its keys were destroyed, last.
    `attempts` is by verb, `places` by target. `retention_frozen`: why no point may be expired; None when they may.
    """

    system: str
    known_since: datetime | None = None
    consistency_time: datetime | None = None
    destroyed: KeysDestroyed | None = None
    exposure_seconds: float | None = None
    proof_level: int = 0
    proven_at: datetime | None = None
    damaged_points: int = 0
    doubtful_points: int = 0  # of those: damaged in the index alone
    lost: tuple[LostThere, ...] = ()
    strangers: Mapping[str, int] = field(default_factory=dict)  # by target, points that another installation made
    unlocked_points: int = 0  # whose lock ran out, on a target where they had one
    ahead: bool = False
    backup: LastRun | None = None
    verify: LastRun | None = None
    drill: LastDrill | None = None
    expire: LastRun | None = None
    prune: LastRun | None = None
    attempts: Mapping[str, Attempts] = field(default_factory=dict)
    places: Mapping[str, PlaceState] = field(default_factory=dict)
    running: tuple[str, ...] = ()
    interrupted: tuple[str, ...] = ()
    retention_frozen: str | None = None
    frozen_since: datetime | None = None
