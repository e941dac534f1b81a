"""`mode: agent` as typed: restic on the other host sends straight to S3, and what it stored is proven from here."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dr.tools.restic import Repository
from tests.conftest import Site, plan_text
from tests.far import Far, command_lines
from tests.waiting import LIMIT, soon

CHECKS = """drill:
  checks:
    - manifest: {sample: 100%}
    - sql: {source: database, query: "select count(*) from students", expect: 200}
    - file: {source: uploads, path: "*.txt", expect: ">= 2", contains: "upload"}
    - command: {run: [sh, -c, 'test "$(wc -l <"$DR_SOURCE_EXPORT/export.csv")" = 5000'], expect: {exit: 0}}
"""


@pytest.fixture
def far(tmp_path: Path, restic_program: str) -> Iterator[Far]:
    with Far(tmp_path / "far").hold(restic_program) as server:
        yield server


@pytest.fixture
def sis(site: Site, far: Far, s3: Any, bucket: str) -> Site:
    """A system on another host, with one target in S3 and a disk here."""
    data = far.user_home / "data"
    (data / "uploads").mkdir(parents=True)
    for name in ("one.txt", "two.txt", "three \n of them.txt"):
        (data / "uploads" / name).write_text(f"upload {name}\n")
    (data / "uploads" / "big.bin").write_bytes(os.urandom(1_000_000))
    with open(os.fsencode(data / "uploads") + b"/\xff\xfe", "wb") as file:
        file.write(b"not UTF-8")
    database = sqlite3.connect(data / "sis.db")
    database.execute("create table students (id integer primary key, seen text)")
    database.executemany("insert into students (seen) values (?)", [("2026-01-01T00:00:00Z",)] * 200)
    database.commit()
    database.close()
    keys = s3.write_keys(site.root / "keys")
    for name in ("offsite", "vault"):
        place = f"endpoint: '{s3.endpoint}', bucket: {bucket}, prefix: {name}, credentials: {{file: {keys}}}"
        site.target(name, f"target: {name}\ns3: {{{place}}}\n")
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    site.env |= {"TEST_S3": s3.endpoint, "TEST_BUCKET": bucket, "TEST_ID": s3.access_key, "TEST_KEY": s3.secret_key}
    write_plan(site, far)
    return site


def write_plan(site: Site, far: Far, export: str = "seq 1 5000", targets: str = "[offsite, disk]") -> None:
    data = far.user_home / "data"
    site.plan("sis", plan_text(
        "sis",
        f"uploads: {{files: {{paths: [{data}/uploads], exclude: ['*.tmp']}}}}",
        f'database: {{sqlite: {{path: {data}/sis.db, newest: "select max(seen) from students"}}}}',
        f"export: {{command: {{run: [sh, -c, {export!r}], filename: export.csv}}}}",
        targets=targets, more=far.plan_host() + CHECKS,
    ))  # fmt: skip


def write_small_plan(site: Site, far: Far, export: str) -> None:
    source = f"export: {{command: {{run: [sh, -c, {export!r}], filename: export.csv}}}}"
    site.plan("sis", plan_text("sis", source, targets="[offsite]", more=far.plan_host()))


def repository(site: Site, target: str = "offsite") -> Repository:
    env = site.env
    secret = site.root / "state" / "secrets" / f"sis@{target}.passphrase"
    location = f"s3:{env['TEST_S3']}/{env['TEST_BUCKET']}/{target}/sis"
    keys = {"AWS_ACCESS_KEY_ID": env["TEST_ID"], "AWS_SECRET_ACCESS_KEY": env["TEST_KEY"]}
    return Repository(
        program=env["DR_RESTIC"], location=location if target != "disk" else str(site.root / "disk/sis"), where="sis",
        host="sis", env={**keys, "RESTIC_PASSWORD_FILE": str(secret)}, cache=site.root / "cache",
    )  # fmt: skip


def backup(site: Site, code: int = 0) -> Any:
    (run,) = site.dr("--json", "backup", "sis", code=code).document["runs"]
    return run


def drill(site: Site, *more: str) -> Any:
    (found,) = site.dr("--json", "drill", "sis", *more).document["drills"]
    return found


def test_every_kind_is_stored_from_there_and_comes_back_from_every_target(sis: Site, far: Far) -> None:
    shutil.rmtree(far.user_home / ".cache")  # for the first time: restic is brought there
    sis.dr("validate", "sis")
    run = backup(sis)
    assert {s["source"]: s["outcome"] for s in run["sources"]} == {"uploads": "ok", "database": "ok", "export": "ok"}
    assert [(t["target"], t["outcome"]) for t in run["targets"]] == [("offsite", "ok"), ("disk", "ok")]
    assert {s["source"]: s["files"] for s in run["sources"]} == {"uploads": 5, "database": 1, "export": 1}
    for target in ("offsite", "disk"):
        snapshots = repository(sis, target).snapshots()
        assert sorted(s.tags["part"] for s in snapshots) == ["data"] * 3 + ["manifest"] * 3
        assert {s.tags["form"] for s in snapshots} == {"agent"}
        found = drill(sis, "--target", target)
        assert (found["outcome"], found["checks_verdict"], found["proof_level"]) == ("ok", "passed", 5)
        assert found["data_rpa_seconds"] > 0
    assert drill(sis, "--scenario", "file-loss")["outcome"] == "ok"
    secrets = [sis.env["TEST_KEY"], (sis.root / "state/secrets/sis@offsite.passphrase").read_text().strip()]
    kept = [path for path in far.user_home.rglob("*") if path.is_file()]
    assert any(path.name.startswith("restic-") for path in kept)
    assert not any(secret.encode() in path.read_bytes() for path in kept for secret in secrets)


def test_a_drill_of_what_was_stored_elsewhere_can_fail(sis: Site, far: Far) -> None:
    far.program("sha256sum", "/usr/bin/sha256sum \"$@\" | sed -z 's/^[0-9a-f]\\{8\\}/00000000/'")
    far.program("tee", '/usr/bin/tee "$@"')
    write_plan(sis, far, targets="[offsite]")
    sis.dr("backup", "sis", code=None)
    far.plain()
    (found,) = sis.dr("--json", "drill", "sis", code=None).document["drills"]
    assert found["outcome"] == "failed"


def test_the_catalog_is_rebuilt_with_its_points_and_a_lost_manifest_makes_none_complete(sis: Site, far: Far) -> None:
    run = backup(sis)
    secrets = sis.root / "secrets"
    shutil.copytree(sis.root / "state" / "secrets", secrets)
    shutil.rmtree(sis.root / "state")
    shutil.copytree(secrets, sis.root / "state" / "secrets")
    points = sis.dr("--json", "points", "--rebuild").document["points"]
    assert [(p["run_id"], p["outcome"], sorted(p["targets"])) for p in points] == [
        (run["run_id"], "ok", ["disk", "offsite"])
    ]
    assert drill(sis)["outcome"] == "ok"

    store = repository(sis)
    lost = next(s.id for s in store.snapshots() if s.tags["part"] == "manifest" and s.tags["source"] == "uploads")
    store._call("forget", lost, doing="losing a manifest")
    write_plan(sis, far, targets="[offsite]")
    shutil.rmtree(sis.root / "state")
    shutil.copytree(secrets, sis.root / "state" / "secrets")
    sis.dr("points", "--rebuild", code=None)
    assert sis.dr("--json", "drill", "sis", code=None).document["drills"][0]["outcome"] == "failed"


def test_two_targets_in_s3_have_the_point_after_one_run(sis: Site, far: Far) -> None:
    write_plan(sis, far, targets="[offsite, vault]")
    run = backup(sis)
    assert [(t["target"], t["outcome"]) for t in run["targets"]] == [("offsite", "ok"), ("vault", "ok")]
    assert drill(sis, "--target", "vault")["checks_verdict"] == "passed"


def test_only_what_changed_is_read_again_and_the_second_point_is_whole_too(sis: Site, far: Far) -> None:
    backup(sis)
    (far.user_home / "data" / "uploads" / "new.txt").write_text("upload new")
    run = backup(sis)
    assert {s["source"]: s["files"] for s in run["sources"]}["uploads"] == 6
    (added,) = [s["bytes_added"] for s in run["sources"] if s["source"] == "uploads"]
    assert 0 < added < 100_000
    assert drill(sis)["checks_verdict"] == "passed"


def test_a_command_that_fails_half_way_fails_the_run_and_leaves_no_snapshot(sis: Site, far: Far) -> None:
    write_small_plan(sis, far, "seq 1 100000; echo the disk is full >&2; exit 3")
    run = backup(sis, code=1)
    assert run["outcome"] == "failed"
    assert "exit code 3" in run["sources"][0]["error"] and "the disk is full" in run["sources"][0]["error"]
    assert repository(sis).snapshots() == []


def test_an_sshd_that_dies_amid_the_capture_leaves_no_snapshot_and_it_is_tried_again(sis: Site, far: Far) -> None:
    begun = far.user_home / "begun"
    again = f"while ! test -e {begun}.go; do sleep 0.1; done; exit 0"
    once = f"echo line; if test -e {begun}; then {again}; fi; touch {begun}; while echo more; do sleep 0.1; done"
    write_small_plan(sis, far, once)
    running = sis.start("--json", "backup", "sis")
    assert soon(begun.exists)
    far.kill()
    assert soon(lambda: str(begun) not in command_lines())
    far.start()
    assert repository(sis).snapshots() == []  # what ran there ended with the connection, and left none
    begun.with_name("begun.go").touch()
    out, err = running.communicate(timeout=LIMIT)
    assert running.returncode == 0, err
    assert "trying again" in err and '"outcome": "ok"' in out
    assert sorted(s.tags["part"] for s in repository(sis).snapshots()) == ["data", "manifest"]
    assert drill(sis)["outcome"] == "ok"


def test_a_host_that_stays_away_fails_the_run_and_says_so(sis: Site, far: Far) -> None:
    far.kill()
    run = backup(sis, code=1)
    assert {s["outcome"] for s in run["sources"]} == {"failed"}
    assert all("cannot be reached" in s["error"] for s in run["sources"])
    assert repository(sis).snapshots() == []
    far.start()
    assert backup(sis)["outcome"] == "ok"


def test_stopping_the_program_stops_what_runs_there(sis: Site, far: Far) -> None:
    begun = far.user_home / "begun"
    write_small_plan(sis, far, f"touch {begun}; while echo more; do sleep 0.1; done")
    running = sis.start("backup", "sis")
    assert soon(begun.exists)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=LIMIT)
    assert running.returncode == 130
    assert soon(lambda: str(begun) not in command_lines())
    assert repository(sis).snapshots() == []
