"""A secret that a plan names, read from where it lies: as restic reads it, or not at all (`dr.plan.secret`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dr.errors import RefusedError
from dr.plan.on_disk import why_no_file, why_unreadable
from dr.tools import command

if TYPE_CHECKING:
    from dr.plan.secret import SecretPlace


def variable(name: str) -> str:
    """Return an environment variable; `RefusedError` when it is not set."""
    value = os.environ.get(name, "")
    if not value:
        raise RefusedError(
            f"the environment variable {name} is not set", hint=f"set {name}, or name another place for the secret"
        )
    return value


def read_secret(declared: SecretPlace, where: str) -> str:
    """Return a secret from the place a plan names, without white space around it; of a command's output its first line.

    `RefusedError` when it is missing or empty, or when restic would read another secret there.
    """
    if declared.env:
        data, named = os.fsencode(variable(declared.env)), f"the environment variable {declared.env}"
    elif declared.credential:
        data, named = _credential(declared.credential, where), f"the credential {declared.credential}"
    elif declared.file:
        data, named = _file(declared.file, where), f"the secret file {declared.file}"
    else:
        data, named = _output(declared.command or (), where), "what the command for the secret prints"
    problem, hint = why_unreadable(data)
    if problem:
        raise RefusedError(f"{named} {problem}", where, hint=hint)
    return data.decode("utf-8").strip()


def _credential(name: str, where: str) -> bytes:
    """Return what systemd left for this service under a name; see systemd.exec(5), "CREDENTIALS"."""
    place = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not place:
        hint = "start it by the units that `dr systemd` prints, or set CREDENTIALS_DIRECTORY to where its file is"
        raise RefusedError(f"systemd gave no credential {name}", where, hint=hint)
    return _file(Path(place, name), where)


def _file(path: Path, where: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        _, hint = why_no_file(path, "make it, with mode 0600")
        raise RefusedError(
            f"the secret file {path} cannot be read", where, error.strerror or "", hint=hint or "see its disk"
        ) from error


def _output(argv: Sequence[str], where: str) -> bytes:
    done = command.run(argv, timeout=60)
    if done.code != 0:
        raise RefusedError(
            f"the command for the secret failed with exit code {done.code}", where, hint="run it by hand"
        )
    return done.stdout.strip().partition(b"\n")[0]
