"""A source of many files: its manifest is stored in parts, and every verb reads it as if it were one file."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dr.evidence.manifest_parts import assemble
from tests.conftest import Site, plan_text

FILES = 900  # with such names, a manifest of more than 256 KiB


@pytest.fixture
def share(site: Site) -> Site:
    """A plan whose excludes would leave out the parts as well; one backup."""
    top = site.root / "source"
    top.mkdir()
    for number in range(FILES):
        name(site, number).write_text(f"file {number}")
    for target in ("disk", "vault"):
        site.target(target, f"target: {target}\nlocal: {{path: {site.root}/{target}}}\n")
    source = f'docs: {{files: {{paths: [{top}], exclude: ["base", "delta*", "head", "*.tmp"]}}}}'
    site.plan("share", plan_text("share", source, targets="[disk, vault]"))
    backup(site)
    return site


def name(site: Site, number: int) -> Path:
    return site.root / "source" / f"{number:03d}{'-long' * 24}"


def backup(site: Site) -> dict[str, Any]:
    run: dict[str, Any] = site.dr("backup", "share", "--json").document["runs"][0]
    assert run["outcome"] == "ok" and run["sources"][0]["files"] in range(FILES - 5, FILES + 5)
    return run


def drill(site: Site, run_id: str, *more: str, code: int = 0) -> dict[str, Any]:
    told = site.dr("drill", "share", "--point", run_id, "--json", *more, code=code)
    found: dict[str, Any] = told.document["drills"][0]
    return found


def restic(site: Site, target: str, *arguments: str) -> str:
    env = {
        "PATH": os.environ["PATH"], "RESTIC_REPOSITORY": f"{site.root}/{target}/share",
        "RESTIC_PASSWORD_FILE": f"{site.root}/state/secrets/share@{target}.passphrase",
        "RESTIC_CACHE_DIR": str(site.root / "plain-cache"),
    }  # fmt: skip
    argv = [site.env["DR_RESTIC"], *arguments]
    return subprocess.run(argv, env=env, check=True, capture_output=True, text=True).stdout


def stored(site: Site, target: str, run: dict[str, Any]) -> Path:
    """What plain restic brings of a point's manifest."""
    to = site.root / f"plain-{target}-{run['run_id']}"
    restic(site, target, "restore", "--tag", f"dr-run={run['run_id']}", "latest", "--target", str(to), "--include", "/dr-manifest")  # fmt: skip
    return to / "dr-manifest"


def packs(site: Site) -> set[Path]:
    return {path for path in (site.root / "disk" / "share" / "data").rglob("*") if path.is_file()}


def test_every_verb_reads_a_manifest_in_parts_as_one(share: Site) -> None:
    name(share, 1).write_text("another")
    name(share, 2).rename(share.root / "source" / "moved")
    second = backup(share)
    before = packs(share)
    name(share, 3).unlink()
    third = backup(share)
    for target in ("disk", "vault"):
        folder = stored(share, target, third)
        assert sorted(path.name for path in folder.iterdir()) == ["base", "delta-1", "delta-2", "head"]
        assemble(folder)
        kept = share.root / "state" / "cache" / "manifests" / "share" / "docs"
        assert folder.read_bytes() == kept.read_bytes(), "the whole, byte for byte"
    found = drill(share, third["run_id"])
    assert (found["outcome"], found["checks_verdict"], found["proof_level"]) == ("ok", "passed", 4)
    assert drill(share, third["run_id"], "--scenario", "file-loss")["outcome"] == "ok"
    to = share.root / "back"
    share.dr("recover", "share", "--to", str(to), "--yes", "--point", second["run_id"])
    assert len(list((to / "docs").rglob("*-long"))) == FILES - 1
    shutil.rmtree(share.root / "state" / "index", ignore_errors=True)
    changes = share.dr("diff", "share", second["run_id"], third["run_id"], "--json").document["changes"]
    assert [(each["path"], each["change"]) for each in changes if "-long" in each["path"]] == [
        (str(name(share, 3)), "removed")
    ]

    # The control: the pack with the delta of the third run is lost.
    (lost, *_) = [
        pack for pack in packs(share) - before if "/delta-2" in restic(share, "disk", "find", "--pack", pack.name)
    ]
    lost.chmod(0o600)
    lost.unlink()
    proofs = share.dr("verify", "share", "--level", "1", "--json", code=None).document["proofs"]
    damage = {proof["target"]: [item["problem"] for item in proof["damage"]] for proof in proofs}
    assert damage == {"disk": ["missing"], "vault": []}
    spoilt = drill(share, third["run_id"], "--target", "disk", code=3)
    (check,) = spoilt["checks"]
    assert (check["outcome"], spoilt["proof_level"]) == ("failed", 0), "never read as fewer files"
    assert "missing or altered" in check["observed"]
    assert drill(share, second["run_id"], "--target", "disk")["outcome"] == "ok", "it needs no later delta"


def test_a_new_machine_and_a_target_that_comes_later_have_manifests_of_their_own(share: Site) -> None:
    shutil.rmtree(share.root / "state" / "cache")
    for path in (share.root / "state").glob("catalog.sqlite*"):
        path.unlink()
    share.dr("points", "rebuild", code=None)
    name(share, 4).write_text("changed")
    third = backup(share)
    assert sorted(path.name for path in stored(share, "disk", third).iterdir()) == ["base", "head"]
    share.target("late", f"target: late\nlocal: {{path: {share.root}/late}}\n")
    plan = share.root / "config" / "plans" / "share.yaml"
    plan.write_text(plan.read_text().replace("[disk, vault]", "[disk, vault, late]"))
    name(share, 5).write_text("changed")
    fourth = backup(share)
    assert drill(share, fourth["run_id"], "--target", "late")["outcome"] == "ok"
    assert sorted(path.name for path in stored(share, "late", fourth).iterdir()) == ["base", "delta-1", "head"]


def test_one_file_comes_back_into_a_directory_and_in_place(share: Site) -> None:
    wanted = name(share, 7)
    wanted.write_text("of today")
    asked = ("recover", "share", "--path", wanted.name, "--yes")
    share.dr(*asked, "--to", str(share.root / "to"))
    assert [path.read_text() for path in (share.root / "to").rglob("*") if path.is_file()] == ["file 7"]
    share.dr(*asked, "--in-place")
    assert wanted.read_text() == "file 7"
