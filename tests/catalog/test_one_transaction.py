"""A record and all that follows from it: one transaction, whatever kills the program in the midst of it."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from dr.catalog import chain, derive
from dr.catalog.store import Catalog
from dr.catalog.values import Locked
from dr.evidence.look import LateCopy
from dr.evidence.record import BackupRun, Replication
from dr.tools.state_dir import StateDir
from tests.catalog.test_store import NOON, run

ENDS = (NOON + timedelta(days=10), NOON + timedelta(days=20))
LATE = LateCopy(run_id="old", target="u", snapshots={"a": "late"}, manifests={})
LOCKED = [Locked("u", "compliance", lambda ids: ENDS if ids else None)]
STEPS = ("put", "close_run", "apply", "_late", "protect")


def catching_up() -> BackupRun:
    return dataclasses.replace(run("new", hours=4, targets=("t", "u")), caught_up=("old@u",), late_copies=(LATE,))


def record_and_die(state: Path, step: str) -> None:
    """Put a run on record, and end at once after one of the steps; "" lets it be."""
    room = chain if hasattr(chain, step) else derive
    if step:
        real = getattr(room, step)

        def then_die(*args: object, **named: object) -> None:
            real(*args, **named)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(room, step, then_die)
    with Catalog.open(StateDir(state)) as catalog:
        catalog.record(catching_up(), LOCKED)


def what_is_known(state: Path) -> tuple[int, dict[str, list[str]], set[str]]:
    """How many records there are, by target the points there, and the targets with a lock that is known."""
    with Catalog.open(StateDir(state)) as catalog:
        assert catalog.audit().first_bad is None
        copies = [(point.run_id, copy) for point in catalog.points(["sis"]) for copy in point.copies]
        on = {name: sorted(run_id for run_id, copy in copies if copy.target == name) for name in ("t", "u")}
        return catalog.head()[0], on, {copy.target for _, copy in copies if copy.protected_until}


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    with Catalog.open(StateDir(tmp_path)) as catalog:
        catalog.record(run("old"))
    return tmp_path


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_amid_a_record_leaves_all_as_it_was(begun: Path, step: str) -> None:
    child = multiprocessing.get_context("spawn").Process(target=record_and_die, args=(begun, step))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert what_is_known(begun) == (1, {"t": ["old"], "u": []}, set())


def test_a_record_that_is_kept_brings_its_late_copies_and_its_locks(begun: Path) -> None:
    record_and_die(begun, "")
    assert what_is_known(begun) == (2, {"t": ["new", "old"], "u": ["new", "old"]}, {"u"})


def test_late_copies_are_there_by_the_record_alone(begun: Path) -> None:
    """No step beside it is needed: also for a run that stored nothing itself, and for what copies snapshots."""
    nothing = dataclasses.replace(catching_up(), consistency_time=None, targets=())
    with Catalog.open(StateDir(begun)) as catalog:
        catalog.record(nothing)
        assert [copy.target for copy in catalog.points(["sis"])[0].copies] == ["t", "u"]
        other = dataclasses.replace(LATE, target="v")
        catalog.record(Replication(run_id="r", system="sis", source="t", target="v", started=NOON, finished=NOON,
                                   outcome="ok", by="snapshots", points=("old",), late_copies=(other,)))  # fmt: skip
        assert [copy.target for copy in catalog.points(["sis"])[0].copies] == ["t", "u", "v"]


def test_a_repository_that_was_begun_again_is_not_awaited_any_more(begun: Path) -> None:
    with Catalog.open(StateDir(begun)) as catalog, catalog._connections.writing() as db:
        db.execute("insert into repositories values ('sis', 'u', '', '', 1)")
    with Catalog.open(StateDir(begun)) as catalog:
        assert catalog.repositories("sis")["u"].begun
        catalog.record(run("more", hours=2, targets=("t", "u")))
        assert catalog.repositories("sis")["u"].begun, "the negative control"
        catalog.record(dataclasses.replace(catching_up(), renewed=("u",)))
        assert not catalog.repositories("sis")["u"].begun
