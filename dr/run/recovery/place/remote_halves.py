"""Files that are being made in a live place on another host: written down here before, so that they are found.

A shell there walks into the folder step by step and stays in it, as one on this host holds a folder open: a link that
somebody puts on the way meanwhile is not followed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from dr.errors import DrError
from dr.late_dataclass import dataclass
from dr.plan.host import SshHost
from dr.run.recovery.place.remote_dirs import HALF_RECORD
from dr.sources.hosts import open_host
from dr.tools.command import Done
from dr.tools.host import Host, script

#: What a walk ends with where it does not arrive.
A_LINK, NO_FOLDER, NO_TOP, SHUT = 81, 82, 83, 84
_CLEAR_SECONDS = 3600.0
#: From $1, the folder above what is declared, into the folder $2 below it; what remains are the arguments.
_WALK = """
top=$1; way=$2; shift 2; cd -P -- "${top%/}/" 2>/dev/null || exit 83;
while [ -n "$way" ]; do
d=${way%%/*}; case "$way" in */*) way=${way#*/};; *) way=;; esac;
[ -n "$d" ] || continue;
if [ -L "./$d" ]; then exit 81; fi;
[ -d "./$d" ] || exit 82;
was=$(pwd -P && echo x); was=${was%?x}; cd -P -- "./$d" || exit 84;
now=$(pwd -P && echo x); now=${now%?x}; [ "$now" = "${was%/}/$d" ] || exit 81;
done;
"""
_REMOVE = 'rm -f -- "$@";'


@dataclass(frozen=True)
class Folder:
    """A folder on another host: `path`, and the `top` from which on no link is followed."""

    top: bytes
    path: bytes

    @property
    def way(self) -> bytes:
        """From the top to it."""
        return self.path[len(self.top.rstrip(b"/")) :].strip(b"/")


def walking(folder: Folder, text: str, *arguments: str) -> list[str]:
    """Return the command that walks into a folder and runs a script there."""
    return script(_WALK + text, os.fsdecode(folder.top), os.fsdecode(folder.way), *arguments)


def remove(host: Host, folder: Folder, names: Sequence[str]) -> Done:
    """Remove files of ours from a folder, also when we were asked to stop."""
    return host.run(walking(folder, _REMOVE, *names), timeout=_CLEAR_SECONDS, regardless=True)


class FarHalves:
    """The files that one recovery is making on another host, written down in its local sandbox."""

    def __init__(self, local: Path) -> None:
        self._record = local / HALF_RECORD
        self._ours = re.compile(rf"\.{re.escape(local.name)}\.\d+\.(?:new|old)")

    def note(self, declared: SshHost, folder: Folder, names: Sequence[str]) -> None:
        """Write down what is being made. Raises `OSError`."""
        body = {
            "host": declared.model_dump_json(), "top": os.fsdecode(folder.top), "path": os.fsdecode(folder.path),
            "names": list(names),
        }  # fmt: skip
        with self._record.open("w", encoding="ascii") as file:
            json.dump(body, file)
            file.flush()
            os.fsync(file.fileno())

    def done(self) -> None:
        """Forget it: nothing is half made any more."""
        self._record.unlink(missing_ok=True)

    def declared(self) -> SshHost | None:
        """Return the host written down; None where nothing is."""
        return found[0] if (found := self._read()) else None

    def clear(self) -> None:
        """Remove what is half made. May be called again. Raises `DrError` when the host cannot be reached."""
        if (found := self._read()) is None:
            return
        declared, folder, names = found
        host = open_host(declared)
        try:
            done = remove(host, folder, names)
        except DrError as error:
            raise self._left(host, folder, str(error)) from error
        if done.code not in (0, A_LINK, NO_FOLDER, NO_TOP):
            raise self._left(host, folder, done.last_words)
        self.done()

    def _left(self, host: Host, folder: Folder, reason: str) -> DrError:
        return DrError(
            f"half of a file that was being put back on {host.name} could not be removed", os.fsdecode(folder.path),
            reason,
            hint=f"the next recovery in place tries again; by hand: rm .{self._record.parent.name}.* in that folder",
        )  # fmt: skip

    def _read(self) -> tuple[SshHost, Folder, list[str]] | None:
        """Return the host, the folder and the names; only names of ours, whatever the file says."""
        try:
            body = json.loads(self._record.read_text("ascii"))
            folder = Folder(os.fsencode(body["top"]), os.fsencode(body["path"]))
            names = [name for name in body["names"] if self._ours.fullmatch(name)]
            return SshHost.model_validate_json(body["host"]), folder, names
        except (OSError, ValueError, KeyError, TypeError, ValidationError):
            return None
