"""What follows from a fact: points, copies and their proof.

Derived, never the truth: `first_stray` says where the index and the evidence disagree.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from sqlite3 import Connection, Row

from dr.catalog import pending_deletions as absences
from dr.catalog import reading, stored_objects, suspicion
from dr.catalog.values import SIZE, UNKNOWN, AdoptedPoint, Locked, micros
from dr.evidence.acts import Expiration, KeyEvent, NewBeginning, Trust
from dr.evidence.fact import Fact
from dr.evidence.look import LeftBehind, Look
from dr.evidence.record import BackupRun, Drill, Proof, Replication
from dr.late_dataclass import dataclass


def apply(db: Connection, fact: Fact) -> None:
    """Bring the derived tables up to date with a new fact."""
    if isinstance(fact, BackupRun):
        _backup(db, fact)
        _late(db, fact)
        _left(db, fact.system, fact.left_behind)
        suspicion.note_run(db, fact)
    elif isinstance(fact, Replication):
        _replication(db, fact)
    elif isinstance(fact, Proof):
        _proof(db, fact)
    elif isinstance(fact, Drill):
        _drill(db, fact)
    elif isinstance(fact, KeyEvent):
        _keys(db, fact)
    elif isinstance(fact, Trust):
        suspicion.note_trust(db, fact)
    elif isinstance(fact, NewBeginning):
        _begun(db, fact)
    elif isinstance(fact, Expiration):
        _left(db, fact.system, fact.left_behind)
        _drop_copies(db, fact.target, [point.run_id for point in fact.expired])


def looked(db: Connection, system: str, looks: Iterable[Look]) -> None:
    """What a target does not list is not there, until it lists it again; what it lists was seen then."""
    for look in looks:
        lacking = json.dumps([*look.lost, *look.gone, *look.expired])
        if look.whole:
            db.execute(
                "update copies set missing = 0, seen = max(coalesce(seen, 0), ?) where target = ?"
                " and run_id not in (select value from json_each(?))"
                " and run_id in (select run_id from points where system = ?)",
                (micros(look.at), look.target, lacking, system),
            )
        db.execute(
            "update copies set missing = 1, proof_level = 0, proven_at = null where target = ?"
            " and run_id in (select value from json_each(?))",
            (look.target, json.dumps([*look.lost, *look.gone])),
        )
        _harmed(db, look)
        _drop_copies(db, look.target, look.expired)
        if look.repository:
            row = (system, look.target, look.repository, look.config)
            db.execute("insert or replace into repositories values (?, ?, ?, ?, 0)", row)


def _harmed(db: Connection, look: Look) -> None:
    _damage(db, look.target, look.harmed, doubtful=look.doubtful)


def _drop_copies(db: Connection, target: str, points: Sequence[str]) -> None:
    db.execute(
        "delete from copies where target = ? and run_id in (select value from json_each(?))",
        (target, json.dumps(points)),
    )


def forget_copies(db: Connection, system: str, target: str, points: Sequence[str] | None = None) -> None:
    """Note that a target holds none of a system's points, or none of these, and what that makes void."""
    if points is None:
        db.execute(
            "delete from copies where target = ? and run_id in (select run_id from points where system = ?)",
            (target, system),
        )
    else:
        _drop_copies(db, target, points)
    db.execute("delete from memory where target in (?, ?) and system = ?", (target, target + SIZE, system))
    stored_objects.drop(db, system, target)
    absences.keep(db, system, target, ())
    db.execute("delete from sent where target = ? and system = ?", (target, system))


def _begun(db: Connection, begun: NewBeginning) -> None:
    """A person gave up what a target held; what was sent there is sent again."""
    forget_copies(db, begun.system, begun.target, begun.points)
    db.execute(
        "insert or replace into repositories values (?, ?, ?, '', ?)",
        (begun.system, begun.target, begun.repository, int(not begun.repository)),
    )


def _backup(db: Connection, run: BackupRun) -> None:
    looked(db, run.system, run.looks)
    begun = json.dumps(run.renewed)
    db.execute(
        "update repositories set begun = 0 where system = ? and target in (select value from json_each(?))",
        (run.system, begun),
    )
    for state in run.targets:
        if state.outcome == "ok":
            _place(db, run.system, state.target, seen=run.finished)
    copies = copies_of(run)
    if run.consistency_time is None or not copies:
        return
    db.execute(
        "insert or replace into points values"
        " (:run_id, :system, :consistency, :finished, :outcome, :complete, :bytes, :kinds)",
        point_row(run),
    )
    for copy in copies:
        put_copy(db, run.run_id, copy.target, complete=copy.complete, snapshots=copy.snapshots,
                 manifests=copy.manifests, seen=run.finished)  # fmt: skip
    for look in run.looks:
        _harmed(db, look)


@dataclass(frozen=True)
class StoredCopy:
    """What one run stored of its point on one target."""

    target: str
    complete: bool
    snapshots: Mapping[str, str]
    manifests: Mapping[str, str]


def copies_of(run: BackupRun) -> list[StoredCopy]:
    """Return what a run stored, by its record."""
    whole = {source.source for source in run.sources if source.whole}
    everything = bool(run.sources) and len(whole) == len(run.sources)
    return [
        StoredCopy(state.target, everything and set(state.snapshots) == whole, state.snapshots, state.manifests)
        for state in run.targets
        if state.snapshots
    ]


def point_row(run: BackupRun) -> dict[str, str | int]:
    """Return the row of the point that a run took, by its record; it has a consistency time."""
    kinds = {source.source: source.kind for source in run.sources if source.snapshot_id}
    return {
        "run_id": run.run_id,
        "system": run.system,
        "consistency": micros(run.consistency_time or run.started),
        "finished": micros(run.finished),
        "outcome": run.outcome,
        "complete": int(run.complete),
        "bytes": sum(source.bytes for source in run.sources),
        "kinds": json.dumps(kinds),
    }


def _late(db: Connection, run: BackupRun | Replication) -> None:
    """Points that reached a target late, by copying, are there."""
    for late in run.late_copies:
        put_copy(db, late.run_id, late.target, complete=True, snapshots=late.snapshots, manifests=late.manifests,
                 seen=run.finished)  # fmt: skip


def _left(db: Connection, system: str, left: Iterable[LeftBehind]) -> None:
    """What runs left behind is there: as a point that is not whole, or beside what is known of the same run."""
    for each in left:
        db.execute(
            "insert or ignore into points values"
            " (:run, :system, :at, :finished, coalesce((select outcome from runs where run_id = :run), 'aborted'), 0,"
            " :bytes, :kinds)",
            {
                "run": each.run_id,
                "system": system,
                "at": micros(each.consistency_time),
                "finished": micros(each.finished),
                "bytes": UNKNOWN if each.bytes is None else each.bytes,
                "kinds": json.dumps(each.kinds),
            },
        )
        known = "select * from copies where run_id = ? and target = ?"
        if db.execute(known, (each.run_id, each.target)).fetchone() is None:
            put_copy(db, each.run_id, each.target, complete=False, snapshots=each.snapshots, manifests=each.manifests,
                     seen=each.finished)  # fmt: skip
        _add_more(db, db.execute(known, (each.run_id, each.target)).fetchone(), each.ids)


def _add_more(db: Connection, copy: Row, ids: Iterable[str]) -> None:
    more = {*json.loads(copy["more"]), *ids} - _ids(copy)
    db.execute(
        "update copies set more = ? where run_id = ? and target = ?",
        (json.dumps(sorted(more)), copy["run_id"], copy["target"]),
    )


def put_copy(
    db: Connection,
    run_id: str,
    target: str,
    *,
    complete: bool,
    snapshots: Mapping[str, str],
    manifests: Mapping[str, str],
    seen: datetime,
) -> None:
    """Note what of a point lies on a target, where it was `seen` then; proof known of the same snapshots stays."""
    db.execute(
        "insert into copies (run_id, target, complete, snapshots, manifests, seen) values (?, ?, ?, ?, ?, ?)"
        " on conflict (run_id, target) do update set complete = excluded.complete, missing = 0,"
        " seen = max(coalesce(seen, 0), excluded.seen),"
        " proof_level = case when snapshots = excluded.snapshots then proof_level else 0 end,"
        " damaged = case when snapshots = excluded.snapshots then damaged else 0 end,"
        " doubtful = case when snapshots = excluded.snapshots then doubtful else 0 end,"
        " snapshots = excluded.snapshots, manifests = excluded.manifests",
        (run_id, target, int(complete), _json(snapshots), _json(manifests), micros(seen)),
    )


def _replication(db: Connection, run: Replication) -> None:
    """What an object copy brought has the source's snapshots; what is not there any more has no row."""
    if run.target:
        _place(db, run.system, run.target, seen=run.finished if run.outcome in ("ok", "degraded") else None)
        db.execute(
            "update places set replicated = :at, replication = :outcome, problem = :error,"
            " worked = case when :outcome in ('ok', 'degraded') then :at else worked end,"
            " object_lock = case when :lock = '' then object_lock else :lock end"
            " where system = :system and target = :target",
            {
                "at": micros(run.started),
                "outcome": run.outcome,
                "error": run.error,
                "lock": run.object_lock,
                "system": run.system,
                "target": run.target,
            },
        )
    looked(db, run.system, run.looks)
    if run.forgetting:
        absences.told(db, run.system, run.target)
    _late(db, run)
    if run.points is None or run.by != "objects":
        return
    there = json.dumps(run.points)
    db.execute(
        "delete from copies where target = ? and run_id in (select run_id from points where system = ?)"
        " and run_id not in (select value from json_each(?))",
        (run.target, run.system, there),
    )
    rows = db.execute(
        "select * from copies where target = ? and run_id in (select value from json_each(?))",
        (run.source, there),
    ).fetchall()
    for row in rows:
        snapshots, manifests = json.loads(row["snapshots"]), json.loads(row["manifests"])
        complete = bool(row["complete"])
        put_copy(db, row["run_id"], run.target, complete=complete, snapshots=snapshots, manifests=manifests,
                 seen=run.finished)  # fmt: skip
        db.execute(
            "update copies set more = ? where run_id = ? and target = ?", (row["more"], row["run_id"], run.target)
        )


def _place(db: Connection, system: str, target: str, *, seen: datetime | None) -> None:
    """Note that a target is one of a system's places, and when it was last seen to work."""
    db.execute(
        "insert into places (system, target, seen) values (?, ?, ?) on conflict (system, target) do update set"
        " seen = max(coalesce(seen, 0), coalesce(excluded.seen, seen, 0))",
        (system, target, micros(seen) if seen else None),
    )


def _json(values: Mapping[str, str]) -> str:
    return json.dumps(dict(sorted(values.items())))


def _proof(db: Connection, proof: Proof) -> None:
    """A proof holds for the points it names; damage turns off the proof of exactly those that need it.

    What retention took away is there no more. Less than was proven before, such as the structure after a prune or a
    part of the bytes, does not make that any newer.
    """
    at = micros(proof.finished)
    if proof.target:
        _place(db, proof.system, proof.target, seen=None if proof.error else proof.finished)
        db.execute(
            "update places set proven = ?, proof = ?, object_lock = case when ? = '' then object_lock else ? end"
            " where system = ? and target = ?",
            (at, proof.outcome, proof.object_lock, proof.object_lock, proof.system, proof.target),
        )
        if seen := proof.coverage:
            db.execute(
                "update places set oldest_read = ?, whole_within = ?, unread_objects = ?, stored_bytes = ?"
                " where system = ? and target = ?",
                (
                    micros(seen.oldest_read) if seen.oldest_read else None,
                    seen.whole_within_seconds,
                    seen.unread_objects,
                    seen.bytes,
                    proof.system,
                    proof.target,
                ),
            )
    looked(db, proof.system, proof.looks)
    if proof.level_reached:
        db.execute(
            "update copies set proof_level = max(case when damaged then 0 else proof_level end, :level),"
            " proven_at = case when :level >= 2 or damaged or proof_level <= :level then :at else proven_at end,"
            " damaged = case when :level >= 2 then 0 else damaged end,"
            " doubtful = case when :level >= 2 then 0 else doubtful end"
            " where target = :target and run_id in (select value from json_each(:points))",
            {"level": proof.level_reached, "at": at, "target": proof.target, "points": json.dumps(list(proof.points))},
        )
    _damage(db, proof.target, proof.damaged_points, doubtful=proof.doubtful_points)
    _drop_copies(db, proof.target, proof.expired)


def _damage(db: Connection, target: str, points: Sequence[str], *, doubtful: Sequence[str]) -> None:
    db.execute(
        "update copies set proof_level = 0, proven_at = null, damaged = 1,"
        " doubtful = run_id in (select value from json_each(?))"
        " where target = ? and run_id in (select value from json_each(?))",
        (json.dumps(doubtful), target, json.dumps(points)),
    )


def _drill(db: Connection, drill: Drill) -> None:
    """A drill that worked raises the proof of the copy it used; what it looked for in vain is not there."""
    looked(db, drill.system, drill.looks)
    if drill.outcome in ("ok", "degraded") and drill.run_id and drill.proof_level >= 4:
        db.execute(
            "update copies set proof_level = max(proof_level, ?), proven_at = ?"
            " where run_id = ? and target = ? and missing = 0",
            (drill.proof_level, micros(drill.finished), drill.run_id, drill.target),
        )


def _keys(db: Connection, event: KeyEvent) -> None:
    """Where the keys were destroyed no point can be read any more, and nothing that was proven of it counts."""
    gone = [change.target for change in event.targets if event.what == "destruction" and change.outcome == "ok"]
    db.execute(
        "update copies set complete = 0, proof_level = 0, proven_at = null, damaged = 0, doubtful = 0, destroyed = 1"
        " where target in (select value from json_each(?)) and run_id in (select run_id from points where system = ?)",
        (json.dumps(gone), event.system),
    )


def adopt_point(db: Connection, system: str, target: str, point: AdoptedPoint, *, seen: datetime) -> None:
    """Take a point found in a repository, `seen` then; what is known of it stays, unless this copy of it is whole.

    That no record tells of it, or not of its snapshots there, is noted: an audit names what was put into the index
    otherwise.
    """
    known = db.execute(
        "select snapshots from copies where run_id = ? and target = ?", (point.run_id, target)
    ).fetchone()
    other = known is not None and known["snapshots"] != _json(point.snapshots)
    kinds = json.dumps(point.kinds)
    outcome = "ok" if point.complete else "degraded"
    db.execute(
        "insert into points values (?, ?, ?, ?, ?, ?, ?, ?) on conflict (run_id) do update set"
        " bytes = case when excluded.complete > complete or bytes < 0 then excluded.bytes else bytes end,"
        " kinds = case when excluded.complete > complete then excluded.kinds else kinds end,"
        " outcome = case when excluded.complete > complete then excluded.outcome else outcome end,"
        " complete = max(complete, excluded.complete)",
        (
            point.run_id,
            system,
            micros(point.consistency_time),
            micros(point.finished),
            outcome,
            int(point.complete),
            UNKNOWN if point.bytes is None else point.bytes,
            kinds,
        ),
    )
    put_copy(db, point.run_id, target, complete=point.complete, snapshots=point.snapshots, manifests=point.manifests,
             seen=seen)  # fmt: skip
    if other or not reading.is_on_record(db, point.run_id, "backup"):
        db.execute("insert or ignore into unrecorded values (?)", (point.run_id,))


def protect(db: Connection, system: str, locked: Iterable[Locked]) -> None:
    """Note when the first and the last lock run out on what each point needs; none counts where it is of no use."""
    for each in locked:
        rows = db.execute(
            "select c.run_id, c.snapshots, c.manifests, c.damaged or c.destroyed as useless from copies c"
            " join points p using (run_id) where p.system = ? and c.target = ?",
            (system, each.target),
        ).fetchall()
        ends = {row["run_id"]: each.ends(frozenset() if row["useless"] else _ids(row)) for row in rows}
        db.executemany(
            "update copies set lock_mode = ?, protected_until = ?, locked_until = ? where run_id = ? and target = ?",
            [
                (each.mode if pair else "", *(map(micros, pair) if pair else (None, None)), run_id, each.target)
                for run_id, pair in ends.items()
            ],
        )


def _ids(row: Row) -> frozenset[str]:
    """Return the ids of the snapshots that a copy is made of."""
    return frozenset([*json.loads(row["snapshots"]).values(), *json.loads(row["manifests"]).values()])


def first_stray(db: Connection) -> tuple[int, str] | None:
    """Return the first record with which the index disagrees, and how; None when all agree."""
    return next(iter(strays(db, most=1)), None)


def strays(db: Connection, most: int = -1) -> list[tuple[int, str]]:
    """Return the first so many records, or all, with which the index disagrees, and how."""
    rows = db.execute(
        "select e.seq, r.outcome as noted, json_extract(e.body, '$.outcome') as told from evidence e"
        " left join runs r on r.run_id = e.ref"
        " where json_valid(e.body) and (r.run_id is null or r.outcome is not json_extract(e.body, '$.outcome')"
        " or r.seq is not e.seq or r.system is not e.system) order by e.seq limit ?",
        (most,),
    )
    return [
        (int(row["seq"]), f"edited: the index of runs says {row['noted']!r}, the record says {row['told']!r}")
        for row in rows
    ]
