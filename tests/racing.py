"""restic with something done just before it walks a tree, and just after: races that happen each time."""

from __future__ import annotations

import shlex
from pathlib import Path

#: A backup of data does it once; all else is restic as it is.
_SCRIPT = """#!/bin/sh
case " $* " in *" backup "*) ;; *) exec {restic} "$@";; esac
if [ -f {before} ]; then mv {before} {before}.done; sh -e {before}.done || exit 99; fi
{restic} "$@"; code=$?
if [ -f {after} ]; then mv {after} {after}.done; sh -e {after}.done || exit 99; fi
exit $code
"""


class Race:
    """A program to be called in restic's place. `before` and `after` are what a shell does, once, around one backup."""

    def __init__(self, folder: Path, restic: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.program, self._before, self._after = folder / "restic", folder / "before", folder / "after"
        names = {"restic": restic, "before": self._before, "after": self._after}
        self.program.write_text(_SCRIPT.format(**{key: shlex.quote(str(name)) for key, name in names.items()}))
        self.program.chmod(0o755)

    def run(self, before: str, after: str = ":") -> None:
        """Do this around the next backup."""
        self._before.write_text(before)
        self._after.write_text(after)
