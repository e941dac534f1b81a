"""The machine: its class, which the times of a drill are true for, its name, and the memory that is left there."""

from __future__ import annotations

import functools
import os
import platform
import re
from pathlib import Path


@functools.cache
def describe_machine() -> str:
    """Return cores, memory and system in words, without any name of the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        system = platform.system()
    return in_words(os.cpu_count() or 1, memory, system, platform.machine())


@functools.cache
def machine_name() -> str:
    """Return this host's name as a tag can bear it."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", platform.node())[:64] or "unnamed"


def in_words(cores: int, memory: int, system: str, kind: str) -> str:
    """Return the class of a machine in words; `memory` in bytes."""
    size = f"{memory / 2**30:.0f} GiB memory"
    return ", ".join((f"{cores} core{'s' * (cores > 1)}", size, system, kind))


def memory_available() -> int:
    """Return the bytes of memory that programs can still take on this machine; 0 where nobody says."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return 0
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    words = found.get("MemAvailable", "0").split()
    return int(words[0]) * 1024 if words and words[0].isdecimal() else 0
