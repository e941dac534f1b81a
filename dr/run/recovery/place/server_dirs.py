"""Server directories: directories of a drill outside its sandbox, for scratch servers.

A server runs as another user, who may not enter the private state directory, and its unix socket's path
must be short (108 bytes at most). Each annex is written down before it is made, so that whoever destroys
the sandbox, also after a crash, finds it, ends what still runs there, and removes it.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from dr.errors import DrError
from dr.tools import process

RECORD = ".annexes"
_LONGEST = 40  # bytes of the place's own path: leaves room for a socket's name


class ServerDirs:
    """The annexes of one sandbox or recovery, written down in the file `record`; below `home`, where that suits."""

    def __init__(self, record: Path, home: Path | None = None) -> None:
        self._record = record
        #: Where they are made.
        self.home = home_for(home)

    def make(self, kind: str, *, at: Path | None = None) -> Path:
        """Return a new directory, open to its owner alone, `at` some place or at home.

        Raises `DrError` when it cannot be made.
        """
        path = (at or self.home) / f"dr-{kind[:8]}-{secrets.token_hex(4)}"
        try:
            with self._record.open("a", encoding="utf-8") as file:
                file.write(f"{path}\n")
                file.flush()
                os.fsync(file.fileno())
            path.mkdir(mode=0o700)
        except OSError as error:
            raise DrError(
                "a place for a scratch server cannot be made",
                str(path),
                error.strerror or "",
                hint="free some space there, or name another place in TMPDIR",
            ) from error
        return path

    def places(self) -> list[Path]:
        """Return the annexes that were written down; only paths of ours, whatever the file says."""
        try:
            lines = self._record.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return []
        return [path for path in map(Path, lines) if path.is_absolute() and path.name.startswith("dr-")]


def home_for(named: Path | None) -> Path:
    """Return where directories for servers are made: where it was named, if that suits."""
    return named if named and _suits(named) else _usual_home()


def _suits(home: Path) -> bool:
    """Whether servers can lie there: sockets have room for their names, and other users are let in on the way."""
    resolved = home.resolve()
    if len(os.fsencode(resolved)) > _LONGEST or not os.access(resolved, os.W_OK):
        return False
    return os.geteuid() != 0 or all(each.stat().st_mode & 0o001 for each in (resolved, *resolved.parents))


def _usual_home() -> Path:
    """Return a place on a disk where any user may be let in; `TMPDIR` when its path is short enough."""
    named = os.environ.get("TMPDIR", "")
    if named and len(os.fsencode(named)) <= _LONGEST and Path(named).is_dir():
        return Path(named)
    return next((path for path in (Path("/var/tmp"), Path("/tmp")) if os.access(path, os.W_OK)), Path("/tmp"))  # noqa: S108 - names are random, directories 0700


def vacate(root: Path, places: list[Path]) -> int:
    """End every process that works in a sandbox or its annexes; return how many there were."""
    return process.end_all_in([place for place in (root, *places) if place.is_dir()])
