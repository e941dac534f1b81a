"""What is held against points: from evidence alone, until a person trusts one; and the history that judges the next."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from dr.catalog.migrations import STEPS
from dr.catalog.store import Catalog
from dr.catalog.suspicion import _NEWEST, LOUDEST, NEWEST, note_run
from dr.evidence.acts import Trust
from dr.evidence.change import Change
from dr.evidence.record import BackupRun, SourceCapture, TargetState
from dr.evidence.seal import seal
from dr.evidence.suspicion import Mark, frozen, held_against
from dr.tools.state_dir import StateDir
from tests.catalog.adoption import adopt

START = datetime(2026, 3, 1, 2, tzinfo=UTC)


def at(day: float) -> datetime:
    return START + timedelta(days=day)


def run(day: int, *, suspect: str | None = None, changed: int = 5, system: str = "sis") -> BackupRun:
    snapshots = {"docs": f"{day:064d}"}
    capture = SourceCapture(
        source="docs", kind="files", outcome="ok", snapshot_id=snapshots["docs"],
        change=Change(files=100, before=100, changed=changed),
    )  # fmt: skip
    return BackupRun(
        run_id=f"{system}-{day}", system=system, outcome="degraded" if suspect else "ok", started=at(day),
        finished=at(day), consistency_time=at(day), complete=True, sources=(capture,),
        targets=(TargetState(target="disk", outcome="ok", snapshots=snapshots),), suspect=suspect,
    )  # fmt: skip


def trust(day: int, because: str = "the migration", system: str = "sis") -> Trust:
    return Trust(
        run_id=f"trust-{day}", system=system, point=f"{system}-{day}", consistency_time=at(day), because=because,
        started=at(50), finished=at(50),
    )  # fmt: skip


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.open(StateDir(tmp_path))


def suspects(catalog: Catalog) -> dict[str, str | None]:
    return {point.run_id: point.suspect for point in catalog.points(["sis"])}


def test_a_suspect_point_and_all_later_ones_are_held_suspect_and_retention_freezes(catalog: Catalog) -> None:
    for fact in (run(1), run(2, suspect="docs: 9 of 9 files changed"), run(3)):
        catalog.record(fact)
    assert suspects(catalog) == {
        "sis-1": None,
        "sis-2": "docs: 9 of 9 files changed",
        "sis-3": "taken after the suspect point sis-2 (docs: 9 of 9 files changed)",
    }
    told = catalog.retention_frozen("sis") or ""
    assert "the point sis-2 of 2026-03-03 02:00:00 UTC is suspect (docs: 9 of 9 files changed)" in told
    assert catalog.retention_frozen("another") is None
    standing = catalog.standings(["sis", "another"], now=at(4), since=at(0))
    assert (standing["sis"].retention_frozen, standing["another"].retention_frozen) == (told, None)


def test_trust_in_it_clears_it_and_those_after(catalog: Catalog) -> None:
    for fact in (run(1), run(2, suspect="a"), run(3), trust(2)):
        catalog.record(fact)
    assert set(suspects(catalog).values()) == {None}
    assert catalog.retention_frozen("sis") is None
    assert catalog.audit().outcome == "ok"


def test_trust_in_a_later_point_ends_it_and_the_earlier_stays_suspect(catalog: Catalog) -> None:
    """After a recovery: what was encrypted is still nothing to recover from."""
    for fact in (run(1), run(2, suspect="a"), run(3), run(4, suspect="back again"), trust(4), run(5)):
        catalog.record(fact)
    assert [name for name, reason in suspects(catalog).items() if reason] == ["sis-3", "sis-2"]
    assert catalog.retention_frozen("sis") is None


def test_trust_in_the_first_leaves_the_second_suspect(catalog: Catalog) -> None:
    for fact in (run(2, suspect="a"), run(4, suspect="b"), trust(2)):
        catalog.record(fact)
    assert suspects(catalog) == {"sis-2": None, "sis-4": "b"}
    assert "sis-4" in (catalog.retention_frozen("sis") or "")


def test_a_catalog_made_anew_from_the_records_holds_the_same(tmp_path: Path) -> None:
    facts = (run(1), run(2, suspect="a"), run(3), run(4, suspect="b"), trust(2), run(5))
    sealed, prev = [], "0" * 64
    for number, fact in enumerate(facts, 1):
        sealed.append(seal(seq=number, prev=prev, fact=fact))
        prev = sealed[-1].digest
    first, anew = Catalog.open(StateDir(tmp_path / "first")), Catalog.open(StateDir(tmp_path / "again"))
    for fact in facts:
        first.record(fact)
    adopt(anew, sealed[3:])
    adopt(anew, sealed)
    assert suspects(anew) == suspects(first)
    assert anew.retention_frozen("sis") == first.retention_frozen("sis") is not None
    known = [catalog.change_history("sis", ["docs"], now=at(9)) for catalog in (first, anew)]
    assert known[0] == known[1]


def test_history_leaves_out_what_nobody_trusts_and_what_is_yet_to_come(catalog: Catalog) -> None:
    for fact in (run(1), run(2, suspect="a"), run(3), run(8), run(1, system="other")):
        catalog.record(fact)
    assert [item.at for item in catalog.change_history("sis", ["docs"], now=at(5))["docs"]] == [at(1), at(3)]
    catalog.record(trust(2))
    found = catalog.change_history("sis", ["docs"], now=at(5))["docs"]
    assert [(item.at, item.trusted) for item in found] == [(at(1), False), (at(2), True), (at(3), False)]
    assert catalog.change_history("sis", ["unknown"], now=at(5)) == {"unknown": ()}


def test_history_is_bounded_and_keeps_the_loudest_of_a_year(catalog: Catalog) -> None:
    catalog.record(run(3, changed=90))
    for day in range(4, 4 + NEWEST + 30):
        catalog.record(run(day))
    found = catalog.change_history("sis", ["docs"], now=at(300))["docs"]
    assert NEWEST < len(found) <= NEWEST + LOUDEST
    assert found[0].change.changed == 90


def _changes(catalog: Catalog) -> list[tuple[object, ...]]:
    with catalog._connections.reading() as db:
        return [tuple(row) for row in db.execute("select * from changes")]


def test_a_change_that_is_noted_again_stands_there_once(catalog: Catalog) -> None:
    facts = [run(1), run(2, suspect="a"), run(3, system="other")]
    for fact in facts:
        catalog.record(fact)
    before = _changes(catalog)
    assert len(before) == 3
    with catalog._connections.writing() as db:
        for record in catalog.records():
            note_run(db, record.fact)  # type: ignore[arg-type]
    assert _changes(catalog) == before


def test_the_newest_changes_of_a_source_lie_side_by_side_and_there_is_nothing_else_to_keep(catalog: Catalog) -> None:
    with catalog._connections.reading() as db:
        asked = {"system": "sis", "source": "docs", "now": 1, "since": 0}
        plan = [row["detail"] for row in db.execute(f"explain query plan {_NEWEST}", asked)]
        assert plan[0] == "SEARCH c USING PRIMARY KEY (system=? AND source=? AND at<?)", plan
        assert not any("TEMP B-TREE" in step for step in plan), plan
        assert not db.execute("pragma index_list(changes)").fetchall()[1:], "no index but the rows themselves"


def test_changes_that_were_kept_by_run_are_taken_over(tmp_path: Path) -> None:
    with Catalog.open(StateDir(tmp_path / "new")) as catalog:
        for fact in (run(1, changed=90), run(2, suspect="a"), run(3), run(2, system="other"), trust(2)):
            catalog.record(fact)
        told, rows = catalog.change_history("sis", ["docs"], now=at(9)), _changes(catalog)
    by_run = next(number for number, step in enumerate(STEPS) if "create table changes (" in step and number > 9)
    (tmp_path / "old").mkdir()
    with closing(sqlite3.connect(tmp_path / "old" / "catalog.sqlite")) as old, old:
        for statement in ";".join(STEPS[:by_run]).split(";"):
            old.execute(statement)
        old.execute(f"pragma user_version = {by_run}")
        old.executemany("insert into changes values (?, ?, ?, ?, ?, ?)", rows)
        old.execute("insert into marks values ('sis-2', 'sis', ?, 'a', 'the migration')", (rows[2][3],))
        assert len(old.execute("pragma index_list(changes)").fetchall()) == 3
    with Catalog.open(StateDir(tmp_path / "old")) as catalog:
        assert _changes(catalog) == rows
        assert catalog.change_history("sis", ["docs"], now=at(9)) == told
        catalog.record(run(4))
        assert len(catalog.change_history("sis", ["docs"], now=at(9))["docs"]) == 4


def test_a_run_without_measures_leaves_no_mark(catalog: Catalog) -> None:
    old = replace(run(1), sources=(replace(run(1).sources[0], change=None),))
    catalog.record(old)
    assert catalog.change_history("sis", ["docs"], now=at(5)) == {"docs": ()}
    assert catalog.retention_frozen("sis") is None


# -- laws ----------------------------------------------------------------------------------------------

MARKS = some.lists(some.tuples(some.booleans(), some.booleans()), max_size=8).map(
    lambda rows: [
        Mark(
            run_id=str(number), system="sis", consistency_time=at(number), reason="a" if bad or not good else None,
            trusted="b" if good else None,
        )
        for number, (bad, good) in enumerate(rows)
    ]
)  # fmt: skip


@given(MARKS)
def test_retention_is_frozen_exactly_while_the_newest_point_is_suspect(marks: list[Mark]) -> None:
    assert (frozen(marks) is None) == (held_against(marks, "new", at(99)) is None)


@given(MARKS)
def test_trust_in_the_newest_always_ends_it(marks: list[Mark]) -> None:
    assert frozen([*marks, Mark(run_id="x", system="sis", consistency_time=at(99), trusted="seen")]) is None


@given(MARKS)
def test_nothing_is_held_against_what_came_before_all(marks: list[Mark]) -> None:
    assert held_against(marks, "first", at(-1)) is None
