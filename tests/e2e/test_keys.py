"""Keys and holds, as typed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dr.errors import UsageError
from dr.operations import destroy_keys as destroy
from dr.operations.make_kit import renew_all
from dr.run.keys.escrow import new_recipient
from tests.conftest import Site, plan_text
from tests.faults.planted import files_showing, forms
from tests.waiting import LIMIT, soon

pytestmark = pytest.mark.slow


def restic(site: Site, location: str, passphrase: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run plain restic, as somebody with that passphrase would."""
    return subprocess.run(
        [site.env["DR_RESTIC"], "--no-cache", "--no-lock", "-r", location, *arguments],
        env={**site.env, **env, "RESTIC_PASSWORD": passphrase},
        capture_output=True,
        text=True,
        check=False,
    )


def secret(site: Site, target: str = "disk") -> Path:
    """Where the passphrase is."""
    return site.root / "state" / "secrets" / f"share@{target}.passphrase"


def one_target(site: Site, *sources: str) -> Site:
    """Give the system one target only: half the keys to wait for."""
    site.plan(
        "share",
        plan_text("share", *(sources or (f"docs: {{files: {{paths: [{site.root}/source]}}}}",)), targets="[disk]"),
    )
    return site


# -- escrow and rotation -----------------------------------------------------------------------------


def test_the_first_backup_makes_the_escrow_key_and_the_list_tells_a_stranger(files_site: Site) -> None:
    site = one_target(files_site)
    site.escrow(True)
    run = site.dr("backup", "share", "--json").document["runs"][0]
    assert run["outcome"] == "ok"
    kinds = [key["kind"] for key in site.dr("keys", "list", "--json").document["keys"]]
    assert sorted(kinds) == ["escrow", "in use"]
    assert (site.root / "disk" / "_escrow" / "share.age").read_bytes() == (
        site.root / "state" / "escrow" / "share@disk.age"
    ).read_bytes()
    (site.root / "theirs").write_text("their own passphrase\n")
    added = restic(
        site, f"{site.root}/disk/share", secret(site).read_text().strip(), "key", "add",
        "--new-password-file", f"{site.root}/theirs",
    )  # fmt: skip
    assert added.returncode == 0
    ran = site.dr("keys", "list", code=3)
    assert "unknown" in ran.out and "not made by this program" in ran.err
    assert "that this program did not make" in site.dr("backup", "share").err
    assert "did not make" in site.dr("status", code=None).out
    assert site.dr("verify", "share", "--level", "2").code == 0
    (next(k for k in (site.root / "disk/share/keys").iterdir() if k.name[:8] in ran.err)).unlink()
    assert "missing" in site.dr("verify", "share", "--level", "2", code=1).err, "no record says that it was removed"
    site.dr("audit")


def test_escrow_keys_made_anew_for_a_new_kit_are_on_record_so_that_the_old_ones_are_not_missed(
    files_site: Site,
) -> None:
    site = one_target(files_site)
    site.escrow(True)
    site.dr("backup", "share")
    site.dr("verify", "share", "--level", "2")
    session = site.session()
    new_recipient(session.state)
    assert renew_all(session) == []
    session.close()
    site.dr("verify", "share", "--level", "2")


class Trap:
    """A restic that has the program killed at its n-th command about keys: before it is done, or after."""

    def __init__(self, site: Site, folder: Path) -> None:
        self._folder, self._real = folder, site.env["DR_RESTIC"]
        folder.mkdir()
        self.program = folder / "restic"
        self.program.write_text(
            f"""#!/bin/sh
case " $* " in *" key "*)
  read n < {folder}/count; n=$((n + 1)); echo $n > {folder}/count; read at when < {folder}/at
  if [ "$n" = "$at" ]; then
    [ "$when" = after ] && {self._real} "$@" > /dev/null
    kill -9 $PPID; exit 1
  fi;;
esac
exec {self._real} "$@"
"""
        )
        self.program.chmod(0o755)

    def set(self, number: int, when: str) -> None:
        """Set it."""
        (self._folder / "count").write_text("0\n")
        (self._folder / "at").write_text(f"{number} {when}\n")


def test_killed_at_any_step_of_a_rotation_the_repository_opens_and_the_next_run_goes_on(files_site: Site) -> None:
    site = one_target(files_site)
    site.dr("backup", "share")
    old, place = secret(site).read_text().strip(), f"{site.root}/disk/share"
    trap = Trap(site, site.root / "trap")
    killed = []
    for number, when in ((1, "before"), (2, "before"), (3, "after"), (3, "before"), (4, "before"), (3, "after"), (2, "after"),
                         (4, "after"), (9, "after")):  # fmt: skip
        trap.set(number, when)
        ran = site.dr("keys", "rotate", "share", code=None, DR_RESTIC=str(trap.program))
        now = secret(site).read_text().strip()
        opened = restic(site, place, now, "cat", "config")
        assert opened.returncode == 0, (number, when, opened.stderr)
        if ran.code == -9:
            killed.append((number, when))
        elif not secret(site).with_suffix(".previous").exists():
            break
    assert len(killed) >= 6
    assert ran.code == 0, ran.err
    assert now != old and restic(site, place, old, "cat", "config").returncode == 12
    assert len(list((site.root / "disk/share/keys").iterdir())) == 1, "no key of a killed try is left"
    assert [path.name for path in secret(site).parent.iterdir()] == [secret(site).name]
    site.dr("backup", "share")
    site.dr("audit")
    assert "interrupted" not in site.dr("status", code=None).out


def test_a_backup_at_work_goes_on_through_a_rotation_and_takes_the_old_key_away_at_its_end(files_site: Site) -> None:
    gate = files_site.root / "gate"
    slow = f"slow: {{command: {{run: [sh, -c, 'echo x; until [ -e {gate} ]; do sleep 0.1; done'], filename: x}}}}"
    after = f"docs: {{files: {{paths: [{files_site.root}/source]}}}}"
    site = one_target(files_site, f"first: {{files: {{paths: [{files_site.root}/source]}}}}")
    site.dr("backup", "share")
    assert site.dr("verify", "share", "--level", "2").code == 0
    one_target(files_site, slow, after)
    old = secret(site).read_text().strip()
    backup = site.start("backup", "share", "--json")
    assert soon(lambda: list((site.root / "disk/share/locks").iterdir()))
    change = site.dr("keys", "rotate", "share", "--json", code=3).document["changes"][0]["targets"][0]
    assert change["left"] and "in use" in change["notes"][0]
    assert backup.poll() is None and secret(site).read_text().strip() != old, "switched while it runs"
    assert restic(site, f"{site.root}/disk/share", old, "cat", "config").returncode == 0
    gate.touch()
    out, err = backup.communicate(timeout=LIMIT)
    assert backup.returncode == 0, (out, err)
    assert restic(site, f"{site.root}/disk/share", old, "cat", "config").returncode == 12
    assert len(site.dr("keys", "list", "--json").document["keys"]) == 1
    assert site.dr("verify", "share", "--level", "2").code == 0, "the old key is not missing: its removal is on record"


def test_with_one_target_down_the_other_is_rotated_and_neither_is_lost(files_site: Site) -> None:
    site = files_site
    site.target("vault", f"target: vault\nlocal: {{path: {site.root}/mount/vault}}\n")
    (site.root / "mount").mkdir()
    site.dr("backup", "share")
    old = secret(site, "vault").read_text()
    (site.root / "mount").rename(site.root / "away")
    ran = site.dr("keys", "rotate", "share", "--json", code=3)
    event = ran.document["changes"][0]
    assert [(change["target"], change["outcome"]) for change in event["targets"]] == [
        ("disk", "ok"),
        ("vault", "failed"),
    ]
    (site.root / "away").rename(site.root / "mount")
    assert restic(site, f"{site.root}/mount/vault/share", old.strip(), "cat", "config").returncode == 0
    site.dr("backup", "share")
    site.dr("keys", "rotate", "share", "--target", "vault")
    assert restic(site, f"{site.root}/mount/vault/share", old.strip(), "cat", "config").returncode == 12
    site.dr("backup", "share")


def test_a_wrong_passphrase_rotates_nothing(files_site: Site) -> None:
    site = one_target(files_site)
    site.dr("backup", "share")
    right = secret(site).read_text()
    secret(site).write_text("wrong\n")
    ran = site.dr("keys", "rotate", "share", code=12)
    assert "does not open" in ran.err
    secret(site).write_text(right)
    secret(site).with_suffix(".next").unlink(missing_ok=True)
    assert len(site.dr("keys", "list", "--json").document["keys"]) == 1


def test_a_passphrase_of_the_plan_is_refused_without_a_file_and_the_person_is_told_what_to_do(files_site: Site) -> None:
    site = files_site
    phrase, new = site.root / "phrase", site.root / "new"
    phrase.write_text("the passphrase of the plan\n")
    source = f"docs: {{files: {{paths: [{site.root}/source]}}}}"
    more = f"secrets: {{passphrase: {{file: {phrase}}}}}\n"
    site.plan("share", plan_text("share", source, targets="[disk]", more=more))
    site.dr("backup", "share")
    assert "--new-passphrase-file" in site.dr("keys", "rotate", "share", code=2).err
    new.write_text("short\n")
    assert "Chmod 600" in site.dr("keys", "rotate", "share", "--new-passphrase-file", str(new), code=12).err
    new.chmod(0o600)
    assert "shorter" in site.dr("keys", "rotate", "share", "--new-passphrase-file", str(new), code=2).err
    new.write_text("another passphrase of the plan\n")
    ran = site.dr("keys", "rotate", "share", "--new-passphrase-file", str(new), code=3)
    assert "put the new one in the place that the plan names" in ran.out
    assert site.dr("backup", "share").code == 0
    phrase.write_text(new.read_text())
    site.dr("keys", "rotate", "share", "--new-passphrase-file", str(new))
    assert restic(site, f"{site.root}/disk/share", "the passphrase of the plan", "cat", "config").returncode == 12
    site.dr("backup", "share")


# -- holds -------------------------------------------------------------------------------------------


def test_a_hold_is_on_record_is_shown_and_is_released_with_a_reason(files_site: Site) -> None:
    site = files_site
    site.dr("backup", "share")
    point = site.dr("points", "--json").document["points"][0]["run_id"]
    for wrong in (
        ("hold", "share"), ("hold", "--reason", "x"), ("hold", "share", "--reason", " "), ("hold", "none", "--reason", "x"),
        ("hold", "share", "--reason", "x", "--until", "2001-01-01"), ("hold", "share", "--reason", "x", "--point", "none"),
        ("hold", "--release", "none", "--reason", "x"), ("hold", "share", "--list", "--reason", "x"),
    ):  # fmt: skip
        site.dr(*wrong, code=2)
    assert site.dr("hold", "--list").out == "no holds\n"
    arguments = ("--reason", "a request for records", "--until", "2099-01-01", "--point", point)
    (hold,) = site.dr("hold", "share", *arguments, "--json").document["holds"]
    assert hold["in_force"] and hold["until"][:10] in ("2098-12-31", "2099-01-01", "2099-01-02")
    assert "on hold" in site.dr("points").out and "a request for records" in site.dr("status", code=None).out
    assert site.dr("points", "--json").document["points"][0]["holds"] == [hold["hold_id"]]
    assert len(list((site.root / "disk/_evidence/share").iterdir())) == 2, "beside the repository at once"
    shutil.copytree(site.root / "state/secrets", site.root / "secrets")
    shutil.rmtree(site.root / "state")
    site.escrow(False)
    shutil.copytree(site.root / "secrets", site.root / "state/secrets")
    assert [h["in_force"] for h in site.dr("hold", "--list", "--json").document["holds"]] == []
    site.dr("points", "--rebuild", code=None)
    assert [h["in_force"] for h in site.dr("hold", "--list", "--json").document["holds"]] == [True], (
        "it outlives a host"
    )
    assert site.dr("hold", "--release", hold["hold_id"], "--reason", "answered").out.count("released") == 2
    site.dr("hold", "--release", hold["hold_id"], "--reason", "again", code=2)
    assert "on hold" not in site.dr("points").out
    site.dr("audit")


# -- crypto-shredding --------------------------------------------------------------------------------


@pytest.fixture
def offsite(files_site: Site, s3: Any, bucket: str) -> Site:
    """A system on a disk and in a bucket with versions."""
    site = files_site
    s3.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return in_bucket(site, s3, bucket)


def in_bucket(site: Site, s3: Any, bucket: str) -> Site:
    """Have the system on a disk and in that bucket."""
    keys = s3.write_keys(site.root / "keys")
    site.target(
        "offsite",
        f"target: offsite\ns3: {{endpoint: '{s3.endpoint}', bucket: {bucket}, credentials: {{file: {keys}}}}}\n",
    )
    source = f"docs: {{files: {{paths: [{site.root}/source]}}}}"
    site.plan("share", plan_text("share", source, targets="[disk, offsite]"))
    return site


def test_destroyed_keys_open_nothing_not_even_old_versions_and_a_copy_of_a_key_would(
    offsite: Site, s3: Any, bucket: str
) -> None:
    site = offsite
    site.escrow(True)
    site.dr("backup", "share")
    old = {name: secret(site, name).read_text().strip() for name in ("disk", "offsite")}
    then = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    time.sleep(2.1)  # services tell times to the second
    site.dr("keys", "rotate", "share", "--target", "offsite")  # leaves a version of the first key
    new = secret(site, "offsite").read_text().strip()
    to = ("--to", f"{site.root}/then", "--target", "offsite", "--at", then, "--yes")
    site.dr("recover", "share", *to)
    assert list((site.root / "then").rglob("letter.txt")), (
        "what was there before the rotation opens with the key of today"
    )
    keys = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
    there, here = f"s3:{s3.endpoint}/{bucket}/share", f"{site.root}/disk/share"
    assert restic(site, there, new, "cat", "config", **keys).returncode == 0, "the control"
    assert restic(site, here, old["disk"], "cat", "config").returncode == 0, "the control"
    shutil.copytree(site.root / "disk/share/keys", site.root / "elsewhere")

    first = site.dr("keys", "destroy", "share", "--json", code=2).document
    assert [(each["target"], len(each["points"])) for each in first["would"]] == [("disk", 1), ("offsite", 1)]
    assert first["would"][1]["key_versions"] > first["would"][1]["keys"] - 1 >= 2
    for wrong in (
        ("--confirm", "share"), ("--confirm", "other", "--confirm-again", first["code"]),
        ("--confirm-again", first["code"]), ("--confirm", "share", "--confirm-again", "00000000"),
    ):  # fmt: skip
        site.dr("keys", "destroy", "share", *wrong, code=2)
    assert restic(site, there, new, "cat", "config", **keys).returncode == 0, "asking destroys nothing"
    code = site.dr("keys", "destroy", "share", "--json", code=2).document["code"]
    done = site.dr("keys", "destroy", "share", "--confirm", "share", "--confirm-again", code, "--json").document
    (event,) = done["changes"]
    assert event["outcome"] == "ok" and "no other copy" in " ".join(event["limits"]) and len(event["points"]) == 1

    for location, passphrase, env in ((there, new, keys), (there, old["offsite"], keys), (here, old["disk"], {})):
        assert restic(site, location, passphrase, "snapshots", **env).returncode != 0
    versions = s3.client().list_object_versions(Bucket=bucket)
    names = [item["Key"] for part in ("Versions", "DeleteMarkers") for item in versions.get(part, ())]
    assert not [name for name in names if "/keys/" in name or "_escrow" in name] and [n for n in names if "/data/" in n]
    assert not files_showing(forms(*old.values(), new), site.root / "state", private=())
    assert not list((site.root / "state/cache/restic").glob("*/index")), "restic's caches of it are gone"

    (point,) = site.dr("points", "--json").document["points"]
    assert point["targets"] == [] and point["proof_level"] == 0 and all(copy["destroyed"] for copy in point["copies"])
    assert "its keys were destroyed" in site.dr("points").out
    for typed in (("ls", "share"), ("find", "share", "*")):
        assert "its keys were destroyed. See when in `dr report`" in site.dr(*typed, code=1).err
    assert "were destroyed" in site.dr("backup", "share", code=12).err
    for asked in (["ls", "share"], ["recover", "share", "--path", "x", "--to", str(site.root / "to"), "--yes"]):
        assert "its keys were destroyed" in site.dr(*asked, code=1).err
    assert "were destroyed" in site.dr("recover", "share", "--to", str(site.root / "back"), "--yes", code=None).err
    site.dr("audit")

    shutil.copytree(site.root / "elsewhere", site.root / "disk/share/keys", dirs_exist_ok=True)
    assert restic(site, here, old["disk"], "snapshots").returncode == 0, "what the limits say is so"


def test_killed_in_the_midst_of_destroying_the_rest_is_kept_until_it_is_gone_on_with(files_site: Site) -> None:
    site = files_site
    site.dr("backup", "share")
    phrase = secret(site, "vault").read_text().strip()
    trap = Trap(site, site.root / "trap")
    trap.set(1, "before")  # the first target's keys are gone, and restic is about to be asked
    confirmed = ("keys", "destroy", "share", "--confirm", "share", "--confirm-again")
    code = site.dr("keys", "destroy", "share", "--json", code=2).document["code"]
    assert site.dr(*confirmed, code, code=-9, DR_RESTIC=str(trap.program)).code == -9
    assert not list((site.root / "disk/share/keys").iterdir())
    assert restic(site, f"{site.root}/vault/share", phrase, "cat", "config").returncode == 0
    assert "interrupted" in site.dr("status", code=None).out
    code = site.dr("keys", "destroy", "share", "--json", code=2).document["code"]
    site.dr(*confirmed, code)
    assert restic(site, f"{site.root}/vault/share", phrase, "cat", "config").returncode == 12
    (point,) = site.dr("points", "--json").document["points"]
    assert [copy["destroyed"] for copy in point["copies"]] == [True, True]
    assert not [path for path in (site.root / "state/secrets").iterdir() if path.suffix != ".destroyed"]
    site.dr("audit")
    with sqlite3.connect(site.root / "state" / "catalog.sqlite") as db:
        ((ref, at),) = db.execute(
            "select ref, json_extract(body, '$.finished') from evidence where kind = 'keys' order by seq desc limit 1"
        )
    when = f"{at[:10]} {at[11:16]}Z"
    (row,) = site.dr("status", "--json", code=None).document["systems"]
    assert f"its keys were destroyed on {when} ({ref})" in site.dr("status", code=None).out
    assert not [text for text in row["problems"] if "yet" in text] and row["freshness_seconds"] is None


def test_locked_copies_are_not_destroyed_and_the_date_is_said(files_site: Site, s3: Any) -> None:
    bucket = f"locked-{os.urandom(4).hex()}"
    client = s3.client()
    client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 2}}
    client.put_object_lock_configuration(
        Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    site, began = in_bucket(files_site, s3, bucket), datetime.now(UTC)
    site.dr("backup", "share", code=None)
    ran = site.dr("keys", "destroy", "share", code=2)
    days = {
        f"{moment + timedelta(days=2):%Y-%m-%d}" for moment in (began, datetime.now(UTC))
    }  # midnight may come between
    assert any(day in ran.err for day in days) and "locked" in ran.err
    assert secret(site).exists() and "in use" in site.dr("keys", "list", code=None).out
    rotated = site.dr("keys", "rotate", "share", "--target", "offsite", code=None).out
    assert "locked (compliance) until" in rotated and "the old passphrase still opens" in rotated


def test_a_hold_forbids_and_a_hold_that_came_between_the_steps_forbids_too(files_site: Site) -> None:
    site = one_target(files_site)
    site.dr("backup", "share")
    code = site.dr("keys", "destroy", "share", "--json", code=2).document["code"]
    hold = site.dr("hold", "share", "--reason", "a court asked", "--json").document["holds"][0]["hold_id"]
    confirmed = ("keys", "destroy", "share", "--confirm", "share", "--confirm-again")
    assert "a court asked" in site.dr(*confirmed, code, code=2).err
    assert "a court asked" in site.dr("keys", "destroy", "share", code=2).err
    site.dr("hold", "--release", hold, "--reason", "settled")
    site.dr("backup", "share")
    assert "not what they were" in site.dr(*confirmed, code, code=2).err, "another point would have died"
    assert site.dr("keys", "list").code == 0


def test_a_code_expires(files_site: Site) -> None:
    site = one_target(files_site)
    site.dr("backup", "share")
    now = datetime(2026, 11, 24, tzinfo=UTC)
    session = site.session(clock=lambda: now)
    loaded = session.chosen(["share"])[0]
    asked = destroy.ask(session, loaded)
    destroy.require_code(session, loaded, asked.code)
    later = site.session(clock=lambda: now + destroy.GOOD_FOR + timedelta(seconds=1))
    with pytest.raises(UsageError, match="expired"):
        destroy.require_code(later, loaded, asked.code)
    for each in (session, later):
        each.close()


def test_with_a_copy_out_of_reach_nothing_is_destroyed(files_site: Site) -> None:
    site = files_site
    site.target("vault", f"target: vault\nlocal: {{path: {site.root}/mount/vault}}\n")
    (site.root / "mount").mkdir()
    site.dr("backup", "share")
    code = site.dr("keys", "destroy", "share", "--json", code=2).document["code"]
    (site.root / "mount").rename(site.root / "away")
    site.dr("keys", "destroy", "share", "--confirm", "share", "--confirm-again", code, code=1)
    assert list((site.root / "disk/share/keys").iterdir()) and secret(site).exists()


def test_where_credentials_may_not_delete_the_old_key_stays_and_that_is_said(
    files_site: Site, s3: Any, bucket: str
) -> None:
    s3.append_only(bucket)
    site, location = files_site, f"s3:{s3.endpoint}/{bucket}/share"
    keys = s3.write_keys(site.root / "keys", "writer")
    place = f"{{endpoint: '{s3.endpoint}', bucket: {bucket}, credentials: {{file: {keys}}}}}"
    site.target("offsite", f"target: offsite\ns3: {place}\n")
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{site.root}/source]}}}}", targets="[offsite]"))
    site.escrow(True)
    site.dr("backup", "share")
    old = secret(site, "offsite").read_text().strip()
    ran = site.dr("keys", "rotate", "share", code=3)
    assert "may not delete" in ran.out and "github" not in ran.out + ran.err
    admin = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
    assert restic(site, location, old, "cat", "config", **admin).returncode == 0, "what is said is so"
    assert site.dr("verify", "share", "--level", "2").code == 0
    assert "may not delete" in site.dr("status", code=None).out
    assert "may" in site.dr("keys", "destroy", "share", code=12).err
    (stale,) = [k["id"] for k in site.dr("keys", "list", "--json").document["keys"] if k["kind"].startswith("old")]
    new = secret(site, "offsite").read_text().strip()
    assert restic(site, location, new, "key", "remove", stale, **admin).returncode == 0
    site.dr("backup", "share")
    assert site.dr("verify", "share", "--level", "2").code == 0, (
        "somebody who may has removed it, and that is on record"
    )
    assert "may not delete" not in site.dr("status", code=None).out
