"""Figures: every number that a report tells, computed once, from facts, plans and now. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime

from dr.evidence.monthly_traffic import MonthlyTraffic
from dr.evidence.problem import SystemProblem
from dr.evidence.record import BackupRun, Drill, Point, Proof
from dr.evidence.seal import Sealed
from dr.late_dataclass import dataclass
from dr.plan.plan import Plan
from dr.plan.target import Target
from dr.report.acts import Act, acts_of
from dr.report.board import Row
from dr.report.cost import CostRow, cost_rows
from dr.report.forecast import Forecast
from dr.report.kept import Faulty, Kept, ProofView, Ran, faulty_runs, kept
from dr.report.phrases import counted, isolated
from dr.report.protection import GuardRow, guard_rows
from dr.report.view import DrillView, Tone, view_of

#: How many faulty runs, proofs and acts a report lists; what is left out is counted.
LISTED = 20
#: How many runs, proofs and points of each kind the report for machines lists, and drills any report.
LISTED_RUNS = 1_000
#: The last drills of so many systems are told in full and drawn, those first that need attention.
IN_FULL = 60


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """How many there are of what a report lists the newest of; of `acts`, how many are not even looked at."""

    backups: int = 0
    proofs: int = 0
    points: int = 0
    faulty: int = 0
    acts: int = 0


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a report is made of.

    `records` are the sealed drills, oldest first, read once; `focus` the one told in full. `backups`, `proofs` and
    `points` are the newest of those that `numbers` counts, `faulty` the newest that were not ok; `ran` is what came of
    the backups of each system, summed up; `site` is what is wrong with what all systems share, in a report on all.
    """

    title: str
    generated: datetime
    since: datetime | None
    plans: Mapping[str, Plan]
    records: Iterable[Sealed]
    backups: Sequence[BackupRun]
    proofs: Sequence[Proof]
    rows: Sequence[Row]
    head: tuple[int, str]
    audit: str
    organisation: str = ""
    site: Sequence[SystemProblem] = ()
    focus: str | None = None
    points: Mapping[str, Point] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    acts: Sequence[Sealed] = ()
    faulty: Sequence[BackupRun] = ()
    ran: Mapping[str, Ran] = field(default_factory=dict)
    numbers: Numbers = Numbers()
    forecasts: Sequence[Forecast] = ()
    traffic: Sequence[MonthlyTraffic] = ()
    targets: Mapping[str, Target] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """One system's result in one sentence."""

    system: str
    title: str
    tone: Tone
    label: str
    sentence: str


@dataclass(frozen=True)
class Moment:
    """One drill in a trend; None where nothing was achieved or measured. Objectives are those of that day."""

    at: datetime
    rta: float | None
    rpa: float | None
    rto: int
    rpo: int


@dataclass(frozen=True)
class Trend:
    """One system's drills over time, oldest first."""

    system: str
    title: str
    moments: tuple[Moment, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report: everything a renderer says, and nothing it would have to compute."""

    material: Material
    drills: tuple[DrillView, ...]  # newest first
    drills_more: int
    focus: tuple[DrillView, ...]  # those told in full: the one asked for, or the newest of each system
    focus_more: int
    lines: tuple[Line, ...]  # every system, what needs attention first
    trends: tuple[Trend, ...]
    kept: tuple[Kept, ...]
    faulty: tuple[Faulty, ...]  # newest first
    faulty_more: int
    proofs: tuple[ProofView, ...]  # newest first
    proofs_more: int
    costs: tuple[CostRow, ...]  # each target of which something is known
    guards: tuple[GuardRow, ...]  # until when points are protected, newest first; none where no lock was ever known
    guards_more: int
    acts: tuple[Act, ...]  # newest first
    acts_more: int
    headline: str
    also: str  # what the headline must not hide
    tone: Tone
    label: str


def build(material: Material) -> Report:
    """Make a report of its material."""
    drills = _Drills(material.focus)
    for record in material.records:
        drills.add(_view(record, material))
    newest_first = tuple(reversed(drills.newest))
    focus = drills.asked if material.focus else tuple(drills.last.values())
    lines = _lines(material, focus)
    headline, tone, label = _today(material, *_headline(material, focus, lines))
    faulty, guarded = faulty_runs(material.faulty), guard_rows(material.points.values(), material.generated)
    acts, numbers = acts_of(material.acts, material.plans), material.numbers
    in_full = _in_full(focus)
    return Report(
        material=material,
        drills=newest_first,
        drills_more=drills.number - len(newest_first),
        focus=in_full,
        focus_more=len(focus) - len(in_full),
        lines=lines,
        trends=tuple(_trends(drills, {view.fact.system for view in in_full})),
        kept=tuple(kept(material.plans, material.ran)),
        faulty=faulty[:LISTED],
        faulty_more=max(0, numbers.faulty - LISTED),
        proofs=tuple(ProofView.of(proof) for proof in list(reversed(material.proofs))[:LISTED]),
        proofs_more=max(0, numbers.proofs - LISTED),
        costs=cost_rows(material.forecasts, material.traffic, material.targets, since=material.since),
        guards=guarded[:LISTED],
        guards_more=max(0, numbers.points - LISTED) if guarded else 0,
        acts=acts[:LISTED],
        acts_more=max(0, len(acts) - LISTED) + numbers.acts,
        headline=headline,
        also=_also(material),
        tone=tone,
        label=label,
    )


@dataclass
class _Drills:
    """What is kept of all drills while they go by: the newest, the last of each system, and its course over time."""

    focus: str | None = None
    asked: tuple[DrillView, ...] = ()
    number: int = 0
    newest: deque[DrillView] = field(default_factory=lambda: deque(maxlen=LISTED_RUNS))
    last: dict[str, DrillView] = field(default_factory=dict)
    moments: dict[str, list[Moment]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)

    def add(self, view: DrillView) -> None:
        """Take the next one."""
        system = view.fact.system
        self.number += 1
        self.newest.append(view)
        if not view.fact.selected:  # a file that was brought back says nothing of its system
            self.last[system] = view
        if view.fact.drill_id == self.focus:
            self.asked = (view,)
        if not view.fact.real and view.fact.outcome != "aborted":
            self.moments.setdefault(system, []).append(_moment(view.fact))
            self.titles[system] = view.title


def _in_full(views: Sequence[DrillView]) -> tuple[DrillView, ...]:
    """Return the drills that are told in full: where there are many systems, those first that need attention."""
    if len(views) <= IN_FULL:
        return tuple(views)
    return tuple(sorted(views, key=lambda view: ("bad", "odd", "good").index(view.tone))[:IN_FULL])


def _view(record: Sealed, material: Material) -> DrillView:
    point = material.points.get(str(record.body.get("run_id") or ""))
    return view_of(record, material.plans.get(record.system), point)


def _lines(material: Material, focus: Sequence[DrillView]) -> tuple[Line, ...]:
    drilled = [Line(v.fact.system, v.title, v.tone, v.label, v.sentence) for v in focus]
    names = {line.system for line in drilled}
    never = [
        Line(name, plan.title or name, "odd", "No drill", _never(isolated(plan.title or name), material.since))
        for name, plan in material.plans.items()
        if name not in names and not material.focus
    ]
    return tuple(sorted(drilled + never, key=lambda line: ("bad", "odd", "good").index(line.tone)))


def _never(title: str, since: datetime | None) -> str:
    return f"{title} was not drilled{' in this time' if since else ' yet'}: nothing shows that it comes back."


def _headline(material: Material, focus: Sequence[DrillView], lines: Sequence[Line]) -> tuple[str, Tone, str]:
    if not focus:
        return (
            f"No drill{' in this time' if material.since else ' yet'}: nothing shows that recovery works.",
            "odd",
            "Open",
        )
    if len(lines) == 1:
        return focus[0].sentence, focus[0].tone, focus[0].label
    met = sum(view.rto.word == view.rpo.word == "met" for view in focus)
    text = f"{met} of {counted(len(lines), 'system')} came back within their objectives when last tested."
    tones = {line.tone for line in lines}
    if "bad" in tones:
        return text, "bad", "Not met"
    return (text, "odd", "Open") if "odd" in tones else (text, "good", "Met")


def _today(material: Material, text: str, tone: Tone, label: str) -> tuple[str, Tone, str]:
    """Add what misses its objective now, or is suspect: a drill that went well last month does not outweigh it.

    A report on one drill is about that drill alone; an RTO missed is already the verdict of the last drill.
    """
    if material.focus:
        return text, tone, label
    if late := sum(row.rpo.word == "missed" for row in material.rows):
        text += f" But today {_whose(late, material)} newest recovery point is older than the objective allows."
        tone, label = "bad", label if tone == "bad" else "Missed today"
    if suspect := sum(row.retention_frozen is not None for row in material.rows):
        text += f" {_whose(suspect, material).capitalize()} newest data is suspect: look before it is relied on."
        tone, label = ("odd", "Suspect") if tone == "good" else (tone, label)
    return text, tone, label


def _whose(number: int, material: Material) -> str:
    return "its" if len(material.rows) == 1 else f"in {number} of {counted(len(material.rows), 'system')} the"


def _also(material: Material) -> str:
    """What is wrong today, whatever a drill once showed. A report on one drill is about that drill alone."""
    if material.audit != "whole":
        return f"The record of evidence is not whole: {material.audit}. What was altered is left out of this report."
    troubled = [row for row in material.rows if row.problems]
    if not (troubled or material.site) or material.focus:
        return ""
    number = sum(len(row.problems) for row in troubled) + len(material.site)
    alone = len(material.rows) == 1 or not troubled
    where = "" if alone else f" in {len(troubled)} of {counted(len(material.rows), 'system')}"
    where += " and in what all share" if where and material.site else ""
    return f"Today {counted(number, 'thing')}{where} {'is' if number == 1 else 'are'} to be fixed: see “Systems today”."


def _trends(drills: _Drills, systems: Collection[str]) -> Iterable[Trend]:
    for system, moments in sorted(drills.moments.items()):
        if system in systems:
            yield Trend(system, drills.titles[system], tuple(moments))


def _moment(fact: Drill) -> Moment:
    rta = None if fact.outcome == "failed" or fact.sampled else fact.rta_seconds
    return Moment(fact.started, rta, fact.rpa_seconds, fact.objectives.rto_seconds, fact.objectives.rpo_seconds)
