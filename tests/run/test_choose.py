from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dr.errors import DrError
from dr.evidence.record import Copy, Point
from dr.run.points.choose import choose, in_words, last_unsuspected, suspect_in_words

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def point(hour: int, *copies: Copy) -> Point:
    when = NOON.replace(hour=hour)
    return Point(
        run_id=f"run-{hour}",
        system="sis",
        consistency_time=when,
        finished=when + timedelta(minutes=30),
        outcome="ok",
        kinds={"uploads": "files"},
        copies=copies,
    )


def copy(target: str, **more: Any) -> Copy:
    return Copy(**{"target": target, "complete": True, "snapshots": {"uploads": "1"}, **more})


def picked(points: list[Point], at: datetime = NOON, target: str | None = None) -> tuple[str, str]:
    found, from_copy = choose(points, at, target)
    return found.run_id, from_copy.target


def test_the_newest_point_consistent_in_time_is_chosen_from_its_first_target() -> None:
    points = [point(13, copy("near")), point(11, copy("near"), copy("far")), point(9, copy("near"))]
    assert picked(points) == ("run-11", "near")
    assert picked(points, NOON.replace(hour=11)) == ("run-11", "near")
    assert picked(points, NOON.replace(hour=10)) == ("run-9", "near")
    assert picked(list(reversed(points))) == ("run-11", "near")


def test_incomplete_and_damaged_copies_are_passed_over() -> None:
    points = [
        point(11, copy("near", complete=False), copy("far", damaged=True)),
        point(10, copy("near", damaged=True), copy("far")),
        point(9, copy("near")),
    ]
    assert picked(points) == ("run-10", "far")


def test_a_named_target_gives_its_own_newest_point() -> None:
    points = [point(11, copy("near")), point(10, copy("near"), copy("far"))]
    assert picked(points, target="far") == ("run-10", "far")


@pytest.mark.parametrize(
    ("points", "target", "says", "hint"),
    [
        ([], None, "no recovery point yet", "dr backup"),
        ([point(13, copy("near"))], None, "2026-11-24 12:00:00 UTC or before", "13:00:00 UTC"),
        ([point(11, copy("near", damaged=True))], None, "complete and undamaged", "dr points"),
        ([point(11, copy("near"))], "far", "no recovery point on far", "another target"),
    ],
)
def test_when_nothing_fits_the_reason_and_a_way_on_are_given(
    points: list[Point], target: str | None, says: str, hint: str
) -> None:
    with pytest.raises(DrError, match=says) as caught:
        choose(points, NOON, target)
    assert hint in caught.value.hint


def test_the_last_point_before_a_suspect_one_is_named_and_must_be_usable() -> None:
    bad, later, good = point(3, copy("near")), point(4, copy("near")), point(1, copy("near"))
    damaged = point(2, copy("near", damaged=True))
    points = [replace(later, suspect="taken after"), replace(bad, suspect="a"), damaged, good]
    assert last_unsuspected(points, points[0]) == good
    told = suspect_in_words(points, points[1]) or ""
    assert good.run_id in told and in_words(good.consistency_time) in told
    assert suspect_in_words(points, good) is None
    assert "there is no earlier one" in (suspect_in_words(points[:2], points[1]) or "")
