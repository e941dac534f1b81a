"""What is called there was seen at the target: lost snapshots, empty places, exchanged disks."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Site, plan_text

BEGIN = "dr target begin disk --system share --because TEXT"


@pytest.fixture
def one(files_site: Site) -> Site:
    """One target, two points."""
    _plan(files_site, "[disk]")
    files_site.dr("backup", "share")
    (files_site.root / "source" / "later.txt").write_text("later\n")
    files_site.dr("backup", "share")
    return files_site


def _plan(site: Site, targets: str, more: str = "") -> None:
    site.plan(
        "share", plan_text("share", f"docs: {{files: {{paths: [{site.root}/source]}}}}", targets=targets, more=more)
    )


def _disk(site: Site) -> Path:
    return site.root / "disk" / "share"


def _points(site: Site) -> list[dict[str, Any]]:
    return list(site.dr("points", "share", "--json").document["points"])


def _row(site: Site) -> dict[str, Any]:
    return dict(site.dr("status", "share", "--json", code=None).document["systems"][0])


def _take(site: Site, *names: str) -> Path:
    """Take snapshots away, all or those named; return where they are."""
    away = site.root / "away"
    away.mkdir()
    for path in sorted((_disk(site) / "snapshots").iterdir()):
        if not names or path.name in names:
            path.rename(away / path.name)
    return away


def _put_back(site: Site, away: Path) -> None:
    for path in away.iterdir():
        path.rename(_disk(site) / "snapshots" / path.name)


@pytest.mark.parametrize("level", ["1", "3"])
def test_points_that_the_target_does_not_list_are_damage_although_nothing_was_proven_before(
    one: Site, level: str
) -> None:
    ids = {each for point in _points(one) for each in point["snapshots"].values()}
    away = _take(one)
    (proof,) = one.dr("verify", "share", "--level", level, "--json", code=1).document["proofs"]
    assert (proof["outcome"], proof["level_reached"], proof["points"]) == ("failed", 0, [])
    assert {item["object"] for item in proof["damage"]} == {f"snapshots/{each}" for each in ids}
    assert {item["problem"] for item in proof["damage"]} == {"missing"} and len(proof["lost"]) == 2
    points, row = _points(one), _row(one)
    assert [(p["complete"], p["targets"], p["proof_level"]) for p in points] == [(False, [], 0)] * 2
    assert all(point["lost"]["disk"] for point in points), "it is told when they were last seen"
    assert (row["rpo_verdict"], row["freshness_seconds"], row["proof_level"]) != ("met", 0, 3)
    assert any("disk has lost 2 recovery points that should be there, last seen there 20" in x for x in row["problems"])
    assert "lost on disk, last seen" in one.dr("points", "share").out
    assert one.dr("verify", "share", code=1).err.count("is missing") >= 2, "as long as the plan would keep them"
    _put_back(one, away)
    assert one.dr("verify", "share", "--json").document["proofs"][0]["level_reached"] == 3
    assert [point["targets"] for point in _points(one)] == [["disk"]] * 2, "what is found again counts again"


def test_a_backup_tells_that_earlier_points_are_gone_and_counts_them_no_more(one: Site) -> None:
    older = _points(one)[1]["run_id"]
    away = _take(one)
    run = one.dr("backup", "share", "--json", code=3).document["runs"][0]
    assert any("disk has lost 2 recovery points that should be there" in note for note in run["notes"])
    assert older in run["lost"]["disk"]
    newest, *rest = _points(one)
    assert newest["complete"] and not any(point["complete"] for point in rest)
    assert one.dr("verify", "share", "--json", code=1).document["proofs"][0]["lost"] == [p["run_id"] for p in rest]
    one.dr("backup", "share")  # it was told
    _put_back(one, away)
    again = one.dr("backup", "share", "--json").document["runs"][0]
    assert any("has 2 recovery points again" in note for note in again["notes"])
    assert all(point["complete"] for point in _points(one))


def test_what_the_plans_retention_took_away_is_no_damage(one: Site) -> None:
    _plan(one, "[disk]", "retention: {last: 1, daily: 1, weekly: 0, monthly: 0, yearly: 0}\n")
    older = _points(one)[1]
    _take(one, *older["snapshots"].values())
    proof = one.dr("verify", "share", "--json").document["proofs"][0]
    assert (proof["outcome"], proof["level_reached"], proof["expired"]) == ("ok", 3, [older["run_id"]])


def test_an_empty_repository_is_proven_to_level_0(files_site: Site, restic_program: str) -> None:
    _plan(files_site, "[disk]")
    files_site.dr("backup", "share")
    secret = next((files_site.root / "state" / "secrets").glob("share@disk.passphrase"))
    shutil.rmtree(files_site.root / "disk")
    for path in (files_site.root / "state").glob("catalog.sqlite*"):
        path.unlink()
    env = {"RESTIC_PASSWORD_FILE": str(secret), "HOME": str(files_site.root)}
    subprocess.run([restic_program, "-r", _disk(files_site), "init"], env=env, check=True, capture_output=True)
    proof = files_site.dr("verify", "share", "--json", code=3).document["proofs"][0]
    assert (proof["outcome"], proof["level_reached"]) == ("degraded", 0)
    assert "nothing is proven" in proof["error"]


def test_a_drill_and_a_recovery_show_what_the_target_alone_gives(one: Site) -> None:
    """restic's own cache answers for snapshots and trees that the target lost."""
    away = _take(one)
    drill = one.dr("drill", "share", "--json", code=1).document["drills"][0]
    assert (drill["outcome"], drill["rto_verdict"]) == ("failed", "missed")
    assert not any(point["complete"] for point in _points(one)), "what a drill saw is known from then on"
    one.dr("recover", "share", "--to", str(one.root / "back"), "--yes", code=1)
    _put_back(one, away)
    one.dr("recover", "share", "--to", str(one.root / "back"), "--yes")
    assert (one.root / "back").is_dir(), "although nobody verified since"
    assert [path.name for path in (one.root / "state" / "sandboxes").iterdir()] == [".lock"]


def test_a_lost_tree_pack_is_not_made_up_for_by_the_cache(one: Site, restic_program: str) -> None:
    cache = one.root / "state" / "cache" / "restic"
    kept = {path.name for path in cache.rglob("data/*/*")}
    trees = [path for path in (_disk(one) / "data").rglob("*") if path.name in kept]
    assert trees, "restic keeps the packs of trees"
    for path in trees:
        path.unlink()
    assert one.dr("drill", "share", "--json", code=1).document["drills"][0]["outcome"] == "failed"


def test_one_file_comes_back_by_the_cache_of_folders_and_from_a_spoilt_one(one: Site) -> None:
    cache = one.root / "state" / "cache" / "restic"
    kept = {path.name: path for path in cache.rglob("data/*/*")}
    for path in kept.values():
        path.chmod(0o600)
        path.write_bytes(bytes(path.stat().st_size))
    back = ("recover", "share", "--path", "letter.txt", "--yes", "--json")
    assert one.dr(*back, "--to", str(one.root / "one")).document["drills"][0]["outcome"] == "ok"
    assert not list((one.root / "state" / "sandboxes").iterdir()), "it took no cache of its own"
    for path in [path for path in (_disk(one) / "data").rglob("*") if path.name in kept]:
        path.unlink()
    shown = one.dr(*back, "--to", str(one.root / "two")).document["drills"][0]
    assert shown["outcome"] == "ok", "its content is at the target, and is what the manifest says"
    one.dr("drill", "share", code=1)


def test_a_drill_uses_the_point_that_is_there_and_says_that_the_newest_is_not(one: Site) -> None:
    newest, older = _points(one)
    _take(one, *newest["snapshots"].values())
    drill = one.dr("drill", "share", "--json", code=3).document["drills"][0]
    assert (drill["run_id"], drill["outcome"]) == (older["run_id"], "degraded")
    assert [point["complete"] for point in _points(one)] == [False, True]


# -- no repository, or another ------------------------------------------------------------------------


def test_a_disk_that_is_not_mounted_fails_each_time_and_its_points_count_again_afterwards(files_site: Site) -> None:
    site = files_site
    site.dr("backup", "share")
    (site.root / "disk").rename(site.root / "unmounted")
    (site.root / "disk").mkdir()
    for _ in range(3):
        run = site.dr("backup", "share", "--json", code=3).document["runs"][0]
        told = {target["target"]: target for target in run["targets"]}
        assert told["vault"]["outcome"] == "ok" and "the repository is gone" in told["disk"]["error"]
        assert not any((site.root / "disk").iterdir()), "nothing is written on the disk below"
    ran = site.dr("backup", "share", code=3)
    assert BEGIN in ran.err and "mount its disk" in ran.err.lower()
    assert site.dr("drill", "share", "--target", "disk", "--json", code=1).document["drills"][0]["outcome"] == "failed"
    assert BEGIN in site.dr("verify", "share", code=1).err
    site.dr("points", "share", "--rebuild", code=3)
    (site.root / "disk").rmdir()
    (site.root / "unmounted").rename(site.root / "disk")
    run = site.dr("backup", "share", "--json").document["runs"][0]
    assert len(run["caught_up"]) == 4, "and it is brought what it missed"
    assert [sorted(point["targets"]) for point in _points(site)] == [["disk", "vault"]] * 6


def test_a_person_says_that_a_target_begins_again(files_site: Site) -> None:
    site = files_site
    site.dr("backup", "share")
    assert "nothing is given up" in site.dr("target", "begin", "disk", "--because", "to see").out
    shutil.rmtree(_disk(site))
    site.dr("backup", "share", code=3)
    assert "--because" in site.dr("target", "begin", "disk", "--system", "share", code=2).err
    told = site.dr("target", "begin", "disk", "--system", "share", "--because", "a new disk", "--json").document
    assert [(each["found"], len(each["points"])) for each in told["beginnings"]] == [("nothing", 1)]
    run = site.dr("backup", "share", "--json").document["runs"][0]
    assert len(run["caught_up"]) == 2 and any("was begun again" in note for note in run["notes"])
    assert [sorted(point["targets"]) for point in _points(site)] == [["disk", "vault"]] * 3
    assert site.dr("audit", "--json").document["outcome"] == "ok"
    assert "given up on disk" in site.dr("report", "--format", "md").out
    assert {p["outcome"] for p in site.dr("verify", "share", "--json").document["proofs"]} == {"ok"}


def test_lost_points_are_given_up_by_a_persons_word(one: Site) -> None:
    older = _points(one)[1]
    _take(one, *older["snapshots"].values())
    one.dr("verify", "share", code=1)
    one.dr("target", "begin", "disk", "--because", "expired by hand")
    assert one.dr("verify", "share", "--json").document["proofs"][0]["level_reached"] == 3
    assert [point["targets"] for point in _points(one)] == [["disk"], []]


@pytest.mark.parametrize(
    "verb", [["backup"], ["verify"], ["drill"], ["repair"], ["keys", "list"], ["keys", "rotate"], ["keys", "destroy"]]
)
def test_another_repository_in_its_place_is_refused(one: Site, verb: list[str], restic_program: str) -> None:
    """As when a disk was exchanged, or a prefix mistyped: it opens with the same passphrase."""
    secret = one.root / "state" / "secrets" / "share@disk.passphrase"
    (one.root / "disk").rename(one.root / "unmounted")
    env = {"RESTIC_PASSWORD_FILE": str(secret), "HOME": str(one.root)}
    subprocess.run([restic_program, "-r", _disk(one), "init"], env=env, check=True, capture_output=True)
    key = [path.name for path in (_disk(one) / "keys").iterdir()]
    ran = one.dr(*verb, "share", code=1)
    assert "another repository is there" in ran.err
    assert [path.name for path in (_disk(one) / "keys").iterdir()] == key
    assert not list((_disk(one) / "snapshots").iterdir())


def test_a_hold_is_not_put_beside_another_repository_and_that_is_said(one: Site, restic_program: str) -> None:
    secret = one.root / "state" / "secrets" / "share@disk.passphrase"
    (one.root / "disk").rename(one.root / "unmounted")
    env = {"RESTIC_PASSWORD_FILE": str(secret), "HOME": str(one.root)}
    subprocess.run([restic_program, "-r", _disk(one), "init"], env=env, check=True, capture_output=True)
    ran = one.dr("hold", "share", "--reason", "a request", code=3)
    assert "another repository is there" in ran.err and len(one.dr("hold", "--list", "--json").document["holds"]) == 1
    assert not (one.root / "disk" / "_evidence").exists()


@pytest.mark.parametrize("verb", [["repair"], ["keys", "list"], ["keys", "rotate"], ["keys", "destroy"]])
def test_nothing_is_done_on_the_disk_below_one_that_is_not_mounted(files_site: Site, verb: list[str]) -> None:
    files_site.dr("backup", "share")
    (files_site.root / "disk").rename(files_site.root / "unmounted")
    (files_site.root / "disk").mkdir()
    ran = files_site.dr(*verb, "share", code=None)
    assert ran.code in (1, 3) and "the repository is gone" in ran.err and "mount its disk" in ran.err.lower(), ran
    assert not any((files_site.root / "disk").iterdir())


def test_an_emptied_bucket_and_a_wrong_prefix_are_not_begun_again(files_site: Site, s3: Any, bucket: str) -> None:
    site, keys = files_site, s3.write_keys(files_site.root / "keys")

    def offsite(prefix: str) -> None:
        place = f"endpoint: '{s3.endpoint}', bucket: {bucket}, prefix: {prefix}, credentials: {{file: {keys}}}"
        site.target("offsite", f"target: offsite\ns3: {{{place}}}\n")

    offsite("dr")
    _plan(site, "[offsite]")
    site.dr("backup", "share")
    offsite("rd")
    assert "the repository is gone" in site.dr("backup", "share", code=1).err
    offsite("dr")
    site.dr("backup", "share")
    client = s3.client()
    for item in client.list_objects_v2(Bucket=bucket, Prefix="dr/share/")["Contents"]:
        client.delete_object(Bucket=bucket, Key=item["Key"])
    for _ in range(2):
        assert "dr target begin offsite" in site.dr("backup", "share", code=1).err


def test_what_was_recorded_is_learnt_from_the_target_by_a_rebuild(one: Site, restic_program: str) -> None:
    for path in (one.root / "state").glob("catalog.sqlite*"):
        path.unlink()
    one.dr("points", "--rebuild")
    shutil.rmtree(_disk(one))
    assert "the repository is gone" in one.dr("backup", "share", code=1).err


# -- replicas -----------------------------------------------------------------------------------------


def test_replicate_tells_what_the_primary_lost_and_the_replica_keeps_it(files_site: Site) -> None:
    site = files_site
    _plan(site, "[disk]", "replicas: [vault]\n")
    site.dr("backup", "share")
    site.dr("replicate", "share")
    _take(site)
    told = site.dr("replicate", "share", "--json", code=3).document["replications"][0]
    assert len(told["lost"]) == 1 and "disk has lost 1 recovery point" in told["error"]
    (point,) = _points(site)
    assert (point["targets"], list(point["lost"])) == (["vault"], ["disk"])
    assert site.dr("drill", "share", "--json").document["drills"][0]["target"] == "vault"


def test_a_replica_that_is_not_there_any_more_is_not_filled_again(files_site: Site) -> None:
    site = files_site
    _plan(site, "[disk]", "replicas: [vault]\n")
    site.dr("backup", "share")
    site.dr("replicate", "share")
    shutil.rmtree(site.root / "vault" / "share")
    for _ in range(2):
        assert "dr target begin vault --system share" in site.dr("replicate", "share", code=1).err
    site.dr("target", "begin", "vault", "--because", "its disk broke")
    site.dr("replicate", "share")
    assert _points(site)[0]["targets"] == ["disk", "vault"]


def test_a_recovery_says_that_the_newest_point_is_lost_also_when_that_was_known_before(one: Site) -> None:
    newest, older = (point["run_id"] for point in _points(one))
    (snapshot,) = _points(one)[0]["snapshots"].values()
    _take(one, snapshot)
    one.dr("verify", "share", code=1)
    ran = one.dr("recover", "share", "--to", str(one.root / "back"), "--yes")
    assert (
        older in ran.out and f"the newest point, {newest} of " in ran.err and "is lost: its target does not" in ran.err
    )
    named = one.dr("recover", "share", "--point", older, "--to", str(one.root / "named"), "--yes")
    assert "the newest point" not in named.err, "who names one is told nothing"
