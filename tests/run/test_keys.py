"""Rotation: the repository opens at every instant, and the old passphrase opens it no more in the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from dr.errors import DrError, RefusedError, UsageError
from dr.run.keys import escrow
from dr.run.keys import rotation as keys
from dr.run.keys.rotation import finish, is_pending, rotate
from dr.run.workspace.key_record import KeyRecord, record_path
from dr.tools.restic_keys import key_names, opened_by, with_passphrase
from tests.run.keyed import Keyed


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, restic_program: str) -> Keyed:
    """A repository, with escrow switched off."""
    site = Keyed(tmp_path_factory.mktemp("made"), restic_program).make()
    site.state.escrow.mkdir()
    (site.state.escrow / "recipient").write_text("none\n")
    return site


@pytest.fixture
def site(made: Keyed, tmp_path: Path) -> Keyed:
    """A copy of it."""
    return made.copied(tmp_path / "site")


def closed(site: Keyed, passphrase: str) -> bool:
    """Whether a passphrase opens the repository no more."""
    try:
        opened_by(with_passphrase(site.place().repository, passphrase))
    except RefusedError:
        return True
    return False


def test_the_new_passphrase_opens_and_the_old_does_not(site: Keyed) -> None:
    old = site.secret.read_text().strip()
    assert not closed(site, old), "the control"
    done = rotate(site.place(), site.state)
    assert len(done.added) == len(done.removed) == 1 and not done.left
    assert opened_by(site.place().repository) == done.added[0] and closed(site, old)
    assert [path.name for path in site.secret.parent.iterdir()] == [site.secret.name]
    assert site.secret.stat().st_mode & 0o777 == 0o600 and not is_pending(site.place(), site.state)


def test_while_somebody_works_with_the_old_passphrase_its_key_stays(site: Keyed) -> None:
    old = site.secret.read_text().strip()
    done = rotate(site.place(), site.state, unused=lambda: False)
    assert done.left and "in use" in done.why and not done.removed
    assert not closed(site, old) and opened_by(site.place().repository) == done.added[0]
    finished = finish(site.place(), site.state)
    assert finished and finished.removed == done.left and closed(site, old)
    assert finish(site.place(), site.state) is None


def test_killed_between_the_two_names_of_the_old_passphrase_nothing_is_lost(
    site: Keyed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one moment in which overwriting the old passphrase would overwrite the one in use."""
    old, replace = site.secret.read_text(), Path.replace

    def die(path: Path, to: Path) -> Path:
        if path.suffix == ".next":
            raise KeyboardInterrupt
        return replace(path, to)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", die)
        rotate(site.place(), site.state)
    assert site.secret.with_suffix(".previous").samefile(site.secret), "the moment was met"
    assert site.secret.read_text() == old and opened_by(site.place().repository)
    done = finish(site.place(), site.state)
    assert done and done.removed and opened_by(site.place().repository) and closed(site, old.strip())


def test_a_passphrase_file_that_does_not_open_as_written_is_put_back(
    site: Keyed, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = site.secret.read_text()
    whole = keys._Secret.switch

    def spoil(secret: keys._Secret) -> None:
        secret.next.write_text("not what was proven\n")
        whole(secret)

    with monkeypatch.context() as patch, pytest.raises(DrError, match="old one is back"):
        patch.setattr(keys._Secret, "switch", spoil)
        rotate(site.place(), site.state)
    assert site.secret.read_text() == old and opened_by(site.place().repository)


def test_a_passphrase_that_the_plan_names_is_rotated_in_two_steps(site: Keyed) -> None:
    old, new = site.secret.read_text().strip(), "a new passphrase of a person"
    phrase = site.root / "phrase"
    phrase.write_text(old + "\n")
    named: dict[str, object] = {"passphrase": {"file": str(phrase)}}
    with pytest.raises(UsageError, match="named by the plan"):
        rotate(site.place(named), site.state)
    with pytest.raises(UsageError, match="in use"):
        rotate(site.place(named), site.state, given=old)
    done = rotate(site.place(named), site.state, given=new)
    assert done.waits and not done.removed and not closed(site, old) and not closed(site, new)
    again = rotate(site.place(named), site.state, given=new)
    assert again.waits and not again.added and len(key_names(site.place().store)) == 2
    phrase.write_text(new + "\n")
    finished = finish(site.place(named), site.state)
    assert finished and len(finished.removed) == 1 and phrase.read_text() == new + "\n"
    assert closed(site, old) and not closed(site, new)


def test_without_its_record_a_rotation_is_still_finished(site: Keyed, monkeypatch: pytest.MonkeyPatch) -> None:
    old = site.secret.read_text().strip()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(keys, "hand_on", _die)
        rotate(site.place(), site.state)
    record_path(site.state, "share", "disk").unlink()
    done = finish(site.place(), site.state)
    assert done and not done.added and done.removed and closed(site, old)


def _die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_replica_gets_the_new_key_first_and_loses_the_old_one(site: Keyed) -> None:
    old = site.secret.read_text().strip()
    twin = site.copied(site.root.with_name("twin"))
    replica = twin.place()
    (twin.root / "disk").rename(twin.root / "away")
    done = rotate(site.place(), site.state, replicas=[replica])
    assert done.left and "disk" in done.why and not closed(site, old), "a replica would have been left behind"
    (twin.root / "away").rename(twin.root / "disk")
    finished = finish(site.place(), site.state, [replica])
    assert finished and finished.removed and closed(site, old)
    assert key_names(replica.store) == key_names(site.place().store) == {done.added[0]}


def test_rotation_leaves_the_escrow_key_alone(site: Keyed) -> None:
    (site.state.escrow / "recipient").unlink()
    made = escrow.ensure_escrow(site.place(), site.state).record.escrow
    done = rotate(site.place(), site.state)
    assert escrow.ensure_escrow(site.place(), site.state).done == "kept"
    assert key_names(site.place().store) == {made, done.added[0]}
    record = KeyRecord.read(record_path(site.state, "share", "disk"))
    assert record and record.own == done.added[0] and not record.strangers
