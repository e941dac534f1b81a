"""Until when a point is protected, in words that always name a mode and a date."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from dr.evidence.posture import Attempt, Finding, Probe, TargetPosture
from dr.evidence.problem import texts
from dr.evidence.record import Copy, Point
from dr.evidence.seal import GENESIS, seal
from dr.evidence.system_status import SystemStatus
from dr.report import html, text
from dr.report.board import row_of
from dr.report.json import document
from dr.report.protection import destroyable_from, guard_of, guard_rows
from tests.report.district import NOW, drill, plan, point, report, row

DAY = timedelta(days=1)


def locked(mode: str = "compliance", first: int = 20, last: int = 30) -> Point:
    whole = point()
    copy = replace(whole.copies[0], lock_mode=mode, protected_until=NOW + first * DAY, locked_until=NOW + last * DAY)
    return replace(whole, copies=(copy, *whole.copies[1:]))


def test_a_lock_is_never_said_without_its_mode_and_date() -> None:
    assert guard_of(locked()).in_words(NOW) == "compliance lock on offsite until 2026-12-14"
    assert guard_of(locked(first=-1)).in_words(NOW) == "not protected: its lock on offsite ran out on 2026-11-23"
    assert guard_of(point()).in_words(NOW) == "not protected by a known lock"


def test_the_last_copy_to_be_free_says_when_a_point_can_be_destroyed() -> None:
    one = locked()
    copies: tuple[Copy, ...] = (one.copies[0], replace(one.copies[1], locked_until=NOW + 80 * DAY))
    assert destroyable_from(replace(one, copies=copies)) == NOW + 80 * DAY
    assert destroyable_from(point()) is None


def test_rows_are_there_once_any_point_has_a_lock() -> None:
    assert guard_rows([point()], NOW) == ()
    assert [(r.protected, r.destroyable) for r in guard_rows([locked()], NOW)] == [
        ("compliance lock on offsite until 2026-12-14", "from 2026-12-24")
    ]
    assert guard_rows([locked(first=-3, last=-2)], NOW)[0].destroyable == "at any time"


def test_every_renderer_tells_of_locks_and_of_the_posture() -> None:
    finding = Finding(what="versioning", severity="high", observed="off <b>", hint="turn it on")
    tried = Attempt(what="delete a version", outcome="refused", severity="ok", observed="refused")
    probe = Probe(tried=NOW, attempts=(tried,))
    posture = TargetPosture(target="offsite", outcome="degraded", checked=NOW, findings=(finding,), probe=probe)
    one = locked()
    made = report(replace(drill(), posture=posture), rows=[row()], points={one.run_id: one})
    for said in (html.render(made), text.render(made)):
        assert "compliance lock on offsite until 2026-12-14" in said and "from 2026-12-24" in said
        assert "1 grave finding" in said and "1 of 1 attempt refused" in said and "<b>" not in said
    guard = document(made)["protection"][0]
    assert (guard["lock_mode"], guard["target"]) == ("compliance", "offsite")
    plain = report(drill(), rows=[row()])
    assert "Until when" not in text.render(plain) and "not looked at" in text.render(plain)
    failed = TargetPosture(target="offsite", outcome="failed", checked=NOW, error="it is down", error_hint="start it")
    said = text.render(report(replace(drill(), posture=failed), rows=[row()]))
    assert "could not be looked at: it is down; start it" in said


def test_a_posture_comes_back_from_the_seal_as_it_was() -> None:
    posture = TargetPosture(target="offsite", outcome="ok", checked=NOW, probe=Probe(tried=NOW, error="x"))
    fact = replace(drill(), posture=posture)
    assert seal(seq=1, prev=GENESIS, fact=fact).fact == fact


def test_the_board_says_when_locks_have_run_out() -> None:
    standing = SystemStatus(system="sis", unlocked_points=3)
    assert "the locks on 3 recovery points have run out" in " ".join(texts(row_of(plan(), standing, now=NOW).problems))
    assert "run out" not in " ".join(texts(row_of(plan(), SystemStatus(system="sis"), now=NOW).problems))
