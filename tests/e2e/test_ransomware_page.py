"""What docs/ransomware.md shows, done: with this program, and without it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.servers.s3 import S3Server
from tests.conftest import ROOT, Site
from tests.e2e.bucket import Attacked, make_attacked, now, seconds_pass

PAGE = (ROOT / "docs" / "ransomware.md").read_text()


@pytest.fixture
def hit(site: Site, s3: S3Server) -> tuple[Attacked, str]:
    """An attacked system, and a time before."""
    made = make_attacked(site, s3)
    seconds_pass()
    before = now()[:19] + "Z"
    seconds_pass()
    made.destroy()
    return made, before


def test_the_commands_for_an_attacked_bucket_do_what_the_page_says(hit: tuple[Attacked, str], tmp_path: Path) -> None:
    made, before = hit
    typed = re.findall(r"`(dr (?:recover|points|target)[^`]+--[^`]+)`", PAGE) + re.findall(
        r"^ +(dr .+)$", PAGE, re.MULTILINE
    )
    assert len(typed) == 4
    for line in typed:
        line = line.replace("SYSTEM", "share").replace("NAME", "offsite").replace("2026-11-24T06:00:00Z", before)
        words = shlex.split(line.replace("/srv/recovered-then", str(tmp_path / "back")))[1:]
        sure = ["--yes"] if words[0] != "points" and "--dry-run" not in words else []
        made.site.dr(*words, *sure)
    assert made.recovered(tmp_path / "back")
    made.site.dr("verify", "share", "--level", "2")


def test_without_this_program_rclone_and_restic_bring_the_point_back(hit: tuple[Attacked, str], tmp_path: Path) -> None:
    made, before = hit
    rclone = Path(sys.executable).parent
    lines = [line.strip() for line in re.findall(r"^    ((?:export|restic|rclone) .+)$", PAGE, re.MULTILINE)]
    assert len(lines) == 8
    script = "\n".join(lines)
    for word, real in {
        "ACCESS_KEY_ID=...": f"ACCESS_KEY_ID={made.server.access_key}",
        "SECRET_ACCESS_KEY=...": f"SECRET_ACCESS_KEY={made.server.secret_key}",
        "https://ENDPOINT": made.server.endpoint,
        "BUCKET/PREFIX/SYSTEM": f"{made.bucket}/pre/share",
        "/path/to/the/passphrase": f"{made.site.root}/state/secrets/share@offsite.passphrase",
        "2026-11-24T06:00:00Z": before,
        "/srv/recovered-then": f"{tmp_path}/plain",
        "SNAPSHOT": "latest",
        "restic -r": f"{made.site.env['DR_RESTIC']} -r",
        "snapshots": "snapshots --json",
    }.items():
        assert word in script, word
        script = script.replace(word, real)
    env = {**made.site.env, "PATH": f"{rclone}:{made.site.env['PATH']}", "RCLONE_CONFIG": "/dev/null"}
    done = subprocess.run(["sh", "-eu", "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {p.name: p.read_bytes() for p in (tmp_path / "plain").rglob("*.bin")} == made.files
    told = [line.split()[-1] for line in done.stdout.splitlines() if line.split()[-1].startswith("config")]
    assert len(told) >= 3, "the versions of config, and its deletion"
    assert any(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))


def test_the_part_of_a_plan_shown_is_accepted(site: Site) -> None:
    part = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    site.target("practice", "target: practice\ns3: {bucket: practice, endpoint: 'http://127.0.0.1:9'}\n")
    head = "system: sis\nowner: {role: Data manager}\nobjectives: {rto: 2h, rpo: 4h}\ntargets: [disk]\n"
    site.plan("sis", head + f"sources: {{docs: {{files: {{paths: [{site.root}]}}}}}}\n" + part[0])
    ran = site.dr("validate", "sis", "--json", code=None, AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x")
    assert len(part) == 1 and ran.document["errors"] == []
