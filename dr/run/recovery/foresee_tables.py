"""Which tables a point holds, as it was recorded at capture, asked before a recovery begins: a typing error is no
failure to put on record.

Where nobody recorded them, or no copy can be read, nothing is said here: the recovery itself finds out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dr.errors import DrError, InterruptedRunError, SourceError, UsageError
from dr.evidence.record import Point
from dr.run.points.choose import candidates, in_words
from dr.run.points.manifests import Manifests
from dr.run.recovery.request import RecoveryRequest
from dr.run.recovery.table_files import refuse_existing
from dr.run.workspace.toolbox import Toolbox
from dr.sources.condition import refuse_unfinished
from dr.sources.driver import RestoredSource, RestoreSlot
from dr.sources.tables import Choice, Table, find, refuse_views, unknown
from dr.tools import retry

if TYPE_CHECKING:
    from dr.plan.source import Source

#: So many older points are asked for a table that the newest does not hold: one that was dropped, say.
_OLDER = 10


def refuse_tables(toolbox: Toolbox, points: Sequence[Point], request: RecoveryRequest) -> None:
    """Raise `UsageError`, with nothing touched, for tables that the point is seen not to hold, or cannot give so."""
    able = _able(toolbox, request)
    if request.where:
        kinds = {source.kind for source in able.values()}
        refuse_unfinished(request.where, kinds.pop() if len(kinds) == 1 else "")
    turn = list(_in_turn(points, request))
    if not turn:
        return
    # A target that is down now is waited for by the recovery, not by this.
    with TemporaryDirectory(prefix="tables-", dir=toolbox.state) as folder, retry.within(0):
        look = _Look(toolbox, request, able, Path(folder))
        if not look.sources(turn[0]):
            raise holds_no_source(turn[0])
        listed = look.listed(turn[0])
        choice = find(request.tables, listed, toolbox.plan.system)
        if choice.missing and look.whole(turn[0], listed):
            raise _unknown(look, choice, listed, turn)
        for source, tables in choice.found.items():
            refuse_unfit(toolbox, request, source, tables)
            for table in tables if request.where else ():
                look.refuse_condition(turn[0], source, table)


def holds_no_source(point: Point) -> UsageError:
    """Return the error for a point of which no source can give tables."""
    return UsageError(
        f"the point {point.run_id} holds no source of the plan with tables", point.system,
        hint=f"see the others with `dr points {point.system}`",
    )  # fmt: skip


def refuse_unfit(toolbox: Toolbox, request: RecoveryRequest, source: str, tables: Sequence[Table]) -> None:
    """Raise `UsageError` where tables cannot be brought back as it is asked for."""
    refuse_views(tables, toolbox.plan.system)
    for table in tables:
        if request.beside:
            toolbox.source(source).beside().refuse(table, request.beside)
        elif request.to and not request.force:
            refuse_existing(request.to, table.name)


def _able(toolbox: Toolbox, request: RecoveryRequest) -> dict[str, Source]:
    sources = toolbox.plan.sources.items()
    return {name: each for name, each in sources if each.body.holds_tables and request.source in (None, name)}


def _in_turn(points: Sequence[Point], request: RecoveryRequest) -> Iterator[Point]:
    """Yield the points that would be used, the first of them first; the one that was named alone."""
    if request.point:
        yield from (point for point in points if point.run_id == request.point)
        return
    seen = dict.fromkeys(point.run_id for point, _ in candidates(points, request.at or request.t_loss, request.target))
    by_id = {point.run_id: point for point in points}
    yield from (by_id[run_id] for run_id in seen)


class _Look:
    """Reads what points hold, into `folder`; a target that does not answer is asked once."""

    def __init__(self, toolbox: Toolbox, request: RecoveryRequest, able: dict[str, Source], folder: Path) -> None:
        self._toolbox, self._request, self._able, self._folder = toolbox, request, able, folder
        self._brought = Manifests(toolbox, target=request.target)

    def sources(self, point: Point) -> list[str]:
        """Return the sources of a point that hold tables, and are as the plan declares them."""
        return [name for name, each in self._able.items() if point.kinds.get(name) == each.kind]

    def whole(self, point: Point, listed: dict[str, list[Table]]) -> bool:
        """Whether all that the point holds of tables is listed."""
        return all(name in listed for name in self.sources(point))

    def listed(self, point: Point) -> dict[str, list[Table]]:
        """Return the tables of each source that are known."""
        found = {name: self._of(point, name) for name in self.sources(point)}
        return {name: tables for name, tables in found.items() if tables is not None}

    def refuse_condition(self, point: Point, name: str, table: Table) -> None:
        """Raise `UsageError` where a condition on a listed table is seen to be none."""
        try:
            self._instance(point, name).refuse_condition(table, self._request.where)
        except SourceError as error:
            raise UsageError(error.what, "--where", error.cause, hint=error.hint) from error

    def _instance(self, point: Point, name: str) -> RestoredSource:
        apart = self._folder / f"{point.run_id}.{name}"
        apart.mkdir(exist_ok=True)
        room = RestoreSlot(root=apart, apart=apart, annex=_nowhere, token="")
        return self._toolbox.source(name).restored(room)

    def _of(self, point: Point, name: str) -> list[Table] | None:
        instance = self._instance(point, name)
        try:
            if told := instance.tells_tables:
                self._brought.bring_beginning(point, name, told, instance.room.apart / told.file)
            return instance.foreseen_tables()
        except InterruptedRunError:
            raise
        except DrError:
            return None


def _nowhere(kind: str) -> Path:
    raise DrError(f"no place for {kind} is made before the recovery begins", hint="begin the recovery")


def _unknown(look: _Look, choice: Choice, listed: dict[str, list[Table]], turn: Sequence[Point]) -> UsageError:
    """Return the error: with the newest older point that holds the table where one does, else with names like it."""
    error = unknown(choice.missing, (each for tables in listed.values() for each in tables), turn[0].system)
    error.what = error.what.replace("the point ", f"the point {turn[0].run_id} ", 1)
    for older in turn[1 : _OLDER + 1]:
        try:
            held = find(choice.missing, look.listed(older), older.system)
        except UsageError:
            continue
        if not held.missing:
            when = in_words(older.consistency_time)
            hint = f"an older point, of {when}, holds it: add --point {older.run_id}"
            return UsageError(error.what, error.where, hint=hint)
    return UsageError(error.what, error.where, hint=error.hint)
