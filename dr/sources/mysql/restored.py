"""What drills and recoveries share: restored databases that answer, by whatever name they have meanwhile."""

from __future__ import annotations

from datetime import datetime

from dr.errors import SourceError
from dr.plan.source import MysqlSource
from dr.sources.door import Instance, Room, parse_timestamp
from dr.sources.facts import Facts
from dr.sources.mysql import pour
from dr.sources.mysql.accounts import existing
from dr.sources.mysql.connection import Server
from dr.sources.mysql.inventory import NAMES_CASE, Inventory, settings_of
from dr.sources.mysql.session import Session


class Restored(Instance):
    """Databases in a server. `actual` gives for each, by its name in the plan, the name it has there.

    `asleep` are events, as database and name there, that are kept from running meanwhile. `lacking` are needs known
    to be unmet, whatever it looks like.
    """

    takes_stream = True

    def __init__(self, name: str, declared: MysqlSource, room: Room) -> None:
        super().__init__(name, "mysql", room)
        self._declared = declared
        self.actual: dict[str, str] = {}
        self.asleep: set[tuple[str, str]] = set()
        self.lacking: list[str] = []

    @property
    def server(self) -> Server:
        """The server they are in; `SourceError` when there is none yet."""
        raise NotImplementedError

    def start(self) -> None:
        """See `Instance`: every captured database is there, and all that its objects need."""
        captured = self.captured()
        with pour.reading(self.server) as session:
            wanted = captured.databases if captured else self._declared.named
            absent = sorted({*wanted} - {*self.actual})
            missing = [f"database {name}" for name in absent] + self.lacking
            missing += _missing(session, captured.needs) if captured else []
        if missing:
            raise SourceError(
                f"the server lacks what the databases need: {', '.join(missing)}", self.name,
                hint="capture accounts too (the backup's account needs SELECT on mysql.*), or use such a server",
            )  # fmt: skip

    def probe(self, query: str, database: str | None = None) -> object:
        """See `Instance`."""
        return pour.ask(self.server, self._actual_of(database), query)

    def newest(self) -> datetime | None:
        """See `Instance`."""
        return parse_timestamp(self.probe(self._declared.newest)) if self._declared.newest else None

    def facts(self) -> Facts | None:
        """See `Instance`: by the names in the plan, and with an answer to each question captured."""
        captured = self.captured()
        known_as = {actual: name for name, actual in self.actual.items() if actual != name}
        with pour.reading(self.server) as session:
            inventory = Inventory(session, tuple(self.actual.values()), known_as, asleep=self.asleep)
            return Facts(
                server=inventory.server,
                databases=tuple(self.actual),
                rows=inventory.rows(inventory.tables(), within=True),
                objects=inventory.objects(),
                needs=inventory.needs(),
                answers=self._answers(captured),
            )

    def _answers(self, captured: Facts | None) -> dict[str, str | None]:
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
