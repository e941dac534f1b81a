"""Index damage told from data damage: what restic cannot find may all be there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.run.test_verify import stored  # noqa: F401 - a fixture


def _lose(objects: Any, name: str) -> None:
    objects.delete(name)


def _spoil(objects: Any, name: str) -> None:
    objects.put(name, b"x" + objects.get(name)[1:])


def _newest_index(site: Any, objects: Any) -> str:
    """Back up once more, and return the index file that this wrote."""
    (site.root / "source" / "newest.txt").write_text("the newest\n")
    before = set(objects.names())
    site.dr("backup", "share")
    return next(name for name in objects.names() if name not in before and name.startswith("index/"))


def _proof(site: Any, level: int, code: int) -> Any:
    (proof,) = site.dr("verify", "share", "--level", str(level), "--json", code=code).document["proofs"]
    return proof


@pytest.mark.parametrize("verified", [True, False], ids=["verified before", "never verified"])
def test_a_lost_index_makes_the_points_that_need_it_doubtful_and_no_others(
    stored: Any,  # noqa: F811
    verified: bool,
) -> None:
    site, objects = stored
    name = _newest_index(site, objects)
    if verified:
        _proof(site, 2, 0)
    _lose(objects, name)
    proof = _proof(site, 2, 1)
    newest, *older = site.dr("points", "--json").document["points"]
    assert proof["doubtful_points"] == proof["damaged_points"] == [newest["run_id"]]
    assert "the index is damaged, the data is not" in proof["error"]
    assert newest["targets"] == [] and all(point["targets"] for point in older), "they can be recovered as ever"
    told = site.dr("verify", "share", "--level", "1", code=1).err
    assert f"dr repair share --target {proof['target']}" in told and f"--point {newest['run_id']}" in told
    assert "dr repair share" in site.dr("status", code=None).out


def test_a_spoilt_index_makes_every_point_doubtful(stored: Any) -> None:  # noqa: F811
    site, objects = stored
    name = _newest_index(site, objects)
    _spoil(objects, name)
    proof = _proof(site, 3, 1)
    assert {"object": name, "problem": "corrupt"} in proof["damage"] and proof["level_reached"] == 0
    assert len(proof["doubtful_points"]) == len(proof["damaged_points"]) == 3


def test_what_is_lost_with_the_index_is_no_doubt(stored: Any) -> None:  # noqa: F811
    site, objects = stored
    _lose(objects, _newest_index(site, objects))
    _lose(objects, max(site.later, key=lambda name: len(objects.get(name))))
    proof = _proof(site, 2, 1)
    newest, second, oldest = [point["run_id"] for point in site.dr("points", "--json").document["points"]]
    assert set(proof["damaged_points"]) >= {newest, second} and proof["doubtful_points"] == []
    assert oldest not in proof["damaged_points"]


def test_the_newest_point_comes_back_when_the_index_of_what_older_ones_stored_is_lost(stored: Any) -> None:  # noqa: F811
    """restic finds the folders of the newest then, and not what is in its older files: it has other words for that."""
    site, objects = stored
    newest = _newest_index(site, objects)
    for lost in {name for name in objects.names() if name.startswith("index/")} - {newest}:
        _lose(objects, lost)
    run_id = site.dr("points", "--json").document["points"][0]["run_id"]
    ran = site.dr("recover", "share", "--to", str(site.root / "back"), "--yes", "--because", "a test", code=3)
    assert "going on with the copy on" in ran.err and "with its index made again beside it" in ran.err
    assert "older point" not in ran.err and run_id in ran.out
    for path in (path for path in (site.root / "source").rglob("*") if path.is_file()):
        assert (site.root / "back" / "docs" / str(path)[1:]).read_bytes() == path.read_bytes()
