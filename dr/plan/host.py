"""Another host, reached over SSH, on which a system's sources lie. Nothing of ours is installed there."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dr.plan.base import ConfigPath, Declaration, Duration

_ADDRESS = re.compile(r"(?:([^@\s:,/]+)@)?(\[[0-9a-fA-F:.]+\]|[^@\s:,/\[\]]+)(?::(\d{1,5}))?")

#: How a source on another host is captured. `stream`: its dump program's output comes through the channel
#: (files: by SFTP). `agent`: restic runs there and sends straight to the target.
Mode = Literal["stream", "agent", "sftp"]


def split_address(text: str) -> tuple[str | None, str, int]:
    """Return user, host and port of `user@host:port`. Raises `ValueError` in plain words."""
    found = _ADDRESS.fullmatch(text.strip())
    if not found or not 0 < int(found[3] or 22) < 65536:
        raise ValueError(f"{text!r} is no address: write it as user@host or user@host:port")
    return found[1], found[2].strip("[]"), int(found[3] or 22)


def _address(text: str) -> str:
    split_address(text)
    return text.strip()


def _jumps(text: str) -> str:
    for part in text.split(","):
        split_address(part)
    return text


class SshHost(Declaration):
    """Another host: its address, how it is known, who we are there, and how sources are captured.

    `known_hosts` is a file in OpenSSH's format (default: the user's own); a host that is not in it is
    refused. `key` is a private key's file; without it the keys of the running SSH agent are used.
    `jump` is a host to go through (`ProxyJump`), or several with commas between.
    """

    ssh: Annotated[str, AfterValidator(_address)]
    known_hosts: ConfigPath | None = None
    key: ConfigPath | None = None
    jump: Annotated[str, AfterValidator(_jumps)] | None = None
    mode: Mode = "stream"
    connect_timeout: Annotated[Duration, Field(gt=0)] = 15
    keepalive: Annotated[Duration, Field(gt=0)] = 15
    at_once: Annotated[int, Field(ge=1, le=64)] = 4
