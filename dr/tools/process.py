"""Processes told apart: by number, boot and start time, so that a number used again is not mistaken."""

from __future__ import annotations

import os
from pathlib import Path


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
