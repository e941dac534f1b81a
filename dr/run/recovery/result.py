"""The fact of one drill or recovery, made from what its run gathered; nothing is done here.

Definitions are those of `docs/words.md`: RTA is a number only when every mandatory check passed, and a
sample proves no more than it restored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from dr.errors import FAILED, DrError
from dr.evidence.look import Look
from dr.evidence.record import CheckResult, Copy, Drill, HookRun, ObjectivesThen, Outcome, PassedOver, Point
from dr.plan.check import Check
from dr.plan.check_kinds import proves_service
from dr.run.points.choose import LostError
from dr.run.recovery.checks.context import Restored
from dr.run.recovery.fresh_cache import FreshCache
from dr.run.recovery.place.isolate import Isolation
from dr.run.recovery.place.sandbox import Disposition
from dr.run.recovery.timeline import Timeline
from dr.run.timetravel.point_in_time import Travel
from dr.run.workspace.toolbox import Toolbox
from dr.sources.driver import RestoredSource

#: Proof that restoring a few files can give at most: stored data was decrypted.
SAMPLE_PROOF = 3


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be done. `at` and `target` None leave the choice to the engine.

    `replaced` are the live databases that a real recovery may replace; `as_files` leaves dumps unloaded.
    `accepted` are the objects that may be missing. `typed` is the command that does it again.
    `token` names what is made beside the live: the id of the recovery that began it. With `travel` targets are
    seen as they were. The clock of the RTA starts at `noticed`, absent: at `t_loss`. `assumed` says for the timeline
    what the scenario takes for lost. `point` is the run id of the one that a person named, `lacks` what the record
    says that it does not hold whole.
    """

    drill_id: str
    scenario: str
    real: bool
    at: datetime | None
    target: str | None
    t_loss: datetime
    clock: Callable[[], datetime]
    checks: tuple[Check, ...]
    replaced: frozenset[str] = frozenset()
    accepted: frozenset[str] = frozenset()
    as_files: bool = False
    typed: tuple[str, ...] = ()
    token: str = ""
    travel: Travel | None = None
    noticed: datetime | None = None
    assumed: str = ""
    point: str | None = None
    lacks: tuple[str, ...] = ()

    @property
    def partial(self) -> bool:
        """Whether only samples are restored."""
        return self.scenario == "file-loss"


@dataclass
class RecoveryProgress:
    """What one run gathers on its way. `asked` is the share of each source's files to be compared."""

    journal: Timeline
    cache: FreshCache | None = None  # what restic kept of the targets in this run
    point: Point | None = None
    copy: Copy | None = None
    unsuspected: Point | None = None  # the last one before, where the point is suspect
    restored: dict[str, Restored] = field(default_factory=dict)
    newest: dict[str, datetime] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)
    checks: list[CheckResult] = field(default_factory=list)
    names: list[tuple[str, str, bytes]] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)
    lacks: list[str] = field(default_factory=list)
    not_whole: set[str] = field(default_factory=set)  # sources of which something lacks
    seen_at: datetime | None = None
    spoilt: DrError | None = None  # why the copy in hand is not whole
    hooks: list[HookRun] = field(default_factory=list)
    hollow: dict[str, str] = field(default_factory=dict)  # restored sources that hold nothing, and why that is said
    machine: str = ""
    isolation: Isolation | None = None
    instances: dict[str, RestoredSource] = field(default_factory=dict)
    ended: bool = False  # every phase was gone through
    aborted: bool = False
    looks: list[Look] = field(default_factory=list)  # points that a target did not list
    error: str | None = None
    error_hint: str = ""
    error_code: int = FAILED

    def passed(self, target: str, error: DrError, *, then: bool) -> None:
        """Note why a target, or a copy there, is passed over; `then`: it was seen as it was at another time."""
        if not isinstance(error, LostError):
            self.journal.note(f"target {target} cannot be used: {error}", outcome="degraded")
            return
        self.journal.note(str(error), outcome="degraded")
        if not then:
            self.looks.append(Look(target=target, at=self.journal.now(), lost=(error.point,), whole=False))

    @property
    def achieved(self) -> bool:
        """Whether the restored system is there and every mandatory check on it passed."""
        return self.ended and outcome(self) in ("ok", "degraded")


def outcome(progress: RecoveryProgress) -> Outcome:
    """`ok` only when everything went as it should."""
    if progress.aborted:
        return "aborted"
    mandatory = [check for check in progress.checks if check.mandatory]
    if progress.error or any(check.outcome == "failed" for check in mandatory):
        return "failed"
    return "ok" if progress.journal.clean else "degraded"


def last_mandatory(progress: RecoveryProgress) -> datetime | None:
    """When the last mandatory check passed; None when one failed, or none was made."""
    mandatory = [check for check in progress.checks if check.mandatory and check.outcome != "skipped"]
    if progress.error or any(check.outcome != "ok" for check in mandatory):
        return None
    return max((check.finished for check in mandatory if check.finished), default=None)


def proof_level(job: Job, progress: RecoveryProgress) -> int:
    """What this run shows of the copy: 4 restored and equal, 5 service proven, else what was known."""
    known = progress.copy.proof_level if progress.copy else 0
    if progress.lacks:
        return known
    if job.partial or not progress.achieved or set(progress.restored) <= set(progress.hollow):
        return min(known, SAMPLE_PROOF)
    equal = {check.source for check in progress.checks if check.check == "manifest" and check.outcome == "ok"}
    if not all(name in equal and progress.asked.get(name) == 1 for name in progress.restored):
        return known
    return 5 if any(proves_service(c.check) and c.outcome == "ok" for c in progress.checks) else 4


def share_compared(progress: RecoveryProgress) -> float:
    """The share of all files of the restored sources whose content was compared with the manifest."""
    compared = {c.source for c in progress.checks if c.check == "manifest" and c.outcome != "skipped"}
    items = progress.restored.items()
    hashed = sum(item.files * progress.asked.get(name, 0) for name, item in items if name in compared)
    total = sum(item.listed for _, item in items)
    return round(hashed / total, 6) if total else float(bool(compared))


def data_rpa(t_loss: datetime, newest: Mapping[str, datetime]) -> float | None:
    """`t_loss` minus the newest record found; of several databases, the one that lost most.

    None when a record bears a later time than the loss: such clocks measure nothing.
    """
    lost = [(t_loss - moment).total_seconds() for moment in newest.values()]
    return round(max(lost), 3) if lost and min(lost) >= 0 else None


def make_fact(toolbox: Toolbox, job: Job, progress: RecoveryProgress, fate: Disposition) -> Drill:
    """Return the fact."""
    point, journal, passed = progress.point, progress.journal, last_mandatory(progress)
    wanted = toolbox.plan.objectives
    return Drill(
        drill_id=job.drill_id,
        system=toolbox.plan.system,
        scenario=job.scenario,
        real=job.real,
        outcome=outcome(progress),
        t_loss=job.t_loss,
        started=journal.started,
        finished=journal.now(),
        objectives=ObjectivesThen(rto_seconds=wanted.rto, rpo_seconds=wanted.rpo, mtd_seconds=wanted.mtd),
        run_id=point.run_id if point else None,
        target=progress.copy.target if progress.copy else None,
        consistency_time=point.consistency_time if point else None,
        requested_at=job.at,
        seen_at=job.travel.at if job.travel else progress.seen_at,
        phases=dict(journal.phases),
        noticed=job.noticed,
        rta_seconds=None if progress.lacks else _seconds(job.noticed or job.t_loss, passed),
        rpa_seconds=_seconds(point.consistency_time, job.t_loss) if point else None,
        data_rpa_seconds=data_rpa(job.t_loss, progress.newest),
        proof_level=proof_level(job, progress),
        checks=tuple(progress.checks),
        events=tuple(journal.events),
        hooks=tuple(progress.hooks),
        files=sum(item.files for item in progress.restored.values()),
        bytes=sum(item.bytes for item in progress.restored.values()),
        protected_bytes=(point.bytes or 0) if point else 0,
        sources=tuple(progress.restored),
        sample=share_compared(progress),
        sandbox=fate,
        error=progress.error,
        error_hint=progress.error_hint,
        error_code=progress.error_code,
        plan_digest=toolbox.digest,
        versions=dict(toolbox.versions),
        machine=progress.machine,
        hollow=dict(progress.hollow),
        isolated=progress.isolation.isolated if progress.isolation else None,
        isolated_reason=progress.isolation.reason if progress.isolation else "",
        passed_over=tuple(progress.passed_over),
        lacks=tuple(progress.lacks),
        suspect=point.suspect if point else None,
        last_unsuspected_point=progress.unsuspected.run_id if progress.unsuspected else None,
        looks=tuple(progress.looks),
    )


def _seconds(start: datetime, end: datetime | None) -> float | None:
    return round((end - start).total_seconds(), 3) if end else None
