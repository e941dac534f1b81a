"""A secret that a plan names, read from where it lies."""

from __future__ import annotations

import os

from dr.errors import RefusedError
from dr.plan.secret import SecretPlace
from dr.tools import command


def variable(name: str) -> str:
    """Return an environment variable; `RefusedError` when it is not set."""
    value = os.environ.get(name, "")
    if not value:
        raise RefusedError(
            f"the environment variable {name} is not set", hint=f"set {name}, or name another place for the secret"
        )
    return value


def read_secret(declared: SecretPlace, where: str) -> str:
    """Return a secret from the place a plan names; `RefusedError` when it is missing or empty."""
    if declared.env:
        return variable(declared.env)
    if declared.file:
        try:
            text = declared.file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise RefusedError(
                f"the secret file {declared.file} cannot be read", where, reason, hint="make it, with mode 0600"
            ) from error
    else:
        done = command.run(declared.command or (), timeout=60)
        if done.code != 0:
            raise RefusedError(
                f"the command for the secret failed with exit code {done.code}", where, hint="run it by hand"
            )
        text = done.stdout.decode("utf-8", "replace")
    line = text.strip("\r\n").split("\n")[0].strip()
    if not line:
        raise RefusedError("the secret is empty", where, hint="put the passphrase on its first line")
    return line
