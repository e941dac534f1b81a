from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dr.run.timetravel.attack_history import History, read_history
from dr.tools.store import Version

T0 = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
KEY, KEY2, INDEX = (f"{part}/{digit * 64}" for part, digit in (("keys", "1"), ("keys", "2"), ("index", "3")))
OLD, NEW = f"snapshots/{'4' * 64}", f"snapshots/{'5' * 64}"
PACK = f"data/66/{'6' * 64}"
LOCK = f"locks/{'7' * 64}"
HOUR = 3600


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


class Bucket:
    """A repository's versions, written down."""

    def __init__(self) -> None:
        self.versions: list[Version] = []
        for name in ("config", KEY):
            self.put(name, 0)
        for name in (PACK, INDEX, OLD):
            self.put(name, 10)

    def put(self, name: str, seconds: float, tag: str = "first") -> Bucket:
        self.versions.insert(0, Version(name, str(len(self.versions)), 100, at(seconds), etag=tag))
        return self

    def delete(self, name: str, seconds: float) -> Bucket:
        self.versions.insert(0, Version(name, str(len(self.versions)), 0, at(seconds), marker=True))
        return self

    def history(self, **asked: object) -> History:
        return read_history(self.versions, **asked)  # type: ignore[arg-type]


def onset(history: History) -> float | None:
    return (history.onset - T0).total_seconds() if history.onset else None


def test_a_quiet_bucket_tells_of_no_attack() -> None:
    found = Bucket().put(NEW, HOUR).put(LOCK, HOUR - 5).delete(LOCK, HOUR + 5).history()
    assert (found.onset, found.before, found.objects, found.ordinary) == (None, None, 6, 0)


@pytest.mark.parametrize("name", ["config", KEY, OLD, INDEX, PACK])
def test_whatever_is_overwritten_or_deleted_without_reason_is_an_attack(name: str) -> None:
    for bucket in (Bucket().put(name, HOUR, "junk"), Bucket().delete(name, HOUR)):
        found = bucket.history()
        assert onset(found) == HOUR
        assert found.before == at(HOUR - 2), "before its second, and the grain of a view"


def test_what_followed_is_counted_by_part() -> None:
    bucket = Bucket().put("config", HOUR, "junk").delete(PACK, HOUR + 60).put(f"index/{'9' * 64}", HOUR + 60)
    found = bucket.delete("config", HOUR + 90).history()
    assert found.harm == {"config overwritten": 1, "data deleted": 1}
    assert (found.added, found.last) == (1, at(HOUR + 60))


def test_a_prune_under_its_lock_is_ordinary() -> None:
    bucket = Bucket().put(LOCK, HOUR).put(f"index/{'9' * 64}", HOUR + 1).delete(INDEX, HOUR + 2)
    found = bucket.delete(PACK, HOUR + 3).delete(LOCK, HOUR + 4).history()
    assert (found.onset, found.ordinary) == (None, 2)
    assert onset(Bucket().put(LOCK, HOUR).delete(LOCK, HOUR + 4).delete(PACK, HOUR + 60).history()) == HOUR + 60


def test_retention_that_leaves_the_newest_snapshot_is_ordinary() -> None:
    assert Bucket().put(NEW, HOUR).delete(OLD, 2 * HOUR).history().onset is None


def test_snapshots_that_the_record_needs_are_not_expired_by_anybody_lawful() -> None:
    bucket = Bucket().put(NEW, HOUR).delete(OLD, 2 * HOUR)
    assert onset(bucket.history(live={"4" * 64})) == 2 * HOUR
    assert bucket.history(live={"5" * 64}).onset is None


def test_expiring_all_snapshots_is_an_attack_also_when_a_backup_made_one_since() -> None:
    bucket = Bucket().put(NEW, HOUR).delete(OLD, 2 * HOUR).delete(NEW, 2 * HOUR).put(f"snapshots/{'8' * 64}", 3 * HOUR)
    assert onset(bucket.history()) == 2 * HOUR


def test_a_key_that_goes_when_another_is_there_is_a_rotation_the_last_one_is_not() -> None:
    assert Bucket().put(KEY2, HOUR).delete(KEY, HOUR + 60).history().onset is None
    assert onset(Bucket().put(KEY2, HOUR).delete(KEY, 2 * HOUR).delete(KEY2, 2 * HOUR).history()) == 2 * HOUR


def test_an_attack_began_with_the_first_thing_of_the_same_act() -> None:
    """One key of two deleted looks lawful by itself; not when everything else goes a minute later."""
    bucket = Bucket().put(KEY2, 60).delete(KEY, HOUR).delete("config", HOUR + 60).delete(KEY2, HOUR + 60)
    assert onset(bucket.history()) == HOUR


def test_what_was_put_back_since_counts_no_more() -> None:
    bucket = Bucket().put("config", HOUR, "junk").delete("config", HOUR + 1).put("config", 2 * HOUR)
    assert bucket.history().onset is None
    assert onset(bucket.put("config", 3 * HOUR, "junk").history()) == 3 * HOUR


def test_what_was_harmless_is_asked_of_the_first_changes_only() -> None:
    bucket = Bucket().put(INDEX, HOUR, "stored again").put(PACK, 2 * HOUR, "junk").put(OLD, 3 * HOUR, "junk")
    asked: list[str] = []
    found = bucket.history(harmless=lambda change: asked.append(change.name) or change.name == INDEX)
    assert (onset(found), asked) == (2 * HOUR, [INDEX, PACK])
    assert found.harm == {"data overwritten": 1, "snapshots overwritten": 1}


def test_objects_that_are_no_part_of_a_repository_do_not_matter() -> None:
    assert (
        Bucket().put("note.txt", 1).delete("note.txt", HOUR).put("state/x", 1).put("state/x", HOUR, "b").history().onset
        is None
    )
