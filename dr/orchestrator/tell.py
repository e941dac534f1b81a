"""What is told: the board, the points, the report, the audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dr.errors import UsageError
from dr.evidence.acts import Hold
from dr.evidence.record import BackupRun, Proof
from dr.evidence.seal import Sealed, fault_of
from dr.evidence.standing import Standing
from dr.orchestrator.due import VERBS, next_due
from dr.orchestrator.keys import key_problems
from dr.orchestrator.replicate import due as replicate_due
from dr.orchestrator.session import Session
from dr.plan.load import Loaded
from dr.plan.target import Target
from dr.report.acts import KINDS as ACTS
from dr.report.figures import Material, Report, Row, build, overdue, row_of
from dr.run import under_way

#: The time over which exposure is told.
PERIOD = timedelta(days=30)


@dataclass(frozen=True)
class BoardRow:
    """One system's row, when what is due next, and the holds in force."""

    row: Row
    next_due: Mapping[str, datetime | None]
    holds: tuple[Hold, ...] = ()


def board(session: Session, items: Sequence[Loaded]) -> list[BoardRow]:
    """Return the board. Reads the catalog only: no target is asked."""
    now = session.clock()
    names = [loaded.plan.system for loaded in items]
    session.catalog.notice(names, now=now)
    standings = session.catalog.standings(names, now=now, since=now - PERIOD)
    holds = [hold for hold in session.catalog.holds() if hold.holds(now)]
    targets, rows = session.declarations.targets, []
    for loaded in items:
        entry = _board_row(loaded, standings[loaded.plan.system], targets, now)
        held = tuple(hold for hold in holds if hold.system == loaded.plan.system)
        unkept = key_problems(session, loaded) if standings[loaded.plan.system].consistency_time else []
        amid = [f"{begun.in_words}; {begun.todo}" for begun in under_way.amid(session.state, loaded.plan.system)]
        problems = (*entry.row.problems, *unkept, *amid)
        rows.append(replace(entry, row=replace(entry.row, problems=problems), holds=held))
    return rows


def _board_row(loaded: Loaded, standing: Standing, targets: Mapping[str, Target], now: datetime) -> BoardRow:
    attempts = standing.attempts
    due: dict[str, datetime | None] = {verb: next_due(loaded, verb, attempts, now) for verb in VERBS}
    late: list[str] = [
        verb for verb in VERBS if verb in attempts and attempts[verb].begun and overdue(due[verb], now=now)
    ]
    due["replicate"] = replicate_due(loaded, standing.places, now) or (due["backup"] if loaded.plan.replicas else None)
    away = [name for name in loaded.plan.replicas if name in targets and targets[name].offline]
    if overdue(replicate_due(loaded, standing.places, now, but=away), now=now):
        late.append("replicate")
    return BoardRow(row_of(loaded.plan, standing, now=now, overdue=late, targets=targets), due)


def report(
    session: Session,
    items: Sequence[Loaded],
    *,
    drill: str | None = None,
    since: datetime | None = None,
) -> Report:
    """Return the report on one drill, on some systems, or on all. Raises `UsageError` for an unknown drill."""
    catalog, now = session.catalog, session.clock()
    names = [loaded.plan.system for loaded in items]
    if drill:
        found = _as_sealed(catalog.facts(("drill", "recovery"), ref=drill))
        if not found:
            raise UsageError(f"there is no drill {drill!r}", "--drill", hint="`dr report --format json` lists them")
        names = [found[0].system]
    records = _as_sealed(catalog.facts(("drill", "recovery"), systems=names, since=since))
    audit = catalog.audit()
    rows = [entry.row for entry in board(session, [x for x in items if x.plan.system in names])]
    plans = {loaded.plan.system: loaded.plan for loaded in items if loaded.plan.system in names}
    backups = [r.fact for r in _as_sealed(catalog.facts(("backup",), systems=names, since=since))]
    proofs = [r.fact for r in _as_sealed(catalog.facts(("verify",), systems=names, since=since))]
    acts = [] if drill else _as_sealed(catalog.facts(ACTS, systems=[*names, ""], since=since))
    return build(
        Material(
            title=_title(plans.values() if len(plans) == 1 else (), names, drill),
            generated=now,
            since=since,
            plans=plans,
            records=records,
            rows=rows,
            head=catalog.head(),
            focus=drill,
            backups=[fact for fact in backups if isinstance(fact, BackupRun)],
            proofs=[fact for fact in proofs if isinstance(fact, Proof)],
            audit="whole" if audit.first_bad is None else f"record {audit.first_bad[0]} was {audit.first_bad[1]}",
            points={point.run_id: point for point in catalog.points(names)},
            versions=session.versions_here,
            acts=acts,
        )
    )


def _as_sealed(records: Sequence[Sealed]) -> list[Sealed]:
    """Leave out what is not as it was sealed: a report passes on no figure that somebody may have edited."""
    return [record for record in records if fault_of(record) is None]


def _title(plans: object, names: Sequence[str], drill: str | None) -> str:
    titles = [plan.title for plan in plans if plan.title]  # type: ignore[attr-defined]
    name = titles[0] if titles else names[0] if len(names) == 1 else "All systems"
    return f"{name}: {drill}" if drill else str(name)
