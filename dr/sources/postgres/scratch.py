"""A PostgreSQL server of a drill's own: made for it, on a unix socket alone, thrown away with it.

Nothing of it must last, so that it never waits for the disk. Its superuser is `postgres`, whatever the captured
server's was.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from dr.errors import DrError, SourceError
from dr.plan.source_kinds import PostgresSource
from dr.sources import scratch
from dr.sources.driver import RestoreSlot
from dr.sources.own_errors import own_errors
from dr.sources.postgres import queries
from dr.sources.postgres.connection import Login, Server
from dr.sources.postgres.inventory import LARGE_OBJECTS, major_of
from dr.sources.postgres.restored import Restored
from dr.sources.postgres.roles import settings_of_all
from dr.tools.command import Done
from dr.tools.host import Host, Process, own_environment, script

SUPERUSER = "postgres"
PORT = 5432  # a part of the socket's name: nothing listens on a network
_START_SECONDS = scratch.START_SECONDS
_STOP_SECONDS = 10
_VERSION = re.compile(r"(/.*) postgres \(.*?(\d+)[\d.]*.*")
_MAKE_SECONDS = 600
_QUIT = 'read -r p <"$1" && kill -s QUIT "$p";'
#: Every directory with server programs and what they say of their version; $1 may name one that comes first.
_LOOK = """
( [ -z "$1" ] || echo "$1"; for d in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do echo "$d"; done;
echo "$PATH" | tr ":" "\\n" ) | while IFS= read -r d; do
[ -n "$d" ] && [ -f "$d/initdb" ] && [ -x "$d/initdb" ] && echo "$d $("$d/postgres" --version </dev/null 2>&1)"; done;
exit 0;
"""
#: Nothing of it must last.
SETTINGS = (
    "listen_addresses=", "fsync=off", "full_page_writes=off", "synchronous_commit=off", "wal_level=minimal",
    "max_wal_senders=0", "autovacuum=off", "max_wal_size=8GB", "checkpoint_timeout=1d", "wal_buffers=16MB",
    "shared_buffers=256MB", "maintenance_work_mem=256MB", "max_connections=50", "lc_messages=C",
    # A database that is loaded in one transaction holds a lock for each thing it makes.
    "max_locks_per_transaction=1000",
    # A file in its own directory, so that nothing is left in shared memory however it ends.
    "dynamic_shared_memory_type=mmap",
    # The log holds no statement: some set passwords.
    "log_min_error_statement=panic", "log_statement=none",
)  # fmt: skip


#: Of the locks that these settings allow, so many are made use of; a table with its own index takes four or five.
_OBJECTS_AT_ONCE = 10_000


class ScratchServer(Restored):
    """Databases restored into a server of their own."""

    empty_bytes = 100_000_000

    def __init__(self, name: str, declared: PostgresSource, room: RestoreSlot) -> None:
        super().__init__(name, declared, room)
        self._declared_bin = declared.bin
        self._running: Process | None = None
        self._of_all = ""

    def provision(self) -> None:
        """See `RestoredSource`: make the server and start it. It ends with the thread that calls."""
        host = self.room.host
        with own_errors(self.name):
            programs = find_programs(host, self._declared_bin, at_least=major_of(self.captured()), name=self.name)
            self._user, self._home = scratch.service_user(host, SUPERUSER), self.room.annex("postgres")
            scratch.hand_over(host, self._home, self._user)
            self._make(programs)
            self._running = self._run(programs)
        login = Login(host=str(self._home), port=PORT, user=SUPERUSER, bin=str(programs))
        # `template1`, so that a captured `postgres` can be made anew.
        self.server, self.place = Server(self.name, host, login), "template1"
        self._wait(self._running)
        self.server.execute(self.place, "drop database postgres;", doing="the scratch server could not be emptied")

    def physical(self, database: str) -> str:
        """See `Restored`: its own name."""
        return database

    def compare_roles(self, captured: str) -> None:
        """See `Restored`. Nobody else is here: the settings of all roles are made, once nothing is to be loaded."""
        self._of_all = "".join(f"alter role all set {k} to {v};\n" for k, v in settings_of_all(captured).items())

    def start(self) -> None:
        """See `RestoredSource`."""
        super().start()
        if said := self.server.complaints(self.place, self._of_all) if self._of_all else []:
            self.remarks.append(f"settings of all roles were refused: {'; '.join(said)}")

    def at_once(self, database: str) -> bool:
        """See `Restored`: while nothing is known that the server would refuse, and not with too many objects."""
        captured = self.captured()
        if captured is None or self.lacks or self.refusals:
            return False
        return len(captured.objects) + captured.rows.get(f"{database}.{LARGE_OBJECTS}", 0) <= _OBJECTS_AT_ONCE

    def left_empty(self, database: str) -> Collection[tuple[str, str]]:
        """See `Restored`: those whose rows come from other servers, which a drill has no business to log in to."""
        found = [(str(schema), str(name)) for schema, name in self.server.rows(database, queries.FROM_ELSEWHERE)]
        self.notes += [
            f"the materialized view {database}.{schema}.{name} was left empty: its rows come from another server"
            for schema, name in found
        ]
        return found

    def connection(self) -> Mapping[str, str]:
        """See `RestoredSource`."""
        first = self.databases[0] if self.databases else self.place
        url = (
            f"postgresql:///{quote(first, safe='')}?host={quote(str(self._home), safe='')}&port={PORT}&user={SUPERUSER}"
        )
        return {
            "PGHOST": str(self._home), "PGPORT": str(PORT), "PGUSER": SUPERUSER, "PGDATABASE": first,
            "DATABASE_URL": url,
        }  # fmt: skip

    def close(self) -> None:
        """See `RestoredSource`. SIGQUIT: it leaves at once, and takes its processes, socket and shared memory along."""
        running, self._running = self._running, None
        if running is None:
            return
        with running:
            if not running.ended():
                quitting = script(_QUIT, str(self._home / "data" / "postmaster.pid"))
                with suppress(DrError):  # of a host that is gone: there it ends with the connection
                    self.room.host.run(quitting, timeout=_STOP_SECONDS, regardless=True)
            wait_for_end(running)

    def _make(self, programs: Path) -> None:
        argv = [str(programs / "initdb"), "-D", str(self._home / "data"), "-U", SUPERUSER, "-A", "trust", "--no-sync"]
        for locale in ("C.UTF-8", "C"):
            done = scratch.run_as(
                self.room.host, [*argv, "-E", "UTF8", f"--locale={locale}"],
                user=self._user, cwd=self._home, env=own_environment(), timeout=_MAKE_SECONDS,
            )  # fmt: skip
            if done.code == 0:
                return
        raise SourceError(
            "the scratch server could not be made", self.name, _why(done), hint="see the disk and its rights"
        )

    def _run(self, programs: Path) -> Process:
        settings = (*SETTINGS, f"port={PORT}", f"unix_socket_directories={self._home}")
        options = [part for setting in settings for part in ("-c", setting)]
        argv = [str(programs / "postgres"), "-D", str(self._home / "data"), *options]
        return scratch.start_as(
            self.room.host, argv, user=self._user, cwd=self._home, env=own_environment(), death="QUIT"
        )

    def _wait(self, running: Process) -> None:
        what = "PostgreSQL server"
        try:  # it logs to us, not to a file
            scratch.wait_until(self._answers, running, seconds=_START_SECONDS, what=what, last_words=str)
        except SourceError as error:
            running.kill()
            raise SourceError(error.what, self.name, running.finish().last_words, hint=error.hint) from error

    def _answers(self) -> bool:
        try:
            self.server.value(self.place, "select 1")
        except SourceError:
            return False
        return True


def _why(done: Done) -> str:
    """Return why a server was not made: the last that is said is that what was begun is removed."""
    lines = done.stderr.decode("utf-8", "replace").splitlines()
    return next((line for line in lines if "error:" in line or "FATAL:" in line or "PANIC:" in line), done.last_words)


def wait_for_end(running: Process) -> None:
    """Wait a while for a program that was asked to end; then it is ended by force."""
    for _ in range(_STOP_SECONDS * 50):
        if running.ended():
            return
        time.sleep(0.02)


def find_programs(host: Host, declared: str | None, *, at_least: int, name: str) -> Path:
    """Return the directory of the newest server programs there; `SourceError` when older than the capture.

    The newest, since a dump is written by the newest programs of its host, and only such can read it.
    """
    done = host.run(script(_LOOK, declared or ""), timeout=_START_SECONDS)
    lines = done.stdout.decode("utf-8", "surrogateescape").splitlines()
    found = [_VERSION.fullmatch(line) for line in lines]
    versions = {Path(each[1]): int(each[2]) for each in found if each}
    best = max(versions, key=lambda place: versions[place], default=None)
    if best is None or versions[best] < at_least:
        here = f"PostgreSQL {versions[best]} is" if best else "none are"
        wanted = f"PostgreSQL {at_least}" if at_least else "PostgreSQL"
        place = "here" if host.here else f"on {host.name}"
        raise SourceError(
            f"the drill needs the server programs of {wanted} or newer {place}; {here} installed",
            name, hint=f"install the package postgresql{f'-{at_least}' if at_least else ''}",
        )  # fmt: skip
    return best
