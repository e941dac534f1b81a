"""What the board asks of copies costs what is wrong with them, not how many there are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dr.catalog import status_queries
from dr.catalog.store import Catalog
from dr.tools.state_dir import StateDir


@pytest.mark.parametrize(
    ("name", "index"),
    [("_DAMAGED", "damaged"), ("_LOST", "missing"), ("_UNLOCKED", "locked"), ("_EXPOSURE", "missing")],
)
def test_no_question_of_the_board_reads_every_copy(tmp_path: Path, name: str, index: str) -> None:
    given = {"systems": json.dumps(["sis"]), "now": 2, "since": 1, "gone": "[]"}
    with Catalog.open(StateDir(tmp_path)) as catalog, catalog._connections.reading() as db:
        steps = [row["detail"] for row in db.execute(f"explain query plan {getattr(status_queries, name)}", given)]
    assert any(f"INDEX copies_{index}" in step for step in steps), steps
    assert not {"SCAN c", "SCAN p", "SCAN copies"} & set(steps), steps
