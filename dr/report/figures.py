"""Figures: every number that a report tells, computed once, from facts, plans and now. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from dr.evidence.record import BackupRun, Drill, Point, Proof
from dr.evidence.seal import Sealed
from dr.plan.plan import Plan
from dr.report.acts import Act, acts_of
from dr.report.board import Row
from dr.report.kept import Faulty, Kept, Period, ProofView, faulty_runs, kept
from dr.report.phrases import counted, isolated
from dr.report.protection import GuardRow, guard_rows
from dr.report.view import DrillView, Tone, view_of

#: How many faulty runs, proofs and acts a report lists; what is left out is counted.
LISTED = 20


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a report is made of. `records` are the sealed drills, oldest first; `focus` the one told in full."""

    title: str
    generated: datetime
    since: datetime | None
    plans: Mapping[str, Plan]
    records: Sequence[Sealed]
    backups: Sequence[BackupRun]
    proofs: Sequence[Proof]
    rows: Sequence[Row]
    head: tuple[int, str]
    audit: str
    focus: str | None = None
    points: Mapping[str, Point] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    acts: Sequence[Sealed] = ()


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
    focus: tuple[DrillView, ...]  # those told in full: the one asked for, or the newest of each system
    lines: tuple[Line, ...]  # every system, what needs attention first
    trends: tuple[Trend, ...]
    kept: tuple[Kept, ...]
    faulty: tuple[Faulty, ...]  # newest first
    faulty_more: int
    proofs: tuple[ProofView, ...]  # newest first
    proofs_more: int
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
    views = [_view(record, material) for record in material.records]
    newest_first = tuple(reversed(views))
    if material.focus:
        focus = tuple(view for view in newest_first if view.fact.drill_id == material.focus)
    else:
        focus = tuple({view.fact.system: view for view in views}.values())
    lines = _lines(material, focus)
    headline, tone, label = _today(material, *_headline(material, focus, lines))
    faulty, guarded = faulty_runs(material.backups), guard_rows(material.points.values(), material.generated)
    period, acts = Period(material.since, material.generated), acts_of(material.acts, material.plans)
    return Report(
        material=material,
        drills=newest_first,
        focus=focus,
        lines=lines,
        trends=tuple(_trends(views)),
        kept=tuple(kept(material.plans, material.backups, material.points.values(), period)),
        faulty=faulty[:LISTED],
        faulty_more=max(0, len(faulty) - LISTED),
        proofs=tuple(ProofView.of(proof) for proof in list(reversed(material.proofs))[:LISTED]),
        proofs_more=max(0, len(material.proofs) - LISTED),
        guards=guarded[:LISTED],
        guards_more=max(0, len(guarded) - LISTED),
        acts=acts[:LISTED],
        acts_more=max(0, len(acts) - LISTED),
        headline=headline,
        also=_also(material),
        tone=tone,
        label=label,
    )


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
    if not troubled or material.focus:
        return ""
    number = sum(len(row.problems) for row in troubled)
    where = "" if len(material.rows) == 1 else f" in {len(troubled)} of {counted(len(material.rows), 'system')}"
    return f"Today {counted(number, 'thing')}{where} {'is' if number == 1 else 'are'} to be fixed: see “Systems today”."


def _trends(views: Sequence[DrillView]) -> Iterable[Trend]:
    grouped: dict[str, list[DrillView]] = {}
    for view in views:
        if not view.fact.real and view.fact.outcome != "aborted":
            grouped.setdefault(view.fact.system, []).append(view)
    for system, of in sorted(grouped.items()):
        yield Trend(system, of[-1].title, tuple(_moment(view.fact) for view in of))


def _moment(fact: Drill) -> Moment:
    rta = None if fact.outcome == "failed" else fact.rta_seconds
    return Moment(fact.started, rta, fact.rpa_seconds, fact.objectives.rto_seconds, fact.objectives.rpo_seconds)
