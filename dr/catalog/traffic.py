"""What was moved to and from each target, by month: in all runs on record, and after their records were sealed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from sqlite3 import Connection

from dr.catalog.values import micros, moment
from dr.evidence.fact import Fact, identity
from dr.evidence.monthly_traffic import MonthlyTraffic
from dr.evidence.posture import Requests, Traffic

_ADD = """
    insert into traffic values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    on conflict (system, target, month) do update set begun = min(begun, excluded.begun),
        seen = max(seen, excluded.seen), runs = runs + excluded.runs, writes = writes + excluded.writes,
        lists = lists + excluded.lists, reads = reads + excluded.reads, deletes = deletes + excluded.deletes,
        sent = sent + excluded.sent, received = received + excluded.received,
        restic_sent = restic_sent + excluded.restic_sent"""
_READ = """
    select * from traffic where system in (select value from json_each(?)) order by system, target, month"""


def add(db: Connection, system: str, moved: Iterable[Traffic], *, at: datetime, runs: int) -> None:
    """Count what was moved until a time, by so many runs."""
    month = f"{at.astimezone(UTC):%Y-%m}"
    for each in moved:
        asked = each.requests or Requests()
        counts = (asked.write, asked.list, asked.read, asked.delete, each.sent_bytes, each.received_bytes)
        row = (system, each.target, month, micros(at), micros(at), runs, *counts, each.restic_sent_bytes or 0)
        db.execute(_ADD, row)


def add_fact(db: Connection, fact: Fact) -> None:
    """Count what a record says that its run moved. Once a record: what is derived otherwise may be derived again."""
    if moved := getattr(fact, "traffic", ()):
        add(db, identity(fact)[2], moved, at=fact.finished, runs=1)


def months(db: Connection, systems: Sequence[str]) -> list[MonthlyTraffic]:
    """Return all there is of some systems, the oldest month first."""
    return [
        MonthlyTraffic(
            system=row["system"],
            target=row["target"],
            month=row["month"],
            begun=moment(row["begun"]),
            seen=moment(row["seen"]),
            runs=row["runs"],
            requests=Requests(write=row["writes"], list=row["lists"], read=row["reads"], delete=row["deletes"]),
            sent_bytes=row["sent"],
            received_bytes=row["received"],
            restic_sent_bytes=row["restic_sent"],
        )
        for row in db.execute(_READ, (json.dumps(list(systems)),))
    ]
