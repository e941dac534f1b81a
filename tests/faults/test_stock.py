"""A backup believes no index: what its point rests on is seen at the target, or the point is not complete."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Site, plan_text

MEND = "run `dr repair share --target disk`, then `dr backup share`"


@pytest.fixture
def one(files_site: Site) -> Site:
    """One target, one point, and more files than that since."""
    _plan(files_site)
    files_site.dr("backup", "share")
    (files_site.root / "source" / "later.bin").write_bytes(os.urandom(50_000))
    return files_site


def _plan(site: Site, targets: str = "[disk]", more: str = "") -> None:
    source = f"docs: {{files: {{paths: [{site.root}/source]}}}}"
    site.plan("share", plan_text("share", source, targets=targets, more=more))


def _packs(site: Site, target: str = "disk") -> list[Path]:
    return sorted(path for path in (site.root / target / "share" / "data").rglob("*") if path.is_file())


def _points(site: Site) -> list[dict[str, Any]]:
    return list(site.dr("points", "share", "--json").document["points"])


def _backup(site: Site, code: int = 0) -> dict[str, Any]:
    return dict(site.dr("backup", "share", "--json", code=code).document["runs"][0])


def test_a_point_that_rests_on_lost_packs_is_not_complete_until_a_repair_and_another_backup(one: Site) -> None:
    for pack in _packs(one):
        pack.unlink()
    ran = one.dr("backup", "share", code=1)
    assert "the new point rests on what is not there whole" in ran.err and MEND in ran.err
    newest, before = _points(one)
    assert (newest["complete"], before["complete"]) == (False, False), "the older one rests on the same"
    run = _backup(one, 1)
    assert run["harmed"]["disk"] == [run["run_id"]], "each time again, and the older ones were told"
    row = one.dr("status", "share", "--json", code=None).document["systems"][0]
    assert row["rpo_verdict"] != "met" and any("damage found" in problem for problem in row["problems"])
    one.dr("repair", "share", "--target", "disk", code=None)
    assert _backup(one)["complete"]
    one.dr("recover", "share", "--to", str(one.root / "back"), "--yes")
    assert (next((one.root / "back").rglob("later.bin"))).stat().st_size == 50_000


def test_a_pack_that_was_spoilt_or_cut_off_is_met_by_the_next_backup(one: Site) -> None:
    pack = max(_packs(one), key=lambda path: path.stat().st_size)
    kept = pack.read_bytes()
    for bad in (kept[:-1], kept[:50] + bytes([kept[50] ^ 1]) + kept[51:]):
        pack.chmod(0o600)
        pack.write_bytes(bad)
        os.utime(pack, (time.time() + 60, time.time() + 60))
        assert "1 object damaged" in one.dr("backup", "share", code=1).err
    pack.write_bytes(kept)
    assert _backup(one)["complete"], "what was written again and is whole is not a damage"


def test_a_cache_that_is_gone_makes_no_backup_believe_the_index(one: Site) -> None:
    shutil.rmtree(one.root / "state" / "cache")
    assert _backup(one)["complete"]
    shutil.rmtree(one.root / "state" / "cache")
    max(_packs(one), key=lambda path: path.stat().st_size).unlink()
    assert "1 object missing" in one.dr("backup", "share", code=1).err


def test_what_a_prune_took_away_is_no_damage(one: Site, restic_program: str) -> None:
    _plan(one, more="retention: {last: 1, daily: 1, weekly: 0, monthly: 0, yearly: 0}\n")
    first = _points(one)[0]["snapshots"]["docs"]
    (one.root / "source" / "more.bin").write_bytes(os.urandom(30_000))
    one.dr("backup", "share")
    there = set(_packs(one))
    secret = one.root / "state" / "secrets" / "share@disk.passphrase"
    env = {"RESTIC_PASSWORD_FILE": str(secret), "HOME": str(one.root), "PATH": os.environ["PATH"]}
    argv = [restic_program, "-r", str(one.root / "disk" / "share"), "forget", first, "--prune", "--max-unused", "0"]
    subprocess.run(argv, env=env, check=True, capture_output=True)
    assert there - set(_packs(one)), "packs went away"
    run = _backup(one)
    assert (run["outcome"], run["harmed"]) == ("ok", {})


def test_the_other_target_serves_and_the_run_is_degraded(one: Site) -> None:
    _plan(one, "[disk, vault]")
    one.dr("backup", "share")
    for pack in _packs(one):
        pack.unlink()
    run = _backup(one, 3)
    assert run["complete"] and {t["target"]: t["outcome"] for t in run["targets"]} == {"disk": "failed", "vault": "ok"}
    assert [point["targets"] for point in _points(one)] == [["vault"]] * 3


def test_a_directory_that_restic_left_out_for_damage_at_the_target_is_no_fault_of_the_source(one: Site) -> None:
    """restic calls it a file that could not be read, and makes a snapshot without it."""
    kept = one.root / "state" / "cache" / "restic"
    trees = {path.name for path in kept.rglob("data/*/*")}
    shutil.rmtree(kept)
    (one.root / "source" / "deep").mkdir(exist_ok=True)
    (one.root / "source" / "deep" / "more").write_text("more")
    for pack in _packs(one):
        if pack.name in trees:
            pack.unlink()
    older = _points(one)[0]["run_id"]
    run = _backup(one, 3)
    assert (run["complete"], run["harmed"], run["sources"][0]["unreadable"]) == (True, {"disk": [older]}, 0)
    assert [point["complete"] for point in _points(one)] == [True, False]
    one.dr("repair", "share", "--target", "disk", code=None)
    assert _backup(one)["complete"]
    one.dr("points", "share", "--rebuild")
    one.dr("recover", "share", "--to", str(one.root / "back"), "--yes")
    assert next((one.root / "back").rglob("more")).read_text() == "more"


def test_a_stream_that_a_target_stored_shorter_than_it_was_is_not_a_copy(files_site: Site) -> None:
    """The size that the snapshot has there is asked, not what the program said while it stored."""
    site = files_site
    site.plan("share", plan_text("share", "dump: {command: {run: [seq, '20000'], filename: out.txt}}"))
    real, cut = site.env["DR_RESTIC"], site.root / "cutting"
    shorter = "sh -c '\"$@\" | { head -c 1000; cat >/dev/null; }' cut"
    rotate = f'for a; do shift; set -- "$@" "$a"; [ "$a" = -- ] && set -- "$@" {shorter}; done'
    cut.write_text(
        f'#!/bin/sh\ncase "$RESTIC_REPOSITORY $*" in */disk/*stdin-from*) {rotate};; esac\nexec {real} "$@"\n'
    )
    cut.chmod(0o755)
    (run,) = site.dr("backup", "share", "--json", code=3, DR_RESTIC=str(cut)).document["runs"]
    states = {target["target"]: target for target in run["targets"]}
    assert [states[name]["outcome"] for name in ("disk", "vault")] == ["failed", "ok"]
    assert "holds 1,000 bytes of the stream's 108,894" in states["disk"]["error"]
    (point,) = site.dr("points", "--json").document["points"]
    assert point["targets"] == ["vault"]
    (run,) = site.dr("backup", "share", "--json").document["runs"]
    assert run["outcome"] == "ok"
