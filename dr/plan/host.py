"""Another host, reached over SSH, on which a system's sources lie. Nothing of ours is installed there."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dr.plan.base import ConfigPath, Count, Declaration, PositiveDuration

_ADDRESS = re.compile(r"(?:([^@\s:,/]+)@)?(\[[0-9a-fA-F:.]+\]|[^@\s:,/\[\]]+)(?::(\d{1,5}))?")

#: How a source on another host is captured. `stream`: its dump program's output comes through the channel
#: (files: by SFTP). `agent`: restic runs there and sends straight to the target.
Mode = Literal["stream", "agent", "sftp"]

#: The key `known_hosts` of whatever is reached over SSH.
KNOWN_HOSTS = Field(
    description="File with the host's public key, in OpenSSH's format. A host that is not in the file is "
    "refused. Default: ~/.ssh/known_hosts of the user who runs dr.",
    examples=["/etc/dr/known_hosts"],
)


def split_address(text: str) -> tuple[str | None, str, int]:
    """Return user, host and port of `user@host:port`. Raises `ValueError` in plain words."""
    found = _ADDRESS.fullmatch(text.strip())
    if not found or not 0 < int(found[3] or 22) < 65536:
        raise ValueError(f"{text!r} is not an address: write it as user@host or user@host:port")
    return found[1], found[2].strip("[]"), int(found[3] or 22)


def _address(text: str) -> str:
    split_address(text)
    return text.strip()


def _jumps(text: str) -> str:
    for part in text.split(","):
        split_address(part)
    return text


class SshHost(Declaration):
    """Another host, reached over SSH with keys, never with passwords."""

    ssh: Annotated[
        str,
        AfterValidator(_address),
        Field(
            description="The host's address: USER@HOST, or USER@HOST:PORT where the port is not 22.",
            examples=["backup@sis.district.example"],
        ),
    ]
    known_hosts: Annotated[ConfigPath | None, KNOWN_HOSTS] = None
    key: Annotated[
        ConfigPath | None,
        Field(
            description="File with the private key to log in with. Default: the keys of the running SSH agent.",
            examples=["/etc/dr/secrets/id_ed25519"],
        ),
    ] = None
    jump: Annotated[
        Annotated[str, AfterValidator(_jumps)] | None,
        Field(
            description="Host to connect through (OpenSSH's ProxyJump); several are separated by commas. Default: "
            "connect directly.",
            examples=["gate@edge.district.example"],
        ),
    ] = None
    mode: Annotated[
        Mode,
        Field(
            description="How sources on this host are captured. `stream`: its dump programs run there and their output "
            "comes through the connection; files come by SFTP. `agent`: restic runs there and sends straight to an s3 "
            "or rest target. `sftp`: files only. Not allowed for a drill's host."
        ),
    ] = "stream"
    connect_timeout: Annotated[
        PositiveDuration,
        Field(description="How long to wait for a connection before the host counts as unreachable.", examples=["30s"]),
    ] = 15
    keepalive: Annotated[
        PositiveDuration,
        Field(
            description="How often a silent connection is asked whether it still works. After three times without an "
            "answer it counts as lost.",
            examples=["30s"],
        ),
    ] = 15
    at_once: Annotated[
        Count,
        Field(
            ge=1,
            le=64,
            description="How many programs and file transfers may run on the host at the same time. Keep it below "
            "sshd's MaxSessions (10 unless set).",
            examples=[8],
        ),
    ] = 4
