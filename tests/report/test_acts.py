"""Acts on keys, kits, holds and targets are told in words, with their reason and their result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from dr.evidence.acts import HoldEvent, KeyChange, KeyEvent, KitAct, KitRepository, Rebuild, Rewind, Trust
from dr.evidence.fact import Fact
from dr.report import html, text
from dr.report.acts import acts_of
from dr.report.figures import LISTED, Report
from dr.report.json import document
from tests.report.district import HOSTILE, NOW, ago, chain, drill, plan, report, row

ROLES = ("Superintendent", "Business manager", "Director of technology")


def at(then: datetime = NOW, /, **more: Any) -> dict[str, Any]:
    return {"run_id": f"act-{then:%H%M%S}", "started": then, "finished": then, **more}


def changed(*targets: KeyChange, **more: Any) -> KeyEvent:
    return KeyEvent(**{**at(), "system": "sis", "what": "rotation", "outcome": "ok", "targets": targets, **more})


DONE = KeyChange(target="offsite", outcome="ok", added=("a",), removed=("b",))
KIT = KitAct(**at(act="made", outcome="ok", kit_id="kit-7", threshold=2, custodians=ROLES))
OPENED = (
    KitRepository(system="sis", target="offsite", opened=True),
    KitRepository(system="sis", target="vault", opened=False),
)
HOLD = HoldEvent(**at(hold_id="hold-1", system="sis", act="placed", reason="a court asked", until=NOW))
TRUST = Trust(
    **at(system="sis", point="p1", consistency_time=NOW, because="a clean-up", by="operator", suspect="40 % are gone")
)
REWIND = Rewind(
    **at(
        system="sis",
        target="offsite",
        outcome="ok",
        moment=ago(days=1),
        objects=32,
        uncovered=5,
        copied=15,
        verified=20,
    )
)
REBUILD = Rebuild(**at(outcome="ok", points=4, records=1))


def told(*facts: Fact) -> list[tuple[str, str, str, str]]:
    return [(act.what, act.why, act.by, act.problem) for act in acts_of(chain(facts), {"sis": plan()})]


def with_acts(facts: Sequence[Fact], **more: Any) -> Report:
    return report(drill(), rows=[row()], acts=chain(facts), **more)


@pytest.mark.parametrize(
    ("fact", "what", "why", "by", "problem"),
    [
        (changed(DONE), "a new passphrase on offsite", "", "", ""),
        (changed(DONE, what="escrow"), "a new escrow key on offsite", "", "", ""),
        (
            changed(replace(DONE, left=("b",), outcome="degraded"), KeyChange(target="vault", outcome="failed", error="away")),
            "a new passphrase on offsite", "", "", "offsite: 1 old key left; vault: away",
        ),
        (
            changed(DONE, what="destruction", points=("p", "q")),
            "destruction of the keys on offsite: 2 recovery points nobody can read any more", "", "", "",
        ),
        (KIT, "the recovery kit kit-7 made: any 2 of its 3 shares open it (Superintendent, Business manager, Director of technology)", "", "", ""),
        (replace(KIT, threshold=3), "the recovery kit kit-7 made: it opens with all of its 3 shares (Superintendent, Business manager, Director of technology)", "", "", ""),
        (replace(KIT, act="replaced"), "the recovery kit kit-7 made in place of another: any 2 of its 3 shares open it (Superintendent, Business manager, Director of technology)", "", "", ""),
        (
            replace(KIT, act="tested", shares=(1, 3), repositories=OPENED, stale=("a plan changed",)),
            "the recovery kit kit-7 tested with the shares 1, 3: 1 of 2 repositories opened", "", "", "a plan changed",
        ),
        (replace(KIT, act="tested", outcome="aborted", kit_id="", error="stopped"), "the recovery kit tested", "", "", "stopped"),
        (HOLD, "a hold on all points placed until 2026-11-24", "a court asked", "", ""),
        (replace(HOLD, act="released", until=None, point="p1"), "a hold on the point p1 released", "a court asked", "", ""),
        (TRUST, "the point p1 trusted, although 40 % are gone", "a clean-up", "operator", ""),
        (
            REWIND,
            "a rewind of offsite to 2026-11-23 09:30:00 UTC: 20 of 32 objects brought back, 20 read back",
            "", "", "",
        ),
        (replace(REWIND, target="", error="stopped"), "a rewind", "", "", "stopped"),
        (REBUILD, "a rebuild of the catalog from the targets: 4 points and 1 record", "", "", ""),
    ],
)  # fmt: skip
def test_each_act_is_said_in_words(fact: Fact, what: str, why: str, by: str, problem: str) -> None:
    assert told(fact) == [(what, why, by, problem)]


def test_drills_are_no_acts_and_the_newest_act_is_first() -> None:
    assert [what for what, *_ in told(HOLD, drill(), REBUILD)] == [told(REBUILD)[0][0], told(HOLD)[0][0]]


def test_every_renderer_tells_of_acts() -> None:
    made = with_acts([HOLD, KIT, TRUST, replace(REWIND, outcome="degraded", failed=("x",))])
    for said in (html.render(made), text.render(made)):
        for part in (
            "Acts",
            "a court asked",
            "any 2 of its 3 shares open it",
            "Superintendent",
            "1 object could not be",
            "in part",
        ):
            assert part in said, part
    newest = document(made)["acts"][0]
    assert (newest["kind"], newest["outcome"], newest["problem"]) == ("rewind", "degraded", "1 object could not be")
    assert newest["digest"] == chain([HOLD, KIT, TRUST, replace(REWIND, outcome="degraded", failed=("x",))])[-1].digest


def test_a_report_without_acts_has_no_such_section() -> None:
    made = report(drill(), rows=[row()])
    assert 'id="acts"' not in html.render(made) and "## Acts" not in text.render(made) and document(made)["acts"] == []


def test_only_so_many_acts_are_listed_and_the_rest_is_counted() -> None:
    made = with_acts([HOLD] * (LISTED + 3))
    assert (len(made.acts), made.acts_more, len(document(made)["acts"])) == (LISTED, 3, LISTED + 3)
    assert "3 older ones are not listed" in html.render(made) and "3 older ones are not listed" in text.render(made)


def test_a_reason_from_outside_is_never_markup() -> None:
    made = with_acts([replace(HOLD, reason=HOSTILE)])
    assert "<script>alert" not in html.render(made) and "<script" not in text.render(made)
