"""Recovery from a bucket that was attacked: as it was before, whatever is on top in it now."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from scripts.servers.s3 import S3Server
from tests.conftest import Site
from tests.e2e.bucket import Attacked, make_attacked, now, seconds_pass
from tests.waiting import soon


@pytest.fixture
def attacked(site: Site, s3: S3Server) -> Attacked:
    return make_attacked(site, s3)


def test_the_whole_story_everything_destroyed_and_the_catalog_lost(attacked: Attacked, tmp_path: Path) -> None:
    site = attacked.site
    seconds_pass()
    before = now()
    seconds_pass()
    attacked.destroy()
    found = site.dr("recover", "share", "--to", str(tmp_path / "zero"), "--yes", code=3)
    assert "going on with the copy on offsite as it was at" in found.err and attacked.recovered(tmp_path / "zero")
    typed = ["recover", "share", "--target", "offsite", "--to", str(tmp_path / "no"), "--yes"]
    failed = site.dr(*typed, code=1)
    assert "go back to before that with `dr recover share --target offsite --at" in failed.err
    one_file = ["recover", "share", "--path", "3.bin", "--at", before, "--yes"]
    wanted = (attacked.source / "3.bin").read_bytes()
    (attacked.source / "3.bin").write_bytes(b"encrypted")
    site.dr(*one_file, "--in-place")
    assert (attacked.source / "3.bin").read_bytes() == wanted, "by the index, and from the view of the past"
    attacked.lose_the_catalog()
    shutil.rmtree(site.root / "state" / "index")
    site.dr(*one_file, "--to", str(tmp_path / "file"))
    assert [path.read_bytes() for path in (tmp_path / "file").rglob("*.bin")] == [wanted], "and without both"
    there = attacked.versions()
    told = site.dr("target", "history", "offsite", "--json", code=3).document["histories"][0]
    assert told["attacked"] and told["before"] >= before[:19]
    assert {"config overwritten", "keys overwritten"} <= set(told["harm"]) or told["harm"]
    one = site.dr("recover", "share", "--to", str(tmp_path / "one"), "--yes", "--at", before)
    assert "recovery ok" in one.out and attacked.recovered(tmp_path / "one"), "one command, without a catalog"
    attacked.lose_the_catalog()
    ran = site.dr("points", "--rebuild", "--at", told["before"], "--json")
    assert [point["targets"] for point in ran.document["points"]] == [["offsite"]]
    typed = ["recover", "share", "--to", str(tmp_path / "two"), "--yes", "--at", told["before"], "--json"]
    drill = site.dr(*typed).document["drills"][0]
    assert drill["outcome"] == "ok" and drill["seen_at"] == told["before"]
    assert attacked.recovered(tmp_path / "two")
    added = set(attacked.versions()) - set(there)
    assert {key.partition("/share/")[0] for key, _ in added} <= {"pre/_evidence"}, (
        "nothing of the repository is written"
    )


SAID = "objects on offsite were deleted or overwritten since"


def test_the_first_run_after_an_attack_says_what_happened_and_what_to_type(attacked: Attacked, tmp_path: Path) -> None:
    site = attacked.site
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    attacked.plan("replicas: [disk]\n")
    assert SAID not in site.dr("replicate", "share").err + site.dr("verify", "share").err
    seconds_pass()
    attacked.destroy()
    assert SAID in site.dr("replicate", "share", code=1).err
    assert SAID in site.dr("verify", "share", "--level", "2", code=1).err
    ran = site.dr("backup", "share", code=1)
    assert SAID in ran.err
    typed = ran.err.partition("before with `dr ")[2].partition("`")[0].replace("DIR", str(tmp_path / "back"))
    site.dr(*typed.split(), "--yes")
    assert attacked.recovered(tmp_path / "back")


def test_a_repository_that_was_deleted_whole_is_made_again_when_a_person_says_so(attacked: Attacked) -> None:
    seconds_pass()
    for key in attacked.on_top():
        attacked.client.delete_object(Bucket=attacked.bucket, Key=key)
    ran = attacked.site.dr("backup", "share", code=1)
    assert SAID in ran.err and "the repository is gone: by the record it holds 1 recovery point" in ran.err
    assert attacked.on_top(prefix="pre/share/config") == [], "none is begun unasked"
    typed = ran.err.partition("only if it is really lost: dr ")[2].splitlines()[0].replace("TEXT", "deleted")
    attacked.site.dr(*typed.split())
    again = attacked.site.dr("backup", "share").err
    assert "the repository on offsite was begun again" in again and SAID in again
    assert SAID not in attacked.site.dr("backup", "share").err, "no more, once a run went on there"


@pytest.mark.slow
def test_an_older_point_of_an_intact_bucket_comes_from_the_view_just_the_same(
    attacked: Attacked, tmp_path: Path
) -> None:
    first, files = now(), attacked.files
    seconds_pass()
    (attacked.source / "0.bin").write_bytes(b"changed")
    attacked.site.dr("backup", "share")
    attacked.site.dr("recover", "share", "--to", str(tmp_path / "old"), "--yes", "--at", first)
    came = {path.name: path.read_bytes() for path in (tmp_path / "old").rglob("*.bin")}
    assert came == files and came != attacked.files
    drill = attacked.site.dr("drill", "share", "--at", first, "--json").document["drills"][0]
    assert drill["outcome"] == "ok" and drill["seen_at"]
    assert attacked.site.dr("drill", "share", "--json").document["drills"][0]["seen_at"] is None


def test_snapshots_expired_and_pruned_with_the_real_passphrase_are_found_again(
    attacked: Attacked, tmp_path: Path
) -> None:
    seconds_pass()
    env = {**attacked.site.env, "AWS_ACCESS_KEY_ID": attacked.server.access_key, "RESTIC_CACHE_DIR": str(tmp_path / "c"),
           "AWS_SECRET_ACCESS_KEY": attacked.server.secret_key,
           "RESTIC_REPOSITORY": f"s3:{attacked.server.endpoint}/{attacked.bucket}/pre/share",
           "RESTIC_PASSWORD_FILE": str(attacked.site.root / "state/secrets/share@offsite.passphrase")}  # fmt: skip
    snapshots = attacked.on_top(prefix="pre/share/snapshots/")
    argv = [env["DR_RESTIC"], "forget", "--prune", *(key.rpartition("/")[2] for key in snapshots)]
    subprocess.run(argv, env=env, check=True, capture_output=True)
    assert attacked.on_top(prefix="pre/share/snapshots/") == [] == attacked.on_top(prefix="pre/share/data/")
    attacked.site.dr("recover", "share", "--to", str(tmp_path / "by-itself"), "--yes", code=3)
    assert attacked.recovered(tmp_path / "by-itself"), "what was below is found without a word"
    typed = ["recover", "share", "--target", "offsite", "--to", str(tmp_path / "no"), "--yes"]
    ran = attacked.site.dr(*typed, code=1)
    before = ran.err.partition("--at ")[2].partition(" ")[0]
    attacked.site.dr("recover", "share", "--to", str(tmp_path / "back"), "--yes", "--at", before)
    assert attacked.recovered(tmp_path / "back")


def test_points_that_a_verify_after_the_attack_wrote_off_are_used_all_the_same(
    attacked: Attacked, tmp_path: Path
) -> None:
    seconds_pass()
    before = now()
    seconds_pass()
    attacked.destroy()
    attacked.site.dr("verify", "share", "--level", "2", code=1)
    assert attacked.site.dr("points", "share", "--json").document["points"][0]["targets"] == []
    attacked.site.dr("recover", "share", "--to", str(tmp_path / "back"), "--yes", "--at", before)
    assert attacked.recovered(tmp_path / "back")


@pytest.mark.slow
def test_a_target_without_versions_is_read_as_it_is_and_says_so(site: Site, s3: S3Server, tmp_path: Path) -> None:
    plain = f"test-{secrets.token_hex(6)}"
    s3.client().create_bucket(Bucket=plain)
    made = make_attacked(site, s3, bucket=plain)
    ran = site.dr("recover", "share", "--to", str(tmp_path / "x"), "--at", "now", "--dry-run")
    assert "note: offsite keeps no versions: it is read as it is now" in ran.out
    site.dr("recover", "share", "--to", str(tmp_path / "x"), "--yes", "--at", "now")
    assert made.recovered(tmp_path / "x")
    assert "keeps no versions" in site.dr("target", "history", "offsite").out
    assert "keeps no versions" in site.dr("target", "rewind", "offsite", "--at", "1h", "--yes", code=2).err


def test_versions_that_were_deleted_for_good_are_named(attacked: Attacked, tmp_path: Path) -> None:
    seconds_pass()
    before = now()
    pack = attacked.on_top(prefix="pre/share/data/")[0]
    for key, version in attacked.versions():
        if key == pack:
            attacked.client.delete_object(Bucket=attacked.bucket, Key=key, VersionId=version)
    ran = attacked.site.dr("recover", "share", "--to", str(tmp_path / "x"), "--yes", "--at", before, code=1)
    assert f"the target has lost {pack.removeprefix('pre/share/')}: use another target or an older point" in ran.err


def test_a_time_before_everything_says_what_there_is(attacked: Attacked, tmp_path: Path) -> None:
    ran = attacked.site.dr("recover", "share", "--to", str(tmp_path / "x"), "--yes", "--at", "3d", code=1)
    assert "there is no complete recovery point" in ran.err
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_a_recovery_of_the_past_that_was_killed_goes_on(attacked: Attacked, tmp_path: Path) -> None:
    for number in range(60):
        (attacked.source / f"more-{number}.bin").write_bytes(os.urandom(1_000_000))
    attacked.site.dr("backup", "share")
    seconds_pass()
    before = now()
    seconds_pass()
    attacked.destroy()
    attacked.lose_the_catalog()
    to = tmp_path / "back"
    running = attacked.site.start("recover", "share", "--to", str(to), "--yes", "--at", before)
    assert soon(lambda: list(to.glob("docs/**/more-*.bin")))
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    attacked.site.dr("recover", "share", "--to", str(to), "--yes")
    assert attacked.recovered(to), "without --at: the directory knows to which time it travelled"


# -- rewind ------------------------------------------------------------------------------------------


def test_what_is_on_top_is_put_back_and_proven_and_no_version_is_lost(attacked: Attacked, tmp_path: Path) -> None:
    site = attacked.site
    seconds_pass()
    before = now()
    seconds_pass()
    attacked.destroy()
    there = attacked.versions()
    typed = ("target", "rewind", "offsite", "--at", before)
    assert "--yes" in site.dr(*typed, code=2).err
    assert "would have their old version copied on top" in site.dr(*typed, "--dry-run").out
    assert attacked.versions() == there, "neither a question nor a dry run touches anything"
    done = site.dr(*typed, "--yes", "--json").document["rewinds"][0]
    assert (done["outcome"], done["failed"], done["hidden"]) == ("ok", [], 3)
    assert done["uncovered"] + done["copied"] + done["intact"] == done["objects"]
    assert set(there) <= set(attacked.versions())
    again = site.dr(*typed, "--yes", "--json").document["rewinds"][0]
    assert (again["intact"], again["copied"], again["uncovered"]) == (done["objects"], 0, 0), "done once is done"
    site.dr("verify", "share")
    site.dr("recover", "share", "--to", str(tmp_path / "back"), "--yes")
    assert attacked.recovered(tmp_path / "back")
    assert site.dr("target", "history", "share", "--json").document["histories"][0]["attacked"] is False
    assert site.dr("audit", "--json").document["outcome"] == "ok"


def test_deleted_objects_come_back_by_taking_their_markers_away(attacked: Attacked) -> None:
    seconds_pass()
    before = now()
    seconds_pass()
    for key in attacked.on_top():
        attacked.client.delete_object(Bucket=attacked.bucket, Key=key)
    there = attacked.versions()
    done = attacked.site.dr("target", "rewind", "offsite", "--at", before, "--yes", "--json").document["rewinds"][0]
    assert (done["uncovered"], done["copied"]) == (done["objects"], 0)
    added = {key for key, _ in set(attacked.versions()) - set(there)}
    assert all(key.startswith("pre/_evidence/") for key in added), "but for the record of it, nothing was added"
    attacked.site.dr("drill", "share")


@pytest.mark.slow
def test_under_a_lock_with_an_append_only_key_old_versions_are_copied_on_top(
    site: Site, s3: S3Server, tmp_path: Path
) -> None:
    locked = f"test-{secrets.token_hex(6)}"
    s3.make_locked(locked, "COMPLIANCE", 1)
    s3.append_only(locked)
    made = make_attacked(site, s3, bucket=locked, user="writer")
    seconds_pass()
    before = now()
    seconds_pass()
    made.destroy()  # by an administrator: markers too
    site.dr("recover", "share", "--to", str(tmp_path / "first"), "--yes", "--at", before)
    assert made.recovered(tmp_path / "first"), "reading the past needs no right but to read"
    ran = site.dr("target", "rewind", "offsite", "--at", before, "--yes", "--json", code=3)
    done = ran.document["rewinds"][0]
    assert (done["outcome"], done["copied"], done["uncovered"]) == ("degraded", done["objects"], 0)
    assert len(done["failed"]) == 3 and all("may not be hidden" in each["problem"] for each in done["failed"])
    made.target("offsite", locked)
    done = site.dr("target", "rewind", "offsite", "--at", before, "--yes", "--json").document["rewinds"][0]
    assert (done["hidden"], done["intact"], done["outcome"]) == (3, done["objects"], "ok"), "with a key that may"
    site.dr("drill", "share")


def test_a_rewind_to_a_time_without_a_repository_is_refused(attacked: Attacked) -> None:
    ran = attacked.site.dr("target", "rewind", "offsite", "--at", "3d", "--yes", code=1)
    assert "there was no repository" in ran.err and "dr target history" in ran.err
    assert "no target 'nowhere'" in attacked.site.dr("target", "rewind", "nowhere", "--at", "1h", code=2).err
    ran = attacked.site.dr("target", "rewind", "offsite", "--system", "hr", "--at", "1h", code=2)
    assert "no plan keeps the system 'hr' on offsite" in ran.err


@pytest.mark.slow
def test_a_rewind_that_was_killed_does_the_rest_when_called_again(attacked: Attacked) -> None:
    seconds_pass()
    before = now()
    seconds_pass()
    attacked.destroy()
    typed = ("target", "rewind", "offsite", "--at", before, "--yes", "--json")
    running = attacked.site.start(*typed)
    there = len(attacked.versions())
    assert soon(lambda: len(attacked.versions()) != there)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    assert attacked.site.dr(*typed).document["rewinds"][0]["outcome"] == "ok"
    attacked.site.dr("drill", "share")
    assert attacked.site.dr("audit", "--json").document["outcome"] == "ok"


# -- what is no attack -------------------------------------------------------------------------------


@pytest.mark.slow
def test_backups_drills_proofs_and_an_operators_own_prune_are_no_attack(attacked: Attacked, tmp_path: Path) -> None:
    site = attacked.site
    for number in range(2):
        (attacked.source / "0.bin").write_bytes(os.urandom(50_000) + bytes([number]))
        site.dr("backup", "share")
    site.dr("drill", "share")
    site.dr("verify", "share")
    env = {**site.env, "AWS_ACCESS_KEY_ID": attacked.server.access_key, "RESTIC_CACHE_DIR": str(tmp_path / "c"),
           "AWS_SECRET_ACCESS_KEY": attacked.server.secret_key,
           "RESTIC_REPOSITORY": f"s3:{attacked.server.endpoint}/{attacked.bucket}/pre/share",
           "RESTIC_PASSWORD_FILE": str(site.root / "state/secrets/share@offsite.passphrase")}  # fmt: skip
    argv = [env["DR_RESTIC"], "forget", "--keep-last", "1", "--group-by", "tags=dr", "--prune", "--max-unused", "0"]
    argv[argv.index("tags=dr")] = ""
    subprocess.run(argv, env=env, check=True, capture_output=True)
    attacked.lose_the_catalog()
    site.dr("points", "--rebuild")
    told = site.dr("target", "history", "offsite", "--json").document["histories"][0]
    assert told["attacked"] is False and told["ordinary"] > 0


# -- a record that misleads, keys that may not, clocks that differ ------------------------------------


def test_a_poisoned_record_is_not_believed_where_the_target_held_something_else(
    attacked: Attacked, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(attacked.site.root / "state/catalog.sqlite")) as db, db:
        db.execute("update copies set snapshots = replace(snapshots, substr(snapshots, 12, 8), '00000000')")
    seconds_pass()
    plain = attacked.site.dr("recover", "share", "--to", str(tmp_path / "no"), "--yes", code=1)
    assert "failed" in plain.out, "the poison works"
    attacked.site.dr("recover", "share", "--to", str(tmp_path / "back"), "--yes", "--at", now())
    assert attacked.recovered(tmp_path / "back")


def test_junk_from_before_the_time_is_left_out_and_stops_nothing(attacked: Attacked, tmp_path: Path) -> None:
    locks = attacked.client.list_object_versions(Bucket=attacked.bucket, Prefix="pre/share/locks/")
    for each in [*locks.get("Versions", ()), *locks.get("DeleteMarkers", ())]:  # then junk is all that is not as it was
        attacked.client.delete_object(Bucket=attacked.bucket, Key=each["Key"], VersionId=each["VersionId"])
    for part, digit in (("index", "a"), ("keys", "0"), ("snapshots", "c")):
        key = f"pre/share/{part}/{digit * 64}"
        attacked.client.put_object(Bucket=attacked.bucket, Key=key, Body=b"junk")
    seconds_pass()
    drill = attacked.site.dr("drill", "share", "--at", "now", "--json").document["drills"][0]
    assert drill["outcome"] == "ok"
    text = attacked.site.dr("report", "--drill", drill["drill_id"], "--format", "md", "-o", "-").out
    assert "left out, as their bytes are not what their names promise: " in text
    attacked.site.dr("drill", "share", "--target", "offsite", code=1)
    assert "as it was at" in attacked.site.dr("drill", "share", code=3).err, "the versions below are the next copy"


def test_keys_that_may_list_no_versions_read_the_bucket_as_it_is_and_say_which_right_is_missing(
    attacked: Attacked,
) -> None:
    place = f"arn:aws:s3:::{attacked.bucket}"
    denied = {"Sid": "a", "Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::000000000000:user/writer"},
              "Action": ["s3:ListBucketVersions", "s3:GetBucketVersioning"], "Resource": [place, f"{place}/*"]}  # fmt: skip
    policy = json.dumps({"Version": "2012-10-17", "Statement": [denied]})
    attacked.client.put_bucket_policy(Bucket=attacked.bucket, Policy=policy)
    attacked.target("offsite", attacked.bucket, "writer")
    ran = attacked.site.dr("drill", "share", "--at", "now", "-v")
    assert "s3:ListBucketVersions" in ran.err and "it is read as it is now" in ran.err
