"""What a restore makes of captured databases, wherever: roles first, each database from its dump, then queries."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from dr.errors import SourceError
from dr.plan.source_kinds import PostgresSource
from dr.sources.database_inventory import FILENAME, PASSWORDS, DatabaseInventory
from dr.sources.driver import ALONE, Foretold, Refused, RestoredSource, RestoreSlot
from dr.sources.postgres import completing, inventory, queries, roles
from dr.sources.postgres import create_database as making
from dr.sources.postgres.connection import Server, Session
from dr.sources.postgres.load_dump import pour_dump, raise_refused
from dr.sources.postgres.names import GLOBALS, dumps_in, foreseen
from dr.sources.postgres.toc import Refusal
from dr.sources.tables import Table, Tables

KIND = "postgres"
_NAMED = 5
#: A query of a check's ends within this time, in seconds.
QUERY_SECONDS = 600


class Restored(RestoredSource):
    """Databases restored into a server. `server` and `place` (a database to speak to it) are the kind's own.

    What the server lacks, and rows that it refuses, is gathered and raised by `start`: the other checks still run. What
    else it refuses is in `refusals`.
    """

    takes_stream = True
    tells_tables = Foretold(file=FILENAME)
    server: Server
    place: str

    def __init__(self, name: str, declared: PostgresSource, room: RestoreSlot) -> None:
        super().__init__(name, KIND, room)
        self._declared = declared
        self.databases: list[str] = []
        self.lacks: list[str] = []
        self.refused: list[str] = []

    def compare_roles(self, captured: str) -> None:
        """Name the roles that are on the server and are not as in the captured script."""

    @abstractmethod
    def physical(self, database: str) -> str:
        """Return what a captured database is called on the server now."""

    def made(self, database: str) -> None:
        """Say on the server what a captured database is that has just been made, under its physical name."""
        if statement := making.template(self.physical(database), self.properties(database)):
            self.server.execute(self.place, statement, doing=f"{database} could not be made a template")
        if said := self.properties(database).get("comment"):
            about = making.comment(self.physical(database), said)
            self.server.execute(self.place, about, doing=f"the comment of {database} could not be made")

    def at_once(self, database: str) -> bool:
        """Return whether a database is best loaded in one transaction."""
        return False

    def left_empty(self, database: str) -> Collection[tuple[str, str]]:
        """Return the materialised views (schema and name) of a database that are not refreshed here."""
        return ()

    def seen(self, database: str, properties: dict[str, Any]) -> dict[str, Any]:
        """Return the properties of a database as they count, without what is ours alone."""
        return properties

    def pour(self, filename: str, chunks: Iterator[bytes]) -> None:
        """See `RestoredSource`."""
        self._make_roles()
        self.lacks = making.missing(self.captured(), making.offered(self.server, self.place))
        for database, blocks in dumps_in(filename, chunks):
            name = self._captured_name(database)
            if self._is_wanted(name):
                self._pour_one(name, blocks)
            else:
                deque(blocks, maxlen=0)

    def start(self) -> None:
        """See `RestoredSource`: every captured database answers on a new connection, and nothing was refused."""
        captured = self.captured()
        for database in filter(self._is_wanted, captured.databases if captured else self.databases):
            if database not in self.databases:
                raise SourceError(f"the database {database} is not in the point", self.name, hint="use another point")
            self.server.value(self.physical(database), "select 1")
        problems = [making.in_words(need) for need in self.lacks]
        if self.lacks:  # most of what was refused is so for want of it
            problems += [str(each) for each in self.refusals[:1]]
        raise_refused(self.name, [*problems, *self.refused])

    def probe(self, query: str, database: str | None = None) -> object:
        """See `RestoredSource`. The value is text, as psql gives it; times are UTC."""
        if not self.databases or (database and database not in self.databases):
            raise SourceError(
                f"there is no restored database {database or ''}".rstrip(), self.name, hint="correct the check"
            )
        limit = f"set statement_timeout = '{QUERY_SECONDS}s';\n"
        return self.server.value(self.physical(database or self.databases[0]), query, before=limit)

    def newest(self) -> datetime | None:
        """See `RestoredSource`."""
        if not self._declared.newest:
            return None
        captured, first = self.captured(), self.databases[0] if self.databases else ""
        zone = captured.zones.get(first, "") if captured else ""
        return self.read_newest(self.probe(self._declared.newest), self._declared.newest_timezone, zone)

    def foreseen_tables(self) -> list[Table] | None:
        """See `RestoredSource`."""
        return foreseen(captured) if (captured := self.captured()) else None

    def tables(self) -> Tables:
        """See `RestoredSource`."""
        from dr.sources.postgres.tables import PostgresTables

        captured, there = self.captured(), {each: self.physical(each) for each in self.databases}
        return PostgresTables(self.server, place=self.place, databases=there, rows=captured.rows if captured else {})

    def facts(self) -> DatabaseInventory | None:
        """See `RestoredSource`: the same questions as at capture, to the databases as they are now."""
        found, now = [], dict(self.server.rows(self.place, queries.DATABASES))
        captured = self.captured()
        spelling = captured.spelling if captured else inventory.SPELLING
        for database in self.databases:
            with Session(self.server, self.physical(database)) as session:
                session.rows(queries.BEGIN)
                found.append(inventory.take(session, database, spelling=spelling))
        properties = {each: self._comparable(each, now[self.physical(each)]) for each in self.databases}
        return inventory.facts_of(found, properties, spelling=spelling)

    def _comparable(self, database: str, properties: dict[str, Any]) -> dict[str, Any]:
        """Return properties of a database as far as the point knows of such."""
        known, seen = self.properties(database), self.seen(database, properties)
        return {key: value for key, value in seen.items() if key in known} if known else seen

    def properties(self, database: str) -> dict[str, Any]:
        """Return what a database was captured with."""
        return inventory.properties_of(self.captured(), database)

    def _pour_one(self, database: str, blocks: Iterator[bytes]) -> None:
        physical, properties = self.physical(database), self.properties(database)
        making.make(self.server, self.place, physical, properties, self.lacks)
        self.databases.append(database)
        self.made(database)
        poured = pour_dump(
            self.server, physical, blocks, work=self.room.apart, at_once=self.at_once(database),
            left_empty=lambda: self.left_empty(database), only=self._tables_of(database),
            path=making.path_of(properties),
        )  # fmt: skip
        if poured.alone:
            self.notes.append(ALONE.format(database))
        said = making.finish(self.server, self.place, physical, properties, self.lacks)
        self._judge(database, completing.complete(self.server, physical, poured.aside, poured.refused))
        if said:
            name, keys = f"{database}.settings", (f"database {database}",)
            what = "settings and rights of the database"
            self.refusals.append(Refused(name=name, kind=what, cause="; ".join(said), keys=keys))

    def _judge(self, database: str, refused: Sequence[Refusal]) -> None:
        """Take what was refused for what it is: rows that are missing, or an object that could be done without."""
        of_data = [each for each in refused if each.of_data]
        if of_data:
            first = of_data[0]
            self.refused.append(f"rows of {len(of_data)} tables were refused, first {first.name}: {first.cause}")
        known = (self.captured() or DatabaseInventory()).objects
        self.refusals += [_named(database, each, known) for each in refused if not each.of_data]

    def _make_roles(self) -> None:
        """Make the captured roles that are not there; those that are there stay as they are."""
        accounts = Path(self.room.apart, GLOBALS)
        if not accounts.is_file():
            return
        script = accounts.read_text("utf-8", "surrogateescape")
        offered = making.offered(self.server, self.place)
        there = {each.removeprefix("role ") for each in offered if each.startswith("role ")}
        self.notes += [
            f"the tablespace {name} is not made: what was in it lies where its database does; "
            "its statement is in globals.sql of `dr recover --dumps`"
            for name in roles.tablespaces(script)
        ]
        captured, new = self.captured(), roles.logging_in(script) - there
        if new and captured and PASSWORDS in captured.lacking:
            self.remarks.append(
                "passwords of roles could not be seen at capture and are not in the point: give these theirs by hand"
                f" (\\password ROLE): {', '.join(sorted(new)[:_NAMED])}{', …' if len(new) > _NAMED else ''}"
            )
        if said := self.server.complaints(self.place, roles.making(script, there=there)):
            self.refusals.append(Refused(name="accounts", kind="statements of", cause="; ".join(said)))
        self.compare_roles(script)

    def _is_wanted(self, database: str) -> bool:
        return not self.room.only or database in self.room.only

    def _tables_of(self, database: str) -> frozenset[tuple[str, str]]:
        """Return the tables that are needed of a database, as schema and name; nothing for all."""
        return frozenset((names[0], names[1]) for names in self.room.tables.get(database, ()))

    def _captured_name(self, database: str) -> str:
        """Return the database's name; for a single dump the facts have it in full."""
        captured = self.captured()
        known = captured.databases if captured else ()
        return known[0] if len(known) == 1 else database


def _named(database: str, refusal: Refusal, known: Collection[str]) -> Refused:
    """Return a refused object as a person knows it, with what of the facts is missing or other by it."""
    name = f"{database}.{refusal.name}"
    called = name.partition("(")[0]
    keys = [
        key for key in known if key.endswith(f" {name}") or f" {name}." in key or ("(" in name and f" {called}(" in key)
    ]
    kind = refusal.kind.lower()
    return Refused(name=name, kind=kind, statement=refusal.shown, cause=refusal.cause, keys=tuple(keys))
