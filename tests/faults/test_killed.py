"""Killed at any instant, the next run puts it right and says so."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from datetime import datetime
from pathlib import Path

import pytest

from tests.conftest import Site, plan_text
from tests.forked import Running
from tests.waiting import LIMIT, soon


def _snapshots(site: Site, target: str, system: str) -> set[str]:
    folder = site.root / target / system / "snapshots"
    return set(os.listdir(folder)) if folder.is_dir() else set()


def _still_running(site: Site) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if b"restic" in line and str(site.root).encode() in line and int(entry.name) != os.getpid():
                found.append(f"{entry.name}: {line.split(bytes(1) + b'PATH=')[0]!r}")
    return found


def _slow(site: Site, then: str = "sleep 600") -> str:
    """A source that says that it has begun, and then does not come to its end."""
    return f"slow: {{command: {{run: [sh, -c, 'echo x; touch {site.root}/begun; {then}'], filename: x}}}}"


def _begun(site: Site, *arguments: str) -> Running:
    """Start the program, and return once its source has begun."""
    running = site.start(*arguments)
    assert soon(lambda: (site.root / "begun").exists() or running.poll() is not None)
    assert running.poll() is None
    return running


def _left_running(site: Site) -> list[str]:
    soon(lambda: not _still_running(site))
    return _still_running(site)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("killed", "seed", "longest"),
    [("plain_restic", 0, 2.4), ("plain_restic", 1, 2.4), ("quick_restic", 2, 1.6), ("quick_restic", 3, 1.6)],
)
def test_a_backup_killed_at_a_random_moment_is_healed_by_the_next_run(
    files_site: Site, request: pytest.FixtureRequest, killed: str, seed: int, longest: float
) -> None:
    """With restic as it is, it strikes while a key takes its time; what heals needs no such key."""
    site = files_site
    big = site.root / "source" / "big.bin"
    big.write_bytes(os.urandom(30_000_000))
    site.plan(
        "share",
        plan_text(
            "share",
            f"docs: {{files: {{paths: [{site.root}/source]}}}}",
            "dump: {command: {run: [sh, -c, 'seq 1 2000000'], filename: out.txt}}",
        ),
    )
    process = site.start("backup", "share", DR_RESTIC=request.getfixturevalue(killed))
    time.sleep(random.Random(seed).uniform(0.3, longest))
    process.kill()
    process.communicate()
    assert not _left_running(site), "restic must end with its parent"
    before = {each["run_id"] for each in site.dr("points", "--json", code=None).document["points"]}
    healed = site.dr("backup", "share", "--json").document["runs"][0]
    assert healed["outcome"] == "ok"
    points = site.dr("points", "--json").document["points"]
    assert points[0]["run_id"] == healed["run_id"] and points[0]["complete"]
    left = [each for each in points[1:] if each["run_id"] not in before]  # stored, and not yet on record
    assert len(left) <= 1 and not any(each["complete"] for each in left)
    assert healed["healed"] or not left, "what was left behind is told"
    assert site.dr("drill", "share", "--json").document["drills"][0]["outcome"] == "ok"
    assert site.dr("audit", "--json").document["outcome"] == "ok"
    assert site.dr("verify", "share", "--level", "2", "--json").document["proofs"][0]["outcome"] == "ok"
    assert not list((site.root / "state" / "work").iterdir())


def test_a_killed_run_is_recorded_as_aborted_never_as_ok(files_site: Site) -> None:
    files_site.plan("share", plan_text("share", _slow(files_site)))
    process = _begun(files_site, "backup", "share")
    process.kill()
    process.communicate()
    assert not _left_running(files_site)
    assert "a backup was interrupted" in files_site.dr("status", code=None).out
    files_site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{files_site.root}/source]}}}}"))
    files_site.dr("backup", "share")
    told = files_site.dr("report", "--format", "json").out
    assert '"outcome": "aborted"' in told
    assert not any("slow" in p["snapshots"] for p in files_site.dr("points", "--json").document["points"])


def test_ctrl_c_ends_the_run_with_130_and_no_snapshot(files_site: Site) -> None:
    files_site.plan("share", plan_text("share", _slow(files_site)))
    process = _begun(files_site, "backup", "share", "--json")
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert not _left_running(files_site)
    assert not _snapshots(files_site, "disk", "share")


def test_a_drill_killed_leaves_a_sandbox_that_the_next_drill_sweeps(files_site: Site) -> None:
    plan = plan_text(
        "share",
        f"docs: {{files: {{paths: [{files_site.root}/source]}}}}",
        more="drill: {checks: [manifest, {command: {run: [sleep, '600'], mandatory: false}}]}\n",
    )
    files_site.plan("share", plan)
    files_site.dr("backup", "share")
    process = files_site.start("drill", "share")
    sandboxes = files_site.root / "state" / "sandboxes"
    assert soon(lambda: any(sandboxes.glob("*/docs")))
    process.kill()
    process.communicate()
    assert any(sandboxes.glob("drill-*"))
    files_site.plan("share", plan.replace("sleep, '600'", "'true'"))
    assert files_site.dr("drill", "share", "--json").document["drills"][0]["outcome"] == "ok"
    assert not any(sandboxes.glob("drill-*"))
    assert '"aborted"' in files_site.dr("report", "--format", "json").out


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_recovery_killed_is_finished_by_the_next(files_site: Site, seed: int) -> None:
    (files_site.root / "source" / "big.bin").write_bytes(os.urandom(30_000_000))
    files_site.dr("backup", "share")
    out = files_site.root / "out"
    process = files_site.start("recover", "share", "--to", str(out), "--yes")
    time.sleep(random.Random(seed).uniform(0.3, 1.2))
    process.kill()
    process.communicate()
    assert not _left_running(files_site)
    ran = files_site.dr("recover", "share", "--to", str(out), "--yes", "--json", code=None)
    assert ran.code in (0, 2), ran.err  # 2: it had been finished before it was killed
    restored = out / "docs" / str(files_site.root / "source")[1:]
    assert not subprocess.run(
        ["diff", "-r", files_site.root / "source", restored], capture_output=True, check=False
    ).stdout


def test_the_same_system_twice_at_once_is_exit_11(files_site: Site) -> None:
    gate = files_site.root / "gate"
    files_site.plan("share", plan_text("share", _slow(files_site, f"until [ -e {gate} ]; do sleep 0.1; done")))
    first = _begun(files_site, "backup", "share")
    second = files_site.dr("backup", "share", "--json", code=11)
    assert second.document["runs"][0]["outcome"] == "skipped"
    assert "in use by another run" in second.err
    gate.touch()
    first.communicate()
    assert first.returncode == 0
    shutil.rmtree(files_site.root / "disk")


def test_while_a_first_backup_is_at_work_the_next_run_neither_proves_nor_drills_nor_blames(files_site: Site) -> None:
    site = files_site
    gate = site.root / "gate"
    site.plan("share", plan_text("share", _slow(site, f"until [ -e {gate} ]; do sleep 0.1; done")))
    first = _begun(site, "backup", "share")
    verify = site.dr("verify", "share", "--json", code=11).document["proofs"]
    assert {proof["outcome"] for proof in verify} == {"skipped"}
    second = site.dr("run", "--json", code=11).document
    assert second["drills"] == [], "there is nothing to drill yet: that is not a failed drill"
    gate.touch()
    first.communicate()
    assert first.returncode == 0
    row = site.dr("status", "--json").document["systems"][0]
    assert (row["rto_verdict"], row["last_drill"]) == ("unknown", None)
    assert site.dr("audit", "--json").document["records"] == 1, "the backup alone is on record"


def test_a_proof_that_could_not_be_made_is_on_record(files_site: Site) -> None:
    site = files_site
    site.dr("backup", "share")
    plan = site.root / "config" / "plans" / "share.yaml"
    plan.write_text(plan.read_text() + "secrets: {passphrase: {file: /nonexistent/secret}}\n")
    assert len(site.dr("verify", "share", "--json", code=12).document["proofs"]) == 2
    assert site.dr("audit", "--json").document["records"] == 3
    problems = site.dr("status", "--json").document["systems"][0]["problems"]
    assert any("the last verification failed" in problem for problem in problems)
    ran = site.dr("run", "--json", code=12).document
    assert ran["proofs"] == [], "it waits for its next time like any other that failed"


def test_a_run_that_came_to_nothing_is_on_record_from_its_start(files_site: Site) -> None:
    files_site.plan("share", plan_text("share", _slow(files_site)))
    running = _begun(files_site, "backup", "share", "--json")
    time.sleep(1)
    running.send_signal(signal.SIGTERM)
    out, _ = running.communicate(timeout=LIMIT)
    run = json.loads(out)["runs"][0]
    assert (running.returncode, run["outcome"]) == (130, "aborted")
    took = datetime.fromisoformat(run["finished"]) - datetime.fromisoformat(run["started"])
    assert took.total_seconds() > 1


def test_a_system_whose_files_hold_the_state_directory_itself_harms_nothing(files_site: Site) -> None:
    site = files_site
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{site.root}/source, {site.root}/state]}}}}"))
    for _ in range(2):
        process = site.start("backup", "share")
        while process.poll() is None:  # others open and close the catalog meanwhile
            site.dr("points", "--json")
        assert process.returncode == 0, process.communicate()
    assert len(site.dr("points", "--json").document["points"]) == 2
    assert site.dr("audit", "--json").document["records"] == 2
    assert site.dr("drill", "share", "--json").document["drills"][0]["outcome"] == "ok"


def test_a_backup_killed_before_its_source_said_a_word_leaves_nothing_running(files_site: Site) -> None:
    site = files_site
    site.plan("share", plan_text("share", "slow: {command: {run: [sleep, '600'], filename: x}}"))
    running = site.start("backup", "share")
    work = site.root / "state" / "work"
    assert soon(lambda: len(_about(work)) >= 2), "a guard for each target"
    time.sleep(2)
    running.kill()
    running.communicate()
    assert soon(lambda: not _about(work))
    assert _snapshots(site, "disk", "share") == set()


def _about(place: Path) -> list[str]:
    """The programs that have a place among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdecimal() else []
        except OSError:
            continue
        if any(word.startswith(os.fsencode(place)) for word in words):
            found.append(entry.name)
    return found
