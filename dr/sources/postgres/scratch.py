"""A PostgreSQL server of a drill's own: made for it, on a unix socket alone, thrown away with it.

Nothing of it must last, so that it never waits for the disk. Its superuser is `postgres`, whatever the captured
server's was.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from dr.errors import SourceError
from dr.plan.source import PostgresSource
from dr.sources import scratch
from dr.sources.door import Room
from dr.sources.postgres.connection import Login, Server
from dr.sources.postgres.inventory import LARGE_OBJECTS, major_of
from dr.sources.postgres.restored import Restored
from dr.tools import command
from dr.tools.host import ThisHost, own_environment

SUPERUSER = "postgres"
PORT = 5432  # a part of the socket's name: nothing listens on a network
_START_SECONDS = 60
_STOP_SECONDS = 10
_HOMES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")
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

    def __init__(self, name: str, declared: PostgresSource, room: Room) -> None:
        super().__init__(name, declared, room)
        self._declared_bin = declared.bin
        self._running: command.Running | None = None

    def provision(self) -> None:
        """See `Instance`: make the server and start it. It ends with the thread that calls."""
        programs = find_programs(self._declared_bin, at_least=major_of(self.captured()), name=self.name)
        self._user, self._home = scratch.service_user(SUPERUSER), self.room.annex("postgres")
        scratch.hand_over(self._home, self._user)
        self._make(programs)
        self._running = self._run(programs)
        login = Login(host=str(self._home), port=PORT, user=SUPERUSER, bin=str(programs))
        # `template1`, so that a captured `postgres` can be made anew.
        self.server, self.place = Server(self.name, ThisHost(), login), "template1"
        self._wait(self._running)
        self.server.execute(self.place, "drop database postgres;", doing="the scratch server could not be emptied")

    def physical(self, database: str) -> str:
        """See `Restored`: its own name."""
        return database

    def at_once(self, database: str) -> bool:
        """See `Restored`: while nothing is known that the server would refuse, and not with too many objects."""
        captured = self.captured()
        if captured is None or self.lacks or self.refused:
            return False
        return len(captured.objects) + captured.rows.get(f"{database}.{LARGE_OBJECTS}", 0) <= _OBJECTS_AT_ONCE

    def connection(self) -> Mapping[str, str]:
        """See `Instance`."""
        first = self.databases[0] if self.databases else self.place
        url = (
            f"postgresql:///{quote(first, safe='')}?host={quote(str(self._home), safe='')}&port={PORT}&user={SUPERUSER}"
        )
        return {
            "PGHOST": str(self._home), "PGPORT": str(PORT), "PGUSER": SUPERUSER, "PGDATABASE": first,
            "DATABASE_URL": url,
        }  # fmt: skip

    def close(self) -> None:
        """See `Instance`. SIGQUIT: it leaves at once, and takes its processes, socket and shared memory along."""
        running, self._running = self._running, None
        if running is None:
            return
        with running:
            with suppress(OSError, ValueError):
                first = (self._home / "data" / "postmaster.pid").read_text("ascii").split("\n", 1)[0]
                if not running.ended():
                    os.kill(int(first), signal.SIGQUIT)
            wait_for_end(running)

    def _make(self, programs: Path) -> None:
        argv = [str(programs / "initdb"), "-D", str(self._home / "data"), "-U", SUPERUSER, "-A", "trust", "--no-sync"]
        for locale in ("C.UTF-8", "C"):
            done = command.run(
                [*argv, "-E", "UTF8", f"--locale={locale}"], env=own_environment(), cwd=self._home, user=self._user
            )
            if done.code == 0:
                return
        raise SourceError(
            "the scratch server could not be made", self.name, done.last_words, hint="see the disk and its rights"
        )

    def _run(self, programs: Path) -> command.Running:
        settings = (*SETTINGS, f"port={PORT}", f"unix_socket_directories={self._home}")
        options = [part for setting in settings for part in ("-c", setting)]
        argv = [str(programs / "postgres"), "-D", str(self._home / "data"), *options]
        return command.Running(argv, env=own_environment(), cwd=self._home, user=self._user, death="QUIT")

    def _wait(self, running: command.Running) -> None:
        what, log = "PostgreSQL server", self._home / "log"  # it logs to us, not to a file
        try:
            scratch.wait_until(self._answers, running, seconds=_START_SECONDS, what=what, log=log)
        except SourceError as error:
            running.kill()
            raise SourceError(error.what, self.name, running.finish().last_words, hint=error.hint) from error

    def _answers(self) -> bool:
        try:
            self.server.value(self.place, "select 1")
        except SourceError:
            return False
        return True


def wait_for_end(running: command.Running) -> None:
    """Wait a while for a program that was asked to end; then it is ended by force."""
    for _ in range(_STOP_SECONDS * 50):
        if running.ended():
            return
        time.sleep(0.02)


def find_programs(declared: str | None, *, at_least: int, name: str) -> Path:
    """Return the directory of the newest server programs here; `SourceError` when they are older than the capture.

    The newest, since a dump is written by the newest programs of its host, and only such can read it.
    """
    found = [Path(path) for pattern in _HOMES for path in Path("/").glob(pattern.lstrip("/"))]
    places = [Path(declared)] if declared else []
    places += [*found, *(Path(folder) for folder in os.environ.get("PATH", "").split(":") if folder)]
    versions = {place: _major(place) for place in places if os.access(place / "initdb", os.X_OK)}
    best = max(versions, key=lambda place: versions[place], default=None)
    if best is None or versions[best] < at_least:
        here = f"PostgreSQL {versions[best]} is" if best else "none are"
        wanted = f"PostgreSQL {at_least}" if at_least else "PostgreSQL"
        raise SourceError(
            f"the drill needs the server programs of {wanted} or newer here; {here} installed",
            name, hint=f"install the package postgresql{f'-{at_least}' if at_least else ''}",
        )  # fmt: skip
    return best


def _major(place: Path) -> int:
    done = command.run([str(place / "postgres"), "--version"], timeout=30)
    number = re.search(rb"\d+", done.stdout)
    return int(number[0]) if number else 0
