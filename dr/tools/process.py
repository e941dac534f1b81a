"""Processes told apart: by number, boot and start time, so that a number used again is not mistaken.

And found by the places they work in, so that nothing goes on in a place that is to be removed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

_PATIENCE_SECONDS = 5.0


def me() -> str:
    """Return the name of this process, which no other ever has."""
    return _name(os.getpid())


def alive(name: str) -> bool:
    """Whether the process of that name still runs, on this boot of this machine."""
    number = name.split(":")[0]
    return number.isdecimal() and _name(int(number)) == name


def _name(number: int) -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        stat = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return f"{number}:gone:0"
    fields = stat.rpartition(")")[2].split()
    return f"{number}:{boot}:{'0' if fields[0] == 'Z' else fields[19]}"


def at_work_in(places: Collection[Path]) -> list[int]:
    """Return the processes, but this one and its parents, that work in (current directory) any of these places."""
    tops = [os.fsencode(os.path.realpath(place)) for place in places]
    ours = _lineage()
    return [
        number
        for number in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
        if number not in ours and any(_below(_cwd(number), top) for top in tops)
    ]


def end_all_in(places: Collection[Path]) -> int:
    """End every process at work in these places (SIGKILL), and wait until they are gone; return how many there were."""
    deadline, ended = time.monotonic() + _PATIENCE_SECONDS, set()
    while places and (found := at_work_in(places)):
        for number in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(number, signal.SIGKILL)
        ended |= set(found)
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return len(ended)


def _cwd(number: int) -> bytes:
    try:
        return os.fsencode(Path(f"/proc/{number}/cwd").readlink())
    except OSError:  # ended, a zombie, or another user's
        return b""


def _below(path: bytes, top: bytes) -> bool:
    path = path.removesuffix(b" (deleted)")
    return path == top or path.startswith(top + b"/")


def _lineage() -> set[int]:
    """This process and those that started it: a shell that stands in the place is not to be ended."""
    found, number = set(), os.getpid()
    while number > 1 and number not in found:
        found.add(number)
        try:
            stat = Path(f"/proc/{number}/stat").read_text()
        except OSError:
            break
        number = int(stat.rpartition(")")[2].split()[1])
    return found
