"""A scratch server: a drill's own, thrown away with it, and as fast as one is that need not survive a crash."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from dr.errors import SourceError
from dr.plan.source_kinds import MysqlSource
from dr.sources import scratch
from dr.sources.driver import RestoreSlot
from dr.sources.mysql import accounts, programs
from dr.sources.mysql import load_dump as pour
from dr.sources.mysql.connection import CLIENTS, DUMPS, Server
from dr.sources.mysql.inventory import ENCRYPTION, NAMES_CASE
from dr.sources.mysql.restored import Restored
from dr.sources.mysql.session import Session
from dr.sources.mysql.swap import Change, Swap, copy_empty, kept_in
from dr.sources.own_errors import own_errors
from dr.tools.command import Done, TimeoutExpiredError
from dr.tools.host import Host, Process, script

_HINT = "install the MariaDB or MySQL server there (its service need not run), or name it with `bin`"
_PLACES = tuple(map(Path, ("/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/usr/local/mysql/bin", "/usr/bin")))
_START_SECONDS = scratch.START_SECONDS
_ANSWER_SECONDS = 10.0
_LARGEST_POOL = 1 << 30
#: The kernel's own asynchronous reads are few on a machine, and other servers may have taken them.
_OWN_AIO = "--innodb-use-native-aio=0"
#: Nothing here must survive a crash: what is restored is still in its repository.
_FAST = (
    "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--innodb-flush-method=nosync",
    "--sync-binlog=0", "--loose-debug-no-sync", "--skip-log-bin", "--performance-schema=OFF", _OWN_AIO,
)  # fmt: skip
#: What makes a server's directory writes little; a log is written whole, and made again at its size by the first start.
_SMALL_LOG = "--innodb-log-file-size=4M"
_QUIET = (
    "--skip-networking", "--loose-mysqlx=0", "--event-scheduler=OFF", "--skip-name-resolve", "--local-infile=0",
)  # fmt: skip


_KEEP = 'umask 077; cat >"$1" && { [ -z "$2" ] || chown -- "$2" "$1"; };'


class Scratch(Restored):
    """Databases in a scratch server on the room's host."""

    empty_bytes = 700_000_000  # its log is 512 MB large from the beginning, MySQL's may become twice that

    def __init__(self, name: str, declared: MysqlSource, host: Host, room: RestoreSlot) -> None:
        super().__init__(name, declared, room)
        # The plan's directory of programs is on the plan's host, which may be another.
        known = declared.bin and (host.here or not room.host.here)
        own = Path(declared.bin) if declared.bin and known else None
        self._places = ((own, own.parent / "sbin", own.parent / "libexec") if own else ()) + _PLACES
        self._running: Process | None = None
        self._socket = Path()
        self._server: Server | None = None

    @property
    def server(self) -> Server:
        """See `Restored`."""
        if self._server is None or self._running is None or self._running.ended():
            raise SourceError("the scratch server does not run", self.name, hint="see why it did not start")
        return self._server

    def provision(self) -> None:
        """See `RestoredSource`: make a server and start it."""
        there = self.room.host
        with own_errors(self.name):
            home, user = self.room.annex("mysql"), scratch.service_user(there, "mysql")
            self._socket = home / "s"
            scratch.hand_over(there, home, user)
            maria = self._captured_from() != "MySQL"
            program = self._program("mariadbd", "mysqld", maria=maria)
            server = self._reach(maria=maria)
            self._install(self._maker(program, maria=maria), home, user)
            options = self._options(home, maria=maria)
            if maria and ENCRYPTION in self._needs():
                options += self._encrypting(home, user)
            self._running = scratch.start_as(there, [program, *options], user=user, cwd=home, env=_environment())
        self._server = server
        scratch.wait_until(
            self._responds, self._running, seconds=_START_SECONDS, what="database server",
            last_words=lambda: scratch.last_line(there, home / "error.log"),
        )  # fmt: skip

    def pour(self, filename: str, chunks: Iterator[bytes]) -> None:
        """See `RestoredSource`: as a recovery does it, beside and then into their places.

        For accounts that own code and were not captured others stand in, so that the rest can be looked at;
        `start` then says which are missing.
        """
        captured = self.captured()
        needs = captured.needs if captured else ()
        with Session(self.server, timeout=pour.RESTORE_SECONDS) as session:
            replay = accounts.Replay(session, self.room.apart / accounts.FILENAME, self.name)
            owners = [need.removeprefix("account ") for need in needs if need.startswith("account ")]
            self.lacking = [f"account {account}" for account in accounts.stand_in(session, owners)]
            self.load(session, filename, chunks, replay)
            self._swap(session, self.changes(()), replay.go_on).carry_out()
            self.asleep = set()
            self.actual = {name: name for name in self.actual}
            replay.end(session)

    def rehearse(self) -> None:
        """See `RestoredSource`: databases without rows take the places of those restored, and make room again."""
        with Session(self.server, timeout=pour.RESTORE_SECONDS) as session:
            places = {name: self.beside(name) for name in self.actual}
            for database in self.actual:
                copy_empty(self.server, session, database, places)
            restored, self.actual = self.actual, places
            try:
                self._swap(session, self.changes(restored), lambda session: None).rehearse()
            finally:
                self.actual = restored

    def _swap(self, session: Session, changes: list[Change], rights: Callable[[Session], None]) -> Swap:
        kept = kept_in(self.room.apart)
        return Swap(self.server, session, changes, kept=kept, rights=rights, lacking=self._refused)

    def connection(self) -> Mapping[str, str]:
        """See `RestoredSource`."""
        socket, database = str(self._socket), next(iter(self._declared.named or self.actual), "")
        return {
            "MYSQL_HOME": pour.client_home(self._socket.parent, socket=socket, user="root", host=self.room.host),
            "MYSQL_UNIX_PORT": socket,
            "MYSQL_HOST": "localhost",
            "MYSQL_USER": "root",
            "USER": "root",
            "MYSQL_DATABASE": database,
            "DATABASE_URL": pour.url({"user": "root", "socket": socket}, database),
        }

    def close(self) -> None:
        """See `RestoredSource`. The server is ended as if by a power cut: its directory goes with the sandbox."""
        if self._running:
            with self._running:
                self._running.kill()
            if self.room.host.here:
                self._socket.unlink(missing_ok=True)

    def _maker(self, program: str, *, maria: bool) -> list[str]:
        """Return the command that makes a server's directory, with a `root` that needs no password."""
        if not maria:
            return [program, "--no-defaults", "--initialize-insecure"]
        maker = scratch.find_program(
            self.room.host, ("mariadb-install-db", "mysql_install_db"), self._places, hint=_HINT
        )  # both are scripts of MariaDB's
        return [maker, "--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", _SMALL_LOG]

    def _install(self, maker: list[str], home: Path, user: str | None) -> None:
        argv = [*maker, f"--datadir={home / 'data'}", f"--tmpdir={home}", *_FAST, *self._taken_over(NAMES_CASE)]
        done = scratch.run_as(self.room.host, argv, user=user, cwd=home, env=_environment(), timeout=_START_SECONDS * 3)
        if done.code != 0:
            raise SourceError(
                "the scratch server could not be made", self.name, _why(done), hint="see the disk and its rights"
            )

    def _options(self, home: Path, *, maria: bool) -> list[str]:
        memory = scratch.memory_of(self.room.host)
        sized = "--innodb-log-file-size=512M" if maria else "--innodb-redo-log-capacity=1G"
        return [
            "--no-defaults", f"--datadir={home / 'data'}", f"--socket={self._socket}", f"--pid-file={home / 'pid'}",
            f"--log-error={home / 'error.log'}", f"--secure-file-priv={home}", f"--tmpdir={home}",
            f"--innodb-buffer-pool-size={min(memory // 4, _LARGEST_POOL)}", sized,
            "--max-allowed-packet=1G", *_FAST, *_QUIET, *self._taken_over("" if self._captured_from() else NAMES_CASE),
        ]  # fmt: skip

    def _encrypting(self, home: Path, user: str | None) -> list[str]:
        """Return the options with which tables can be encrypted: by keys that are thrown away with the server."""
        keys = "".join(f"{number};{secrets.token_hex(32)}\n" for number in range(1, 256))
        path = str(home / "keys")
        done = self.room.host.run(script(_KEEP, path, user or ""), stdin=keys.encode("ascii"))
        if done.code != 0:
            raise SourceError(f"{path} cannot be written", self.name, done.last_words, hint="see its disk")
        return ["--plugin-load-add=file_key_management", f"--file-key-management-filename={path}"]

    def _needs(self) -> tuple[str, ...]:
        captured = self.captured()
        return captured.needs if captured else ()

    def _taken_over(self, prefix: str) -> list[str]:
        """Return the captured server's settings that decide what a dump becomes: those that begin so."""
        needs = self._needs()
        pairs = [need.removeprefix("setting ").partition("=") for need in needs if need.startswith(f"setting {prefix}")]
        return [f"--{name.replace('_', '-')}={value}" for name, _, value in pairs]

    def _captured_from(self) -> str:
        """Return what kind of server the databases were captured from: "MariaDB", "MySQL", or nothing known."""
        captured = self.captured()
        return captured.server.partition(" ")[0] if captured else ""

    def _program(self, *names: str, maria: bool) -> str:
        """Return a program of the kind of server that was captured; MySQL's have the second name only."""
        found = programs.find(self.room.host, names if maria else names[1:], self._places, maria=maria)
        if found is None:
            kind = "MariaDB" if maria else "MySQL"
            raise SourceError(
                f"the databases were captured from {kind}, and its program {names[0] if maria else names[1]} is not"
                f" on {self.room.host.name}", self.name,
                hint=f"install the {kind} server there (its service need not run), or name its directory with `bin`",
            )  # fmt: skip
        return found

    def _reach(self, *, maria: bool) -> Server:
        return Server(
            where=self.name,
            host=self.room.host,
            client=self._program(*CLIENTS, maria=maria),
            dump=self._program(*DUMPS, maria=maria),
            login=("--no-defaults", f"--socket={self._socket}", "--user=root"),
            env={"MYSQL_PWD": ""},
        )

    def _responds(self) -> bool:
        assert self._server is not None  # noqa: S101 - set by `provision`
        argv = self._server.client_argv("--execute=SELECT 1")
        try:
            return self._server.host.run(argv, env=self._server.env, timeout=_ANSWER_SECONDS).code == 0
        except TimeoutExpiredError:  # on a busy host; the server has longer to start than one question takes
            return False


def _environment() -> dict[str, str]:
    """What a server of another user may know: nothing of ours."""
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


def _why(done: Done) -> str:
    """Return what a server says before it gives up; its last word is only that it does."""
    lines = (done.stdout + b"\n" + done.stderr).decode("utf-8", "replace").splitlines()
    errors = [line.strip() for line in lines if "ERROR" in line and not line.rstrip().endswith("Aborting")]
    return "".join(c if c.isprintable() else "?" for c in errors[-1])[-300:] if errors else done.last_words
