"""A source that changes while restic reads it: the point holds what its manifest says, and what it lacks is told."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Site, plan_text
from tests.racing import Race


@pytest.fixture
def race(files_site: Site, restic_program: str) -> Race:
    made = Race(files_site.root / "race", restic_program)
    files_site.env["DR_RESTIC"] = str(made.program)
    return made


def backup(site: Site, code: int) -> tuple[Any, Any, str]:
    done = site.dr("--json", "backup", "share", code=code)
    (run,) = done.document["runs"]
    (source,) = run["sources"]
    return run, source, done.err


def test_what_comes_and_goes_is_said_and_the_drill_agrees_with_the_point(files_site: Site, race: Race) -> None:
    source = files_site.root / "source"
    files_site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{source}]}}}}", targets="[disk]"))
    race.run(f"cd {shlex.quote(str(source))}; rm deep/file-1.bin; echo new >deep/new")
    run, found, _ = backup(files_site, 0)
    assert run["complete"] and (found["vanished"], found["appeared"], found["unstored"]) == (1, 1, 0)
    assert "docs: of its files and directories 1 went away and 1 came while it was captured" in run["notes"]
    (drill,) = files_site.dr("--json", "drill", "share").document["drills"]
    (check,) = [check for check in drill["checks"] if check["check"] == "manifest"]
    assert check["outcome"] == "ok" and "missing" not in check["observed"] and "extra" not in check["observed"]
    assert (found["files"], found["bytes"]) == (drill["files"], drill["bytes"]), "what was stored is what is told"


def test_what_was_away_while_restic_read_makes_the_point_incomplete(files_site: Site, race: Race) -> None:
    deep = shlex.quote(str(files_site.root / "source" / "deep"))
    race.run(f"mv {deep} {deep}.away", f"mv {deep}.away {deep}")
    run, found, said = backup(files_site, 3)
    assert not run["complete"] and found["unstored"] == 6
    assert "6 file(s) or directories are at the source and not in the point" in found["error"]
    (listed,) = (files_site.root / "state" / "details").iterdir()
    assert f"docs\tare at the source and not in the point\t{files_site.root}/source/deep/file-3.bin" in (
        listed.read_text().splitlines()
    )
    assert str(listed) in said and "Run `dr backup` again" in said
    run, found, _ = backup(files_site, 0)
    assert run["complete"] and found["unstored"] == 0, "the control"


def test_a_declared_directory_that_goes_away_meanwhile_is_named(files_site: Site, race: Race) -> None:
    source, disk = files_site.root / "source", files_site.root / "disk-of-letters"
    disk.mkdir()
    (disk / "letter").write_text("x")
    files_site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{source}, {disk}]}}}}"))
    race.run(f"rm -r {shlex.quote(str(disk))}")
    run, found, said = backup(files_site, 3)
    assert not run["complete"]
    assert f"{disk} went away while it was captured: none of its 1 file(s) is in the point" in found["error"]
    assert "its disk stays mounted" in said
    assert Path(disk).exists() is False
