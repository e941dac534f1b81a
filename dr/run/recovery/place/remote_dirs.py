"""What a drill makes on another host, written down here before it is made there: so that it is found and removed.

The record lies in the drill's local sandbox. Its first line says which host, and how it is reached; each line after
it is a directory there, of ours by its name.
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from dr.errors import DrError
from dr.tools.host import script

if TYPE_CHECKING:
    from dr.plan.host import SshHost

RECORD = ".far"
#: Beside it, what is being made in a live place there: `dr.run.recovery.place.remote_halves`.
HALF_RECORD = ".far-half"
_OURS = re.compile(r"/(?:[^/\0]+/)*dr-[a-z]+-[0-9a-f]{16}")
_CLEAR_SECONDS = 3600.0

_MAKE = 'umask 077; mkdir -- "$1";'
#: Ends every process that works there, and removes the places.
_CLEAR = """
for t in 1 2 3 4 5 6 7 8 9 10; do
found=;
for p in /proc/[0-9]*; do
c=$(readlink "$p/cwd" 2>/dev/null) || continue; c="${c% (deleted)}";
for d in "$@"; do case "$c" in "$d"|"$d"/*) found="$found ${p#/proc/}";; esac; done; done;
[ -n "$found" ] || break;
kill -s KILL $found 2>/dev/null; sleep 0.2 2>/dev/null || sleep 1; done;
left=0;
for d in "$@"; do
rm -rf -- "$d" 2>/dev/null || { chmod -R u+rwx -- "$d" 2>/dev/null; rm -rf -- "$d"; };
if [ -e "$d" ] || [ -L "$d" ]; then left=1; fi; done;
exit "$left";
"""


class FarPlaces:
    """The directories of one drill on another host, written down in the local sandbox `local`."""

    def __init__(self, local: Path) -> None:
        self._record = local / RECORD

    def begin(self, declared: SshHost) -> None:
        """Write down the host."""
        self._write(declared.model_dump_json())

    def make(self, home: str, kind: str) -> Path:
        """Return a new directory below `home` there, open to its owner alone."""
        from dr.sources.hosts import open_host

        path = f"{home.rstrip('/')}/dr-{kind[:8]}-{secrets.token_hex(8)}"
        self._write(path)
        host = open_host(self.declared())
        done = host.run(script(_MAKE, path))
        if done.code != 0:
            raise DrError(
                f"a place for the drill cannot be made on {host.name}", path, done.last_words,
                hint="free some space there, or name another place in its TMPDIR",
            )  # fmt: skip
        return Path(path)

    def declared(self) -> SshHost | None:
        """Return the host written down; None where nothing was."""
        return self._read()[0]

    def clear(self) -> None:
        """End what runs in the places, and remove them. Also when we were asked to stop; may be called again.

        Raises `DrError` when the host cannot be reached, or something stays.
        """
        declared, places = self._read()
        if declared is None or not places:
            return
        from dr.sources.hosts import open_host

        host = open_host(declared)
        try:
            done = host.run(script(_CLEAR, *places), timeout=_CLEAR_SECONDS, regardless=True)
        except DrError as error:
            raise self._left(places, host.name, str(error)) from error
        if done.code != 0:
            raise self._left(places, host.name, done.last_words)

    def _left(self, places: list[str], host: str, reason: str) -> DrError:
        return DrError(
            f"what a drill left on {host} could not be removed; it holds restored data", ", ".join(places), reason,
            hint=f"the next drill tries again; when that host is gone for good, remove {self._record.parent}",
        )  # fmt: skip

    def _write(self, line: str) -> None:
        try:
            with os.fdopen(os.open(self._record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
                file.write(f"{line}\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DrError(
                "what is to be made on another host cannot be written down", str(self._record), error.strerror or "",
                hint="see the rights and the free space of the state directory",
            ) from error  # fmt: skip

    def _read(self) -> tuple[SshHost | None, list[str]]:
        """Return the host and the places; only paths of ours, whatever the file says."""
        from dr.plan.host import SshHost

        try:
            first, *rest = self._record.read_text("utf-8").splitlines()
            return SshHost.model_validate_json(first), [line for line in rest if _ours(line)]
        except (OSError, ValueError):
            return None, []


def _ours(path: str) -> bool:
    return _OURS.fullmatch(path) is not None and ".." not in path.split("/")
