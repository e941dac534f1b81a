"""A whole trip as typed, on every kind of target: a plan, points, proofs, a drill, copies, and a catalog made again."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from scripts.servers.sshd import Sshd, make_key
from tests.conftest import Site, plan_text
from tests.targets.places import every_kind, make
from tests.waiting import soon


@pytest.mark.slow
@pytest.mark.parametrize("key", every_kind("s3", "local"))  # these two are what all other tests use
def test_a_kind_is_used_in_a_plan_from_first_to_last(
    key: str, kinds_site: Site, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    site, place = kinds_site, make(key, request, tmp_path)
    site.env |= place.env
    root = site.root
    site.target("place", place.text("place"))
    site.target("disk", f"target: disk\nlocal: {{path: {root}/disk}}\n")
    site.plan(
        "share",
        plan_text(
            "share", f"docs: {{files: {{paths: [{root}/source]}}}}", targets="[place]", more="replicas: [disk]\n"
        ),
    )
    site.plan(
        "other",
        plan_text(
            "other", f"docs: {{files: {{paths: [{root}/source]}}}}", targets="[disk]", more="replicas: [place]\n"
        ),
    )
    site.dr("validate")
    site.dr("backup", "--all")
    proof = site.dr("verify", "share", "--level", "3", "--json").document["proofs"][0]
    assert (proof["target"], proof["level_reached"], proof["outcome"], proof["damage"]) == ("place", 3, "ok", [])
    assert site.dr("drill", "share", "--json").document["drills"][0]["checks_verdict"] == "passed"
    site.dr("replicate", "--all")
    copied = site.dr("drill", "other", "--target", "place", "--json").document["drills"][0]
    assert (copied["target"], copied["checks_verdict"]) == ("place", "passed")
    before = {point["run_id"] for point in site.dr("points", "--json").document["points"]}
    (root / "state" / "catalog.sqlite").unlink()
    site.dr("points", "--rebuild")
    assert {point["run_id"] for point in site.dr("points", "--json").document["points"]} == before
    index = next(place.driver().open().store.child("share").list("index/"))
    place.damage(f"share/{index.name}")
    assert site.dr("verify", "share", code=1).err
    mended = site.dr("repair", "share", "--target", "place", "--json").document["repairs"][0]
    assert mended["outcome"] == "ok" and mended["level_reached"] >= 2
    told = site.dr("target", "check", "place", "--json", code=None).document["targets"][0]
    assert told["findings"] and told["outcome"] in ("ok", "degraded")


@pytest.mark.slow
@pytest.mark.parametrize("key", every_kind("s3", "local", "cupboard"))  # a process of its own knows no toy
def test_old_points_go_from_every_kind_also_after_a_kill(
    key: str, kinds_site: Site, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    site, place = kinds_site, make(key, request, tmp_path)
    site.env |= place.env
    site.target("place", place.text("place"))
    source = f"docs: {{files: {{paths: [{site.root}/source]}}}}"
    keep = "retention: {last: 1, daily: 0, weekly: 0, monthly: 0, yearly: 0}\n"
    waits = f"[sh, -c, 'touch {site.root}/begun; exec sleep 1000']"
    site.plan("share", plan_text("share", source, targets="[place]", more=keep))
    site.dr("backup", "share")
    site.plan(
        "share", plan_text("share", source, targets="[place]", more=keep + f"hooks: {{capture: {{before: {waits}}}}}\n")
    )
    running = site.start("backup", "share")
    assert soon(lambda: (site.root / "begun").exists())
    running.kill()
    running.communicate()
    (site.root / "source" / "0.txt").write_text("another\n")
    site.plan("share", plan_text("share", source, targets="[place]", more=keep))
    site.dr("backup", "share")
    assert site.dr("verify", "share", "--json").document["proofs"][0]["level_reached"] == 3
    newest, first = (point["run_id"] for point in site.dr("points", "--json").document["points"])
    (done,) = site.dr("expire", "share", "--confirm-many", "--json").document["expirations"]
    assert [point["run_id"] for point in done["expired"]] == [first] and done["pruned"] and done["outcome"] == "ok"
    drill = site.dr("drill", "share", "--json").document["drills"][0]
    assert (drill["run_id"], drill["checks_verdict"]) == (newest, "passed")
    (site.root / "state" / "catalog.sqlite").unlink()
    site.dr("points", "rebuild")
    assert [point["run_id"] for point in site.dr("points", "--json").document["points"]] == [newest]


def test_a_kind_that_is_not_known_is_an_unknown_key(site: Site) -> None:
    site.target("place", "target: place\ncupboard: {shelf: /srv/cupboard}\n")
    ran = site.dr("validate", code=2)
    assert "unknown key 'cupboard'" in ran.err + ran.out


@pytest.mark.slow
def test_a_host_over_sftp_that_cannot_be_used_is_said_in_one_sentence(site: Site, sshd: Sshd) -> None:
    root = site.root
    (root / "source").mkdir()
    (root / "source" / "a.txt").write_text("a\n")
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{root}/source]}}}}", targets="[far]"))
    (root / "nobody").write_text("")
    make_key(root / "stranger")
    whole = {"ssh": sshd.address, "path": f"{root}/far", "known_hosts": f"{sshd.known_hosts}", "key": f"{sshd.key}"}
    for changed, code, said in (
        ({"known_hosts": f"{root}/nobody"}, 12, "the host is unknown"),
        ({"key": f"{root}/stranger"}, 12, "does not let"),
        ({"ssh": f"{sshd.user}@127.0.0.1:9"}, 1, "cannot be reached"),
        ({"path": f"{root}/not/there"}, 1, "the directory is not there"),
    ):
        site.target("far", yaml.safe_dump({"target": "far", "sftp": {**whole, **changed}}))
        ran = site.dr("backup", "share", code=code)
        assert said in ran.err, ran.err
        assert "far" in site.dr("doctor", code=None).out
