"""A service that is busy is asked again within the one budget, each try is said, and a refusal is told at once."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from dr.errors import InterruptedRunError, RefusedError, TargetDownError
from dr.tools import command, retry
from dr.tools.s3_bucket import S3Bucket
from dr.tools.s3_versions import Lock
from dr.tools.secrets import S3Keys
from scripts.servers.s3 import S3Server
from tests.proxy import Busy, busy

#: More refusals than boto3's own four tries would survive.
MANY = 6


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """No time passes while we wait: how long it would have been."""
    waited: list[float] = []
    monkeypatch.setattr(command, "wait_for_stop", waited.append)
    return waited


def a_bucket(front: Busy, server: S3Server, *, lock: bool = False) -> S3Bucket:
    """Return a new bucket, seen through the front."""
    keys = S3Keys(server.access_key, server.secret_key)
    made = S3Bucket(endpoint=front.endpoint, bucket=f"busy-{secrets.token_hex(6)}", prefix="p", keys=keys)
    made.make(lock=lock)
    return made


CALLS: dict[str, Callable[[S3Bucket], object]] = {
    "exists": lambda bucket: bucket.exists("config"),
    "list": lambda bucket: list(bucket.list()),
    "get": lambda bucket: bucket.get("config"),
    "blocks": lambda bucket: list(bucket.blocks("config")),
    "put": lambda bucket: bucket.put("other", b"more"),
    "remove": lambda bucket: bucket.remove("gone"),
    "versions": lambda bucket: list(bucket.versions()),
    "put a version": lambda bucket: bucket.put_version("other", b"more"),
    "head of a version": lambda bucket: bucket.protection_of("config", next(bucket.versions("config")).id),
    "lock": lambda bucket: bucket.lock(
        "config",
        next(bucket.versions("config")).id,
        Lock("governance", (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)),
    ),
    "settings": lambda bucket: bucket.settings(),
}


def test_every_call_outlasts_a_busy_service_and_says_each_try(
    s3: S3Server, waits: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with busy(s3.port) as front:
        bucket = a_bucket(front, s3, lock=True)
        bucket.put("config", b"kept")
        for name, call in CALLS.items():
            caplog.clear()
            front.refusals, before = MANY, len(waits)
            with caplog.at_level(logging.WARNING, "dr.retry"):
                call(bucket)
            said = [told.getMessage() for told in caplog.records if "trying again in" in told.getMessage()]
            assert len(said) == MANY == len(waits) - before, name
            assert all("s3://busy-" in each and ("SlowDown" in each or "status 503" in each) for each in said), said
        assert bucket.get("config") == b"kept" and bucket.get("other") == b"more"


def test_when_the_budget_is_spent_the_last_answer_is_told(
    s3: S3Server, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    class Clocked(retry.Patience):
        def __init__(self, *, budget: float) -> None:
            super().__init__(budget=budget, clock=lambda: now[0])

    def wait(seconds: float) -> bool:
        now[0] += seconds
        return False

    monkeypatch.setattr(retry, "Patience", Clocked)
    monkeypatch.setattr(command, "wait_for_stop", wait)
    with busy(s3.port) as front:
        bucket = a_bucket(front, s3)
        front.refusals = 10_000
        with pytest.raises(TargetDownError, match="SlowDown") as caught:
            bucket.put("config", b"kept")
        assert caught.value.retryable
        assert retry.BUDGET_SECONDS - 20 <= now[0] <= retry.BUDGET_SECONDS
        front.refusals = 0
        bucket.put("config", b"kept")  # a new request has a budget of its own


def test_a_service_that_says_when_to_come_again_is_asked_no_sooner_and_never_past_the_budget(
    s3: S3Server, waits: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with busy(s3.port) as front:
        bucket = a_bucket(front, s3)
        front.refusals, front.headers = 2, {"Retry-After": "45"}
        assert not bucket.exists("config") and waits == [45.0, 45.0]
        clock = {"Date": "Sat, 28 Nov 2026 10:00:00 GMT", "Retry-After": "Sat, 28 Nov 2026 10:01:30 GMT"}
        front.refusals, front.headers = 1, clock  # by its own clock, whatever ours says
        assert not bucket.exists("config") and waits[2:] == [90.0]
        front.refusals, front.headers = 1, {"Retry-After": "soon"}
        assert not bucket.exists("config") and waits[3] <= 1.0
        front.refusals, front.headers, before = 3, {"Retry-After": "3600"}, len(front.asked)
        with pytest.raises(TargetDownError, match="SlowDown"), caplog.at_level(logging.WARNING, "dr.retry"):
            bucket.get("config")
        assert len(front.asked) == before + 1 and len(waits) == 4
        assert "asks to be left alone for 3600 s" in caplog.text


@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (429, "TooManyRequests"), (503, "")])
def test_other_words_for_busy_are_tried_too(s3: S3Server, waits: list[float], status: int, code: str) -> None:
    with busy(s3.port, status=status, code=code) as front:
        bucket = a_bucket(front, s3)
        front.refusals = MANY
        assert not bucket.exists("config") and len(waits) == MANY


def test_a_refusal_and_what_the_service_has_not_are_told_at_once(s3: S3Server, waits: list[float]) -> None:
    with busy(s3.port, status=403, code="AccessDenied") as front:
        bucket = a_bucket(front, s3)
        for status, code, raised in ((403, "AccessDenied", RefusedError), (501, "NotImplemented", TargetDownError)):
            front.status, front.code, front.refusals = status, code, 1
            before = len(front.asked)
            with pytest.raises(raised):
                bucket.get("config")
            assert len(front.asked) == before + 1 and not waits


def test_who_stops_the_program_does_not_wait_for_a_busy_service(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "wait_for_stop", lambda seconds: bool(command.interrupt_all()))
    try:
        with busy(s3.port) as front:
            bucket = a_bucket(front, s3)
            front.refusals = MANY
            with pytest.raises(InterruptedRunError):
                bucket.get("config")
            assert front.refusals == MANY - 1
    finally:
        command.resume()


def test_a_service_that_is_not_there_is_asked_four_times(waits: list[float], caplog: pytest.LogCaptureFixture) -> None:
    bucket = S3Bucket(endpoint="http://127.0.0.1:9", bucket="none", keys=S3Keys("id", "planted-secret"))
    with caplog.at_level(logging.WARNING, "dr.retry"), pytest.raises(TargetDownError):
        bucket.get("config")
    assert len(waits) == retry.TRIES - 1 and caplog.text.count("EndpointConnectionError; trying again") == len(waits)
