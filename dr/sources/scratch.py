"""Scratch servers: a database server of a drill's own, thrown away with it.

It runs in an annex (a directory with a short path), listens on a unix socket there and nowhere else, and as
an unprivileged user also when we are root: database servers refuse to run as root. It ends with the thread
that started it, however that ends.
"""

from __future__ import annotations

import os
import pwd
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dr.errors import SourceError
from dr.tools import command

#: Who a scratch server runs as when we are root, first found.
_USERS = ("postgres", "mysql", "nobody")


def service_user(*preferred: str) -> str | None:
    """Return the user for a scratch server: one of `preferred` or of the usual; None when we are not root."""
    if os.geteuid() != 0:
        return None
    for name in (*preferred, *_USERS):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise SourceError("there is no unprivileged user for a scratch server", hint="add the user `nobody`")


def hand_over(place: Path, user: str | None) -> None:
    """Give a directory to the user of a scratch server, and to nobody else."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if user:
        found = pwd.getpwnam(user)
        os.chown(place, found.pw_uid, found.pw_gid)


def find_program(names: Sequence[str], places: Sequence[Path], *, hint: str) -> str:
    """Return the first program found: in `places` first, then on the PATH. Raises `SourceError`."""
    for name in names:
        for place in places:
            if os.access(place / name, os.X_OK):
                return str(place / name)
        if found := shutil.which(name):
            return found
    raise SourceError(f"the program {' or '.join(names)} is not on this machine", hint=hint)


def wait_until(answers: Callable[[], bool], running: command.Running, *, seconds: float, what: str, log: Path) -> None:
    """Wait until a scratch server answers. Raises `SourceError` with its last words when it ends or does not."""
    deadline = time.monotonic() + seconds
    while not answers():
        command.raise_if_stopping()
        if running.ended() or time.monotonic() > deadline:
            why = "ended" if running.ended() else f"did not answer within {seconds:g} s"
            raise SourceError(f"the scratch {what} {why}", cause=_last_words(log), hint="see the disk and its log")
        time.sleep(0.05)


def _last_words(log: Path) -> str:
    try:
        lines = log.read_text("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return "".join(c if c.isprintable() else "?" for c in lines[-1])[:300] if lines else ""
