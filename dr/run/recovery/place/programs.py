"""Programs run on what was restored, for checks: on this machine, or on the host it was restored to."""

from __future__ import annotations

import os
import random
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from dr.errors import DrError
from dr.tools import command
from dr.tools import http as web
from dr.tools.command import Done
from dr.tools.host import Host, Process, ThisHost, own_environment, script
from dr.tools.http import Answer
from dr.tools.isolation import Isolated, within

_KEPT_ENV = ("PATH", "HOME", "LANG", "TMPDIR", "TZ")
_MORE_SECONDS = 60.0  # than an answer may take, for a program that asks to start on a busy machine
_PORTS = range(20_000, 30_000)  # below those that systems give away by themselves

_TAKE = """
umask 077; mkdir -p -- "${1%/*}" && cat >"$1" && chmod 700 -- "$1";
"""
#: $1 the address, $2 seconds, $3 a file for the answer, at most a megabyte of which is told. First the status.
_FETCH = """
umask 077; mkdir -p -- "${3%/*}"; rm -f -- "$3"; s=000;
if command -v curl >/dev/null; then
s=$(curl -sS --noproxy "*" -m "$2" -o "$3" -w "%{http_code}" -- "$1"); r=$?; [ "$r" = 0 ] || s=000;
elif command -v wget >/dev/null; then
wget -S --no-proxy --max-redirect=0 --content-on-error -t 1 -T "$2" -O "$3" -- "$1" 2>"$3.said"; r=$?;
s=$(sed -n "s|^ *HTTP/[0-9.]* \\([0-9]*\\).*|\\1|p" "$3.said" | tail -n 1);
[ -n "$s" ] || sed -n "\\$p" "$3.said" >&2; rm -f -- "$3.said";
else echo "neither curl nor wget is there" >&2; exit 127; fi;
echo "${s:-000}"; [ -f "$3" ] && head -c 1048576 -- "$3"; rm -f -- "$3"; exit "$r";
"""


#: So many bytes of what a program prints are kept.
LONGEST = 128 * 1024


class ProgramRunner(Protocol):
    """Where a plan's own programs run."""

    def environment(self) -> Mapping[str, str]:
        """Return what they get of this machine's environment."""

    def program(self, path: Path) -> str:
        """Return how a program that lies on this machine, beside the plan, is called there."""

    def run(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout: float) -> Done:
        """Run one to its end. Of more than `LONGEST` bytes of output the first and the last half of that are kept."""

    def start(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> Process:
        """Start one that serves."""

    def free_port(self) -> int:
        """Return a port of the loopback there that nobody listens on now."""

    def is_taken(self, port: int) -> bool:
        """Whether somebody listens on a port of the loopback there."""

    def fetch(self, url: str, *, seconds: float) -> Answer:
        """Return the answer to a GET made there."""


class WorksHere:
    """This machine, or what is isolated on it. Programs get a short list of its environment, and no secret."""

    def __init__(self, host: Host | None = None) -> None:
        self._host = host or ThisHost()

    def environment(self) -> Mapping[str, str]:
        """See `ProgramRunner`."""
        return {key: os.environ[key] for key in _KEPT_ENV if key in os.environ}

    def program(self, path: Path) -> str:
        """See `ProgramRunner`."""
        return str(path)

    def run(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout: float) -> Done:
        """See `ProgramRunner`."""
        with command.Running(argv, env=env, cwd=cwd, timeout=timeout, within=within(self._host, cwd)) as process:
            return _to_the_end(process)

    def start(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> Process:
        """See `ProgramRunner`."""
        return command.Running(argv, env=env, cwd=cwd, within=within(self._host, cwd))

    def free_port(self) -> int:
        """See `ProgramRunner`."""
        return web.free_port()

    def is_taken(self, port: int) -> bool:
        """See `ProgramRunner`. What is isolated has a loopback that nobody else is on."""
        return not isinstance(self._host, Isolated) and web.is_taken(port)

    def fetch(self, url: str, *, seconds: float) -> Answer:
        """See `ProgramRunner`. Where programs are isolated, one of ours asks among them."""
        if not isinstance(self._host, Isolated):
            return web.fetch(url, seconds=seconds)
        argv = [sys.executable, "-m", web.__name__, url, f"{seconds:g}"]
        done = self._host.run(argv, env=own_environment(), timeout=seconds + _MORE_SECONDS)
        return web.read(done.stdout) if done.code == 0 else Answer(None, problem=done.last_words or "no answer")


def _to_the_end(process: Process) -> Done:
    """Read what a program prints until it ends, without keeping all of it: a log may be longer than memory is."""
    first, last, count = bytearray(), bytearray(), 0
    while block := process.read():
        count += len(block)
        room = LONGEST // 2 - len(first)
        first += block[:room]
        last += block[room:]
        del last[: -LONGEST // 2]
    left_out = count - len(first) - len(last)
    between = f"\n[{left_out} bytes left out]\n".encode() if left_out else b""
    return replace(process.finish(), stdout=bytes(first + between + last))


class WorksThere:
    """Another host, with its own environment. `place` is a directory there that goes with the sandbox."""

    def __init__(self, host: Host, place: Path) -> None:
        self._host, self._place = host, place

    def environment(self) -> Mapping[str, str]:
        """See `ProgramRunner`."""
        return {}

    def program(self, path: Path) -> str:
        """See `ProgramRunner`: it is brought there. Raises `DrError` when it is not beside the plan."""
        there = self._place / "programs" / path.name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DrError(
                f"the program {path.name!r} is not beside the plan", cause=error.strerror or "",
                hint="correct its name, or name one that is on the drill's host by its whole path",
            ) from error  # fmt: skip
        done = self._host.run(script(_TAKE, str(there)), stdin=content)
        if done.code != 0:
            raise DrError(
                f"the program {path.name!r} cannot be brought to {self._host.name}", cause=done.last_words,
                hint="free some space there",
            )  # fmt: skip
        return str(there)

    def run(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout: float) -> Done:
        """See `ProgramRunner`."""
        with self._host.start(argv, env=env, cwd=str(cwd), timeout=timeout) as process:
            return _to_the_end(process)

    def start(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> Process:
        """See `ProgramRunner`."""
        return self._host.start(argv, env=env, cwd=str(cwd), standing=True)

    def free_port(self) -> int:
        """See `ProgramRunner`."""
        taken = self._ports()
        return random.choice([port for port in _PORTS if port not in taken])  # noqa: S311 - hides nothing

    def is_taken(self, port: int) -> bool:
        """See `ProgramRunner`."""
        return port in self._ports(listening=True)

    def _ports(self, *, listening: bool = False) -> set[int]:
        table = self._host.run(script("cat /proc/net/tcp /proc/net/tcp6 2>/dev/null; exit 0;")).stdout
        state = rb"0A " if listening else rb""
        return {int(port, 16) for port in re.findall(rb":([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} " + state, table)}

    def fetch(self, url: str, *, seconds: float) -> Answer:
        """See `ProgramRunner`: by curl or wget, whichever is there. Raises `DrError` when neither is."""
        answer = str(self._place / "answer")
        argv = script(_FETCH, url, f"{max(1, round(seconds))}", answer)
        done = self._host.run(argv, timeout=seconds + 30)
        if done.code == 127:
            raise DrError(f"neither curl nor wget is on {self._host.name}", hint="install one of them there")
        first, _, body = done.stdout.partition(b"\n")
        if not first.isdigit() or not 100 <= int(first) <= 599:
            return Answer(None, problem=done.last_words or "no answer")
        return Answer(int(first), body.decode("utf-8", "replace"))
