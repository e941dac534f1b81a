"""A replica that forgets in a bucket: versions, locks, the service's clock, and keys that may not delete."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dr.queries.attack_history import history_of
from dr.tools.s3_bucket import S3Bucket
from dr.tools.s3_versions import S3Versions
from scripts.servers.s3 import S3Server
from tests.e2e.bucket import seconds_pass
from tests.e2e.forgetful import DAY, Story, found_in


def to_bucket(story: Story, server: S3Server, bucket: str, *, user: str = "admin", more: str = "") -> None:
    """Put the replica as it is into a bucket, and declare it there."""
    access, secret = server.keys(user)
    keys = story.site.root / "keys"
    keys.write_text(f"[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n")
    for name in sorted(story.names("second")):
        data = (story.path("second") / name).read_bytes()
        server.client().put_object(Bucket=bucket, Key=f"dr/share/{name}", Body=data)
    place = f"endpoint: '{server.endpoint}', bucket: {bucket}, prefix: dr, credentials: {{file: {keys}}}{more}"
    story.site.target("second", f"target: second\ns3: {{{place}}}\nforget_after: 30d\n")


def on_top(server: S3Server, bucket: str) -> set[str]:
    listed = server.client().list_objects_v2(Bucket=bucket, Prefix="dr/share/")["Contents"]
    return {item["Key"].removeprefix("dr/share/") for item in listed if "/locks/" not in item["Key"]}


def versions(server: S3Server, bucket: str) -> set[str]:
    listed = server.client().list_object_versions(Bucket=bucket, Prefix="dr/share/")["Versions"]
    return {item["Key"].removeprefix("dr/share/") for item in listed if "/locks/" not in item["Key"]}


@pytest.fixture
def one_clock(expired: Story, monkeypatch: pytest.MonkeyPatch) -> Story:
    """The service's clock is the story's, and both begin with the true time."""
    expired.now = datetime.now(UTC)
    for each in (S3Versions, S3Bucket):
        monkeypatch.setattr(each, "now", lambda self: expired.now)
    return expired


def follow(story: Story) -> Any:
    story.follow(30, step=10)
    assert "nothing was decrypted since" in found_in(story.replicate()).kept[0], "an index may lie about its packs"
    assert story.verify()[1] == "ok"
    return story.replicate(timedelta(hours=1))


def test_under_a_lock_it_is_hidden_and_stays_below_until_the_lock_runs_out(
    one_clock: Story, s3: S3Server, bucket: str
) -> None:
    story, locked = one_clock, f"{bucket}-locked"
    s3.make_locked(locked, "governance", days=60)
    to_bucket(story, s3, locked, more=", immutability: {mode: governance, days: 60}")
    before, last = on_top(s3, locked), story.now + 60 * DAY
    fact = follow(story)
    done = found_in(fact)
    assert sorted(done.points) == story.made[:2] and on_top(s3, locked) == story.names("first")
    assert done.versions_stay and done.destroyable_from and done.destroyable_from >= last - timedelta(minutes=5)
    assert versions(s3, locked) >= before, "nothing was destroyed"
    assert story.verify()[1] == "ok"
    with closing(story.session) as session:
        place = session.toolbox(session.chosen(["share"])[0]).place("second")
        told = history_of(session, place, "share")
        assert told and told.onset is None and told.ordinary >= done.objects, "it is not taken for an attack"
        needed = next(name for name in story.names("first") if name.startswith("data/"))
        seconds_pass()
        s3.client().delete_object(Bucket=locked, Key=f"dr/share/{needed}")
        told = history_of(session, place, "share")
        assert told and told.onset, "and an attack is"


def test_keys_that_may_not_delete_forget_nothing_and_say_so(one_clock: Story, s3: S3Server, bucket: str) -> None:
    story = one_clock
    to_bucket(story, s3, bucket, user="writer")
    s3.append_only(bucket)
    before = on_top(s3, bucket)
    fact = follow(story)
    assert fact.outcome == "degraded" and "may not delete there" in (fact.error or "")
    assert on_top(s3, bucket) >= before and not found_in(fact).objects
    with closing(story.session) as session:
        state = session.catalog.place_states(["share"], now=session.clock())["share"]["second"]
        assert "may not delete" in (state.problem or "")


def test_a_clock_that_the_service_does_not_share_counts_no_time(expired: Story, s3: S3Server, bucket: str) -> None:
    story = expired
    to_bucket(story, s3, bucket)
    fact = story.follow(40, step=10)
    assert "clock is" in found_in(fact).kept[0] and found_in(fact).waiting == ()
    with closing(story.session) as session:
        assert session.catalog.absences("share", "second") == []
