"""Which restic is used, and its version.

What `DR_RESTIC` names, else the machine's where it is new enough, else the one that `scripts/get-restic` brought: into
the repository, or into the private environment of a package (see scripts/deb).
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from dr.errors import CatalogError, DrError
from dr.tools import command

OLDEST = (0, 18, 0)
#: Where this program's own restic may be: the repository, or the environment of a package (see scripts/deb).
_HOMES = (Path(__file__).parents[2], Path(sys.prefix))


class Memory(Protocol):
    """Keeps texts by `PATH\\nSTAMP`, one for each path."""

    def get(self, key: str) -> str | None:
        """Return one; None where none is kept under that stamp."""

    def put_all(self, items: Mapping[str, str]) -> None:
        """Keep more."""


def find_restic(env: Mapping[str, str], project: Path | None = None, *, memory: Memory | None = None) -> str:
    """Return the restic to use: `DR_RESTIC`, else the machine's when new enough, else the project's own.

    With a `memory` a program that was asked for its version before is not asked again; see `version`.

    Raises `DrError` with the way to get one when there is none of at least 0.18.0, or the named one is older.
    """
    homes = (project,) if project else _HOMES
    if named := env.get("DR_RESTIC"):
        if (found := version(named, memory)) < OLDEST:
            raise DrError(
                f"the restic that DR_RESTIC names is {'.'.join(map(str, found))}, and 0.18.0 or newer is needed",
                named,
                hint=f"name a newer one, or unset DR_RESTIC and {_way_to_restic(homes)}",
            )
        return named
    own = (path for home in homes for path in sorted(home.glob(".tools/restic-*/restic")))
    for candidate in ["restic", *map(str, own)]:
        with suppress(DrError):
            if version(candidate, memory) >= OLDEST:
                return candidate
    raise DrError(
        "restic 0.18.0 or newer is not on this machine",
        hint=f"{_way_to_restic(homes)}, or name one in DR_RESTIC",
    )


def named_where(path: str, env: Mapping[str, str]) -> str | None:
    """Return what `DR_RESTIC` must name where PATH is `path`, for the restic that is used here to be used there too.

    None where it is found there without: on that PATH, or beside this program.

    Raises `DrError` when there is none here.
    """
    found = find_restic(env)
    if not env.get("DR_RESTIC") and (found != "restic" or shutil.which(found, path=path) == shutil.which(found)):
        return None
    return str(Path(shutil.which(found) or found).absolute())


def _way_to_restic(homes: Iterable[Path]) -> str:
    """Return what to do for a restic: with the script that brings one, where this program came with it."""
    scripts = (home / "scripts" / "get-restic" for home in homes)
    brings = next((f"run {script}, or " for script in scripts if script.is_file()), "")
    return f"{brings}install restic 0.18.0 or newer with the system's packages"


def version(program: str, memory: Memory | None = None) -> tuple[int, ...]:
    """Return a restic's version, like (0, 18, 0). Asked once a process, and with a `memory` once for each build.

    A build is known by its file, which nobody changes without a new time of change; a script may start any program, and
    is asked each time.
    """
    build = "" if memory is None else _build_of(program)
    if memory is None or not build:
        return _asked(program)
    if kept := memory.get(build):
        return tuple(map(int, kept.split(".")))
    found = _asked(program)
    with suppress(CatalogError):  # on a full disk, say, it is asked again the next time
        memory.put_all({build: ".".join(map(str, found))})
    return found


def _build_of(program: str) -> str:
    """Return what tells the file of a program from any other, as a key of a memory; "" for what is no binary."""
    path = shutil.which(program)
    try:
        with Path(path or "").open("rb") as file:
            status, beginning = os.fstat(file.fileno()), file.read(4)
    except OSError:
        return ""
    stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return f"{path}\n{'-'.join(map(str, stamp))}" if beginning == b"\x7fELF" else ""


@functools.cache
def _asked(program: str) -> tuple[int, ...]:
    done = command.run([program, "version"], timeout=30)
    found = re.search(rb"restic (\d+)\.(\d+)\.(\d+)", done.stdout)
    if not found:
        raise DrError(f"{program} does not say its version", hint="check that it is restic")
    return tuple(int(part) for part in found.groups())
