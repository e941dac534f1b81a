"""Capture: each database as `pg_dump` writes it, and what it held in the very snapshot that is dumped.

A session exports its snapshot, pg_dump reads in it, and meanwhile the session counts rows and lists objects:
whatever is written meanwhile, the counts are those of the dump.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dr.errors import SourceError
from dr.evidence.record import Omission
from dr.late_dataclass import dataclass
from dr.plan.source_kinds import PostgresSource
from dr.sources import database_inventory as facts
from dr.sources import several
from dr.sources.driver import Stream
from dr.sources.kept import is_kept
from dr.sources.own_errors import own_errors
from dr.sources.postgres import inventory, queries, rights
from dr.sources.postgres.connection import Login, Server, Session
from dr.sources.postgres.inventory import Asked, Inventory
from dr.sources.postgres.names import GLOBALS, SEVERAL, file_of
from dr.sources.postgres.rights import Sight
from dr.tools.host import Host, Process

log = logging.getLogger("dr.backup")

_FIRST = ("postgres", "template1")
_NO_ENTRY = "permission denied for database"


def begin(
    name: str, declared: PostgresSource, host: Host, questions: Sequence[tuple[str | None, str]], work: Path
) -> Dumps:
    """Return the stream of what is declared. Raises `SourceError` when the server does not let it be captured."""
    server = Server(name, host, Login.declared(declared), deadline=time.monotonic() + declared.timeout)
    started = datetime.now(UTC)
    subject = look(server, declared)
    asked = [Asked(database=database, query=query) for database, query in questions]
    return Dumps(server, subject, asked, work, started=started, one=declared.database)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a capture is of: each database with its properties, and what of it cannot be read; and what else lacks."""

    databases: Mapping[str, dict[str, Any]]
    sights: Mapping[str, Sight]
    omissions: tuple[Omission, ...] = ()

    @property
    def all_omissions(self) -> tuple[Omission, ...]:
        """All that the capture will not take."""
        return (*self.omissions, *(each for sight in self.sights.values() for each in sight.omissions))


def look(server: Server, declared: PostgresSource) -> Subject:
    """Return what would be captured now, and what of it cannot be. Raises `SourceError` when nothing can."""
    place, there = _databases(server, declared)
    missing = [database for database in declared.named if database not in there]
    if missing:
        raise SourceError(
            f"there is no database {missing[0]!r} on the server that lets itself be connected to", server.name,
            f"there are: {', '.join(there) or 'none'}", hint="correct the name in the plan",
        )  # fmt: skip
    odd = [*rights.of_server(server, place, everything=declared.all)]
    sights, unasked = {}, []
    for database in declared.named or _not_kept(server, there):
        try:
            if declared.all and database == "postgres" and not server.rows(database, queries.IN_USE)[0]:
                continue  # nobody keeps anything in it
            sights[database] = rights.look(server, database)
        except SourceError as error:
            if error.retryable or not declared.all or _NO_ENTRY not in error.cause:
                raise
            unasked.append(rights.refused(database, declared.user, error))
    odd += rights.of_shared(server, place, [*sights], everything=declared.all)
    if not sights:
        raise SourceError("the server holds no database that can be read", server.name, hint="see its name and account")
    return Subject(databases={each: there[each] for each in sights}, sights=sights, omissions=(*odd, *unasked))


def _databases(server: Server, declared: PostgresSource) -> tuple[str, dict[str, dict[str, Any]]]:
    """Return every database with its properties, and the one that was asked: a declared one, if any is open to us."""
    places = declared.named[:1] or _FIRST
    for place in places[:-1]:
        try:
            return place, dict(server.rows(place, queries.DATABASES))
        except SourceError as error:
            if "does not exist" not in error.cause and _NO_ENTRY not in error.cause:
                raise
    return places[-1], dict(server.rows(places[-1], queries.DATABASES))


def _not_kept(server: Server, there: Mapping[str, object]) -> list[str]:
    """Return the databases without those that a recovery put beside others: what `all` means."""
    if kept := [name for name in there if is_kept(name)]:
        log.warning("%s: not captured, as a recovery left them beside others: %s; drop them when they are not needed",
                    server.name, ", ".join(kept))  # fmt: skip
    return [name for name in there if not is_kept(name)]


class Dumps(Stream):
    """The dumps of some databases, one after the other; facts and accounts are written to `work` on the way."""

    sidecars = (facts.FILENAME, GLOBALS)

    def __init__(
        self,
        server: Server,
        subject: Subject,
        asked: Sequence[Asked],
        work: Path,
        *,
        started: datetime,
        one: str | None,
    ) -> None:
        self.started, self.filename = started, file_of(one) if one else SEVERAL
        self.server, self.databases, self.work = server, subject.databases, work
        self.sights, self.omissions = subject.sights, subject.all_omissions
        self._asked = asked
        self._lacking: tuple[str, ...] = ()
        self._open = ExitStack()

    def chunks(self) -> Iterator[bytes]:
        """See `Stream`."""
        self.write_globals()
        found: list[Inventory] = []
        dumps = ((file_of(name), self._dump(name, found)) for name in self.databases)
        if self.filename == SEVERAL:
            yield from several.pack(dumps)
        else:
            for _, blocks in dumps:
                yield from blocks
        self.write_facts(found)

    def write_globals(self) -> None:
        """Write the accounts beside the dumps, for our eyes only."""
        text, with_passwords = _globals(self.server, next(iter(self.databases)))
        self._lacking = () if with_passwords else (facts.PASSWORDS,)
        with os.fdopen(os.open(self.work / GLOBALS, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(text)

    def write_facts(self, found: Sequence[Inventory]) -> None:
        """Write what the databases held beside their dumps."""
        held = inventory.facts_of(list(found), dict(self.databases))
        facts.write(self.work / facts.FILENAME, replace(held, lacking=self._lacking))

    def answers(self, database: str, snapshot: str) -> dict[str, str | None]:
        """Return what the plan's questions about a database give in an exported snapshot."""
        first = database == next(iter(self.databases))
        asked = [each for each in self._asked if each.database == database or (first and each.database is None)]
        return inventory.answers(self.server, database, snapshot, asked)

    def options(self, database: str, snapshot: str) -> tuple[str, ...]:
        """Return what pg_dump is told."""
        # A role may have an encoding of its own, in which not every text can be said.
        encoding = f"--encoding={self.databases[database]['encoding']}"
        told = (f"--snapshot={snapshot}", "-d", self.server.conninfo(database))
        return ("-Fc", "-Z0", "-w", encoding, *self.sights[database].options(), *told)

    def close(self) -> None:
        """See `Stream`."""
        self._open.close()

    def _dump(self, database: str, found: list[Inventory]) -> Iterator[bytes]:
        with self._open, _unless_dropped(database):
            session = self._open.enter_context(Session(self.server, database))
            snapshot = snapshot_of(session, self.server.name)
            process = self._open.enter_context(self.server.start("pg_dump", *self.options(database, snapshot)))
            counted = self._count(session, database)
            yield from _whole(self.server, process, database, counted)
            taken = counted.result()
            taken.answers = self.answers(database, snapshot)
            found.append(taken)

    def _count(self, session: Session, database: str) -> Future[Inventory]:
        """Take the inventory beside the dump. When the dump ends early, the session is ended: nobody waits."""
        pool = ThreadPoolExecutor(1)
        self._open.callback(pool.shutdown)
        counted = pool.submit(inventory.take, session, database, self.sights[database])
        self._open.callback(lambda: None if counted.done() else session.kill())
        return counted


@contextmanager
def _unless_dropped(database: str) -> Iterator[None]:
    """Let another try help where a database went while others were captured: it asks anew which there are."""
    try:
        yield
    except SourceError as error:
        if f'database "{database}" does not exist' not in error.cause:
            raise
        what = f"the database {database} was dropped while the source was captured"
        raise SourceError(what, error.where, hint="run the backup again", retryable=True) from error


def _whole(server: Server, process: Process, database: str, counted: Future[Inventory]) -> Iterator[bytes]:
    """Yield a dump; raises `SourceError` when it turns out, after its last byte too, that it is not whole.

    When the counting fails the dump is of no use, and is not waited for: why it failed is what matters.
    """
    size = 0
    with own_errors(server.name):
        while block := process.read():
            if counted.done():
                counted.result()
            size += len(block)
            yield block
        done = process.finish()
    if done.code != 0:
        if wait([counted], timeout=1).done:
            counted.result()
        raise server.failure(done, f"the dump of {database} failed")
    if size == 0:
        raise SourceError(f"the dump of {database} is empty", server.name, hint="run pg_dump by hand and see")


def snapshot_of(session: Session, name: str) -> str:
    """Begin a session's transaction and return the snapshot that it sees, for others to read in."""
    session.rows(queries.BEGIN)
    try:
        return str(session.rows(queries.SNAPSHOT)[0])
    except SourceError as error:
        raise SourceError(
            "the server cannot share a snapshot, without which rows and dump are not of one moment", name, error.cause,
            hint="name the primary, or a standby of a newer version; go round a connection pooler",
            retryable=error.retryable,
        ) from error  # fmt: skip


def read_globals(server: Server, database: str) -> bytes:
    """Return the accounts of a server as statements; without passwords where they may not be read."""
    return _globals(server, database)[0]


def _globals(server: Server, database: str) -> tuple[bytes, bool]:
    """Return the same, and whether passwords are in it."""
    readable = bool(server.rows(database, queries.READS_PASSWORDS)[0])
    options = ("--globals-only", "-w", *(() if readable else ("--no-role-passwords",)), "-l", server.conninfo(database))
    for settings in (server.reading(database), {}):  # a connection pooler may take no settings
        with server.start("pg_dumpall", *options, more=settings) as process, own_errors(server.name):
            text = b"".join(iter(process.read, b""))
            done = process.finish()
        if done.code == 0:
            of_all = "".join(f"{each}\n" for each in server.rows(database, queries.SETTINGS_OF_ALL))
            return text + of_all.encode("utf-8", "surrogateescape"), readable
        if b"startup parameter" not in done.stderr:
            break
    raise server.failure(done, "the accounts could not be read")
