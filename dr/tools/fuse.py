"""FUSE on this machine: whether it can be used, whether something is mounted at a path, and how that is taken away.

The kernel's own table is asked, never the path: to look at a mount that nobody serves any more fails, or hangs.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from dr.errors import MachineError
from dr.tools import command

#: restic starts it by this name, and so do we.
PROGRAM = "fusermount"
DEVICE = "/dev/fuse"
_TABLE = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(rb"\\([0-7]{3})")
_SECONDS = 30.0


def require_fuse() -> None:
    """Raise `MachineError` unless the program and the device that a mount needs are here."""
    without = "without a mount, `dr recover SYSTEM --path PATH --to DIR` brings back single files"
    if shutil.which(PROGRAM) is None:
        raise MachineError(
            f"a mount needs the program `{PROGRAM}`, which is not on this machine",
            hint=f"install it (on Debian: apt-get install fuse3); {without}",
        )
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise MachineError(
            "a mount needs FUSE, whose device cannot be opened",
            DEVICE,
            error.strerror or "",
            hint=f"load it as root with `modprobe fuse`, or give this container the device; {without}",
        ) from error


def is_mounted(at: Path) -> bool:
    """Whether the kernel lists a mount at a path, which must be absolute and without links."""
    wanted = os.fsencode(at)
    lines = (line.split(b" ") for line in _TABLE.read_bytes().splitlines())
    return any(len(fields) > 4 and _unescaped(fields[4]) == wanted for fields in lines)


def unmount(at: Path) -> None:
    """Take away what is mounted at a path, also while somebody looks at it. Nothing where nothing is.

    Raises `MachineError` where it is still there afterwards.
    """
    if not is_mounted(at):
        return
    done = command.run([PROGRAM, "-u", "-z", str(at)], timeout=_SECONDS, regardless=True)
    if is_mounted(at):
        raise MachineError(
            "what is mounted here cannot be unmounted", str(at), done.last_words, hint=f"as root, type: umount -l {at}"
        )


def _unescaped(field: bytes) -> bytes:
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 8) & 0xFF]), field)
