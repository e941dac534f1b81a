"""A throw-away WebDAV server of rclone on 127.0.0.1, and a configuration of rclone that leads to it."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from .owned import dying_with_us
from .ports import own_ports


def rclone_program() -> str:
    """Return the program: that of this environment, else the machine's."""
    beside = Path(sys.executable).parent / "rclone"
    return str(beside) if beside.exists() else shutil.which("rclone") or "rclone"


class RcloneServer:
    """The server; a context that starts and ends it. Its objects are plain files below `files`."""

    def __init__(self, home: Path) -> None:
        self.home, self.files, self.config = home, home / "files", home / "rclone.conf"
        (self.port,) = own_ports(1)
        self.password = secrets.token_urlsafe(12)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.files.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.config.write_text(self.section("far", self.port, self.password) + self.section("gone", 9, self.password))
        self.config.chmod(0o600)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def section(self, name: str, port: int, password: str) -> str:
        """Return a remote, as a configuration has it."""
        argv = [rclone_program(), "obscure", "-"]
        hidden = subprocess.run(argv, input=password, capture_output=True, text=True, check=True).stdout.strip()
        url = f"http://127.0.0.1:{port}"
        return f"[{name}]\ntype = webdav\nvendor = other\nurl = {url}\nuser = backup\npass = {hidden}\n"

    def start(self) -> None:
        """Start it and wait until it answers."""
        env = {"RCLONE_USER": "backup", "RCLONE_PASS": self.password, "HOME": str(self.home), "RCLONE_CONFIG": ""}
        argv = [rclone_program(), "serve", "webdav", str(self.files), "--addr", f"127.0.0.1:{self.port}"]
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*dying_with_us(), *argv], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 10):
                return
            time.sleep(0.02)
        raise RuntimeError(f"rclone does not serve: {(self.home / 'log').read_text()[-500:]}")

    def kill(self) -> None:
        """End it, at once. May be called twice."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
