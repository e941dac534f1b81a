"""From the recovery kit alone: on an empty machine each kind of target elsewhere is opened, and gives its points back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Site, plan_text
from tests.e2e import test_kit as kits
from tests.targets.places import make


@pytest.mark.slow
def test_on_an_empty_machine_the_kit_opens_a_target_of_each_kind(
    site: Site, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source = site.root / "source"
    source.mkdir()
    (source / "letter.txt").write_text("the first\n")
    secret = site.root / "config" / "login"
    secret.parent.mkdir(exist_ok=True)
    for key in ("sftp", "rest", "rclone"):
        place = make(key, request, tmp_path)
        if key == "rest":
            shutil.copy(place.declared["password"]["file"], secret)
            place.declared["password"] = {"file": str(secret)}
        site.env |= place.env
        site.target(key, place.text(key))
        site.plan(f"of-{key}", plan_text(f"of-{key}", f"docs: {{files: {{paths: [{source}]}}}}", targets=f"[{key}]"))
    site.escrow(True)
    site.dr("backup", "--all")
    kits.make(site)
    (source / "letter.txt").write_text("the second\n")
    site.dr("backup", "--all")
    for path in (site.root / "config", site.root / "state", source, *tmp_path.glob("place-*/own, keys")):
        path.rename(path.with_name(f"lost {path.name}"))
    for path in tmp_path.glob("place-*/rclone.conf"):
        path.unlink()
    new = site.root / "new"
    kits.elsewhere(site, "kit", "open", str(site.root / "out"), *kits.share_of(site, 1, 2), "--to", str(new))
    places = ("--config", str(new / "config"), "--state", str(new / "state"))
    points = kits.elsewhere(site, *places, "points", "rebuild", "--json").document["points"]
    assert sorted(point["targets"][0] for point in points) == ["rclone", "rclone", "rest", "rest", "sftp", "sftp"]
    for key in ("sftp", "rest", "rclone"):
        back = site.root / f"back-{key}"
        kits.elsewhere(site, *places, "recover", f"of-{key}", "--to", str(back), "--yes")
        assert [path.read_text() for path in back.rglob("letter.txt")] == ["the second\n"], key
