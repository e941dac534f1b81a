"""The target kinds that are reached by restic's other backends, as they are declared."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from dr.plan.base import ConfigPath, PositiveDuration
from dr.plan.found import Found, kept_file, no_file
from dr.plan.host import split_address
from dr.plan.target_kind import TargetKind


def _address(text: str) -> str:
    split_address(text)
    return text.strip()


def _absolute(text: str) -> str:
    """Return a path of another host, as it is spelled shortest; refuse what restic and a reader would take otherwise.

    Raises `ValueError`.
    """
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is not absolute: begin it with /")
    if not text.isprintable() or ".." in text.split("/"):
        raise ValueError(f"{text!r} is not one place to all who read it: leave out `..` and control characters")
    return posixpath.normpath("/" + text.lstrip("/"))


class SftpPlace(TargetKind):
    """A directory of another host, reached over SSH with a key, never with a password. Needs `ssh` on this host."""

    key: ClassVar = "sftp"
    noun: ClassVar = "directory of another host"
    about: ClassVar = "A directory of another host, over SSH."
    example: ClassVar = {"ssh": "backup@vault.district.example", "path": "/srv/dr"}
    medium: ClassVar = "disk"
    is_reached_from_elsewhere: ClassVar = False  # by its key file, which is on this host alone
    address_key: ClassVar = "ssh"

    ssh: Annotated[
        str,
        AfterValidator(_address),
        Field(
            description="The host's address: USER@HOST, or USER@HOST:PORT where the port is not 22.",
            examples=["backup@vault.district.example"],
        ),
    ]
    path: Annotated[
        str,
        AfterValidator(_absolute),
        Field(
            description="The directory there, as an absolute path. The repository of a system is at PATH/SYSTEM.",
            examples=["/srv/dr"],
        ),
    ]
    known_hosts: Annotated[
        ConfigPath | None,
        Field(
            description="File with the host's public key, in OpenSSH's format. A host that is not in the file is "
            "refused. Default: ~/.ssh/known_hosts of the user who runs dr.",
            examples=["/etc/dr/known_hosts"],
        ),
    ] = None
    login_key: Annotated[
        ConfigPath | None,
        Field(
            alias="key",
            description="File with the private key to log in with. Default: the keys of the running SSH agent.",
            examples=["/etc/dr/keys/vault"],
        ),
    ] = None
    connect_timeout: Annotated[
        PositiveDuration,
        Field(description="How long to wait for a connection before the host counts as unreachable.", examples=["30s"]),
    ] = 15

    @property
    def place(self) -> tuple[str, ...]:
        """See `TargetKind`."""
        _, host, port = split_address(self.ssh)
        return ("sftp", host.lower(), str(port), self.path)

    @property
    def service_host(self) -> str:
        """See `TargetKind`."""
        return split_address(self.ssh)[1]

    @property
    def hosts_file(self) -> Path:
        """The file that knows the host."""
        return self.known_hosts or Path.home() / ".ssh" / "known_hosts"

    def faults(self, env: Mapping[str, str]) -> Iterator[Found]:
        """See `TargetKind`."""
        make = "make it with ssh-keyscan, and compare the fingerprints with those the host itself shows"
        yield from no_file(("sftp", "known_hosts"), self.hosts_file, "the known_hosts file", make)
        if self.login_key:
            yield from kept_file(("sftp", "key"), self.login_key, "the private key", "make it with ssh-keygen")
        elif not env.get("SSH_AUTH_SOCK"):
            what = "the target names no key, and no SSH agent runs (SSH_AUTH_SOCK is not set)"
            yield ("sftp",), what, "write `key:` with the file of a private key", "unsound"
