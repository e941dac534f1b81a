"""Databases that change places. The server has no statement for that: it moves tables, many at once or none.

Triggers hinder the move, and views and code cannot be moved: the first are dropped before it, and all of them
made again after it, from dumps taken before anything was touched. Whatever fails, all is put back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from dr.errors import DrError, SourceError
from dr.sources.mysql import accounts, pour
from dr.sources.mysql.connection import Server, complaint, quoted, text_of
from dr.sources.mysql.cut import asleep, pointed, renamed
from dr.sources.mysql.session import Session
from dr.sources.own_errors import own_errors
from dr.tools import command

log = logging.getLogger("dr.recover")

#: Seconds that a program's open transaction is waited for; then the swap is given up.
LOCK_WAIT = 20
_TABLES = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_TYPE NOT LIKE '%VIEW'"
_VIEWS = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_TYPE LIKE '%VIEW'"
_ROUTINES = """SELECT ROUTINE_NAME FROM information_schema.ROUTINES
    WHERE ROUTINE_SCHEMA = {{}} AND ROUTINE_TYPE = '{}'"""
_CODE = (
    ("EVENT", "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {}"),
    ("PROCEDURE", _ROUTINES.format("PROCEDURE")),
    ("FUNCTION", _ROUTINES.format("FUNCTION")),
)
_TRIGGERS = "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {}"
_CHARSET = """SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA
    WHERE SCHEMA_NAME = {}"""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One database's change: `beside` becomes `live`, and what was `live`, where it `exists`, becomes `before`.

    `events` is the part of its dump that makes events, which do not run beside. `grants` are the rights on its
    routines as captured.
    """

    live: str
    beside: str
    before: str
    exists: bool
    events: bytes = b""
    grants: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Code:
    """What cannot be moved, as dumps that make it again, and who may call its routines."""

    triggers: bytes
    routines: bytes
    events: bytes
    views: bytes
    grants: tuple[str, ...] = ()

    def moved(self, change: Change) -> _Code:
        """Return it for the database that is kept."""

        def move(part: bytes) -> bytes:
            return b"".join(renamed([part], change.live, change.before))

        return _Code(move(self.triggers), move(self.routines), move(self.events), move(self.views))


@dataclass
class Swap:
    """The change of all databases. `carry_out` once. `rights` is called when routines are there, before views."""

    server: Server
    session: Session
    changes: Sequence[Change]
    rights: Callable[[Session], None] = lambda session: None
    _undo: list[Callable[[], None]] = field(default_factory=list)

    def carry_out(self) -> None:
        """Do it; when it fails, put all back and raise `SourceError`."""
        self.session.do(f"SET SESSION lock_wait_timeout = {LOCK_WAIT}")
        replaced = [change for change in self.changes if change.exists]
        old = {change.live: self._code_of(change.live, change) for change in replaced}
        new = {change.live: self._code_of(change.beside, change) for change in self.changes}
        try:
            for change in replaced:
                self._try_locks(change.live)
            self._make_room(old)
            self._move()
            self._undo.append(lambda: self._each(lambda change: self._drop_code(change.live)))
            self._each(lambda change: self._like(change.beside, change.live))
            self._make(new)
        except BaseException as error:
            self._put_back()
            if isinstance(error, SourceError):
                error.what = f"the live databases stay as they were: {error.what}"
            raise
        self._keep({change.before: old[change.live].moved(change) for change in replaced})
        for change in self.changes:
            accounts.take_back(self.session, change.beside)
            self._drop_empty(change.beside)

    def _each(self, act: Callable[[Change], None]) -> None:
        for change in self.changes:
            act(change)

    def _put_back(self) -> None:
        """Undo what was done, also when we were asked to stop or the connection is gone: it would stay half done."""
        stopping = command.stopping()
        command.resume()
        try:
            with Session(self.server, timeout=pour.RESTORE_SECONDS) as self.session:
                for undo in reversed(self._undo):
                    self._put_one_back(undo)
        finally:
            if stopping:
                command.interrupt_all()

    def _put_one_back(self, undo: Callable[[], None]) -> None:
        try:
            undo()
        except (DrError, OSError) as error:
            log.error("the live database could not be put back whole: %s", error)  # noqa: TRY400 - told in full

    # -- before the move -------------------------------------------------------------------------------------

    def _code_of(self, database: str, change: Change) -> _Code:
        """Read the code of a database of a change, as it is to be made in the live one."""
        bare, live = ("--no-data", "--no-create-info"), change.live
        views, own = self._names(_VIEWS, database), database == live
        rights = accounts.routine_rights(self.session, live)
        there = {accounts.on_routine(grant, live) for grant in rights} | {
            quoted(name) for _, query in _CODE[1:] for name in self._names(query, live)
        }
        lost = () if own else (g for g in change.grants if accounts.on_routine(g, live) not in there)
        return _Code(
            triggers=self._dumped(database, live, *bare, "--triggers", "--add-drop-trigger"),
            routines=self._dumped(database, live, *bare, "--skip-triggers", "--routines"),
            events=self._dumped(database, live, *bare, "--skip-triggers", "--events") if own else change.events,
            views=self._dumped(database, live, "--no-data", "--skip-triggers", tables=views) if views else b"",
            grants=(*rights, *lost),
        )

    def _dumped(self, database: str, live: str, *options: str, tables: Sequence[str] = ()) -> bytes:
        """Return what the dump program says; of a broken database, as much as it can."""
        argv = self.server.dump_argv("--force", *options, database, *tables)
        with own_errors(self.server.where):
            done = self.server.host.run(argv, env=self.server.env, timeout=pour.QUERY_SECONDS)
        command.raise_if_stopping()
        if done.code != 0:
            said = done.stderr.decode("utf-8", "replace")
            error = complaint(f"the code of {database} could not be read whole", self.server.where, said)
            if database != live:
                raise error
            log.warning("%s", error)
        names = {change.beside: change.live for change in self.changes}
        return b"".join(pointed(renamed([done.stdout], database, live), names))

    def _make_room(self, old: dict[str, _Code]) -> None:
        """Make the places where tables go, and take away what hinders the move."""
        for change in self.changes:
            place = change.before if change.exists else change.live
            pour.create(self.session, place)
            self._undo.append(lambda place=place: self._drop_empty(place))  # type: ignore[misc]
            if change.exists:
                self._like(change.live, change.before)
        self._undo.append(lambda: self._make(old, to_the_end=True))
        for change in self.changes:
            if change.exists:
                self._drop_code(change.live)
                self._undo.append(lambda c=change: self._like(c.before, c.live))  # type: ignore[misc]
            self._drop(change.beside, "TRIGGER", _TRIGGERS)

    def _try_locks(self, database: str) -> None:
        """Raise when a program holds a table of the database, before anything is changed."""
        if tables := self._names(_TABLES, database):
            self.session.do("LOCK TABLES " + ", ".join(f"{_path(database, name)} WRITE" for name in tables))
            self.session.do("UNLOCK TABLES")

    def _like(self, model: str, database: str) -> None:
        """Give a database the character set of another."""
        charset, collation = self.session.rows(_CHARSET.format(text_of(model)))[0]
        self.session.rows(f"ALTER DATABASE {quoted(database)} CHARACTER SET {charset} COLLATE {collation}")

    def _drop_empty(self, database: str) -> None:
        """Drop a database that holds no table: one that does is somebody's data, whatever went wrong before."""
        if self._names(_TABLES, database):
            raise SourceError(
                f"the database {database} still holds tables",
                self.server.where,
                hint="see what they are, and move them",
            )
        pour.drop(self.session, database)

    def _drop_code(self, database: str) -> None:
        self._drop(database, "TRIGGER", _TRIGGERS)
        self._drop(database, "VIEW", _VIEWS)
        for kind, query in _CODE:
            self._drop(database, kind, query)

    def _drop(self, database: str, kind: str, query: str) -> None:
        for name in self._names(query, database):
            self.session.do(f"DROP {kind} IF EXISTS {_path(database, name)}")

    # -- the move --------------------------------------------------------------------------------------------

    def _move(self) -> None:
        """Move all tables of all databases, in one statement: all of them or none."""
        away = [(c.live, c.before, name) for c in self.changes if c.exists for name in self._names(_TABLES, c.live)]
        here = [(c.beside, c.live, name) for c in self.changes for name in self._names(_TABLES, c.beside)]
        self._rename([*away, *here])
        back = [(new, old, name) for old, new, name in [*reversed(here), *reversed(away)]]
        self._undo.append(lambda: self._rename(back))

    def _rename(self, moves: Sequence[tuple[str, str, str]]) -> None:
        if moves:
            pairs = (f"{_path(old, name)} TO {_path(new, name)}" for old, new, name in moves)
            self.session.do("RENAME TABLE " + ", ".join(pairs))

    # -- after the move --------------------------------------------------------------------------------------

    def _make(self, codes: dict[str, _Code], *, to_the_end: bool = False) -> None:
        """Make code in databases: routines, views that may use them and each other's, then what runs by itself."""
        faults: list[SourceError] = []
        for database, code in codes.items():
            faults += self._load(database, code.routines, to_the_end=to_the_end)
            for grant in code.grants:
                with suppress(SourceError):  # a right on a routine that is no more
                    self.session.rows(grant)
        self.rights(self.session)
        faults += self._make_views({database: code.views for database, code in codes.items()})
        if faults and not to_the_end:
            raise faults[0]
        for database, code in codes.items():
            for part in (code.triggers, code.events):
                faults += self._load(database, part, to_the_end=to_the_end)
        if faults:
            raise faults[0]

    def _make_views(self, views: dict[str, bytes]) -> list[SourceError]:
        """Make the views of databases that may look at each other's: again, as long as more of them can be made."""
        failed = {database: self._load(database, part, to_the_end=True) for database, part in views.items()}
        again = {database: views[database] for database, faults in failed.items() if faults}
        if again and len(again) < len(views):
            return self._make_views(again)
        return [fault for faults in failed.values() for fault in faults]

    def _load(self, database: str, part: bytes, *, to_the_end: bool) -> list[SourceError]:
        """Carry out a dump. With `to_the_end` as much of it as can be, and the fault is returned, not raised."""
        try:
            if part:
                pour.load(self.server, database, [part, b"\n"], log_bin=True, to_the_end=to_the_end)
        except SourceError as error:
            if not to_the_end:
                raise
            return [error]
        return []

    def _keep(self, codes: dict[str, _Code]) -> None:
        """Give replaced databases their code back, with events that do not run. They may have been broken."""
        for database, code in codes.items():
            for part in (code.routines, code.views, code.triggers, asleep(code.events)):
                for error in self._load(database, part, to_the_end=True):
                    log.warning("not all code of %s is kept: %s", database, error.cause)
                accounts.lend(self.session, database)
            accounts.take_back(self.session, database)

    def _names(self, query: str, database: str) -> list[str]:
        return [row[0] or "" for row in self.session.rows(query.format(text_of(database)))]


def _path(database: str, name: str) -> str:
    return f"{quoted(database)}.{quoted(name)}"
