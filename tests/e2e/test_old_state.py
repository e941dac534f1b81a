"""A state directory and two repositories made before 0.1.0: every verb goes on with them as if nothing had changed.

`tests/samples/state/before-0.1.0.tar.gz` was made by typing `backup` twice, `replicate`, `verify`, `drill` and `hold`
with the program as it was at commit d48482a, on a system of files and a SQLite database.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Site

SAMPLE = Path(__file__).parents[1] / "samples" / "state" / "before-0.1.0.tar.gz"
POINTS = ["20261128T120442Z-b9a92d", "20261128T120433Z-21dc3b"]


@pytest.fixture
def old(site: Site) -> Site:
    """The system of then, its sources as they are now; its points age for as long as there is this test, so that no
    objective of it may turn on today's date."""
    shutil.rmtree(site.root / "state")
    subprocess.run(["tar", "-xzf", SAMPLE, "-C", site.root], check=True)
    source = site.root / "source"
    source.mkdir()
    (source / "letter.txt").write_text("another letter\n")
    with closing(sqlite3.connect(source / "sis.db")) as database, database:
        database.execute("create table students (id integer primary key, name text)")
        database.executemany("insert into students (name) values (?)", [(f"student {n}",) for n in range(150)])
    for name in ("disk", "vault"):
        site.target(name, f"target: {name}\nlocal: {{path: {site.root}/{name}}}\n")
    site.plan("sis", f"""\
system: sis
title: Student information
owner: {{role: Data manager}}
objectives: {{rto: 1h, rpo: 36500d, mtd: 8h}}
sources:
  files: {{files: {{paths: [{source}/letter.txt]}}}}
  database: {{sqlite: {{path: {source}/sis.db}}}}
targets: [disk]
replicas: [vault]
drill: {{checks: [{{manifest: {{}}}}, {{sql: {{source: database, query: select count(*) from students, expect: ">= 100"}}}}]}}
""")  # fmt: skip
    return site


def points(site: Site) -> list[Any]:
    found: list[Any] = site.dr("points", "sis", "--json").document["points"]
    return found


def test_what_was_on_record_is_read_as_it_was(old: Site) -> None:
    (row,) = old.dr("status", "--json", code=None).document["systems"]
    assert row["system"] == "sis" and row["last_drill_outcome"] == "ok"
    audit = old.dr("audit", "--json").document
    assert (audit["outcome"], audit["records"]) == ("ok", 8)
    assert [point["run_id"] for point in points(old)] == POINTS
    assert old.dr("hold", "--list", "--json").document["holds"][0]["reason"] == "a records request"
    assert "sis" in old.dr("report", "--format", "md").out


def test_every_verb_goes_on_with_it(old: Site) -> None:
    drill = old.dr("drill", "sis", "--json").document["drills"][0]
    assert (drill["outcome"], drill["run_id"]) == ("ok", POINTS[0])
    run = old.dr("backup", "sis", "--json").document["runs"][0]
    assert run["outcome"] in ("ok", "degraded") and run["complete"]
    assert {proof["level_reached"] for proof in old.dr("verify", "sis", "--json").document["proofs"]} == {3}
    assert old.dr("replicate", "sis", "--json").document["replications"][0]["outcome"] == "ok"
    assert old.dr("repair", "sis", "--json").document["repairs"][0]["outcome"] == "ok"
    assert [point["run_id"] for point in points(old)] == [run["run_id"], *POINTS]
    assert old.dr("audit", "--json").document["outcome"] == "ok"


def test_a_point_of_then_comes_back_whole_from_each_copy(old: Site) -> None:
    for target in ("disk", "vault"):
        to = old.root / f"back-{target}"
        told = old.dr("recover", "sis", "--point", POINTS[1], "--target", target, "--to", str(to), "--yes", "--json")
        assert told.document["drills"][0]["outcome"] == "ok"
        (letter,) = to.rglob("letter.txt")
        assert letter.read_text() == "a letter\n"
        (database,) = to.rglob("sis.db")
        with closing(sqlite3.connect(database)) as opened:
            assert opened.execute("select count(*) from students").fetchone() == (200,)


def test_without_its_catalog_the_points_of_then_are_found_at_the_targets(old: Site) -> None:
    for path in (old.root / "state").glob("catalog.sqlite*"):
        path.unlink()
    old.dr("points", "--rebuild", code=None)
    assert [point["run_id"] for point in points(old)] == POINTS
    assert old.dr("audit", "--json").document["outcome"] == "ok"
