from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import threading
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dr.evidence.record import Drill
from dr.report.verdict import rpo_verdict, rto_verdict
from dr.run.recovery.place.sandbox import sweep
from dr.tools import command

if TYPE_CHECKING:
    from tests.run.conftest import District

SQL = {"sql": {"source": "database", "query": "select count(*) from students", "expect": 1000}}
PHOTOS = {"file": {"source": "uploads", "path": "photos/*.jpg", "expect": 12}}


def outcomes(drill: Drill) -> dict[tuple[str, str | None], str]:
    return {(check.check, check.source): check.outcome for check in drill.checks}


def said(drill: Drill) -> str:
    return "\n".join(event.what for event in drill.events)


def sandboxes(district: District) -> list[str]:
    home = district.state.sandboxes
    return sorted(path.name for path in home.iterdir() if path.is_dir()) if home.is_dir() else []


# -- what a good drill says --------------------------------------------------------------------------


def test_a_drill_restores_all_sources_proves_them_and_leaves_nothing(district: District) -> None:
    drill = district.drill(checks=["manifest", SQL, PHOTOS])
    assert (drill.outcome, drill.error, drill.sandbox) == ("ok", None, "destroyed")
    assert set(outcomes(drill).values()) == {"ok"}
    assert set(drill.sources) == {"uploads", "database", "finance"}
    assert (drill.run_id, drill.target) == (district.points[0].run_id, "near")
    assert (drill.proof_level, drill.sample, drill.files) == (5, 1.0, 19)
    assert drill.bytes == drill.protected_bytes == district.points[0].bytes
    assert sandboxes(district) == []
    assert (drill.plan_digest, drill.versions) == ("0" * 64, {"dr": "test"})
    assert "GiB memory" in drill.machine


def test_a_drill_measures_phases_rta_rpa_and_the_newest_record(district: District) -> None:
    drill = district.drill(checks=["manifest", SQL])
    assert list(drill.phases) == ["declare", "provision", "restore", "start", "verify"]
    assert all(seconds >= 0 for seconds in drill.phases.values())
    assert drill.rta_seconds is not None
    last = max(check.finished for check in drill.checks if check.finished)
    assert drill.rta_seconds == pytest.approx((last - drill.t_loss).total_seconds(), abs=0.002)
    assert sum(drill.phases.values()) <= drill.rta_seconds + 0.01
    used = district.points[0].consistency_time
    assert drill.rpa_seconds == pytest.approx((drill.t_loss - used).total_seconds(), abs=0.002)
    newest = datetime.fromisoformat("2026-11-01T00:00:59Z")
    assert drill.data_rpa_seconds == pytest.approx((drill.t_loss - newest).total_seconds(), abs=0.002)
    assert [check.newest for check in drill.checks if check.check == "sql"] == [newest]
    assert drill.objectives.rto_seconds == 7200


def test_the_loss_may_lie_before_the_start_and_counts_from_there(district: District) -> None:
    earlier = district.points[0].consistency_time + timedelta(milliseconds=1)
    drill = district.drill(t_loss=earlier)
    assert drill.rta_seconds is not None
    assert drill.rta_seconds > (drill.started - earlier).total_seconds()
    assert drill.rpa_seconds == 0.001


def test_at_picks_the_point_and_nothing_else(district: District) -> None:
    older = district.points[1]
    drill = district.drill(at=older.consistency_time)
    assert (drill.run_id, drill.outcome, drill.files) == (older.run_id, "ok", 18)
    assert drill.requested_at == older.consistency_time
    assert drill.rpa_seconds == pytest.approx((drill.t_loss - older.consistency_time).total_seconds(), abs=0.002)


def test_target_picks_the_copy(district: District) -> None:
    assert district.drill(target="far").target == "far"


def test_keep_leaves_the_restored_data_and_says_where(district: District) -> None:
    drill = district.drill(keep=True)
    kept = district.state.sandboxes / drill.drill_id
    assert (drill.sandbox, str(kept) in said(drill)) == ("kept", True)
    uploads = kept / "uploads" / str(district.home / "srv" / "uploads").lstrip("/")
    assert (uploads / "late.txt").read_text() == "late"
    assert (kept / "finance" / "ledger.txt").read_text().startswith("ledgerledger")
    assert (kept / "database" / "sis.db").is_file()
    assert not list(kept.glob("*/dr-manifest"))
    assert sweep(district.state) == []


def test_two_drills_of_one_system_may_run_at_once(district: District) -> None:
    drills: list[Drill] = []
    threads = [
        threading.Thread(target=lambda name=name: drills.append(district.drill(drill_id=name)))
        for name in ("drill-1", "drill-2")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [drill.outcome for drill in drills] == ["ok", "ok"]


# -- the proof level ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("checks", "level", "sample"),
    [
        (["manifest"], 4, 1.0),
        (["manifest", SQL], 5, 1.0),
        ([{"manifest": {"sample": "10%"}}, SQL], 2, 0.1),
        ([{"manifest": {"source": "database"}}, SQL], 2, 1 / 19),
        ([SQL], 2, 0.0),
    ],
)
def test_the_proof_level_is_what_was_shown(district: District, checks: list[Any], level: int, sample: float) -> None:
    district.changed_point(copies=tuple(replace(c, proof_level=2) for c in district.points[0].copies))
    drill = district.drill(checks=checks)
    assert (drill.outcome, drill.proof_level) == ("ok", level)
    assert drill.sample == pytest.approx(sample, abs=1e-6)


# -- checks decide -----------------------------------------------------------------------------------


def test_a_mandatory_check_that_fails_fails_the_drill_and_there_is_no_rta(district: District) -> None:
    wrong = {"sql": {**SQL["sql"], "expect": ">= 1001"}}
    drill = district.drill(checks=["manifest", wrong])
    assert (drill.outcome, drill.rta_seconds, drill.error) == ("failed", None, None)
    assert drill.rpa_seconds is not None
    assert drill.proof_level == 0
    (check,) = [check for check in drill.checks if check.check == "sql"]
    assert (check.outcome, check.expected, check.observed) == ("failed", ">= 1001", "1000")


def test_a_check_that_is_not_mandatory_only_degrades(district: District) -> None:
    wrong = {"sql": {**SQL["sql"], "expect": ">= 1001"}, "mandatory": False}
    drill = district.drill(checks=["manifest", wrong])
    assert (drill.outcome, drill.proof_level) == ("degraded", 4)
    assert drill.rta_seconds is not None


@pytest.mark.parametrize("checks", [[], [{"manifest": {}, "mandatory": False}]])
def test_without_a_mandatory_check_rta_is_not_measured(district: District, checks: list[Any]) -> None:
    drill = district.drill(checks=checks)
    assert (drill.outcome, drill.rta_seconds) == ("degraded", None)
    assert "RTA is not measured" in said(drill)


def test_a_newest_record_that_cannot_be_read_is_said(district: District) -> None:
    sources = {**district.body["sources"]}
    broken = {**sources["database"]["sqlite"], "newest": "select max(x) from nothing"}
    sources["database"] = {"sqlite": broken}
    toolbox = district.toolbox(sources=sources)
    district.body = {**district.body, "sources": sources}
    assert toolbox.plan.sources["database"].newest
    drill = district.drill()
    assert (drill.outcome, drill.data_rpa_seconds) == ("degraded", None)
    assert "newest record of database could not be read" in said(drill)


# -- file loss ---------------------------------------------------------------------------------------


def test_file_loss_restores_what_the_file_checks_name_and_says_how_little(district: District) -> None:
    finance = {"file": {"source": "finance", "path": "*.txt"}}
    checks = ["manifest", PHOTOS, SQL, finance, {"command": {"run": ["true"]}}]
    drill = district.drill(scenario="file-loss", checks=checks)
    assert drill.outcome == "ok", drill
    assert outcomes(drill) == {
        ("manifest", "uploads"): "ok",
        ("manifest", "database"): "ok",
        ("file", "uploads"): "ok",
        ("sql", "database"): "ok",
        ("file", "finance"): "skipped",
        ("command", None): "skipped",
    }
    assert (drill.files, set(drill.sources)) == (13, {"uploads", "database"})
    assert 0 < drill.bytes < drill.protected_bytes
    assert drill.sample == pytest.approx(13 / 18, abs=1e-6)
    assert (drill.proof_level, drill.scenario) == (0, "file-loss")
    assert drill.rta_seconds is not None


def test_file_loss_without_file_checks_picks_one_file_by_the_drills_id(district: District) -> None:
    def restored(drill_id: str) -> set[str]:
        drill = district.drill(scenario="file-loss", checks=["manifest"], drill_id=drill_id, keep=True)
        assert (drill.outcome, drill.files) == ("ok", 2)
        top = district.state.sandboxes / drill_id / "uploads"
        found = {os.fsdecode(os.path.relpath(p, top)) for p in top.rglob("*") if not p.is_dir()}
        shutil.rmtree(top.parent)
        return found

    picks = [restored(f"drill-{n}") for n in range(3)]
    assert restored("drill-0") == picks[0]
    assert len(set(map(frozenset, picks))) > 1


def test_file_loss_never_proves_more_than_a_decrypted_sample(district: District) -> None:
    district.changed_point(copies=tuple(replace(c, proof_level=5) for c in district.points[0].copies))
    assert district.drill(scenario="file-loss").proof_level == 3


# -- which copy --------------------------------------------------------------------------------------


def test_a_target_that_does_not_answer_is_passed_over_and_said(own_district: District) -> None:
    shutil.rmtree(own_district.home / "near")
    drill = own_district.drill()
    assert (drill.target, drill.outcome) == ("far", "degraded")
    assert "target near cannot be used" in said(drill)
    assert drill.rta_seconds is not None


def test_a_named_target_is_never_replaced(own_district: District) -> None:
    shutil.rmtree(own_district.home / "near")
    drill = own_district.drill(target="near")
    assert (drill.outcome, drill.rta_seconds, drill.sandbox) == ("failed", None, "not used")
    assert "no repository" in (drill.error or "")


def test_an_older_point_serves_when_the_newest_has_no_target_that_answers(own_district: District) -> None:
    shutil.rmtree(own_district.home / "near")
    own_district.changed_point(copies=own_district.points[0].copies[:1])
    drill = own_district.drill()
    assert (drill.run_id, drill.target) == (own_district.points[1].run_id, "far")
    assert drill.outcome == "degraded"


def test_without_any_point_the_drill_is_a_failure_on_record(district: District) -> None:
    district.points.clear()
    drill = district.drill()
    assert (drill.outcome, drill.run_id, list(drill.phases)) == ("failed", None, ["declare"])
    assert "there is no recovery point yet" in (drill.error or "")


def test_a_source_that_the_point_lacks_is_said_and_its_own_checks_fail(district: District) -> None:
    more = {"minutes": {"files": {"paths": ["/srv/minutes"]}}}
    district.body = {**district.body, "sources": {**district.body["sources"], **more}}
    drill = district.drill()
    assert drill.outcome == "degraded"
    assert "does not hold the plan's source minutes" in said(drill)
    wanted = district.drill(checks=["manifest", {"file": {"source": "minutes", "path": "*"}}])
    assert (wanted.outcome, outcomes(wanted)["file", "minutes"]) == ("failed", "failed")


def test_sources_that_the_plan_no_longer_names_are_restored_and_compared_too(district: District) -> None:
    kept = {"uploads": district.body["sources"]["uploads"]}
    district.body = {**district.body, "sources": kept}
    drill = district.drill()
    assert (drill.outcome, drill.files, drill.proof_level) == ("ok", 19, 4)
    assert outcomes(drill)["manifest", "finance"] == outcomes(drill)["manifest", "database"] == "ok"
    assert "finance, which the plan no longer names" in said(drill)


# -- when things go wrong ----------------------------------------------------------------------------


def test_damage_in_the_repository_fails_the_drill_and_the_files_are_named_only_locally(
    own_district: District,
) -> None:
    harm_largest_pack(own_district.home / "near" / "sis")
    drill = own_district.drill(target="near")
    assert (drill.outcome, drill.rta_seconds) == ("failed", None)
    assert "could not be restored whole" in said(drill)
    assert "failed" in outcomes(drill).values()
    listed = own_district.state.details / "drill-1.txt"
    assert listed.stat().st_mode & 0o777 == 0o600
    assert b"\tmissing\t" in listed.read_bytes() or b"\tdiffers\t" in listed.read_bytes()
    assert ".jpg" not in repr(drill)
    assert own_district.drill(target="far").outcome == "ok"


def test_damage_is_judged_by_the_manifest_also_when_the_plan_has_no_such_check(
    own_district: District,
) -> None:
    harm_largest_pack(own_district.home / "near" / "sis")
    drill = own_district.drill(target="near", checks=[{"command": {"run": ["true"]}}])
    assert drill.outcome == "failed"
    assert "failed" in [outcome for (kind, _), outcome in outcomes(drill).items() if kind == "manifest"]


def test_the_next_whole_copy_is_tried_and_the_drill_is_not_ok(own_district: District) -> None:
    harm_largest_pack(own_district.home / "near" / "sis")
    drill = own_district.drill()
    newest = own_district.points[0].run_id
    assert (drill.outcome, drill.run_id, drill.target) == ("degraded", newest, "far")
    assert [(each.run_id, each.target) for each in drill.passed_over] == [(newest, "near")]
    assert "on near is not whole (" in said(drill) and "going on with the copy on far" in said(drill)
    assert drill.rta_seconds is not None and drill.rta_seconds > drill.phases["restore"], "the lost time counts"
    assert "failed" not in outcomes(drill).values()
    assert not (own_district.state.sandboxes / "drill-1").exists()


def harm_largest_pack(repository: Path) -> None:
    pack = max((p for p in (repository / "data").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    pack.chmod(0o600)
    data = bytearray(pack.read_bytes())
    for place in range(0, len(data) // 2, 997):
        data[place] ^= 0xFF
    pack.write_bytes(data)


def test_a_database_that_does_not_start_fails_the_drill_and_is_still_compared(own_district: District) -> None:
    srv = own_district.home / "srv"
    srv.mkdir()
    path = srv / "odd.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("create table t (x text)")
        database.executemany("insert into t values (?)", [("x" * 500,)] * 200)
    data = bytearray(path.read_bytes())
    data[8192:40960] = os.urandom(32768)
    path.write_bytes(data)
    own_district.body = {
        **own_district.body,
        "sources": {"database": {"files": {"paths": [str(path)]}}},
        "targets": ["near"],
    }
    point = own_district.backup("20261124T030000Z-cccccc")
    # The same snapshot taken for a database: what restic gave back is whole, and still does not start.
    own_district.body = {**own_district.body, "sources": {"database": {"sqlite": {"path": str(path)}}}}
    own_district.changed_point(kinds={"database": "sqlite"})
    assert point.kinds == {"database": "files"}
    drill = own_district.drill()
    assert (drill.outcome, drill.rta_seconds) == ("failed", None)
    assert "does not start" in (drill.error or "")
    assert outcomes(drill) == {("manifest", "database"): "ok"}


def test_a_wrong_passphrase_is_a_failed_drill_with_a_plain_reason(district: District) -> None:
    secret = district.state.secrets / "sis@near.passphrase"
    secret.write_text("wrong")
    drill = district.drill(target="near")
    assert (drill.outcome, drill.sandbox) == ("failed", "not used")  # refused before there is anything to restore
    assert "passphrase does not open" in (drill.error or "")
    assert sandboxes(district) == []


def test_too_little_room_is_a_failed_drill(district: District) -> None:
    district.changed_point(bytes=10**15)
    drill = district.drill()
    assert (drill.outcome, drill.sandbox) == ("failed", "not used")
    assert "the disk is too small" in (drill.error or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_a_disk_that_fills_during_the_restore_is_said(district: District) -> None:
    home = district.state.sandboxes
    home.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "none", home], check=False).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        district.changed_point(bytes=100)
        drill = district.drill()
        assert (drill.outcome, drill.sandbox) == ("failed", "destroyed")
        assert "the disk is full" in (drill.error or "")
        assert sandboxes(district) == []
    finally:
        subprocess.run(["umount", "-l", home], check=True)


# -- interrupted -------------------------------------------------------------------------------------


def waiting_check(pipe: Path) -> dict[str, Any]:
    """A check that says through `pipe` that it has begun, and then takes a minute."""
    return {"command": {"run": ["sh", "-c", f"echo begun > {pipe}; exec sleep 60"]}}


def test_an_interruption_ends_the_drill_as_aborted_and_cleans_up(district: District, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def interrupt() -> None:
        pipe.read_text()
        command.interrupt_all()

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        drill = district.drill(checks=["manifest", waiting_check(pipe), SQL])
    finally:
        thread.join()
        command.resume()
    assert (drill.outcome, drill.rta_seconds, drill.sandbox) == ("aborted", None, "destroyed")
    assert sandboxes(district) == []
    assert drill.error == "stopped on request"
    assert drill.rpa_seconds is not None and "met" not in (rto_verdict(drill).word, rpo_verdict(drill).word)
    assert ("command", None) not in outcomes(drill)


def test_a_drill_killed_outright_leaves_a_sandbox_that_the_next_run_sweeps(district: District, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    child = district.elsewhere(f"district.drill(checks=['manifest', {waiting_check(pipe)!r}])", tmp_path)
    pipe.read_text()
    assert sandboxes(district) == ["drill-1", "drill-1.cache"]
    assert sweep(district.state) == []
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert list((district.state.sandboxes / "drill-1").rglob("late.txt"))
    assert sweep(district.state) == ["drill-1", "drill-1.cache"]
    assert sandboxes(district) == []
