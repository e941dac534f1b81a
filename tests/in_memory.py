"""Where tests write: in memory, where there is room for it.

restic, SQLite and `dr` wait for the disk after each file that must last, and a suite makes many thousands of them.
Nothing here needs to last, so a disk in memory does. Where there is none, or too little memory, pytest's own place
on the disk serves as well; `--basetemp` names another.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from dr.run.workspace.machine import memory_available

_SHARED = Path("/dev/shm")
_MARK = "pytest-mem-"  # no name that a test excludes
_TEMPORARY = "tests-"  # a directory below it still has a short path, as sockets of servers need
#: Bytes that must be free of the disk and of the memory: four times what the suite was seen to hold at once.
NEEDED = 4 << 30


def folder_in_memory(shared: Path = _SHARED, needed: int = NEEDED) -> Path | None:
    """Return a folder for this run, removing those of runs that were killed; None where there is no room."""
    try:
        status = os.statvfs(shared)
    except OSError:
        return None
    free = min(status.f_bavail * status.f_frsize, memory_available())
    if free < needed or status.f_flag & os.ST_NOEXEC or not os.access(shared, os.W_OK):
        return None
    for mark in (_MARK, _TEMPORARY):
        for left in shared.glob(f"{mark}*"):
            process = left.name.removeprefix(mark)
            if process.isdigit() and not Path("/proc", process).exists():
                shutil.rmtree(left, ignore_errors=True)
    return shared / f"{_MARK}{os.getpid()}"


def temporary_beside(folder: Path) -> Path:
    """Make the `TMPDIR` of a run beside its folder: any user gets in, as servers do, and sockets have room in its name.

    To copy the directory of a database server costs many times the processor time on a disk, and each drill makes one.
    """
    made = folder.with_name(f"{_TEMPORARY}{folder.name.removeprefix(_MARK)}")
    made.mkdir()
    made.chmod(0o1777)
    return made
