"""A whole trip as typed, on every kind of target: a plan, points, proofs, a drill, copies, and a catalog made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Site, plan_text
from tests.targets.places import every_kind, make


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
    told = site.dr("target", "check", "place", "--json", code=None).document["targets"][0]
    assert told["findings"] and told["outcome"] in ("ok", "degraded")


def test_a_kind_that_is_not_known_is_an_unknown_key(site: Site) -> None:
    site.target("place", "target: place\ncupboard: {shelf: /srv/cupboard}\n")
    ran = site.dr("validate", code=2)
    assert "unknown key 'cupboard'" in ran.err + ran.out
