"""What every kind of check promises: each kind there is, and one that is defined in a file of its own, keep it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from dr.errors import SourceError
from dr.evidence.record import CheckResult
from dr.evidence.seal import decode, encode
from dr.plan.check import Check
from dr.plan.check_kinds import KINDS, CheckBody, Turn
from dr.plan.load import load
from dr.plan.plan import Plan
from dr.plan.schema import schema
from dr.plan.source import Source
from dr.report import words
from dr.run.recovery.checks.context import CheckContext, Poured, Restored
from dr.run.recovery.checks.run import DRIVERS, run_check
from dr.sources.database_inventory import DatabaseInventory
from dr.sources.driver import RestoredSource, RestoreSlot
from dr.sources.kinds import open_source
from tests.run.conftest import District
from tests.toys.check_kind import TotalCheck, TotalDriver


class Answering(RestoredSource):
    """A restored database of which is known what it held, and holds."""

    before = DatabaseInventory(rows={"sis.public.students": 3}, objects={"table students": "name text"})
    after = before

    def captured(self) -> DatabaseInventory | None:
        return self.before

    def facts(self) -> DatabaseInventory | None:
        return self.after


class Broken:
    """What nobody can work with."""

    def __getattr__(self, name: str) -> Any:
        raise SourceError("the disk answers no more", "sandbox", hint="look at it")


@dataclass
class Case:
    """A check that passes on what `context` holds, and what is done to that so that it must fail."""

    declared: dict[str, Any]
    harm: Callable[[CheckContext], Any]


def notes(context: CheckContext) -> Path:
    return next(context.root.rglob("notes.txt"))


def lose_rows(context: CheckContext) -> None:
    with closing(sqlite3.connect(context.root / "student-db" / "sis.db")) as made, made:
        made.execute("delete from students")


def lose_table(context: CheckContext) -> None:
    instance = context.sources["server"].instance
    assert isinstance(instance, Answering)
    instance.after = DatabaseInventory()


_SERVE = [sys.executable, "-m", "http.server", "{port}", "--bind", "127.0.0.1"]
CASES = {
    "manifest": Case({"source": "uploads"}, lambda context: notes(context).write_text("other\nmarker ok\n")),
    "rows": Case({"source": "server"}, lose_table),
    "schema": Case({"source": "server"}, lose_table),
    "sql": Case({"source": "student-db", "query": "select count(*) from students", "expect": 3}, lose_rows),
    "file": Case({"source": "uploads", "path": "no*.txt"}, lambda context: notes(context).unlink()),
    "command": Case({"run": ["grep", "-rq", "marker", "uploads"]}, lambda context: notes(context).unlink()),
    "http": Case(
        {"serve": _SERVE, "url": "http://127.0.0.1:{port}/uploads/", "within": "60s"},
        lambda context: shutil.rmtree(context.root / "uploads"),
    ),
    "total": Case({"source": "uploads", "bytes": ">= 16"}, lambda context: notes(context).unlink()),
}


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """One kind more than there is."""
    monkeypatch.setitem(KINDS, TotalCheck.kind, TotalCheck)
    monkeypatch.setitem(DRIVERS, TotalCheck, TotalDriver)


@pytest.fixture(params=sorted(CASES))
def kind(request: pytest.FixtureRequest) -> type[CheckBody]:
    """Each kind."""
    return KINDS[request.param]


@pytest.fixture
def case(kind: type[CheckBody]) -> Case:
    return CASES[kind.kind]


@pytest.fixture
def context(tmp_path: Path) -> CheckContext:
    """Files, a database in a file, and one in a server, as a drill leaves them for the checks."""
    tree, root = tmp_path / "srv", tmp_path / "sandbox"
    tree.mkdir()
    (tree / "notes.txt").write_text("first\nmarker ok\n")
    (root / "student-db").mkdir(parents=True)
    with closing(sqlite3.connect(root / "student-db" / "sis.db")) as made, made:
        made.execute("create table students as select column1 as value from (values (1), (2), (3))")

    def slot(name: str) -> RestoreSlot:
        apart, token = root / ".manifests" / name, "drill-1"
        return RestoreSlot(root=root / name, apart=apart, annex=lambda kind: root / kind, token=token)

    files = Source.model_validate({"files": {"paths": [str(tree)]}})
    doors = open_source("uploads", files)
    (root / "uploads").mkdir()
    doors.capture(root / "uploads", None)
    shutil.copytree(tree, root / "uploads" / str(tree).lstrip("/"))
    uploads = doors.restored(slot("uploads"))
    database = open_source("student-db", Source.model_validate({"sqlite": {"path": "/srv/sis.db"}}))
    made = [
        Restored(name="uploads", kind="files", root=root / "uploads", instance=uploads,
                 manifest=uploads.settle(), declared=files),
        Restored(name="student-db", kind="sqlite", root=root / "student-db", instance=database.restored(slot("student-db")),
                 declared=Source.model_validate({"sqlite": {"path": "/srv/sis.db"}})),
        Restored(name="server", kind="files", root=root / "server", instance=Answering("server", "files", slot("s"))),
    ]  # fmt: skip
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    return CheckContext(root=root, plan_dir=tmp_path, seed="d", now=lambda: now, sources={x.name: x for x in made})


def check_of(kind: type[CheckBody], declared: Any) -> Check:
    return Check.model_validate({kind.kind: declared})


def made(context: CheckContext, check: Check) -> CheckResult:
    (result,) = run_check(context, check)
    return result


def picture(root: Path) -> dict[str, tuple[int, bytes]]:
    """What lies there: every file with its mode and content."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return {os.fsdecode(path): (path.stat().st_mode, path.read_bytes()) for path in files}


def test_every_kind_has_a_driver_and_a_case_here() -> None:
    assert set(DRIVERS) == set(KINDS.values()) and set(CASES) == set(KINDS)
    assert all(driver.declares is body for body, driver in DRIVERS.items())
    assert all(body.kind == key for key, body in KINDS.items())


def test_a_kind_says_what_it_is(kind: type[CheckBody]) -> None:
    check = check_of(kind, kind.example)
    assert isinstance(check.body, kind) and check.kind == kind.kind and check.mandatory
    assert kind.__doc__ and kind.asserts.endswith(".") and kind.title == words.check(kind.kind)
    expected = DRIVERS[kind](check.body).expected()
    assert expected.isprintable() and 0 < len(expected) <= 300
    told = schema("plan")["$defs"]["Check"]["anyOf"][1]["properties"][kind.kind]
    assert told["description"].startswith(kind.asserts) and told["examples"] == [kind.example]


def test_what_is_whole_passes_and_what_was_harmed_fails(
    context: CheckContext, kind: type[CheckBody], case: Case
) -> None:
    check = check_of(kind, case.declared)
    whole = made(context, check)
    assert whole.outcome == "ok" and whole.check == kind.kind, whole
    case.harm(context)
    harmed = made(context, check_of(kind, {**case.declared, **({"within": "2s"} if kind.kind == "http" else {})}))
    assert harmed.outcome == "failed", harmed
    assert "notes" not in harmed.observed, "names of files are not for the evidence"


def test_what_does_not_run_programs_changes_nothing(context: CheckContext, kind: type[CheckBody], case: Case) -> None:
    before = picture(context.root)
    assert made(context, check_of(kind, case.declared)).outcome == "ok"
    assert kind.turn is Turn.RUNS_PROGRAMS or picture(context.root) == before


def test_what_cannot_be_looked_at_has_failed(context: CheckContext, kind: type[CheckBody], case: Case) -> None:
    broken: Any = Broken()
    gone = {name: replace(item, instance=broken) for name, item in context.sources.items()}
    check = check_of(kind, case.declared)
    result = made(replace(context, land=broken, programs=broken, sources=gone), check)
    assert result.outcome == "failed" and "could not be checked: " in result.observed
    assert "the disk answers no more" in result.observed
    assert result.expected == DRIVERS[kind](check.body).expected()


def test_a_source_that_is_not_there_fails_and_is_skipped_of_samples(
    context: CheckContext, kind: type[CheckBody], case: Case
) -> None:
    check = check_of(kind, case.declared)
    nothing = replace(context, sources={})
    if check.source:
        assert made(nothing, check).outcome == "failed"
        assert made(replace(nothing, partial=True), check).outcome == "skipped"
    if kind.turn is Turn.RUNS_PROGRAMS:
        assert made(replace(context, partial=True), check).outcome == "skipped"


def test_what_asks_a_database_waits_for_one_that_was_loaded(
    context: CheckContext, kind: type[CheckBody], case: Case
) -> None:
    check = check_of(kind, case.declared)
    asks = kind.answered_by is not None or kind.turn is Turn.RUNS_PROGRAMS
    dump = {name: replace(item, kind="postgres") for name, item in context.sources.items()}
    assert (made(replace(context, sources=dump), check).outcome == "skipped") == asks
    if kind.answered_by and kind.turn is Turn.LOOKS:  # those of a server alone: sqlite is asked where it lies
        loaded = {name: replace(item, poured=Poured("a.sql", 1, "0" * 64)) for name, item in dump.items()}
        assert made(replace(context, sources=loaded), check).outcome == "ok"


# -- the toy in a plan -------------------------------------------------------------------------------


def test_a_kind_in_a_file_of_its_own_works_in_a_plan(district: District) -> None:
    drill = district.drill(checks=["manifest", {"total": {"source": "uploads", "bytes": ">= 20000"}}])
    assert drill.outcome == "ok", drill
    result = next(check for check in drill.checks if check.check == "total")
    assert (result.source, result.expected) == ("uploads", "bytes of all files together: >= 20000")
    assert decode("drill", encode(drill)) == drill
    failed = district.drill(checks=["manifest", {"total": {"source": "uploads", "bytes": "< 10"}}])
    assert failed.outcome == "failed" and failed.rta_seconds is None


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("{total: {source: uploads, bytes: 5}}", ""),
        ("{total: {source: uploads, bites: 5}}", "unknown key 'bites'. did you mean 'bytes'?"),
        ("{total: {source: uploads}}", "the key 'bytes' is missing. add `bytes:` here"),
        ("{totall: {source: uploads, bytes: 5}}", "unknown key 'totall'. did you mean 'total'?"),
        ("{total: {source: upload, bytes: 5}}", "there is no source 'upload'. sources: uploads"),
        ("{total: {source: uploads, bytes: 'matches ['}}", "'bytes': '[' is not a regular expression"),
        ("{}", "give exactly one of manifest, rows, schema, sql, file, command, http or total"),
    ],
)
def test_loading_and_the_schema_know_the_kind(declared: str, said: str, tmp_path: Path) -> None:
    text = (
        "system: sis\nobjectives: {rto: 2h, rpo: 4h}\nsources: {uploads: {files: {paths: [/srv]}}}\ntargets: [disk]\n"
        f"drill:\n  checks:\n    - manifest\n    - {declared}\n"
    )
    for name, content in {"plans/sis": text, "targets/disk": "target: disk\nlocal: {path: /srv/disk}\n"}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / f"{name}.yaml").write_text(content)
    faults = [fault for fault in load(tmp_path).faults if fault.severity == "refused"]
    assert (faults == []) == (not said) and all(fault.line == 8 for fault in faults)
    assert any(said in f"{fault.what}. {fault.hint}" for fault in faults) or not said, faults
    if not said:
        jsonschema.validate(yaml.safe_load(text), schema("plan"))
        plan = Plan.model_validate(yaml.safe_load(text))
        assert Plan.model_validate_json(plan.model_dump_json(by_alias=True, exclude_none=True)) == plan
