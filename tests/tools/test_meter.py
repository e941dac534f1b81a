"""What passes to and from a target is counted where it passes: held against what the service itself saw."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from dr.errors import DamageError, TargetDownError
from dr.tools import command
from dr.tools.meter import Meter, Passed
from dr.tools.rest import RestService
from dr.tools.rest_store import RestStore
from dr.tools.s3 import S3Store
from dr.tools.s3_versions import S3Versions
from dr.tools.secrets import S3Keys
from scripts.servers.rest import RestServer
from scripts.servers.s3 import S3Server
from tests.proxy import Busy, Exchange, busy


@pytest.fixture
def front(s3: S3Server) -> Iterator[Busy]:
    with busy(s3.port) as made:
        yield made


def store(front: Busy, server: S3Server, bucket: str, prefix: str = "a") -> tuple[S3Store, Meter]:
    keys, meter = S3Keys(server.access_key, server.secret_key), Meter()
    return S3Store(endpoint=front.endpoint, bucket=bucket, prefix=prefix, keys=keys, meter=meter), meter


def as_seen(exchanges: Iterable[Exchange]) -> Passed:
    """What the service saw, by the verb and the question of each request alone."""
    passed = Passed()
    for each in exchanges:
        verb, _, path = each.asked.partition(" ")
        lists = "list-type=2" in path or "?versions" in path or path.endswith("/")
        kind = "list" if verb == "GET" and lists else {"GET": "read", "HEAD": "read", "DELETE": "delete"}.get(verb)
        setattr(passed, kind or "write", getattr(passed, kind or "write") + 1)
        passed.sent += each.sent if each.status < 300 else 0
        passed.received += each.received if verb != "HEAD" and each.status < 300 else 0
    return passed


def test_every_request_is_counted_as_the_service_saw_it(
    front: Busy, s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "wait_for_stop", lambda seconds: False)
    place, meter = store(front, s3, bucket)
    data = secrets.token_bytes(3_000_000)
    digest = hashlib.sha256(data).hexdigest()
    place.put("data/one", data)
    assert place.sha256("data/one")[0] == digest and place.get("data/one") == data
    assert b"".join(place.part("data/one", 10, 2_000)) == data[10:2_000]
    with pytest.raises(DamageError):
        place.sha256("data/none")  # asked in two ways
    assert not place.exists("data/none") and place.exists("data/one")
    copy = place.child("copy")
    assert copy.take("data/one", place, sha256=digest), "copied by the service"
    assert [each.name for each in place.list("data")] == ["data/one"]
    versions = S3Versions.of(place)
    assert versions.get_version("data/one", next(versions.versions("data/one")).id) == data
    front.refusals = 2
    place.remove("data/one")  # at the third try
    place.preflight()
    seen, passed = as_seen(front.seen), meter.take()
    assert passed == seen
    assert passed.delete == 3 and passed.sent == len(data) and passed.received > 5 * len(data)
    assert not meter.take(), "it was taken"
    place.get("copy/data/one")
    assert meter.take() == as_seen(front.seen[-1:]) != Passed(), "the next is counted by itself"


def test_who_asks_between_two_pages_and_in_many_threads_is_counted_apart(
    front: Busy, s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one, of_one), (other, of_other) = store(front, s3, bucket), store(front, s3, bucket, "b")
    for number in range(3):
        one.put(f"{number}", b"one")
    client = one._client
    whole = client.list_objects_v2
    monkeypatch.setattr(client, "list_objects_v2", lambda **asked: whole(**asked, MaxKeys=1))
    for _ in one.list():
        other.exists("none")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: (one if number % 2 else other).put("x", bytes(number)), range(32)))
    for meter, prefix in ((of_one, "a"), (of_other, "b")):
        own = [each for each in front.seen if f"/{prefix}/" in each.asked or f"prefix={prefix}" in each.asked]
        heads = [each for each in front.seen if each.asked == f"HEAD /{bucket}"] if prefix == "b" else []
        assert meter.take() == as_seen([*own, *heads])


def test_what_goes_in_parts_is_counted_though_other_threads_send_it(
    front: Busy, s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dr.tools.s3._ONE_COPY", 6 << 20)
    place, meter = store(front, s3, bucket)
    data = secrets.token_bytes(9 << 20)
    assert place._written("large", [data], sha256=hashlib.sha256(data).hexdigest())
    passed = meter.take()
    assert passed == as_seen(front.seen) and passed.write == 4 and passed.sent > len(data)


def test_a_request_that_reached_nobody_is_not_counted(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "wait_for_stop", lambda seconds: False)
    meter, keys = Meter(), S3Keys(s3.access_key, s3.secret_key)
    down = S3Store(endpoint="http://127.0.0.1:9", bucket="none", keys=keys, meter=meter)
    for act in (lambda: down.get("x"), lambda: down.sha256("x"), lambda: down.put("x", b"x")):
        with pytest.raises(TargetDownError):
            act()
    assert not meter.take()


def test_a_rest_server_saw_what_was_counted(rest_server: RestServer) -> None:
    meter = Meter()
    data = secrets.token_bytes(200_000)
    name = hashlib.sha256(data).hexdigest()
    system = f"sis{secrets.token_hex(4)}"
    with busy(rest_server.port) as front:
        service = RestService(front.endpoint, user=rest_server.user, password=rest_server.password, meter=meter)
        place = RestStore(service).child(system)
        place.put(f"data/{name[:2]}/{name}", data)
        assert place.sha256(f"data/{name[:2]}/{name}") == (name, len(data))
        assert [each.size for each in place.list("data/")] == [len(data)]
        assert not place.exists("config")
        place.remove(f"data/{name[:2]}/{name}")
        assert meter.take() == as_seen(front.seen)
