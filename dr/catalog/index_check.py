"""The index of recovery points and their copies, held against the records it was derived from, while those pass by.

What the records leave open is not judged: what a rebuild or a repair found at a target, and what records told that are
missing. So a copy that nobody stored by the records may be there. But a point is of a record, and its copy has the
snapshots that its run stored there or a later record named, or it was noted when that was found otherwise
(`unrecorded`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from datetime import datetime
from itertools import islice
from sqlite3 import Connection, Row
from typing import Any

from dr.catalog import chain, derive, reading
from dr.catalog.recorded_copies import CopyKey, Place, RecordedCopies
from dr.catalog.values import ref_key
from dr.evidence.record import BackupRun, SourceCapture, TargetState
from dr.evidence.seal import Stored, known_fact
from dr.late_dataclass import dataclass

_RECORD = "select seq from runs where run_id = :run union all select seq from folded where ref_key = :key limit 1"
_COPIES = "select c.*, p.system from copies c join points p using (run_id)"
_BACKUPS_AT_WORK = "select distinct system from runs where finished is null and verb = 'backup'"
_POINT = """
    update points set system = :system, consistency = :consistency, finished = :finished, outcome = :outcome,
    complete = :complete, bytes = :bytes, kinds = :kinds where run_id = :run_id"""
_DAMAGED = """
    update copies set damaged = :damaged, doubtful = :doubtful,
    proof_level = case when :damaged then 0 else proof_level end,
    proven_at = case when :damaged then null else proven_at end where run_id = :run and target = :target"""
_MISSING = """
    update copies set missing = :missing, proof_level = case when :missing then 0 else proof_level end,
    proven_at = case when :missing then null else proven_at end where run_id = :run and target = :target"""
_DESTROYED = """
    update copies set destroyed = 1, complete = 0, proof_level = 0, proven_at = null
    where run_id = :run and target = :target"""
_NOT_DESTROYED = "update copies set destroyed = 0 where run_id = :run and target = :target"
_POINTS_ALONE = """
    select run_id from points p where not exists (select 1 from unrecorded u where u.run_id = p.run_id)
    and not exists (select 1 from evidence e where e.ref = p.run_id and e.kind = 'backup')"""
_NO_POINT = ("delete from points where run_id = :run", "delete from copies where run_id = :run")
_POINTS_OF = "select * from points where run_id in ({})"
_COPIES_OF = "select run_id, target, complete, destroyed, snapshots, manifests from copies where run_id in ({})"
#: The index is asked of so many records at once.
_AT_ONCE = 256
_OF_SOURCE = ("source", "kind", "outcome", "snapshot_id", "bytes")
_OF_TARGET = ("target", "outcome", "snapshots", "manifests")
_SNAPSHOTS = "update copies set snapshots = :snapshots, manifests = :manifests where run_id = :run and target = :target"
_WHOLE = "update copies set complete = :complete where run_id = :run and target = :target"


def record_of(db: Connection, run_id: str) -> int:
    """Return the number of the record of a run; 0 where none is known."""
    row = db.execute(_RECORD, {"run": run_id, "key": ref_key(run_id)}).fetchone()
    return int(row["seq"] or 0) if row else 0


@dataclass(frozen=True)
class Stray:
    """Where the index disagrees with the records: of which record's point, how, and what puts it right."""

    seq: int
    what: str
    statement: str
    values: Mapping[str, object]


@dataclass(frozen=True)
class _Rows:
    """What the index has of the points of some runs, and of their copies."""

    points: Mapping[str, Row]
    copies: Mapping[str, list[Row]]

    @classmethod
    def of(cls, db: Connection, runs: Sequence[str]) -> _Rows:
        """Ask for those of `runs`."""
        marks, copies = ", ".join("?" * len(runs)), dict[str, list[Row]]()
        for row in db.execute(_COPIES_OF.format(marks), runs):
            copies.setdefault(row["run_id"], []).append(row)
        return cls({row["run_id"]: row for row in db.execute(_POINTS_OF.format(marks), runs)}, copies)


@dataclass
class IndexCheck:
    """What was found by the records that have passed by, and what they say of copies."""

    db: Connection
    found: list[Stray] = field(default_factory=list)
    told: RecordedCopies = field(default_factory=RecordedCopies)
    #: Whether some records did not pass by, as they are not as they were sealed.
    some_away: bool = False
    _other: dict[CopyKey, tuple[int, str, derive.StoredCopy]] = field(default_factory=dict)

    def passing(self, records: Iterable[Stored]) -> Iterator[Stored]:
        """Yield records, and look at each that passes by."""
        rest = iter(records)
        while some := list(islice(rest, _AT_ONCE)):
            rows = _Rows.of(self.db, [record.ref for record in some if record.kind == "backup"])
            for record in some:
                with suppress(ValueError, TypeError, AttributeError, KeyError, OverflowError):
                    self._look(record, rows)  # one that is not as it was sealed is named for that
                yield record

    def strays(self) -> list[Stray]:
        """Return where the index disagrees with the records; all of them have passed by."""
        at_work = {str(row["system"]) for row in self.db.execute(_BACKUPS_AT_WORK)}
        if not chain.gaps(self.db):  # else damage, say, may be told by a record that is missing
            self._hold_claims(at_work)
            self._hold_points_alone()
            self._hold_snapshots()
        self._hold_damage()
        self._hold_loss(at_work)
        self._hold_destruction()
        return self.found

    def first(self) -> tuple[int, str] | None:
        """Return of which record's point the index says otherwise, and what; None where all agree."""
        return min(((each.seq, each.what) for each in self.strays()), default=None)

    def put_right(self) -> None:
        """Let the index say what the records do, where it says otherwise."""
        for each in self.strays():
            self.db.execute(each.statement, each.values)

    # -- what its own run says of a point, and of its copies ---------------------------------------------

    def _look(self, record: Stored, rows: _Rows) -> None:
        self.told.take(record)
        if record.kind != "backup" or (row := rows.points.get(record.ref)) is None:
            return
        run = _run_of(record)
        if run and run.consistency_time and (copies := derive.copies_of(run)):
            self._hold_point(record.seq, run, row)
            stored = rows.copies.get(run.run_id, [])
            self._hold_copies(record.seq, run.run_id, copies, stored)
            self._note_others(record.seq, run, copies, stored)

    def _hold_point(self, seq: int, run: BackupRun, row: Row) -> None:
        told = derive.point_row(run)
        wrong = [name for name, value in told.items() if row[name] != value]
        if wrong:
            what = f"edited: the index of points says of its point otherwise than the record: {', '.join(wrong)}"
            self.found.append(Stray(seq, what, _POINT, told))

    def _hold_copies(self, seq: int, run_id: str, told: Sequence[derive.StoredCopy], rows: Sequence[Row]) -> None:
        if all(each.complete for each in told) and all(row["complete"] for row in rows):
            return  # as it mostly is
        destroyed = any(row["destroyed"] for row in rows)  # then no copy is whole: neither those made of it
        for row in rows:
            alike = [each for each in told if _read(row["snapshots"]) == each.snapshots]
            whole = [each for each in alike if each.complete]
            key = run_id, str(row["target"])
            if alike and row["complete"] and not whole:
                self._differs(seq, key, "whole", "not whole", _WHOLE, complete=0)
            as_stored = any(_read(row["manifests"]) == each.manifests for each in whole)
            if as_stored and not row["complete"] and not destroyed:
                self._differs(seq, key, "not whole", "whole", _WHOLE, complete=1)

    def _note_others(self, seq: int, run: BackupRun, told: Sequence[derive.StoredCopy], rows: Sequence[Row]) -> None:
        """Note the copies that have other snapshots than their run stored there: later records may say why."""
        stored = {each.target: each for each in told}
        for row in rows:
            copy = stored.get(row["target"])
            if copy and _read(row["snapshots"]) != copy.snapshots:
                self._other[run.run_id, copy.target] = seq, run.system, copy

    # -- what all records say of copies ------------------------------------------------------------------

    def _hold_claims(self, at_work: set[str]) -> None:
        """Hold damage, loss and destroyed keys that the index tells against the records."""
        claims = self.db.execute(f"{_COPIES} where c.damaged or c.doubtful or c.missing or c.destroyed")
        for row in claims.fetchall():
            key, place = (row["run_id"], row["target"]), (row["system"], row["target"])
            certain = place[0] not in at_work and self.told.is_certain(place) and key not in self.told.open
            seq = record_of(self.db, key[0])
            if certain and (row["damaged"] or row["doubtful"]) and key not in self.told.damaged:
                self._differs(seq, key, "damaged", "not damaged", _DAMAGED, damaged=0, doubtful=0)
            if certain and row["missing"] and key[0] not in self.told.missing.get(place, {}):
                self._differs(seq, key, "missing", "not missing", _MISSING, missing=0)
            if row["destroyed"] and seq >= self.told.destroyed.get(place, 0):
                self._differs(seq, key, "destroyed", "not destroyed", _NOT_DESTROYED)

    def _hold_points_alone(self) -> None:
        """Hold against the records that there is a point: one tells of it, or of what its run left behind."""
        for row in self.db.execute(_POINTS_ALONE).fetchall() if not self.some_away else ():
            run_id = str(row["run_id"])
            if run_id not in self.told.left and not reading.is_on_record(self.db, run_id, "backup"):
                what = f"edited: the index of points says that there is a point {run_id}, and no record does"
                self.found += [Stray(0, what, statement, {"run": run_id}) for statement in _NO_POINT]

    def _hold_snapshots(self) -> None:
        """Hold of which snapshots a copy is made against what its run stored there, and what came later."""
        told, noted = self.told, {row["run_id"] for row in self.db.execute("select run_id from unrecorded")}
        for (run_id, target), (seq, system, copy) in self._other.items():
            settled = (run_id, target) in told.late or (system, target) in told.replicas or run_id in told.left
            if not settled and run_id not in noted:
                values = {name: json.dumps(getattr(copy, name), sort_keys=True) for name in ("snapshots", "manifests")}
                self._differs(seq, (run_id, target), "of other snapshots", "of those stored", _SNAPSHOTS, **values)

    def _hold_damage(self) -> None:
        for key, doubtful in self.told.damaged.items():
            row = self._row(key)
            if row is None or key in self.told.open or (row["damaged"] and bool(row["doubtful"]) == doubtful):
                continue
            if self._is_as_stored(key[0], row):
                told = "damaged in the index alone" if doubtful else "damaged"
                seq, values = record_of(self.db, key[0]), {"damaged": 1, "doubtful": int(doubtful)}
                self._differs(seq, key, "otherwise" if row["damaged"] else "not damaged", told, _DAMAGED, **values)

    def _hold_loss(self, at_work: set[str]) -> None:
        for place, runs in self.told.missing.items():
            certain = place[0] not in at_work and self.told.is_certain(place)
            for run_id, at in runs.items() if certain else ():
                row = self._row((run_id, place[1]))
                if row is not None and not row["missing"] and (row["seen"] or 0) <= at:
                    seq, key = record_of(self.db, run_id), (run_id, place[1])
                    self._differs(seq, key, "not missing", "missing", _MISSING, missing=1)

    def _hold_destruction(self) -> None:
        for place, seq in self.told.destroyed.items():
            for row in self._undestroyed(place) if place not in self.told.brought else ():
                if 0 < (own := record_of(self.db, row["run_id"])) < seq:
                    self._differs(own, (row["run_id"], place[1]), "not destroyed", "destroyed", _DESTROYED)

    def _undestroyed(self, place: Place) -> list[Row]:
        asked = f"{_COPIES} where p.system = ? and c.target = ? and not c.destroyed"
        return self.db.execute(asked, place).fetchall()

    def _row(self, key: CopyKey) -> Row | None:
        found = self.db.execute("select * from copies where run_id = ? and target = ?", key).fetchone()
        return found if isinstance(found, Row) else None

    def _is_as_stored(self, run_id: str, row: Row) -> bool:
        """Whether a copy has the snapshots that its run stored: a repair puts others into their place."""
        own = [known_fact(each.sealed()) for each in reading.select(self.db, ("backup",), ref=run_id)]
        told = [copy for run in own if isinstance(run, BackupRun) for copy in derive.copies_of(run)]
        here = [copy for copy in told if copy.target == row["target"]] or told
        return not told or _read(row["snapshots"]) in [copy.snapshots for copy in here]

    def _differs(self, seq: int, key: CopyKey, claimed: str, told: str, statement: str, **values: object) -> None:
        what = f"edited: the index of points says of its copy on {key[1]} {claimed!r}, and the records say {told!r}"
        self.found.append(Stray(seq, what, statement, {"run": key[0], "target": key[1], **values}))


def _run_of(record: Stored) -> BackupRun | None:
    """Return of a backup's record what the index tells of it. Of one that went well no more is decoded: it is quick."""
    body = json.loads(record.text)
    sources, targets = body["sources"], body["targets"]
    if any(each["outcome"] != "ok" for each in sources):
        fact = known_fact(record.sealed())
        return fact if isinstance(fact, BackupRun) else None
    consistency = body["consistency_time"]
    return BackupRun(
        run_id=body["run_id"], system=body["system"], outcome=body["outcome"], complete=body["complete"],
        started=datetime.fromisoformat(body["started"]), finished=datetime.fromisoformat(body["finished"]),
        consistency_time=datetime.fromisoformat(consistency) if consistency else None,
        sources=tuple(SourceCapture(**{name: each[name] for name in _OF_SOURCE}) for each in sources),
        targets=tuple(TargetState(**{name: each[name] for name in _OF_TARGET}) for each in targets),
    )  # fmt: skip


def _read(text: Any) -> Any:
    """Return what a column holds; None where that is no JSON any more."""
    try:
        return json.loads(text)
    except (ValueError, TypeError):
        return None
