"""A backup that is killed after its snapshot was stored: that is put on record, listed, and goes by retention."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.conftest import Site
from tests.e2e.expiring import Expiring
from tests.waiting import soon

#: restic, halted once a backup is stored; then it waits for the kill.
_HALTING = """\
#!/bin/sh
case " $* " in
  *" backup "*) "{restic}" "$@" >/dev/null; echo $$ > "{halted}.new" && mv "{halted}.new" "{halted}"; exec sleep 600 ;;
  *) exec "{restic}" "$@" ;;
esac
"""


def killed(story: Expiring) -> None:
    """Type `dr backup`, and kill it once its snapshot is stored."""
    root, program, halted = story.site.root, story.site.root / "halting", story.site.root / "halted"
    halted.unlink(missing_ok=True)
    program.write_text(_HALTING.format(restic=story.site.env["DR_RESTIC"], halted=halted))
    program.chmod(0o700)
    site = Site(root, {**os.environ, "DR_RESTIC": str(program)}, story.site.forker)
    with site.start("backup", "share") as running:
        assert soon(lambda: halted.exists() or running.poll() is not None)
        assert halted.exists(), running.communicate()
        running.kill()
        os.kill(int(halted.read_text()), signal.SIGKILL)
        running.communicate()
    assert running.returncode == -signal.SIGKILL


def snapshots(story: Expiring) -> dict[str, str]:
    """Return the snapshots that plain restic lists: by id the run."""
    found = json.loads(story.restic("first", "snapshots", "--json"))
    return {each["id"]: tag.removeprefix("dr-run=") for each in found for tag in each["tags"] if "dr-run=" in tag}


@pytest.mark.slow
def test_what_a_killed_backup_stored_is_put_on_record_and_goes_once_a_newer_point_is_proven(five: Expiring) -> None:
    story, site = five, five.site
    killed(story)
    [first] = set(snapshots(story).values()) - set(story.made)
    assert first not in site.dr("points", "share").out
    site.dr("verify", "share")
    shown = site.dr("expire", "share", "--dry-run", "--confirm-many", "--json").document["expirations"][0]
    kept = {each["run_id"]: each["rule"] for each in shown["kept"]}
    assert kept[first] == "not whole, and no newer point is" and first not in site.dr("points", "share").out
    [done] = site.dr("expire", "share", "--confirm-many", "--json").document["expirations"]
    assert {each["run_id"] for each in done["expired"]} == set(story.made[:3]) and first in set(
        snapshots(story).values()
    )
    listed = {each["run_id"]: each for each in site.dr("points", "share", "--json").document["points"]}
    assert not listed[first]["complete"] and listed[first]["outcome"] == "aborted"
    killed(story)
    [second] = set(snapshots(story).values()) - set(story.made) - {first}
    ran = site.dr("backup", "share", "--json")
    [made] = ran.document["runs"]
    assert made["outcome"] == "ok" and any(second in line and "not whole" in line for line in made["healed"]), made
    assert second in ran.err and first not in ran.err, "each is told once"
    assert site.dr("points", "share", "--json").document["points"][1]["run_id"] == second
    assert "did not make" not in ran.err, "it is no stranger's"
    site.dr("verify", "share")
    [done] = site.dr("expire", "share", "--confirm-many", "--json").document["expirations"]
    gone = {each["run_id"]: each["rule"] for each in done["expired"]}
    assert gone[first] == gone[second] == "not whole, and a newer point is"
    assert set(snapshots(story).values()) == {story.made[-1], made["run_id"]}, "nothing is left for ever"
    assert {first, second} < {point.run_id for fact in story.facts() for point in fact.expired}, "and it is on record"
    assert not site.dr("expire", "share", "--json").document["expirations"][0]["expired"]
    story.restic("first", "check", "--read-data")
