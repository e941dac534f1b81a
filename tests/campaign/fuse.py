"""A fuse: a server's client program that ends, or ends its caller by force, before it passes a given statement on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

#: It is started for every question that a recovery asks: with no more than it needs, in a third of the time.
_PROGRAM = '''#!{python} -IS
"""Passes its input on line by line, counts the lines of all that are called so, and blows at one."""
import fcntl, os, sys

place, caller = os.path.dirname(os.path.realpath(__file__)), os.getppid()
argv = ["setpriv", "--pdeathsig", "KILL", "--", {real!r}, *sys.argv[1:]]
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    try:
        os.dup2(reading, 0)
        os.execvp(argv[0], argv)
    finally:
        os._exit(127)
os.close(reading)
with open(place + "/blows") as file:
    how, at = file.read().split(" ", 1)


def count():
    with open(place + "/count", "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        number = int(file.read()) + 1
        file.seek(0)
        file.write(str(number))
        return number


for line in iter(sys.stdin.buffer.readline, b""):
    number = count()
    if line.startswith(at.encode()) if not at.isdigit() else number == int(at):
        os.kill(child, 9)
        if how == "killed":
            os.kill(caller, 9)
        sys.exit(1)
    try:
        while line:
            line = line[os.write(writing, line) :]
    except BrokenPipeError:
        break
os.close(writing)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
'''


class Fuse:
    """A directory of programs in which the client is such a fuse, and all the others are what they are."""

    def __init__(self, place: Path, client: Path) -> None:
        self.place = place
        place.mkdir()
        for program in client.parent.iterdir():
            if program.name.startswith(("mariadb", "mysql", "pg_", "psql", "postgres", "initdb")):
                (place / program.name).symlink_to(program)
        (place / client.name).unlink()
        (place / client.name).write_text(_PROGRAM.format(python=sys.executable, real=str(client)))
        (place / client.name).chmod(0o755)
        self.set(0, "refused")

    def set(self, at: int | str, how: Literal["refused", "killed"]) -> None:
        """Blow at a line, counted from now on (at 0, never), or at the first that begins so."""
        (self.place / "count").write_text("0")
        (self.place / "blows").write_text(f"{how} {at}")

    @property
    def blown(self) -> bool:
        """Whether the line has come."""
        return self.passed >= int((self.place / "blows").read_text().split()[1])

    @property
    def passed(self) -> int:
        """How many lines came by since it was set."""
        return int((self.place / "count").read_text())
