"""`dr keys destroy`, its two steps: what makes a code void, what forbids the second, and what a broken off one leaves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from dr.errors import FAILED, INTERRUPTED, OK, REFUSED, DrError, InterruptedRunError, RefusedError, UsageError
from dr.evidence.acts import KeyEvent
from dr.operations.destroy_keys import GOOD_FOR, ask, destroy, require_code
from dr.operations.holds import place_hold, release_hold
from dr.tools.erase import DiskEraser
from dr.tools.restic_keys import key_names, opened_by
from tests.operations.conftest import Office


def keys(office: Office) -> set[str]:
    return key_names(office.keyed.place().store)


def recorded(office: Office) -> KeyEvent:
    """The record of the last destruction."""
    event = list(office.session.catalog.records())[-1].fact
    assert isinstance(event, KeyEvent) and event.what == "destruction"
    return event


# -- the code ----------------------------------------------------------------------------------------


def test_a_code_is_good_once_it_was_given_out_and_until_it_expires(office: Office) -> None:
    office.point("run-1")
    with pytest.raises(UsageError, match="no code was given out"):
        require_code(office.session, office.loaded, "00000000")
    asked = ask(office.session, office.loaded)
    assert asked.expires == office.now + GOOD_FOR and [len(each.points) for each in asked.verdict.repositories] == [1]
    office.wait(GOOD_FOR)
    require_code(office.session, office.loaded, asked.code)
    with pytest.raises(UsageError, match="not the code"):
        require_code(office.session, office.loaded, "0000000g")
    office.wait(timedelta(seconds=1))
    with pytest.raises(UsageError, match="expired"):
        require_code(office.session, office.loaded, asked.code)
    assert keys(office), "nothing was destroyed"


def test_a_code_is_void_once_a_point_came(office: Office) -> None:
    office.point("run-1")
    asked = ask(office.session, office.loaded)
    office.point("run-2")
    with pytest.raises(UsageError, match="not what they were"):
        require_code(office.session, office.loaded, asked.code)


def test_a_note_that_is_nonsense_is_no_code(office: Office) -> None:
    ask(office.session, office.loaded)
    (office.keyed.state.escrow / "share.destroy").write_text("nonsense")
    with pytest.raises(UsageError, match="no code was given out"):
        require_code(office.session, office.loaded, "")


# -- what forbids it ---------------------------------------------------------------------------------


Step = Callable[[Office, str], object]
STEPS: list[Step] = [
    lambda office, code: ask(office.session, office.loaded),
    lambda office, code: require_code(office.session, office.loaded, code),
    lambda office, code: destroy(office.session, office.loaded),
]


@pytest.mark.parametrize("step", STEPS)
def test_a_hold_forbids_every_step_until_it_is_released(office: Office, step: Step) -> None:
    code = ask(office.session, office.loaded).code
    placed = place_hold(office.session, office.loaded, reason="a case")
    with pytest.raises(UsageError) as refused:
        step(office, code)
    assert "a case" in refused.value.cause and f"`dr hold release {placed.hold_id} --reason TEXT`" in refused.value.hint
    assert keys(office) and opened_by(office.keyed.place().repository)
    release_hold(office.session, placed.hold_id, reason="closed")
    step(office, code)


@pytest.mark.parametrize("step", STEPS)
def test_a_target_that_cannot_be_asked_forbids_every_step(office: Office, step: Step) -> None:
    code = ask(office.session, office.loaded).code
    disk = office.keyed.root / "disk"
    disk.rename(office.keyed.root / "away")
    disk.write_text("no directory")
    with pytest.raises(DrError):
        step(office, code)
    disk.unlink()
    (office.keyed.root / "away").rename(disk)
    assert opened_by(office.keyed.place().repository)


# -- done, and broken off ----------------------------------------------------------------------------


def test_destroyed_it_is_on_record_and_the_code_is_spent(office: Office) -> None:
    office.point("run-1")
    code, place = ask(office.session, office.loaded).code, office.keyed.place()
    names = keys(office)
    done = destroy(office.session, office.loaded)
    assert (done.exit_code, office.session.problems) == (OK, [])
    event = recorded(office)
    assert (event.outcome, event.points, event.error) == ("ok", ("run-1",), None)
    assert [(each.target, set(each.removed)) for each in event.targets] == [("disk", names)]
    assert not key_names(place.store) and not office.keyed.secret.exists()
    with pytest.raises(UsageError, match="no code was given out"):
        require_code(office.session, office.loaded, code)
    with pytest.raises(RefusedError, match="were destroyed"):
        ask(office.session, office.loaded)
    assert office.session.catalog.points(["share"])[0].copies[0].destroyed


@pytest.mark.parametrize(
    ("fault", "outcome", "code"),
    [
        (RefusedError("the keys may not delete", hint="use others"), "failed", REFUSED),
        (DrError("the service failed"), "failed", FAILED),
        (InterruptedRunError("stopped"), "aborted", INTERRUPTED),
    ],
)
def test_where_a_key_could_not_go_the_passphrase_is_kept_and_the_next_goes_on(
    office: Office, monkeypatch: pytest.MonkeyPatch, fault: DrError, outcome: str, code: int
) -> None:
    def refusing(*_: Any) -> None:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(DiskEraser, "erase", refusing)
        done = destroy(office.session, office.loaded)
    assert (done.exit_code, recorded(office).outcome) == (code, outcome)
    event = recorded(office)
    assert event.points == () and event.error and "the passphrases are kept" in event.error
    assert fault.what in (event.targets[0].error or "")
    assert office.keyed.secret.exists() and opened_by(office.keyed.place().repository)
    office.wait(timedelta(minutes=1))
    assert destroy(office.session, office.loaded).exit_code == OK and not office.keyed.secret.exists()


def test_killed_after_the_keys_are_gone_the_next_goes_on_to_the_passphrase(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dr.operations import destroy_keys as module

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    place = office.keyed.place()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "destroy_here", killed)
        destroy(office.session, office.loaded)
    assert not key_names(place.store) and office.keyed.secret.exists()
    office.wait(timedelta(minutes=1))
    assert destroy(office.session, office.loaded).exit_code == OK
    assert not office.keyed.secret.exists() and recorded(office).targets[0].removed == ()


def test_a_passphrase_that_cannot_be_removed_is_said_in_the_record(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dr.operations import destroy_keys as module

    def failing(*_: Any, **__: Any) -> None:
        raise DrError("a secret cannot be removed")

    monkeypatch.setattr(module, "destroy_here", failing)
    done = destroy(office.session, office.loaded)
    assert done.exit_code != OK
    assert "what this machine has of the passphrase is not" in (recorded(office).error or "")
