"""A throw-away MariaDB server: on a unix socket in a short directory, and gone with its context."""

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
from typing import Any, Self

from .owned import own_folder

DAEMON = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
ADMIN = ("--no-defaults", "--user=root", "--default-character-set=utf8mb4")


class MariadbServer:
    """A server in a directory of its own. `home` gets its log; `options` are more for the server."""

    daemon = DAEMON or "mariadbd"
    program = "mariadb"
    #: Returns what makes a data directory.
    make_program: Callable[[], str] = staticmethod(lambda: "mariadb-install-db")
    options: tuple[str, ...] = (
        "--no-defaults", "--skip-networking", "--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=0",
        "--innodb-doublewrite=0", "--loose-debug-no-sync", "--innodb-buffer-pool-size=256M",
        "--performance-schema=OFF", "--character-set-server=utf8mb4",
    )  # fmt: skip

    def __init__(self, home: Path, *options: str) -> None:
        self.home, self._options = home, options
        self.base = own_folder("m-")
        self.socket = self.base / "s"
        self.passwords: dict[str, str] = {}
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.base.chmod(0o755)
        if os.geteuid() == 0:
            found = pwd.getpwnam("mysql")
            os.chown(self.base, found.pw_uid, found.pw_gid)
        try:
            self._install()
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self.base, ignore_errors=True)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        argv = [
            self.daemon, *self.options, f"--datadir={self.base}/data", f"--socket={self.socket}",
            f"--pid-file={self.base}/pid", f"--tmpdir={self.base}", *self._options,
        ]  # fmt: skip
        with (self.home / "mariadb.log").open("ab") as log:
            self._child = subprocess.Popen(
                self._as_user(argv), cwd=self.base, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 120
        while not (self.socket.exists() and self._answers()):
            assert self._child.poll() is None and time.monotonic() < deadline, "the test server did not start"
            time.sleep(0.05)

    def _answers(self) -> bool:
        return not subprocess.run(self.client("-e", "SELECT 1"), capture_output=True, check=False).returncode

    def kill(self) -> None:
        """End it as a power cut would. May be called twice."""
        if self._child:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
            self._child = None

    def client(self, *arguments: str) -> list[str]:
        """The command line of its client, as administrator."""
        return [self.program, *ADMIN, f"--socket={self.socket}", *arguments]

    def sql(self, text: str | bytes, database: str = "") -> list[list[str]]:
        """Carry out a script and return what it shows, row by row."""
        done = subprocess.run(
            self.client(
                "--binary-mode", "--batch", "--skip-column-names", *([f"--database={database}"] if database else [])
            ),
            input=text.encode() if isinstance(text, str) else text,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
        return [line.split("\t") for line in done.stdout.decode("utf-8", "replace").splitlines()]

    def account(self, name: str, password: str, *grants: str) -> None:
        """Make an account with a password and rights ("SELECT ON *.*")."""
        self.sql(f"CREATE USER `{name}`@`localhost` IDENTIFIED BY '{password}'")
        for grant in grants:
            self.sql(f"GRANT {grant} TO `{name}`@`localhost`")

    def declared(self, **more: Any) -> dict[str, Any]:
        """What a plan says to reach it."""
        return {"socket": str(self.socket), "user": "root", **more}

    def connections(self) -> int:
        """How many are connected, without ourselves."""
        return int(self.sql("SELECT COUNT(*) - 1 FROM information_schema.PROCESSLIST WHERE COMMAND <> 'Daemon'")[0][0])

    def _install(self) -> None:
        argv = [
            self.make_program(), "--no-defaults", f"--datadir={self.base}/data", "--skip-test-db",
            "--auth-root-authentication-method=normal", f"--tmpdir={self.base}",
        ]  # fmt: skip
        done = subprocess.run(self._as_user(argv), cwd=self.base, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace")

    def _as_user(self, argv: list[str]) -> list[str]:
        death = ["setpriv", "--pdeathsig", "KILL"]
        if os.geteuid() != 0:
            return [*death, "--", *argv]
        return [*death, "--reuid=mysql", f"--regid={pwd.getpwnam('mysql').pw_gid}", "--init-groups", "--", *argv]
