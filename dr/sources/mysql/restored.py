"""What drills and recoveries share: restored databases that answer, by whatever name they have meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import datetime

from dr.errors import SourceError
from dr.plan.source_kinds import MysqlSource
from dr.sources.database_inventory import ACCOUNTS, FILENAME, DatabaseInventory
from dr.sources.driver import Foretold, Refused, RestoredSource, RestoreSlot
from dr.sources.mysql import accounts, code
from dr.sources.mysql import load_dump as pour
from dr.sources.mysql.accounts import existing
from dr.sources.mysql.code import Code, Piece, Sorting
from dr.sources.mysql.connection import Server
from dr.sources.mysql.inventory import NAMES_CASE, Inventory, settings_of
from dr.sources.mysql.session import Session
from dr.sources.mysql.spelling import SPELLING
from dr.sources.mysql.swap import Change
from dr.sources.mysql.table_names import foreseen
from dr.sources.tables import Table, Tables

_LONGEST_NAME = 64
_UNSEEN = (
    "accounts could not be seen at capture and are not in the point: whoever is to log in to a server that does not"
    " have them needs CREATE USER and GRANT by hand"
)


class Restored(RestoredSource):
    """Databases in a server. `actual` gives for each, by its name in the plan, the name it has there.

    `asleep` are events, as database and name there, that are kept from running meanwhile. `lacking` are needs known
    to be unmet, whatever it looks like. `codes` is what was captured of them that is no data.
    """

    takes_stream = True
    tells_tables = Foretold(file=FILENAME)

    def __init__(self, name: str, declared: MysqlSource, room: RestoreSlot) -> None:
        super().__init__(name, "mysql", room)
        self._declared = declared
        self.actual: dict[str, str] = {}
        self.asleep: set[tuple[str, str]] = set()
        self.lacking: list[str] = []
        self.codes: dict[str, Code] = {}
        self._made: list[str] = []
        self._refused: list[Piece] = []

    @property
    def server(self) -> Server:
        """The server they are in; `SourceError` when there is none yet."""
        raise NotImplementedError

    def load(self, session: Session, filename: str, chunks: Iterator[bytes], replay: accounts.Replay) -> None:
        """Load a stored stream into new databases beside those that are meant; their events do not run yet.

        First tables and rows, then all code: what the server refuses of it is gathered in `refusals`.
        """
        captured, sorted_by = self.captured(), dict[str, Sorting]()
        databases = captured.databases if captured else ()
        meanwhile = {name: self.beside(name) for name in databases}
        for part in pour.parts(filename, chunks, databases, self.name):
            if not self._is_wanted(part.database):
                deque(part.content, maxlen=0)
                continue
            place = self.beside(part.database)
            if part.database not in self.actual:
                self._begin(session, part.database)
                if self.room.tables.get(part.database):
                    self.notes.append(
                        f"of {part.database} all definitions were loaded, and the rows of what was named alone"
                    )
                only = {names[0] for names in self.room.tables.get(part.database, ())}
                sorted_by[part.database] = Sorting(part.database, meanwhile | {part.database: place}, only)
            content = sorted_by[part.database].passing(part.content)
            if part.views:
                deque(content, maxlen=0)  # only what opens and closes a dump: views are code
            else:
                pour.load(self.server, place, content, log_bin=True, known_as=part.database)
        self.codes = {name: each.code() for name, each in sorted_by.items()}
        self._make_code(session, replay)

    def _tables_of(self, database: str) -> frozenset[str]:
        """Return the tables that are needed of a database; nothing for all, as where a name is no plain text."""
        only = frozenset(names[0] for names in self.room.tables.get(database, ()))
        return only if all(name.isprintable() for name in only) else frozenset()

    def _begin(self, session: Session, database: str) -> None:
        """Make the database beside."""
        place = self.beside(database)
        pour.drop(session, place)  # left by an attempt that was killed: the token is ours
        pour.create(session, place)
        self._made.append(place)
        self.actual[database] = place

    def _make_code(self, session: Session, replay: accounts.Replay) -> None:
        def between() -> None:
            replay.go_on(session)
            for database, place in self.actual.items():
                owners = self.codes[database].owners()
                accounts.lend(session, owners, database, place, waiting=replay.waiting)

        captured = self.captured()
        gone = [need.removeprefix("account ") for need in (captured.lacking if captured else ()) if "account " in need]
        codes = {self.actual[name]: each.asleep() for name, each in self.codes.items()}
        faults = code.make(self.server, codes, self.actual, between=between)
        self.asleep |= {(self.actual[name], event) for name, each in self.codes.items() for event in each.awake()}
        self._refused = [fault.piece for fault in faults]
        refused = [fault.refused(captured.objects if captured else ()) for fault in faults]
        self.refusals += [replace(each, lacked=_for_want_of(gone, each)) for each in refused]
        replay.go_on(session)

    def changes(self, there: Collection[str]) -> list[Change]:
        """Return what puts the databases into their places; `there` are those that are on the server."""
        kept = self.room.apart / accounts.FILENAME
        return [
            Change(
                live=name,
                beside=beside,
                before=self._fitted(name, "before"),
                trial=self._fitted(name, "try"),
                exists=name in there,
                code=self.codes.get(name, Code()),
                grants=accounts.kept_routine_rights(kept, name),
            )
            for name, beside in self.actual.items()
        ]

    def beside(self, database: str) -> str:
        """Return the name of a database while it is not in its place."""
        return self._fitted(database, "dr")

    def _fitted(self, name: str, word: str) -> str:
        token = "".join(c if c.isalnum() else "_" for c in self.room.token)[-24:]
        tail = f"_{word}_{token}"
        return name[: _LONGEST_NAME - len(tail)] + tail

    def start(self) -> None:
        """See `RestoredSource`: every captured database is there, and all that its objects need."""
        captured = self.captured()
        lacking = captured.lacking if captured else ()
        self.remarks += [_UNSEEN] if ACCOUNTS in lacking else []
        for kind, _, name in (each.partition(" ") for each in lacking if each != ACCOUNTS):
            self.refusals.append(Refused(name=name, kind=kind, lacked=True))
        with pour.reading(self.server) as session:
            wanted = captured.databases if captured else self._declared.named
            absent = sorted({*filter(self._is_wanted, wanted)} - {*self.actual})
            missing = [f"database {name}" for name in absent] + self.lacking
            missing += _missing(session, captured.needs) if captured else []
        if missing:
            raise SourceError(
                f"the server lacks what the databases need: {', '.join(missing)}", self.name,
                hint="capture accounts too (the backup's account needs SELECT on mysql.*), or use such a server",
            )  # fmt: skip

    def probe(self, query: str, database: str | None = None) -> object:
        """See `RestoredSource`."""
        return pour.ask(self.server, self._actual_of(database), query)

    def newest(self) -> datetime | None:
        """See `RestoredSource`."""
        declared = self._declared
        return self.read_newest(self.probe(declared.newest), declared.newest_timezone) if declared.newest else None

    def foreseen_tables(self) -> list[Table] | None:
        """See `RestoredSource`."""
        return foreseen(captured) if (captured := self.captured()) else None

    def tables(self) -> Tables:
        """See `RestoredSource`."""
        from dr.sources.mysql.tables import MysqlTables

        return MysqlTables(self.server, self.actual, self.captured())

    def _is_wanted(self, database: str) -> bool:
        return not self.room.only or database in self.room.only

    def facts(self) -> DatabaseInventory | None:
        """See `RestoredSource`: by the names in the plan, and with an answer to each question captured."""
        captured = self.captured()
        known_as = {actual: name for name, actual in self.actual.items() if actual != name}
        with pour.reading(self.server) as session:
            spelling = captured.spelling if captured else SPELLING
            names = tuple(self.actual.values())
            inventory = Inventory(session, names, known_as, asleep=self.asleep, spelling=spelling)
            return DatabaseInventory(
                spelling=spelling,
                server=inventory.server,
                databases=tuple(self.actual),
                rows=inventory.rows(inventory.tables(), within=True),
                objects=inventory.objects(),
                needs=tuple(need for need in inventory.needs() if not (captured and need in captured.lacking)),
                answers=self._answers(captured),
            )

    def _answers(self, captured: DatabaseInventory | None) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for key in captured.answers if captured else ():
            database, _, query = key.partition("\n")
            try:
                found[key] = pour.ask(self.server, self._actual_of(database or None), query)
            except SourceError as error:
                if error.retryable:
                    raise
        return found

    def _actual_of(self, database: str | None) -> str:
        """Return the name there of one of the databases; of the first, when None."""
        if database is None:
            named = self._declared.named or tuple(self.actual)
            database = named[0] if named else ""
        if database not in self.actual:
            raise SourceError(
                f"the database {database or 'asked for'} was not restored", self.name,
                hint="see what the recovery point holds",
            )  # fmt: skip
        return self.actual[database]


def _for_want_of(gone: Collection[str], refused: Refused) -> bool:
    """Whether something was refused because it stands on what an account owns that did not exist at the source."""
    return refused.cause.endswith("[1449]") and any(account in refused.cause for account in gone)


def _missing(session: Session, needs: tuple[str, ...]) -> list[str]:
    """Return which needs a server does not meet. What is no name of a need is no need."""
    meets = {
        *(f"account {account}" for account in existing(session)),
        *(f"engine {row[0]}" for row in session.rows(
            "SELECT ENGINE FROM information_schema.ENGINES WHERE SUPPORT IN ('YES', 'DEFAULT')")),
        *(f"collation {row[0]}" for row in session.rows(_COLLATIONS[_combined(session)])),
        *(f"setting {name}={value}" for name, value in settings_of(session).items()),
    }  # fmt: skip
    judged = ("account ", "engine ", "collation ", f"setting {NAMES_CASE}=")
    return [need for need in needs if need.startswith(judged) and need not in meets]


_COLLATIONS = {
    True: "SELECT FULL_COLLATION_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY",
    False: "SELECT COLLATION_NAME FROM information_schema.COLLATIONS",
}


def _combined(session: Session) -> bool:
    """Whether collations have names that are put together, as in MariaDB since 10.10."""
    return bool(session.rows(
        "SELECT 1 FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'information_schema'"
        " AND TABLE_NAME = 'COLLATION_CHARACTER_SET_APPLICABILITY' AND COLUMN_NAME = 'FULL_COLLATION_NAME'"
    ))  # fmt: skip
