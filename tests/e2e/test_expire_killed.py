"""Expiring and pruning killed midway, and a disk that is full: the next run puts it right, and it is on record."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.conftest import Site
from tests.e2e.expiring import Expiring, expiration, pruning
from tests.faults.test_full_disk import _fill, small_disk
from tests.waiting import soon

#: restic, halted after a forget, or killed with its lock in place amid a prune; then it waits for the kill.
_HALTING = """\
#!/bin/sh
case "{amid} $*" in
  "forget "*" forget "*) "{restic}" "$@" ;;
  "prune "*" prune"*) "{restic}" "$@" & restic=$!
    until ls "{locks}" | grep -qv tmp; do kill -0 $restic || exit 99; done
    kill -9 $restic; wait $restic ;;
  *) exec "{restic}" "$@" ;;
esac
echo $$ > "{halted}.new" && mv "{halted}.new" "{halted}"
exec sleep 600
"""


def killed(story: Expiring, amid: str) -> None:
    """Type `dr expire`, and kill it with its restic when that got so far."""
    root, program = story.site.root, story.site.root / "halting"
    halted, locks = root / "halted", story.path("first") / "locks"
    program.write_text(_HALTING.format(restic=story.site.env["DR_RESTIC"], amid=amid, halted=halted, locks=locks))
    program.chmod(0o700)
    site = Site(root, {**os.environ, "DR_RESTIC": str(program)}, story.site.forker)
    with site.start("expire", "share", "--confirm-many") as running:
        assert soon(lambda: halted.exists() or running.poll() is not None)
        assert halted.exists(), running.communicate()
        running.kill()
        os.kill(int(halted.read_text()), signal.SIGKILL)
        running.communicate()
    assert running.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_killed_after_the_snapshots_went_the_next_run_puts_them_on_record(five: Expiring) -> None:
    story = five
    story.site.dr("verify", "share")
    killed(story, "forget")
    assert story.facts() == [], "nobody could say what went"
    ran = story.site.dr("expire", "share", "--json")
    [done] = ran.document["expirations"]
    assert [point["run_id"] for point in done["expired"]] == story.made[:3] and done["pruned"]
    assert {point["rule"] for point in done["expired"]} == {"no longer kept by last 2"}
    assert [fact.outcome for fact in story.facts()] == ["aborted", "ok"]
    story.restic("first", "check", "--read-data")
    story.site.dr("verify", "share")


@pytest.mark.slow
def test_killed_amid_a_prune_the_next_run_heals_the_lock_says_so_and_frees_the_space(five: Expiring) -> None:
    story = five
    story.site.dr("verify", "share")
    killed(story, "prune")
    assert [fact.outcome for fact in story.facts()] == ["ok"] and len(story.points_at("first")) == 2
    assert any((story.path("first") / "locks").iterdir())
    ran = story.site.dr("expire", "share", "--json")
    [done] = ran.document["expirations"]
    assert done["pruned"] and not any((story.path("first") / "locks").iterdir())
    assert any("a stale lock of restic on first removed" in note for note in done["notes"]), done["notes"]
    assert story.facts("prune")[-1].points == tuple(story.made[:3]), "it completes what went before"
    story.restic("first", "check", "--read-data")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_a_full_disk_is_told_and_once_there_is_room_it_is_done(five: Expiring) -> None:
    story = five
    moved = story.site.root / "moved"
    story.path("first").parent.rename(moved)
    with small_disk(story.site.root / "first", "20m"):
        subprocess.run(["cp", "-a", f"{moved}/.", story.site.root / "first"], check=True)
        ballast = _fill(story.site.root / "first")
        found = story.expired()
        assert found.expiration and found.expiration.exit_code != 0
        assert "full" in (expiration(found).error or "") or "space" in (expiration(found).error or "")
        ballast.unlink()
        after = story.expired()
        assert expiration(after).outcome == pruning(after).outcome == "ok"
        assert len(story.points_at("first")) == 2 and story.verify() == ["ok"]
