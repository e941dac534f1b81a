"""What runs of ours left behind on a target: what is taken on record, and where anything doubts, nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from dr.evidence.record import Copy, Point
from dr.run.points.left_behind import OwnRuns, with_left
from dr.run.workspace.machine import machine_name
from dr.tools.restic_events import Snapshot

NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)


def snapshot(name: str, run: str = "killed", source: str = "a", part: str = "data", **tags: str) -> Snapshot:
    marks = {"system": "sis", "run": run, "source": source, "part": part, "sources": "2", "kind": "files",
             "installation": "ours", "on": machine_name(), **tags}  # fmt: skip
    return Snapshot(id=name, time=NOON, paths=(), tags=marks, bytes=7, files=1)


def point(run_id: str, **snapshots: str) -> Point:
    copy = Copy(target="disk", complete=True, snapshots=snapshots)
    return Point(run_id=run_id, system="sis", consistency_time=NOON, finished=NOON, outcome="ok", kinds={},
                 copies=(copy,))  # fmt: skip


OURS = OwnRuns(installation="ours", is_known=lambda run: run in ("killed", "whole"), is_over=lambda run: True)


def left(snapshots: list[Snapshot], points: list[Point] | None = None, ours: OwnRuns = OURS) -> Any:
    return ours.left_behind(snapshots, points or [], system="sis", target="disk")


def test_what_a_killed_run_stored_is_one_point_that_is_not_whole_with_all_its_snapshots() -> None:
    some = [snapshot("1"), snapshot("2", source="b"), snapshot("3", source="b"), snapshot("4", part="amend")]
    [found] = left(some)
    assert (found.run_id, found.target, found.kinds) == ("killed", "disk", {"a": "files", "b": "files"})
    assert sorted(found.ids) == ["1", "2", "3", "4"], "a second snapshot of one source goes with it"
    [taken] = with_left([], [found], system="sis")
    assert not taken.complete and not taken.usable, "although both sources are there: nobody looked at it"
    assert sorted(taken.copies[0].every_id) == ["1", "2", "3", "4"]


def test_what_is_on_record_is_not_left_behind_and_what_lies_beside_it_goes_with_it() -> None:
    whole = point("whole", a="1")
    assert left([snapshot("1", "whole")], [whole]) == ()
    [found] = left([snapshot("1", "whole"), snapshot("2", "whole")], [whole])
    [taken] = with_left([whole], [found], system="sis")
    assert taken.complete and taken.copies[0].snapshots == {"a": "1"} and taken.copies[0].more == ("2",)


@pytest.mark.parametrize(
    "tags",
    [{"installation": "theirs"}, {"installation": ""}, {"on": "another-host"}, {"system": "other"}],
    ids=["another installation", "made before there were ids", "another host", "another system"],
)
def test_what_is_not_provably_ours_is_left_alone(tags: dict[str, str]) -> None:
    assert left([snapshot("1", **tags)]) == () and left([snapshot("1")])


def test_what_a_run_stores_that_is_at_work_is_left_alone() -> None:
    assert left([snapshot("1")], ours=replace(OURS, is_over=lambda run: run != "killed")) == ()


def test_where_another_installation_goes_by_our_id_nothing_is_taken() -> None:
    assert left([snapshot("1"), snapshot("2", "of nobody here")]) == ()
    assert left([snapshot("1"), snapshot("2", "of nobody here", installation="theirs")]), "who has an id of its own may"


def test_an_installation_without_an_id_takes_nothing() -> None:
    assert left([snapshot("1", installation="")], ours=replace(OURS, installation="")) == ()
