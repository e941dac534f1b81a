"""A table beside the live one, in the database that is in use: loaded under a name that says it is not finished.

A server of this kind makes no table within a transaction, so it gets its name when all rows are there: by one
statement, which the server refuses where the name is taken.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable

from dr.errors import DrError, SourceError, UsageError
from dr.plan.source_kinds import MysqlSource
from dr.sources.mysql import load_dump as pour
from dr.sources.mysql.connection import Server, quoted, reach, text_of
from dr.sources.mysql.programs import suited
from dr.sources.mysql.session import Session
from dr.sources.tables import Beside, Table
from dr.tools.host import Host

log = logging.getLogger("dr.recover")
_LONGEST = 64
_TAKEN = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}"


class MysqlBeside(Beside):
    """The server that the plan declares."""

    def __init__(self, name: str, declared: MysqlSource, host: Host) -> None:
        self._name, self._declared, self._host = name, declared, host
        self._server: Server | None = None
        self._unfinished = ""

    def refuse(self, table: Table, name: str) -> None:
        """See `Beside`."""
        if not 0 < len(name) <= _LONGEST or name != name.rstrip() or "\0" in name:
            raise UsageError("the new name is not one of a table", name, hint="choose one of 1 to 64 characters")
        with self._session() as session:
            taken = session.rows(_TAKEN.format(text_of(table.names[0]), text_of(name)))[0][0]
        if taken != "0":
            raise UsageError(
                f"{table.names[0]} has a table or the like of the name {name!r} already", self._name,
                hint="choose another name with --beside: what is there is never changed",
            )  # fmt: skip

    def meanwhile(self, name: str) -> str:
        """See `Beside`: one that says that it is not finished, and that nothing else has."""
        tail = f"_dr_unfinished_{secrets.token_hex(4)}"
        self._unfinished = name[: _LONGEST - len(tail)] + tail
        return self._unfinished

    def load(self, table: Table, name: str, script: Iterable[bytes], rows: int) -> int:
        """See `Beside`. What was not finished is taken away again; killed in the middle, its name says so."""
        database = table.names[0]
        meanwhile, new = (f"{quoted(database)}.{quoted(each)}" for each in (self._unfinished, name))
        server = self._reached()
        try:
            pour.load(server, database, script, log_bin=True)
            with self._session() as session:
                there = _count(session, meanwhile)
                if there != rows:
                    raise SourceError(f"other than {rows:,} rows came: {there:,}", self._name, hint="try again")
                session.do(f"RENAME TABLE {meanwhile} TO {new}")
        except SourceError as error:
            error.what = f"the table could not be loaded beside the live one: {error.what}"
            self._take_away(meanwhile)
            raise
        except BaseException:
            self._take_away(meanwhile)
            raise
        with self._session() as session:
            return _count(session, new)

    def _take_away(self, unfinished: str) -> None:
        try:
            with self._session() as session:
                session.do(f"DROP TABLE IF EXISTS {unfinished}")
        except DrError as error:
            log.warning("%s: %s was left unfinished; drop it by hand: %s", self._name, unfinished, error)

    def _session(self) -> Session:
        return Session(self._reached(), timeout=pour.RESTORE_SECONDS)

    def _reached(self) -> Server:
        if self._server is None:
            self._server = suited(reach(self._declared, self._host, self._name), self._declared)
        return self._server


def _count(session: Session, name: str) -> int:
    return int(session.rows(f"SELECT COUNT(*) FROM {name}")[0][0] or 0)  # noqa: S608 - quoted
