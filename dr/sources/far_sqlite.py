"""A SQLite file restored to another host: opened for reading only, by the `sqlite3` program there."""

from __future__ import annotations

import json
from datetime import datetime

from dr.errors import SourceError
from dr.plan.source_kinds import SqliteSource
from dr.sources.driver import RestoredSource, RestoreSlot
from dr.sources.own_errors import own_errors
from dr.sources.tables import Tables
from dr.tools.command import ProgramMissingError

_KIND = "sqlite"
#: Nothing of that user's own settings; a lock is waited for, as it is here.
_OPTIONS = ("-batch", "-bail", "-readonly", "-init", "/dev/null", "-cmd", ".timeout 60000", "-json")
QUERY_SECONDS = 600.0


class FarDatabase(RestoredSource):
    """The database's file on the room's host."""

    def __init__(self, name: str, filename: str, declared: SqliteSource, room: RestoreSlot) -> None:
        super().__init__(name, _KIND, room)
        self._file, self._declared = room.root / filename, declared

    def start(self) -> None:
        """See `RestoredSource`: SQLite itself says whether the database is whole."""
        answer = self._ask("pragma quick_check(3)", doing="checking the database")
        if answer != "ok":
            raise SourceError(
                "the restored database is not whole", self.name, str(answer)[:200], hint="use another point"
            )

    def probe(self, query: str, database: str | None = None) -> object:
        """See `RestoredSource`."""
        return self._ask(query, doing="the query failed")

    def newest(self) -> datetime | None:
        """See `RestoredSource`."""
        declared = self._declared
        return self.read_newest(self.probe(declared.newest), declared.newest_timezone) if declared.newest else None

    def tables(self) -> Tables:
        """See `RestoredSource`: a copy of the file is read here, as what it takes is no program of that host's."""
        from dr.sources.sqlite_tables import SqliteTables

        copy = self.room.apart / self._file.name
        with own_errors(self.name), self.room.host.start(["cat", "--", str(self._file)]) as process:
            with copy.open("wb") as file:
                while block := process.read():
                    file.write(block)
            done = process.finish()
        if done.code != 0:
            raise SourceError("the restored database cannot be read", self.name, done.last_words, hint="try again")
        return SqliteTables(self.name, copy, self.room.apart)

    def _ask(self, query: str, *, doing: str) -> object:
        """Return the first value of the first row; None when there is none."""
        host, statement = self.room.host, query.strip().rstrip(";").encode("utf-8", "surrogateescape")
        argv = ["sh", "-c", 'test -f "$1" || exit 66; shift; exec "$@";', "dr", str(self._file)]
        argv += ["sqlite3", *_OPTIONS, str(self._file)]
        with own_errors(self.name):
            try:
                host.run(["sqlite3", "-version"], timeout=60)
            except ProgramMissingError as error:
                error.hint = "install the package sqlite3 there"
                raise
            # The space: a line that begins with a dot is a command of the program's, not a query.
            done = host.run(argv, stdin=b" " + statement + b"\n;\n", timeout=QUERY_SECONDS)
        if done.code == 66:
            raise SourceError(
                "the database file is not there", self._file.name, hint="see whether the source was restored"
            )
        if done.code != 0:
            raise SourceError(
                f"{doing}: sqlite3 on {host.name} says {done.last_words!r}", self.name,
                hint="run it there by hand and see; it must be 3.33 or newer",
            )  # fmt: skip
        try:
            return _first(done.stdout)
        except ValueError:
            raise SourceError(f"{doing}: it gives more than one answer", self.name, hint="ask one thing") from None


def _first(answer: bytes) -> object:
    """Return the first value of the first row. Raises `ValueError` for several answers."""
    text = answer.decode("utf-8", "replace").strip()
    if not text:
        return None
    rows = json.loads(text, object_pairs_hook=lambda pairs: pairs[0][1] if pairs else None)
    return rows[0] if rows else None
