"""Which restic is used, and its version.

What `DR_RESTIC` names, else the machine's where it is new enough, else the one that `scripts/get-restic` brought: into
the repository, or into the private environment of a package (see scripts/deb).
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from dr.errors import DrError
from dr.tools import command

OLDEST = (0, 18, 0)
#: Where this program's own restic may be: the repository, or the environment of a package (see scripts/deb).
_HOMES = (Path(__file__).parents[2], Path(sys.prefix))


def find_restic(env: Mapping[str, str], project: Path | None = None) -> str:
    """Return the restic to use: `DR_RESTIC`, else the machine's when new enough, else the project's own.

    Raises `DrError` with the way to get one when there is none of at least 0.18.0, or the named one is older.
    """
    homes = (project,) if project else _HOMES
    if named := env.get("DR_RESTIC"):
        if (found := version(named)) < OLDEST:
            raise DrError(
                f"the restic that DR_RESTIC names is {'.'.join(map(str, found))}, and 0.18.0 or newer is needed",
                named,
                hint=f"name a newer one, or unset DR_RESTIC and {_way_to_restic(homes)}",
            )
        return named
    own = (path for home in homes for path in sorted(home.glob(".tools/restic-*/restic")))
    for candidate in ["restic", *map(str, own)]:
        with suppress(DrError):
            if version(candidate) >= OLDEST:
                return candidate
    raise DrError(
        "restic 0.18.0 or newer is not on this machine",
        hint=f"{_way_to_restic(homes)}, or name one in DR_RESTIC",
    )


def _way_to_restic(homes: Iterable[Path]) -> str:
    """Return what to do for a restic: with the script that brings one, where this program came with it."""
    scripts = (home / "scripts" / "get-restic" for home in homes)
    brings = next((f"run {script}, or " for script in scripts if script.is_file()), "")
    return f"{brings}install restic 0.18.0 or newer with the system's packages"


@functools.cache
def version(program: str) -> tuple[int, ...]:
    """Return a restic's version, like (0, 18, 0). Asked once a process."""
    done = command.run([program, "version"], timeout=30)
    found = re.search(rb"restic (\d+)\.(\d+)\.(\d+)", done.stdout)
    if not found:
        raise DrError(f"{program} does not say its version", hint="check that it is restic")
    return tuple(int(part) for part in found.groups())
