"""Proof: each kind of damage found, named, and told from the others; on a bucket and on a disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Site, plan_text


class Disk:
    """The repository's objects in a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root / "disk" / "share"

    def names(self) -> list[str]:
        return [p.relative_to(self.root).as_posix() for p in self.root.rglob("*") if p.is_file()]

    def get(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def put(self, name: str, data: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def delete(self, name: str) -> None:
        (self.root / name).unlink()


class Bucket:
    """The repository's objects in a bucket."""

    def __init__(self, client: Any, bucket: str) -> None:
        self.client, self.bucket, self.prefix = client, bucket, "dr/share/"

    def names(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix).get("Contents", [])
        return [item["Key"][len(self.prefix) :] for item in found]

    def get(self, name: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.bucket, Key=self.prefix + name)["Body"].read())

    def put(self, name: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=self.prefix + name, Body=data)

    def delete(self, name: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=self.prefix + name)


@pytest.fixture(params=["disk", "offsite"])
def stored(request: pytest.FixtureRequest, files_site: Site) -> Any:
    site = files_site
    target = request.param
    if target == "offsite":
        s3, bucket = request.getfixturevalue("s3"), request.getfixturevalue("bucket")
        keys = s3.write_keys(site.root / "keys")
        site.target(
            target,
            f"target: offsite\ns3: {{endpoint: '{s3.endpoint}', bucket: {bucket}, prefix: dr, credentials: {{file: {keys}}}}}\n",
        )
        objects: Disk | Bucket = Bucket(s3.client(), bucket)
    else:
        objects = Disk(site.root)
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{site.root}/source]}}}}", targets=f"[{target}]"))
    site.dr("backup", "share")
    (site.root / "source" / "later.bin").write_bytes(os.urandom(400_000))
    before = set(objects.names())
    site.dr("backup", "share")
    site.later = [n for n in objects.names() if n not in before and n.startswith("data/")]  # type: ignore[attr-defined]
    return site, objects


def _proof(site: Site, level: int, code: int) -> Any:
    (proof,) = site.dr("verify", "share", "--level", str(level), "--json", code=code).document["proofs"]
    return proof


def _largest(objects: Any, names: list[str]) -> str:
    return max(names, key=lambda name: len(objects.get(name)))


HARM: dict[str, Callable[[Any, str], None]] = {
    "corrupt": lambda o, n: o.put(n, o.get(n)[:500] + bytes([o.get(n)[500] ^ 1]) + o.get(n)[501:]),
    "truncated": lambda o, n: o.put(n, o.get(n)[:-100]),
    "missing": lambda o, n: o.delete(n),
}


def _flip(objects: Any, name: str) -> None:
    *all_but_last, last = objects.get(name)
    objects.put(name, bytes([*all_but_last, last ^ 1]))


@pytest.mark.slow
@pytest.mark.parametrize("problem", sorted(HARM))
def test_damage_is_named_and_turns_off_exactly_the_points_that_need_it(stored: Any, problem: str) -> None:
    site, objects = stored
    assert _proof(site, 3, 0)["level_reached"] == 3
    name = _largest(objects, site.later)
    HARM[problem](objects, name)
    proof = _proof(site, 2, 1)
    assert proof["damage"] == [{"object": name, "problem": problem}]
    newer, older = site.dr("points", "--json").document["points"]
    assert proof["damaged_points"] == [newer["run_id"]]
    assert (newer["proof_level"], newer["targets"]) == (0, [])
    assert older["proof_level"] == 3 and older["targets"]
    drill = site.dr("drill", "share", "--json").document["drills"][0]
    assert (drill["run_id"], drill["outcome"]) == (older["run_id"], "ok"), "the damaged point is passed over"


@pytest.mark.slow
def test_an_object_that_nothing_names_is_listed_and_harms_nothing(stored: Any) -> None:
    site, objects = stored
    junk = os.urandom(1000)
    digest = hashlib.sha256(junk).hexdigest()
    objects.put(f"data/{digest[:2]}/{digest}", junk)
    proof = _proof(site, 2, 0)
    assert proof["damage"] == [{"object": f"data/{digest[:2]}/{digest}", "problem": "unreferenced"}]
    assert (proof["outcome"], proof["level_reached"]) == ("ok", 2)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["config", "keys/", "index/", "snapshots/"])
def test_damage_to_what_opens_the_repository_is_named_too(stored: Any, part: str) -> None:
    site, objects = stored
    _proof(site, 2, 0)
    name = next(n for n in objects.names() if n.startswith(part))
    _flip(objects, name)
    proof = _proof(site, 2, 1)
    assert name in [item["object"] for item in proof["damage"]]
    assert proof["level_reached"] == 0 and proof["damaged_points"]


def test_what_restic_cannot_open_is_told_with_its_reason_and_a_way_on_where_no_hash_was_known(files_site: Site) -> None:
    """The name of `config` is no hash: only a proof before tells what it was."""
    files_site.dr("backup", "share")
    objects = Disk(files_site.root)
    for part, told, way in (
        ("config", "the repository's `config` is damaged", "put back the `config`"),
        ("snapshots/", "failed to load snapshot", "run `dr verify share --level 2`, which names the damaged objects"),
    ):
        name = next(n for n in objects.names() if n.startswith(part))
        whole = objects.get(name)
        _flip(objects, name)
        ran = files_site.dr("verify", "share", "--level", "1", code=1)
        assert told in ran.err and way in ran.err.replace("Put", "put").replace("Run", "run"), ran.err
        objects.put(name, whole)


def test_a_missing_object_is_found_without_any_memory(files_site: Site) -> None:
    files_site.dr("backup", "share")
    objects = Disk(files_site.root)
    name = _largest(objects, [n for n in objects.names() if n.startswith("data/")])
    objects.delete(name)
    proofs = files_site.dr("verify", "share", "--level", "1", "--json", code=1).document["proofs"]
    assert proofs[0]["damage"] == [{"object": name, "problem": "missing"}]
    assert proofs[1]["outcome"] == "ok"


def test_what_a_killed_restic_left_half_written_is_no_damage(files_site: Site) -> None:
    files_site.dr("backup", "share")
    objects = Disk(files_site.root)
    left = [f"data/{start}/{start * 32}-tmp-2660615555" for start in ("ab", "cd")]
    for name in left:
        objects.put(name, b"half")
    for _ in range(2):
        proof = next(p for p in files_site.dr("verify", "share", "--json").document["proofs"] if p["target"] == "disk")
        assert proof["damage"] == [{"object": name, "problem": "unreferenced"} for name in left]
        assert (proof["outcome"], proof["level_reached"]) == ("ok", 3), proof
    for name in left:
        objects.delete(name)
    assert files_site.dr("verify", "share", "--json").document["proofs"][0]["damage"] == []


def test_a_target_without_a_repository_is_a_failed_proof(files_site: Site) -> None:
    ran = files_site.dr("verify", "share", "--json", code=1)
    assert "run `dr backup` first" in ran.out or "no repository" in ran.err


def test_a_stray_object_may_be_cleaned_away(stored: Any) -> None:
    """It was listed once; that nothing names it is no reason to miss it for ever."""
    site, objects = stored
    junk = os.urandom(1000)
    digest = hashlib.sha256(junk).hexdigest()
    name = f"data/{digest[:2]}/{digest}"
    objects.put(name, junk)
    assert [item["problem"] for item in _proof(site, 2, 0)["damage"]] == ["unreferenced"]
    objects.delete(name)
    proof = _proof(site, 2, 0)
    assert (proof["damage"], proof["outcome"], proof["level_reached"]) == ([], "ok", 2)
