"""What a service copies by itself is read where it came to lie; what was proven before is not read at its source."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Any

import pytest

from dr.errors import DamageError, DrError
from dr.tools.disk import DiskStore
from dr.tools.s3 import S3Store
from dr.tools.secrets import S3Keys
from scripts.servers.s3 import S3Server

DATA = b"stored bytes " * 1000
DIGEST = hashlib.sha256(DATA).hexdigest()


class Watched(S3Store):
    """A store that notes what is read in it by which way."""

    def __init__(self, server: S3Server) -> None:
        bucket = f"test-{secrets.token_hex(6)}"
        server.client().create_bucket(Bucket=bucket)
        super().__init__(endpoint=server.endpoint, bucket=bucket, prefix="a", keys=S3Keys(*server.keys()))
        self.read: list[str] = []

    def sha256(self, name: str) -> tuple[str, int]:
        self.read.append(name)
        return super().sha256(name)

    def _examined(self, name: str) -> tuple[str, int, bool]:
        self.read.append(name)
        return super()._examined(name)

    def version(self, name: str) -> str:
        """What is listed of an object."""
        return next(item.version for item in self.list() if item.name == name)


@pytest.fixture
def ends(s3: S3Server) -> tuple[Watched, Watched]:
    """Two places of one service; the first holds an object."""
    source, there = Watched(s3), Watched(s3)
    source.put("x", DATA)
    return source, there


def test_a_proven_object_is_read_once_where_it_came_to_lie(ends: tuple[Watched, Watched]) -> None:
    source, there = ends
    assert there.take("x", source, sha256=DIGEST, version=source.version("x"))
    assert (source.read, there.read, there.get("x")) == ([], ["x"], DATA)


def test_an_object_that_was_never_proven_or_changed_since_is_read_first(ends: tuple[Watched, Watched]) -> None:
    source, there = ends
    old = source.version("x")
    assert there.take("x", source, sha256=DIGEST) and source.read == ["x"]
    source.put("x", DATA[1:])
    there.remove("x")
    assert not there.take("x", source, sha256=DIGEST, version=old)
    assert source.read == ["x", "x"] and not there.exists("x")


def test_one_that_changed_while_it_is_looked_at_is_not_copied(
    ends: tuple[Watched, Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, there = ends
    version, copied = source.version("x"), S3Store._copied_there

    def late(self: S3Store, name: str, origin: S3Store, *, size: int, version: str = "") -> bool:
        if version:
            source.put("x", DATA[1:])
        return copied(self, name, origin, size=size, version=version)

    monkeypatch.setattr(S3Store, "_copied_there", late)
    assert not there.take("x", source, sha256=DIGEST, version=version)
    assert not there.exists("x")


def test_one_that_rotted_since_its_proof_is_told_and_leaves_nothing_there(ends: tuple[Watched, Watched]) -> None:
    source, there = ends
    source.put("x", DATA[1:])  # the service lists the same version still, as of a disk that rots
    assert not there.take("x", source, sha256=DIGEST, version=source.version("x"))
    assert (source.read, there.read) == (["x"], ["x"]) and not there.exists("x")


def test_a_service_that_copies_wrongly_is_told_and_leaves_nothing_there(
    ends: tuple[Watched, Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, there = ends

    def wrongly(self: S3Store, name: str, origin: S3Store, *, size: int, version: str = "") -> bool:
        self.put(name, DATA[1:])
        return True

    monkeypatch.setattr(S3Store, "_copied_there", wrongly)
    for version in ("", source.version("x")):
        with pytest.raises(DamageError, match="the service's copy of x is not what was copied"):
            there.take("x", source, sha256=DIGEST, version=version)
        assert not there.exists("x")


@pytest.mark.parametrize("way", ["take", "put"])
def test_what_is_altered_on_its_way_is_refused_by_the_service(s3: S3Server, tmp_path: Path, way: str) -> None:
    """By the checksum that it is given."""
    source, there = DiskStore(tmp_path), Watched(s3)
    source.put("x", DATA)

    def alter(request: Any, **_: object) -> None:
        request.body = DATA[:-1] + b"!"

    events: Any = there._client.meta.events
    events.register("before-send.s3.PutObject", alter)
    try:
        with pytest.raises(DrError, match="writing x failed"):
            there.take("x", source, sha256=DIGEST) if way == "take" else there.put("x", DATA)
    finally:
        events.unregister("before-send.s3.PutObject", alter)
    assert not there.exists("x")
    assert there.take("x", source, sha256=DIGEST) and there.get("x") == DATA
