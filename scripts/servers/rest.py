"""A throw-away REST server of restic on 127.0.0.1, with one login; append-only where that is asked for."""

from __future__ import annotations

import base64
import hashlib
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from .listening import Listening

_ROOT = Path(__file__).parents[2]


class RestServer(Listening):
    """The server, with options of its own, such as `--append-only`."""

    name = "the rest-server"

    def __init__(self, home: Path, *options: str) -> None:
        super().__init__(home)
        self._options = options
        self.user, self.password = "backup", secrets.token_urlsafe(12)

    @property
    def url(self) -> str:
        """Its address."""
        return f"{'https' if '--tls' in self._options else 'http'}://127.0.0.1:{self.port}"

    @property
    def login(self) -> dict[str, object]:
        """What a target names to log in."""
        return {"user": self.user, "password": {"file": str(self.home / "password")}}

    def prepare(self) -> None:
        """See `Listening`: its login, and the file that a target names for it."""
        digest = base64.b64encode(hashlib.sha1(self.password.encode()).digest()).decode()
        (self.home / "htpasswd").write_text(f"{self.user}:{{SHA}}{digest}\n")
        (self.home / "password").write_text(f"{self.password}\n")
        (self.home / "password").chmod(0o600)

    def command(self) -> tuple[Sequence[str], Mapping[str, str] | None]:
        """See `Listening`."""
        program = _ROOT / ".tools" / "rest-server" / "rest-server"
        found = str(program) if program.exists() else shutil.which("restic-rest-server") or shutil.which("rest-server")
        if not found:
            raise RuntimeError("there is no rest-server here: scripts/get-rest-server")
        argv = [found, "--path", str(self.files), "--listen", f"127.0.0.1:{self.port}"]
        return [*argv, "--htpasswd-file", str(self.home / "htpasswd"), *self._options], None
