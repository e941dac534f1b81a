"""Retention in a bucket: keys that may delete, named apart; locks under which nothing is called freed; a service away."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dr.errors import DEGRADED, FAILED, REFUSED
from dr.operations.run_due import run_due
from dr.queries.status import board
from dr.tools.s3_bucket import S3Bucket
from dr.tools.s3_versions import S3Versions
from scripts.servers.ports import own_ports
from scripts.servers.s3 import S3Server
from tests.e2e.expiring import RETENTION, Expiring, expiration, pruning


@pytest.fixture
def five(five: Expiring, monkeypatch: pytest.MonkeyPatch) -> Expiring:
    """Five points whose primary is put into a bucket next; the service's clock is the story's."""
    for each in (S3Versions, S3Bucket):
        monkeypatch.setattr(each, "now", lambda self: five.now)
    return five


def to_bucket(story: Expiring, server: S3Server, bucket: str, *, delete: str | None, more: str = "") -> None:
    """Put the primary into a bucket, and declare it there: the writer backs up, `delete` may delete."""
    for name in sorted(story.names("first")):
        data = (story.path("first") / name).read_bytes()
        server.client().put_object(Bucket=bucket, Key=f"dr/share/{name}", Body=data)
    declare(story, server.endpoint, bucket, server.write_keys(story.site.root / "keys", "writer"), more)
    if delete:
        keys = server.write_keys(story.site.root / "delete-keys", delete)
        more = f", delete_credentials: {{file: {keys}}}{more}"
        declare(story, server.endpoint, bucket, story.site.root / "keys", more)


def declare(story: Expiring, endpoint: str, bucket: str, keys: Path, more: str) -> None:
    place = f"endpoint: '{endpoint}', bucket: {bucket}, prefix: dr, credentials: {{file: {keys}}}{more}"
    story.declare(first=f"target: first\ns3: {{{place}}}\n")


def bytes_in(server: S3Server, bucket: str) -> int:
    """All bytes of all versions, but for locks."""
    listed: Any = server.client().list_object_versions(Bucket=bucket, Prefix="dr/share/")
    return sum(item["Size"] for item in listed.get("Versions", ()) if "/locks/" not in item["Key"])


def test_keys_named_apart_delete_where_those_of_backups_may_not(five: Expiring, s3: S3Server, bucket: str) -> None:
    story = five
    s3.append_only(bucket, "writer")
    to_bucket(story, s3, bucket, delete="writer")
    refused = story.expired()
    assert refused.expiration and refused.expiration.exit_code in (FAILED, REFUSED), "some restic ends with 0 here"
    assert expiration(refused).outcome == "failed" and not expiration(refused).expired and refused.pruning is None
    to_bucket(story, s3, bucket, delete="admin")
    found = story.expired(prune=False)
    assert [point.run_id for point in expiration(found).expired] == story.made[:3]
    before, freed = bytes_in(s3, bucket), pruning(story.expired())
    assert freed.outcome == "ok" and freed.freed_bytes == before - bytes_in(s3, bucket) > 500_000
    assert freed.points == tuple(story.made[:3])
    assert story.verify() == ["ok"] and story.points_at("first") == story.made[3:]


def test_without_such_keys_it_says_what_it_needs_and_the_board_shows_the_growth(
    five: Expiring, s3: S3Server, bucket: str
) -> None:
    story = five
    to_bucket(story, s3, bucket, delete=None)
    found = story.expired()
    assert found.expiration and found.expiration.exit_code == DEGRADED and found.pruning is None
    assert "first names no keys that may delete" in expiration(found).blocked[0]
    assert "`delete_credentials`" in expiration(found).blocked[0] and len(story.points_at("first")) == 5
    with closing(story.session) as session:
        problems = board(session, session.chosen(["share"]))[0].row.problems
        grows = [problem.text for problem in problems if problem.kind == "target_grows"]
        assert grows and "first only grows: it holds 5 recovery points, retention keeps at most 2" in grows[0]
        story.now += timedelta(days=2)
        assert run_due(session).expirations == [], "an append-only host is not told so each day"


def test_under_a_lock_nothing_is_called_freed(five: Expiring, s3: S3Server, bucket: str) -> None:
    story, locked = five, f"{bucket}-locked"
    s3.make_locked(locked, "compliance", days=1)
    to_bucket(story, s3, locked, delete="admin", more=", immutability: {mode: compliance, days: 1}")
    story.now = datetime.now(UTC)
    assert story.verify() == ["ok"]
    before = bytes_in(s3, locked)
    found = story.expired()
    fact, freed = expiration(found), pruning(found)
    assert len(fact.expired) == 3 and fact.versions_stay and fact.destroyable_from
    assert fact.destroyable_from - story.now > timedelta(hours=23)
    assert freed.freed_bytes == 0 and freed.hidden_bytes > 500_000 and bytes_in(s3, locked) >= before
    assert story.verify() == ["ok"]
    ran = story.site.dr("report", "--format", "md")
    assert "nobody can recover any more" not in ran.out and "as versions, locked until" in ran.out
    assert "nothing is freed yet" in ran.out


def test_while_the_service_s_clock_says_another_time_nothing_goes(
    five: Expiring, s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = five
    to_bucket(story, s3, bucket, delete="admin")
    monkeypatch.setattr(S3Versions, "now", lambda self: story.now + timedelta(days=400))
    found = story.expired()
    assert "off that of first: nothing expires until they agree" in expiration(found).blocked[0]


def test_a_service_that_is_away_is_a_failure_on_record(five: Expiring) -> None:
    story = five
    keys = story.site.root / "keys"
    keys.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    keys.chmod(0o600)
    declare(story, f"http://127.0.0.1:{own_ports(1)[0]}", "bucket", keys, f", delete_credentials: {{file: {keys}}}")
    story.declare(more=RETENTION, first=(story.site.root / "config/targets/first.yaml").read_text())
    found = story.expired()
    assert found.expiration and found.expiration.exit_code == FAILED and expiration(found).outcome == "failed"
    assert story.facts()[-1].error == expiration(found).error
