"""Where a secret is read from, and how. A plan names places, never secrets.

There is one reading: what restic makes of a passphrase file. White space around the secret does not count, and what
restic and this program would read otherwise is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from dr.plan.base import ConfigPath, Declaration, Name

#: What an editor may put before a text, and nobody sees: UTF-8, UTF-16.
_MARKS = (b"\xef\xbb\xbf", b"\xfe\xff", b"\xff\xfe")
_LINE_ENDS = "\n\v\f\r\x85\u2028\u2029"


def why_unreadable(data: bytes) -> tuple[str, str]:
    """Return why nothing can be read as a secret from these bytes, and what to do; two empty texts when it can.

    Quotes nothing of them.
    """
    if data.startswith(_MARKS):
        return "begins with a byte order mark, which is not part of a passphrase", "write it again without the mark"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return "is not text in UTF-8", "write the secret again, as plain text"
    secret = text.strip()
    if not secret:
        return "is empty", "put the secret on its first line"
    if any(end in secret for end in _LINE_ENDS):
        return "holds several lines, which restic takes for one passphrase", "leave the secret's own line alone in it"
    if any(ord(each) < 32 and each != "\t" and each not in _LINE_ENDS for each in text) or "\x7f" in text:
        return "holds a control character", "write the secret again, as plain text"
    return "", ""


def why_open(path: Path) -> tuple[str, str]:
    """Return who else than its owner may read a file or write it, and what to do; two empty texts for nobody."""
    try:
        mode = path.stat().st_mode & 0o777
    except OSError:
        return "", ""
    if not mode & 0o077:
        return "", ""
    who = "everybody here" if mode & 0o007 else "its group"
    return f"{path} is open to {who} (mode {mode:04o})", f"close it with `chmod 600 {path}`"


class SecretPlace(Declaration):
    """Where a secret is read from: give exactly one of the four. The secret itself is never in a plan."""

    file: Annotated[
        ConfigPath | None,
        Field(
            description="File that holds the secret, in one line of UTF-8 text, readable by its owner alone "
            "(mode 0600). Default: none; give exactly one of the four.",
            examples=["/etc/dr/secrets/sis"],
        ),
    ] = None
    credential: Annotated[
        Name | None,
        Field(
            description="Name of a credential that systemd hands to the service (`LoadCredential=`), as the units of "
            "`dr systemd` do, from CONFIG/secrets/NAME. Default: none; give exactly one of the four.",
            examples=["sis"],
        ),
    ] = None
    env: Annotated[
        str | None,
        Field(
            description="Name of the environment variable that holds the secret. Default: none; give exactly one of "
            "the four.",
            examples=["SIS_PASSPHRASE"],
        ),
    ] = None
    command: Annotated[
        tuple[str, ...] | None,
        Field(
            description="Program with its arguments that prints the secret. Default: none; give exactly one of the "
            "four.",
            examples=[["pass", "show", "backup/sis"]],
        ),
    ] = None

    @model_validator(mode="after")
    def _one(self) -> SecretPlace:
        if sum(x is not None for x in (self.file, self.credential, self.env, self.command)) != 1:
            raise ValueError("give exactly one of file, credential, env or command")
        return self
