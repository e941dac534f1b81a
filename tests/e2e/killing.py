"""Loaded by the program under test: it is killed at the nth step of putting files back, and finds another disk there.

`KILL_AT` is the number of the step; with `ANOTHER_DISK` what was restored lies on another file system than its place.
"""

from __future__ import annotations

import errno
import itertools
import os
import signal
from typing import Any

from dr.run.recovery import put_back

_STEPS = ("rename", "link", "fsync", "open", "chmod")
_steps = itertools.count(1)


class _Os:
    """The module `os` for `dr.run.recovery.put_back`."""

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in _STEPS:
            return real

        def step(*arguments: Any, **named: Any) -> Any:
            if os.environ.get("KILL_AT") == str(next(_steps)):
                os.kill(os.getpid(), signal.Signals[f"SIG{os.environ.get('KILL_WITH', 'KILL')}"])
            if name == "rename" and "ANOTHER_DISK" in os.environ and "src_dir_fd" not in named:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            if name == "link" and "NO_LINKS" in os.environ:
                raise OSError(errno.EPERM, os.strerror(errno.EPERM))
            return real(*arguments, **named)

        return step


put_back.os = _Os()  # type: ignore[assignment, attr-defined]
