"""Another host with a home of its own, and a place for programs that come before those of the machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

from dr.tools.agent import PLACE
from dr.tools.digest import sha256_file
from dr.tools.ssh import Login, SshHost
from scripts.servers.sshd import Sshd


def login(server: Sshd, **more: object) -> Login:
    """All that it takes to reach a server, but for what is said otherwise."""
    base = Login(host=server.host, user=server.user, port=server.port, known_hosts=server.known_hosts, key=server.key)
    return replace(base, **more)


class Far(Sshd):
    """A throw-away sshd whose sessions have `user_home` as their home and `bin` first on their PATH."""

    def __init__(self, place: Path) -> None:
        self.user_home, self.bin = place / "home", place / "bin"
        for folder in (self.user_home, self.bin):
            folder.mkdir(parents=True)
        path = f"{self.bin}:/usr/local/bin:/usr/bin:/bin"
        super().__init__(place / "sshd", env={"HOME": str(self.user_home), "PATH": path, "LEFT_ALONE": "yes"})

    def hold(self, restic: str) -> Self:
        """Have restic there, as after a first time: to bring it takes a second."""
        held = self.user_home / PLACE / f"restic-{sha256_file(restic)[0][:16]}"
        held.parent.mkdir(mode=0o700, parents=True)
        shutil.copy(restic, held)
        return self

    def program(self, name: str, text: str) -> None:
        """Put a shell script before the machine's program of that name."""
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def plain(self) -> None:
        """Take the scripts away."""
        for path in self.bin.iterdir():
            path.unlink()

    def plan_host(self, mode: str = "agent") -> str:
        """The plan's key `host`."""
        return f"host: {{ssh: '{self.address}', known_hosts: {self.known_hosts}, key: {self.key}, mode: {mode}}}\n"


@contextmanager
def reached(far: Far) -> Iterator[SshHost]:
    """A connection to it."""
    host = SshHost(login(far))
    yield host
    host.close()


def seen(mark: str) -> list[str]:
    """The command lines on this machine, which is both hosts, with the mark in them; not our own."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if mark in line:
                found.append(line)
    return found


def command_lines() -> str:
    """All command lines on this machine but our own."""
    return "\n".join(seen(""))
