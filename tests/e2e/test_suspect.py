"""A suspect point as the administrator meets it: alarm, board, drill, recovery, and the word that it was expected."""

from __future__ import annotations

import os
import random
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dr.catalog.store import Catalog
from dr.evidence.change import Change
from dr.evidence.record import BackupRun, SourceCapture
from dr.tools.state_dir import StateDir
from tests.conftest import Site, plan_text
from tests.waiting import soon


def ordinary_month(state: Path) -> None:
    """Give the catalog a month in which three to twenty of the files changed each day."""
    chance, now = random.Random(3), datetime.now(UTC)
    with Catalog.open(StateDir(state)) as catalog:
        for day in range(30, 0, -1):
            at = now - timedelta(days=day)
            change = Change(files=150, before=150, changed=chance.randint(3, 20), added=2, removed=1, sampled=10)
            source = SourceCapture(source="docs", kind="files", outcome="ok", change=change)
            run = BackupRun(
                run_id=f"day-{day}", system="share", outcome="ok", started=at, finished=at, consistency_time=at,
                sources=(source,),
            )  # fmt: skip
            catalog.record(run)


@pytest.fixture
def share(site: Site) -> Site:
    source = site.root / "source"
    for number in range(150):
        path = source / f"department {number % 12}" / f"{number}.docx"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"PK\x03\x04" + os.urandom(600))
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: ['{source}']}}}}", targets="[disk]"))
    site.dr("backup", "share")
    ordinary_month(site.root / "state")
    (source / "department 1" / "1.docx").write_bytes(b"PK\x03\x04edited")
    site.dr("backup", "share")
    return site


def strike(share: Site) -> None:
    for number, path in enumerate(sorted((share.root / "source").rglob("*.docx"))):
        path.with_name(f"{path.name}.locked").write_bytes(random.Random(number).randbytes(600))
        path.unlink()


@pytest.mark.slow
def test_a_suspect_point_from_the_alarm_to_the_word_that_it_was_expected(share: Site) -> None:
    before = share.dr("points", "share", "--json").document["points"]
    assert {point["suspect"] for point in before} == {None}, "the negative control"
    assert share.dr("status", "--json").document["systems"][0]["retention_frozen"] is None
    strike(share)
    last = datetime.fromisoformat(before[0]["consistency_time"]).timestamp()
    assert soon(lambda: int(datetime.now(UTC).timestamp()) > int(last)), "a person names a point's time to the second"

    alarm = share.dr("backup", "share", "--json", code=3)
    run = alarm.document["runs"][0]
    assert (run["outcome"], run["complete"]) == ("degraded", True)
    told = r"docs: 150 of 150 files changed, usually \d+ to \d+; 100 % of those sampled look encrypted; 150 files have"
    assert re.match(told, run["suspect"])
    assert run["suspect"] in alarm.document["errors"][0]["what"] and run["suspect"] in alarm.err
    change = run["sources"][0]["change"]
    assert (change["changed"], change["renamed"], change["extension"]) == (150, 150, ".locked")

    later = share.dr("backup", "share")
    assert "retention is still frozen" in later.err
    points = share.dr("points", "share", "--json").document["points"]
    assert [bool(point["suspect"]) for point in points] == [True, True, False, False]
    clean = points[2]["run_id"]
    assert "is suspect" in share.dr("points", "share").out
    row = share.dr("status", "--json").document["systems"][0]
    assert run["run_id"] in row["retention_frozen"]
    assert any("no recovery point may be expired" in problem for problem in row["problems"])
    assert "no recovery point may be expired" in share.dr("report", "--format", "md").out
    assert "the point is suspect" in share.dr("report", "--format", "md").out

    drill = share.dr("drill", "share", "--json", code=3).document["drills"][0]
    assert drill["run_id"] == points[0]["run_id"], "it does not silently use another"
    assert drill["last_unsuspected_point"] == clean and drill["suspect"]
    assert clean in share.dr("report", "--drill", drill["drill_id"], "--format", "md").out
    drill = share.dr("drill", "share", "--at", points[2]["consistency_time"], "--json").document["drills"][0]
    assert (drill["run_id"], drill["suspect"], drill["last_unsuspected_point"]) == (clean, None, None)
    foreseen = share.dr("recover", "share", "--to", str(share.root / "out"), "--dry-run", "--json").document
    assert foreseen["last_unsuspected_point"] == clean and clean in foreseen["would"]
    at = re.search(r"--at '([^']+)'", foreseen["would"])
    assert at
    again = share.dr("recover", "share", "--to", str(share.root / "out"), "--at", at[1], "--dry-run", "--json")
    assert clean in again.document["would"] and again.document["suspect"] is None

    said = share.dr("points", "share", "--trust", run["run_id"], "--because", "a test of the alarm", "--json").document
    assert (said["trusted"], said["retention_frozen"]) == (run["run_id"], None)
    assert {point["suspect"] for point in said["points"]} == {None}
    assert share.dr("audit", "--json").document["outcome"] == "ok"
    assert "still frozen" not in share.dr("backup", "share").err

    for name in ("catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"):
        (share.root / "state" / name).unlink(missing_ok=True)
    share.dr("points", "share", "--rebuild")
    with Catalog.open(share.state) as catalog:
        [trust] = [sealed for sealed in catalog.records() if sealed.kind == "trust"]
        assert trust.body["because"] == "a test of the alarm"
        assert catalog.retention_frozen("share") is None


def test_trust_asks_for_all_it_needs(share: Site) -> None:
    known = share.dr("points", "share", "--json").document["points"][0]["run_id"]
    for arguments in (
        ("points", "share", "--trust", known),
        ("points", "share", "--because", "x"),
        ("points", "--trust", known, "--because", "x"),
        ("points", "share", "--trust", "none", "--because", "x"),
        ("points", "share", "--trust", known, "--because", "nothing is held against it"),
    ):
        refused = share.dr(*arguments, code=2)
        assert "dr points trust" in refused.err
    with Catalog.open(share.state) as catalog:
        assert not [sealed for sealed in catalog.records() if sealed.kind == "trust"]
