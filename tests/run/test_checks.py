from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dr.evidence.record import CheckResult
from dr.plan.check import Check
from dr.plan.source import Source
from dr.run.recovery.checks.context import CheckContext, Restored
from dr.run.recovery.checks.run import in_order, run_check
from dr.sources.driver import RestoreSlot
from dr.sources.kinds import open_source

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def room(root: Path, name: str) -> RestoreSlot:
    return RestoreSlot(
        root=root / name, apart=root / ".manifests" / name, annex=lambda kind: root / kind, token="drill-1"
    )


@pytest.fixture
def ground(tmp_path: Path) -> CheckContext:
    """Restored data as a drill leaves it for the checks: uploads with its manifest, and a database."""
    tree, root = tmp_path / "srv", tmp_path / "sandbox"
    (tree / "photos" / "2026").mkdir(parents=True)
    for number in range(10):
        (tree / "photos" / f"{number}.jpg").write_bytes(b"x" * 100)
    (tree / "photos" / "2026" / "late.jpg").write_bytes(b"x" * 100)
    (tree / "notes.txt").write_text("first\nmarker ok\n")
    (tree / "empty.txt").write_text("")
    (tree / "outward").symlink_to("/etc/hostname")
    declared = Source.model_validate({"files": {"paths": [str(tree)]}})
    doors = open_source("uploads", declared)
    uploads = root / "uploads"
    uploads.mkdir(parents=True)
    doors.capture(uploads, None)
    there = uploads / str(tree).lstrip("/")
    there.parent.mkdir(parents=True)
    shutil.copytree(tree, there, symlinks=True)
    instance = doors.restored(room(root, "uploads"))
    listed = instance.settle()
    assert listed is not None
    database = Source.model_validate({"sqlite": {"path": "/srv/sis.db"}})
    (root / "student-db").mkdir()
    with closing(sqlite3.connect(root / "student-db" / "sis.db")) as made, made:
        made.execute("create table students as select column1 as value from (values (1), (2), (3))")
    sources = {
        "uploads": Restored(
            name="uploads", kind="files", root=uploads, instance=instance, declared=declared, manifest=listed
        ),
        "student-db": Restored(
            name="student-db",
            kind="sqlite",
            root=root / "student-db",
            instance=open_source("student-db", database).restored(room(root, "student-db")),
            declared=database,
        ),
    }
    return CheckContext(root=root, plan_dir=tmp_path, seed="drill-1", now=lambda: NOON, sources=sources)


def run(ground: CheckContext, declared: Any) -> list[CheckResult]:
    return list(run_check(ground, Check.model_validate(declared)))


def one(ground: CheckContext, declared: Any) -> CheckResult:
    (result,) = run(ground, declared)
    return result


def photo(ground: CheckContext) -> Path:
    return next(ground.root.rglob("3.jpg"))


# -- manifest ----------------------------------------------------------------------------------------


def test_manifest_passes_on_equal_data_and_says_how_many(ground: CheckContext) -> None:
    result = one(ground, {"manifest": {"source": "uploads"}})
    assert (result.outcome, result.mandatory, result.finished) == ("ok", True, NOON)
    assert result.expected == "14 files equal to the capture"
    assert result.observed == "14 equal"


def test_manifest_fails_on_one_flipped_byte_and_one_missing_file_without_naming_them(ground: CheckContext) -> None:
    photo(ground).write_bytes(b"y" + b"x" * 99)
    next(ground.root.rglob("4.jpg")).unlink()
    result = one(ground, {"manifest": {"source": "uploads"}})
    assert result.outcome == "failed"
    assert result.expected == "14 files equal to the capture"
    assert result.observed == "12 equal, 1 differ, 1 missing"
    assert {(source, problem) for source, problem, _ in ground.names} == {
        ("uploads", "differs"),
        ("uploads", "missing"),
    }


def test_manifest_without_a_source_gives_one_result_for_each_source(ground: CheckContext) -> None:
    results = run(ground, "manifest")
    assert [(r.source, r.outcome) for r in results] == [("uploads", "ok"), ("student-db", "failed")]
    assert "no manifest" in results[1].observed


def test_a_sampled_manifest_says_so(ground: CheckContext) -> None:
    result = one(ground, {"manifest": {"source": "uploads", "sample": "20%"}})
    assert result.outcome == "ok"
    assert result.expected.startswith("4 of 14 files equal to the capture (a sample of 20.0%)")
    assert result.observed == "4 equal, 10 more present"


# -- sql ---------------------------------------------------------------------------------------------


def test_sql_compares_the_one_value_of_its_query(ground: CheckContext) -> None:
    query = {"source": "student-db", "query": "select count(*) from students"}
    good, bad = (one(ground, {"sql": {**query, "expect": x}}) for x in (">= 3", ">= 4"))
    assert (good.outcome, good.expected, good.observed) == ("ok", ">= 3", "3")
    assert (bad.outcome, bad.expected, bad.observed) == ("failed", ">= 4", "3")


def test_sql_that_cannot_run_has_failed_and_says_why(ground: CheckContext) -> None:
    result = one(ground, {"sql": {"source": "student-db", "query": "select * from pupils", "expect": 1}})
    assert result.outcome == "failed"
    assert "no such table: pupils" in result.observed


def test_sql_without_a_row_has_failed(ground: CheckContext) -> None:
    query = "select value from students where value > 99"
    result = one(ground, {"sql": {"source": "student-db", "query": query, "expect": ">= 0"}})
    assert (result.outcome, result.observed) == ("failed", "no value")


def test_sql_cannot_change_what_was_restored(ground: CheckContext) -> None:
    query = "delete from students returning value"
    result = one(ground, {"sql": {"source": "student-db", "query": query, "expect": 1}})
    assert result.outcome == "failed"
    assert "readonly" in result.observed


def test_sql_on_files_has_failed(ground: CheckContext) -> None:
    result = one(ground, {"sql": {"source": "uploads", "query": "select 1", "expect": 1}})
    assert result.outcome == "failed"


def test_the_newest_record_found_is_beside_the_sql_check(ground: CheckContext) -> None:
    ground.newest = {"student-db": NOON}
    result = one(ground, {"sql": {"source": "student-db", "query": "select 1", "expect": 1}})
    assert result.newest == NOON


# -- file --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "outcome", "observed"),
    [
        ({"path": "photos/*.jpg"}, "ok", "10 found"),
        ({"path": "photos/*.jpg", "expect": ">= 10"}, "ok", "10 found"),
        ({"path": "photos/*.jpg", "expect": ">= 11"}, "failed", "10 found"),
        ({"path": "photos/**/*.jpg", "expect": 11}, "ok", "11 found"),
        ({"path": "photos/*.png"}, "failed", "0 found"),
        ({"path": "photos/*.png", "expect": 0}, "ok", "0 found"),
        ({"path": "photos/*.jpg", "size": "between 50 and 150"}, "ok", "10 found"),
        ({"path": "photos/*.jpg", "size": "> 100"}, "failed", "10 found, 10 of another size"),
        ({"path": "notes.txt", "contains": "^marker ok$"}, "ok", "1 found"),
        ({"path": "*.txt", "contains": "marker"}, "failed", "2 found, 1 with another text"),
        ({"path": "empty.txt", "contains": "^$"}, "ok", "1 found"),
        ({"path": "outward", "contains": "."}, "failed", "1 found, 1 with another text"),
    ],
)
def test_file_counts_measures_and_reads_what_its_pattern_names(
    ground: CheckContext, declared: dict[str, Any], outcome: str, observed: str
) -> None:
    result = one(ground, {"file": {"source": "uploads", **declared}})
    assert (result.outcome, result.observed) == (outcome, observed)


def test_file_takes_an_absolute_pattern(ground: CheckContext, tmp_path: Path) -> None:
    assert one(ground, {"file": {"source": "uploads", "path": f"{tmp_path}/srv/**/late.jpg"}}).outcome == "ok"


def test_file_says_what_it_expected(ground: CheckContext) -> None:
    declared = {"source": "uploads", "path": "*.txt", "expect": ">= 2", "size": "> 0", "contains": "ok"}
    expected = one(ground, {"file": declared}).expected
    assert expected == ("files that match *.txt: >= 2; size of each in bytes: > 0; text of each matches ok")


@pytest.mark.parametrize("contains", ["(", r"\u00e9"])
def test_a_pattern_that_no_text_can_match_is_refused(contains: str) -> None:
    with pytest.raises(ValueError, match="is not a regular expression"):
        Check.model_validate({"file": {"source": "uploads", "path": "notes.txt", "contains": contains}})


# -- command -----------------------------------------------------------------------------------------


def sh(script: str, **more: Any) -> dict[str, Any]:
    return {"command": {"run": ["sh", "-c", script], **more}}


def test_a_command_runs_in_the_sandbox_and_is_told_where_the_sources_are(ground: CheckContext) -> None:
    script = 'test "$PWD" = "$DR_SANDBOX" && test -d "$DR_SOURCE_UPLOADS" && '
    result = one(ground, sh(script + 'test -f "$DR_SOURCE_STUDENT_DB/sis.db"'))
    assert (result.outcome, result.observed, result.source) == ("ok", "exit 0", None)


def test_a_command_that_fails_says_its_code_and_last_words(ground: CheckContext) -> None:
    result = one(ground, sh("echo doing; echo 'no such pupil' >&2; exit 3"))
    assert (result.outcome, result.expected, result.observed) == ("failed", "exit 0", "exit 3: no such pupil")


def test_a_command_that_a_signal_ended_is_told_as_a_shell_tells_it(ground: CheckContext) -> None:
    assert one(ground, sh("kill -9 $$")).observed == "exit 137"
    assert one(ground, sh("kill -TERM $$", expect={"exit": 143})).outcome == "ok"


def test_a_command_may_be_expected_to_fail(ground: CheckContext) -> None:
    assert one(ground, sh("exit 3", expect={"exit": 3})).outcome == "ok"
    assert one(ground, sh("exit 0", expect={"exit": 3})).outcome == "failed"


def test_a_commands_output_is_compared(ground: CheckContext) -> None:
    good = one(ground, sh("echo ok 12", expect={"stdout": "matches ^ok"}))
    bad = one(ground, sh("echo no", expect={"stdout": "matches ^ok"}))
    assert (good.outcome, good.observed) == ("ok", "exit 0, output 'ok 12'")
    assert (bad.outcome, bad.observed) == ("failed", "exit 0, output 'no'")


def test_of_much_output_the_beginning_and_the_end_are_looked_at(ground: CheckContext) -> None:
    script = "echo begun; yes doing | head -c 3000000; echo all good"
    for wanted in ("matches ^begun", "matches all good$", r"matches \n\[\d+ bytes left out\]\n"):
        result = one(ground, sh(script, expect={"stdout": wanted}))
        assert result.outcome == "ok" and len(result.observed) <= 300
    assert one(ground, sh(script, expect={"stdout": "matches bad"})).outcome == "failed"
    assert len(ground.works.run(["sh", "-c", script], env=os.environ, cwd=ground.root, timeout=60).stdout) < 200_000


def test_a_relative_command_lies_beside_the_plan(ground: CheckContext) -> None:
    script = ground.plan_dir / "smoke-test"
    script.write_text("#!/bin/sh\npwd\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    result = one(ground, {"command": {"run": ["./smoke-test"], "expect": {"stdout": str(ground.root)}}})
    assert result.outcome == "ok", result.observed


def test_a_command_that_is_not_there_or_hangs_has_failed(ground: CheckContext) -> None:
    missing = one(ground, {"command": {"run": ["./absent"]}})
    assert (missing.outcome, "not on this machine" in missing.observed) == ("failed", True)
    hanging = one(ground, {"command": {"run": ["sleep", "60"], "timeout": 1}})
    assert (hanging.outcome, "did not end within 1 s" in hanging.observed) == ("failed", True)


def test_a_command_sees_none_of_our_secrets(ground: CheckContext, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "RESTIC_PASSWORD", "DR_STATE", "PLANTED"):
        monkeypatch.setenv(name, "planted-secret")
    result = one(ground, sh("env", expect={"stdout": "matches DR_SANDBOX"}))
    assert result.outcome == "ok"
    assert one(ground, sh("env | grep -c planted-secret", expect={"exit": 1, "stdout": "0"})).outcome == "ok"


# -- all ---------------------------------------------------------------------------------------------


def test_texts_are_one_printable_line_of_at_most_300_characters(ground: CheckContext) -> None:
    result = one(ground, sh("printf 'a\\n\\033[31m'; seq 1000", expect={"stdout": "never"}))
    assert len(result.observed) == 300
    assert result.observed.isprintable()


def test_a_check_on_a_source_that_is_not_there_fails_or_is_skipped_when_only_samples_were_restored(
    ground: CheckContext,
) -> None:
    declared = {"sql": {"source": "gone", "query": "select 1", "expect": 1}}
    assert one(ground, declared).outcome == "failed"
    ground.partial = True
    skipped = one(ground, declared)
    assert (skipped.outcome, "did not restore gone" in skipped.observed) == ("skipped", True)
    assert one(ground, sh("exit 0")).outcome == "skipped"


def test_checks_that_may_change_data_come_last() -> None:
    names = ["command", "sql", "file", "manifest"]
    bodies = {
        "command": {"run": ["true"]},
        "sql": {"source": "a", "query": "select 1", "expect": 1},
        "file": {"source": "a", "path": "*"},
        "manifest": {},
    }
    checks = tuple(Check.model_validate({name: bodies[name]}) for name in names)
    assert [check.kind for check in in_order(checks)] == ["manifest", "file", "sql", "command"]


def test_a_check_that_is_not_mandatory_says_so(ground: CheckContext) -> None:
    assert not one(ground, {**sh("exit 1"), "mandatory": False}).mandatory


def test_one_file_name_that_is_no_utf8_does_not_disturb(ground: CheckContext) -> None:
    tree = photo(ground).parent
    (tree / os.fsdecode(b"\xff.jpg")).write_bytes(b"")
    assert one(ground, {"file": {"source": "uploads", "path": "photos/*.jpg"}}).observed == "11 found"
