"""What every kind of source promises: each kind there is, and one that is defined in a file of its own, keep it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from dr.errors import SourceError
from dr.evidence.record import CheckResult, Drill
from dr.evidence.seal import decode, encode
from dr.plan.load import load
from dr.plan.plan import Plan
from dr.plan.schema import schema
from dr.plan.source import Source
from dr.plan.source_kinds import KINDS, SourceBody
from dr.queries.doctor.prerequisites import of_plan
from dr.sources.driver import RestoredSource, RestoreSlot, SourceDriver, Stream, Tree
from dr.sources.kinds import DRIVERS, open_source
from dr.sources.tables import Beside
from dr.tools.state_dir import StateDir
from scripts.servers.mariadb import MariadbServer
from scripts.servers.postgres import PostgresServer
from tests.run.conftest import District
from tests.toys.source_kind import JournalSource, open_journal

WRITTEN = datetime(2026, 11, 24, 8, tzinfo=UTC)


@dataclass
class Case:
    """A source, the same where nothing is, and a question with its answer where the kind has one."""

    declared: dict[str, Any]
    gone: dict[str, Any]
    query: str = ""
    answer: Any = None


@dataclass
class World:
    """A system with a source of each kind, its one recovery point, and a drill of it."""

    district: District
    cases: dict[str, Case]
    captured: dict[str, str]
    drill: Drill

    def result(self, check: str, kind: str) -> CheckResult:
        (found,) = [each for each in self.drill.checks if (each.check, each.source) == (check, kind)]
        return found


def cases(home: Path, postgres: PostgresServer, mariadb: MariadbServer) -> dict[str, Case]:
    server = {"host": str(postgres.socket), "user": "postgres"}
    other = {"socket": str(mariadb.socket), "user": "root"}
    return {
        "files": Case({"paths": [str(home / "files")]}, {"paths": [str(home / "none")]}),
        "sqlite": Case(
            {"path": str(home / "a.db")}, {"path": str(home / "none.db")}, "select count(*) from students", 3
        ),
        "command": Case(
            {"run": ["cat", str(home / "journal.log")], "filename": "export"},
            {"run": ["cat", str(home / "none")], "filename": "export"},
        ),
        "postgres": Case(
            {**server, "database": "kinds"}, {**server, "database": "none"}, "select count(*) from students", 3
        ),
        "mysql": Case(
            {**other, "database": "kinds"}, {**other, "database": "none"}, "select count(*) from students", 3
        ),
        "journal": Case(
            {"path": str(home / "journal.log"), "newest": "last"}, {"path": str(home / "none.log")}, "count", 3
        ),
    }


def fill(home: Path, postgres: PostgresServer, mariadb: MariadbServer) -> None:
    (home / "files").mkdir()
    (home / "files" / "letter.txt").write_bytes(os.urandom(3_000))
    make = "create table students as select 1 as value union all select 2 union all select 3"
    with closing(sqlite3.connect(home / "a.db")) as database, database:
        database.execute(make)
    postgres.psql("create database kinds")
    postgres.psql(make, database="kinds")
    mariadb.sql("create database kinds")
    mariadb.sql(f"create table kinds.students as {make.partition(' as ')[2]}")
    lines = [f"{(WRITTEN + timedelta(minutes=n)).isoformat()} gate {n} opened\n" for n in range(3)]
    (home / "journal.log").write_text("".join(lines) + "2026-11-24T08:03:00+00:00 gate 3 op")


@pytest.fixture(scope="module", autouse=True)
def _toy() -> Iterator[None]:
    """One kind more than there is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS, JournalSource.kind, JournalSource)
        patch.setitem(DRIVERS, JournalSource, open_journal)
        yield


@pytest.fixture(scope="module")
def world(
    _toy: None, tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer, mariadb: MariadbServer
) -> Iterator[World]:
    home = tmp_path_factory.mktemp("kinds")
    fill(home, postgres, mariadb)
    made = cases(home, postgres, mariadb)
    sources = {name: {name: case.declared} for name, case in made.items()}
    asked = [
        {"sql": {"source": name, "query": case.query, "expect": case.answer}}
        for name, case in made.items()
        if case.query
    ]
    body = {
        "system": "sis",
        "objectives": {"rto": "2h", "rpo": "4h"},
        "sources": sources,
        "targets": ["near"],
        "drill": {"checks": ["manifest", *asked]},
    }
    district = District(home, StateDir(home / "state"), body)
    (home / "plans").mkdir()
    point = district.backup("20261124T010000Z-aaaaaa")
    assert point.complete
    yield World(district, made, dict(point.kinds), district.drill())
    postgres.psql("drop database kinds")
    mariadb.sql("drop database kinds")


@pytest.fixture(params=["files", "sqlite", "command", "postgres", "mysql", "journal"])
def kind(request: pytest.FixtureRequest) -> type[SourceBody]:
    """Each kind."""
    return KINDS[request.param]


def opened(kind: type[SourceBody], declared: dict[str, Any]) -> SourceDriver:
    return open_source("part", Source.model_validate({kind.kind: declared}))


def slot(tmp_path: Path) -> RestoreSlot:
    return RestoreSlot(
        root=tmp_path / "root", apart=tmp_path / "apart", annex=lambda name: tmp_path / name, token="drill-1"
    )


def consumed(capture: object, work: Path) -> None:
    """Take a capture to its end, as a backup does."""
    if isinstance(capture, Stream):
        try:
            for _ in capture.chunks():
                pass
        finally:
            capture.close()
            capture.close()


# -- what each promises ------------------------------------------------------------------------------


def test_every_kind_is_tried(world: World) -> None:
    assert set(KINDS) == set(world.cases) == set(world.captured)


def test_a_declaration_has_an_example_that_holds_and_is_written_back_as_it_was(kind: type[SourceBody]) -> None:
    written = {kind.kind: dict(kind.example)}
    source = Source.model_validate(written)
    assert (source.kind, type(source.body)) == (kind.kind, kind)
    again = Source.model_validate_json(source.model_dump_json(by_alias=True, exclude_none=True))
    assert again == source
    assert kind.holds.endswith(".") and kind.kind in schema("plan")["$defs"]["Source"]["properties"]


def test_a_driver_bears_the_name_of_its_kind(world: World, kind: type[SourceBody]) -> None:
    assert opened(kind, world.cases[kind.kind].declared).kind == kind.kind == world.captured[kind.kind]


def test_what_was_captured_comes_back_equal(world: World, kind: type[SourceBody]) -> None:
    assert world.drill.outcome == "ok", world.drill
    assert world.result("manifest", kind.kind).outcome == "ok"


def test_a_kind_that_answers_queries_does_so_restored_and_no_other_does(
    world: World, kind: type[SourceBody], tmp_path: Path
) -> None:
    case = world.cases[kind.kind]
    assert bool(case.query) == kind.answers_queries
    if kind.answers_queries:
        assert world.result("sql", kind.kind).outcome == "ok"
        return
    with pytest.raises(SourceError, match="answers no queries") as refused:
        opened(kind, case.declared).restored(slot(tmp_path)).probe("select 1")
    assert refused.value.hint


def test_a_kind_that_holds_tables_gives_them_and_no_other_does(
    world: World, kind: type[SourceBody], tmp_path: Path
) -> None:
    driver = opened(kind, world.cases[kind.kind].declared)
    restored = driver.restored(slot(tmp_path))
    if kind.holds_tables:
        assert isinstance(driver.beside(), Beside), "nothing is touched yet"
        assert restored.foreseen_tables() is None, "nothing is known of what was not laid down"
        return
    for asked in (driver.beside, restored.tables):
        with pytest.raises(SourceError, match="holds no tables") as refused:
            asked()
        assert refused.value.hint


def test_what_is_not_there_makes_no_capture_that_looks_whole(
    world: World, kind: type[SourceBody], tmp_path: Path
) -> None:
    driver = opened(kind, world.cases[kind.kind].gone)
    try:
        capture = driver.capture(tmp_path, None)
        consumed(capture, tmp_path)
    except SourceError as error:
        assert error.hint and "part" in f"{error.where} {error.what}", error
    else:
        assert isinstance(capture, Tree) and capture.missing, "the negative control"


def test_a_restored_source_is_closed_twice_and_before_anything_was_done(
    world: World, kind: type[SourceBody], tmp_path: Path
) -> None:
    made = opened(kind, world.cases[kind.kind].declared).restored(slot(tmp_path))
    assert isinstance(made, RestoredSource) and (made.name, made.kind) == ("part", kind.kind)
    assert made.takes_stream == kind.own_server
    made.close()
    made.close()
    assert not (tmp_path / "root").exists(), "nothing is touched before it is asked for"


def test_what_a_kind_needs_is_looked_for(world: World, kind: type[SourceBody]) -> None:
    needed = kind.capture_programs + kind.server_programs
    body = {**world.district.body, "sources": {"part": {kind.kind: world.cases[kind.kind].declared}}}
    plan = Plan.model_validate({**body, "drill": {"checks": ["manifest"]}})
    found = [each for each in of_plan(plan, Path()) if each.what.startswith("sis: part")]
    assert {each.outcome for each in found} <= {"ok"} and bool(found) == bool(needed)
    assert bool(kind.packages and kind.service_user and kind.server) == bool(kind.server_programs)


def test_paths_that_are_not_there_are_told_when_the_plan_is_loaded(
    world: World, kind: type[SourceBody], tmp_path: Path
) -> None:
    for name, expected in (("declared", False), ("gone", True)):
        text = yaml.safe_dump({**world.district.body, "sources": {"part": {kind.kind: getattr(world.cases[kind.kind], name)}},
                               "drill": {"checks": ["manifest"]}})  # fmt: skip
        faults = faults_of(tmp_path / name, text)
        told = [fault for fault in faults if "is not there on this machine" in fault.what]
        assert bool(told) == (
            expected and bool(Source.model_validate({kind.kind: world.cases[kind.kind].gone}).body.local_paths)
        )


# -- the toy in a plan -------------------------------------------------------------------------------


def faults_of(config: Path, plan: str) -> list[Any]:
    for name, text in {"plans/sis": plan, "targets/near": "target: near\nlocal: {path: /srv/near}\n"}.items():
        (config / name).parent.mkdir(parents=True)
        (config / f"{name}.yaml").write_text(text)
    return list(load(config).faults)


def test_a_kind_in_a_file_of_its_own_is_drilled_and_recovered(world: World, tmp_path: Path) -> None:
    wanted = [world.result("sql", "journal"), world.result("manifest", "journal")]
    assert [(each.outcome, each.source) for each in wanted] == [("ok", "journal")] * 2
    events = " ".join(event.what for event in world.drill.events)
    assert "journal" in events and (WRITTEN + timedelta(minutes=2)).strftime("%Y-%m-%d %H:%M") in events
    assert decode("drill", encode(world.drill)) == world.drill
    only = District(world.district.home, world.district.state, {
        **world.district.body, "sources": {"gate": {"journal": world.cases["journal"].declared}},
        "targets": ["own"], "drill": {"checks": ["manifest"]},
    })  # fmt: skip
    only.backup("20261124T020000Z-bbbbbb")
    fact = only.recover(tmp_path / "back")
    assert fact.outcome == "ok", fact
    before = Path(world.cases["journal"].declared["path"]).read_text()
    (back,) = (tmp_path / "back").rglob("journal.log")
    assert back.read_text() == before[: before.rindex("\n") + 1], "to its last whole line"


def test_a_wrong_answer_of_such_a_kind_fails_the_drill(world: World) -> None:
    wrong = {"sql": {"source": "journal", "query": "count", "expect": 4}}
    drill = world.district.drill(checks=["manifest", wrong], drill_id="drill-2")
    assert drill.outcome == "failed" and drill.rta_seconds is None


@pytest.mark.parametrize(
    ("source", "check", "said"),
    [
        ("{journal: {path: /srv/log}}", "manifest", ""),
        ("{journal: {path: /srv/log}}", "{sql: {source: gate, query: count, expect: 1}}", ""),
        ("{journal: {pat: /srv/log}}", "manifest", "unknown key 'pat'. did you mean 'path'?"),
        ("{journal: {path: srv/log}}", "manifest", "the path 'srv/log' is not absolute"),
        ("{journall: {path: /srv/log}}", "manifest", "unknown key 'journall'. did you mean 'journal'?"),
        ("{journal: {path: /srv/log}}", "{rows: {source: gate}}", "a journal source answers no rows check"),
        ("{}", "manifest", "give exactly one of files, sqlite, command, postgres, mysql or journal"),
        ("{journal: {path: /srv/log}, host: {ssh: a@b.example, mode: sftp}}", "manifest", "SFTP brings files only"),
    ],
)
def test_loading_and_the_schema_know_the_kind(source: str, check: str, said: str, tmp_path: Path) -> None:
    text = (
        f"system: sis\nobjectives: {{rto: 2h, rpo: 4h}}\nsources: {{gate: {source}}}\ntargets: [near]\n"
        f"drill:\n  checks:\n    - {check}\n"
    )
    faults = [fault for fault in faults_of(tmp_path, text) if fault.severity == "refused"]
    assert (faults == []) == (not said), faults
    assert any(said in f"{fault.what}. {fault.hint}" for fault in faults) or not said, faults
    if not said:
        jsonschema.validate(yaml.safe_load(text), schema("plan"))


def test_without_its_one_line_the_kind_is_not_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delitem(KINDS, "journal")
    text = (
        "system: sis\nobjectives: {rto: 2h, rpo: 4h}\nsources: {gate: {journal: {path: /srv/log}}}\ntargets: [near]\n"
    )
    assert any("unknown key 'journal'" in fault.what for fault in faults_of(tmp_path, text))
    assert "journal" not in schema("plan")["$defs"]["Source"]["properties"]
