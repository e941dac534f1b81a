"""A real recovery, onto the plan's own server: restored beside the live databases, then swapped with them.

Nothing live is touched until `accept`. The databases that were replaced are kept, under another name.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from dr.errors import SourceError, UsageError
from dr.plan.source_kinds import MysqlSource
from dr.sources.driver import RestoreSlot
from dr.sources.mysql import accounts, undo
from dr.sources.mysql import load_dump as pour
from dr.sources.mysql.connection import Server, reach, text_of
from dr.sources.mysql.inventory import account_of, databases_of, first_value
from dr.sources.mysql.programs import suited
from dr.sources.mysql.restored import Restored
from dr.sources.mysql.session import Session
from dr.sources.mysql.swap import Swap, kept_in
from dr.tools.host import Host

log = logging.getLogger("dr.recover")

#: What a recovery does on the server.
_RIGHTS = frozenset(
    {"CREATE", "DROP", "ALTER", "INSERT", "SELECT", "INDEX", "REFERENCES", "LOCK TABLES", "TRIGGER", "EVENT",
     "CREATE VIEW", "SHOW VIEW", "CREATE ROUTINE", "ALTER ROUTINE"}
)  # fmt: skip
_FOREIGN = """SELECT DISTINCT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.KEY_COLUMN_USAGE
    WHERE REFERENCED_TABLE_SCHEMA IN ({names}) AND TABLE_SCHEMA NOT IN ({names})"""


_EVENTS = """SELECT CONCAT(EVENT_SCHEMA, '.', EVENT_NAME) FROM information_schema.EVENTS
    WHERE EVENT_SCHEMA IN ({names}) AND STATUS = 'ENABLED' ORDER BY 1"""


class Live(Restored):
    """Databases on the live server, beside the live ones until they are accepted."""

    def __init__(self, name: str, declared: MysqlSource, host: Host, room: RestoreSlot) -> None:
        super().__init__(name, declared, room)
        self._host = host
        self._reached: Server | None = None
        self._replay: accounts.Replay | None = None

    @property
    def server(self) -> Server:
        """See `Restored`."""
        if self._reached is None:
            self._reached = suited(reach(self._declared, self._host, self.name), self._declared)
        return self._reached

    def preflight(self) -> None:
        """See `RestoredSource`."""
        captured = self.captured()
        try:
            with self._session() as session:
                if self._kept.is_file():
                    return  # what an interrupted attempt left in the way, `provision` takes away first
                self._refuse(session, captured.databases if captured else self._declared.named)
        except SourceError as error:
            raise UsageError(
                f"the databases cannot be recovered: {error.what}", self.name, error.cause, hint=error.hint,
                exit_code=error.exit_code if error.exit_code != 1 else 2,
            ) from error  # fmt: skip

    def provision(self) -> None:
        """See `RestoredSource`: go the way back that an interrupted recovery did not end."""
        if not self._kept.is_file():
            return
        if refused := undo.run(self.server, self._kept):
            raise SourceError(
                "an earlier attempt was interrupted while it replaced databases, and they could not be put back",
                self.name, refused[0].cause, hint=f"see to it by hand: {undo.typed(self.server, self._kept)}",
            )  # fmt: skip
        self._kept.unlink()
        self.remarks.append("an earlier attempt was interrupted while it replaced databases: they were put back first")

    def data_place(self) -> tuple[Host, Path] | None:
        """See `RestoredSource`: asked of a server that is reached by its socket, and so is on that host."""
        if self._declared.host not in (None, "localhost"):
            return None
        with suppress(SourceError), self._session() as session:
            place = first_value(session.rows("SELECT @@datadir"))
            return (self._host, Path(place)) if place else None
        return None

    @property
    def _kept(self) -> Path:
        return kept_in(self.room.apart)

    def pour(self, filename: str, chunks: Iterator[bytes]) -> None:
        """See `RestoredSource`: into new databases beside the live ones. Their events do not run before `accept`."""
        with self._session() as session:
            kept = self.room.apart / accounts.FILENAME
            self.remarks += accounts.differing(session, kept)
            self._replay = accounts.Replay(session, kept, self.name)
            self.load(session, filename, chunks, self._replay)

    def _begin(self, session: Session, database: str) -> None:
        captured = self.captured()
        self._refuse(session, captured.databases if captured else [database])
        super()._begin(session, database)

    def connection(self) -> Mapping[str, str]:
        """See `RestoredSource`. Nothing where the server is on another host, which programs here may not reach."""
        if not self._host.here:
            return {}
        declared, database = self._declared, next(iter(self.actual.values()), "")
        self.room.apart.mkdir(mode=0o700, parents=True, exist_ok=True)
        pairs = {
            "MYSQL_HOME": pour.client_home(self.room.apart, socket=declared.socket, user=declared.user),
            "MYSQL_HOST": declared.host or "localhost",
            "MYSQL_TCP_PORT": str(declared.port or ""),
            "MYSQL_UNIX_PORT": declared.socket or "",
            "MYSQL_USER": declared.user or "",
            "USER": declared.user or "",
            "MYSQL_DATABASE": database,
            "DATABASE_URL": pour.url(
                {"host": declared.host or "localhost", "port": str(declared.port or ""),
                 "socket": declared.socket or "", "user": declared.user or ""}, database),
            **self.server.env,
        }  # fmt: skip
        return {key: value for key, value in pairs.items() if value}

    def accept(self) -> None:
        """See `RestoredSource`: all databases change their names at once, and are put back when anything fails.

        Programs that write meanwhile are kept out, or find no triggers, for a moment: stop them before.
        """
        with self._session() as session:
            changes = self.changes(databases_of(session))
            if any(change.exists for change in changes):
                log.warning("%s: live databases are replaced now; the way back, should that be interrupted, is %s",
                            self.name, self._kept)  # fmt: skip
            Swap(
                self.server, session, changes, kept=self._kept, rights=self._rights, lacking=self._refused
            ).carry_out()  # fmt: skip
            if self._replay:
                self._replay.end(session)
            self._tell_events(session)
        for change in changes:
            self._made.remove(change.beside)
            if change.exists:
                log.warning("%s: the database %s as it was before is kept as %s", self.name, change.live, change.before)
        self.actual = {name: name for name in self.actual}

    def _tell_events(self, session: Session) -> None:
        """Say which events are on the server now and run by themselves: looked at, not taken from the dump."""
        names = ", ".join(map(text_of, self.actual))
        events = [row[0] or "" for row in session.rows(_EVENTS.format(names=names))] if names else []
        if not events:
            return
        scheduler = session.rows("SELECT @@GLOBAL.event_scheduler")[0][0] or ""
        runs = scheduler.upper() in ("ON", "1")
        how = "run from now on" if runs else "run once the scheduler does (SET GLOBAL event_scheduler = ON;)"
        self.notes.append(f"these events came back enabled and {how}: {', '.join(events)}")
        log.warning("%s: %s", self.name, self.notes[-1])

    def _rights(self, session: Session) -> None:
        """Give restored accounts the rights on what has come meanwhile: views may need them."""
        if self._replay:
            self._replay.go_on(session)

    def close(self) -> None:
        """See `RestoredSource`: what was not accepted is removed."""
        if not self._made:
            return
        try:
            with self._session() as session:
                while self._made:
                    accounts.take_back(session, self._made[-1])
                    pour.drop(session, self._made[-1])
                    self._made.pop()
        except SourceError as error:
            log.warning("%s: what was restored could not be removed; drop %s by hand: %s",
                        self.name, ", ".join(self._made), error.cause)  # fmt: skip

    def _session(self) -> Session:
        return Session(self.server, timeout=pour.RESTORE_SECONDS)

    def _refuse(self, session: Session, databases: tuple[str, ...] | list[str]) -> None:
        there = set(databases_of(session))
        taken = [name for name in databases if name in there and name not in self.room.replace]
        if taken:
            named = f"database {taken[0]} exists" if len(taken) == 1 else f"databases {', '.join(taken)} exist"
            raise UsageError(
                f"the {named} on the server", self.name,
                hint="name each with --replace: it is kept under another name then; or rename it by hand",
            )  # fmt: skip
        self._refuse_entangled(session, [name for name in databases if name in there])
        self._refuse_without_rights(session)

    def _refuse_entangled(self, session: Session, databases: list[str]) -> None:
        """Refuse databases into which another one's foreign keys point: they would follow the old tables."""
        if not databases:
            return
        names = ", ".join(map(text_of, databases))
        tied = [row[0] or "" for row in session.rows(_FOREIGN.format(names=names))]
        if tied:
            raise UsageError(
                f"foreign keys of {', '.join(tied[:5])} point into the database that would be replaced", self.name,
                hint="recover those databases together, or drop these foreign keys for the recovery",
            )  # fmt: skip

    def _refuse_without_rights(self, session: Session) -> None:
        who = account_of(session.rows("SELECT CURRENT_USER()")[0][0] or "")
        rows = session.rows("SELECT GRANTEE, PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES")
        missing = sorted(_RIGHTS - {right or "" for grantee, right in rows if grantee == who})
        if missing:
            raise UsageError(
                f"the account {who} lacks rights that a recovery needs: {', '.join(missing)}", self.name,
                hint="recover with an account that has these rights on *.*",
            )  # fmt: skip
