"""A throw-away PostgreSQL server: own data, own unix socket, on request a port on 127.0.0.1 with a password.

Ended with SIGQUIT, so that neither processes nor shared memory are left. As root it runs as an unprivileged user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from .owned import dying_with_us, own_folder
from .ports import own_ports

#: Nothing here must last.
_FAST = (
    "fsync=off", "full_page_writes=off", "synchronous_commit=off", "autovacuum=off", "max_wal_size=4GB",
    "dynamic_shared_memory_type=mmap", "shared_buffers=64MB", "lc_messages=C", "max_connections=50",
)  # fmt: skip


class PostgresServer:
    """The server; a context that makes, starts and ends it. `home` keeps the data; without one it is made and removed.

    `socket` is the directory of its socket, `user` its superuser, `port` its number. With `tcp` it also listens
    on 127.0.0.1, where the superuser needs `password`. `programs` is the directory of another version's.
    """

    user = "postgres"
    #: Returns the `initdb` of the newest version here.
    make_program: Callable[[], str] = staticmethod(lambda: program("initdb"))

    def __init__(
        self,
        home: Path | None = None,
        *,
        tcp: bool = False,
        settings: tuple[str, ...] = (),
        programs: Path | None = None,
    ) -> None:
        self._programs = programs
        self._given, self._tcp, self._settings = home, tcp, settings
        self.port, self.password = (own_ports(1)[0] if tcp else 5432), "throw-away"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.socket = own_folder("pg-")
        self.home = self._given or self.socket
        self.data = self.home / "data"
        for place in (self.socket, self.home):
            _hand_over(place)
        try:
            if not self.data.exists():
                self._make()
            return self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self.socket, ignore_errors=True)

    def start(self) -> Self:
        """Start it, and wait until it answers."""
        listen = "listen_addresses=127.0.0.1" if self._tcp else "listen_addresses="
        settings = (*_FAST, listen, f"port={self.port}", f"unix_socket_directories={self.socket}", *self._settings)
        options = [part for setting in settings for part in ("-c", setting)]
        with (self.home / "server.log").open("ab") as log:
            self._process = self._as_user(["postgres", "-D", str(self.data), *options], stdout=log, stderr=log)
        self._wait()
        return self

    def kill(self) -> None:
        """End it at once, as a crash would, without saving anything. May be called twice."""
        if self._process:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=120)
            self._process = None

    def psql(self, sql: str, database: str = "postgres") -> str:
        """Run statements; return what they print, without its last newline."""
        argv = [program("psql"), "-XqAtv", "ON_ERROR_STOP=1", "-d", database]
        done = subprocess.run(argv, input=sql, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return done.stdout.removesuffix("\n")

    @property
    def environment(self) -> dict[str, str]:
        """What PostgreSQL's programs need to reach it."""
        return {
            "PATH": os.environ["PATH"], "PGHOST": str(self.socket), "PGPORT": str(self.port), "PGUSER": self.user,
        }  # fmt: skip

    @property
    def pid(self) -> int:
        """The number of its first process."""
        assert self._process is not None
        return self._process.pid

    def _make(self) -> None:
        maker = "initdb" if self._programs else self.make_program()
        argv = [maker, "-D", str(self.data), "-U", self.user, "-A", "trust", "--no-sync", "-E", "UTF8"]
        made = self._as_user([*argv, "--locale=C.UTF-8"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        _, told = made.communicate()
        if made.returncode != 0:
            raise AssertionError(told.decode())
        if self._tcp:
            rules = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
            (self.data / "pg_hba.conf").write_text(rules)

    def _as_user(self, argv: list[str], **more: object) -> subprocess.Popen[bytes]:
        first = argv[0] if "/" in argv[0] else str(self._programs / argv[0]) if self._programs else program(argv[0])
        whole = [first, *argv[1:]]
        whole = [*dying_with_us("QUIT"), *whole]
        if os.geteuid() == 0:
            whole = ["setpriv", "--reuid=postgres", f"--regid={_owner().pw_gid}", "--clear-groups", "--", *whole]
        env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        return subprocess.Popen(whole, cwd=self.home, env=env, stdin=subprocess.DEVNULL, **more)  # type: ignore[call-overload,no-any-return]

    def _wait(self) -> None:
        deadline = time.monotonic() + 120
        while True:
            if not self._ready() and time.monotonic() < deadline and self._process and self._process.poll() is None:
                time.sleep(0.02)  # its file costs nothing to read; clients that ask in vain cost more than the server
                continue
            try:
                self.psql("select 1")
                break
            except AssertionError as error:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError((self.home / "server.log").read_text()) from error
                time.sleep(0.05)
        if self._tcp:
            self.psql(f"alter role {self.user} password '{self.password}'")

    def _ready(self) -> bool:
        """Whether the server says in its file that it takes connections."""
        try:
            return (self.data / "postmaster.pid").read_text().split("\n")[7].strip() == "ready"
        except (OSError, IndexError):
            return False


def program(name: str) -> str:
    """Return one of PostgreSQL's programs, of the newest version here."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True)
    for place in places:
        if (place / name).exists():
            return str(place / name)
    found = shutil.which(name)
    assert found, f"{name} is not here: install postgresql"
    return found


def _owner() -> pwd.struct_passwd:
    return pwd.getpwnam("postgres")


def _hand_over(place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    place.chmod(0o711)
    if os.geteuid() == 0:
        os.chown(place, _owner().pw_uid, _owner().pw_gid)
