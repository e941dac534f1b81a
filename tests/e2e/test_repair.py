"""Damage survived: a repair of the repository, another copy, and what is left of a point that a person names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Site, plan_text
from tests.run.test_verify import Disk, stored  # noqa: F401 - a fixture


def _newest_index(site: Any, objects: Any) -> str:
    (site.root / "source" / "newest.txt").write_text("the newest\n")
    before = set(objects.names())
    site.dr("backup", "share")
    return next(name for name in objects.names() if name not in before and name.startswith("index/"))


def _repairs(site: Site, *arguments: str, code: int = 0) -> list[Any]:
    found: list[Any] = site.dr("repair", "share", *arguments, "--json", code=code).document["repairs"]
    return found


def _points(site: Site) -> list[Any]:
    found: list[Any] = site.dr("points", "--json").document["points"]
    return found


def test_a_lost_index_is_repaired_proven_and_on_record(stored: Any, tmp_path: Path) -> None:  # noqa: F811
    site, objects = stored
    name = _newest_index(site, objects)
    site.dr("verify", "share")
    objects.delete(name)
    site.dr("verify", "share", code=1)
    newest = _points(site)[0]["run_id"]
    there = objects.names()
    named = site.dr("recover", "share", "--point", newest, "--to", str(tmp_path / "named"), "--yes", "--json", code=3)
    (drill,) = named.document["drills"]
    assert (drill["run_id"], drill["outcome"], drill["checks_verdict"]) == (newest, "degraded", "passed")
    (foreseen,) = _repairs(site, "--dry-run")
    assert "would make the index again" in foreseen["done"][0] and objects.names() == there, "nothing was written"
    (done,) = _repairs(site)
    assert (done["outcome"], done["level_reached"], done["error"]) == ("ok", 3, None)
    assert name in done["problem"] and "the index made again" in " ".join(done["done"])
    assert _points(site)[0]["targets"] and site.dr("drill", "share", "--json").document["drills"][0]["outcome"] == "ok"
    assert _repairs(site)[0]["done"] == [], "once is enough"
    acts = site.dr("report", "--format", "json").document["acts"]
    assert "a repair of the repository on" in acts[-1]["what"] + acts[0]["what"]
    site.dr("audit")


@pytest.fixture
def doubled(files_site: Site) -> Site:
    """A primary and its replica, with one point on both."""
    site = files_site
    site.plan(
        "share",
        plan_text(
            "share", f"docs: {{files: {{paths: [{site.root}/source]}}}}", targets="[disk]", more="replicas: [vault]\n"
        ),
    )
    (site.root / "source" / "large.bin").write_bytes(os.urandom(3_000_000))
    site.dr("backup", "share")
    site.dr("replicate", "share")
    return site


def _spoil_largest(site: Site, target: str = "disk") -> str:
    objects = Disk(site.root)
    objects.root = site.root / target / "share"
    name = max((n for n in objects.names() if n.startswith("data/")), key=lambda n: len(objects.get(n)))
    data = bytearray(objects.get(name))
    data[len(data) // 2] ^= 1
    objects.put(name, bytes(data))
    return name


def test_what_is_spoilt_comes_back_from_the_replica_by_its_hash(doubled: Site) -> None:
    name = _spoil_largest(doubled)
    disk, vault = _repairs(doubled)
    assert (disk["outcome"], disk["level_reached"]) == ("ok", 3) and f"{name} is corrupt" in disk["problem"]
    assert disk["done"] == ["brought back 1 object from vault, each by its SHA-256"]
    assert (vault["target"], vault["done"], vault["problem"]) == ("vault", [], "")


def test_a_copy_that_is_spoilt_is_no_help(doubled: Site) -> None:
    _spoil_largest(doubled)
    _spoil_largest(doubled, "vault")
    (disk,) = _repairs(doubled, "--target", "disk", code=3)
    assert disk["outcome"] == "degraded" and "brought back" not in " ".join(disk["done"])
    assert "salvaged" in " ".join(disk["done"]) and "1 recovery point cannot be used" in disk["left"][-1]
    doubled.dr("backup", "share")
    assert doubled.dr("drill", "share", "--json").document["drills"][0]["outcome"] == "ok", (
        "what is lost is stored again"
    )


@pytest.mark.parametrize(
    ("part", "said", "todo"),
    [
        ("config", "its `config` is gone", "Put `config` back from another copy"),
        ("keys", "no key is stored there, so no passphrase opens the repository", "Put `keys/` back from another copy"),
    ],
)
def test_what_opens_a_repository_and_is_nowhere_is_named(files_site: Site, part: str, said: str, todo: str) -> None:
    files_site.dr("backup", "share")
    files_site.dr("verify", "share")
    kept = files_site.root / "disk" / "share" / part
    (shutil.rmtree if kept.is_dir() else Path.unlink)(kept)
    for dry in ((), ("--dry-run",)):
        told = files_site.dr("repair", "share", *dry, code=1).err
        assert said in told and todo in told and "passphrase does not open" not in told
    proven = files_site.dr("verify", "share", code=1).err
    assert "The first backup makes one" not in proven and "dr repair" not in proven
    assert todo in proven or "dr target begin disk --system share" in proven


def test_a_drill_of_the_loss_of_this_host_goes_on_with_the_next_copy(files_site: Site) -> None:
    site = files_site
    site.escrow(True)
    site.dr("backup", "share")
    _spoil_largest(site)
    drill = site.dr("drill", "share", "--scenario", "control-loss", "--json", code=3).document["drills"][0]
    assert (drill["target"], [each["target"] for each in drill["passed_over"]]) == ("vault", ["disk"])
    assert drill["checks_verdict"] == "passed" and drill["clean_room"]


def test_keys_that_may_only_add_say_what_they_may_not_and_leave_all_that_can_be_read(
    files_site: Site, s3: Any, bucket: str
) -> None:
    site, client = files_site, s3.client()
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    s3.append_only(bucket)

    def keyed(user: str) -> None:
        keys = s3.write_keys(site.root / f"keys-{user}", user)
        place = f"{{endpoint: '{s3.endpoint}', bucket: {bucket}, credentials: {{file: {keys}}}}}"
        site.target("offsite", f"target: offsite\ns3: {place}\n")

    keyed("writer")
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{site.root}/source]}}}}", targets="[offsite]"))
    (site.root / "source" / "large.bin").write_bytes(os.urandom(300_000))
    site.dr("backup", "share")
    listed = client.list_objects_v2(Bucket=bucket, Prefix="share/data/")["Contents"]
    key = max(listed, key=lambda item: item["Size"])["Key"]
    body = bytearray(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    body[1000] ^= 1
    client.put_object(Bucket=bucket, Key=key, Body=bytes(body))
    ran = site.dr("repair", "share", "--json", code=None)
    (done,) = ran.document["repairs"]
    assert ran.code in (1, 3) and done["outcome"] in ("failed", "degraded")
    assert "may not delete" in str(done["left"]) + str(done["error"]), done
    keyed("admin")
    site.dr("repair", "share", code=None)
    assert site.dr("backup", "share", "--json").document["runs"][0]["complete"]


def test_the_replica_is_tried_unless_a_target_is_named(doubled: Site, tmp_path: Path) -> None:
    _spoil_largest(doubled)
    ran = doubled.dr("recover", "share", "--to", str(tmp_path / "a"), "--yes", code=3)
    assert "point" in ran.out and "from vault" in ran.out and "going on with the copy on vault" in ran.err
    assert (tmp_path / "a" / "docs").is_dir() and not list((tmp_path / "a").glob(".dr-*"))
    named = doubled.dr("recover", "share", "--target", "disk", "--to", str(tmp_path / "b"), "--yes", code=1)
    assert "from vault" not in named.out
    newest = _points(doubled)[0]["run_id"]
    assert f"dr recover share --point {newest} --target vault --to {tmp_path}/b" in named.err
    large = next((tmp_path / "b").rglob("large.bin"), None)
    whole = (doubled.root / "source" / "large.bin").read_bytes()  # the flipped byte may be another file's in that pack
    assert large is None or ".damaged" in large.parts or large.read_bytes() == whole, "half a file passes for no whole"
    assert list((tmp_path / "b").rglob("letter.txt")), "the rest is there"
    typed = ["recover", "share", "--point", newest, "--target", "vault", "--to", str(tmp_path / "b"), "--yes"]
    assert "recovery ok" in doubled.dr(*typed).out
    assert len(list((tmp_path / "b" / "docs").rglob("large.bin"))) == 1


def test_what_is_left_of_a_damaged_point_comes_back_when_it_is_named(doubled: Site, tmp_path: Path) -> None:
    _spoil_largest(doubled)
    doubled.dr("verify", "share", code=1)
    point = _points(doubled)[0]["run_id"]
    typed = ["recover", "share", "--point", point, "--target", "disk", "--to", str(tmp_path / "left"), "--yes"]
    (drill,) = doubled.dr(*typed, "--json", code=3).document["drills"]
    assert drill["outcome"] == "degraded" and drill["lacks"] and drill["rta_seconds"] is None
    assert (drill["rto_verdict"], drill["rpo_verdict"]) == ("unknown", "unknown")
    assert list((tmp_path / "left" / "docs").rglob("letter.txt"))
    whole = (doubled.root / "source" / "large.bin").read_bytes()
    assert all(each.read_bytes() == whole for each in (tmp_path / "left" / "docs").rglob("large.bin"))


def test_snapshots_are_shortened_only_when_named_and_the_files_are_told(doubled: Site) -> None:
    for target in ("disk", "vault"):
        _spoil_largest(doubled, target)
    point = _points(doubled)[0]["run_id"]
    (done,) = _repairs(doubled, "--target", "disk", "--snapshots", point, code=0)
    assert done["points"] == [point] and done["shortened"] == 1
    assert f"1 file of the point {point} shorter than captured, or gone" in done["done"]
    listed = next((doubled.root / "state" / "details").glob("repair-*.txt"))
    assert listed.read_text().count("shorter than captured, or gone") == 1
    doubled.dr("points", "--rebuild")
    (after,) = _points(doubled)
    assert "disk" not in after["targets"], "restic leaves no mark, and so we do: the point is not whole"


def test_an_incomplete_point_is_named_with_the_command_and_recovered_by_it(files_site: Site, tmp_path: Path) -> None:
    site = files_site
    site.plan(
        "share",
        plan_text(
            "share",
            f"docs: {{files: {{paths: [{site.root}/source]}}}}",
            'export: {command: {run: ["false"], filename: export.csv}}',
            targets="[disk]",
        ),
    )
    site.dr("backup", "share", code=None)
    (point,) = _points(site)
    refused = site.dr("recover", "share", "--to", str(tmp_path / "no"), "--yes", code=1)
    assert "is incomplete" in refused.err and f"dr recover share --point {point['run_id']} --to DIR" in refused.err
    typed = ["recover", "share", "--point", point["run_id"], "--to", str(tmp_path / "some"), "--yes"]
    told = site.dr(*typed, "--dry-run")
    assert "lacking: export: it was not captured" in told.out
    (drill,) = site.dr(*typed, "--json", code=3).document["drills"]
    assert drill["outcome"] == "degraded" and "export: it was not captured" in drill["lacks"][0]
    assert (drill["rto_verdict"], drill["rpo_verdict"], drill["rta_seconds"]) == ("unknown", "unknown", None)
    assert list((tmp_path / "some").rglob("letter.txt"))
    board = site.dr("status", "--json", code=None).document["systems"][0]
    assert board["freshness_seconds"] is None and board["last_rta_seconds"] is None, "it counts for no objective"


@pytest.mark.parametrize("first", [True, False], ids=["first replication", "later"])
def test_a_replica_of_a_primary_with_a_gap_claims_no_point_that_cannot_be_read(doubled: Site, first: bool) -> None:
    site = doubled
    if first:
        site.plan("share", (site.root / "config/plans/share.yaml").read_text().replace("[vault]", "[other]"))
        site.target("other", f"target: other\nlocal: {{path: {site.root}/other}}\n")
    older = _points(site)[0]["run_id"]
    objects = Disk(site.root)
    objects.delete(_newest_index(site, objects))
    (done,) = site.dr("replicate", "share", "--json", code=3).document["replications"]
    assert (done["outcome"], done["points"]) == ("degraded", [older])
    assert "dr repair share --target disk" in done["error"]
    _repairs(site, "--target", "disk")
    (after,) = site.dr("replicate", "share", "--json").document["replications"]
    assert (after["outcome"], len(after["points"])) == ("ok", 2)
    assert site.dr("verify", "share", "--json").document["proofs"][1]["outcome"] == "ok"


def test_a_point_that_is_not_known_is_refused(doubled: Site, tmp_path: Path) -> None:
    for verb in (["recover", "share", "--to", str(tmp_path / "x"), "--yes"], ["drill", "share"]):
        ran = doubled.dr(*verb, "--point", "nobody", code=2)
        assert "has no recovery point 'nobody'" in ran.err and "dr points share" in ran.err
    assert "no recovery point" in doubled.dr("repair", "share", "--snapshots", "nobody", code=2).err
