"""What holds nothing proves no recovery: said by backup, drill, status and report, and no objective is met by it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from dr.plan.lint_commands import hides_failure
from tests.conftest import Site, plan_text
from tests.far import Far


def empty_folder(root: Path) -> str:
    (root / "empty").mkdir()
    return f"files: {{paths: [{root}/empty]}}"


def pipe(root: Path) -> str:
    os.mkfifo(root / "pipe")
    return f"files: {{paths: [{root}/pipe]}}"


def empty_file(root: Path) -> str:
    (root / "zero").touch()
    return f"files: {{paths: [{root}/zero]}}"


def database_file(root: Path) -> str:
    (root / "zero.db").touch()
    return f"sqlite: {{path: {root}/zero.db}}"


def database_without_tables(root: Path) -> str:
    with closing(sqlite3.connect(root / "bare.db")) as database:
        database.execute("create table a (b)")
        database.execute("drop table a")
    return f"sqlite: {{path: {root}/bare.db}}"


def hidden_failure(root: Path) -> str:
    return "command: {run: [sh, -c, 'false | gzip'], filename: export.gz}"


def old_export(root: Path) -> str:
    (root / "export.tar").write_bytes(bytes(10240))
    return f"files: {{paths: [{root}/export.tar]}}"


KINDS: dict[Callable[[Path], str], str] = {
    empty_folder: "no file", pipe: "no file", empty_file: "1 file of 0 bytes",
    database_file: "an SQLite database without a table", database_without_tables: "an SQLite database without a table",
    hidden_failure: "gzip of nothing", old_export: "a tar archive of nothing",
}  # fmt: skip


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_a_source_that_holds_nothing_meets_no_objective(site: Site, make: Callable[[Path], str]) -> None:
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    site.plan("share", plan_text("share", f"docs: {{{make(site.root)}}}", targets="[disk]"))
    (run,) = site.dr("--json", "backup", "share", code=3).document["runs"]
    assert run["outcome"] == "degraded" and run["complete"] and run["sources"][0]["hollow"] == KINDS[make]
    ran = site.dr("--json", "drill", "share", code=3)
    (drill,) = ran.document["drills"]
    assert (drill["outcome"], drill["rto_verdict"], drill["rpo_verdict"]) == ("degraded", "unknown", "unknown")
    assert drill["hollow"] == {"docs": KINDS[make]} and drill["proof_level"] < 4
    assert "holds nothing" in ran.err
    (row,) = site.dr("--json", "status", "share", code=None).document["systems"]
    assert (row["rto_verdict"], row["rpo_verdict"]) == ("unknown", "unknown")
    assert any("holds nothing" in problem for problem in row["problems"])
    told = site.dr("report", "--system", "share", "--format", "md", "-o", "-").out
    assert "shows nothing" in told and "Objectives met" not in told


def test_one_source_that_holds_nothing_among_others_degrades_and_the_rest_is_judged(files_site: Site) -> None:
    (files_site.root / "empty").mkdir()
    sources = (f"docs: {{files: {{paths: [{files_site.root}/source]}}}}", f"more: {{files: {{paths: [{files_site.root}/empty]}}}}")  # fmt: skip
    files_site.plan("share", plan_text("share", *sources, targets="[disk]"))
    files_site.dr("backup", "share", code=3)
    (drill,) = files_site.dr("--json", "drill", "share", code=3).document["drills"]
    assert drill["hollow"] == {"more": "no file"} and drill["rto_verdict"] == "met" and drill["proof_level"] == 4
    (files_site.root / "empty" / "letter").write_text("the control: something is there")
    files_site.dr("backup", "share")
    (drill,) = files_site.dr("--json", "drill", "share").document["drills"]
    assert drill["hollow"] == {} and drill["outcome"] == "ok"


def test_on_other_hosts_what_holds_nothing_is_said_alike(site: Site) -> None:
    with Far(site.root / "far") as far:
        (site.root / "empty").mkdir()
        site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
        sources = (f"docs: {{files: {{paths: [{site.root}/empty]}}}}", "export: {command: {run: [sh, -c, 'false | gzip'], filename: a.gz}}")  # fmt: skip
        site.plan("share", plan_text("share", *sources, targets="[disk]", more=far.plan_host("stream")))
        (run,) = site.dr("--json", "backup", "share", code=3).document["runs"]
    assert [source["hollow"] for source in run["sources"]] == ["no file", "gzip of nothing"]


@pytest.mark.parametrize(
    ("run", "hides"),
    [
        (["sh", "-c", "pg_dump sis | gzip"], True),
        (["bash", "-ec", "a 'x|y' |& b"], True),
        (["/usr/bin/env", "bash", "-c", "a|b"], True),
        (["bash", "-o", "pipefail", "-c", "a | b"], False),
        (["bash", "-c", "set -eo pipefail; a | b"], False),
        (["sh", "-c", "a || b"], False),
        (["sh", "-c", "echo 'a | b' # c | d"], False),
        (["sh", "-c", "case $1 in a|b) dump;; esac"], False),
        (["sh", "script.sh"], False),
        (["mysqldump", "-c", "a | b"], False),
        (["sh", "-c", "'unclosed | x"], False),
    ],
)
def test_a_pipeline_that_hides_a_failure_is_known(run: list[str], hides: bool) -> None:
    assert hides_failure(run) is hides


def test_validate_gives_the_advice(site: Site) -> None:
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    hidden = "export: {command: {run: [sh, -c, 'mysqldump sis | gzip'], filename: a.gz}}"
    site.plan("share", plan_text("share", hidden, targets="[disk]"))
    told = site.dr("validate", code=None)
    assert "hides the failure" in told.out + told.err and "pipefail" in told.out + told.err
