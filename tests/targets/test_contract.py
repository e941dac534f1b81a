"""The contract of every kind of target: its declaration, its objects, restic beside them, and what a kit carries."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

from dr.errors import DamageError, DrError, RefusedError, TargetDownError
from dr.evidence.stored_object import HeldObjects
from dr.plan.schema import schema
from dr.plan.target_kind import Immutability
from dr.run.immutability.posture import look
from dr.run.replication.copy_repository import copy_repository
from dr.run.verification.comparison import ListingComparison
from dr.run.verification.inventory import listed
from dr.run.verification.memory import Expected
from dr.run.verification.object_hashes import hash_all
from dr.targets.kinds import driver_of
from dr.tools import line
from dr.tools.disk import DiskStore
from dr.tools.meter import Meter
from dr.tools.restic import Repository
from dr.tools.state_dir import StateDir
from dr.tools.store import ObjectStore
from tests.targets.places import Place, some_bytes

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def repository(place: Place, tmp_path: Path, program: str) -> Repository:
    """The repository of a system there, as a toolbox makes it."""
    opened = place.driver().open()
    return Repository(
        program=program,
        location=f"{opened.location}/sis",
        where="sis on place",
        host="sis",
        env={"RESTIC_PASSWORD": "a passphrase", **opened.env},
        cache=tmp_path / "cache",
        options=opened.options,
    )


@pytest.fixture
def stored(place: Place, tmp_path: Path, restic_program: str) -> Repository:
    """A repository with one snapshot there."""
    made = repository(place, tmp_path, restic_program)
    place.driver().open().store.reachable()
    made.init()
    source = tmp_path / "source"
    source.mkdir()
    (source / "letter.txt").write_text("a letter\n")
    (source / "photo.jpg").write_bytes(some_bytes(600_000))
    made.backup_tree((str(source),), cwd=tmp_path, tags={})
    return made


# -- what is declared --------------------------------------------------------------------------------


def test_its_keys_are_in_the_schema_and_its_example_is_taken(place: Place) -> None:
    told = schema("target")["properties"]
    assert list(told)[:2] == ["target", "s3"] and told[place.key]["description"].endswith("another kind is given.")
    kind = type(place.target().declared)
    for document in ({"target": "x", place.key: dict(kind.example)}, {"target": "x", place.key: place.declared}):
        jsonschema.Draft202012Validator(schema("target")).validate(document)


def test_it_says_what_is_true_of_it_before_it_is_opened(place: Place) -> None:
    declared = place.target().declared
    assert declared.noun and declared.place[0] == place.key == place.target().kind
    assert place.target().place == place.target().place != place.target("elsewhere").place
    assert declared.locks == Immutability() or place.key == "s3"
    assert not place.target(offsite=False).is_offsite(lambda host: False)
    assert place.target(media="tape").medium == "tape"
    assert list(declared.faults(os.environ)) == [], "what it needs is there"


# -- its objects -------------------------------------------------------------------------------------


@pytest.fixture
def store(place: Place) -> ObjectStore:
    """An empty store there, below its root, as evidence is kept."""
    root = place.driver().open().store
    root.reachable()
    return root.child("_evidence/sis")


def test_what_is_put_is_there(store: ObjectStore) -> None:
    assert list(store.list()) == [] and not store.exists("x/y")
    data = b"bytes" * 50_000
    store.put("x/y", data)
    store.put("z", b"")
    assert store.get("x/y") == data and store.exists("x/y") and b"".join(store.blocks("x/y")) == data
    assert b"".join(store.part("x/y", 3, 12)) == data[3:12]
    assert store.sha256("x/y") == (hashlib.sha256(data).hexdigest(), len(data))
    assert sorted((item.name, item.size) for item in store.list()) == [("x/y", len(data)), ("z", 0)]
    assert [item.name for item in store.list("x/")] == ["x/y"]
    store.put("z", b"again")
    assert store.get("z") == b"again" and len(list(store.list())) == 2
    assert store.child("x").get("y") == data
    assert store.where and store.preflight().in_words()


def test_what_moves_by_a_line_keeps_to_its_rates(place: Place, tmp_path: Path) -> None:
    data = some_bytes(100_000)
    digest, near = hashlib.sha256(data).hexdigest(), DiskStore(tmp_path / "near")
    name, there = f"data/{digest[:2]}/{digest}", place.driver().open().store.child("sis")
    there.reachable()
    near.put(name, data)
    acts = (lambda: there.take(name, near, sha256=digest), lambda: there.sha256(name) == (digest, len(data)))
    took = []
    with line.held_to(upload=400_000, download=400_000):
        for act in acts:
            began = time.monotonic()
            assert act()
            took.append(time.monotonic() - began)
    assert all(seconds > 0.2 for seconds in took) or not place.target().reached_from_elsewhere


def test_what_is_not_there_is_said(store: ObjectStore) -> None:
    for act in (store.get, store.sha256, lambda name: b"".join(store.blocks(name))):
        with pytest.raises(DamageError) as raised:
            act("none")
        assert raised.value.hint
    store.remove("none")


def test_what_is_removed_is_gone_and_what_is_erased_leaves_no_trace(place: Place, store: ObjectStore) -> None:
    for name in ("x/one", "x/two", "y"):
        store.put(name, name.encode())
    store.remove("x/one")
    store.remove("x/one")
    assert sorted(item.name for item in store.list()) == ["x/two", "y"]
    eraser = place.driver().eraser(store)
    for trace in eraser.traces("x/"):
        eraser.erase(trace)
        eraser.erase(trace)
    assert eraser.traces("x/") == [] and [item.name for item in store.list()] == ["y"]
    assert [trace.name for trace in eraser.traces("y")] == ["y"] and eraser.protections(eraser.traces("")) == []
    assert place.driver().tidy(store) == 0


def test_a_copy_is_taken_only_when_its_bytes_are_what_was_promised(
    place: Place, store: ObjectStore, tmp_path: Path
) -> None:
    source = DiskStore(tmp_path / "source")
    data = some_bytes(300_000)
    digest = hashlib.sha256(data).hexdigest()
    source.put(f"data/{digest}", data)
    source.put("data/b", data[:-1])
    assert store.take(f"data/{digest}", source, sha256=digest) and store.get(f"data/{digest}") == data
    assert not store.take("data/b", source, sha256=digest) and not store.exists("data/b")
    with pytest.raises(DamageError):
        store.take("data/c", source, sha256=digest)


def test_looking_makes_no_place(place: Place) -> None:
    driver, before = place.driver(), place.files and place.files.exists()
    root = driver.open().store
    root.reachable()
    assert list(driver.look(NOW, "")) and root.preflight().in_words() and list(root.child("sis").list()) == []
    assert before == (place.files and place.files.exists())


def test_a_place_that_does_not_answer_is_said_at_once(place: Place) -> None:
    driver = place.driver("gone")
    for act in (driver.open().store.reachable, lambda: list(driver.look(NOW, ""))):
        with pytest.raises((TargetDownError, RefusedError)) as raised:
            act()
        assert raised.value.hint


# -- restic beside them ------------------------------------------------------------------------------


def test_what_restic_writes_is_listed_and_bears_the_names_of_its_bytes(
    place: Place, stored: Repository, tmp_path: Path
) -> None:
    store = place.driver().open().store.child("sis")
    found = listed(store)
    hash_all(store, found)
    parts = {item.name.partition("/")[0] for item in found if found.is_read(item)}
    assert parts == {"config", "keys", "data", "index", "snapshots"}
    assert ListingComparison(found, HeldObjects(), 0).damage(Expected(), config_hash="") == [] and store.exists(
        "config"
    )
    restored = tmp_path / "restored"
    assert stored.restore(stored.snapshots()[0].id, restored).errors == ()
    assert (restored / str(tmp_path)[1:] / "source" / "letter.txt").read_text() == "a letter\n"


def test_a_flipped_byte_is_found_without_the_passphrase(place: Place, stored: Repository) -> None:
    store = place.driver().open().store.child("sis")
    packs = sorted((item for item in store.list("data/")), key=lambda item: item.size)
    place.damage(f"sis/{packs[-1].name}")
    found = listed(store)
    hash_all(store, found)
    damage = ListingComparison(found, HeldObjects(), 0).damage(Expected(), config_hash="")
    assert [(item.object, item.problem) for item in damage] == [(packs[-1].name, "corrupt")]


def test_a_repository_is_copied_away_and_back(
    place: Place, stored: Repository, tmp_path: Path, restic_program: str
) -> None:
    store = place.driver().open().store
    away = DiskStore(tmp_path / "away")
    first = copy_repository(store.child("sis"), away)
    assert first.corrupt == first.missing == set() and first.objects_copied == first.objects > 4
    back = copy_repository(away, store.child("back"))
    assert back.objects_copied == first.objects
    assert copy_repository(away, store.child("back")).objects_copied == 0, "what is there stays"
    opened = place.driver().open()
    again = Repository(
        program=restic_program, location=f"{opened.location}/back", where="back on place", host="sis",
        env={"RESTIC_PASSWORD": "a passphrase", **opened.env}, cache=tmp_path / "cache-2", options=opened.options,
    )  # fmt: skip
    assert again.check(read_data_subset="1/1").clean
    assert [item.id for item in again.snapshots(())] == [item.id for item in stored.snapshots(())]


# -- how it is kept, and what a kit carries ----------------------------------------------------------


def test_looking_changes_nothing_and_claims_no_lock_that_is_not_there(place: Place, stored: Repository) -> None:
    root = place.driver().open().store
    before = sorted((item.name, item.size) for item in root.child("sis").list())
    found = look(place.target(), now=datetime.now(UTC))
    assert found.findings and all(each.observed for each in found.findings)
    assert not any("locked" in each.observed for each in found.findings)
    assert sorted((item.name, item.size) for item in root.child("sis").list()) == before
    assert [part for part in ("_probe", "_control", "_evidence") if any(root.child(part).list())] == []
    assert place.target().locks.mode == "none" and place.driver().object_lock(root) in ("", "off")


def test_what_a_kit_carries_reaches_it_when_its_own_secrets_are_gone(
    place: Place, stored: Repository, tmp_path: Path
) -> None:
    left_out: list[str] = []
    carried = place.driver().carry(place.driver().open().env, left_out)
    assert left_out == [] and all(name in ("keys/place", "authorities/place") for name in carried)
    state = tmp_path / "state"
    (state / "carried").mkdir(parents=True)
    for name, path in (
        ("keys/place", StateDir(state).carried_keys("place")),
        ("authorities/place", StateDir(state).carried_authorities("place")),
    ):
        if name in carried:
            path.write_bytes(carried[name])
            path.chmod(0o600)
    there = driver_of(place.target("lost"), StateDir(state)).open()
    assert there.store.child("sis").exists("config")


def test_restic_alone_reaches_it_by_the_lines_of_the_kit(
    place: Place, stored: Repository, tmp_path: Path, restic_program: str
) -> None:
    kit = tmp_path / "kit"
    carried = place.driver().carry(place.driver().open().env, [])
    for name, data in {**carried, "passphrase": b"a passphrase\n"}.items():
        path = kit / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o600)
    reached = place.driver().by_hand()
    options = " ".join(f"-o '{each}'" for each in reached.options)
    lines = [f"export {each}" for each in reached.exports]
    lines += [f"export RESTIC_REPOSITORY='{reached.location}/sis'", "export RESTIC_PASSWORD_FILE=passphrase"]
    script = "\n".join([*lines, f"exec {restic_program} {options} snapshots --no-lock --no-cache"])
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(["sh", "-euc", script], cwd=kit, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "1 snapshots" in done.stdout, done.stderr


def test_making_it_the_right_way_is_for_buckets(place: Place) -> None:
    try:
        plan = place.driver().plan_bucket(credentials=None, principal=None)
    except DrError as error:
        assert place.key != "s3" and error.what == f"the target 'place' is a {place.target().declared.noun}"
    else:
        assert place.key == "s3" and plan.where


def test_the_probe_finds_what_the_credentials_could_destroy_and_leaves_no_more_than_its_canary(place: Place) -> None:
    driver, root = place.driver(), place.driver().open().store
    root.reachable()
    if not driver.can_probe:
        assert driver.probe(NOW) is None
        return
    for _ in range(2):
        found = driver.probe(datetime.now(UTC))
        assert found
        tried = {attempt.what.partition(" ")[0]: attempt.outcome for attempt in found.attempts}
        assert tried["delete"] == "allowed"
        assert tried["overwrite"] == ("refused" if place.key == "rest" else "allowed"), "names are hashes there"
    assert all(item.name == "canary" for item in root.child("_probe").list())


def test_it_counts_what_passes_or_says_that_it_does_not(place: Place) -> None:
    meter, data = Meter(), some_bytes(10_000)
    store, name = driver_of(place.target(), meter=meter).open().store.child("sis"), hashlib.sha256(data).hexdigest()
    store.reachable()
    meter.take()
    store.put(f"data/{name[:2]}/{name}", data)
    put = meter.take()
    assert store.get(f"data/{name[:2]}/{name}") == data
    got, counts = meter.take(), place.target().declared.counts
    assert (put.sent, got.received) == ((0, 0) if counts == "nothing" else (len(data), len(data)))
    assert bool(got.read) == bool(put.write) == (counts == "requests")
