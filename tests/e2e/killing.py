"""Loaded by the program under test: it is killed at the nth step of putting files back, and finds another disk there.

`KILL_AT` is the number of the step; with `ANOTHER_DISK` what was restored lies on another file system than its place.
Where that is another host, a step is a walk into a folder there; with `SPOIL` what is sent there arrives as something
else, and with `LINK_AT` a folder there is a link when the walk of that number comes. With `CUT` the connection is lost
at the first try of some scripts there: `NAME:before` it runs, or `NAME:after`, so that nobody hears of it.
"""

from __future__ import annotations

import errno
import itertools
import os
import signal
from typing import Any

from dr.run.recovery import put_back_here, put_back_there
from dr.run.recovery.place import put_back_scripts
from dr.tools import retry

_STEPS = ("rename", "link", "fsync", "open", "chmod")
_steps = itertools.count(1)


class _Os:
    """The module `os` for `dr.run.recovery.put_back_here`."""

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


_cut: set[str] = set()
#: Ends the connection from its other end: the first of our parents there that is of sshd.
_HANG_UP = """p=$$; while [ "$p" -gt 1 ]; do p=$(ps -o ppid= -p "$p" | tr -d " ");
case "$(ps -o comm= -p "$p")" in sshd*) kill -9 "$p"; break;; esac; done; sleep 60;""".replace("\n", " ")


class _Time:
    """The module `time` for `dr.tools.retry`: nobody waits."""

    def sleep(self, seconds: float) -> None:
        """Do not."""


put_back_here.os = _Os()  # type: ignore[assignment, attr-defined]


def _walking(*arguments: Any) -> Any:
    step = str(next(_steps))
    if os.environ.get("KILL_AT") == step:
        os.kill(os.getpid(), signal.Signals[f"SIG{os.environ.get('KILL_WITH', 'KILL')}"])
    if os.environ.get("LINK_AT") == step:
        folder = os.environ["LINKED"]
        os.rename(folder, f"{folder}.moved")
        os.symlink(f"{folder}.moved", folder)
    argv = walking(*arguments)
    for cut in os.environ.get("CUT", "").split():
        name, _, when = cut.partition(":")
        if cut not in _cut and argv[2].endswith(getattr(put_back_scripts, name).replace("\n", " ")):
            _cut.add(cut)
            argv[2] = f"{_HANG_UP} {argv[2]}" if when == "before" else f"( {argv[2]} ); {_HANG_UP}"
    return argv


def _write(pipe: Any, data: Any) -> int:
    if "SPOIL" in os.environ:
        data = bytes(data).replace(b"of the point", b"of the joint")
    return write(pipe, data)


if "CUT" in os.environ:
    retry.time = _Time()  # type: ignore[assignment, attr-defined]
walking, write = put_back_there.walking, put_back_there._Pipe.write
put_back_there.walking = _walking  # type: ignore[assignment]
put_back_there._Pipe.write = _write  # type: ignore[method-assign]
