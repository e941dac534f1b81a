"""The board does not call well what never was: a system without a point, or without a drill, for longer than promised."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dr.operations.backup import backup
from dr.queries.status import board
from dr.session import Session
from tests.conftest import Site


def ago(site: Site, **before: float) -> Session:
    """A session of some time ago."""
    then = datetime.now(UTC) - timedelta(**before)
    return site.session(clock=lambda: then)


def status(site: Site, code: int) -> dict[str, Any]:
    return dict(site.dr("--json", "status", code=code).document["systems"][0])


@pytest.fixture(autouse=True)
def _own_restic(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_RESTIC", site.env["DR_RESTIC"])


def test_a_system_whose_every_backup_failed_since_its_rpo_misses_it(files_site: Site) -> None:
    shutil.move(files_site.root / "source", files_site.root / "away")
    session = ago(files_site, hours=30)
    assert backup(session, session.chosen(["share"]))[0].record.outcome == "failed"
    session.close()
    row = status(files_site, 4)
    assert row["rpo_verdict"] == "missed"
    assert re.fullmatch("no complete recovery point yet, 1 d 6 h.* after the first try", row["rpo_reason"])
    assert row["exposure_seconds"] > 29.9 * 3600
    shutil.move(files_site.root / "away", files_site.root / "source")
    files_site.dr("backup", "--all")
    row = status(files_site, 0)
    assert (row["rpo_verdict"], row["exposure_seconds"] > 29.9 * 3600) == ("met", True)


def test_points_in_part_only_are_no_points(files_site: Site) -> None:
    plan = files_site.root / "config" / "plans" / "share.yaml"
    gone = files_site.root / "gone"
    plan.write_text(plan.read_text().replace("targets:", f"  more: {{files: {{paths: [{gone}]}}}}\ntargets:"))
    session = ago(files_site, hours=5)
    (made,) = backup(session, session.chosen(["share"]))
    session.close()
    assert [source.outcome for source in made.record.sources] == ["ok", "failed"]
    assert status(files_site, 4)["rpo_verdict"] == "missed"


def test_a_plan_that_never_ran_misses_its_rpo_by_itself(files_site: Site) -> None:
    assert status(files_site, 0)["rpo_reason"].startswith("no complete recovery point yet; ")
    files_site.escrow(False)
    shutil.rmtree(files_site.root / "state")
    session = ago(files_site, hours=6)
    assert [each.row.rpo.word for each in board(session, session.chosen(["share"]))] == ["unknown"]
    session.close()
    row = status(files_site, 4)
    assert re.fullmatch("no complete recovery point yet, 6 h.* after its plan was first seen", row["problems"][0])


def test_a_lost_state_says_how_its_points_are_found_again(files_site: Site) -> None:
    files_site.dr("backup", "--all")
    secrets = files_site.root / "secrets"
    shutil.copytree(files_site.root / "state" / "secrets", secrets)
    shutil.rmtree(files_site.root / "state")
    row = status(files_site, 0)
    assert row["rpo_verdict"] == "unknown"
    assert "`dr points rebuild` finds its points" in row["rpo_reason"]
    shutil.copytree(secrets, Path(files_site.root / "state" / "secrets"), dirs_exist_ok=True)
    files_site.dr("points", "--rebuild")
    assert status(files_site, 0)["rpo_verdict"] == "met"


def test_a_system_that_is_never_drilled_misses_its_rto_when_its_cadence_is_over(files_site: Site) -> None:
    plan = files_site.root / "config" / "plans" / "share.yaml"
    plan.write_text(plan.read_text() + "cadence: {drill: every 7 days}\n")
    session = ago(files_site, days=8)
    backup(session, session.chosen(["share"]))
    session.close()
    files_site.dr("backup", "--all")
    row = status(files_site, 4)
    assert (row["rpo_verdict"], row["rto_verdict"]) == ("met", "missed")
    assert row["rto_reason"].endswith("although the plan asks for a drill every 7 days")
    files_site.dr("drill", "--all")
    assert status(files_site, 0)["rto_verdict"] == "met"
