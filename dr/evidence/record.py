"""Facts: what a run, a proof or a drill did, as frozen values that know nothing of how they were made.

Times are aware UTC datetimes, durations seconds, sizes bytes. Verdicts are computed (`dr.report.verdict`), not kept.
"""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from typing import Literal

from dr.errors import FAILED
from dr.evidence.change import Change
from dr.evidence.coverage import Coverage, Sampled
from dr.evidence.forgetting import Forgetting
from dr.evidence.look import LateCopy, LeftBehind, Look
from dr.evidence.posture import LockState, TargetPosture, Traffic
from dr.evidence.table_back import TableBack
from dr.late_dataclass import dataclass

Outcome = Literal["ok", "degraded", "failed", "skipped", "aborted"]
Problem = Literal["corrupt", "missing", "truncated", "unreferenced"]

#: Worst first: the outcome of a whole is the worst of its parts.
OUTCOMES: tuple[Outcome, ...] = ("aborted", "failed", "degraded", "ok", "skipped")


def worst_outcome(outcomes: list[Outcome]) -> Outcome:
    """Return the worst of several outcomes; `skipped` when there are none."""
    return min(outcomes, key=OUTCOMES.index, default="skipped")


@dataclass(frozen=True, kw_only=True)
class HookRun:
    """How one of the plan's hooks went. `code` is None when it could not be started or took too long."""

    moment: str  # "before capture", "after restore", …
    outcome: Outcome
    code: int | None = None
    seconds: float = 0.0
    output: str = ""  # the end of what it said


@dataclass(frozen=True, kw_only=True)
class Omission:
    """Something of a source that a capture did not take or could not see, or that the source itself lacks.

    `what` is one sentence for an administrator, `hint` the statement or the act that mends it, `names` the objects
    concerned (of a database, or declared paths; the names of single files are no evidence, see
    `dr.run.workspace.file_lists`). `partial`: data that the plan asks for is not in the point, so incomplete.
    Otherwise the point is complete, and its run degraded: a recovery can give no more than the source itself had.
    """

    what: str
    hint: str = ""
    names: tuple[str, ...] = ()
    partial: bool = True


@dataclass(frozen=True, kw_only=True)
class SourceCapture:
    """How one source was captured in one run. `snapshot_id` is the one on the first target reached."""

    source: str
    kind: str
    outcome: Outcome
    snapshot_id: str | None = None
    files: int = 0
    bytes: int = 0
    bytes_added: int = 0
    changed: int = 0  # files that changed while they were read
    vanished: int = 0  # files that went away while they were read
    appeared: int = 0  # what came while they were read: in the point, and never compared
    unreadable: int = 0  # files that could not be read: not in the point
    unstored: int = 0  # what was there and was not stored: not in the point
    seconds: float = 0.0
    error: str | None = None
    error_hint: str = ""  # what to do about it
    omissions: tuple[Omission, ...] = ()
    hollow: str = ""  # why it holds nothing; empty when it holds something
    change: Change | None = None  # against its last capture; None where it was not measured

    @property
    def whole(self) -> bool:
        """Whether all that the plan asks for of the source was captured."""
        if self.outcome == "ok":
            return True
        only_told = self.omissions and not any(omission.partial for omission in self.omissions)
        return self.outcome == "degraded" and self.error is None and bool(only_told)


@dataclass(frozen=True, kw_only=True)
class TargetState:
    """What one run left on one target; by source the data snapshot, and a manifest that is stored apart from it."""

    target: str
    outcome: Outcome
    snapshots: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, str] = field(default_factory=dict)
    bytes_added: int = 0
    error: str | None = None
    error_hint: str = ""  # what to do about it


@dataclass(frozen=True, kw_only=True)
class BackupRun:
    """One backup run: one attempt at one recovery point.

    `consistency_time` is the start of the earliest capture; the point is complete only when every
    source was captured whole on at least one target. `suspect`: what in it is out of the ordinary, in plain words.
    """

    run_id: str
    system: str
    outcome: Outcome
    started: datetime
    finished: datetime
    consistency_time: datetime | None = None
    complete: bool = False
    sources: tuple[SourceCapture, ...] = ()
    targets: tuple[TargetState, ...] = ()
    caught_up: tuple[str, ...] = ()  # "RUN_ID@TARGET" of earlier points copied to a target in this run
    late_copies: tuple[LateCopy, ...] = ()  # the same, with what they are there; absent in older records
    renewed: tuple[str, ...] = ()  # targets whose repository was begun again in this run, as a person had said
    hooks: tuple[HookRun, ...] = ()
    locks: tuple[LockState, ...] = ()  # what was done for the locks, after the run's finish
    notes: tuple[str, ...] = ()
    error: str | None = None
    error_hint: str = ""  # what to do about it
    plan_digest: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    suspect: str | None = None
    looks: tuple[Look, ...] = ()  # what the listing of each target showed of earlier points
    left_behind: tuple[LeftBehind, ...] = ()  # what earlier runs stored there, and no record named until now
    healed: tuple[str, ...] = ()  # what earlier processes left, and this run put right
    traffic: tuple[Traffic, ...] = ()  # what was moved to and from each target; absent in older records

    @property
    def of_nothing(self) -> bool:
        """Whether every source captured holds nothing: a point of it serves no objective."""
        return bool(self.sources) and all(source.hollow for source in self.sources)


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One stored object that is not what it should be."""

    object: str
    problem: Problem


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What a verify run showed of one system's repository on one target.

    `level_reached` 0-3 as the ladder in `docs/words.md`. `points` are the run ids the proof holds for,
    `damaged_points` those that need a damaged object, `expired` those that are gone and that retention has no use for;
    `lost` points are not there although the plan's retention keeps them. `share` is "3/10": the part read at level 3.
    """

    run_id: str
    system: str
    target: str
    started: datetime
    finished: datetime
    outcome: Outcome
    level_asked: int
    level_reached: int
    objects: int = 0
    bytes: int = 0
    seconds: float = 0.0
    damage: tuple[Damage, ...] = ()
    points: tuple[str, ...] = ()
    damaged_points: tuple[str, ...] = ()
    doubtful_points: tuple[str, ...] = ()  # of those: the index alone is damaged, their data is all there
    expired: tuple[str, ...] = ()
    share: str = ""
    notes: tuple[str, ...] = ()
    error: str | None = None
    error_hint: str = ""  # what to do about it
    versions: dict[str, str] = field(default_factory=dict)
    object_lock: str = ""  # as the bucket said it, where one is declared; "off" for none, "not told" to these keys
    looks: tuple[Look, ...] = ()  # one, unless the target could not be listed
    healed: tuple[str, ...] = ()  # what earlier processes left, and this run put right
    coverage: Coverage | None = None  # what was read when, where stored bytes were looked at
    traffic: tuple[Traffic, ...] = ()  # what was moved to and from each target; absent in older records

    @property
    def lost(self) -> tuple[str, ...]:
        """The points that are not there although the plan's retention keeps them."""
        return tuple(run_id for look in self.looks for run_id in look.lost)


@dataclass(frozen=True, kw_only=True)
class Replication:
    """What one run brought from a system's repository on one target to another.

    `by` is "objects" where the repository itself was copied to a replica, "snapshots" where a target with a
    repository of its own was brought the points it lacked. `points` are the run ids that are there now, all of them;
    None when that was not learnt. `skipped` objects were there already; `corrupt` names those at the source whose
    bytes are not what their names say, `missing` those that its index names in vain; `held` are the snapshots that
    were not copied for that. `forgetting`: what was then taken away there; None where all is kept.
    """

    run_id: str
    system: str
    source: str
    target: str
    started: datetime
    finished: datetime
    outcome: Outcome
    by: Literal["objects", "snapshots"] = "objects"
    objects: int = 0
    bytes: int = 0
    objects_copied: int = 0
    bytes_copied: int = 0
    skipped: int = 0
    seconds: float = 0.0
    corrupt: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    points: tuple[str, ...] | None = None
    late_copies: tuple[LateCopy, ...] = ()  # the points that it brought, where snapshots were copied
    notes: tuple[str, ...] = ()
    error: str | None = None
    error_hint: str = ""  # what to do about it
    object_lock: str = ""  # as `Proof.object_lock`
    locks: tuple[LockState, ...] = ()  # what was done for the locks there
    forgetting: Forgetting | None = None
    looks: tuple[Look, ...] = ()  # what the listing of the source showed
    healed: tuple[str, ...] = ()  # what earlier processes left, and this run put right
    plan_digest: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    traffic: tuple[Traffic, ...] = ()  # what was moved to and from each target; absent in older records


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One check: what was expected and what was observed, in words, and whether it held."""

    check: str  # manifest, rows, schema, sql, file, command, http
    source: str | None
    mandatory: bool
    outcome: Outcome  # ok, failed, skipped
    expected: str
    observed: str
    seconds: float = 0.0
    newest: datetime | None = None  # the newest record found, when the check probed for it
    finished: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class ObjectivesThen:
    """The plan's objectives on the day of the drill, in seconds."""

    rto_seconds: int
    rpo_seconds: int
    mtd_seconds: int | None = None


@dataclass(frozen=True, kw_only=True)
class Event:
    """One line of a drill's timeline."""

    at: datetime
    what: str
    seconds: float | None = None
    outcome: Outcome = "ok"


@dataclass(frozen=True, kw_only=True)
class PassedOver:
    """A copy that a recovery tried and that was not whole: of which point, on which target, why."""

    run_id: str
    target: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class CleanRoom:
    """How a recovery that began with nothing of its host was opened.

    `shares` of the kit's `threshold` were used; 0 when the host's own key opened the self-copy, so that the
    custodians' shares were not exercised. `self_copy` is the name of the one used, `taken_from` the target, or "kit".
    """

    kit_id: str
    shares: int
    threshold: int
    self_copy: str
    taken_from: str


@dataclass(frozen=True, kw_only=True)
class Drill:
    """One drill, or one real recovery (`real`).

    `phases` has the seconds of declare, provision, restore, start, verify; a phase never reached is absent.
    `rta_seconds` = last mandatory check passed - t_loss; None when a mandatory check failed. `rpa_seconds` = t_loss -
    consistency time of the point used; `data_rpa_seconds` = t_loss - newest record found. `sandbox` is "destroyed",
    "kept", "left behind" or, for a recovery, "not used".
    """

    drill_id: str
    system: str
    scenario: str
    real: bool
    outcome: Outcome
    t_loss: datetime
    started: datetime
    finished: datetime
    objectives: ObjectivesThen
    run_id: str | None = None
    target: str | None = None
    consistency_time: datetime | None = None
    requested_at: datetime | None = None
    noticed: datetime | None = None  # RTA counts from here: the end of a simulated attack; absent: from t_loss
    seen_at: datetime | None = None  # the target was seen as it was then, not as it is
    phases: dict[str, float] = field(default_factory=dict)
    rta_seconds: float | None = None
    rpa_seconds: float | None = None
    data_rpa_seconds: float | None = None
    proof_level: int = 0
    checks: tuple[CheckResult, ...] = ()
    events: tuple[Event, ...] = ()
    hooks: tuple[HookRun, ...] = ()
    files: int = 0
    bytes: int = 0
    protected_bytes: int = 0  # bytes of the whole point: what the drill could have restored
    sources: tuple[str, ...] = ()
    sample: float = 1.0  # the share of files compared with the manifest
    sandbox: str = "destroyed"
    error: str | None = None
    error_hint: str = ""  # what to do about it
    error_code: int = FAILED  # the exit code that the error deserves
    plan_digest: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    machine: str = ""  # the class of the restore host: cores, memory, system
    suspect: str | None = None  # what is held against the point used
    last_unsuspected_point: str | None = None  # the last one before, where the point used is suspect
    posture: TargetPosture | None = None  # how the target it used is kept
    clean_room: CleanRoom | None = None
    isolated: bool | None = None  # what ran on the restored data reached no network; None where nothing ran
    isolated_reason: str = ""  # why it was not isolated
    hollow: dict[str, str] = field(default_factory=dict)  # sources that hold nothing, and why that is said
    passed_over: tuple[PassedOver, ...] = ()  # copies tried before the one used
    lacks: tuple[str, ...] = ()  # what a point that a person named does not hold whole: it counts for no objective
    looks: tuple[Look, ...] = ()  # points that were to be used, and that a target did not list
    healed: tuple[str, ...] = ()  # what earlier processes left, and this run put right
    because: str = ""  # why a person asked for it
    selected: bool = False  # a recovery of the files or tables that a person named, and of nothing else
    in_place: bool = False  # those files went back where they were
    tables: tuple[TableBack, ...] = ()  # those tables
    sampled: Sampled | None = None  # what was restored, where the plan lets a drill restore only so much
    traffic: tuple[Traffic, ...] = ()  # what was moved to and from each target; absent in older records

    @property
    def of_nothing(self) -> bool:
        """Whether every source that was brought back holds nothing: then no objective can be judged."""
        return bool(self.sources) and set(self.sources) <= set(self.hollow)


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A recovery point on one target: its data snapshots, and its stream manifests, by source."""

    target: str
    complete: bool
    snapshots: dict[str, str]
    manifests: dict[str, str] = field(default_factory=dict)
    proof_level: int = 0
    proven_at: datetime | None = None
    damaged: bool = False
    doubtful: bool = False  # damaged, but in the index alone: its data is all there
    destroyed: bool = False  # its keys were destroyed: nobody can read it
    missing: bool = False  # its snapshots were not there when the target was last looked at
    seen: datetime | None = None  # when the target was last seen to list them
    lock_mode: str = ""  # of the locks on it, when they were last looked at
    protected_until: datetime | None = None  # when the first lock on what it needs runs out
    locked_until: datetime | None = None  # when the last one does
    more: tuple[str, ...] = ()  # further snapshots that its run left behind there: of no use, and they go with it

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the snapshots that it is made of."""
        return (*self.snapshots.values(), *self.manifests.values())

    @property
    def every_id(self) -> tuple[str, ...]:
        """The ids of all snapshots of its run there, whether or not it needs them."""
        return tuple(dict.fromkeys((*self.ids, *self.more)))


@dataclass(frozen=True, kw_only=True)
class Point:
    """A recovery point: the snapshots of all sources of a system, taken by one run."""

    run_id: str
    system: str
    consistency_time: datetime
    finished: datetime
    outcome: Outcome
    kinds: dict[str, str]  # source -> kind, of the sources captured
    bytes: int | None = 0  # None: nobody knows, as of what was found without its evidence
    copies: tuple[Copy, ...] = ()
    suspect: str | None = None  # what is held against it, and nobody has said to be expected
    maker: str = ""  # the installation that made it, where it was read from its snapshots
    machine: str = ""  # and the name of its host

    @property
    def complete(self) -> bool:
        """Whether at least one target holds every source whole and undamaged."""
        return bool(self.usable)

    @property
    def lost(self) -> tuple[Copy, ...]:
        """The whole copies that a target does not list any more."""
        return tuple(copy for copy in self.copies if copy.missing and copy.complete)

    @property
    def usable(self) -> tuple[Copy, ...]:
        """The copies a recovery may use, in the plan's order of targets."""
        return tuple(copy for copy in self.copies if copy.complete and not copy.damaged and not copy.missing)

    @property
    def held(self) -> tuple[Copy, ...]:
        """The copies that a recovery may use once their target was seen to list them: those lost may be back."""
        return tuple(copy for copy in self.copies if copy.complete and not copy.damaged)

    @property
    def proof_level(self) -> int:
        """The highest proof any of its copies has."""
        return max((copy.proof_level for copy in self.usable), default=0)
