"""Databases that change places. The server has no statement for that: it moves tables, many at once or none.

Triggers hinder the move, and views and code cannot be moved: those of the old are dropped before it, those of the new
made after it, as they were captured. Before the first change the way back is proven: the old code is made in an empty
copy of its database. It is kept as a script; whatever fails, it is run, and then the live databases are looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field
from pathlib import Path

from dr.errors import DrError, SourceError
from dr.late_dataclass import dataclass
from dr.sources.mysql import accounts, code, undo
from dr.sources.mysql import load_dump as pour
from dr.sources.mysql.code import Code, Fault, Piece, Sorting
from dr.sources.mysql.connection import QUERY_SECONDS, Server, complaint, quoted, text_of
from dr.sources.mysql.inventory import Inventory, databases_of
from dr.sources.mysql.session import Session
from dr.sources.mysql.undo import Drop, Move, Way
from dr.sources.own_errors import own_errors
from dr.tools import command

log = logging.getLogger("dr.recover")

#: Seconds that a program's open transaction is waited for; then the swap is given up.
LOCK_WAIT = 20
_TABLES = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_TYPE NOT LIKE '%VIEW'"
_ROUTINES = """SELECT ROUTINE_NAME FROM information_schema.ROUTINES
    WHERE ROUTINE_SCHEMA = {} AND ROUTINE_TYPE = '{}'"""
_NAMES = {
    "TRIGGER": "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {}",
    "VIEW": "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_TYPE LIKE '%VIEW'",
    "EVENT": "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {}",
    **{kind: _ROUTINES.format("{}", kind) for kind in ("PROCEDURE", "FUNCTION", "PACKAGE BODY", "PACKAGE")},
}
_CHARSET = """SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA
    WHERE SCHEMA_NAME = {}"""
_SEQUENCES = """SELECT TABLE_NAME, COLUMN_NAME, COLUMN_DEFAULT FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = {} AND (COLUMN_DEFAULT LIKE '%nextval(%' OR COLUMN_DEFAULT LIKE '%lastval(%')"""
_AS_THEY_WERE = "the live databases are as they were"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One database's change: `beside` becomes `live`, and what was `live`, where it `exists`, becomes `before`.

    `trial` is the name of a database in which the way back is tried. `code` is that of the new, `grants` the rights
    on its routines, as captured.
    """

    live: str
    beside: str
    before: str
    trial: str
    exists: bool
    code: Code = field(default_factory=Code)
    grants: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Old:
    """A live database before its change: the statements that make its tables, empty, and its code."""

    tables: bytes
    code: Code
    grants: tuple[str, ...]


def kept_in(apart: Path) -> Path:
    """Return where the script is kept that undoes a swap: in the directory beside the data of a restore."""
    return apart / undo.FILENAME


def copy_empty(server: Server, session: Session, database: str, places: Mapping[str, str]) -> None:
    """Copy a database without its rows to its place; `places` are those of all, by their names.

    Raises `SourceError` as the server refuses.
    """
    pour.create(session, places[database])
    argv = server.dump_argv("--force", "--no-data", "--skip-triggers", "--", database)
    done = server.host.run(argv, env=server.env, timeout=pour.RESTORE_SECONDS)
    pour.load(server, places[database], Sorting(database, dict(places)).passing([done.stdout]), log_bin=False)


@dataclass
class Swap:
    """The change of all databases. `carry_out` once. `rights` is called when routines are there, before views.

    `kept` is the script's place, on this machine. `lacking` are pieces that need not be made: refused before, and
    accepted.
    """

    server: Server
    session: Session
    changes: Sequence[Change]
    kept: Path
    rights: Callable[[Session], None] = lambda session: None
    lacking: Collection[Piece] = ()
    _broken: list[Piece] = field(default_factory=list)

    def carry_out(self) -> None:
        """Do it. When it fails, put all back, look at it, and raise `SourceError` that says how it stands."""
        way, before, old = self._prepared()
        undo.write(way, self.kept)
        try:
            self._change(way, old)
        except BaseException as error:
            self._put_back(before, error)
            raise
        self.kept.unlink()
        self._afterwards(old)

    def rehearse(self) -> None:
        """Do it, and go back by the script: for a drill's own server. Raises `SourceError` when one of them fails."""
        way, before, old = self._prepared()
        undo.write(way, self.kept)
        self._change(way, old)
        if problems := [*map(str, undo.run(self.server, self.kept)), *self._differences(before)]:
            raise SourceError("the way back from a swap does not lead back", self.server.where, problems[0],
                              hint="report it, with the drill's report")  # fmt: skip
        self.kept.unlink()

    # -- before the first change -------------------------------------------------------------------------------

    def _prepared(self) -> tuple[Way, dict[str, str], dict[str, _Old]]:
        """Read what is there, try the way back, and see that nobody holds a table. Changes no live database."""
        try:
            self.session.do(f"SET SESSION lock_wait_timeout = {LOCK_WAIT}")
            before = self._seen()
            old = {change.live: self._read(change) for change in self.changes if change.exists}
            for live in old:
                self._try_locks(live)
            views = self._tried(old)
            return self._way(old, views), before, old
        except SourceError as error:
            error.what = f"{_AS_THEY_WERE}, nothing was changed: {error.what}"
            raise

    def _read(self, change: Change) -> _Old:
        """Read a live database's tables and code, of a broken one as much as the dump program can."""
        options = ("--force", "--no-data", "--routines", "--events", "--triggers")
        with own_errors(self.server.where):
            argv = self.server.dump_argv(*options, "--", change.live)
            done = self.server.host.run(argv, env=self.server.env, timeout=QUERY_SECONDS)
        command.raise_if_stopping()
        said = done.stderr.decode("utf-8", "replace")
        if b"\n-- Dump completed" not in done.stdout[-200:]:
            raise complaint(f"the code of {change.live} could not be read", self.server.where, said)
        if done.code != 0:
            log.warning("%s", complaint(f"{change.live} could not be read whole", self.server.where, said))
        sorting = Sorting(change.live, {each.live: each.trial for each in self.changes if each.exists})
        tables = b"".join(sorting.passing([done.stdout]))
        return _Old(tables, sorting.code(), accounts.routine_rights(self.session, change.live))

    def _tried(self, old: Mapping[str, _Old]) -> list[tuple[str, Piece]]:
        """Make the old code in empty copies of its databases; return its views in an order in which they can be made.

        Raises `SourceError` when some of it cannot be made again, unless it is broken where it is.
        """
        trials = {change.trial: old[change.live] for change in self.changes if change.exists}
        names = {change.live: change.trial for change in self.changes if change.exists}
        made: list[tuple[str, Piece]] = []
        try:
            for change in self.changes:
                if change.exists:
                    pour.drop(self.session, change.trial)
                    pour.create(self.session, change.trial)
                    self._like(change.live, change.trial)
                    with suppress(SourceError):  # what lacks then is missed by the code that needs it
                        pour.load(self.server, change.trial, [old[change.live].tables], log_bin=True, to_the_end=True)
            codes = {trial: each.code.asleep() for trial, each in trials.items()}
            faults = code.make(self.server, codes, names, made=made, between=lambda: self._lend(codes, names))
        finally:
            for trial in trials:
                accounts.take_back(self.session, trial)
                pour.drop(self.session, trial)
        self._refuse_unproven(faults)
        live = {trial: name for name, trial in names.items()}
        return [(live[trial], piece) for trial, piece in made] + [(p.database, p) for p in self._broken]

    def _lend(self, codes: Mapping[str, Code], names: Mapping[str, str]) -> None:
        for database, place in names.items():
            accounts.lend(self.session, codes[place].owners(), database, place)

    def _refuse_unproven(self, faults: Sequence[Fault]) -> None:
        for fault in faults:
            piece = fault.piece
            if piece.kind == "view" and not self._answers(piece):
                self._broken.append(piece)
                log.warning("%s: the view %s is broken, and is not kept", self.server.where, piece.full)
                continue
            raise SourceError(
                f"the {piece.kind} {piece.full} could not be made again, so that there would be no way back",
                self.server.where, fault.error.cause,
                hint=f"correct or drop the {piece.kind} {piece.full} on the server, or use --dumps",
            )  # fmt: skip

    def _answers(self, view: Piece) -> bool:
        try:
            self.session.rows(f"SELECT 1 FROM {undo.path_of(view.database, view.name)} LIMIT 0")  # noqa: S608 - quoted
        except SourceError as error:
            if error.retryable:
                raise
            return False
        return True

    def _way(self, old: Mapping[str, _Old], views: Sequence[tuple[str, Piece]]) -> Way:
        exists = [change for change in self.changes if change.exists]
        return Way(
            drops=list(dict.fromkeys(drop for change in self.changes for drop in self._drops(change))),
            moves=self._moves(),
            settings=[(change.live, self._charset(change.live)) for change in exists],
            codes={live: each.code for live, each in old.items()},
            views=views,
            grants=[grant for each in old.values() for grant in each.grants],
            places=[change.before if change.exists else change.live for change in self.changes],
        )

    def _drops(self, change: Change) -> Iterator[Drop]:
        """Yield all code that may be in the live database at any moment of the swap."""
        for kind in undo.DROPPED:
            there = self._names(_NAMES[kind], change.live) if change.exists else []
            for name in [*there, *self._names(_NAMES[kind], change.beside)]:
                yield (kind, change.live, name)

    def _moves(self) -> list[Move]:
        away = [(c.live, c.before, name) for c in self.changes if c.exists for name in self._names(_TABLES, c.live)]
        return away + [(c.beside, c.live, name) for c in self.changes for name in self._names(_TABLES, c.beside)]

    def _try_locks(self, database: str) -> None:
        """Raise when a program holds a table of the database, before anything is changed."""
        if tables := self._names(_TABLES, database):
            self.session.do("LOCK TABLES " + ", ".join(f"{undo.path_of(database, name)} WRITE" for name in tables))
            self.session.do("UNLOCK TABLES")

    # -- the change --------------------------------------------------------------------------------------------

    def _change(self, way: Way, old: Mapping[str, _Old]) -> None:
        sequences = {change.beside: self._defaults(change.beside) for change in self.changes}
        grants = {change.live: self._grants(change) for change in self.changes}
        self._make_room()
        for kind, database, name in way.drops:
            self.session.do(undo.drop_statement(kind, database, name))
        self._move(way.moves)
        for change in self.changes:
            self._like(change.beside, change.live)
            self._point_sequences(change.live, sequences[change.beside])
        self._make(grants)

    def _make_room(self) -> None:
        """Make the places where tables go, and take away what hinders the move from beside."""
        for change in self.changes:
            pour.create(self.session, change.before if change.exists else change.live)
            if change.exists:
                self._like(change.live, change.before)
            for name in self._names(_NAMES["TRIGGER"], change.beside):
                self.session.do(undo.drop_statement("TRIGGER", change.beside, name))

    def _move(self, moves: Sequence[Move]) -> None:
        """Move all tables of all databases, in one statement: all of them or none."""
        if moves:
            self.session.do(undo.rename_statement(moves))

    def _make(self, grants: Mapping[str, Sequence[str]]) -> None:
        """Make the new code in its place, as it was captured."""

        def between() -> None:
            for grant in (grant for each in grants.values() for grant in each):
                with suppress(SourceError):  # a right on a routine that is no more
                    self.session.rows(grant)
            self.rights(self.session)

        faults = code.make(self.server, {change.live: change.code for change in self.changes}, between=between)
        for fault in faults:
            if fault.piece not in self.lacking:
                fault.error.what = f"the {fault.piece.kind} {fault.piece.full} was refused"
                raise fault.error

    def _grants(self, change: Change) -> tuple[str, ...]:
        """Return the rights on routines: as they are now, and as captured on those that are not there now."""
        now = accounts.routine_rights(self.session, change.live)
        there = {accounts.on_routine(grant, change.live) for grant in now}
        kinds = ("PROCEDURE", "FUNCTION", "PACKAGE")
        there |= {quoted(name) for kind in kinds for name in self._names(_NAMES[kind], change.live)}
        return (*now, *(g for g in change.grants if accounts.on_routine(g, change.live) not in there))

    # -- the way back ------------------------------------------------------------------------------------------

    def _put_back(self, before: Mapping[str, str], error: BaseException) -> None:
        """Run the script, also when we were asked to stop or the connection is gone; say how the databases stand."""
        with _regardless():
            try:
                with Session(self.server, timeout=pour.RESTORE_SECONDS) as self.session:
                    refused = undo.run(self.server, self.kept)
                    different = self._differences(before)
            except (DrError, OSError) as fault:
                refused, different = [], [f"they could not be looked at ({fault})"]
        if not different:
            self.kept.unlink(missing_ok=True)
        self._say(error, different, refused)

    def _say(self, error: BaseException, different: Sequence[str], refused: Sequence[SourceError]) -> None:
        what = f"{_AS_THEY_WERE}, as was seen afterwards"
        if different:
            what = f"the live databases are NOT as they were: {'; '.join(different[:5])}"
        if different and refused:
            what += f" ({refused[0].cause})"
        if not isinstance(error, SourceError):
            log.warning("%s: %s", self.server.where, what)
            return
        error.what = f"{what}: {error.what}"
        if different:
            by_hand = undo.typed(self.server, self.kept)
            error.hint = f"run the same recovery again, which begins with the way back, or `{by_hand}`"

    def _seen(self) -> dict[str, str]:
        """Return what there is of the live databases, and which tables are where."""
        there = set(databases_of(self.session))
        live = [change.live for change in self.changes if change.live in there]
        found = dict(Inventory(self.session, live).objects()) if live else {}
        for name in (name for change in self.changes for name in (change.live, change.beside, change.before)):
            if tables := self._names(_TABLES, name):
                found[f"tables in {name}"] = ", ".join(sorted(tables))
            for grant in accounts.routine_rights(self.session, name) if name in live else ():
                found[f"right {grant}"] = ""
        return found

    def _differences(self, before: Mapping[str, str]) -> list[str]:
        now = self._seen()
        different = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
        spare = {f"{word} {piece.full}" for piece in self._broken for word in ("view", "columns of")}
        return [
            f"{name} {'is missing' if name not in now else 'is new' if name not in before else 'differs'}"
            for name in different
            if name not in spare
        ]

    # -- afterwards --------------------------------------------------------------------------------------------

    def _afterwards(self, old: Mapping[str, _Old]) -> None:
        """Give replaced databases their code back, with events that do not run, and clear up. It is done: what goes
        wrong now is told.
        """
        for change in self.changes:
            try:
                if change.exists:
                    self._keep(change, old[change.live])
                accounts.take_back(self.session, change.beside)
                self._drop_empty(change.beside)
            except SourceError as error:
                log.warning("%s: %s is in its place, but %s", self.server.where, change.live, error)

    def _keep(self, change: Change, old: _Old) -> None:
        self._point_sequences(change.before, self._defaults(change.before), change)
        codes, names = {change.before: old.code.asleep()}, {change.live: change.before}
        for fault in code.make(self.server, codes, names, between=lambda: self._lend(codes, names)):
            if fault.piece not in self._broken:
                log.warning("not all code of %s is kept: %s", change.before, fault.error.cause)
        accounts.take_back(self.session, change.before)

    def _drop_empty(self, database: str) -> None:
        """Drop a database that holds no table: one that does is somebody's data, whatever went wrong before."""
        if self._names(_TABLES, database):
            raise SourceError(
                f"the database {database} still holds tables",
                self.server.where,
                hint="see what they are, and move them",
            )
        pour.drop(self.session, database)

    # -- small things ------------------------------------------------------------------------------------------

    def _charset(self, database: str) -> str:
        charset, collation = self.session.rows(_CHARSET.format(text_of(database)))[0]
        return f"CHARACTER SET {charset} COLLATE {collation}"

    def _like(self, model: str, database: str) -> None:
        """Give a database the character set of another. MySQL does not prepare that statement."""
        self.session.do(f"ALTER DATABASE {quoted(database)} {self._charset(model)}")

    def _defaults(self, database: str) -> list[tuple[str, str, str]]:
        """Return the columns of a database that take their defaults from sequences, with these."""
        rows = self.session.rows(_SEQUENCES.format(text_of(database)))
        return [(table or "", column or "", default or "") for table, column, default in rows]

    def _point_sequences(
        self, database: str, defaults: Sequence[tuple[str, str, str]], kept: Change | None = None
    ) -> None:
        """Let columns take their defaults from the sequences as these are called now: they are bound to a name."""
        names = {kept.live: kept.before} if kept else {change.beside: change.live for change in self.changes}
        for table, column, default in defaults:
            for old, new in names.items():
                default = default.replace(f"{quoted(old)}.", f"{quoted(new)}.")
            alter = f"ALTER TABLE {undo.path_of(database, table)} ALTER COLUMN {quoted(column)} SET DEFAULT {default}"
            self.session.do(alter)

    def _names(self, query: str, database: str) -> list[str]:
        return [row[0] or "" for row in self.session.rows(query.format(text_of(database)))]


@contextmanager
def _regardless() -> Iterator[None]:
    """Go on although we were asked to stop; the request stands again afterwards."""
    stopping = command.stopping()
    command.resume()
    try:
        yield
    finally:
        if stopping:
            command.interrupt_all()
