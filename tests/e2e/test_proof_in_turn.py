"""A repository that is too large to be read whole each day: what is read in turn, what is found when, what is claimed."""

from __future__ import annotations

import os
import re
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dr.errors import TargetDownError
from dr.evidence.record import Damage, Proof
from dr.evidence.stored_object import HeldObjects, micros
from dr.operations.verify import verify_one
from dr.run.verification import object_hashes
from dr.run.verification.rotation import share_of
from dr.session import Session
from dr.tools.disk import DiskStore
from tests.conftest import Site, plan_text
from tests.e2e.expiring import RETENTION, Expiring, expiration
from tests.e2e.forgetful import DAY, Story
from tests.targets.places import Place, make

IN_TURN = "proof: {whole_within: 4d, budget: 500KB}\n"


class Turns(Story):
    """A system on one target, read in turn."""

    place: Place

    def declare(self, place: Place, more: str = IN_TURN) -> None:
        root, self.place = self.site.root, place
        (root / "source").mkdir(exist_ok=True)
        source = f"docs: {{files: {{paths: [{root}/source]}}}}"
        self.site.plan("share", plan_text("share", source, targets="[place]", more=more))
        self.site.target("place", place.text("place"))

    def proof(self, level: int = 2, *, whole: bool = False, days: int = 1) -> Proof:
        """Verify, so many days later."""
        self.now += days * DAY
        with closing(self.session) as session:
            (done,) = verify_one(session, session.chosen(["share"])[0], level=level, whole=whole)
        return done.record

    def rows(self, session: Session) -> dict[str, Any]:
        return dict(session.catalog.stored_objects("share", "place").in_order())

    def packs(self) -> list[str]:
        """The large packs, what was read last at the end."""
        with closing(self.session) as session:
            rows = self.rows(session)
        large = [name for name, item in rows.items() if name.startswith("data/") and (item.size or 0) > 100_000]
        return sorted(large, key=lambda name: (rows[name].read or 0, name))

    def rot(self, name: str) -> None:
        """Spoil an object so that the place lists it as before."""
        path = self.place.files / "share" / name if self.place.files else None
        if path and self.place.key != "rest":
            times = path.stat()
            self.place.damage(f"share/{name}")
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
            return
        self.place.damage(f"share/{name}")
        with closing(self.session) as session:
            before = self.rows(session)
            item = next(x for x in self.place.driver().open().store.child("share").list() if x.name == name)
            as_now = before[name]._replace(modified=micros(item.modified), version=item.version)
            session.catalog.keep_stored_objects("share", "place", HeldObjects({**before, name: as_now}))


@pytest.fixture
def turns(site: Site) -> Turns:
    return Turns(site)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["local", "s3", "rest"])
def test_damage_is_found_the_same_day_where_it_is_listed_and_within_the_bound_where_it_is_not(
    key: str, turns: Turns, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    turns.declare(make(key, request, tmp_path))
    for _ in range(5):
        turns.backup()
    first = turns.proof(whole=True)
    assert first.coverage and (first.level_reached, first.coverage.read_objects) == (2, first.coverage.objects)
    for _ in range(4):  # nothing is damaged: each day a part is read, and it is level 2 all the same
        proof = turns.proof()
        assert proof.coverage and (proof.outcome, proof.level_reached, proof.damage) == ("ok", 2, ())
        assert 0 < proof.objects == proof.coverage.read_objects < proof.coverage.objects
        assert proof.coverage.oldest_read and timedelta() < turns.now - proof.coverage.oldest_read <= 4 * DAY
    assert proof.coverage.oldest_read > first.started, "all was read once more"

    harmed = turns.packs()[-1]  # it was just read: it is not its turn
    turns.place.damage(f"share/{harmed}")
    found = turns.proof()
    if key == "rest":  # it lists sizes, and no times
        assert found.outcome == "ok" and turns.packs()[-1] != harmed
        turns.place.damage(f"share/{harmed}")
    else:
        assert (found.outcome, found.damage) == ("failed", (Damage(object=harmed, problem="corrupt"),))
        assert found.damaged_points and turns.proof().damage == found.damage, "as long as it is so"
        turns.place.damage(f"share/{harmed}")  # flipped back: it is whole again
    healed = turns.proof()
    assert (healed.outcome, healed.level_reached, healed.damage) == ("ok", 2, ())

    harmed, began = turns.packs()[-1], turns.now
    turns.rot(harmed)
    while not (found := turns.proof()).damage:
        assert found.level_reached == 2 and turns.now - began < 4 * DAY, "it is found within the bound"
    assert found.damage == (Damage(object=harmed, problem="corrupt"),)


def test_what_was_not_read_within_the_bound_is_not_called_proven(turns: Turns, tmp_path: Path) -> None:
    turns.declare(Place("local", {"path": str(tmp_path / "d")}, elsewhere={}, gone={}, files=tmp_path / "d"))
    for _ in range(3):
        turns.backup()
    first = turns.proof()
    seen = first.coverage
    assert seen and (first.outcome, first.level_reached, seen.oldest_read) == ("degraded", 1, None)
    assert seen.read_bytes <= 500_000 < seen.bytes == seen.read_bytes + seen.unread_bytes
    assert "still to be read: level 2 asks that all is read within 4 d" in (first.error or "")
    while (proof := turns.proof(level=3)).level_reached < 2:
        assert proof.coverage and proof.coverage.read_objects, "it gets on"
    assert (proof.outcome, proof.level_reached) == ("ok", 3)
    late = turns.proof(days=30)
    assert late.coverage and (late.outcome, late.level_reached) == ("degraded", 1)
    assert "read longer than 4 d ago" in (late.error or "") and "--whole" in late.error_hint
    (done,) = turns.site.dr("verify", "share", "--whole", "--json").document["proofs"]
    assert (done["outcome"], done["level_reached"], done["share"]) == ("ok", 3, "1/1")
    assert done["coverage"]["read_objects"] == done["coverage"]["objects"] == done["objects"]
    assert done["coverage"]["whole_within_seconds"] == 4 * 86_400 and done["coverage"]["oldest_read"]
    site = turns.site
    assert not site.dr("verify", "share", "--level", "1", "--json").document["proofs"][0]["coverage"]
    told = f"read within 4 d, oldest {done['coverage']['oldest_read'][:10]}"
    assert f"what place holds: {told}" in site.dr("status", "share", code=None).out
    (place,) = site.dr("status", "--json", code=None).document["systems"][0]["places"]
    assert (place["oldest_read"], place["unread_objects"]) == (done["coverage"]["oldest_read"], 0)
    assert told in site.dr("report", "--format", "md").out
    stored = f'dr_target_stored_bytes{{system="share",target="place"}} {float(done["coverage"]["bytes"])}'
    assert stored in site.dr("metrics").out


def test_a_budget_that_can_never_do_is_a_fault_once_sizes_are_known(turns: Turns, tmp_path: Path) -> None:
    place, site = Place("local", {"path": str(tmp_path / "d")}, elsewhere={}, gone={}, files=tmp_path / "d"), turns.site
    turns.declare(place, "proof: {whole_within: 4d, budget: 60KB}\n")
    site.dr("validate")
    for _ in range(3):
        turns.backup()
    turns.proof()
    said = site.dr("validate", code=2).err
    assert "the verifications read at most 60KB each, 4 within 4 d: level 2 is never reached there" in said
    assert "share.yaml:" in said
    budget, within = re.search(r"budget: \w+", said), re.search(r"whole_within: \w+", said)
    assert budget and within
    for enough in (f"whole_within: 4d, {budget[0]}", f"{within[0]}, budget: 60KB"):
        turns.declare(place, f"proof: {{{enough}}}\n")
        site.dr("validate")


def test_what_was_read_before_a_run_was_cut_off_is_not_read_again(
    turns: Turns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns.declare(Place("local", {"path": str(tmp_path / "d")}, elsewhere={}, gone={}, files=tmp_path / "d"))
    for _ in range(3):
        turns.backup()
    hashed, read = DiskStore.sha256, list[str]()

    def breaks(store: DiskStore, name: str) -> tuple[str, int]:
        if len(read) == 8:
            raise TargetDownError("the cable was pulled", hint="put it back")
        read.append(name)
        return hashed(store, name)

    monkeypatch.setattr(object_hashes, "THREADS", 1)
    monkeypatch.setattr(DiskStore, "sha256", breaks)
    assert turns.proof(whole=True).outcome == "failed"
    monkeypatch.undo()
    with closing(turns.session) as session:
        kept = {name for name, item in turns.rows(session).items() if item.read}
    assert kept and kept <= set(read)
    proof = turns.proof()
    assert proof.coverage, "the others come first"
    assert proof.coverage.unread_objects == max(0, proof.coverage.objects - proof.objects - len(kept))


def test_a_memory_that_was_lost_or_edited_proves_nothing(turns: Turns, tmp_path: Path) -> None:
    turns.declare(Place("local", {"path": str(tmp_path / "d")}, elsewhere={}, gone={}, files=tmp_path / "d"))
    for _ in range(3):
        turns.backup()
    turns.proof(whole=True)
    assert turns.proof().level_reached == 2
    for ahead in (None, micros(turns.now + 400 * DAY)):
        with closing(turns.session) as session:
            rows = turns.rows(session)
            after = {name: item._replace(read=ahead) for name, item in rows.items()} if ahead else {}
            session.catalog.keep_stored_objects("share", "place", HeldObjects(after))
        proof = turns.proof()
        assert proof.coverage and (proof.level_reached, proof.coverage.oldest_read) == (1, None)
        assert turns.proof(whole=True).level_reached == 2


def test_nothing_expires_on_a_part_of_a_proof(five: Expiring) -> None:
    five.declare(RETENTION + "proof: {whole_within: 2d, budget: 100KB}\n")
    five.now += 3 * DAY
    assert five.verify() == ["degraded"]
    found = expiration(five.expired())
    assert (found.outcome, found.expired) == ("degraded", ())
    assert any("the last verification of first was not ok" in text for text in found.blocked)
    five.now += 4 * DAY
    with closing(five.session) as session:  # a sound structure is no proof of the bytes either
        assert verify_one(session, session.chosen(["share"])[0], level=1)[0].record.outcome == "ok"
    assert any("older than" in text for text in expiration(five.expired()).blocked)
    with closing(five.session) as session:
        (done,) = verify_one(session, session.chosen(["share"])[0], level=2, whole=True)
    assert done.record.outcome == "ok" and len(expiration(five.expired()).expired) == 3


def test_restic_counts_a_pack_in_the_share_that_it_is_expected_in(turns: Turns, tmp_path: Path) -> None:
    turns.declare(Place("local", {"path": str(tmp_path / "d")}, elsewhere={}, gone={}, files=tmp_path / "d"))
    for _ in range(6):
        turns.backup()
    with closing(turns.session) as session:
        repository = session.toolbox(session.chosen(["share"])[0]).place("place").repository
    packs = list(repository._indexed_packs(repository._index_ids()))
    of_data = {pack["id"] for pack in packs if {blob["type"] for blob in pack["blobs"]} == {"data"}}
    for pack in of_data:
        turns.place.damage(f"share/data/{pack[:2]}/{pack}")
    broken = {n: set(repository.check(read_data_subset=f"{n}/3").broken_packs) for n in (1, 2, 3)}
    assert set.union(*broken.values()) == of_data and len(of_data) >= 6
    assert all(share_of(f"data/{pack[:2]}/{pack}", 3) == n for n, found in broken.items() for pack in found)
