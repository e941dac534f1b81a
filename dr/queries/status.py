"""What is told: the board, the points, the report, the audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dr.evidence.acts import Hold
from dr.evidence.system_status import SystemStatus
from dr.plan.load import Loaded
from dr.plan.target import Target
from dr.queries.key_posture import key_problems
from dr.queries.replica_schedule import due as replicate_due
from dr.queries.schedule import VERBS, next_due
from dr.report.figures import Row, overdue, row_of
from dr.run.recovery import under_way
from dr.session import Session

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


def _board_row(loaded: Loaded, standing: SystemStatus, targets: Mapping[str, Target], now: datetime) -> BoardRow:
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
