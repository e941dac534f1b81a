"""The program as typed, from plans to report, on a real S3 server and a local disk."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.conftest import Ran, Site, plan_text

SOURCES = ("uploads: {{files: {{paths: [{root}/uploads]}}}}", "database: {{sqlite: {{path: {root}/sis.db, newest: \"select max(seen) from students\"}}}}", "export: {{command: {{run: [sh, -c, \"seq 1 500\"], filename: export.csv}}}}")  # fmt: skip
CHECKS = """drill:
  checks:
    - manifest: {sample: 100%}
    - sql: {source: database, query: "select count(*) from students", expect: ">= 100"}
    - file: {source: uploads, path: "*.txt", expect: ">= 2", contains: "upload"}
    - command: {run: [sh, -c, 'test -s "$DR_SOURCE_EXPORT/export.csv"'], expect: {exit: 0}}
"""


@pytest.fixture
def sis(site: Site, s3, bucket: str) -> Site:
    root = site.root
    (root / "uploads").mkdir()
    for name in ("one", "two"):
        (root / "uploads" / f"{name}.txt").write_text(f"upload {name}\n")
    with sqlite3.connect(root / "sis.db") as database:
        database.execute("create table students (id integer primary key, seen text)")
        database.executemany("insert into students (seen) values (?)", [("2026-01-01T00:00:00Z",)] * 200)
    database.close()
    credentials = s3.write_keys(root / "keys")
    site.target(
        "offsite",
        f"target: offsite\ns3: {{endpoint: '{s3.endpoint}', bucket: {bucket}, prefix: dr, credentials: {{file: {credentials}}}}}\n",
    )
    site.target("disk", f"target: disk\nlocal: {{path: {root}/disk}}\n")
    site.plan("sis", plan_text("sis", *(s.format(root=root) for s in SOURCES), targets="[offsite, disk]", more=CHECKS))
    return site


def test_a_system_is_backed_up_proven_drilled_recovered_and_reported(sis: Site) -> None:
    run = sis.dr("backup", "sis", "--json").document["runs"][0]
    assert run["outcome"] == "ok"
    assert {s["source"]: s["outcome"] for s in run["sources"]} == {"uploads": "ok", "database": "ok", "export": "ok"}
    assert [t["outcome"] for t in run["targets"]] == ["ok", "ok"]

    proofs = sis.dr("verify", "sis", "--level", "3", "--json").document["proofs"]
    assert {(p["target"], p["level_reached"], p["outcome"]) for p in proofs} == {
        ("offsite", 3, "ok"),
        ("disk", 3, "ok"),
    }

    for target in ("offsite", "disk"):
        drill = sis.dr("drill", "sis", "--target", target, "--json").document["drills"][0]
        assert (drill["outcome"], drill["checks_verdict"], drill["proof_level"]) == ("ok", "passed", 5)
        assert (drill["rto_verdict"], drill["rpo_verdict"], drill["sandbox"]) == ("met", "met", "destroyed")
        assert drill["rta_seconds"] > 0 and drill["data_rpa_seconds"] > drill["rpa_seconds"] > 0
        assert set(drill["phases"]) == {"declare", "provision", "restore", "start", "verify"}

    shutil.rmtree(sis.root / "uploads")
    out = sis.root / "back"
    real = sis.dr("recover", "sis", "--to", str(out), "--yes", "--json").document["drills"][0]
    assert real["real"] and real["outcome"] == "ok"
    assert (out / "uploads" / str(sis.root / "uploads")[1:] / "one.txt").read_text() == "upload one\n"
    assert sis.dr("recover", "sis", "--to", str(out), "--yes", code=2).err.count("not empty") == 1

    status = sis.dr("status", "--json").document["systems"][0]
    assert (status["rpo_verdict"], status["rto_verdict"], status["proof_level"]) == ("met", "met", 5)
    assert status["next_due"]["backup"] and status["last_drill_outcome"] == "ok"
    audit = sis.dr("audit", "--json").document
    assert (audit["records"], audit["outcome"], audit["first_bad"]) == (6, "ok", None)
    page = sis.root / "report.html"
    sis.dr("report", "-o", str(page))
    text = page.read_text()
    assert "Objectives met in this recovery" in text
    assert not re.search(r"(src|href)=|https?:", text), "one file, which needs nothing else"
    assert str(sis.root) not in text, "names of files are not for reports"


def test_the_catalog_is_rebuilt_from_the_targets_alone(sis: Site) -> None:
    sis.dr("backup", "sis")
    sis.dr("drill", "sis")
    before = sis.dr("points", "--json").document["points"]
    for name in sis.root.glob("state/catalog.sqlite*"):
        name.unlink()
    again = sis.dr("points", "--rebuild", "--json").document["points"]
    assert [(p["run_id"], p["consistency_time"], p["targets"], p["snapshots"]) for p in again] == [
        (p["run_id"], p["consistency_time"], p["targets"], p["snapshots"]) for p in before
    ]
    assert sis.dr("audit", "--json").document["outcome"] == "ok"
    assert sis.dr("drill", "sis", "--json").document["drills"][0]["outcome"] == "ok"
    assert sis.dr("points", "--rebuild", "--json").document["points"] == sis.dr("points", "--json").document["points"]


def test_a_damaged_catalog_is_a_clear_error_and_the_rebuild_is_the_way_back(sis: Site) -> None:
    sis.dr("backup", "sis")
    catalog = sis.root / "state" / "catalog.sqlite"
    for extra in sis.root.glob("state/catalog.sqlite-*"):
        extra.unlink()
    catalog.write_bytes(b"this is not a database" * 1000)
    ran = sis.dr("points", code=1)
    assert "dr points rebuild" in ran.err
    assert len(sis.dr("points", "--rebuild", "--json").document["points"]) == 1
    assert list(sis.root.glob("state/catalog.sqlite.damaged-*")), "moved aside, not deleted"


def test_nothing_but_one_document_is_on_stdout_whatever_happens(sis: Site) -> None:
    for arguments, code in (
        (("status",), 0), (("points",), 0), (("audit",), 0), (("validate",), 0), (("report", "--format", "json"), 0),
        (("drill", "sis"), 1), (("backup", "nope"), 2), (("verify", "--level", "9"), 2), (("nonsense",), 2),
        (("recover", "sis", "--to", "/nonexistent/x", "--yes"), 1), (("schema", "plan"), 0),
    ):  # fmt: skip
        ran: Ran = sis.dr(*arguments, "--json", code=code)
        assert ran.document["schema"] == 1
        assert isinstance(ran.document["errors"], list)
        assert bool(ran.document["errors"]) == (code != 0)
        assert all(set(error) == {"what", "where", "hint"} for error in ran.document["errors"])


def test_what_is_due_is_done_once_and_then_nothing_is(sis: Site) -> None:
    first = sis.dr("run", "--json").document
    assert [len(first[key]) for key in ("runs", "proofs", "drills")] == [1, 2, 1]
    second = sis.dr("run", "--json").document
    assert [len(second[key]) for key in ("runs", "proofs", "drills")] == [0, 0, 0]


def test_a_failed_check_fails_the_drill_and_no_time_is_claimed(sis: Site) -> None:
    sis.dr("backup", "sis")
    plan = sis.root / "config" / "plans" / "sis.yaml"
    plan.write_text(plan.read_text().replace('">= 100"', '">= 100000"'))
    drill = sis.dr("drill", "sis", "--json", code=1).document["drills"][0]
    assert (drill["outcome"], drill["checks_verdict"], drill["rta_seconds"]) == ("failed", "failed", None)
    assert [c["observed"] for c in drill["checks"] if c["check"] == "sql"] == ["200"]
    assert sis.dr("status", "--json", code=4).document["systems"][0]["rto_verdict"] == "missed"


def test_an_objective_that_is_missed_is_exit_4(sis: Site) -> None:
    sis.dr("backup", "sis")
    plan = sis.root / "config" / "plans" / "sis.yaml"
    plan.write_text(plan.read_text().replace("rpo: 4h", "rpo: 1s"))
    drill = sis.dr("drill", "sis", "--json", code=4).document["drills"][0]
    assert (drill["outcome"], drill["rpo_verdict"], drill["rto_verdict"]) == ("ok", "missed", "met")


def test_init_validate_and_schema_help_a_newcomer(tmp_path: Path, site: Site) -> None:
    new = tmp_path / "new"
    new.mkdir()
    site.dr("--config", str(new), "init")
    assert json.loads(site.dr("schema", "plan").out)["properties"]["objectives"]
    site.dr("validate", "--config", str(new))
    (new / "documents" / "a.txt").write_text("a")
    for arguments in (("backup", "--all"), ("drill", "--all")):
        site.dr(*arguments, "--config", str(new))
    assert "is there already" in site.dr("init", "--config", str(new), code=2).err


def test_a_typo_in_one_plan_stops_no_other_system_and_is_never_silent(files_site: Site) -> None:
    site = files_site
    site.plan("payroll", "system: payroll\nobjectves: {rto: 1h}\n")
    site.plan("bad", "system: [typo\n")
    ran = site.dr("run", "--json", code=3)
    assert [run["outcome"] for run in ran.document["runs"]] == ["ok"]
    assert {Path(error["where"].split(":")[0]).name for error in ran.document["errors"]} == {"payroll.yaml", "bad.yaml"}
    assert "payroll.yaml:2" in ran.err and "objectives" in ran.err
    for command in (("status",), ("points",), ("backup", "--due")):
        assert "payroll.yaml:2" in site.dr(*command, code=3).err, command
    before = len(site.dr("points", "--json", code=3).document["points"])
    for command in (("backup", "--all"), ("verify", "--all"), ("drill", "--all"), ("backup", "payroll")):
        assert "payroll.yaml:2" in site.dr(*command, code=2).err, command
    assert len(site.dr("points", "--json", code=3).document["points"]) == before, "refused: nothing was touched"
    site.dr("backup", "share")


def test_a_tree_whose_files_are_all_gone_is_no_complete_point_until_they_are_back(files_site: Site) -> None:
    files_site.dr("backup", "share")
    source = files_site.root / "source"
    source.rename(files_site.root / "elsewhere")
    source.mkdir()
    for _ in range(2):  # it is said again, not once
        ran = files_site.dr("--json", "backup", "share", code=3)
        (run,) = ran.document["runs"]
        assert not run["complete"] and "is its disk mounted?" in run["sources"][0]["error"]
        assert "is its disk mounted? Mount its disk" in ran.err
    (row,) = files_site.dr("--json", "status", code=None).document["systems"]
    assert row["rpo_verdict"] == "met", "the newest complete point is the first one, and it holds something"
    (files_site.root / "state" / "catalog.sqlite").unlink()
    files_site.dr("points", "--rebuild")
    points = files_site.dr("--json", "points", "share").document["points"]
    assert [point["complete"] for point in points] == [False, False, True], "the repository alone tells it too"
    source.rmdir()
    (files_site.root / "elsewhere").rename(source)
    (run,) = files_site.dr("--json", "backup", "share").document["runs"]
    assert run["complete"]
