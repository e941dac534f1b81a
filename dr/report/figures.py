"""Figures: every number that is told, computed once, from facts, plans and now. Pure."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dr.evidence.record import BackupRun, Drill, Point, Proof
from dr.evidence.seal import Sealed
from dr.evidence.system_status import LastRun, SystemStatus
from dr.plan import cadence
from dr.plan.plan import Plan
from dr.plan.target import Target
from dr.plan.units import format_duration
from dr.report.acts import Act, acts_of
from dr.report.copies import Copies, PlaceRow, count_copies, place_rows
from dr.report.kept import Faulty, Kept, Period, ProofView, faulty_runs, kept
from dr.report.phrases import counted, isolated
from dr.report.protection import GuardRow, guard_rows
from dr.report.verdict import Verdict, judge
from dr.report.view import DrillView, Tone, view_of

#: How many faulty runs, proofs and acts a report lists; what is left out is counted.
LISTED = 20
#: What should have been done so long ago is late.
GRACE = timedelta(hours=1)
_NOUNS = {
    "backup": "backup",
    "verify": "verification",
    "drill": "drill",
    "recovery": "recovery",
    "keys": "change of keys",
    "replicate": "replication",
}
_ALTHOUGH = "although the plan asks for a drill"
_ENDED = {"failed": "failed", "degraded": "was done in part", "aborted": "was interrupted"}


# -- the board ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Row:
    """One system on the board; seconds, None where nothing is known."""

    system: str
    title: str
    rpo_target_seconds: int
    freshness_seconds: float | None
    rpo: Verdict
    exposure_seconds: float | None
    rto_target_seconds: int
    last_rta_seconds: float | None
    rto: Verdict
    proof_level: int
    proof_age_seconds: float | None
    last_drill: datetime | None
    last_drill_outcome: str | None
    problems: tuple[str, ...]
    retention_frozen: str | None = None
    copies: Copies | None = None
    places: tuple[PlaceRow, ...] = ()


def row_of(
    plan: Plan,
    standing: SystemStatus,
    *,
    now: datetime,
    overdue: Sequence[str] = (),
    targets: Mapping[str, Target] | None = None,
) -> Row:
    """Return a system's row. `overdue` names the verbs whose time is long past; with `targets` copies are counted."""
    wanted = plan.objectives
    fresh = max(0.0, (now - standing.consistency_time).total_seconds()) if standing.consistency_time else None
    drill = standing.drill
    rto = _rto(plan, standing, now)
    rpo = _rpo(plan, standing, now) if fresh is None else judge(fresh, wanted.rpo, unknown="")
    if standing.backup and standing.backup.of_nothing and rpo.word == "met":
        rpo = Verdict("unknown", "the newest recovery point holds nothing")
    places = place_rows(plan, targets or {}, standing)
    return Row(
        system=plan.system,
        title=plan.title or plan.system,
        rpo_target_seconds=wanted.rpo,
        freshness_seconds=fresh,
        rpo=rpo,
        exposure_seconds=standing.exposure_seconds,
        rto_target_seconds=wanted.rto,
        last_rta_seconds=drill.rta_seconds if drill else None,
        rto=rto,
        proof_level=standing.proof_level,
        proof_age_seconds=max(0.0, (now - standing.proven_at).total_seconds()) if standing.proven_at else None,
        last_drill=drill.started if drill else None,
        last_drill_outcome=drill.outcome if drill else None,
        problems=tuple(_problems(standing, (rpo, rto), overdue, [x for x in plan.replicas if x in standing.places])),
        retention_frozen=standing.retention_frozen,
        copies=count_copies(places, standing) if targets else None,
        places=places,
    )


def _rpo(plan: Plan, standing: SystemStatus, now: datetime) -> Verdict:
    """Judge a system that has no point: missed as soon as it is known for longer than its RPO."""
    if standing.known_since is None:
        return Verdict("unknown", "no complete recovery point yet")
    wanted, waited = plan.objectives.rpo, max(0.0, (now - standing.known_since).total_seconds())
    begun = standing.attempts["backup"].begun if "backup" in standing.attempts else None
    of = "the first try" if begun else "its plan was first seen"
    if waited > wanted:
        return Verdict("missed", f"no complete recovery point yet, {format_duration(waited)} after {of}")
    left = format_duration(wanted - waited)
    if not standing.attempts:
        of += "; if its catalog was lost, `dr points --rebuild` finds its points"
    return Verdict(
        "unknown", f"no complete recovery point yet; {left} are left of {format_duration(wanted)} since {of}"
    )


def _rto(plan: Plan, standing: SystemStatus, now: datetime) -> Verdict:
    """Judge the last drill; and a system that was not drilled for longer than its plan's cadence misses its RTO."""
    drill, wanted = standing.drill, plan.objectives.rto
    if drill and drill.outcome == "failed":
        return Verdict("missed", drill.error or "the last drill failed")
    settled = standing.attempts["drill"].settled if "drill" in standing.attempts else None
    since = settled or (drill.started if drill else standing.known_since)
    longest = _longest(plan.cadence.drill, plan.cadence.timezone)
    if since and longest and (now - since).total_seconds() > longest + GRACE.total_seconds():
        told = f"the last drill was on {since:%Y-%m-%d}" if drill else f"never drilled since {since:%Y-%m-%d}"
        return Verdict("missed", f"{told}, {_ALTHOUGH} {_asked(plan.cadence.drill)}")
    if drill and drill.outcome == "aborted":
        return Verdict("unknown", "the last drill was interrupted")
    if drill and drill.of_nothing:
        return Verdict("unknown", "the last drill brought back nothing: what it restored holds nothing")
    if drill and drill.partial and drill.rta_seconds is not None:
        return Verdict("unknown", "the last drill brought back samples only")
    undrilled = "never drilled" + (f"; the plan asks for a drill {_asked(plan.cadence.drill)}" if longest else "")
    unknown = "the last drill did not measure it" if drill else undrilled
    return judge(drill.rta_seconds if drill else None, wanted, unknown=unknown)


@functools.lru_cache(maxsize=1024)
def _longest(text: str | None, timezone: str) -> float | None:
    """Return the longest time between two drills by a cadence, in seconds; None where there is none."""
    return None if text in (None, "never") else cadence.parse(str(text), timezone).interval_seconds()


def _asked(text: str | None) -> str:
    return f"by `{text}`" if str(text).startswith("cron") else str(text)


def _problems(
    standing: SystemStatus, verdicts: tuple[Verdict, Verdict], overdue: Sequence[str], replicas: Sequence[str]
) -> Iterable[str]:
    rpo, rto = verdicts
    if standing.consistency_time is None:
        yield rpo.reason
    elif rpo.word == "missed":
        yield f"the newest recovery point is too old: {rpo.reason}"
    if standing.retention_frozen:
        yield f"{standing.retention_frozen}; until then no recovery point may be expired"
    if standing.ahead:
        yield "runs on record bear a later time than now: see this machine's clock"
    if standing.unlocked_points:
        points = counted(standing.unlocked_points, "recovery point")
        yield f"the locks on {points} have run out: back up again, which locks what is needed"
    for target, number in standing.strangers.items():
        points = counted(number, "recovery point")
        yield f"{target} holds {points} that another installation made: two machines must not share one repository"
    for there in standing.lost:
        seen = f", last seen there {there.seen:%Y-%m-%d %H:%M}Z" if there.seen else ""
        yield f"{there.target} has lost {counted(there.points, 'recovery point')} that should be there{seen}"
    if standing.damaged_points:
        points, doubtful = counted(standing.damaged_points, "recovery point"), standing.doubtful_points
        mend = f"; of {doubtful} only the index is damaged: run `dr repair {standing.system}`" if doubtful else ""
        yield f"damage found: {points} cannot be used on the target concerned{mend}"
    for verb, last in (("backup", standing.backup), ("verify", standing.verify), ("drill", standing.drill)):
        if last:
            yield from _ended_badly(_NOUNS[verb], last)
    for name in replicas:
        state = standing.places[name]
        if state.replication in _ENDED:
            yield f"the last replication to {name} {_ENDED[state.replication]}: {state.problem or 'see the record'}"
    late = rto.word == "missed" and _ALTHOUGH in rto.reason
    if standing.drill is None:
        yield f"{rto.reason if late else 'never drilled'}: nothing shows that this system comes back"
    elif late:
        yield rto.reason
    yield from (f"a {_NOUNS.get(verb, verb)} was interrupted" for verb in standing.interrupted)
    yield from (f"a {_NOUNS.get(verb, verb)} is overdue" for verb in overdue if not (late and verb == "drill"))


def _ended_badly(noun: str, last: LastRun) -> Iterable[str]:
    if last.outcome == "degraded" and last.suspect and not last.error:
        return  # it was done in whole; what is held against its point is said where retention is
    if last.outcome in _ENDED:
        yield f"the last {noun} {_ENDED[last.outcome]}" + (f": {last.error}" if last.error else "")


# -- the report --------------------------------------------------------------------------------------


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


def overdue(due: datetime | None, *, now: datetime, grace: timedelta = GRACE) -> bool:
    """Whether something should have been done a good while ago."""
    return due is not None and now - due > grace
