"""A throw-away OpenSSH server on 127.0.0.1: own host key, one user key, and all that a client must know.

It lets in the user who runs it, with that key alone; so it works with and without root.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from .owned import dying_with_us
from .ports import own_ports

_HOST = "127.0.0.1"
_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {home}/host_key
AuthorizedKeysFile {home}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
UseDNS no
MaxStartups 100
MaxSessions 100
Subsystem sftp internal-sftp
KexAlgorithms -sntrup*
SetEnv {env}
{more}
"""


class Sshd:
    """The server; a context that starts it and ends it with every session. `more` is added to its configuration.

    Sessions have a home of their own, and what `env` adds: the start-up files of who runs the server are not read.
    Those may print, put other programs first, or take a tenth of a second of processor time for each command. Nor does
    `ssh` make a key against quantum computers, which takes as long.
    """

    host = _HOST
    as_user: str | None = None  # who runs it, when root starts it for another; then that user alone is let in

    def __init__(self, home: Path, *, more: str = "", env: Mapping[str, str] | None = None) -> None:
        self.home, self.user, self._more = home, getpass.getuser(), more
        self.env = {"HOME": str(home / "user"), **(env or {})}
        (self.port,) = own_ports(1)
        self.key, self.known_hosts = home / "user_key", home / "known_hosts"
        self._listener: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_key(self.home / "host_key")
        make_key(self.key)
        shutil.copyfile(f"{self.key}.pub", self.home / "authorized_keys")
        self.known_hosts.write_text(self.known_line())
        (self.home / "user").mkdir(mode=0o700, exist_ok=True)
        env = " ".join(f"{name}={value}" for name, value in self.env.items())
        (self.home / "sshd_config").write_text(_CONFIG.format(port=self.port, home=self.home, env=env, more=self._more))
        if os.geteuid() == 0:  # without root it asks for none
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def address(self) -> str:
        """`user@host:port`, as a plan writes it."""
        return f"{self.user}@{self.host}:{self.port}"

    def known_line(self) -> str:
        """The line of `known_hosts` for its host key."""
        kind, blob, *_ = (self.home / "host_key.pub").read_text().split()
        return f"[{self.host}]:{self.port} {kind} {blob}\n"

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if not program:
            raise RuntimeError("sshd is not on this machine: install openssh-server")
        before: list[str] = []
        if self.as_user:
            subprocess.run(["chown", "-R", self.as_user, self.home], check=True)
            before = ["setpriv", f"--reuid={self.as_user}", "--clear-groups", "--"]
        with (self.home / "sshd.log").open("ab") as log:
            self._listener = subprocess.Popen(
                [*before, *dying_with_us(), program, "-D", "-e", "-f", str(self.home / "sshd_config")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if self._listener is None or self._listener.poll() is not None:
                break
            with suppress(OSError), socket.create_connection((self.host, self.port), 10) as answer:
                if answer.recv(4) == b"SSH-":
                    return
            time.sleep(0.02)
        raise RuntimeError(f"sshd does not start: {(self.home / 'sshd.log').read_text()[-500:]}")

    def sessions(self) -> list[int]:
        """The processes of the server itself that serve connections; not what they have started."""
        return [pid for pid in _below(self._listener.pid) if _name(pid).startswith("sshd")] if self._listener else []

    def signal_sessions(self, number: signal.Signals) -> int:
        """Send a signal to every session; return how many there were."""
        pids = self.sessions()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return len(pids)

    def kill(self) -> None:
        """End it and every connection, at once. May be called twice."""
        if self._listener is None:
            return
        self._listener.send_signal(signal.SIGSTOP)  # so that it starts no session meanwhile
        self.signal_sessions(signal.SIGKILL)
        self._listener.kill()
        self._listener.wait()
        self._listener = None

    def restart(self) -> None:
        """End it and start it again, on the same port."""
        self.kill()
        self.start()

    def change_host_key(self) -> None:
        """Give it another host key, as a reinstalled or impersonated host has it; `known_hosts` stays."""
        for name in ("host_key", "host_key.pub"):
            (self.home / name).unlink()
        make_key(self.home / "host_key")
        self.restart()


def make_key(path: Path, *, kind: str = "ed25519", passphrase: str = "") -> None:
    """Make a key pair."""
    argv = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "a throw-away key", "-f", str(path)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def _below(top: int) -> list[int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found, waiting = [], [top]
    while waiting:
        parent = waiting.pop()
        children = [pid for pid, of in parents.items() if of == parent]
        found += children
        waiting += children
    return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
