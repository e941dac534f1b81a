"""Figures: every number that is told, computed once, from facts, plans and now. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dr.evidence.record import BackupRun, Drill, Point, Proof
from dr.evidence.seal import Sealed
from dr.evidence.standing import Standing
from dr.plan.plan import Plan
from dr.report.verdict import Verdict, judge, rpo_verdict, rto_verdict

PHASES = ("declare", "provision", "restore", "start", "verify")
LADDER = (
    "recorded", "structure", "stored bytes", "decrypted sample", "restored and equal", "service proven", "clean room"
)  # fmt: skip


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


def row_of(plan: Plan, standing: Standing, *, now: datetime, overdue: Sequence[str] = ()) -> Row:
    """Return a system's row. `overdue` names the verbs whose time is long past."""
    wanted = plan.objectives
    fresh = max(0.0, (now - standing.consistency_time).total_seconds()) if standing.consistency_time else None
    drill = standing.drill
    rta = drill.rta_seconds if drill else None
    if drill and drill.outcome == "failed":
        rto = Verdict("missed", drill.error or "the last drill failed")
    else:
        rto = judge(rta, wanted.rto, unknown="never drilled" if not drill else "the last drill did not measure it")
    rpo = judge(fresh, wanted.rpo, unknown="no complete recovery point yet")
    return Row(
        system=plan.system,
        title=plan.title or plan.system,
        rpo_target_seconds=wanted.rpo,
        freshness_seconds=fresh,
        rpo=rpo,
        exposure_seconds=standing.exposure_seconds,
        rto_target_seconds=wanted.rto,
        last_rta_seconds=rta,
        rto=rto,
        proof_level=standing.proof_level,
        proof_age_seconds=(now - standing.proven_at).total_seconds() if standing.proven_at else None,
        last_drill=drill.started if drill else None,
        last_drill_outcome=drill.outcome if drill else None,
        problems=tuple(_problems(standing, rpo, overdue)),
    )


def _problems(standing: Standing, rpo: Verdict, overdue: Sequence[str]) -> Iterable[str]:
    if standing.consistency_time is None:
        yield "no complete recovery point yet"
    elif rpo.word == "missed":
        yield f"the newest recovery point is too old: {rpo.reason}"
    if standing.damaged_points:
        yield f"damage found: {standing.damaged_points} recovery point(s) on a target cannot be used"
    for verb, last in (("backup", standing.backup), ("verify", standing.verify), ("drill", standing.drill)):
        if last and last.outcome not in ("ok", "skipped"):
            yield f"the last {verb} was {last.outcome}" + (f": {last.error}" if last.error else "")
    if standing.drill is None:
        yield "never drilled: nothing shows that this system comes back"
    yield from (f"a {verb} was interrupted" for verb in standing.interrupted)
    yield from (f"{verb} is overdue" for verb in overdue)


# -- exposure ----------------------------------------------------------------------------------------


def exposure_seconds(points: Sequence[Point], *, since: datetime, now: datetime) -> float | None:
    """Return the longest time in which a loss would have gone past what the points could give back.

    The largest gap from one complete point's consistency time to the finish of the next, and from the
    last to now, over the period; None without a complete point.
    """
    whole = sorted((p for p in points if p.complete and p.consistency_time <= now), key=lambda p: p.consistency_time)
    gaps = [
        (min(after.finished, now) - before.consistency_time).total_seconds()
        for before, after in itertools.pairwise(whole)
        if after.finished >= since
    ]
    if whole:
        gaps.append((now - whole[-1].consistency_time).total_seconds())
    return max(gaps, default=None)


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


@dataclass(frozen=True, kw_only=True)
class DrillView:
    """A drill with its verdicts and its place in the evidence."""

    fact: Drill
    digest: str
    seq: int
    title: str
    rto: Verdict
    rpo: Verdict
    sentence: str
    tone: str  # good, bad or odd
    point: Point | None
    plan: Plan | None
    wide: tuple[tuple[str, float, float], ...]  # phase, seconds, share of the whole in percent

    @property
    def partial(self) -> bool:
        """Whether less than everything was restored or compared."""
        fact = self.fact
        everything = self.point is None or set(fact.sources) >= set(self.point.kinds)
        return fact.sample < 1 or not everything or fact.scenario != "system-loss"


@dataclass(frozen=True, kw_only=True)
class Trend:
    """One system's drills over time: moment, RTA and RPA in seconds (None: not achieved), and objectives."""

    system: str
    title: str
    moments: tuple[datetime, ...]
    rta: tuple[float | None, ...]
    rpa: tuple[float | None, ...]
    rto: int
    rpo: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report: everything a renderer says, and nothing it would have to compute."""

    material: Material
    drills: tuple[DrillView, ...]  # newest first
    focus: tuple[DrillView, ...]  # those told in full: the one asked for, or the newest of each system
    trends: tuple[Trend, ...]
    headline: str
    tone: str
    backups_ok: int
    backups_all: int


def build(material: Material) -> Report:
    """Make a report of its material."""
    views = [view_of(record, material) for record in material.records]
    newest_first = tuple(reversed(views))
    if material.focus:
        focus = tuple(view for view in newest_first if view.fact.drill_id == material.focus)
    else:
        focus = tuple({view.fact.system: view for view in views}.values())
    headline, tone = _headline(material, focus)
    return Report(
        material=material,
        drills=newest_first,
        focus=focus,
        trends=tuple(_trends(views)),
        headline=headline,
        tone=tone,
        backups_all=len(material.backups),
        backups_ok=sum(run.outcome == "ok" for run in material.backups),
    )


def view_of(record: Sealed, material: Material) -> DrillView:
    """Return one drill as it is told."""
    fact = record.fact
    if not isinstance(fact, Drill):
        raise TypeError(f"record {record.seq} is no drill")
    plan = material.plans.get(fact.system)
    title = plan.title if plan and plan.title else fact.system
    rto, rpo = rto_verdict(fact), rpo_verdict(fact)
    total = sum(fact.phases.values()) or 1.0
    sentence, tone = _sentence(fact, title, rto, rpo)
    return DrillView(
        fact=fact,
        digest=record.digest,
        seq=record.seq,
        title=title,
        rto=rto,
        rpo=rpo,
        sentence=sentence,
        tone=tone,
        point=material.points.get(fact.run_id or ""),
        plan=plan,
        wide=tuple((n, fact.phases[n], 100 * fact.phases[n] / total) for n in PHASES if n in fact.phases),
    )


def _sentence(fact: Drill, title: str, rto: Verdict, rpo: Verdict) -> tuple[str, str]:
    from dr.plan.units import format_duration

    what = "recovery" if fact.real else "drill"
    if fact.outcome == "aborted":
        return f"The {what} of {title} was interrupted: it shows nothing.", "odd"
    if fact.rta_seconds is None:
        return f"{title} did not come back in this {what}: {fact.error or rto.reason}.", "bad"
    back = f"{title} was back in {format_duration(fact.rta_seconds)}"
    limit = f"its objective is {format_duration(fact.objectives.rto_seconds)}"
    if "missed" in (rto.word, rpo.word):
        which = " and ".join(n for n, v in (("recovery time", rto), ("recovery point", rpo)) if v.word == "missed")
        return f"Objective missed in this {what} ({which}): {back}; {limit}.", "bad"
    if fact.outcome == "degraded":
        return f"Objectives met in this {what}, with warnings: {back}; {limit}.", "odd"
    return f"Objectives met in this {what}: {back}; {limit}.", "good"


def _headline(material: Material, focus: Sequence[DrillView]) -> tuple[str, str]:
    if not focus:
        return "No drill yet: nothing shows that these systems come back.", "odd"
    if len(focus) == 1 and len(material.plans) <= 1:
        return focus[0].sentence, focus[0].tone
    good = sum(view.tone == "good" for view in focus)
    total = max(len(material.plans), len(focus))
    text = f"{good} of {total} systems came back within their objectives in their last drill."
    return text, "good" if good == total else "bad" if any(v.tone == "bad" for v in focus) else "odd"


def _trends(views: Sequence[DrillView]) -> Iterable[Trend]:
    grouped: dict[str, list[DrillView]] = {}
    for view in views:
        if not view.fact.real and view.fact.outcome != "aborted":
            grouped.setdefault(view.fact.system, []).append(view)
    for system, of in sorted(grouped.items()):
        last = of[-1]
        yield Trend(
            system=system,
            title=last.title,
            moments=tuple(v.fact.started for v in of),
            rta=tuple(v.fact.rta_seconds for v in of),
            rpa=tuple(v.fact.rpa_seconds for v in of),
            rto=last.fact.objectives.rto_seconds,
            rpo=last.fact.objectives.rpo_seconds,
        )


def overdue(due: datetime | None, *, now: datetime, grace: timedelta = timedelta(hours=1)) -> bool:
    """Whether something should have been done a good while ago."""
    return due is not None and now - due > grace
