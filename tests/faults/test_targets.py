"""What a target can do to a run."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing

from dr.queries.target_posture import posture_of
from dr.report.documents import posture_document
from tests.conftest import Site, plan_text
from tests.waiting import LIMIT, soon


def _offsite(site: Site, s3, bucket: str, *, secret: str | None = None, endpoint: str | None = None) -> None:
    keys = site.root / "keys"
    keys.write_text(
        f"[default]\naws_access_key_id = {s3.access_key}\naws_secret_access_key = {secret or s3.secret_key}\n"
    )
    site.target(
        "offsite",
        f"target: offsite\ns3: {{endpoint: '{endpoint or s3.endpoint}', bucket: {bucket}, credentials: {{file: {keys}}}}}\n",
    )


def _share(site: Site, targets: str) -> None:
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{site.root}/source]}}}}", targets=targets))


def test_one_target_down_is_degraded_and_the_next_run_catches_up(files_site: Site) -> None:
    site = files_site
    site.target("vault", f"target: vault\nlocal: {{path: {site.root}/mount/vault}}\n")
    run = site.dr("backup", "share", "--json", code=3).document["runs"][0]
    assert run["outcome"] == "degraded"
    assert [(t["target"], t["outcome"]) for t in run["targets"]] == [("disk", "ok"), ("vault", "failed")]
    assert site.dr("points", "--json").document["points"][0]["targets"] == ["disk"]
    (site.root / "mount").mkdir()
    again = site.dr("backup", "share", "--json").document["runs"][0]
    assert again["caught_up"] == [f"{run['run_id']}@vault"]
    points = site.dr("points", "--json").document["points"]
    assert [sorted(p["targets"]) for p in points] == [["disk", "vault"]] * 2
    shutil.rmtree(site.root / "disk")
    old = site.dr("drill", "share", "--target", "vault", "--at", run["finished"], "--json").document["drills"][0]
    assert (old["outcome"], old["run_id"]) == ("ok", run["run_id"])


#: The program, killed as soon as its record is in the catalog: before it is sent, and before any step that follows.
_KILLED = """
import os, signal, sys
from dr.catalog.store import Catalog
record = Catalog.record
def then_die(*given):
    record(*given)
    os.kill(os.getpid(), signal.SIGKILL)
Catalog.record = then_die
from dr.__main__ import main
from dr.tools.state_dir import StateDir
sys.exit(main())
"""


def test_a_kill_right_after_the_record_loses_nothing_of_what_was_caught_up(files_site: Site) -> None:
    site = files_site
    site.target("vault", f"target: vault\nlocal: {{path: {site.root}/mount/vault}}\n")
    site.dr("backup", "share", code=3)
    (site.root / "mount").mkdir()
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, *site.argv("backup", "share")[3:]], env=site.env, cwd=site.root, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    points = site.dr("points", "--json").document["points"]
    assert [sorted(p["targets"]) for p in points] == [["disk", "vault"]] * 2
    assert site.dr("backup", "share", "--json").document["runs"][0]["caught_up"] == [], "nothing is copied twice"


def test_every_target_down_is_failed_and_recorded(files_site: Site) -> None:
    for name in ("disk", "vault"):
        files_site.target(name, f"target: {name}\nlocal: {{path: {files_site.root}/none/{name}/x}}\n")
    run = files_site.dr("backup", "share", "--json", code=1).document["runs"][0]
    assert run["outcome"] == "failed" and run["consistency_time"] is None
    assert files_site.dr("points", "--json").document["points"] == []
    assert files_site.dr("audit", "--json").document["records"] == 1


def test_wrong_credentials_are_exit_12_and_never_shown(files_site: Site, s3, bucket: str) -> None:
    secret = "planted-secret-" + os.urandom(6).hex()
    _offsite(files_site, s3, bucket, secret=secret)
    _share(files_site, "[offsite]")
    ran = files_site.dr("backup", "share", "--json", "-v", code=12)
    assert "refused the credentials" in ran.err
    assert secret not in ran.err + ran.out


def test_a_drill_whose_every_target_refuses_us_is_exit_12(files_site: Site, s3, bucket: str) -> None:
    _offsite(files_site, s3, bucket)
    _share(files_site, "[offsite]")
    files_site.dr("backup", "share")
    _offsite(files_site, s3, bucket, secret="another-secret")
    told = files_site.dr("drill", "share", code=12).err.splitlines()[-1]
    assert told.startswith("dr: share: no target with a usable copy accepts the login (offsite: ")


def test_a_posture_that_could_not_be_looked_at_says_what_to_do_about_it(files_site: Site, s3, bucket: str) -> None:
    _offsite(files_site, s3, bucket, secret="another-secret")
    _share(files_site, "[offsite]")
    with closing(files_site.session()) as session:
        posture = posture_of(session, "offsite", system="share")
    assert posture and posture.outcome == "failed" and posture.error
    assert posture_document(posture)["error_hint"] == posture.error_hint != ""


def test_a_wrong_passphrase_is_exit_12(files_site: Site) -> None:
    files_site.dr("backup", "share")
    for path in (files_site.root / "state" / "secrets").iterdir():
        path.write_text("another passphrase\n")
    assert "passphrase" in files_site.dr("backup", "share", code=12).err
    assert "passphrase" in files_site.dr("verify", "share", code=12).err
    drill = files_site.dr("drill", "share", "--json", code=12).document["drills"][0]
    assert drill["outcome"] == "failed" and drill["rta_seconds"] is None


def test_a_bucket_that_nobody_saw_is_not_there_and_one_on_record_is_gone(files_site: Site, s3) -> None:
    name = f"late-{secrets.token_hex(6)}"
    _offsite(files_site, s3, name)
    _share(files_site, "[offsite]")
    ran = files_site.dr("backup", "share", code=1)
    assert f"there is no bucket {name} at {s3.endpoint}" in ran.err and " is gone" not in ran.err
    assert "ake it with `dr target create`" in ran.err
    client = s3.client()
    client.create_bucket(Bucket=name)
    files_site.dr("backup", "share")
    for found in client.list_objects_v2(Bucket=name)["Contents"]:
        client.delete_object(Bucket=name, Key=found["Key"])
    client.delete_bucket(Bucket=name)
    assert f"the bucket {name} is gone from {s3.endpoint}" in files_site.dr("backup", "share", code=1).err


def test_a_service_that_does_not_answer_is_said_quickly(files_site: Site, s3, bucket: str) -> None:
    _offsite(files_site, s3, bucket, endpoint="http://127.0.0.1:9")
    _share(files_site, "[offsite, disk]")
    began = time.monotonic()
    ran = files_site.dr("backup", "share", code=3)
    assert "does not answer" in ran.err
    assert time.monotonic() - began < 150, "restic by itself would try for a quarter of an hour"


def test_a_repository_that_vanished_is_begun_again_when_a_person_says_so(files_site: Site) -> None:
    files_site.dr("backup", "share")
    shutil.rmtree(files_site.root / "vault" / "share")
    assert "the repository is gone" in files_site.dr("backup", "share", code=3).err
    files_site.dr("target", "begin", "vault", "--because", "its disk broke")
    run = files_site.dr("backup", "share", "--json").document["runs"][0]
    assert "was begun again" in " ".join(run["notes"])
    points = files_site.dr("points", "--json").document["points"]
    assert "vault" in points[0]["targets"]


def test_the_server_killed_and_restarted_in_mid_backup_costs_time_and_nothing_else(
    files_site: Site, s3, bucket: str
) -> None:
    _offsite(files_site, s3, bucket)
    _share(files_site, "[offsite]")
    (files_site.root / "source" / "big.bin").write_bytes(os.urandom(60_000_000))
    process = files_site.start("backup", "share", "--json")
    client = s3.client()
    assert soon(lambda: "Contents" in client.list_objects_v2(Bucket=bucket, Prefix="share/data/"))
    s3.kill()
    time.sleep(0.5)
    s3.start()
    _out, err = process.communicate(timeout=LIMIT)
    if process.returncode != 0:  # it was between two requests that nothing retries: the next run heals
        assert "Traceback" not in err
        files_site.dr("backup", "share")
    assert files_site.dr("verify", "share", "--level", "2", "--json").document["proofs"][0]["outcome"] == "ok"
    assert files_site.dr("drill", "share", "--json").document["drills"][0]["outcome"] == "ok"


def test_the_server_killed_and_restarted_in_mid_drill_is_ridden_out_or_said(files_site: Site, s3, bucket: str) -> None:
    _offsite(files_site, s3, bucket)
    _share(files_site, "[offsite]")
    (files_site.root / "source" / "big.bin").write_bytes(os.urandom(100_000_000))
    files_site.dr("backup", "share")
    process = files_site.start("drill", "share", "--json")
    sandboxes = files_site.root / "state" / "sandboxes"
    assert soon(lambda: bool(list(sandboxes.rglob("big.bin"))))
    s3.kill()
    time.sleep(0.5)
    s3.start()
    out, err = process.communicate(timeout=LIMIT)
    drill = json.loads(out)["drills"][0]
    assert "Traceback" not in err
    if process.returncode == 0:
        assert drill["outcome"] == "ok" and drill["rta_seconds"] > 0
    else:  # never a half-restored system called recovered
        assert drill["outcome"] == "failed" and drill["rta_seconds"] is None and drill["error"]
    assert [path.name for path in sandboxes.iterdir() if path.is_dir()] == []
    assert files_site.dr("drill", "share", "--json").document["drills"][0]["outcome"] == "ok"
    assert files_site.dr("audit", "--json").document["outcome"] == "ok"


def test_a_second_bucket_that_was_down_is_brought_what_it_lacks_from_the_first(
    files_site: Site, s3, bucket: str
) -> None:
    """Two buckets have two key pairs, and restic takes one at a time: the copy goes by this machine."""
    site, second = files_site, f"{bucket}-2"
    s3.client().create_bucket(Bucket=second)
    keys = s3.write_keys(site.root / "keys")

    def places(endpoint: str) -> None:
        for name, where, held in (("disk", s3.endpoint, bucket), ("vault", endpoint, second)):
            site.target(
                name, f"target: {name}\ns3: {{endpoint: '{where}', bucket: {held}, credentials: {{file: {keys}}}}}\n"
            )

    places("http://127.0.0.1:9")
    first = site.dr("backup", "share", "--json", code=3).document["runs"][0]
    (site.root / "source" / "new.txt").write_text("since then\n")
    site.dr("backup", "share", code=3)
    places(s3.endpoint)
    run = site.dr("backup", "share", "--json").document["runs"][0]
    assert len(run["caught_up"]) == 2 and all(item.endswith("@vault") for item in run["caught_up"])
    points = site.dr("points", "--json").document["points"]
    assert [point["targets"] for point in points] == [["disk", "vault"]] * 3
    assert points[0]["copies"][0]["snapshots"] != points[0]["copies"][1]["snapshots"]
    drill = site.dr("drill", "share", "--target", "vault", "--at", first["consistency_time"], "--json").document[
        "drills"
    ][0]
    assert (drill["run_id"], drill["target"], drill["outcome"], drill["proof_level"]) == (
        first["run_id"],
        "vault",
        "ok",
        4,
    )
    assert {p["outcome"] for p in site.dr("verify", "share", "--json").document["proofs"]} == {"ok"}
    assert not list((site.root / "state" / "work").iterdir()), "the passing copy is swept away"
