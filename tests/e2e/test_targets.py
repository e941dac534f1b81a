"""Targets as an administrator has them: made, looked at, backed up to, and told of in points, drills and reports."""

from __future__ import annotations

import os
import secrets
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Site, plan_text
from tests.waiting import LIMIT, soon

ARN = "arn:aws:iam::000000000000:user/writer"


def keys(site: Site, s3: Any, user: str) -> Path:
    path: Path = s3.write_keys(site.root / f"keys-{user}", user)
    return path


def declare(site: Site, s3: Any, *, mode: str = "compliance", more: str = "", bucket: str = "") -> str:
    """A target of a bucket that is not there yet, and a plan that uses it."""
    name = bucket or f"e2e-{secrets.token_hex(6)}"
    site.target(
        "vault",
        f"target: vault\ns3:\n  endpoint: {s3.endpoint}\n  bucket: {name}\n  prefix: district\n"
        f"  credentials: {{file: {keys(site, s3, 'writer')}}}\n"
        f"  immutability: {{mode: {mode}, days: 30, max_lock_days: 60, price_per_1000: 0.005{more}}}\n",
    )
    source = site.root / "source"
    source.mkdir(exist_ok=True)
    (source / "letter.txt").write_text("a letter\n")
    site.plan("sis", plan_text("sis", f"docs: {{files: {{paths: [{source}]}}}}", targets="[vault]"))
    return name


@pytest.mark.slow
def test_a_target_is_made_used_and_told_of(site: Site, s3: Any) -> None:
    declare(site, s3, more=f", credentials: {{file: {keys(site, s3, 'keeper')}}}")
    admin = ("--credentials", str(keys(site, s3, "admin")))
    assert site.dr("target", "check", "--json", code=1).document["targets"][0]["outcome"] == "failed"
    assert "--yes" in site.dr("target", "create", "vault", *admin, code=2).err
    would = site.dr("target", "create", "vault", *admin, "--dry-run", "--json").document["targets"][0]
    assert would["changes"] and not would["done"]
    made = site.dr("target", "create", "vault", *admin, "--append-only", ARN, "--yes", "--json").document["targets"][0]
    assert made["created"] and made["outcome"] == "ok"
    assert "nothing to do" in site.dr("target", "create", "vault", *admin, "--append-only", ARN).out

    checked = site.dr("target", "check", "vault", "--json").document["targets"][0]
    assert {"target", "outcome", "findings", "probe", "checked"} <= set(checked) and checked["outcome"] == "ok"
    assert set(checked["findings"][0]) == {"what", "severity", "observed", "hint"}
    assert {a["outcome"] for a in checked["probe"]["attempts"]} == {"refused", "allowed"}

    run = site.dr("backup", "sis", "--json").document["runs"][0]
    locks = run["locks"][0]
    assert (locks["outcome"], locks["extended"], locks["left"], locks["error"]) == ("ok", 0, 0, None)
    assert locks["calls"] < 12 and locks["cost"] == pytest.approx(locks["calls"] * 0.000005)
    point = site.dr("points", "--json").document["points"][0]
    until = datetime.fromisoformat(point["protected_until"]["vault"])
    assert timedelta(days=29) < until - datetime.now(UTC) < timedelta(days=30)
    assert point["destroyable_from"] >= point["protected_until"]["vault"]
    assert f"compliance lock on vault until {until:%Y-%m-%d}" in site.dr("points").out

    drill = site.dr("drill", "sis", "--json").document["drills"][0]
    assert drill["posture"]["target"] == "vault" and drill["posture"]["outcome"] == "ok"
    assert drill["posture"]["probe"]["tried"] == checked["probe"]["tried"], "not tried again within a day"
    site.dr("verify", "sis")
    copies = site.dr("status", "--json").document["systems"][0]["copies"]
    assert "'immutable_or_offline': 1" in str(copies), "the lock keys say what the backup keys may not ask"
    said = site.dr("report", "--format", "md").out
    assert f"compliance lock on vault until {until:%Y-%m-%d}" in said and "no grave finding" in said
    assert site.dr("audit").out
    doctor = {item["what"]: item for item in site.dr("doctor", "--json").document["findings"]}
    assert doctor["vault: object lock"]["outcome"] == doctor["vault: probe: delete a version"]["outcome"] == "ok"


@pytest.mark.slow
def test_a_backup_whose_locks_cannot_be_kept_is_degraded_with_one_sentence(site: Site, s3: Any) -> None:
    name = declare(site, s3)
    s3.make_locked(name, "compliance", 0)  # no default: every object must be locked, and the writer may not
    ran = site.dr("backup", "sis", "--json", code=3)
    run = ran.document["runs"][0]
    assert run["outcome"] == "degraded" and run["complete"], "the point is there"
    assert "may not extend locks (PutObjectRetention)" in run["locks"][0]["error"]
    assert ran.err.count("may not extend locks") == 1
    point = site.dr("points", "--json").document["points"][0]
    assert point["protected_until"] == {"vault": None} and point["destroyable_from"] is None
    assert "not protected by a known lock" in site.dr("points").out
    declare(site, s3, bucket=name, more=f", credentials: {{file: {keys(site, s3, 'keeper')}}}")
    mended = site.dr("backup", "sis", "--json").document["runs"][0]["locks"][0]
    assert mended["outcome"] == "ok" and mended["extended"] == mended["needed"] > 0
    points = site.dr("points", "--json").document["points"]
    assert all(each["protected_until"]["vault"] for each in points), "the older point too"


@pytest.mark.slow
def test_who_makes_backups_fail_does_not_make_locks_run_out(site: Site, s3: Any) -> None:
    name = declare(site, s3)
    s3.make_locked(name, "governance", 0)
    declare(site, s3, mode="governance", bucket=name, more=f", credentials: {{file: {keys(site, s3, 'keeper')}}}")
    assert site.dr("backup", "sis", "--json").document["runs"][0]["locks"][0]["extended"] > 0
    (site.root / "state" / "cache" / "locks" / "sis@vault.json").unlink()
    client = s3.client()
    for item in client.list_objects_v2(Bucket=name, Prefix="district/sis/keys/")["Contents"]:
        client.delete_object(Bucket=name, Key=item["Key"])
    for version in client.list_object_versions(Bucket=name, Prefix="district/sis/")["Versions"]:
        if "/locks/" not in version["Key"]:  # locks that run out soon
            soon = datetime.now(UTC) + timedelta(days=2)
            where = {"Bucket": name, "Key": version["Key"], "VersionId": version["VersionId"]}
            retention = {"Mode": "GOVERNANCE", "RetainUntilDate": soon}
            client.put_object_retention(**where, Retention=retention, BypassGovernanceRetention=True)
    ran = site.dr("backup", "sis", "--json", code=None)
    assert ran.code != 0 and ran.document["runs"][0]["outcome"] == "failed"
    locks = ran.document["runs"][0]["locks"][0]
    assert locks["scope"].startswith("all that is stored") and locks["extended"] == locks["needed"] > 0


@pytest.mark.slow
def test_killed_while_it_locks_the_next_run_goes_on(site: Site, s3: Any) -> None:
    name = declare(site, s3)
    s3.make_locked(name, "compliance", 0)
    declare(site, s3, bucket=name, more=f", credentials: {{file: {keys(site, s3, 'keeper')}}}")
    running = site.start("backup", "sis")
    client = s3.client()
    assert soon(lambda: "Contents" in client.list_objects_v2(Bucket=name, Prefix="district/sis/snapshots/"))
    os.kill(running.pid, signal.SIGKILL)
    running.communicate(timeout=LIMIT)
    run = site.dr("backup", "sis", "--json").document["runs"][0]
    assert run["locks"][0]["left"] == 0
    bare = [
        version["Key"]
        for version in client.list_object_versions(Bucket=name, Prefix="district/sis/")["Versions"]
        if "/locks/" not in version["Key"]
        and "ObjectLockRetainUntilDate" not in client.head_object(Bucket=name, Key=version["Key"])
    ]
    stray = {x for x in bare if "/data/" in x}  # uploaded by the killed run, and named by no index
    assert set(bare) == stray


def test_targets_that_are_not_declared_and_keys_named_twice_are_refused(files_site: Site) -> None:
    assert "no usable target 'vualt'" in files_site.dr("target", "check", "vualt", code=2).err
    assert "is a directory" in files_site.dr("target", "create", "disk", "--yes", code=2).err
    twice = ("--credentials", "x", "--admin-profile", "y")
    assert "name keys once" in files_site.dr("target", "create", "disk", *twice, code=2).err
    checked = files_site.dr("target", "check", "--json").document["targets"]
    assert [one["target"] for one in checked] == ["disk", "vault"] and checked[0]["probe"] is None


def test_a_target_where_drills_attack_a_copy_is_looked_at_only_when_it_is_named(files_site: Site) -> None:
    site, keys_file = files_site, files_site.root / "keys"
    keys_file.write_text("[default]\naws_access_key_id = x\naws_secret_access_key = y\n")
    place = f"endpoint: 'http://127.0.0.1:9', bucket: practice, credentials: {{file: {keys_file}}}"
    site.target("practice", f"target: practice\ns3: {{{place}}}\n")
    source = f"docs: {{files: {{paths: [{site.root}/source]}}}}"
    for more, seen in (("", {"disk", "vault", "practice"}), ("drill: {scratch: practice}\n", {"disk", "vault"})):
        site.plan("share", plan_text("share", source, more=more))
        document = site.dr("target", "check", "--no-probe", "--json", code=1 if "practice" in seen else 0).document
        assert {each["target"] for each in document["targets"]} == seen
    site.dr("target", "check", "practice", "--no-probe", code=1)


def test_refused_keys_end_with_twelve(site: Site, s3: Any, bucket: str) -> None:
    declare(site, s3, bucket=bucket, mode="none")
    (site.root / "keys-writer").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    ran = site.dr("target", "check", "vault", "--json", code=12)
    assert ran.document["targets"][0]["outcome"] == "failed" and ran.document["errors"]


@pytest.mark.slow
def test_locks_on_a_replica_are_kept_by_the_replication(site: Site, s3: Any) -> None:
    name = declare(site, s3)
    s3.make_locked(name, "compliance", 0)
    declare(site, s3, bucket=name, more=f", credentials: {{file: {keys(site, s3, 'keeper')}}}")
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    source = f"docs: {{files: {{paths: [{site.root}/source]}}}}"
    site.plan("sis", plan_text("sis", source, targets="[disk]", more="replicas: [vault]\n"))
    site.dr("backup", "sis")
    done = site.dr("replicate", "sis", "--json").document["replications"][0]
    assert done["locks"][0]["extended"] == done["locks"][0]["needed"] > 0
    assert site.dr("points", "--json").document["points"][0]["protected_until"]["vault"]
    declare(site, s3, bucket=name)
    site.plan("sis", plan_text("sis", source, targets="[disk]", more="replicas: [vault]\n"))
    (site.root / "source" / "letter.txt").write_text("another\n")
    site.dr("backup", "sis")
    ran = site.dr("replicate", "sis", "--json", code=3)
    assert ran.document["replications"][0]["outcome"] == "degraded" and "PutObjectRetention" in ran.err
