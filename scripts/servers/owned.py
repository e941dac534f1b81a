"""What throw-away servers leave behind when their program is killed: nothing that stays.

A server ends with the thread that started it, and a folder in `TMPDIR` (or `/tmp`) that no living program has locked is
removed by the next that asks for one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

_MARK = "own-"
#: Bytes of the name of a place in which a socket of a server still has room for its own.
_LONGEST = 40
#: So old is a folder at least that is taken for left behind: in between its maker locks it.
_FRESH_SECONDS = 60.0
_locks: list[int] = []


def own_folder(prefix: str) -> Path:
    """Make a folder with a short path, ours as long as this process lives; the caller removes it."""
    _sweep()
    made = Path(tempfile.mkdtemp(prefix=f"{_MARK}{prefix}", dir=_top()))
    _locks.append(os.open(made, os.O_RDONLY | os.O_CLOEXEC))
    fcntl.flock(_locks[-1], fcntl.LOCK_EX)
    return made


def _top() -> Path:
    """Return `TMPDIR` where its name is short and every user gets in, as those of servers must; else `/tmp`."""
    named = Path(os.environ.get("TMPDIR") or "/tmp").absolute()
    if not named.is_dir() or len(os.fsencode(named)) > _LONGEST:
        return Path("/tmp")
    return named if all(place.stat().st_mode & 0o001 for place in (named, *named.parents)) else Path("/tmp")


def dying_with_us(signal: str = "KILL") -> list[str]:
    """Return the command that stands before a server's, so that it ends with the thread that starts it."""
    program = shutil.which("setpriv")
    return [program, "--pdeathsig", signal, "--"] if program else []


def _sweep() -> None:
    """Remove the folders whose makers are gone."""
    for folder in _top().glob(f"{_MARK}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime < _FRESH_SECONDS:
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
