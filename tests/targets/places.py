"""Every kind of target, with what it needs to be tried: the contract suite and whole trips run on each of them."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from dr.plan.target import Target
from dr.targets.driver import TargetDriver
from dr.targets.kinds import driver_of
from scripts.servers.rclone import rclone_program
from tests.targets import toy


@dataclass
class Place:
    """A target of one kind that is there and empty.

    `declared` is what stands below its key; `elsewhere` the same of another place of the kind, `gone` of one that does
    not answer. `files` is where its objects are plain files, by which a test spoils one behind the server's back.
    """

    key: str
    declared: dict[str, Any]
    elsewhere: dict[str, Any]
    gone: dict[str, Any]
    lost: dict[str, Any] = field(default_factory=dict)
    files: Path | None = None
    spoil: Callable[[str], None] | None = None
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lost = self.lost or self.declared

    def target(self, which: str = "declared", **more: Any) -> Target:
        """Return it as a target."""
        return Target.model_validate({"target": "place", self.key: getattr(self, which), **more})

    def driver(self, which: str = "declared", **more: Any) -> TargetDriver:
        """Return its driver."""
        return driver_of(self.target(which, **more))

    def text(self, name: str, **more: Any) -> str:
        """Return its file."""
        return yaml.safe_dump({"target": name, self.key: self.declared, **more})

    def damage(self, name: str) -> None:
        """Flip one byte in the midst of a stored object, behind everybody's back."""
        if self.spoil:
            self.spoil(name)
            return
        assert self.files
        path = self.files / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.chmod(0o600)
        path.write_bytes(data)


Maker = Callable[[pytest.FixtureRequest, Path], Place]


def _local(request: pytest.FixtureRequest, home: Path) -> Place:
    files = home / "disk"
    other, gone = {"path": str(home / "other")}, {"path": _none(home)}
    return Place("local", {"path": str(files)}, elsewhere=other, gone=gone, files=files)


def _toy(request: pytest.FixtureRequest, home: Path) -> Place:
    files = home / "cupboard"
    other, gone = {"shelf": str(home / "other")}, {"shelf": _none(home)}
    return Place(toy.Cupboard.key, {"shelf": str(files)}, elsewhere=other, gone=gone, files=files)


def _none(home: Path) -> str:
    return str(home / "not" / "there" / "x")


def _s3(request: pytest.FixtureRequest, home: Path) -> Place:
    s3, bucket = request.getfixturevalue("s3"), request.getfixturevalue("bucket")
    keys = str(s3.write_keys(home / "keys"))
    declared = {"endpoint": s3.endpoint, "bucket": bucket, "prefix": "d", "credentials": {"file": keys}}

    def spoil(name: str) -> None:
        client = s3.client()
        data = bytearray(client.get_object(Bucket=bucket, Key=f"d/{name}")["Body"].read())
        data[len(data) // 2] ^= 1
        client.put_object(Bucket=bucket, Key=f"d/{name}", Body=bytes(data))

    return Place(
        "s3",
        declared,
        elsewhere={**declared, "prefix": "e"},
        gone={**declared, "endpoint": "http://127.0.0.1:9"},
        lost={**declared, "credentials": {"file": str(home / "none")}},
        spoil=spoil,
    )


def _sftp(request: pytest.FixtureRequest, home: Path) -> Place:
    sshd, files = request.getfixturevalue("sshd"), home / "far"
    own = home / "own, keys"  # as a path may be
    own.mkdir()
    login = {name: str(shutil.copy(path, own)) for name, path in (("known_hosts", sshd.known_hosts), ("key", sshd.key))}
    declared = {"ssh": sshd.address, "path": str(files), **login}
    return Place(
        "sftp",
        declared,
        elsewhere={**declared, "path": str(home / "other")},
        gone={**declared, "ssh": f"{sshd.user}@127.0.0.1:9"},
        lost={**declared, "key": str(home / "none"), "known_hosts": str(home / "none")},
        files=files,
    )


def _rest(request: pytest.FixtureRequest, home: Path) -> Place:
    server, top = request.getfixturevalue("rest_server"), home.name
    declared = {"url": f"{server.url}/{top}", **server.login}
    return Place(
        "rest",
        declared,
        elsewhere={**declared, "url": f"{server.url}/other-{top}"},
        gone={**declared, "url": "http://127.0.0.1:9"},
        lost={**declared, "password": {"file": str(home / "none")}},
        files=server.files / top,
    )


def _rclone(request: pytest.FixtureRequest, home: Path) -> Place:
    server, patch = request.getfixturevalue("rclone_server"), request.getfixturevalue("monkeypatch")
    path = f"{Path(rclone_program()).parent}:{os.environ['PATH']}"
    patch.setenv("PATH", path)
    config = str(shutil.copy(server.config, home))
    return Place(
        "rclone",
        {"remote": f"far:{home.name}", "config": config},
        elsewhere={"remote": f"far:other-{home.name}", "config": config},
        gone={"remote": "gone:x", "config": config},
        lost={"remote": f"far:{home.name}", "config": str(home / "none")},
        files=server.files / home.name,
        env={"PATH": path},
    )


#: By the key of the kind. What starts a server is slow.
PLACES: Mapping[str, Maker] = {
    "local": _local,
    "cupboard": _toy,
    "s3": _s3,
    "sftp": _sftp,
    "rest": _rest,
    "rclone": _rclone,
}
SERVED = {"s3", "sftp", "rest", "rclone"}


def every_kind(*left_out: str) -> list[Any]:
    """Return the keys of all kinds, as parameters of a test."""
    marked = [pytest.param(key, marks=pytest.mark.slow if key in SERVED else ()) for key in PLACES]
    return [each for each in marked if each.values[0] not in left_out]


def make(key: str, request: pytest.FixtureRequest, home: Path) -> Place:
    """Return a place of a kind, below a fresh directory."""
    home = home / f"place-{secrets.token_hex(4)}"
    home.mkdir(mode=0o700)
    return PLACES[key](request, home)


def some_bytes(size: int) -> bytes:
    """Return random bytes."""
    return os.urandom(size)
