"""A real recovery: databases restored beside the live ones of a server in use, and swapped in once they passed.

Until then the live databases are not touched; the swap is one transaction, and the old ones are kept under
another name. What an interrupted recovery left beside is known by its comment and taken away by the next.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dr.errors import DrError, SourceError, UsageError
from dr.plan.source_kinds import PostgresSource
from dr.sources.driver import RestoreSlot
from dr.sources.own_errors import own_errors
from dr.sources.postgres import accounts, queries
from dr.sources.postgres import create_database as making
from dr.sources.postgres.capture import read_globals
from dr.sources.postgres.connection import Login, Server, identifier, literal
from dr.sources.postgres.names import with_suffix
from dr.sources.postgres.restored import Restored
from dr.tools.host import Host

log = logging.getLogger("dr.recover")

_MARK = "unfinished recovery by dr of the database "
_PLACES = ("postgres", "template1")
_SWAP_SECONDS = 60

_ROLE = "select json_build_array(rolsuper or rolcreatedb, rolsuper) from pg_roles where rolname = current_user"
_UNFINISHED = f"""
select json_build_array(datname, substr(shobj_description(oid, 'pg_database'), {len(_MARK) + 1})) from pg_database
where shobj_description(oid, 'pg_database') like {literal(_MARK + "%")}
"""  # noqa: S608 - a constant of this module


class LiveServer(Restored):
    """Databases restored onto the server that the plan declares."""

    def __init__(self, name: str, declared: PostgresSource, room: RestoreSlot, *, host: Host) -> None:
        super().__init__(name, declared, room)
        self._declared = declared
        self.server, self.place = Server(name, host, Login.declared(declared)), _PLACES[0]
        self._beside: list[str] = []
        self._accepted = False

    def preflight(self) -> None:
        """See `RestoredSource`: the server answers, lets us make databases, and nothing stands in the way."""
        try:
            there = self._look_round()
            able, superuser = self.server.rows(self.place, _ROLE)[0]
        except SourceError as error:
            raise UsageError(f"nothing was touched: {error.what}", self.name, error.cause, hint=error.hint) from error
        if not able:
            raise UsageError(
                "nothing was touched: the server's user may not make databases", self.name,
                hint="grant it: ALTER ROLE … CREATEDB; roles and extensions may need a superuser",
            )  # fmt: skip
        if not superuser:
            log.info("%s: the server's user is not a superuser: owners and roles may not all come back", self.name)
        self._refuse_existing(there)

    def provision(self) -> None:
        """See `RestoredSource`: take away what interrupted recoveries of the same databases left."""
        there = self._look_round()
        marked = [beside for beside, database in self.server.rows(self.place, _UNFINISHED) if database in self._meant()]
        # One that was killed before it could be marked bears the token of this very recovery, which goes on.
        ours = [name for name in map(self.physical, self._meant()) if name in there]
        for beside in dict.fromkeys([*marked, *ours]):
            script = f"{_end_sessions([beside])}\ndrop database {identifier(beside)};"
            why = self.server.complaints(self.place, script)
            what = f"could not be dropped ({why[0]})" if why else "was dropped"
            log.warning("%s: %s, left of an interrupted recovery, %s", self.name, beside, what)

    def pour(self, filename: str, chunks: Iterator[bytes]) -> None:
        """See `RestoredSource`. Which databases they are is known now, where the plan names none (`all: true`)."""
        self._refuse_existing(self._look_round())
        super().pour(filename, chunks)

    def data_place(self) -> tuple[Host, Path] | None:
        """See `RestoredSource`: asked of a server that is reached by its socket, and so is on that host."""
        login = self.server.login
        if login.service or not (login.host or "/").startswith("/"):
            return None
        with suppress(SourceError):  # not everybody may ask
            return self.server.host, Path(str(self.server.value(self.place, "show data_directory")))
        return None

    def physical(self, database: str) -> str:
        """See `Restored`: a name of its own until it is accepted."""
        return database if self._accepted else with_suffix(database, "dr", self.room.token)

    def compare_roles(self, captured: str) -> None:
        """See `Restored`: they stay as they are, for others use them too."""
        try:
            there = read_globals(self.server, self.place).decode("utf-8", "surrogateescape")
        except SourceError as error:
            self.remarks.append(f"whether the roles on the server are as they were captured is not known: {error}")
            return
        self.remarks += accounts.differences(captured, there)

    def made(self, database: str) -> None:
        """See `Restored`: say on the server what it is."""
        beside = self.physical(database)
        self._beside.append(beside)
        self.server.execute(self.place, making.comment(beside, _MARK + database), doing=f"{beside} could not be marked")

    def seen(self, database: str, properties: dict[str, Any]) -> dict[str, Any]:
        """See `Restored`: our mark goes away when it is accepted."""
        marked, captured = str(properties["comment"]).startswith(_MARK), self.properties(database)
        waits = {"comment": captured.get("comment"), "template": captured.get("template")}
        return properties | waits if marked else properties

    def start(self) -> None:
        """See `RestoredSource`; statistics are gathered, without which the first queries would be slow.

        By the database's own path, which indexes over functions may rely on. Slow queries are no reason to stop.
        """
        super().start()
        for database in self.databases:
            said = self.server.complaints(self.physical(database), "reset search_path;\nanalyze;\n")
            if said:
                self.notes.append(f"statistics of {database} are not all there ({said[0]}): run ANALYZE in it")

    def connection(self) -> Mapping[str, str]:
        """See `RestoredSource`. Empty for a server that only another host reaches."""
        if not self.server.host.here or not self.databases:
            return {}
        first, login = self.physical(self.databases[0]), self.server.login
        found = {"PGHOST": login.host, "PGPORT": login.port, "PGUSER": login.user, "PGSERVICE": login.service}
        env = {key: str(value) for key, value in found.items() if value is not None}
        secret = {key: text for key, text in self.server.environment.items() if key in ("PGPASSWORD", "PGPASSFILE")}
        named = {"host": login.host, "port": login.port, "user": login.user, "service": login.service}
        query = "&".join(f"{key}={quote(str(value), safe='')}" for key, value in named.items() if value is not None)
        return {**env, **secret, "PGDATABASE": first, "DATABASE_URL": f"postgresql:///{quote(first, safe='')}?{query}"}

    def accept(self) -> None:
        """See `RestoredSource`: the old ones step aside and the new ones take their names, all or none."""
        there = self._look_round()
        self._refuse_existing(there)
        old = {each: with_suffix(each, "before", self.room.token) for each in self.databases if each in there}
        statements = ["begin;"]
        for database in self.databases:
            if database in old:
                statements.append(f"alter database {identifier(database)} rename to {identifier(old[database])};")
            beside = self.physical(database)
            statements.append(f"alter database {identifier(beside)} rename to {identifier(database)};")
            statements.append(making.comment(database, self.properties(database).get("comment")))
            statements.append(making.template(database, self.properties(database)))
        self._swap("\n".join([*statements, "commit;\n"]), [*old, *map(self.physical, self.databases)])
        self._accepted, self._beside = True, []
        for database in self.databases:
            kept = f"; the old one is kept as {old[database]}: drop it when it is not needed" if database in old else ""
            log.warning("%s: the database %s is in place%s", self.name, database, kept)
            for name in self.server.rows(database, queries.SUBSCRIPTIONS):
                self.notes.append(
                    f"the subscription {database}.{name} came back disabled, so that it logs in nowhere by itself;"
                    f" when it may: ALTER SUBSCRIPTION {identifier(name)} ENABLE"
                )
                log.warning("%s: %s", self.name, self.notes[-1])

    def close(self) -> None:
        """See `RestoredSource`: what was not accepted is dropped."""
        while self._beside:
            database = self._beside.pop()
            try:
                self.server.execute(
                    self.place, f"{_end_sessions([database])}\ndrop database if exists {identifier(database)};",
                    doing=f"{database} could not be dropped",
                )  # fmt: skip
            except DrError as error:
                log.warning("%s: %s: the next recovery drops it", self.name, error)

    def _look_round(self) -> dict[str, Any]:
        """Return the databases there, having found one that is not itself restored to speak to the server by."""
        places = [place for place in _PLACES if place not in self._meant()] + [*self._declared.named]
        for place in places[:-1]:
            try:
                self.place = place
                return dict(self.server.rows(place, queries.DATABASES))
            except SourceError as error:
                if error.retryable:
                    raise
        self.place = places[-1]
        return dict(self.server.rows(self.place, queries.DATABASES))

    def _meant(self) -> tuple[str, ...]:
        """Return the databases that this recovery is about, as far as is known before it begins."""
        captured = self.captured()
        return captured.databases if captured else self._declared.named

    def _refuse_existing(self, there: Mapping[str, object]) -> None:
        meant = self.databases or self._meant()
        taken = [each for each in meant if each in there and each not in self.room.replace]
        if taken:
            named = f"database {taken[0]} is" if len(taken) == 1 else f"databases {', '.join(taken)} are"
            raise UsageError(
                f"nothing was touched: the {named} on the server", self.name,
                hint="name each with --replace: it is kept under another name then; or rename it there:"
                f" ALTER DATABASE {identifier(taken[0])} …",
            )  # fmt: skip

    def _swap(self, script: str, concerned: list[str]) -> None:
        """Run the renames, ending sessions until they are through.

        A rename first keeps new sessions out, then waits a few seconds for the others to go: ended from beside,
        they do, and none can come between.
        """
        ending, deadline = _end_sessions(concerned), time.monotonic() + _SWAP_SECONDS
        self.server.complaints(self.place, ending)
        with self.server.psql(self.place) as process, own_errors(self.name):
            with suppress(OSError):  # it has ended: its exit code and words say why
                process.write(f"set lock_timeout = '30s';\n{script}".encode("utf-8", "surrogateescape"))
                process.end_input()
            while not process.ended() and time.monotonic() < deadline:
                self.server.complaints(self.place, ending)
                time.sleep(0.05)
            if not process.ended():
                process.kill()
            done = process.finish()
        if done.code != 0:
            raise self.server.failure(done, "the databases could not be swapped; the old ones are as they were")


def _end_sessions(databases: list[str]) -> str:
    names = ", ".join(literal(each) for each in databases)
    return (
        "select count(pg_terminate_backend(pid)) from pg_stat_activity "  # noqa: S608 - quoted names
        f"where datname in ({names}) and pid <> pg_backend_pid();"
    )
