"""Standings: what the board needs of every system, by SQL sums, so that a thousand systems take no time."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from sqlite3 import Connection
from typing import Any

from dr.catalog import attempts, reading, suspicion
from dr.catalog.connection import Connections
from dr.catalog.values import micros, moment
from dr.evidence.look import Known
from dr.evidence.suspicion import frozen, frozen_since
from dr.evidence.system_status import Attempts, KeysDestroyed, LastDrill, LastRun, LostThere, PlaceState, SystemStatus
from dr.late_dataclass import dataclass
from dr.plan.scenario import is_partial
from dr.plan.units import counted
from dr.tools import process

_NEWEST = """
    select value as system, (
        select consistency from points p where system = value and complete = 1 and consistency <= :now
            and exists (select 1 from copies c where c.run_id = p.run_id and c.complete = 1 and c.damaged = 0
                and c.missing = 0)
        order by consistency desc limit 1) as newest
    from json_each(:systems)"""
_EXPOSURE = """
    select system,
        max((coalesce(next_finished, :now) - consistency) / 1e6) as exposure
    from (select system, consistency, lead(finished) over (partition by system order by consistency) as next_finished
        from (
            select system, consistency, finished from points p
            where complete = 1 and consistency <= :now and system in (select value from json_each(:systems))
                and (run_id not in (select run_id from copies where complete = 1 and missing = 1)
                    or exists (select 1 from copies c where c.run_id = p.run_id and c.complete = 1 and c.damaged = 0
                        and c.missing = 0))
            union all select json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
            from json_each(:gone)))
    where coalesce(next_finished, :now) >= :since group by system"""
_FIRST = """
    select system, min(finished) as finished from (
        select system, finished from points where complete = 1 and system in (select value from json_each(:systems))
        union all select s.value, (select finished from folded where system = s.value and kind = 'backup'
            and consistency is not null order by finished limit 1) from json_each(:systems) s)
    where finished <= :now group by system"""
_DESTROYED = """
    select system, ref, json_extract(body, '$.finished') as at from evidence
    where kind = 'keys' and system in (select value from json_each(:without)) and json_valid(body)
        and json_extract(body, '$.what') = 'destruction'
        and exists (select 1 from json_each(body, '$.targets') where json_extract(value, '$.outcome') = 'ok')
    order by seq"""
_TRIED = """
    select system, at from (select value as system, (
        select min(started) from runs where system = value and verb = 'backup' and scenario = '' and started <= :now
        ) as at from json_each(:systems)) where at is not null"""
_KNOWN = "select system, text from memory where target = :mark and system in (select value from json_each(:systems))"
_PROOF = """
    select p.system, max(c.proof_level) as level, c.proven_at as at from points p join copies c using (run_id)
    where c.complete = 1 and c.damaged = 0 and c.missing = 0 and c.proof_level > 0
        and p.system in (select value from json_each(:systems)) group by p.system"""
_DAMAGED = """
    select p.system, count(distinct p.run_id) as points,
        count(distinct p.run_id) - count(distinct case when c.doubtful = 0 then p.run_id end) as doubtful
    from copies c join points p using (run_id) where c.damaged = 1 and c.missing = 0 group by p.system"""
_LOST = """
    select p.system, c.target, count(*) as points, max(c.seen) as seen from copies c join points p using (run_id)
    where c.complete = 1 and c.missing = 1 group by p.system, c.target"""
_STRANGERS = """
    select system, target, count(distinct run_id) as points from strangers s
    where run_id <> '' and not exists (select 1 from points p where p.run_id = s.run_id)
        and not exists (select 1 from runs r where r.run_id = s.run_id)
        and not exists (select 1 from folded f where f.ref_key = ref_key(s.run_id)) group by system, target"""
_UNLOCKED = """
    select p.system, count(distinct p.run_id) as points from copies c join points p using (run_id)
    where c.complete = 1 and c.damaged = 0 and c.missing = 0 and c.protected_until < :now group by p.system"""
_LAST = """
    select s.value as system, v.value as verb, r.outcome, r.run_id, r.started, r.finished, e.body
    from json_each(:systems) s cross join json_each('["backup", "verify", "drill", "expire", "prune"]') v
    join evidence e on e.seq = (select max(seq) from evidence where system = s.value and kind = v.value)
    join runs r on r.run_id = e.ref"""
_PLACES = """
    select p.system, c.target, sum(c.complete and not c.damaged and not c.missing) as points, sum(c.damaged) as damaged,
        max(case when c.complete and not c.damaged and not c.missing and p.consistency <= :now then p.consistency
            end) as newest,
        max(case when c.complete and not c.damaged and not c.missing then c.proof_level else 0 end) as level
    from points p join copies c using (run_id) where p.system in (select value from json_each(:systems))
    group by p.system, c.target"""
_NEWEST_THERE = """
    (select consistency from points p where system = w.system and complete = {whole} and consistency <= :now
        and exists (select 1 from copies c where c.run_id = p.run_id and c.target = w.target and c.complete = 1
            and c.damaged = 0 and c.missing = 0)
    order by consistency desc limit 1)"""
_REPLICATED = (
    "select w.system, w.target, r.replicated, r.replication, r.worked,"  # noqa: S608 - put together of constants
    f" max(coalesce({_NEWEST_THERE.format(whole=1)}, 0), coalesce({_NEWEST_THERE.format(whole=0)}, 0)) as newest"
    " from (select json_extract(value, '$[0]') as system, json_extract(value, '$[1]') as target"
    " from json_each(:wanted)) w left join places r on r.system = w.system and r.target = w.target"
)
_SEEN = "select * from places where system in (select value from json_each(:systems))"
_TIMES = ("seen", "replicated", "worked", "proven", "oldest_read")
#: The mark in the memory of a system that says when its plan was first seen; no target has such a name.
_MARK = "/seen"
#: Of what was folded all went well.
_COUNTED = """
    select system, verb, outcome, count(*) as number from runs
    where outcome is not null and system in (select value from json_each(:systems)) group by system, verb, outcome
    union all select system, kind, 'ok', count(*) from folded
    where system in (select value from json_each(:systems)) group by system, kind"""
_AHEAD = "select distinct system from attempts where begun > :now"
_OPEN = "select system, verb, process from runs where finished is null"


@dataclass
class _Gathered:
    """One system, while its sums come in."""

    values: dict[str, Any] = field(default_factory=dict)
    attempts: dict[str, Attempts] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)
    interrupted: list[str] = field(default_factory=list)


def standings(
    connections: Connections, systems: Sequence[str], *, now: datetime, since: datetime
) -> dict[str, SystemStatus]:
    """Return the standing of each system; exposure is over the time from `since` to `now`."""
    given = {"systems": json.dumps(list(systems)), "now": micros(now), "since": micros(since)}
    found: defaultdict[str, _Gathered] = defaultdict(_Gathered)
    with connections.reading() as db:
        _points(db, given, found)
        _runs(db, given, found)
        _since(db, given, found)
        places = place_states(db, systems, now=now)
        for name, marks in suspicion.marks(db, systems).items():
            found[name].values |= {"retention_frozen": frozen(marks), "frozen_since": frozen_since(marks)}
    return {
        name: SystemStatus(
            system=name,
            **found[name].values,
            attempts=found[name].attempts,
            places=places.get(name, {}),
            running=tuple(found[name].running),
            interrupted=tuple(found[name].interrupted),
        )
        for name in systems
    }


def run_counts(connections: Connections, systems: Sequence[str]) -> dict[tuple[str, str, str], int]:
    """Return how many finished runs are on record, by system, verb and outcome."""
    found: dict[tuple[str, str, str], int] = {}
    with connections.reading() as db:
        for row in db.execute(_COUNTED, {"systems": json.dumps(list(systems))}):
            whole = (row["system"], row["verb"], row["outcome"])
            found[whole] = found.get(whole, 0) + int(row["number"])
    return found


def notice(connections: Connections, systems: Sequence[str], *, now: datetime) -> None:
    """Note since when plans are known: from now, for those not seen before. May be called at any time."""
    given = {"systems": json.dumps(list(systems)), "mark": _MARK}
    with connections.reading() as db:
        seen = {row["system"] for row in db.execute(_KNOWN, given) if moment(int(row["text"])) <= now}
    if fresh := [(system, _MARK, str(micros(now))) for system in systems if system not in seen]:
        with connections.writing() as db:
            db.executemany("insert or replace into memory values (?, ?, ?)", fresh)


def place_states(db: Connection, systems: Sequence[str], *, now: datetime) -> dict[str, dict[str, PlaceState]]:
    """Return by system and target how its copies stand there.

    The newest point there is the newest by `now`: one from before the clock was set back would hide all that follow.
    """
    given = {"systems": json.dumps(list(systems)), "now": micros(now)}
    values: defaultdict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
    for row in db.execute(_PLACES, given):
        newest = moment(row["newest"]) if row["newest"] else None
        values[row["system"], row["target"]] |= {
            "points": row["points"], "damaged": row["damaged"], "newest": newest, "proof_level": row["level"]
        }  # fmt: skip
    for row in db.execute(_SEEN, given):
        times = {name: moment(row[name]) if row[name] else None for name in _TIMES}
        said = {name: row[name] for name in ("replication", "problem", "proof", "object_lock")}
        said |= {name: row[name] for name in ("unread_objects", "stored_bytes")}
        said["whole_within_seconds"] = row["whole_within"]
        values[row["system"], row["target"]] |= {**times, **said}
    found: dict[str, dict[str, PlaceState]] = {}
    for (system, target), known in values.items():
        found.setdefault(system, {})[target] = PlaceState(target=target, **known)
    return found


def replication_states(
    db: Connection, places: Mapping[str, Sequence[str]], *, now: datetime
) -> dict[str, dict[str, PlaceState]]:
    """Return of the places of systems when they were replicated to and the newest point there: no other figures.

    Found by looking, from the newest point downwards, for the first that is there: asked every minute.
    """
    wanted = [(system, target) for system, targets in places.items() for target in targets]
    found: dict[str, dict[str, PlaceState]] = {system: {} for system in places}
    for row in db.execute(_REPLICATED, {"wanted": json.dumps(wanted), "now": micros(now)}):
        newest, replicated, worked = (moment(row[n]) if row[n] else None for n in ("newest", "replicated", "worked"))
        found[row["system"]][row["target"]] = PlaceState(
            target=row["target"],
            replication=row["replication"],
            newest=newest,
            replicated=replicated,
            worked=worked,
        )
    return found


def _points(db: Connection, given: Mapping[str, Any], found: defaultdict[str, _Gathered]) -> None:
    gone = json.dumps(list(reading.exposed(db, json.loads(given["systems"]), since=given["since"])))
    exposed = {row["system"]: row["exposure"] for row in db.execute(_EXPOSURE, {**given, "gone": gone})}
    for row in db.execute(_NEWEST, given):
        if row["newest"] is None:
            continue
        age = (given["now"] - row["newest"]) / 1e6  # longer than the record says when the newest copies were lost
        exposure = max(age, exposed.get(row["system"], 0.0))
        found[row["system"]].values |= {"consistency_time": moment(row["newest"]), "exposure_seconds": exposure}
    without = [system for system in json.loads(given["systems"]) if "consistency_time" not in found[system].values]
    for row in db.execute(_DESTROYED, {"without": json.dumps(without)}) if without else ():
        destroyed = KeysDestroyed(datetime.fromisoformat(row["at"]), row["ref"])
        found[row["system"]].values["destroyed"] = destroyed
    for row in db.execute(_PROOF, given):
        at = moment(row["at"]) if row["at"] else None
        found[row["system"]].values |= {"proof_level": row["level"], "proven_at": at}
    for row in db.execute(_DAMAGED):
        found[row["system"]].values |= {"damaged_points": row["points"], "doubtful_points": row["doubtful"]}
    for row in db.execute(_LOST):
        lost = LostThere(row["target"], row["points"], moment(row["seen"]) if row["seen"] else None)
        known = found[row["system"]].values
        known["lost"] = (*known.get("lost", ()), lost)
    for row in db.execute(_STRANGERS):
        known = found[row["system"]].values
        known["strangers"] = {**known.get("strangers", {}), row["target"]: row["points"]}
    for row in db.execute(_UNLOCKED, given):
        found[row["system"]].values["unlocked_points"] = row["points"]


def _since(db: Connection, given: Mapping[str, Any], found: defaultdict[str, _Gathered]) -> None:
    """Since when each system is known; a loss before its first complete point would have taken all since then."""
    begun = {row["system"]: row["at"] for row in db.execute(_TRIED, given)}
    for row in db.execute(_KNOWN, {**given, "mark": _MARK}):
        begun[row["system"]] = min(int(row["text"]), begun.get(row["system"], given["now"]))
    first = {row["system"]: row["finished"] for row in db.execute(_FIRST, given)}
    for system, at in begun.items():
        values, end = found[system].values, given["now"]
        if "consistency_time" in values:
            end = first.get(system, end)
        values["known_since"] = moment(at)
        if end >= given["since"] and end > at:
            values["exposure_seconds"] = max((end - at) / 1e6, values.get("exposure_seconds") or 0.0)


def _runs(db: Connection, given: Mapping[str, Any], found: defaultdict[str, _Gathered]) -> None:
    for (system, verb), each in attempts.read(db, json.loads(given["systems"]), now=given["now"]).items():
        found[system].attempts[verb] = each
    for row in db.execute(_LAST, given):
        found[row["system"]].values[row["verb"]] = _last(row)
    for row in db.execute(_AHEAD, {"now": given["now"]}):
        found[row["system"]].values["ahead"] = True
    for row in db.execute(_OPEN):
        lives = process.alive(row["process"])
        (found[row["system"]].running if lives else found[row["system"]].interrupted).append(row["verb"])


def _last(row: Any) -> LastRun:
    body = _body(row["body"])
    common = {
        "outcome": row["outcome"],
        "started": moment(row["started"]),
        "ref": row["run_id"],
        "error": _reason(body),
        "suspect": body.get("suspect") if row["verb"] == "backup" else None,
        "of_nothing": _of_nothing(body),
        "seconds": (row["finished"] - row["started"]) / 1e6 if row["finished"] else None,
        **_captured(body, row["verb"]),
    }
    if row["verb"] != "drill":
        return LastRun(**common)
    return LastDrill(
        **common,
        partial=is_partial(str(body.get("scenario"))) or bool(body.get("sampled")),
        rta_seconds=body.get("rta_seconds"),
        rpa_seconds=body.get("rpa_seconds"),
        rto_target_seconds=body.get("objectives", {}).get("rto_seconds"),
    )


def _captured(body: Mapping[str, Any], verb: str) -> dict[str, int]:
    """Return what a backup captured, summed up over its sources."""
    sources = [source for source in body.get("sources") or () if isinstance(source, dict)] if verb == "backup" else []
    names = ("files", "bytes", "bytes_added") if sources else ()
    return {name: sum(int(source.get(name) or 0) for source in sources) for name in names}


def _body(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {"error": "its record cannot be read: see `dr audit`"}


def _of_nothing(body: Mapping[str, Any]) -> bool:
    """Whether a backup captured, or a drill brought back, nothing but sources that hold nothing."""
    sources, hollow = body.get("sources") or (), body.get("hollow") or {}
    return bool(sources) and all(s.get("hollow") if isinstance(s, dict) else s in hollow for s in sources)


def _reason(body: Mapping[str, Any]) -> str | None:
    """Return why a run was not ok, from itself, its sources, its targets, or its checks."""
    if body.get("error"):
        return str(body["error"])
    if body.get("blocked"):
        return str(body["blocked"][0])
    parts = [*body.get("sources", ()), *body.get("targets", ())]
    errors = [str(part["error"]) for part in parts if isinstance(part, dict) and part.get("error")]
    told = [omission for part in parts if isinstance(part, dict) for omission in part.get("omissions") or ()]
    errors += [str(omission["what"]) for omission in told if isinstance(omission, dict) and omission.get("what")]
    errors += [f"{name} holds nothing ({why})" for name, why in (body.get("hollow") or {}).items()]
    errors += [f"{check['check']} check failed" for check in body.get("checks", ()) if check["outcome"] == "failed"]
    if body.get("damage"):
        errors.append(counted(len(body["damage"]), "damaged or stray object"))
    return errors[0] if errors else None


# -- which repository is on each target: so that another in its place is told from it -----------------

_HELD_THERE = """
    select c.target, count(*) as points, max(coalesce(c.seen, p.finished)) as seen
    from copies c join points p using (run_id)
    where p.system = ? and c.complete = 1 and c.destroyed = 0 group by c.target"""


def known_repositories(db: Connection, system: str) -> dict[str, Known]:
    """Return by target what is on record of a system's repository there."""
    held = {row["target"]: row for row in db.execute(_HELD_THERE, (system,))}
    rows = {row["target"]: row for row in db.execute("select * from repositories where system = ?", (system,))}
    found = {}
    for target in held.keys() | rows.keys():
        points, row = held.get(target), rows.get(target)
        found[target] = Known(
            id=row["id"] if row else "",
            config=row["config"] if row else "",
            points=points["points"] if points else 0,
            seen=moment(points["seen"]) if points else None,
            begun=bool(row and row["begun"]),
        )
    return found
