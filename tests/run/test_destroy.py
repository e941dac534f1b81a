"""Keys destroyed: refused while anything must be kept, gone on with when it was broken off, and shown to be done."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dr.errors import DrError, RefusedError, TargetDownError
from dr.evidence.acts import Hold
from dr.evidence.record import Copy, Point
from dr.operations.destroy_keys import ways_on
from dr.plan.target import Target
from dr.run.keys.destruction import destroy_here, destroy_on, examine
from dr.run.keys.escrow import escrow_store, sealed_path
from dr.run.keys.key_versions import kept_versions
from dr.run.workspace.open_toolbox import open_place
from dr.run.workspace.toolbox import Place
from dr.tools.erase import DiskEraser, S3Eraser, Trace
from dr.tools.restic_keys import add_key, key_names, keys_of, opened_by, repository_id
from dr.tools.s3_versions import S3Versions
from dr.tools.state_dir import StateDir
from scripts.servers.s3 import S3Server
from tests.run.keyed import Keyed, plan_of

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
KEYS = ("a" * 64, "b" * 64)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, restic_program: str) -> Keyed:
    """A repository with two keys."""
    site = Keyed(tmp_path_factory.mktemp("made"), restic_program).make()
    add_key(site.place().repository, "another", user="dr-escrow")
    return site


@pytest.fixture
def site(made: Keyed, tmp_path: Path) -> Keyed:
    return made.copied(tmp_path / "site")


def point(*targets: str) -> Point:
    copies = tuple(Copy(target=name, complete=True, snapshots={"docs": "c" * 64}) for name in targets)
    return Point(
        run_id="run-1", system="share", consistency_time=NOW, finished=NOW, outcome="ok",
        kinds={"docs": "files"}, copies=copies,
    )  # fmt: skip


def hold(**changes: Any) -> Hold:
    return replace(Hold(hold_id="hold-1", system="share", reason="a case", placed=NOW), **changes)


# -- what stands in the way --------------------------------------------------------------------------


def test_what_would_die_is_counted_and_nothing_is_changed(site: Keyed) -> None:
    verdict = examine(site.toolbox(), [point("disk")], [], [], now=NOW)
    (there,) = verdict.repositories
    assert (there.target, there.keys, there.traces, len(there.points)) == ("disk", 2, 2, 1)
    assert verdict.obstacles == verdict.warnings == () and there.locked_until is None
    assert opened_by(site.place().repository)


@pytest.mark.parametrize(
    ("changes", "forbids"),
    [
        ({}, True), ({"until": NOW + DAY}, True), ({"point": "run-1"}, True),
        ({"until": NOW - DAY}, False), ({"released": NOW}, False),
    ],
)  # fmt: skip
def test_a_hold_in_force_forbids_it(site: Keyed, changes: dict[str, Any], forbids: bool) -> None:
    obstacles = examine(site.toolbox(), [], [hold(**changes)], [], now=NOW).obstacles
    assert [text.startswith("the hold hold-1 is in force") for text in obstacles] == [True] * forbids
    assert all("a case" in text for text in obstacles)


def test_what_others_lose_and_what_would_stay_is_said(site: Keyed) -> None:
    phrase: dict[str, object] = {"passphrase": {"file": str(site.secret)}}
    others = [plan_of("grades", phrase, depends_on=["share"]), plan_of("meals", phrase), plan_of("buses")]
    warnings = examine(site.toolbox(secrets=phrase), [point("disk", "old")], [], others, now=NOW).warnings
    assert warnings == (
        "grades depends on share",
        "there are copies on old, which the plan does not name: they are not destroyed",
        f"the passphrase file {site.secret} stays: grades, meals uses it too",
    )


def test_a_place_that_cannot_be_asked_stops_it(site: Keyed, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    place = {"endpoint": "http://127.0.0.1:9", "bucket": "none", "credentials": {"file": str(keys)}}
    target = Target.model_validate({"target": "offsite", "s3": place})
    down = open_place(plan_of("share"), target, state=site.state, restic=site.restic)
    with pytest.raises(TargetDownError):
        examine(site.toolbox(down), [], [], [], now=NOW)


# -- locks of a bucket -------------------------------------------------------------------------------


Stored = Callable[..., tuple[Keyed, Place]]


@pytest.fixture
def stored(made: Keyed, s3: S3Server, tmp_path: Path) -> Stored:
    """Make a place in a bucket that holds two keys and a pack; no restic is needed to ask of it, nor to erase."""

    def make(kind: str, user: str = "admin") -> tuple[Keyed, Place]:
        name = f"shred-{secrets.token_hex(6)}"
        if kind == "versioned":
            s3.make_versioned(name)
        else:
            s3.make_locked(name, "compliance", 30 if kind == "locked" else 0)
        for each in (*(f"keys/{key}" for key in KEYS), f"data/cc/{'c' * 64}"):
            s3.client().put_object(Bucket=name, Key=f"share/{each}", Body=b"x")
        credentials = {"file": str(s3.write_keys(tmp_path / "keys", user))}
        target = Target.model_validate(
            {"target": "offsite", "s3": {"endpoint": s3.endpoint, "bucket": name, "credentials": credentials}}
        )
        return made, open_place(plan_of("share"), target, state=StateDir(tmp_path / "state"), restic=made.restic)

    return make


def alone(site: Keyed, place: Place) -> Any:
    return replace(site.toolbox(), places=(place,))


def test_a_lock_that_lives_forbids_it_until_it_has_run_out(stored: Stored) -> None:
    site, place = stored("locked")
    verdict = examine(alone(site, place), [], [], [], now=NOW)
    (there,) = verdict.repositories
    (obstacle,) = verdict.obstacles
    assert obstacle.startswith("3 object versions on offsite are locked; the last lock runs out on ")
    assert there.locked_until and abs(there.locked_until - datetime.now(UTC) - 30 * DAY) < timedelta(hours=1)
    assert f"{there.locked_until:%Y-%m-%d %H:%M}" in obstacle
    later = examine(alone(site, place), [], [], [], now=NOW + 31 * DAY)
    assert later.obstacles == () and later.repositories[0].locked_until is None


def test_a_legal_hold_of_the_service_forbids_it_however_late(stored: Stored, s3: S3Server) -> None:
    site, place = stored("unlocked")
    assert examine(alone(site, place), [], [], [], now=NOW).obstacles == (), "the control"
    name = place.target.s3.bucket if place.target.s3 else ""
    key = f"share/data/cc/{'c' * 64}"
    s3.client().put_object_legal_hold(Bucket=name, Key=key, LegalHold={"Status": "ON"})
    for now in (NOW, NOW + 36500 * DAY):
        assert examine(alone(site, place), [], [], [], now=now).obstacles == (
            "objects on offsite are under a legal hold of the service",
        )
    hint = ways_on(examine(alone(site, place), [], [], [], now=NOW), [])
    assert "lift the legal hold at the service of offsite" in hint and "dr hold" not in hint and "wait" not in hint


def test_keys_that_may_not_ask_for_locks_destroy_nothing(stored: Stored) -> None:
    site, place = stored("unlocked", "writer")
    with pytest.raises(RefusedError) as refused:
        examine(alone(site, place), [], [], [], now=NOW)
    assert "destroying needs some that may" in refused.value.hint


@pytest.mark.parametrize("fault", [TargetDownError("it failed", retryable=True), DrError("not until when")])
def test_an_answer_that_is_no_clear_no_destroys_nothing(
    stored: Stored, monkeypatch: pytest.MonkeyPatch, fault: DrError
) -> None:
    site, place = stored("unlocked")

    def unclear(self: S3Versions, name: str, version_id: str) -> Any:
        raise fault

    monkeypatch.setattr(S3Versions, "protection_of", unclear)
    with pytest.raises(type(fault)):
        examine(alone(site, place), [], [], [], now=NOW)


def test_a_lock_that_came_after_the_asking_keeps_the_key_and_that_is_an_error(stored: Stored) -> None:
    _, place = stored("locked")
    with pytest.raises(RefusedError):
        destroy_on(place, StateDir(place.repository.cache.parent))
    assert key_names(place.store) == set(KEYS)


# -- done, broken off, and gone on with --------------------------------------------------------------


def test_destroyed_the_passphrase_opens_nothing_and_a_second_time_is_no_error(site: Keyed) -> None:
    place = site.place()
    names, data = (
        key_names(place.store),
        {each.name for each in place.store.list() if not each.name.startswith("keys/")},
    )
    change = destroy_on(place, site.state)
    assert (change.target, change.outcome, set(change.removed)) == ("disk", "ok", names) and len(names) == 2
    assert change.shown == (
        "no version of a key object is left (2 removed)", "restic with the passphrase opens the repository no more",
    )  # fmt: skip
    assert {each.name for each in place.store.list()} == data, "the data stays, and nobody can read it"
    with pytest.raises(DrError):
        keys_of(place.repository)
    again = destroy_on(place, site.state)
    assert again.outcome == "ok" and again.removed == ()


def test_the_sealed_passphrase_on_the_target_goes_too_and_no_other_systems(site: Keyed) -> None:
    sealings = escrow_store(site.place())
    for name in ("share.age", "other.age"):
        sealings.put(name, b"sealed")
    destroy_on(site.place(), site.state)
    assert [each.name for each in sealings.list()] == ["other.age"]


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), RefusedError("a file may not be removed")])
def test_broken_off_between_two_keys_the_next_call_does_the_rest(
    site: Keyed, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    real, names = DiskEraser.erase, key_names(site.place().store)

    def once(self: DiskEraser, trace: Trace) -> None:
        if len(key_names(site.place().store)) < 2:
            raise fault
        real(self, trace)

    with monkeypatch.context() as patch, pytest.raises(type(fault)):
        patch.setattr(DiskEraser, "erase", once)
        destroy_on(site.place(), site.state)
    left = key_names(site.place().store)
    assert len(left) == 1 and left < names
    assert set(destroy_on(site.place(), site.state).removed) == left and not key_names(site.place().store)


def test_a_service_that_says_done_and_does_nothing_is_found_out(site: Keyed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiskEraser, "erase", lambda self, trace: None)
    with pytest.raises(DrError, match="2 versions of keys are still there"):
        destroy_on(site.place(), site.state)
    listed = iter([[], [], []])
    monkeypatch.setattr(DiskEraser, "traces", lambda self, prefix: next(listed))
    with pytest.raises(DrError, match="the repository still opens"):
        destroy_on(site.place(), site.state)


def test_of_a_bucket_every_version_of_every_key_goes(stored: Stored, s3: S3Server) -> None:
    site, place = stored("versioned")
    place.store.put(f"keys/{KEYS[0]}", b"overwritten")
    place.store.remove(f"keys/{KEYS[1]}")
    there = examine(alone(site, place), [], [], [], now=NOW).repositories[0]
    assert (there.keys, there.traces) == (2, 4), "two versions of one, one of the other, and a marker"
    change = destroy_on(place, StateDir(place.repository.cache.parent))
    assert set(change.removed) == set(KEYS) and "4 removed" in change.shown[0]
    assert S3Eraser(place.store).traces("keys/") == []
    assert [each.name for each in place.store.list()] == [f"data/cc/{'c' * 64}"]


# -- this machine ------------------------------------------------------------------------------------


def test_what_this_machine_has_is_gone_and_no_repository_is_made_again(site: Keyed) -> None:
    place = site.place()
    cached = place.repository.cache / repository_id(place.repository)
    cached.mkdir(parents=True, exist_ok=True)
    sealed = sealed_path(site.state, "share", "disk")
    sealed.parent.mkdir(exist_ok=True)
    sealed.write_bytes(b"sealed")
    toolbox = site.toolbox()
    destroy_on(place, site.state)
    assert destroy_here(toolbox, [], now=NOW) == []
    assert not site.secret.exists() and not sealed.exists() and not cached.exists()
    assert f"{NOW:%Y-%m-%d}" in site.state.tombstone("share", "disk").read_text()
    with pytest.raises(RefusedError, match="keys of this system were destroyed"):
        site.place()
    assert destroy_here(toolbox, [], now=NOW) == [], "may be called twice"


def test_a_passphrase_file_that_another_system_uses_stays(site: Keyed, tmp_path: Path) -> None:
    shared = tmp_path / "phrase"
    shared.write_text(site.secret.read_text())
    shared.chmod(0o600)
    phrase: dict[str, object] = {"passphrase": {"file": str(shared)}}
    left = destroy_here(site.toolbox(secrets=phrase), [plan_of("meals", phrase)], now=NOW)
    assert left == [f"the passphrase file {shared} stays: meals uses it too"] and shared.exists()
    site.state.tombstone("share", "disk").unlink()
    assert destroy_here(site.toolbox(secrets=phrase), [plan_of("meals")], now=NOW) == [] and not shared.exists()


def test_a_passphrase_from_elsewhere_is_left_to_the_person(site: Keyed) -> None:
    elsewhere: dict[str, object] = {"passphrase": {"command": ["cat", str(site.secret)]}}
    (left,) = destroy_here(site.toolbox(secrets=elsewhere), [], now=NOW)
    assert left == "the passphrase comes from where the plan names it: destroy it there yourself"


# -- what stays of a key that was removed ------------------------------------------------------------


def test_what_stays_of_a_removed_key_is_said(stored: Stored, s3: S3Server) -> None:
    _, place = stored("versioned")
    place.store.remove(f"keys/{KEYS[0]}")
    (note,) = kept_versions(place, [KEYS[0]])
    assert note.startswith("a version of the removed key aaaaaaaa stays on offsite, unlocked, until old versions")
    eraser = S3Eraser(place.store)
    for trace in eraser.traces("keys/"):
        eraser.erase(trace)
    assert kept_versions(place, KEYS) == ()


def test_until_when_a_lock_or_a_legal_hold_keeps_a_removed_key_is_said(stored: Stored, s3: S3Server) -> None:
    _, place = stored("locked")
    (note,) = kept_versions(place, [KEYS[0]])
    days = {f"{moment + 30 * DAY:%Y-%m-%d}" for moment in (NOW, datetime.now(UTC))}  # midnight may come between
    assert any(f"locked (compliance) until {day}" in note for day in days) and "still opens" in note
    name = place.target.s3.bucket if place.target.s3 else ""
    s3.client().put_object_legal_hold(Bucket=name, Key=f"share/keys/{KEYS[0]}", LegalHold={"Status": "ON"})
    assert "under a legal hold" in kept_versions(place, [KEYS[0]])[0]


def test_where_the_keys_may_not_ask_it_is_said_that_it_is_not_known(stored: Stored) -> None:
    _, place = stored("unlocked", "writer")
    (note,) = kept_versions(place, [KEYS[0]])
    assert note.startswith("whether a version of the removed key aaaaaaaa stays on offsite, it did not say: ")
