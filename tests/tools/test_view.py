from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dr.errors import DamageError, DrError
from dr.tools.s3 import S3Store
from dr.tools.s3_versions import S3Versions
from dr.tools.secrets import S3Keys
from dr.tools.store import Version
from dr.tools.view import View, ViewStore, by_name, hash_in
from dr.tools.view_server import shown
from scripts.servers.s3 import S3Server

T0 = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
PACK = f"data/ab/{'ab' * 32}"


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def version(name: str, seconds: float, *, marker: bool = False, latest: bool = False, tag: str = "a") -> Version:
    return Version(name, f"{name}@{seconds}", 1, at(seconds), marker=marker, latest=latest, etag=tag)


def seen(versions: list[Version], since: float, until: float | None = None) -> dict[str, list[float]]:
    listed = sorted(versions, key=lambda v: v.modified, reverse=True)
    view = View.of(listed, at(since), None if until is None else at(until))
    return {n: [(v.modified - T0).total_seconds() for v in found] for n, found in view.objects.items()}


# -- which versions ----------------------------------------------------------------------------------


def test_of_an_object_named_by_its_hash_the_oldest_version_comes_first() -> None:
    versions = [version(PACK, 0), version(PACK, 100, tag="junk"), version(PACK, 200, tag="junk")]
    assert seen(versions, 300) == {PACK: [0, 100, 200]}


def test_of_another_object_it_is_the_one_that_was_on_top() -> None:
    versions = [version("config", 0), version("config", 100), version("config", 200, marker=True)]
    assert seen(versions, 50) == {"config": [0]}
    assert seen(versions, 150) == {"config": [100]}
    assert seen(versions, 250) == {} and seen(versions, -50) == {}


def test_what_was_deleted_before_is_not_listed_but_still_given_to_who_asks_by_name() -> None:
    versions = [version(PACK, 0), version(PACK, 100, marker=True, latest=True), version("config", 0)]
    view = View.of(versions[::-1], at(200))
    assert set(view.objects) == {"config"} and [v.modified for v in view.of_name(PACK)] == [at(0)]
    assert view.of_name("snapshots/" + "0" * 64) == ()


def test_a_view_is_of_a_span_and_wider_by_the_grain_of_the_times() -> None:
    versions = [version(PACK, 0), version(PACK, 100, marker=True, latest=True)]
    assert seen(versions, 101) == {PACK: [0]}, "deleted within the second before"
    assert seen(versions, 102.1) == {}
    assert seen([version(PACK, 61)], 60) == {PACK: [61]} and seen([version(PACK, 62)], 60) == {}
    assert seen([version(PACK, 90)], 0, 90) == {PACK: [90]}, "written while the point was made"


def test_of_one_second_what_is_on_top_is_the_last() -> None:
    listed = [version("config", 0, tag="x"), version("config", 0, marker=True, latest=True)]
    assert [v.marker for v in by_name(listed)["config"]] == [False, True]


@pytest.mark.parametrize(
    ("name", "promised"),
    [
        (PACK, "ab" * 32), (f"index/{'0' * 64}", "0" * 64), (f"sis/keys/{'1' * 64}", "1" * 64), ("config", ""),
        (f"data/{'ab' * 32}", ""), ("index/junk", ""), (f"locks/{'0' * 64}", ""), (f"index/{'A' * 64}", ""),
    ],
)  # fmt: skip
def test_a_name_promises_the_hash_of_its_bytes_or_nothing(name: str, promised: str) -> None:
    assert hash_in(name) == promised


# -- on a real bucket --------------------------------------------------------------------------------


@pytest.fixture
def place(s3: S3Server, bucket: str) -> S3Versions:
    s3.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    keys = S3Keys(s3.access_key, s3.secret_key)
    return S3Versions.of(S3Store(endpoint=s3.endpoint, bucket=bucket, prefix="a/b", keys=keys))


def put(place: S3Versions, data: bytes, *after: bytes, part: str = "index") -> str:
    """Put bytes under the name they deserve, then others on top of them."""
    digest = hashlib.sha256(data).hexdigest()
    name = f"data/{digest[:2]}/{digest}" if part == "data" else f"{part}/{digest}"
    for each in (data, *after):
        place.put(name, each)
    return name


def view_of(place: S3Versions) -> ViewStore:
    listed = list(place.versions())
    return ViewStore(place, View.of(listed, max(v.modified for v in listed)))


def test_a_bucket_without_versions_says_so(s3: S3Server, bucket: str, place: S3Versions) -> None:
    assert place.keeps()
    s3.client().create_bucket(Bucket=f"{bucket}-plain")
    plain = S3Store(endpoint=s3.endpoint, bucket=f"{bucket}-plain", keys=S3Keys(s3.access_key, s3.secret_key))
    assert not S3Versions.of(plain).keeps()
    there = S3Versions.of(plain).now()
    assert there and abs(there - datetime.now(UTC)) < timedelta(seconds=30)


def test_the_version_given_is_the_one_whose_bytes_are_what_the_name_promises(place: S3Versions) -> None:
    good, pack = put(place, b"good", b"junk", b"junk too"), put(place, b"0123456789", b"xxxxxxxxxx", part="data")
    place.put("config", b"config")
    store = view_of(place)
    assert store.get(good) == b"good" and store.sha256(good)[0] == hash_in(good)
    assert b"".join(store.part(pack, 2, 5)) == b"234" and store.size(pack) == 10
    assert {item.name for item in store.list()} == {good, pack, "config"}
    assert store.exists("config") and not store.exists("keys/none")


def test_bytes_that_no_name_deserves_are_refused_and_named(place: S3Versions) -> None:
    junk = f"index/{'0' * 64}"
    place.put(junk, b"junk")
    sound = put(place, b"sound")
    store = view_of(place)
    assert [item.name for item in store.sound("index/")] == [sound]
    with pytest.raises(DamageError, match="no version of it has the bytes"):
        store.get(junk)
    assert store.size(f"data/00/{'0' * 64}") is None
    assert list(store.refused.values()) == [
        "no version of it has the bytes that its name promises",
        "no version of it is left",
    ]


def test_the_past_is_not_written_to(place: S3Versions) -> None:
    put(place, b"x")
    with pytest.raises(DrError, match="cannot be written"):
        view_of(place).put("config", b"new")


# -- shown to restic ---------------------------------------------------------------------------------


@pytest.fixture
def socket(place: S3Versions, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, ViewStore, str]]:
    pack = put(place, bytes(range(200)), b"junk", part="data")
    place.put("config", b"config")
    place.put(f"locks/{'0' * 64}", b"lock")
    store, path = view_of(place), tmp_path_factory.mktemp("v") / "s"
    with shown(store, path):
        yield path, store, pack.rpartition("/")[2]
    assert not path.exists()


def ask(socket: Path, method: str, path: str, **headers: str) -> tuple[int, bytes, Any]:
    """One request over a unix socket."""
    import http.client
    import socket as sockets

    connection = http.client.HTTPConnection("view", timeout=20)
    connection.sock = sockets.socket(sockets.AF_UNIX)
    connection.sock.connect(str(socket))
    connection.request(method, path, headers={name.title(): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, answer.headers


def test_restic_reads_whole_objects_and_parts_of_them(socket: tuple[Path, ViewStore, str]) -> None:
    path, _, pack = socket
    assert ask(path, "GET", "/config")[:2] == (200, b"config")
    status, body, headers = ask(path, "GET", f"/data/{pack}", range="bytes=10-19")
    assert (status, body, headers["Content-Range"]) == (206, bytes(range(10, 20)), "bytes 10-19/200")
    assert ask(path, "GET", f"/data/{pack}", range="bytes=190-")[1] == bytes(range(190, 200))
    assert ask(path, "GET", f"/data/{pack}")[:2] == (200, bytes(range(200)))
    assert ask(path, "HEAD", f"/data/{pack}")[2]["Content-Length"] == "200"


def test_restic_lists_data_and_never_the_locks_of_another_time(socket: tuple[Path, ViewStore, str]) -> None:
    path, _, pack = socket
    assert pack in ask(path, "GET", "/data/")[1].decode()
    assert ask(path, "GET", "/locks/")[:2] == (200, b"[]")


def test_nothing_is_taken_and_what_is_not_there_is_refused_at_once(socket: tuple[Path, ViewStore, str]) -> None:
    path, store, _ = socket
    for method in ("POST", "DELETE"):
        assert ask(path, method, "/config")[0] == 405
    assert ask(path, "GET", f"/data/{'1' * 64}")[0] == 404
    assert ask(path, "GET", f"/snapshots/{'1' * 64}")[0] == 404
    assert ask(path, "GET", "/etc/passwd")[0] == 404 and ask(path, "GET", "/../../etc/passwd")[0] == 404
    assert {name.partition("/")[0] for name in store.refused} == {"data", "snapshots"}
