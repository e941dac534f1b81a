"""Replicas, as typed: a second provider, a disk that is taken away, and the primary gone."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from scripts.servers.s3 import S3Server
from tests.conftest import Site, plan_text
from tests.faults.test_full_disk import small_disk
from tests.proxy import Proxy


def s3_target(site: Site, name: str, server: S3Server, bucket: str, *, endpoint: str = "", more: str = "") -> None:
    keys = server.write_keys(site.root / f"keys-{name}")
    where = f"endpoint: '{endpoint or server.endpoint}', bucket: {bucket}, prefix: dr, credentials: {{file: {keys}}}"
    site.target(name, f"target: {name}\nprovider: {name}\ns3: {{{where}{more}}}\n")


def new_bucket(server: S3Server, **how: Any) -> str:
    name = f"test-{os.urandom(6).hex()}"
    server.client().create_bucket(Bucket=name, **how)
    return name


def repository_objects(server: S3Server, bucket: str) -> dict[str, int]:
    listed = server.client().list_objects_v2(Bucket=bucket, Prefix="dr/share/").get("Contents", [])
    return {x["Key"].removeprefix("dr/share/"): x["Size"] for x in listed if "/locks/" not in x["Key"]}


def plan(site: Site, *, targets: str = "[first]", replicas: str = "[second, cellar]", more: str = "") -> None:
    source = f"docs: {{files: {{paths: [{site.root}/source]}}}}"
    site.plan("share", plan_text("share", source, targets=targets, more=f"replicas: {replicas}\n{more}"))


@pytest.fixture
def disks(files_site: Site) -> Site:
    """A site on disks alone: quick, for what has nothing to do with buckets."""
    site = files_site
    for name in ("first", "second"):
        site.target(name, f"target: {name}\nlocal: {{path: {site.root}/{name}}}\n")
    site.target("cellar", f"target: cellar\nlocal: {{path: {site.root}/cellar}}\noffline: true\n")
    plan(site)
    return site


@pytest.fixture
def providers(disks: Site, s3: S3Server, other_s3: S3Server) -> Iterator[tuple[Site, str, str]]:
    """A site with a primary at one provider, a replica at another, and a disk."""
    one, two = new_bucket(s3), new_bucket(other_s3)
    s3_target(disks, "first", s3, one)
    s3_target(disks, "second", other_s3, two)
    yield disks, one, two


def replicate(site: Site, *arguments: str, code: int = 0) -> dict[str, Any]:
    ran = site.dr("replicate", "share", "--json", *arguments, code=code)
    return {item["target"]: item for item in ran.document["replications"]}


def targets_of(site: Site) -> list[list[str]]:
    return [point["targets"] for point in site.dr("points", "--json").document["points"]]


# -- the whole story ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_second_provider_and_a_disk_hold_every_point(
    providers: tuple[Site, str, str], s3: S3Server, other_s3: S3Server
) -> None:
    site, one, two = providers
    (site.root / "cellar").mkdir()
    run = site.dr("backup", "share", "--json").document["runs"][0]
    assert [target["target"] for target in run["targets"]] == ["first"], "a backup never writes to a replica"
    site.dr("replicate", "--first-use", "cellar")
    done = replicate(site)
    assert {name: item["outcome"] for name, item in done.items()} == {"second": "ok", "cellar": "ok"}
    assert done["second"]["points"] == [run["run_id"]] and done["second"]["corrupt"] == []
    assert done["second"]["objects"] == done["second"]["objects_copied"] > 4 and done["second"]["bytes"] > 250_000
    assert repository_objects(s3, one) == repository_objects(other_s3, two)
    assert targets_of(site) == [["first", "second", "cellar"]]
    again = replicate(site)["second"]
    assert (again["objects_copied"], again["bytes_copied"], again["skipped"]) == (0, 0, again["objects"])

    proofs = site.dr("verify", "share", "--json").document["proofs"]
    assert [(p["target"], p["outcome"], p["level_reached"]) for p in proofs] == [
        ("first", "ok", 3), ("second", "ok", 3), ("cellar", "ok", 3)
    ]  # fmt: skip
    drill = site.dr("drill", "share", "--target", "second", "--json").document["drills"][0]
    assert (drill["outcome"], drill["target"], drill["proof_level"]) == ("ok", "second", 4)
    copies = site.dr("points", "--json").document["points"][0]["copies"]
    assert {c["target"]: c["proof_level"] for c in copies} == {"first": 3, "second": 4, "cellar": 3}

    status = site.dr("status", "--json").document["systems"][0]
    assert status["copies"] == {
        "copies": 4, "media": 2, "offsite": 0, "immutable_or_offline": 1, "errors": 0, "met": False, "missing": [
            "a copy offsite (the service of first and second is on this very host: use one in another place)"]
    }  # fmt: skip
    assert [place["target"] for place in status["places"]] == ["first", "second", "cellar"]
    assert site.dr("audit", "--json").document["outcome"] == "ok"

    # The primary and all that is known here but the passphrases are lost: the replicas tell it all.
    s3_target(site, "first", s3, "no-such-bucket")
    (site.root / "state" / "catalog.sqlite").unlink()
    site.dr("points", "--rebuild", "--json", code=3)
    assert [sorted(set(names) - {"first"}) for names in targets_of(site)] == [["cellar", "second"]]
    site.dr("recover", "share", "--to", str(site.root / "back"), "--target", "cellar", "--yes")
    back = site.root / "back"
    assert len([path for path in back.rglob("*.bin") if path.is_file()]) == 5
    evidence = other_s3.client().list_objects_v2(Bucket=two, Prefix="dr/_evidence/share/")["KeyCount"]
    assert evidence >= 4 and list((site.root / "cellar" / "_evidence" / "share").iterdir())


def test_an_index_file_is_read_once_for_all_replicas(disks: Site, restic_program: str) -> None:
    site, log = disks, disks.root / "restic.log"
    site.target("third", f"target: third\nlocal: {{path: {site.root}/third}}\n")
    plan(site, replicas="[second, third]")
    noting = site.root / "restic"
    noting.write_text(f'#!/bin/sh\necho "$*" >> {log}\nexec {restic_program} "$@"\n')
    noting.chmod(0o755)
    site.env["DR_RESTIC"] = str(noting)

    def read() -> int:
        log.write_text("")
        assert {item["outcome"] for item in replicate(site).values()} == {"ok"}
        return sum(" cat " in line for line in log.read_text().splitlines())

    site.dr("backup", "share")
    assert read() == len(list((site.root / "first" / "share" / "index").iterdir()))
    site.dr("backup", "share")
    assert read() == 1, "the manifest's"


def test_the_replica_is_a_repository_of_its_own_to_plain_restic(disks: Site, restic_program: str) -> None:
    site = disks
    plan(site, replicas="[second]")
    site.dr("backup", "share")
    replicate(site)
    shutil.rmtree(site.root / "first")
    names = [path.name for path in (site.root / "state" / "secrets").iterdir()]
    assert names == ["share@first.passphrase"], "a replica has no passphrase of its own"
    env = {**site.env, "RESTIC_PASSWORD_FILE": str(site.root / "state" / "secrets" / names[0])}
    argv = [restic_program, "-r", str(site.root / "second" / "share"), "check", "--read-data", "--no-cache"]
    assert subprocess.run(argv, env=env, capture_output=True, check=False).returncode == 0


def test_what_is_due_is_replicated_after_the_backup_and_then_left_alone(disks: Site) -> None:
    site = disks
    done = site.dr("run", "--json", code=None).document
    assert [(r["target"], r["outcome"]) for r in done["replications"]] == [("second", "ok")]
    assert targets_of(site) == [["first", "second"]]
    again = site.dr("run", "--json", code=None).document
    assert again["replications"] == [] and again["errors"] == [], "of a disk that is away nothing is said"
    assert site.dr("replicate", "--due", "--json").document["replications"][0]["outcome"] == "skipped"
    plan(site, replicas="[second]", more="cadence: {replicate: never}\n")
    site.dr("backup", "share")
    assert site.dr("run", "--json", code=None).document["replications"] == []
    assert site.dr("status", "--json").document["systems"][0]["next_due"]["replicate"] is not None


def test_replicate_brings_a_target_what_it_missed(files_site: Site) -> None:
    site = files_site
    (site.root / "vault").write_text("in the way")
    site.dr("backup", "share", code=3)
    assert replicate(site, code=1)["vault"]["outcome"] == "failed"
    (site.root / "vault").unlink()
    assert targets_of(site) == [["disk"]]
    done = replicate(site)["vault"]
    assert (done["outcome"], done["by"], len(done["points"])) == ("ok", "snapshots", 1)
    assert targets_of(site) == [["disk", "vault"]] and replicate(site) == {}
    assert site.dr("drill", "share", "--target", "vault", "--json").document["drills"][0]["outcome"] == "ok"


# -- disks that are taken away -----------------------------------------------------------------------


@pytest.mark.slow
def test_a_disk_that_is_away_is_no_error_and_its_mount_point_is_not_filled(disks: Site) -> None:
    site = disks
    (site.root / "cellar").mkdir()
    site.dr("backup", "share")
    assert {name: item["outcome"] for name, item in replicate(site).items()} == {"second": "ok", "cellar": "skipped"}
    assert list((site.root / "cellar").iterdir()) == []
    site.dr("replicate", "--first-use", "cellar")
    replicate(site)
    (site.root / "cellar").rename(site.root / "taken away")
    (site.root / "cellar").mkdir()
    site.dr("backup", "share")
    assert replicate(site)["cellar"]["outcome"] == "skipped" and list((site.root / "cellar").iterdir()) == []
    site.dr("verify", "share"), site.dr("points", "--rebuild")
    told = site.dr("status").out
    assert "the disk cellar was last there: 2" in told and "newest point: 2" in told
    assert "the disk is detached" in site.dr("doctor", code=None).out
    assert [len(names) for names in targets_of(site)] == [2, 3], "what is known of it stays"


def test_the_disk_of_another_target_is_not_written(disks: Site) -> None:
    site = disks
    (site.root / "cellar").mkdir()
    (site.root / "cellar" / ".dr-target").write_text("garage\n")
    site.dr("backup", "share")
    found = replicate(site, code=1)["cellar"]
    assert found["outcome"] == "failed" and "'garage'" in found["error"]
    assert [path.name for path in (site.root / "cellar").iterdir()] == [".dr-target"]


def test_first_use_is_for_disks_that_may_be_away(disks: Site) -> None:
    assert "Those are: cellar" in disks.dr("replicate", "--first-use", "second", code=2).err
    assert "not there" in disks.dr("replicate", "--first-use", "cellar", code=1).err, "no directory is made for it"


# -- what goes wrong ---------------------------------------------------------------------------------


def test_a_corrupt_object_of_the_primary_is_named_and_the_point_is_not_counted(disks: Site) -> None:
    site = disks
    plan(site, replicas="[second]")
    good = site.dr("backup", "share", "--json").document["runs"][0]["run_id"]
    replicate(site)
    before = {path.name for path in (site.root / "first").rglob("data/*/*")}
    (site.root / "source" / "new.bin").write_bytes(os.urandom(400_000))
    site.dr("backup", "share")
    new = [path for path in (site.root / "first").rglob("data/*/*") if path.name not in before]
    bad = max(new, key=lambda path: path.stat().st_size)
    whole = bad.read_bytes()
    bad.chmod(0o600)
    bad.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    ran = site.dr("replicate", "share", "--json", code=3)
    found = ran.document["replications"][0]
    assert found["outcome"] == "degraded" and found["corrupt"] == [f"data/{bad.name[:2]}/{bad.name}"]
    assert bad.name in ran.err and found["points"] == [good] and len(found["held"]) == 1
    assert not list((site.root / "second").rglob(bad.name))
    assert targets_of(site) == [["first"], ["first", "second"]]
    status = site.dr("status", "--json", code=None).document["systems"][0]
    assert status["copies"]["errors"] == 1 and any("done in part" in problem for problem in status["problems"])
    bad.write_bytes(whole)
    assert len(replicate(site)["second"]["points"]) == 2
    site.dr("verify", "share", "--level", "2")


def test_another_replication_holds_the_replica(disks: Site) -> None:
    site = disks
    plan(site, replicas="[second]")
    site.dr("backup", "share")
    with site.state.hold("share@second", what="the test"):
        found = replicate(site, code=11)["second"]
        assert found["outcome"] == "skipped" and "another run" in found["error"]
    with site.state.hold("share", what="a backup"):
        assert replicate(site)["second"]["outcome"] == "ok", "a backup is not a hindrance"


def test_a_wrong_key_is_told_as_such(providers: tuple[Site, str, str]) -> None:
    site, _, _ = providers
    plan(site, replicas="[second]")
    site.dr("backup", "share")
    keys = site.root / "keys-second"
    keys.write_text("[default]\naws_access_key_id = wrong\naws_secret_access_key = planted-secret\n")
    ran = site.dr("replicate", "share", "--json", code=12)
    assert ran.document["replications"][0]["outcome"] == "failed" and "refused" in ran.err
    assert "planted-secret" not in ran.out + ran.err


def test_another_repository_at_the_replica_is_left_alone(disks: Site) -> None:
    site = disks
    plan(site, replicas="[second]")
    site.dr("backup", "share")
    (site.root / "second" / "share").mkdir(parents=True)
    (site.root / "second" / "share" / "config").write_bytes(b"another")
    assert "another repository is there, or" in replicate(site, code=1)["second"]["error"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_a_full_replica_is_said_and_is_finished_later(disks: Site) -> None:
    site = disks
    plan(site, replicas="[second]")
    (site.root / "source" / "big.bin").write_bytes(os.urandom(6_000_000))
    site.dr("backup", "share")
    with small_disk(site.root / "second", "3m"):
        found = replicate(site, code=1)["second"]
        assert found["outcome"] == "failed" and "space" in found["error"]
        there = [path for path in (site.root / "second").rglob("*") if path.is_file()]
        assert not [path for path in there if path.parent.name == "snapshots" or path.name.startswith(".")]
    assert replicate(site)["second"]["outcome"] == "ok"


def test_a_provider_that_goes_down_meanwhile_is_finished_when_it_is_back(
    providers: tuple[Site, str, str], other_s3: S3Server
) -> None:
    site, _, two = providers
    plan(site, replicas="[second]")
    (site.root / "source" / "big.bin").write_bytes(os.urandom(40_000_000))
    site.dr("backup", "share")
    with Proxy(other_s3.port, cut_after=18_000_000) as wire:
        s3_target(site, "second", other_s3, two, endpoint=wire.endpoint)
        found = replicate(site, code=1)["second"]
        assert found["outcome"] == "failed" and found["points"] is None
    before = repository_objects(other_s3, two)
    assert not [name for name in before if name.startswith(("snapshots/", "index/"))]
    s3_target(site, "second", other_s3, two)
    done = replicate(site)["second"]
    assert done["outcome"] == "ok" and done["objects_copied"] == done["objects"] - len(before)


@pytest.mark.slow
def test_backups_go_on_while_objects_are_copied(providers: tuple[Site, str, str]) -> None:
    site, _, _ = providers
    plan(site, replicas="[second]")
    (site.root / "source" / "big.bin").write_bytes(os.urandom(30_000_000))
    site.dr("backup", "share")
    for number in range(3):
        (site.root / "source" / f"more-{number}").write_bytes(os.urandom(3_000_000))
        backup = site.start("backup", "share")
        codes = []
        while backup.poll() is None:
            codes.append(site.dr("replicate", "share", code=None).code)
        backup.communicate()
        assert backup.returncode == 0 and set(codes) <= {0}
    site.dr("verify", "share", "--level", "2")
    assert len(replicate(site)["second"]["points"]) == 4
    drill = site.dr("drill", "share", "--target", "second", "--json").document["drills"][0]
    assert drill["outcome"] == "ok" and drill["proof_level"] == 4


@pytest.mark.slow
def test_the_program_killed_while_it_replicates_is_told_and_goes_on(providers: tuple[Site, str, str]) -> None:
    site, _, _ = providers
    plan(site, replicas="[second]")
    (site.root / "source" / "big.bin").write_bytes(os.urandom(60_000_000))
    site.dr("backup", "share")
    rng = random.Random(5)
    for _ in range(3):
        process = site.start("replicate", "share")
        time.sleep(rng.uniform(0.1, 1.2))
        process.kill()
        process.communicate()
    done = replicate(site)["second"]
    assert done["outcome"] == "ok"
    assert "interrupted" not in site.dr("status").out, "the next run closes what was cut off"
    site.dr("verify", "share", "--level", "2")
    assert site.dr("audit", "--json").document["outcome"] == "ok"


# -- the primary is gone -----------------------------------------------------------------------------


def test_target_loss_recovers_from_the_replica_and_asks_the_primary_for_nothing(
    providers: tuple[Site, str, str], s3: S3Server
) -> None:
    site, one, _ = providers
    plan(site, replicas="[second]", more="drill: {scenario: target-loss, checks: [{manifest: {}}]}\n")
    site.dr("backup", "share")
    replicate(site)
    with Proxy(s3.port) as wire:
        s3_target(site, "first", s3, one, endpoint=wire.endpoint)
        drill = site.dr("drill", "share", "--json").document["drills"][0]
        assert (drill["scenario"], drill["target"], drill["outcome"]) == ("target-loss", "second", "ok")
        assert drill["rto_verdict"] == "met" and drill["proof_level"] == 4
        assert wire.visits == 0, "the primary is taken for lost: no request may reach it"
        other = site.dr("drill", "share", "--scenario", "system-loss", "--json").document["drills"][0]
        assert other["target"] == "first" and wire.visits > 0, "the wire does count"
    told = site.dr("report", "--format", "md", "--drill", drill["drill_id"]).out
    assert "the target first is taken for lost" in told
    assert site.dr("drill", "share", "--target", "first", code=2).err


def test_target_loss_with_no_other_copy_is_a_drill_that_failed(disks: Site) -> None:
    site = disks
    plan(site, replicas="[]")
    site.dr("backup", "share")
    ran = site.dr("drill", "share", "--scenario", "target-loss", "--json", code=1)
    drill = ran.document["drills"][0]
    assert drill["outcome"] == "failed" and drill["rto_verdict"] == "missed" and drill["rta_seconds"] is None
    assert "there is no copy but that on first" in drill["error"] and "no other target" in drill["error"]
    plan(site, replicas="[second]")
    assert "holds a whole point" in site.dr("drill", "share", "--scenario", "target-loss", code=1).err


# -- what the board says -----------------------------------------------------------------------------


def test_a_lock_counts_when_it_is_declared_and_was_seen_on_the_bucket(disks: Site, s3: S3Server) -> None:
    site = disks
    locked, bare = new_bucket(s3, ObjectLockEnabledForBucket=True), new_bucket(s3)
    s3.client().put_object_lock_configuration(
        Bucket=locked,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}},
        },
    )
    plan(site, replicas="[second]")
    site.dr("backup", "share")
    for bucket, seen in ((bare, 0), (locked, 1)):
        s3_target(site, "second", s3, bucket, more=", immutability: {mode: governance, days: 1}")
        if seen:  # the target lies in another bucket now, which holds nothing
            site.dr("target", "begin", "second", "--system", "share", "--because", "a new bucket")
        wanted = "ok" if seen else "degraded"  # a lock that is declared and cannot be kept is said
        assert replicate(site, code=0 if seen else 3)["second"]["outcome"] == wanted
        copies = site.dr("status", "--json", code=None).document["systems"][0]["copies"]
        assert copies["immutable_or_offline"] == seen, bucket
    assert "no 3-2-0-1-?" in site.dr("status", code=None).out


def test_a_replica_that_was_only_declared_alarms_nobody_and_is_not_proven(disks: Site) -> None:
    disks.dr("backup", "share")
    ran = disks.dr("verify", "share")
    assert (
        "share on second: nothing was replicated to second yet, so nothing is proven there. Run `dr replicate"
        in ran.err
    )
    proofs = {proof["target"]: proof for proof in disks.dr("verify", "share", "--json").document["proofs"]}
    assert (proofs["second"]["outcome"], proofs["second"]["level_reached"]) == ("skipped", 0)
    assert proofs["first"]["outcome"] == "ok" and "cellar" not in proofs
    for verb in (["drill", "share"], ["recover", "share", "--to", str(disks.root / "back"), "--yes"]):
        told = disks.dr(*verb, "--target", "second", code=1).err
        assert "nothing was replicated to second yet" in told and "dr replicate share" in told
    row = disks.dr("status", "share", "--json", code=None).document["systems"][0]
    assert [place["proof_level"] for place in row["places"] if place["target"] == "second"] == [0]
    assert row["copies"]["copies"] == 2, "production and the primary: an empty replica is not a copy"
    disks.dr("replicate", "share")
    shutil.rmtree(disks.root / "second" / "share")
    assert "second" in disks.dr("verify", "share", code=1).err, "what was filled and is empty now is damage"
