"""Objects that a server refused: named in a drill, and in the way of a recovery until somebody accepts them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dr.run.recovery import lacking
from dr.run.recovery.request import RecoveryRequest
from dr.run.recovery.state import Recovery
from dr.run.recovery.timeline import Timeline
from dr.sources.driver import Refused, RestoredSource, RestoreSlot

BROKEN = Refused(name="sis.old", kind="view", lacked=True)
REFUSED = Refused(name="sis.v", kind="view", statement="CREATE VIEW v AS\nSELECT 1", cause="no such function [1305]")
TYPED = ("dr", "recover", "sis", "--to", "/srv/a place")


def told(tmp_path: Path, *refusals: Refused, real: bool, accepted: frozenset[str] = frozenset()) -> Recovery:
    """What a drill or a recovery makes of refusals."""
    now = datetime(2026, 1, 2, tzinfo=UTC)
    room = RestoreSlot(root=tmp_path, apart=tmp_path, annex=Path, token="t", real=real, accepted=accepted)
    instance = RestoredSource("database", "mysql", room)
    instance.refusals += refusals
    to = tmp_path if real else None
    asked = RecoveryRequest(drill_id="t", to=to, t_loss=now, clock=lambda: now, accepted=accepted, again=TYPED)
    nothing: dict[str, Any] = dict.fromkeys(("toolbox", "site", "cache"))
    recovery = Recovery(request=asked, journal=Timeline(lambda: now), instances={"database": instance}, **nothing)
    lacking.tell(recovery)
    lacking.tell(recovery)
    return recovery


def test_a_drill_names_what_was_refused_once_with_statement_and_reason(tmp_path: Path) -> None:
    progress = told(tmp_path, REFUSED, BROKEN, real=False)
    assert [(event.what, event.outcome) for event in progress.journal.events] == [
        (
            "database: the view sis.v was refused (no such function [1305]): CREATE VIEW v AS SELECT 1",
            "degraded",
        ),
        ("database: the view sis.old was missing or broken at the source", "degraded"),
    ]
    assert progress.error is None


def test_a_recovery_stops_at_what_was_refused_and_prints_the_whole_command(tmp_path: Path) -> None:
    progress = told(tmp_path, REFUSED, BROKEN, real=True)
    assert progress.error and "1 object" in progress.error and "sis.v" in progress.error
    assert "dr recover sis --to '/srv/a place' --accept-missing sis.v`" in progress.error_hint
    assert "--dumps`" in progress.error_hint and "sis.old" not in progress.error_hint


@pytest.mark.parametrize(("name", "stops"), [("sis.v", False), ("sis.w", True)])
def test_a_recovery_goes_on_when_each_object_is_accepted_by_its_name(tmp_path: Path, name: str, stops: bool) -> None:
    assert bool(told(tmp_path, REFUSED, real=True, accepted=frozenset({name})).error) is stops
