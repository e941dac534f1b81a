"""The recovery kit as its people use it: made, handed out, tested, opened where nothing else is, and replaced."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dr.run.keys.recipient import identity_here
from dr.tools import age, shares
from scripts.servers.s3 import S3Server
from tests.conftest import ROOT, Ran, Site, plan_text
from tests.waiting import soon

CUSTODIANS = ("Superintendent", "Business manager", "Director of technology")
PHRASE = "a passphrase that lies in the environment"


@pytest.fixture
def small(files_site: Site) -> Site:
    """A system of files on two disks, backed up, with escrow."""
    files_site.escrow(True)
    files_site.dr("backup", "share")
    return files_site


@pytest.fixture
def district(site: Site, s3: S3Server, bucket: str) -> Site:
    """A system in a bucket and on a disk; every secret of it is in the environment, and a script beside its plan."""
    source = site.root / "source"
    source.mkdir()
    (source / "letter.txt").write_text("the first\n")
    site.env |= {"KEY_ID": s3.access_key, "KEY_SECRET": s3.secret_key, "PHRASE": PHRASE}
    keys = "credentials: {env: {access_key_id: KEY_ID, secret_access_key: KEY_SECRET}}"
    site.target("offsite", f"target: offsite\ns3: {{endpoint: '{s3.endpoint}', bucket: {bucket}, prefix: d, {keys}}}\n")
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    checks = "drill: {checks: [{manifest: {}}, {command: {run: [./smoke, 'a word'], expect: {exit: 0}}}]}\n"
    more = f"secrets: {{passphrase: {{env: PHRASE}}}}\n{checks}"
    site.plan(
        "share", plan_text("share", f"docs: {{files: {{paths: [{source}]}}}}", targets="[offsite, disk]", more=more)
    )
    script = site.root / "config" / "plans" / "smoke"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    site.escrow(True)
    site.dr("backup", "share")
    return site


def make(site: Site, out: str = "out", *more: str, threshold: int = 2, code: int = 0) -> Ran:
    """Make a kit."""
    named = [word for role in CUSTODIANS for word in ("--custodian", role)]
    return site.dr("kit", *named, "--threshold", str(threshold), "-o", str(site.root / out), "--json", *more, code=code)


def share_of(site: Site, *numbers: int, out: str = "out") -> list[str]:
    """The options that name some custodians' shares."""
    return [x for n in numbers for x in ("--share", str(site.root / out / "shares" / f"share-{n}-of-3.txt"))]


def elsewhere(site: Site, *arguments: str, code: int = 0) -> Ran:
    """Run the program as on another machine: no variable, home, configuration or state of ours."""
    home = site.root / "elsewhere"
    home.mkdir(exist_ok=True)
    path = f"{Path(site.env['DR_RESTIC']).parent}:{os.environ['PATH']}"
    kept = {key: value for key, value in site.env.items() if key.startswith("COVERAGE_")}
    env = {"PATH": path, "HOME": str(home), "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", **kept}
    ran = Ran(*site.forker.run(arguments, env=env, cwd=home))
    assert "Traceback" not in ran.err, ran.err
    assert ran.code == code, ran
    return ran


def objects(site: Site, s3: S3Server, bucket: str) -> dict[str, str]:
    """Every object on the targets, by digest; self-copies and evidence, which a run adds, apart."""
    found = {}
    pages = s3.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
    for item in (item for page in pages for item in page.get("Contents", ())):
        found[item["Key"]] = str(item["ETag"])
    for path in (site.root / "disk").rglob("*"):
        if path.is_file():
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return {name: digest for name, digest in found.items() if "/_control/" not in name and "/_evidence/" not in name}


def tree(folder: Path) -> dict[str, str]:
    """Every file below a directory, by digest; the catalog and caches apart, which each run changes."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
        and not path.relative_to(folder).parts[0].startswith(("catalog.sqlite", "cache", "locks"))
        and path.name != ".lock"
    }


@pytest.mark.slow
def test_on_an_empty_machine_the_kit_and_two_shares_bring_the_newest_back(
    district: Site, s3: S3Server, bucket: str
) -> None:
    secret = identity_here(district.state)
    made = make(district)
    (kit,) = made.document["kits"]
    assert (kit["act"], kit["outcome"], kit["threshold"], kit["custodians"]) == ("made", "ok", 2, list(CUSTODIANS))
    assert secret and identity_here(district.state) is None, "the custodians have it now"
    (district.root / "source" / "letter.txt").write_text("the second, after the kit was made\n")
    (district.root / "config" / "plans" / "late.txt").write_text("a file that the kit does not have\n")
    told = district.dr("backup", "share", "-v", "--json")
    tested = district.dr("kit", "test", str(district.root / "out"), *share_of(district, 3, 1), "--json")
    (result,) = tested.document["kits"]
    assert result["outcome"] == "ok" and result["shares"] == [1, 3] and result["stale"] == []
    opened = {(each["target"], each["opened"], each["key"], each["snapshots"]) for each in result["repositories"]}
    assert opened == {("offsite", True, "escrow", 4), ("disk", True, "escrow", 4)} or {x[2] for x in opened} == {
        "escrow"
    }

    _no_secret_anywhere(district, secret, [made, told, tested], s3)
    for name in ("config", "state", "source"):
        (district.root / name).rename(district.root / f"lost-{name}")
    new = district.root / "new"
    one = elsewhere(
        district, "kit", "open", str(district.root / "out"), *share_of(district, 2), "--to", str(new), code=12
    )
    assert "1 of the 2 shares needed were given" in one.err and not new.exists()
    words = ["kit", "open", str(district.root / "out"), *share_of(district, 2, 1), "--to", str(new), "--json"]
    (told_open,) = elsewhere(district, *words).document["kits"]
    assert told_open["taken_from"] == "offsite", "a newer copy than the kit's"
    assert (new / "config" / "plans" / "late.txt").exists()
    assert {path.stat().st_mode & 0o077 for path in new.rglob("*")} == {0}
    assert os.access(new / "config" / "plans" / "smoke", os.X_OK)
    places = ("--config", str(new / "config"), "--state", str(new / "state"))
    points = elsewhere(district, *places, "points", "--rebuild", "--json").document["points"]
    assert len(points) == 2 and points[0]["targets"] == ["offsite", "disk"]
    back = district.root / "back"
    (drill,) = elsewhere(district, *places, "recover", "share", "--to", str(back), "--yes", "--json").document["drills"]
    assert drill["outcome"] == "ok" and drill["checks_verdict"] == "passed"
    assert [path.read_text() for path in back.rglob("letter.txt")] == ["the second, after the kit was made\n"]
    shutil.rmtree(district.root / "disk" / "share" / "data")  # one copy is lost, too, before one file is asked for
    assert "letter.txt" in elsewhere(district, *places, "find", "share", "lett*").out
    one = district.root / "one"
    elsewhere(district, *places, "recover", "share", "--path", "letter.txt", "--yes", "--to", str(one))
    assert [path.read_text() for path in one.rglob("letter.txt")] == ["the second, after the kit was made\n"]
    assert elsewhere(district, *places, "audit", "--json").document["outcome"] == "ok"


def _no_secret_anywhere(site: Site, identity: str, told: list[Ran], s3: S3Server) -> None:
    """Neither in what was printed, nor in the kit, the catalog, or on a target."""
    texts = [shares.parse(path.read_text()) for path in sorted((site.root / "out" / "shares").glob("*.txt"))]
    words = [" ".join(part.words[8:11]) for part in texts]
    secrets = [identity, PHRASE, s3.secret_key, *words]
    printed = "".join(ran.out + ran.err for ran in told)
    kept = [path for path in (site.root / "out" / "kit").rglob("*") if path.is_file()]
    kept += [path for path in (site.root / "state").rglob("*") if path.is_file()]
    kept += [path for path in (site.root / "disk").rglob("*") if path.is_file()]
    for secret in secrets:
        assert secret not in printed
        assert [path.name for path in kept if secret.encode() in path.read_bytes()] == []
    assert words[0].encode() in " ".join(texts[0].words).encode(), "and what is looked for can be found"
    assert {path.stat().st_mode & 0o077 for path in (site.root / "out").rglob("*")} == {0}


@pytest.mark.slow
def test_control_loss_starts_from_the_kit_and_harms_nothing(district: Site, s3: S3Server, bucket: str) -> None:
    make(district)
    before = tree(district.root / "state"), objects(district, s3, bucket)
    words = ["drill", "share", "--scenario", "control-loss", "--json"]
    given = ["--kit", str(district.root / "out"), *share_of(district, 1, 2)]
    (drill,) = district.dr(*words, *given).document["drills"]
    assert (drill["outcome"], drill["scenario"], drill["proof_level"]) == ("ok", "control-loss", 6)
    assert drill["clean_room"]["shares"] == 2 and drill["rto_verdict"] == "met" and drill["sandbox"] == "destroyed"
    assert drill["rta_seconds"] > sum(drill["phases"][name] for name in ("declare", "restore")), "all of it counts"
    assert {check["check"]: check["outcome"] for check in drill["checks"]} == {"manifest": "ok", "command": "ok"}

    (drill,) = district.dr(*words).document["drills"]
    assert (drill["outcome"], drill["proof_level"], drill["clean_room"]["shares"]) == ("ok", 5, 0)
    report = district.dr("report", "--drill", drill["drill_id"], "--format", "md").out
    assert "the custodians' shares were not exercised" in report

    (failed,) = district.dr(*words, *given[:-2], code=12).document["drills"]
    assert failed["outcome"] == "failed" and "1 of the 2 shares" in failed["error"] and failed["rta_seconds"] is None
    assert district.dr(*words, *given, "--keep", code=2).document["drills"] == []
    after = tree(district.root / "state"), objects(district, s3, bucket)
    assert after == before, "nothing but records and self-copies was added"
    assert district.dr("audit", "--json").document["outcome"] == "ok"


@pytest.mark.slow
def test_a_plan_schedules_control_loss_with_the_first_target_down(small: Site) -> None:
    make(small)
    for number in (1, 3):
        shutil.copy(small.root / "out" / "shares" / f"share-{number}-of-3.txt", small.root / f"s{number}")
    small.env["SHARE"] = shares.parse((small.root / "s3").read_text()).mnemonic
    plan = small.root / "config" / "plans" / "share.yaml"
    more = f"kit: {small.root}/out/kit, shares: [{{file: {small.root}/s1}}, {{env: SHARE}}]"
    plan.write_text(f"{plan.read_text()}drill: {{scenario: control-loss, {more}}}\n")
    small.dr("validate")
    small.dr("backup", "share")
    (small.root / "disk").rename(small.root / "gone")
    (small.root / "disk").write_text("a file where a directory was\n")
    (drill,) = small.dr("drill", "share", "--json", code=3).document["drills"]
    assert (drill["outcome"], drill["target"], drill["proof_level"]) == ("degraded", "vault", 6)
    assert drill["clean_room"]["taken_from"] == "vault"


def test_the_clean_room_knows_nothing_of_this_host(small: Site) -> None:
    """Negative control: what the self-copy does not hold cannot be found there, though it lies on this host."""
    make(small)
    plan = small.root / "config" / "plans" / "share.yaml"
    plan.write_text(plan.read_text().replace("title: The share", "title: Another"))
    for path in (small.root / "state" / "secrets").iterdir():
        path.rename(path.with_suffix(".away"))
    given = ["--kit", str(small.root / "out"), *share_of(small, 1, 2)]
    (drill,) = small.dr("drill", "share", "--scenario", "control-loss", "--json", *given, code=3).document["drills"]
    assert drill["outcome"] == "degraded" and drill["proof_level"] == 6
    assert "not today's" in small.dr("report", "--drill", drill["drill_id"], "--format", "md").out


@pytest.mark.slow
def test_kit_test_says_what_is_wrong(small: Site) -> None:
    make(small)
    kit = str(small.root / "out")
    plan = small.root / "config" / "plans" / "share.yaml"
    old = plan.read_text()
    plan.write_text(old.replace("rto: 1h", "rto: 2h"))
    small.plan("new", old.replace("system: share", "system: new"))
    (stale,) = small.dr("kit", "test", kit, *share_of(small, 1, 2), "--json", code=3).document["kits"]
    assert stale["stale"] == ["the system new is not in the kit", "the plan of share has changed"]
    make(small, "other", *share_of(small, 1, 2))
    foreign = small.dr("kit", "test", kit, *share_of(small, 1), *share_of(small, 2, out="other"), code=12)
    assert "1 of the 2 shares given belong to another kit" in foreign.err
    page = small.root / "out" / "shares" / "share-1-of-3.pdf"
    assert "page to print" in small.dr("kit", "test", kit, "--share", str(page), code=2).err
    altered = small.root / "altered.txt"
    text = (small.root / "out" / "shares" / "share-2-of-3.txt").read_text()
    altered.write_text(re.sub(r"\b9 (\w+)", lambda ninth: "9 acid" if ninth[1] == "academic" else "9 academic", text))
    wrong = small.dr("kit", "test", kit, *share_of(small, 1), "--share", str(altered), code=12)
    assert "checksum does not hold" in wrong.err
    (small.root / "out" / "kit" / "by-hand.txt").write_text("rm -rf /\n")
    damaged = small.dr("kit", "test", kit, *share_of(small, 1, 2), code=1)
    assert "by-hand.txt was altered" in damaged.err
    assert "no recovery kit here" in small.dr("kit", "test", str(small.root / "source"), code=2).err
    records = [json.loads(row) for row in _bodies(small)]
    assert [record["outcome"] for record in records if record["act"] == "tested"] == ["degraded", *["failed"] * 3]


def _bodies(site: Site) -> list[str]:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(site.root / "state" / "catalog.sqlite")) as db:
        return [row[0] for row in db.execute("select body from evidence where kind = 'kit' order by seq")]


def test_a_repository_that_the_kit_cannot_open_fails_the_test(small: Site) -> None:
    """Negative control of `opened`: take the keys away that the kit opens the repositories by."""
    make(small)
    for name in ("disk", "vault"):
        for key in (small.root / name / "share" / "keys").iterdir():
            key.unlink()
    (told,) = small.dr("kit", "test", str(small.root / "out"), *share_of(small, 1, 2), "--json", code=1).document[
        "kits"
    ]
    assert told["outcome"] == "failed" and not any(each["opened"] for each in told["repositories"])


@pytest.mark.slow
def test_a_lost_custodian_is_replaced_and_old_shares_open_no_escrow_key_any_more(small: Site) -> None:
    make(small)
    old = [shares.parse(path.read_text()) for path in sorted((small.root / "out" / "shares").glob("*.txt"))]
    then = shares.combine(old[:2])
    sealed = (small.root / "state" / "escrow" / "share@disk.age").read_bytes()
    passphrase = age.unseal(sealed, then).decode().strip()
    assert _opens(small, "disk", passphrase)
    refused = small.dr(
        "kit", "--custodian", "A", "--custodian", "B", "--threshold", "2", "-o", str(small.root / "x"), code=2
    )
    assert "custodians hold it already" in refused.err
    named = ["--custodian", "Superintendent", "--custodian", "Treasurer", "--threshold", "2"]
    ran = small.dr("kit", "replace", str(small.root / "out"), *named, "-o", str(small.root / "next"))
    assert "open what was sealed before today" in ran.out
    assert not _opens(small, "disk", passphrase), "the escrow key that old shares opened is gone"
    new = [shares.parse(path.read_text()) for path in sorted((small.root / "next" / "shares").glob("*.txt"))]
    now = shares.combine(new)
    fresh = (small.root / "state" / "escrow" / "share@disk.age").read_bytes()
    assert _opens(small, "disk", age.unseal(fresh, now).decode().strip())
    newest = sorted((small.root / "vault" / "_control").iterdir())[-1].read_bytes()
    age.unseal(newest, now)
    with pytest.raises(Exception, match="does not open"):
        age.unseal(newest, then)
    given = [
        "--share",
        str(small.root / "next/shares/share-1-of-2.txt"),
        "--share",
        str(small.root / "next/shares/share-2-of-2.txt"),
    ]
    assert small.dr("kit", "test", str(small.root / "next"), *given, "--json").document["kits"][0]["outcome"] == "ok"
    assert small.dr("verify", "share", "--level", "2").code == 0, "a key that was taken away is not a damage"
    same = ["--same-identity", *named, "-o", str(small.root / "third")]
    small.dr("kit", "replace", str(small.root / "next"), *given, *same)
    third = [shares.parse(path.read_text()) for path in sorted((small.root / "third" / "shares").glob("*.txt"))]
    assert shares.combine(third) == now


@pytest.mark.slow
def test_a_target_that_is_down_gets_its_new_escrow_key_with_the_next_backup(small: Site) -> None:
    (small.root / "vault").rename(small.root / "gone")
    (small.root / "vault").write_text("a file where a directory was\n")
    named = ["--custodian", "A", "--custodian", "B", "--custodian", "C", "--threshold", "2"]
    (kit,) = small.dr("kit", "replace", *named, "-o", str(small.root / "out"), "--json", code=3).document["kits"]
    assert kit["outcome"] == "degraded" and any("share on vault" in note for note in kit["notes"])
    assert identity_here(small.state) is None
    (small.root / "vault").unlink()
    (small.root / "gone").rename(small.root / "vault")
    small.dr("backup", "share")
    (told,) = small.dr("kit", "test", str(small.root / "out"), *share_of(small, 1, 2), "--json", code=3).document[
        "kits"
    ]
    assert {(each["target"], each["key"]) for each in told["repositories"]} == {("disk", "escrow"), ("vault", "escrow")}
    assert any("made again since" in note for note in told["notes"])


@pytest.mark.slow
def test_a_passphrase_changed_since_and_no_newer_copy_the_escrow_key_opens(small: Site) -> None:
    make(small)
    (small.root / "new-phrase").write_text("another passphrase\n")
    old = small.root / "state" / "secrets" / "share@disk.passphrase"
    argv = [small.env["DR_RESTIC"], "-r", str(small.root / "disk" / "share"), "--no-cache", "key", "passwd"]
    argv += ["--password-file", str(old), "--new-password-file", str(small.root / "new-phrase")]
    subprocess.run(argv, env=small.env, check=True, capture_output=True)
    words = ["--to", str(small.root / "new"), "--kit-only", "--json"]
    ran = elsewhere(small, "kit", "open", str(small.root / "out"), *share_of(small, 1, 2), *words)
    (opened,) = ran.document["kits"]
    assert opened["taken_from"] == "kit" and opened["notes"] == ["share on disk is opened by its escrow passphrase"]
    places = ("--config", opened["config"], "--state", opened["state"])
    assert elsewhere(small, *places, "points", "--rebuild", "--json").document["points"][0]["targets"] == [
        "disk",
        "vault",
    ]


@pytest.mark.slow
def test_killed_in_the_clean_room_nothing_of_it_is_left(small: Site) -> None:
    make(small)
    given = ["--kit", str(small.root / "out"), *share_of(small, 1, 2)]
    running = small.start("drill", "share", "--scenario", "control-loss", *given)
    room = small.root / "state" / "sandboxes"
    assert soon(lambda: list(room.glob("*/room/opened/state/catalog.sqlite")))
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert [path for path in room.iterdir() if path.is_dir()], "it was in the middle"
    small.dr("drill", "share")
    assert [path for path in room.iterdir() if path.is_dir()] == []
    outcomes = [drill["outcome"] for drill in json.loads(small.dr("report", "--format", "json").out)["drills"]]
    assert sorted(outcomes) == ["aborted", "ok"]


def _opens(site: Site, target: str, passphrase: str) -> bool:
    env = {**site.env, "RESTIC_PASSWORD": passphrase, "RESTIC_REPOSITORY": str(site.root / target / "share")}
    argv = [site.env["DR_RESTIC"], "cat", "config", "--no-lock", "--no-cache"]
    return subprocess.run(argv, env=env, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
def test_killed_while_the_kit_is_written_the_secret_is_never_lost(small: Site) -> None:
    """At every moment: the secret is on this host, or its proven shares are whole on the disk."""
    secret = identity_here(small.state)
    named = [word for role in CUSTODIANS for word in ("--custodian", role)]
    argv = ("kit", *named, "--threshold", "2", "-o", str(small.root / "out"))
    began = time.monotonic()
    clock_free = shutil.copytree(small.root / "state", small.root / "kept-state")
    small.dr(*argv)
    whole = time.monotonic() - began
    fates = set()
    for number in range(3):
        shutil.rmtree(small.root / "out", ignore_errors=True)
        shutil.rmtree(small.root / "state")
        shutil.copytree(clock_free, small.root / "state")
        running = small.start(*argv)
        time.sleep(whole * (0.55 + 0.45 * number / 3))
        running.send_signal(signal.SIGKILL)
        running.communicate()
        fates.add(_fate(small, secret))
        again = small.dr(*argv, code=None)
        assert again.code == 0 or "not empty" in again.err, again.err
        assert _fate(small, secret) == "handed over"
        assert not (small.root / ".out.unfinished").exists()
    assert fates <= {"here", "both", "handed over"}


def _fate(site: Site, secret: str | None) -> str:
    here = identity_here(site.state) == secret
    files = sorted((site.root / "out" / "shares").glob("*.txt"))
    there = len(files) == 3 and shares.combine([shares.parse(path.read_text()) for path in files]) == secret
    assert here or there, "the secret is lost"
    return "both" if here and there else "here" if here else "handed over"


@pytest.mark.slow
def test_by_hand_without_this_program_the_kit_and_plain_restic_suffice(district: Site) -> None:
    make(district)
    kit, place = district.root / "out" / "kit", district.root / "hand"
    place.mkdir()
    files = [str(district.root / "out" / "shares" / f"share-{n}-of-3.txt") for n in (3, 2)]
    combine = [sys.executable, str(kit / "combine.py"), *files]
    identity = subprocess.run(
        combine, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}
    ).stdout
    assert "pip install shamir-mnemonic" in (kit / "README.txt").read_text()
    plain = age.unseal((kit / "sealed" / "self-copy.age").read_bytes(), identity)  # as `age -d` does
    subprocess.run(["sh", "-c", "tail -n +2 | tar xz"], input=plain, cwd=place, check=True)
    lines = (kit / "by-hand.txt").read_text().split("# share on disk")[0]
    listed = lines.replace("restic snapshots --no-lock", "restic snapshots --no-lock --json --tag dr-part=data")
    env = {"PATH": f"{Path(district.env['DR_RESTIC']).parent}:{os.environ['PATH']}", "HOME": str(place)}
    script = re.sub(r"restic restore .*", "", listed).replace("restic ", "restic --no-cache ")
    told = subprocess.run(["sh", "-eu", "-c", script], cwd=place, env=env, capture_output=True, text=True, check=True)
    (snapshot,) = json.loads(told.stdout)
    back = lines.replace("SNAPSHOT", snapshot["id"]).replace("/srv/recovered", str(place / "back"))
    subprocess.run(
        ["sh", "-eu", "-c", back.replace("restic ", "restic --no-cache ")],
        cwd=place,
        env=env,
        check=True,
        capture_output=True,
    )
    assert [path.read_text() for path in (place / "back").rglob("letter.txt")] == ["the first\n"]


@pytest.mark.slow
def test_what_cannot_be_is_refused_before_anything_is_touched(small: Site) -> None:
    out = str(small.root / "out")
    for words, problem in (
        ((), "neither custodians nor a threshold"),
        (("--custodian", "A", "-o", out), "no threshold"),
        (("--custodian", "A", "--custodian", "A", "--threshold", "2", "-o", out), "stands twice"),
        (("--custodian", "A", "--custodian", "B", "--threshold", "1", "-o", out), "each custodian alone"),
        (("--custodian", "A", "--custodian", "B", "--threshold", "3", "-o", out), "cannot be"),
        (("--custodian", "A", "--threshold", "1"), "no directory"),
        (("--custodian", "A", "--threshold", "1", "-o", str(small.root / "source")), "not empty"),
    ):
        assert problem in small.dr("kit", *words, code=2).err
    assert identity_here(small.state) and not (small.root / "out").exists()
    (small.root / "config" / "kit.yaml").write_text("custodians: [A, B]\ntreshold: 2\n")
    assert "kit.yaml:2" in small.dr("kit", "-o", out, code=2).err
    (small.root / "config" / "kit.yaml").write_text("custodians: [A, B, C]\nthreshold: 2\npaper: Letter\n")
    kit: Any = small.dr("kit", "-o", out, "--json").document["kits"][0]
    assert kit["custodians"] == ["A", "B", "C"] and "kit.yaml" in {
        p.name for p in (small.root / "out" / "kit").iterdir()
    }
