"""The target kinds that keep plain objects, as they are declared: a directory of this host or another, a server."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator

from dr.plan.base import ConfigPath, PositiveDuration
from dr.plan.host import KNOWN_HOSTS, split_address
from dr.plan.on_disk import Found, kept_file, no_file, secret_faults
from dr.plan.secret import SecretPlace
from dr.plan.target_kind import CA_FILE, TargetKind


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


def _web_address(text: str) -> str:
    """Return the address of a server and a path on it; refuse logins, queries, and what is read in two ways."""
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        parts, sound = urlsplit(""), False
    if "@" in text:
        raise ValueError("do not put a login into the address: name it under `user` and `password`")
    if not sound or not text.isprintable() or set(text) & set(" ?#%\\"):
        raise ValueError(f"{text!r} is not an address of a server: write it as https://HOST:PORT/PATH")
    steps = parts.path.strip("/").split("/")
    if any(step in ("", ".", "..") for step in steps) and steps != [""]:
        raise ValueError(f"{text!r} is not one place to all who read it: write names with one / between them")
    if len(steps) > 1:
        raise ValueError(f"{text!r} has more than one name behind the host: a server takes one, and the system's below")
    return f"{parts.scheme}://{parts.netloc.lower()}/{'/'.join(steps)}".rstrip("/")


def _remote(text: str) -> str:
    """Return NAME:PATH; refuse what would be options of rclone, a path of this host, or read in two ways."""
    name, colon, path = text.partition(":")
    if not colon or not name.replace("_", "").replace("-", "").isalnum() or name[0] == "-":
        raise ValueError(f"{text!r} is not a remote: write it as NAME:PATH, with a NAME of rclone's configuration")
    if not text.isprintable() or set(path) & set(":[],") or ".." in path.split("/"):
        raise ValueError(f"{text!r} is not one place to all who read it: leave out `..` and any of : [ ] ,")
    return f"{name}:{path.rstrip('/')}"


class LocalPlace(TargetKind):
    """A directory on this host: for trying out, or a mounted disk. It does not count as an offsite copy."""

    key: ClassVar = "local"
    noun: ClassVar = "directory"
    about: ClassVar = "A directory on this host."
    example: ClassVar = {"path": "/mnt/backup-disk"}
    medium: ClassVar = "disk"
    is_offsite: ClassVar = False
    may_be_detached: ClassVar = True
    is_reached_from_elsewhere: ClassVar = False

    path: Annotated[
        ConfigPath,
        Field(
            description="The directory; a relative path begins at the configuration directory. The repository of a "
            "system is at PATH/SYSTEM.",
            examples=["/mnt/backup-disk"],
        ),
    ]

    @field_validator("path", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        if isinstance(value, str) and not value.strip():
            raise ValueError("is empty: name a directory")
        return value

    @property
    def place(self) -> tuple[str, ...]:
        """See `TargetKind`."""
        return ("local", os.path.realpath(self.path))

    @property
    def directory(self) -> Path:
        """See `TargetKind`."""
        return self.path

    def anywhere(self) -> LocalPlace:
        """See `TargetKind`."""
        return self.model_copy(update={"path": self.path.absolute()})


class SftpPlace(TargetKind):
    """A directory of another host, reached over SSH with a key, never with a password. Needs `ssh` on this host."""

    key: ClassVar = "sftp"
    noun: ClassVar = "directory of another host"
    about: ClassVar = "A directory of another host, over SSH."
    example: ClassVar = {"ssh": "backup@vault.district.example", "path": "/srv/dr"}
    medium: ClassVar = "disk"
    counts: ClassVar = "bytes"
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
    known_hosts: Annotated[ConfigPath | None, KNOWN_HOSTS] = None
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


class RestPlace(TargetKind):
    """A REST server of restic, best one that is append-only."""

    key: ClassVar = "rest"
    noun: ClassVar = "REST server"
    about: ClassVar = "A REST server of restic."
    example: ClassVar = {
        "url": "https://backup.district.example:8000",
        "user": "sis",
        "password": {"file": "/etc/dr/secrets/rest"},
    }
    medium: ClassVar = "disk"
    counts: ClassVar = "requests"
    address_key: ClassVar = "url"

    url: Annotated[
        str,
        AfterValidator(_web_address),
        Field(
            description="The server's address, and at most one name behind it. The repository of a system is at "
            "URL/SYSTEM.",
            examples=["https://backup.district.example:8000/dr"],
        ),
    ]
    user: Annotated[
        str,
        Field(
            pattern=r"^[^:\s]*$",
            description="The name to log in with. Default: no login.",
            examples=["sis"],
        ),
    ] = ""
    password: Annotated[
        SecretPlace | None,
        Field(
            description="Where the password is read from. Default: none; required with `user`.",
            examples=[{"file": "/etc/dr/secrets/rest"}],
        ),
    ] = None
    ca_file: Annotated[ConfigPath | None, CA_FILE] = None

    @property
    def place(self) -> tuple[str, ...]:
        """See `TargetKind`."""
        parts = urlsplit(self.url)
        return ("rest", parts.netloc, parts.path.strip("/"))

    @property
    def service_host(self) -> str:
        """See `TargetKind`."""
        return urlsplit(self.url).hostname or ""

    def faults(self, env: Mapping[str, str]) -> Iterator[Found]:
        """See `TargetKind`."""
        if bool(self.user) != bool(self.password):
            what = "the target names a user or a password alone"
            yield ("rest",), what, "write both `user` and `password`, or neither", "refused"
        yield from secret_faults(("rest", "password"), self.password, env)
        if self.ca_file:
            make = "write the authority's certificate there, in PEM, or correct the path"
            yield from no_file(("rest", "ca_file"), self.ca_file, "the authorities file", make)


class RclonePlace(TargetKind):
    """Any remote of rclone. Needs the program `rclone` on this host. Counts as offsite when you say that it is."""

    key: ClassVar = "rclone"
    noun: ClassVar = "remote of rclone"
    about: ClassVar = "Any remote of rclone."
    example: ClassVar = {"remote": "vault:district/dr", "config": "/etc/dr/rclone.conf"}
    medium: ClassVar = "other"
    counts: ClassVar = "bytes"
    is_offsite: ClassVar = False  # nobody here knows where a remote is
    is_reached_from_elsewhere: ClassVar = False  # by its configuration, which is on this host alone
    address_key: ClassVar = "remote"

    remote: Annotated[
        str,
        AfterValidator(_remote),
        Field(
            description="The remote's name in the configuration, and a path on it: NAME:PATH. The repository of a "
            "system is at NAME:PATH/SYSTEM.",
            examples=["vault:district/dr"],
        ),
    ]
    config: Annotated[
        ConfigPath,
        Field(
            description="rclone's configuration file, with mode 0600. rclone may write new tokens into it.",
            examples=["/etc/dr/rclone.conf"],
        ),
    ]

    @property
    def place(self) -> tuple[str, ...]:
        """See `TargetKind`."""
        return ("rclone", str(self.config), self.remote)

    def faults(self, env: Mapping[str, str]) -> Iterator[Found]:
        """See `TargetKind`."""
        make = "make it with `rclone config`, and name it here"
        yield from kept_file(("rclone", "config"), self.config, "the rclone configuration", make)
