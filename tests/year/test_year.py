"""A year, small: a few systems, simulated from tick to tick. `make year` does it with a thousand."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dr.catalog import folding
from dr.catalog.store import Catalog
from dr.catalog.suspicion import LOUDEST, NEWEST
from dr.queries.report import report
from dr.report.json import document
from dr.tools.state_dir import StateDir
from tests.year.simulation import BEGIN, Simulation


@pytest.fixture
def year(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Simulation:
    monkeypatch.setattr(folding, "FEWEST", 64)
    monkeypatch.setattr(folding, "AGE", timedelta(days=31))
    made = Simulation(tmp_path, systems=2, durable=False)
    made.declare()
    return made


def test_nothing_grows_without_bound_and_the_evidence_stays_whole(year: Simulation) -> None:
    year.go(80, timedelta(hours=12))
    half, runs = year.open_rows, year.records
    year.go(80, timedelta(hours=12))
    assert year.records > 1.9 * runs, "twice the time, twice the records"
    for table in ("runs", "points", "copies", "attempts", "places", "memory", "strangers", "absences"):
        assert year.open_rows[table] <= 1.25 * half[table] + 20, (table, half, year.open_rows)
    assert year.open_rows["changes"] <= year.systems * (NEWEST + 50 + 3 * LOUDEST + 35 * 6), (
        "by which the next is judged"
    )
    session = year.session()
    try:
        assert session.catalog.audit().outcome == "ok"
        kept = session.catalog.facts(("backup",), systems=["s-0001"], since=BEGIN)
        assert len(kept) > 150, "the oldest are still read"
        rows = session.catalog.standings(["s-0000", "s-0001"], now=year.now, since=BEGIN)
        assert all(row.exposure_seconds for row in rows.values())
    finally:
        session.close()


@pytest.fixture(scope="module")
def unfolded(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Eighty days of which nothing was folded."""
    made = Simulation(tmp_path_factory.mktemp("unfolded"), systems=2, durable=False, folding=False)
    made.declare()
    made.go(40, timedelta(hours=12))
    made.half = made.open_rows
    made.go(40, timedelta(hours=12))
    made.whole = made.open_rows
    return made


def test_without_folding_it_grows_so_the_measure_can_fail(unfolded: Simulation) -> None:
    assert unfolded.whole["runs"] > 1.7 * unfolded.half["runs"]
    assert unfolded.whole["points"] > 1.7 * unfolded.half["points"]


def test_a_report_over_old_days_tells_the_same_once_they_are_folded(
    unfolded: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "FEWEST", 16)

    def told() -> list[dict[str, Any]]:
        session = unfolded.session()
        try:
            items, _ = session.usable()
            asked = (None, BEGIN + timedelta(days=10, hours=5), BEGIN + timedelta(days=60))
            return [document(report(session, items, since=since)) for since in asked]
        finally:
            session.close()

    before = told()
    with Catalog.open(StateDir(unfolded.home / "state")) as catalog:
        assert catalog.fold(now=unfolded.now + timedelta(days=300), seconds=60) > 100
    after = told()
    assert after == before
    assert sum(kept["runs"] for kept in before[0]["period"]) > 200 and before[0]["evidence"]["audit"] == "whole"
    assert [kept["runs"] for kept in before[1]["period"]] < [kept["runs"] for kept in before[0]["period"]]
