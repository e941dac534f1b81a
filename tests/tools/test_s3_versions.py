"""Versions and locks as a real service tells of them, and what is made of an answer that says neither yes nor no."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from dr.errors import DamageError, DrError, RefusedError, TargetDownError
from dr.tools.erase import S3Eraser, Trace
from dr.tools.s3_versions import Lock, Protection, S3Versions
from dr.tools.secrets import S3Keys
from scripts.servers.s3 import S3Server

QUESTIONS = ["get_object_retention", "get_object_legal_hold"]
#: What an administrator's key could learn, and these keys may not.
KEPT_BACK = ("ObjectLockMode", "ObjectLockRetainUntilDate", "ObjectLockLegalHoldStatus")


class Answers:
    """A client that gives other answers to some questions, and the service's own to all else."""

    def __init__(self, real: Any, **others: Callable[..., Any]) -> None:
        self.real, self.others = real, others

    def __getattr__(self, name: str) -> Any:
        return self.others.get(name) or getattr(self.real, name)


def answering(place: S3Versions, **others: Callable[..., Any]) -> S3Versions:
    """Return the same place, with other answers to some questions."""
    made = S3Versions.of(place)
    made._shared = {"client": Answers(place._client, **others)}
    return made


def silent_head(place: S3Versions) -> Callable[..., Mapping[str, Any]]:
    """Return a head request that says nothing of locks, as it does to keys that may not ask for them."""
    return lambda **asked: {k: v for k, v in place._client.head_object(**asked).items() if k not in KEPT_BACK}


def failing(code: str, status: int) -> Callable[..., Any]:
    def answer(**asked: Any) -> Any:
        response: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(response, "Asked")

    return answer


def timing_out(**asked: Any) -> Any:
    raise ReadTimeoutError(endpoint_url="http://a.example")


Make = Callable[..., S3Versions]


@pytest.fixture
def make(s3: S3Server, bucket: str) -> Make:
    """Make a place in a bucket of a kind: plain, versioned, or with Object Lock and a default or none."""

    def made(kind: str, user: str = "admin") -> S3Versions:
        name = f"{bucket}-{kind}"
        if kind == "plain":
            s3.client().create_bucket(Bucket=name)
        elif kind == "versioned":
            s3.make_versioned(name)
        else:
            s3.make_locked(name, "compliance", 30 if kind == "locked" else 0)
        return S3Versions(endpoint=s3.endpoint, bucket=name, prefix="a", keys=S3Keys(*s3.keys(user)))

    return made


def by(place: S3Versions, s3: S3Server, user: str) -> S3Versions:
    """Return the same place, asked with other keys."""
    return S3Versions(endpoint=s3.endpoint, bucket=place._bucket, prefix="a", keys=S3Keys(*s3.keys(user)))


def hold(s3: S3Server, place: S3Versions, name: str) -> None:
    s3.client().put_object_legal_hold(Bucket=place._bucket, Key=f"a/{name}", LegalHold={"Status": "ON"})


# -- locks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "versioned", "unlocked"])
def test_where_nothing_is_locked_the_service_says_so(make: Make, kind: str) -> None:
    place = make(kind)
    version = place.put_version("x", b"x")
    assert place.lock_of("x", version) is None
    assert not place.protection_of("x", version)


def test_a_lock_and_a_legal_hold_are_seen_apart(make: Make, s3: S3Server) -> None:
    locked, unlocked = make("locked"), make("unlocked")
    now = datetime.now(UTC)
    found = locked.protection_of("x", locked.put_version("x", b"x"))
    assert found.lock and found.lock.mode == "compliance" and not found.legal_hold
    assert abs(found.lock.until - now - timedelta(days=30)) < timedelta(minutes=1)
    version = unlocked.put_version("x", b"x")
    hold(s3, unlocked, "x")
    assert unlocked.protection_of("x", version) == Protection(None, legal_hold=True)
    assert unlocked.lock_of("x", version) is None, "a legal hold is not a lock that could be extended"


def test_where_the_head_keeps_silent_both_are_asked_for(make: Make, s3: S3Server) -> None:
    place = make("locked")
    version = place.put_version("x", b"x")
    hold(s3, place, "x")
    silent = answering(place, head_object=silent_head(place))
    assert silent.protection_of("x", version) == place.protection_of("x", version)
    assert silent.protection_of("x", version).legal_hold


def test_of_a_protection_only_what_is_in_force_counts() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    past, live = Lock("compliance", now), Lock("compliance", now + timedelta(seconds=1))
    assert Protection(past) and not Protection(past).at(now)
    assert Protection(live).at(now) == Protection(live)
    assert Protection(past, legal_hold=True).at(now) == Protection(None, legal_hold=True)


def test_keys_that_may_not_ask_are_told_nothing_and_that_is_no_no(make: Make, s3: S3Server) -> None:
    place = make("unlocked")
    version = place.put_version("x", b"x")
    keeper, writer = by(place, s3, "keeper"), by(place, s3, "writer")
    assert keeper.lock_of("x", version) is None
    with pytest.raises(RefusedError):
        keeper.protection_of("x", version)  # may ask for locks, and not for legal holds
    with pytest.raises(RefusedError):
        writer.lock_of("x", version)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (failing("AccessDenied", 403), RefusedError),
        (failing("Forbidden", 403), RefusedError),
        (failing("InternalError", 500), TargetDownError),
        (failing("SlowDown", 503), TargetDownError),
        (failing("MethodNotAllowed", 405), TargetDownError),
        (failing("InvalidRequest", 400), TargetDownError),
        (failing("InvalidArgument", 400), TargetDownError),
        (failing("NoSuchBucket", 404), TargetDownError),
        (failing("", 400), TargetDownError),
        (timing_out, TargetDownError),
    ],
)
def test_an_answer_that_is_no_clear_no_is_never_taken_for_one(
    locked: tuple[S3Versions, str], question: str, answer: Callable[..., Any], kind: type[DrError]
) -> None:
    place, version = locked
    unclear = answering(place, head_object=silent_head(place), **{question: answer})
    with pytest.raises(kind):
        unclear.protection_of("x", version)
    with pytest.raises(kind):
        S3Eraser(unclear).protections([Trace("y", version, marker=True), Trace("x", version)])
    if question == "get_object_retention":
        with pytest.raises(kind):
            unclear.lock_of("x", version)


@pytest.fixture
def locked(make: Make) -> tuple[S3Versions, str]:
    """A place whose objects are locked, and the version of one of them."""
    place = make("locked")
    return place, place.put_version("x", b"x")


@pytest.mark.parametrize(
    "code", ["NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError", "NotImplemented"]
)
def test_a_clear_no_is_none(locked: tuple[S3Versions, str], code: str) -> None:
    place, version = locked
    no = {question: failing(code, 404) for question in QUESTIONS}
    assert not answering(place, head_object=silent_head(place), **no).protection_of("x", version)
    assert place.protection_of("x", version), "its own word comes first"
    assert answering(place, **no).protection_of("x", version)


def test_an_invalid_request_is_a_no_where_the_bucket_has_no_locks_and_only_there(make: Make, s3: S3Server) -> None:
    place = make("plain")
    version = place.put_version("x", b"x")
    assert not place.protection_of("x", version)
    for answer in (
        failing("AccessDenied", 403),
        lambda **asked: {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}},
    ):
        with pytest.raises(TargetDownError, match="InvalidRequest"):
            answering(place, get_object_lock_configuration=answer).lock_of("x", version)


def test_a_lock_without_an_end_is_an_error(locked: tuple[S3Versions, str]) -> None:
    place, version = locked
    half = answering(
        place,
        head_object=silent_head(place),
        get_object_retention=lambda **asked: {"Retention": {"Mode": "COMPLIANCE"}},
    )
    with pytest.raises(DrError, match="not until when"):
        half.lock_of("x", version)


# -- versions ----------------------------------------------------------------------------------------


def test_every_version_is_listed_over_many_pages(make: Make) -> None:
    place = make("versioned")
    wrote = {(name, place.put_version(name, bytes([number]))) for name in "abc" for number in range(3)}
    place.remove("b")

    def two_a_page(**asked: Any) -> Any:
        return place._client.list_object_versions(MaxKeys=2, **asked)

    paged = answering(place, list_object_versions=two_a_page)
    found = list(paged.versions())
    assert {(v.name, v.id) for v in found if not v.marker} == wrote
    assert [(v.name, v.latest) for v in found if v.marker] == [("b", True)]
    assert paged.calls >= 5
    assert len(list(paged.versions(pages=2))) == 4
    assert {v.name for v in paged.versions("c")} == {"c"}


def test_a_list_that_breaks_off_is_an_error_not_an_end(make: Make) -> None:
    place = make("versioned")
    broken = answering(place, list_object_versions=lambda **asked: {"IsTruncated": True})
    with pytest.raises(TargetDownError, match="breaks off"):
        list(broken.versions())


def test_a_version_is_read_whole_and_in_part_put_back_and_deleted(make: Make) -> None:
    place = make("versioned")
    old, new = place.put_version("x", b"0123456789"), place.put_version("x", b"new")
    versions = {version.id: version for version in place.versions()}
    assert place.get_version("x", old) == b"0123456789" and place.get("x") == b"new"
    assert b"".join(place.read(versions[old], 2, 5)) == b"234" and list(place.read(versions[old], 5, 5)) == []
    assert versions[new].latest and not versions[old].latest
    place.lift(versions[old])
    assert place.get("x") == b"0123456789"
    for _ in range(2):
        place.delete_version("x", old)
    with pytest.raises(DamageError):
        place.get_version("x", old)
    assert place.sha256_of(versions[old]) == ""


# -- erasing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "versioned"])
def test_an_eraser_takes_every_version_and_marker(make: Make, kind: str) -> None:
    place = make(kind)
    for data in (b"a", b"b"):
        place.put("keys/x", data)
    place.put("other", b"stays")
    place.remove("keys/x")
    place.put("keys/y", b"c")
    eraser = S3Eraser(place)
    traces = eraser.traces("keys/")
    assert eraser.protections(traces) == []
    for trace in (*traces, *traces):
        eraser.erase(trace)
    assert eraser.traces("keys/") == [] and [trace.name for trace in eraser.traces("")] == ["other"]


def test_an_eraser_is_refused_what_is_locked_and_says_what_holds_it(locked: tuple[S3Versions, str]) -> None:
    place, version = locked
    eraser = S3Eraser(place)
    assert [bool(each.lock) for each in eraser.protections(eraser.traces(""))] == [True]
    with pytest.raises(RefusedError):
        eraser.erase(Trace("x", version))
    assert eraser.protections([Trace("gone", version)]) == [], "what went away meanwhile is not protected"
