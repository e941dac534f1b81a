"""The disk of a target elsewhere becomes full: one sentence says so, nothing is called whole, and the next run heals."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Site, plan_text
from tests.faults.test_full_disk import small_disk
from tests.targets.places import make


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
@pytest.mark.parametrize("key", ["sftp", "rest", "rclone"])
def test_a_full_disk_there_is_one_sentence_and_once_there_is_room_the_next_run_is_well(
    key: str, kinds_site: Site, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    site, place = kinds_site, make(key, request, tmp_path)
    site.env |= place.env
    site.target("place", place.text("place"))
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{site.root}/source]}}}}", targets="[place]"))
    assert place.files
    if key == "rclone":  # the WebDAV server of rclone answers 405 on a full disk, and says nothing of it
        config = Path(place.declared["config"])
        config.write_text(f"[disk]\ntype = alias\nremote = {place.files}\n")
        place.declared["remote"] = "disk:"
        site.target("place", place.text("place"))
    with small_disk(place.files, "4m"):
        place.files.chmod(0o777)
        site.dr("backup", "share")
        [before] = site.dr("points", "share", "--json").document["points"]
        (site.root / "source" / "big.bin").write_bytes(os.urandom(12_000_000))
        ran = site.dr("backup", "share", "--json", code=1)
        [run] = ran.document["runs"]
        assert run["outcome"] == "failed" and "full" in str(run["targets"][0]["error"]), run
        assert "full" in ran.err and len(ran.err.splitlines()) <= 2, ran.err
        [now] = [point for point in site.dr("points", "share", "--json").document["points"] if point["complete"]]
        assert now["run_id"] == before["run_id"], "nothing of it is called whole"
        subprocess.run(["mount", "-o", "remount,size=64m", place.files], check=True)
        [again] = site.dr("backup", "share", "--json").document["runs"]
        assert again["outcome"] == "ok"
        proof = site.dr("verify", "share", "--level", "3", "--json").document["proofs"][0]
        assert (proof["outcome"], proof["level_reached"]) == ("ok", 3), proof
        assert {each["problem"] for each in proof["damage"]} <= {"unreferenced"}, "packs of what was given up"
        drill = site.dr("drill", "share", "--json").document["drills"][0]
        assert (drill["run_id"], drill["checks_verdict"]) == (again["run_id"], "passed")
