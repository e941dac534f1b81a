"""The escrow key of a repository: made once, sealed, and put right after any death."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dr.errors import DrError, RefusedError
from dr.run.keys import escrow
from dr.run.keys.recipient import identity_here, recipient_of
from dr.run.workspace.key_record import KeyRecord, record_path
from dr.tools import age, command
from dr.tools.restic_keys import add_key, key_names, keys_of, opened_by, with_passphrase
from dr.tools.state_dir import StateDir
from tests.run.keyed import Keyed


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, restic_program: str) -> Keyed:
    """A repository without an escrow key."""
    return Keyed(tmp_path_factory.mktemp("bare"), restic_program).make()


@pytest.fixture(scope="module")
def escrowed(bare: Keyed, tmp_path_factory: pytest.TempPathFactory) -> Keyed:
    """A repository with one."""
    made = bare.copied(tmp_path_factory.mktemp("escrowed") / "site")
    assert escrow.ensure_escrow(made.place(), made.state).done == "made"
    return made


@pytest.fixture
def site(escrowed: Keyed, tmp_path: Path) -> Keyed:
    """A copy of it."""
    return escrowed.copied(tmp_path / "site")


def sealed_opens(site: Keyed, identity: str | None = None) -> str:
    """Return the id of the key that the sealed passphrase opens, from the state and from the target alike."""
    place = site.place()
    here, there = escrow.load_sealed(site.state, "share", "disk"), escrow.load_sealed_there(place)
    assert here == there is not None
    passphrase = age.unseal(there, identity or identity_here(site.state) or "").decode().strip()
    return opened_by(with_passphrase(place.repository, passphrase))


def test_what_was_sealed_opens_the_repository_and_nobody_else_can_unseal_it(site: Keyed) -> None:
    record = KeyRecord.read(record_path(site.state, "share", "disk"))
    assert record and sealed_opens(site) == record.escrow
    assert {key.id: key.current for key in keys_of(site.place().repository)} == {record.own: True, record.escrow: False}
    with pytest.raises(RefusedError):
        sealed_opens(site, age.new_identity()[0])
    for name in ("identity", "recipient", "share@disk.age", "share@disk.json"):
        assert (site.state.escrow / name).stat().st_mode & 0o777 == 0o600, name


def test_when_all_is_well_restic_is_not_asked(site: Keyed, monkeypatch: pytest.MonkeyPatch) -> None:
    place = site.place()
    monkeypatch.setattr(command, "Running", None)  # nothing can be started
    assert escrow.ensure_escrow(place, site.state).done == "kept"


def test_restic_tries_our_own_key_first(site: Keyed) -> None:
    place = site.place()
    assert place.repository.environment()["RESTIC_KEY_HINT"] == opened_by(place.repository)


def test_killed_after_the_key_was_made_the_next_run_takes_it(
    bare: Keyed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = bare.copied(tmp_path / "site")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(escrow, "_settle", _die)
        escrow.ensure_escrow(site.place(), site.state)
    assert escrow.load_sealed(site.state, "share", "disk") is None
    made = key_names(site.place().store)
    assert escrow.ensure_escrow(site.place(), site.state).done == "adopted"
    assert key_names(site.place().store) == made and sealed_opens(site) in made


def test_killed_before_the_key_was_made_the_next_run_makes_another(
    bare: Keyed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = bare.copied(tmp_path / "site")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(escrow, "add_key", _die)
        escrow.ensure_escrow(site.place(), site.state)
    left = (site.state.escrow / "share@disk.next").read_bytes()
    assert escrow.ensure_escrow(site.place(), site.state).done == "made"
    assert sealed_opens(site) and escrow.load_sealed(site.state, "share", "disk") != left
    assert not (site.state.escrow / "share@disk.next").exists() and len(key_names(site.place().store)) == 2


def _die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_key_whose_sealing_is_gone_is_replaced_and_removed(site: Keyed) -> None:
    orphan = sealed_opens(site)
    (site.state.escrow / "share@disk.age").unlink()
    (site.root / "disk" / "_escrow" / "share.age").unlink()
    assert escrow.ensure_escrow(site.place(), site.state).done == "made"
    assert sealed_opens(site) != orphan and orphan not in key_names(site.place().store)


def test_a_sealing_that_was_altered_on_the_target_is_put_back(site: Keyed) -> None:
    there = site.root / "disk" / "_escrow" / "share.age"
    *all_but_last, last = there.read_bytes()
    there.write_bytes(bytes([*all_but_last, last ^ 1]))
    assert escrow.ensure_escrow(site.place(), site.state).done == "adopted"
    assert sealed_opens(site)


def test_a_machine_with_an_empty_state_keeps_the_escrow_key_that_a_kit_opens(site: Keyed) -> None:
    identity = identity_here(site.state)
    before, opens = key_names(site.place().store), sealed_opens(site)
    for path in site.state.escrow.iterdir():
        path.unlink()
    assert escrow.ensure_escrow(site.place(), site.state).done == "adopted"
    assert key_names(site.place().store) == before and sealed_opens(site, identity) == opens
    assert escrow.ensure_escrow(site.place(), site.state).done == "kept"


def test_a_new_recipient_has_the_next_run_make_the_key_anew(site: Keyed) -> None:
    old_identity = identity_here(site.state) or ""
    sealed = escrow.load_sealed(site.state, "share", "disk") or b""
    passphrase = age.unseal(sealed, old_identity).decode().strip()
    escrow.new_recipient(site.state)
    assert escrow.ensure_escrow(site.place(), site.state).done == "made"
    assert sealed_opens(site) and len(key_names(site.place().store)) == 2
    with pytest.raises(RefusedError, match="does not open"):
        opened_by(with_passphrase(site.place().repository, passphrase))
    with pytest.raises(RefusedError):
        sealed_opens(site, old_identity)


def test_a_key_that_somebody_else_added_is_said_and_left(site: Keyed) -> None:
    place = site.place()
    stranger = add_key(place.repository, "the key of a stranger", user="root")
    for _ in range(2):
        ensured = escrow.ensure_escrow(place, site.state)
        assert ensured.record.strangers == (stranger,) and stranger[:8] in ensured.notes[0]
    assert stranger in key_names(place.store) and sealed_opens(site)


def test_switched_off_nothing_is_made(bare: Keyed, tmp_path: Path) -> None:
    site = bare.copied(tmp_path / "site")
    site.state.escrow.mkdir(exist_ok=True)
    (site.state.escrow / "recipient").write_text("none\n")
    assert escrow.ensure_escrow(site.place(), site.state).done == "off"
    assert len(key_names(site.place().store)) == 1


def test_the_identity_is_overwritten_and_gone_once_it_is_taken(site: Keyed) -> None:
    path = site.state.escrow / "identity"
    secret = path.read_bytes()
    with path.open("rb") as open_still:
        escrow.take_identity(site.state)
        escrow.take_identity(site.state)
        assert open_still.read() == bytes(len(secret))
    assert identity_here(site.state) is None and recipient_of(site.state)


def test_a_record_that_is_nonsense_is_made_anew(site: Keyed) -> None:
    path = record_path(site.state, "share", "disk")
    before = json.loads(path.read_bytes())
    path.write_text("[1, 2")
    assert escrow.ensure_escrow(site.place(), site.state).done == "adopted"
    assert json.loads(path.read_bytes()) == before


def test_a_target_that_went_away_changes_nothing(site: Keyed) -> None:
    place = site.place()
    (site.root / "disk").rename(site.root / "away")
    with pytest.raises(DrError):
        escrow.ensure_escrow(place, site.state)
    (site.root / "away").rename(site.root / "disk")
    assert escrow.ensure_escrow(place, site.state).done == "kept"


def test_many_at_once_agree_on_one_recipient(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(lambda _: recipient_of(StateDir(tmp_path)), range(64)))
    assert len(found) == 1 and age.recipient_of(identity_here(StateDir(tmp_path)) or "") in found
    assert sorted(path.name for path in (tmp_path / "escrow").iterdir()) == ["identity", "recipient"]
