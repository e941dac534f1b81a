from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dr.errors import LockedError, UsageError
from dr.run.recovery.destination import MARKER, Marker, read_marker
from dr.run.recovery.foresee import plan_recover
from dr.run.recovery.place.sandbox import claim
from dr.run.recovery.request import RecoveryRequest

if TYPE_CHECKING:
    from tests.run.conftest import District

SQL = {"sql": {"source": "database", "query": "select count(*) from students", "expect": 1000}}


def uploads(district: District, to: Path) -> Path:
    return to / "uploads" / str(district.home / "srv" / "uploads").lstrip("/")


def with_checks(district: District, *checks: Any) -> District:
    district.body = {**district.body, "drill": {"checks": list(checks)}}
    return district


def test_a_recovery_brings_everything_back_and_the_evidence_says_it_is_real(district: District, tmp_path: Path) -> None:
    to = tmp_path / "back" / "sis"
    fact = with_checks(district, "manifest", SQL).recover(to)
    assert (fact.outcome, fact.error, fact.real, fact.sandbox) == ("ok", None, True, "not used")
    assert (fact.proof_level, fact.files, fact.scenario) == (5, 19, "system-loss")
    assert list(fact.phases) == ["declare", "provision", "restore", "start", "verify"]
    assert fact.rta_seconds is not None
    assert {path.name for path in to.iterdir()} == {"uploads", "database", "finance"}
    assert to.stat().st_mode & 0o777 == 0o700
    assert (uploads(district, to) / "late.txt").read_text() == "late"
    assert (uploads(district, to) / "link").readlink() == Path("photos/0.jpg")
    assert (uploads(district, to) / "photos" / "1.jpg").stat().st_mode & 0o777 == 0o640
    with closing(sqlite3.connect(to / "database" / "sis.db")) as database:
        assert database.execute("select count(*) from students").fetchone() == (1000,)


def test_the_manifest_is_compared_in_full_whatever_the_plan_samples(district: District, tmp_path: Path) -> None:
    fact = with_checks(district, {"manifest": {"sample": "1%"}}).recover(tmp_path / "to")
    assert (fact.outcome, fact.sample) == ("ok", 1.0)
    assert [check.check for check in fact.checks] == ["manifest"] * 3


def test_at_and_target_are_followed(district: District, tmp_path: Path) -> None:
    older = district.points[1]
    fact = district.recover(tmp_path / "to", at=older.consistency_time, target="far")
    assert (fact.run_id, fact.target, fact.outcome) == (older.run_id, "far", "ok")
    assert not (uploads(district, tmp_path / "to") / "late.txt").exists()


# -- existing data -----------------------------------------------------------------------------------


def test_a_directory_that_is_not_empty_is_refused_and_not_touched(district: District, tmp_path: Path) -> None:
    to = tmp_path / "to"
    to.mkdir()
    (to / "precious").write_text("mine")
    with pytest.raises(UsageError, match="not empty") as caught:
        district.recover(to)
    assert caught.value.exit_code == 2
    assert [path.name for path in to.iterdir()] == ["precious"]


def test_an_empty_directory_and_a_fresh_filesystem_are_accepted(district: District, tmp_path: Path) -> None:
    to = tmp_path / "to"
    (to / "lost+found").mkdir(parents=True)
    assert district.recover(to).outcome == "ok"


def test_a_file_is_refused(district: District, tmp_path: Path) -> None:
    (tmp_path / "to").write_text("a file")
    with pytest.raises(UsageError, match="not a directory"):
        district.recover(tmp_path / "to")


def test_force_writes_over_what_is_there_and_leaves_the_rest(district: District, tmp_path: Path) -> None:
    to = tmp_path / "to"
    stale = uploads(district, to) / "late.txt"
    stale.parent.mkdir(parents=True)
    stale.write_text("stale and much longer")
    (to / "precious").write_text("mine")
    fact = district.recover(to, force=True)
    assert (fact.outcome, stale.read_text(), (to / "precious").read_text()) == ("ok", "late", "mine")


def test_the_unfinished_recovery_of_another_system_is_refused(district: District, tmp_path: Path) -> None:
    (tmp_path / MARKER).write_text('{"system": "finance", "run_id": "r", "drill_id": "d"}')
    with pytest.raises(UsageError, match="unfinished recovery of finance"):
        district.recover(tmp_path, force=True)


def test_a_second_recovery_into_the_same_place_is_locked_out(district: District, tmp_path: Path) -> None:
    to = tmp_path / "to"
    to.mkdir()
    held = claim(to)
    assert held is not None
    try:
        with pytest.raises(LockedError) as caught:
            district.recover(to)
        assert (caught.value.exit_code, list(to.iterdir())) == (11, [])
    finally:
        os.close(held)


# -- interrupted and failed --------------------------------------------------------------------------


def test_a_recovery_killed_outright_goes_on_with_the_same_point_and_mends_what_was_torn(
    district: District, tmp_path: Path
) -> None:
    pipe, to = tmp_path / "pipe", tmp_path / "to"
    os.mkfifo(pipe)
    waiting = {"command": {"run": ["sh", "-c", f"echo begun > {pipe}; exec sleep 60"]}}
    newest = district.points.pop(0)
    begun = district.points[0].run_id
    plan = {**district.body, "drill": {"checks": [waiting]}}
    district.body, kept = plan, district.body
    child = district.elsewhere(f"district.recover(Path({str(to)!r}))", tmp_path)
    pipe.read_text()
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert read_marker(to) == Marker(system="sis", run_id=begun, drill_id="recovery-1")
    photos = uploads(district, to) / "photos"
    (photos / "1.jpg").unlink()
    status = (photos / "2.jpg").stat()
    (photos / "2.jpg").write_bytes(b"\0" * status.st_size)  # as a power cut leaves it: right size, right time
    os.utime(photos / "2.jpg", ns=(status.st_atime_ns, status.st_mtime_ns))
    district.body = kept
    district.points.insert(0, newest)
    left = district.state.sandboxes
    assert [path.name for path in left.iterdir() if path.is_dir()] == ["recovery-1.cache"]
    fact = district.recover(to, drill_id="recovery-2")  # each has an id of its own
    assert (fact.outcome, fact.run_id, fact.files) == ("ok", begun, 18)
    assert [path.name for path in left.iterdir() if path.is_dir()] == []
    assert {path.name for path in to.iterdir()} == {"uploads", "database", "finance"}
    original = district.home / "srv" / "uploads" / "photos"
    assert (photos / "2.jpg").read_bytes() == (original / "2.jpg").read_bytes()


def test_an_unfinished_recovery_is_not_mixed_with_another_point(district: District, tmp_path: Path) -> None:
    to = tmp_path / "to"
    failed = with_checks(district, {"sql": {**SQL["sql"], "expect": 1}}).recover(to)
    assert (failed.outcome, failed.rta_seconds) == ("failed", None)
    assert read_marker(to) is not None
    older = district.points[1].consistency_time
    with pytest.raises(UsageError, match="unfinished recovery of another point"):
        district.recover(to, at=older)
    assert with_checks(district, SQL).recover(to).run_id == district.points[0].run_id
    assert read_marker(to) is None


def test_a_recovery_whose_point_is_forgotten_is_refused_unless_forced(district: District, tmp_path: Path) -> None:
    (tmp_path / MARKER).write_text('{"system": "sis", "run_id": "forgotten", "drill_id": "d"}')
    with pytest.raises(UsageError, match="another point, forgotten"):
        district.recover(tmp_path)
    to = tmp_path / "to"
    to.mkdir()
    (to / MARKER).write_text('{"system": "sis", "run_id": "forgotten", "drill_id": "d"}')
    assert district.recover(to, force=True).outcome == "ok"


def test_too_little_room_touches_nothing(district: District, tmp_path: Path) -> None:
    district.changed_point(bytes=10**15)
    fact = district.recover(tmp_path / "to")
    assert (fact.outcome, (tmp_path / "to").exists()) == ("failed", False)
    assert "the disk is too small" in (fact.error or "")


def test_without_a_point_nothing_is_made(district: District, tmp_path: Path) -> None:
    district.points.clear()
    fact = district.recover(tmp_path / "to")
    assert (fact.outcome, (tmp_path / "to").exists()) == ("failed", False)


def test_a_place_that_cannot_be_written_is_said(district: District, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=f"{tmp_path}/file: this is a file, not a directory"):
        district.recover(tmp_path / "file" / "to")


# -- dry run -----------------------------------------------------------------------------------------


def test_a_dry_run_says_what_would_be_done_and_touches_nothing(district: District, tmp_path: Path) -> None:
    point, to = district.points[0], tmp_path / "to"
    plan = plan_recover(district.toolbox(), district.points, request(to, point.finished))
    assert (plan.system, plan.run_id, plan.target) == ("sis", point.run_id, "near")
    assert (plan.bytes, plan.sources) == (point.bytes, ("database", "finance", "uploads"))
    assert (plan.fits, plan.resumes, plan.notes) == (True, False, ())
    assert not to.exists()


def test_a_dry_run_refuses_what_the_recovery_would_refuse(district: District, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(UsageError):
        plan_recover(district.toolbox(), district.points, request(tmp_path, district.points[0].finished))


def test_a_dry_run_says_when_it_would_not_fit_and_which_target_is_down(own_district: District, tmp_path: Path) -> None:
    shutil.rmtree(own_district.home / "near")
    own_district.changed_point(bytes=10**15)
    asked = request(tmp_path / "to", own_district.points[0].finished)
    plan = plan_recover(own_district.toolbox(), own_district.points, asked)
    assert (plan.fits, plan.target) == (False, "far")
    assert "target near cannot be used" in plan.notes[0]


def request(to: Path, when: Any) -> RecoveryRequest:
    return RecoveryRequest(drill_id="recovery-1", to=to, t_loss=when, clock=lambda: when)
