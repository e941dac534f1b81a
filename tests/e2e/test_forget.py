"""A replica's own retention: it follows its primary late, and never into what no retention explains."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import pytest

from dr.evidence.record import BackupRun, Replication
from dr.operations.holds import place_hold, release_hold
from dr.operations.rebuild import rebuild
from tests.conftest import ROOT
from tests.e2e.forgetful import DAY, Story, found_in


def test_what_retention_took_away_goes_from_the_replica_after_the_delay(expired: Story) -> None:
    story, waiting = expired, found_in(expired.replicate())
    before = story.names("second")
    assert [each.point for each in waiting.waiting] == story.made[:2] and not waiting.objects
    assert waiting.waiting[0].due - story.now == 30 * DAY
    assert found_in(story.follow(28, step=7)).objects == 0 and story.names("second") == before
    story.replicate(DAY)
    assert story.names("second") == before, "a day too early"
    fact = story.replicate(DAY)
    done = found_in(fact)
    assert (fact.outcome, done.kept, sorted(done.points)) == ("ok", (), story.made[:2])
    assert done.objects > 4 and done.bytes > 300_000 and not done.waiting
    assert story.names("second") == story.names("first"), "a late mirror"
    story.restic("second", "check", "--read-data")
    assert story.points_at("second") == story.made[2:] and sorted(fact.points or ()) == story.made[2:]
    again = story.replicate(DAY)
    assert (again.objects_copied, found_in(again).objects, found_in(again).waiting) == (0, 0, ())
    assert story.verify() == ["ok", "ok"], "what went on record is not missed"


def test_what_retention_took_from_the_primary_is_no_damage_there_and_is_not_brought_back(expired: Story) -> None:
    story = expired
    assert story.points_at("first") == story.made
    assert story.verify() == ["ok", "ok"]
    assert story.points_at("first") == story.made[2:] and story.points_at("second") == story.made
    before = story.names("first")
    story.backup()
    assert story.replicate().target == "second", "the primary is not said to have missed them"
    assert {name for name in before if name.startswith("snapshots/")} < story.names("first")
    assert story.points_at("first") == story.made[2:]
    story.expire(story.made[-2])
    assert story.verify() == ["failed", "ok"], "what the plan keeps is missed"


# -- what must not be followed -----------------------------------------------------------------------


def stays(story: Story, before: set[str], *, days: int = 120) -> Replication:
    """Replicate for months; nothing goes."""
    fact = story.follow(days, step=days // 4)
    assert story.names("second") >= before
    story.restic("second", "check")
    return fact


def test_an_emptied_primary_is_not_followed(expired: Story) -> None:
    story, before = expired, expired.names("second")
    shutil.rmtree(story.path("first"))
    assert stays(story, before).outcome == "failed"
    (story.site.root / "first" / "share").mkdir()
    assert stays(story, before).outcome == "failed"


def test_a_primary_that_was_overwritten_is_not_followed(expired: Story) -> None:
    story, before = expired, expired.names("second")
    for name in story.names("first"):
        (story.path("first") / name).chmod(0o600)
        (story.path("first") / name).write_bytes(b"encrypted, and a note of ransom")
    assert stays(story, before).outcome in ("failed", "degraded")


def test_a_primary_that_was_made_anew_with_the_same_passphrase_is_not_followed(expired: Story) -> None:
    story, before = expired, expired.names("second")
    shutil.rmtree(story.path("first"))
    story.restic("first", "init")
    assert stays(story, before).outcome == "failed"


@pytest.mark.parametrize("left", [0, 1, 2])
def test_snapshots_forgotten_with_the_real_passphrase_are_not_followed(expired: Story, left: int) -> None:
    """Not even the two that retention explains: where one deletion is an attack, none is believed."""
    story, before = expired, expired.names("second")
    story.expire(*story.made[2 : 5 - left])
    fact = stays(story, before)
    assert fact.outcome == "degraded" and "which the plan's retention keeps" in (fact.error or "")
    assert found_in(fact).alarm and not found_in(fact).objects


def test_what_the_primary_was_robbed_of_in_part_stays_whole(expired: Story) -> None:
    """What retention explains goes; an index or packs that what is left needs stay, though the primary has none."""
    story = expired
    for part in ("index", "data"):
        shutil.rmtree(story.path("first") / part)
    assert found_in(story.follow(30, step=10)).points
    assert story.points_at("second") == story.made[2:]
    story.restic("second", "check", "--read-data")


# -- what stands in the way --------------------------------------------------------------------------


def test_a_hold_keeps_what_it_is_on(expired: Story) -> None:
    story, before = expired, expired.names("second")
    with closing(story.session) as session:
        loaded = session.chosen(["share"])[0]
        everything = place_hold(session, loaded, reason="a lawsuit").hold_id
    kept = found_in(stays(story, before)).kept
    assert any("the system is on hold" in text for text in kept)
    with closing(story.session) as session:
        release_hold(session, everything, reason="settled")
        place_hold(session, session.chosen(["share"])[0], reason="one record", point=story.made[0])
    done = found_in(story.replicate())
    assert done.points == (story.made[1],) and any("is on hold" in text for text in done.kept)
    assert story.points_at("second") == [story.made[0], *story.made[2:]]
    story.restic("second", "check", "--read-data")


def test_while_a_point_is_suspect_nothing_goes(expired: Story) -> None:
    story, before = expired, expired.names("second")
    with closing(story.session) as session:
        last = next(r.fact for r in reversed(session.catalog.facts(("backup",))) if isinstance(r.fact, BackupRun))
        assert last.consistency_time
        odd = replace(last, run_id="odd", suspect="everything changed", consistency_time=story.now, started=story.now)
        session.catalog.record(odd)
    assert any("retention is frozen" in text for text in found_in(stays(story, before)).kept)


def test_what_nobody_proved_lets_nothing_go(expired: Story) -> None:
    story, before = expired, expired.names("second")
    with closing(story.session) as session, session.catalog._connections.writing() as db:
        db.execute("update copies set proof_level = 1")
    assert any("is proven: run `dr verify`" in text for text in found_in(stays(story, before)).kept)


def test_damage_that_would_show_too_late_lets_nothing_go(expired: Story) -> None:
    """A pack at the replica is rotten, and no verification has seen it yet."""
    story, before = expired, expired.names("second")
    packs = [story.path("second") / name for name in before & story.names("first") if name.startswith("data/")]
    pack = max(packs, key=lambda path: path.stat().st_size)  # one of files: of trees restic sees it as it walks
    pack.chmod(0o600)
    data = bytearray(pack.read_bytes())
    data[100] ^= 1
    pack.write_bytes(data)
    fact = story.follow(30, step=10)
    assert fact.outcome == "degraded" and "would not be whole" in (fact.error or "") and story.names("second") >= before


def test_without_the_key_nothing_is_looked_at(expired: Story) -> None:
    story, before = expired, expired.names("second")
    path = story.site.root / "config" / "targets" / "second.yaml"
    path.write_text(path.read_text().replace("forget_after: 30d\n", ""))
    assert stays(story, before).forgetting is None


def test_a_catalog_that_was_lost_begins_to_count_anew(expired: Story) -> None:
    story = expired
    story.follow(28, step=7)
    before = story.names("second")
    (story.site.root / "state" / "catalog.sqlite").unlink()
    with closing(story.session) as session:
        rebuild(session, [session.chosen(["share"])[0]])
    waiting = found_in(story.replicate()).waiting
    assert [each.due - story.now for each in waiting] == [30 * DAY] * 2 and story.names("second") >= before
    assert story.points_at("second") == story.made, "what the primary has lost is still known to be at the replica"


# -- clocks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leap", [40, 4_000])
def test_a_clock_that_jumps_empties_nothing(expired: Story, leap: int) -> None:
    """However far it leaps, each step counts for a third of the delay at most; and it counts anew from a step back."""
    story = expired
    story.replicate()
    before = story.names("second")
    story.replicate(leap * DAY)
    story.replicate(DAY)
    assert story.names("second") == before
    story.now -= (leap + 1) * DAY
    first = found_in(story.replicate()).waiting[0]
    assert first.due - story.now == 30 * DAY and story.names("second") == before


# -- two at once, and killed -------------------------------------------------------------------------


def test_while_another_run_is_under_way_it_is_put_off(expired: Story) -> None:
    story = expired
    story.follow(28, step=7)
    before = story.names("second")
    story.now += 5 * DAY
    with story.site.state.hold("share", what="a backup"):
        done = found_in(story.replicate())
    assert not done.objects and any("the next replication does it" in text for text in done.kept)
    with closing(story.session) as session:
        session.begin(session.chosen(["share"])[0], "drill", "drill-now", started=story.now)
        done = found_in(story.replicate())
        assert not done.objects and any("a drill of share is under way" in text for text in done.kept)
        assert story.names("second") == before


_KILLED = """
import itertools, os, signal, sys, threading
from datetime import datetime
from pathlib import Path
from dr.operations.rebuild import rebuild
from dr.operations.replicate import replicate_one
from dr.session import Session
from dr.tools.disk import DiskStore
from dr.tools.state_dir import StateDir
count, remove, guard = itertools.count(), DiskStore.remove, threading.Lock()
def dying(self, name):
    with guard:  # what was begun before is done
        if next(count) == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        remove(self, name)
DiskStore.remove = dying
root, now = Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2])
session = Session(root / "config", StateDir(root / "state"), clock=lambda: now)
replicate_one(session, session.chosen(["share"])[0])
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 3])
def test_a_run_that_was_killed_is_gone_on_with_and_all_of_it_told(expired: Story, after: int) -> None:
    story = expired
    story.follow(28, step=7)
    story.now += 5 * DAY
    before = story.names("second")
    argv = [sys.executable, "-c", _KILLED, str(story.site.root), story.now.isoformat(), str(after)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(argv, env=env, capture_output=True, check=False).returncode == -9
    assert before - story.names("second"), "it was killed in the middle"
    story.restic("second", "check", "--read-data")
    assert story.verify()[1] == "ok", "what went is not taken for damage"
    fact = story.replicate(DAY)
    done = found_in(fact)
    assert done.objects == len(before - story.names("second")) and sorted(done.points) == story.made[:2]
    assert story.names("second") == story.names("first") and done.bytes > 300_000
    assert found_in(story.replicate(DAY)).objects == 0, "it is told once"
