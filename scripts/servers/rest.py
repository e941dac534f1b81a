"""A throw-away REST server of restic on 127.0.0.1, with one login; append-only where that is asked for."""

from __future__ import annotations

import base64
import hashlib
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from .owned import dying_with_us
from .ports import own_ports

_ROOT = Path(__file__).parents[2]


class RestServer:
    """The server; a context that starts and ends it. Its objects are plain files below `files`."""

    def __init__(self, home: Path, *options: str) -> None:
        self.home, self.files, self._options = home, home / "files", options
        self.user, self.password = "backup", secrets.token_urlsafe(12)
        (self.port,) = own_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.files.mkdir(mode=0o700, parents=True, exist_ok=True)
        digest = base64.b64encode(hashlib.sha1(self.password.encode()).digest()).decode()
        (self.home / "htpasswd").write_text(f"{self.user}:{{SHA}}{digest}\n")
        (self.home / "password").write_text(f"{self.password}\n")
        (self.home / "password").chmod(0o600)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """Its address."""
        return f"{'https' if '--tls' in self._options else 'http'}://127.0.0.1:{self.port}"

    @property
    def login(self) -> dict[str, object]:
        """What a target names to log in."""
        return {"user": self.user, "password": {"file": str(self.home / "password")}}

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = _ROOT / ".tools" / "rest-server" / "rest-server"
        found = str(program) if program.exists() else shutil.which("restic-rest-server") or shutil.which("rest-server")
        if not found:
            raise RuntimeError("there is no rest-server here: scripts/get-rest-server")
        argv = [found, "--path", self.files, "--listen", f"127.0.0.1:{self.port}"]
        argv += ["--htpasswd-file", self.home / "htpasswd", *self._options]
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*dying_with_us(), *map(str, argv)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 10):
                return
            time.sleep(0.02)
        raise RuntimeError(f"the rest-server does not start: {(self.home / 'log').read_text()[-500:]}")

    def kill(self) -> None:
        """End it, at once. May be called twice."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
