"""A throw-away WebDAV server of rclone on 127.0.0.1, and a configuration of rclone that leads to it."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .listening import Listening


def rclone_program() -> str:
    """Return the program: that of this environment, else the machine's."""
    beside = Path(sys.executable).parent / "rclone"
    return str(beside) if beside.exists() else shutil.which("rclone") or "rclone"


class RcloneServer(Listening):
    """The server; its `config` has the remote `far`, which leads to it, and `gone`, where nobody listens."""

    name = "rclone"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.config = home / "rclone.conf"
        self.password = secrets.token_urlsafe(12)

    def prepare(self) -> None:
        """See `Listening`: the configuration."""
        self.config.write_text(self.section("far", self.port, self.password) + self.section("gone", 9, self.password))
        self.config.chmod(0o600)

    def section(self, name: str, port: int, password: str) -> str:
        """Return a remote, as a configuration has it."""
        argv = [rclone_program(), "obscure", "-"]
        hidden = subprocess.run(argv, input=password, capture_output=True, text=True, check=True).stdout.strip()
        url = f"http://127.0.0.1:{port}"
        return f"[{name}]\ntype = webdav\nvendor = other\nurl = {url}\nuser = backup\npass = {hidden}\n"

    def command(self) -> tuple[Sequence[str], Mapping[str, str] | None]:
        """See `Listening`."""
        env = {"RCLONE_USER": "backup", "RCLONE_PASS": self.password, "HOME": str(self.home), "RCLONE_CONFIG": ""}
        return [rclone_program(), "serve", "webdav", str(self.files), "--addr", f"127.0.0.1:{self.port}"], env
