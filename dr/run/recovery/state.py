"""One drill or recovery at work: what is asked, where it is done, the copy in hand, and what was gathered so far.

Each stage is given this, and leaves in it what the next one needs; `dr.run.recovery.result` makes the record of it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import field
from datetime import datetime
from pathlib import Path

from dr.errors import FAILED, DrError
from dr.evidence.coverage import Sampled
from dr.evidence.look import Look
from dr.evidence.record import CheckResult, Copy, HookRun, PassedOver, Point
from dr.evidence.table_back import TableBack
from dr.late_dataclass import dataclass
from dr.run.points.choose import LostError, RecoveryStep
from dr.run.recovery.checks.context import Restored
from dr.run.recovery.place.isolate import Isolation
from dr.run.recovery.place.sandbox import FreshCache
from dr.run.recovery.request import RecoveryRequest
from dr.run.recovery.site import RestoreSite
from dr.run.recovery.timeline import Timeline
from dr.run.workspace.toolbox import Toolbox
from dr.sources.driver import MANIFEST, RestoredSource


@dataclass(kw_only=True)
class Recovery:
    """The working state. `step` is the copy in hand, restored below `root`; it may be passed over for another.

    `instances` is what the restore makes of each source, `restored` what was brought of them, `lost` those of which
    nothing could be. `asked` is the share of each source's files to be compared. `names` gathers (source, problem,
    path): for this host, not for the evidence.
    """

    toolbox: Toolbox
    request: RecoveryRequest
    site: RestoreSite
    journal: Timeline
    cache: FreshCache  # what restic keeps of the targets in this run

    step: RecoveryStep | None = None
    root: Path = Path()
    instances: dict[str, RestoredSource] = field(default_factory=dict)
    restored: dict[str, Restored] = field(default_factory=dict)
    lost: dict[str, DrError] = field(default_factory=dict)
    wanted: dict[str, frozenset[str]] | None = None  # of which sources, and databases in them, tables are asked for
    alone: dict[str, dict[str, frozenset[tuple[str, ...]]]] = field(default_factory=dict)  # and which tables will do
    tables: list[TableBack] = field(default_factory=list)
    sampled: Sampled | None = None  # what was chosen, where a sample is restored
    trees_sampled: dict[str, int] = field(default_factory=dict)  # sources with a part chosen, and their files
    spoilt: DrError | None = None  # why the copy in hand is not whole
    passed_over: list[PassedOver] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)  # points that a target did not list
    unsuspected: Point | None = None  # the last one before, where the point is suspect
    isolation: Isolation | None = None
    machine: str = ""

    hooks: list[HookRun] = field(default_factory=list)
    newest: dict[str, datetime] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)
    checks: list[CheckResult] = field(default_factory=list)
    lacks: list[str] = field(default_factory=list)
    not_whole: set[str] = field(default_factory=set)  # sources of which something lacks
    hollow: dict[str, str] = field(default_factory=dict)  # restored sources that hold nothing, and why that is said
    names: list[tuple[str, str, bytes]] = field(default_factory=list)

    ended: bool = False  # every phase was gone through
    aborted: bool = False
    error: str | None = None
    error_hint: str = ""
    error_code: int = FAILED

    @property
    def chosen(self) -> RecoveryStep:
        """The copy in hand, for the stages that come once there is one."""
        if self.step is None:
            raise DrError("no point was chosen")
        return self.step

    @property
    def point(self) -> Point | None:
        """The point that is recovered; None before one was chosen."""
        return self.step.point if self.step else None

    @property
    def copy(self) -> Copy | None:
        """The copy of it that is read."""
        return self.step.copy if self.step else None

    @property
    def moved_on(self) -> bool:
        """Whether an older point was tried in the place of the first."""
        return any(self.step and each.run_id != self.step.point.run_id for each in self.passed_over)

    @property
    def sources(self) -> list[str]:
        """The sources that the copy holds and a person did not leave out, but for those that cannot be brought."""
        held = self.chosen.copy.snapshots.keys() - self.lost.keys()
        held -= set(self.sampled.left_out) if self.sampled else set()
        if self.request.tables:
            held = {name for name in held if self.as_declared(name) and self.holds_tables(name)}
            held = held if self.wanted is None else held & self.wanted.keys()
        return sorted(held & {self.request.source} if self.request.source else held)

    @property
    def of_samples(self) -> bool:
        """Whether not all is restored that the sources hold: nothing of this holds for the whole."""
        return self.request.partial or self.sampled is not None

    def apart(self, source: str) -> Path:
        """Return where a source's manifest, and what else stands beside its data, is laid; always on this host."""
        return self.site.land.aside(self.root) / source

    def part_of(self, source: str) -> Path:
        """Return where that part of a tree's manifest lies which was chosen for a sample."""
        return self.apart(source) / f"{MANIFEST}.chosen"

    def names_of(self, source: str) -> Path:
        """Return where restic's names for that part lie."""
        return self.apart(source) / f"{MANIFEST}.names"

    def holds_tables(self, source: str) -> bool:
        """Whether single tables can be brought back of a source of the plan."""
        return self.toolbox.plan.sources[source].body.holds_tables

    def as_declared(self, source: str) -> bool:
        """Whether the plan still has this source, and of the same kind."""
        declared = self.toolbox.plan.sources.get(source)
        return declared is not None and declared.kind == self.chosen.point.kinds.get(source, declared.kind)

    def passed(self, target: str, error: DrError) -> None:
        """Note why a target, or a copy there, is passed over."""
        if not isinstance(error, LostError):
            self.journal.note(f"target {target} cannot be used: {error}", outcome="degraded")
            return
        self.journal.note(str(error), outcome="degraded")
        if self.request.travel is None:  # else it was seen as it was at another time
            self.looks.append(Look(target=target, at=self.journal.now(), lost=(error.point,), whole=False))

    def close_instances(self) -> None:
        """Stop what runs on what was restored."""
        for instance in self.instances.values():
            with suppress(DrError):  # of a host that is gone: the site's end says so
                instance.close()


def begin(toolbox: Toolbox, request: RecoveryRequest, site: RestoreSite) -> Recovery:
    """Return the state of what begins now: its clocks run from here."""
    cache = FreshCache(toolbox.state, request.drill_id)
    return Recovery(toolbox=toolbox, request=request, site=site, journal=Timeline(request.clock), cache=cache)
