"""A copy within one service bears no lock and no legal hold that nobody ordered for it."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dr.tools.s3 import S3Store
from dr.tools.s3_versions import S3Versions
from dr.tools.secrets import S3Keys
from scripts.servers.s3 import S3Server

DATA = b"stored bytes " * 1000
FAR = timedelta(days=400)


def made(server: S3Server, days: int | None) -> str:
    """A bucket: without Object Lock (None), with it, or with it and a default of so many days."""
    name = f"test-{secrets.token_hex(6)}"
    if days is None:
        server.client().create_bucket(Bucket=name)
    else:
        server.make_locked(name, "compliance", days)
    return name


def store(server: S3Server, bucket: str) -> S3Versions:
    return S3Versions(endpoint=server.endpoint, bucket=bucket, prefix="a", keys=S3Keys(*server.keys()))


def put_locked(server: S3Server, bucket: str) -> str:
    """An object under a long lock and a legal hold; its version."""
    client, until = server.client(), datetime.now(UTC) + FAR
    one: dict[str, Any] = {"Bucket": bucket, "Key": "a/x"}
    version = client.put_object(**one, Body=DATA)["VersionId"]
    client.put_object_retention(**one, Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until})
    client.put_object_legal_hold(**one, LegalHold={"Status": "ON"})
    return str(version)


@pytest.mark.parametrize("days", [None, 0, 1], ids=["no lock there", "no default there", "a default there"])
def test_what_a_copy_is_locked_for_is_what_its_own_bucket_says(s3: S3Server, days: int | None) -> None:
    origin, bucket = made(s3, 0), made(s3, days)
    put_locked(s3, origin)
    there: S3Store = store(s3, bucket)
    assert there.take("x", store(s3, origin), sha256=hashlib.sha256(DATA).hexdigest())
    assert there.get("x") == DATA
    head = s3.client().head_object(Bucket=bucket, Key="a/x")
    until = head.get("ObjectLockRetainUntilDate")
    assert head.get("ObjectLockLegalHoldStatus", "OFF") == "OFF"
    assert (until is None) == (days != 1) and (until is None or until < datetime.now(UTC) + timedelta(days=2))


def test_the_service_copies_where_nothing_is_locked(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    origin, bucket = made(s3, None), made(s3, None)
    source, there = store(s3, origin), store(s3, bucket)
    source.put("x", DATA)
    monkeypatch.setattr(S3Store, "_written", None)  # nothing goes by this machine
    assert there.take("x", source, sha256=hashlib.sha256(DATA).hexdigest()) and there.get("x") == DATA
    assert not there.take("x", source, sha256="0" * 64)


@pytest.mark.parametrize("days", [0, 1], ids=["no default", "a default"])
def test_a_version_put_back_on_top_is_locked_anew_and_no_longer(s3: S3Server, days: int) -> None:
    bucket = made(s3, days)
    right = put_locked(s3, bucket)
    place = store(s3, bucket)
    place.put("x", b"encrypted")
    version = next(each for each in place.versions() if each.id == right)
    place.lift(version)
    assert place.get("x") == DATA
    head = s3.client().head_object(Bucket=bucket, Key="a/x")
    until = head.get("ObjectLockRetainUntilDate")
    assert head["VersionId"] != right and head.get("ObjectLockLegalHoldStatus", "OFF") == "OFF"
    assert (until is None) == (not days) and (until is None or until < datetime.now(UTC) + timedelta(days=2))


def test_what_may_not_be_asked_counts_as_locked(s3: S3Server) -> None:
    bucket = made(s3, 0)
    keys = S3Keys(s3.keys("keeper")[0], "not-its-secret")
    assert store(s3, bucket).lockless is False and store(s3, made(s3, None)).lockless is True
    refused = S3Versions(endpoint=s3.endpoint, bucket=bucket, prefix="a", keys=keys)
    assert refused.lockless is False
