"""Looking makes nothing: not even the directory of a target that is gone."""

from __future__ import annotations

import shutil

import pytest

from tests.conftest import Site

_LOOKING = (
    ("doctor", 1),
    ("target check", 0),
    ("audit --targets", 1),
    ("keys list", 1),
    ("verify share", 1),
    ("drill share", 1),
    ("repair share", 1),
    ("backup share", 1),
)


def test_a_target_that_is_gone_is_told_and_never_made_again_by_who_looks(files_site: Site) -> None:
    files_site.dr("doctor")
    places = [files_site.root / name for name in ("disk", "vault")]
    assert not any(place.exists() for place in places)
    for _ in range(2):
        files_site.dr("backup", "share")
    assert all(place.stat().st_mode & 0o777 == 0o700 for place in places)
    for place in places:
        shutil.rmtree(place)
    for typed, code in _LOOKING:
        seen = files_site.dr(*typed.split(), code=code)
        assert not any(place.exists() for place in places), typed
        assert code == 0 or "gone" in seen.out + seen.err or "no repository is there" in seen.err, typed
        if "verify" in typed:
            assert seen.err.count("Mount its disk") == 2, "once a target, not once a snapshot"
            assert seen.err.count("is missing") == 6


@pytest.mark.parametrize("was", ["empty", "another"])
def test_a_target_that_holds_another_repository_or_none_is_not_well_for_doctor(files_site: Site, was: str) -> None:
    files_site.dr("backup", "share")
    (there := files_site.root / "disk" / "share").rename(files_site.root / "aside")
    if was == "another":
        shutil.copytree(files_site.root / "vault" / "share", there)
    found = {each["what"]: each for each in files_site.dr("doctor", "--json", code=1).document["findings"]}
    said = found["share on disk"]
    assert said["outcome"] == "failed" and ("gone" if was == "empty" else "another repository") in said["observed"]
    assert "mount its disk" in said["hint"] and found["share on vault"]["outcome"] == "ok"
