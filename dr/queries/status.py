"""What is told: the board, the points, the report, the audit."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from dr.errors import Fault
from dr.evidence.acts import Hold
from dr.evidence.problem import SystemProblem
from dr.evidence.system_status import SystemStatus
from dr.late_dataclass import dataclass
from dr.plan.declarations import Declarations, Loaded
from dr.queries.key_posture import key_problems, wants_escrow
from dr.queries.schedule import VERBS, expiring_targets, in_window, next_due, replicate_due
from dr.report.board import Row, overdue, row_of
from dr.session import Session

if TYPE_CHECKING:
    from dr.catalog.notices import ChannelState
    from dr.plan.target import Target
    from dr.tools.state_dir import StateDir

#: The time over which exposure is told.
PERIOD = timedelta(days=30)
#: Under which name the catalog keeps how the heartbeat fares: not one that a channel can have.
HEARTBEAT = "@heartbeat"


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
    escrow = any(standing.consistency_time for standing in standings.values()) and wants_escrow(session)
    for loaded in items:
        entry = _board_row(loaded, standings[loaded.plan.system], targets, now)
        held = tuple(hold for hold in holds if hold.system == loaded.plan.system)
        more = _beside(session, loaded, escrow=escrow and bool(standings[loaded.plan.system].consistency_time))
        problems = (*entry.row.problems, *more)
        rows.append(replace(entry, row=replace(entry.row, problems=problems), holds=held))
    return rows


def _beside(session: Session, loaded: Loaded, *, escrow: bool) -> Iterator[SystemProblem]:
    """Yield what the state directory knows beside the catalog: of keys, and of recoveries that are under way."""
    if escrow:
        yield from key_problems(session, loaded)
    if not session.state.recoveries.is_dir():
        return
    from dr.run.recovery import under_way

    for begun in under_way.amid(session.state, loaded.plan.system):
        yield SystemProblem(
            kind="recovery_under_way",
            system=loaded.plan.system,
            severity="failed",
            subject=str(begun.to),
            text=f"{begun.in_words}; {begun.todo}",
            todo=begun.todo,
        )


def _board_row(loaded: Loaded, standing: SystemStatus, targets: Mapping[str, Target], now: datetime) -> BoardRow:
    attempts = standing.attempts
    due: dict[str, datetime | None] = {verb: next_due(loaded, verb, attempts, now) for verb in VERBS}
    if not expiring_targets(loaded.plan, targets):
        due |= {"expire": None, "prune": None}
    asked = [verb for verb in VERBS if verb in attempts and attempts[verb].begun]
    late: dict[str, datetime] = {verb: since for verb in asked if (since := due[verb]) and overdue(since, now=now)}
    by_now = replicate_due(loaded, standing.places, now) or (due["backup"] if loaded.plan.replicas else None)
    due["replicate"] = in_window(loaded, by_now)
    away = [name for name in loaded.plan.replicas if name in targets and targets[name].offline]
    waiting = in_window(loaded, replicate_due(loaded, standing.places, now, but=away))
    if waiting and overdue(waiting, now=now):
        late["replicate"] = waiting
    return BoardRow(row_of(loaded.plan, standing, now=now, overdue=late, targets=targets), due)


def site_problems(session: Session) -> Iterator[SystemProblem]:
    """Yield what is wrong with what all systems share, as the catalog knows it. Their system is "".

    That is the room on targets, and the ways by which this site tells.
    """
    yield from unit_problems(failed_units(session.state))
    yield from _of_room(session)
    site = session.declarations.site
    names = {channel.name for channel in site.notify}
    if not names and not site.heartbeat:
        return
    for name, state in sorted(session.catalog.notices.channels().items()):
        if state.failing and name == HEARTBEAT and site.heartbeat:
            yield SystemProblem(
                kind="heartbeat_failed",
                system="",
                severity="degraded",
                since=state.failing,
                text=f"the heartbeat is not taken: {state.error}",
                todo="see the service and `heartbeat` in site.yaml",
            )
        elif state.failing and name in names:
            yield channel_problem(state)


def channel_problem(state: ChannelState) -> SystemProblem:
    """Return the problem of a channel that takes nothing."""
    return SystemProblem(
        kind="channel_failed",
        system="",
        severity="failed",
        subject=state.name,
        since=state.failing,
        text=f"the channel {state.name} takes no notices: {state.error}",
        todo=f"run `dr notify test {state.name}`",
    )


def _of_room(session: Session) -> Iterator[SystemProblem]:
    if any(target.capacity or target.budget for target in session.declarations.targets.values()):
        from dr.queries.rooms import rooms
        from dr.report.bounds import problems

        for room in rooms(session):
            yield from problems(room)


#: Where it is kept which units of systemd failed by themselves: a file of the state directory, so that it can be told
#: while the catalog cannot be written.
FAILED_UNITS = "failed-units.json"


def unit_places(state: StateDir) -> list[Path]:
    """Where it is kept: in the state directory; while that takes nothing, where systemd gives the unit room."""
    return [state.path, *(Path(each) for each in os.environ.get("RUNTIME_DIRECTORY", "").split(":") if each)]


def failed_units(state: StateDir) -> dict[str, dict[str, str]]:
    """Return the units that failed by themselves, each with `since`, `why`, and whether that was told `directly`."""
    found: dict[str, dict[str, str]] = {}
    for place in unit_places(state):
        with suppress(OSError, ValueError, TypeError):
            found |= json.loads((place / FAILED_UNITS).read_text("utf-8"))
    return found


def unit_problems(units: Mapping[str, Mapping[str, str]]) -> Iterator[SystemProblem]:
    """Yield what befell units of systemd."""
    for unit, entry in sorted(units.items()):
        yield SystemProblem(
            kind="unit_failed",
            system="",
            severity="failed",
            subject=unit,
            since=datetime.fromisoformat(entry["since"]),
            text=f"the unit {unit} {entry['why']}: what was due may not be done",
            todo=f"see `journalctl -u {unit}`, then run `dr run`",
        )


def unusable_plans(whole: Declarations) -> Iterator[SystemProblem]:
    """Yield the systems whose plans cannot be used, so that nothing runs for them."""
    found: dict[str, Fault] = {}
    for fault in whole.stopping(()):
        named = fault.systems or {whole.files[fault.file]} if fault.systems or fault.file in whole.files else set()
        for system in named - set(whole.targets):
            found.setdefault(system, fault)
    for system, fault in sorted(found.items()):
        if system:
            yield SystemProblem(
                kind="plan_unusable",
                system=system,
                severity="failed",
                text=f"its plan cannot be used, so nothing runs for it: {fault.where}: {fault.what}",
                todo="correct it as `dr validate` says",
            )
