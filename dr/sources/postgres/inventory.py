"""What a database holds, by its own catalogue: rows, objects, needs. Taken at capture in the dump's snapshot,
and again of what was restored."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import field
from typing import Any

from dr.errors import SourceError
from dr.late_dataclass import dataclass
from dr.sources.database_inventory import DatabaseInventory, digest_of, key_of
from dr.sources.postgres import queries
from dr.sources.postgres.connection import Server, Session, literal
from dr.sources.postgres.rights import Sight

log = logging.getLogger("dr.backup")

#: What large objects are counted as, beside the tables.
LARGE_OBJECTS = "pg_largeobject"
#: Nothing is left out.
WHOLE = Sight()
#: How definitions are written down now; those of older points are written down as they had it.
SPELLING = 2
#: Longer definitions are kept as a digest.
_SHORT = 120
#: PostgreSQL spells these differently once it has read them back: casts and brackets may move.
_RESPELLED = frozenset({
    "table", "view", "materialized view", "constraint", "index", "policy", "rule", "trigger", "type", "statistics",
})  # fmt: skip
_CAST = re.compile(
    r'::(?:"[^"]*"|[\w.]+)(?: varying| precision| with(?:out)? time zone)?(?:\([\d, ]+\))?(?:\[\])*|[()\s]'
)

#: From version 16 on, columns in these are qualified only where they must be.
_OF_QUERIES = frozenset({"view", "materialized view", "rule"})
_QUALIFIER = re.compile(r'(?:"[^"]*"|\b[A-Za-z_][\w$]*)\.(?=["A-Za-z_*])')

_PARSED_BODY = re.compile(r"^(?:BEGIN ATOMIC|RETURN )", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question of the plan's: `database` as the plan has it, and the query."""

    database: str | None
    query: str


@dataclass
class Inventory:
    """What one database held at one moment."""

    database: str
    version: str = ""
    rows: dict[str, int] = field(default_factory=dict)
    objects: dict[str, str] = field(default_factory=dict)
    needs: list[str] = field(default_factory=list)
    answers: dict[str, str | None] = field(default_factory=dict)
    zone: str = ""
    size: int = 0


def take(session: Session, database: str, sight: Sight = WHOLE, *, spelling: int = SPELLING) -> Inventory:
    """Return what a database holds as a session that has begun sees it; `database` is its name in the facts.

    What `sight` leaves out is not looked at. Definitions are written down as that spelling has them. A few
    statements, however many tables there are. Raises `SourceError`.
    """
    found = Inventory(database, version=session.rows(queries.VERSION)[0])
    out, below = {*sight.tables, *sight.indexes}, tuple(f"{name}." for name in sight.tables)
    found.objects = {
        f"{kind} {database}.{name}": _kept(kind, text, spelling)
        for kind, name, text in session.rows(queries.objects(spelling))
        if name not in out and not (below and name.startswith(below))
    }
    found.zone = session.rows(queries.ZONE)[0]
    found.size = int(session.rows(queries.SIZE)[0])
    found.needs = sorted(set(session.rows(queries.NEEDS)))
    found.rows = {f"{database}.{name}": int(count) for name, count in _counted(session, sight)}
    return found


def _counted(session: Session, sight: Sight) -> list[tuple[str, int]]:
    """Return the rows of each table.

    A table whose index calls a function with unqualified names cannot be counted while every name is to be spelled in
    full: then each is counted by itself, as the database's own search path has it.
    """
    tables = [name for name in session.rows(queries.TABLES_OF_ROWS) if name not in sight.uncounted]
    rows = session.attempt(queries.rows_of(tables))
    if rows is None:
        rows = [row for name in tables for row in _counted_alone(session, name)]
    large = [] if "pg_largeobject" in sight.uncounted else session.rows(queries.LARGE_OBJECTS)
    return [*rows, *large]


def _counted_alone(session: Session, table: str) -> list[tuple[str, int]]:
    for path in ("''", "default", f"{table.split('.')[0]}, public" if '"' not in table else "public"):
        rows = session.attempt(f"set local search_path = {path};\n{queries.rows_of([table])}")
        session.rows("set local search_path = ''")
        if rows is not None:
            return rows
    raise SourceError(
        f"the rows of {table} cannot be counted", hint="see `select count(*)` of it: a function that an index of it "
        "calls may need a path of its own: ALTER FUNCTION … SET search_path = …",
    )  # fmt: skip


def answers(server: Server, database: str, snapshot: str, asked: Iterable[Asked]) -> dict[str, str | None]:
    """Return what queries give in an exported snapshot. One that fails is left out, and said.

    Their checks then find no answer: a query that is wrong must not stop the copy.
    """
    begin = f"begin isolation level repeatable read read only;\nset transaction snapshot {literal(snapshot)};\n"
    found: dict[str, str | None] = {}
    for question in asked:
        try:
            found[key_of(question.database, question.query)] = server.value(database, question.query, before=begin)
        except SourceError as error:
            log.warning("%s: a check's query has no answer at capture: %s", server.name, error)
    return found


def facts_of(
    found: Sequence[Inventory], properties: dict[str, dict[str, Any]], *, spelling: int = SPELLING
) -> DatabaseInventory:
    """Return the facts of several databases; `properties` are those each was made with."""
    objects = {f"database {name}": json.dumps(each, sort_keys=True) for name, each in properties.items()}
    return DatabaseInventory(
        server=f"PostgreSQL {found[0].version}" if found else "",
        databases=tuple(each.database for each in found),
        rows={name: count for each in found for name, count in each.rows.items()},
        objects=objects | {name: text for each in found for name, text in each.objects.items()},
        needs=tuple(sorted({need for each in found for need in each.needs})),
        answers={key: value for each in found for key, value in each.answers.items()},
        spelling=spelling,
        zones={each.database: each.zone for each in found},
        sizes={each.database: each.size for each in found},
    )


def properties_of(captured: DatabaseInventory | None, database: str) -> dict[str, Any]:
    """Return what a database was made with, from the facts; empty where they do not say."""
    kept = captured.objects.get(f"database {database}") if captured else None
    return json.loads(kept) if kept else {}


def major_of(captured: DatabaseInventory | None) -> int:
    """Return the major version that facts were taken from; 0 where they do not say."""
    number = re.search(r"\d+", captured.server) if captured else None
    return int(number[0]) if number else 0


def _kept(kind: str, text: str | None, spelling: int) -> str:
    spelled = text = text or ""
    if spelling > 1 and kind in _OF_QUERIES:
        spelled = _QUALIFIER.sub("", spelled)
    if kind in _RESPELLED or (spelling > 1 and _is_parsed(kind, text)):
        spelled = _CAST.sub("", spelled)
    if len(text) <= _SHORT and spelled == text:
        return text
    return digest_of(spelled)


def _is_parsed(kind: str, text: str) -> bool:
    """Whether a routine's body is kept as it was understood, not as it was written."""
    return kind in ("function", "procedure") and bool(_PARSED_BODY.search(text))
