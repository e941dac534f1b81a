"""What a restore makes of captured databases, wherever: roles first, each database from its dump, then queries."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from dr.errors import SourceError
from dr.plan.source import PostgresSource
from dr.sources.door import Instance, Room, parse_timestamp
from dr.sources.facts import Facts
from dr.sources.postgres import inventory, making, queries, roles
from dr.sources.postgres.capture import GLOBALS
from dr.sources.postgres.connection import Server, Session
from dr.sources.postgres.names import dumps_in
from dr.sources.postgres.pouring import in_words, pour_dump, raise_refused

KIND = "postgres"
#: A query of a check's ends within this time, in seconds.
QUERY_SECONDS = 600


class Restored(Instance):
    """Databases restored into a server. `server` and `place` (a database to speak to it) are the kind's own.

    What the server lacks or refuses is gathered, and raised by `start`: the other checks still run.
    """

    takes_stream = True
    server: Server
    place: str

    def __init__(self, name: str, declared: PostgresSource, room: Room) -> None:
        super().__init__(name, KIND, room)
        self._newest = declared.newest
        self.databases: list[str] = []
        self.lacks: list[str] = []
        self.refused: list[str] = []

    @abstractmethod
    def physical(self, database: str) -> str:
        """Return what a captured database is called on the server now."""

    def made(self, database: str) -> None:
        """Say on the server what a captured database is that has just been made, under its physical name."""
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
        """See `Instance`."""
        self._make_roles()
        self.lacks = making.missing(self.captured(), making.offered(self.server, self.place))
        for database, blocks in dumps_in(filename, chunks):
            self._pour_one(self._captured_name(database), blocks)

    def start(self) -> None:
        """See `Instance`: every captured database answers on a new connection, and nothing was refused."""
        captured = self.captured()
        for database in captured.databases if captured else self.databases:
            if database not in self.databases:
                raise SourceError(f"the database {database} is not in the point", self.name, hint="use another point")
            self.server.value(self.physical(database), "select 1")
        problems = [making.in_words(need) for need in self.lacks]
        problems += [in_words(self.refused)] if self.refused else []
        raise_refused(self.name, problems)

    def probe(self, query: str, database: str | None = None) -> object:
        """See `Instance`. The value is text, as psql gives it; times are UTC."""
        if not self.databases or (database and database not in self.databases):
            raise SourceError(
                f"there is no restored database {database or ''}".rstrip(), self.name, hint="correct the check"
            )
        limit = f"set statement_timeout = '{QUERY_SECONDS}s';\n"
        return self.server.value(self.physical(database or self.databases[0]), query, before=limit)

    def newest(self) -> datetime | None:
        """See `Instance`."""
        return parse_timestamp(self.probe(self._newest)) if self._newest else None

    def facts(self) -> Facts | None:
        """See `Instance`: the same questions as at capture, to the databases as they are now."""
        found, now = [], dict(self.server.rows(self.place, queries.DATABASES))
        for database in self.databases:
            with Session(self.server, self.physical(database)) as session:
                session.rows(queries.BEGIN)
                found.append(inventory.take(session, database))
        return inventory.facts_of(found, {each: self.seen(each, now[self.physical(each)]) for each in self.databases})

    def properties(self, database: str) -> dict[str, Any]:
        """Return what a database was captured with."""
        return inventory.properties_of(self.captured(), database)

    def _pour_one(self, database: str, blocks: Iterator[bytes]) -> None:
        physical, properties = self.physical(database), self.properties(database)
        making.make(self.server, self.place, physical, properties, self.lacks)
        self.databases.append(database)
        self.made(database)
        self.refused += pour_dump(
            self.server, physical, blocks, work=self.room.apart, at_once=self.at_once(database),
            left_empty=lambda: self.left_empty(database),
        )  # fmt: skip
        self.refused += making.finish(self.server, self.place, physical, properties)

    def _make_roles(self) -> None:
        """Make the captured roles that are not there; those that are there stay as they are."""
        accounts = Path(self.room.apart, GLOBALS)
        if not accounts.is_file():
            return
        script = accounts.read_text("utf-8", "surrogateescape")
        offered = making.offered(self.server, self.place)
        there = {each.removeprefix("role ") for each in offered if each.startswith("role ")}
        self.refused += self.server.complaints(self.place, roles.making(script, there=there))

    def _captured_name(self, database: str) -> str:
        """Return the database's name; for a single dump the facts have it in full."""
        captured = self.captured()
        known = captured.databases if captured else ()
        return known[0] if len(known) == 1 else database
